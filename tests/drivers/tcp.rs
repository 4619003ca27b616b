//! Client connections: RFC 7766, and the clients who hold one without using it.

use crate::bench::*;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};
use weir::listen::Event;
use weir::policy::server::TcpLimits;

const SHORT: Duration = Duration::from_millis(150);

/// Whether the other side has closed, waiting for it.
fn is_closed(stream: &mut TcpStream) -> bool {
    receive(stream).is_none()
}

#[test]
fn pipelined_queries_are_answered_as_they_are_ready() {
    let (workers, _, server) = start(1, limits());
    let mut client = tcp_client(server);
    let mut queries = Vec::new();
    for id in 0..10 {
        queries.extend(framed(&query(id, order::HOLD, 0, 0)));
    }
    queries.extend(framed(&query(10, order::ECHO, 0, 0)));
    client.write_all(&queries).unwrap();
    assert_eq!(id_of(&receive(&mut client).unwrap()), 10, "an answer that is ready waits for no other");
    send(&mut client, &query(11, order::RELEASE, 0, 0));
    let ids: Vec<_> = (0..11).map(|_| id_of(&receive(&mut client).unwrap())).collect();
    assert_eq!(ids, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 11]);
    end(workers);
}

#[test]
fn messages_come_whole_whatever_the_segments() {
    let (workers, _, server) = start(1, limits());
    let mut client = tcp_client(server);
    let mut large = query(7, order::ECHO, 0, 0);
    large.resize(65_535, 0x33);
    // Byte by byte, then a message of the largest size, then many at once.
    for byte in framed(&query(6, order::ECHO, 0, 0)) {
        client.write_all(&[byte]).unwrap();
    }
    assert_eq!(id_of(&receive(&mut client).unwrap()), 6);
    send(&mut client, &large);
    large[2] |= 0x80;
    assert!(receive(&mut client).unwrap() == large);
    let many: Vec<u8> = (0..1000).flat_map(|id| framed(&query(id, order::ECHO, 0, 0))).collect();
    client.write_all(&many).unwrap();
    assert!((0..1000).all(|id| id_of(&receive(&mut client).unwrap()) == id));
    until("all answers are counted", || workers.count(Event::TcpAnswers) == 1002);
    assert_eq!(workers.count(Event::TcpQueries), 1002);
    end(workers);
}

#[test]
fn a_full_pipeline_stops_the_reading_until_answers_go_out() {
    let (workers, _, server) = start(1, TcpLimits { pipeline: 4, ..limits() });
    let mut client = tcp_client(server);
    let mut queries: Vec<u8> = (0..20).flat_map(|id| framed(&query(id, order::HOLD, 0, 0))).collect();
    queries.extend(framed(&query(20, order::HOLD, 0, 0)));
    client.write_all(&queries).unwrap();
    until("four queries are read", || workers.count(Event::TcpQueries) == 4);
    let mut other = tcp_client(server);
    let mut ids = Vec::new();
    for release in 0..6 {
        send(&mut other, &query(100 + release, order::RELEASE, 0, 0));
        assert_eq!(id_of(&receive(&mut other).unwrap()), 100 + release);
        let due = if release < 5 { 4 } else { 1 };
        let mut batch: Vec<_> = (0..due).map(|_| id_of(&receive(&mut client).unwrap())).collect();
        batch.reverse();
        ids.extend(batch);
        let read = (4 * (u64::from(release) + 2)).min(21) + u64::from(release) + 1;
        until("the next four are read", || workers.count(Event::TcpQueries) >= read);
    }
    assert_eq!(ids, (0..21).collect::<Vec<u16>>());
    end(workers);
}

#[test]
fn a_client_that_half_closes_still_gets_its_answers() {
    let (workers, _, server) = start(1, limits());
    let mut client = tcp_client(server);
    send(&mut client, &query(1, order::HOLD, 0, 0));
    send(&mut client, &query(2, order::ECHO, 0, 0));
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(id_of(&receive(&mut client).unwrap()), 2);
    let mut other = tcp_client(server);
    send(&mut other, &query(3, order::RELEASE, 0, 0));
    assert_eq!(id_of(&receive(&mut client).unwrap()), 1);
    assert!(is_closed(&mut client), "nothing is owed any more");
    until("the connection is gone", || workers.connections() == 1);
    assert_eq!(workers.count(Event::TcpIdle), 0);
    end(workers);
}

