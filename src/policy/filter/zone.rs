//! `filters/NN-name.toml`: a zone as written, and all zones of a directory made into one [`Filter`].
//!
//! ```toml
//! [zone]
//! title = "noisy video clients"
//! mode = "enforce"
//! groups = ["@branches"]
//! schedule = "office-hours"
//! expires = 2027-01-31T00:00:00+08:00
//! ```

mod policy_zone;

use super::lists::addresses::{self, ParsedAddresses};
use super::lists::{self, NameList, Parsed, Reading, Unreadable};
use super::rpz::Summary;
use super::sets::{BELOW, FREE_BELOW, FREED, RuleRef, SELF};
use super::shadow::{self, Overlaps};
use super::written::{WrittenRule, WrittenTrigger, is_wide, read_groups};
use super::{Action, Filter, Folded, RULES_MAX, Rule, Trigger, TriggerKind};
use crate::language::text;
use crate::policy::Mode;
use crate::policy::document::contents::Source;
use crate::policy::document::network::{self, Entry, Member};
use crate::policy::document::table::nearest;
use crate::policy::document::toml_file::{TomlFile, TomlText};
use crate::policy::document::{At, Code, Contents, Context, Place, Table};
use crate::policy::feeds::{self, Copy};
use crate::policy::hits::RuleHits;
use crate::policy::schedules::read_terms;
use ipnet::IpNet;
use policy_zone::read_taking;
use std::collections::HashMap;
use std::sync::Arc;

/// Reads all zones of the directory. `seed` is the secret of the hash, random for each process. Reading is the dear part
/// of a policy (a million names take about a quarter of a second): modes that do not change filters clone the result, and
/// large lists that `running` has already are not read again, as long as they are most of it.
pub fn read(context: &Context<'_>, seed: u64, running: Option<&Filter>) -> Filter {
    let mark = context.faults.mark();
    let beside =
        running.filter(|running| running.has_kept()).and_then(|running| read_all(context, seed, Some(running)));
    beside.unwrap_or_else(|| {
        context.faults.back_to(mark);
        read_all(context, seed, None).unwrap_or_else(Filter::none)
    })
}

/// `None` when what was not read again is needed.
fn read_all(context: &Context<'_>, seed: u64, running: Option<&Filter>) -> Option<Filter> {
    let (rules, triggers, origins, lists, summaries) = Default::default();
    let mut zones = Zones { context, running, rules, triggers, origins, lists, summaries };
    let of = |ending| context.files.within("filters", ending);
    let mut paths: Vec<_> = of("toml").chain(of("rpz")).collect();
    paths.sort_unstable();
    for (number, path) in paths.into_iter().enumerate() {
        zones.file(path, number);
    }
    zones.finish(seed)
}

/// Where a rule was written, for faults that only the whole can show.
pub(super) struct Origin {
    pub(super) id: Place,
    pub(super) trigger: Place,
    /// Name and place of each, when the rule has names of its own.
    pub(super) names: Vec<(Vec<u8>, Place)>,
    /// The same of networks.
    pub(super) networks: Vec<(IpNet, Place)>,
    force: bool,
}

