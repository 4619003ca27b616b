//! The seven invariants, a function each. They judge by what goes in and out of the cores, not by what these say of
//! themselves, and hold in every world, whatever attacks it:
//!
//! 1. [`every_query_has_one_verdict`]
//! 2. [`Invariants::bytes_toward_an_unverified_network_are_bounded`]
//! 3. [`nothing_unvetted_is_cached`], and of what is sent, [`crate::check::check`] and [`Invariants::may_be_asked`]
//! 4. [`Invariants::memory_is_bounded`]
//! 5. [`Invariants::no_zone_is_over_its_share`]
//! 6. [`no_withheld_address_is_sent`]
//! 7. [`Invariants::no_budget_lets_more_through`]

use crate::answers::{Budget, Per, Purse, Who};
use crate::check::{self, Asked};
use crate::grown::ALL_BUDGETS;
use crate::memory::Count;
use crate::policies::{Play, RATE_MAX, Rates};
use crate::stage::Stage;
use crate::stage::message::{cookies_of, question_name, question_type, read};
use crate::world::FLIGHTS_MAX;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::svcb::SvcParamValue;
use hickory_proto::rr::{RData, RecordType};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use weir::cache::{Flags, Found, Key};
use weir::clock::Moment;
use weir::dns::query::Query;
use weir::verdict::Outcome;

/// The longest that a question may wait under any policy, with some ticks: what was let in under an earlier policy, or
/// while its zone answered well, is gone after that.
const LONGEST: Duration = Duration::from_millis(700);

/// A zone that has not answered for so long holds its share and no more.
const ANSWERING: Duration = Duration::from_millis(250);

/// The most bytes of a datagram to a client.
const DATAGRAM_MAX: u64 = 1232;

/// What runs at one time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Regime {
    since: Moment,
    play: Play,
    mode: bool,
}

/// What the simulator keeps to judge by.
pub(crate) struct Invariants {
    /// What runs, and what ran.
    regimes: Vec<Regime>,
    debts: BTreeMap<Account, Debt>,
    flights: Vec<Flight>,
    /// When the truth about a name of a zone last arrived.
    answered: BTreeMap<String, Moment>,
    /// Questions that were let through, by the zone of their budget and whose it is.
    taken: BTreeMap<Purse, Vec<(Moment, Budget)>>,
    /// Until when accounts would be spoken for if every question, under whatever policy, had taken from them.
    asked: BTreeMap<Purse, u64>,
    /// Bytes of the tables of limits, at the start.
    tables: usize,
    /// Bytes that the cores hold more than at the start, by taking up policies.
    grown: i64,
}

/// Whose answers of which kind: a network, a kind, a name and a type.
type Account = (u128, &'static str, String, u16);

/// The account of one kind of answer to one network.
#[derive(Default)]
struct Debt {
    /// Until when its answers are spoken for, in units of 16 ns.
    due: u64,
    first: u64,
    bytes: u64,
}

/// A question that the upstream was asked, as soon as a client had asked it.
pub(crate) struct Flight {
    pub(crate) worker: usize,
    pub(crate) asker: (String, u16),
    /// The message, its letters folded and without its id.
    pub(crate) message: Vec<u8>,
    pub(crate) zone: String,
    pub(crate) deadline: Moment,
    /// It is for a name that its client has not asked for.
    pub(crate) led: bool,
}

/// What the world's book says about the queries that have come.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) asked: u64,
    pub(crate) replies: u64,
    /// Queries whose end was silence, as far as that can be seen from outside.
    pub(crate) silent: u64,
    /// NOTIFYs that were heard.
    pub(crate) heard: u64,
}

