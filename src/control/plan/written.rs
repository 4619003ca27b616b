//! Which rules, settings and lists differ between two policies. By what was written and not by what was compiled, so that
//! every key is told, whatever it does; comments and spelling are no difference.

use crate::policy::outline::Outline;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use toml::{Table, Value};

/// Rows of each kind that are told; what is over is counted.
pub const ROWS_MAX: usize = 1_000;

/// The longest text of a value, in bytes.
const VALUE_MAX: usize = 120;

/// Elements of a list that are told of one change.
const ELEMENTS_SHOWN: usize = 8;

/// The keys by which tables of an array are told apart.
const KEYS: [&str; 5] = ["id", "name", "zone", "query", "title"];

/// See above.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Rules of filters/*.toml that are new.
    pub added: Vec<RuleRow>,
    /// Rules that are gone.
    pub removed: Vec<RuleRow>,
    /// Rules that say something else.
    pub changed: Vec<RuleChange>,
    /// Keys of all other files, and of `[zone]`.
    pub settings: Vec<SettingChange>,
    /// Lists and response policy zones.
    pub lists: Vec<ListChange>,
    /// Files of secrets that differ; nothing of them is shown.
    pub secrets: Vec<String>,
    /// Rules among those that came or changed which act on answers: only queries whose answer is known tell what they do.
    #[serde(default)]
    pub on_answers: usize,
    /// Rows beyond [`ROWS_MAX`].
    pub unlisted: usize,
}

/// A rule that came or went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRow {
    /// Its id.
    pub id: String,
    /// Its file.
    pub file: String,
    /// Its keys, in short.
    pub says: String,
}

/// A rule that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleChange {
    /// Its id.
    pub id: String,
    /// Its file now.
    pub file: String,
    /// The file that it was moved from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<String>,
    /// What it says otherwise.
    pub keys: Vec<KeyChange>,
}

/// A key whose value changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    /// Dotted.
    pub key: String,
    /// What it was; of a list what went. Absent when it was not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is to be; of a list what came. Absent when it is not written any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Both are parts of a list.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_list: bool,
}

/// A key of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingChange {
    /// The file.
    pub file: String,
    /// What of it.
    #[serde(flatten)]
    pub change: KeyChange,
}

/// A list that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListChange {
    /// Its file.
    pub file: String,
    /// Its names before; absent when it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<usize>,
    /// Its names afterwards; absent when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<usize>,
}

/// What stands for a key where rules stand in another order.
pub(super) const ORDER: &str = "order of rules";

/// Keys of rules that act on answers.
const ON_ANSWERS: [&str; 4] = ["response_ip", "ns_name", "ns_ip", "answers"];

/// A rule as written: where, and its keys.
type Rules = BTreeMap<String, (String, usize, Table)>;

impl Written {
    /// What differs in `new`.
    pub fn between(old: &Outline, new: &Outline) -> Self {
        let mut written = Self::default();
        let (old_rules, new_rules) = (rules(old), rules(new));
        written.compare_rules(&old_rules, &new_rules);
        let paths: BTreeSet<_> = old.texts().keys().chain(new.texts().keys()).collect();
        for path in paths {
            let (a, b) = (old.texts().get(path), new.texts().get(path));
            if a == b {
                continue;
            }
            let (a, b) = (settings(path, a), settings(path, b));
            let mut keys = Vec::new();
            compare("", &a, &b, &mut keys);
            if let Some(change) = order_of(path, &old_rules, &new_rules) {
                keys.push(change);
            }
            let file = path.to_string();
            written.settings.extend(keys.into_iter().map(|change| SettingChange { file: file.clone(), change }));
        }
        written.lists = lists_between(old, new);
        written.compare_secrets(old, new);
        written.bound();
        written
    }

    fn compare_rules(&mut self, old: &Rules, new: &Rules) {
        let row = |(id, (file, _, rule)): (&String, &(String, usize, Table))| RuleRow {
            id: id.clone(),
            file: file.clone(),
            says: says(rule),
        };
        self.added = new.iter().filter(|(id, _)| !old.contains_key(*id)).map(row).collect();
        let acts_on_answers = |rule: &Table| ON_ANSWERS.iter().any(|key| rule.contains_key(*key));
        let is_other = |(id, (.., rule)): &(&String, &(String, usize, Table))| {
            old.get(*id).is_none_or(|(.., old_rule)| old_rule != rule) && acts_on_answers(rule)
        };
        self.on_answers = new.iter().filter(is_other).count();
        self.removed = old.iter().filter(|(id, _)| !new.contains_key(*id)).map(row).collect();
        for (id, (file, _, rule)) in new {
            let Some((old_file, _, old_rule)) = old.get(id) else { continue };
            let mut keys = Vec::new();
            compare("", old_rule, rule, &mut keys);
            let moved_from = (old_file != file).then(|| old_file.clone());
            if !keys.is_empty() || moved_from.is_some() {
                self.changed.push(RuleChange { id: id.clone(), file: file.clone(), moved_from, keys });
            }
        }
    }

