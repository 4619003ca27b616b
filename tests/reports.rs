//! The report of faults as it is shown: grouped for people in both languages, whole for programs, and as SARIF 2.1.0.

use serde_json::Value;
use std::path::Path;
use weir::language::Lang;
use weir::policy::document::{Code, Files, Report};
use weir::policy::server::Surroundings;
use weir::policy::{Options, load, load_files};

fn options() -> Options {
    let nameservers = vec!["192.0.2.53:53".parse().expect("an address")];
    Options { surroundings: Surroundings { nameservers, ..Surroundings::default() }, seed: 1, ..Options::default() }
}

fn of_files(files: &[(&str, &str)]) -> Report {
    let files: Files = files.iter().copied().collect();
    match load_files(files, &options()) {
        Ok((_, report)) | Err(report) => report,
    }
}

/// A directory of tests/faults/.
fn of_case(name: &str) -> Report {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults").join(name);
    match load(&dir, &options()) {
        Ok((_, report)) | Err(report) => report,
    }
}

const GATEWAY: (&str, &str) = ("gateway.toml", "listen = [\"127.0.0.1:5353\"]\n");

#[test]
fn what_is_alike_is_grouped_for_people_and_whole_for_programs() {
    let names: String = (0..20).map(|n| format!("    \"bad name {n}\",\n")).collect();
    let filter = format!("[[rule]]\nid = \"x\"\naction = \"nodata\"\nnames = [\n{names}]\n");
    let report =
        of_files(&[GATEWAY, ("filters/10-x.toml", &filter), ("limits.toml", "[source]\nrate = 0\nslip = -1\n")]);
    assert_eq!(report.errors(), 22);
    let human = report.human("policies", false);
    for shown in
        ["\"bad name 0\"", "\"bad name 1\"", "\"bad name 2\"", "= note: and 17 more of this kind, in lines 8-24"]
    {
        assert!(human.contains(shown), "{shown:?} is not in\n{human}");
    }
    assert!(!human.contains("bad name 3"), "{human}");
    // Two of a kind, and those of another file, are shown one by one.
    assert!(human.contains("source.rate must be") && human.contains("source.slip must be"), "{human}");
    assert!(human.ends_with("22 errors, 0 warnings\n"), "{human}");
    assert_eq!(report.json().lines().count(), 22);
    let sarif: Value = serde_json::from_str(&report.sarif("policies")).expect("JSON");
    assert_eq!(sarif["runs"][0]["results"].as_array().map(Vec::len), Some(22));

    // One more than are shown is shown too.
    let names: String = (0..4).map(|n| format!("    \"bad name {n}\",\n")).collect();
    let filter = format!("[[rule]]\nid = \"x\"\naction = \"nodata\"\nnames = [\n{names}]\n");
    let human = of_files(&[GATEWAY, ("filters/10-x.toml", &filter)]).human("policies", false);
    assert!(human.contains("bad name 3") && !human.contains("more of this kind"), "{human}");
}

#[test]
fn a_person_reads_the_whole_report_in_chinese() {
    let report = of_files(&[("gateway.toml", "listen = [\"127.0.0.1:5353\"]\nprofil = \"recursive\"\n")]);
    assert_eq!(
        report.human("policies", false),
        "error[E-UNKNOWN-KEY]: unknown key \"profil\"\n \
         --> policies/gateway.toml:2:1\n  \
         |\n\
         2 | profil = \"recursive\"\n  \
         | ^^^^^^\n  \
         |\n  \
         = help: did you mean \"profile\"?\n\n\
         1 error, 0 warnings\n"
    );
    assert_eq!(
        report.in_language(Lang::Zh).human("policies", false),
        "错误[E-UNKNOWN-KEY]: 未知的键 \"profil\"\n \
         --> policies/gateway.toml:2:1\n  \
         |\n\
         2 | profil = \"recursive\"\n  \
         | ^^^^^^\n  \
         |\n  \
         = 建议: 是不是想写 \"profile\"？\n\n\
         1 个错误，0 个警告\n"
    );
}

#[test]
fn codes_and_places_are_the_same_in_every_language() {
    let english = of_case("each-kind");
    let chinese = english.clone().in_language(Lang::Zh);
    assert!(english.faults.len() > 40);
    for (en, zh) in english.faults.iter().zip(&chinese.faults) {
        assert_eq!((en.code, &en.file, en.line, en.column), (zh.code, &zh.file, zh.line, zh.column));
        assert!(en.message.is_ascii() && !zh.message.is_ascii(), "{en} and {zh}");
        assert_eq!(en.hint.is_some(), zh.hint.is_some());
    }
    let json: Value = serde_json::from_str(chinese.json().lines().next().expect("a line")).expect("JSON");
    assert_eq!(json["code"], chinese.faults[0].code);
    assert_eq!(json["message"], chinese.faults[0].message.as_str());
    assert!(json["end_line"].is_u64() && json["end_column"].is_u64());
}

