//! The servers that stand behind the gateway, each with the configuration that the tests rely on.

use super::ask;
use super::harness::{Daemon, Scratch, free_address};
use hickory_proto::rr::RecordType;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use tokio::sync::oneshot;
use weir::lab::Counters;

/// Hosts in a zone made by [`zone`]: enough for a transfer of many messages.
pub(crate) const HOSTS: usize = 3000;

/// The TSIG key that transfers, NOTIFY and UPDATE are signed with.
pub(crate) const KEY_NAME: &str = "peers.key";
/// Its secret, in base64.
pub(crate) const KEY_SECRET: &str = "d2VpciBwZWVycyB0ZXN0IGtleSwgMzIgYnl0ZXMhISE=";

/// The key as dig, kdig and nsupdate take it.
pub(crate) fn key() -> String {
    format!("hmac-sha256:{KEY_NAME}:{KEY_SECRET}")
}

/// A server in the foreground and where it answers.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) daemon: Daemon,
}

/// Master-file text with the kinds of records that the tests ask for.
pub(crate) fn zone(origin: &str, serial: u32) -> String {
    let mut text = format!(
        "$ORIGIN {origin}.\n$TTL 300\n@ SOA ns1 hostmaster {serial} 3600 600 86400 60\n@ NS ns1\nns1 A 192.0.2.53\n\
         www A 192.0.2.1\nwww A 192.0.2.2\nwww AAAA 2001:db8::1\nalias CNAME www\nv4only A 192.0.2.4\n\
         *.wild A 192.0.2.80\ndeleg NS ns.deleg\nns.deleg A 192.0.2.90\nshort 2 A 192.0.2.5\n\
         blocked A 192.0.2.6\nsub.blocked A 192.0.2.7\n\
         svc TYPE65 \\# 11 00010000040004c0000242\n"
    );
    for (name, strings) in [("large", 9), ("huge", 30)] {
        for number in 0..strings {
            let _ = writeln!(text, "{name} TXT \"{number:03} {}\"", "large answers need room ".repeat(7));
        }
    }
    for host in 0..HOSTS {
        let _ = writeln!(text, "host{host:04} A 10.53.{}.{}", host / 250, host % 250 + 1);
    }
    text
}

/// The text of a zone of the transfer test, small.
pub(crate) fn small_zone(origin: &str, serial: u32, address: &str) -> String {
    format!(
        "$ORIGIN {origin}.\n$TTL 300\n@ SOA ns1 hostmaster {serial} 3600 600 86400 60\n@ NS ns1\nns1 A 192.0.2.53\n\
         www A {address}\n"
    )
}

/// NSD with `plain.test`; transfers with the key only.
pub(crate) fn nsd(scratch: &Scratch) -> Server {
    nsd_at(scratch, free_address(), "nsd-id")
}

/// [`nsd`] at an address that is known beforehand, with a name for `id.server`.
pub(crate) fn nsd_at(scratch: &Scratch, address: SocketAddr, identity: &str) -> Server {
    let home = scratch.directory(&format!("nsd-{}", address.port()));
    std::fs::write(home.join("plain.zone"), zone("plain.test", 1)).expect("a zone file can be written");
    let home = home.display();
    let config = format!(
        "server:\n ip-address: {}@{}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{home}\"\n database: \"\"\n\
         \x20pidfile: \"{home}/pid\"\n zonelistfile: \"{home}/list\"\n xfrdfile: \"{home}/xfrd\"\n xfrdir: \"{home}\"\n\
         \x20server-count: 1\n rrl-ratelimit: 0\n rrl-whitelist-ratelimit: 0\n refuse-any: no\n hide-version: no\n\
         \x20version: \"nsd under test\"\n identity: \"{identity}\"\n ipv4-edns-size: 4096\n\
         remote-control:\n control-enable: no\n\
         key:\n name: \"{KEY_NAME}\"\n algorithm: hmac-sha256\n secret: \"{KEY_SECRET}\"\n\
         zone:\n name: plain.test\n zonefile: plain.zone\n provide-xfr: 127.0.0.1 {KEY_NAME}\n",
        address.ip(),
        address.port()
    );
    let file = scratch.write(&format!("nsd-{}.conf", address.port()), &config);
    let daemon = Daemon::start(scratch, "nsd", &["-d", "-c", file.to_str().expect("UTF-8")]);
    let daemon = daemon.wait(|| ask::answers(address, "plain.test", RecordType::SOA));
    Server { address, daemon }
}

