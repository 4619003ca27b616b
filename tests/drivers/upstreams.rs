//! Sockets and connections toward upstreams.

use crate::bench::*;
use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::Ordering::SeqCst;
use weir::gateway::{LinkId, LinkPort};
use weir::listen::Event;

/// Answers `count` queries by echoing them with QR=1; returns who asked.
fn answer_all(upstream: &UdpSocket, count: usize) -> Vec<SocketAddr> {
    let mut buffer = [0; 4096];
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    (0..count)
        .map(|_| {
            let (len, from) = upstream.recv_from(&mut buffer).expect("a query comes");
            buffer[2] |= 0x80;
            upstream.send_to(&buffer[..len], from).unwrap();
            from
        })
        .collect()
}

#[test]
fn each_port_is_a_socket_of_its_own_until_it_is_rotated() {
    let (workers, world, server) = start(1, limits());
    let upstream = UdpSocket::bind(local("127.0.0.1")).unwrap();
    *world.upstreams.lock().unwrap() = vec![Some(upstream.local_addr().unwrap())];
    let client = udp_client(server);
    let mut buffer = [0; 512];
    let mut ask = |port: u8| {
        client.send(&query(u16::from(port), order::UDP, 0, port)).unwrap();
        let from = answer_all(&upstream, 1)[0];
        client.recv(&mut buffer).unwrap();
        assert_eq!(id_of(&buffer), u16::from(port));
        from
    };
    let first: Vec<_> = (0..8).map(&mut ask).collect();
    let second: Vec<_> = (0..8).map(&mut ask).collect();
    assert_eq!(first, second, "a port keeps its socket");
    assert_eq!(first.iter().collect::<HashSet<_>>().len(), 8);
    let port = LinkPort { link: LinkId { slot: 0, generation: 0 }, port: 3 };
    world.rotate.lock().unwrap().push(port);
    until("the port is taken", || world.rotate.lock().unwrap().is_empty());
    let third: Vec<_> = (0..8).map(&mut ask).collect();
    let changed: Vec<_> = (0..8).filter(|port| first[*port] != third[*port]).collect();
    assert_eq!(changed, [3]);
    assert_eq!(workers.count(Event::UpstreamSockets), 9);
    end(workers);
}

#[test]
fn a_new_use_of_a_slot_gets_new_sockets_and_a_link_that_left_loses_them() {
    let (workers, world, server) = start(1, limits());
    let [old, new] = ["127.0.0.1"; 2].map(|ip| UdpSocket::bind(local(ip)).unwrap());
    *world.upstreams.lock().unwrap() = vec![Some(old.local_addr().unwrap())];
    let client = udp_client(server);
    let mut buffer = [0; 512];
    client.send(&query(1, order::UDP, 0, 0)).unwrap();
    let asked_from = answer_all(&old, 1)[0];
    client.recv(&mut buffer).unwrap();
    *world.upstreams.lock().unwrap() = vec![Some(new.local_addr().unwrap())];
    world.generation.store(1, SeqCst);
    client.send(&query(2, order::UDP, 0, 0)).unwrap();
    let new_from = answer_all(&new, 1)[0];
    assert!(UdpSocket::bind(new_from).is_err(), "in use");
    client.recv(&mut buffer).unwrap();
    assert_eq!(id_of(&buffer), 2);
    // The old socket is closed: its port can be bound again.
    until("the old port is free", || UdpSocket::bind(asked_from).is_ok());
    world.upstreams.lock().unwrap().clear();
    until("the port of a link that left is free", || UdpSocket::bind(new_from).is_ok());
    end(workers);
}

#[test]
fn a_refused_datagram_is_told_to_the_core_at_once() {
    let (workers, world, server) = start(1, limits());
    let closed = UdpSocket::bind(local("127.0.0.1")).unwrap().local_addr().unwrap();
    *world.upstreams.lock().unwrap() = vec![Some(closed), None];
    let client = udp_client(server);
    let mut buffer = [0; 512];
    for (id, slot) in [(1, 0), (2, 0), (3, 1)] {
        client.send(&query(id, order::UDP, slot, 0)).unwrap();
        client.recv(&mut buffer).expect("the core answers as soon as it knows");
        assert_eq!((id_of(&buffer), buffer[3]), (id, 2));
    }
    assert!(world.unreachable.load(SeqCst) >= 3);
    end(workers);
}

#[test]
fn a_response_over_our_buffer_arrives_as_truncated() {
    let (workers, world, server) = start(1, limits());
    let upstream = UdpSocket::bind(local("127.0.0.1")).unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    *world.upstreams.lock().unwrap() = vec![Some(upstream.local_addr().unwrap())];
    let client = udp_client(server);
    client.send(&query(1, order::UDP, 0, 0)).unwrap();
    let mut buffer = [0; 512];
    let (_, from) = upstream.recv_from(&mut buffer).unwrap();
    let mut large = vec![0, 1, 0x80, 0, 0, 1, 0, 9, 0, 9, 0, 9];
    large.extend(b"\x07example\x00\x00\x10\x00\x01");
    large.resize(5000, 0);
    upstream.send_to(&large, from).unwrap();
    let len = client.recv(&mut buffer).unwrap();
    assert_eq!(buffer[..len], *b"\x00\x01\x82\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x00\x00\x10\x00\x01");
    assert_eq!(workers.count(Event::UpstreamOversized), 1);
    end(workers);
}

