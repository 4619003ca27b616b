//! The ordinary clients of a drill: they ask once, wait a second, and know what the answer should be.

use super::crowd::{self, CLIENTS};
use super::wire;
use crate::dns::name::Name;
use crate::language::text;
use crate::sys::{BATCH, Outgoing, Receiver, Sender};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Between two queries of all of them.
const PACE: Duration = Duration::from_millis(2);

/// How long a client waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// Ids of queries; as many queries can be told apart.
const IDS: usize = 1 << 16;

/// Between two queries of a client that asks for large answers.
const LARGE_PACE: Duration = Duration::from_millis(20);

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

    /// Both together.
    pub(super) fn and(&self, other: &Self) -> Self {
        Self {
            asked: self.asked + other.asked,
            answered: self.answered + other.answered,
            deceived: self.deceived + other.deceived,
            times: [&self.times[..], &other.times].concat(),
        }
    }

    fn take(&mut self, answer: &[u8], took: Duration, judge: Judge) {
        match judge.of(answer) {
            Some(true) => {
                self.answered += 1;
                self.times.push(took);
            }
            Some(false) => self.deceived += 1,
            None => {}
        }
    }
}

/// Which answers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judge {
    /// The upstream is ours, and so is what it says.
    Truth,
    /// The upstream is somebody's: any answer that tells what was asked for, or that it does not exist.
    Whole,
}

impl Judge {
    /// Whether it is the truth; `None`: it says nothing.
    pub(super) fn of(self, answer: &[u8]) -> Option<bool> {
        match self {
            Self::Truth => wire::is_true(answer),
            Self::Whole => wire::is_whole(answer).then_some(true),
        }
    }
}

/// What they ask: names of the zone that is attacked, and others.
#[derive(Clone, Debug)]
pub(super) struct Questions {
    pub(super) others: Vec<Name>,
    pub(super) of_zone: Vec<Name>,
    /// How many of them were asked for before: an upstream and a gateway that remember answers are to be asked for others.
    pub(super) asked: usize,
    pub(super) judge: Judge,
}

impl Questions {
    /// The query number so and so: by turns of the zone and others, where there are both.
    fn query(&self, number: usize) -> Vec<u8> {
        let turn = if self.others.is_empty() || self.of_zone.is_empty() { number } else { number / 2 };
        // What the zone has is asked for again and again, as what exists is.
        let (names, at) =
            if self.is_of_zone(number) { (&self.of_zone, turn) } else { (&self.others, self.asked + turn) };
        wire::query(number as u16, &names[at % names.len().max(1)])
    }

    fn is_of_zone(&self, number: usize) -> bool {
        self.others.is_empty() || !self.of_zone.is_empty() && number % 2 == 1
    }
}

/// What became of their questions.
#[derive(Clone, Debug, Default)]
pub(super) struct Honest {
    pub(super) others: Served,
    pub(super) of_zone: Served,
}

impl Honest {
    pub(super) fn all(&self) -> Served {
        self.others.and(&self.of_zone)
    }
}

/// When each query was sent, by its id, in nanoseconds and one; 0 for one that is answered or was never sent.
struct Sent(Vec<AtomicU64>);

/// Asks over UDP for `time`. They match answers by their id alone, as the simplest stubs do.
pub(super) fn ask(server: SocketAddr, time: Duration, questions: &Questions) -> io::Result<Honest> {
    let socket = crowd::socket()?;
    // Only how soon the receiver sees that it is over; what comes wakes it at once.
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    let sent = Sent((0..IDS).map(|_| AtomicU64::new(0)).collect());
    let (begin, over) = (Instant::now(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&socket, begin, &sent, &over, questions));
        let asked = send(&socket, server, begin, time, &sent, questions);
        while begin.elapsed() < time + PATIENCE && sent.0.iter().any(|at| at.load(Relaxed) != 0) {
            std::thread::sleep(Duration::from_millis(10));
        }
        over.store(true, Relaxed);
        let mut honest =
            receiver.join().map_err(|_| text!("the clients' receiver broke").into_io(io::ErrorKind::Other))?;
        (honest.others.asked, honest.of_zone.asked) = asked;
        Ok(honest)
    })
}

/// How many were asked, of other zones and of the attacked one.
fn send(
    socket: &UdpSocket,
    server: SocketAddr,
    begin: Instant,
    time: Duration,
    sent: &Sent,
    questions: &Questions,
) -> (u64, u64) {
    let (mut sender, mut asked) = (Sender::new(), (0, 0));
    for number in 0..IDS {
        let due = PACE * number as u32;
        if due >= time {
            break;
        }
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
        let (query, from) = (questions.query(number), crowd::client(number % CLIENTS));
        if questions.is_of_zone(number) {
            asked.1 += 1;
        } else {
            asked.0 += 1;
        }
        sent.0[number].store(begin.elapsed().as_nanos() as u64 + 1, Relaxed);
        let item = &mut |_| Outgoing { bytes: &query, to: Some(server), from: Some(from.into()) };
        // What cannot be sent is not answered.
        let _ = sender.send(socket.as_fd(), 1, item);
    }
    asked
}

