//! The policies between which a simulation reloads, each with a plain model of what it blocks.

use crate::answers::{Says, Who};
use crate::grown;
use crate::leads::Lead;
use crate::redirects::LEADING;
use crate::truth::Truth;
use std::time::Duration;
use weir::policy::Policy;

/// What a policy does with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    Nxdomain,
    Nodata,
    Refused,
    Drop,
    Sinkhole,
    Servfail,
    /// Records of the policy's: the address of sinkholes, with this TTL.
    Local(u32),
    /// A CNAME of the policy's.
    Lead(Lead),
}

/// The only address of sinkholes.
pub(crate) const SINKHOLE: [u8; 4] = [192, 0, 2, 99];

/// A policy and what is expected of it.
#[derive(Clone, Copy)]
pub(crate) struct Play {
    pub(crate) name: &'static str,
    pub(crate) gateway: &'static str,
    pub(crate) access: &'static str,
    pub(crate) limits: &'static str,
    pub(crate) filter: &'static str,
    /// More files by path; `limits`, `zone`, `budgets`: what is added to limits.toml, `[zone]` and the rules.
    pub(crate) more: &'static [(&'static str, &'static str)],
    /// Zones and what happens to names in them.
    pub(crate) blocks: &'static [(&'static str, Block)],
    /// The most messages to upstreams for one query.
    pub(crate) attempts_max: u64,
    /// The longest that a query waits.
    pub(crate) timeout: Duration,
    /// The rates of `[rrl]`, and whether it is enforced.
    pub(crate) rates: (Rates, bool),
    /// The mode of `[storm]`.
    pub(crate) storm: &'static str,
    /// Servers of the default pool that serve at one time.
    pub(crate) servers: u32,
    /// An emergency rule refuses [`EMERGENCY`] besides.
    pub(crate) emergency: bool,
    /// [`MODE`] is on.
    pub(crate) strict: bool,
    /// What it says about clients and answers.
    pub(crate) says: &'static Says,
}

/// Answers per second and network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) responses: u32,
    pub(crate) nodata: u32,
    pub(crate) nxdomains: u32,
    pub(crate) errors: u32,
}

/// What is not written.
pub(crate) const RATES: Rates = Rates { responses: RATE_MAX, nodata: RATE_MAX, nxdomains: RATE_MAX, errors: 5 };

/// The highest of all rates.
pub(crate) const RATE_MAX: u32 = 20;

/// Questions that a server may have in flight, and a zone's part of them.
const INFLIGHT: u32 = 60;
const ZONE_INFLIGHT: f64 = 0.1;

/// The zone that the emergency rule is about: the end of most chains.
pub(crate) const EMERGENCY: &str = "end.plain.test";

/// The mode of every policy.
pub(crate) const MODE: &str = "strict";

const STRICT: &str = "[source]\nmode = \"enforce\"\nrate = 4\nburst = 4\n[rrl]\nmode = \"enforce\"\nresponses = 3\n\
                      [storm]\nmode = \"enforce\"\nzone_inflight = 0.05\n[rebinding]\nmode = \"enforce\"\n";

/// What the mode changes.
const STRICT_RESPONSES: u32 = 3;
const STRICT_ZONE_INFLIGHT: f64 = 0.05;

pub(crate) const OPEN: &str = "allow = [\"0.0.0.0/0\", \"::/0\"]\n[notify]\nallow = [\"10.0.0.0/8\"]\n\
     [update]\nallow = [\"10.0.0.0/8\"]\n[transfer]\nallow = [\"10.1.0.0/16\"]\n";
const COOKIES: &str = "[source]\nmode = \"off\"\nmemory = \"1MiB\"\n[rrl]\nmode = \"off\"\nmemory = \"1MiB\"\n\
     [cookies]\nrequire = true\nbadcookies = 2\n";
pub(crate) const UNLIMITED: &str =
    "[source]\nmode = \"off\"\nmemory = \"1MiB\"\n[rrl]\nmode = \"off\"\nmemory = \"1MiB\"\n";

