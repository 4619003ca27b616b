//! Whole directories, in memory and on disk: what they become, and what is said of bad ones.

use super::*;
use crate::dns::name::Name;
use crate::dns::rtype;
use crate::language::{Lang, Told as _};
use crate::policy::Mode;
use crate::policy::document::files::FILES_MAX;
use crate::policy::explain::{Answer, Subject, explain};
use crate::policy::filter::Table;
use std::net::IpAddr;

fn options() -> Options {
    let nameservers = vec!["192.0.2.53:53".parse().unwrap()];
    Options { surroundings: Surroundings { nameservers, ..Surroundings::default() }, seed: 7, ..Options::default() }
}

fn load(files: &[(&str, &str)]) -> Result<(Policy, Report), Report> {
    load_files(files.iter().copied().collect(), &options())
}

fn policy(files: &[(&str, &str)]) -> Policy {
    load(files).unwrap_or_else(|report| panic!("{}", report.human("", false))).0
}

/// `file:line:column CODE` of each fault.
fn faults(files: &[(&str, &str)]) -> Vec<String> {
    let report = load(files).map_or_else(|report| report, |(_, report)| report);
    let places = report.faults.iter().map(|f| format!("{}:{}:{} {}", f.file, f.line, f.column, f.code));
    places.collect()
}

const EXAMPLE: &[(&str, &str)] = &[
    (
        "gateway.toml",
        "schema = 1\n[[upstream]]\naddress = \"192.0.2.1\"\n[[upstream]]\naddress = \"192.0.2.2\"\npool = \"corp\"\n[[route]]\nzone = \"corp.example\"\npool = \"corp\"\n",
    ),
    ("clients.toml", "[[group]]\nname = \"branches\"\nnetworks = [\"10.0.0.0/8\"]\n"),
    (
        "access.toml",
        "allow = [\"@branches\", \"127.0.0.0/8\"]\n[[question]]\nqtypes = [\"ANY\"]\naction = \"truncate\"\n",
    ),
    ("limits.toml", "[source]\nrate = 100\nburst = 200\n"),
    (
        "filters/10-video.toml",
        "[zone]\ntitle = \"video\"\n[[rule]]\nid = \"storm-player\"\nnames = [\"baofeng.com\"]\naction = \"nxdomain\"\n\
         [[rule]]\nid = \"noise\"\nlist = \"lists/noise.txt\"\naction = \"refused\"\nmode = \"monitor\"\n",
    ),
    ("lists/noise.txt", "noise.example\n"),
    ("modes/under-attack.toml", "title = \"Under attack\"\nmax_duration = \"2h\"\n[source]\nrate = 50\n"),
    (
        "tests/video.toml",
        "[[expect]]\nquery = \"update.baofeng.com A\"\nclient = \"10.1.2.3\"\naction = \"nxdomain\"\nrule = \"storm-player\"\n\
         [[expect]]\nquery = \"www.example.com AAAA\"\nclient = \"10.1.2.3\"\ntransport = \"tcp\"\naction = \"forward\"\n\
         [[expect]]\nquery = \"www.example.com A\"\nclient = \"192.0.2.9\"\naction = \"refused\"\n",
    ),
];

#[test]
fn more_names_than_a_table_holds_are_a_fault_as_weir_check_shows_it() {
    let names: String = (0..100).map(|n| format!("name-{n}.example\n")).collect();
    let files = [&EXAMPLE[..EXAMPLE.len() - 1], &[("lists/noise.txt", &*names)]].concat();
    // 100 names of 14 to 16 bytes in wire form, with their heads and values.
    assert!(Table::with_at_most(3_000, || load(&files)).is_ok());
    let report = Table::with_at_most(1_000, || load(&files)).unwrap_err();
    assert_eq!(
        report.human("policies", false),
        "error[E-TOO-MANY]: names take more than 4 GiB in all\n--> policies/filters:1:1\n = help: take out lists\n\n1 error, \
         0 warnings\n"
    );
    let zh = report.in_language(Lang::Zh);
    assert_eq!((zh.faults.len(), zh.faults[0].message.as_str()), (1, "全部域名占用超过 4 GiB"));
}

