//! The part of a socket filter that lets regulars pass and thins strangers: for floods of which no source can be caught.
//!
//! A classic BPF program has no table, so the regulars are written into its constants: a bitmap under a keyed hash of the
//! source address, found by a binary tree of jumps, three instructions for 32 bits. It needs no privilege, unlike a map
//! of eBPF. What is not a regular passes by the bitmap once in so many times as it is filled, at most about 3 % with 1000
//! regulars of a family and 12 % with 4000; from there on networks are marked instead of sources. That is no harm: what
//! passes besides is part of the strangers' share.

use super::sieve::{EVERYTHING, IPV6_SOURCE, NETWORK, RANDOM, op};
use crate::policy::networks::NetworkSet;
use crate::policy::regulars::Source;
use crate::sys::keys::unguessable;
use socket2::SockFilter;
use std::net::IpAddr;

/// Words of a bitmap: with the jumps about 3200 of the 4096 instructions that a program may have.
const WORDS: [usize; 2] = [32, 1024];

/// More regulars of one family than this are marked by network: a /24, a /48.
const SOURCES_MAX: usize = 4096;

const IPV4_NETWORK: u32 = 0xffff_ff00;
const IPV6_NETWORK: u32 = 0xffff_0000;

/// Exempt ranges of one family that find room.
const EXEMPT_MAX: usize = 64;

/// Targets of jumps that are known at the end only.
const TO_TEST: u32 = u32::MAX;
const TO_THIN: u32 = u32::MAX - 1;

/// Who passes on the sockets of one family.
#[derive(Debug)]
struct Roll {
    ipv6: bool,
    /// Odd, and not to be guessed.
    factors: [u32; 2],
    words: Vec<u32>,
    by_network: bool,
    /// First and last of what is always let pass: addresses of IPv4, upper halves of IPv6.
    exempt: Vec<(u64, u64)>,
}

/// Who passes, and how many of the others.
#[derive(Debug)]
pub(super) struct Strangers {
    ipv4: Roll,
    ipv6: Roll,
    words_max: usize,
}

impl Strangers {
    pub(super) fn new() -> Self {
        let random = unguessable();
        Self::hashing([false, true].map(|ipv6| [1, 2].map(|number| random.hash_one((ipv6, number)) as u32)))
    }

    /// With numbers that nobody can guess, as the hash is made of them.
    fn hashing(random: [[u32; 2]; 2]) -> Self {
        let [ipv4, ipv6] = [false, true].map(|ipv6| {
            let factors = random[usize::from(ipv6)].map(|number| number | 1);
            Roll { ipv6, factors, words: Vec::with_capacity(WORDS[1]), by_network: false, exempt: Vec::new() }
        });
        Self { ipv4, ipv6, words_max: WORDS[1] }
    }

    /// Takes down who passes. `known` is asked for several times. False when there are more exempt networks than find
    /// room: since they may never be thinned, nobody may be then.
    pub(super) fn enroll<I: Iterator<Item = Source>>(&mut self, exempt: &NetworkSet, known: impl Fn() -> I) -> bool {
        self.ipv4.exempt.clear();
        self.ipv4.exempt.extend(exempt.ipv4_ranges().map(|(from, to)| (from.into(), to.into())).take(EXEMPT_MAX + 1));
        self.ipv6.exempt.clear();
        // All of a /64 when a part of it is exempt.
        let halves = exempt.ipv6_ranges().map(|(from, to)| ((from >> 64) as u64, (to >> 64) as u64));
        self.ipv6.exempt.extend(halves.take(EXEMPT_MAX + 1));
        let words_max = self.words_max;
        for roll in [&mut self.ipv4, &mut self.ipv6] {
            let ipv6 = roll.ipv6;
            roll.enroll(words_max, || known().map(Source::address).filter(move |address| address.is_ipv6() == ipv6));
        }
        self.ipv4.exempt.len().max(self.ipv6.exempt.len()) <= EXEMPT_MAX
    }