pub(crate) const PLAYS: [Play; 20] = [
    LEADING,
    LEADING,
    LEADING,
    grown::GUARDING,
    grown::GUARDING,
    grown::WATCHING,
    grown::WATCHING,
    grown::TIMED,
    grown::TIMED,
    grown::ZONE,
    grown::ZONE,
    grown::WAITING,
    grown::WAITING,
    Play {
        name: "open",
        gateway: "[[upstream]]\nname = \"u0\"\naddress = \"192.0.2.10\"\n[[upstream]]\nname = \"u1\"\naddress = \"192.0.2.11\"\n\
                  [pool.default]\ntimeout = \"400ms\"\nretries = 1\n",
        access: OPEN,
        limits: UNLIMITED,
        filter: "",
        blocks: &[],
        attempts_max: 2,
        timeout: Duration::from_millis(400),
        rates: (RATES, false),
        storm: "enforce",
        servers: 2,
        emergency: false,
        strict: false,
        more: &[],
        says: &Says::NOTHING,
    },
    Play {
        name: "blocking",
        gateway: "[[upstream]]\nname = \"u0\"\naddress = \"192.0.2.10\"\n\
                  [[upstream]]\nname = \"u1\"\naddress = \"192.0.2.11\"\ntier = 1\n\
                  [pool.default]\ntimeout = \"400ms\"\nretries = 2\nbalance = \"round-robin\"\n",
        access: OPEN,
        limits: UNLIMITED,
        filter: "[[rule]]\nid = \"b\"\nnames = [\"blocked.test\"]\naction = \"nxdomain\"\n\
                 [[rule]]\nid = \"e\"\nnames = [\"*.wild.test\"]\naction = \"nodata\"\n",
        blocks: &[("blocked.test", Block::Nxdomain), ("wild.test", Block::Nodata)],
        attempts_max: 3,
        timeout: Duration::from_millis(400),
        rates: (RATES, false),
        storm: "enforce",
        servers: 1,
        emergency: false,
        strict: false,
        more: &[],
        says: &Says::NOTHING,
    },
    Play {
        name: "sinkholing",
        gateway: "[[upstream]]\nname = \"u1\"\naddress = \"192.0.2.11\"\ntransport = \"tcp\"\n\
                  [[upstream]]\nname = \"u2\"\naddress = \"192.0.2.12\"\n\
                  [[upstream]]\nname = \"u3\"\naddress = \"192.0.2.13\"\npool = \"b\"\n\
                  [[route]]\nzone = \"routed.test\"\npool = \"b\"\n\
                  [pool.default]\ntimeout = \"600ms\"\nretries = 1\nbalance = \"hash\"\n\
                  [pool.b]\ntimeout = \"300ms\"\nretries = 0\n",
        access: OPEN,
        limits: UNLIMITED,
        filter: "[[rule]]\nid = \"s\"\nnames = [\"blocked.test\"]\naction = \"sinkhole\"\naddresses = [\"192.0.2.99\"]\n\
                 [[rule]]\nid = \"r\"\nnames = [\"=n3.plain.test\"]\naction = \"refused\"\n\
                 [[rule]]\nid = \"d\"\nnames = [\"=n4.plain.test\"]\naction = \"drop\"\n",
        blocks: &[("blocked.test", Block::Sinkhole), ("n3.plain.test", Block::Refused), ("n4.plain.test", Block::Drop)],
        attempts_max: 2,
        timeout: Duration::from_millis(600),
        rates: (RATES, false),
        storm: "enforce",
        servers: 2,
        emergency: false,
        strict: false,
        more: &[],
        says: &Says::NOTHING,
    },
    Play {
        name: "strict",
        gateway: "[[upstream]]\nname = \"u0\"\naddress = \"192.0.2.10\"\n[[upstream]]\nname = \"u1\"\naddress = \"192.0.2.11\"\n\
                  [[upstream]]\nname = \"u2\"\naddress = \"192.0.2.12\"\ntier = 1\n\
                  [pool.default]\ntimeout = \"500ms\"\nretries = 3\n",
        access: OPEN,
        limits: "[source]\nrate = 20\nburst = 30\nslip = 2\nmemory = \"1MiB\"\n\
                 [rrl]\nmode = \"enforce\"\nresponses = 5\nerrors = 3\nnodata = 5\nnxdomains = 5\nslip = 2\nmemory = \"1MiB\"\n",
        filter: "[[rule]]\nid = \"b\"\nnames = [\"blocked.test\"]\naction = \"nodata\"\n",
        blocks: &[("blocked.test", Block::Nodata)],
        attempts_max: 4,
        timeout: Duration::from_millis(500),
        rates: (Rates { responses: 5, nodata: 5, nxdomains: 5, errors: 3 }, true),
        storm: "enforce",
        servers: 2,
        emergency: false,
        strict: false,
        more: &[],
        says: &Says::NOTHING,
    },
    Play {
        name: "uncached",
        gateway: "[[upstream]]\nname = \"u0\"\naddress = \"192.0.2.10\"\n\
                  [pool.default]\ntimeout = \"300ms\"\nretries = 1\n",
        access: OPEN,
        limits: COOKIES,
        filter: "",
        blocks: &[],
        attempts_max: 2,
        timeout: Duration::from_millis(300),
        rates: (RATES, false),
        storm: "enforce",
        servers: 1,
        emergency: false,
        strict: false,
        more: &[],
        says: &Says::NOTHING,
    },
    Play {
        name: "reflected",
        gateway: "[[upstream]]\nname = \"u0\"\naddress = \"192.0.2.10\"\n[[upstream]]\nname = \"u2\"\naddress = \"192.0.2.12\"\n\
                  [pool.default]\ntimeout = \"500ms\"\nretries = 1\n",
        access: OPEN,
        limits: "[source]\nmode = \"off\"\nmemory = \"1MiB\"\n\
                 [rrl]\nmode = \"enforce\"\nresponses = 4\nerrors = 4\nnodata = 4\nnxdomains = 4\nslip = 2\nmemory = \"1MiB\"\n",
        filter: "",
        blocks: &[],
        attempts_max: 2,
        timeout: Duration::from_millis(500),
        rates: (Rates { responses: 4, nodata: 4, nxdomains: 4, errors: 4 }, true),
        storm: "enforce",
        servers: 2,
        emergency: false,
        strict: false,
        more: &[],
        says: &Says::NOTHING,
    },
    Play {
        name: "closed",
        gateway: "profile = \"authoritative\"\n[[upstream]]\nname = \"u0\"\naddress = \"192.0.2.10\"\n\
                  [[upstream]]\nname = \"u3\"\naddress = \"192.0.2.13\"\n\
                  [pool.default]\ntimeout = \"400ms\"\nretries = 1\n",
        access: "allow = [\"10.0.0.0/9\", \"fd00::/8\"]\ndenied = \"drop\"\n[transfer]\nallow = [\"10.1.0.0/16\"]\n\
                 [update]\nallow = [\"10.1.0.0/16\"]\n[[question]]\nqtypes = [\"ANY\"]\naction = \"truncate\"\n",
        limits: "[source]\nmode = \"monitor\"\nrate = 5\nburst = 5\nmemory = \"1MiB\"\n\
                 [rrl]\nmode = \"monitor\"\nresponses = 2\nmemory = \"1MiB\"\n",
        filter: "[[rule]]\nid = \"a\"\nnames = [\"=n1.alias.test\"]\naction = \"allow\"\n\
                 [[rule]]\nid = \"b\"\nnames = [\"blocked.test\"]\naction = \"refused\"\n",
        blocks: &[("blocked.test", Block::Refused)],
        attempts_max: 2,
        timeout: Duration::from_millis(400),
        rates: (Rates { responses: 2, ..RATES }, false),
        storm: "monitor",
        servers: 2,
        emergency: false,
        strict: false,
        more: &[],
        says: &Says::NOTHING,
    },
];

