//! What works, and what is said, without a gateway that runs.

use super::place::{Ended, Place};
use std::os::unix::fs::PermissionsExt;

const GATEWAY: &str = "schema = 1\n[[upstream]]\nname = \"a\"\naddress = \"192.0.2.53\"\n";
const FILTER: &str =
    "[zone]\ntitle = \"test\"\n[[rule]]\nid = \"no-bad\"\nnames = [\"bad.example\"]\naction = \"nxdomain\"\n";

#[test]
fn wrong_usage_ends_with_two_and_a_hint() {
    let place = Place::new();
    place.weir(&[]).fails(2, &["Usage"]);
    place.weir(&["reolad"]).fails(2, &["reolad", "reload"]);
    place.weir(&["check", "--format", "xml"]).fails(2, &["xml", "human", "json"]);
    place.weir(&["explain"]).fails(2, &["NAME"]);
    place.weir(&["explain", "a.example", "--client", "nobody"]).fails(2, &["nobody"]);
    place.weir(&["explain", "a.example", "--dir", "x", "--socket", "y"]).fails(2, &["--dir", "--socket"]);
    place.weir(&["run", "a", "b"]).fails(2, &["unexpected"]);
    place.weir(&["drill", "stormy"]).fails(2, &["stormy", "forged-flood", "tcp-exhaustion"]);
    place.weir(&["--help"]).works(&["run", "check", "explain", "reload", "status"]);
    place.weir(&["--version"]).works(&[env!("CARGO_PKG_VERSION")]);
}

#[test]
fn a_directory_that_was_named_and_is_missing_is_never_replaced() {
    let place = Place::new();
    place.write("policies/gateway.toml", GATEWAY);
    for arguments in [
        &["run", "elsewhere"][..],
        &["run", "--lab", "elsewhere"],
        &["check", "elsewhere"],
        &["explain", "a.example", "--dir", "elsewhere"],
    ] {
        place.weir(arguments).fails(2, &["elsewhere", "no such directory"]);
    }
    place.weir(&["run", "policies/gateway.toml"]).fails(2, &["is a file, not a directory"]);
    std::fs::create_dir(place.path("empty")).unwrap();
    for arguments in [&["run", "empty"][..], &["check", "empty"]] {
        let ended = place.weir(arguments);
        assert_eq!(ended.code, Some(2), "{ended:#?}");
        assert!(format!("{}{}", ended.out, ended.err).contains("gateway.toml"), "{ended:#?}");
    }
}

#[test]
fn policies_that_cannot_be_followed_are_not_passed_over() {
    let place = Place::new();
    std::os::unix::fs::symlink("gone", place.path("policies")).unwrap();
    place.weir(&["run"]).fails(2, &["policies", "no such directory"]);
    place.weir(&["check"]).fails(2, &["policies", "no such directory"]);
}

#[test]
fn all_faults_of_all_files_are_reported_in_one_run() {
    let place = Place::new();
    place.write("policies/gateway.toml", &format!("{GATEWAY}weight = \"heavy\"\n[cache]\nsise = \"64MiB\"\n"));
    place.write("policies/access.toml", "allow = [\"10.0.0.0/33\", \"@nobody\"]\n");
    place.write("policies/limits.toml", "[source]\nrate = 0\n");
    place.write("policies/filters/10-test.toml", &FILTER.replace("nxdomain", "nxdomian"));
    let faults = [
        "gateway.toml:5:",
        "gateway.toml:7:",
        "access.toml:1:",
        "10.0.0.0/33",
        "nobody",
        "limits.toml:2:",
        "filters/10-test.toml:6:",
        "nxdomain",
    ];

    let checked = place.weir(&["check"]);
    assert_eq!(checked.code, Some(2), "{checked:#?}");
    for fault in faults {
        assert!(checked.out.contains(fault), "{fault} is missing in {}", checked.out);
    }
    assert!(!checked.out.contains('\u{1b}'), "colour without a terminal");

    place.weir(&["run"]).fails(2, &faults);
    place.weir(&["run", "--lab"]).fails(2, &faults);
    place.weir(&["explain", "a.example", "--dir", "policies"]).fails(2, &faults);
}

