//! A client of our own for what the others cannot do: bursts, chosen sources, and messages kept as they came.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// How long an answer may take before it counts as silence, unless a test says otherwise.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// A query with RD, and EDNS of 1232 bytes.
pub(crate) fn query(id: u16, name: &str, rtype: RecordType) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name in a test"), rtype));
    let mut edns = Edns::new();
    edns.set_max_payload(1232).set_version(0);
    message.set_edns(edns);
    message
}

/// One exchange over UDP; `None` is silence.
pub(crate) fn udp(at: SocketAddr, name: &str, rtype: RecordType) -> Option<Message> {
    udp_from(local(at), at, &query(4711, name, rtype), TIMEOUT)
}

/// One exchange over UDP from a chosen address.
pub(crate) fn udp_from(from: IpAddr, at: SocketAddr, message: &Message, timeout: Duration) -> Option<Message> {
    let mut answers = burst(from, at, std::slice::from_ref(message), timeout);
    answers.pop()
}

/// Sends all messages at once and gathers answers until all came or nothing came for `timeout`.
pub(crate) fn burst(from: IpAddr, at: SocketAddr, messages: &[Message], timeout: Duration) -> Vec<Message> {
    let socket = UdpSocket::bind((from, 0)).unwrap_or_else(|error| panic!("source {from}: {error}"));
    socket.connect(at).expect("loopback has a route");
    socket.set_read_timeout(Some(timeout)).expect("a timeout above zero");
    for message in messages {
        // A refused port shows in the next call; silence is what the caller looks for.
        let _ = socket.send(&message.to_vec().expect("a query can be written"));
    }
    let mut answers = Vec::new();
    let mut buffer = [0; 65_535];
    while answers.len() < messages.len() {
        let Ok(length) = socket.recv(&mut buffer) else { break };
        let answer = Message::from_vec(&buffer[..length]).expect("an answer that can be read");
        assert_eq!(answer.metadata.message_type, MessageType::Response);
        answers.push(answer);
    }
    answers
}

/// A connection over which any number of messages may go.
pub(crate) struct Stream(TcpStream);

impl Stream {
    pub(crate) fn open(at: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&at, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self(stream))
    }

    pub(crate) fn send(&mut self, message: &Message) {
        let bytes = message.to_vec().expect("a query can be written");
        let framed = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
        self.0.write_all(&framed).expect("the peer takes it");
    }

    /// Sends bytes that are no whole message.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the peer takes it");
    }

    /// How long it takes until the peer closes the connection; `None` when it does not within [`TIMEOUT`].
    pub(crate) fn until_closed(&mut self) -> Option<Duration> {
        let start = Instant::now();
        match self.0.read(&mut [0; 1]) {
            Ok(0) => Some(start.elapsed()),
            Ok(_) => panic!("a message, where the connection was to be closed"),
            // A reset is a close as well; running out of patience is not.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Some(start.elapsed()),
            Err(_) => None,
        }
    }

    /// The next message; `None` at the end of the stream or of patience.
    pub(crate) fn receive(&mut self) -> Option<Message> {
        let mut length = [0; 2];
        self.0.read_exact(&mut length).ok()?;
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut bytes).ok()?;
        Some(Message::from_vec(&bytes).expect("an answer that can be read"))
    }
}

/// One exchange over TCP.
pub(crate) fn tcp(at: SocketAddr, name: &str, rtype: RecordType) -> Option<Message> {
    let mut stream = Stream::open(at).ok()?;
    stream.send(&query(4711, name, rtype));
    stream.receive()
}

/// One exchange over TCP, for no longer than `timeout`.
pub(crate) fn tcp_within(at: SocketAddr, message: &Message, timeout: Duration) -> Option<Message> {
    let mut stream = Stream::open(at).ok()?;
    stream.0.set_read_timeout(Some(timeout)).expect("a timeout above zero");
    stream.send(message);
    stream.receive()
}

/// Whether anything at all comes back from there soon.
pub(crate) fn answers(at: SocketAddr, name: &str, rtype: RecordType) -> bool {
    udp_from(local(at), at, &query(1, name, rtype), Duration::from_millis(300)).is_some()
}

/// The codes of EDE options (RFC 8914) of an answer.
pub(crate) fn ede(message: &Message) -> Vec<u16> {
    use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
    let Some(edns) = &message.edns else { return Vec::new() };
    let options = edns.options().as_ref().iter();
    options
        .filter_map(|(code, option)| match (code, option) {
            (EdnsCode::Unknown(15), EdnsOption::Unknown(15, bytes)) if bytes.len() >= 2 => {
                Some(u16::from_be_bytes([bytes[0], bytes[1]]))
            }
            _ => None,
        })
        .collect()
}

/// How long `run` takes, and what it gives.
pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (run(), start.elapsed())
}

fn local(at: SocketAddr) -> IpAddr {
    at.ip()
}
