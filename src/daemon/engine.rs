//! What a reload acts on in the running gateway: workers, live policy, cache.

use super::error::RunError;
use super::history::{Coming, Fetched, Placed};
use super::metrics::MetricsServer;
use super::query_log::{self, LogThread};
use super::recipe::Recipe;
use super::{FLIGHTS_MAX, Site, planning, random};
use crate::clock::Clock;
use crate::control::beside::{beside, waiting};
use crate::control::changes::Changes;
use crate::control::history::request::{FeedCopy, Order, Source};
use crate::control::protocol::{Failure, FailureCode};
use crate::control::reload::{Cause, Engine, Loaded};
use crate::gateway::Gateway;
use crate::language::{Text, Told as _, text};
use crate::ledger::Ledger;
use crate::listen::{Settings, StartError, Workers};
use crate::live_policy::{PublishError, Running, Shared};
use crate::policy::document::Report;
use crate::policy::{Policy, PolicyId};
use crate::sys::pages::give_back_unused_memory;
use crate::telemetry::query_log::QueryLog;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Between two looks whether the workers have let go of a policy.
const SWEEP: Duration = Duration::from_millis(20);

/// Starts the workers. Must be called within a tokio runtime.
///
/// # Errors
/// Every address that cannot be listened on, or what else the system refused; nothing is left running.
pub(super) async fn start_workers(
    shared: &Arc<Shared>,
    ledgers: &[Arc<Ledger>],
    clock: Clock,
) -> Result<Workers, RunError> {
    let seeds = ledgers.iter().map(|_| random::<32>()).collect::<Result<Vec<_>, _>>()?;
    let running = shared.live.load();
    let settings = Settings {
        listen: running.policy.server.listen.clone(),
        workers: ledgers.len(),
        tcp: running.policy.tcp.clone(),
        clock,
    };
    let (shared, ledgers) = (Arc::clone(shared), ledgers.to_vec());
    let core = move |worker: usize| Gateway::new(&shared, &ledgers[worker], worker, FLIGHTS_MAX, seeds[worker]);
    // It waits for threads, which a runtime's own thread must not.
    let started = waiting(move || Workers::start(settings, core)).await;
    started
        .map_err(|error| RunError::Workers(text!("the workers did not start: {error}", error)))?
        .map_err(|error| RunError::Workers(error.text()))
}

/// See above.
#[derive(Debug)]
pub(super) struct GatewayEngine {
    recipe: Arc<Recipe>,
    site: Arc<Site>,
    /// Gone once they drain.
    workers: Option<Workers>,
    metrics: MetricsServer,
    /// Gone once it ends.
    log: Option<LogThread>,
    /// Replaced policies that a worker may still hold.
    replaced: Vec<Arc<Running>>,
    /// What is being brought to run, between placing and noting it.
    placed: Option<InHand>,
}

/// A policy that was loaded, with what its report warns of.
#[derive(Debug)]
pub(super) struct Candidate {
    policy: Policy,
    warnings: Vec<Text>,
    coming: Coming,
}

/// A policy that is being brought to run.
#[derive(Debug)]
struct InHand {
    placed: Placed,
    order: Order,
    warnings: Vec<Text>,
    /// What ended for it, with publishing.
    ended: Option<Text>,
}

/// What a new policy needs beside listeners, open already.
#[derive(Debug)]
pub(super) struct Opened {
    metrics: Option<TcpListener>,
    log: Option<QueryLog>,
}

