//! Ways of a reflector through the kernel, to be measured beside the plain one (benches/ways.py).
//!
//! ```text
//! --by calls       recvmmsg and sendmmsg; or gro, the same with datagrams that come as one; or uring
//! --batch 64       datagrams of a call, at most 128
//! --segment 1      answers that look alike go as one
//! --wait receive   in the call that receives; or epoll, before it, as a runtime does; or spin, not at all; or pause, 50 us
//!                  for more to come after a batch that was not full. Not by uring
//! --busy-us N      the system looks at the card itself for so long before a thread sleeps
//! --steer hash     threads stay on a core each, and clients are dealt out by their address; or incoming, bpf: to the thread on
//!                  the core where the datagram came in
//! ```

use crate::batch::{Wait, set, socket};
use libc::c_int;
use std::fmt;
use std::io;
use std::mem::zeroed;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

/// The largest batch that there is a choice of.
const BATCH_MAX: usize = 128;

/// How long a pause is.
const PAUSE: Duration = Duration::from_micros(50);

/// What receives and sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    Calls,
    Coalesced,
    Uring,
}

/// How a thread waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Receive,
    Epoll,
    Spin,
    Pause,
}

/// Which thread gets a datagram, where each stays on a core.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Steering {
    Hash,
    Incoming,
    Bpf,
}

/// How a reflector is driven.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    pub(crate) by: Driver,
    pub(crate) batch: usize,
    pub(crate) is_grouped: bool,
    wait: Patience,
    busy_us: c_int,
    steering: Option<Steering>,
}

impl Way {
    /// From the words of a command line.
    pub(crate) fn read(options: &[&str]) -> Result<Self, String> {
        let mut way = Self {
            by: Driver::Calls,
            batch: crate::batch::BATCH,
            is_grouped: false,
            wait: Patience::Receive,
            busy_us: 0,
            steering: None,
        };
        for pair in options.chunks(2) {
            let [option, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
            let wrong = || format!("{option} {value}: not a value of it");
            match (*option, *value) {
                ("--by", "calls") => way.by = Driver::Calls,
                ("--by", "gro") => way.by = Driver::Coalesced,
                ("--by", "uring") => way.by = Driver::Uring,
                ("--batch", count) => {
                    way.batch = count.parse().ok().filter(|n| (1..=BATCH_MAX).contains(n)).ok_or_else(wrong)?
                }
                ("--segment", value) => way.is_grouped = value == "1",
                ("--wait", "receive") => way.wait = Patience::Receive,
                ("--wait", "epoll") => way.wait = Patience::Epoll,
                ("--wait", "spin") => way.wait = Patience::Spin,
                ("--wait", "pause") => way.wait = Patience::Pause,
                ("--busy-us", us) => way.busy_us = us.parse().ok().filter(|us| *us >= 0).ok_or_else(wrong)?,
                ("--steer", "hash") => way.steering = Some(Steering::Hash),
                ("--steer", "incoming") => way.steering = Some(Steering::Incoming),
                ("--steer", "bpf") => way.steering = Some(Steering::Bpf),
                ("--by" | "--wait" | "--steer", _) => return Err(wrong()),
                _ => return Err(format!("{option} is no option of reflect")),
            }
        }
        if way.by == Driver::Uring && way.wait != Patience::Receive {
            return Err("a ring waits in a way of its own".to_owned());
        }
        Ok(way)
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Calls => "recvmmsg",
            Self::Coalesced => "UDP_GRO",
            Self::Uring => "io_uring",
        })
    }
}

/// A socket for each thread at the same address, between which the kernel deals out the clients, as the way says.
pub(crate) fn open(at: SocketAddrV4, threads: usize, way: &Way) -> Result<Vec<UdpSocket>, String> {
    let sockets: Vec<_> = (0..threads).map(|_| socket(Some(at))).collect();
    for (number, socket) in sockets.iter().enumerate() {
        let mut are_taken = true;
        if way.busy_us > 0 {
            are_taken &= set(socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL, way.busy_us);
            are_taken &= set(socket, libc::SOL_SOCKET, libc::SO_PREFER_BUSY_POLL, 1);
        }
        if way.steering == Some(Steering::Incoming) {
            are_taken &= set(socket, libc::SOL_SOCKET, libc::SO_INCOMING_CPU, core(number)? as c_int);
        }
        if !are_taken {
            return Err(format!("an option of the socket is not taken: {}", io::Error::last_os_error()));
        }
    }
    if way.steering == Some(Steering::Bpf) {
        if (0..threads).any(|number| core(number).is_ok_and(|core| core % threads != number)) {
            return Err("BPF: the numbers of the cores do not follow each other".to_owned());
        }
        steer_by_core(&sockets[0], threads)?;
    }
    Ok(sockets)
}

/// Serves each socket on a thread.
pub(crate) fn run(sockets: Vec<UdpSocket>, way: &Way, serve: impl Fn(&UdpSocket, &Way) + Copy + Send) {
    thread::scope(|scope| {
        for (number, socket) in sockets.iter().enumerate() {
            scope.spawn(move || {
                if way.steering.is_some() {
                    stay_on(core(number).expect("asked for before"));
                }
                serve(socket, way);
            });
        }
    });
}

