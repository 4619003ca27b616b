//! What a scenario expects, held against what came.

use super::{Ears, From, Player};
use crate::replies::hold;
use crate::script::{Words, Wrong, parse};
use crate::stage::message::{cookies_of, id_of};
use weir::language::Told as _;
use weir::ledger::UpstreamEvent;
use weir::policy::document::instant;
use weir::verdict::{Outcome, Reason};

/// Steps that change nothing.
pub(super) const EXPECTATIONS: [&str; 13] = [
    "tally",
    "asks",
    "ignored",
    "replies",
    "alert",
    "reply",
    "silence",
    "nothing",
    "count",
    "would",
    "event",
    "transfers",
    "hits",
];

impl Player {
    /// `tally answers=2 tc=3 silent=5`
    pub(super) fn check_tally(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        words.only(1, &["answers=", "tc=", "silent=", "badcookie="])?;
        for (key, got) in ["answers", "tc", "silent", "badcookie"].into_iter().zip(self.tally) {
            let text = words.values(key).next().unwrap_or("0");
            let (least, most) = text.split_once("..").unwrap_or((text, text));
            let (least, most): (u32, u32) = (parse(least, "number")?, parse(most, "number")?);
            if !(least..=most).contains(&got) {
                return Err(format!(
                    "expected {text} {key}, got {got}: {:?} answers, TC=1, silent, BADCOOKIE",
                    self.tally
                ));
            }
        }
        Ok(())
    }

    /// `asks SERVER [tcp] [cookie] [intact]`, or `asks nobody`
    pub(super) fn check_asks(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        let wanted = words.at(1)?;
        let next = self.asks.pop_front();
        let Some((server, held)) = next else {
            return if wanted == "nobody" { Ok(()) } else { Err(format!("expected {wanted} to be asked, nobody is")) };
        };
        if server != wanted {
            return Err(format!("expected {wanted} to be asked, it is {server}"));
        }
        if matches!(held.from, From::Tcp(_)) != words.has("tcp") {
            return Err("asked over the other transport".into());
        }
        if cookies_of(&held.bytes).is_empty() == words.has("cookie") {
            return Err(format!("the cookies that {server} sees: {:02x?}", cookies_of(&held.bytes)));
        }
        let same = |query: &Vec<u8>| query[2..] == held.bytes[2..];
        if words.has("intact") && !self.queries.values().any(same) {
            return Err("it is not what the client sent, apart from the id".into());
        }
        self.held.entry(server).or_default().push_back(held);
        Ok(())
    }

    /// `hits RULE N [monitored=N] [last=TIME]`
    pub(super) fn check_hits(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        words.only(3, &["monitored=", "last="])?;
        let running = self.stage().shared.live.load();
        let rule = running.counted_rules().find(|rule| Ok(rule.id) == words.at(1)).ok_or("no such rule")?;
        let count = rule.hits.read().ok_or("it is not counted")?;
        equal("hits", parse(words.at(2)?, "number")?, count.decided)?;
        equal("monitored", words.number("monitored")?.map_or(0, u64::from), count.monitored)?;
        match words.values("last").next() {
            Some(last) if count.last_unix_ms != Some(instant::parse(last).map_err(|error| error.english())?) => {
                Err(format!("the last hit was at {:?}", count.last_unix_ms.map(instant::show)))
            }
            _ => Ok(()),
        }
    }

    /// `reply ID words...`
    pub(super) fn check_reply(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        let id: u16 = parse(words.at(1)?, "id")?;
        let place = self.replies.iter().position(|reply| id_of(reply) == id);
        let reply = place.and_then(|place| self.replies.remove(place)).ok_or("expected a reply, there is none")?;
        let query = self.queries.get(&id).ok_or("nobody asked with this id")?;
        hold(words, 2, query, &reply)
    }

    /// `replies N words...`: so many wait, all alike.
    pub(super) fn check_replies(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        within("replies", words.at(1)?, self.replies.len() as u64)?;
        while let Some(reply) = self.replies.pop_front() {
            let query = self.queries.get(&id_of(&reply)).ok_or("nobody asked with this id")?;
            hold(words, 2, query, &reply)?;
        }
        Ok(())
    }

    /// `alert KIND ZONE`: one was raised since the last time, and no other; `alert nothing`.
    pub(super) fn check_alert(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        let stage = self.stage();
        let mut raised: Vec<_> = std::iter::from_fn(|| stage.shared.alerts.take())
            .map(|alert| format!("{} {}", alert.kind.name(), alert.subject.text().english()))
            .collect();
        raised.dedup();
        let expected = match words.at(1)? {
            "nothing" => vec![],
            kind => vec![format!("{kind} {}", words.at(2)?)],
        };
        if raised == expected { Ok(()) } else { Err(format!("expected {expected:?}, raised were {raised:?}")) }
    }

    pub(super) fn check_count(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        let outcome = Outcome::ALL.into_iter().find(|outcome| Ok(outcome.name()) == words.at(1));
        let reason = Reason::ALL.into_iter().find(|reason| Ok(reason.name()) == words.at(2));
        let (outcome, reason) = (outcome.ok_or("no such outcome")?, reason.ok_or("no such reason")?);
        let totals = self.stage().totals();
        let got = totals.queries(outcome, reason, false) + totals.queries(outcome, reason, true);
        equal(words.0, parse(words.at(3)?, "number")?, got)
    }

    /// `event SERVER EVENT NUMBER`
    pub(super) fn check_event(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        let name = words.at(1)?;
        let stage = self.stage();
        let running = stage.shared.live.load();
        let upstream = running.routing.upstreams.iter().find(|upstream| upstream.settings.name == name);
        let slot = upstream.ok_or("no such upstream")?.link.slot;
        let event = UpstreamEvent::ALL.into_iter().find(|event| Ok(event.name()) == words.at(2));
        equal(words.0, parse(words.at(3)?, "number")?, stage.totals().upstream(slot, event.ok_or("no such event")?))
    }

    /// No reply and no question to an upstream that the scenario has not spoken of.
    pub(super) fn nothing_left(&mut self) -> Result<(), Wrong> {
        if self.ears == Ears::Closed {
            self.replies.clear();
            return Ok(());
        }
        if let Some(reply) = self.replies.front() {
            return Err(format!("a reply that was not expected: {:?}", crate::stage::message::read(reply)));
        }
        match self.asks.front() {
            Some((server, _)) => Err(format!("{server} is asked, which was not expected")),
            None => Ok(()),
        }
    }
}

pub(super) fn equal(what: &str, expected: u64, got: u64) -> Result<(), Wrong> {
    if expected == got { Ok(()) } else { Err(format!("{what}: expected {expected}, got {got}")) }
}

/// Whether a number is within `9..11`, or is the one.
pub(super) fn within(what: &str, range: &str, got: u64) -> Result<(), Wrong> {
    let (least, most) = range.split_once("..").unwrap_or((range, range));
    let (least, most): (u64, u64) = (parse(least, "number")?, parse(most, "number")?);
    if (least..=most).contains(&got) { Ok(()) } else { Err(format!("{what}: expected {range}, got {got}")) }
}
