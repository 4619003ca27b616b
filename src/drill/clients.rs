//! The ordinary clients of a drill: they ask once, wait a second, and know what the answer should be.

use super::wire;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// Addresses that they ask from.
const CLIENTS: usize = 20;

/// Between two queries of all of them.
const PACE: Duration = Duration::from_millis(2);

/// How long a client waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// Names that they ask for.
const NAMES: usize = 200;

/// What they met with.
#[derive(Clone, Debug, Default)]
pub(super) struct Served {
    pub(super) asked: u64,
    pub(super) answered: u64,
    /// Answers that were lies.
    pub(super) deceived: u64,
    times: Vec<Duration>,
}

impl Served {
    /// The time within which so many of a hundred answers came.
    pub(super) fn percentile(&self, part: usize) -> Option<Duration> {
        let mut times = self.times.clone();
        times.sort();
        times.get((times.len() * part / 100).min(times.len().saturating_sub(1))).copied()
    }

    /// `knows`: the upstream is ours, and so is what it says; otherwise any response will do.
    fn take(&mut self, answer: &[u8], took: Duration, knows: bool) {
        let truth =
            if knows { wire::is_true(answer) } else { answer.get(2).filter(|flags| **flags & 0x80 != 0).map(|_| true) };
        match truth {
            Some(true) => {
                self.answered += 1;
                self.times.push(took);
            }
            Some(false) => self.deceived += 1,
            None => {}
        }
    }
}

/// Asks over UDP for `time`. They match answers by their id alone, as the simplest stubs do.
pub(super) fn ask(server: SocketAddr, time: Duration, knows: bool) -> io::Result<Served> {
    let sockets = (1..=CLIENTS as u8)
        .map(|last| {
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 1, last), 0))?;
            socket.set_nonblocking(true)?;
            socket.connect(server)?;
            Ok(socket)
        })
        .collect::<io::Result<Vec<_>>>()?;
    let (mut served, begin) = (Served::default(), Instant::now());
    let mut sent: Vec<Option<Instant>> = Vec::new();
    while begin.elapsed() < time || (sent.iter().any(Option::is_some) && begin.elapsed() < time + PATIENCE) {
        if begin.elapsed() < time && PACE * sent.len() as u32 <= begin.elapsed() {
            let number = sent.len();
            let query = wire::query(number as u16, &[&format!("h{}", number % NAMES)]);
            // What cannot be sent is not answered.
            let _ = sockets[number % CLIENTS].send(&query);
            sent.push(Some(Instant::now()));
            served.asked += 1;
        } else {
            std::thread::sleep(Duration::from_micros(200));
        }
        let mut buffer = [0; 1500];
        for socket in &sockets {
            while let Ok(len) = socket.recv(&mut buffer) {
                let id = usize::from(u16::from_be_bytes([buffer[0], buffer[1]]));
                if let Some(at) = sent.get_mut(id).and_then(Option::take).filter(|at| at.elapsed() <= PATIENCE) {
                    served.take(&buffer[..len], at.elapsed(), knows);
                }
            }
        }
    }
    Ok(served)
}

/// Asks over TCP for `time`, each query on a connection of its own.
pub(super) fn ask_over_tcp(server: SocketAddr, query: &[u8], time: Duration) -> Served {
    let (mut served, begin) = (Served::default(), Instant::now());
    while begin.elapsed() < time {
        served.asked += 1;
        let at = Instant::now();
        if exchange(server, query).is_ok() {
            served.answered += 1;
            served.times.push(at.elapsed());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    served
}

fn exchange(server: SocketAddr, query: &[u8]) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[&(query.len() as u16).to_be_bytes()[..], query].concat())?;
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut answer)
}
