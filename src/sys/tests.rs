//! The room over real sockets of loopback.

use super::*;
use std::net::UdpSocket;
use std::os::fd::AsFd;

fn pair(ip: &str) -> (UdpSocket, UdpSocket) {
    (UdpSocket::bind((ip, 0)).unwrap(), UdpSocket::bind((ip, 0)).unwrap())
}

fn plain(bytes: &[u8], to: SocketAddr) -> Outgoing<'_> {
    Outgoing { bytes, to: Some(to), from: None }
}

#[test]
fn a_batch_keeps_order_bytes_and_peers_of_both_families() {
    for ip in ["127.0.0.1", "::1"] {
        let (a, b) = pair(ip);
        let to = b.local_addr().unwrap();
        let bytes: Vec<Vec<u8>> = (0..100u8).map(|i| vec![i; usize::from(i)]).collect();
        let mut sender = Sender::new();
        let sent = sender.send(a.as_fd(), 100, &mut |i| plain(&bytes[i], to)).unwrap();
        assert_eq!(sent, BATCH, "more than a batch is cut to one");
        let mut receiver = Receiver::named();
        assert_eq!(receiver.receive(b.as_fd()).unwrap(), BATCH);
        for (i, expected) in bytes.iter().take(BATCH).enumerate() {
            let datagram = receiver.datagram(i);
            assert_eq!(datagram.bytes, expected);
            assert_eq!(datagram.peer, Some(a.local_addr().unwrap()));
            assert_eq!((datagram.local, datagram.truncated), (None, false));
        }
        assert_eq!(receiver.receive(b.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

#[test]
fn the_local_address_is_told_and_can_be_chosen() {
    let (a, b) = pair("127.0.0.1");
    receive_packet_info(b.as_fd(), false).unwrap();
    a.send_to(b"query", b.local_addr().unwrap()).unwrap();
    let mut receiver = Receiver::named();
    assert_eq!(receiver.receive(b.as_fd()).unwrap(), 1);
    assert_eq!(receiver.datagram(0).local, Some("127.0.0.1".parse().unwrap()));

    let (c, d) = pair("::1");
    receive_packet_info(d.as_fd(), true).unwrap();
    c.send_to(b"query", d.local_addr().unwrap()).unwrap();
    assert_eq!(receiver.receive(d.as_fd()).unwrap(), 1);
    let local = receiver.datagram(0).local;
    assert_eq!(local, Some("::1".parse().unwrap()));
    let reply = Outgoing { bytes: b"reply", to: Some(c.local_addr().unwrap()), from: local };
    assert_eq!(Sender::new().send(d.as_fd(), 1, &mut |_| reply).unwrap(), 1);
    assert_eq!(receiver.receive(c.as_fd()).unwrap(), 1);
    assert_eq!(receiver.datagram(0).peer, Some(d.local_addr().unwrap()));
}

#[test]
fn a_datagram_over_the_buffer_is_cut_and_marked_and_the_next_is_whole() {
    let (a, b) = pair("127.0.0.1");
    a.connect(b.local_addr().unwrap()).unwrap();
    b.connect(a.local_addr().unwrap()).unwrap();
    let large = vec![7; BUFFER_LEN + 1];
    let items = [&large[..], &large[..BUFFER_LEN], b""];
    let sent = Sender::new().send(a.as_fd(), 3, &mut |i| Outgoing { bytes: items[i], to: None, from: None }).unwrap();
    assert_eq!(sent, 3);
    let mut receiver = Receiver::unnamed();
    assert_eq!(receiver.receive(b.as_fd()).unwrap(), 3);
    let seen: Vec<_> = (0..3).map(|i| receiver.datagram(i)).map(|d| (d.bytes.len(), d.truncated, d.peer)).collect();
    assert_eq!(seen, [(BUFFER_LEN, true, None), (BUFFER_LEN, false, None), (0, false, None)]);
}

#[test]
fn drops_of_a_full_socket_are_told() {
    let (a, b) = pair("127.0.0.1");
    receive_drops(b.as_fd()).unwrap();
    set_option(b.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, 4096).unwrap();
    for _ in 0..200 {
        a.send_to(&[0; 512], b.local_addr().unwrap()).unwrap();
    }
    let mut receiver = Receiver::named();
    while receiver.receive(b.as_fd()).is_ok() {}
    a.send_to(b"after", b.local_addr().unwrap()).unwrap();
    assert_eq!(receiver.receive(b.as_fd()).unwrap(), 1);
    assert!(receiver.datagram(0).dropped.is_some_and(|drops| drops > 0 && drops < 200));
}

/// Sends datagrams of such lengths, lined up, and sees them arrive.
fn send_grouped(from: &UdpSocket, source: Option<IpAddr>, to: &UdpSocket, lens: &[usize]) {
    let mut bytes: Vec<Vec<u8>> = lens.iter().enumerate().map(|(i, len)| vec![i as u8; *len]).collect();
    bytes.sort_by_key(|bytes| std::cmp::Reverse(bytes.len()));
    let item = &mut |i: usize| Outgoing { from: source, ..plain(&bytes[i], to.local_addr().unwrap()) };
    assert_eq!(Sender::new().send_grouped(from.as_fd(), lens.len(), item).unwrap(), lens.len(), "{lens:?}");
    let mut receiver = Receiver::named();
    let count = receiver.receive(to.as_fd()).unwrap();
    let datagram = |i| {
        assert_eq!(receiver.datagram(i).peer, Some(from.local_addr().unwrap()));
        receiver.datagram(i).bytes.to_vec()
    };
    let arrived: Vec<_> = (0..count).map(datagram).collect();
    assert_eq!(arrived, bytes, "{lens:?}");
}

#[test]
fn a_group_arrives_as_its_datagrams_whatever_their_lengths() {
    for ip in ["127.0.0.1", "::1"] {
        let (a, b) = pair(ip);
        assert!(can_send_groups(a.as_fd()));
        for source in [None, Some(ip.parse().unwrap())] {
            send_grouped(&a, source, &b, &[40; BATCH]);
            send_grouped(&a, source, &b, &[1000; BATCH]);
            send_grouped(&a, source, &b, &[33]);
            send_grouped(&a, source, &b, &[33, 32, 31, 33, 0, 0, 1, 1, 999, 1000, 1000, 1001, 1001, 1500, 1500, 17]);
        }
        let (mut x, mut lens) = (7u64, [0; BATCH]);
        for _ in 0..200 {
            lens.fill_with(|| {
                x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                20 + (x >> 60) as usize
            });
            send_grouped(&a, None, &b, &lens);
        }
    }
}

#[test]
fn a_group_passes_the_kernel_as_one() {
    let (a, b) = pair("127.0.0.1");
    set_option(b.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, 1).unwrap();
    let (bytes, lens) = ([0; 50], [50, 40, 40, 40, 30, 30, 20]);
    let item = &mut |i: usize| plain(&bytes[..lens[i]], b.local_addr().unwrap());
    assert_eq!(Sender::new().send_grouped(a.as_fd(), lens.len(), item).unwrap(), lens.len());
    let mut receiver = Receiver::named();
    let count = receiver.receive(b.as_fd()).unwrap();
    let seen: Vec<_> = (0..count).map(|i| receiver.datagram(i).bytes.len()).collect();
    assert_eq!(seen, [50 + 40, 40 + 40 + 30, 30 + 20], "the receiver asked for them as they came");
}

#[test]
fn a_group_is_of_one_way_and_the_rest_is_sent_when_one_is_refused() {
    let (a, b) = pair("127.0.0.1");
    let (to, nowhere) = (b.local_addr().unwrap(), "127.0.0.1:0".parse().unwrap());
    let targets = [to, to, nowhere, nowhere, to];
    let mut sender = Sender::new();
    let mut send = |at: usize| sender.send_grouped(a.as_fd(), 5 - at, &mut |i| plain(b"query", targets[at + i]));
    assert_eq!(send(0).unwrap(), 2);
    assert_eq!(send(2).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    assert_eq!(send(4).unwrap(), 1);
    assert_eq!(Receiver::named().receive(b.as_fd()).unwrap(), 3);
}

#[test]
fn where_there_is_no_way_for_groups_the_error_says_so() {
    let (a, b) = pair("127.0.0.1");
    leave_checksums_out(a.as_fd()).unwrap();
    let item = &mut |_| plain(b"query", b.local_addr().unwrap());
    let refused = Sender::new().send_grouped(a.as_fd(), 2, item).unwrap_err();
    assert!(is_no_way_for_groups(&refused), "{refused}");
    assert_eq!(Sender::new().send(a.as_fd(), 2, item).unwrap(), 2);
}

#[test]
fn what_icmp_said_comes_back_on_a_connected_socket() {
    let (a, b) = pair("127.0.0.1");
    a.connect(b.local_addr().unwrap()).unwrap();
    drop(b);
    let item = Outgoing { bytes: b"query", to: None, from: None };
    assert_eq!(Sender::new().send(a.as_fd(), 1, &mut |_| item).unwrap(), 1);
    let refused = Receiver::unnamed().receive(a.as_fd()).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn the_time_of_arrival_is_told_beside_everything_else() {
    let (a, b) = pair("::1");
    receive_packet_info(b.as_fd(), true).unwrap();
    receive_drops(b.as_fd()).unwrap();
    receive_times(b.as_fd()).unwrap();
    set_option(b.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, 4096).unwrap();
    for _ in 0..200 {
        a.send_to(&[0; 512], b.local_addr().unwrap()).unwrap();
    }
    let mut receiver = Receiver::named();
    while receiver.receive(b.as_fd()).is_ok() {}
    a.send_to(b"after", b.local_addr().unwrap()).unwrap();
    assert_eq!(receiver.receive(b.as_fd()).unwrap(), 1);
    let datagram = receiver.datagram(0);
    assert!(datagram.local.is_some() && datagram.dropped.is_some(), "room for all three");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let arrived = datagram.arrived_unix.unwrap();
    assert!(arrived <= now && now - arrived < Duration::from_secs(60), "{arrived:?} {now:?}");
    assert_ne!(
        (arrived.subsec_nanos() % 1_000_000, now.subsec_nanos() % 1_000_000),
        (0, 0),
        "finer than a millisecond"
    );
}
