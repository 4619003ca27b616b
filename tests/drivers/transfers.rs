//! Zone transfers through client connections.

use crate::bench::*;
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use weir::listen::{Event, Workers};
use weir::policy::server::TcpLimits;

const AXFR: &[u8] = b"\x07example\x00\x00\xfc\x00\x01";

/// An order to transfer: the order's bytes, then the query that the upstream gets.
fn transfer(id: u16) -> Vec<u8> {
    let mut order = query(id, order::TRANSFER, 0, 0);
    order.extend(asked(id));
    order
}

fn asked(id: u16) -> Vec<u8> {
    let mut asked = id.to_be_bytes().to_vec();
    asked.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    asked.extend(AXFR);
    asked
}

/// A message of a transfer with `records` TXT records of 250 bytes, and an SOA before or behind them.
fn message(id: u16, soa_first: bool, records: u16, soa_last: bool) -> Vec<u8> {
    let answers = records + u16::from(soa_first) + u16::from(soa_last);
    let mut message = id.to_be_bytes().to_vec();
    message.extend([0x84, 0, 0, 1]);
    message.extend(answers.to_be_bytes());
    message.extend([0, 0, 0, 0]);
    message.extend(AXFR);
    let soa = [&[0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 60, 0, 24, 0xc0, 12, 0xc0, 12][..], &[7; 20]].concat();
    if soa_first {
        message.extend(&soa);
    }
    for _ in 0..records {
        message.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, 238, 237]);
        message.extend([b'x'; 237]);
    }
    if soa_last {
        message.extend(&soa);
    }
    message
}

/// The messages of a zone of about `bytes` bytes.
fn zone(id: u16, bytes: usize) -> Vec<Vec<u8>> {
    let middle = bytes / message(id, false, 60, false).len();
    let mut messages = vec![message(id, true, 3, false)];
    messages.extend((0..middle).map(|_| message(id, false, 60, false)));
    messages.push(message(id, false, 1, true));
    messages
}

/// An upstream that answers one transfer with `messages` and then waits for the other side to close.
fn upstream_of(world: &Arc<World>, id: u16, messages: Vec<Vec<u8>>) -> JoinHandle<()> {
    let upstream = TcpListener::bind(local("127.0.0.1")).unwrap();
    *world.upstreams.lock().unwrap() = vec![Some(upstream.local_addr().unwrap())];
    std::thread::spawn(move || {
        let mut stream = accept(&upstream);
        assert_eq!(receive(&mut stream).unwrap(), asked(id), "the query comes as it is");
        for message in messages {
            if stream.write_all(&framed(&message)).is_err() {
                return;
            }
        }
        assert!(receive(&mut stream).is_none(), "the gateway closes when the transfer has ended");
    })
}

fn run() -> (Workers, Arc<World>, TcpStream) {
    let (workers, world, server) = start(1, limits());
    let client = tcp_client(server);
    (workers, world, client)
}

#[test]
fn three_megabytes_pass_byte_for_byte_while_other_queries_are_answered() {
    let (workers, world, mut client) = run();
    let messages = zone(9, 3_000_000);
    let count = messages.len();
    assert!(count > 190);
    let upstream = upstream_of(&world, 9, messages.clone());
    send(&mut client, &transfer(9));
    let (mut taken, mut echoes) = (Vec::new(), 0);
    for i in 0..20 {
        send(&mut client, &query(1000 + i, order::ECHO, 0, 0));
    }
    while taken.len() < count || echoes < 20 {
        let message = receive(&mut client).expect("neither ends early");
        if id_of(&message) == 9 { taken.push(message) } else { echoes += 1 }
    }
    assert!(taken == messages);
    upstream.join().unwrap();
    assert_eq!(workers.count(Event::TransferMessages), count as u64);
    send(&mut client, &query(1, order::ECHO, 0, 0));
    assert_eq!(id_of(&receive(&mut client).unwrap()), 1, "the connection lives on");
    end(workers);
}

