//! Policies about clients, addresses, name servers, lifetimes, budgets and hours, each with its plain model.

use crate::answers::{Bounds, Budget, Does, Expected, Feed, Net, Per, Says};
use crate::policies::{Block, OPEN, Play, RATES, UNLIMITED};
use std::time::Duration;

/// Networks of the rules.
pub(crate) const PARKED: Net = Net::V4(&[198, 51, 100]);
pub(crate) const PARKED6: Net = Net::V6(&[0x20, 1, 0x0d, 0xb8, 0x0b, 0xad]);
pub(crate) const GUARDED: Net = Net::V4(&[198, 19]);
const BRANCH: Net = Net::V4(&[10, 0, 0, 1]);

/// When the minute ends at which schedules change, and a moment in the next.
const MINUTE_MS: u64 = 60_000;
const EXPIRES_MS: u64 = 62_000;

const GATEWAY: &str = "[[upstream]]\nname = \"u0\"\naddress = \"192.0.2.10\"\n\
     [[upstream]]\nname = \"u1\"\naddress = \"192.0.2.11\"\n\
     [[upstream]]\nname = \"u3\"\naddress = \"192.0.2.13\"\npool = \"b\"\n[[route]]\nzone = \"own.test\"\npool = \"b\"\n\
     [pool.default]\ntimeout = \"400ms\"\nretries = 1\n[pool.b]\ntimeout = \"400ms\"\nretries = 1\n\
     [[feed]]\nname = \"f\"\nprimary = \"10.0.0.2\"\nzone = \"feed.test\"\n";

const BUDGETS: &str = "[[rule]]\nid = \"limit\"\nnames = [\"budget.test\"]\naction = \"limit\"\nqps = 2\nburst = 3\n\
     per = \"client\"\n\
     [[rule]]\nid = \"tree\"\nnames = [\"a.tree.test\", \"b.tree.test\"]\naction = \"limit\"\nqps = 3\nburst = 4\n\
     per = \"subtree\"\n\
     [[rule]]\nid = \"shed\"\nnames = [\"shed.test\", \"c.tree.test\"]\naction = \"shed\"\nbudget = { qps = 4 }\n";

/// All that any policy has: accounts outlive policies.
pub(crate) const ALL_BUDGETS: &[Budget] = &[
    Budget { id: "limit", names: &["budget.test"], qps: 2, burst: 3, per: Per::Client },
    Budget { id: "tree", names: &["a.tree.test", "b.tree.test"], qps: 3, burst: 4, per: Per::Name },
    Budget { id: "shed", names: &["shed.test", "c.tree.test"], qps: 4, burst: 4, per: Per::Rule },
];

const CLIENTS: &str = "[[group]]\nname = \"branch\"\nnetworks = [\"10.0.0.1\"]\n\
     [[schedule]]\nname = \"first\"\ntz = \"UTC\"\nwindows = [{ from = \"00:00\", to = \"00:01\" }]\n\
     [[schedule]]\nname = \"then\"\ntz = \"UTC\"\nwindows = [{ from = \"00:01\", to = \"23:00\" }]\n";

pub(crate) const PLAIN: Play = Play {
    name: "",
    gateway: GATEWAY,
    access: OPEN,
    limits: UNLIMITED,
    filter: "",
    more: &[],
    blocks: &[],
    attempts_max: 2,
    timeout: Duration::from_millis(400),
    rates: (RATES, false),
    storm: "enforce",
    servers: 2,
    emergency: false,
    strict: false,
    says: &Says::NOTHING,
};