    /// The kernel had no room for the program: from now on one has half as many words. False when it cannot be smaller.
    pub(super) fn shrink(&mut self) -> bool {
        let largest = self.ipv4.words.len().max(self.ipv6.words.len());
        if largest <= WORDS[0] {
            return false;
        }
        self.words_max = largest / 2;
        for roll in [&mut self.ipv4, &mut self.ipv6] {
            if roll.words.len() > self.words_max {
                roll.halve();
            }
        }
        true
    }

    /// Appends the instructions; behind them nothing follows. Of strangers `pass` in 2^32 go through. For IPv4 the
    /// source is in A.
    pub(super) fn write(&self, program: &mut Vec<SockFilter>, ipv6: bool, pass: u32) {
        let roll = if ipv6 { &self.ipv6 } else { &self.ipv4 };
        let step = |(code, if_so, if_not, number)| SockFilter::new(code, if_so, if_not, number);
        program.extend(roll.steps(pass).into_iter().map(step));
    }
}

impl Roll {
    fn enroll<I: Iterator<Item = IpAddr>>(&mut self, words_max: usize, known: impl Fn() -> I) {
        let count = known().take(SOURCES_MAX + 1).count();
        self.by_network = count > SOURCES_MAX;
        let words = count.next_power_of_two().clamp(WORDS[0], WORDS[1]).min(words_max);
        self.words.clear();
        self.words.resize(words, 0);
        for address in known() {
            let hash = self.hash(address);
            let word = (hash >> (32 - words.ilog2())) as usize;
            self.words[word] |= 1 << (hash >> self.bit_shift() & 31);
        }
    }

    /// Two words become one: what chose between them chooses the half of it, the lowest of what chose a bit is left out.
    fn halve(&mut self) {
        let squeezed =
            |word: u32| (0..16).filter(|pair| word >> (2 * pair) & 3 != 0).map(|pair| 1 << pair).sum::<u32>();
        for at in 0..self.words.len() / 2 {
            self.words[at] = squeezed(self.words[2 * at]) | squeezed(self.words[2 * at + 1]) << 16;
        }
        self.words.truncate(self.words.len() / 2);
    }

    /// As the program computes it.
    fn hash(&self, address: IpAddr) -> u32 {
        let [first, second] = self.factors;
        match address {
            IpAddr::V4(v4) => {
                (v4.to_bits() & if self.by_network { IPV4_NETWORK } else { u32::MAX }).wrapping_mul(first)
            }
            IpAddr::V6(v6) => {
                let [high, low] = [96, 64].map(|shift| (v6.to_bits() >> shift) as u32);
                let low = low & if self.by_network { IPV6_NETWORK } else { u32::MAX };
                low.wrapping_mul(second).wrapping_add(high.wrapping_mul(first))
            }
        }
    }

    /// Below the bits that choose the word are those that choose the bit in it.
    fn bit_shift(&self) -> u32 {
        32 - self.words.len().ilog2() - 5
    }

    fn steps(&self, pass: u32) -> Vec<Step> {
        let mut steps = Steps::default();
        if self.ipv6 {
            self.write_ipv6_hash(&mut steps);
        } else {
            self.write_ipv4_hash(&mut steps);
        }
        // X becomes the bit, A is the hash again.
        steps.push(op::STORE, 2);
        steps.push(op::SHIFT_RIGHT, self.bit_shift());
        steps.push(op::AND, 31);
        steps.push(op::A_TO_X, 0);
        steps.push(op::LOAD_NUMBER, 1);
        steps.push(op::SHIFT_LEFT_BY_X, 0);
        steps.push(op::A_TO_X, 0);
        steps.push(op::LOAD, 2);
        steps.tree(&self.words, 31);
        let test = steps.0.len();
        steps.jump(op::JUMP_IF_ANY_BIT_OF_X, 0, 1, 0);
        steps.push(op::RETURN, EVERYTHING);
        let thin = steps.0.len();
        steps.push(op::LOAD_WORD, RANDOM);
        steps.jump(op::JUMP_IF_NOT_LESS, 0, 1, pass);
        steps.push(op::RETURN, 0);
        steps.push(op::RETURN, EVERYTHING);
        steps.finish(test, thin)
    }

    fn write_ipv4_hash(&self, steps: &mut Steps) {
        for (from, to) in &self.exempt {
            steps.pass_range(*from as u32, *to as u32);
        }
        if self.by_network {
            steps.push(op::AND, IPV4_NETWORK);
        }
        steps.push(op::MULTIPLY, self.factors[0]);
    }

