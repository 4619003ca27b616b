//! Plays a scenario on one core, line by line, in virtual time.

use crate::answers::answer;
use crate::desk::Desk;
use crate::replies::hold;
use crate::script::{Words, Wrong, client_subnet, duration, option, parse, qtype};
use crate::stage::message::{Message, cookies_of, id_of, question_end, question_name, read};
use crate::stage::{EPOCH_MS, START, Stage, policy, tcp, udp};
use hickory_proto::op::ResponseCode;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use weir::clock::{Moment, Now};
use weir::gateway::outbox::{Outbox, To};
use weir::gateway::{Client, From, Path};
use weir::language::Told as _;
use weir::ledger::{Totals, UpstreamEvent};
use weir::policy::document::instant;
use weir::policy::overload::Pressure;
use weir::verdict::{Outcome, Reason};

const TICK: Duration = Duration::from_millis(10);

/// The words of a query behind name and type.
const QUERY_WORDS: [&str; 21] = [
    "tcp", "edns", "edns=", "do", "cd", "ad", "nord", "ecs=", "option=", "tsig", "notify", "update", "class=",
    "every=", "waited=", "cut", "qr", "opcode=", "cookie=", "alone", "trailing",
];

/// Steps that change nothing.
const EXPECTATIONS: [&str; 13] = [
    "tally",
    "asks",
    "ignored",
    "replies",
    "alert",
    "reply",
    "silence",
    "nothing",
    "count",
    "would",
    "event",
    "transfers",
    "hits",
];

/// Server cookies by client cookie.
type Cookies = BTreeMap<Vec<u8>, Vec<u8>>;

/// A message at an upstream that waits for its answer.
struct Held {
    from: From,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Player {
    files: BTreeMap<String, String>,
    stage: Option<Stage>,
    at: Moment,
    /// Unix time at the start of virtual time.
    epoch_ms: u64,
    queries: BTreeMap<u16, Vec<u8>>,
    replies: VecDeque<Vec<u8>>,
    /// What went upstream and no `asks` has spoken of yet: name of the server, message.
    asks: VecDeque<(String, Held)>,
    held: BTreeMap<String, VecDeque<Held>>,
    /// Servers that answer everything at once, and how.
    always: BTreeMap<String, String>,
    /// Servers and the zones to whose names they never answer.
    mute: Vec<(String, String)>,
    /// Questions that got no answer so.
    ignored: u64,
    /// Servers that leave health probes without an answer.
    down: Vec<String>,
    transfers: usize,
    /// Connections whose driver was told that a query of theirs gets no answer.
    hushed: Vec<u32>,
    /// Modes and blocks.
    desk: Desk,
    /// The server cookies that clients have got, by client cookie.
    cookies: Cookies,
    /// What came of the last flood: answers, TC=1, silence, BADCOOKIE.
    tally: [u32; 4],
    next_id: u16,
    ears: Ears,
}

/// Whether what a script expects is held against what comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ears {
    #[default]
    Open,
    /// It is played for what is counted.
    Closed,
}

/// Plays a scenario; the error is the line and what is wrong.
pub(crate) fn play(text: &str) -> Result<(), (usize, Wrong)> {
    play_with(text, Ears::Open).map(drop)
}

/// As [`play`], with or without looking at what comes; all that was counted.
pub(crate) fn play_with(text: &str, ears: Ears) -> Result<Totals, (usize, Wrong)> {
    let mut player = Player { at: START, epoch_ms: EPOCH_MS, next_id: 40_000, ears, ..Player::default() };
    let mut file = None;
    for (number, line) in text.lines().enumerate() {
        if let Some(line) = line.strip_prefix('|') {
            let path: &String = file.as_ref().ok_or((number + 1, "text belongs to a policy line".to_owned()))?;
            let contents = player.files.entry(path.clone()).or_default();
            contents.push_str(line.strip_prefix(' ').unwrap_or(line));
            contents.push('\n');
            continue;
        }
        let words = Words(line);
        file = None;
        match words.all().next() {
            None => {}
            Some("policy") => {
                let path = words.at(1).map_err(|wrong| (number + 1, wrong))?.to_owned();
                player.files.insert(path.clone(), String::new());
                file = Some(path);
            }
            Some(verb) => player.step(verb, words).map_err(|wrong| (number + 1, wrong))?,
        }
    }
    player.nothing_left().map_err(|wrong| (text.lines().count(), wrong))?;
    Ok(player.stage().totals())
}