impl std::fmt::Debug for Play {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Play {
    /// Compiles it.
    pub(crate) fn compile(&self) -> Policy {
        let size = if self.name == "uncached" { "0" } else { "\"1MiB\"" };
        let (head, tables) = match self.gateway.strip_prefix("profile = \"authoritative\"\n") {
            Some(tables) => ("profile = \"authoritative\"\n", tables),
            None => ("", self.gateway),
        };
        let gateway = format!(
            "schema = 1\n{head}{tables}[cache]\nsize = {size}\nstale = \"20s\"\nfailure_ttl = \"4s\"\n[log]\nqueries = \"all\"\n"
        );
        let gateway = gateway.replace("timeout =", &format!("inflight = {INFLIGHT}\ntimeout ="));
        let storm = format!("[storm]\nmode = \"{}\"\nzone_inflight = {ZONE_INFLIGHT}\nunknown = 20\n", self.storm);
        let added = |to| self.more.iter().filter(|(name, _)| *name == to).map(|(_, text)| *text).collect::<String>();
        let limits = format!("{}{storm}{}", self.limits, added("limits"));
        let filter = format!("[zone]\ntitle = \"{}\"\n{}{}{}", self.name, added("zone"), self.filter, added("budgets"));
        let files = [
            ("gateway.toml", &*gateway),
            ("access.toml", self.access),
            ("limits.toml", &*limits),
            ("modes/strict.toml", STRICT),
        ];
        let more = self.more.iter().copied().filter(|(path, _)| path.contains('.'));
        let filter = (!self.filter.is_empty()).then_some(("filters/10-all.toml", &*filter));
        crate::stage::policy(files.into_iter().chain(filter).chain(more))
    }