/// Knot DNS with `signed.test`, which it signs itself, and transfers with the key.
pub(crate) fn knot(scratch: &Scratch) -> Server {
    let address = free_address();
    let home = scratch.directory(&format!("knot-{}", address.port()));
    scratch.directory(&format!("knot-{}/db", address.port()));
    std::fs::write(home.join("signed.zone"), zone("signed.test", 1)).expect("a zone file can be written");
    let home = home.display();
    let config = format!(
        "server:\n  rundir: \"{home}\"\n  listen: {}@{}\n  version: \"knot under test\"\n  identity: \"knot-id\"\n\
         \x20 udp-max-payload: 4096\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: \"{home}/db\"\n\
         log:\n  - target: stderr\n    any: info\n\
         key:\n  - id: {KEY_NAME}\n    algorithm: hmac-sha256\n    secret: {KEY_SECRET}\n\
         acl:\n  - id: transfer\n    key: {KEY_NAME}\n    action: [transfer]\n\
         policy:\n  - id: sign\n    algorithm: ecdsap256sha256\n    single-type-signing: on\n    nsec3: off\n\
         zone:\n  - domain: signed.test\n    storage: \"{home}\"\n    file: signed.zone\n    acl: [transfer]\n\
         \x20   dnssec-signing: on\n    dnssec-policy: sign\n    zonefile-sync: -1\n    zonefile-load: difference-no-serial\n\
         \x20   journal-content: all\n",
        address.ip(),
        address.port()
    );
    let file = scratch.write(&format!("knot-{}.conf", address.port()), &config);
    let daemon = Daemon::start(scratch, "knotd", &["-c", file.to_str().expect("UTF-8")]);
    let daemon = daemon.wait(|| {
        let signed = ask::udp(address, "signed.test", RecordType::DNSKEY);
        signed.is_some_and(|answer| !answer.answers.is_empty())
    });
    Server { address, daemon }
}

/// Knot DNS with one zone that takes updates with the key, and tells `notified` of each.
pub(crate) fn knot_with(scratch: &Scratch, address: SocketAddr, zone: (&str, &str), notified: SocketAddr) -> Server {
    let (name, text) = zone;
    let home = scratch.directory(&format!("knot-{}", address.port()));
    scratch.directory(&format!("knot-{}/db", address.port()));
    std::fs::write(home.join("zone"), text).expect("a zone file can be written");
    let home = home.display();
    let config = format!(
        "server:\n  rundir: \"{home}\"\n  listen: {}@{}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: \"{home}/db\"\nlog:\n  - target: stderr\n    any: info\n\
         key:\n  - id: {KEY_NAME}\n    algorithm: hmac-sha256\n    secret: {KEY_SECRET}\n\
         remote:\n  - id: told\n    address: {}@{}\n    key: {KEY_NAME}\n\
         acl:\n  - id: all\n    key: {KEY_NAME}\n    action: [transfer, update]\n\
         zone:\n  - domain: {name}\n    storage: \"{home}\"\n    file: zone\n    acl: [all]\n    notify: [told]\n\
         \x20   zonefile-sync: -1\n    zonefile-load: whole\n    journal-content: changes\n",
        address.ip(),
        address.port(),
        notified.ip(),
        notified.port()
    );
    let file = scratch.write(&format!("knot-{}.conf", address.port()), &config);
    let daemon = Daemon::start(scratch, "knotd", &["-c", file.to_str().expect("UTF-8")]);
    let daemon = daemon.wait(|| ask::answers(address, name, RecordType::SOA));
    Server { address, daemon }
}

/// A zone of a BIND, as it stands in named.conf after its name.
pub(crate) struct BindZone<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: Option<String>,
    pub(crate) statements: String,
}

