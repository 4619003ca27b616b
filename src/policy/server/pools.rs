//! Whom the gateway asks: `[[upstream]]`, `[pool.NAME]` and `[[route]]` of gateway.toml, and the nameservers of
//! resolv.conf when there is no upstream at all.

use super::{Balance, Health, PoolSettings, RETRIES_MAX, RouteSettings, Surroundings, Transport, UpstreamSettings};
use crate::dns::name::Name;
use crate::dns::rtype;
use crate::language::{Text, text};
use crate::policy::document::values::{name, qtype};
use crate::policy::document::{At, Code, Faults, Table, nearest};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The most upstreams of one policy.
pub const UPSTREAMS_MAX: usize = 256;

/// The most routes of one policy.
pub const ROUTES_MAX: usize = 10_000;

/// The longest name of an upstream or pool: it becomes a metric label.
const NAME_LEN_MAX: usize = 64;

/// What is read here.
pub(super) struct Asked {
    pub(super) upstreams: Vec<UpstreamSettings>,
    pub(super) pools: Vec<PoolSettings>,
    pub(super) routes: Vec<RouteSettings>,
}

/// Reads the three sections; `listen` is where the gateway itself is.
pub(super) fn read(t: &Table<'_>, listen: &[SocketAddr], surroundings: &Surroundings) -> Asked {
    let mut asked = Asked { upstreams: Vec::new(), pools: vec![PoolSettings::named("default")], routes: Vec::new() };
    let tables = t.tables("upstream");
    if tables.len() > UPSTREAMS_MAX {
        t.fault(
            "upstream",
            Code::TooMany,
            text!("more than {most} upstreams", most = UPSTREAMS_MAX),
            text!("use fewer"),
        );
    }
    for table in tables.iter().take(UPSTREAMS_MAX) {
        read_upstream(table, listen, &mut asked);
    }
    if tables.is_empty() {
        use_nameservers(t, listen, surroundings, &mut asked);
    }
    for (name, table) in t.table("pool").named_tables() {
        let Some(index) = pool_index(&asked.pools, name.value) else {
            no_such_pool(&name, &asked.pools, t.faults());
            let _checked = PoolSettings::read(name.value, &table);
            continue;
        };
        asked.pools[index] = PoolSettings::read(name.value, &table);
    }
    read_routes(t, &mut asked);
    asked
}

fn read_upstream(table: &Table<'_>, listen: &[SocketAddr], asked: &mut Asked) {
    if !table.has("address") {
        table.missing("address");
    }
    let address = table.address("address", 53);
    let name = table.text("name").filter(|name| {
        check_name(name, |name| text!("{name:?} cannot be the name of an upstream", name), table.faults())
    });
    let pool = table
        .text("pool")
        .filter(|pool| check_name(pool, |name| text!("{name:?} cannot be the name of a pool", name), table.faults()));
    let tier = table.number("tier", 0..=u8::MAX, 0);
    let weight = table.number("weight", 1..=1_000, 1);
    let transports = [("auto", Transport::Auto), ("tcp", Transport::Tcp)];
    let transport = table.choice("transport", &transports, Transport::Auto);
    let pool = pool.map_or(0, |pool| {
        pool_index(&asked.pools, pool.value).unwrap_or_else(|| {
            asked.pools.push(PoolSettings::named(pool.value));
            asked.pools.len() - 1
        })
    });
    let Some(address) = address else { return };
    // A server without a name is known by its address.
    let name_text = name.as_ref().map_or_else(|| address.value.to_string(), |name| name.value.to_owned());
    let place = name.map_or_else(|| address.place.clone(), |name| name.place);
    if asked.upstreams.iter().any(|other| other.name == name_text) {
        let message = text!("there are two upstreams named {name:?}", name = name_text);
        table.faults().add(Code::Duplicate, &place, message, text!("give each a name of its own"));
    }
    let twin = asked.upstreams.iter().find(|other| other.address == address.value && other.pool == pool);
    if let Some(twin) = twin {
        let message =
            text!("{address} is already upstream {name:?} of this pool", address = address.value, name = twin.name);
        table.faults().add(Code::Duplicate, &address.place, message, text!("give it more weight instead"));
    }
    if is_own(address.value, listen) {
        let message = text!("the gateway itself listens on {address}", address = address.value);
        table.faults().add(Code::Conflict, &address.place, message, text!("it would ask itself, round and round"));
    }
    asked.upstreams.push(UpstreamSettings { name: name_text, address: address.value, pool, tier, weight, transport });
}

/// Whether a packet to `address` would come to a listener: the address itself, or a loopback one and a wildcard listener.
fn is_own(address: SocketAddr, listen: &[SocketAddr]) -> bool {
    let ip = address.ip().to_canonical();
    listen.iter().any(|own| {
        let own_ip = own.ip().to_canonical();
        let is_caught = own_ip.is_unspecified() && ip.is_loopback() && (own_ip.is_ipv6() || ip.is_ipv4());
        own.port() == address.port() && (own_ip == ip || is_caught)
    })
}