    fn write_ipv6_hash(&self, steps: &mut Steps) {
        for half in 0..2 {
            steps.push(op::LOAD_WORD, NETWORK + IPV6_SOURCE + 4 * half);
            steps.push(op::STORE, half);
        }
        for (from, to) in &self.exempt {
            let [(first, from), (last, to)] = [from, to].map(|half| ((half >> 32) as u32, *half as u32));
            // One /32 in part, or the first and last in part and all between.
            if first == last {
                steps.pass_range_of(first, from, to);
                continue;
            }
            steps.pass_range_of(first, from, u32::MAX);
            steps.pass_range_of(last, 0, to);
            if last - first > 1 {
                steps.push(op::LOAD, 0);
                steps.pass_range(first + 1, last - 1);
            }
        }
        steps.push(op::LOAD, 1);
        if self.by_network {
            steps.push(op::AND, IPV6_NETWORK);
        }
        steps.push(op::MULTIPLY, self.factors[1]);
        steps.push(op::A_TO_X, 0);
        steps.push(op::LOAD, 0);
        steps.push(op::MULTIPLY, self.factors[0]);
        steps.push(op::ADD_X, 0);
    }
}

/// An instruction: what to do, how many to leave out if so and if not, and a number.
type Step = (u16, u8, u8, u32);

/// Instructions, of which some jumps are not finished.
#[derive(Debug, Default)]
struct Steps(Vec<Step>);

impl Steps {
    fn push(&mut self, code: u16, number: u32) {
        self.0.push((code, 0, 0, number));
    }

    fn jump(&mut self, code: u16, if_so: u8, if_not: u8, number: u32) {
        self.0.push((code, if_so, if_not, number));
    }

    /// Lets pass what has A between these.
    fn pass_range(&mut self, from: u32, to: u32) {
        self.jump(op::JUMP_IF_NOT_LESS, 0, 2, from);
        self.jump(op::JUMP_IF_GREATER, 1, 0, to);
        self.push(op::RETURN, EVERYTHING);
    }

    /// Lets pass what has the first word of its address equal to `high` and the second between these.
    fn pass_range_of(&mut self, high: u32, from: u32, to: u32) {
        self.push(op::LOAD, 0);
        self.jump(op::JUMP_IF_EQUAL, 0, 4, high);
        self.push(op::LOAD, 1);
        self.pass_range(from, to);
    }

    /// From the bits of A, from `bit` downward, to the word that they choose; an empty part of the bitmap is one jump.
    fn tree(&mut self, words: &[u32], bit: u32) {
        if words.iter().all(|word| *word == 0) {
            return self.push(op::JUMP, TO_THIN);
        }
        if let [word] = words {
            self.push(op::LOAD_NUMBER, *word);
            return self.push(op::JUMP, TO_TEST);
        }
        let (clear, set) = words.split_at(words.len() / 2);
        let over = size(clear);
        match u8::try_from(over) {
            Ok(over) => self.jump(op::JUMP_IF_ANY_BIT, over, 0, 1 << bit),
            // Conditional jumps are short.
            Err(_) => {
                self.jump(op::JUMP_IF_ANY_BIT, 0, 1, 1 << bit);
                self.push(op::JUMP, over as u32);
            }
        }
        self.tree(clear, bit - 1);
        self.tree(set, bit - 1);
    }

    fn finish(mut self, test: usize, thin: usize) -> Vec<Step> {
        for (at, (code, .., number)) in self.0.iter_mut().enumerate() {
            // A jump names the instructions to leave out.
            match *number {
                TO_TEST if *code == op::JUMP => *number = (test - at - 1) as u32,
                TO_THIN if *code == op::JUMP => *number = (thin - at - 1) as u32,
                _ => {}
            }
        }
        self.0
    }
}