#[test]
fn a_whole_directory_becomes_a_policy() {
    let policy = policy(EXAMPLE);
    assert_eq!(policy.server.upstreams.len(), 2);
    assert_eq!((policy.source.rate, policy.source.burst, policy.source.mode), (100, 200, Mode::Enforce));
    assert_eq!(policy.filter.rules().len(), 2);
    assert_eq!(policy.modes.len(), 1);
    let mode = &policy.modes[0];
    assert_eq!(
        (mode.name.as_str(), mode.title.as_str(), mode.max_duration.as_secs()),
        ("under-attack", "Under attack", 7_200)
    );
}

#[test]
fn a_gateway_nobody_wrote_a_policy_for_is_safe() {
    let (policy, report) = default_policy(&options()).unwrap();
    assert_eq!((report.errors(), report.warnings()), (0, 0));
    assert_eq!(policy.server.upstreams.len(), 1);
    assert!(policy.server.listen.iter().all(|address| address.ip().is_loopback() && address.port() == 1053));
    assert!(policy.access.admits([127, 0, 0, 1].into()) && !policy.access.admits([8, 8, 8, 8].into()));
    assert!(default_policy(&Options::default()).is_err(), "nobody to ask");
}

#[test]
fn profiles_differ_in_their_defaults() {
    let recursive = policy(&[("gateway.toml", "profile = \"recursive\"")]);
    let authoritative = policy(&[("gateway.toml", "profile = \"authoritative\"")]);
    assert_eq!((recursive.source.rate, recursive.rrl.mode), (200, Mode::Monitor));
    assert_eq!((authoritative.source.rate, authoritative.rrl.mode), (50, Mode::Enforce));
}

#[test]
fn the_id_is_that_of_the_contents() {
    let id = |files: &[(&str, &str)]| policy(files).id;
    assert_eq!(id(EXAMPLE), id(EXAMPLE));
    let mut changed = EXAMPLE.to_vec();
    changed[5].1 = "noise.example\nmore.example\n";
    assert_ne!(id(EXAMPLE), id(&changed));
    let mut moved = EXAMPLE.to_vec();
    moved[4].0 = "filters/11-video.toml";
    assert_ne!(id(EXAMPLE), id(&moved));
    let mut stranger = EXAMPLE.to_vec();
    stranger.push(("notes.txt", "not part of the policy"));
    assert_eq!(id(EXAMPLE), id(&stranger));
}

#[test]
fn files_that_belong_to_nothing_are_warnings() {
    let strangers =
        [("gateway.toml", ""), ("acess.toml", ""), ("filters/a/b.toml", ""), ("modes/x.txt", ""), ("lists/a/b", "")];
    let expected =
        ["acess.toml:1:1 W-UNKNOWN-FILE", "filters/a/b.toml:1:1 W-UNKNOWN-FILE", "modes/x.txt:1:1 W-UNKNOWN-FILE"];
    assert_eq!(faults(&strangers), expected);
    assert!(load(&strangers).is_ok());
}

#[test]
fn a_mode_is_checked_over_limits_toml_before_it_is_needed() {
    let files = [
        ("gateway.toml", ""),
        ("limits.toml", "[tcp]\nconnections = 10\nper_client = 5\n"),
        ("modes/normal.toml", ""),
        (
            "modes/a.toml",
            "max_duration = \"31d\"\n[tcp]\nper_client = 11\n[source]\nrat = 1\n[cookies]\nrequire = true\n[storm]\nzone_inflight = 0.01\n[access]\n",
        ),
        ("modes/b.toml", "auto = { when = \"weather > 3\" }\n[rrl]\nmemory = \"32MiB\"\n"),
    ];
    let expected = [
        "modes/a.toml:1:16 E-RANGE",
        "modes/a.toml:3:14 E-CONFLICT",
        "modes/a.toml:5:1 E-UNKNOWN-KEY",
        "modes/a.toml:10:1 E-UNKNOWN-KEY",
        "modes/b.toml:1:1 E-CONFLICT",
        "modes/b.toml:1:17 E-VALUE",
        "modes/normal.toml:1:1 E-VALUE",
    ];
    assert_eq!(faults(&files), expected);
}

