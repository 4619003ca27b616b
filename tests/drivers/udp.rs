//! UDP listeners: batches, the right source address, listeners that come and go, drains, start errors.

use crate::bench::*;
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};
use weir::listen::{Event, StartError};

#[test]
fn ten_thousand_datagrams_from_many_sockets_are_each_answered_once() {
    let (workers, _) = try_start(&[local("127.0.0.1"), local("::1")], 2, limits()).unwrap();
    let listeners = workers.listeners();
    std::thread::scope(|scope| {
        for i in 0..10 {
            let server = listeners[i % 2];
            scope.spawn(move || echo(&udp_client(server), 1000));
        }
    });
    assert_eq!(workers.count(Event::UdpQueries), 10_000);
    until("all are counted", || workers.count(Event::UdpReplies) == 10_000);
    assert_eq!(workers.count(Event::UdpRepliesLost), 0);
    end(workers);
}

/// Port 0 as a source can only be forged: nobody can be answered there.
#[test]
fn datagrams_from_port_0_are_counted_and_are_no_queries() {
    let (workers, _, server) = start(1, limits());
    let Ok(raw) = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)) else {
        return eprintln!("skipped: raw sockets need CAP_NET_RAW");
    };
    let message = query(1, order::ECHO, 1, 2);
    let words = [0, server.port(), 8 + message.len() as u16, 0];
    let datagram: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).chain(message).collect();
    for _ in 0..3 {
        raw.send_to(&datagram, &SocketAddr::new(server.ip(), 0).into()).unwrap();
    }
    until("all are counted", || workers.count(Event::UdpUnanswerable) == 3);
    echo(&udp_client(server), 1);
    assert_eq!(workers.count(Event::UdpQueries), 1);
    end(workers);
}

#[test]
fn a_flood_is_read_in_full_batches_and_nothing_of_it_stays_behind() {
    let (workers, _, server) = start(1, limits());
    let client = udp_client(server);
    // More than a batch at once, many times, so that full and short batches and their end all occur.
    for round in 0..50u16 {
        for id in 0..round * 3 {
            client.send(&query(id, order::DROP, 0, 0)).unwrap();
        }
        echo(&client, 1);
    }
    assert_eq!(workers.count(Event::UdpQueries), 50 * 49 / 2 * 3 + 50);
    end(workers);
}

#[test]
fn a_query_beside_a_flood_that_is_dropped_in_silence_is_answered_at_once() {
    let (workers, _, server) = start(1, limits());
    let is_over = AtomicBool::new(false);
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let flooder = udp_client(server);
            while !is_over.load(SeqCst) {
                // Short batches for most of the time: more of each gather.
                (0..16).for_each(|id| drop(flooder.send(&query(id, order::DROP, 0, 0))));
                std::thread::sleep(Duration::from_micros(20));
            }
        });
        let client = udp_client(server);
        let ask = |id| {
            let begin = Instant::now();
            client.send(&query(id, order::ECHO, 1, 2)).unwrap();
            assert_eq!(answered(&client, 1), [id].into());
            begin.elapsed()
        };
        let times = (0..500).map(ask).collect();
        is_over.store(true, SeqCst);
        times
    });
    times.sort_unstable();
    // Gathered is for 50 us; the bound is one for cores that are shared.
    assert!(times[250] < Duration::from_millis(3), "the median is {:?}, the longest {:?}", times[250], times[499]);
    end(workers);
}

#[test]
fn listeners_come_and_go_while_the_others_lose_nothing() {
    let (mut workers, _) = try_start(&[local("127.0.0.1"), local("127.0.0.1")], 2, limits()).unwrap();
    let [stays, goes] = workers.listeners().try_into().unwrap();
    /// Ends the steady client, also when an assertion fails.
    struct Done<'d>(&'d AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
        }
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let steady = scope.spawn(|| {
            let client = udp_client(stays);
            let mut rounds = 0;
            while !done.load(SeqCst) || rounds == 0 {
                echo(&client, 500);
                rounds += 1;
            }
        });
        let finish = Done(&done);
        for _ in 0..10 {
            // What is queued on a listener when it is removed is answered still.
            let leaving = udp_client(goes);
            for id in 0..200 {
                leaving.send(&query(id, order::ECHO, 0, 0)).unwrap();
            }
            block_on(workers.set_listeners(&[stays, local("::1")])).unwrap();
            assert_eq!(answered(&leaving, 200).len(), 200);
            let new = workers.listeners()[1];
            assert!(new.is_ipv6() && workers.listeners().len() == 2);
            echo(&udp_client(new), 10);
            block_on(workers.set_listeners(&[stays, goes])).unwrap();
            echo(&udp_client(goes), 10);
        }
        drop(finish);
        steady.join().unwrap();
    });
    end(workers);
}