/// Invariant 1: Every query is in flight or has had exactly one end, and every end that is not silence is one reply. That
/// no reply goes to somebody who waits for none is held by the world where replies arrive.
pub(crate) fn every_query_has_one_verdict(stage: &Stage, book: &Book, at_the_end: bool) {
    let (totals, in_flight) = (stage.totals(), stage.in_flight() as u64);
    let counted = totals.all();
    assert_eq!(book.asked, counted + in_flight, "one verdict: {book:?}, {counted} counted, {in_flight} in flight");
    assert!(book.replies + book.silent <= counted, "one verdict: {book:?}, {counted} counted");
    if at_the_end {
        let silence = [Outcome::Dropped, Outcome::Malformed, Outcome::Transferred];
        let silent: u64 = silence.into_iter().map(|outcome| totals.outcome(outcome)).sum();
        assert_eq!(in_flight, 0, "one verdict: somebody still waits");
        assert_eq!(book.asked, book.replies + silent, "one verdict: {book:?}, {silent} silent");
    }
}

/// Invariant 3: Whatever the cache has for a question is the truth about it, as far as anybody can tell.
pub(crate) fn nothing_unvetted_is_cached(stage: &Stage, at: Moment, asked: &[u8]) {
    let Ok(query) = Query::scan(asked) else { return };
    let subnet = query.edns.as_ref().and_then(|edns| edns.client_subnet);
    let key = Key {
        name: &query.name,
        qtype: query.qtype,
        qclass: query.qclass,
        flags: Flags::new(query.rd, query.cd, query.dnssec_ok()),
        client_subnet: subnet.map_or(&[][..], |(from, to)| &asked[from..to]),
    };
    let mut room = vec![0; 1 << 16];
    if let Found::Hit(hit) = stage.shared.cache.get(at, &key, &mut room) {
        let body = &room[..hit.len];
        check::holds_no_forgery(body)
            .and_then(|()| check::is_believable(&question_name(asked), question_type(asked), &read(body)))
            .unwrap_or_else(|wrong| panic!("unvetted and cached: {wrong}: {body:02x?}"));
    }
}

/// Invariant 6: No reply holds an address, in whatever section, that the policy that runs withholds from its client at this
/// time: be the answer fresh, from the cache, stale, somebody else's, or in flight over a reload.
pub(crate) fn no_withheld_address_is_sent(play: &Play, who: &Who, query: &[u8], reply: &[u8]) {
    if reply.len() < 12 || reply[5] != 1 {
        return;
    }
    let (question, read) = (question_name(query), read(reply));
    if play.exempts(&question) {
        return;
    }
    // Where local data leads no rule about addresses is heard, and those that vouch for answers hear the names from there on.
    let targets = play.targets(&question);
    let leads = |data: &RData| matches!(data, RData::CNAME(target) if targets.contains(&lower(&target.0)));
    let led = read.answers.iter().take_while(|record| leads(&record.data)).count();
    let mut names = if led == 0 { vec![question] } else { Vec::new() };
    for record in &read.answers[led.saturating_sub(1)..] {
        if let RData::CNAME(target) = &record.data {
            names.push(lower(&target.0));
        }
    }
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    for record in read.answers.iter().chain(&read.authorities).chain(&read.additionals) {
        for address in addresses_of(&record.data) {
            let withheld = play.says.withholds((led == 0).then_some(who), play.strict, &names, address);
            assert!(!withheld, "withheld: {who:?} gets {address} for {names:?} under {play:?}");
        }
    }
}

fn lower(name: &hickory_proto::rr::Name) -> String {
    name.to_string().to_ascii_lowercase().trim_end_matches('.').to_owned()
}

/// The addresses of a record, hints of HTTPS (RFC 9460) among them.
fn addresses_of(data: &RData) -> Vec<IpAddr> {
    match data {
        RData::A(a) => vec![a.0.into()],
        RData::AAAA(aaaa) => vec![aaaa.0.into()],
        RData::HTTPS(https) => {
            let values = https.0.svc_params.iter().map(|(_, value)| value);
            let hints = |value: &SvcParamValue| match value {
                SvcParamValue::Ipv4Hint(hint) => hint.0.iter().map(|a| IpAddr::from(a.0)).collect(),
                SvcParamValue::Ipv6Hint(hint) => hint.0.iter().map(|a| IpAddr::from(a.0)).collect(),
                _ => Vec::new(),
            };
            values.flat_map(hints).collect()
        }
        _ => Vec::new(),
    }
}

