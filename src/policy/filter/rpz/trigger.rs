//! Triggers as owner names spell them (draft-vixie-dnsop-dns-rpz section 4): `x`, `*.x`, `24.0.2.0.192.rpz-ip`,
//! `128.1.zz.db8.2001.rpz-client-ip`, `ns.x.rpz-nsdname`; and what was meant where one is spelled wrong.

use super::flaw::Flaw;
use super::spelling::{label_starts, write_labels};
use crate::policy::filter::lists::Problem;
use crate::policy::filter::sets::{BELOW, SELF};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a record speaks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The zone itself: its SOA, its NS, notes in TXT. No trigger.
    Apex,
    /// The address of the client (`rpz-client-ip`).
    ClientIp,
    /// The name asked for, or a CNAME target.
    Qname,
    /// An address in the answer (`rpz-ip`).
    Ip,
    /// A name server of the name (`rpz-nsdname`).
    NsDname,
    /// The address of a name server (`rpz-nsip`).
    NsIp,
}

impl Kind {
    /// All kinds, in the order of their precedence inside a zone; the apex has none.
    pub const ALL: [Self; 6] = [Self::Apex, Self::ClientIp, Self::Qname, Self::Ip, Self::NsDname, Self::NsIp];

    /// The last label of its owners.
    pub const fn label(self) -> Option<&'static str> {
        match self {
            Self::Apex | Self::Qname => None,
            Self::ClientIp => Some("rpz-client-ip"),
            Self::Ip => Some("rpz-ip"),
            Self::NsDname => Some("rpz-nsdname"),
            Self::NsIp => Some("rpz-nsip"),
        }
    }

    fn of_label(label: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.label().is_some_and(|own| own.as_bytes() == label))
    }
}

/// A trigger; names are lower-case wire form with the root's byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger<'w> {
    /// The zone itself.
    Apex,
    /// A name of the kind [`Kind::Qname`] or [`Kind::NsDname`], itself (1) or what is below (2).
    Name(Kind, u8, &'w [u8]),
    /// A network of one of the other kinds, without host bits.
    Network(Kind, IpNet),
}

impl Trigger<'_> {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Apex => Kind::Apex,
            Self::Name(kind, ..) | Self::Network(kind, _) => *kind,
        }
    }
}

/// A trigger that cannot be read: why, and what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NoTrigger {
    pub(super) problem: Problem,
    pub(super) meant: Option<String>,
}

impl From<Problem> for NoTrigger {
    fn from(problem: Problem) -> Self {
        Self { problem, meant: None }
    }
}

impl From<Flaw> for NoTrigger {
    fn from(flaw: Flaw) -> Self {
        Self { problem: Problem::Rpz(flaw), meant: None }
    }
}

/// Reads the owner in `wire`: lower-case labels relative to the zone, with the root's byte. Names are cut out of it in
/// place. What is doubtful about a trigger that is taken comes with it.
pub(super) fn read(wire: &mut Vec<u8>) -> Result<(Trigger<'_>, Option<Problem>), NoTrigger> {
    // Where the last three labels begin, the last one first.
    let mut last = [0; 3];
    let mut count = 0;
    let mut marked = false;
    for start in label_starts(wire) {
        last = [start, last[0], last[1]];
        count += 1;
        marked |= wire[start + 1..].starts_with(b"rpz");
    }
    if count == 0 {
        return Ok((Trigger::Apex, None));
    }
    if marked {
        return read_marked(wire, last[0]);
    }
    let all_digits = |label: &[u8]| label.iter().all(u8::is_ascii_digit);
    if all_digits(&wire[last[0] + 1..wire.len() - 1]) {
        let meant = address_of(&text_of(wire)).map(|address| encode(IpNet::from(address), "rpz-ip"));
        return Err(NoTrigger { problem: Problem::Rpz(Flaw::AddressOwner), meant });
    }
    Ok((name(wire, Kind::Qname)?, None))
}