    fn compare_secrets(&mut self, old: &Outline, new: &Outline) {
        let (a, b): (BTreeSet<_>, BTreeSet<_>) = (old.secrets().collect(), new.secrets().collect());
        let differs: BTreeSet<_> = a.symmetric_difference(&b).map(|(path, _)| (*path).to_owned()).collect();
        self.secrets = differs.into_iter().collect();
    }

    fn bound(&mut self) {
        let mut cut = |len: usize| self.unlisted += len.saturating_sub(ROWS_MAX);
        cut(self.added.len());
        cut(self.removed.len());
        cut(self.changed.len());
        cut(self.settings.len());
        self.added.truncate(ROWS_MAX);
        self.removed.truncate(ROWS_MAX);
        self.changed.truncate(ROWS_MAX);
        self.settings.truncate(ROWS_MAX);
    }

    /// Whether nothing differs that does anything.
    pub fn is_empty(&self) -> bool {
        let Self { added, removed, changed, settings, lists, secrets, unlisted, .. } = self;
        let all = [added.len(), removed.len(), changed.len(), settings.len(), lists.len(), secrets.len(), *unlisted];
        all.iter().all(|count| *count == 0)
    }
}

/// Lists and response policy zones that differ.
pub fn lists_between(old: &Outline, new: &Outline) -> Vec<ListChange> {
    let paths: BTreeSet<_> = old.lists().chain(new.lists()).map(|(path, _)| path).collect();
    let change = |path: &str| {
        let (a, b) = (old.list(path), new.list(path));
        let (before, after) = (a.map(|list| list.entries), b.map(|list| list.entries));
        (a != b).then(|| ListChange { file: path.to_owned(), before, after })
    };
    paths.into_iter().filter_map(change).collect()
}

/// All rules of filters/ by their ids, with their files and their places in them.
fn rules(outline: &Outline) -> Rules {
    let mut found = Rules::new();
    for (path, text) in outline.texts().iter().filter(|(path, _)| path.starts_with("filters/")) {
        // What cannot be read was refused by the check.
        let mut file: Table = text.parse().unwrap_or_default();
        let Some(Value::Array(rules)) = file.remove("rule") else { continue };
        for (place, rule) in rules.into_iter().enumerate() {
            let Value::Table(mut rule) = rule else { continue };
            if let Some(Value::String(id)) = rule.remove("id") {
                found.insert(id, (path.to_string(), place, rule));
            }
        }
    }
    found
}

/// Everything of a file but the rules of a zone.
fn settings(path: &str, text: Option<&String>) -> Table {
    let mut file: Table = text.and_then(|text| text.parse().ok()).unwrap_or_default();
    if path.starts_with("filters/") {
        file.remove("rule");
    }
    file
}

/// Whether the rules that a zone has kept stand in another order: in a tie the earlier decides.
fn order_of(path: &str, old: &Rules, new: &Rules) -> Option<KeyChange> {
    let order = |of: &Rules, other: &Rules| {
        let is_here = |rules: &Rules, id: &String| rules.get(id).is_some_and(|(file, ..)| file == path);
        let mut ids: Vec<_> = of.iter().filter(|(id, _)| is_here(of, id) && is_here(other, id)).collect();
        ids.sort_by_key(|(_, (_, place, _))| *place);
        ids.into_iter().map(|(id, _)| id.clone()).collect::<Vec<_>>()
    };
    let (before, after) = (order(old, new), order(new, old));
    let text = |ids: &[String]| Some(short(&ids.join(" ")));
    let differs = before != after;
    let key = ORDER.to_owned();
    differs.then(|| KeyChange { key, before: text(&before), after: text(&after), of_list: false })
}

/// The keys of a rule in short: `action "nxdomain", list "lists/x.txt"`.
fn says(rule: &Table) -> String {
    let first = |key: &&String| (key.as_str() != "action", (*key).clone());
    let mut keys: Vec<_> = rule.keys().collect();
    keys.sort_by_key(first);
    let all: Vec<_> = keys.iter().map(|key| format!("{key} {}", value(&rule[key.as_str()]))).collect();
    short(&all.join(", "))
}

