//! The wiring: policy in, workers out, signals. The main thread becomes the control side and never touches a query.

mod announce;
mod answers;
mod engine;
mod error;
mod fatal;
mod history;
pub(crate) mod in_process;
mod incidents;
pub(crate) mod lab_thread;
mod lookout;
mod metrics;
mod planning;
mod query_log;
mod recipe;
mod requests;
mod signals;
mod state;
mod survey;

pub use error::RunError;
pub use state::StatePlace;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::control::beside::beside;
use crate::control::feeds::FeedDesk;
use crate::control::feeds::store::Store;
use crate::control::history::replace;
use crate::control::origin::Origin;
use crate::control::reload::{Asker, Last, LastReload, Reloader};
use crate::control::socket::ControlSocket;
use crate::control::watch::{self, Digest};
use crate::gateway::PORTS;
use crate::language::{Text, text};
use crate::ledger::alerts::Alerts;
use crate::ledger::journal::Journal;
use crate::ledger::notices::Notices;
use crate::ledger::recent::Recent;
use crate::ledger::samples::Samples;
use crate::ledger::watch::Watch;
use crate::ledger::{Ledger, Totals};
use crate::listen::{Event, Tally};
use crate::live_policy::{LivePolicy, Running, Shared};
use crate::policy::Policy;
use crate::policy::cookies::{CookieJar, Secret};
use crate::policy::document::files;
use crate::policy::filter::Budgets;
use crate::policy::regulars::Regulars;
use crate::policy::rrl::RrlTable;
use crate::policy::source::SourceTables;
use crate::storm;
use crate::sys;
use crate::telemetry::{self, TracingFault};
use engine::GatewayEngine;
use history::HistoryDesk;
use incidents::IncidentDesk;
use lab_thread::LabThread;
use lookout::Lookout;
use recipe::{Made, Recipe};
use signals::Signals;
use state::State;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Queries that one worker holds in flight at the most.
pub const FLIGHTS_MAX: usize = 16_384;

/// Queries that may wait to be written to the query log.
pub const JOURNAL_ENTRIES: usize = 8_192;

/// Alerts of workers that may wait to be told.
pub const ALERTS: usize = 256;

/// Samples of queries that may wait to be summed up: what 8 workers take in a quarter of a second.
pub const SAMPLES: usize = 8_192;

/// How long the end waits for what is in flight.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);

/// TCP connections that a worker may hold toward one upstream, beside its UDP sockets.
const STREAMS: usize = 4;

/// Files that each thread and the process as a whole need besides: timers, pipes, control connections, the log.
const OTHER_FILES: usize = 32;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the policy comes from.
    pub origin: Origin,
    /// Where the system's nameservers are.
    pub resolv_conf: PathBuf,
    /// The control socket, instead of the policy's.
    pub socket: Option<PathBuf>,
    /// Where modes, emergency rules, the history and the audit log are kept.
    pub state: StatePlace,
    /// Start the lab and ask it instead of every upstream.
    pub lab: bool,
    /// Start with the policy that ran last when the directory has faults.
    pub last_good: bool,
}

/// What the control side knows about the gateway that runs.
#[derive(Debug)]
struct Site {
    shared: Arc<Shared>,
    ledgers: Vec<Arc<Ledger>>,
    tallies: Vec<Arc<Tally>>,
    origin: Origin,
    workers: usize,
    clock: Clock,
    started: Instant,
    /// Of the machine, seen at the start; they hold until the end.
    warnings: Vec<Text>,
    /// Of the policy that runs.
    policy_warnings: Mutex<Vec<Text>>,
    last: Last,
    incidents: IncidentDesk,
    history: HistoryDesk,
    feeds: Arc<FeedDesk>,
    /// Who it is: summed up by the lookout, read by status and metrics.
    watch: Mutex<Watch>,
    /// What was asked lately: as above, and read by plans and the guard.
    recent: Mutex<Recent>,
    /// Where the cache is looked into for a plan.
    control: tokio::runtime::Handle,
    /// Held while a plan is made.
    planning: Mutex<()>,
}