#[test]
fn check_ends_with_what_a_pipeline_needs() {
    let place = Place::new();
    place.write("policies/gateway.toml", GATEWAY);
    place.write("policies/filters/10-test.toml", FILTER);
    place.weir(&["check"]).works(&["policy"]);
    place.weir(&["check", "--strict"]).works(&["policy"]);
    place.weir(&["check", "policies", "--format", "json"]).works(&[]);

    place.write("policies/lists/one.txt", "good.example\nnot a name at all\n");
    place.write(
        "policies/filters/20-list.toml",
        "[zone]\ntitle = \"list\"\n[[rule]]\nid = \"list\"\nlist = \"lists/one.txt\"\naction = \"nxdomain\"\n",
    );
    place.weir(&["check"]).works(&["lists/one.txt"]);
    let strict = place.weir(&["check", "--strict"]);
    assert_eq!(strict.code, Some(1), "{strict:#?}");

    let json = place.weir(&["check", "--format", "json"]);
    assert_eq!(json.code, Some(0));
    let faults: Vec<serde_json::Value> = json.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(faults.iter().any(|fault| fault["file"] == "lists/one.txt" && fault["line"] == 2), "{faults:?}");
    assert!(faults.iter().all(|fault| fault["severity"] == "warning"), "{faults:?}");

    let sarif = place.weir(&["check", "--format", "sarif"]);
    assert_eq!(sarif.code, Some(0), "{sarif:#?}");
}

#[test]
fn explain_on_a_directory_says_which_rule_and_where_it_looked() {
    let place = Place::new();
    place.write("policies/gateway.toml", GATEWAY);
    place.write("policies/filters/10-test.toml", FILTER);
    let named = place.weir(&["explain", "www.bad.example", "AAAA", "--dir", "policies"]);
    named.works(&["no-bad", "nxdomain"]);
    assert!(named.err.contains("policies"), "which policy it was is missing: {named:#?}");
    place.weir(&["explain", "www.bad.example"]).works(&["no-bad", "nxdomain"]);
    let other = place.weir(&["explain", "good.example", "--dir", "policies", "--client", "10.1.2.3", "--tcp"]);
    other.works(&["good.example"]);
    assert!(!other.out.contains("nxdomain"), "{other:#?}");

    let json = place.weir(&["explain", "bad.example", "--dir", "policies", "--json"]);
    json.works(&["no-bad"]);
    serde_json::from_str::<serde_json::Value>(&json.out).expect("--json is JSON");

    place.weir(&["explain", "a..example", "--dir", "policies"]).fails(2, &["a..example"]);
    place.weir(&["explain", "a.example", "NOTYPE", "--dir", "policies"]).fails(2, &["NOTYPE"]);
}

#[test]
fn without_a_gateway_the_socket_and_the_way_out_are_named() {
    let place = Place::new();
    let socket = place.socket();
    let socket = socket.to_str().unwrap();
    for arguments in [&["status"][..], &["status", "--json"], &["reload"], &["explain", "a.example"]] {
        place.ask(arguments).fails(1, &["no gateway runs at", socket, "weir run", "--socket"]);
    }
    let plain = std::fs::create_dir(place.path("run")).and_then(|()| std::fs::write(place.socket(), "precious"));
    plain.unwrap();
    let ended = place.ask(&["status"]);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert_eq!(std::fs::read_to_string(place.socket()).unwrap(), "precious");
}

