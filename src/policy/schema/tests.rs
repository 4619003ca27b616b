//! The schemas say what the readers read: every key, type, bound, choice and default, in both directions; and they take the
//! policies that weir takes.

use super::Kind;
use crate::policy::document::{Code, Faults, Files, Report, probe};
use crate::policy::{Options, load_files};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// A policy with every section of every file.
fn whole() -> Files {
    directory("tests/schema")
}

fn directory(path: &str) -> Files {
    let faults = Faults::default();
    let files =
        Files::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path), &faults).expect("part of the repository");
    // Who may read a secret is not kept in a repository.
    files.iter().map(|(path, contents)| (Arc::clone(path), contents.whole().unwrap().into_owned())).collect()
}

fn load(files: Files) -> Report {
    let nameservers = vec!["192.0.2.53:53".parse().expect("an address")];
    let surroundings = crate::policy::server::Surroundings { nameservers, ..Default::default() };
    match load_files(files, &Options { surroundings, seed: 1, ..Options::default() }) {
        Ok((_, report)) | Err(report) => report,
    }
}

/// Keys that have no default, whatever their reader is given.
const NO_DEFAULT: [&str; 3] = ["rule.min", "rule.max", "rule.rto"];

/// What a schema says of each key, by its dotted path: `pool.*.health.fall`.
fn keys(kind: Kind) -> BTreeMap<String, Map<String, Value>> {
    fn walk(node: &Value, prefix: &str, found: &mut BTreeMap<String, Map<String, Value>>) {
        let node = if node["type"] == "array" { &node["items"] } else { node };
        for (key, child) in node["properties"].as_object().into_iter().flatten() {
            let path = format!("{prefix}{key}");
            found.insert(path.clone(), child.as_object().expect("a schema is an object").clone());
            walk(child, &format!("{path}."), found);
        }
        if node["additionalProperties"].is_object() {
            walk(&node["additionalProperties"], &format!("{prefix}*."), found);
        }
    }
    let mut found = BTreeMap::new();
    walk(&kind.schema(), "", &mut found);
    found
}

/// What the readers asked for, by kind and dotted path.
fn asked() -> BTreeMap<(&'static str, String), Map<String, Value>> {
    probe::asked();
    let report = load(whole());
    // A rule by name servers acts on some answers only, which is no fault here.
    let faults: Vec<_> = report.faults.iter().filter(|fault| fault.severity == "error").collect();
    assert!(faults.is_empty(), "{}", report.human("tests/schema", false));
    let mut all: BTreeMap<_, Map<String, Value>> = BTreeMap::new();
    for ((file, path, key), fact) in probe::asked() {
        let kind = Kind::of(&file).unwrap_or_else(|| panic!("{file} is of no kind"));
        // The names of pools are the operator's.
        let path = path.replacen("pool.default", "pool.*", 1);
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        all.entry((kind.name(), path)).or_default().extend(fact);
    }
    all
}

#[test]
fn every_key_that_is_read_is_in_the_schema_and_every_key_of_the_schema_is_read() {
    let asked = asked();
    for kind in Kind::ALL {
        let of_kind = asked.iter().filter(|((name, _), _)| *name == kind.name());
        let read: BTreeSet<_> =
            of_kind.filter(|(_, fact)| !fact.contains_key("refused")).map(|((_, path), _)| path.clone()).collect();
        let said: BTreeSet<_> = keys(kind).into_keys().collect();
        let name = kind.name();
        assert_eq!(read.difference(&said).collect::<Vec<_>>(), [""; 0], "read, and not in {name}.json");
        assert_eq!(said.difference(&read).collect::<Vec<_>>(), [""; 0], "in {name}.json, and not read");
        assert!(said.len() >= 3);
    }
}

