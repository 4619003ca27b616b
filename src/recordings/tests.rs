//! Files as servers and capture programs write them, put together byte by byte, and files as nobody writes them.

use super::*;
use crate::dns::sample::Sample;
use proptest::prelude::*;

fn shown(found: &mut Vec<String>) -> impl FnMut(&Recorded<'_>) {
    |Recorded { client, name, qtype, tcp, answer }| {
        let answer = answer.map_or_else(String::new, |answer| format!(" answered in {}", answer.len()));
        found.push(format!("{name} {qtype} {client}{}{answer}", if *tcp { " tcp" } else { "" }));
    }
}

// ---- dnstap

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut len = bytes.len();
    while len > 127 {
        field.push(len as u8 | 0x80);
        len >>= 7;
    }
    field.push(len as u8);
    [&field[..], bytes].concat()
}

/// A data frame with a message of `kind` over UDP (1) or TCP (2); field 10 holds a query, 14 a response.
fn tapped(kind: u8, transport: u8, client: &[u8], (number, message): (u8, &[u8])) -> Vec<u8> {
    // Identity, times and ports are there as well, as servers write them.
    let message = [
        vec![1 << 3, kind, 2 << 3, 1, 3 << 3, transport],
        field(4, client),
        vec![6 << 3, 0xff, 0xff, 0x03, 8 << 3, 0x80, 0x01, 9 << 3 | 5, 1, 2, 3, 4],
        field(number, message),
    ]
    .concat();
    let dnstap = [field(1, b"ns1.example"), field(14, &message), vec![15 << 3, 1]].concat();
    [&(dnstap.len() as u32).to_be_bytes()[..], &dnstap].concat()
}

fn control(kind: u32, content: &[u8]) -> Vec<u8> {
    let field = match content {
        [] => Vec::new(),
        _ => [&1_u32.to_be_bytes()[..], &(content.len() as u32).to_be_bytes(), content].concat(),
    };
    let frame = [&kind.to_be_bytes()[..], &field].concat();
    [&[0; 4][..], &(frame.len() as u32).to_be_bytes(), &frame].concat()
}

fn frames(data: &[Vec<u8>]) -> Vec<u8> {
    [control(2, b"protobuf:dnstap.Dnstap"), data.concat(), control(3, b"")].concat()
}

fn read_dnstap(bytes: &[u8], taken: Taken) -> (Result<Tally, Unreadable>, Vec<String>) {
    let mut found = Vec::new();
    let tally = dnstap::read(&mut &bytes[..], taken, &mut shown(&mut found));
    (tally, found)
}

#[test]
fn dnstap_queries_of_clients_are_taken_and_everything_else_is_counted() {
    let query = Sample::query("WWW.a.example", 28).opt(b"").bytes();
    let response = Sample::response("b.example", 1).bytes();
    let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    let file = frames(&[
        tapped(5, 1, &[192, 0, 2, 1], (10, &query)),
        tapped(1, 2, &v6, (10, &query)),
        tapped(6, 1, &[192, 0, 2, 1], (14, &response)),
        tapped(3, 1, &[192, 0, 2, 1], (10, &query)),
        tapped(5, 1, &[192, 0, 2], (10, &query)),
        tapped(5, 1, &[192, 0, 2, 1], (10, &query[..20])),
        [&3_u32.to_be_bytes()[..], b"\xff\xff\xff"].concat(),
    ]);
    let (tally, found) = read_dnstap(&file, Taken::Queries);
    assert_eq!(found, ["www.a.example 28 192.0.2.1", "www.a.example 28 2001:db8::7 tcp"]);
    let tally = tally.unwrap();
    assert_eq!((tally.queries, tally.responses, tally.others, tally.bad, tally.is_cut), (2, 1, 1, 3, false));
    let (tally, found) = read_dnstap(&file, Taken::Responses);
    assert_eq!(found, [format!("b.example 1 192.0.2.1 answered in {}", response.len())]);
    assert_eq!((tally.as_ref().unwrap().queries, tally.unwrap().answers), (1, 1));
    let (tally, found) = read_dnstap(&file[..file.len() - 40], Taken::Queries);
    assert!(tally.unwrap().is_cut && found.len() == 2, "a file that is being written is read as far as it goes");
}