/// BIND with these zones, authoritative only.
pub(crate) fn bind(scratch: &Scratch, address: SocketAddr, zones: &[BindZone<'_>]) -> Server {
    bind_with(scratch, address, zones, "")
}

/// [`bind`] with more options.
pub(crate) fn bind_with(scratch: &Scratch, address: SocketAddr, zones: &[BindZone<'_>], options: &str) -> Server {
    let home = scratch.directory(&format!("named-{}", address.port()));
    let mut config = format!(
        "options {{ directory \"{0}\"; pid-file none; session-keyfile none; listen-on port {2} {{ {1}; }};\n\
         listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; version \"bind under test\"; notify no;\n\
         allow-transfer {{ key {KEY_NAME}; }}; minimal-responses no; {options} }};\ncontrols {{ }};\n\
         key \"{KEY_NAME}\" {{ algorithm hmac-sha256; secret \"{KEY_SECRET}\"; }};\n",
        home.display(),
        address.ip(),
        address.port()
    );
    for zone in zones {
        if let Some(text) = &zone.text {
            std::fs::write(home.join(zone.name), text).expect("a zone file can be written");
        }
        let _ = writeln!(config, "zone \"{0}\" {{ file \"{0}\"; {1} }};", zone.name, zone.statements);
    }
    let file = scratch.write(&format!("named-{}.conf", address.port()), &config);
    let daemon = Daemon::start(scratch, "named", &["-g", "-n", "1", "-c", file.to_str().expect("UTF-8")]);
    // A secondary has nothing yet, and says so.
    let daemon = daemon.wait(|| ask::answers(address, zones[0].name, RecordType::SOA));
    Server { address, daemon }
}

/// BIND as a client of `gateway`: a resolver that forwards everything there, with cookies as it sends them by default.
pub(crate) fn bind_forwarder(scratch: &Scratch, gateway: SocketAddr) -> Server {
    let address = free_address();
    let home = scratch.directory(&format!("named-{}", address.port()));
    let config = format!(
        "options {{ directory \"{}\"; pid-file none; session-keyfile none; listen-on port {} {{ {}; }};\n\
         listen-on-v6 {{ none; }}; recursion yes; dnssec-validation no; forward only;\n\
         forwarders {{ {} port {}; }}; empty-zones-enable no; }};\ncontrols {{ }};\n",
        home.display(),
        address.port(),
        address.ip(),
        gateway.ip(),
        gateway.port()
    );
    let file = scratch.write(&format!("named-{}.conf", address.port()), &config);
    let daemon = Daemon::start(scratch, "named", &["-g", "-n", "1", "-c", file.to_str().expect("UTF-8")]);
    let daemon = daemon.wait(|| ask::answers(address, "plain.test", RecordType::SOA));
    Server { address, daemon }
}

/// Unbound: a resolver for `plain.test` at `authority`, with `local.test` of its own and nothing of the internet.
pub(crate) fn unbound(scratch: &Scratch, authority: SocketAddr) -> Server {
    unbound_for(scratch, &[("plain.test", authority)])
}

/// [`unbound`] for these zones, each at its server.
pub(crate) fn unbound_for(scratch: &Scratch, zones: &[(&str, SocketAddr)]) -> Server {
    let address = free_address();
    let home = scratch.directory(&format!("unbound-{}", address.port()));
    let mut local = String::new();
    for number in 0..30 {
        let text = "large answers need room ".repeat(7);
        let _ = writeln!(local, " local-data: 'huge.local.test. 300 TXT \"{number:03} {text}\"'");
    }
    let mut stubs = String::new();
    for (zone, at) in zones {
        let _ = write!(stubs, "stub-zone:\n name: \"{zone}.\"\n stub-addr: {}@{}\n", at.ip(), at.port());
    }
    let config = format!(
        "server:\n interface: {0}\n port: {1}\n username: \"\"\n chroot: \"\"\n directory: \"{home}\"\n pidfile: \"\"\n\
         \x20use-syslog: no\n logfile: \"\"\n num-threads: 1\n do-daemonize: no\n do-not-query-localhost: no\n\
         \x20access-control: 127.0.0.0/8 allow\n module-config: \"iterator\"\n hide-version: no\n hide-identity: no\n\
         \x20version: \"unbound under test\"\n identity: \"unbound-id\"\n max-udp-size: 4096\n edns-buffer-size: 4096\n\
         \x20local-zone: \"test.\" transparent\n local-zone: \"local.test.\" static\n\
         \x20local-data: \"local.test. 300 SOA ns.local.test. hostmaster.local.test. 1 3600 600 86400 60\"\n\
         \x20local-data: \"www.local.test. 300 A 192.0.2.31\"\n local-data: \"short.local.test. 2 A 192.0.2.32\"\n{local}\
         remote-control:\n control-enable: no\n{stubs}",
        address.ip(),
        address.port(),
        home = home.display(),
    );
    let file = scratch.write(&format!("unbound-{}.conf", address.port()), &config);
    let daemon = Daemon::start(scratch, "unbound", &["-d", "-p", "-c", file.to_str().expect("UTF-8")]);
    let daemon = daemon.wait(|| ask::answers(address, "www.local.test", RecordType::A));
    Server { address, daemon }
}

/// The lab of the crate, on a thread of its own.
pub(crate) struct LabServer {
    pub(crate) address: SocketAddr,
    pub(crate) counters: Arc<Counters>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts the lab.
pub(crate) fn lab() -> LabServer {
    let (started, starts) = mpsc::channel();
    let (end, ends) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let lab = weir::lab::start(free_address()).await.expect("the lab starts");
            started.send((lab.address, Arc::clone(&lab.counters))).expect("the test waits for it");
            // Ends also when the sender is dropped.
            let _ = ends.await;
            lab.stop().await;
        });
    });
    let (address, counters) = starts.recv().expect("the lab starts");
    LabServer { address, counters, end: Some(end), thread: Some(thread) }
}

impl Drop for LabServer {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