fn use_nameservers(t: &Table<'_>, listen: &[SocketAddr], surroundings: &Surroundings, asked: &mut Asked) {
    let usable = surroundings.nameservers.iter().filter(|address| !is_own(**address, listen));
    asked.upstreams = usable
        .map(|address| UpstreamSettings {
            name: address.ip().to_string(),
            address: *address,
            pool: 0,
            tier: 0,
            weight: 1,
            transport: Transport::Auto,
        })
        .collect();
    if asked.upstreams.is_empty() && !t.has("upstream") && t.is_present() {
        let file = surroundings.resolv_conf.display();
        let message = match surroundings.nameservers.len() {
            0 => text!("no upstream: there is no [[upstream]], and no nameserver in {file:?}", file),
            _ => text!("no upstream: there is no [[upstream]], and {file:?} names only the gateway itself", file),
        };
        let hint = text!("add [[upstream]] with address = \"192.0.2.53\" to gateway.toml");
        t.faults().add(Code::MissingKey, &t.place(), message, hint);
    }
}

fn pool_index(pools: &[PoolSettings], name: &str) -> Option<usize> {
    pools.iter().position(|pool| pool.name == name)
}

fn no_such_pool(name: &At<&str>, pools: &[PoolSettings], faults: &Faults) {
    let hint = match nearest(name.value, pools.iter().map(|pool| pool.name.as_str())) {
        Some(word) => text!("did you mean {word:?}?", word),
        None => text!("an upstream joins it with pool = {name:?}", name = name.value),
    };
    faults.add(Code::UnknownPool, &name.place, text!("pool {name:?} has no upstream", name = name.value), hint);
}

/// A name that can be a metric label and a word on the command line.
fn check_name(name: &At<&str>, message: fn(&str) -> Text, faults: &Faults) -> bool {
    let well_formed = !name.value.is_empty()
        && name.value.len() <= NAME_LEN_MAX
        && name.value.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':'));
    if !well_formed {
        let hint = text!("letters, digits, '-', '_', '.' and ':', 1 to {most} bytes", most = NAME_LEN_MAX);
        faults.add(Code::Value, &name.place, message(name.value), hint);
    }
    well_formed
}

fn read_routes(t: &Table<'_>, asked: &mut Asked) {
    let tables = t.tables("route");
    if tables.len() > ROUTES_MAX {
        t.fault("route", Code::TooMany, text!("more than {most} routes", most = ROUTES_MAX), text!("merge some"));
    }
    let mut seen: HashMap<Name, ()> = HashMap::new();
    for table in tables.iter().take(ROUTES_MAX) {
        let zone = table.required_text("zone").and_then(|zone| name(&zone, table.faults()));
        let pool = table.required_text("pool");
        let index = pool.and_then(|pool| {
            let index = pool_index(&asked.pools, pool.value)
                .filter(|index| asked.upstreams.iter().any(|upstream| upstream.pool == *index));
            if index.is_none() {
                no_such_pool(&pool, &asked.pools, table.faults());
            }
            index
        });
        let Some(zone) = zone else { continue };
        if seen.insert(zone.value, ()).is_some() {
            let message = text!("there are two routes for {zone}", zone = zone.value);
            table.faults().add(Code::Duplicate, &zone.place, message, text!("a name goes to one pool"));
            continue;
        }
        asked.routes.extend(index.map(|pool| RouteSettings { zone: zone.value, pool }));
    }
}

impl PoolSettings {
    /// A pool of which only the name is written.
    fn named(name: &str) -> Self {
        let health = Health { interval: Duration::from_secs(1), query: (Name::root(), rtype::NS), fall: 3, rise: 2 };
        let timeout = Duration::from_secs(2);
        Self { name: name.to_owned(), balance: Balance::Latency, timeout, retries: 1, inflight: 1024, health }
    }

    fn read(name: &str, t: &Table<'_>) -> Self {
        let default = Self::named(name);
        let balances = [("latency", Balance::Latency), ("round-robin", Balance::RoundRobin), ("hash", Balance::Hash)];
        Self {
            balance: t.choice("balance", &balances, default.balance),
            timeout: t.duration("timeout", Duration::from_millis(10)..=Duration::from_secs(60), default.timeout),
            retries: t.number("retries", 0..=RETRIES_MAX, default.retries),
            inflight: t.number("inflight", 1..=1_000_000, default.inflight),
            health: Health::read(&t.table("health"), &default.health),
            name: default.name,
        }
    }
}

impl Health {
    fn read(t: &Table<'_>, default: &Self) -> Self {
        Self {
            interval: t.duration("interval", Duration::from_millis(100)..=Duration::from_secs(3_600), default.interval),
            query: t.text("query").and_then(|query| question(&query, t.faults())).unwrap_or(default.query),
            fall: t.number("fall", 1..=100, default.fall),
            rise: t.number("rise", 1..=100, default.rise),
        }
    }
}

/// Reads `NAME TYPE`, such as `. NS`; a bad one is a fault.
pub fn question(text: &At<&str>, faults: &Faults) -> Option<(Name, u16)> {
    let mut words = text.value.split_ascii_whitespace();
    let (Some(first), Some(second), None) = (words.next(), words.next(), words.next()) else {
        let message = text!("{text:?} is not a name and a type", text = text.value);
        faults.add(Code::Value, &text.place, message, text!("such as \"www.example.com A\""));
        return None;
    };
    let at = |value| At { value, place: text.place.clone() };
    let (name, qtype) = (name(&at(first), faults), qtype(&at(second), faults));
    Some((name?.value, qtype?))
}