/// Reads an owner one of whose labels begins with `rpz`; its last label begins at `last`.
#[cold]
fn read_marked(wire: &mut Vec<u8>, last: usize) -> Result<(Trigger<'_>, Option<Problem>), NoTrigger> {
    let label = wire[last + 1..wire.len() - 1].to_vec();
    let Some(kind) = Kind::of_label(&label) else {
        // Names such as `rpzone.example` and `rpz.example.com` are names like others.
        return match suspect(wire) {
            Some(no) => Err(no),
            None => Ok((name(wire, Kind::Qname)?, None)),
        };
    };
    wire.truncate(last);
    wire.push(0);
    if kind == Kind::NsDname {
        if wire.len() == 1 {
            return Err(Flaw::SuspectOwner.into());
        }
        return Ok((name(wire, kind)?, None));
    }
    let text = text_of(wire);
    let (network, doubt) = network(&text).map_err(|flaw| NoTrigger {
        problem: Problem::Rpz(flaw),
        meant: meant_network(&text).map(|network| encode(network, kind.label().unwrap_or_default())),
    })?;
    Ok((Trigger::Network(kind, network), doubt.map(Problem::Rpz)))
}

/// What is suspect about an owner with a label that begins with `rpz`, and ends with none of a trigger: a trigger's label
/// in the middle, two labels for one (`rpz.ip`), or one that does not exist.
fn suspect(wire: &[u8]) -> Option<NoTrigger> {
    let text = text_of(wire);
    let labels: Vec<&str> = text.split('.').collect();
    let known = |label: &str| Kind::of_label(label.as_bytes()).is_some();
    // The zone's own name behind the label, written without its last dot.
    if let Some(at) = labels.iter().rposition(|label| known(label)) {
        let (address, label) = (labels[..at].join("."), labels[at]);
        let is_name = label == "rpz-nsdname";
        return Some(match network(&address) {
            Err(flaw) if !is_name => NoTrigger {
                problem: Problem::Rpz(flaw),
                meant: meant_network(&address).map(|network| encode(network, label)),
            },
            _ => NoTrigger { problem: Flaw::SuspectOwner.into(), meant: Some(labels[..=at].join(".")) },
        });
    }
    if let [address @ .., "rpz", kind] = labels.as_slice() {
        let label = format!("rpz-{kind}");
        if known(&label) {
            let address = address.join(".");
            let meant = if label == "rpz-nsdname" {
                Some(format!("{address}.{label}"))
            } else {
                let network = network(&address).ok().map(|(network, _)| network).or_else(|| meant_network(&address));
                network.map(|network| encode(network, &label))
            };
            return Some(NoTrigger { problem: Flaw::SuspectOwner.into(), meant });
        }
    }
    let wrong = labels.last().filter(|label| label.starts_with("rpz-"))?;
    let near = crate::policy::document::nearest(wrong, Kind::ALL.into_iter().filter_map(Kind::label));
    let meant = near.map(|near| [&labels[..labels.len() - 1], &[near]].concat().join("."));
    Some(NoTrigger { problem: Flaw::SuspectOwner.into(), meant })
}

impl From<Flaw> for Problem {
    fn from(flaw: Flaw) -> Self {
        Self::Rpz(flaw)
    }
}

/// A name, with `*` as its first label or without.
fn name(wire: &[u8], kind: Kind) -> Result<Trigger<'_>, NoTrigger> {
    let (reach, rest) = match wire {
        [1, b'*', rest @ ..] => (BELOW, rest),
        _ => (SELF, wire),
    };
    // RFC 4592: only the first label can be a wildcard; a star anywhere else is a letter that no host has.
    if rest.contains(&b'*') && label_starts(rest).any(|at| rest[at + 1..][..usize::from(rest[at])].contains(&b'*')) {
        return Err(Problem::InnerWildcard.into());
    }
    Ok(Trigger::Name(kind, reach, rest))
}

fn text_of(wire: &[u8]) -> String {
    let mut text = String::new();
    write_labels(wire, &mut text);
    text
}

