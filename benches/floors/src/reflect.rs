//! The floor of local answers, and the upstream of forwarding runs: answers each query with the least work that a server
//! can do. Names steer it: a first label of `nx...` gets NXDOMAIN with an SOA, `fail...` SERVFAIL, `big...` TC=1 over UDP,
//! `dead...` in one of the first two labels silence; A and AAAA get an address, other types NODATA.

use crate::batch::{Ring, SIZE};
use crate::coalesced::Coalesced;
use crate::uring::Uring;
use crate::ways::{Driver, Waiting, Way};
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::thread;

const SOA: &[u8] = b"\xc0\x0c\0\x06\0\x01\0\0\0\x3c\0\x18\0\0\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x3c\0\0";
const A: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\x01\x2c\0\x04\xc0\0\x02\x01";
const AAAA: &[u8] = b"\xc0\x0c\0\x1c\0\x01\0\0\x01\x2c\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01";
const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";

/// The longest query over TCP, with room for the answer behind it.
const STREAM_SIZE: usize = 4096;

/// Answers over UDP for ever, unless the system does not know the way.
pub(crate) fn serve_datagrams(socket: &UdpSocket, way: &Way) -> std::io::Error {
    let answer = |bytes: &mut [u8], len: usize| answer(bytes, len, false);
    match way.by {
        Driver::Uring => Uring::open(socket, way).map_or_else(|error| error, |ring| ring.serve(answer)),
        Driver::Coalesced => {
            Coalesced::open(socket, way).map_or_else(|error| error, |groups| groups.serve(socket, answer))
        }
        Driver::Calls => {
            let mut ring = Ring::of(way.batch, way.is_grouped);
            let mut waiting = match Waiting::of(socket, way) {
                Ok(waiting) => waiting,
                Err(error) => return error,
            };
            loop {
                let came = ring.receive(socket, waiting.before());
                waiting.note(came);
                for at in 0..came {
                    let (bytes, len) = ring.datagram(at);
                    let len = answer(bytes, len.min(SIZE));
                    if len > 0 {
                        let peer = ring.peer(at);
                        ring.queue(at, len, Some(peer));
                    }
                }
                ring.send(socket);
            }
        }
    }
}

/// Answers over TCP for ever, a thread a connection.
pub(crate) fn serve_streams(at: SocketAddrV4) {
    let listener = TcpListener::bind(at).expect("the address is free");
    for stream in listener.incoming().flatten() {
        thread::spawn(move || {
            // An error ends the connection, and that is all that it does.
            let _ = stream.set_nodelay(true).and_then(|()| converse(stream));
        });
    }
}

fn converse(mut stream: TcpStream) -> std::io::Result<()> {
    let mut message = [0; 2 + STREAM_SIZE];
    loop {
        stream.read_exact(&mut message[..2])?;
        let len = usize::from(u16::from_be_bytes([message[0], message[1]]));
        if len > STREAM_SIZE - 100 {
            return Ok(());
        }
        stream.read_exact(&mut message[2..2 + len])?;
        let len = answer(&mut message[2..], len, true);
        if len > 0 {
            message[..2].copy_from_slice(&(len as u16).to_be_bytes());
            stream.write_all(&message[..2 + len])?;
        }
    }
}

/// Makes the answer of a query in its own buffer; how long it is, 0 for silence.
fn answer(message: &mut [u8], len: usize, is_stream: bool) -> usize {
    if len < 17 || message[2] & 0x80 != 0 {
        return 0;
    }
    let mut end = 12;
    while end < len && message[end] != 0 {
        end += usize::from(message[end]) + 1;
    }
    end += 5;
    if end > len || end + 64 > message.len() {
        return 0;
    }
    let first_end = 13 + usize::from(message[12]);
    let starts = |label: usize, word: &[u8]| {
        usize::from(message[label]) >= word.len() && message[label + 1..][..word.len()].eq_ignore_ascii_case(word)
    };
    if starts(12, b"dead") || message[12] != 0 && starts(first_end, b"dead") {
        return 0;
    }
    let (is_absent, is_broken, is_big) = (starts(12, b"nx"), starts(12, b"fail"), !is_stream && starts(12, b"big"));
    let qtype = u16::from_be_bytes([message[end - 4], message[end - 3]]);
    let has_opt = message[10] != 0 || message[11] != 0;
    message[2] = 0x84 | message[2] & 1;
    message[3] = 0x80 | message[3] & 0x10;
    message[6..12].fill(0);
    let record = match qtype {
        _ if is_absent => {
            message[3] |= 3;
            SOA
        }
        _ if is_broken => {
            message[3] |= 2;
            b""
        }
        _ if is_big => {
            message[2] |= 2;
            b""
        }
        1 => A,
        28 => AAAA,
        _ => SOA,
    };
    if !record.is_empty() {
        message[if record == SOA { 9 } else { 7 }] = 1;
    }
    message[end..end + record.len()].copy_from_slice(record);
    end += record.len();
    if has_opt {
        message[end..end + OPT.len()].copy_from_slice(OPT);
        end += OPT.len();
        message[11] = 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: &[u8], qtype: u8, is_stream: bool) -> Option<(u8, u8, [u8; 3])> {
        let mut message = [0; 200];
        message[..12].copy_from_slice(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0");
        message[12..12 + name.len()].copy_from_slice(name);
        message[12 + name.len()..][..5].copy_from_slice(&[0, 0, qtype, 0, 1]);
        let len = answer(&mut message, 12 + name.len() + 5, is_stream);
        (len > 0).then(|| (message[3] & 15, message[2] & 2, [message[7], message[9], message[11]]))
    }

    #[test]
    fn names_steer_it() {
        assert_eq!(ask(b"\x03www\x07example", 1, false), Some((0, 0, [1, 0, 0])));
        assert_eq!(ask(b"\x03www\x07example", 28, false), Some((0, 0, [1, 0, 0])));
        assert_eq!(ask(b"\x03www\x07example", 15, false), Some((0, 0, [0, 1, 0])));
        assert_eq!(ask(b"\x03nX1\x07example", 1, false), Some((3, 0, [0, 1, 0])));
        assert_eq!(ask(b"\x05fail1\x07example", 1, false), Some((2, 0, [0, 0, 0])));
        assert_eq!(ask(b"\x04big1\x07example", 1, false), Some((0, 2, [0, 0, 0])));
        assert_eq!(ask(b"\x04big1\x07example", 1, true), Some((0, 0, [1, 0, 0])));
        assert_eq!(ask(b"\x04dead\x07example", 1, false), None);
        assert_eq!(ask(b"\x03www\x05dead1", 1, false), None);
        assert_eq!(ask(b"", 1, false), Some((0, 0, [1, 0, 0])));
    }

    #[test]
    fn what_is_no_query_gets_silence_and_harms_nobody() {
        for len in 0..40 {
            let mut message = [0xff; 40];
            message[2] = 1;
            assert_eq!(answer(&mut message, len, false), 0);
        }
    }
}
