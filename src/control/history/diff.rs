//! What differs between two policies: a unified diff of each file, and how many rules and names that is. Files of secrets
//! are named and never shown.

use super::list_lines::{self, Lines};
use super::objects::Kept;
use crate::language::{Text, Told, text};
use crate::policy::document::contents::Source;
use crate::policy::document::{Contents, Files};
use crate::policy::feeds::hex;
use crate::policy::load::is_secrets;
use serde::{Deserialize, Serialize};
use similar::TextDiff;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::io;
use std::time::Duration;

/// The most text of a diff, in bytes: it is one answer over the control socket, and nobody reads more.
pub const TEXT_MAX: usize = 2 << 20;

/// The largest file that is compared line by line in its order, in memory: of a larger list or policy zone it is told which
/// lines came and went. Files of rules are compared in their order whatever their size, which has a limit of its own.
const ORDERED_BYTES_MAX: u64 = 1 << 20;

/// The longest that one file is compared for; what is left then is shown as replaced.
const FILE_TIME_MAX: Duration = Duration::from_secs(2);

/// Lines around a change.
const CONTEXT: usize = 3;

/// Things that came, went or became other ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Not there before.
    pub added: usize,
    /// Not there any more.
    pub removed: usize,
    /// There before and after, and not the same.
    pub changed: usize,
}

impl Counts {
    fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn between<K: Ord, V: PartialEq>(a: &BTreeMap<K, V>, b: &BTreeMap<K, V>) -> Self {
        Self {
            added: b.keys().filter(|key| !a.contains_key(key)).count(),
            removed: a.keys().filter(|key| !b.contains_key(key)).count(),
            changed: a.iter().filter(|(key, value)| b.get(key).is_some_and(|other| other != *value)).count(),
        }
    }

    fn add(&mut self, other: Self) {
        self.added += other.added;
        self.removed += other.removed;
        self.changed += other.changed;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{} -{} ~{}", self.added, self.removed, self.changed)
    }
}

/// See above.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// Files.
    pub files: Counts,
    /// Rules of filters/*.toml, by their ids.
    pub rules: Counts,
    /// Lines of lists and policy zones, without comments.
    pub list_lines: Counts,
    /// Files of secrets that differ; nothing of them is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Unified, file by file.
    pub text: String,
    /// There is more than [`TEXT_MAX`] of it.
    pub is_cut: bool,
}

impl Told for Diff {
    fn text(&self) -> Text {
        if self.files.is_empty() {
            return text!("they are the same");
        }
        let mut shown = String::with_capacity(self.text.len());
        // A list from elsewhere must not move the cursor of whoever looks at it.
        for c in self.text.chars() {
            match c.is_control() && !matches!(c, '\n' | '\t') {
                true => shown.extend(c.escape_default()),
                false => shown.push(c),
            }
        }
        let mut lines = Vec::new();
        if self.is_cut {
            lines.push(text!("... cut off: there is more than {most} MiB of it", most = TEXT_MAX >> 20));
        }
        let secrets = self.secrets.iter().map(|path| text!("{path} differs: secrets are not shown", path));
        let Self { files, rules, list_lines, .. } = self;
        lines.push(text!(
            "files {files}, rules {rules}, lines of lists +{added} -{removed}",
            files,
            rules,
            added = list_lines.added,
            removed = list_lines.removed
        ));
        Text::joined("", [Text::lines(secrets.collect()), Text::verbatim(shown), Text::lines(lines)])
    }
}

impl From<Files> for Kept {
    /// A directory as the history would keep it.
    fn from(mut files: Files) -> Self {
        let of_secrets = files.iter().filter(|(path, _)| is_secrets(path));
        let secrets = of_secrets.map(|(path, bytes)| (path.to_string(), hex(&bytes.sha256()))).collect();
        files.take_over(&Files::default(), is_secrets);
        Self { files, secrets }
    }
}