impl GatewayEngine {
    /// Takes over what was started, and begins to log and to show metrics.
    ///
    /// # Errors
    /// The address of metrics, or a thread, cannot be had.
    pub(super) async fn new(
        recipe: Recipe,
        site: Arc<Site>,
        workers: Workers,
        log: QueryLog,
    ) -> Result<Self, RunError> {
        let address = site.shared.live.load().policy.server.metrics;
        let mut metrics = MetricsServer::default();
        let opened = metrics.open(address).await.map_err(RunError::Metrics)?;
        metrics.follow(address, opened, &site);
        let log = Some(LogThread::start(log, Arc::clone(&site)).map_err(RunError::System)?);
        Ok(Self {
            recipe: Arc::new(recipe),
            site,
            workers: Some(workers),
            metrics,
            log,
            replaced: Vec::new(),
            placed: None,
        })
    }

    /// The end: nothing new is taken, what is in flight is answered, within `deadline`.
    ///
    /// # Errors
    /// A worker that did not end by itself.
    pub(super) async fn end(&mut self, deadline: Duration) -> Result<(), RunError> {
        let sound = match self.workers.take() {
            Some(workers) => workers.drain(deadline).await,
            None => true,
        };
        if let Some(log) = self.log.take() {
            log.end();
        }
        if sound {
            return Ok(());
        }
        Err(RunError::Workers(text!("a worker did not end in time, or had panicked")))
    }

    async fn set_listeners(&mut self, listen: &[SocketAddr]) -> Result<(), StartError> {
        match &mut self.workers {
            Some(workers) => workers.set_listeners(listen).await,
            None => Ok(()),
        }
    }

    /// The directory as it was, when what was placed does not come to run.
    async fn take_back(&mut self) {
        let (Some(InHand { placed, order, .. }), Some(directory)) =
            (self.placed.take(), self.recipe.origin.directory())
        else {
            return;
        };
        let (site, directory) = (Arc::clone(&self.site), directory.to_path_buf());
        let _ = blocking(move || {
            site.history.take_back(&directory, &placed, &order);
            site.history.give_up_way_back();
        })
        .await;
    }

    fn running(&self) -> Arc<Running> {
        self.site.shared.live.load()
    }
}

impl Engine for GatewayEngine {
    type Candidate = Candidate;
    type Opened = Opened;

    fn watched(&self) -> Option<PathBuf> {
        let watch = self.running().policy.server.watch;
        self.recipe.origin.directory().filter(|_| watch).map(PathBuf::from)
    }