impl Invariants {
    pub(crate) fn new(at: Moment, play: Play, stage: &Stage) -> Self {
        Self {
            regimes: vec![Regime { since: at, play, mode: false }],
            debts: BTreeMap::new(),
            flights: Vec::new(),
            answered: BTreeMap::new(),
            taken: BTreeMap::new(),
            asked: BTreeMap::new(),
            tables: tables(stage),
            grown: 0,
        }
    }

    /// Notes that another policy runs, or a mode.
    pub(crate) fn changed(&mut self, at: Moment, play: Play, mode: bool) {
        // Who waits for a name to which an earlier policy has led begins anew, nobody outside sees when.
        self.flights.retain(|flight| !flight.led);
        self.regimes.push(Regime { since: at, play, mode });
    }

    fn regime(&self) -> Regime {
        *self.regimes.last().expect("one runs")
    }

    /// How often something else ran since a moment.
    pub(crate) fn changes_since(&self, at: Moment) -> u32 {
        self.regimes[1..].iter().filter(|regime| regime.since >= at).count() as u32
    }

    /// All that ran within the longest that a question may wait.
    fn lately(&self, at: Moment) -> impl Iterator<Item = &Regime> {
        let ends = self.regimes[1..].iter().map(|next| next.since).chain([Moment::from_nanos(u64::MAX)]);
        self.regimes.iter().zip(ends).filter(move |(_, end)| *end > at || at.since(*end) < LONGEST).map(|(r, _)| r)
    }

    /// Invariant 2: Over UDP to an address that has not shown a cookie, what is no answer is not much longer than the query, and
    /// answers are bounded for each network, kind and name by the arithmetic of the account: it takes `cap`, one second's
    /// worth of answers, at once, and each answer costs `interval` = 1 s / rate. An answer at `now` is given only while
    /// the account, which is charged for it, stays within `now + cap`; so between the first answer and `now` there are at
    /// most `(now - first + cap) / interval` of them, whatever else was charged in between. Names, types and kinds are
    /// told apart here at least as finely as by the gateway, whose accounts can therefore only be stricter.
    pub(crate) fn bytes_toward_an_unverified_network_are_bounded(
        &mut self,
        at: Moment,
        (client, verified): (IpAddr, bool),
        query: &[u8],
        reply: &[u8],
    ) {
        let truncated = reply[2] & 2 != 0;
        let is_full = !truncated && (query.len() < 12 || !is_badcookie(reply));
        if !is_full {
            assert!(reply.len() <= query.len() + 16, "bytes: {} in reply to {}", reply.len(), query.len());
            return;
        }
        let Regime { play, mode, .. } = self.regime();
        let Some(rates) = play.rates(mode) else { return };
        let (kind, name, qtype, rate) = account_of(&play, query, reply, rates);
        if rate == 0 || verified && kind != "error" {
            return;
        }
        let (now, interval) = (at.as_nanos() >> 4, (1_000_000_000 >> 4) / u64::from(rate));
        let cap = interval * u64::from(rate);
        let debt = self.debts.entry((network(client), kind, name, qtype)).or_default();
        if debt.due == 0 {
            debt.first = now;
        }
        debt.due = debt.due.max(now) + interval;
        debt.bytes += reply.len() as u64;
        assert!(
            debt.due <= now + cap,
            "bytes: an answer ({kind}) too many to the network of {client} at {rate} a second"
        );
        // Other policies ran before, but none with a higher rate.
        let answers = (now - debt.first + (1_000_000_000 >> 4)) / ((1_000_000_000 >> 4) / u64::from(RATE_MAX)) + 1;
        assert!(debt.bytes <= answers * DATAGRAM_MAX, "bytes: {} to the network of {client}", debt.bytes);
    }

