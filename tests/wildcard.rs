//! A listener on all addresses, which needs a network namespace of its own. And a test program of its own: starting one
//! copies every socket that is open, so nothing that opens or closes listeners may run beside it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

#[path = "drivers/bench.rs"]
mod bench;

use bench::*;
use std::net::{SocketAddr, SocketAddrV6, UdpSocket};
use std::process::Command;
use std::time::Duration;
use weir::listen::Event;

#[test]
fn a_wildcard_listener_answers_from_the_address_that_was_asked() {
    let set_up = "ip link set lo up && ip addr add 192.0.2.1/32 dev lo && ip addr add 2001:db8::1/128 dev lo nodad && \
                  ip addr add fe80::1234/64 dev lo nodad";
    let possible = Command::new("unshare").args(["--net", "sh", "-c", set_up]).output();
    if !possible.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no network namespace can be made here: {possible:?}");
        return;
    }
    let this = std::env::current_exe().unwrap();
    let inside = format!("{set_up} && exec {} --exact inside_a_namespace --ignored", this.display());
    let output = Command::new("unshare").args(["--net", "sh", "-c", &inside]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "run by the test above, inside its namespace"]
fn inside_a_namespace() {
    let (workers, world) = try_start(&[local("0.0.0.0"), local("::")], 2, limits()).unwrap();
    let [v4, v6] = workers.listeners().try_into().unwrap();
    // The loopback interface is the first of every namespace.
    let scope = 1;
    let link_local = SocketAddrV6::new("fe80::1234".parse().unwrap(), v6.port(), 0, scope);
    let mut asked = Vec::new();
    for ip in ["127.0.0.1", "127.0.0.5", "192.0.2.1", "::1", "2001:db8::1"] {
        let ip: std::net::IpAddr = ip.parse().unwrap();
        let server = SocketAddr::new(ip, if ip.is_ipv4() { v4.port() } else { v6.port() });
        asked.push(server);
    }
    asked.push(link_local.into());
    for server in asked {
        // The kernel completes an IPv6 address some time after it was added.
        let mut itself = server;
        itself.set_port(0);
        until("the address serves", || {
            let probe = UdpSocket::bind(itself);
            probe.is_ok_and(|probe| {
                probe.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
                probe.local_addr().and_then(|to| probe.send_to(b"probe", to)).is_ok() && probe.recv(&mut [0; 8]).is_ok()
            })
        });
        // A connected socket hears nobody else, so an answer from another address never arrives.
        let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let client = UdpSocket::bind(any).unwrap();
        client.connect(server).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        echo(&client, 20);
        assert!(world.locals.lock().unwrap().contains(&server.ip()), "the core was not told that {server} was asked");
        send(&mut tcp_client(server), &query(1, order::DROP, 0, 0));
    }
    // A client may ask a link-local address from a global one.
    let client = UdpSocket::bind("[2001:db8::1]:0").unwrap();
    client.connect(link_local).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    echo(&client, 20);
    until("all are counted", || workers.count(Event::UdpReplies) == 7 * 20);
    end(workers);
}
