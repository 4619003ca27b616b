//! Health probes: one worker asks every upstream what its pool's `health` says, along the same path as any query.

use super::outbox::{Outbox, To};
use super::{Asker, Desk, LINKS_MAX, LinkPort, View};
use crate::clock::Moment;
use crate::dns::response::Response;
use crate::dns::{HEADER_LEN, class, put_u16, rcode};
use crate::ledger::UpstreamEvent;
use crate::policy::server::Health;
use crate::upstream::Upstream;
use crate::upstream::flights::{Attempt, FlightId, Route};

/// When each upstream is probed next.
#[derive(Debug)]
pub(super) struct Prober {
    next: Box<[Moment]>,
}

impl Prober {
    pub(super) fn new() -> Self {
        Self { next: vec![Moment::ZERO; LINKS_MAX].into_boxed_slice() }
    }
}

impl Desk {
    /// Sends the probes that are due.
    pub(super) fn probe(&mut self, view: &View<'_>, out: &mut Outbox) {
        if self.prober.is_none() {
            return;
        }
        let routing = &view.running.routing;
        for upstream in &routing.upstreams {
            let health = &routing.pools[upstream.settings.pool].settings.health;
            let slot = usize::from(upstream.link.slot);
            let Some(next) = self.prober.as_mut().map(|prober| &mut prober.next[slot]) else { return };
            if *next > view.now.at {
                continue;
            }
            *next = view.now.at.plus(health.interval);
            self.send_probe(view, upstream, health, out);
        }
    }

    /// A probe that cannot be sent because a table is full says nothing about the upstream, so nothing is noted.
    fn send_probe(&mut self, view: &View<'_>, upstream: &Upstream, health: &Health, out: &mut Outbox) {
        let link = upstream.link;
        let tcp = upstream.settings.is_asked_over_tcp(false);
        let port = if tcp { 0 } else { self.links.port(link, view.now.at.as_nanos()) };
        let route = Route { link, port, tcp };
        let (name, qtype) = (&health.query.0, health.query.1);
        let mut packet = [0; HEADER_LEN + 255 + 4];
        packet[2] = 1; // RD: a resolver may answer REFUSED without it.
        packet[5] = 1;
        let end = HEADER_LEN + name.as_wire().len();
        packet[HEADER_LEN..end].copy_from_slice(name.as_wire());
        put_u16(&mut packet, end, qtype);
        put_u16(&mut packet, end + 2, class::IN);
        let packet = &packet[..end + 4];
        let deadline = view.now.at.plus(health.interval);
        let Ok(flight) = self.flights.open(Asker::Probe, packet, view.now.at, deadline) else { return };
        self.probes += 1;
        self.ask_probe(view, flight, route, out);
    }

    /// Sends the packet of a probe on a route.
    fn ask_probe(&mut self, view: &View<'_>, flight: FlightId, route: Route, out: &mut Outbox) {
        let Ok(id) = self.free_id(route) else { return self.end_probe(flight) };
        let attempt = Attempt { id, sent: view.now.at, ..Attempt::on(route) };
        let deadline = self.flights.flight(flight).deadline;
        if self.flights.add_attempt(flight, attempt, deadline).is_err() {
            return self.end_probe(flight);
        }
        let packet = self.flights.packet(flight);
        let Some(room) = out.room(packet.len()) else { return self.end_probe(flight) };
        room.copy_from_slice(packet);
        put_u16(room, 0, id);
        let (to, len) = (LinkPort { link: route.link, port: route.port }, room.len());
        out.commit(if route.tcp { To::UpstreamStream(to) } else { To::Upstream(to) }, len);
        self.ledger.upstream(route.link.slot, UpstreamEvent::Sent);
    }

    /// A probe came back: anything but SERVFAIL says that the server is there and can find things out.
    pub(super) fn probe_answered(&mut self, view: &View<'_>, flight: FlightId, response: &Response<'_>) {
        if response.tc
            && let Some(upstream) = self.upstream_of(view, flight)
            && upstream.state.on_probe_truncated()
        {
            tracing::warn!(
                upstream = upstream.settings.name,
                "the health probe came back truncated: the upstream's own rate limiting sees the gateway as one client; exempt it there"
            );
        }
        self.note_probe(view, flight, response.rcode != rcode::SERVFAIL);
        self.end_probe(flight);
    }

    /// The connection on which a probe was asked has ended, as one does that was idle: the probe is asked anew, once, since by
    /// that the server has said nothing about itself.
    pub(super) fn probe_ended(&mut self, view: &View<'_>, flight: FlightId, out: &mut Outbox) {
        match *self.flights.flight(flight).attempts() {
            [Attempt { route, .. }] => self.ask_probe(view, flight, route, out),
            _ => self.probe_failed(view, flight),
        }
    }

    /// A probe got no answer.
    pub(super) fn probe_failed(&mut self, view: &View<'_>, flight: FlightId) {
        self.note_probe(view, flight, false);
        self.end_probe(flight);
    }

    fn end_probe(&mut self, flight: FlightId) {
        self.flights.close(flight);
        self.probes -= 1;
    }

    fn note_probe(&mut self, view: &View<'_>, flight: FlightId, good: bool) {
        let Some(upstream) = self.upstream_of(view, flight) else { return };
        let health = &view.running.routing.pools[upstream.settings.pool].settings.health;
        if let Some(up) = upstream.state.on_probe(good, health.fall, health.rise) {
            let state = if up { "up" } else { "down" };
            tracing::warn!(upstream = upstream.settings.name, address = %upstream.settings.address, state, "upstream changed");
        }
    }

    fn upstream_of<'v>(&self, view: &View<'v>, flight: FlightId) -> Option<&'v Upstream> {
        let link = self.flights.flight(flight).attempts().first()?.route.link;
        view.running.routing.upstreams.iter().find(|upstream| upstream.link == link)
    }
}