/// Runs the gateway until a signal ends it. What it tells at the start goes to `say`, a line at a time.
///
/// # Errors
/// [`RunError`]; what had been started is ended again.
pub fn run(options: Options, say: &mut dyn FnMut(Text)) -> Result<(), RunError> {
    match telemetry::start_tracing() {
        // Whoever runs us as a library has one of their own.
        Ok(()) | Err(TracingFault::AlreadyStarted) => {}
        Err(fault) => return Err(RunError::Tracing(fault)),
    }
    fatal::end_with_any_thread();
    sys::pages::give_back_large_memory();
    let Options { origin, resolv_conf, socket, state, lab, last_good } = options;
    let lab = if lab { Some(LabThread::start().map_err(RunError::Lab)?) } else { None };
    let mut state = State::new(state);
    let recipe = Recipe {
        origin,
        resolv_conf,
        lab: lab.as_ref().map(|lab| lab.address),
        socket,
        seed: random_number()?,
        // Where they most likely are: the directory itself is opened once the policy is known to be whole.
        store: Arc::new(Store::open(state.likely().as_deref())),
    };
    if let Some(directory) = recipe.origin.directory().filter(|directory| directory.join(replace::MARKER).exists()) {
        HistoryDesk::open(&state.open(), Clock::start()).mend(directory).map_err(RunError::Directory)?;
    }
    let (made, digest) = match make(&recipe, last_good) {
        Err(RunError::Policy { origin, report }) if last_good => {
            let directory = recipe.origin.directory().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
            let (desk, digest) = (HistoryDesk::open(&state.open(), Clock::start()), watch::digest(&directory));
            let made = desk.last_good(&recipe, &report);
            let none = |cause| {
                // Now all of its faults are wanted.
                let report = recipe.make().err().unwrap_or(report);
                RunError::NoLastGood { origin, report, cause }
            };
            (made.map_err(none)?, digest)
        }
        made => made?,
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().thread_name(fatal::BLOCKING).build().map_err(RunError::System)?;
    let tasks = tokio::task::LocalSet::new();
    let ended = tasks.block_on(&runtime, serve(recipe, (made, digest), state, say));
    drop(tasks);
    // A policy that is just being loaded is not waited for.
    runtime.shutdown_background();
    ended
}

/// Loads the policy, and tells what its directory looked like. Where `last_good` may take its place the first fault is enough.
fn make(recipe: &Recipe, last_good: bool) -> Result<(Made, Digest), RunError> {
    // Before loading: a change that comes while loading is seen as one afterwards.
    let digest = recipe.origin.directory().map_or_else(|| watch::digest(Path::new("")), watch::digest);
    match if last_good { recipe.make_or_else() } else { recipe.make() } {
        Ok(made) => Ok((made, digest)),
        Err(report) => Err(RunError::Policy { origin: recipe.origin.clone(), report }),
    }
}

async fn serve(
    mut recipe: Recipe,
    (mut made, mut digest): (Made, Digest),
    mut state: State,
    say: &mut dyn FnMut(Text),
) -> Result<(), RunError> {
    // Before anything is opened: a signal that comes early must not end us in the middle.
    let mut signals = Signals::take().map_err(RunError::System)?;
    let clock = Clock::start();
    // Before the listeners, which share their ports with whoever else listens there as the same user: two gateways by
    // mistake would each get a part of the queries.
    let mut socket = open_socket(&made.policy)?;
    let history = HistoryDesk::open(&state.open(), clock);
    let likely = state.likely();
    let directory = state.open().ok().map(|held| held.path().to_path_buf());
    recipe.store = Arc::new(Store::open(directory.as_deref()));
    let is_elsewhere = directory != likely && made.policy.feeds.iter().next().is_some();
    if history.resume(&recipe, made.policy.id).map_err(RunError::Directory)? || is_elsewhere {
        drop(socket);
        (made, digest) = make(&recipe, false)?;
        socket = open_socket(&made.policy)?;
    }
    let Made { policy, files, warnings: policy_warnings } = made;
    let id = policy.id;
    let shared = Arc::new(share(policy, clock)?);
    // Before the first query: what was on before a restart is on from the start.
    let incidents = IncidentDesk::open(&shared, clock, recipe.seed, &mut state);
    let running = shared.live.load();
    let workers = worker_threads(running.policy.server.workers);
    let warnings = raise_descriptors(&running, workers).into_iter().collect();
    let ledgers: Vec<_> = (0..workers).map(|_| Arc::new(Ledger::default())).collect();
    let log = query_log::open(running.policy.server.log.file.as_deref()).map_err(RunError::Log)?;
    let guard = &running.policy.server.guard;
    let recent = Recent::new(guard.queries, guard.age, random_number()?);
    let started = engine::start_workers(&shared, &ledgers, clock).await?;
    incidents.follow(started.tcp_limits());
    let site = Arc::new(Site {
        shared,
        ledgers,
        tallies: started.tallies(),
        origin: recipe.origin.clone(),
        workers,
        clock,
        started: Instant::now(),
        warnings,
        policy_warnings: Mutex::new(policy_warnings),
        last: Last::default(),
        incidents,
        history,
        feeds: Arc::new(FeedDesk::new(Arc::clone(&recipe.store), clock)),
        watch: Mutex::new(Watch::new(clock.now().at)),
        recent: Mutex::new(recent),
        control: tokio::runtime::Handle::current(),
        planning: Mutex::default(),
    });
    let engine = GatewayEngine::new(recipe.clone(), Arc::clone(&site), started, log).await?;
    {
        let site = Arc::clone(&site);
        // It serves already; a policy that is new to the history takes a while to be kept.
        let store = Arc::clone(&recipe.store);
        let _ = beside(move || {
            site.history.started(id, files);
            site.forget_feeds(&store);
        })
        .await;
    }
    announce::announce(&site, &recipe, &running, socket.as_ref(), say);
    drop(running);

    let lookout = Lookout::start(Arc::clone(&site)).map_err(RunError::System)?;
    let (mut reloader, asker) = Reloader::new(engine, digest, site.last.clone());
    let feeds = tokio::task::spawn_local(keep_feeds(Arc::clone(&site), asker.clone()));
    let control = socket.map(|socket| {
        let (site, recipe) = (Arc::clone(&site), Arc::new(recipe.clone()));
        let answer = move |command, peer, lang| {
            let (site, recipe, asker) = (Arc::clone(&site), Arc::clone(&recipe), asker.clone());
            async move { requests::answer(site, &recipe, asker, command, peer, lang).await }
        };
        tokio::task::spawn_local(socket.serve(answer))
    });
    tokio::select! {
        () = reloader.run(&mut signals.hangup) => {}
        () = incidents::run(Arc::clone(&site)) => {}
        signal = signals.end.recv() => tracing::info!("{signal}: what is in flight is answered, then it ends"),
    }
    if let Some(control) = control {
        control.abort();
        // The only error is the abort itself; the socket's file is gone after it.
        let _ = control.await;
    }
    site.incidents.write().await;
    feeds.abort();
    drop(lookout);
    tokio::select! {
        ended = reloader.engine().end(DRAIN_MAX) => ended,
        signal = signals.end.again() => Err(RunError::EndedAtOnce { signal, unanswered: site.in_flight() }),
    }
}

async fn keep_feeds(site: Arc<Site>, asker: Asker) {
    let running = || Arc::clone(&site.shared.live.load().base.feeds);
    match Arc::clone(&site.feeds).run(running, (&site.shared.notices, &site.shared.alerts), asker).await {}
}

fn open_socket(policy: &Policy) -> Result<Option<ControlSocket>, RunError> {
    policy.server.control_socket.as_deref().map(ControlSocket::bind).transpose().map_err(RunError::Socket)
}

/// What all workers share, made once: its memory is fixed from here on.
fn share(policy: Policy, clock: Clock) -> Result<Shared, RunError> {
    let workers = worker_threads(policy.server.workers);
    let shards = 4 * workers;
    Ok(Shared {
        source: Arc::new(SourceTables::new(policy.source.memory, random_number()?)),
        rrl: RrlTable::new(policy.rrl.memory, random_number()?),
        regulars: Regulars::new(Regulars::BYTES, random_number()?),
        budgets: Budgets::new(random_number()?),
        cookies: CookieJar::new(Secret::new(random()?)),
        cache: Cache::new(policy.server.cache.size_bytes, random_number()?, shards),
        storm: storm::Common::new(random_number()?, storm::KNOWN_NAMES),
        journal: Journal::new(JOURNAL_ENTRIES),
        alerts: Alerts::new(ALERTS),
        samples: Samples::new(SAMPLES),
        notices: Notices::default(),
        live: LivePolicy::new(policy, workers, clock.now().unix_ms).map_err(RunError::Upstreams)?,
    })
}

/// Random bytes of the system: what they key and number must not be guessed from outside.
fn random<const N: usize>() -> Result<[u8; N], RunError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| RunError::Random(error.to_string()))?;
    Ok(bytes)
}