impl Player {
    fn step(&mut self, verb: &str, words: Words<'_>) -> Result<(), Wrong> {
        if self.ears == Ears::Closed && EXPECTATIONS.contains(&verb) {
            return Ok(());
        }
        match verb {
            "twin" => Ok(()),
            "wait" => self.wait(duration(words.at(1)?)?),
            "query" => self.query(words),
            "flood" => self.flood(words),
            "tally" => self.check_tally(words),
            "asks" => self.check_asks(words),
            "answer" => self.answer(words),
            "refuse" => self.refuse(words),
            "hangup" => self.hang_up(words),
            "ignored" => {
                let ignored = std::mem::take(&mut self.ignored);
                within("ignored", words.at(1)?, ignored)
            }
            "replies" => self.check_replies(words),
            "alert" => self.check_alert(words),
            "reply" => self.check_reply(words),
            "silence" => self.nothing_left(),
            "count" => self.check_count(words),
            "would" => {
                let reason = Reason::ALL.into_iter().find(|reason| Ok(reason.name()) == words.at(1));
                let got = self.stage().totals().would(reason.ok_or("no such reason")?);
                equal("would", parse(words.at(2)?, "number")?, got)
            }
            "event" => self.check_event(words),
            "hits" => self.check_hits(words),
            "pressure" => {
                let choices = [("none", Pressure::None), ("sustained", Pressure::Sustained)];
                let (_, pressure) =
                    choices.into_iter().find(|(word, _)| Ok(*word) == words.at(1)).ok_or("none or sustained")?;
                self.stage().workers[0].set_pressure(pressure);
                Ok(())
            }
            "nothing" => {
                let id: u32 = parse(words.at(1)?, "id")?;
                let told = self.hushed.iter().position(|connection| *connection == id);
                self.hushed.swap_remove(told.ok_or("nobody was told that nothing comes")?);
                Ok(())
            }
            "transfers" => equal("transfers", parse(words.at(1)?, "number")?, self.transfers as u64),
            _ => self.arrange(verb, words),
        }
    }

    /// The steps that change the world around the core.
    fn arrange(&mut self, verb: &str, words: Words<'_>) -> Result<(), Wrong> {
        match verb {
            "always" => {
                let rest: Vec<_> = words.all().skip(2).collect();
                self.always.insert(words.at(1)?.to_owned(), rest.join(" "));
            }
            "never" => {
                self.always.remove(words.at(1)?);
            }
            "mute" => self.mute.push((words.at(1)?.to_owned(), words.at(2)?.to_owned())),
            "unmute" => {
                let server = words.at(1)?;
                self.mute.retain(|(mute, _)| mute != server);
            }
            "down" => self.down.push(words.at(1)?.to_owned()),
            "up" => {
                let name = words.at(1)?;
                self.down.retain(|down| down != name);
            }
            "reload" => {
                let policy = policy(self.files.iter().map(|(path, text)| (&**path, &**text)));
                let at = self.at;
                let was_taken = self.stage().offer(at, policy).is_ok();
                if was_taken == words.has("refused") {
                    return Err(format!("the reload was taken: {was_taken}"));
                }
            }
            "clock" => {
                let unix_ms = instant::parse(words.at(1)?).map_err(|error| error.english())?;
                self.epoch_ms = unix_ms - self.at.as_nanos() / 1_000_000;
            }
            "room" => {
                let bytes = parse(words.at(1)?, "number")?;
                self.stage().out = Outbox::new(1024, bytes);
            }
            "remove" => {
                self.files.remove(words.at(1)?).ok_or("there is no such file")?;
            }
            "mode" | "block" | "unblock" | "measured" => {
                self.stage();
                let (now, stage) = (self.now(), self.stage.as_mut().expect("it was just made"));
                match verb {
                    "mode" => self.desk.mode(stage, now, words)?,
                    "block" => self.desk.block(stage, now, words)?,
                    "unblock" => self.desk.unblock(stage, now, words)?,
                    _ => self.desk.measured(words)?,
                }
            }
            _ => return Err(format!("no such step: {verb:?}")),
        }
        Ok(())
    }

    fn now(&self) -> Now {
        Now { at: self.at, unix_ms: self.epoch_ms + self.at.as_nanos() / 1_000_000 }
    }

