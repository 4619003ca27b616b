//! What is planned for a world: who asks when, which attacks come, when servers, policies and modes change.

use super::{Event, World};
use crate::clients::{self, Sent};
use crate::policies::PLAYS;
use crate::stage::START;
use rand::RngExt;
use std::time::Duration;
use weir::clock::Moment;
use weir::policy::overload::Pressure;

impl World {
    /// Everything that is known beforehand: who asks when, which server changes, when the policy does.
    pub(super) fn plan(&mut self) {
        let workers = self.stage.workers.len();
        (0..workers).for_each(|worker| self.push(START, Event::Tick(worker)));
        let span = Duration::from_millis(self.rng.random_range(500..12_000));
        let queries = self.rng.random_range(20..120);
        for number in 0..queries {
            let sent = clients::message(&mut self.rng, number);
            self.plan_query(span, sent);
        }
        self.plan_attacks(span);
        for _ in 0..self.rng.random_range(0..4) {
            let play = PLAYS[self.rng.random_range(0..PLAYS.len())];
            let at = self.moment_within(span);
            self.push(at, Event::Reload(play));
        }
        for _ in 0..self.rng.random_range(0..8) {
            let (server, at) = (self.rng.random_range(0..self.servers.len()), self.moment_within(span));
            self.push(at, Event::Mood(server));
        }
        for _ in 0..self.rng.random_range(0..3) {
            let (on, at) = (self.rng.random_bool(0.5), self.moment_within(span));
            self.push(at, Event::Mode(on));
        }
        for _ in 0..self.rng.random_range(0..3) {
            let (on, at) = (self.rng.random_bool(0.6), self.moment_within(span));
            self.push(at, Event::Emergency(on));
        }
        for _ in 0..self.rng.random_range(1..4) {
            let (on, at) = (self.rng.random_bool(0.7), self.moment_within(span));
            self.push(at, Event::Dead(on));
        }
        for _ in 0..self.rng.random_range(0..3) {
            let pressure = if self.rng.random_bool(0.5) { Pressure::Sustained } else { Pressure::None };
            let (worker, at) = (self.rng.random_range(0..workers), self.moment_within(span));
            self.push(at, Event::Pressure(worker, pressure));
        }
    }

    /// Every attack there is, each somewhen, and faster or slower.
    fn plan_attacks(&mut self, span: Duration) {
        let names = [5, 30, 100_000][self.rng.random_range(0..3)];
        let victim = self.rng.random_range(0..3);
        for attack in 0..7 {
            let begin = span.mul_f64(self.rng.random_range(0.0..0.8));
            let lasts = Duration::from_millis(self.rng.random_range(50..3_000));
            let count: u64 = self.rng.random_range(20..120);
            for number in 0..count {
                let rng = &mut self.rng;
                let id = 10_000 + attack * 5_000 + number;
                let sent = match attack {
                    0 => clients::player(rng, id, names),
                    1 => clients::random_name(rng, id),
                    2 => clients::reflected(rng, id, victim),
                    3 => clients::forged(rng, id),
                    4 => clients::holder(rng, id, number as u32 % 4),
                    5 => clients::judged(rng, id),
                    _ => clients::flood(rng, id),
                };
                // A connection belongs to one worker.
                let workers = self.stage.workers.len();
                let worker = if attack == 4 { number as usize % 4 % workers } else { rng.random_range(0..workers) };
                self.push(START.plus(begin + lasts.mul_f64(number as f64 / count as f64)), Event::Query(worker, sent));
            }
        }
    }

    fn plan_query(&mut self, span: Duration, sent: Sent) {
        let worker = self.rng.random_range(0..self.stage.workers.len());
        let at = self.moment_within(span);
        // Impatient clients ask again, with the same id.
        if self.rng.random_bool(0.05) {
            let again = at.plus(Duration::from_millis(self.rng.random_range(0..900)));
            self.push(again, Event::Query(worker, sent.clone()));
        }
        self.push(at, Event::Query(worker, sent));
    }

    fn moment_within(&mut self, span: Duration) -> Moment {
        START.plus(span.mul_f64(self.rng.random()))
    }
}
