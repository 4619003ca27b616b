//! Response policy zones among the filter zones: `filters/NN-name.rpz`, a master file as it is, or a file of rules that
//! names one and says what else is to be done than what it says.
//!
//! ```toml
//! [zone]
//! title = "threats, from the publisher"
//! rpz = "lists/threats.rpz"
//! override = "nodata"        # given | nxdomain | nodata | allow | drop | truncate | monitor | cname
//! cname = "garden.example"   # for override = "cname"; "*.garden.example" puts the name asked for before it
//! force = false              # true: also where it blocks whole public suffixes, or networks as wide as half of IPv4
//! ```
//!
//! An override replaces every action of the zone, `rpz-passthru.` and local data among them, as in other servers.

use super::super::data::{Alias, DataSet, LocalData};
use super::super::rpz::{OWNERS_MAX, Override, RpzZone, Summary};
use super::super::{Action, RULES_MAX, Rule, Scope, TTL_DEFAULT, TriggerKind};
use super::{Origin, Zones};
use crate::language::text;
use crate::policy::Mode;
use crate::policy::clients::GroupSet;
use crate::policy::document::{At, Code, Contents, Place, Table};
use crate::policy::schedules::ScheduleSet;
use std::sync::Arc;

/// The longest name of a file without its ending, in bytes: ids of its rules begin with it, and go into answers and labels.
const STEM_MAX: usize = 40;

/// The longest TTL of negative answers that a zone can ask for, in seconds.
const TTL_MAX: u32 = 86_400;

/// How a zone is taken.
pub(super) struct Taking<'z> {
    /// The file in `filters/`.
    pub(super) path: &'z str,
    pub(super) title: String,
    pub(super) number: usize,
    pub(super) mode: Mode,
    pub(super) groups: Option<GroupSet>,
    /// `schedule` and `expires` of the zone.
    pub(super) time: (Option<ScheduleSet>, Option<u64>),
    pub(super) force: bool,
    /// The word for what is done in place of what the zone says.
    pub(super) instead: Option<String>,
    pub(super) action: Override,
    /// Where the file of the zone is named.
    pub(super) place: Place,
}

/// What is done in place of what a zone says, as written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Given,
    Nxdomain,
    Nodata,
    Allow,
    Drop,
    Truncate,
    Monitor,
    Cname,
}

const WORDS: [(&str, Word); 8] = [
    ("given", Word::Given),
    ("nxdomain", Word::Nxdomain),
    ("nodata", Word::Nodata),
    ("allow", Word::Allow),
    ("drop", Word::Drop),
    ("truncate", Word::Truncate),
    ("monitor", Word::Monitor),
    ("cname", Word::Cname),
];

