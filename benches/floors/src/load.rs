//! Load from many loopback addresses, to one server or to several by turns: in a closed loop (so many queries outstanding), in
//! an open one (so many a second), or as a flood that waits for nothing; and how long the answers took.
//!
//! ```text
//! --names FILE    a name and a type a line, by turns; or --pattern NAME, type A, where %x is a fresh number each time
//! --seconds 5     --window 64 outstanding in all     --rate N a second, open loop     --flood 1
//! --from 127.0.1.1  the first source     --sources 4     --timeout-ms 1000     --edns 1
//! --together 1    a source's queries of one length pass the kernel as one, as they come out of a card that joins them
//! ```

use crate::batch::{BATCH, Ring, Wait, socket, wait_any};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

/// Queries that one source sends at once.
const BURST: usize = 32;

/// What is asked for.
enum Names {
    /// Each in turn, as on the wire.
    File { queries: Vec<Vec<u8>>, next: usize },
    /// Before and after a number that no query has twice.
    Pattern { before: String, after: String, random: u64 },
}

/// How, and for how long.
pub(crate) struct Load {
    names: Names,
    seconds: f64,
    window: usize,
    rate: f64,
    is_flood: bool,
    from: Ipv4Addr,
    sources: usize,
    timeout: Duration,
    edns: bool,
    is_together: bool,
}

/// One address that asks: when each id was sent, 0 for those that are free.
struct Source {
    sent_ns: Vec<u64>,
    /// Whatever was sent before this id has been answered or given up.
    oldest: u16,
    next: u16,
    outstanding: usize,
}

#[derive(Default)]
struct Counts {
    sent: u64,
    answered: u64,
    lost: u64,
    strange: u64,
    truncated: u64,
    rcodes: [u64; 16],
}

