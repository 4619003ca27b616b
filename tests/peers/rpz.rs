//! Response policy zones beside the servers that have them: Unbound and BIND answer the same questions from the same zones,
//! which are those of Unbound's own tests. All ask one NSD for what passes. BIND is given the zones as this crate writes
//! them, for it refuses a zone for one bad record.
//!
//! Of each set of zones every trigger is tried: the name itself, a name below and the name above for QNAME, by all types
//! that have records; a client's address as the source of the query; an answer with the address for RPZ-IP. What differs
//! is listed with its reason in [`UNBOUND`] and [`BIND`], and a difference that is listed and does not show fails the test as well.

use super::ask;
use super::harness::{Daemon, Scratch, free_address};
use super::servers::Server;
use super::weir::{Setup, Weir};
use hickory_proto::op::Message;
use hickory_proto::rr::{RData, RecordType};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use weir::policy::filter::rpz::{Kind, RpzZone, Trigger};

/// The zones of Unbound's tests; BSD licence, see the LICENSE beside them.
const ZONES: &str = include_str!("../rpz/unbound/rpl-embedded-zones.txt");

/// How long an answer may take before it counts as silence.
const SILENCE: Duration = Duration::from_millis(400);

/// Differences to BIND 9.18: as [`UNBOUND`].
const BIND: &[(&str, &str, &str)] = &[];

/// Differences to Unbound 1.17, each with the set of zones, a part of the question, and why.
const UNBOUND: &[(&str, &str, &str)] = &[
    (
        "rpz_clientip_override",
        "from: 127.0.5.",
        "Unbound 1.17 overrides nothing for clients; its later versions do, and the draft says so",
    ),
    (
        "rpz_passthru_clientip",
        "from: 127.0.5.1,",
        "the client comes before the name, and passthru ends it; Unbound 1.17 heard the name",
    ),
    ("rpz_respip", "tcp: true", "Unbound drops an answer when it fetches it, and gives it out from its cache"),
    ("rpz_respip_override", "tcp: true", "as before"),
    ("rpz_respip_tcponly", "tcp: true", "as before"),
    ("serve_expired_rpz_drop", "tcp: true", "as before"),
];

/// A policy zone of a set, in the order of the set.
struct PolicyZone {
    name: String,
    text: String,
    zone: RpzZone,
    /// What is done in place of what it says, in Unbound's words.
    instead: Option<&'static str>,
}

/// The sets of zones, by the test of Unbound's that has them.
fn sets() -> BTreeMap<&'static str, Vec<PolicyZone>> {
    // How Unbound's tests override the seven zones of a set.
    const OVERRIDES: [Option<&str>; 7] =
        [Some("disabled"), None, Some("nodata"), Some("nxdomain"), Some("passthru"), Some("cname"), Some("drop")];
    let mut sets: BTreeMap<_, Vec<PolicyZone>> = BTreeMap::new();
    for piece in ZONES.split("; ==== testdata/").skip(1) {
        let (title, text) = piece.split_once('\n').expect("a title has a line");
        let (set, name) = title.split_once(".rpl :: ").expect("a title has a file and a zone");
        let zones = sets.entry(set).or_default();
        if zones.iter().any(|zone| zone.name == name) {
            continue;
        }
        // Sources of ours are on loopback.
        let text = text.replace(".192.rpz-client-ip", ".127.rpz-client-ip");
        let head = format!("$ORIGIN {name}.\n@ 3600 IN SOA ns.{name}. host.{name}. 1 3600 900 86400 3600\n");
        let text = if text.contains("SOA") { text } else { head + &text };
        let zone = RpzZone::parse(text.as_bytes()).expect("it is text");
        let instead = if set.ends_with("_override") { OVERRIDES[zones.len()] } else { None };
        zones.push(PolicyZone { name: name.to_owned(), text, zone, instead });
    }
    sets
}

/// A question of the test.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    from: IpAddr,
    name: String,
    rtype: RecordType,
    tcp: bool,
}

/// The name that NSD answers with an address in the network.
fn host_of(network: &str) -> String {
    let label: String = network.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("at-{label}.hosts.test")
}

