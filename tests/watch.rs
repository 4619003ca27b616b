//! Who is it, in virtual time: the core samples, the watch sums up. Reflection and floods are told within a second, and
//! nothing is said of busy but honest clients.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly; clippy knows only test functions as tests")]

mod stage;

use stage::message::{A, ANSWER, ANY, Message, TXT, question_end};
use stage::{Stage, after, now, policy, tcp, udp};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use weir::gateway::outbox::To;
use weir::gateway::{Client, From};
use weir::language::{Phrase, Told as _};
use weir::ledger::active::Change;
use weir::ledger::alerts::{Alert, AlertKind, Numbers, Subject};
use weir::ledger::watch::{Doing, LOOK, Watch};
use weir::policy::overload::Pressure;

const GATEWAY: &str = "schema = 1\n[[upstream]]\nname = \"a\"\naddress = \"192.0.2.53\"\n[cache]\nsize = \"4MiB\"\n";
const ACCESS: &str = "allow = [\"0.0.0.0/0\"]\n";
const DOING: Doing =
    Doing { reflection: Phrase::new("limits"), flood: Phrase::new("drops"), crowd: Phrase::new("waits") };

/// A worker, and what its samples are summed up by.
struct Scene {
    stage: Stage,
    watch: Watch,
    micros: u64,
    looked: u64,
    told: Vec<(u64, Change)>,
}

impl Scene {
    fn new(limits: &str) -> Self {
        let stage = Stage::new(
            policy([("gateway.toml", GATEWAY), ("access.toml", ACCESS), ("limits.toml", limits)]),
            1,
            4096,
            3,
        );
        Self { stage, watch: Watch::new(after(0)), micros: 0, looked: 0, told: Vec::new() }
    }

    /// Asks, and has the upstream answer at once with about `answer_len` bytes of records.
    fn ask(&mut self, client: Client, name: &str, qtype: u16, answer_len: usize) {
        let query = Message::query(7, name, qtype).opt(4096, false, b"").bytes();
        let at = now(after(0).plus(Duration::from_micros(self.micros)));
        let (worker, out) = (&mut self.stage.workers[0], &mut self.stage.out);
        worker.begin_batch();
        worker.on_query(at, client, &query, out);
        let asked = out.messages().iter().find_map(|message| match message.to {
            To::Upstream(link) => Some((From::Udp(link), out.bytes(message).to_vec())),
            To::UpstreamStream(link) => Some((From::Tcp(link), out.bytes(message).to_vec())),
            _ => None,
        });
        out.clear();
        if let Some((from, asked)) = asked {
            let text: Vec<u8> = vec![b'x'; 200];
            let data = [&[200][..], &text].concat();
            let mut answer = Message(asked[..question_end(&asked)].to_vec());
            answer.0[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]);
            if answer_len < 212 {
                answer = answer.record(ANSWER, &[0xC0, 12], A, 300, &[192, 0, 2, 1]);
            }
            for _ in 0..answer_len / 212 {
                answer = answer.record(ANSWER, &[0xC0, 12], TXT, 300, &data);
            }
            worker.on_response(at, from, &answer.bytes(), out);
            out.clear();
        }
    }

    /// Lets time pass; looks when it is time to.
    fn pass(&mut self, micros: u64) {
        self.micros += micros;
        let look_us = LOOK.as_micros() as u64;
        while self.micros - self.looked >= look_us {
            self.looked += look_us;
            while let Some(sample) = self.stage.shared.samples.take() {
                self.watch.note(&sample);
            }
            let (told, at) = (&mut self.told, self.looked);
            let now = now(after(0).plus(Duration::from_micros(at)));
            self.watch.look(now, &DOING, &mut |change| told.push((at / 1000, change)));
        }
    }

    /// Lets time pass of which nothing is to be told, and the households become known.
    fn begin(&mut self, seconds: u64) {
        for n in 0..seconds * 2_000 {
            let client = host([10, 1, (n % 3) as u8], n.wrapping_mul(7) % 100);
            let at = after(0).plus(Duration::from_micros(self.micros));
            self.stage.shared.regulars.meet(at, client.ip(), true);
            ordinary(self, n);
            self.pass(500);
        }
        assert_eq!(self.begun(), [], "a quiet start");
    }

    fn begun(&self) -> Vec<(u64, Alert)> {
        self.told
            .iter()
            .filter_map(|(at, change)| match change {
                Change::Begun(alert) => Some((*at, *alert)),
                Change::Ended(..) => None,
            })
            .collect()
    }

    /// The one alert there is, which came within a second of `since_ms`.
    #[track_caller]
    fn only_alert(&self, since_ms: u64, kind: AlertKind, network: &str) -> Alert {
        let [(at, alert)] = self.begun()[..] else { panic!("one alert, not {:#?}", self.begun()) };
        assert_eq!((alert.kind, alert.subject), (kind, Subject::Network(network.parse().unwrap())), "{alert:#?}");
        assert!((since_ms..=since_ms + 1000).contains(&at), "told at {at} ms: {alert:#?}");
        alert
    }
}

