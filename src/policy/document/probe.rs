//! For unit tests of whoever reads a section: a text in, the value and the faults out.

use super::toml_file::{TomlFile, TomlText};
use super::{Context, Faults, Files, Report, Table};
use crate::policy::clients::Groups;
use crate::policy::feeds::{Copies, Feeds};
use crate::policy::schedules::Schedules;
use crate::policy::server::{Server, Surroundings};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Reads `text` as a file `t.toml` with `read`; returns what it made and the faults as `line:column CODE`.
pub(crate) fn read<T>(text: &str, read: impl FnOnce(&Table<'_>) -> T) -> (T, Vec<String>) {
    let files: Files = [("t.toml", text)].into_iter().collect();
    let faults = Faults::default();
    let value = {
        let text = TomlText::of(&files, "t.toml", &faults).expect("the file was just put there");
        let file = TomlFile::parse(&text, &faults);
        let table = file.root(&faults);
        read(&table)
    };
    let report = Report::new(faults, &files);
    let lines = report.faults.iter().map(|fault| format!("{}:{} {}", fault.line, fault.column, fault.code));
    (value, lines.collect())
}

/// As [`read`], for who needs what else is in force at a moment: `clients` in the text, and gateway.toml as it was read.
pub(crate) fn read_within<T>(
    server: &Server,
    unix_ms: u64,
    text: &str,
    read_one: impl FnOnce(&Table<'_>, &Context<'_>) -> T,
) -> (T, Vec<String>) {
    read(text, |t| {
        let clients = t.table("clients");
        let (groups, schedules) = (Groups::read(&clients), Schedules::read(&clients));
        let (files, feeds, copies) = (Files::default(), Feeds::default(), Copies::default());
        let faults = t.faults();
        let context = Context {
            server,
            groups: &groups,
            files: &files,
            feeds: &feeds,
            copies: &copies,
            schedules: &schedules,
            faults,
            unix_ms,
        };
        read_one(t, &context)
    })
}

/// What the readers asked for: by file, dotted path of the table, and key.
pub(crate) type Asked = BTreeMap<(String, String, &'static str), serde_json::Map<String, serde_json::Value>>;

thread_local! {
    static ASKED: RefCell<(String, Asked)> = RefCell::default();
}

/// Takes what was asked for on this thread since it was taken last.
pub(crate) fn asked() -> Asked {
    ASKED.take().1
}

/// Notes what is asked for. A section that nobody wrote has no file: it belongs to the file that was read last.
pub(super) fn record(file: Option<&str>, path: &str, key: &'static str, fact: serde_json::Value) {
    let serde_json::Value::Object(fact) = fact else { return };
    ASKED.with_borrow_mut(|(last, asked)| {
        if let Some(file) = file {
            file.clone_into(last);
        }
        asked.entry((last.clone(), path.to_owned(), key)).or_default().extend(fact);
    });
}

/// gateway.toml of this text, for a [`super::Context`].
pub(crate) fn server(text: &str) -> Server {
    read(text, |t| Server::read(t, &Surroundings::default())).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Mode;
    use crate::policy::clients::Groups;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn values_are_read_and_what_is_absent_is_the_default() {
        let text = "[a]\nrate = 7\nidle = \"3s\"\nsize = \"2KiB\"\nmode = \"monitor\"\non = true\nexempt = [\"10.0.0.0/8\", \"!10.1.0.1\"]\n";
        let ((), faults) = read(text, |t| {
            let a = t.table("a");
            assert_eq!(a.number("rate", 1..=10_u32, 1), 7);
            assert_eq!(a.number("burst", 1..=10_u32, 5), 5);
            assert_eq!(a.duration("idle", SECOND..=SECOND * 9, SECOND), SECOND * 3);
            assert_eq!(a.size("size", 0..=4096, 0), 2048);
            assert_eq!(a.mode(Mode::Enforce), Mode::Monitor);
            assert!(a.flag("on", false));
            let exempt = a.networks("exempt", &Groups::default());
            assert!(exempt.contains([10, 1, 0, 2].into()) && !exempt.contains([10, 1, 0, 1].into()));
            let nobody_wrote_it = t.table("b");
            assert_eq!(nobody_wrote_it.number("rate", 1..=10_u32, 4), 4);
            assert!(!nobody_wrote_it.is_present());
        });
        assert_eq!(faults, [""; 0]);
    }

    #[test]
    fn everything_wrong_is_reported_in_one_run() {
        let text = "[a]\nrate = 11\nidle = 3\nsize = \"2MB\"\nmode = \"enforced\"\non = \"yes\"\nratte = 1\nexempt = [\"10.0.0.1/8\", \"!x\", 5, \"@no\", \"::1\", \"::1\"]\n[c]\n";
        let ((), faults) = read(text, |t| {
            let a = t.table("a");
            a.number("rate", 1..=10_u32, 1);
            a.duration("idle", SECOND..=SECOND * 9, SECOND);
            a.size("size", 0..=4096, 0);
            a.mode(Mode::Enforce);
            a.flag("on", false);
            a.networks("exempt", &Groups::default());
        });
        let expected = [
            "2:8 E-RANGE",
            "3:8 E-TYPE",
            "4:8 E-VALUE",
            "5:8 E-CHOICE",
            "6:6 E-TYPE",
            "7:1 E-UNKNOWN-KEY",
            "8:11 E-NETWORK",
            "8:25 E-NETWORK",
            "8:31 E-TYPE",
            "8:34 E-UNKNOWN-GROUP",
            "8:48 E-DUPLICATE",
            "9:2 E-UNKNOWN-KEY",
        ];
        assert_eq!(faults, expected);
    }

    #[test]
    fn syntax_errors_are_all_found_and_each_line_is_named_once() {
        let ((), faults) = read("rate = \nx = [1\n\"y\" = 3 4\nburst = true\n", |t| {
            t.number("rate", 1..=10_u32, 1);
            t.number("burst", 1..=10_u32, 1);
            t.list("x");
        });
        // The array that is never closed swallows the lines below it; each is named once.
        assert_eq!(faults, ["1:8 E-SYNTAX", "2:6 E-TYPE", "3:1 E-SYNTAX", "4:1 E-SYNTAX"]);
    }

    #[test]
    fn other_faults_show_up_beside_a_syntax_error() {
        let ((), faults) = read("a = 1 2\n[limits]\nrate = 11\n[[x]\n", |t| {
            t.table("limits").number("rate", 1..=10_u32, 1);
            t.number("a", 1..=10_u32, 1);
        });
        assert_eq!(faults, ["1:5 E-SYNTAX", "3:8 E-RANGE", "4:5 E-SYNTAX"]);
    }

    #[test]
    fn an_overlay_wins_and_both_layers_are_checked() {
        let ((), faults) = read("[over]\nrate = 2\nx = 1\n[under]\nrate = 3\nburst = 4\ny = 1\n", |t| {
            let both = t.table("over").over(&t.table("under"));
            assert_eq!(both.number("rate", 1..=10_u32, 1), 2);
            assert_eq!(both.number("burst", 1..=10_u32, 1), 4);
        });
        assert_eq!(faults, ["3:1 E-UNKNOWN-KEY", "7:1 E-UNKNOWN-KEY"]);
    }

    #[test]
    fn a_misspelt_word_finds_its_neighbour() {
        use crate::policy::document::nearest;
        let words = ["address", "name", "pool", "weight"];
        assert_eq!(nearest("adress", words), Some("address"));
        assert_eq!(nearest("wieght", words), Some("weight"));
        assert_eq!(nearest("Pool", words), Some("pool"));
        assert_eq!(nearest("colour", words), None);
        assert_eq!(nearest("", words), None);
    }
}