#[test]
fn an_idle_connection_is_closed_and_one_in_use_is_not() {
    let (workers, _, server) = start(1, TcpLimits { idle: SHORT, ..limits() });
    let (mut idle, mut used) = (tcp_client(server), tcp_client(server));
    let begin = Instant::now();
    while begin.elapsed() < 3 * SHORT {
        send(&mut used, &query(1, order::ECHO, 0, 0));
        assert!(receive(&mut used).is_some());
    }
    assert!(is_closed(&mut idle));
    assert_eq!(workers.count(Event::TcpIdle), 1);
    send(&mut used, &query(1, order::ECHO, 0, 0));
    assert!(receive(&mut used).is_some());
    end(workers);
}

#[test]
fn half_a_query_is_cut_off_however_busily_it_drips() {
    let (workers, _, server) = start(1, TcpLimits { stall: SHORT, ..limits() });
    let mut half = tcp_client(server);
    half.write_all(&[0]).unwrap();
    assert!(is_closed(&mut half), "half a length");
    let mut dripping = tcp_client(server);
    dripping.write_all(&60_000u16.to_be_bytes()).unwrap();
    let begin = Instant::now();
    while dripping.write_all(&[0]).is_ok() {
        assert!(begin.elapsed() < PATIENCE, "a byte now and then keeps no connection open");
        // Without a pause all 60 000 bytes may be there before the limit strikes.
        std::thread::sleep(Duration::from_millis(1));
    }
    until("both are counted", || workers.count(Event::TcpStalled) == 2);
    end(workers);
}

#[test]
fn a_client_that_does_not_take_its_answers_is_cut_off() {
    let (workers, _, server) = start(1, TcpLimits { stall: SHORT, ..limits() });
    let mut slow = tcp_client(server);
    let [a, b] = 65_535u16.to_be_bytes();
    // Asks and never reads: first the kernel's buffers fill, then our reading stops, then the stall limit strikes.
    let begin = Instant::now();
    while slow.write_all(&framed(&query(1, order::BIG, a, b))).is_ok() {
        assert!(begin.elapsed() < PATIENCE, "it may ask forever");
    }
    until("it is counted", || workers.count(Event::TcpStalled) == 1);
    until("its place is free", || workers.connections() == 0);
    let mut other = tcp_client(server);
    send(&mut other, &query(2, order::BIG, a, b));
    assert_eq!(receive(&mut other).unwrap().len(), 65_535);
    end(workers);
}

#[test]
fn queries_that_are_dropped_do_not_fill_the_pipeline_for_ever() {
    let (workers, _, server) = start(1, TcpLimits { pipeline: 2, idle: PATIENCE, ..limits() });
    let mut client = tcp_client(server);
    for id in 0..2 {
        send(&mut client, &query(id, order::DROP, 0, 0));
    }
    send(&mut client, &query(2, order::ECHO, 0, 0));
    assert_eq!(id_of(&receive(&mut client).unwrap()), 2);
    end(workers);
}

#[test]
fn what_cannot_be_a_message_ends_the_connection() {
    let (workers, _, server) = start(1, limits());
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0], &[0, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]] {
        let mut client = tcp_client(server);
        client.write_all(garbage).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert!(is_closed(&mut client));
    }
    until("all are gone", || workers.connections() == 0);
    assert_eq!(workers.count(Event::TcpGarbage), 2, "HTTP looks like the begin of a long message");
    end(workers);
}