#[test]
fn a_cookie_secret_is_drawn_anew_each_time_and_fits_the_file() {
    let place = Place::new();
    let secrets = [place.weir(&["cookie-secret"]), place.weir(&["cookie-secret"])];
    secrets.iter().for_each(|ended| ended.works(&[]));
    assert_ne!(secrets[0].out, secrets[1].out);
    place.write("policies/gateway.toml", GATEWAY);
    place.write("policies/cookie.secrets", &format!("{}{}", secrets[0].out, secrets[1].out));
    let file = place.path("policies/cookie.secrets");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    place.weir(&["check", "--strict"]).works(&["policy"]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = place.weir(&["check"]);
    let said = format!("{}{}", open.out, open.err);
    assert!(open.code == Some(2) && said.contains("every user of this machine"), "{open:#?}");
    assert!(!said.contains(secrets[0].out.trim()), "a report shows no secret: {open:#?}");
}

#[test]
fn import_converts_what_can_be_read_and_passes_nothing_over() {
    let place = Place::new();
    place.write("ads.txt", "[Adblock]\n||ads.example^\n|one.example^\n||t.delfi.\n||*.below.example^\n");
    let domains = place.weir(&["import", "ads.txt", "--to", "domains"]);
    assert_eq!(
        (domains.code, domains.out.as_str()),
        (Some(0), "ads.example\n=one.example\n*.below.example\n"),
        "{domains:#?}"
    );
    assert!(domains.err.contains("adblock-prefix") && domains.err.contains("ads.txt:4:1"), "{domains:#?}");
    assert_eq!(place.weir(&["import", "ads.txt", "--strict"]).code, Some(1));

    place.write("exceptions.txt", "||ads.example^\n@@||good.ads.example^\n||v6.example^$dnstype=AAAA\n");
    place.weir(&["import", "exceptions.txt", "--to", "domains"]).fails(2, &["exceptions", "--to toml"]);
    let zone = place.weir(&["import", "exceptions.txt", "--to", "toml"]);
    assert_eq!(zone.code, Some(0), "{zone:#?}");
    place.write("policies/gateway.toml", GATEWAY);
    place.write("policies/filters/10-list.toml", &zone.out);
    place.weir(&["check"]).works(&["policy"]);
    for (question, word) in [
        (["x.ads.example", "A"], "nxdomain"),
        (["x.good.ads.example", "A"], "allow"),
        (["v6.example", "AAAA"], "nxdomain"),
    ] {
        place.weir(&["explain", question[0], question[1], "--dir", "policies"]).works(&[word]);
    }

    place.write("site", "a.example @ads\ninclude:other @ads\n");
    place.write("other", "b.example @ads\nc.example\n");
    let site = place.weir(&["import", "site", "--to", "domains"]);
    assert_eq!((site.code, site.out.as_str()), (Some(0), "a.example\nb.example\n"), "{site:#?}");

    place.weir(&["import", "gone.txt"]).fails(2, &["gone.txt"]);
    place.weir(&["import", "ads.txt", "--format", "adblok"]).fails(2, &["adblock"]);
    place.write("page.txt", "<!DOCTYPE html>\n");
    place.weir(&["import", "page.txt"]).fails(2, &["web page"]);
}

/// 64 MiB of text with two names, where the program may map 96 MiB in all, itself included. A zone of so much text asks for
/// room for as many records as could be in it, 180 MiB of which nearly nothing is touched.
#[test]
fn import_reads_a_large_list_in_pieces() {
    let place = Place::new();
    let comments = format!("# {}\n", "x".repeat(1021)).repeat(64 << 10);
    place.write("large.txt", &format!("a.example\n{comments}b.example\n"));
    place.write("large.rpz", &format!("a.example CNAME .\n{}b.example CNAME .\n", comments.replace('#', ";")));
    let shell = |script: &str, arguments: &[&str]| {
        let mut shell = std::process::Command::new("sh");
        shell.args([&["-c", script, env!("CARGO_BIN_EXE_weir"), "--lang", "en", "import"], arguments].concat());
        let ended = shell.current_dir(place.path("")).output().expect("a shell");
        let [out, err] = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ended { code: ended.status.code(), out, err }
    };
    for (file, to, mib, out) in [
        ("large.txt", "domains", 96, "a.example\nb.example\n"),
        ("large.rpz", "domains", 256, "=a.example\n=b.example\n"),
        ("large.rpz", "rpz", 256, "$ORIGIN .\n$TTL 300\na.example CNAME .\nb.example CNAME .\n"),
    ] {
        let ended = shell(&format!("ulimit -v {}; exec \"$0\" \"$@\"", mib << 10), &[file, "--to", to]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(0), out), "{file}: {ended:#?}");
    }
    // A disk that is full is told in the language of the run, and one who has seen enough (`| head -1`) is no failure.
    let names: String = (0..100_000).map(|n| format!("n{n}.example\n")).collect();
    place.write("many.txt", &names);
    for (lang, told) in
        [("en", "cannot write the result: no space is left on the device"), ("zh", "无法写出结果：磁盘空间不足")]
    {
        for arguments in ["many.txt --to domains", "many.txt --to toml"] {
            let full = shell(&format!("exec \"$0\" --lang {lang} import {arguments} >/dev/full"), &[]);
            assert_eq!((full.code, full.err.matches(told).count()), (Some(1), 1), "{full:#?}");
        }
        let full = shell(&format!("exec \"$0\" --lang {lang} schema access >/dev/full"), &[]);
        assert_eq!((full.code, full.err.matches(told).count()), (Some(1), 1), "{full:#?}");
    }
    let closed = shell("{ \"$0\" import many.txt --to domains; echo \"code $?\" >&2; } | head -1", &[]);
    assert_eq!(closed.out, "n0.example\n", "{closed:#?}");
    assert!(closed.err.contains("code 0") && !closed.err.contains("cannot write"), "{closed:#?}");
    // What can be read only once is held whole, and read all the same.
    let piped = shell("echo a.example | exec \"$0\" \"$@\"", &["/dev/stdin", "--to", "domains"]);
    assert_eq!((piped.code, piped.out.as_str()), (Some(0), "a.example\n"), "{piped:#?}");
}