#[test]
fn a_client_that_reads_slowly_holds_the_upstream_back() {
    let (workers, world, mut client) = run();
    // More than all kernel buffers on the way take.
    let messages = zone(9, 40_000_000);
    let upstream = upstream_of(&world, 9, messages.clone());
    send(&mut client, &transfer(9));
    let mut before = u64::MAX;
    until("the transfer comes to rest", || {
        std::thread::park_timeout(Duration::from_millis(100));
        let now = workers.count(Event::TransferMessages);
        std::mem::replace(&mut before, now) == now && now > 0
    });
    assert!(before < messages.len() as u64, "the gateway took it all in");
    for expected in &messages {
        assert!(receive(&mut client).as_ref() == Some(expected));
    }
    upstream.join().unwrap();
    end(workers);
}

#[test]
fn a_client_that_stops_reading_loses_its_transfer_and_its_connection() {
    let (workers, world, server) = start(1, TcpLimits { stall: Duration::from_millis(200), ..limits() });
    let mut client = tcp_client(server);
    let upstream = upstream_of(&world, 9, zone(9, 40_000_000));
    send(&mut client, &transfer(9));
    until("it is cut off", || workers.count(Event::TcpStalled) == 1);
    upstream.join().unwrap();
    end(workers);
}

/// A client whose kernel takes little at a time.
fn narrow_client(last: u8, server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.set_tcp_mss(536).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    let client = TcpStream::from(socket);
    client.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    client
}

/// Both clients take up to 30 kB a second in drops, which lets no stall pass: for one transfer that is 15 times as much as
/// has to be, for 32 it is half.
#[test]
fn transfers_that_are_dripped_lose_their_places_and_a_slow_one_keeps_its() {
    let (workers, world, server) = start(1, TcpLimits { stall: Duration::from_millis(800), ..limits() });
    let upstream = TcpListener::bind(local("127.0.0.1")).unwrap();
    *world.upstreams.lock().unwrap() = vec![Some(upstream.local_addr().unwrap())];
    let (mut slow, mut dripping) = (narrow_client(2, server), narrow_client(3, server));
    send(&mut slow, &transfer(99));
    (0..32).for_each(|id| send(&mut dripping, &transfer(id)));
    let upstreams: Vec<_> = (0..33).map(|_| accept(&upstream)).collect();
    // Made once: other tests run on these cores as well.
    let messages = Arc::new(zone(0, 2_000_000));
    let upstreams: Vec<_> = upstreams
        .into_iter()
        .map(|mut stream| {
            let messages = Arc::clone(&messages);
            std::thread::spawn(move || {
                let id = id_of(&receive(&mut stream).unwrap()).to_be_bytes();
                messages.iter().all(|message| stream.write_all(&framed(&[&id, &message[2..]].concat())).is_ok())
            })
        })
        .collect();
    let (begin, mut taken, mut bytes) = (Instant::now(), [0; 2], [0; 1_500]);
    let mut take = |clients: &mut [&mut TcpStream]| {
        for (client, taken) in clients.iter_mut().zip(&mut taken) {
            *taken += client.read(&mut bytes).unwrap_or(0);
        }
        std::thread::park_timeout(Duration::from_millis(50));
        taken[0]
    };
    while workers.count(Event::TcpStalled) == 0 {
        take(&mut [&mut slow, &mut dripping]);
        assert!(begin.elapsed() < 2 * PATIENCE, "the 32 keep their places");
    }
    assert!(begin.elapsed() > Duration::from_secs(9), "it was no stall: {:?}", begin.elapsed());
    let before = take(&mut [&mut slow]);
    until("the slow one goes on", || take(&mut [&mut slow]) > before + 90_000);
    assert_eq!(workers.count(Event::TcpStalled), 1, "the slow one was cut off");
    // Their places are free: as many are had at once.
    let mut next = tcp_client(server);
    (100..132).for_each(|id| send(&mut next, &transfer(id)));
    let others: Vec<_> = (0..32).map(|_| accept(&upstream)).collect();
    assert_eq!(workers.count(Event::TransfersFull), 0);
    drop((slow, dripping, next, others));
    for upstream in upstreams {
        upstream.join().unwrap();
    }
    end(workers);
}

