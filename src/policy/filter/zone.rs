//! `filters/NN-name.toml`: a zone as written, and all zones of a directory made into one [`Filter`].
//!
//! ```toml
//! [zone]
//! title = "noisy video clients"
//! mode = "enforce"
//! groups = ["@branches"]
//! ```

use super::lists::{self, NameList, Parsed, Reading, Unreadable};
use super::rule::{Trigger, WrittenRule, read_groups};
use super::sets::{BELOW, FREE_BELOW, FREED, RuleRef, SELF};
use super::{Filter, Folded, RULES_MAX, Rule};
use crate::policy::Mode;
use crate::policy::document::table::nearest;
use crate::policy::document::toml_file::{TomlFile, TomlText};
use crate::policy::document::{Code, Context, Fault, Place, Table};
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
    let (rules, names, origins, lists) = (Vec::new(), Vec::new(), Vec::new(), HashMap::new());
    let mut zones = Zones { context, running, rules, names, origins, lists };
    for (path, _) in context.files.within("filters", "rpz") {
        let message = "response policy zones are not in this version of weir";
        context.faults.add(Code::NotYet, &Place::whole(path), message, "write the rules as filters/NN-name.toml");
    }
    let paths = context.files.within("filters", "toml").map(|(path, _)| path);
    for (number, path) in paths.enumerate() {
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
    running: Option<&'c Filter>,
    rules: Vec<Rule>,
    names: Vec<Arc<NameList>>,
    origins: Vec<Origin>,
    /// A list that several rules name the same way is read once.
    lists: HashMap<(String, Reading), Arc<NameList>>,
}

impl Zones<'_> {
    fn file(&mut self, path: &Arc<str>, number: usize) {
        let name = path.rsplit('/').next().unwrap_or(path);
        if !matches!(name.as_bytes(), [b'0'..=b'9', b'0'..=b'9', b'-', _, ..]) {
            let message = format!("{name:?} does not say its place in the order of zones");
            let hint = "name it NN-name.toml with two digits: zone 00 is heard first";
            self.context.faults.add(Code::Path, &Place::whole(path), message, hint);
        }
        let Some(text) = TomlText::of(self.context.files, path, self.context.faults) else { return };
        let file = TomlFile::parse(&text, self.context.faults);
        let root = file.root(self.context.faults);
        let zone = root.table("zone");
        zone.not_yet(&["schedule", "expires"]);
        let title = zone.text("title").map_or(name.trim_end_matches(".toml"), |title| title.value).to_owned();
        let mode = zone.mode(Mode::Enforce);
        let groups = read_groups(&zone, self.context.groups);
        for table in root.tables("rule") {
            let mut written = WrittenRule::read(&table, self.context.groups);
            written.scope.zone_groups = groups;
            written.mode = stricter(mode, written.mode);
            self.rule(&table, written, &title, number);
        }
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
        let (list, trigger) = match &written.trigger {
            Trigger::Names(names) => {
                let mut list = NameList::default();
                names.iter().for_each(|(reach, name)| list.push(*reach, name.value.as_wire()));
                (Arc::new(list), table.place_of("names"))
            }
            Trigger::List { .. } => (self.list(&written), table.place_of("list")),
            Trigger::Broken => return,
        };
        let names = match &written.trigger {
            Trigger::Names(names) => names.iter().map(|(_, n)| (n.value.as_wire().to_vec(), n.place.clone())).collect(),
            _ => Vec::new(),
        };
        self.origins.push(Origin { id: id.place.clone(), trigger, names, force: written.force });
        self.names.push(list);
        self.rules.push(Rule {
            id: id.value.to_owned(),
            zone: title.to_owned(),
            zone_number,
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
        let Trigger::List { path, format, matches } = &written.trigger else { return Arc::default() };
        let suffixes = written.force || !written.action.blocks();
        let reading = Reading { format: format.as_ref().map(|format| format.value), matches: *matches, suffixes };
        let key = (path.value.to_owned(), reading);
        if let Some(known) = self.lists.get(&key) {
            return Arc::clone(known);
        }
        let (files, faults) = (self.context.files, self.context.faults);
        let list = match (files.path(path.value), files.bytes(path.value)) {
            (Some(file), Some(bytes)) => match self.parse(file, bytes, reading) {
                Ok(parsed) => {
                    lists::report(file, &parsed, faults);
                    Arc::new(parsed.names)
                }
                Err(error) => {
                    let code = if matches!(error, lists::Unreadable::NotYet(_)) { Code::NotYet } else { Code::List };
                    let message = format!("{} cannot be read: {error}", path.value);
                    faults.add(code, &path.place, message, error.hint());
                    Arc::default()
                }
            },
            _ => {
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
                Arc::default()
            }
        };
        self.lists.insert(key, Arc::clone(&list));
        list
    }

    /// Reads a list; its names are absent if they are in the table of the filter that runs.
    fn parse(&self, file: &str, bytes: &[u8], reading: Reading) -> Result<Parsed, Unreadable> {
        let known = self.running.into_iter().flat_map(Filter::kept);
        lists::parse_beside(bytes, reading, &mut |name| self.beside(file, name), known)
    }

    /// The list that `include:name` in another one means.
    fn beside(&self, file: &str, name: &str) -> Option<&[u8]> {
        let directory = &file[..=file.rfind('/')?];
        let bytes = self.context.files.bytes(&format!("{directory}{name}"));
        bytes.or_else(|| self.context.files.bytes(&format!("{directory}{name}.txt")))
    }

    fn finish(self, seed: u64) -> Option<Filter> {
        let faults = self.context.faults;
        drop(self.lists);
        let made = match self.running.filter(|_| self.names.iter().any(|list| list.is_absent())) {
            Some(running) => Ok(Filter::beside(running, &self.rules, &self.names, seed)?),
            None => Filter::of_lists(self.rules, self.names, seed),
        };
        let filter = match made {
            Ok((filter, folded)) => {
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
        Some(filter)
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
