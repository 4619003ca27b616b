//! A small authoritative upstream of our own on loopback, so that the gateway can be tried and tested on a machine
//! without a resolver or a network: `weir run --lab`, drills and tests.
//!
//! Its zones hold every kind of answer (`src/lab/zones`): plain ones, aliases, wildcards, referrals, large ones, short
//! TTLs, and zones that fail in a known way. Names under `dead.example` are never answered, `slow.example` after 2 s,
//! `slow-NNN.lab.example` after NNN ms, `fail.example` gets SERVFAIL, `refused.example` and all that is not served
//! here REFUSED, `truncated.lab.example` TC=1 over UDP. Everything is bounded: connections, delayed answers, messages
//! in work on a connection, and how long a connection may be idle.

pub mod answer;
pub mod zone;

use answer::{Response, SLOW_MAX, Transport, answer};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use zone::Zones;

/// Open connections; one more is closed at once.
pub const CONNECTIONS_MAX: usize = 256;

/// Datagrams whose answer is being delayed; one more is dropped and counted.
pub const DELAYED_MAX: usize = 4096;

/// Messages of one connection in work; then reading pauses.
pub const PIPELINE_MAX: usize = 64;

/// A connection without a message for so long is closed; nor may a write take longer. Above [`SLOW_MAX`].
pub const IDLE: Duration = Duration::from_secs(15);

/// How often another port is tried when the one the kernel chose for UDP is taken for TCP.
const PORT_ATTEMPTS: usize = 16;

const _: () = assert!(SLOW_MAX.as_secs() < IDLE.as_secs());

/// What a message to the lab was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Answered from a zone.
    Plain,
    /// Answered from a zone, later.
    Slow,
    /// Answered with TC=1.
    Truncated,
    /// Not answered, for its zone is dead.
    Dead,
    /// Answered with SERVFAIL.
    Failing,
    /// Answered with REFUSED.
    Refused,
    /// Class CH.
    Chaos,
    /// AXFR or IXFR.
    Transfer,
    /// NOTIFY.
    Notify,
    /// UPDATE.
    Update,
    /// Another opcode, EDNS version, or signed.
    Other,
    /// Not a query, or not one that can be read.
    Malformed,
    /// Not looked at, for a table was full.
    Overload,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Plain,
        Self::Slow,
        Self::Truncated,
        Self::Dead,
        Self::Failing,
        Self::Refused,
        Self::Chaos,
        Self::Transfer,
        Self::Notify,
        Self::Update,
        Self::Other,
        Self::Malformed,
        Self::Overload,
    ];
}

/// How many messages of each kind came, over both transports; each is counted once.
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; Kind::ALL.len()]);

