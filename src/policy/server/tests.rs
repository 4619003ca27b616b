//! gateway.toml read field by field, and checked against itself.

use super::*;
use crate::policy::document::probe;

fn surroundings(nameservers: &[&str]) -> Surroundings {
    Surroundings {
        nameservers: nameservers.iter().map(|text| text.parse().unwrap()).collect(),
        resolv_conf: "/etc/resolv.conf".into(),
        control_socket: Some("/run/weir/control.sock".into()),
    }
}

fn read(text: &str) -> (Server, Vec<String>) {
    probe::read(text, |t| Server::read(t, &surroundings(&["192.0.2.53:53"])))
}

fn faults(text: &str) -> Vec<String> {
    read(text).1
}

#[test]
fn an_empty_file_is_a_gateway_on_loopback_before_the_nameservers_of_resolv_conf() {
    let (server, faults) = read("schema = 1\n");
    assert_eq!(faults, [""; 0]);
    assert_eq!(server.listen, ["127.0.0.1:1053".parse().unwrap(), "[::1]:1053".parse().unwrap()]);
    assert_eq!(server.upstreams.len(), 1);
    assert_eq!(server.upstreams[0].address, "192.0.2.53:53".parse().unwrap());
    assert_eq!((server.upstreams[0].name.as_str(), server.upstreams[0].pool), ("192.0.2.53", 0));
    assert_eq!(server.pools.len(), 1);
    assert_eq!(server.pools[0].name, "default");
    assert_eq!(server.cache.size_bytes, 64 << 20);
    assert_eq!(server.control_socket, Some("/run/weir/control.sock".into()));
    assert_eq!((server.metrics, server.watch, server.workers), (None, true, 0));
}

#[test]
fn every_field_is_read() {
    let text = r#"
schema = 1
profile = "authoritative"
listen = ["192.0.2.1", "[2001:db8::1]:5300"]
workers = 4
watch = false
[[upstream]]
name = "dc-a-1"
address = "10.1.0.53"
[[upstream]]
address = "[2001:db8::53]:5353"
pool = "corp"
tier = 1
weight = 10
transport = "tcp"
[[route]]
zone = "Corp.Example."
pool = "corp"
[pool.corp]
balance = "hash"
timeout = "500ms"
retries = 0
health = { interval = "5s", query = "corp.example SOA", fall = 1, rise = 1 }
[cache]
size = 0
max_ttl = "2h"
negative_max_ttl = "5m"
stale = 0
failure_ttl = "5s"
[control]
socket = "off"
[metrics]
listen = "127.0.0.1"
[log]
queries = "all"
sample = 10
rate = 5
file = "queries.json"
[top]
samples = 100
"#;
    let (server, faults) = read(text);
    assert_eq!(faults, [""; 0]);
    assert_eq!(server.profile, Profile::Authoritative);
    assert_eq!(server.listen, ["192.0.2.1:53".parse().unwrap(), "[2001:db8::1]:5300".parse().unwrap()]);
    assert_eq!((server.workers, server.watch), (4, false));
    let second = UpstreamSettings {
        name: "[2001:db8::53]:5353".to_owned(),
        address: "[2001:db8::53]:5353".parse().unwrap(),
        pool: 1,
        tier: 1,
        weight: 10,
        transport: Transport::Tcp,
    };
    assert_eq!(server.upstreams[1], second);
    assert_eq!(server.routes, [RouteSettings { zone: Name::from_text("corp.example").unwrap(), pool: 1 }]);
    let health = Health {
        interval: Duration::from_secs(5),
        query: (Name::from_text("corp.example").unwrap(), crate::dns::rtype::SOA),
        fall: 1,
        rise: 1,
    };
    let timeout = Duration::from_millis(500);
    let corp =
        PoolSettings { name: "corp".to_owned(), balance: Balance::Hash, timeout, retries: 0, inflight: 1024, health };
    assert_eq!(server.pools[1], corp);
    assert_eq!((server.cache.size_bytes, server.cache.stale), (0, Duration::ZERO));
    assert_eq!((server.control_socket, server.metrics), (None, Some("127.0.0.1:9153".parse().unwrap())));
    let log = LogSettings { queries: LogQueries::All, sample: 10, rate: 5, file: Some("queries.json".into()) };
    assert_eq!((server.log, server.top.samples), (log, 100));
}