#[test]
fn types_bounds_choices_and_defaults_are_those_of_the_readers() {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut checked = 0;
    for ((kind, path), fact) in asked() {
        if fact.contains_key("refused") {
            continue;
        }
        let kind = Kind::ALL.into_iter().find(|other| other.name() == kind).expect("a kind");
        let keys = keys(kind);
        let (said, place) = (&keys[&path], format!("{path} in {}.json", kind.name()));
        let description = said["description"].as_str().unwrap_or_default();
        assert!(description.len() > 4, "{place} has no description");
        for (what, value) in &fact {
            let is_right = match what.as_str() {
                // What has bounds of its kind names them: JSON Schema cannot compare texts.
                // Read only where it is written.
                "default" if NO_DEFAULT.contains(&path.as_str()) => !said.contains_key(what),
                "bounds" => description.contains(value.as_str().unwrap_or_default()),
                "type" if said.contains_key("enum") || said.contains_key("$ref") => value == "string",
                // One, or a list of them.
                "type" if said.contains_key("anyOf") => true,
                _ => said.get(what).map(shown) == Some(shown(value)),
            };
            assert!(is_right, "{what} of {place}: the reader has {value}, the schema {:?}", said.get(what));
            checked += 1;
        }
    }
    assert!(checked > 300, "{checked}");
}

/// The whole policy with `key = value` in place of whatever its section says of the key.
fn with(kind: Kind, path: &str, value: &Value) -> Files {
    let mut files = whole();
    let (file, mut document) = document_with(&files, kind, path);
    // TOML has dates, JSON writes them as texts.
    let date = value
        .as_str()
        .and_then(|text| text.parse().ok())
        .filter(|_| path.ends_with("expires") || path.ends_with(".at"));
    let value = date.map_or_else(|| toml::Value::try_from(value).expect("TOML can say it"), toml::Value::Datetime);
    set(&mut document, path, &value);
    files.insert(&file, toml_text(&document));
    files
}

/// The file of a kind that has the key, else the first of the kind.
fn document_with(files: &Files, kind: Kind, path: &str) -> (String, toml::Table) {
    let of_kind = files.iter().filter(|(path, _)| Kind::of(path) == Some(kind));
    let mut documents = of_kind.map(|(path, bytes)| {
        let text = std::str::from_utf8(bytes.in_memory().unwrap()).expect("UTF-8");
        (path.to_string(), text.parse::<toml::Table>().expect("TOML"))
    });
    let first = documents.next().expect("a file");
    let has = |(_, document): &(String, toml::Table)| {
        let (section, key) = path.split_once('.').unwrap_or((path, ""));
        document.get(section).is_some_and(|section| section.get(key).is_some())
    };
    if has(&first) { first } else { documents.find(has).unwrap_or(first) }
}

fn set(table: &mut toml::Table, path: &str, value: &toml::Value) {
    match path.split_once('.') {
        None => drop(table.insert(path.to_owned(), value.clone())),
        Some((section, rest)) => {
            let rest = rest.strip_prefix("*.").map_or_else(|| rest.to_owned(), |rest| format!("default.{rest}"));
            let inner = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let key = rest.split('.').next().unwrap_or_default();
            match inner {
                toml::Value::Array(tables) => {
                    // The one that has the key, for it may be of no use in others.
                    let at = tables.iter().position(|table| table.get(key).is_some()).unwrap_or(0);
                    let table = tables.get_mut(at).and_then(toml::Value::as_table_mut);
                    set(table.expect("the whole policy has one"), &rest, value);
                }
                toml::Value::Table(table) => set(table, &rest, value),
                _ => panic!("{section} is a section"),
            }
        }
    }
}

/// TOML with every table inline, which needs no writer of ours to know headings.
fn toml_text(table: &toml::Table) -> String {
    fn inline(value: &toml::Value) -> String {
        match value {
            toml::Value::Table(table) => {
                let pairs: Vec<_> = table.iter().map(|(key, value)| format!("{key} = {}", inline(value))).collect();
                format!("{{ {} }}", pairs.join(", "))
            }
            toml::Value::Array(values) => format!("[{}]", values.iter().map(inline).collect::<Vec<_>>().join(", ")),
            toml::Value::String(text) => format!("{text:?}"),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            toml::Value::Datetime(time) => time.to_string(),
        }
    }
    table.iter().map(|(key, value)| format!("{key} = {}\n", inline(value))).collect()
}

