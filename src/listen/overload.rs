//! What a worker knows of its own load, and what it does about it: it tells the core, and has the kernel thin the floods.

use super::Core;
use super::crowd::{Batch, Change, Crowd};
use super::heavy::{Changes, Heavy};
use super::rush::Rush;
use super::sieve::Caught;
use super::strain::Strain;
use super::strangers::Strangers;
use super::tally::Event;
use super::worker::{Turn, Worker};
use crate::clock::Moment;
use crate::policy::overload::Pressure;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

/// Of a batch of a worker that keeps up so many are looked at, to learn who is a regular: all while it is quiet, and what
/// is lost of a full one costs nobody its standing.
const LEARNT_FROM: usize = 8;

/// So often the filters learn who has become a regular by proof.
const ENROLL: Duration = Duration::from_secs(1);

/// One worker's load.
#[derive(Debug)]
pub(super) struct Load {
    strain: Strain,
    heavy: Heavy,
    crowd: Crowd,
    strangers: Strangers,
    enrolled_at: Moment,
    rush: Rush,
    pressure: Pressure,
    /// The worker was behind at the last batch, or thins a flood.
    watches: bool,
}

impl Load {
    pub(super) fn new() -> Self {
        Self {
            strain: Strain::default(),
            heavy: Heavy::new(),
            crowd: Crowd::default(),
            strangers: Strangers::new(),
            enrolled_at: Moment::ZERO,
            rush: Rush::new(),
            pressure: Pressure::None,
            watches: false,
        }
    }
}

impl<C: Core> Worker<C> {
    /// Takes in a batch that was read, and tells the core what follows. `overflows`: a socket that nothing is thinned on
    /// has lost some for want of room.
    pub(super) fn feel(&self, turn: &mut Turn<'_, C>, batch: Batch, overflows: bool) {
        let load = &mut *self.load.borrow_mut();
        let strain = load.strain.note(turn.now().at, batch.delay, overflows && batch.full);
        let thins = load.crowd.pass().is_some();
        load.watches = load.strain.is_behind() || load.heavy.holds_any() || thins;
        if load.watches {
            load.crowd.note(batch);
            load.rush.note_dropped(batch.dropped);
        }
        // As long as strangers are turned away it could not keep up with what it is asked.
        let pressure = if thins { Pressure::Sustained } else { strain };
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

    /// Looks at who sent a datagram, number `i` of its batch. Whether it is to be handed on: while a flood is thinned, not
    /// all of what was queued before.
    pub(super) fn looks_at(&self, turn: &mut Turn<'_, C>, i: usize, client: IpAddr, waited: Duration) -> bool {
        let load = &mut *self.load.borrow_mut();
        if !load.watches && i >= LEARNT_FROM {
            return true;
        }
        let now = turn.now().at;
        let core = turn.core();
        let known = core.regulars().is_some_and(|regulars| regulars.meet(now, client, !load.watches));
        if !load.watches {
            return true;
        }
        let arrived = Moment::from_nanos(now.as_nanos().saturating_sub(waited.as_nanos() as u64));
        load.crowd.see(known);
        load.rush.see(client, known);
        let passes = load.heavy.see(client, arrived) && (known || load.crowd.takes(arrived));
        passes || core.is_spared(client)
    }

    /// Catches flooders and lets them go, and thins strangers, when it is time to.
    pub(super) fn review_sources(self: &Rc<Self>, turn: &mut Turn<'_, C>) {
        let load = &mut *self.load.borrow_mut();
        if !load.watches {
            return;
        }
        let (behind, now) = (load.strain.is_behind(), turn.now().at);
        let core = turn.core();
        let Some(rate) = core.shed_rate() else {
            let others = load.heavy.let_all_go() != Changes::default();
            if load.crowd.let_all_pass() || others {
                self.thin(load);
            }
            return;
        };
        let changes = load.heavy.review(now, rate, behind, |source| core.is_spared(source));
        self.tally.add(Event::FloodSources, changes.caught as u64);
        if changes.caught > 0 {
            let names: Vec<_> = load.heavy.caught().iter().map(|caught| caught.source.to_string()).collect();
            tracing::warn!("flooded over its capacity by {}: thinned in the kernel while it lasts", names.join(", "));
        }
        let change = self.review_strangers(load, turn, changes.caught > 0);
        if changes != Changes::default() || change != Change::None {
            self.thin(load);
        }
    }

    /// The same for those of whom nobody can be caught.
    fn review_strangers(&self, load: &mut Load, turn: &mut Turn<'_, C>, caught: bool) -> Change {
        let now = turn.now();
        let change = load.crowd.review(now.at, load.strain.is_behind(), caught);
        if load.crowd.pass().is_none() {
            return change;
        }
        if change == Change::Begun || now.at.since(load.enrolled_at) >= ENROLL {
            load.enrolled_at = now.at;
            if !enroll(load, turn.core(), now.at) {
                load.crowd.give_up(now.at);
                return Change::Ended;
            }
        }
        if change == Change::Begun {
            self.tally.one(Event::Crowds);
            tracing::warn!("flooded over its capacity from very many sources: those that are not known are thinned");
            load.rush.begin(now.at);
        }
        if let Some(numbers) = load.rush.review(now.at) {
            turn.core().flooded_by_many(now, numbers);
        }
        change
    }

    /// Puts the filters that follow on all sockets; smaller ones where the system has no room.
    fn thin(&self, load: &mut Load) {
        let caught: Vec<Caught> = load.heavy.caught();
        for listener in self.listeners.borrow().iter().flatten() {
            loop {
                let strangers = load.crowd.pass().map(|pass| (&load.strangers, pass));
                match listener.thin(&caught, strangers) {
                    Ok(()) => break,
                    Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && load.strangers.shrink() => {}
                    Err(error) => {
                        tracing::warn!(
                            %error, "a flood cannot be thinned in the kernel: the worker reads and drops it itself"
                        );
                        break;
                    }
                }
            }
        }
    }
}

/// Takes down who is let pass now. False when nobody may be thinned.
fn enroll<C: Core>(load: &mut Load, core: &C, now: Moment) -> bool {
    let (Some(regulars), Some(exempt)) = (core.regulars(), core.spared()) else { return false };
    let fits = load.strangers.enroll(exempt, || regulars.known(now));
    if !fits {
        tracing::warn!("[source] exempt has too many networks for a filter: a flood from many sources is not thinned");
    }
    fits
}