/// Adds every key below `path` that differs.
fn compare(path: &str, old: &Table, new: &Table, found: &mut Vec<KeyChange>) {
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for name in keys {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (old.get(name), new.get(name)) {
            (a, b) if a == b => {}
            (Some(Value::Table(a)), Some(Value::Table(b))) => compare(&key, a, b, found),
            (Some(Value::Table(a)), None) => compare(&key, a, &Table::new(), found),
            (None, Some(Value::Table(b))) => compare(&key, &Table::new(), b, found),
            (a, b) if is_of_tables(a) && is_of_tables(b) => {
                let (a, b) = (by_key(a), by_key(b));
                compare(&key, &a, &b, found);
            }
            (Some(Value::Array(a)), Some(Value::Array(b))) => found.push(list_change(key, a, b)),
            (a, b) => {
                found.push(KeyChange { key, before: a.map(value), after: b.map(value), of_list: false });
            }
        }
    }
}

/// Whether a value is not there, or a list of tables.
fn is_of_tables(value: Option<&Value>) -> bool {
    value.is_none_or(|value| {
        value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(|item| item.is_table()))
    })
}

/// The tables of a list by what tells them apart, else by their numbers.
fn by_key(list: Option<&Value>) -> Table {
    let mut found = Table::new();
    for (n, item) in list.and_then(Value::as_array).into_iter().flatten().enumerate() {
        let named = KEYS.iter().find_map(|key| item.get(key)?.as_str());
        let mut key = named.map_or_else(|| (n + 1).to_string(), str::to_owned);
        if found.contains_key(&key) {
            key = format!("{key}#{}", n + 1);
        }
        found.insert(key, item.clone());
    }
    found
}

fn list_change(key: String, a: &[Value], b: &[Value]) -> KeyChange {
    let texts = |of: &[Value]| of.iter().map(value).collect::<BTreeSet<_>>();
    let (old, new) = (texts(a), texts(b));
    let only = |of: &BTreeSet<String>, other: &BTreeSet<String>| {
        let only: Vec<_> = of.difference(other).cloned().collect();
        let shown = only.iter().take(ELEMENTS_SHOWN).cloned().collect::<Vec<_>>().join(" ");
        match only.len() {
            0 => None,
            len if len > ELEMENTS_SHOWN => Some(format!("{shown} and {} more", len - ELEMENTS_SHOWN)),
            _ => Some(shown),
        }
    };
    let (before, after) = (only(&old, &new), only(&new, &old));
    if before.is_none() && after.is_none() {
        // The order, or how often something stands there.
        let whole = |of: &[Value]| Some(short(&of.iter().map(value).collect::<Vec<_>>().join(" ")));
        return KeyChange { key, before: whole(a), after: whole(b), of_list: false };
    }
    KeyChange { key, before, after, of_list: true }
}

fn value(value: &Value) -> String {
    let mut text = String::new();
    write_value(value, &mut text);
    short(&text)
}

/// As TOML would have it, about; what is far beyond what is shown is not written.
fn write_value(value: &Value, text: &mut String) {
    if text.len() > 2 * VALUE_MAX {
        return;
    }
    match value {
        Value::String(string) => *text += &format!("{string:?}"),
        Value::Integer(integer) => *text += &integer.to_string(),
        Value::Float(float) => *text += &float.to_string(),
        Value::Boolean(boolean) => *text += &boolean.to_string(),
        Value::Datetime(datetime) => *text += &datetime.to_string(),
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                text.push_str(if n == 0 { "[" } else { ", " });
                write_value(item, text);
            }
            text.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        Value::Table(table) => {
            for (n, (key, item)) in table.iter().enumerate() {
                *text += &format!("{}{key} = ", if n == 0 { "{ " } else { ", " });
                write_value(item, text);
            }
            text.push_str(if table.is_empty() { "{}" } else { " }" });
        }
    }
}