/// The core that a thread stays on: one of those that the process may use.
fn core(number: usize) -> Result<usize, String> {
    // SAFETY: zeros are an empty set; the system fills it up to the size that is told.
    let allowed = unsafe {
        let mut allowed: libc::cpu_set_t = zeroed();
        libc::sched_getaffinity(libc::getpid(), size_of::<libc::cpu_set_t>(), &raw mut allowed);
        allowed
    };
    // SAFETY: within the set.
    let mut cores = (0..libc::CPU_SETSIZE as usize).filter(|core| unsafe { libc::CPU_ISSET(*core, &allowed) });
    cores.nth(number).ok_or_else(|| "more threads than cores".to_owned())
}

fn stay_on(core: usize) {
    // SAFETY: zeros are an empty set, and the core is one of those in it that the system named; the set outlives the call.
    unsafe {
        let mut only: libc::cpu_set_t = zeroed();
        libc::CPU_SET(core, &mut only);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const only);
    }
}

/// Has the system choose the socket by the number of the core where a datagram came in: the sockets are numbered in the order
/// in which they were bound.
fn steer_by_core(first: &UdpSocket, threads: usize) -> Result<(), String> {
    let step = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let core = (libc::SKF_AD_OFF + libc::SKF_AD_CPU) as u32;
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, core),
        step(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, threads as u32),
        step(libc::BPF_RET | 0x10, 0), // A: what was loaded.
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    match set(first, libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, program) {
        true => Ok(()),
        false => Err(format!("BPF: {}", io::Error::last_os_error())),
    }
}

/// Waits before a batch is taken.
pub(crate) struct Waiting {
    wait: Patience,
    epoll: Option<OwnedFd>,
    batch: usize,
    /// The last batch was not full, so that nothing was left then.
    is_empty: bool,
}

impl Waiting {
    pub(crate) fn of(socket: &UdpSocket, way: &Way) -> io::Result<Self> {
        let epoll = if way.wait == Patience::Epoll { Some(watch(socket)?) } else { None };
        if way.wait == Patience::Pause {
            // SAFETY: takes numbers. As short as is asked for, and not 50 us more.
            unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
        }
        Ok(Self { wait: way.wait, epoll, batch: way.batch, is_empty: true })
    }

    /// Waits, and says how the call that takes the batch is to wait.
    pub(crate) fn before(&mut self) -> Wait {
        match (self.wait, &self.epoll) {
            (Patience::Spin, _) => Wait::Never,
            (Patience::Epoll, Some(epoll)) if self.is_empty => {
                let mut event = libc::epoll_event { events: 0, u64: 0 };
                // SAFETY: there is room for one event.
                unsafe { libc::epoll_wait(epoll.as_raw_fd(), &raw mut event, 1, -1) };
                Wait::Never
            }
            (Patience::Epoll, _) => Wait::Never,
            (Patience::Pause, _) => {
                if self.is_empty {
                    thread::sleep(PAUSE);
                }
                Wait::ForOne
            }
            (Patience::Receive, _) => Wait::ForOne,
        }
    }

    /// Notes how large the batch was.
    pub(crate) fn note(&mut self, came: usize) {
        self.is_empty = came < self.batch;
    }
}

/// Tells when something came since it was last said, as weir's runtime does.
fn watch(socket: &UdpSocket) -> io::Result<OwnedFd> {
    let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 0 };
    // SAFETY: a new descriptor, which is owned from here on, and an event that outlives the call.
    unsafe {
        let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let epoll = OwnedFd::from_raw_fd(fd);
        if libc::epoll_ctl(fd, libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(epoll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_way_are_read() {
        let way = Way::read(&["--by", "uring", "--batch", "128", "--segment", "1"]).expect("sound");
        assert!(way.by == Driver::Uring && way.batch == 128 && way.is_grouped);
        for wrong in [&["--batch", "129"][..], &["--batch"], &["--by", "magic"], &["--by", "uring", "--wait", "spin"]] {
            assert!(Way::read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn bpf_gives_what_comes_in_on_a_core_to_the_thread_of_it() {
        let way = Way::read(&["--steer", "bpf"]).expect("sound");
        let at = "127.0.0.1:20690".parse().expect("an address");
        let (Ok(first), Ok(second)) = (core(0), core(1)) else { return };
        if (first % 2, second % 2) != (0, 1) {
            return assert!(open(at, 2, &way).is_err());
        }
        let sockets = open(at, 2, &way).expect("sockets");
        for core in [first, second] {
            stay_on(core);
            for _ in 0..50 {
                UdpSocket::bind("127.0.0.1:0").and_then(|from| from.send_to(b"query", at)).expect("on loopback");
            }
            let mut ring = crate::batch::Ring::new();
            assert_eq!(ring.receive(&sockets[core % 2], Wait::Never), 50);
            assert_eq!(ring.receive(&sockets[1 - core % 2], Wait::Never), 0);
        }
    }
}