    fn stage(&mut self) -> &mut Stage {
        let files = &self.files;
        self.stage.get_or_insert_with(|| {
            let policy = policy(files.iter().map(|(path, text)| (&**path, &**text)));
            Stage::new(policy, 1, 4096, 1)
        })
    }

    fn wait(&mut self, time: Duration) -> Result<(), Wrong> {
        let end = self.at.plus(time);
        while self.at < end {
            self.at = self.at.plus(TICK).min(end);
            self.stage();
            let now = self.now();
            let stage = self.stage.as_mut().expect("it was just made");
            self.desk.tick(stage, now);
            stage.workers[0].begin_batch();
            stage.workers[0].on_tick(now, &mut stage.out);
            while stage.workers[0].take_rotated().is_some() {}
            self.deliver()?;
        }
        Ok(())
    }

    /// Takes what the core sent to where it goes; servers that answer at once do.
    fn deliver(&mut self) -> Result<(), Wrong> {
        loop {
            let stage = self.stage();
            let messages: Vec<_> =
                stage.out.messages().iter().map(|message| (message.to, stage.out.bytes(message).to_vec())).collect();
            stage.out.clear();
            if messages.is_empty() {
                return Ok(());
            }
            for (to, bytes) in messages {
                match to {
                    To::Client { .. } | To::Stream(_) => {
                        if let [cookie] = &cookies_of(&bytes)[..] {
                            self.cookies.insert(cookie[..8].to_vec(), cookie[8..].to_vec());
                        }
                        self.replies.push_back(bytes);
                    }
                    To::Upstream(link) => self.ask(From::Udp(link), bytes)?,
                    To::UpstreamStream(link) => self.ask(From::Tcp(link), bytes)?,
                    To::Transfer { .. } => self.transfers += 1,
                    To::Silence(connection) => self.hushed.push(connection.slot),
                }
            }
        }
    }

    fn ask(&mut self, from: From, bytes: Vec<u8>) -> Result<(), Wrong> {
        let name = self.server_of(from);
        let probe = question_name(&bytes).is_empty();
        let at = self.now();
        if probe {
            if !self.down.contains(&name) {
                let stage = self.stage();
                stage.workers[0].on_response(at, from, &Message::answer_to(&bytes).bytes(), &mut stage.out);
            }
        } else if self.is_mute(&name, &bytes) {
            self.ignored += 1;
        } else if let Some(spec) = self.always.get(&name).cloned() {
            let (bytes, _) = answer(Words(&spec), 0, &bytes)?;
            let stage = self.stage();
            stage.workers[0].on_response(at, from, &bytes, &mut stage.out);
        } else {
            self.asks.push_back((name, Held { from, bytes }));
        }
        Ok(())
    }