/// All questions about a set, and the records that NSD needs for them.
fn questions(zones: &[PolicyZone]) -> (BTreeSet<Question>, String) {
    let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (mut questions, mut hosts) = (BTreeSet::new(), String::new());
    let mut ask = |from: IpAddr, name: &str, rtype: RecordType| {
        for tcp in [false, true] {
            if !tcp || from == home {
                questions.insert(Question { from, name: name.to_owned(), rtype, tcp });
            }
        }
    };
    ask(home, "free.test", RecordType::A);
    for record in zones.iter().flat_map(|zone| zone.zone.records()) {
        match record.trigger {
            Trigger::Name(Kind::Qname, _, wire) => {
                let name = weir::dns::name::Name::from_wire(wire).expect("names of triggers are valid");
                let above = name.parent().filter(|above| above.labels() > 0);
                let types = [RecordType::A, RecordType::TXT, RecordType::AAAA];
                for rtype in types {
                    if name.labels() > 0 {
                        ask(home, &name.to_string(), rtype);
                    }
                    ask(home, &format!("below.{}", name.to_string().trim_start_matches('.')), rtype);
                    ask(home, &format!("far.below.{}", name.to_string().trim_start_matches('.')), rtype);
                }
                above.iter().for_each(|above| ask(home, &above.to_string(), RecordType::A));
            }
            Trigger::Network(Kind::ClientIp, network) => {
                let IpAddr::V4(first) = network.network() else { continue };
                let first = u32::from(first);
                let inside = if network.prefix_len() == 32 { first } else { first + 7 };
                for address in [inside, first + 256] {
                    let from = IpAddr::V4(Ipv4Addr::from(address));
                    ask(from, "free.test", RecordType::A);
                    ask(from, "free.test", RecordType::TXT);
                    // Names of other triggers as well: which comes first.
                    ask(from, "d.a", RecordType::A);
                }
            }
            Trigger::Network(Kind::Ip, network) => {
                let address = network.hosts().last().expect("a network has an address");
                let name = host_of(&network.to_string());
                let rtype = if address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
                let _ = writeln!(hosts, "{name}. {rtype} {address}");
                ask(home, &name, rtype);
                ask(home, &name, RecordType::TXT);
            }
            _ => {}
        }
    }
    (questions, hosts)
}

/// NSD with the root: every name has an address, a text and an alias that others lead to.
fn nsd(scratch: &Scratch, hosts: &str) -> Server {
    let address = free_address();
    let home = scratch.directory(&format!("nsd-{}", address.port()));
    let mut lines: Vec<&str> = hosts.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    let zone = format!(
        "$ORIGIN .\n$TTL 300\n@ SOA ns.test. host.test. 1 3600 600 86400 60\n@ NS ns.test.\nns.test. A 198.51.100.53\n\
         * A 198.51.100.1\n* AAAA 2001:db8:ffff::1\n* TXT \"of the world\"\n\
         *.test. A 198.51.100.2\n*.test. AAAA 2001:db8:ffff::2\n*.test. TXT \"of the test\"\n{}\n",
        lines.join("\n")
    );
    std::fs::write(home.join("root.zone"), zone).expect("a zone file can be written");
    let home = home.display();
    let config = format!(
        "server:\n ip-address: {}@{}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{home}\"\n database: \"\"\n\
         \x20pidfile: \"{home}/pid\"\n zonelistfile: \"{home}/list\"\n xfrdfile: \"{home}/xfrd\"\n xfrdir: \"{home}\"\n\
         \x20server-count: 1\n rrl-ratelimit: 0\n rrl-whitelist-ratelimit: 0\n minimal-responses: yes\n\
         remote-control:\n control-enable: no\nzone:\n name: .\n zonefile: root.zone\n",
        address.ip(),
        address.port()
    );
    let file = scratch.write(&format!("nsd-{}.conf", address.port()), &config);
    let daemon = Daemon::start(scratch, "nsd", &["-d", "-c", file.to_str().expect("UTF-8")]);
    let daemon = daemon.wait(|| ask::answers(address, "free.test", RecordType::A));
    Server { address, daemon }
}