/// At most [`VALUE_MAX`] bytes of a text, on one line and without anything that moves a cursor.
fn short(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        if shown.len() > VALUE_MAX {
            shown.push_str("...");
            break;
        }
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Told as _;
    use crate::policy::document::Files;

    fn outline(files: &[(&str, &str)]) -> Outline {
        let files: Files = files.iter().map(|(path, text)| (*path, *text)).collect();
        Outline::of(&files, &BTreeMap::new())
    }

    const OLD: &str = "[zone]\ntitle = \"t\"\nmode = \"monitor\"\n\
        [[rule]]\nid = \"gone\"\nnames = [\"g.example\"]\naction = \"drop\"\n\
        [[rule]]\nid = \"one\"\nnames = [\"a.example\", \"b.example\"]\naction = \"nxdomain\"\n\
        [[rule]]\nid = \"two\"\nlist = \"lists/x.txt\"\naction = \"nodata\" # why\n";
    const NEW: &str = "[zone]\ntitle = \"t\"\n\
        [[rule]]\nid = \"two\"\nlist = \"lists/x.txt\"\naction = \"nodata\"\n\
        [[rule]]\nid = \"one\"\naction = \"refused\"\nnames = [\"b.example\", \"c.example\"]\nttl = 5\n\
        [[rule]]\nid = \"new\"\nlist = \"lists/y.txt\"\naction = \"nxdomain\"\n";

    #[test]
    fn rules_are_told_by_id_and_key() {
        let old = outline(&[("filters/10-t.toml", OLD), ("lists/x.txt", "a.example\nb.example\n")]);
        let new =
            outline(&[("filters/10-t.toml", NEW), ("lists/x.txt", "a.example\n"), ("lists/y.txt", "z.example\n")]);
        let written = Written::between(&old, &new);
        let ids = |rows: &[RuleRow]| rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>();
        assert_eq!((ids(&written.added), ids(&written.removed)), (vec!["new".to_owned()], vec!["gone".to_owned()]));
        assert_eq!(written.added[0].says, "action \"nxdomain\", list \"lists/y.txt\"");
        assert_eq!(written.changed.len(), 1, "{written:#?}");
        let keys: Vec<_> = written.changed[0].keys.iter().map(|key| key.text().english()).collect();
        assert_eq!(
            keys,
            ["action \"nxdomain\" -> \"refused\"", "names -\"a.example\" +\"c.example\"", "ttl none -> 5"]
        );
        let settings: Vec<_> = written.settings.iter().map(|one| one.change.text().english()).collect();
        assert_eq!(settings, ["zone.mode \"monitor\" -> none", "order of rules one two -> two one"]);
        let lists: Vec<_> = written.lists.iter().map(|list| (list.before, list.after)).collect();
        assert_eq!(lists, [(Some(2), Some(1)), (None, Some(1))]);
        assert!(Written::between(&new, &new).is_empty() && !written.is_empty());
    }

    #[test]
    fn settings_are_told_by_dotted_key_and_a_moved_rule_by_its_files() {
        let one = "[[upstream]]\nname = \"a\"\naddress = \"192.0.2.1\"\n[cache]\nsize = \"1MiB\"\n";
        let two = "# other words\n[[upstream]]\nname = \"b\"\naddress = \"192.0.2.2\"\n[[upstream]]\nname = \"a\"\naddress = \"192.0.2.1\"\n";
        let rule = "[[rule]]\nid = \"x\"\nnames = [\"x.example\"]\naction = \"drop\"\n";
        let old = outline(&[("gateway.toml", one), ("filters/10-a.toml", rule), ("cookie.secrets", "1\n")]);
        let new = outline(&[("gateway.toml", two), ("filters/20-b.toml", rule), ("cookie.secrets", "2\n")]);
        let written = Written::between(&old, &new);
        let settings: Vec<_> =
            written.settings.iter().map(|one| format!("{} {}", one.file, one.change.text().english())).collect();
        let expected = [
            "gateway.toml cache.size \"1MiB\" -> none",
            "gateway.toml upstream.b.address none -> \"192.0.2.2\"",
            "gateway.toml upstream.b.name none -> \"b\"",
        ];
        assert_eq!(settings, expected);
        assert_eq!(written.changed[0].moved_from.as_deref(), Some("filters/10-a.toml"));
        assert_eq!(written.secrets, ["cookie.secrets"]);
        let comment = outline(&[("gateway.toml", &format!("{one}# only a word\n"))]);
        assert!(Written::between(&outline(&[("gateway.toml", one)]), &comment).is_empty());
    }

    #[test]
    fn long_values_are_cut_and_cannot_move_a_cursor() {
        let text = short(&format!("\u{1b}[2J{}", "ä".repeat(200)));
        assert!(text.starts_with("\\u{1b}[2J") && text.ends_with("...") && text.len() < VALUE_MAX + 16, "{text}");
    }
}