impl Load {
    /// From the words of a command line.
    pub(crate) fn read(options: &[&str]) -> Result<Self, String> {
        let (mut file, mut pattern) = (None, None);
        let mut load = Self {
            names: Names::Pattern { before: String::new(), after: String::new(), random: 0 },
            seconds: 5.0,
            window: 64,
            rate: 0.0,
            is_flood: false,
            from: Ipv4Addr::new(127, 0, 1, 1),
            sources: 4,
            timeout: Duration::from_secs(1),
            edns: false,
            is_together: false,
        };
        for pair in options.chunks(2) {
            let [option, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
            let wrong = || format!("{option} {value}: not a value of it");
            match *option {
                "--names" => file = Some(*value),
                "--pattern" => pattern = Some(*value),
                "--seconds" => load.seconds = value.parse().map_err(|_| wrong())?,
                "--window" => load.window = value.parse().map_err(|_| wrong())?,
                "--rate" => load.rate = value.parse().map_err(|_| wrong())?,
                "--flood" => load.is_flood = *value == "1",
                "--from" => load.from = value.parse().map_err(|_| wrong())?,
                "--sources" => {
                    load.sources = value.parse().ok().filter(|n| (1..=1000).contains(n)).ok_or_else(wrong)?
                }
                "--timeout-ms" => load.timeout = Duration::from_millis(value.parse().map_err(|_| wrong())?),
                "--edns" => load.edns = *value == "1",
                "--together" => load.is_together = *value == "1",
                _ => return Err(format!("{option} is no option of load")),
            }
        }
        load.names = match (file, pattern) {
            (Some(path), None) => {
                let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
                let queries: Vec<_> = text.lines().filter_map(|line| query(line, load.edns)).collect();
                if queries.is_empty() {
                    return Err(format!("{path}: no name in it"));
                }
                Names::File { queries, next: 0 }
            }
            (None, Some(pattern)) => {
                let (before, after) = pattern.split_once("%x").ok_or("the pattern needs a %x")?;
                let (before, after) = (before.to_owned(), after.to_owned());
                Names::Pattern { before, after, random: u64::from(std::process::id()) << 32 | 1 }
            }
            _ => return Err("either --names or --pattern".to_owned()),
        };
        Ok(load)
    }

    /// Asks, waits for what is outstanding, and sums up as a JSON object.
    pub(crate) fn run(mut self, to: &[SocketAddrV4]) -> String {
        let first = u32::from(self.from);
        let sockets: Vec<UdpSocket> = (0..self.sources as u32)
            .zip(to.iter().cycle())
            .map(|(n, to)| {
                let socket = socket(Some(SocketAddrV4::new((first + n).into(), 0)));
                socket.connect(to).expect("a loopback address can be connected to");
                socket
            })
            .collect();
        let mut sources: Vec<Source> = sockets.iter().map(|_| Source::new()).collect();
        let (mut counts, mut took, mut ring) =
            (Counts::default(), Histogram::default(), Ring::of(BATCH, self.is_together));
        let each = (self.window / self.sources).max(1);
        let begun = Instant::now();
        let ns = |at: Instant| (at - begun).as_nanos() as u64 + 1;
        let (end, patience) = ((self.seconds * 1e9) as u64, self.timeout.as_nanos() as u64);
        let (grace, mut swept) = (if self.is_flood { 50_000_000 } else { patience }, 0);
        loop {
            let now = ns(Instant::now());
            if now >= end + grace || now >= end && sources.iter().all(|source| source.outstanding == 0) {
                break;
            }
            let mut idle = true;
            for (socket, source) in sockets.iter().zip(&mut sources) {
                let mut may = if self.is_flood { BURST } else { each.saturating_sub(source.outstanding).min(BURST) };
                if self.rate > 0.0 {
                    let due = ((now as f64 / 1e9 * self.rate) as u64).saturating_sub(counts.sent) as usize;
                    // Those that are due are dealt out among the sources.
                    may = BURST.min(due).min(1 + due / self.sources);
                    may = may.min(usize::from(u16::MAX) - source.outstanding.min(usize::from(u16::MAX)));
                }
                if now < end && may > 0 {
                    let sent = self.ask(socket, source, &mut ring, may, || ns(Instant::now()));
                    counts.sent += sent as u64;
                    idle &= sent == 0;
                }
                let came = ring.receive(socket, Wait::Never);
                let now = ns(Instant::now());
                for at in 0..came {
                    let (bytes, len) = ring.datagram(at);
                    let id = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
                    if len < 12 || source.sent_ns[id] == 0 {
                        counts.strange += 1;
                        continue;
                    }
                    took.note(now - source.sent_ns[id]);
                    source.sent_ns[id] = 0;
                    source.outstanding = source.outstanding.saturating_sub(1);
                    counts.answered += 1;
                    counts.truncated += u64::from(bytes[2] & 2 != 0);
                    counts.rcodes[usize::from(bytes[3] & 15)] += 1;
                }
                idle &= came == 0;
            }
            if !self.is_flood && now - swept > 50_000_000 {
                swept = now;
                counts.lost += sources.iter_mut().map(|source| source.give_up(now, patience)).sum::<u64>();
            }
            // In an open loop the next query is due soon, and waiting would make it late; the core may be shared, though.
            if idle && self.rate > 0.0 {
                std::thread::yield_now();
            } else if idle {
                wait_any(&sockets, 1);
            }
        }
        if !self.is_flood {
            counts.lost += sources.iter().map(|source| source.outstanding as u64).sum::<u64>();
        }
        summary(&counts, &took, self.seconds)
    }

    /// Sends up to `may` queries from one source; how many went.
    fn ask(
        &mut self,
        socket: &UdpSocket,
        source: &mut Source,
        ring: &mut Ring,
        may: usize,
        now: impl Fn() -> u64,
    ) -> usize {
        let first = source.next;
        let mut made = 0;
        while made < may && (self.is_flood || source.sent_ns[usize::from(first.wrapping_add(made as u16))] == 0) {
            let id = first.wrapping_add(made as u16);
            let (bytes, _) = ring.datagram(made);
            let len = self.names.write(bytes, self.edns);
            bytes[..2].copy_from_slice(&id.to_be_bytes());
            ring.queue(made, len, None);
            made += 1;
        }
        let at = now();
        let sent = ring.send(socket);
        for n in 0..sent as u16 {
            source.sent_ns[usize::from(first.wrapping_add(n))] = at;
        }
        source.next = first.wrapping_add(sent as u16);
        source.outstanding += sent;
        sent
    }
}

impl Source {
    fn new() -> Self {
        // Written, so that the system gives the memory now: a page at first use would make the queries of that moment late.
        let mut sent_ns = vec![u64::MAX; 1 << 16];
        sent_ns.fill(0);
        Self { sent_ns, oldest: 0, next: 0, outstanding: 0 }
    }