/// Reads `24.0.2.0.192` or `128.1.zz.db8.2001`.
fn network(text: &str) -> Result<(IpNet, Option<Flaw>), Flaw> {
    let mut labels = text.split('.');
    let prefix = labels.next().unwrap_or_default();
    let labels: Vec<&str> = labels.collect();
    if text.contains(':') {
        return Err(Flaw::Ip6Form);
    }
    let number = |label: &str| label.parse::<u8>().ok().filter(|_| label.bytes().all(|byte| byte.is_ascii_digit()));
    let octets: Option<Vec<u8>> = labels.iter().rev().map(|label| number(label)).collect();
    let prefix_len = number(prefix).filter(|len| *len > 0);
    let net = match octets.as_deref() {
        Some(&[a, b, c, d]) => {
            let len = prefix_len.filter(|len| *len <= 32).ok_or(Flaw::IpPrefix)?;
            IpNet::V4(Ipv4Net::new(Ipv4Addr::new(a, b, c, d), len).map_err(|_| Flaw::IpPrefix)?)
        }
        Some([_, _, _]) if number(prefix).is_some() => return Err(Flaw::IpPrefix),
        _ => {
            let words = reversed_words(&labels).ok_or(if labels.len() > 4 || labels.contains(&"zz") {
                Flaw::Ip6Form
            } else {
                Flaw::IpForm
            })?;
            let len = prefix_len.filter(|len| *len <= 128).ok_or(Flaw::IpPrefix)?;
            IpNet::V6(Ipv6Net::new(Ipv6Addr::from(words), len).map_err(|_| Flaw::IpPrefix)?)
        }
    };
    let doubt = (net.trunc() != net).then_some(Flaw::HostBits);
    Ok((net.trunc(), doubt))
}

/// Eight words of an address, the last one first, `zz` for as many zeros as are missing.
fn reversed_words(labels: &[&str]) -> Option<[u16; 8]> {
    let gap = labels.iter().position(|label| *label == "zz");
    if labels.len() > 8 || gap.is_none() && labels.len() != 8 {
        return None;
    }
    let mut words = [0; 8];
    let word = |label: &str| (label.len() <= 4).then(|| u16::from_str_radix(label, 16).ok()).flatten();
    let (low, high) = gap.map_or((labels, &[][..]), |gap| (&labels[..gap], &labels[gap + 1..]));
    for (at, label) in low.iter().enumerate() {
        words[7 - at] = word(label)?;
    }
    for (at, label) in high.iter().rev().enumerate() {
        words[at] = word(label)?;
    }
    Some(words)
}

/// What was meant by an address trigger that is none.
fn meant_network(text: &str) -> Option<IpNet> {
    let labels: Vec<&str> = text.split('.').collect();
    // Four octets are an address that nobody turned round.
    if let [a, b, c, d] = labels.as_slice() {
        let address: Ipv4Addr = format!("{a}.{b}.{c}.{d}").parse().ok()?;
        return Some(IpNet::from(IpAddr::from(address)));
    }
    if text.contains(':') {
        let (prefix, rest) = text.split_once('.')?;
        let len = prefix.parse::<u8>().ok()?;
        if let Ok(address) = rest.parse::<Ipv6Addr>() {
            return Ipv6Net::new(address, len).ok().map(|net| IpNet::V6(net.trunc()));
        }
        return network(&text.replace(':', ".")).ok().map(|(network, _)| network);
    }
    None
}

/// The address that a name spells forward.
fn address_of(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// A network as the owner of a trigger, without the zone's name.
pub(super) fn encode(network: IpNet, label: &str) -> String {
    use std::fmt::Write as _;
    let mut text = network.prefix_len().to_string();
    match network.addr() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            // Writing to a String cannot fail.
            let _ = write!(text, ".{d}.{c}.{b}.{a}");
        }
        IpAddr::V6(address) => {
            let words = address.segments();
            let gap = longest_zeros(&words);
            let mut at = 8;
            while at > 0 {
                at -= 1;
                if gap.end == at + 1 && !gap.is_empty() {
                    text.push_str(".zz");
                    at = gap.start;
                } else {
                    let _ = write!(text, ".{:x}", words[at]);
                }
            }
        }
    }
    text.push('.');
    text.push_str(label);
    text
}

/// The first of the longest runs of at least two zero words, as `::` stands for (RFC 5952 section 4.2).
fn longest_zeros(words: &[u16; 8]) -> std::ops::Range<usize> {
    let mut longest = 0..0;
    let mut at = 0;
    while at < 8 {
        let run = words[at..].iter().take_while(|word| **word == 0).count();
        if run >= 2 && run > longest.len() {
            longest = at..at + run;
        }
        at += run.max(1);
    }
    longest
}

#[cfg(test)]
mod tests;