fn host(network: [u8; 3], last: u64) -> SocketAddr {
    let [a, b, c] = network;
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, last as u8)), 40_000 + (last % 20_000) as u16)
}

/// 300 households ask 2000 different things a second, most over UDP.
fn ordinary(scene: &mut Scene, n: u64) {
    let client = host([10, 1, (n % 3) as u8], n.wrapping_mul(7) % 100);
    let name = format!("www{}.site{}.example", n % 50, n % 700);
    scene.ask(if n.is_multiple_of(9) { tcp(client, 1) } else { udp(client) }, &name, 1, 100);
}

const LIMITS: &str = "[source]\nmode = \"enforce\"\nrate = 200\nburst = 500\n[rrl]\nmode = \"RRL\"\n";

#[test]
fn reflection_toward_a_network_is_told_within_a_second() {
    for (rrl, rate) in [("enforce", 400), ("enforce", 20_000), ("monitor", 400), ("monitor", 20_000), ("off", 2_000)] {
        let mut scene = Scene::new(&LIMITS.replace("RRL", rrl));
        (0..4_000).for_each(|n| {
            ordinary(&mut scene, n);
            scene.pass(500);
        });
        assert_eq!(scene.begun().len(), 0, "[rrl] {rrl}: a quiet start");
        for n in 0..3 * rate {
            if n * 2000 / rate != (n + 1) * 2000 / rate {
                ordinary(&mut scene, n);
            }
            scene.ask(udp(host([198, 51, 100], n % 256)), "big.example", ANY, 1_100);
            scene.pass(1_000_000 / rate);
        }
        let alert = scene.only_alert(2_000, AlertKind::Reflection, "198.51.100.0/24");
        assert!(alert.numbers.names <= 3, "{alert:#?}");
        assert!(alert.numbers.wanted > 10 * alert.numbers.received, "[rrl] {rrl}, {rate}/s: {alert:#?}");
    }
}

#[test]
fn a_forged_single_address_is_a_victim_and_not_a_flooder() {
    let mut scene = Scene::new(&LIMITS.replace("RRL", "monitor"));
    for _ in 0..6_000 {
        scene.ask(udp(host([198, 51, 100], 9)), "big.example", ANY, 1_100);
        scene.pass(500);
    }
    scene.only_alert(0, AlertKind::Reflection, "198.51.100.9/32");
}

#[test]
fn a_flood_is_told_within_a_second_and_its_end_too() {
    for rate in [1_500, 40_000] {
        let mut scene = Scene::new(&LIMITS.replace("RRL", "monitor"));
        (0..2_000).for_each(|n| {
            ordinary(&mut scene, n);
            scene.pass(500);
        });
        for n in 0..2 * rate {
            scene.ask(udp(host([203, 0, 113], 5)), &format!("x{n}.flood.example"), 1, 50);
            scene.pass(1_000_000 / rate);
        }
        let alert = scene.only_alert(1_000, AlertKind::Flood, "203.0.113.5/32");
        assert!(alert.numbers.bad_permille >= 666 && alert.numbers.sources == 1, "{rate}/s: {alert:#?}");
        scene.pass(10_000_000);
        let ends = scene.told.iter().filter(|(_, change)| matches!(change, Change::Ended(..))).count();
        assert_eq!(ends, 1, "{:#?}", scene.told);
    }
}

#[test]
fn busy_but_honest_clients_raise_no_alert() {
    for rrl in ["enforce", "monitor", "off"] {
        let mut scene = Scene::new(&LIMITS.replace("RRL", rrl));
        for n in 0..20_000u64 {
            // Ordinary clients; a NAT gateway half over its limit; a resolver over TCP that asks one thing; an impatient client
            // that repeats one small question.
            ordinary(&mut scene, n);
            if n.is_multiple_of(7) {
                scene.ask(udp(host([192, 0, 2], 1)), &format!("h{}.nat{}.example", n % 90, n % 331), 1, 300);
            }
            if n.is_multiple_of(4) {
                scene.ask(tcp(host([192, 0, 2], 77), 2), "big.example", ANY, 1_100);
            }
            if n.is_multiple_of(15) {
                scene.ask(udp(host([10, 9, 9], 1)), "tiny.example", 1, 40);
            }
            scene.pass(500);
        }
        assert_eq!(scene.begun().len(), 0, "[rrl] {rrl}: {:#?}", scene.begun());
    }
}