#[test]
fn tcp_upstreams_are_asked_over_connections_that_are_used_again() {
    let (workers, world, server) = start(1, limits());
    let upstream = TcpListener::bind(local("127.0.0.1")).unwrap();
    *world.upstreams.lock().unwrap() = vec![Some(upstream.local_addr().unwrap())];
    let client = udp_client(server);
    let mut buffer = [0; 512];
    client.send(&query(0, order::TCP, 0, 0)).unwrap();
    let mut stream = accept(&upstream);
    for id in 0..20 {
        if id > 0 {
            client.send(&query(id, order::TCP, 0, 0)).unwrap();
        }
        let asked = receive(&mut stream).unwrap();
        send(&mut stream, &asked);
        client.recv(&mut buffer).unwrap();
        assert_eq!(id_of(&buffer), id);
    }
    // Pipelined, answered the last first; and not over more than two connections however many there are.
    for id in 100..130 {
        client.send(&query(id, order::TCP, 0, 0)).unwrap();
    }
    let asked: Vec<_> = (0..30).map(|_| receive(&mut stream).unwrap()).collect();
    for query in asked.iter().rev() {
        send(&mut stream, query);
    }
    assert_eq!(answered(&client, 30), (100..130).collect());
    assert_eq!(workers.count(Event::StreamsOpened), 1);
    for id in 0..200 {
        client.send(&query(id, order::TCP, 0, 0)).unwrap();
    }
    let mut second = accept(&upstream);
    // Both break off: what was due on them is told to the core, which answers.
    receive(&mut stream).unwrap();
    receive(&mut second).unwrap();
    until("all are asked", || workers.count(Event::UdpQueries) == 250);
    drop((stream, second));
    assert_eq!(answered(&client, 200).len(), 200);
    assert_eq!(workers.count(Event::StreamsOpened), 2);
    end(workers);
}

#[test]
fn what_is_due_on_a_connection_that_ends_is_told_and_nothing_else() {
    let (workers, world, server) = start(1, limits());
    let upstream = TcpListener::bind(local("127.0.0.1")).unwrap();
    *world.upstreams.lock().unwrap() = vec![Some(upstream.local_addr().unwrap())];
    let client = udp_client(server);
    let ask = |ids: std::ops::Range<u16>| {
        for id in ids {
            client.send(&query(id, order::TCP, 0, 0)).unwrap();
        }
    };
    // The first is busy with 32, so that a second one is opened for the others.
    ask(0..32);
    let mut first = accept(&upstream);
    let on_first: Vec<_> = (0..32).map(|_| receive(&mut first).unwrap()).collect();
    ask(32..42);
    let mut second = accept(&upstream);
    let on_second: Vec<_> = (0..10).map(|_| receive(&mut second).unwrap()).collect();
    // It answers some, not in order, and ends as a server does that idles or has had enough.
    on_first[5..25].iter().rev().for_each(|query| send(&mut first, query));
    assert_eq!(answered(&client, 20), (5..25).collect());
    drop(first);
    assert_eq!(answered(&client, 12), (0..5).chain(25..32).collect());
    assert_eq!((world.ended.load(SeqCst), world.unreachable.load(SeqCst)), (12, 0));
    on_second.iter().for_each(|query| send(&mut second, query));
    assert_eq!(answered(&client, 10), (32..42).collect());
    assert_eq!((world.ended.load(SeqCst), workers.count(Event::StreamsFailed)), (12, 1));
    end(workers);
}

#[test]
fn a_connection_that_is_refused_or_closed_by_the_upstream_is_opened_anew() {
    let (workers, world, server) = start(1, limits());
    let address = TcpListener::bind(local("127.0.0.1")).unwrap().local_addr().unwrap();
    *world.upstreams.lock().unwrap() = vec![Some(address)];
    let client = udp_client(server);
    let mut buffer = [0; 512];
    client.send(&query(1, order::TCP, 0, 0)).unwrap();
    client.recv(&mut buffer).unwrap();
    assert_eq!((id_of(&buffer), buffer[3], world.unreachable.load(SeqCst)), (1, 2, 1));
    let upstream = TcpListener::bind(address).unwrap();
    for id in 2..5 {
        client.send(&query(id, order::TCP, 0, 0)).unwrap();
        let mut stream = accept(&upstream);
        let asked = receive(&mut stream).unwrap();
        send(&mut stream, &asked);
        client.recv(&mut buffer).unwrap();
        assert_eq!((id_of(&buffer), buffer[3]), (id, 0));
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // The gateway closes its side once it has seen that.
        assert!(receive(&mut stream).is_none());
        assert_eq!(workers.count(Event::StreamsOpened), u64::from(id) - 1);
    }
    assert_eq!(world.unreachable.load(SeqCst), 1, "a connection that nobody waits on just ends");
    end(workers);
}
