//! The apply that waits to be confirmed in the running gateway, and the way back from it: whichever of the two comes first
//! holds, and the other is told so.
//!
//! A way back takes seconds: it is ordered, loaded, placed, published and noted. Until it is placed `confirm` calls it off;
//! from then on `confirm` is refused, until the policy that was applied is known to stay after all.

use super::{HistoryDesk, lock};
use crate::clock::Moment;
use crate::control::history::report::{Confirmed, UnconfirmedStatus};
use crate::control::history::request::{Order, Source};
use crate::control::history::unconfirmed::Unconfirmed;
use crate::control::incidents::Who;
use crate::control::protocol::{Failure, FailureCode};
use crate::control::reload::Cause;
use crate::language::{Text, text};
use crate::policy::PolicyId;
use std::time::Duration;

/// Between two tries to go back from an apply that was not confirmed, when the first did not work.
const AGAIN: Duration = Duration::from_secs(10);

/// See above.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) apply: Unconfirmed,
    /// When it goes back, or when that is tried again.
    deadline: Moment,
    /// The way back is being placed, or was and its policy runs: what was applied cannot be kept any more.
    goes_back: bool,
}

impl Waiting {
    /// An apply that can be confirmed until `deadline`.
    pub(super) fn until(deadline: Moment, apply: Unconfirmed) -> Self {
        Self { apply, deadline, goes_back: false }
    }
}

impl HistoryDesk {
    /// The order to go back, when an apply was not confirmed in time.
    pub(in crate::daemon) fn overdue(&self) -> Option<Order> {
        let mut waiting = lock(&self.waiting);
        let Waiting { apply, deadline, .. } = waiting.as_mut()?;
        let now = self.clock.moment();
        if *deadline > now {
            return None;
        }
        *deadline = now.plus(AGAIN);
        Some(way_back(apply))
    }

    /// To be called before the directory is written for an order: from a way back on, nothing is confirmed.
    ///
    /// # Errors
    /// It was to go back by itself, and was confirmed meanwhile.
    pub(super) fn begin_way_back(&self, order: &Order) -> Result<(), Failure> {
        let mut waiting = lock(&self.waiting);
        match (&mut *waiting, order.cause) {
            (Some(waiting), Cause::Unconfirmed | Cause::Rollback) => waiting.goes_back = true,
            (None, Cause::Unconfirmed) => {
                let message = text!("the apply was confirmed before the way back began: the running policy stays");
                return Err(Failure::new(FailureCode::Unavailable, message));
            }
            _ => {}
        }
        Ok(())
    }

    /// The policy that was applied stays for now: what was ordered did not come to run, and the directory is as before.
    pub(in crate::daemon) fn give_up_way_back(&self) {
        if let Some(waiting) = &mut *lock(&self.waiting) {
            waiting.goes_back = false;
        }
    }

    /// `weir confirm`, while policy `runs` runs.
    pub(in crate::daemon) fn confirm(&self, runs: PolicyId) -> Result<(Confirmed, PolicyId), Failure> {
        let history = self.history()?;
        let mut waiting = lock(&self.waiting);
        let Some(Waiting { apply, goes_back, .. }) = &*waiting else {
            let message = text!("no apply waits to be confirmed; `weir history` says what came of the last");
            return Err(Failure::new(FailureCode::BadRequest, message));
        };
        let id = apply.id;
        if *goes_back || runs == apply.back_to {
            let message = text!(
                "policy {id} is not confirmed: the way back from it has begun, or is over\n  `weir status` says what runs; `weir \
                 apply` brings it again",
                id
            );
            return Err(Failure::new(FailureCode::BadRequest, message));
        }
        history.set_unconfirmed(None).map_err(|error| {
            // It may be gone, and only that it is gone not be on the disk.
            let _ = history.set_unconfirmed(Some(apply));
            let message = text!(
                "the history in {state} cannot be written: {error}: it still waits",
                state = self.state.display(),
                error = Text::of_io(&error)
            );
            Failure::new(FailureCode::NoHistory, message)
        })?;
        *waiting = None;
        let done = match id == runs {
            true => text!("policy {id} is confirmed and stays", id),
            // Somebody loaded other files since.
            false => text!("policy {id} is confirmed: nothing goes back by itself; policy {runs} runs since", id, runs),
        };
        Ok((Confirmed { done }, id))
    }

