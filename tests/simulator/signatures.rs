//! Signatures of transactions (TSIG, RFC 8945) by hand, for a primary that tells of its zone and for a judge of what it is
//! answered: HMAC (RFC 2104) over the bytes as the RFC lays them out, with none of the code that the gateway signs with.

use crate::stage::message::{ADDITIONAL, Message, TSIG, id_of, question_end, wire};
use sha2::{Digest, Sha256};

/// The key of the feed, and its secret in the policy's file and in bytes.
pub(crate) const KEY: &str = "feed-key";
pub(crate) const SECRETS: &str = "feed-key c2VjcmV0LW9mLXRoZS1wcmltYXJ5IQ==\n";
const SECRET: &[u8] = b"secret-of-the-primary!";

const ALGORITHM: &str = "hmac-sha256";
const FUDGE: u16 = 300;

/// How a message is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signing {
    /// Not at all.
    None,
    /// With the key of the feed.
    Right,
    /// With a key of another name, with another secret.
    OtherKey,
    OtherSecret,
    /// With the right key, and the message was changed since.
    Altered,
    /// With the right key, by a clock that is behind or ahead by as much as it may be.
    Behind,
    Ahead,
    /// With the right key, by one that is behind or ahead by a second more.
    Late,
    Early,
}

impl Signing {
    pub(crate) const ALL: [Self; 9] = [
        Self::None,
        Self::Right,
        Self::OtherKey,
        Self::OtherSecret,
        Self::Altered,
        Self::Behind,
        Self::Ahead,
        Self::Late,
        Self::Early,
    ];

    /// Those at the limits of what a clock may be wrong.
    pub(crate) const AT_THE_LIMITS: [Self; 4] = [Self::Behind, Self::Ahead, Self::Late, Self::Early];

    /// Whether it is the one of the primary, in time.
    pub(crate) const fn is_right(self) -> bool {
        matches!(self, Self::Right | Self::Behind | Self::Ahead)
    }

    /// The error of RFC 8945 section 5.2 that is right for it.
    pub(crate) const fn error(self) -> u16 {
        match self {
            Self::None | Self::Right | Self::Behind | Self::Ahead => 0,
            Self::OtherSecret | Self::Altered => 16,
            Self::OtherKey => 17,
            Self::Late | Self::Early => 18,
        }
    }
}

/// What a signature says.
#[derive(Debug)]
pub(crate) struct Signature {
    /// Where its record begins.
    start: usize,
    key: Vec<u8>,
    time: u64,
    fudge: u16,
    pub(crate) mac: Vec<u8>,
    pub(crate) error: u16,
    other: Vec<u8>,
}

/// A message as it is sent at `now`, in seconds of Unix time.
pub(crate) fn signed(message: &[u8], signing: Signing, now: u64) -> Vec<u8> {
    let (key, secret, time) = match signing {
        Signing::None => return message.to_vec(),
        Signing::Right | Signing::Altered => (KEY, SECRET, now),
        Signing::OtherKey => ("other-key", SECRET, now),
        Signing::OtherSecret => (KEY, &b"secret of nobody"[..], now),
        Signing::Behind => (KEY, SECRET, now - u64::from(FUDGE)),
        Signing::Ahead => (KEY, SECRET, now + u64::from(FUDGE)),
        Signing::Late => (KEY, SECRET, now - u64::from(FUDGE) - 1),
        Signing::Early => (KEY, SECRET, now + u64::from(FUDGE) + 1),
    };
    let key = wire(key);
    let variables = variables(&key, (time, FUDGE), (0, &[]));
    let mac = hmac(secret, &[message, &variables].concat());
    let data = [
        &wire(ALGORITHM)[..],
        &time.to_be_bytes()[2..],
        &FUDGE.to_be_bytes(),
        &(mac.len() as u16).to_be_bytes(),
        &mac,
        &message[..2],
        &[0; 4],
    ];
    let mut sent = Message(message.to_vec()).record_of(ADDITIONAL, &key, TSIG, 255, 0, &data.concat()).bytes();
    if signing == Signing::Altered {
        // AD, which changes nothing else.
        sent[3] ^= 0x20;
    }
    sent
}

/// Whether a reply to the message `asked` is signed with the key of the feed, at `now`.
pub(crate) fn is_signed(asked: &[u8], reply: &[u8], now: u64) -> bool {
    let (Some(theirs), Some(ours)) = (signature(asked), signature(reply)) else { return false };
    let mut bare = reply[..ours.start].to_vec();
    bare[11] -= 1;
    bare[..2].copy_from_slice(&id_of(asked).to_be_bytes());
    let variables = variables(&ours.key, (ours.time, ours.fudge), (ours.error, &ours.other));
    let prior = [&(theirs.mac.len() as u16).to_be_bytes()[..], &theirs.mac].concat();
    ours.key == wire(KEY)
        && now.abs_diff(ours.time) <= ours.fudge.into()
        && ours.mac == hmac(SECRET, &[&prior[..], &bare, &variables].concat())
}

/// The signature of a message, if its last record is one.
pub(crate) fn signature(message: &[u8]) -> Option<Signature> {
    let count = |at: usize| usize::from(u16::from_be_bytes([message[at], message[at + 1]]));
    let records = count(6) + count(8) + count(10);
    let (mut at, mut start) = (question_end(message), None);
    for _ in 0..records {
        start = Some(at);
        at = name_end(message, at);
        at += 10 + count(at + 8);
    }
    let start = start?;
    let name_end = name_end(message, start);
    let data = &message[name_end + 10..];
    if count(name_end) != usize::from(TSIG) {
        return None;
    }
    let fixed = &data[wire(ALGORITHM).len()..];
    let number = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    let mac_end = 10 + usize::from(number(8));
    Some(Signature {
        start,
        key: message[start..name_end].to_ascii_lowercase(),
        time: fixed[..6].iter().fold(0, |time, byte| time << 8 | u64::from(*byte)),
        fudge: number(6),
        mac: fixed[10..mac_end].to_vec(),
        error: number(mac_end + 2),
        other: fixed[mac_end + 6..].to_vec(),
    })
}

/// Section 4.3.3: what is signed besides the message.
fn variables(key: &[u8], (time, fudge): (u64, u16), (error, other): (u16, &[u8])) -> Vec<u8> {
    [
        key,
        &[0, 255, 0, 0, 0, 0],
        &wire(ALGORITHM),
        &time.to_be_bytes()[2..],
        &fudge.to_be_bytes(),
        &error.to_be_bytes(),
        &(other.len() as u16).to_be_bytes(),
        other,
    ]
    .concat()
}

fn hmac(secret: &[u8], text: &[u8]) -> Vec<u8> {
    let mut key = [0; 64];
    key[..secret.len()].copy_from_slice(secret);
    let inner = Sha256::digest([&key.map(|byte| byte ^ 0x36)[..], text].concat());
    Sha256::digest([&key.map(|byte| byte ^ 0x5c)[..], &inner].concat()).to_vec()
}

fn name_end(message: &[u8], mut at: usize) -> usize {
    while message[at] != 0 {
        if message[at] & 0xC0 != 0 {
            return at + 2;
        }
        at += 1 + usize::from(message[at]);
    }
    at + 1
}

/// RFC 4231, the first and the second case.
#[test]
fn the_hash_is_the_one_of_the_rfc() {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let first = hmac(&[0x0b; 20], b"Hi There");
    assert_eq!(hex(first), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    let second = hmac(b"Jefe", b"what do ya want for nothing?");
    assert_eq!(hex(second), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}
