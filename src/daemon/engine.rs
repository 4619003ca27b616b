//! What a reload acts on in the running gateway: workers, live policy, cache.

use super::recipe::Recipe;
use crate::clock::Clock;
use crate::control::changes::Changes;
use crate::control::protocol::{Failure, FailureCode};
use crate::control::reload::{Engine, Loaded};
use crate::live_policy::{Running, Shared};
use crate::policy::Policy;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks whether the workers have let go of a policy.
const SWEEP: Duration = Duration::from_millis(20);

/// See above.
#[derive(Debug)]
pub(super) struct GatewayEngine {
    pub(super) recipe: Arc<Recipe>,
    pub(super) shared: Arc<Shared>,
    pub(super) workers: crate::listen::Workers,
    pub(super) clock: Clock,
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
        move || load(&recipe, &running)
    }
}