    fn is_mute(&self, server: &str, question: &[u8]) -> bool {
        let name = question_name(question).to_ascii_lowercase();
        let below =
            |zone: &String| name.strip_suffix(zone.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        self.mute.iter().any(|(mute, zone)| mute == server && below(zone))
    }

    fn server_of(&mut self, from: From) -> String {
        let (From::Udp(link) | From::Tcp(link)) = from;
        let stage = self.stage();
        let address = stage.workers[0].link_address(link.link);
        let running = stage.shared.live.load();
        let upstream = running.policy.server.upstreams.iter().find(|upstream| Some(upstream.address) == address);
        upstream.map_or("one that has left".to_owned(), |upstream| upstream.name.clone())
    }

    /// `query ID CLIENT NAME TYPE words...`
    fn query(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        let id = parse(words.at(1)?, "id")?;
        let (client, bytes) = message(id, words, 2, &self.cookies)?;
        self.queries.insert(id, bytes.clone());
        let waited = words.values("waited").next().map(duration).transpose()?.unwrap_or_default();
        self.send(client, &bytes, waited)
    }

    fn send(&mut self, client: Client, bytes: &[u8], waited: Duration) -> Result<(), Wrong> {
        let at = self.now();
        let stage = self.stage();
        stage.workers[0].begin_batch();
        if stage.workers[0].is_late(client, waited) {
            return self.deliver();
        }
        if matches!(client.path, Path::Udp { .. }) {
            stage.workers[0].set_waited(waited);
        }
        stage.workers[0].on_query(at, client, bytes, &mut stage.out);
        self.deliver()
    }

    /// `flood COUNT CLIENT NAME TYPE [every=10ms] words...`; `%` in the name becomes the number of the query.
    fn flood(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        self.nothing_left()?;
        let count: u32 = parse(words.at(1)?, "count")?;
        let every = words.values("every").next().map(duration).transpose()?;
        self.tally = [0; 4];
        for number in 0..count {
            self.next_id = self.next_id.wrapping_add(1).max(40_000);
            let line = words.0.replace('%', &number.to_string());
            let (client, bytes) = message(self.next_id, Words(&line), 2, &self.cookies)?;
            self.queries.insert(self.next_id, bytes.clone());
            self.send(client, &bytes, Duration::ZERO)?;
            let own = self.replies.iter().position(|reply| id_of(reply) == self.next_id);
            let kind = match own.and_then(|own| self.replies.remove(own)) {
                None => 2,
                Some(reply) if reply[2] & 2 != 0 => 1,
                Some(reply) if read(&reply).metadata.response_code == ResponseCode::BADCOOKIE => 3,
                Some(_) => 0,
            };
            self.tally[kind] += 1;
            if let Some(every) = every {
                self.wait(every)?;
            }
        }
        Ok(())
    }

    /// `tally answers=2 tc=3 silent=5`
    fn check_tally(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        words.only(1, &["answers=", "tc=", "silent=", "badcookie="])?;
        for (key, got) in ["answers", "tc", "silent", "badcookie"].into_iter().zip(self.tally) {
            let text = words.values(key).next().unwrap_or("0");
            let (least, most) = text.split_once("..").unwrap_or((text, text));
            let (least, most): (u32, u32) = (parse(least, "number")?, parse(most, "number")?);
            if !(least..=most).contains(&got) {
                return Err(format!(
                    "expected {text} {key}, got {got}: {:?} answers, TC=1, silent, BADCOOKIE",
                    self.tally
                ));
            }
        }
        Ok(())
    }

    /// `asks SERVER [tcp] [cookie] [intact]`, or `asks nobody`
    fn check_asks(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        let wanted = words.at(1)?;
        let next = self.asks.pop_front();
        let Some((server, held)) = next else {
            return if wanted == "nobody" { Ok(()) } else { Err(format!("expected {wanted} to be asked, nobody is")) };
        };
        if server != wanted {
            return Err(format!("expected {wanted} to be asked, it is {server}"));
        }
        if matches!(held.from, From::Tcp(_)) != words.has("tcp") {
            return Err("asked over the other transport".into());
        }
        if cookies_of(&held.bytes).is_empty() == words.has("cookie") {
            return Err(format!("the cookies that {server} sees: {:02x?}", cookies_of(&held.bytes)));
        }
        let same = |query: &Vec<u8>| query[2..] == held.bytes[2..];
        if words.has("intact") && !self.queries.values().any(same) {
            return Err("it is not what the client sent, apart from the id".into());
        }
        self.held.entry(server).or_default().push_back(held);
        Ok(())
    }

    fn take(&mut self, server: &str) -> Result<Held, Wrong> {
        let held = self.held.get_mut(server).and_then(VecDeque::pop_front);
        held.ok_or_else(|| format!("no message waits at {server}"))
    }

    /// `answer SERVER words...`: to the oldest message that waits there; what is spoilt leaves it waiting.
    fn answer(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        let server = words.at(1)?;
        let held = self.take(server)?;
        let (bytes, elsewhere) = answer(words, 2, &held.bytes)?;
        let at = self.now();
        let from = match held.from {
            From::Udp(mut link) if elsewhere => {
                link.port = (link.port + 1) % 8;
                From::Udp(link)
            }
            from => from,
        };
        let stage = self.stage();
        stage.workers[0].begin_batch();
        stage.workers[0].on_response(at, from, &bytes, &mut stage.out);
        let spoilt = ["id", "name", "type", "port", "opcode", "query", "cut", "trailing", "case", "again"];
        if spoilt.iter().any(|word| words.has(word)) {
            self.held.entry(server.to_owned()).or_default().push_front(held);
        }
        self.deliver()
    }

    fn refuse(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        let held = self.take(words.at(1)?)?;
        let at = self.now();
        let stage = self.stage();
        stage.workers[0].begin_batch();
        stage.workers[0].on_unreachable(at, held.from, &mut stage.out);
        self.deliver()
    }

    /// `hangup SERVER`: the connection on which the oldest message waits there ends.
    fn hang_up(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        let held = self.take(words.at(1)?)?;
        let at = self.now();
        let stage = self.stage();
        stage.workers[0].begin_batch();
        stage.workers[0].on_ended(at, held.from, id_of(&held.bytes));
        Ok(())
    }

    /// `hits RULE N [monitored=N] [last=TIME]`
    fn check_hits(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        words.only(3, &["monitored=", "last="])?;
        let running = self.stage().shared.live.load();
        let rule = running.counted_rules().find(|rule| Ok(rule.id) == words.at(1)).ok_or("no such rule")?;
        let count = rule.hits.read().ok_or("it is not counted")?;
        equal("hits", parse(words.at(2)?, "number")?, count.decided)?;
        equal("monitored", words.number("monitored")?.map_or(0, u64::from), count.monitored)?;
        match words.values("last").next() {
            Some(last) if count.last_unix_ms != Some(instant::parse(last).map_err(|error| error.english())?) => {
                Err(format!("the last hit was at {:?}", count.last_unix_ms.map(instant::show)))
            }
            _ => Ok(()),
        }
    }

    /// `reply ID words...`
    fn check_reply(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        let id: u16 = parse(words.at(1)?, "id")?;
        let place = self.replies.iter().position(|reply| id_of(reply) == id);
        let reply = place.and_then(|place| self.replies.remove(place)).ok_or("expected a reply, there is none")?;
        let query = self.queries.get(&id).ok_or("nobody asked with this id")?;
        hold(words, 2, query, &reply)
    }

    /// `replies N words...`: so many wait, all alike.
    fn check_replies(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        within("replies", words.at(1)?, self.replies.len() as u64)?;
        while let Some(reply) = self.replies.pop_front() {
            let query = self.queries.get(&id_of(&reply)).ok_or("nobody asked with this id")?;
            hold(words, 2, query, &reply)?;
        }
        Ok(())
    }

    /// `alert KIND ZONE`: one was raised since the last time, and no other; `alert nothing`.
    fn check_alert(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        let stage = self.stage();
        let mut raised: Vec<_> = std::iter::from_fn(|| stage.shared.alerts.take())
            .map(|alert| format!("{} {}", alert.kind.name(), alert.subject.text().english()))
            .collect();
        raised.dedup();
        let expected = match words.at(1)? {
            "nothing" => vec![],
            kind => vec![format!("{kind} {}", words.at(2)?)],
        };
        if raised == expected { Ok(()) } else { Err(format!("expected {expected:?}, raised were {raised:?}")) }
    }

    fn check_count(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        let outcome = Outcome::ALL.into_iter().find(|outcome| Ok(outcome.name()) == words.at(1));
        let reason = Reason::ALL.into_iter().find(|reason| Ok(reason.name()) == words.at(2));
        let (outcome, reason) = (outcome.ok_or("no such outcome")?, reason.ok_or("no such reason")?);
        let totals = self.stage().totals();
        let got = totals.queries(outcome, reason, false) + totals.queries(outcome, reason, true);
        equal(words.0, parse(words.at(3)?, "number")?, got)
    }

    /// `event SERVER EVENT NUMBER`
    fn check_event(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        let name = words.at(1)?;
        let stage = self.stage();
        let running = stage.shared.live.load();
        let upstream = running.routing.upstreams.iter().find(|upstream| upstream.settings.name == name);
        let slot = upstream.ok_or("no such upstream")?.link.slot;
        let event = UpstreamEvent::ALL.into_iter().find(|event| Ok(event.name()) == words.at(2));
        equal(words.0, parse(words.at(3)?, "number")?, stage.totals().upstream(slot, event.ok_or("no such event")?))
    }

    /// No reply and no question to an upstream that the scenario has not spoken of.
    fn nothing_left(&mut self) -> Result<(), Wrong> {
        if self.ears == Ears::Closed {
            self.replies.clear();
            return Ok(());
        }
        if let Some(reply) = self.replies.front() {
            return Err(format!("a reply that was not expected: {:?}", crate::stage::message::read(reply)));
        }
        match self.asks.front() {
            Some((server, _)) => Err(format!("{server} is asked, which was not expected")),
            None => Ok(()),
        }
    }
}

fn equal(what: &str, expected: u64, got: u64) -> Result<(), Wrong> {
    if expected == got { Ok(()) } else { Err(format!("{what}: expected {expected}, got {got}")) }
}

/// The data of a client's COOKIE option. `NAME`: a client cookie alone; `NAME+`: with the server cookie that it got last;
/// `NAME!`: with one that nobody gave it; `NAME?`: of a length that no cookie has.
fn cookie(text: &str, cookies: &Cookies) -> Result<Vec<u8>, Wrong> {
    let name = text.trim_end_matches(['+', '!', '?']);
    let mut cookie = name.as_bytes().to_vec();
    cookie.resize(8, b'_');
    match &text[name.len()..] {
        "+" => cookie.extend(cookies.get(&cookie).ok_or(format!("{name} has got no server cookie"))?.clone()),
        "!" => cookie.extend(b"\x01\0\0\0not yours 12"),
        "?" => cookie.extend(b"four"),
        _ => {}
    }
    Ok(cookie)
}

/// `10.0.0.1`, or so many addresses behind it: `10.0.0.1+7`, `10.0.0.1+7*256`.
fn address(text: &str) -> Result<IpAddr, Wrong> {
    let (base, offset) = text.split_once('+').unwrap_or((text, "0"));
    let (count, step) = offset.split_once('*').unwrap_or((offset, "1"));
    let (count, step): (u128, u128) = (parse(count, "number")?, parse(step, "number")?);
    Ok(match parse(base, "address")? {
        IpAddr::V4(v4) => IpAddr::from((v4.to_bits() + (count * step) as u32).to_be_bytes()),
        IpAddr::V6(v6) => IpAddr::from((v6.to_bits() + count * step).to_be_bytes()),
    })
}

/// Whether a number is within `9..11`, or is the one.
fn within(what: &str, range: &str, got: u64) -> Result<(), Wrong> {
    let (least, most) = range.split_once("..").unwrap_or((range, range));
    let (least, most): (u64, u64) = (parse(least, "number")?, parse(most, "number")?);
    if (least..=most).contains(&got) { Ok(()) } else { Err(format!("{what}: expected {range}, got {got}")) }
}

/// A client and its message, from the words `CLIENT NAME TYPE words...` at a place.
fn message(id: u16, words: Words<'_>, at: usize, cookies: &Cookies) -> Result<(Client, Vec<u8>), Wrong> {
    words.only(at + 3, &QUERY_WORDS)?;
    let ip = address(words.at(at)?)?;
    let peer = SocketAddr::new(ip, 5353);
    let client = if words.has("tcp") { tcp(peer, id.into()) } else { udp(peer) };
    let mut query = Message::query(id, words.at(at + 1)?, qtype(words.at(at + 2)?)?);
    let mut flags = if words.has("nord") { 0 } else { 0x0100 };
    for (word, bit) in [("cd", 0x10), ("ad", 0x20), ("notify", 4 << 11), ("update", 5 << 11), ("qr", 0x8000)] {
        flags |= if words.has(word) { bit } else { 0 };
    }
    flags |= words.number("opcode")?.map_or(0, |opcode| (opcode as u16) << 11);
    query = query.flags(flags);
    if words.values("class").next() == Some("CH") {
        let end = query.0.len();
        query.0[end - 1] = 3;
    }
    let mut options: Vec<u8> = words.values("option").flat_map(|code| option(code.parse().unwrap_or(0), b"")).collect();
    if let Some(text) = words.values("cookie").next() {
        options.extend(option(10, &cookie(text, cookies)?));
    }
    if let Some(subnet) = words.values("ecs").next() {
        options.extend(option(8, &client_subnet(subnet)?));
    }
    let payload = words.number("edns")?;
    if payload.is_some() || words.has("edns") || words.has("do") || !options.is_empty() {
        query = query.opt(payload.unwrap_or(1232) as u16, words.has("do"), &options);
    }
    if words.has("tsig") {
        query = query.tsig();
    }
    let mut bytes = query.bytes();
    if words.has("alone") {
        bytes.drain(12..question_end(&bytes));
        bytes[5] = 0;
    }
    if words.has("trailing") {
        bytes.push(0);
    }
    if words.has("cut") {
        bytes.pop();
    }
    Ok((client, bytes))
}