/// What differs between `a` and `b`, which are called so in the headers.
pub fn diff(a: (&str, &Kept), b: (&str, &Kept)) -> Diff {
    let ((a_name, a), (b_name, b)) = (a, b);
    let mut diff = Diff { files: Counts::between(&a.secrets, &b.secrets), ..Diff::default() };
    for path in a.secrets.keys().chain(b.secrets.keys()).collect::<BTreeSet<_>>() {
        if a.secrets.get(path) != b.secrets.get(path) {
            diff.secrets.push(path.clone());
        }
    }
    let paths: BTreeSet<_> = a.files.iter().chain(b.files.iter()).map(|(path, _)| path).collect();
    for path in paths {
        let (old, new) = (a.files.contents(path), b.files.contents(path));
        if old == new {
            continue;
        }
        diff.files.add(match (old, new) {
            (None, _) => Counts { added: 1, ..Counts::default() },
            (_, None) => Counts { removed: 1, ..Counts::default() },
            _ => Counts { changed: 1, ..Counts::default() },
        });
        let name = |side: &str, there: Option<&Contents>| {
            there.map_or_else(|| "/dev/null".to_owned(), |_| format!("{side}/{path}"))
        };
        let headers = (name(a_name, old), name(b_name, new));
        let sides = [old, new].map(|contents| contents.map_or(Source::Memory(&[]), Contents::source));
        if diff.push_file(path, &headers, sides).is_err() {
            diff.push(&format!("{path} differs, and changed while it was read\n"));
        }
    }
    diff
}

fn text(source: Source<'_>) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&source.whole()?).into_owned())
}

/// The rules of a file by their ids; none when it cannot be read, which the check has told.
fn rules(text: &str) -> BTreeMap<String, toml::Value> {
    let file: toml::Table = text.parse().unwrap_or_default();
    let rules = file.get("rule").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let id = |rule: &toml::Value| rule.get("id").and_then(toml::Value::as_str).map(str::to_owned);
    rules.into_iter().enumerate().map(|(n, rule)| (id(&rule).unwrap_or_else(|| format!("#{n}")), rule)).collect()
}

impl Diff {
    /// Adds what differs in one file.
    fn push_file(&mut self, path: &str, headers: &(String, String), [old, new]: [Source<'_>; 2]) -> io::Result<()> {
        let is_rules = path.ends_with(".toml");
        let is_large = !is_rules && old.len().max(new.len()) > ORDERED_BYTES_MAX;
        if is_large || path.starts_with("lists/") || path.ends_with(".rpz") {
            let [removed, added] = list_lines::between(old, new, if is_large { self.room() } else { 0 })?;
            self.list_lines.add(Counts { added: added.count, removed: removed.count, changed: 0 });
            if is_large {
                self.push_lines(headers, [&removed, &added]);
                return Ok(());
            }
        }
        let (old, new) = (text(old)?, text(new)?);
        if is_rules && path.starts_with("filters/") {
            self.rules.add(Counts::between(&rules(&old), &rules(&new)));
        }
        self.push_unified(headers, &old, &new);
        Ok(())
    }

    /// How much text there is room for, in bytes.
    fn room(&self) -> usize {
        TEXT_MAX - self.text.len()
    }

    /// Adds text, as far as there is room.
    fn push(&mut self, text: &str) {
        let room = self.room();
        self.is_cut |= text.len() > room;
        let end = (0..=room.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.text.push_str(&text[..end]);
    }

    fn push_unified(&mut self, (a, b): &(String, String), old: &str, new: &str) {
        let lines = TextDiff::configure().timeout(FILE_TIME_MAX).diff_lines(old, new);
        let text = lines.unified_diff().context_radius(CONTEXT).header(a, b).to_string();
        self.push(&text);
    }

    fn push_lines(&mut self, (a, b): &(String, String), [removed, added]: [&Lines; 2]) {
        self.push(&format!("--- {a}\n+++ {b}\n@@ unordered @@\n"));
        let signed = removed.shown.iter().map(|line| ('-', line)).chain(added.shown.iter().map(|line| ('+', line)));
        for (sign, line) in signed {
            if self.is_cut {
                break;
            }
            let mut text = String::new();
            // Writing to a string does not fail.
            let _ = writeln!(text, "{sign}{line}");
            self.push(&text);
        }
        if removed.count + added.count == 0 {
            self.push("the same lines, in another order or number, or other comments\n");
        }
        self.is_cut |= [removed, added].iter().any(|lines| lines.shown.len() < lines.count);
    }
}