fn receive(socket: &UdpSocket, begin: Instant, sent: &Sent, over: &AtomicBool, questions: &Questions) -> Honest {
    let (mut honest, mut receiver, mut buffer) = (Honest::default(), Receiver::unnamed(), [0; 1500]);
    let mut take = |answer: &[u8]| {
        let Some(id) = answer.get(..2).map(|id| usize::from(u16::from_be_bytes([id[0], id[1]]))) else { return };
        let at = sent.0[id].swap(0, Relaxed);
        let took = begin.elapsed().saturating_sub(Duration::from_nanos(at.saturating_sub(1)));
        if at != 0 && took <= PATIENCE {
            let served = if questions.is_of_zone(id) { &mut honest.of_zone } else { &mut honest.others };
            served.take(answer, took, questions.judge);
        }
    };
    while !over.load(Relaxed) {
        let Ok(len) = socket.recv(&mut buffer) else { continue };
        take(&buffer[..len]);
        while let Ok(count) = receiver.receive(socket.as_fd()) {
            (0..count).for_each(|at| take(receiver.datagram(at).bytes));
            if count < BATCH {
                break;
            }
        }
    }
    honest
}

/// Asks over TCP for `time`, each query on a connection of its own.
pub(super) fn ask_over_tcp(
    server: SocketAddr,
    from: Option<Ipv4Addr>,
    query: &[u8],
    time: Duration,
    pace: Duration,
) -> Served {
    let (mut served, begin) = (Served::default(), Instant::now());
    while begin.elapsed() < time {
        served.asked += 1;
        let at = Instant::now();
        if exchange(server, from, query).is_ok_and(|answer| wire::is_whole(&answer)) {
            served.answered += 1;
            served.times.push(at.elapsed());
        }
        std::thread::sleep(pace);
    }
    served
}

fn exchange(server: SocketAddr, from: Option<Ipv4Addr>, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = match from {
        Some(from) => super::attack::connect(from, server, PATIENCE)?,
        None => TcpStream::connect_timeout(&server, PATIENCE)?,
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[&(query.len() as u16).to_be_bytes()[..], query].concat())?;
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// Asks for the large answer of `name` over TCP, as a client does whose UDP answers come cut.
pub(super) fn ask_large_over_tcp(server: SocketAddr, from: Ipv4Addr, name: &Name, time: Duration) -> Served {
    ask_over_tcp(server, Some(from), &wire::large_query(1, name, None), time, LARGE_PACE)
}

/// Asks for the large answer of `name` over UDP with a cookie, from one address, for `time`: when it is shown that its
/// cookie is not good it asks once more with the new one, as RFC 7873 section 5.3 has it.
pub(super) fn ask_with_cookie(server: SocketAddr, from: Ipv4Addr, name: &Name, time: Duration) -> io::Result<Served> {
    let socket = UdpSocket::bind((from, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let (mut served, mut cookie, begin) = (Served::default(), Vec::new(), Instant::now());
    while begin.elapsed() < time {
        served.asked += 1;
        let (id, at) = (served.asked as u16, Instant::now());
        for _ in 0..2 {
            socket.send(&wire::large_query(id, name, Some(&cookie)))?;
            let Some(answer) = answer_to(&socket, id) else { break };
            if let Some(server) = wire::server_cookie(&answer) {
                cookie = server.to_vec();
            }
            if wire::has_records(&answer) {
                served.answered += 1;
                served.times.push(at.elapsed());
                break;
            }
        }
        std::thread::sleep(LARGE_PACE.saturating_sub(at.elapsed()));
    }
    Ok(served)
}

/// The answer with this id; others are of queries that were given up.
fn answer_to(socket: &UdpSocket, id: u16) -> Option<Vec<u8>> {
    let mut buffer = [0; 4096];
    loop {
        let len = socket.recv(&mut buffer).ok()?;
        if buffer[..2] == id.to_be_bytes() {
            return Some(buffer[..len].to_vec());
        }
    }
}

/// Asks for names of `zone`, one after another, until so many in a row are answered truly; the time from `since` to the
/// first of these, or `None` when that takes longer than `limit`.
pub(super) fn time_to_normal(
    server: SocketAddr,
    names: impl Iterator<Item = Name>,
    since: Instant,
    limit: Duration,
) -> io::Result<Option<Duration>> {
    const IN_A_ROW: u32 = 20;
    let socket = UdpSocket::bind((crowd::client(0), 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let (mut row, mut first) = (0, None);
    for (number, name) in names.enumerate() {
        let id = number as u16;
        let at = since.elapsed();
        socket.send(&wire::query(id, &name))?;
        let answered = answer_to(&socket, id).is_some_and(|answer| wire::is_true(&answer) == Some(true));
        (row, first) = if answered { (row + 1, first.or(Some(since.elapsed()))) } else { (0, None) };
        if row == IN_A_ROW {
            return Ok(first);
        }
        if at > limit {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(None)
}
