//! `filters/NN-name.toml`: a zone as written, and all zones of a directory made into one [`Filter`].
//!
//! ```toml
//! [zone]
//! title = "noisy video clients"
//! mode = "enforce"
//! groups = ["@branches"]
//! ```

mod policy_zone;

use super::lists::addresses;
use super::lists::{self, NameList, Reading};
use super::rpz::Summary;
use super::sets::{BELOW, FREE_BELOW, FREED, RuleRef, SELF};
use super::written::{SHARED, WrittenRule, WrittenTrigger, read_groups};
use super::{Action, Filter, Folded, RULES_MAX, Rule, Trigger, TriggerKind};
use crate::policy::Mode;
use crate::policy::document::network::{self, Entry, Member};
use crate::policy::document::table::nearest;
use crate::policy::document::toml_file::{TomlFile, TomlText};
use crate::policy::document::{At, Code, Context, Fault, Place, Table};
use policy_zone::read_taking;
use std::collections::HashMap;
use std::sync::Arc;

/// Reads all zones of the directory. `seed` is the secret of the hash, random for each process. Reading is the dear part
/// of a policy (a million names take about a quarter of a second): modes that do not change filters clone the result.
pub fn read(context: &Context<'_>, seed: u64) -> Filter {
    let (rules, triggers, origins, lists, summaries) = Default::default();
    let mut zones = Zones { context, rules, triggers, origins, lists, summaries };
    let of = |ending| context.files.within("filters", ending).map(|(path, _)| path);
    let mut paths: Vec<_> = of("toml").chain(of("rpz")).collect();
    paths.sort_unstable();
    for (number, path) in paths.into_iter().enumerate() {
        zones.file(path, number);
    }
    zones.finish(seed)
}

/// Where a rule was written, for faults that only the whole can show.
struct Origin {
    id: Place,
    trigger: Place,
    /// Name and place of each, when the rule has names of its own.
    names: Vec<(Vec<u8>, Place)>,
    force: bool,
}

/// All zones while they are read.
struct Zones<'c> {
    context: &'c Context<'c>,
    rules: Vec<Rule>,
    triggers: Vec<Trigger>,
    origins: Vec<Origin>,
    /// A list that several rules name the same way is read once.
    lists: HashMap<(String, Reading), Arc<NameList>>,
    /// What became of response policy zones.
    summaries: Vec<Summary>,
}