#[test]
fn what_the_schema_offers_is_taken_and_its_choices_are_all_there_are() {
    let mut tried = 0;
    for kind in Kind::ALL {
        for (path, said) in keys(kind) {
            let list = |what: &str| said.get(what).and_then(Value::as_array).cloned().unwrap_or_default();
            let mut values = [list("enum"), list("examples")].concat();
            values.extend(["default", "minimum", "maximum"].iter().filter_map(|what| said.get(*what).cloned()));
            let is_section = said.contains_key("properties") || said.contains_key("additionalProperties");
            let is_sections = said.get("items").is_some_and(|items| items["type"] == "object");
            assert!(is_section || is_sections || !values.is_empty() || said["type"] == "boolean", "{path}: no example");
            for value in values {
                let report = load(with(kind, &path, &value));
                let refused =
                    [Code::Type, Code::Value, Code::Choice, Code::UnknownKey, Code::Network].map(Code::as_str);
                // Bounds may depend on another key, so a bound by itself may be refused for that.
                let wrong = report.faults.iter().find(|fault| refused.contains(&fault.code));
                assert!(wrong.is_none(), "{path} = {value} in {}.json: {}", kind.name(), report.human("", false));
                tried += 1;
            }
            if said.contains_key("enum") {
                let report = load(with(kind, &path, &"no-such-word".into()));
                let fault = report.faults.iter().find(|fault| fault.code == "E-CHOICE").expect("a choice is checked");
                let hint = fault.hint.as_deref().unwrap_or_default();
                let words: Vec<_> = hint.rsplit(": ").next().unwrap_or_default().split(", ").collect();
                let offered = list("enum");
                let offered: Vec<_> = offered.iter().filter_map(Value::as_str).collect();
                assert!(offered.iter().all(|word| words.contains(word)), "{path}: {offered:?} and {words:?}");
                assert_eq!(offered.len(), words.len(), "{path}: {offered:?} and {words:?}");
            }
        }
    }
    assert!(tried > 250, "{tried}");
}

/// What runs of a policy, as text; `None` when it is refused. Feeds and what is kept in hashed sets is left out.
fn running(files: Files) -> Option<String> {
    let (policy, _) = load_files(files, &Options { seed: 1, ..Options::default() }).ok()?;
    let crate::policy::Policy { server, access, source, rrl, cookies, storm, tcp, overload, filter, .. } = policy;
    Some(format!("{:?}", (server, access, source, rrl, cookies, storm, tcp, overload, filter.rules())))
}

/// Takes a key away.
fn unset(table: &mut toml::Table, path: &str) {
    let Some((section, rest)) = path.split_once('.') else { return drop(table.remove(path)) };
    let rest = rest.strip_prefix("*.").map_or_else(|| rest.to_owned(), |rest| format!("default.{rest}"));
    match table.get_mut(section) {
        Some(toml::Value::Table(inner)) => unset(inner, &rest),
        Some(toml::Value::Array(tables)) => {
            let inner = tables.iter_mut().filter_map(toml::Value::as_table_mut);
            inner.for_each(|inner| unset(inner, &rest));
        }
        _ => {}
    }
}

#[test]
fn a_default_that_is_a_word_is_what_a_reader_takes_without_one() {
    let mut checked = 0;
    for kind in [Kind::Gateway, Kind::Access, Kind::Limits, Kind::Filters] {
        for (path, said) in keys(kind).into_iter().filter(|(_, said)| said.contains_key("enum")) {
            // The place of a feed's key, and a zone's override, are not in what is compared.
            let Some(default) = said.get("default").filter(|_| !path.starts_with("feed") && path != "zone.override")
            else {
                continue;
            };
            let written = with(kind, &path, default);
            let (file, mut document) = document_with(&written, kind, &path);
            unset(&mut document, &path);
            let mut left_out = written.clone();
            left_out.insert(&file, toml_text(&document));
            let place = format!("{path} of {}.json", kind.name());
            let (written, left_out) = (running(written), running(left_out));
            assert!(written.is_some(), "{place}: {default} is refused");
            assert_eq!(written, left_out, "{place}: {default} is not what is taken without it");
            checked += 1;
        }
    }
    assert!(checked > 15, "{checked}");
}

