//! Lists of a web server: they come over https, act when they are right and whole, and whatever is wrong with one leaves
//! the last good copy in force, over a restart too.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly; clippy knows only test functions as tests")]

use super::place::{Place, Running, free_address, rcode, wait_until};
use super::web::{Page, Web};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fmt::Write as _;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Stdio};
use weir::control::feeds::report::{FeedList, FeedStatus};
use weir::control::plan::Plan;

const RULE: &str = "[zone]\ntitle = \"from elsewhere\"\n[[rule]]\nid = \"phishing\"\nlist = \"feed:phishing\"\n\
                    action = \"refused\"\n";

/// Its public key is the one below; it signs `MAIL`.
const SIGNATURE: &str = "untrusted comment: signature from weir feed test key\n\
    RUR3ZWlyZmVlZLLcc1unGXDoT8TlyGXOpgbNdWupRrUKwNIJN4SumIBNSbLs+zXlfkhtzizZibOVr1R4gBDlzgmYU1scOyfCoAc=\n\
    trusted comment: timestamp:1798200000\tfile:list.txt\n\
    oUXJGkXH+S1MN7GoNR164vSKSxZpaCmTbVEDN7jrPNd7oRblzKyfm6gLrM5N0JMa7u++/kRrldu49tmUCDexBQ==\n";
const KEY: &str = "RWR3ZWlyZmVlZPQYOs7T3jjEC2DKIKoMyukTv1CeLdJHsluZimkM1CCC";

const MAIL: &str = "mail.lab.example\n";
const TEXT: &str = "text.lab.example\n";

struct Stand {
    web: Web,
    place: Place,
    address: SocketAddr,
    running: Option<Running>,
}

impl Stand {
    /// A gateway with one feed at `/list.txt`, these lines with it.
    fn new(page: Page, lines: &str) -> Self {
        let (web, place, address) = (Web::start(), Place::new(), free_address());
        web.put("/list.txt", page);
        place.write("policies/house.pem", &web.ca);
        place.write("policies/filters/10-feed.toml", RULE);
        let mut stand = Self { web, place, address, running: None };
        stand.declare(lines);
        stand.running = Some(stand.place.start_lab_with_state());
        stand
    }

    /// Writes gateway.toml with these lines at the feed.
    fn declare(&self, lines: &str) {
        let url = self.web.url("/list.txt");
        let feed = format!("[[feed]]\nname = \"phishing\"\nurl = \"{url}\"\nca = \"house.pem\"\n{lines}");
        self.place.write_gateway(&[self.address], false, &feed);
    }

    /// Which of the two names is refused.
    fn refused(&self) -> [bool; 2] {
        ["mail.lab.example", "text.lab.example"].map(|name| rcode(self.address, name) == 5)
    }

    fn feed(&self) -> FeedStatus {
        let ended = self.place.ask(&["feed", "--json"]);
        let list: FeedList = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:#?}"));
        list.feeds.into_iter().next().expect("one feed")
    }

    fn wait_for_first(&self) {
        wait_until("the first look has ended", || {
            let list: FeedList = serde_json::from_str(&self.place.ask(&["feed", "--json"]).out).unwrap();
            list.feeds.first().is_some_and(|feed| feed.looks > 0)
        });
    }

    /// Waits until a look has failed for this reason.
    fn wait_for_error(&self, why: &str) {
        wait_until(why, || self.feed().last_error.is_some_and(|error| error.english().contains(why)));
    }

    /// Looks now; it has to fail for this reason.
    #[track_caller]
    fn fails(&self, why: &str) {
        let ended = self.place.ask(&["feed", "refresh", "phishing"]);
        assert_eq!(ended.code, Some(1), "{ended:#?}");
        assert!(ended.out.contains(why), "{why:?} is missing in {ended:#?}");
    }

    #[track_caller]
    fn comes(&self) {
        self.place.ask(&["feed", "refresh", "phishing"]).works(&["phishing  ok"]);
    }