#[test]
fn a_flood_from_everywhere_is_told_within_a_second_and_so_is_its_end() {
    for (limits, rate) in [("monitor", 10_000), ("monitor", 100_000)] {
        let mut scene = Scene::new(&LIMITS.replace("RRL", limits));
        scene.begin(12);
        for n in 0..2 * rate {
            // Each asks once.
            let forged = Ipv4Addr::from_bits((n as u32).wrapping_mul(2_654_435_761) | 0x2000_0000);
            scene.ask(udp(SocketAddr::new(forged.into(), 53)), "www.site1.example", 1, 50);
            scene.pass(1_000_000 / rate);
        }
        let [(at, alert)] = scene.begun()[..] else { panic!("one alert, not {:#?}", scene.begun()) };
        assert_eq!((alert.kind, alert.subject, alert.done), (AlertKind::Flood, Subject::ManySources, DOING.crowd));
        assert!((12_000..=13_000).contains(&at), "told at {at} ms: {alert:#?}");
        assert!(alert.numbers.bad_permille >= 750 && alert.numbers.sources >= 200, "{rate}/s: {alert:#?}");
        scene.pass(10_000_000);
        let ends = scene.told.iter().filter(|(_, change)| matches!(change, Change::Ended(..))).count();
        assert_eq!(ends, 1, "{:#?}", scene.told);
    }
}

#[test]
fn a_rush_hour_of_who_is_known_raises_no_alert_and_neither_do_few_strangers() {
    let mut scene = Scene::new(&LIMITS.replace("RRL", "monitor").replace("enforce", "off"));
    scene.begin(12);
    // Ten times as much of the same, then as much again from a few strangers.
    for n in 0..40_000 {
        ordinary(&mut scene, n);
        scene.pass(50);
    }
    scene.pass(5_000_000);
    for n in 0..40_000 {
        scene.ask(udp(host([198, (n % 20) as u8, 100], n % 3)), &format!("h{}.example", n % 600), 1, 50);
        scene.pass(50);
    }
    assert_eq!(scene.begun(), []);
}

#[test]
fn a_worker_that_is_flooded_says_so_and_knows_better() {
    let mut scene = Scene::new(&LIMITS.replace("RRL", "monitor"));
    scene.begin(12);
    let numbers = Numbers { queries: 900_000, bad_permille: 990, sources: 70_000, ..Numbers::default() };
    let at = now(after(0).plus(Duration::from_micros(scene.micros)));
    scene.stage.workers[0].flooded_by_many(at, numbers);
    let alert = scene.stage.shared.alerts.take().expect("raised");
    assert!(alert.done.text().english().contains("known first"), "{alert:#?}");
    let told = &mut scene.told;
    scene.watch.heed(at, alert, &mut |change| told.push((0, change)));
    for n in 0..20_000u32 {
        let forged = Ipv4Addr::from_bits(n.wrapping_mul(2_654_435_761) | 0x2000_0000);
        scene.ask(udp(SocketAddr::new(forged.into(), 53)), "www.site1.example", 1, 50);
        scene.pass(100);
    }
    let [(_, begun)] = scene.begun()[..] else { panic!("one alert, not {:#?}", scene.begun()) };
    assert_eq!((begun.subject, begun.numbers), (Subject::ManySources, numbers));
    let (active, _) = scene.watch.alerts.list(at).next().expect("it goes on");
    assert_eq!(active.alert.numbers, numbers, "what is still read would say less");
}

#[test]
fn a_valid_cookie_makes_a_sample_verified_and_its_source_known_in_a_flood() {
    let mut scene = Scene::new(&LIMITS.replace("RRL", "monitor"));
    let (client, at) = (udp(host([10, 1, 1], 1)), now(after(0)));
    let (worker, out) = (&mut scene.stage.workers[0], &mut scene.stage.out);
    let alone = Message::query(1, "www.site1.example", A).opt(1232, false, b"\0\x0a\0\x08abcdefgh").bytes();
    // A BADCOOKIE or an answer: each carries the cookie. The first is answered once the upstream has.
    worker.on_query(at, client, &alone, out);
    let (link, asked) = match out.messages().first().map(|message| (message.to, out.bytes(message).to_vec())) {
        Some((To::Upstream(link), asked)) => (link, asked),
        other => panic!("the upstream is asked, not {other:?}"),
    };
    out.clear();
    let mut answer = Message(asked[..question_end(&asked)].to_vec());
    answer.0[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]);
    let answer = answer.record(ANSWER, &[0xC0, 12], A, 300, &[192, 0, 2, 1]).bytes();
    worker.on_response(at, From::Udp(link), &answer, out);
    let reply = out.bytes(&out.messages()[0]).to_vec();
    out.clear();
    let place = reply.windows(4).position(|four| four == b"\0\x0a\0\x18").expect("a cookie of 24 bytes");
    let cookie = &reply[place..place + 28];
    let with = Message::query(2, "www.site1.example", A).opt(1232, false, cookie).bytes();
    let later = now(after(10));
    worker.set_pressure(Pressure::Sustained);
    worker.on_query(later, client, &with, out);
    worker.on_query(later, client, &alone, out);
    out.clear();
    let samples: Vec<_> = std::iter::from_fn(|| scene.stage.shared.samples.take()).collect();
    let seen: Vec<_> = samples.iter().map(|sample| (sample.verified, sample.known)).collect();
    assert_eq!(seen, [(false, false), (true, true), (false, true)]);
}