/// Why a value does not fit a schema; only the words that the schemas use, and none is passed over.
fn misfits(root: &Value, schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    let fits = |schema: &Value| {
        let mut found = Vec::new();
        misfits(root, schema, value, place, &mut found);
        found.is_empty()
    };
    let mut is_right = |holds: bool, what: &str| {
        if !holds {
            found.push(format!("{place}: {what}"));
        }
    };
    let number = |limit: &Value| value.as_f64().zip(limit.as_f64());
    let listed = |list: &Value| list.as_array().cloned().unwrap_or_default();
    for (word, said) in schema.as_object().expect("a schema is an object") {
        match word.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" | "examples" | "format" => {}
            "$ref" => {
                let name = said.as_str().and_then(|said| said.strip_prefix("#/$defs/")).expect("a definition");
                is_right(root["$defs"].get(name).is_some_and(fits), word);
            }
            "type" => is_right(is_of_type(value, said.as_str().expect("one type")), word),
            "enum" => is_right(listed(said).contains(value), word),
            "const" => is_right(value == said, word),
            "minimum" => is_right(number(said).is_none_or(|(value, least)| value >= least), word),
            "maximum" => is_right(number(said).is_none_or(|(value, most)| value <= most), word),
            "minItems" => is_right(value.as_array().is_none_or(|v| v.len() as u64 >= said.as_u64().unwrap_or(0)), word),
            "maxItems" => is_right(value.as_array().is_none_or(|v| v.len() as u64 <= said.as_u64().unwrap_or(0)), word),
            "maxLength" => is_right(value.as_str().is_none_or(|v| v.len() as u64 <= said.as_u64().unwrap_or(0)), word),
            "pattern" => {
                let pattern = regex::Regex::new(said.as_str().expect("a text")).expect("a regular expression");
                is_right(value.as_str().is_none_or(|value| pattern.is_match(value)), word);
            }
            "anyOf" => is_right(listed(said).iter().any(fits), word),
            "oneOf" => is_right(listed(said).iter().filter(|one| fits(one)).count() == 1, word),
            "required" => {
                let lacks = |key: &Value| value.get(key.as_str().unwrap_or_default()).is_none();
                is_right(!value.is_object() || !listed(said).iter().any(lacks), word);
            }
            "properties" | "additionalProperties" | "items" => {}
            other => panic!("{place}: the word {other} is not known here"),
        }
    }
    for (key, child) in value.as_object().into_iter().flatten() {
        let place = format!("{place}.{key}");
        match (schema["properties"].get(key), schema.get("additionalProperties")) {
            (Some(schema), _) => misfits(root, schema, child, &place, found),
            (None, Some(Value::Bool(false))) => found.push(format!("{place}: unknown")),
            (None, Some(schema)) => misfits(root, schema, child, &place, found),
            (None, None) => {}
        }
    }
    for (index, child) in value.as_array().into_iter().flatten().enumerate() {
        if let Some(items) = schema.get("items") {
            misfits(root, items, child, &format!("{place}[{index}]"), found);
        }
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("the type {other} is not known here"),
    }
}

/// TOML as editors show it to a schema: dates are texts.
fn json_of(value: &toml::Value) -> Value {
    match value {
        toml::Value::Table(table) => table.iter().map(|(key, value)| (key.clone(), json_of(value))).collect(),
        toml::Value::Array(values) => values.iter().map(json_of).collect(),
        toml::Value::Datetime(time) => time.to_string().into(),
        other => serde_json::to_value(other).expect("JSON has such values"),
    }
}

/// What is wrong with the files of a directory by their schemas.
fn checked(files: &Files) -> Vec<String> {
    let mut found = Vec::new();
    for (path, _) in files.iter() {
        let Some(kind) = Kind::of(path) else { continue };
        let Ok(document) = std::str::from_utf8(files.bytes(path).unwrap()).unwrap_or_default().parse::<toml::Table>()
        else {
            continue;
        };
        let value = json_of(&toml::Value::Table(document));
        let schema = kind.schema();
        misfits(&schema, &schema, &value, path, &mut found);
    }
    found
}

#[test]
fn the_schemas_take_what_weir_takes_and_refuse_what_it_refuses() {
    for sound in ["policies", "tests/schema"] {
        assert_eq!(checked(&directory(sound)), [""; 0], "{sound}");
    }
    let found = checked(&directory("tests/faults/each-kind"));
    for part in [
        "gateway.toml.profil: unknown",
        "gateway.toml.workers: type",
        "gateway.toml.upstream[0].weight: maximum",
        "gateway.toml.cache.size: $ref",
        "limits.toml.rrl.mode: enum",
        "limits.toml.rrl.responses: type",
        "access.toml.transfer.alow: unknown",
        "modes/under-attack.toml.source.burts: unknown",
        "filters/10-video.toml.rule[1].action: enum",
    ] {
        assert!(found.iter().any(|line| line == part), "{part:?} is not among {found:#?}");
    }
}
