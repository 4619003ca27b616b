//! Response policy zones beside the servers that have them: Unbound and BIND answer the same questions from the same zones,
//! which are those of Unbound's own tests. All ask one NSD for what passes. BIND is given the zones as this crate writes
//! them, for it refuses a zone for one bad record.
//!
//! Of each set of zones every trigger is tried: the name itself, a name below and the name above for QNAME, by all types
//! that have records; a client's address as the source of the query; an answer with the address for RPZ-IP; for NSDNAME
//! and NSIP a zone of its own whose name server has the name or the address, which NSD shows beside its answer. BIND, as
//! it forwards here, was seen to heed name servers in its cache alone, not beside the answer: it is asked for them first.
//! Unbound is not asked about name servers: it heeds those that it follows itself (`services/rpz.c`), and here it forwards.
//! [`TIES`] has what Unbound's zones have not, rules that only the last steps of the order tell apart.
//!
//! What differs is listed with its reason in [`UNBOUND`] and [`BIND`], and a difference that is listed and does not show
//! fails the test as well.

use super::ask;
use super::harness::{Daemon, Scratch, free_address};
use super::servers::Server;
use super::weir::{Setup, Weir};
use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
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
const BIND: &[(&str, &str, &str)] = &[
    (
        "ties",
        "servers.ties",
        "BIND keeps the largest name of several servers, where its manual and the remark in its code say the smallest",
    ),
    ("ties", "text.ties", "BIND compares the names of the triggers, byte by byte, where its manual says addresses"),
];

/// Differences to Unbound 1.17, each with the set of zones, a part of the question, and why. What later versions do was
/// read in their source (`services/rpz.c`), and was not run.
const UNBOUND: &[(&str, &str, &str)] = &[
    (
        "rpz_clientip_override",
        "from: 127.0.5.",
        "Unbound 1.17 does what the record of a client says, whatever the zone's override; later versions heed it",
    ),
    (
        "rpz_passthru_clientip",
        "from: 127.0.5.1,",
        "Unbound 1.17 goes on to the name after a client's passthru; mended in 2024 (issue 1029 of NLnetLabs/unbound)",
    ),
    (
        "rpz_respip",
        "tcp: true",
        "Unbound 1.17 drops an answer when it fetches it, over either transport, and gives it out from its cache to \
         whoever asks again, here over TCP; asked alone it was seen to do so (its issue 580, open, is of the same kind)",
    ),
    ("rpz_respip_override", "tcp: true", "as before"),
    ("rpz_respip_tcponly", "tcp: true", "as before"),
    ("serve_expired_rpz_drop", "tcp: true", "as before"),
];

/// A policy zone in which several rules are set off by one answer: two servers, two addresses of servers, two of answers;
/// and networks whose order as text, octets reversed, is not that of their addresses.
const TIES: &str = "$ORIGIN ties.rpz.\n@ 3600 IN SOA ns.ties.rpz. host.ties.rpz. 1 3600 900 86400 3600\n\
    ns.zoo.ties.rpz-nsdname CNAME *.\nns.ant.ties.rpz-nsdname CNAME .\n\
    24.0.2.113.203.rpz-nsip CNAME *.\n24.0.1.113.203.rpz-nsip CNAME .\n\
    24.0.30.51.198.rpz-ip CNAME *.\n24.0.4.51.198.rpz-ip CNAME .\n\
    24.0.100.1.192.rpz-ip CNAME *.\n24.0.200.0.192.rpz-ip CNAME .\n";

