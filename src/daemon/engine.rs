//! What a reload acts on in the running gateway: workers, live policy, cache.

use super::error::RunError;
use super::recipe::Recipe;
use super::{FLIGHTS_MAX, random, worker_threads};
use crate::clock::Clock;
use crate::control::changes::Changes;
use crate::control::protocol::{Failure, FailureCode};
use crate::control::reload::{Engine, Loaded};
use crate::gateway::Gateway;
use crate::ledger::Ledger;
use crate::listen::{Settings, StartError, Tally, Workers};
use crate::live_policy::{Running, Shared};
use crate::policy::Policy;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks whether the workers have let go of a policy.
const SWEEP: Duration = Duration::from_millis(20);

/// See above.
#[derive(Debug)]
pub(super) struct GatewayEngine {
    recipe: Arc<Recipe>,
    shared: Arc<Shared>,
    /// Gone once they drain.
    workers: Option<Workers>,
    clock: Clock,
    /// Replaced policies that a worker may still hold.
    replaced: Vec<Arc<Running>>,
}

impl GatewayEngine {
    /// Starts the workers. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Every address that cannot be listened on, or what else the system refused; nothing is left running.
    pub(super) async fn start(
        recipe: &Recipe,
        shared: &Arc<Shared>,
        ledgers: &[Arc<Ledger>],
        clock: Clock,
    ) -> Result<Self, RunError> {
        let seeds = ledgers.iter().map(|_| random::<32>()).collect::<Result<Vec<_>, _>>()?;
        let running = shared.live.load();
        let settings = Settings {
            listen: running.policy.server.listen.clone(),
            workers: worker_threads(running.policy.server.workers),
            tcp: running.policy.tcp.clone(),
            clock,
        };
        let (core_shared, core_ledgers) = (Arc::clone(shared), ledgers.to_vec());
        let core =
            move |worker: usize| Gateway::new(&core_shared, &core_ledgers[worker], worker, FLIGHTS_MAX, seeds[worker]);
        // It waits for threads, which a runtime's own thread must not.
        let started = tokio::task::spawn_blocking(move || Workers::start(settings, core)).await;
        let workers = started
            .map_err(|error| RunError::Workers(format!("the workers did not start: {error}")))?
            .map_err(|error| RunError::Workers(error.to_string()))?;
        let (recipe, shared) = (Arc::new(recipe.clone()), Arc::clone(shared));
        Ok(Self { recipe, shared, workers: Some(workers), clock, replaced: Vec::new() })
    }

    /// What the drivers count, by worker.
    pub(super) fn tallies(&self) -> Vec<Arc<Tally>> {
        self.workers.as_ref().map_or_else(Vec::new, Workers::tallies)
    }

    /// Ends the workers: nothing new is taken, what is in flight is answered, within `deadline`.
    pub(super) async fn drain(&mut self, deadline: Duration) -> bool {
        match self.workers.take() {
            Some(workers) => workers.drain(deadline).await,
            None => true,
        }
    }

    async fn set_listeners(&mut self, listen: &[SocketAddr]) -> Result<(), StartError> {
        match &mut self.workers {
            Some(workers) => workers.set_listeners(listen).await,
            None => Ok(()),
        }
    }
}

impl Engine for GatewayEngine {
    type Candidate = Policy;
    type Opened = ();

    fn watched(&self) -> Option<PathBuf> {
        let watch = self.shared.live.load().policy.server.watch;
        self.recipe.origin.directory().filter(|_| watch).map(PathBuf::from)
    }

    fn loader(&self) -> impl FnOnce() -> Result<Loaded<Policy>, Failure> + Send + 'static {
        let (recipe, running) = (Arc::clone(&self.recipe), self.shared.live.load());
        move || load(&recipe, &running.policy)
    }

    /// The workers serve on old and new addresses then; for an instant that is still under the old policy.
    async fn open(&mut self, candidate: &Policy) -> Result<(), Failure> {
        let mut both = self.shared.live.load().policy.server.listen.clone();
        both.extend(candidate.server.listen.iter().filter(|address| !both.contains(address)).collect::<Vec<_>>());
        self.set_listeners(&both).await.map_err(|error| {
            Failure::new(FailureCode::CannotListen, format!("{error}\n  the running policy stays, whole"))
        })
    }

    async fn publish(&mut self, candidate: Policy, (): ()) -> Result<u64, Failure> {
        let (cache_bytes, tcp) = (candidate.server.cache.size_bytes, candidate.tcp.clone());
        let published = self.shared.live.publish(candidate, self.clock.now().unix_ms);
        let (next, previous) = match published {
            Ok(published) => published,
            Err(error) => {
                self.retire().await;
                let message = format!("{error}; the running policy stays");
                return Err(Failure::new(FailureCode::Unavailable, message));
            }
        };
        if let Some(workers) = &self.workers {
            workers.set_tcp_limits(tcp);
        }
        if cache_bytes != previous.policy.server.cache.size_bytes {
            let (shared, at) = (Arc::clone(&self.shared), self.clock.now().at);
            // Both sizes exist until it is done: on a thread that may take its time.
            let _ = tokio::task::spawn_blocking(move || shared.cache.resize(at, cache_bytes)).await;
        }
        self.replaced.push(previous);
        Ok(next.generation)
    }

    /// Closes the listeners that the running policy does not have, and frees the policies that no worker holds any more:
    /// here, where it may take its time, and never on the path of a query.
    async fn retire(&mut self) {
        let listen = self.shared.live.load().policy.server.listen.clone();
        if let Err(error) = self.set_listeners(&listen).await {
            tracing::error!("closing listeners: {error}");
        }
        for running in self.replaced.drain(..) {
            tokio::spawn(free(running));
        }
    }

    fn generation(&self) -> u64 {
        self.shared.live.load().generation
    }
}

async fn free(mut running: Arc<Running>) {
    // A worker lets go with its next batch or tick; a status request may hold it for a moment as well.
    loop {
        running = match Arc::try_unwrap(running) {
            // A million names take a while to be freed.
            Ok(last) => return drop(tokio::task::spawn_blocking(move || drop(last))),
            Err(shared) => shared,
        };
        tokio::time::sleep(SWEEP).await;
    }
}

fn load(recipe: &Recipe, running: &Policy) -> Result<Loaded<Policy>, Failure> {
    let origin = &recipe.origin;
    let (candidate, report) = recipe.make().map_err(|report| Failure {
        report: Some(report.human(&origin.to_string(), false)),
        ..Failure::new(
            FailureCode::PolicyFaults,
            format!("the policy of {origin} has faults ({report}): the running policy stays"),
        )
    })?;
    Ok(Loaded {
        id: candidate.id.to_string(),
        changed: candidate.id != running.id || candidate.server != running.server,
        changes: Changes::between(&running.server, &candidate.server),
        warnings: report.short().lines().map(str::to_owned).collect(),
        candidate,
    })
}