    /// Counts those that were sent too long ago as lost. Ids are sent in their order, so that it need not look at all of
    /// them: that would take a tenth of a millisecond, which answers that come meanwhile would seem to have taken longer.
    fn give_up(&mut self, now: u64, patience: u64) -> u64 {
        let mut lost = 0;
        while self.outstanding > 0 {
            let sent = &mut self.sent_ns[usize::from(self.oldest)];
            if *sent != 0 {
                if now <= *sent + patience {
                    break;
                }
                *sent = 0;
                self.outstanding -= 1;
                lost += 1;
            }
            self.oldest = self.oldest.wrapping_add(1);
        }
        lost
    }
}

impl Names {
    fn write(&mut self, out: &mut [u8], edns: bool) -> usize {
        match self {
            Self::File { queries, next } => {
                let query = &queries[*next];
                *next = if *next + 1 == queries.len() { 0 } else { *next + 1 };
                out[..query.len()].copy_from_slice(query);
                query.len()
            }
            Self::Pattern { before, after, random } => {
                // xorshift: a full period, so that no name comes twice within a run.
                *random ^= *random << 13;
                *random ^= *random >> 7;
                *random ^= *random << 17;
                let mut digits = [0; 12];
                for (at, digit) in digits.iter_mut().enumerate() {
                    *digit = b"0123456789abcdef"[(*random >> (4 * at + 8) & 15) as usize];
                }
                write(out, &[before.as_bytes(), &digits, after.as_bytes()], 1, edns)
            }
        }
    }
}

/// A line of a file of names as a query; nothing of one that is none.
fn query(line: &str, edns: bool) -> Option<Vec<u8>> {
    let (name, qtype) = line.trim().split_once(char::is_whitespace)?;
    let known = [("A", 1), ("NS", 2), ("CNAME", 5), ("SOA", 6), ("PTR", 12), ("MX", 15), ("TXT", 16), ("AAAA", 28)];
    let qtype = known.iter().find(|(known, _)| *known == qtype.trim())?.1;
    let is_sound =
        name.len() < 250 && name.trim_end_matches('.').split('.').all(|label| (1..64).contains(&label.len()));
    is_sound.then(|| {
        let mut out = [0; 300];
        let len = write(&mut out, &[name.trim_end_matches('.').as_bytes()], qtype, edns);
        out[..len].to_vec()
    })
}

/// Writes a query for the name that the parts make up.
fn write(out: &mut [u8], parts: &[&[u8]], qtype: u16, edns: bool) -> usize {
    out[..12].copy_from_slice(&[0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)]);
    let (mut label, mut end) = (12, 13);
    for byte in parts.iter().copied().flatten() {
        if *byte == b'.' {
            out[label] = (end - label - 1) as u8;
            label = end;
        } else {
            out[end] = *byte;
        }
        end += 1;
    }
    out[label] = (end - label - 1) as u8;
    out[end..end + 5].copy_from_slice(&[0, (qtype >> 8) as u8, qtype as u8, 0, 1]);
    end += 5;
    if edns {
        out[end..end + 11].copy_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\0");
        end += 11;
    }
    end
}

/// Durations to within 1.6 %: 64 steps for each power of two of nanoseconds.
struct Histogram {
    counts: Vec<u64>,
    all: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; 64 * 64], all: 0 }
    }
}

impl Histogram {
    fn note(&mut self, ns: u64) {
        let power = ns.max(64).ilog2();
        self.counts[(power * 64 + (ns.max(64) >> (power - 6) & 63) as u32) as usize] += 1;
        self.all += 1;
    }

    /// In microseconds; 0 when there is nothing.
    fn quantile(&self, part: f64) -> f64 {
        let mut left = (self.all as f64 * part).ceil() as u64;
        for (at, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            if *count >= left {
                return (64 + at as u64 % 64) as f64 * 2f64.powi(at as i32 / 64 - 6) / 1e3;
            }
            left -= count;
        }
        0.0
    }
}

fn summary(counts: &Counts, took: &Histogram, seconds: f64) -> String {
    let Counts { sent, answered, lost, strange, truncated, rcodes } = counts;
    let [noerror, _, servfail, nxdomain, _, refused, ..] = rcodes;
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| took.quantile(part));
    let qps = *answered as f64 / seconds;
    format!(
        "{{\"sent\": {sent}, \"answered\": {answered}, \"lost\": {lost}, \"strange\": {strange}, \
         \"truncated\": {truncated}, \"noerror\": {noerror}, \"servfail\": {servfail}, \"nxdomain\": {nxdomain}, \
         \"refused\": {refused}, \"qps\": {qps:.0}, \"p50_us\": {p50:.1}, \"p99_us\": {p99:.1}, \"p999_us\": {p999:.1}}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_written_as_on_the_wire() {
        let sound = query("www.example.com A", false).expect("a name");
        assert_eq!(sound, b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01");
        assert!(query("www..example A", false).is_none() && query("www.example NONE", false).is_none());
    }

    #[test]
    fn what_is_not_answered_in_time_is_given_up_once() {
        let mut source = Source::new();
        for (at, id) in (0..10).map(|n| (n + 1, 65_530u16.wrapping_add(n as u16))) {
            source.sent_ns[usize::from(id)] = at;
        }
        (source.oldest, source.next, source.outstanding) = (65_530, 4, 10);
        // The third was answered.
        source.sent_ns[65_532] = 0;
        source.outstanding -= 1;
        assert_eq!([source.give_up(100, 100), source.give_up(105, 100), source.give_up(105, 100)], [0, 3, 0]);
        assert_eq!((source.outstanding, source.give_up(1_000, 100)), (6, 6));
        assert_eq!(source.outstanding, 0);
        assert!(source.sent_ns.iter().all(|sent| *sent == 0));
    }

    #[test]
    fn quantiles_are_right_to_within_two_percent() {
        let mut took = Histogram::default();
        (1..=1000).for_each(|us| took.note(us * 1_000));
        for (part, us) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0)] {
            let found = took.quantile(part);
            assert!((found / us - 1.0).abs() < 0.02, "{part}: {found} us, not {us}");
        }
    }

    #[test]
    fn random_names_differ() {
        let mut load = Load::read(&["--pattern", "%x.example"]).expect("sound options");
        let (mut one, mut other) = ([0; 300], [0; 300]);
        let lens = [load.names.write(&mut one, false), load.names.write(&mut other, false)];
        assert_eq!(lens, [12 + 13 + 8 + 1 + 4; 2]);
        assert_ne!(one[13..25], other[13..25]);
    }
}