impl Counters {
    /// How many were of `kind`.
    pub fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize].load(Ordering::Relaxed)
    }

    /// All messages.
    pub fn total(&self) -> u64 {
        Kind::ALL.iter().map(|kind| self.of(*kind)).sum()
    }

    fn count(&self, kind: Kind) {
        self.0[kind as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// A running lab; dropping it ends it at once.
#[derive(Debug)]
pub struct Lab {
    /// Where it answers, over UDP and TCP.
    pub address: SocketAddr,
    /// What came.
    pub counters: Arc<Counters>,
    tasks: Vec<JoinHandle<()>>,
}

impl Lab {
    /// Ends it and waits until its sockets are closed.
    pub async fn stop(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // The only error is the abort itself.
            let _ = task.await;
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Starts a lab on the current tokio runtime. Port 0: the kernel chooses one that is free for UDP and TCP.
///
/// # Errors
/// `InvalidInput` when `bind` is not a loopback address (it answers anybody, and with large answers); else why it
/// cannot listen there.
pub async fn start(bind: SocketAddr) -> io::Result<Lab> {
    if !bind.ip().is_loopback() {
        let message = format!("the lab listens on loopback only, not on {bind}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let zones = Arc::new(Zones::load()?);
    let counters = Arc::new(Counters::default());
    let (udp, tcp) = listen(bind).await?;
    let address = udp.local_addr()?;
    let tasks = vec![
        tokio::spawn(serve_udp(udp, Arc::clone(&zones), Arc::clone(&counters))),
        tokio::spawn(serve_tcp(tcp, zones, Arc::clone(&counters))),
    ];
    Ok(Lab { address, counters, tasks })
}

async fn listen(bind: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut attempts = if bind.port() == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        let udp = UdpSocket::bind(bind).await?;
        attempts -= 1;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if attempts == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

async fn serve_udp(socket: UdpSocket, zones: Arc<Zones>, counters: Arc<Counters>) {
    let socket = Arc::new(socket);
    let mut delayed = JoinSet::new();
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        // An error here is an ICMP message about an earlier answer: that client is gone, the others are not.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let response = answer(&zones, Transport::Udp, &buffer[..length]);
        while delayed.try_join_next().is_some() {}
        if response.after.is_zero() {
            counters.count(response.kind);
            for message in &response.messages {
                let _ = socket.send_to(message, client).await;
            }
        } else if delayed.len() < DELAYED_MAX {
            counters.count(response.kind);
            let socket = Arc::clone(&socket);
            delayed.spawn(async move {
                sleep(response.after).await;
                for message in &response.messages {
                    let _ = socket.send_to(message, client).await;
                }
            });
        } else {
            counters.count(Kind::Overload);
        }
    }
}

async fn serve_tcp(listener: TcpListener, zones: Arc<Zones>, counters: Arc<Counters>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: let some close.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        if connections.len() < CONNECTIONS_MAX {
            connections.spawn(serve_connection(stream, Arc::clone(&zones), Arc::clone(&counters)));
        } else {
            counters.count(Kind::Overload);
        }
    }
}

/// Messages are answered as they are ready, not in the order they came (RFC 7766 section 6.2.1.1).
async fn serve_connection(stream: TcpStream, zones: Arc<Zones>, counters: Arc<Counters>) {
    let _ = stream.set_nodelay(true);
    let (mut reader, writer) = stream.into_split();
    let writer = Arc::new(Mutex::new(writer));
    let places = Arc::new(Semaphore::new(PIPELINE_MAX));
    let mut answers = JoinSet::new();
    while let Ok(Some(message)) = timeout(IDLE, read_message(&mut reader)).await {
        let response = answer(&zones, Transport::Tcp, &message);
        counters.count(response.kind);
        while answers.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let writer = Arc::clone(&writer);
        answers.spawn(async move {
            sleep(response.after).await;
            write_messages(&writer, &response).await;
            drop(place);
        });
    }
    // The client may have closed its half and still read what it asked for (RFC 7766 section 6.2.3).
    while answers.join_next().await.is_some() {}
}

/// `None` at the end of the stream or of its sense.
async fn read_message(reader: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let length = reader.read_u16().await.ok()?;
    let mut message = vec![0; usize::from(length)];
    reader.read_exact(&mut message).await.ok()?;
    Some(message)
}

async fn write_messages(writer: &Mutex<OwnedWriteHalf>, response: &Response) {
    // Held over all messages: those of a transfer are not to be mixed with another answer's bytes.
    let mut writer = writer.lock().await;
    for message in &response.messages {
        let Ok(length) = u16::try_from(message.len()) else { return };
        let framed = [&length.to_be_bytes()[..], message].concat();
        match timeout(IDLE, writer.write_all(&framed)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
    use hickory_proto::rr::{Name, RecordType};

    fn query(id: u16, name: &str, rtype: RecordType) -> Vec<u8> {
        let mut message = Message::new(id, hickory_proto::op::MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
        message.to_vec().unwrap()
    }

    async fn lab() -> Lab {
        start("127.0.0.1:0".parse().unwrap()).await.expect("loopback can be bound")
    }

    async fn read(stream: &mut TcpStream) -> Message {
        let length = stream.read_u16().await.unwrap();
        let mut bytes = vec![0; usize::from(length)];
        stream.read_exact(&mut bytes).await.unwrap();
        Message::from_vec(&bytes).unwrap()
    }

    async fn send(stream: &mut TcpStream, message: &[u8]) {
        stream.write_u16(message.len() as u16).await.unwrap();
        stream.write_all(message).await.unwrap();
    }

    #[tokio::test]
    async fn it_answers_over_udp_and_counts_and_ends() {
        let lab = lab().await;
        let (address, counters) = (lab.address, Arc::clone(&lab.counters));
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(address).await.unwrap();
        client.send(&query(7, "www.lab.example.", RecordType::A)).await.unwrap();
        let mut buffer = [0; 1500];
        let length = client.recv(&mut buffer).await.unwrap();
        assert_eq!(Message::from_vec(&buffer[..length]).unwrap().answers.len(), 2);
        assert_eq!((counters.of(Kind::Plain), counters.total()), (1, 1));
        lab.stop().await;
        UdpSocket::bind(address).await.expect("the port is free again");
    }

    #[tokio::test]
    async fn a_late_answer_on_a_connection_holds_up_no_other() {
        let lab = lab().await;
        let mut stream = TcpStream::connect(lab.address).await.unwrap();
        send(&mut stream, &query(1, "slow-80.lab.example.", RecordType::A)).await;
        send(&mut stream, &query(2, "www.lab.example.", RecordType::A)).await;
        assert_eq!(read(&mut stream).await.metadata.id, 2);
        assert_eq!(read(&mut stream).await.metadata.id, 1);
    }

    #[tokio::test]
    async fn a_transfer_comes_whole_over_tcp() {
        let lab = lab().await;
        let mut stream = TcpStream::connect(lab.address).await.unwrap();
        send(&mut stream, &query(3, "transfer.example.", RecordType::AXFR)).await;
        let (mut records, mut messages, mut ends) = (0, 0, 0);
        while ends < 2 {
            let message = read(&mut stream).await;
            assert_eq!(message.metadata.response_code, ResponseCode::NoError);
            messages += 1;
            records += message.answers.len();
            ends += message.answers.iter().filter(|record| record.record_type() == RecordType::SOA).count();
        }
        assert_eq!(records, zone::TRANSFER_HOSTS as usize + 3);
        assert!(messages > 5, "{messages} messages");
    }

    #[tokio::test]
    async fn it_stays_on_loopback() {
        let error = start("192.0.2.1:0".parse().unwrap()).await.expect_err("not loopback");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