#[test]
fn an_expectation_that_does_not_hold_refuses_the_policy() {
    let mut files = EXAMPLE.to_vec();
    let last = files.len() - 1;
    files[last].1 = "[[expect]]\nquery = \"baofeng.com A\"\nclient = \"10.1.2.3\"\naction = \"forward\"\n\
        [[expect]]\nquery = \"baofeng.com A\"\nclient = \"10.1.2.3\"\naction = \"nxdomain\"\nrule = \"other\"\n\
        [[expect]]\nquery = \"noise.example A\"\nclient = \"10.1.2.3\"\naction = \"allow\"\n\
        [[expect]]\nquery = \"noise.example A\"\nclient = \"10.1.2.3\"\naction = \"forward\"\n";
    let expected =
        ["tests/video.toml:4:10 E-EXPECT", "tests/video.toml:9:8 E-EXPECT", "tests/video.toml:13:10 E-EXPECT"];
    assert_eq!(faults(&files), expected);
    files[last].1 = "[[expect]]\nquery = \"baofeng.com\"\nclient = \"10.1.2.0/24\"\naction = \"block\"\nat = \"09:00\"\n[[expect]]\n";
    let expected = [
        "tests/video.toml:2:9 E-VALUE",
        "tests/video.toml:3:10 E-ADDRESS",
        "tests/video.toml:4:10 E-CHOICE",
        "tests/video.toml:5:6 E-TYPE",
        "tests/video.toml:6:1 E-MISSING-KEY",
        "tests/video.toml:6:1 E-MISSING-KEY",
        "tests/video.toml:6:1 E-MISSING-KEY",
    ];
    assert_eq!(faults(&files), expected);
}

#[test]
fn an_explanation_names_every_rule_in_order() {
    let policy = policy(EXAMPLE);
    let ask = |client: &str, name: &str, qtype: u16, tcp: bool| {
        let client: IpAddr = client.parse().unwrap();
        explain(&policy, &Subject { tcp, ..Subject::new(client, Name::from_text(name).unwrap(), qtype) })
    };
    let blocked = ask("10.1.2.3", "update.baofeng.com", rtype::A, false);
    assert_eq!(
        (blocked.answer, blocked.reason, blocked.rule.as_deref()),
        (Answer::Nxdomain, "filter", Some("storm-player"))
    );
    assert_eq!(blocked.zone.as_deref(), Some("video"));
    let steps: Vec<_> = blocked.steps.iter().map(|step| (step.policy, step.rule.as_str(), step.decides)).collect();
    assert_eq!(
        steps,
        [("access", "", false), ("question", "1", false), ("source", "", false), ("filter", "storm-player", true)]
    );
    let text = blocked.text().english();
    assert!(text.starts_with("update.baofeng.com A for 10.1.2.3 over udp, in @branches\n"), "{text}");
    assert!(text.ends_with("= nxdomain, by rule \"storm-player\""), "{text}");
    let json = serde_json::to_value(&blocked).unwrap();
    assert_eq!((json["answer"].as_str(), json["rule"].as_str()), (Some("nxdomain"), Some("storm-player")));

    let watched = ask("10.1.2.3", "noise.example", rtype::A, false);
    assert_eq!((watched.answer, watched.monitored.as_deref()), (Answer::Forward, Some("noise")));
    assert_eq!(watched.pool.as_deref(), Some("default"));
    assert_eq!(ask("10.1.2.3", "a.corp.example", rtype::A, false).pool.as_deref(), Some("corp"));
    assert_eq!(ask("192.0.2.9", "a.example", rtype::A, false).sentence(), "refused, by access");
    assert_eq!(ask("10.1.2.3", "a.example", rtype::ANY, false).answer, Answer::Truncate);
    assert_eq!(ask("10.1.2.3", "a.example", rtype::ANY, true).answer, Answer::Forward);
    assert_eq!(ask("10.1.2.3", "a.example", rtype::AXFR, true).sentence(), "refused, by transfer");
}

