//! The control side of the workers: starting them, changing their listeners and limits, and ending them in order.

use super::Core;
use super::bind::{Bound, ListenError, bind, settle};
use super::census::Census;
use super::tally::{Event, Tally};
use super::worker::{Birth, Command, LISTENERS_MAX, run};
use crate::clock::Clock;
use crate::language::{Text, Told, text};
use crate::policy::server::TcpLimits;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// How often ports are chosen anew when somebody else takes one first.
const PLAN_ATTEMPTS: usize = 8;

/// Commands that a worker has not taken up yet.
const COMMANDS_MAX: usize = 16;

/// What workers are started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// UDP and TCP on each; port 0 lets the kernel choose one.
    pub listen: Vec<SocketAddr>,
    /// Threads, at least 1.
    pub workers: usize,
    /// Limits on client connections.
    pub tcp: TcpLimits,
    /// The clock that the cores are told.
    pub clock: Clock,
}

/// Why workers did not start; nothing of them is left then.
#[derive(Debug)]
pub enum StartError {
    /// Some addresses cannot be listened on: all of those.
    Listen(Vec<ListenError>),
    /// More than the most listeners that a worker can have.
    TooManyListeners(usize),
    /// A thread or its runtime could not be had.
    Worker {
        /// Which one.
        worker: usize,
        /// What the system said.
        cause: io::Error,
    },
}

impl Told for StartError {
    fn text(&self) -> Text {
        match self {
            Self::Listen(errors) => Text::joined("\n", errors.iter().map(ListenError::text)),
            Self::TooManyListeners(count) => text!(
                "cannot listen on {count} addresses: at most {most}, those being closed included",
                count,
                most = LISTENERS_MAX
            ),
            Self::Worker { worker, cause } => {
                text!("worker {worker} did not start: {error}", worker, error = Text::of_io(cause))
            }
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().english())
    }
}

impl std::error::Error for StartError {}

#[derive(Debug)]
struct Handle {
    commands: mpsc::Sender<Command>,
    thread: thread::JoinHandle<()>,
    ended: oneshot::Receiver<()>,
    tally: Arc<Tally>,
}

/// A number that a listener has or had. The numbers of removed listeners are used again as late as can be, because a reply may
/// still be on its way to one.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// As it was asked for, and with its port.
    asked: SocketAddr,
    settled: SocketAddr,
    open: bool,
    /// When it was last opened or closed, in changes since the start.
    changed: u64,
}

/// The running workers.
#[derive(Debug)]
pub struct Workers {
    handles: Vec<Handle>,
    places: Vec<Place>,
    changes: u64,
    limits: watch::Sender<TcpLimits>,
    census: Arc<Census>,
}

/// What a change of listeners needs.
#[derive(Debug)]
struct Change {
    places: Vec<Place>,
    /// For each worker.
    add: Vec<Vec<Bound>>,
    remove: Vec<u16>,
}

impl Workers {
    /// Binds all sockets, then starts the threads; each builds its core with `core(worker)`. When this returns, every worker
    /// serves.
    ///
    /// # Errors
    /// [`StartError`]; then nothing runs and nothing is bound.
    pub fn start<C, F>(settings: Settings, core: F) -> Result<Self, StartError>
    where
        C: Core,
        F: Fn(usize) -> C + Send + Sync + 'static,
    {
        let workers = settings.workers.max(1);
        let change = plan(&[], 0, &settings.listen, workers)?;
        let (limits, limits_seen) = watch::channel(settings.tcp);
        let mut started =
            Self { handles: Vec::new(), places: change.places, changes: 1, limits, census: Census::new() };
        let core = Arc::new(core);
        for (worker, sockets) in change.add.into_iter().enumerate() {
            let (commands, commands_seen) = mpsc::channel(COMMANDS_MAX);
            // Not tokio's: this may run on a thread of a runtime, and takes microseconds.
            let (ready, is_ready) = std::sync::mpsc::channel();
            let (end, ended) = oneshot::channel();
            let tally = Arc::new(Tally::default());
            let birth = Birth {
                sockets,
                clock: settings.clock,
                limits: limits_seen.clone(),
                census: Arc::clone(&started.census),
                tally: Arc::clone(&tally),
                commands: commands_seen,
            };
            let core = Arc::clone(&core);
            let failed = |cause| StartError::Worker { worker, cause };
            let thread = thread::Builder::new()
                .name(format!("weir-worker-{worker}"))
                .spawn(move || {
                    // Dropped when the thread ends, in whatever way: that is the sign.
                    let _end: oneshot::Sender<()> = end;
                    run(birth, core(worker), ready);
                })
                .map_err(failed)?;
            started.handles.push(Handle { commands, thread, ended, tally });
            // A worker whose thread dies while it starts drops its sender.
            match is_ready.recv() {
                Ok(result) => result.map_err(failed)?,
                Err(_) => return Err(failed(io::Error::other("its thread ended"))),
            }
        }
        Ok(started)
    }

    /// Where the workers listen, with the ports that the kernel chose.
    pub fn listeners(&self) -> Vec<SocketAddr> {
        self.places.iter().filter(|place| place.open).map(|place| place.settled).collect()
    }