impl Zones<'_> {
    fn file(&mut self, path: &Arc<str>, number: usize) {
        let name = path.rsplit('/').next().unwrap_or(path);
        if !matches!(name.as_bytes(), [b'0'..=b'9', b'0'..=b'9', b'-', _, ..]) {
            let message = format!("{name:?} does not say its place in the order of zones");
            let ending = name.rsplit('.').next().unwrap_or_default();
            let hint = format!("name it NN-name.{ending} with two digits: zone 00 is heard first");
            self.context.faults.add(Code::Path, &Place::whole(path), message, hint);
        }
        if name.ends_with(".rpz") {
            return self.master_file(path, number);
        }
        let Some(text) = TomlText::of(self.context.files, path, self.context.faults) else { return };
        let file = TomlFile::parse(&text, self.context.faults);
        let root = file.root(self.context.faults);
        let zone = root.table("zone");
        zone.not_yet(&["schedule", "expires"]);
        let title = zone.text("title").map_or(name.trim_end_matches(".toml"), |title| title.value).to_owned();
        let mode = zone.mode(Mode::Enforce);
        let groups = read_groups(&zone, self.context.groups);
        let before = self.rules.len();
        let tables = root.tables("rule");
        if let Some((file, taking)) = read_taking(&zone, (path, &title, number), (mode, groups)) {
            if let Some(table) = tables.first() {
                let message = "a zone that takes its records from elsewhere has no rules of its own";
                let hint = "put the rules into a file of their own, before or behind this one";
                self.context.faults.add(Code::Conflict, &table.place(), message, hint);
            }
            // Read all the same, so that what is wrong is said once and not for each key.
            tables.iter().for_each(|table| _ = WrittenRule::read(table, self.context.groups));
            return match (self.context.files.path(file.value), self.context.files.bytes(file.value)) {
                (Some(list), Some(bytes)) => self.policy_zone((list, bytes), taking),
                _ => self.report_missing(&file),
            };
        }
        for table in tables {
            let mut written = WrittenRule::read(&table, self.context.groups);
            written.scope.zone_groups = groups;
            written.mode = stricter(mode, written.mode);
            if groups.is_some() && matches!(written.action, Action::Ttl(_)) {
                let message = "action ttl cannot be had in a zone with groups";
                self.context.faults.add(Code::Conflict, &table.place_of("action"), message, SHARED);
            }
            self.rule(&table, written, &title, number);
        }
        self.report_partial(before);
    }

    /// Says once for each file that what it asks about name servers is known only as far as answers show it.
    fn report_partial(&self, before: usize) {
        let of_servers = |rule: &&Rule| matches!(rule.trigger, TriggerKind::NsName | TriggerKind::NsAddress);
        let Some(at) = self.rules[before..].iter().position(|rule| of_servers(&rule)) else { return };
        let (rule, origin) = (&self.rules[before + at], &self.origins[before + at]);
        let message = format!("{} is matched only where an answer shows name servers", rule.trigger.key());
        let hint = "a gateway asks resolvers, whose answers rarely do: names and response_ip always act";
        self.context.faults.add(Code::Partial, &origin.trigger, message, hint);
    }

    fn rule(&mut self, table: &Table<'_>, written: WrittenRule<'_>, title: &str, zone_number: usize) {
        let faults = self.context.faults;
        let Some(id) = &written.id else { return };
        if self.rules.len() == RULES_MAX {
            faults.push(Fault::new(Code::TooMany, table.place(), format!("more than {RULES_MAX} rules")));
            return;
        }
        if let Some(first) = self.rules.iter().position(|rule| rule.id == id.value) {
            let message = format!("rule {:?} is there twice", id.value);
            let hint = format!("the other is in {}; an id is unique in the whole policy", self.origins[first].id.file);
            faults.add(Code::Duplicate, &id.place, message, hint);
        }
        let trigger = match &written.trigger {
            WrittenTrigger::Names(_, names) => {
                let mut list = NameList::default();
                names.iter().for_each(|(reach, name)| list.push(*reach, name.value.as_wire()));
                Trigger::Names(Arc::new(list))
            }
            WrittenTrigger::List { .. } => Trigger::Names(self.list(&written)),
            WrittenTrigger::Networks { entries, files, .. } => self.networks(entries, files),
            WrittenTrigger::Broken => return,
        };
        let names = match &written.trigger {
            WrittenTrigger::Names(_, names) => {
                names.iter().map(|(_, n)| (n.value.as_wire().to_vec(), n.place.clone())).collect()
            }
            _ => Vec::new(),
        };
        let Some(kind) = written.trigger.kind() else { return };
        let place = table.place_of(written.trigger.key());
        self.origins.push(Origin { id: id.place.clone(), trigger: place, names, force: written.force });
        self.triggers.push(trigger);
        self.rules.push(Rule {
            id: id.value.to_owned(),
            zone: title.to_owned(),
            zone_number,
            trigger: kind,
            action: written.action,
            ttl: written.ttl,
            mode: written.mode,
            scope: written.scope,
            owner: written.owner,
            ticket: written.ticket,
            note: written.note,
        });
    }

    /// The names of a rule's list; empty, with a fault, when it cannot be read.
    fn list(&mut self, written: &WrittenRule<'_>) -> Arc<NameList> {
        let WrittenTrigger::List { path, format, matches } = &written.trigger else { return Arc::default() };
        let suffixes = written.force || !written.action.blocks();
        let reading = Reading { format: format.as_ref().map(|format| format.value), matches: *matches, suffixes };
        let key = (path.value.to_owned(), reading);
        if let Some(known) = self.lists.get(&key) {
            return Arc::clone(known);
        }
        let (files, faults) = (self.context.files, self.context.faults);
        let list = match (files.path(path.value), files.bytes(path.value)) {
            (Some(file), Some(bytes)) => match lists::parse_with(bytes, reading, &mut |name| self.beside(file, name)) {
                Ok(parsed) => {
                    lists::report(file, &parsed, faults);
                    Arc::new(parsed.names)
                }
                Err(error) => {
                    let message = format!("{} cannot be read: {error}", path.value);
                    faults.add(Code::List, &path.place, message, error.hint());
                    Arc::default()
                }
            },
            _ => {
                self.report_missing(path);
                Arc::default()
            }
        };
        self.lists.insert(key, Arc::clone(&list));
        list
    }

    fn report_missing(&self, path: &At<&str>) {
        let (files, faults) = (self.context.files, self.context.faults);
        if path.value.starts_with('/') || path.value.split('/').any(|part| part == "..") {
            let message = format!("{:?} leaves the policy directory", path.value);
            faults.add(Code::Path, &path.place, message, "put the list into lists/ of the policy directory");
        } else {
            let hint = match nearest(path.value, files.iter().map(|(path, _)| &**path)) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "the path begins at the policy directory, such as \"lists/video.txt\"".to_owned(),
            };
            faults.add(Code::MissingFile, &path.place, format!("there is no file {:?}", path.value), hint);
        }
    }

    /// The networks of a rule, those in files among them.
    fn networks(&self, entries: &[At<Entry>], paths: &[At<&str>]) -> Trigger {
        let (files, faults) = (self.context.files, self.context.faults);
        let mut all: Vec<Entry> = entries.iter().map(|entry| entry.value).collect();
        for path in paths {
            let (Some(file), Some(bytes)) = (files.path(path.value), files.bytes(path.value)) else {
                self.report_missing(path);
                continue;
            };
            let parsed = addresses::parse(bytes);
            addresses::report(file, &parsed, path, faults);
            all.extend(parsed.networks.iter().map(|net| Entry { except: false, member: Member::Network(*net) }));
        }
        Trigger::Networks(Arc::new(network::depths(all, self.context.groups)))
    }

    /// The list that `include:name` in another one means.
    fn beside(&self, file: &str, name: &str) -> Option<&[u8]> {
        let directory = &file[..=file.rfind('/')?];
        let bytes = self.context.files.bytes(&format!("{directory}{name}"));
        bytes.or_else(|| self.context.files.bytes(&format!("{directory}{name}.txt")))
    }

    fn finish(self, seed: u64) -> Filter {
        let faults = self.context.faults;
        let filter = match Filter::with_triggers(self.rules, self.triggers, seed) {
            Ok((mut filter, folded)) => {
                filter.policy_zones = self.summaries.into();
                for (origin, folded) in self.origins.iter().zip(&folded) {
                    report_folded(self.context, origin, *folded);
                }
                filter
            }
            Err(error) => {
                faults.push(Fault::new(Code::TooMany, Place::whole("filters"), error.to_string()));
                Filter::none()
            }
        };
        if filter.rules().len() == self.origins.len() {
            refuse_own_routes(self.context, &filter, &self.origins);
        }
        filter
    }
}