#[test]
fn an_expectation_may_say_what_the_answer_would_be() {
    let zone = "[[rule]]\nid = \"net\"\nresponse_ip = [\"198.51.100.0/24\"]\naction = \"nodata\"\n\
        [[rule]]\nid = \"guard\"\nnames = [\"portal.example\"]\naction = \"expect\"\nanswers = [\"203.0.113.0/24\"]\n";
    let late = "[[rule]]\nid = \"bad\"\nnames = [\"bad.example\"]\naction = \"nxdomain\"\n";
    let limits = "[rebinding]\nmode = \"enforce\"\n";
    let expect = |query: &str, answer: &str, action: &str, rule: &str| {
        let rule = if rule.is_empty() { String::new() } else { format!("rule = \"{rule}\"\n") };
        format!(
            "[[expect]]\nquery = \"{query}\"\nclient = \"10.1.2.3\"\nanswer = [{answer}]\naction = \"{action}\"\n{rule}"
        )
    };
    let tests = [
        expect("a.example A", "\"A 198.51.100.1\"", "nodata", "net"),
        expect("a.example A", "\"CNAME bad.example.\", \"A 192.0.2.1\"", "nxdomain", "bad"),
        expect("a.example A", "\"A 192.0.2.1\"", "forward", ""),
        expect("bad.example A", "\"A 198.51.100.1\"", "nodata", "net"),
        expect("bad.example A", "\"A 192.0.2.1\"", "nxdomain", "bad"),
        expect("portal.example A", "\"A 192.0.2.1\"", "servfail", "guard"),
        expect("portal.example A", "\"A 203.0.113.1\"", "forward", ""),
        expect("a.example A", "\"A 10.0.0.1\"", "nodata", ""),
        "[[expect]]\nquery = \"bad.example A\"\nclient = \"10.1.2.3\"\naction = \"nxdomain\"\nrule = \"bad\"\n"
            .to_owned(),
    ];
    let mut files = vec![
        ("gateway.toml", "[[upstream]]\naddress = \"192.0.2.1\"\n"),
        ("limits.toml", limits),
        ("filters/10-a.toml", zone),
        ("filters/20-b.toml", late),
    ];
    let all = tests.concat();
    files.push(("tests/t.toml", &all));
    assert_eq!(faults(&files), [""; 0]);
    let policy = policy(&files);
    let subject = Subject::new([10, 1, 2, 3].into(), Name::from_text("bad.example").unwrap(), rtype::A);
    let explanation = explain(&policy, &subject);
    assert!(explanation.waits && explanation.pool.is_some());
    let text = explanation.text().english();
    assert!(text.contains("nodata, by response_ip, but depends on the answer"), "{text}");
    assert!(text.contains("unless the answer sets off an earlier one"), "{text}");
    let wrong = expect("a.example A", "\"A 1.2.3\"", "forward", "");
    let at = files.len() - 1;
    files[at].1 = &wrong;
    assert_eq!(faults(&files), ["tests/t.toml:4:11 E-VALUE"]);
}

