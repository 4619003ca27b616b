//! What a worker knows of its own load, and what it does about it: it tells the core, and has the kernel thin the floods.

use super::Core;
use super::heavy::{Changes, Heavy};
use super::strain::Strain;
use super::tally::Event;
use super::worker::{Turn, Worker};
use crate::policy::overload::Pressure;
use std::cell::RefMut;
use std::rc::Rc;
use std::time::Duration;

/// One worker's load.
#[derive(Debug)]
pub(super) struct Load {
    strain: Strain,
    heavy: Heavy,
    pressure: Pressure,
    /// The worker was behind at the last batch, or thins a flood.
    watches: bool,
}

impl Load {
    pub(super) fn new() -> Self {
        Self { strain: Strain::default(), heavy: Heavy::new(), pressure: Pressure::None, watches: false }
    }
}

impl<C: Core> Worker<C> {
    /// Takes in how long the oldest datagram of a batch has waited, and tells the core what follows.
    pub(super) fn feel(&self, turn: &mut Turn<'_, C>, delay: Duration) {
        let load = &mut *self.load.borrow_mut();
        let pressure = load.strain.note(turn.now().at, delay);
        load.watches = load.strain.is_behind() || load.heavy.holds_any();
        if pressure == load.pressure {
            return;
        }
        load.pressure = pressure;
        if pressure == Pressure::Sustained {
            self.tally.one(Event::Overloads);
            tracing::warn!("a worker cannot keep up: each source gets its fair share now");
        }
        turn.core().set_pressure(pressure);
    }

    /// The counts of sources, while they are wanted.
    pub(super) fn watches_sources(&self) -> Option<RefMut<'_, Heavy>> {
        let load = self.load.borrow_mut();
        load.watches.then(|| RefMut::map(load, |load| &mut load.heavy))
    }

    /// Catches flooders and lets them go, when it is time to.
    pub(super) fn review_sources(self: &Rc<Self>, turn: &mut Turn<'_, C>) {
        let load = &mut *self.load.borrow_mut();
        if !load.watches {
            return;
        }
        let (behind, now) = (load.strain.is_behind(), turn.now().at);
        let core = turn.core();
        let changes = match core.shed_rate() {
            Some(rate) => load.heavy.review(now, rate, behind, |source| core.is_spared(source)),
            None => load.heavy.let_all_go(),
        };
        if changes == Changes::default() {
            return;
        }
        self.tally.add(Event::FloodSources, changes.caught as u64);
        let caught = load.heavy.caught();
        if changes.caught > 0 {
            let names: Vec<_> = caught.iter().map(|caught| caught.source.to_string()).collect();
            tracing::warn!("flooded over its capacity by {}: thinned in the kernel while it lasts", names.join(", "));
        }
        for listener in self.listeners.borrow().iter().flatten() {
            listener.thin(&caught);
        }
    }
}
