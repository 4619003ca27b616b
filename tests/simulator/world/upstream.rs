//! What goes to the servers of a world, and what comes back from them.

use super::{DEAD, Event, World, folded};
use crate::check::key;
use crate::clients::{Kind, Sent};
use crate::invariants::{Flight, zone_of};
use crate::servers::Back;
use crate::stage::message::{id_of, question_name, question_type};
use rand::RngExt;
use weir::dns::query::Query;
use weir::gateway::{From, LinkPort};
use weir::upstream::LINKS_MAX;

impl World {
    pub(super) fn forward(&mut self, worker: usize, from: From, link: LinkPort, bytes: &[u8], asker: Option<&Sent>) {
        let (name, tcp) = (question_name(bytes), matches!(from, From::Tcp(_)));
        let query = Query::scan(bytes).expect("what is sent upstream is well-formed");
        let opaque = query.opcode != 0 || query.signed;
        assert!(!opaque || self.opaque.contains(&bytes[2..]), "it passes byte for byte: {bytes:02x?}");
        let has_cookie = query.edns.as_ref().is_some_and(|edns| edns.cookie.is_some());
        assert!(!has_cookie || query.signed || !query.asks_for_records(), "an upstream sees a cookie: {bytes:02x?}");
        // The root is asked for by health probes.
        if !name.is_empty() {
            // Transfers are for access.toml to allow.
            if !opaque && query.asks_for_records() {
                self.invariants.may_be_asked(self.at, self.clock_ms(), &name);
            }
            if let Some(sent) = asker.filter(|sent| sent.kind == Kind::Plain && !opaque) {
                self.invariants.took_off(Flight {
                    worker,
                    asker: key(sent).expect("a whole query"),
                    message: folded(bytes),
                    zone: zone_of(&name),
                    deadline: self.at.plus(self.play.timeout_of(&name)),
                    led: question_name(&sent.bytes) != name,
                });
                self.invariants.no_zone_is_over_its_share(self.at, &zone_of(&name));
                self.invariants.sent_under_a_budget(self.at, &self.play, &name);
            }
            self.asked_for.entry(query.name.to_string()).or_default().1 += 1;
        }
        let Some(address) = self.stage.workers[worker].link_address(link.link) else { return };
        let server = self.servers.get_mut(&address).expect("a server of the policy");
        let mut back = server.receive(bytes, tcp, opaque, &mut self.rng);
        if self.dead && zone_of(&name) == DEAD {
            back.clear();
        }
        let (loss, rng) = (self.loss, &mut self.rng);
        back.retain(|_| tcp || !rng.random_bool(loss));
        let socket = self.socket(worker, from);
        for (after, back) in back {
            let at = self.at.plus(after);
            match back {
                Back::Unreachable => self.push(at, Event::Unreachable(worker, from)),
                Back::Ended => self.push(at, Event::Ended(worker, from, id_of(bytes))),
                Back::Elsewhere(bytes) => {
                    let elsewhere = self.elsewhere(from);
                    let socket = self.socket(worker, elsewhere);
                    self.push(at, Event::Response(worker, elsewhere, socket, bytes, None));
                }
                Back::Truth(bytes) => {
                    let question = (question_name(&bytes), question_type(&bytes));
                    self.push(at, Event::Response(worker, from, socket, bytes, Some(question)));
                }
                Back::Lie(bytes) => self.push(at, Event::Response(worker, from, socket, bytes, None)),
            }
        }
    }

    /// Another socket, or another use of the link.
    fn elsewhere(&mut self, from: From) -> From {
        match from {
            From::Udp(LinkPort { link, port }) => From::Udp(LinkPort { link, port: (port + 1) % 8 }),
            From::Tcp(LinkPort { mut link, port }) => {
                link.slot = (link.slot + 1 + self.rng.random_range(0..100)) % LINKS_MAX as u16;
                link.generation ^= 1;
                From::Tcp(LinkPort { link, port })
            }
        }
    }
}
