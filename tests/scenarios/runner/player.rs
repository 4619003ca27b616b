//! Plays a scenario on one core, line by line, in virtual time.

mod expectations;

use crate::answers::answer;
use crate::desk::Desk;
use crate::questions::{Cookies, message};
use crate::script::{Words, Wrong, duration, parse};
use crate::stage::message::{Message, cookies_of, id_of, question_name, read};
use crate::stage::{EPOCH_MS, START, Stage, policy};
use expectations::{EXPECTATIONS, equal, within};
use hickory_proto::op::ResponseCode;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use weir::clock::{Moment, Now};
use weir::gateway::outbox::{Outbox, To};
use weir::gateway::{Client, From, Path};
use weir::ledger::Totals;
use weir::policy::document::instant;
use weir::policy::overload::Pressure;
use weir::verdict::Reason;

const TICK: Duration = Duration::from_millis(10);

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
    /// Health probes of a server whose connections end.
    hung_up: BTreeMap<String, u32>,
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
            let hung_up = self.hung_up.get_mut(&name).filter(|left| **left > 0);
            if let Some(left) = hung_up {
                *left -= 1;
                self.stage().workers[0].on_ended(at, from, id_of(&bytes));
            } else if !self.down.contains(&name) {
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

    /// `hangup SERVER`: the connection on which the oldest message waits there ends. `hangup SERVER probes=N`: those of the
    /// next health probes do.
    fn hang_up(&mut self, words: Words<'_>) -> Result<(), Wrong> {
        words.only(2, &["probes="])?;
        if let Some(probes) = words.number("probes")? {
            self.hung_up.insert(words.at(1)?.to_owned(), probes);
            return Ok(());
        }
        let held = self.take(words.at(1)?)?;
        let at = self.now();
        let stage = self.stage();
        stage.workers[0].begin_batch();
        stage.workers[0].on_ended(at, held.from, id_of(&held.bytes));
        Ok(())
    }
}