    /// Invariant 3: What goes upstream is a question that policy lets pass: now, or when it may have been asked.
    pub(crate) fn may_be_asked(&self, at: Moment, clock_ms: u64, name: &str) {
        let clocks = [clock_ms, clock_ms - LONGEST.as_millis() as u64];
        let whos = clocks.map(|clock_ms| Who { client: Ipv4Addr::UNSPECIFIED.into(), clock_ms });
        let led = |play: &Play| {
            // Rules that block are not heard about a name to which local data leads; what leads on is not asked for.
            let leads_on = play.blocks(&whos[0], name).is_some() && play.local_data(name).is_some();
            play.leads_to(name) && !leads_on && !play.blocks_by_emergency(name)
        };
        let passes = |who: &Who| {
            let passes = |play: &Play| play.says.answers_first || play.blocks(who, name).is_none() || led(play);
            self.lately(at).any(|regime| passes(&regime.play))
        };
        assert!(whos.iter().any(passes), "unvetted and sent: {name} is blocked");
    }

    /// Since when everything is as it is now.
    pub(crate) fn since(&self) -> Moment {
        self.regime().since
    }

    /// Notes an answer to a question that came under a budget, unless it shows that the budget was used up.
    pub(crate) fn took_from_a_budget(&mut self, asked: &Asked, reply: &[u8]) {
        let name = question_name(&asked.sent.bytes);
        let Some(budget) = asked.play.says.budget(&name).filter(|budget| budget.per != Per::Rule) else { return };
        // Who is refused or sent for a cookie has taken nothing; who had no place has, and is not counted here.
        if asked.doubled || !matches!(reply[3] & 15, 0 | 3) || reply[2] & 2 != 0 {
            return;
        }
        let purse = budget.purse(&name, asked.sent.client.peer.ip());
        self.taken.entry(purse).or_default().push((asked.at, *budget));
    }

    /// Notes that a question went upstream as soon as it had come.
    pub(crate) fn sent_under_a_budget(&mut self, at: Moment, play: &Play, name: &str) {
        if let Some(budget) = play.says.budget(name).filter(|budget| budget.per == Per::Rule) {
            let purse = budget.purse(name, Ipv4Addr::UNSPECIFIED.into());
            self.taken.entry(purse).or_default().push((at, *budget));
        }
    }

    /// Notes that a question came, and says whether the budget of its name may have been used up: it would be if all that
    /// came before, under whatever policy, had taken from it.
    pub(crate) fn may_be_over(&mut self, at: Moment, name: &str, client: IpAddr) -> bool {
        let Some(budget) = Budget::of(ALL_BUDGETS, name) else { return false };
        let until = self.asked.entry(budget.purse(name, client)).or_default();
        let (now, step) = (at.as_nanos(), 1_000_000_000 / budget.qps);
        let wanted = now.max(*until) + step;
        *until = wanted.min(now + step * budget.burst);
        wanted > *until
    }

    /// Invariant 7: A budget lets through what its rate gives and a burst, over whatever time, whoever asks, and whatever
    /// policies with the same rule come and go.
    pub(crate) fn no_budget_lets_more_through(&mut self) {
        for (purse, taken) in &mut self.taken {
            taken.sort_by_key(|(at, _)| *at);
            let mut until = 0;
            for (at, budget) in taken {
                let step = 1_000_000_000 / budget.qps;
                until = at.as_nanos().max(until) + step;
                let ahead = until - at.as_nanos();
                assert!(ahead <= step * budget.burst, "budget: too many from {purse:?} at {at:?}");
            }
        }
    }

    /// Invariant 4: No call into a core allocates; taking up a policy changes its size by no more than a table of links; and the
    /// tables that are counted stay within what was configured.
    pub(crate) fn memory_is_bounded(&mut self, stage: &Stage, before: Count, adopted: Count, after: Count) {
        self.grown += adopted.live - before.live;
        assert!(self.grown.abs() <= 64 << 10, "memory: {} bytes more than at the start", self.grown);
        assert_eq!(adopted, after, "memory: a call into a core allocates");
        let counters = stage.shared.cache.counters();
        assert!(counters.bytes <= counters.size_bytes, "memory: the cache");
        assert_eq!(tables(stage), self.tables, "memory: the tables of limits");
        let flights = stage.workers.iter().map(weir::gateway::Gateway::in_flight).max();
        assert!(flights <= Some(FLIGHTS_MAX), "memory: {flights:?} in flight");
    }