/// The zones that set them off.
const TIES_BEHIND: &[(&str, &str)] = &[
    ("servers.ties", "@ NS ns.zoo.ties.\n@ NS ns.ant.ties.\nwww A 198.18.0.1\nwww TXT \"tied\"\n"),
    ("glue.ties", "@ NS a\n@ NS b\na A 203.113.2.1\nb A 203.113.1.1\nwww A 198.18.0.1\nwww TXT \"tied\"\n"),
    ("addresses.ties", "@ NS ns.test.\nwww A 198.51.30.1\nwww A 198.51.4.1\nwww TXT \"tied\"\n"),
    ("text.ties", "@ NS ns.test.\nwww A 192.1.100.1\nwww A 192.0.200.1\nwww TXT \"tied\"\n"),
    ("longer.ties", "@ NS ns.zoo.ties.\nwww A 198.51.30.1\nwww TXT \"tied\"\n"),
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
    let zone = RpzZone::parse(TIES.as_bytes()).expect("it is text");
    let ties = PolicyZone { name: "ties.rpz".to_owned(), text: TIES.to_owned(), zone, instead: None };
    sets.insert("ties", vec![ties]);
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

/// The questions about a set, and what NSD needs for them.
#[derive(Default)]
struct Questions {
    all: BTreeSet<Question>,
    /// Those about name servers and ties, which not every peer can be asked.
    of_servers: BTreeSet<Question>,
    /// Records below the root.
    hosts: String,
    /// Zones by name, with their records.
    served: BTreeMap<String, String>,
}

impl Questions {
    /// What a cache has to hold about the servers of those zones.
    fn before(&self) -> impl Iterator<Item = Question> {
        let of_zone = |(zone, records): (&String, &String)| {
            let zone = zone.clone();
            let records: Vec<_> = records.lines().filter(|line| !line.starts_with("www")).map(str::to_owned).collect();
            records.into_iter().map(move |line| {
                let mut words = line.split(' ');
                let name = match words.next() {
                    Some("@") | None => zone.clone(),
                    Some(label) => format!("{label}.{zone}"),
                };
                let rtype = words.next().and_then(|word| word.parse().ok()).expect("a record has a type");
                Question { from: IpAddr::V4(Ipv4Addr::LOCALHOST), name, rtype, tcp: false }
            })
        };
        self.served.iter().flat_map(of_zone)
    }
}

/// The name of a zone behind a trigger for its name server.
fn served_by(trigger: &str) -> String {
    host_of(trigger).replace("at-", "by-").replace(".hosts.test", ".served.test")
}

/// The zones that set a trigger of name servers off, and the questions.
fn ask_of_servers(zones: &[PolicyZone], found: &mut Questions) {
    for record in zones.iter().flat_map(|zone| zone.zone.records()) {
        let (zone, records) = match record.trigger {
            Trigger::Name(Kind::NsDname, _, wire) => {
                let name = weir::dns::name::Name::from_wire(wire).expect("names of triggers are valid").to_string();
                let server = name.replace('*', "some");
                (served_by(&name), format!("@ NS {server}.\n"))
            }
            Trigger::Network(Kind::NsIp, network) => {
                let address = network.hosts().last().expect("a network has an address");
                let rtype = if address.is_ipv4() { "A" } else { "AAAA" };
                (served_by(&network.to_string()), format!("@ NS ns\nns {rtype} {address}\n"))
            }
            _ => continue,
        };
        found.served.insert(zone, records + "www A 198.18.0.1\nwww TXT \"served\"\n");
    }
    if zones.iter().any(|zone| zone.name == "ties.rpz") {
        found.served.extend(TIES_BEHIND.iter().map(|(zone, records)| ((*zone).to_owned(), (*records).to_owned())));
    }
    for zone in found.served.keys() {
        let asked = [(RecordType::A, false), (RecordType::A, true), (RecordType::TXT, false)];
        found.of_servers.extend(asked.map(|(rtype, tcp)| Question {
            from: IpAddr::V4(Ipv4Addr::LOCALHOST),
            name: format!("www.{zone}"),
            rtype,
            tcp,
        }));
    }
}

/// All questions about a set.
fn questions(zones: &[PolicyZone]) -> Questions {
    let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut found = Questions::default();
    let (questions, hosts) = (&mut found.all, &mut found.hosts);
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
    ask_of_servers(zones, &mut found);
    found
}

/// NSD with the root, where every name has addresses and a text, and with zones of their own.
fn nsd(scratch: &Scratch, hosts: &str, served: &BTreeMap<&str, &str>) -> Server {
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
    let mut own = String::new();
    for (zone, records) in served {
        let text = format!("$ORIGIN {zone}.\n$TTL 300\n@ SOA ns.test. host.test. 1 3600 600 86400 60\n{records}");
        std::fs::write(home.join(zone), text).expect("a zone file can be written");
        let _ = write!(own, "zone:\n name: {zone}\n zonefile: {zone}\n");
    }
    let home = home.display();
    let config = format!(
        "server:\n ip-address: {}@{}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{home}\"\n database: \"\"\n\
         \x20pidfile: \"{home}/pid\"\n zonelistfile: \"{home}/list\"\n xfrdfile: \"{home}/xfrd\"\n xfrdir: \"{home}\"\n\
         \x20server-count: 1\n rrl-ratelimit: 0\n rrl-whitelist-ratelimit: 0\n minimal-responses: no\n\
         remote-control:\n control-enable: no\nzone:\n name: .\n zonefile: root.zone\n{own}",
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
         notify no;\n\
         minimal-responses yes; response-policy {{ {policies} }} qname-wait-recurse no break-dnssec yes\n\
         recursive-only no nsip-enable yes nsdname-enable yes; }};\ncontrols {{ }};\n{files}",
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
    of_servers: bool,
    differences: &[(&str, &str, &str)],
) {
    let scratch = Scratch::new(peer);
    let sets = sets();
    let all: Vec<_> = sets.iter().map(|(set, zones)| (*set, zones, questions(zones))).collect();
    let hosts: String = all.iter().map(|(_, _, questions)| questions.hosts.as_str()).collect();
    let served = all.iter().flat_map(|(_, _, questions)| &questions.served);
    let nsd = nsd(&scratch, &hosts, &served.map(|(zone, records)| (zone.as_str(), records.as_str())).collect());
    let (mut asked, mut about_servers, mut differ) = (0, 0, Vec::new());
    for (set, zones, questions) in &all {
        let (server, weir) = (start(&scratch, nsd.address, zones), gateway(&scratch, nsd.address, zones));
        let more = questions.of_servers.iter().filter(|_| of_servers);
        about_servers += more.clone().count();
        questions.before().filter(|_| of_servers).for_each(|question| drop(seen(server.address, &question)));
        for question in questions.all.iter().chain(more) {
            let (theirs, ours) = (seen(server.address, question), seen(weir.address, question));
            asked += 1;
            if theirs != ours {
                differ.push(format!("{set}: {question:?}: {peer} {theirs:?}, weir {ours:?}"));
            }
        }
        weir.stop();
        server.daemon.stop();
    }
    println!("{asked} questions about {} sets, {about_servers} with servers, {} differ", all.len(), differ.len());
    differ.iter().for_each(|line| println!("  {line}"));
    let is_listed =
        |line: &str, (set, part, _): &(&str, &str, &str)| line.starts_with(&format!("{set}:")) && line.contains(part);
    let new: Vec<_> = differ.iter().filter(|line| !differences.iter().any(|row| is_listed(line, row))).collect();
    let gone: Vec<_> = differences.iter().filter(|row| !differ.iter().any(|line| is_listed(line, row))).collect();
    assert!(asked > 1000 && (about_servers > 100) == of_servers, "{asked}, {about_servers} questions are not all");
    assert!(new.is_empty() && gone.is_empty(), "{asked} questions\nnew:\n{new:#?}\ngone:\n{gone:#?}");
}

#[test]
fn unbound_gives_the_same_verdicts_from_its_own_zones() {
    compare("unbound", unbound, false, UNBOUND);
}

#[test]
fn bind_gives_the_same_verdicts() {
    compare("bind", bind, true, BIND);
}