/// The path of the policy zone that `[zone]` names, and how it is taken; `None` when it names none.
pub(super) fn read_taking<'d, 'z>(
    zone: &Table<'d>,
    (path, title, number): (&'z str, &str, usize),
    (mode, groups): (Mode, Option<GroupSet>),
    time: (Option<ScheduleSet>, Option<u64>),
) -> Option<(At<&'d str>, Taking<'z>)> {
    let file = zone.text("rpz");
    let word = zone.choice("override", &WORDS, Word::Given);
    let force = zone.flag("force", false);
    let target = read_cname(zone, word);
    let Some(file) = file else {
        for key in ["override", "cname", "force"] {
            if zone.has(key) {
                let message = text!("{key} is for a zone that takes its records from elsewhere", key = zone.label(key));
                zone.fault(key, Code::Conflict, message, text!("such as rpz = \"lists/threats.rpz\""));
            }
        }
        return None;
    };
    let action = match word {
        Word::Given | Word::Monitor => Override::Given,
        Word::Nxdomain => Override::All(Action::Nxdomain),
        Word::Nodata => Override::All(Action::Nodata),
        Word::Allow => Override::All(Action::Allow),
        Word::Drop => Override::All(Action::Drop),
        Word::Truncate => Override::All(Action::Truncate),
        Word::Cname => {
            let data = LocalData { alias: target.clone().map(|(_, alias)| alias.into()), ..LocalData::default() };
            Override::All(Action::Data(Arc::new(DataSet::of_all(data))))
        }
    };
    let name = WORDS.iter().find(|(_, known)| *known == word).map_or("", |(name, _)| name);
    let instead = match (word, target) {
        (Word::Given, _) => None,
        (Word::Cname, Some((text, _))) => Some(format!("cname {text}")),
        _ => Some(name.to_owned()),
    };
    let mode = if word == Word::Monitor { super::stricter(mode, Mode::Monitor) } else { mode };
    let place = file.place.clone();
    let title = title.to_owned();
    Some((file, Taking { path, title, number, mode, groups, time, force, instead, action, place }))
}

fn read_cname(zone: &Table<'_>, word: Word) -> Option<(String, Alias)> {
    let text = zone.text("cname");
    let text = match (text, word) {
        (Some(text), Word::Cname) => text,
        (None, Word::Cname) => {
            zone.missing("cname");
            return None;
        }
        (Some(_), _) => {
            let message = text!("{key} has no use without override = \"cname\"", key = zone.label("cname"));
            zone.fault("cname", Code::Conflict, message, text!("leave it out, or override what the zone says with it"));
            return None;
        }
        (None, _) => return None,
    };
    match Alias::parse(text.value) {
        Ok(alias) => Some((text.value.to_owned(), alias)),
        Err(error) => {
            let message = text!("{text:?} is not a domain name: {error}", text = text.value, error = error.text());
            zone.faults().add(
                Code::Name,
                &text.place,
                message,
                text!("such as \"garden.example\" or \"*.garden.example\""),
            );
            None
        }
    }
}

impl Zones<'_> {
    /// A master file in `filters/`.
    pub(super) fn master_file(&mut self, path: &Arc<str>, number: usize) {
        let Some(contents) = self.context.files.contents(path) else { return };
        let title = stem_of(path).to_owned();
        self.policy_zone(
            (path, contents),
            &Taking {
                path,
                title,
                number,
                mode: Mode::Enforce,
                groups: None,
                time: (None, None),
                force: false,
                instead: None,
                action: Override::Given,
                place: Place::whole(path),
            },
        );
    }

    /// Reads a policy zone and makes its rules.
    pub(super) fn policy_zone(&mut self, (file, contents): (&Arc<str>, &Contents), taking: &Taking<'_>) {
        let faults = self.context.faults;
        let stem = stem_of(taking.path);
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if stem.len() > STEM_MAX || !stem.chars().all(fits) {
            let message = text!("{stem:?} cannot begin the ids of the zone's rules", stem);
            let hint =
                text!("ascii letters, digits and - _ . in the name of the file, at most {most} bytes", most = STEM_MAX);
            faults.add(Code::Path, &Place::whole(taking.path), message, hint);
            return;
        }
        let zone = match RpzZone::read(contents.source()) {
            Ok(zone) => zone,
            Err(error) => return self.report_unreadable(file, error, &taking.place),
        };
        zone.report(file, faults);
        let (mut parts, left_out) = zone.compile(&taking.action, taking.force);
        if left_out.wide > 0 {
            zone.report_wide(&taking.action, file, faults);
        }
        if left_out.name_servers > 0 {
            let message = text!(
                "records that have local data for one more name server than there may be: {count}",
                count = left_out.name_servers
            );
            faults.add(Code::ListLine, &Place::whole(file), message, text!("they were left out; split the zone"));
        }
        if left_out.owners > 0 {
            let message = text!(
                "records left out because more than {most} triggers have local data of their own: {count}",
                most = OWNERS_MAX,
                count = left_out.owners
            );
            faults.add(Code::ListLine, &Place::whole(file), message, text!("split the zone"));
        }
        if parts.is_empty() && !zone.is_over_budget() {
            let message = text!("{file} holds no triggers", file);
            faults.add(Code::Unused, &Place::whole(file), message, text!("its zone can never act"));
        }
        self.report_replaced(&zone, taking);
        self.report_unseen(file, &parts);
        if self.rules.len() + parts.len() > RULES_MAX {
            let message = text!("more than {most} rules", most = RULES_MAX);
            faults.add(
                Code::TooMany,
                &taking.place,
                message,
                text!("names that are treated alike belong into one rule"),
            );
            return;
        }
        let records = parts.iter().map(|part| part.records).sum();
        let (path, apex) = (taking.path.to_owned(), zone.apex().to_string());
        self.summaries.push(Summary { file: path, zone: apex, records, instead: taking.instead.clone() });
        let ttl = zone.negative_ttl().map_or(TTL_DEFAULT, |ttl| ttl.min(TTL_MAX));
        for part in &mut parts {
            let trigger = part.trigger();
            let of_name = part.kind == TriggerKind::Name;
            let kind = if of_name { String::new() } else { format!("{}/", part.kind.key()) };
            let number = if part.number == 0 { String::new() } else { format!("-{}", part.number + 1) };
            let id = format!("{stem}/{kind}{}{number}", part.action.name());
            if let Some(first) = self.rules.iter().position(|rule| rule.id == id) {
                let message = text!("rule {id:?} is there twice", id);
                let hint = text!(
                    "the other is in {file}; this one comes of the file's name",
                    file = self.origins[first].id.file
                );
                faults.add(Code::Duplicate, &taking.place, message, hint);
            }
            self.origins.push(Origin {
                id: taking.place.clone(),
                trigger: Place::whole(file),
                names: Vec::new(),
                networks: Vec::new(),
                force: taking.force,
            });
            self.triggers.push(trigger);
            self.rules.push(Rule {
                trigger: part.kind,
                ttl,
                mode: taking.mode,
                scope: Scope {
                    zone_groups: taking.groups,
                    zone_schedules: taking.time.0,
                    expires_ms: taking.time.1,
                    ..Scope::default()
                },
                ..Rule::new(&id, &taking.title, taking.number, part.action.clone())
            });
        }
    }

    /// Says so when an override makes a block of what the zone lets pass, or keeps back what it answers.
    fn report_replaced(&self, zone: &RpzZone, taking: &Taking<'_>) {
        let (Override::All(action), Some(instead)) = (&taking.action, &taking.instead) else { return };
        let (passed, data) = zone.passed_and_data();
        let passed = if *action == Action::Allow { 0 } else { passed };
        let lost = match (passed, data) {
            (0, 0) => None,
            (_, 0) => Some(text!("{passed} rpz-passthru.", passed)),
            (0, _) => Some(text!("{data} of local data", data)),
            _ => Some(text!("{passed} rpz-passthru. and {data} of local data", passed, data)),
        };
        if let Some(lost) = lost {
            let message = text!("override {instead} also replaces {lost}", instead, lost);
            let hint = text!("put what is to pass into a zone before this one");
            self.context.faults.add(Code::Overridden, &taking.place, message, hint);
        }
    }

    /// Says that triggers on name servers act only where an answer shows those.
    fn report_unseen(&self, file: &Arc<str>, parts: &[super::super::rpz::Part]) {
        let of =
            |kind: TriggerKind| parts.iter().filter(|part| part.kind == kind).map(|part| part.records).sum::<usize>();
        let (names, addresses) = (of(TriggerKind::NsName), of(TriggerKind::NsAddress));
        if names + addresses == 0 {
            return;
        }
        let message = text!(
            "rpz-nsdname ({names} records) and rpz-nsip ({addresses} records) are matched only where an answer shows name \
             servers",
            names,
            addresses
        );
        let hint = text!("a gateway asks resolvers, whose answers rarely do: names and rpz-ip always act");
        self.context.faults.add(Code::Partial, &Place::whole(file), message, hint);
    }
}

/// The name of a file without its ending.
fn stem_of(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}
