//! The policies between which a simulation reloads, each with a plain model of what it blocks.

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
}

/// The only address of sinkholes.
pub(crate) const SINKHOLE: [u8; 4] = [192, 0, 2, 99];

/// A policy and what is expected of it.
#[derive(Clone, Copy)]
pub(crate) struct Play {
    pub(crate) name: &'static str,
    gateway: &'static str,
    access: &'static str,
    limits: &'static str,
    filter: &'static str,
    /// Zones and what happens to names in them.
    blocks: &'static [(&'static str, Block)],
    /// The most messages to upstreams for one query.
    pub(crate) attempts_max: u64,
    /// The longest that a query waits.
    pub(crate) timeout: Duration,
}

const OPEN: &str =
    "allow = [\"0.0.0.0/0\", \"::/0\"]\n[notify]\nallow = [\"10.0.0.0/8\"]\n[update]\nallow = [\"10.0.0.0/8\"]\n";
const COOKIES: &str = "[source]\nmode = \"off\"\nmemory = \"1MiB\"\n[rrl]\nmode = \"off\"\nmemory = \"1MiB\"\n\
     [cookies]\nrequire = true\nbadcookies = 2\n";
const UNLIMITED: &str = "[source]\nmode = \"off\"\nmemory = \"1MiB\"\n[rrl]\nmode = \"off\"\nmemory = \"1MiB\"\n";

pub(crate) const PLAYS: [Play; 6] = [
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
    },
    Play {
        name: "blocking",
        gateway: "[[upstream]]\nname = \"u0\"\naddress = \"192.0.2.10\"\n[[upstream]]\nname = \"u1\"\naddress = \"192.0.2.11\"\ntier = 1\n\
                  [pool.default]\ntimeout = \"400ms\"\nretries = 2\nbalance = \"round-robin\"\n",
        access: OPEN,
        limits: UNLIMITED,
        filter: "[[rule]]\nid = \"b\"\nnames = [\"blocked.test\"]\naction = \"nxdomain\"\n\
                 [[rule]]\nid = \"e\"\nnames = [\"*.wild.test\"]\naction = \"nodata\"\n",
        blocks: &[("blocked.test", Block::Nxdomain), ("wild.test", Block::Nodata)],
        attempts_max: 3,
        timeout: Duration::from_millis(400),
    },
    Play {
        name: "sinkholing",
        gateway: "[[upstream]]\nname = \"u1\"\naddress = \"192.0.2.11\"\ntransport = \"tcp\"\n\
                  [[upstream]]\nname = \"u2\"\naddress = \"192.0.2.12\"\n\
                  [[upstream]]\nname = \"u3\"\naddress = \"192.0.2.13\"\npool = \"b\"\n\
                  [[route]]\nzone = \"routed.test\"\npool = \"b\"\n\
                  [pool.default]\ntimeout = \"600ms\"\nretries = 1\nbalance = \"hash\"\n[pool.b]\ntimeout = \"300ms\"\nretries = 0\n",
        access: OPEN,
        limits: UNLIMITED,
        filter: "[[rule]]\nid = \"s\"\nnames = [\"blocked.test\"]\naction = \"sinkhole\"\naddresses = [\"192.0.2.99\"]\n\
                 [[rule]]\nid = \"r\"\nnames = [\"=n3.plain.test\"]\naction = \"refused\"\n\
                 [[rule]]\nid = \"d\"\nnames = [\"=n4.plain.test\"]\naction = \"drop\"\n",
        blocks: &[("blocked.test", Block::Sinkhole), ("n3.plain.test", Block::Refused), ("n4.plain.test", Block::Drop)],
        attempts_max: 2,
        timeout: Duration::from_millis(600),
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
    },
    Play {
        name: "closed",
        gateway: "profile = \"authoritative\"\n[[upstream]]\nname = \"u0\"\naddress = \"192.0.2.10\"\n\
                  [[upstream]]\nname = \"u3\"\naddress = \"192.0.2.13\"\n\
                  [pool.default]\ntimeout = \"400ms\"\nretries = 1\n",
        access: "allow = [\"10.0.0.0/9\", \"fd00::/8\"]\ndenied = \"drop\"\n[transfer]\nallow = [\"10.1.0.0/16\"]\n\
                 [update]\nallow = [\"10.1.0.0/16\"]\n[[question]]\nqtypes = [\"ANY\"]\naction = \"truncate\"\n",
        limits: "[source]\nmode = \"monitor\"\nrate = 5\nburst = 5\nmemory = \"1MiB\"\n[rrl]\nmode = \"monitor\"\nresponses = 2\nmemory = \"1MiB\"\n",
        filter: "[[rule]]\nid = \"a\"\nnames = [\"=n1.alias.test\"]\naction = \"allow\"\n\
                 [[rule]]\nid = \"b\"\nnames = [\"blocked.test\"]\naction = \"refused\"\n",
        blocks: &[("blocked.test", Block::Refused)],
        attempts_max: 2,
        timeout: Duration::from_millis(400),
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
        let filter = format!("[zone]\ntitle = \"{}\"\n{}", self.name, self.filter);
        let files = [("gateway.toml", &*gateway), ("access.toml", self.access), ("limits.toml", self.limits)];
        let filter = (!self.filter.is_empty()).then_some(("filters/10-all.toml", &*filter));
        crate::stage::policy(files.into_iter().chain(filter))
    }

    /// What it does with a lower-case name; `question`: it is asked for, and no target of a CNAME.
    pub(crate) fn blocks(&self, name: &str) -> Option<Block> {
        let is_within = |zone: &str| name == zone || name.strip_suffix(zone).is_some_and(|front| front.ends_with('.'));
        self.blocks.iter().find(|(zone, _)| is_within(zone)).map(|(_, block)| *block)
    }

    /// Whether the answer to this question passes whatever names it leads through.
    pub(crate) fn exempts(&self, question: &str) -> bool {
        self.name == "closed" && question == "n1.alias.test"
    }
}