#[test]
fn a_directory_on_disk_is_read_whole_and_never_left() {
    let root = std::env::temp_dir().join(format!("weir-load-{}", std::process::id()));
    let dir = root.join("policies");
    std::fs::create_dir_all(dir.join("filters")).unwrap();
    std::fs::create_dir_all(dir.join("lists")).unwrap();
    std::fs::write(root.join("outside.txt"), "example.org\n").unwrap();
    std::fs::write(dir.join("gateway.toml"), "schema = 1\n").unwrap();
    std::fs::write(dir.join("real.toml~"), "= broken backup").unwrap();
    std::fs::write(dir.join(".hidden.toml"), "= broken").unwrap();
    std::fs::write(dir.join("README.md"), "what this is").unwrap();
    assert!(super::load(&dir, &options()).is_ok_and(|(_, report)| report.faults.is_empty()));
    std::os::unix::fs::symlink(root.join("outside.txt"), dir.join("lists/out.txt")).unwrap();
    std::os::unix::fs::symlink(dir.join("gateway.toml"), dir.join("lists/in.txt")).unwrap();
    std::os::unix::fs::symlink(&dir, dir.join("lists/loop")).unwrap();
    let rule = "[[rule]]\nid = \"a\"\nlist = \"../outside.txt\"\naction = \"drop\"\n";
    std::fs::write(dir.join("filters/00-a.toml"), rule).unwrap();
    let report = super::load(&dir, &options()).unwrap_err();
    let found: Vec<_> = report.faults.iter().map(|f| (f.file.as_str(), f.code)).collect();
    std::fs::remove_dir_all(&root).unwrap();
    assert!(found.contains(&("lists/out.txt", "E-PATH")), "{found:?}");
    assert!(found.contains(&("filters/00-a.toml", "E-PATH")), "{found:?}");
    assert!(found.contains(&("lists/loop", "E-PATH")), "{found:?}");
    assert!(!found.iter().any(|(file, _)| *file == "lists/in.txt"), "{found:?}");
    let gone = super::load(&dir, &options()).unwrap_err();
    assert_eq!(gone.faults[0].code, "E-IO");
    assert!(gone.faults[0].message.contains("policies"), "{}", gone.faults[0].message);
}

/// A list of three pieces of what is read at once, with bad lines in the first, the second and the last.
fn large_list() -> String {
    let mut list = "a.example\nb ad.example\n".to_owned();
    for n in 0..160_000 {
        list.push_str(&if n == 90_000 { "b..ad.example\n".to_owned() } else { format!("name{n}.example\n") });
    }
    list + "  *.b*d.example"
}

/// A policy with one large file, loaded from the disk and from memory: lines, columns and excerpts of what is said of it,
/// which is the same.
fn told_of_large(large: &str, files: &[(&str, &str)]) -> Vec<(usize, usize, String)> {
    let gateway = ("gateway.toml", "schema = 1\n[[upstream]]\naddress = \"192.0.2.1\"\n");
    let files: Vec<_> = files.iter().copied().chain([gateway]).collect();
    let name = large.replace('/', "-");
    let dir = std::env::temp_dir().join(format!("weir-load-large-{}-{name}", std::process::id()));
    for (path, text) in &files {
        std::fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
        std::fs::write(dir.join(path), text).unwrap();
    }
    let there = super::load(&dir, &options()).unwrap_or_else(|report| panic!("{}", report.human("", false)));
    let stays = read_directory(&dir).unwrap().0.contents(large).unwrap().in_memory().is_none();
    std::fs::remove_dir_all(&dir).unwrap();
    let here = load(&files).unwrap();
    assert!(stays);
    assert_eq!(there.0.id, here.0.id);
    assert_eq!(there.0.filter.names(), here.0.filter.names());
    assert_eq!(there.1.human("", false), here.1.human("", false));
    here.1.faults.iter().map(|fault| (fault.line, fault.column, fault.excerpt.to_string())).collect()
}

#[test]
fn a_list_on_the_disk_is_told_of_and_known_as_one_in_memory() {
    let rule = "[[rule]]\nid = \"all\"\nlist = \"lists/all.txt\"\naction = \"nxdomain\"\n";
    let told = told_of_large("lists/all.txt", &[("filters/10-all.toml", rule), ("lists/all.txt", &large_list())]);
    let told: Vec<_> = told.iter().map(|(line, column, excerpt)| (*line, *column, excerpt.as_str())).collect();
    assert_eq!(told, [(2, 1, "b ad.example"), (90_003, 1, "b..ad.example"), (160_003, 3, "  *.b*d.example")]);
}