    /// Notes a question that was asked of an upstream when its client asked it.
    pub(crate) fn took_off(&mut self, flight: Flight) {
        self.flights.push(flight);
    }

    /// Notes that the asker has its reply.
    pub(crate) fn landed(&mut self, asker: &(String, u16)) {
        if let Some(at) = self.flights.iter().position(|flight| flight.asker == *asker) {
            self.flights.swap_remove(at);
        }
    }

    /// Notes that something ended in silence.
    pub(crate) fn ended_silently(&mut self, is_it: impl Fn(&Flight) -> bool) {
        self.flights.retain(|flight| !is_it(flight));
    }

    /// Notes that the truth about a name arrived.
    pub(crate) fn answered(&mut self, at: Moment, name: &str) {
        self.answered.insert(zone_of(name), at);
    }

    /// Invariant 5: Of each zone no more questions wait at the upstreams than its share, or, while it answers well, half of
    /// them all: counted from what was sent to the upstreams and not answered in time. Those count that were sent when
    /// their client asked, because it is known until when they wait.
    pub(crate) fn no_zone_is_over_its_share(&mut self, at: Moment, zone: &str) {
        self.flights.retain(|flight| flight.deadline > at);
        let waiting = self.flights.iter().filter(|flight| flight.zone == zone).count();
        let answered = self.answered.get(zone).is_some_and(|answered| at.since(*answered) < LONGEST + ANSWERING);
        let most = self.lately(at).map(|regime| regime.play.places(zone, regime.mode, answered)).max();
        let most = most.expect("something runs");
        assert!(waiting <= most, "share: {waiting} questions wait for {zone}, which may hold {most}");
    }
}

fn tables(stage: &Stage) -> usize {
    stage.shared.rrl.bytes() + stage.shared.source.bytes() + stage.shared.storm.size_bytes()
}

/// The registrable domain of the names of the worlds.
pub(crate) fn zone_of(name: &str) -> String {
    let labels: Vec<_> = name.rsplitn(3, '.').take(2).collect();
    labels.into_iter().rev().collect::<Vec<_>>().join(".")
}

fn is_badcookie(reply: &[u8]) -> bool {
    !cookies_of(reply).is_empty() && read(reply).metadata.response_code == ResponseCode::BADCOOKIE
}

/// A /24 of IPv4, a /56 of IPv6.
fn network(client: IpAddr) -> u128 {
    match client.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits() >> 8 << 8,
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6) >> 72 << 72,
    }
}

/// What an answer is counted as, and the rate for it.
fn account_of(play: &Play, query: &[u8], reply: &[u8], rates: Rates) -> (&'static str, String, u16, u32) {
    let read = read(reply);
    let has_question = reply[5] == 1 && query.len() > 16;
    let name = || if has_question { question_name(query) } else { String::new() };
    match read.metadata.response_code {
        ResponseCode::NXDomain => {
            let soa = read.authorities.iter().find(|record| record.record_type() == RecordType::SOA);
            let owner = soa.map(|soa| soa.name.to_string().to_ascii_lowercase()).unwrap_or_default();
            // What stands behind a CNAME of the policy's is an answer of the gateway's own.
            let is_own = owner != "test." || play.local_data(&name()).is_some();
            ("nxdomain", if is_own { name() } else { owner }, 0, rates.nxdomains)
        }
        ResponseCode::NoError if !read.answers.is_empty() => {
            ("positive", name(), question_type(query), rates.responses)
        }
        // A query for nothing but a cookie.
        ResponseCode::NoError if !has_question => ("error", String::new(), 0, rates.errors),
        ResponseCode::NoError => ("nodata", name(), 0, rates.nodata),
        _ => ("error", String::new(), 0, rates.errors),
    }
}