#[test]
fn import_takes_and_makes_response_policy_zones() {
    let place = Place::new();
    place.write(
        "zone.rpz",
        "$ORIGIN rpz.test.\n$TTL 60\n@ SOA . . 1 2 3 4 5\na.example CNAME .\n*.a.example CNAME .\nb.example CNAME *.\n\
         c.a.example CNAME rpz-passthru.\nd.example A 192.0.2.1\n 30 TXT \"x\"\n*.e.example CNAME *.garden.example.\n\
         24.0.2.0.192.rpz-ip CNAME .\n1.0.218.230.rpz-ip CNAME .\nns.f.example.rpz-nsdname CNAME rpz-drop.\n",
    );
    let same = place.weir(&["import", "zone.rpz", "--to", "rpz"]);
    same.works(&["$ORIGIN rpz.test.", "*.e.example CNAME *.garden.example.", "d.example 30 TXT \"x\""]);
    assert!(
        same.err.contains("zone.rpz:12:1") && same.err.contains("did you mean 32.230.218.0.1.rpz-ip?"),
        "{same:#?}"
    );
    place.write("again.rpz", &same.out);
    assert_eq!(place.weir(&["import", "again.rpz", "--to", "rpz", "--strict"]).out, same.out);

    let rules = place.weir(&["import", "zone.rpz", "--to", "toml"]);
    rules.works(&[
        "action = \"nxdomain\"\nnames = [\n  \"a.example\",\n]",
        "action = \"nodata\"\nnames = [\n  \"=b.example\",\n]",
        "action = \"allow\"\nnames = [\n  \"=c.a.example\",\n]",
        "ttl = 30\nrecords = [\n  \"A 192.0.2.1\",\n  \"TXT \\\"x\\\"\",\n]\nnames = [\n  \"=d.example\",\n]",
        "cname = \"*.garden.example\"\nnames = [\n  \"*.e.example\",\n]",
        "action = \"nxdomain\"\nresponse_ip = [\n  \"192.0.2.0/24\",\n]",
        "action = \"drop\"\nns_name = [\n  \"=ns.f.example\",\n]",
    ]);
    place.weir(&["import", "zone.rpz", "--to", "domains"]).fails(2, &["exceptions", "--to toml"]);
    place.write(
        "names.rpz",
        "a.example CNAME .\n*.a.example CNAME .\nb.example A 127.0.0.1\n32.1.0.0.10.rpz-ip CNAME .\n",
    );
    let names = place.weir(&["import", "names.rpz", "--to", "domains"]);
    assert_eq!((names.code, names.out.as_str()), (Some(0), "a.example\n=b.example\n"), "{names:#?}");
    assert!(names.err.contains("rpz-no-name"), "{names:#?}");

    place.write("ads.txt", "||ads.example^\n@@||good.ads.example^\n|one.example^\n");
    let zone = place.weir(&["import", "ads.txt", "--to", "rpz"]);
    zone.works(&[
        "\nads.example CNAME .\n*.ads.example CNAME .\none.example CNAME .\n",
        "\ngood.ads.example CNAME rpz-passthru.\n*.good.ads.example CNAME rpz-passthru.\n",
    ]);
    place.write("types.txt", "||v6.example^$dnstype=AAAA\n");
    place.weir(&["import", "types.txt", "--to", "rpz"]).fails(2, &["record types", "--to toml"]);
}