/// All zones while they are read.
struct Zones<'c> {
    context: &'c Context<'c>,
    running: Option<&'c Filter>,
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
            let message = text!("{name:?} does not say its place in the order of zones", name);
            let ending = name.rsplit('.').next().unwrap_or_default();
            let hint = text!("name it NN-name.{ending} with two digits: zone 00 is heard first", ending);
            self.context.faults.add(Code::Path, &Place::whole(path), message, hint);
        }
        if name.ends_with(".rpz") {
            return self.master_file(path, number);
        }
        let Some(text) = TomlText::of(self.context.files, path, self.context.faults) else { return };
        let file = TomlFile::parse(&text, self.context.faults);
        let root = file.root(self.context.faults);
        let zone = root.table("zone");
        let (zone_schedules, zone_expires) = read_terms(&zone, self.context);
        let title = zone.text("title").map_or(name.trim_end_matches(".toml"), |title| title.value).to_owned();
        let mode = zone.mode(Mode::Enforce);
        let groups = read_groups(&zone, self.context.groups);
        let before = self.rules.len();
        let tables = root.tables("rule");
        if let Some((file, taking)) =
            read_taking(&zone, (path, &title, number), (mode, groups), (zone_schedules, zone_expires))
        {
            if let Some(table) = tables.first() {
                let message = text!("a zone that takes its records from elsewhere has no rules of its own");
                let hint = text!("put the rules into a file of their own, before or behind this one");
                self.context.faults.add(Code::Conflict, &table.place(), message, hint);
                tables.iter().for_each(Table::leave_unread);
            }
            if let Some(name) = file.value.strip_prefix(feeds::PREFIX) {
                let name = At { value: name, place: file.place.clone() };
                if let Some(copy) = last_copy(self.context, &name) {
                    self.policy_zone((&file.value.into(), &copy.content), &taking);
                }
                return;
            }
            return match (self.context.files.path(file.value), self.context.files.contents(file.value)) {
                (Some(list), Some(contents)) => self.policy_zone((list, contents), &taking),
                _ => self.report_missing(&file),
            };
        }
        for table in tables {
            let mut written = WrittenRule::read(&table, self.context);
            written.scope.zone_groups = groups;
            written.scope.zone_schedules = zone_schedules;
            written.scope.expires_ms = [written.scope.expires_ms, zone_expires].into_iter().flatten().min();
            written.mode = stricter(mode, written.mode);
            self.rule(&table, written, &title, number);
        }
        self.report_partial(before);
    }

    /// Says once for each file that what it asks about name servers is known only as far as answers show it.
    fn report_partial(&self, before: usize) {
        let of_servers = |rule: &&Rule| matches!(rule.trigger, TriggerKind::NsName | TriggerKind::NsAddress);
        let Some(at) = self.rules[before..].iter().position(|rule| of_servers(&rule)) else { return };
        let (rule, origin) = (&self.rules[before + at], &self.origins[before + at]);
        let message = text!("{key} is matched only where an answer shows name servers", key = rule.trigger.key());
        let hint = text!("a gateway asks resolvers, whose answers rarely do: names and response_ip always act");
        self.context.faults.add(Code::Partial, &origin.trigger, message, hint);
    }

    fn rule(&mut self, table: &Table<'_>, written: WrittenRule<'_>, title: &str, zone_number: usize) {
        let faults = self.context.faults;
        let Some(id) = &written.id else { return };
        if self.rules.len() == RULES_MAX {
            faults.add(
                Code::TooMany,
                &table.place(),
                text!("more than {most} rules", most = RULES_MAX),
                text!("names that are treated alike belong into one rule"),
            );
            return;
        }
        if let Some(first) = self.rules.iter().position(|rule| rule.id == id.value) {
            let message = text!("rule {id:?} is there twice", id = id.value);
            let hint = text!(
                "the other is in {file}; an id is unique in the whole policy",
                file = self.origins[first].id.file
            );
            faults.add(Code::Duplicate, &id.place, message, hint);
        }
        let trigger = match &written.trigger {
            WrittenTrigger::Names(_, names) => {
                let mut list = NameList::default();
                names.iter().for_each(|(reach, name)| list.push(*reach, name.value.as_wire()));
                Trigger::Names(Arc::new(list))
            }
            WrittenTrigger::List { .. } => Trigger::Names(self.list(&written)),
            WrittenTrigger::Networks { entries, files, .. } => {
                self.networks(entries, files, written.action.blocks() && !written.force)
            }
            WrittenTrigger::Broken => return,
        };
        let names = match &written.trigger {
            WrittenTrigger::Names(_, names) => {
                names.iter().map(|(_, n)| (n.value.as_wire().to_vec(), n.place.clone())).collect()
            }
            _ => Vec::new(),
        };
        let networks = match &written.trigger {
            WrittenTrigger::Networks { entries, .. } => entries.iter().filter_map(own_network).collect(),
            _ => Vec::new(),
        };
        let Some(kind) = written.trigger.kind() else { return };
        let place = table.place_of(written.trigger.key());
        self.origins.push(Origin { id: id.place.clone(), trigger: place, names, networks, force: written.force });
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
            hits: RuleHits::default(),
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
        if faults.are_enough() {
            return Arc::default();
        }
        if let Some(name) = path.value.strip_prefix(feeds::PREFIX) {
            let list = self.feed(&At { value: name, place: path.place.clone() }, reading);
            self.lists.insert(key, Arc::clone(&list));
            return list;
        }
        let list = match (files.path(path.value), files.contents(path.value)) {
            (Some(file), Some(contents)) => match self.parse(file, contents, reading) {
                Ok(parsed) => {
                    lists::report(file, &parsed, faults);
                    Arc::new(parsed.names)
                }
                Err(error) => {
                    self.report_unreadable(path.value, error, &path.place);
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

    /// Reads a list; its names are absent if they are in the table of the filter that runs.
    fn parse(&self, file: &str, list: &Contents, reading: Reading) -> Result<Parsed, Unreadable> {
        let known = self.running.into_iter().flat_map(Filter::kept);
        lists::parse_beside(list, reading, &mut |name| self.beside(file, name), known)
    }

    /// The names of a feed's last copy; none, with a warning, while there is no copy yet.
    fn feed(&self, name: &At<&str>, reading: Reading) -> Arc<NameList> {
        let faults = self.context.faults;
        let Some(copy) = last_copy(self.context, name) else { return Arc::default() };
        let file = format!("{}{}", feeds::PREFIX, name.value);
        match self.parse(&file, &copy.content, reading) {
            Ok(parsed) => {
                lists::report(&file.as_str().into(), &parsed, faults);
                Arc::new(parsed.names)
            }
            Err(error) => {
                self.report_unreadable(&file, error, &name.place);
                Arc::default()
            }
        }
    }

    fn report_missing(&self, path: &At<&str>) {
        let (files, faults) = (self.context.files, self.context.faults);
        if path.value.starts_with('/') || path.value.split('/').any(|part| part == "..") {
            let message = text!("{path:?} leaves the policy directory", path = path.value);
            faults.add(Code::Path, &path.place, message, text!("put the list into lists/ of the policy directory"));
        } else {
            let hint = match nearest(path.value, files.iter().map(|(path, _)| &**path)) {
                Some(word) => text!("did you mean {word:?}?", word),
                None => text!("the path begins at the policy directory, such as \"lists/video.txt\""),
            };
            faults.add(Code::MissingFile, &path.place, text!("there is no file {path:?}", path = path.value), hint);
        }
    }

    /// The networks of a rule, those in files among them.
    fn networks(&self, entries: &[At<Entry>], paths: &[At<&str>], refuse_wide: bool) -> Trigger {
        let (files, faults) = (self.context.files, self.context.faults);
        let mut all: Vec<Entry> = entries.iter().map(|entry| entry.value).collect();
        for path in paths {
            let parsed = if let Some(name) = path.value.strip_prefix(feeds::PREFIX) {
                let Some(copy) = last_copy(self.context, &At { value: name, place: path.place.clone() }) else {
                    continue;
                };
                self.addresses(&path.value.into(), copy.content.source(), path)
            } else {
                let (Some(file), Some(contents)) = (files.path(path.value), files.contents(path.value)) else {
                    self.report_missing(path);
                    continue;
                };
                self.addresses(file, contents.source(), path)
            };
            if let Some(net) = parsed.networks.iter().find(|net| refuse_wide && is_wide(**net)) {
                let message = text!("{file} would have this rule act on all of {net}", file = path.value, net);
                faults.add(Code::Dangerous, &path.place, message, text!("force = true, if you mean it"));
            }
            all.extend(parsed.networks.iter().map(|net| Entry { except: false, member: Member::Network(*net) }));
        }
        Trigger::Networks(Arc::new(network::depths(all, self.context.groups)))
    }

    /// The addresses of a file, which is named at `path`; none, with a fault, when it cannot be read.
    fn addresses(&self, file: &Arc<str>, source: Source<'_>, path: &At<&str>) -> ParsedAddresses {
        match addresses::parse_source(source) {
            Ok(parsed) => {
                addresses::report(file, &parsed, path, self.context.faults);
                parsed
            }
            Err(error) => {
                self.report_unreadable(path.value, error, &path.place);
                ParsedAddresses::default()
            }
        }
    }

    fn report_unreadable(&self, path: &str, error: Unreadable, place: &Place) {
        let message = text!("{path} cannot be read: {error}", path, error = error.text());
        self.context.faults.add(Code::List, place, message, error.hint());
    }

    /// The list that `include:name` in another one means.
    fn beside(&self, file: &str, name: &str) -> Option<Source<'_>> {
        let directory = &file[..=file.rfind('/')?];
        let list = self.context.files.contents(&format!("{directory}{name}"));
        list.or_else(|| self.context.files.contents(&format!("{directory}{name}.txt"))).map(Contents::source)
    }

    fn finish(self, seed: u64) -> Option<Filter> {
        let faults = self.context.faults;
        if faults.are_enough() {
            return Some(Filter::none());
        }
        let lists = self.lists.iter().map(|((path, _), names)| (path.clone(), names.len())).collect();
        // Lists that nothing else holds are freed while the table is made of them.
        drop(self.lists);
        let mut overlaps = [Overlaps::default(), Overlaps::default()];
        let is_absent = |trigger: &Trigger| matches!(trigger, Trigger::Names(list) if list.is_absent());
        let made = match self.running.filter(|_| self.triggers.iter().any(is_absent)) {
            Some(running) => Ok(Filter::beside(running, self.rules, self.triggers, seed, &mut overlaps)?),
            None => Filter::noting(self.rules, self.triggers, seed, &mut overlaps),
        };
        let mut filter = match made {
            Ok((mut filter, folded)) => {
                filter.policy_zones = self.summaries.into();
                for (origin, folded) in self.origins.iter().zip(&folded) {
                    report_folded(self.context, origin, *folded);
                }
                filter
            }
            Err(error) => {
                faults.add(Code::TooMany, &Place::whole("filters"), error.text(), text!("take out lists"));
                Filter::none()
            }
        };
        filter.lists = Arc::new(lists);
        if filter.rules().len() == self.origins.len() {
            refuse_own_routes(self.context, &filter, &self.origins);
            // What decides before in a policy that is not what was meant would only be noise.
            if !faults.has_errors() {
                shadow::report(&filter, &self.origins, overlaps, faults);
            }
        }
        Some(filter)
    }
}

/// A network that stands in a rule itself, and is not an exception.
fn own_network(entry: &At<Entry>) -> Option<(IpNet, Place)> {
    match entry.value {
        Entry { except: false, member: Member::Network(net) } => Some((net, entry.place.clone())),
        _ => None,
    }
}

fn report_folded(context: &Context<'_>, origin: &Origin, folded: Folded) {
    let Folded { repeated, covered } = folded;
    let said = match (repeated, covered) {
        (0, 0) => return,
        (_, 0) => text!("names that are there more than once: {repeated}", repeated),
        (0, _) => text!("names below other names of the rule: {covered}", covered),
        _ => text!(
            "names that are there more than once: {repeated}, below other names of the rule: {covered}",
            repeated,
            covered
        ),
    };
    context.faults.add(
        Code::Repeated,
        &origin.trigger,
        said,
        text!("they were folded and cost nothing; the rule acts the same"),
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
                // To guard one's own zone is what an expectation is for.
                let blocks = rule.action.blocks() && !matches!(rule.action, Action::Expect(_));
                if blocks && !origin.force && !is_freed {
                    let name = &wire[usize::from(hit.at)..];
                    let own = origin.names.iter().find(|(own, _)| own == name).map(|(_, place)| place);
                    let message = text!(
                        "rule {id:?} would block {zone}, which has a route of its own",
                        id = rule.id,
                        zone = route.zone
                    );
                    let hint = text!("force = true, if you mean it");
                    context.faults.add(Code::Dangerous, own.unwrap_or(&origin.trigger), message, hint);
                }
            }
            true
        });
    }
}