    /// The apply that waits to be confirmed.
    pub(in crate::daemon) fn waiting(&self) -> Option<UnconfirmedStatus> {
        lock(&self.waiting).as_ref().map(|Waiting { apply, deadline, goes_back }| {
            UnconfirmedStatus::of(apply, (*deadline, *goes_back), self.clock.now())
        })
    }
}

/// The order to go back from `apply`.
pub(super) fn way_back(apply: &Unconfirmed) -> Order {
    Order {
        source: Source::Kept(Some(apply.back_to.hex())),
        cause: Cause::Unconfirmed,
        who: Who::weir(),
        reason: format!("policy {} was not confirmed in time", apply.id),
        confirm_within: None,
        force: false,
        feed: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Coming, Placed};
    use super::*;
    use crate::clock::Clock;
    use crate::control::feeds::store::Store;
    use crate::control::history::How;
    use crate::control::history::replace::MARKER;
    use crate::control::origin::Origin;
    use crate::daemon::recipe::Recipe;
    use crate::daemon::state::{State, StatePlace};
    use crate::language::{Lang, Told as _};
    use crate::policy::document::Files;
    use crate::policy::load::read_directory;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    /// A policy directory and a state directory of one test's own; removed at its end.
    struct Place(PathBuf);

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn files(version: &str) -> Files {
        [("gateway.toml", version)].into_iter().collect()
    }

    fn id(version: &str) -> PolicyId {
        PolicyId::of(&files(version))
    }

    impl Place {
        /// Policy `old` lies there.
        fn new(name: &str) -> Self {
            let place = Self(std::env::temp_dir().join(format!("weir-waiting-{name}-{}", std::process::id())));
            let _ = fs::remove_dir_all(&place.0);
            fs::create_dir_all(place.directory()).unwrap();
            fs::write(place.directory().join("gateway.toml"), "old").unwrap();
            place
        }

        fn directory(&self) -> PathBuf {
            self.0.join("policies")
        }

        fn lies(&self) -> PolicyId {
            PolicyId::of(&read_directory(&self.directory()).unwrap().0)
        }

        /// As a start does; the desk before is to be gone, as after a crash.
        fn open(&self) -> HistoryDesk {
            let held = State::new(StatePlace::OneOf(vec![self.0.join("state")])).open();
            assert!(held.is_ok(), "{held:?}");
            let desk = HistoryDesk::open(&held, Clock::start());
            desk.mend(&self.directory()).unwrap();
            desk
        }

        fn recipe(&self) -> Recipe {
            Recipe {
                origin: Origin::Directory(self.directory()),
                resolv_conf: self.0.join("resolv.conf"),
                lab: None,
                socket: None,
                seed: 1,
                store: Arc::new(Store::open(None)),
            }
        }

        /// A gateway that runs policy `old`, and where policy `new` was applied and has until now.
        fn overdue(&self) -> (HistoryDesk, Order) {
            let desk = self.open();
            desk.started(id("old"), Arc::new(files("old")));
            let apply = Order {
                source: Source::Directory(self.0.join("next")),
                confirm_within: Some(Duration::ZERO),
                ..Order::reload(Cause::Apply, Who::named("ann"))
            };
            let placed = place(&desk, self, ("old", "new"), &apply).unwrap();
            desk.note(&self.directory(), &placed, &apply);
            assert_eq!((self.lies(), desk.waiting().unwrap().policy), (id("new"), id("new").to_string()));
            let order = desk.overdue().expect("its time is over");
            (desk, order)
        }

        /// What a start of a gateway finds: what lies there, and what waits.
        fn after_a_crash(&self, desk: HistoryDesk) -> (PolicyId, Option<String>) {
            drop(desk);
            let desk = self.open();
            desk.resume(&self.recipe(), self.lies()).unwrap();
            (self.lies(), desk.waiting().map(|waiting| waiting.policy))
        }
    }

    fn place(desk: &HistoryDesk, at: &Place, (from, to): (&str, &str), order: &Order) -> Result<Placed, Failure> {
        let coming = Coming { id: id(to), files: Arc::new(files(to)), before: Some(id(from)) };
        desk.place(&at.directory(), id(from), coming, order)
    }

    fn confirm(desk: &HistoryDesk, runs: &str) -> Result<String, String> {
        let confirmed = desk.confirm(id(runs)).map_err(|failure| failure.message)?;
        Ok(confirmed.0.done.english())
    }

    /// It was confirmed while the order to go back was being loaded.
    #[test]
    fn what_is_confirmed_before_the_way_back_is_placed_stays() {
        let at = Place::new("before");
        let (desk, order) = at.overdue();
        assert!(confirm(&desk, "new").unwrap().ends_with("is confirmed and stays"));
        let called_off = place(&desk, &at, ("new", "old"), &order).unwrap_err();
        assert!(called_off.message.contains("was confirmed before"), "{}", called_off.message);
        assert!(desk.overdue().is_none() && desk.waiting().is_none());
        assert_eq!(at.after_a_crash(desk), (id("new"), None));
    }

    #[test]
    fn nothing_is_confirmed_once_the_way_back_is_placed() {
        let at = Place::new("while");
        let (desk, order) = at.overdue();
        let told = |lang| desk.waiting().unwrap().text().to(lang);
        assert!(told(Lang::En).contains("unless `weir confirm` keeps it"), "{}", told(Lang::En));
        let placed = place(&desk, &at, ("new", "old"), &order).unwrap();
        assert!(desk.waiting().unwrap().goes_back);
        assert!(told(Lang::En).contains("the way back from it is under way"), "{}", told(Lang::En));
        assert!(told(Lang::Zh).contains("正在退回"), "{}", told(Lang::Zh));
        // Published or not: whoever confirms cannot tell.
        for runs in ["new", "old"] {
            let refused = confirm(&desk, runs).unwrap_err();
            assert!(refused.contains("is not confirmed: the way back from it has begun"), "{refused}");
        }
        desk.note(&at.directory(), &placed, &order);
        let refused = confirm(&desk, "old").unwrap_err();
        assert!(refused.contains("no apply waits"), "{refused}");
        assert_eq!(desk.history().unwrap().last().map(|last| last.how), Some(How::AutoRollback));
        assert_eq!(at.after_a_crash(desk), (id("old"), None));
    }

    #[test]
    fn a_crash_within_the_way_back_leaves_what_comes_back() {
        let at = Place::new("crash");
        let (desk, order) = at.overdue();
        place(&desk, &at, ("new", "old"), &order).unwrap();
        assert!(confirm(&desk, "new").is_err());
        assert!(at.directory().join(MARKER).exists());
        assert_eq!(at.after_a_crash(desk), (id("old"), None));
        // Before anything was placed, a start goes back by itself.
        let at = Place::new("crash-before");
        let (desk, _) = at.overdue();
        assert_eq!(at.after_a_crash(desk), (id("old"), None));
    }

    /// Such as when it was placed and another failure kept it from running.
    #[test]
    fn what_did_not_go_back_can_be_confirmed_again() {
        let at = Place::new("again");
        let (desk, order) = at.overdue();
        let placed = place(&desk, &at, ("new", "old"), &order).unwrap();
        desk.take_back(&at.directory(), &placed, &order);
        desk.give_up_way_back();
        assert_eq!(at.lies(), id("new"));
        assert!(confirm(&desk, "new").unwrap().ends_with("is confirmed and stays"));
        assert_eq!(at.after_a_crash(desk), (id("new"), None));
    }

    /// It comes to run all the same, so that what was applied is no more what anybody could keep.
    #[test]
    fn a_way_back_that_could_not_be_written_cannot_be_confirmed_away() {
        let at = Place::new("unwritten");
        let (desk, order) = at.overdue();
        let barrier = at.directory().join(format!(".{MARKER}.fresh"));
        fs::create_dir(&barrier).unwrap();
        let placed = place(&desk, &at, ("new", "old"), &order).unwrap();
        let notes = desk.note(&at.directory(), &placed, &order);
        assert!(notes.iter().any(|note| note.english().contains("cannot be replaced")), "{notes:?}");
        let refused = confirm(&desk, "old").unwrap_err();
        assert!(refused.contains("is not confirmed"), "{refused}");
        assert_eq!(at.lies(), id("new"));
        fs::remove_dir(&barrier).unwrap();
        let placed = place(&desk, &at, ("old", "old"), &order).unwrap();
        desk.note(&at.directory(), &placed, &order);
        assert_eq!((at.lies(), desk.waiting()), (id("old"), None));
    }

    /// A way back that a start cannot write: it starts with what lies there, which can be confirmed.
    #[test]
    fn a_start_that_cannot_go_back_runs_what_can_be_confirmed() {
        let at = Place::new("start");
        let (desk, _) = at.overdue();
        drop(desk);
        let barrier = at.directory().join(format!(".{MARKER}.fresh"));
        fs::create_dir(&barrier).unwrap();
        let desk = at.open();
        assert!(!desk.resume(&at.recipe(), id("new")).unwrap(), "what lies there is what was loaded");
        let last = desk.history().unwrap().last().map(|last| (last.id, last.how));
        assert_eq!(last, Some((id("new"), How::Apply)), "it has not gone back, and so the history does not say it");
        assert!(desk.overdue().is_some(), "it is tried again");
        assert!(confirm(&desk, "new").unwrap().ends_with("is confirmed and stays"));
        assert_eq!(at.after_a_crash(desk), (id("new"), None));
    }

    #[test]
    fn a_rollback_by_hand_and_a_confirmation_do_not_both_succeed() {
        let at = Place::new("by-hand");
        let (desk, _) = at.overdue();
        let order = Order { source: Source::Kept(None), ..Order::reload(Cause::Rollback, Who::named("ann")) };
        let barrier = at.directory().join(format!(".{MARKER}.fresh"));
        fs::create_dir(&barrier).unwrap();
        place(&desk, &at, ("new", "old"), &order).unwrap_err();
        assert!(confirm(&desk, "new").is_ok(), "the rollback was refused");
        drop(desk);

        let at = Place::new("by-hand-first");
        let (desk, _) = at.overdue();
        let placed = place(&desk, &at, ("new", "old"), &order).unwrap();
        assert!(confirm(&desk, "new").is_err());
        desk.note(&at.directory(), &placed, &order);
        assert!(confirm(&desk, "old").unwrap_err().contains("no apply waits"));
        // Without anything that waits it is no matter of a confirmation.
        let order = Order { source: Source::Kept(Some(id("new").hex())), ..order };
        place(&desk, &at, ("old", "new"), &order).unwrap();
    }

    #[test]
    fn a_confirmation_says_so_when_something_else_runs_since() {
        let at = Place::new("since");
        let (desk, order) = at.overdue();
        let refused = confirm(&desk, "old").unwrap_err();
        assert!(refused.contains("is over"), "somebody went back by hand, in an editor: {refused}");
        let done = confirm(&desk, "edited").unwrap();
        let told = format!(
            "policy {} is confirmed: nothing goes back by itself; policy {} runs since",
            id("new"),
            id("edited")
        );
        assert_eq!(done, told);
        assert!(place(&desk, &at, ("edited", "old"), &order).is_err());
    }

    #[test]
    fn what_waits_goes_on_waiting_when_another_apply_does_not_come_to_run() {
        let at = Place::new("second");
        let (desk, _) = at.overdue();
        let apply = Order {
            source: Source::Directory(at.0.join("next")),
            confirm_within: Some(Duration::from_secs(60)),
            ..Order::reload(Cause::Apply, Who::named("ann"))
        };
        let placed = place(&desk, &at, ("new", "newer"), &apply).unwrap();
        desk.take_back(&at.directory(), &placed, &apply);
        let waits = desk.history().unwrap().unconfirmed().unwrap();
        assert_eq!(waits.map(|waiting| (waiting.id, waiting.back_to)), Some((id("new"), id("old"))));
        // Nor does the same again, which nobody wants confirmed, take its time from it.
        let again = Order { confirm_within: None, ..apply };
        let placed = place(&desk, &at, ("new", "new"), &again).unwrap();
        assert_eq!(desk.note(&at.directory(), &placed, &again), []);
        assert!(desk.overdue().is_none() && desk.waiting().is_some(), "the next try is in ten seconds");
        assert_eq!(at.after_a_crash(desk), (id("old"), None));
    }

    /// One state directory serves both, one after the other.
    #[test]
    fn what_waits_in_another_directory_is_nobodys_here() {
        let at = Place::new("elsewhere");
        let (desk, _) = at.overdue();
        let other = at.0.join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("gateway.toml"), "old").unwrap();
        drop(desk);
        let desk = at.open();
        let recipe = Recipe { origin: Origin::Directory(other.clone()), ..at.recipe() };
        assert!(!desk.resume(&recipe, id("old")).unwrap() && desk.waiting().is_none());
        let waits = || desk.history().unwrap().unconfirmed().unwrap().map(|waiting| waiting.directory);
        let its_own = Some(at.directory().canonicalize().unwrap());
        let coming = |to: &str| Coming { id: id(to), files: Arc::new(files(to)), before: None };

        // The very policy that waits there, and nobody wants it confirmed here.
        let apply =
            Order { source: Source::Directory(at.0.join("next")), ..Order::reload(Cause::Apply, Who::named("ann")) };
        let placed = desk.place(&other, id("old"), coming("new"), &apply).unwrap();
        let notes = desk.note(&other, &placed, &apply);
        assert!(notes.is_empty() && desk.waiting().is_none() && desk.overdue().is_none(), "{notes:?}");
        assert_eq!(waits(), its_own);
        // To wait here as well would end that it waits there.
        let confirmed = Order { confirm_within: Some(Duration::from_secs(60)), ..apply };
        let refused = desk.place(&other, id("new"), coming("old"), &confirmed).unwrap_err();
        assert!(refused.text().to(Lang::Zh).contains("正在等待确认"), "{}", refused.message);
        assert_eq!((waits(), PolicyId::of(&read_directory(&other).unwrap().0)), (its_own.clone(), id("new")));
        let rollback = Order { source: Source::Kept(None), ..Order::reload(Cause::Rollback, Who::named("ann")) };
        let placed = desk.place(&other, id("new"), coming("old"), &rollback).unwrap();
        desk.note(&other, &placed, &rollback);
        assert_eq!(waits(), its_own, "nor does a rollback here");
        assert_eq!(at.after_a_crash(desk), (id("old"), None), "it has gone back where it was applied");
    }

    #[test]
    fn what_waits_in_a_directory_that_is_gone_is_in_nobodys_way() {
        let at = Place::new("gone");
        let (desk, _) = at.overdue();
        drop(desk);
        let other = at.0.join("other");
        fs::rename(at.directory(), &other).unwrap();
        let desk = at.open();
        let apply = Order {
            source: Source::Directory(at.0.join("next")),
            confirm_within: Some(Duration::from_secs(60)),
            ..Order::reload(Cause::Apply, Who::named("ann"))
        };
        let coming = Coming { id: id("newer"), files: Arc::new(files("newer")), before: None };
        let placed = desk.place(&other, id("new"), coming, &apply).unwrap();
        assert_eq!(desk.note(&other, &placed, &apply).len(), 1);
        assert_eq!(desk.waiting().map(|waiting| waiting.policy), Some(id("newer").to_string()));
    }

    #[test]
    fn what_cannot_be_written_down_is_not_confirmed() {
        let at = Place::new("full");
        let (desk, _) = at.overdue();
        let record = Path::new(&at.0).join("state/history/unconfirmed.json");
        fs::remove_file(&record).unwrap();
        fs::create_dir(&record).unwrap();
        let refused = confirm(&desk, "new").unwrap_err();
        assert!(refused.contains("it still waits") && desk.waiting().is_some(), "{refused}");
    }
}