    fn loader(&self, order: &Order) -> impl FnOnce() -> Result<Loaded<Candidate>, Failure> + Send + 'static {
        if let Some(log) = &self.log {
            // Log rotation renames the file and sends SIGHUP, whether or not the policy has changed.
            log.reopen();
        }
        let (recipe, running, site) = (Arc::clone(&self.recipe), self.running(), Arc::clone(&self.site));
        let order = order.clone();
        move || load(&recipe, &running, &site, &order)
    }

    /// The workers serve on old and new addresses then; for an instant that is still under the old policy.
    async fn open(&mut self, candidate: &Candidate) -> Result<Opened, Failure> {
        let (running, new) = (self.running(), &candidate.policy.server);
        let log = match new.log.file == running.policy.server.log.file {
            true => None,
            false => {
                Some(query_log::open(new.log.file.as_deref()).map_err(|error| stays(FailureCode::CannotOpen, &error))?)
            }
        };
        let metrics = self.metrics.open(new.metrics).await;
        let metrics = metrics.map_err(|error| stays(FailureCode::CannotListen, &error))?;
        let mut both = running.policy.server.listen.clone();
        both.extend(new.listen.iter().filter(|address| !running.policy.server.listen.contains(address)));
        self.set_listeners(&both).await.map_err(|error| stays(FailureCode::CannotListen, &error.text()))?;
        Ok(Opened { metrics, log })
    }

    async fn place(&mut self, candidate: &Candidate, order: &Order) -> Result<bool, Failure> {
        let (mut coming, runs) = (candidate.coming.clone(), self.running().base.id);
        if !matches!(order.source, Source::Kept(_)) {
            coming.before = Some(runs);
        }
        let directory =
            self.recipe.origin.directory().filter(|_| !matches!(order.source, Source::Running | Source::Same));
        let placed = match directory.map(Path::to_path_buf) {
            None => Placed::as_it_lies(coming),
            Some(directory) => {
                let (site, order) = (Arc::clone(&self.site), order.clone());
                blocking(move || site.history.place(&directory, runs, coming, &order)).await??
            }
        };
        let is_written = placed.is_written();
        let warnings = candidate.warnings.clone();
        self.placed = Some(InHand { placed, order: order.clone(), warnings, ended: None });
        Ok(is_written)
    }

    async fn note(&mut self, order: &Order) -> Vec<Text> {
        let Some(InHand { placed, warnings, ended, .. }) = self.placed.take() else { return Vec::new() };
        // Also where nothing was published: what was wrong with the directory may be mended.
        self.site.set_policy_warnings(warnings.into_iter().chain(ended.clone()).collect());
        let (site, order, store) = (Arc::clone(&self.site), order.clone(), Arc::clone(&self.recipe.store));
        let directory = self.recipe.origin.directory().unwrap_or(Path::new("")).to_path_buf();
        let noted = blocking(move || {
            let mut notes: Vec<_> = ended.into_iter().chain(site.history.note(&directory, &placed, &order)).collect();
            // Before anything else is loaded: what runs is what the next one is compiled with.
            if let Some(FeedCopy { name, copy }) = &order.feed
                && let Err(error) = store.commit(name, copy)
            {
                notes.push(text!(
                    "feed {name} is in force and not kept for the next start: {error}",
                    name,
                    error = Text::of_io(&error)
                ));
            }
            site.forget_feeds(&store);
            notes
        })
        .await;
        noted.unwrap_or_else(|failure| vec![failure.text()])
    }

    fn overdue(&self) -> Option<Order> {
        self.site.history.overdue()
    }

    async fn publish(&mut self, candidate: Candidate, opened: Opened) -> Result<u64, Failure> {
        let Candidate { policy, .. } = candidate;
        let cache_bytes = policy.server.cache.size_bytes;
        let is_way_back = self.placed.as_ref().is_some_and(|placed| placed.order.cause == Cause::Unconfirmed);
        let published = match is_way_back {
            true => self.site.incidents.bring_back(policy),
            false => {
                self.site.shared.live.publish(policy, self.site.clock.now().unix_ms).map(|published| (published, None))
            }
        };
        let ((next, previous), ended) = match published {
            Ok(published) => published,
            Err(error) => {
                self.take_back().await;
                self.retire().await;
                let code = match error {
                    PublishError::Upstreams(_) => FailureCode::Unavailable,
                    PublishError::LacksMode(_) => FailureCode::PolicyFaults,
                };
                return Err(stays(code, &error.text()));
            }
        };
        if let (Some(mode), Some(placed)) = (ended, &mut self.placed) {
            placed.ended = Some(text!(
                "mode {mode} was ended: policy {id}, which runs again as the apply was not confirmed, has no modes/{mode}.toml",
                mode,
                id = next.policy.id
            ));
        }
        self.metrics.follow(next.policy.server.metrics, opened.metrics, &self.site);
        if let (Some(log), Some(opened)) = (&self.log, opened.log) {
            log.write_to(opened);
        }
        if let Some(workers) = &self.workers {
            workers.set_tcp_limits(next.policy.tcp.clone());
        }
        if cache_bytes != previous.policy.server.cache.size_bytes {
            let (shared, at) = (Arc::clone(&self.site.shared), self.site.clock.now().at);
            // Both sizes exist until it is done. Not beside the workers: it holds the locks of all shards, and
            // look-ups miss for as long as it does.
            let _ = waiting(move || shared.cache.resize(at, cache_bytes)).await;
        }
        self.replaced.push(previous);
        Ok(next.generation)
    }

    /// Closes the listeners that the running policy does not have, and frees the policies that no worker holds any more:
    /// here, where it may take its time, and never on the path of a query.
    async fn retire(&mut self) {
        let listen = self.running().policy.server.listen.clone();
        if let Err(error) = self.set_listeners(&listen).await {
            tracing::error!("closing listeners: {error}");
        }
        for running in self.replaced.drain(..) {
            tokio::spawn(free(running));
        }
    }

    fn generation(&self) -> u64 {
        self.running().generation
    }
}