    /// The rates that are enforced, in the mode or without.
    pub(crate) fn rates(&self, mode: bool) -> Option<Rates> {
        let (rates, enforced) = self.rates;
        match (mode, enforced) {
            (true, _) => Some(Rates { responses: STRICT_RESPONSES, ..rates }),
            (false, true) => Some(rates),
            (false, false) => None,
        }
    }

    /// How long a question waits at the most, as its pool says.
    pub(crate) fn timeout_of(&self, name: &str) -> Duration {
        if self.is_routed(name) { Duration::from_millis(300) } else { self.timeout }
    }

    fn is_routed(&self, name: &str) -> bool {
        self.name == "sinkholing" && is_within(name, "routed.test")
    }

    /// The most questions for a zone that may wait upstream; `answered`: it answers well.
    pub(crate) fn places(&self, zone: &str, mode: bool, answered: bool) -> usize {
        if self.storm != "enforce" && !mode {
            return usize::MAX;
        }
        let capacity = INFLIGHT * if self.is_routed(zone) { 1 } else { self.servers };
        let part = if mode { STRICT_ZONE_INFLIGHT } else { ZONE_INFLIGHT };
        let share = (f64::from(capacity) * part) as usize;
        if answered { share.max(capacity as usize / 2) } else { share.max(1) }
    }

    /// What it does with a lower-case name, whatever its answer is.
    pub(crate) fn blocks(&self, who: &Who, name: &str) -> Option<Block> {
        if self.blocks_by_emergency(name) {
            return Some(Block::Refused);
        }
        // A CNAME that leads a name to itself lets it pass.
        let leads_to_itself = |block: &Block| matches!(block, Block::Lead(lead) if lead.target(name) == name);
        self.of_name(name).filter(|block| !leads_to_itself(block)).or_else(|| self.says.of_name(who, name))
    }

    fn of_name(&self, name: &str) -> Option<Block> {
        self.blocks.iter().find(|(zone, _)| is_within(name, zone)).map(|(_, block)| *block)
    }

    /// The local data of a name.
    pub(crate) fn local_data(&self, name: &str) -> Option<Block> {
        self.of_name(name).filter(|block| matches!(block, Block::Local(_) | Block::Lead(_)))
    }

    /// What it does with the answer to a question: a stage for the name asked for and each that it leads to.
    pub(crate) fn blocks_answer(&self, who: &Who, question: &str, truth: &Truth) -> Option<Block> {
        let targets = || truth.chain.iter().map(|(_, target)| &**target);
        let by_emergency = |name: &str| self.blocks_by_emergency(name).then_some(Block::Refused);
        // Before anything is asked; what an emergency rule says about targets comes before whatever else the answer shows.
        let of_question = by_emergency(question).or_else(|| self.says.of_client(who));
        let early = self.says.answers_first && truth.chain.is_empty();
        let by_address = early.then(|| self.says.of_addresses(who, truth)).flatten();
        let of_question = of_question.or(by_address).or_else(|| self.blocks(who, question));
        if let Some(block) = of_question.or_else(|| targets().find_map(by_emergency)) {
            return Some(block);
        }
        if self.exempts(question) {
            return None;
        }
        let of_stage = |(stage, name)| {
            let is_last = stage == truth.chain.len();
            let early = (self.says.answers_first && is_last).then(|| self.says.of_addresses(who, truth)).flatten();
            early.or_else(|| self.blocks(who, name)).or_else(|| self.says.of_answer(who, name, truth, is_last))
        };
        std::iter::once(question).chain(targets()).enumerate().find_map(of_stage).or_else(|| {
            let leads_inside = |address| self.says.leads_inside(self.strict, question, address);
            truth.addresses.iter().copied().any(leads_inside).then_some(Block::Nodata)
        })
    }

    /// Whether the emergency rule is on and speaks about a name.
    pub(crate) fn blocks_by_emergency(&self, name: &str) -> bool {
        self.emergency && is_within(name, EMERGENCY)
    }

    /// Whether the answer to this question passes whatever names it leads through.
    pub(crate) fn exempts(&self, question: &str) -> bool {
        self.name == "closed" && question == "n1.alias.test"
    }
}

pub(crate) fn is_within(name: &str, zone: &str) -> bool {
    name == zone || name.strip_suffix(zone).is_some_and(|front| front.ends_with('.'))
}