fn report_folded(context: &Context<'_>, origin: &Origin, folded: Folded) {
    let Folded { repeated, covered } = folded;
    let said = match (repeated, covered) {
        (0, 0) => return,
        (_, 0) => format!("{repeated} names are there more than once"),
        (0, _) => format!("{covered} names are below other names of the rule"),
        _ => format!("{repeated} names are there more than once, {covered} are below other names of the rule"),
    };
    context.faults.add(
        Code::Repeated,
        &origin.trigger,
        said,
        "they were folded and cost nothing; the rule acts the same",
    );
}

/// A rule that blocks the zones which this gateway serves by a route of their own is a mistake, until forced.
fn refuse_own_routes(context: &Context<'_>, filter: &Filter, origins: &[Origin]) {
    for route in &context.server.routes {
        let wire = route.zone.as_wire();
        let mut freed = Vec::new();
        filter.index.table.suffixes_of(wire, |hit| {
            let whole = if hit.at == 0 { FREED } else { FREE_BELOW };
            let members = filter.index.sets.members(hit.value).iter();
            let frees = |member: &&RuleRef| member.reach() & whole == whole && member.is_for_all_types();
            freed.extend(members.filter(frees).map(|member| member.rule()));
            true
        });
        filter.index.table.suffixes_of(wire, |hit| {
            // A rule for the names below is on the route's names whether it stands at the route or above it.
            let reach = if hit.at == 0 { SELF | BELOW } else { BELOW };
            let members = filter.index.sets.members(hit.value).iter();
            for rule in members.filter(|member| member.reach() & reach != 0).copied().map(RuleRef::rule) {
                let is_freed = freed.contains(&rule);
                let (rule, origin) = (&filter.rules()[rule], &origins[rule]);
                if rule.action.blocks() && !origin.force && !is_freed {
                    let name = &wire[usize::from(hit.at)..];
                    let own = origin.names.iter().find(|(own, _)| own == name).map(|(_, place)| place);
                    let message =
                        format!("rule {:?} would block {}, which has a route of its own", rule.id, route.zone);
                    let hint = "force = true, if you mean it";
                    context.faults.add(Code::Dangerous, own.unwrap_or(&origin.trigger), message, hint);
                }
            }
            true
        });
    }
}

/// Off before monitor before enforce.
fn stricter(a: Mode, b: Mode) -> Mode {
    match (a, b) {
        (Mode::Off, _) | (_, Mode::Off) => Mode::Off,
        (Mode::Monitor, _) | (_, Mode::Monitor) => Mode::Monitor,
        _ => Mode::Enforce,
    }
}