#[test]
fn connections_are_counted_over_all_workers_and_limits_can_change() {
    let few = TcpLimits { connections: 8, per_client: 5, ..limits() };
    let (workers, _, server) = start(2, few.clone());
    let mut open: Vec<_> = (0..5).map(|_| tcp_client(server)).collect();
    until("five are in", || workers.connections() == 5);
    assert!(is_closed(&mut tcp_client(server)), "a sixth of the same client");
    assert_eq!(workers.count(Event::TcpClientFull), 1);
    workers.set_tcp_limits(TcpLimits { per_client: 100, ..few });
    open.extend((0..3).map(|_| tcp_client(server)));
    until("eight are in", || workers.connections() == 8);
    for client in &mut open {
        send(client, &query(1, order::ECHO, 0, 0));
        assert!(receive(client).is_some());
    }
    drop(open);
    until("none is in", || workers.connections() == 0);
    end(workers);
}

#[test]
fn accepting_waits_while_all_connections_are_in_use() {
    let (workers, _, server) = start(1, TcpLimits { connections: 3, ..limits() });
    let mut busy: Vec<_> = (0..3).map(|_| tcp_client(server)).collect();
    for client in &mut busy {
        send(client, &query(1, order::HOLD, 0, 0));
    }
    until("all are busy", || workers.count(Event::TcpQueries) == 3);
    let mut fourth = tcp_client(server);
    send(&mut fourth, &query(2, order::ECHO, 0, 0));
    until("a fourth waits", || workers.count(Event::TcpFull) > 0);
    assert_eq!((workers.count(Event::TcpEvicted), workers.connections()), (0, 3));
    udp_client(server).send(&query(3, order::RELEASE, 0, 0)).unwrap();
    assert_eq!(id_of(&receive(&mut fourth).unwrap()), 2, "as soon as one is idle");
    assert_eq!(workers.count(Event::TcpEvicted), 1);
    drop((busy, fourth));
    until("none is in", || workers.connections() == 0);
    end(workers);
}

#[test]
fn at_the_bound_the_longest_idle_goes_first() {
    let (workers, _, server) = start(1, TcpLimits { connections: 3, ..limits() });
    let mut clients: Vec<_> = (0..3).map(|_| tcp_client(server)).collect();
    for client in &mut clients {
        send(client, &query(1, order::ECHO, 0, 0));
        assert!(receive(client).is_some());
    }
    send(&mut clients[0], &query(2, order::HOLD, 0, 0));
    until("it is held", || workers.count(Event::TcpQueries) == 4);
    let mut fourth = tcp_client(server);
    send(&mut fourth, &query(3, order::ECHO, 0, 0));
    assert!(receive(&mut fourth).is_some());
    assert!(is_closed(&mut clients[1]), "the first that was idle");
    for client in [&mut fourth, &mut clients[2]] {
        send(client, &query(4, order::ECHO, 0, 0));
        assert!(receive(client).is_some());
    }
    send(&mut fourth, &query(5, order::RELEASE, 0, 0));
    assert_eq!(id_of(&receive(&mut clients[0]).unwrap()), 2, "who waits for an answer is not idle");
    assert_eq!((workers.count(Event::TcpEvicted), workers.count(Event::TcpFull)), (1, 0));
    drop((clients, fourth));
    until("none is in", || workers.connections() == 0);
    end(workers);
}

#[test]
fn a_drain_answers_connections_and_closes_them() {
    let (workers, _, server) = start(1, limits());
    let (mut asking, mut idle, mut half) = (tcp_client(server), tcp_client(server), tcp_client(server));
    send(&mut asking, &query(1, order::HOLD, 0, 0));
    half.write_all(&[0, 30, 1]).unwrap();
    until("the query is held", || workers.count(Event::TcpQueries) == 1);
    until("all are accepted", || workers.connections() == 3);
    let releasing = udp_client(server);
    let begin = Instant::now();
    let draining = std::thread::spawn(move || {
        releasing.send(&query(2, order::RELEASE, 0, 0)).unwrap();
        block_on(workers.drain(PATIENCE))
    });
    assert_eq!(id_of(&receive(&mut asking).unwrap()), 1);
    assert!(is_closed(&mut asking) && is_closed(&mut idle) && is_closed(&mut half));
    assert!(draining.join().unwrap());
    assert!(begin.elapsed() < PATIENCE / 2, "it waited for nobody");
    assert!(TcpStream::connect_timeout(&server, PATIENCE).is_err(), "nobody listens any more");
}