/// What the JSON schema of SARIF 2.1.0 requires of what is written here.
fn hold_to_sarif(log: &Value) {
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().is_some_and(|schema| schema.contains("sarif") && schema.contains("2.1.0")));
    let runs = log["runs"].as_array().expect("runs is required");
    assert_eq!(runs.len(), 1);
    let run = &runs[0];
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "weir");
    assert_eq!(driver["semanticVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(run["columnKind"], "utf16CodeUnits");
    assert!(
        run["invocations"].as_array().is_some_and(|all| all.iter().all(|one| one["executionSuccessful"].is_boolean()))
    );
    let rules = driver["rules"].as_array().expect("rules");
    let ids: Vec<_> = rules.iter().map(|rule| rule["id"].as_str().expect("id is required")).collect();
    assert_eq!(ids, Code::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>());
    for rule in rules {
        assert!(rule["shortDescription"]["text"].as_str().is_some_and(|text| text.len() > 8), "{rule}");
        assert!(rule["help"]["text"].as_str().is_some_and(|text| text.len() > 8), "{rule}");
        assert!(["error", "warning"].map(Value::from).contains(&rule["defaultConfiguration"]["level"]), "{rule}");
    }
    for result in run["results"].as_array().expect("results") {
        assert!(
            result["message"]["text"].as_str().is_some_and(|text| !text.is_empty()),
            "message is required: {result}"
        );
        let index = result["ruleIndex"].as_u64().expect("an index") as usize;
        assert_eq!(result["ruleId"], ids[index]);
        assert_eq!(result["level"], rules[index]["defaultConfiguration"]["level"]);
        let locations = result["locations"].as_array().expect("locations");
        assert_eq!(locations.len(), 1);
        let physical = &locations[0]["physicalLocation"];
        let uri = physical["artifactLocation"]["uri"].as_str().expect("a place has a URI");
        assert!(!uri.is_empty() && uri.bytes().all(|byte| byte.is_ascii_graphic()), "{uri}");
        if let Some(region) = physical.get("region") {
            let number = |name: &str| region[name].as_u64().unwrap_or_else(|| panic!("{name} of {region}"));
            let (start, end) = ((number("startLine"), number("startColumn")), (number("endLine"), number("endColumn")));
            assert!(start.0 >= 1 && start.1 >= 1 && end >= start, "{region}");
        }
        assert!(result["partialFingerprints"].as_object().is_some_and(|prints| prints.values().all(Value::is_string)));
    }
}

#[test]
fn sarif_has_rules_levels_and_regions() {
    for case in ["each-kind", "list-problems", "directories", "missing-gateway", "utf8", "syntax", "settings"] {
        let report = of_case(case);
        for lang in Lang::ALL {
            let text = report.clone().in_language(lang).sarif("policies");
            let log: Value = serde_json::from_str(&text).expect("JSON");
            hold_to_sarif(&log);
            assert_eq!(log["runs"][0]["results"].as_array().map(Vec::len), Some(report.faults.len()), "{case}");
            assert_eq!(log["runs"][0]["language"], lang.tag());
        }
    }
}

#[test]
fn sarif_places_count_utf16_and_do_not_depend_on_the_language() {
    // 𝄞 is two code units, ü one; both are one character.
    let filter =
        "[[rule]]\nid = \"x\"\naction = \"nodata\"\nnames = [\"a.example\", \"\u{1d11e}\u{fc}.example\", \"b c\"]\n";
    let report = of_files(&[GATEWAY, ("filters/10-x.toml", filter)]);
    let log = |report: &Report| -> Value { serde_json::from_str(&report.sarif("my policies")).expect("JSON") };
    let english = log(&report);
    let results = english["runs"][0]["results"].as_array().expect("results").clone();
    let region = |n: usize| results[n]["locations"][0]["physicalLocation"]["region"].clone();
    let columns = |n: usize| (region(n)["startColumn"].as_u64(), region(n)["endColumn"].as_u64());
    assert_eq!((report.faults[1].line, report.faults[1].column, report.faults[1].end_column), (4, 37, 42));
    assert_eq!(columns(0), (Some(23), Some(36)), "\"{}\"", "𝄞ü.example");
    assert_eq!(columns(1), (Some(38), Some(43)));
    let artifact = &results[0]["locations"][0]["physicalLocation"]["artifactLocation"];
    assert_eq!(artifact["uri"], "my%20policies/filters/10-x.toml");
    assert_eq!(artifact["uriBaseId"], "%SRCROOT%");
    let absolute: Value = serde_json::from_str(&report.sarif("/etc/weir")).expect("JSON");
    let artifact = &absolute["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"];
    assert_eq!(artifact["uri"], "file:///etc/weir/filters/10-x.toml");

    let chinese = log(&report.in_language(Lang::Zh));
    for (en, zh) in results.iter().zip(chinese["runs"][0]["results"].as_array().expect("results")) {
        assert_eq!((&en["ruleId"], &en["locations"]), (&zh["ruleId"], &zh["locations"]));
        assert_eq!(en["partialFingerprints"], zh["partialFingerprints"]);
        assert_ne!(en["message"], zh["message"]);
    }
}