#[test]
fn what_is_no_dnstap_is_refused() {
    let why = |bytes: &[u8]| read_dnstap(bytes, Taken::Queries).0.unwrap_err().to_string();
    assert!(why(b"").contains("no dnstap file"));
    assert!(why(b"www.example A\nb.example A\n").contains("a frame of"), "{}", why(b"www.example A\nb.example A\n"));
    let other = [control(2, b"text/plain"), control(3, b"")].concat();
    assert!(why(&other).contains("text/plain"));
    let huge = [control(2, b"protobuf:dnstap.Dnstap"), vec![0x7f; 8]].concat();
    assert!(why(&huge).contains("longer than"));
}

// ---- packet captures

const UDP: u8 = 17;
const TCP: u8 = 6;

/// An IPv4 packet from 192.0.2.7 with this behind its header.
fn ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 192, 0, 2, 7, 192, 0, 2, 53]);
    [packet, payload.to_vec()].concat()
}

/// An IPv6 packet from 2001:db8::7, with a hop-by-hop header.
fn ipv6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((8 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 64]);
    for last in [7, 53] {
        packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    packet.extend([protocol, 0, 1, 4, 0, 0, 0, 0]);
    [packet, payload.to_vec()].concat()
}

fn udp(port: u16, message: &[u8]) -> Vec<u8> {
    let len = 8 + message.len() as u16;
    [&[0xd0, 0][..], &port.to_be_bytes(), &len.to_be_bytes(), &[0, 0], message].concat()
}

fn tcp(port: u16, data: &[u8]) -> Vec<u8> {
    [&[0xd0, 0][..], &port.to_be_bytes(), &[0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0], data].concat()
}

fn ethernet(vlans: usize, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let tags = [0x81, 0, 0, 5].repeat(vlans);
    [&[2; 12][..], &tags, &ether_type.to_be_bytes(), payload].concat()
}