    /// Asks for both names until the gateway remembers enough of it for its guard.
    fn ask_much(&self) {
        let remembered = || {
            let plan: Plan = serde_json::from_str(&self.place.ask(&["plan", "policies", "--json"]).out).unwrap();
            plan.verdicts.is_some_and(|verdicts| verdicts.queries >= 100)
        };
        wait_until("the queries are remembered", || {
            (0..40).for_each(|_| assert_eq!(self.refused(), [false, false]));
            remembered()
        });
    }

    fn restart(&mut self) {
        self.running = None;
        self.running = Some(self.place.start_lab_with_state());
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[test]
fn a_list_acts_once_it_has_come_and_is_not_fetched_again() {
    let mut stand = Stand::new(Page::new(MAIL).with("etag", "\"one\""), "");
    wait_until("the list acts", || stand.refused() == [true, false]);
    stand.wait_for_first();
    let generation = |stand: &Stand| stand.place.ask(&["status", "--json"]).out;
    let seen = stand.feed();
    assert_eq!((seen.etag.as_deref(), seen.entries, seen.looks_ok), (Some("\"one\""), Some(1), 1), "{seen:#?}");
    let before: weir::control::status::Status = serde_json::from_str(&generation(&stand)).unwrap();
    stand.web.take_asked();
    stand.comes();
    let asked = stand.web.take_asked();
    assert_eq!(asked, [("/list.txt".to_owned(), Some("\"one\"".to_owned()), 304)]);
    let after: weir::control::status::Status = serde_json::from_str(&generation(&stand)).unwrap();
    assert_eq!(before.policy, after.policy, "the same copy is no other policy");

    stand
        .web
        .put("/list.txt", Page::new(gzip(TEXT.as_bytes())).with("etag", "\"two\"").with("content-encoding", "gzip"));
    stand.comes();
    assert_eq!(stand.refused(), [false, true], "it was packed, and acts");
    let changed: weir::control::status::Status = serde_json::from_str(&generation(&stand)).unwrap();
    assert_eq!(changed.policy.id, before.policy.id, "the directory is the same");
    assert_eq!(changed.policy.generation, before.policy.generation + 1);
    stand.place.ask(&["status"]).works(&["feeds       phishing  ok"]);

    // The server is down: the last copy acts from the first query, and the next look is not before its time.
    let state = stand.place.path("state");
    let state = state.to_str().unwrap();
    stand.web = Web::start();
    stand.restart();
    assert_eq!(stand.refused(), [false, true]);
    stand.fails("no connection");
    assert_eq!(stand.refused(), [false, true]);
    let status = stand.place.ask(&["status"]);
    status.works(&["phishing  FAILING", "warning     feed phishing did not come"]);

    stand.place.weir(&["check", "policies"]).works(&["W-FEED-ABSENT", "cannot be looked at"]);
    let checked = stand.place.weir(&["check", "policies", "--state", state, "--strict"]);
    checked.works(&["policy"]);
}

#[test]
fn what_is_wrong_leaves_the_last_good_copy_in_force() {
    let stand = Stand::new(Page::new(MAIL), "size_max = \"64KiB\"\n");
    wait_until("the list acts", || stand.refused() == [true, false]);
    stand.wait_for_first();
    let large = TEXT.repeat(10_000);
    let bomb = gzip(&vec![b'a'; 64 << 20]);
    assert!(bomb.len() < 1 << 17);
    let to = |page: Page, location: &str| Page { status: 302, ..page.with("location", location) };
    let loops = stand.web.url("/list.txt");
    let cases = [
        (Page::new(large.as_bytes()), "larger than 65536 bytes"),
        (Page::new(bomb).with("content-encoding", "gzip"), "larger than 65536 bytes"),
        (Page::new(&gzip(TEXT.as_bytes())[..20]).with("content-encoding", "gzip"), "cannot be unpacked"),
        (Page::new(TEXT).with("content-encoding", "br"), "packed as \"br\""),
        (Page { status: 500, ..Page::new("") }, "500"),
        (Page { status: 404, ..Page::new("") }, "404"),
        (Page { status: 304, ..Page::new("") }, "304"),
        (to(Page::new(""), "http://lists.example/"), "over https"),
        (to(Page::new(""), "http://127.0.0.1:9/"), "from https to"),
        (to(Page::new(""), "x"), "it redirects to x"),
        (to(Page::new(""), &loops), "more than 5 redirects"),
        (Page::new("# nothing\n"), "entries_min"),
        (Page::new("<!DOCTYPE html>\n<html><body>Log in</body></html>\n"), "feed:phishing"),
    ];
    for (page, why) in cases {
        stand.web.put("/list.txt", page);
        stand.fails(why);
        assert_eq!(stand.refused(), [true, false], "{why}");
    }
    let seen = stand.feed();
    assert_eq!((seen.failures, seen.entries), (13, Some(1)), "{seen:#?}");

    // A redirect within https leads to it, and all is well again.
    stand.web.put("/list.txt", to(Page::new(""), "/moved.txt"));
    stand.web.put("/moved.txt", Page::new(TEXT));
    stand.comes();
    assert_eq!((stand.refused(), stand.feed().failures), ([false, true], 0));
}

#[test]
fn a_server_that_nobody_vouches_for_is_not_believed() {
    let (stand, other) = (Stand::new(Page::new(MAIL), ""), Web::start());
    wait_until("the list acts", || stand.refused() == [true, false]);
    stand.wait_for_first();
    stand.place.write("policies/house.pem", &other.ca);
    stand.place.ask(&["reload"]).works(&["generation"]);
    wait_until("the feed is another now", || stand.feed().looks == 0 || stand.feed().last_error.is_some());
    stand.fails("no TLS: its certificate is not signed by the authority that it names");
    assert_eq!(stand.refused(), [true, false]);
}

#[test]
fn a_pinned_list_is_taken_only_as_it_was_pinned() {
    let hash = "sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\n";
    let stand = Stand::new(Page::new(MAIL), hash);
    stand.wait_for_first();
    assert!(stand.feed().last_error.is_some_and(|why| why.english().contains("not the one that is pinned")));
    assert_eq!(stand.refused(), [false, false]);
    assert!(stand.place.ask(&["status"]).out.contains("has not come yet"));

    let found = weir::policy::feeds::hex(&weir::policy::feeds::digest_of(MAIL.as_bytes()));
    let stand = Stand::new(Page::new(MAIL), &format!("sha256 = \"{found}\"\n"));
    wait_until("the list acts", || stand.refused() == [true, false]);
    stand.wait_for_first();
    stand.web.put("/list.txt", Page::new(TEXT));
    stand.fails("not the one that is pinned");
}

#[test]
fn a_signed_list_is_taken_only_with_its_signature() {
    let stand = Stand::new(Page::new(MAIL), &format!("minisign = \"{KEY}\"\n"));
    stand.wait_for_first();
    assert!(stand.feed().last_error.is_some_and(|why| why.english().contains("404")), "there is no signature yet");
    stand.web.put("/list.txt.minisig", Page::new(SIGNATURE.replace("list.txt", "lust.txt")));
    stand.fails("its signature does not hold");
    stand.web.put("/list.txt.minisig", Page::new(vec![0xff; 200]));
    stand.fails("its signature is not the text");
    stand.web.put("/list.txt.minisig", Page::new(SIGNATURE.repeat(100)));
    stand.fails("larger than 8192 bytes");
    assert_eq!(stand.refused(), [false, false]);
    stand.web.put("/list.txt.minisig", Page::new(SIGNATURE));
    stand.comes();
    assert_eq!(stand.refused(), [true, false]);
    stand.web.put("/list.txt", Page::new(TEXT));
    stand.fails("its signature does not hold");
    assert_eq!(stand.refused(), [true, false]);
}

#[test]
fn a_list_that_shrinks_much_waits_until_somebody_accepts_it() {
    let mut long = MAIL.to_owned();
    (0..99).for_each(|n| writeln!(long, "n{n}.example").unwrap());
    let mut stand = Stand::new(Page::new(long.clone()).with("etag", "\"long\""), "change_max = 0.5\n");
    wait_until("the list acts", || stand.refused() == [true, false]);
    stand.wait_for_first();
    stand.place.ask(&["feed", "accept", "phishing"]).fails(2, &["no copy of feed phishing waits"]);
    stand.place.ask(&["feed", "accept", "fishing"]).fails(2, &["there is no feed \"fishing\""]);

    stand.web.put("/list.txt", Page::new(TEXT).with("etag", "\"short\""));
    stand.fails("weir feed accept phishing");
    assert_eq!(stand.refused(), [true, false], "it waits");
    stand.web.take_asked();
    stand.fails("weir feed accept phishing");
    assert_eq!(stand.web.take_asked()[0].2, 304, "what waits is not fetched again");
    stand.restart();
    assert_eq!(stand.refused(), [true, false], "it waits over a restart");
    stand.place.ask(&["feed"]).works(&["phishing  HELD"]);
    stand.place.ask(&["feed", "accept", "phishing"]).works(&["generation 2"]);
    assert_eq!(stand.refused(), [false, true]);
    stand.comes();
    let seen = stand.feed();
    assert_eq!((seen.entries, seen.held), (Some(1), None));

    // The publisher mends it himself: what waits is forgotten.
    stand.web.put("/list.txt", Page::new(long).with("etag", "\"long\""));
    stand.fails("weir feed accept phishing");
    stand.web.put("/list.txt", Page::new(TEXT).with("etag", "\"short\""));
    stand.comes();
    assert_eq!((stand.feed().held, stand.refused()), (None, [false, true]));
}

#[test]
fn a_list_that_swaps_its_entries_waits_however_long_it_is() {
    let names =
        |first: &str, of: &str| (0..99).fold(first.to_owned(), |text, n| text + &format!("n{n}.{of}.example\n"));
    let stand = Stand::new(Page::new(names(MAIL, "one")), "");
    wait_until("the list acts", || stand.refused() == [true, false]);
    stand.wait_for_first();
    stand.web.put("/list.txt", Page::new(names(TEXT, "two")));
    stand.fails("100 came and 100 went");
    assert_eq!(stand.refused(), [true, false], "it waits");
    stand.place.ask(&["feed", "accept", "phishing"]).works(&["generation 3"]);
    assert_eq!(stand.refused(), [false, true]);

    // In another order, and with another comment behind each, it is the same list.
    let mut lines: Vec<_> = names(TEXT, "two").lines().map(|line| format!("{line} # seen today\n")).collect();
    lines.reverse();
    stand.web.put("/list.txt", Page::new(lines.concat()));
    stand.comes();
    assert_eq!((stand.refused(), stand.feed().held), ([false, true], None));
}

#[test]
fn a_list_that_blocks_much_of_what_is_asked_waits_and_holds_up_nothing_else() {
    let long = (0..99).fold(String::new(), |text, n| text + &format!("n{n}.example\n"));
    let mut stand = Stand::new(Page::new(long.clone()), "");
    stand.wait_for_first();
    assert_eq!(stand.feed().entries, Some(99));
    stand.ask_much();

    let worse = format!("{long}{TEXT}");
    stand.web.put("/list.txt", Page::new(worse.clone()));
    stand.fails("waits for `weir feed accept phishing`: the guard objects: it newly blocks 50 % of the queries");
    assert_eq!(stand.refused(), [false, false], "one name of a hundred, and half of what is asked");
    stand.place.ask(&["feed"]).works(&["phishing  HELD", "most by \"phishing\": text.lab.example"]);
    stand.place.ask(&["feed", "--lang", "zh"]).works(&["变更保护"]);

    // Other policies come to run meanwhile, and the feed is looked at.
    stand.place.write("policies/filters/20-more.toml", "[zone]\ntitle = \"more\"\n");
    stand.place.ask(&["reload"]).works(&["generation 3"]);
    stand.web.put("/list.txt", Page::new(format!("{long}other.example\n")));
    stand.comes();
    assert_eq!((stand.feed().held, stand.feed().entries), (None, Some(100)), "what waited is forgotten");

    stand.web.put("/list.txt", Page::new(worse));
    stand.fails("weir feed accept phishing");
    stand.restart();
    stand.fails("weir feed accept phishing");
    assert_eq!(stand.refused(), [false, false], "it waits, though what was asked is forgotten");
    stand.place.ask(&["feed", "accept", "phishing"]).works(&["generation 2"]);
    assert_eq!(stand.refused(), [false, true]);
    stand.comes();
}

#[test]
fn a_pin_that_is_added_later_holds_for_the_copy_in_force() {
    let hash = |text: &str| weir::policy::feeds::hex(&weir::policy::feeds::digest_of(text.as_bytes()));
    let stand = Stand::new(Page::new(MAIL).with("etag", "\"one\""), "");
    wait_until("the list acts", || stand.refused() == [true, false]);
    stand.wait_for_first();
    stand.web.take_asked();
    stand.declare(&format!("sha256 = \"{}\"\n", hash(TEXT)));
    let warning = "the copy of feed \"phishing\" was not held against its pin";
    stand.place.ask(&["reload"]).works(&["generation 3", warning]);
    stand.wait_for_error("not the one that is pinned");
    assert_eq!(stand.web.take_asked()[0], ("/list.txt".to_owned(), None, 200), "at once, and whole");
    assert_eq!(stand.refused(), [true, false], "the last copy stays");
    stand.place.ask(&["status"]).works(&[warning]);
    stand.web.put("/list.txt", Page::new(TEXT).with("etag", "\"two\""));
    stand.comes();
    assert_eq!(stand.refused(), [false, true]);
    assert!(!stand.place.ask(&["status"]).out.contains("not held against its pin"));

    // The right content is there already: once its signature was seen, it is asked about as before.
    let stand = Stand::new(Page::new(MAIL).with("etag", "\"one\""), "");
    wait_until("the list acts", || stand.refused() == [true, false]);
    stand.wait_for_first();
    stand.web.put("/list.txt.minisig", Page::new(SIGNATURE));
    stand.web.take_asked();
    stand.declare(&format!("minisign = \"{KEY}\"\n"));
    stand.place.ask(&["reload"]).works(&[warning]);
    wait_until("nobody is warned any more", || {
        !stand.place.ask(&["status"]).out.contains("not held against its pin") && stand.feed().looks_ok == 1
    });
    let asked: Vec<_> = stand.web.take_asked().into_iter().map(|(path, _, status)| (path, status)).collect();
    assert_eq!(asked, [("/list.txt".to_owned(), 200), ("/list.txt.minisig".to_owned(), 200)]);
    stand.comes();
    assert_eq!(stand.web.take_asked(), [("/list.txt".to_owned(), Some("\"one\"".to_owned()), 304)]);
}

#[test]
fn a_copy_that_waited_before_there_was_a_pin_waits_no_more() {
    let mut long = MAIL.to_owned();
    (0..99).for_each(|n| writeln!(long, "n{n}.example").unwrap());
    let stand = Stand::new(Page::new(long.clone()).with("etag", "\"long\""), "");
    wait_until("the list acts", || stand.refused() == [true, false]);
    stand.wait_for_first();
    stand.web.put("/list.txt", Page::new(TEXT).with("etag", "\"short\""));
    stand.fails("weir feed accept phishing");
    let found = weir::policy::feeds::hex(&weir::policy::feeds::digest_of(long.as_bytes()));
    stand.declare(&format!("sha256 = \"{found}\"\n"));
    stand.place.ask(&["reload"]).works(&["generation 3"]);
    let refused = stand.place.ask(&["feed", "accept", "phishing"]);
    assert_ne!(refused.code, Some(0), "{refused:#?}");
    assert_eq!(stand.refused(), [true, false]);
    wait_until("the feed is another now", || stand.feed().looks == 0);
    stand.fails("not the one that is pinned");
    stand.place.ask(&["feed", "accept", "phishing"]).fails(2, &["no copy of feed phishing waits"]);
}

#[test]
fn a_refresh_ends_when_a_reload_declares_the_feed_otherwise_or_no_more() {
    let stand = Stand::new(Page::new(MAIL), "");
    stand.wait_for_first();
    // Whoever connects to it waits for as long as a look may take.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let begin = || -> Child {
        let feed = format!("[[feed]]\nname = \"phishing\"\nurl = \"https://{}/\"\n", silent.local_addr().unwrap());
        stand.place.write_gateway(&[stand.address], false, &feed);
        stand.place.ask(&["reload"]).works(&["generation"]);
        wait_until("that feed is known", || stand.feed().source.contains(&silent.local_addr().unwrap().to_string()));
        let socket = stand.place.socket();
        let mut refresh = stand.place.command(&["feed", "refresh", "phishing", "--socket", socket.to_str().unwrap()]);
        let begun = refresh.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("it is looked at", || stand.feed().is_looking);
        begun
    };
    let end = |mut refresh: Child| {
        wait_until("the refresh ends", || refresh.try_wait().unwrap().is_some());
        let ended = refresh.wait_with_output().unwrap();
        let told = [ended.stdout, ended.stderr].map(|told| String::from_utf8(told).unwrap());
        (ended.status.code(), told)
    };
    let refresh = begin();
    stand.declare("");
    stand.place.ask(&["reload"]).works(&["generation"]);
    let (code, [out, err]) = end(refresh);
    assert!(code == Some(0) && out.contains("phishing  ok") && err.is_empty(), "{code:?}\n{out}\n{err}");
    assert!(stand.feed().looks > 0, "the one that took its place was looked at");

    let refresh = begin();
    std::fs::remove_file(stand.place.path("policies/filters/10-feed.toml")).unwrap();
    stand.place.write_gateway(&[stand.address], false, "");
    stand.place.ask(&["reload"]).works(&["generation"]);
    let (code, [out, err]) = end(refresh);
    assert!(code == Some(1) && out.is_empty() && err.contains("feed phishing is gone"), "{code:?}\n{out}\n{err}");
}

#[test]
fn edits_that_nobody_loaded_do_not_come_with_a_feed() {
    let stand = Stand::new(Page::new(MAIL), "");
    wait_until("the list acts", || stand.refused() == [true, false]);
    stand.wait_for_first();
    stand.place.write("policies/filters/20-edit.toml", "[zone]\ntitle = \"half an edit\n");
    stand.web.put("/list.txt", Page::new(TEXT));
    stand.comes();
    assert_eq!(stand.refused(), [false, true], "with the files of what runs, which were kept");
    stand.place.ask(&["reload"]).fails(2, &["E-SYNTAX"]);
    stand.place.write("policies/filters/20-edit.toml", "[zone]\ntitle = \"an edit\"\n");
    stand.place.ask(&["reload"]).works(&["generation 4"]);
    assert_eq!(stand.refused(), [false, true], "and what came is there after it");
}

#[test]
fn copies_stay_while_a_policy_that_one_may_go_back_to_names_their_feed() {
    let stand = Stand::new(Page::new(MAIL), "");
    wait_until("the list acts", || stand.refused() == [true, false]);
    stand.wait_for_first();
    stand.place.write("state/feeds/stranger/manifest.json", "{}");
    std::fs::remove_file(stand.place.path("policies/filters/10-feed.toml")).unwrap();
    stand.place.write_gateway(&[stand.address], false, "");
    stand.place.ask(&["reload"]).works(&["generation"]);
    assert_eq!(stand.refused(), [false, false]);
    assert!(!stand.place.path("state/feeds/stranger").exists(), "no policy names it");
    assert!(stand.place.path("state/feeds/phishing/manifest.json").exists(), "the policy before names it");
    stand.place.ask(&["rollback"]).works(&["generation"]);
    wait_until("the list acts again, from the copy that was kept", || stand.refused() == [true, false]);
}