#[test]
fn explain_says_what_holds_at_a_time_and_an_expectation_may_name_one() {
    let place = Place::new();
    place.write("policies/gateway.toml", "schema = 1\n[[upstream]]\naddress = \"192.0.2.1\"\n");
    place.write(
        "policies/clients.toml",
        "[[schedule]]\nname = \"night\"\ntz = \"Asia/Shanghai\"\nwindows = [{ from = \"22:00\", to = \"06:00\" }]\n",
    );
    let rule = "[[rule]]\nid = \"night\"\nnames = [\"a.example\"]\naction = \"nxdomain\"\nschedule = \"night\"\n\
                [[rule]]\nid = \"short\"\nnames = [\"b.example\"]\naction = \"refused\"\nexpires = 2100-01-01T00:00:00Z\n";
    place.write("policies/filters/10-test.toml", rule);
    let explain = |name: &str, at: &str| place.weir(&["explain", name, "--dir", "policies", "--at", at]);
    let night = explain("a.example", "2026-11-25T14:00:00Z");
    night.works(&["at 2026-11-25T14:00:00Z", "> filter night  nxdomain", "= nxdomain, by rule \"night\""]);
    let day = explain("a.example", "2026-11-25T12:00[Asia/Shanghai]");
    day.works(&["at 2026-11-25T04:00:00Z", "but is for other times (\"night\")", "= forward"]);
    explain("b.example", "2099-12-31T23:59:59Z").works(&["= refused"]);
    explain("b.example", "2100-01-01T01:00:00+01:00").works(&["has expired (2100-01-01T00:00:00Z)", "= forward"]);
    explain("a.example", "2026-11-25T14:00:00").fails(2, &["2026-11-25T14:00:00", "offset"]);

    let expect = |more: &str| {
        let text =
            format!("[[expect]]\nquery = \"a.example A\"\nclient = \"127.0.0.1\"\naction = \"nxdomain\"\n{more}");
        place.write("policies/tests/night.toml", &text);
        place.weir(&["check", "policies"])
    };
    expect("").works(&[]);
    expect("at = 2026-11-25T23:00:00+08:00\n").works(&[]);
    let broken = expect("at = 2026-11-25T12:00:00+08:00\n");
    assert_eq!(broken.code, Some(2), "{broken:#?}");
    assert!(broken.out.contains("E-EXPECT") && broken.out.contains("--at 2026-11-25T04:00:00Z"), "{broken:#?}");
}