/// Instructions of [`Steps::tree`].
fn size(words: &[u32]) -> usize {
    if words.iter().all(|word| *word == 0) {
        return 1;
    }
    if words.len() == 1 {
        return 2;
    }
    let (clear, set) = words.split_at(words.len() / 2);
    let over = size(clear);
    over + size(set) + if over <= usize::from(u8::MAX) { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::super::sieve::tests::passed;
    use super::super::sieve::{Caught, program};
    use super::*;
    use ipnet::IpNet;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::net::Ipv4Addr;

    fn sources(texts: &[&str]) -> Vec<Source> {
        texts.iter().map(|text| Source::of(text.parse().unwrap())).collect()
    }

    fn exempt(texts: &[&str]) -> NetworkSet {
        NetworkSet::new(texts.iter().map(|text| (text.parse::<IpNet>().unwrap(), true)))
    }

    /// The hash of all tests but one: whether two addresses share a bit must not be luck.
    const SAME: [u32; 2] = [0x9e37_79b9, 0x85eb_ca6b];

    fn enrolled(exempt: &NetworkSet, known: &[Source]) -> Strangers {
        enrolled_by(SAME, exempt, known)
    }

    fn enrolled_by(random: [u32; 2], exempt: &NetworkSet, known: &[Source]) -> Strangers {
        let mut strangers = Strangers::hashing([random; 2]);
        assert!(strangers.enroll(exempt, || known.iter().copied()));
        strangers
    }

    #[test]
    fn regulars_and_exempt_pass_and_strangers_are_thinned() {
        let strangers = enrolled(&exempt(&["127.0.0.4/31"]), &sources(&["127.0.0.9", "127.200.3.4"]));
        let caught = [Caught { source: "127.0.0.8".parse().unwrap(), one_in: 4096 }];
        let program = program(&caught, Some((&strangers, 1 << 30)), false).unwrap();
        let clients = ["127.0.0.9", "127.200.3.4", "127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.8"];
        let got = passed("127.0.0.1", &clients, &program, 2000);
        assert_eq!(got[..4], [2000; 4], "known twice, exempt twice");
        assert!((400..600).contains(&got[4]), "{got:?}: one in four of a stranger");
        assert!(got[5] < 20, "{got:?}: who is caught stays caught");
    }

    #[test]
    fn links_of_ipv6_too() {
        for (exempted, known, passes) in [
            (exempt(&[]), sources(&["::9"]), true),
            (exempt(&["::/32"]), sources(&[]), true),
            (exempt(&["::1/128"]), sources(&[]), true),
            (exempt(&["::/7"]), sources(&[]), true),
            (exempt(&["::1:0:0:0:0/64", "2001:db8::/32"]), sources(&["::1:0:0:0:0", "2001:db8::"]), false),
        ] {
            let strangers = enrolled(&exempted, &known);
            let program = program(&[], Some((&strangers, 0)), true).unwrap();
            assert_eq!(passed("::1", &["::1"], &program, 100) == [100], passes, "{exempted:?} {known:?}");
        }
    }

    /// What a program does with a packet from `client`; only what these programs use.
    fn is_let_pass(program: &[Step], client: u32) -> bool {
        let (mut a, mut x, mut memory, mut at) = (client, 0_u32, [0; 16], 0);
        loop {
            let (code, if_so, if_not, k) = program[at];
            at += 1;
            let choose = |so: bool| usize::from(if so { if_so } else { if_not });
            match code {
                op::RETURN => return k != 0,
                op::LOAD_WORD => a = u32::MAX,
                op::STORE => memory[k as usize] = a,
                op::LOAD => a = memory[k as usize],
                op::LOAD_NUMBER => a = k,
                op::AND => a &= k,
                op::MULTIPLY => a = a.wrapping_mul(k),
                op::SHIFT_RIGHT => a >>= k,
                op::SHIFT_LEFT_BY_X => a <<= x,
                op::A_TO_X => x = a,
                op::JUMP => at += k as usize,
                op::JUMP_IF_ANY_BIT => at += choose(a & k != 0),
                op::JUMP_IF_ANY_BIT_OF_X => at += choose(a & x != 0),
                op::JUMP_IF_NOT_LESS => at += choose(a >= k),
                op::JUMP_IF_GREATER => at += choose(a > k),
                op::JUMP_IF_EQUAL => at += choose(a == k),
                _ => panic!("code {code:#x}"),
            }
        }
    }

    /// Any two addresses share a bit by at most two of so many hashes as there are bits, so of all hashes together a stranger
    /// passes by at most twice the part of the bits that regulars could have set. One hash may do worse: which hashes are
    /// asked is the same in every run.
    #[test]
    fn however_many_regulars_there_are_all_pass_and_few_strangers_do() {
        let mut random = StdRng::seed_from_u64(1);
        let hashes: Vec<[u32; 2]> = (0..64).map(|_| [random.random(), random.random()]).collect();
        let foreign: Vec<u32> = (0..1_000).map(|_| 0x8000_0000 | random.random::<u32>()).collect();
        for (count, marks, bits) in [
            (0, 0, 1 << 10),
            (1, 1, 1 << 10),
            (40, 40, 1 << 11),
            (1_000, 1_000, 1 << 15),
            (4_000, 4_000, 1 << 15),
            // Of a /24 each.
            (40_000, 1_094, 1 << 15),
        ] {
            let known: Vec<_> =
                (0..count).map(|n| Source::of(Ipv4Addr::from_bits(0x0a00_0000 + n * 7).into())).collect();
            let mut passed = 0;
            for hash in &hashes {
                let strangers = enrolled_by(*hash, &exempt(&[]), &known);
                let steps = strangers.ipv4.steps(0);
                assert!(steps.len() < 3_300, "{count}: {} instructions", steps.len());
                let all = (0..count).all(|n| is_let_pass(&steps, 0x0a00_0000 + n * 7));
                assert!(all, "{count}, by {hash:x?}: a regular is thinned");
                passed += foreign.iter().filter(|stranger| is_let_pass(&steps, **stranger)).count();
            }
            let asked = hashes.len() * foreign.len();
            assert!(passed * bits <= 2 * asked * marks, "{count}: {passed} of {asked} strangers pass");
        }
    }

    /// With net.core.optmem_max at 20480, as before Linux 6.8, the largest program does not fit.
    #[test]
    fn the_kernel_takes_a_program_of_thousands_or_a_smaller_one() {
        let known = || (0..4_000u32).map(|n| Source::of(Ipv4Addr::from_bits(0x7f00_0002 + n).into()));
        let mut strangers = Strangers::hashing([SAME; 2]);
        assert!(strangers.enroll(&exempt(&[]), known));
        loop {
            let program = program(&[], Some((&strangers, 0)), false).unwrap();
            let probe = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            match socket2::SockRef::from(&probe).attach_filter(&program) {
                Ok(()) => {
                    assert_eq!(passed("127.0.0.1", &["127.0.0.9", "127.0.9.9"], &program, 100), [100; 2]);
                    return;
                }
                Err(error) => assert!(error.raw_os_error() == Some(libc::ENOMEM) && strangers.shrink(), "{error}"),
            }
        }
    }

    #[test]
    fn more_exempt_networks_than_find_room_are_told() {
        let many: Vec<_> = (0..100).map(|n| format!("10.{n}.0.0/17")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let mut strangers = Strangers::new();
        assert!(!strangers.enroll(&exempt(&many), || [].into_iter()));
        assert!(strangers.enroll(&exempt(&many[..64]), || [].into_iter()));
    }

    #[test]
    fn a_smaller_program_lets_all_regulars_pass_still() {
        let known: Vec<_> = (0..700).map(|n| Source::of(Ipv4Addr::from_bits(0x0a00_0000 + n * 7).into())).collect();
        let mut strangers = enrolled(&exempt(&[]), &known);
        let mut len = strangers.ipv4.steps(0).len();
        while strangers.shrink() {
            let steps = strangers.ipv4.steps(0);
            assert!((0..700).all(|n| is_let_pass(&steps, 0x0a00_0000 + n * 7)), "a regular is thinned");
            assert!(steps.len() < len);
            len = steps.len();
            let mut anew = Vec::new();
            std::mem::swap(&mut anew, &mut strangers.ipv4.words);
            assert!(strangers.enroll(&exempt(&[]), || known.iter().copied()));
            assert_eq!(strangers.ipv4.words, anew, "as if it had been that small from the start");
        }
        assert!(len < 150, "{len} instructions");
    }
}
