//! A policy whose local data leads elsewhere, with its plain model, and a feed whose primary signs.

use crate::answers::{Bounds, Does, Expected, Feed, Says};
use crate::grown::{GUARDED, PARKED, PARKED6, PLAIN};
use crate::leads::Lead;
use crate::policies::{Block, Play};
use crate::signatures::SECRETS;

/// What leads on from one name of `steps.test` to the next.
const STEPS: [&str; 11] = [
    "c2.chain.test",
    "s0.steps.test",
    "s1.steps.test",
    "s2.steps.test",
    "s3.steps.test",
    "s4.steps.test",
    "s5.steps.test",
    "s6.steps.test",
    "s7.steps.test",
    "s8.steps.test",
    "s9.steps.test",
];

const fn step(number: usize) -> Block {
    Block::Lead(Lead::to(STEPS[number], 40 + number as u32))
}

/// Where answers with parked addresses lead.
const INSTEAD: Does = Does::always(Block::Lead(Lead::to("n5.plain.test", 8)));

pub(crate) const LEADING: Play = Play {
    name: "leading",
    gateway: "[[upstream]]\nname = \"u0\"\naddress = \"192.0.2.10\"\n[[upstream]]\nname = \"u2\"\naddress = \"192.0.2.12\"\n\
         [[upstream]]\nname = \"u3\"\naddress = \"192.0.2.13\"\npool = \"b\"\n[[route]]\nzone = \"own.test\"\npool = \"b\"\n\
         [pool.default]\ntimeout = \"400ms\"\nretries = 1\n[pool.b]\ntimeout = \"400ms\"\nretries = 1\n\
         [[feed]]\nname = \"f\"\nprimary = \"10.0.0.2\"\nzone = \"feed.test\"\n\
         tsig = { name = \"feed-key\", algorithm = \"hmac-sha256\", secret_file = \"keys.secrets\" }\n",
    more: &[("keys.secrets", SECRETS), ("limits", "[rebinding]\nmode = \"enforce\"\n")],
    filter: "[[rule]]\nid = \"led\"\nnames = [\"led.test\"]\naction = \"data\"\ncname = \"n1.plain.test\"\nttl = 9\n\
         [[rule]]\nid = \"away\"\nnames = [\"*.away.test\"]\naction = \"data\"\ncname = \"*.none.test\"\nttl = 10\n\
         [[rule]]\nid = \"across\"\nnames = [\"*.across.test\"]\naction = \"data\"\ncname = \"*.long.test\"\nttl = 11\n\
         [[rule]]\nid = \"watched\"\nnames = [\"watched.test\"]\naction = \"data\"\ncname = \"*.guarded.test\"\nttl = 12\n\
         [[rule]]\nid = \"over\"\nnames = [\"over.test\"]\naction = \"data\"\ncname = \"n2.blocked.test\"\nttl = 13\n\
         [[rule]]\nid = \"park\"\nnames = [\"park.test\"]\naction = \"data\"\ncname = \"n1.parked.test\"\nttl = 14\n\
         [[rule]]\nid = \"inside\"\nnames = [\"toinner.test\"]\naction = \"data\"\ncname = \"*.inner.test\"\nttl = 15\n\
         [[rule]]\nid = \"home\"\nnames = [\"home.test\"]\naction = \"data\"\ncname = \"n1.home.test\"\nttl = 16\n\
         [[rule]]\nid = \"end\"\nnames = [\"toend.test\"]\naction = \"data\"\ncname = \"end.plain.test\"\nttl = 17\n\
         [[rule]]\nid = \"c0\"\nnames = [\"=n0.circle.test\"]\naction = \"data\"\ncname = \"n1.circle.test\"\nttl = 18\n\
         [[rule]]\nid = \"c1\"\nnames = [\"=n1.circle.test\"]\naction = \"data\"\ncname = \"n0.circle.test\"\nttl = 19\n\
         [[rule]]\nid = \"h0\"\nnames = [\"=n0.here.test\"]\naction = \"data\"\ncname = \"n2.here.test\"\nttl = 20\n\
         [[rule]]\nid = \"h2\"\nnames = [\"=n2.here.test\"]\naction = \"data\"\nrecords = [\"A 192.0.2.99\"]\nttl = 21\n\
         [[rule]]\nid = \"s0\"\nnames = [\"=s0.steps.test\"]\naction = \"data\"\ncname = \"c2.chain.test\"\nttl = 40\n\
         [[rule]]\nid = \"s1\"\nnames = [\"=s1.steps.test\"]\naction = \"data\"\ncname = \"s0.steps.test\"\nttl = 41\n\
         [[rule]]\nid = \"s2\"\nnames = [\"=s2.steps.test\"]\naction = \"data\"\ncname = \"s1.steps.test\"\nttl = 42\n\
         [[rule]]\nid = \"s3\"\nnames = [\"=s3.steps.test\"]\naction = \"data\"\ncname = \"s2.steps.test\"\nttl = 43\n\
         [[rule]]\nid = \"s4\"\nnames = [\"=s4.steps.test\"]\naction = \"data\"\ncname = \"s3.steps.test\"\nttl = 44\n\
         [[rule]]\nid = \"s5\"\nnames = [\"=s5.steps.test\"]\naction = \"data\"\ncname = \"s4.steps.test\"\nttl = 45\n\
         [[rule]]\nid = \"s6\"\nnames = [\"=s6.steps.test\"]\naction = \"data\"\ncname = \"s5.steps.test\"\nttl = 46\n\
         [[rule]]\nid = \"s7\"\nnames = [\"=s7.steps.test\"]\naction = \"data\"\ncname = \"s6.steps.test\"\nttl = 47\n\
         [[rule]]\nid = \"s8\"\nnames = [\"=s8.steps.test\"]\naction = \"data\"\ncname = \"s7.steps.test\"\nttl = 48\n\
         [[rule]]\nid = \"s9\"\nnames = [\"=s9.steps.test\"]\naction = \"data\"\ncname = \"s8.steps.test\"\nttl = 49\n\
         [[rule]]\nid = \"s10\"\nnames = [\"=s10.steps.test\"]\naction = \"data\"\ncname = \"s9.steps.test\"\nttl = 50\n\
         [[rule]]\nid = \"b\"\nnames = [\"blocked.test\"]\naction = \"nxdomain\"\n\
         [[rule]]\nid = \"g\"\nnames = [\"guarded.test\"]\naction = \"expect\"\nanswers = [\"198.19.0.0/16\"]\n\
         [[rule]]\nid = \"t\"\nnames = [\"long.test\"]\naction = \"ttl\"\nrto = \"5s\"\n\
         [[rule]]\nid = \"m\"\nnames = [\"=n1.plain.test\", \"brief.test\"]\naction = \"ttl\"\nmin = \"7s\"\nmax = \"1m\"\n\
         [[rule]]\nid = \"p\"\nresponse_ip = [\"198.51.100.0/24\", \"2001:db8:bad::/48\"]\naction = \"data\"\n\
         cname = \"n5.plain.test\"\nttl = 8\n",
    blocks: &[
        ("led.test", Block::Lead(Lead::to("n1.plain.test", 9))),
        ("away.test", Block::Lead(Lead::below("none.test", 10))),
        ("across.test", Block::Lead(Lead::below("long.test", 11))),
        ("watched.test", Block::Lead(Lead::below("guarded.test", 12))),
        ("over.test", Block::Lead(Lead::to("n2.blocked.test", 13))),
        ("park.test", Block::Lead(Lead::to("n1.parked.test", 14))),
        ("toinner.test", Block::Lead(Lead::below("inner.test", 15))),
        ("home.test", Block::Lead(Lead::to("n1.home.test", 16))),
        ("toend.test", Block::Lead(Lead::to("end.plain.test", 17))),
        ("n0.circle.test", Block::Lead(Lead::to("n1.circle.test", 18))),
        ("n1.circle.test", Block::Lead(Lead::to("n0.circle.test", 19))),
        ("n0.here.test", Block::Lead(Lead::to("n2.here.test", 20))),
        ("n2.here.test", Block::Local(21)),
        ("s0.steps.test", step(0)),
        ("s1.steps.test", step(1)),
        ("s2.steps.test", step(2)),
        ("s3.steps.test", step(3)),
        ("s4.steps.test", step(4)),
        ("s5.steps.test", step(5)),
        ("s6.steps.test", step(6)),
        ("s7.steps.test", step(7)),
        ("s8.steps.test", step(8)),
        ("s9.steps.test", step(9)),
        ("s10.steps.test", step(10)),
        ("blocked.test", Block::Nxdomain),
    ],
    says: &Says {
        expects: &[Expected { zone: "guarded.test", within: GUARDED, block: Block::Servfail }],
        addresses: &[(PARKED, INSTEAD), (PARKED6, INSTEAD)],
        rebinding: true,
        inside: &["own.test"],
        bounds: &[
            // Half of the recovery time.
            Bounds { max: 2, ..Bounds::of("long.test") },
            Bounds { min: 7, max: 60, ..Bounds::of("n1.plain.test") },
            Bounds { min: 7, max: 60, ..Bounds::of("brief.test") },
        ],
        feed: Feed::Signed,
        ..Says::NOTHING
    },
    ..PLAIN
};