/// Unbound with the zones of a set, forwarding what passes.
fn unbound(scratch: &Scratch, upstream: SocketAddr, zones: &[PolicyZone]) -> Server {
    let address = free_address();
    let home = scratch.directory(&format!("unbound-{}", address.port()));
    let mut config = format!(
        "server:\n interface: {0}\n port: {1}\n username: \"\"\n chroot: \"\"\n directory: \"{home}\"\n pidfile: \"\"\n\
         \x20use-syslog: no\n logfile: \"\"\n num-threads: 1\n do-daemonize: no\n do-not-query-localhost: no\n\
         \x20access-control: 127.0.0.0/8 allow\n module-config: \"respip iterator\"\n minimal-responses: yes\n\
         \x20local-zone: \"test.\" transparent\n\
         forward-zone:\n name: \".\"\n forward-addr: {2}@{3}\n\
         remote-control:\n control-enable: no\n",
        address.ip(),
        address.port(),
        upstream.ip(),
        upstream.port(),
        home = home.display(),
    );
    for zone in zones {
        std::fs::write(home.join(&zone.name), &zone.text).expect("a zone file can be written");
        let _ = write!(config, "rpz:\n name: \"{0}\"\n zonefile: \"{0}\"\n", zone.name);
        if let Some(instead) = zone.instead {
            let _ = writeln!(config, " rpz-action-override: {instead}");
        }
        if zone.instead == Some("cname") {
            config.push_str(" rpz-cname-override: \"target.example\"\n");
        }
    }
    let file = scratch.write(&format!("unbound-{}.conf", address.port()), &config);
    let daemon = Daemon::start(scratch, "unbound", &["-d", "-p", "-c", file.to_str().expect("UTF-8")]);
    let daemon = daemon.wait(|| ask::answers(address, "id.server", RecordType::A));
    Server { address, daemon }
}

/// The gateway with the zones of a set.
fn gateway(scratch: &Scratch, upstream: SocketAddr, zones: &[PolicyZone]) -> Weir {
    let mut setup = Setup::before("recursive", upstream, "free.test A");
    let files: Vec<(String, String)> = zones
        .iter()
        .enumerate()
        .flat_map(|(number, zone)| {
            let instead = match zone.instead {
                None => String::new(),
                Some("disabled") => "override = \"monitor\"\n".to_owned(),
                Some("passthru") => "override = \"allow\"\n".to_owned(),
                Some("cname") => "override = \"cname\"\ncname = \"target.example\"\n".to_owned(),
                Some(word) => format!("override = \"{word}\"\n"),
            };
            let list = format!("lists/{number:02}.rpz");
            // Names of one label are top-level domains.
            let rules = format!("[zone]\nrpz = \"{list}\"\nforce = true\n{instead}");
            [(format!("filters/{number:02}-zone.toml"), rules), (list, zone.text.clone())]
        })
        .collect();
    for (path, text) in &files {
        setup = setup.with(path, text);
    }
    let rebinding =
        "[source]\nmode = \"off\"\n[rrl]\nmode = \"off\"\n[overload]\nmode = \"off\"\n[tcp]\nrate = 100000\n";
    setup = setup.with("limits.toml", rebinding);
    Weir::start(scratch, &setup)
}

/// What a client sees, without what each server is free to choose: `None` is silence.
fn seen(at: SocketAddr, question: &Question) -> Option<String> {
    let message = ask::query(4711, &question.name, question.rtype);
    let answer = if question.tcp {
        ask::tcp_within(at, &message, SILENCE)
    } else {
        ask::udp_from(question.from, at, &message, SILENCE)
    };
    answer.map(|answer| described(&answer))
}

fn described(answer: &Message) -> String {
    let mut text = answer.metadata.response_code.to_string();
    if answer.metadata.truncation {
        text.push_str(" TC");
    }
    let mut records: Vec<_> =
        answer.answers.iter().map(|record| format!("{} {}", record.record_type(), record.data)).collect();
    // A CNAME of ours is given alone; what it leads to is another question.
    let first = answer.answers.first().map(|record| &record.data);
    if let Some(RData::CNAME(target)) = first {
        records = vec![format!("CNAME {target} ...")];
    }
    records.sort();
    records.iter().for_each(|record| _ = write!(text, ", {record}"));
    text
}