/// One among the filters, and one that a file of rules names.
#[test]
fn a_policy_zone_on_the_disk_is_told_of_and_known_as_one_in_memory() {
    let mut zone = "a.example CNAME .\nb..ad.example CNAME .\n".to_owned();
    for n in 0..90_000 {
        zone.push_str(&match n {
            50_000 => "x.example TXT (\n \"1\"\n)\nc.example TXT ( \"open\n".to_owned(),
            _ => format!("name{n}.example CNAME .\n"),
        });
    }
    zone.push_str("d.example BLURB (\n x )");
    for (path, rules) in [
        ("filters/10-all.rpz", ("filters/20-none.toml", "[zone]\n")),
        ("lists/all.zone", ("filters/10-all.toml", "[zone]\nrpz = \"lists/all.zone\"\n")),
    ] {
        let told = told_of_large(path, &[rules, (path, &zone)]);
        let told: Vec<_> = told.iter().map(|(line, column, excerpt)| (*line, *column, excerpt.as_str())).collect();
        assert_eq!(
            told,
            [(2, 1, "b..ad.example CNAME ."), (50_006, 1, "c.example TXT ( \"open"), (90_006, 1, "d.example BLURB ("),],
            "{path}"
        );
    }
}

#[test]
fn an_expectation_may_be_about_an_incident_mode() {
    let expect = |mode: &str, action: &str| {
        format!(
            "[[expect]]\nquery = \"a.example A\"\nclient = \"10.1.2.3\"\nanswer = [\"A 10.0.0.1\"]\n{mode}action = {action:?}\n"
        )
    };
    let faults = |tests: &str| {
        faults(&[
            ("gateway.toml", "schema = 1\n"),
            ("limits.toml", "[rebinding]\nmode = \"monitor\"\n"),
            ("modes/closed.toml", "[rebinding]\nmode = \"enforce\"\n"),
            ("tests/t.toml", tests),
        ])
    };
    let closed = "mode = \"closed\"\n";
    assert_eq!(faults(&[expect("", "forward"), expect(closed, "nodata")].concat()), [""; 0]);
    assert_eq!(faults(&expect(closed, "forward")), ["tests/t.toml:6:10 E-EXPECT"]);
    assert_eq!(faults(&expect("", "nodata")), ["tests/t.toml:5:10 E-EXPECT"]);
    assert_eq!(faults(&expect("mode = \"closd\"\n", "nodata")), ["tests/t.toml:5:8 E-VALUE"]);
}

#[test]
fn of_a_directory_that_is_too_large_nothing_is_said_but_that() {
    let dir = std::env::temp_dir().join(format!("weir-load-too-large-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    let large: String = (0..100).map(|n| format!("n{n}.example\n")).collect();
    let rule = "[[rule]]\nid = \"ads\"\nlist = \"lists/i.txt\"\naction = \"nxdomain\"\n";
    let gateway = "schema = 1\n[[upstream]]\naddress = \"192.0.2.1\"\n";
    let rules = format!("[zone]\ntitle = \"ads\"\n{rule}");
    let files = [
        ("filters/10-a.toml", rules.as_str()),
        ("gateway.toml", gateway),
        ("lists/h.txt", &large),
        ("lists/i.txt", &large),
    ];
    for (path, text) in files {
        std::fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
        std::fs::write(dir.join(path), text).unwrap();
    }
    let all: u64 = files.iter().map(|(_, text)| text.len() as u64).sum();
    let told = |most| {
        let report = match read_directory_up_to(&dir, most) {
            Ok((files, faults)) => {
                compile(&files, &options(), faults).map_or_else(|report| report, |(_, report)| report)
            }
            Err(report) => report,
        };
        report.faults.iter().map(|fault| format!("{} {}", fault.file, fault.code)).collect::<Vec<_>>()
    };
    assert_eq!(told(all), [""; 0]);
    assert_eq!(told(all - 1), ["lists/i.txt E-TOO-LARGE"]);
    assert_eq!(told(rules.len() as u64 + 1), ["gateway.toml E-TOO-LARGE"]);
    // The same of too many files.
    for number in 0..=FILES_MAX {
        std::fs::write(dir.join(format!("filters/b{number:04}.toml")), "").unwrap();
    }
    assert_eq!(told(POLICY_MAX), ["filters/b4095.toml E-TOO-MANY"]);
    std::fs::remove_dir_all(&dir).unwrap();
}