fn random_number() -> Result<u64, RunError> {
    random().map(u64::from_ne_bytes)
}

/// Makes sure that the process may open as many files as the configuration may ask for; warns when it may not.
fn raise_descriptors(running: &Running, workers: usize) -> Option<Text> {
    let Running { policy, routing, .. } = running;
    let per_worker = 2 * policy.server.listen.len() + routing.upstreams.len() * (PORTS + STREAMS) + OTHER_FILES;
    // An incident mode may let more connections in.
    let modes = policy.modes.iter().map(|mode| mode.limits.tcp.connections);
    let connections = modes.fold(policy.tcp.connections, usize::max);
    // Of the policy that runs until it is kept, and of the one that is to come.
    let lists = 2 * files::ON_DISK_MAX;
    let need = (workers * per_worker + connections + lists + OTHER_FILES) as u64;
    match sys::raise_open_files(need) {
        Ok(limit) if limit >= need => None,
        Ok(limit) => Some(text!(
            "{limit} files may be open and the configuration may need {need}: raise LimitNOFILE (systemd) or `ulimit -Hn`, \
             or lower `[tcp] connections` in limits.toml",
            limit,
            need
        )),
        Err(error) => Some(text!("how many files may be open cannot be told: {error}", error = Text::of_io(&error))),
    }
}