/// BIND with the zones of a set, forwarding what passes.
fn bind(scratch: &Scratch, upstream: SocketAddr, zones: &[PolicyZone]) -> Server {
    let address = free_address();
    let home = scratch.directory(&format!("named-{}", address.port()));
    let (mut policies, mut files) = (String::new(), String::new());
    for zone in zones {
        // BIND loads no zone without a name server, nor one whose name server has no address in it.
        let text = zone.zone.to_text();
        let mut text: String =
            text.lines().filter(|line| !line.contains(" NS ")).flat_map(|line| [line, "\n"]).collect();
        text.push_str("@ NS localhost.\n");
        std::fs::write(home.join(&zone.name), text).expect("a zone file can be written");
        let policy = match zone.instead {
            None => "given",
            Some("cname") => "cname target.example",
            Some(word) => word,
        };
        let _ = write!(policies, "zone \"{}\" policy {policy}; ", zone.name);
        let _ = writeln!(files, "zone \"{0}\" {{ type primary; file \"{0}\"; }};", zone.name);
    }
    let config = format!(
        "options {{ directory \"{}\"; pid-file none; session-keyfile none; listen-on port {} {{ {}; }};\n\
         listen-on-v6 {{ none; }}; recursion yes; allow-query {{ any; }}; allow-recursion {{ any; }};\n\
         dnssec-validation no; forward only; forwarders {{ {} port {}; }}; empty-zones-enable no;\n\
         minimal-responses yes; response-policy {{ {policies} }} qname-wait-recurse no break-dnssec yes\n\
         recursive-only no nsip-enable no nsdname-enable no; }};\ncontrols {{ }};\n{files}",
        home.display(),
        address.port(),
        address.ip(),
        upstream.ip(),
        upstream.port()
    );
    let file = scratch.write(&format!("named-{}.conf", address.port()), &config);
    let daemon = Daemon::start(scratch, "named", &["-g", "-n", "1", "-c", file.to_str().expect("UTF-8")]);
    let daemon = daemon.wait(|| ask::answers(address, &zones[0].name, RecordType::SOA));
    let log = daemon.log();
    assert!(!log.contains("not loaded due to errors"), "every zone is loaded:\n{log}");
    Server { address, daemon }
}

/// Asks everything about every set of a peer and of the gateway; fails for every difference that is not listed, and for
/// every row of the list that shows nowhere.
fn compare(
    peer: &str,
    start: impl Fn(&Scratch, SocketAddr, &[PolicyZone]) -> Server,
    differences: &[(&str, &str, &str)],
) {
    let scratch = Scratch::new(peer);
    let sets = sets();
    let all: Vec<_> = sets.iter().map(|(set, zones)| (*set, zones, questions(zones))).collect();
    let hosts: String = all.iter().map(|(_, _, (_, hosts))| hosts.as_str()).collect();
    let nsd = nsd(&scratch, &hosts);
    let (mut asked, mut differ) = (0, Vec::new());
    for (set, zones, (questions, _)) in &all {
        let (server, weir) = (start(&scratch, nsd.address, zones), gateway(&scratch, nsd.address, zones));
        for question in questions {
            let (theirs, ours) = (seen(server.address, question), seen(weir.address, question));
            asked += 1;
            if theirs != ours {
                differ.push(format!("{set}: {question:?}: {peer} {theirs:?}, weir {ours:?}"));
            }
        }
        weir.stop();
        server.daemon.stop();
    }
    println!("{asked} questions about {} sets, {} differ", all.len(), differ.len());
    let is_listed =
        |line: &str, (set, part, _): &(&str, &str, &str)| line.starts_with(&format!("{set}:")) && line.contains(part);
    let new: Vec<_> = differ.iter().filter(|line| !differences.iter().any(|row| is_listed(line, row))).collect();
    let gone: Vec<_> = differences.iter().filter(|row| !differ.iter().any(|line| is_listed(line, row))).collect();
    assert!(asked > 1000, "{asked} questions are not all");
    assert!(new.is_empty() && gone.is_empty(), "{asked} questions\nnew:\n{new:#?}\ngone:\n{gone:#?}");
}

#[test]
fn unbound_gives_the_same_verdicts_from_its_own_zones() {
    compare("unbound", unbound, UNBOUND);
}

#[test]
fn bind_gives_the_same_verdicts() {
    compare("bind", bind, BIND);
}