pub(crate) const GUARDING: Play = Play {
    name: "guarding",
    more: &[("limits", "[rebinding]\nmode = \"enforce\"\nallow = [\"n1.inner.test\"]\n"), ("budgets", BUDGETS)],
    filter: "[[rule]]\nid = \"c\"\nclients = [\"10.0.0.7\"]\naction = \"refused\"\n\
         [[rule]]\nid = \"b\"\nnames = [\"blocked.test\"]\naction = \"data\"\nrecords = [\"A 192.0.2.99\"]\n\
         [[rule]]\nid = \"g\"\nnames = [\"guarded.test\"]\naction = \"expect\"\nanswers = [\"198.19.0.0/16\"]\n\
         [[rule]]\nid = \"t\"\nnames = [\"long.test\"]\naction = \"ttl\"\nmax = \"2s\"\n\
         [[rule]]\nid = \"p\"\nresponse_ip = [\"198.51.100.0/24\", \"2001:db8:bad::/48\"]\naction = \"nxdomain\"\n\
         [[rule]]\nid = \"n\"\nns_name = [\"ns1.bad.test\"]\naction = \"nodata\"\n\
         [[rule]]\nid = \"i\"\nns_ip = [\"203.0.113.53\"]\naction = \"refused\"\n\
         [[rule]]\nid = \"m\"\nnames = [\"brief.test\"]\naction = \"ttl\"\nmin = \"8s\"\n\
         [[rule]]\nid = \"r\"\nnames = [\"recovers.test\"]\naction = \"ttl\"\nrto = \"7s\"\nmin = \"2s\"\n",
    blocks: &[("blocked.test", Block::Sinkhole)],
    says: &Says {
        clients: &[(Net::V4(&[10, 0, 0, 7]), Does::always(Block::Refused))],
        expects: &[Expected { zone: "guarded.test", within: GUARDED, block: Block::Servfail }],
        addresses: &[(PARKED, Does::always(Block::Nxdomain)), (PARKED6, Does::always(Block::Nxdomain))],
        server_names: &[("ns1.bad.test", Does::always(Block::Nodata))],
        server_addresses: &[(Net::V4(&[203, 0, 113, 53]), Does::always(Block::Refused))],
        rebinding: true,
        inside: &["own.test", "n1.inner.test"],
        bounds: &[
            Bounds { max: 2, ..Bounds::of("long.test") },
            Bounds { min: 8, ..Bounds::of("brief.test") },
            // Half of the recovery time.
            Bounds { min: 2, max: 3, ..Bounds::of("recovers.test") },
        ],
        budgets: ALL_BUDGETS,
        feed: Feed::Unsigned,
        ..Says::NOTHING
    },
    ..PLAIN
};

/// The same, and nobody is kept from anything.
pub(crate) const WATCHING: Play = Play {
    name: "watching",
    more: &[("limits", "[rebinding]\nmode = \"monitor\"\n"), ("zone", "mode = \"monitor\"\n"), ("budgets", BUDGETS)],
    filter: GUARDING.filter,
    says: &Says { inside: &["own.test"], feed: Feed::Unsigned, ..Says::NOTHING },
    ..PLAIN
};

/// Some clients, at some times.
pub(crate) const TIMED: Play = Play {
    name: "timed",
    more: &[("clients.toml", CLIENTS), ("budgets", BUDGETS)],
    filter: "[[rule]]\nid = \"r1\"\nresponse_ip = [\"198.51.100.0/24\"]\nschedule = \"first\"\naction = \"nodata\"\n\
         [[rule]]\nid = \"r6\"\nresponse_ip = [\"2001:db8:bad::/48\"]\nschedule = \"then\"\naction = \"refused\"\n\
         [[rule]]\nid = \"g\"\nresponse_ip = [\"198.19.0.0/16\"]\ngroups = [\"@branch\"]\naction = \"nxdomain\"\n\
         [[rule]]\nid = \"t\"\nnames = [\"brief.test\"]\ngroups = [\"@branch\"]\naction = \"ttl\"\nmin = \"9s\"\n\
         [[rule]]\nid = \"n\"\nnames = [\"blocked.test\"]\nschedule = \"then\"\naction = \"nxdomain\"\n\
         [[rule]]\nid = \"m\"\nnames = [\"n5.plain.test\"]\nexpires = 2026-01-01T00:01:02Z\naction = \"nodata\"\n\
         [[rule]]\nid = \"x\"\nresponse_ip = [\"203.0.113.77\"]\nexpires = 2026-01-01T00:01:02Z\naction = \"nxdomain\"\n",
    says: &Says {
        names: &[
            ("blocked.test", Does { from_ms: MINUTE_MS, ..Does::always(Block::Nxdomain) }),
            ("n5.plain.test", Does { until_ms: EXPIRES_MS, ..Does::always(Block::Nodata) }),
        ],
        addresses: &[
            (PARKED, Does { until_ms: MINUTE_MS, ..Does::always(Block::Nodata) }),
            (PARKED6, Does { from_ms: MINUTE_MS, ..Does::always(Block::Refused) }),
            (GUARDED, Does { to: Some(BRANCH), ..Does::always(Block::Nxdomain) }),
            (Net::V4(&[203, 0, 113, 77]), Does { until_ms: EXPIRES_MS, ..Does::always(Block::Nxdomain) }),
        ],
        bounds: &[Bounds { min: 9, to: Some(BRANCH), ..Bounds::of("brief.test") }],
        inside: &["own.test"],
        budgets: ALL_BUDGETS,
        feed: Feed::Unsigned,
        ..Says::NOTHING
    },
    ..PLAIN
};