#[test]
fn a_change_that_cannot_be_made_whole_is_not_made() {
    let (mut workers, _, server) = start(1, limits());
    let other = TcpListener::bind(local("127.0.0.1")).unwrap().local_addr().unwrap();
    let taken = UdpSocket::bind(local("127.0.0.1")).unwrap();
    let wanted = [other, taken.local_addr().unwrap(), "192.0.2.77:5300".parse().unwrap()];
    let error = block_on(workers.set_listeners(&wanted)).unwrap_err();
    let StartError::Listen(errors) = &error else { panic!("{error}") };
    assert_eq!(errors.len(), 2, "{error}");
    assert!(error.to_string().contains("(udp): address in use"), "{error}");
    assert!(error.to_string().contains("192.0.2.77:5300 (udp): no interface of this machine"), "{error}");
    assert_eq!(workers.listeners(), [server]);
    echo(&udp_client(server), 10);
    end(workers);
}

#[test]
fn a_second_gateway_on_the_same_address_does_not_start() {
    let (workers, _, server) = start(2, limits());
    let error = try_start(&[server], 1, limits()).map(|_| ()).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot listen on {server} (udp): address in use")), "{error}");
    echo(&udp_client(server), 10);
    end(workers);
    let (again, _) = try_start(&[server], 1, limits()).expect("an ended gateway leaves its address free");
    end(again);
}

#[test]
fn a_drain_answers_what_is_queued_and_what_is_in_flight() {
    let (workers, world, server) = start(1, limits());
    let upstream = UdpSocket::bind(local("127.0.0.1")).unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    *world.upstreams.lock().unwrap() = vec![Some(upstream.local_addr().unwrap())];
    let client = udp_client(server);
    for id in 0..100 {
        client.send(&query(id, order::UDP, 0, 0)).unwrap();
    }
    let draining = std::thread::spawn(move || block_on(workers.drain(PATIENCE)));
    let mut buffer = [0; 512];
    let asked: Vec<_> =
        (0..100).map(|_| upstream.recv_from(&mut buffer).map(|(_, from)| (id_of(&buffer), from))).collect();
    for asked in asked {
        let (id, from) = asked.expect("all that was queued is asked");
        let mut response = query(id, order::UDP, 0, 0);
        response[2] |= 0x80;
        upstream.send_to(&response, from).unwrap();
    }
    assert_eq!(answered(&client, 100).len(), 100);
    assert!(draining.join().unwrap());
}

#[test]
fn an_upstream_that_stays_silent_does_not_hold_a_drain_beyond_its_deadline() {
    let (workers, world, server) = start(1, limits());
    let silent = UdpSocket::bind(local("127.0.0.1")).unwrap();
    *world.upstreams.lock().unwrap() = vec![Some(silent.local_addr().unwrap())];
    udp_client(server).send(&query(1, order::UDP, 0, 0)).unwrap();
    until("the query is in flight", || workers.count(Event::UpstreamSent) == 1);
    assert!(block_on(workers.drain(Duration::from_millis(50))));
}

#[test]
fn an_idle_worker_ticks_slowly_and_a_busy_one_fast() {
    let (workers, world, server) = start(1, limits());
    let client = udp_client(server);
    client.send(&query(1, order::HOLD, 0, 0)).unwrap();
    until("a busy worker ticks", || world.ticks.load(SeqCst) > 20);
    client.send(&query(2, order::RELEASE, 0, 0)).unwrap();
    let mut buffer = [0; 512];
    for _ in 0..2 {
        client.recv(&mut buffer).unwrap();
    }
    end(workers);
}