fn with_length(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

fn legacy(link: u32, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file =
        [&0xa1b2_c3d4_u32.to_le_bytes()[..], &[2, 0, 4, 0], &[0; 8], &[0, 0, 4, 0], &link.to_le_bytes()].concat();
    for packet in packets {
        let len = (packet.len() as u32).to_le_bytes();
        file.extend([&[0; 8][..], &len, &len, packet].concat());
    }
    file
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let body = [body, &vec![0; (4 - body.len() % 4) % 4]].concat();
    let len = (12 + body.len() as u32).to_be_bytes();
    [&kind.to_be_bytes()[..], &len, &body, &len].concat()
}

/// A big-endian pcapng section with an interface of each link layer, and packets of them.
fn next_generation(links: &[u16], packets: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut file =
        block(0x0a0d_0d0a, &[0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    for link in links {
        file.extend(block(1, &[&link.to_be_bytes()[..], &[0, 0, 0, 4, 0, 0]].concat()));
    }
    for (interface, packet) in packets {
        let len = (packet.len() as u32).to_be_bytes();
        file.extend(block(6, &[&interface.to_be_bytes()[..], &[0; 8], &len, &len, packet].concat()));
    }
    file
}

fn read_pcap(bytes: &[u8]) -> (Result<Tally, Unreadable>, Vec<String>) {
    let mut found = Vec::new();
    let tally = pcap::read(bytes, 53, Taken::Queries, &mut shown(&mut found));
    (tally, found)
}

#[test]
fn captures_of_every_link_layer_give_the_same_queries() {
    let query = Sample::query("www.a.example", 28).bytes();
    let (four, six) = (ipv4(UDP, 0x4000, &udp(53, &query)), ipv6(UDP, &udp(53, &query)));
    let sll = [&[0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 8, 0][..], &four].concat();
    let sll2 = [&[0x86, 0xdd, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0][..], &six].concat();
    let loopback = [&[2, 0, 0, 0][..], &four].concat();
    let cases: [(u32, Vec<u8>); 8] = [
        (1, ethernet(0, 0x0800, &four)),
        (1, ethernet(1, 0x86dd, &six)),
        (1, ethernet(2, 0x0800, &four)),
        (101, four.clone()),
        (101, six.clone()),
        (113, sll),
        (276, sll2),
        (0, loopback),
    ];
    for (link, packet) in &cases {
        let client = if packet.ends_with(&six) { "2001:db8::7" } else { "192.0.2.7" };
        let (tally, found) = read_pcap(&legacy(*link, std::slice::from_ref(packet)));
        assert_eq!(found, [format!("www.a.example 28 {client}")], "link layer {link}");
        assert_eq!(tally.unwrap().queries, 1);
    }
    let links = [1, 101, 276];
    let packets = [(0, ethernet(0, 0x0800, &four)), (1, six), (2, cases[6].1.clone()), (7, four)];
    let (tally, found) = read_pcap(&next_generation(&links, &packets));
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(tally.unwrap().bad, 1, "a packet of an interface that is not there");
}

#[test]
fn tcp_queries_that_are_whole_are_taken_and_pieces_are_counted() {
    let one = Sample::query("one.example", 1).bytes();
    let two = Sample::query("two.example", 1).bytes();
    let (framed, both) = (with_length(&one), [with_length(&one), with_length(&two)].concat());
    let packet = |protocol, fragment, payload: &[u8]| ethernet(0, 0x0800, &ipv4(protocol, fragment, payload));
    let cut = packet(UDP, 0, &udp(53, &one));
    let packets = [
        packet(TCP, 0, &tcp(53, &both)),
        packet(TCP, 0, &tcp(53, &framed[..15])),
        packet(TCP, 0, &tcp(53, b"")),
        packet(TCP, 0, &tcp(443, &framed)),
        packet(UDP, 0, &udp(1053, &one)),
        packet(UDP, 0x2001, &udp(53, &one)),
        cut[..cut.len() - 4].to_vec(),
        packet(UDP, 0, &udp(53, &Sample::response("one.example", 1).bytes())),
        packet(UDP, 0, &udp(53, &Sample::query("one.example", 252).bytes())),
        packet(UDP, 0, &udp(53, b"not a query at all")),
        ethernet(0, 0x0806, &[0; 28]),
    ];
    let (tally, found) = read_pcap(&legacy(1, &packets));
    assert_eq!(found, ["one.example 1 192.0.2.7 tcp", "two.example 1 192.0.2.7 tcp"]);
    let tally = tally.unwrap();
    assert_eq!((tally.pieces, tally.responses, tally.no_questions, tally.bad), (3, 1, 1, 1), "{tally:?}");
    assert_eq!(tally.others, 4);
}

#[test]
fn responses_are_put_to_their_queries_and_to_no_others() {
    let numbered = |id: u8, name: &str| [&[0, id][..], &Sample::query(name, 1).bytes()[2..]].concat();
    let answered = |id: u8, name: &str| [&[0, id][..], &Sample::response(name, 1).bytes()[2..]].concat();
    let to = |message: &[u8]| ethernet(0, 0x0800, &ipv4(UDP, 0, &udp(53, message)));
    let back = |message: &[u8]| {
        let mut packet = ipv4(UDP, 0, &udp(53, message));
        // Addresses and ports change places.
        packet[12..20].rotate_left(4);
        packet[20..24].rotate_left(2);
        ethernet(0, 0x0800, &packet)
    };
    let packets = [
        back(&answered(9, "before.example")),
        to(&numbered(1, "a.example")),
        to(&numbered(2, "b.example")),
        to(&numbered(1, "a.example")),
        back(&answered(1, "other.example")),
        back(&answered(1, "A.example")),
        back(&answered(1, "a.example")),
        to(&numbered(3, "c.example")),
    ];
    let len = answered(1, "a.example").len();
    let (tally, found) = read_pcap(&legacy(1, &packets));
    let answered_first = format!("a.example 1 192.0.2.7 answered in {len}");
    let others = ["b.example 1 192.0.2.7", "c.example 1 192.0.2.7"];
    assert_eq!(found, [&["a.example 1 192.0.2.7", &answered_first][..], &others].concat(), "one was asked again");
    let tally = tally.unwrap();
    assert_eq!((tally.queries, tally.answers, tally.responses, tally.others), (4, 1, 3, 0), "{tally:?}");
    let only = legacy(1, &packets[4..7]);
    let mut found = Vec::new();
    let tally = pcap::read(&only[..], 53, Taken::Responses, &mut shown(&mut found)).unwrap();
    assert_eq!((tally.queries, tally.answers, found.len()), (3, 3, 3));
}

#[test]
fn what_waits_for_a_response_is_bounded() {
    let mut count = 0_u64;
    let (mut tally, mut pairs) = (Tally::default(), pairs::Pairs::new(Taken::Queries));
    let mut take = |_: &Recorded<'_>| count += 1;
    for n in 0..200_000_u32 {
        let asker = Asker { client: CLIENT_DEFAULT, port: n as u16, tcp: false };
        let query = [&(n as u16).to_be_bytes()[..], &Sample::query(&format!("n{n}.example"), 1).bytes()[2..]].concat();
        pairs.query(&query, asker, &mut tally, &mut take);
        assert!(pairs.waiting() <= pairs::WAITING_MAX);
    }
    pairs.end(&mut take);
    assert_eq!((count, tally.queries), (200_000, 200_000));
}

#[test]
fn captures_that_end_in_the_middle_are_read_as_far_as_they_go_and_others_are_refused() {
    let query = ethernet(0, 0x0800, &ipv4(UDP, 0, &udp(53, &Sample::query("a.example", 1).bytes())));
    let file = legacy(1, &[query.clone(), query]);
    let (tally, found) = read_pcap(&file[..file.len() - 9]);
    assert!(tally.unwrap().is_cut && found.len() == 1);
    assert!(read_pcap(b"").0.is_err() && read_pcap(b"www.example A 192.0.2.1\nmore\n").0.is_err());
    let huge = [&legacy(1, &[])[..], &[0; 8], &[0xff, 0xff, 0xff, 0x0f], &[0xff, 0xff, 0xff, 0x0f], &vec![0; 4 << 20]]
        .concat();
    assert!(read_pcap(&huge).0.unwrap_err().to_string().contains("none is longer than 1 MiB"));
}

#[test]
fn other_byte_orders_headers_and_blocks_of_captures_are_read() {
    let query = Sample::query("www.a.example", 28).bytes();
    let four = ipv4(UDP, 0, &udp(53, &query));
    let len = (four.len() as u32).to_be_bytes();
    let of = |magic: u32, header: usize| {
        let mut file = [&magic.to_be_bytes()[..], &[0, 2, 0, 4], &[0; 12], &101_u32.to_be_bytes()].concat();
        let padding = vec![0; header - 16];
        file.extend([&[0; 8][..], &len, &len, &padding, &four].concat());
        file
    };
    let big_endian = [of(0xa1b2_c3d4, 16), of(0xa1b2_3c4d, 16), of(0xa1b2_cd34, 24)];
    let mut next = next_generation(&[101], &[]);
    // A block of no concern that is larger than any packet, an old packet, a simple one, one that lies about its length.
    next.extend(block(0x8000_0001, &vec![7; 3 << 20]));
    next.extend(block(2, &[&[0; 4][..], &[0; 8], &len, &len, &four].concat()));
    next.extend(block(3, &[&len[..], &four].concat()));
    next.extend(block(6, &[&[0; 12][..], &[0, 0, 9, 9], &len, &four].concat()));
    for (file, queries) in big_endian.into_iter().map(|file| (file, 1)).chain([(next, 2)]) {
        let (tally, found) = read_pcap(&file);
        assert_eq!(found, vec!["www.a.example 28 192.0.2.7"; queries]);
        let tally = tally.unwrap();
        assert_eq!((tally.bad, tally.is_cut), (u64::from(queries == 2), false));
    }
    // A block that is shorter than its own head: a crate of the field panics on it.
    let short = [next_generation(&[101], &[]), vec![0x80, 0, 0, 1, 0, 0, 0, 4]].concat();
    assert!(read_pcap(&short).0.unwrap_err().to_string().contains("no block of a capture"));
}

#[test]
fn a_long_capture_streams() {
    /// Packets without end, of which so many bytes are given out.
    struct Endless {
        unit: Vec<u8>,
        at: usize,
        left: usize,
    }
    impl std::io::Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let from = &self.unit[self.at % self.unit.len()..];
            let len = from.len().min(buffer.len()).min(self.left);
            buffer[..len].copy_from_slice(&from[..len]);
            self.at += len;
            self.left -= len;
            Ok(len)
        }
    }
    let query = ethernet(0, 0x0800, &ipv4(UDP, 0, &udp(53, &Sample::query("a.example", 1).bytes())));
    let header = legacy(1, &[]);
    let unit = legacy(1, &vec![query; 1_000])[header.len()..].to_vec();
    let packets = 300 * 1_000;
    let left = unit.len() * 300;
    let mut count = 0_u64;
    let input = std::io::Read::chain(&header[..], Endless { unit, at: 0, left });
    let tally =
        pcap::read(std::io::BufReader::with_capacity(1 << 16, input), 53, Taken::Queries, &mut |_| count += 1).unwrap();
    assert_eq!((tally.queries, count, tally.is_cut), (packets, packets, false));
}

proptest! {
    #[test]
    fn no_bytes_panic_any_reader(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut take = |_: &Recorded<'_>| {};
        let _ = lines::read(&mut &bytes[..], &mut take);
        let _ = dnstap::read(&mut &bytes[..], Taken::Queries, &mut take);
        let _ = pcap::read(&bytes[..], 53, Taken::Queries, &mut take);
    }

    #[test]
    fn no_change_of_a_real_file_panics(at in 0_usize..400, byte in any::<u8>(), cut in 0_usize..400) {
        let query = Sample::query("www.a.example", 28).opt(b"").bytes();
        let packet = ethernet(1, 0x0800, &ipv4(TCP, 0, &tcp(53, &with_length(&query))));
        let tap = frames(&[tapped(5, 1, &[192, 0, 2, 1], (10, &query)), tapped(6, 2, &[0; 16], (14, &query))]);
        let ng = next_generation(&[1, 101], &[(0, packet.clone()), (1, ipv6(UDP, &udp(53, &query)))]);
        for mut file in [tap, ng, legacy(1, &[packet.clone(), packet])] {
            let at = at % file.len();
            file[at] = byte;
            let len = file.len();
            file.truncate(len - cut.min(len));
            let mut taken = 0_u64;
            for half in [Taken::Queries, Taken::Responses] {
                if let Ok(tally) = dnstap::read(&mut &file[..], half, &mut |_| taken += 1) {
                    prop_assert_eq!(std::mem::take(&mut taken), tally.queries);
                }
                taken = 0;
                if let Ok(tally) = pcap::read(&file[..], 53, half, &mut |_| taken += 1) {
                    prop_assert_eq!(std::mem::take(&mut taken), tally.queries);
                }
                taken = 0;
            }
        }
    }
}