/// The last copy of a feed; none, with a warning, while there is no copy yet.
pub(super) fn last_copy(context: &Context<'_>, name: &At<&str>) -> Option<Arc<Copy>> {
    let Context { feeds, copies, faults, .. } = context;
    let feed = feeds.require(name, faults)?;
    let why = match copies.of(feed) {
        Ok(Some(copy)) => {
            if !feed.source.is_pinned(&copy.manifest) {
                let message = text!("the copy of feed {name:?} was not held against its pin", name = name.value);
                let hint = text!("it acts until what is pinned has come; `weir feed` says how it goes");
                faults.add(Code::FeedUnpinned, &name.place, message, hint);
            }
            return Some(copy);
        }
        Ok(None) if copies.is_nowhere() => {
            text!("feed {name:?} cannot be looked at: its copies are elsewhere", name = name.value)
        }
        Ok(None) => text!("feed {name:?} has not come yet: what it is for is empty", name = name.value),
        Err(error) => text!("the copy of feed {name:?} cannot be used: {error}", name = name.value, error),
    };
    let hint = text!("it acts once a copy has come; `weir feed` says how it goes");
    faults.add(Code::FeedAbsent, &name.place, why, hint);
    None
}

/// Off before monitor before enforce.
fn stricter(a: Mode, b: Mode) -> Mode {
    match (a, b) {
        (Mode::Off, _) | (_, Mode::Off) => Mode::Off,
        (Mode::Monitor, _) | (_, Mode::Monitor) => Mode::Monitor,
        _ => Mode::Enforce,
    }
}
