//! What the control side does in a scenario: modes and blocks with an end, and modes that begin and end by themselves.

use crate::script::{Words, Wrong, duration};
use crate::stage::Stage;
use std::time::Duration;
use weir::clock::{Moment, Now};
use weir::control::incidents::audit::Who;
use weir::control::incidents::auto::{AutoWatch, Move, Sample};
use weir::control::incidents::{Incidents, action};
use weir::policy::emergency::EmergencyRule;
use weir::policy::filter::Pattern;
use weir::policy::modes::NORMAL;

/// How long a mode or a block lasts unless the script says so.
const LASTS: Duration = Duration::from_secs(3_600);

/// How often conditions are looked at, as in the daemon.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Desk {
    incidents: Incidents,
    watch: AutoWatch,
    sample: Sample,
    looked_at: Moment,
}

impl Desk {
    /// `mode NAME [DURATION]`, `mode normal`
    pub(crate) fn mode(&mut self, stage: &mut Stage, now: Now, words: Words<'_>) -> Result<(), Wrong> {
        let name = words.at(1)?;
        if name == NORMAL {
            self.incidents.leave(now, &who(), "script").ok_or("no mode is on")?;
        } else {
            let base = stage.shared.live.load().base.clone();
            let mode = base.mode(name).ok_or(format!("no mode {name}"))?;
            self.incidents.enter(now, &who(), mode, lasts(words, 2)?, "script");
        }
        self.act(stage, now.at);
        Ok(())
    }

    /// `block NAME ACTION [DURATION]`
    pub(crate) fn block(&mut self, stage: &mut Stage, now: Now, words: Words<'_>) -> Result<(), Wrong> {
        let rule = (
            Pattern::parse(words.at(1)?).map_err(|error| error.english())?,
            action(words.at(2)?).ok_or("no such action")?,
        );
        let blocked = self.incidents.block(now, &who(), rule, lasts(words, 3)?, "script");
        blocked.map_err(|failure| format!("{failure:?}"))?;
        self.act(stage, now.at);
        Ok(())
    }

    /// `unblock NAME`
    pub(crate) fn unblock(&mut self, stage: &mut Stage, now: Now, words: Words<'_>) -> Result<(), Wrong> {
        let pattern = Pattern::parse(words.at(1)?).map_err(|error| error.english())?;
        let gone = self.incidents.unblock(now, &who(), &pattern, "script");
        gone.map_err(|failure| format!("{failure:?}"))?;
        self.act(stage, now.at);
        Ok(())
    }

    /// `measured queries=N dropped=N overload=N down`: what the gateway measures from now on.
    pub(crate) fn measured(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        words.only(1, &["queries=", "dropped=", "overload=", "down"])?;
        let number = |key| words.number(key).map(|number| u64::from(number.unwrap_or(0)));
        self.sample = Sample {
            queries: number("queries")?,
            dropped_percent: number("dropped")?,
            overload: number("overload")?,
            upstream_down: words.has("down"),
        };
        Ok(())
    }

    /// Ends what is over, and looks at the conditions of modes.
    pub(crate) fn tick(&mut self, stage: &mut Stage, now: Now) {
        let mut changed = !self.incidents.expire(now).is_empty();
        let at = now.at;
        if at.since(self.looked_at) >= LOOK {
            self.looked_at = at;
            let base = stage.shared.live.load().base.clone();
            match self.watch.observe(at, &self.sample, &base, self.incidents.mode()) {
                Some(Move::Enter(name, why)) => {
                    let mode = base.mode(&name).expect("the watch knows modes of the policy only");
                    self.incidents.enter_by_itself(now, mode, &why);
                    changed = true;
                }
                Some(Move::Leave(why)) => changed |= self.incidents.leave(now, &Who::weir(), &why).is_some(),
                None => {}
            }
        }
        if changed {
            self.act(stage, now.at);
        }
    }

    fn act(&self, stage: &mut Stage, at: Moment) {
        stage.switch(at, self.incidents.mode().map(|mode| &*mode.name));
        let rules: Vec<EmergencyRule> = self.incidents.blocks().iter().map(|block| block.rule.clone()).collect();
        stage.block(at, &rules);
    }
}

fn who() -> Who {
    Who::named("script")
}

fn lasts(words: Words<'_>, at: usize) -> Result<Duration, Wrong> {
    words.all().nth(at).map_or(Ok(LASTS), duration)
}