/// A response policy zone.
pub(crate) const ZONE: Play = Play {
    name: "zone",
    more: &[(
        "filters/20-all.rpz",
        "$TTL 30\n@ SOA ns. admin. 1 60 60 60 60\n@ NS ns.\n\
         blocked.test CNAME .\n*.blocked.test CNAME .\n*.wild.test CNAME *.\n\
         n3.plain.test CNAME rpz-drop.\n\
         24.0.100.51.198.rpz-ip CNAME *.\n48.zz.bad.db8.2001.rpz-ip CNAME .\n\
         ns1.bad.test.rpz-nsdname CNAME .\n32.53.113.0.203.rpz-nsip CNAME *.\n\
         32.7.0.0.10.rpz-client-ip CNAME .\n",
    )],
    gateway: "profile = \"authoritative\"\n[[upstream]]\nname = \"u0\"\naddress = \"192.0.2.10\"\n\
         [[upstream]]\nname = \"u2\"\naddress = \"192.0.2.12\"\n[pool.default]\ntimeout = \"400ms\"\nretries = 1\n",
    blocks: &[("blocked.test", Block::Nxdomain), ("wild.test", Block::Nodata), ("n3.plain.test", Block::Drop)],
    says: &Says {
        clients: &[(Net::V4(&[10, 0, 0, 7]), Does::always(Block::Nxdomain))],
        addresses: &[(PARKED, Does::always(Block::Nodata)), (PARKED6, Does::always(Block::Nxdomain))],
        server_names: &[("ns1.bad.test", Does::always(Block::Nxdomain))],
        server_addresses: &[(Net::V4(&[203, 0, 113, 53]), Does::always(Block::Nodata))],
        ..Says::NOTHING
    },
    ..PLAIN
};

/// Two zones: what the first says about answers comes before what the second says about questions.
pub(crate) const WAITING: Play = Play {
    name: "waiting",
    more: &[
        ("limits", "[rebinding]\nmode = \"enforce\"\nprivate = [\"10.66.0.0/16\", \"fd00::/8\"]\n"),
        (
            "filters/20-names.toml",
            "[zone]\ntitle = \"names\"\n[[rule]]\nid = \"q\"\nnames = [\"parked.test\"]\naction = \"refused\"\n\
             [[rule]]\nid = \"h\"\nnames = [\"=n1.guarded.test\"]\naction = \"nxdomain\"\n\
             [[rule]]\nid = \"s\"\nnames = [\"blocked.test\"]\naction = \"sinkhole\"\naddresses = [\"192.0.2.99\"]\n",
        ),
    ],
    filter: "[[rule]]\nid = \"p\"\nresponse_ip = [\"198.51.100.0/24\", \"2001:db8:bad::/48\"]\naction = \"nodata\"\n",
    blocks: &[("parked.test", Block::Refused), ("n1.guarded.test", Block::Nxdomain), ("blocked.test", Block::Sinkhole)],
    says: &Says {
        addresses: &[(PARKED, Does::always(Block::Nodata)), (PARKED6, Does::always(Block::Nodata))],
        rebinding: true,
        inside: &["own.test"],
        answers_first: true,
        feed: Feed::Unsigned,
        ..Says::NOTHING
    },
    ..PLAIN
};