/// At 30 kB a second a message of 60 kB takes longer than `stall`, which other answers may not.
#[test]
fn the_end_of_a_transfer_may_be_taken_as_slowly_as_what_comes_before_it() {
    let (workers, world, server) = start(1, TcpLimits { stall: Duration::from_millis(800), ..limits() });
    let mut messages = vec![message(9, true, 3, false)];
    messages.extend((0..3).map(|_| message(9, false, 240, false)));
    messages.push(message(9, false, 1, true));
    let upstream = upstream_of(&world, 9, messages.clone());
    let mut slow = narrow_client(2, server);
    send(&mut slow, &transfer(9));
    let wanted: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
    let (begin, mut taken, mut bytes) = (Instant::now(), Vec::<u8>::new(), [0; 1_500]);
    while taken.len() < wanted.len() {
        match slow.read(&mut bytes) {
            Ok(0) => break,
            Ok(len) => taken.extend(&bytes[..len]),
            Err(_) => assert!(begin.elapsed() < 4 * PATIENCE, "it has {} bytes", taken.len()),
        }
        if workers.count(Event::TcpStalled) > 0 {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert!(taken == wanted, "{} of {} bytes came", taken.len(), wanted.len());
    upstream.join().unwrap();
    end(workers);
}

#[test]
fn a_transfer_that_cannot_be_had_is_answered_with_servfail() {
    let (workers, world, mut client) = run();
    let closed = TcpListener::bind(local("127.0.0.1")).unwrap().local_addr().unwrap();
    for upstreams in [vec![], vec![Some(closed)]] {
        *world.upstreams.lock().unwrap() = upstreams;
        send(&mut client, &transfer(9));
        let answer = receive(&mut client).unwrap();
        let mut expected = asked(9);
        (expected[2], expected[3]) = (0x80, 2);
        assert_eq!(answer, expected);
    }
    assert_eq!(workers.count(Event::TransfersFailed), 2);
    end(workers);
}

#[test]
fn a_transfer_that_breaks_off_ends_the_connection() {
    let (workers, world, mut client) = run();
    let upstream = TcpListener::bind(local("127.0.0.1")).unwrap();
    *world.upstreams.lock().unwrap() = vec![Some(upstream.local_addr().unwrap())];
    send(&mut client, &transfer(9));
    let mut stream = accept(&upstream);
    receive(&mut stream).unwrap();
    send(&mut stream, &message(9, true, 3, false));
    assert_eq!(receive(&mut client).unwrap(), message(9, true, 3, false));
    drop(stream);
    assert!(receive(&mut client).is_none(), "nothing else tells the client");
    until("it is counted", || workers.count(Event::TransfersFailed) == 1);
    end(workers);
}

#[test]
fn more_transfers_than_the_bound_are_refused_and_one_client_has_half_of_them() {
    let (workers, world, server) = start(1, TcpLimits { pipeline: 128, ..limits() });
    let upstream = TcpListener::bind(local("127.0.0.1")).unwrap();
    *world.upstreams.lock().unwrap() = vec![Some(upstream.local_addr().unwrap())];
    let accepting = std::thread::spawn(move || (0..64).map(|_| accept(&upstream)).collect::<Vec<_>>());
    let limit = 64;
    let mut clients: Vec<_> = (2..9).map(|last| tcp_client_at(last, server)).collect();
    // Each on a second connection, too: they are one client's.
    let mut seconds: Vec<_> = (2..9).map(|last| tcp_client_at(last, server)).collect();
    for (client, places) in clients.iter_mut().zip([32, 16, 8, 4, 2, 1, 1]) {
        let second = seconds.remove(0);
        for id in 0..limit {
            send(client, &transfer(100 + id));
        }
        for id in places..limit {
            let refused = receive(client).unwrap();
            assert_eq!((id_of(&refused), refused[3]), (100 + id, 2));
        }
        let mut second = second;
        send(&mut second, &transfer(99));
        assert_eq!(receive(&mut second).unwrap()[3], 2);
    }
    let streams = accepting.join().unwrap();
    let mut last = tcp_client_at(9, server);
    send(&mut last, &transfer(999));
    let refused = receive(&mut last).unwrap();
    assert_eq!((id_of(&refused), refused[3]), (999, 2));
    assert_eq!(workers.count(Event::TransfersFull), 7 * 65 - 64 + 1);
    drop(streams);
    for (client, places) in clients.iter_mut().zip([32, 16, 8, 4, 2, 1, 1]) {
        (0..places).for_each(|_| assert_eq!(receive(client).unwrap()[3], 2, "not one message came"));
    }
    end(workers);
}