#[test]
fn upstreams_pools_and_routes_are_checked_against_each_other() {
    let text = r#"listen = ["127.0.0.1:53", "127.0.0.1", "0.0.0.0:5300"]
[[upstream]]
name = "a"
address = "10.0.0.1"
[[upstream]]
name = "a"
address = "10.0.0.1:53"
[[upstream]]
address = "127.0.0.1"
pool = "corp"
[[upstream]]
address = "127.0.0.2:5300"
weight = 1001
[[upstream]]
name = "b c"
adress = "10.0.0.3"
[[route]]
zone = "x.example"
pool = "crop"
[[route]]
zone = "y.example"
pool = "corp"
[[route]]
zone = "Y.example."
pool = "corp"
[pool.nobody]
retries = 6
"#;
    let expected = [
        "1:27 E-DUPLICATE",
        "6:8 E-DUPLICATE",
        "7:11 E-DUPLICATE",
        "9:11 E-CONFLICT",
        "12:11 E-CONFLICT",
        "13:10 E-RANGE",
        "14:1 E-MISSING-KEY",
        "15:8 E-VALUE",
        "16:1 E-UNKNOWN-KEY",
        "19:8 E-UNKNOWN-POOL",
        "24:8 E-DUPLICATE",
        "26:7 E-UNKNOWN-POOL",
        "27:11 E-RANGE",
    ];
    assert_eq!(faults(text), expected);
}

#[test]
fn the_gateway_never_asks_itself_by_way_of_resolv_conf() {
    let ask = |listen: &str, nameservers: &[&str]| {
        probe::read(&format!("listen = [\"{listen}\"]"), |t| Server::read(t, &surroundings(nameservers)))
    };
    let (server, faults) = ask("127.0.0.1:53", &["127.0.0.1:53", "192.0.2.53:53"]);
    assert_eq!((server.upstreams.len(), faults.len()), (1, 0));
    let (_, faults) = ask("0.0.0.0:53", &["127.0.0.53:53"]);
    assert_eq!(faults, ["1:1 E-MISSING-KEY"]);
    let (server, faults) = ask("127.0.0.1:1053", &["127.0.0.1:53"]);
    assert_eq!((server.upstreams.len(), faults.len()), (1, 0));
    let (_, faults) = ask("127.0.0.1:1053", &[]);
    assert_eq!(faults, ["1:1 E-MISSING-KEY"]);
}

#[test]
fn limits_are_bounds_and_never_clamped() {
    let text = "schema = 2\nworkers = 257\nlisten = [\"127.0.0.1:0\", \"localhost\"]\n[cache]\nsize = \"1KiB\"\nfailure_ttl = \"6m\"\nmax_ttl = \"8d\"\n[log]\nrate = 0\nfile = \"\"\n[control]\nsocket = \"\"\n[metrics]\n[top]\nsamples = 99\n";
    let expected = [
        "1:10 E-RANGE",
        "2:11 E-RANGE",
        "3:11 E-RANGE",
        "3:26 E-ADDRESS",
        "5:8 E-RANGE",
        "6:15 E-RANGE",
        "7:11 E-RANGE",
        "9:8 E-RANGE",
        "10:8 E-EMPTY",
        "12:10 E-VALUE",
        "13:1 E-MISSING-KEY",
        "15:11 E-RANGE",
    ];
    assert_eq!(faults(text), expected);
}

#[test]
fn one_client_cannot_be_given_more_connections_than_there_are() {
    let (_, faults) = probe::read("connections = 10\nper_client = 11\n", TcpLimits::read);
    assert_eq!(faults, ["2:14 E-CONFLICT"]);
}