/// Does what waits for the disk where it holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let done = beside(work).await;
    done.map_err(|error| Failure::new(FailureCode::Unavailable, text!("writing the history broke off: {error}", error)))
}

/// A refusal after which nothing has changed.
fn stays(code: FailureCode, cause: &Text) -> Failure {
    Failure::new(code, text!("{cause}\n  the running policy stays, whole", cause))
}

pub(super) async fn free(mut running: Arc<Running>) {
    // A worker lets go with its next batch or tick; a status request may hold it for a moment as well.
    loop {
        running = match Arc::try_unwrap(running) {
            // A million names take a while to be freed.
            Ok(last) => {
                // Without a thread it is freed here, which takes a while.
                let _ = beside(move || {
                    drop(last);
                    give_back_unused_memory();
                })
                .await;
                return;
            }
            Err(shared) => shared,
        };
        tokio::time::sleep(SWEEP).await;
    }
}

fn load(recipe: &Recipe, running: &Running, site: &Site, order: &Order) -> Result<Loaded<Candidate>, Failure> {
    let (origin, desk, whole, running) = (&recipe.origin, &site.history, running, &*running.base);
    if let Some(directory) = origin.directory() {
        desk.mend(directory).map_err(|half| stays(FailureCode::PolicyFaults, &half))?;
    }
    let faulty = |name: &Text, report: Report| {
        let message =
            text!("the policy of {name} has faults ({sum}): the running policy stays", name, sum = report.sum());
        Failure::of_faults(message, name.clone(), report)
    };
    let fetched = match desk.fetch(origin.directory(), running.id, order)? {
        Some(fetched) => fetched,
        None => {
            let name = origin.text();
            let (files, faults) = origin.read().map_err(|report| faulty(&name, report))?;
            let coming = Coming { id: PolicyId::of(&files), files: Arc::new(files), before: None };
            Fetched { coming, faults, name, notes: Vec::new() }
        }
    };
    let Fetched { coming, faults, name, notes } = fetched;
    let copies = recipe.store.copies();
    let copies = match &order.feed {
        Some(feed) => copies.with(&feed.name, Arc::clone(&feed.copy)),
        None => copies,
    };
    let (policy, report) =
        recipe.compile_with(&coming.files, copies, faults, Some(running)).map_err(|report| faulty(&name, report))?;
    if let Some(FeedCopy { name, copy }) = &order.feed
        && !policy.feeds.of(name).is_some_and(|feed| feed.source.vouches_for(&copy.manifest))
    {
        // It was fetched, or waited, while the feed was declared otherwise.
        let message = text!("the copy of feed {name} is of another source, or not what is pinned", name);
        return Err(stays(FailureCode::BadRequest, &message));
    }
    let mut warnings = report.texts();
    // The first copy of a feed takes the place of nothing that protected.
    let replaces_copy = order.feed.as_ref().is_some_and(|feed| running.copies.contains_key(&feed.name));
    if policy.id != running.id || replaces_copy {
        let held = planning::hold(site, whole, &policy, order, origin.directory());
        warnings.extend(held.map_err(|failure| stays(failure.code, &failure.text()))?);
    }
    Ok(Loaded {
        id: policy.id.to_string(),
        changed: policy.id != running.id || policy.server != running.server || policy.copies != running.copies,
        changes: Changes::between(running, &policy),
        warnings: notes.into_iter().chain(warnings.iter().cloned()).collect(),
        candidate: Candidate { policy, warnings, coming },
    })
}