/// How many worker threads `workers = n` means: 0 is one per core that we may use.
fn worker_threads(configured: usize) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if configured == 0 { cores() } else { configured }
}

impl Site {
    /// The counters of all workers, added up.
    fn totals(&self) -> Totals {
        Totals::of(self.ledgers.iter().map(Arc::as_ref))
    }

    /// Queries that were read and have no outcome yet: they wait for an upstream.
    fn in_flight(&self) -> u64 {
        // The outcomes first: a query that comes in between counts as waiting, and none as less than none.
        let settled = self.totals().all();
        let read = [Event::UdpQueries, Event::TcpQueries];
        let read: u64 = self.tallies.iter().flat_map(|tally| read.map(|event| tally.of(event))).sum();
        read.saturating_sub(settled)
    }

    /// What somebody should look at: on this machine, and in the policy that runs.
    fn warnings(&self) -> Vec<Text> {
        let of_policy = self.policy_warnings.lock().unwrap_or_else(PoisonError::into_inner);
        self.warnings.iter().chain(of_policy.iter()).cloned().collect()
    }

    fn set_policy_warnings(&self, warnings: Vec<Text>) {
        *self.policy_warnings.lock().unwrap_or_else(PoisonError::into_inner) = warnings;
    }

    /// Removes the copies of feeds that neither what runs declares nor anything that one may go back to.
    fn forget_feeds(&self, store: &Store) {
        let running = self.shared.live.load();
        let strangers = || store.names().into_iter().filter(|name| running.base.feeds.of(name).is_none());
        if strangers().next().is_none() {
            return;
        }
        let Ok(Ok(kept)) = self.history.history().map(|history| history.feeds()) else { return };
        for name in strangers().filter(|name| !kept.contains(name)) {
            match store.forget(&name) {
                Ok(()) => tracing::info!(feed = name, "no policy declares it any more: its copies are removed"),
                Err(error) => tracing::warn!(feed = name, "its copies cannot be removed: {error}"),
            }
        }
    }

    /// How the last reload went.
    fn last_reload(&self) -> Option<LastReload> {
        self.last.outcome()
    }
}
