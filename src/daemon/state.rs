//! The state directory of this process: opened once, when it is first needed.

use crate::control::incidents::state::StateDirectory;
use crate::language::Text;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two tries to get the state directory from a gateway that is just ending.
const RETRY: Duration = Duration::from_millis(50);

/// Where the state is kept.
#[derive(Clone, Debug)]
pub enum StatePlace {
    /// In the first of these that can be used.
    OneOf(Vec<PathBuf>),
    /// Nowhere; why.
    Nowhere(Text),
}

/// The state directory, held, or why there is none.
pub(super) type Held = Result<Arc<StateDirectory>, Text>;

/// See above.
#[derive(Debug)]
pub(super) struct State {
    place: StatePlace,
    held: Option<Held>,
}

impl State {
    pub(super) fn new(place: StatePlace) -> Self {
        Self { place, held: None }
    }

    /// Whether none is wanted.
    pub(super) fn is_nowhere(&self) -> bool {
        matches!(self.place, StatePlace::Nowhere(_))
    }

    /// Where it most likely is: what is only read there needs no lock. The first that is there.
    pub(super) fn likely(&self) -> Option<PathBuf> {
        match &self.place {
            StatePlace::OneOf(candidates) => candidates.iter().find(|path| path.is_dir()).cloned(),
            StatePlace::Nowhere(_) => None,
        }
    }

    /// The directory. One that a gateway which is just ending still holds is waited for.
    pub(super) fn open(&mut self) -> Held {
        let place = &self.place;
        self.held.get_or_insert_with(|| open(place, super::DRAIN_MAX + Duration::from_secs(1))).clone()
    }
}

fn open(place: &StatePlace, patience: Duration) -> Held {
    let candidates = match place {
        StatePlace::OneOf(candidates) => candidates,
        StatePlace::Nowhere(why) => return Err(why.clone()),
    };
    let begun = Instant::now();
    loop {
        match StateDirectory::open(candidates) {
            Ok(directory) => return Ok(Arc::new(directory)),
            Err(error) if error.is_held && begun.elapsed() < patience => std::thread::sleep(RETRY),
            Err(error) => return Err(error.message),
        }
    }
}