    /// Makes the listeners those of `listen`. Sockets of addresses that stay are untouched; new ones are bound before anything
    /// else happens; those that are removed hand over what is queued on them and are closed when nothing is owed over them,
    /// within three seconds. Returns when all workers serve on the new ones.
    ///
    /// # Errors
    /// [`StartError::Listen`] with every address that cannot be had, or [`StartError::TooManyListeners`]: then nothing has
    /// changed.
    pub async fn set_listeners(&mut self, listen: &[SocketAddr]) -> Result<(), StartError> {
        let change = plan(&self.places, self.changes, listen, self.handles.len())?;
        self.places = change.places;
        self.changes += 1;
        let mut answers = Vec::new();
        for (handle, add) in self.handles.iter().zip(change.add) {
            let (done, is_done) = oneshot::channel();
            let command = Command::Listen { add, remove: change.remove.clone(), done };
            // One that has ended (it panicked) does not answer; in a gateway the process ends with it.
            if handle.commands.send(command).await.is_ok() {
                answers.push(is_done);
            }
        }
        for answer in answers {
            let _ = answer.await;
        }
        Ok(())
    }

    /// Changes the limits on client connections, from the next accepted one on.
    pub fn set_tcp_limits(&self, limits: TcpLimits) {
        self.limits.send_replace(limits);
    }

    /// The same for whoever cannot have the workers themselves.
    pub fn tcp_limits(&self) -> watch::Sender<TcpLimits> {
        self.limits.clone()
    }

    /// Open client connections, all workers.
    pub fn connections(&self) -> usize {
        self.census.total()
    }

    /// How often `event` happened, all workers.
    pub fn count(&self, event: Event) -> u64 {
        self.handles.iter().map(|handle| handle.tally.of(event)).sum()
    }

    /// The counters of each worker, to be read at any time and from any thread.
    pub fn tallies(&self) -> Vec<Arc<Tally>> {
        self.handles.iter().map(|handle| Arc::clone(&handle.tally)).collect()
    }

    /// Takes no new queries, reads what is queued, answers what is in flight, and ends: at `deadline` at the latest. Returns
    /// whether all workers ended by themselves; one that hangs is left behind after another second.
    pub async fn drain(self, deadline: Duration) -> bool {
        for handle in &self.handles {
            // A worker that has ended needs no telling.
            let _ = handle.commands.send(Command::Drain { deadline }).await;
        }
        let all = async {
            let mut sound = true;
            for handle in self.handles {
                let _ = handle.ended.await;
                // The thread has dropped its last value: this does not wait.
                sound &= handle.thread.join().is_ok();
            }
            sound
        };
        tokio::time::timeout(deadline + Duration::from_secs(1), all).await.unwrap_or(false)
    }
}

/// Whether a socket on one address is in the way of one on the other.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port()
        && a.is_ipv4() == b.is_ipv4()
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

/// What has to be opened and closed, with the sockets of what is opened. Where the kernel chooses a port, somebody else may
/// take it between the choice and our binding it: then it is asked for another.
fn plan(old: &[Place], changes: u64, listen: &[SocketAddr], workers: usize) -> Result<Change, StartError> {
    let is_taken = |error: &StartError| matches!(error, StartError::Listen(faults) if faults.iter().all(|fault| fault.cause.kind() == io::ErrorKind::AddrInUse));
    let mut attempts = if listen.iter().any(|address| address.port() == 0) { PLAN_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match plan_once(old, changes, listen, workers) {
            Err(error) if attempts > 0 && is_taken(&error) => {}
            planned => return planned,
        }
    }
}

fn plan_once(old: &[Place], changes: u64, listen: &[SocketAddr], workers: usize) -> Result<Change, StartError> {
    let mut places = old.to_vec();
    let mut kept = vec![false; places.len()];
    let mut new = Vec::new();
    for address in listen {
        let same = |place: &Place| place.open && (place.asked == *address || place.settled == *address);
        let stays = places.iter().enumerate().find(|(index, place)| !kept[*index] && same(place));
        match stays {
            Some((index, _)) => kept[index] = true,
            // Written twice.
            None if address.port() != 0 && (new.contains(address) || places.iter().any(same)) => {}
            None => new.push(*address),
        }
    }
    let mut remove = Vec::new();
    for (index, place) in places.iter_mut().enumerate().filter(|(index, place)| place.open && !kept[*index]) {
        (place.open, place.changed) = (false, changes);
        remove.push(index as u16);
    }
    let mut add: Vec<Vec<Bound>> = (0..workers).map(|_| Vec::new()).collect();
    let mut errors = Vec::new();
    for address in &new {
        // A removed listener's sockets may still linger; then they are ours too.
        let ours = places.iter().any(|place| overlap(place.settled, *address));
        let Some(index) = choose_place(&mut places, *address) else {
            return Err(StartError::TooManyListeners(listen.len()));
        };
        let bound = settle(*address, ours).and_then(|settled| {
            places[index] = Place { asked: *address, settled, open: true, changed: changes };
            (0..workers).map(|_| bind(index as u16, settled)).collect::<Result<Vec<_>, _>>()
        });
        match bound {
            Ok(bound) => add.iter_mut().zip(bound).for_each(|(add, bound)| add.push(bound)),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(StartError::Listen(errors));
    }
    // A place that is opened again at once is replaced, not removed.
    remove.retain(|index| !places[usize::from(*index)].open);
    Ok(Change { places, add, remove })
}

/// A number for a listener: the one it had, a new one, or the one that has been closed for longest.
fn choose_place(places: &mut Vec<Place>, address: SocketAddr) -> Option<usize> {
    let again = |place: &Place| !place.open && place.settled == address;
    if let Some(index) = places.iter().position(again) {
        return Some(index);
    }
    if places.len() < LISTENERS_MAX {
        places.push(Place { asked: address, settled: address, open: false, changed: 0 });
        return Some(places.len() - 1);
    }
    let closed = places.iter().enumerate().filter(|(_, place)| !place.open);
    closed.min_by_key(|(_, place)| place.changed).map(|(index, _)| index)
}
