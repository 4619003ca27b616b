//! Server cookies of version 1: made and judged from nothing but the message, the client's address, the time and a secret,
//! so that no memory is spent on clients (RFC 9018 section 4).

use super::secrets::{Secret, Secrets};
use siphasher::sip::SipHasher24;
use std::net::IpAddr;

/// Length of a client cookie (RFC 7873 section 4.1).
pub(super) const CLIENT_LEN: usize = 8;

/// Length of a server cookie of version 1 (RFC 9018 section 4).
pub(super) const SERVER_LEN: usize = 16;

/// Length of the COOKIE option's data in our replies.
pub const COOKIE_LEN: usize = CLIENT_LEN + SERVER_LEN;

/// RFC 9018 section 4.1.
const VERSION: u8 = 1;

/// RFC 9018 section 4.3: "The DNS server SHOULD allow cookies within a 1-hour period in the past [...] to allow operation
/// of low-volume clients".
const AGE_MAX: u32 = 60 * 60;

/// As above: "and a 5-minute period into the future to allow [...] some limited time skew".
const AHEAD_MAX: u32 = 5 * 60;

/// RFC 9018 section 4.3: "The DNS server SHOULD generate a new Server Cookie at least if the received Server Cookie from
/// the client is more than half an hour old".
const REUSE_MAX: u32 = 30 * 60;

/// What a client's COOKIE option says about where the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A client cookie alone: the client understands cookies, and may be anywhere.
    ClientOnly,
    /// A server cookie that is not ours, not this client's, or too old.
    Wrong,
    /// The client has received what we sent to its address: it is there.
    Valid {
        /// Young and of the current secret: the reply repeats it.
        reuse: bool,
    },
}

/// A server cookie taken apart.
struct ServerCookie {
    version: u8,
    reserved: [u8; 3],
    timestamp: u32,
    hash: u64,
}

impl ServerCookie {
    fn read(bytes: &[u8]) -> Option<Self> {
        let [version, r0, r1, r2, t0, t1, t2, t3, hash @ ..] = *bytes.first_chunk::<SERVER_LEN>()?;
        if bytes.len() != SERVER_LEN || version != VERSION {
            return None;
        }
        let (reserved, timestamp) = ([r0, r1, r2], u32::from_be_bytes([t0, t1, t2, t3]));
        Some(Self { version, reserved, timestamp, hash: u64::from_le_bytes(hash) })
    }

    fn new(secret: Secret, client: &[u8; CLIENT_LEN], address: IpAddr, unix_s: u32) -> Self {
        let mut cookie = Self { version: VERSION, reserved: [0; 3], timestamp: unix_s, hash: 0 };
        cookie.hash = cookie.hash_by(secret, client, address);
        cookie
    }

    /// RFC 9018 section 4.4: SipHash-2-4 over "Client Cookie | Version | Reserved | Timestamp | Client-IP".
    fn hash_by(&self, secret: Secret, client: &[u8; CLIENT_LEN], address: IpAddr) -> u64 {
        let mut input = [0; 32];
        input[..8].copy_from_slice(client);
        input[8] = self.version;
        // As they came: RFC 9018 section 4.2 reserves them for later versions, which may not be told by them.
        input[9..12].copy_from_slice(&self.reserved);
        input[12..16].copy_from_slice(&self.timestamp.to_be_bytes());
        let len = match address.to_canonical() {
            IpAddr::V4(v4) => {
                input[16..20].copy_from_slice(&v4.octets());
                20
            }
            IpAddr::V6(v6) => {
                input[16..].copy_from_slice(&v6.octets());
                32
            }
        };
        SipHasher24::new_with_key(&secret.0).hash(&input[..len])
    }

    fn bytes(&self) -> [u8; SERVER_LEN] {
        let mut bytes = [0; SERVER_LEN];
        bytes[0] = self.version;
        bytes[1..4].copy_from_slice(&self.reserved);
        bytes[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..].copy_from_slice(&self.hash.to_le_bytes());
        bytes
    }
}

/// The age of a timestamp in seconds, in the serial number arithmetic of RFC 1982, as RFC 9018 section 4.3 wants it: 2106 is
/// no cliff. Negative when it is of the future.
fn age(timestamp: u32, unix_s: u32) -> i32 {
    unix_s.wrapping_sub(timestamp).cast_signed()
}

/// Judges the data of a COOKIE option: 8 bytes, or 16 to 40, as the scanner lets through. One hash a secret, no allocation.
pub(super) fn judge(secrets: &Secrets, unix_s: u32, address: IpAddr, data: &[u8]) -> Standing {
    let Some((client, server)) = data.split_first_chunk::<CLIENT_LEN>() else { return Standing::Wrong };
    if server.is_empty() {
        return Standing::ClientOnly;
    }
    let Some(cookie) = ServerCookie::read(server) else { return Standing::Wrong };
    let age = age(cookie.timestamp, unix_s);
    if age < -AHEAD_MAX.cast_signed() || age > AGE_MAX.cast_signed() {
        return Standing::Wrong;
    }
    if cookie.hash == cookie.hash_by(secrets.current, client, address) {
        return Standing::Valid { reuse: age <= REUSE_MAX.cast_signed() };
    }
    match secrets.other {
        // Its client gets one of the current secret, whatever its age.
        Some(other) if cookie.hash == cookie.hash_by(other, client, address) => Standing::Valid { reuse: false },
        _ => Standing::Wrong,
    }
}

/// What the COOKIE option of a reply to this one holds: the client's own cookie, then its server cookie, repeated while
/// it is young, else new.
pub(super) fn answer(
    secrets: &Secrets,
    unix_s: u32,
    address: IpAddr,
    data: &[u8],
    standing: Standing,
) -> [u8; COOKIE_LEN] {
    let mut cookie = [0; COOKIE_LEN];
    match (standing, data.first_chunk::<COOKIE_LEN>(), data.first_chunk::<CLIENT_LEN>()) {
        (Standing::Valid { reuse: true }, Some(whole), _) => cookie = *whole,
        (_, _, Some(client)) => {
            cookie[..CLIENT_LEN].copy_from_slice(client);
            cookie[CLIENT_LEN..].copy_from_slice(&ServerCookie::new(secrets.current, client, address, unix_s).bytes());
        }
        (_, _, None) => {}
    }
    cookie
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn secret(text: &str) -> Secret {
        Secret::new(hex(text).try_into().unwrap())
    }

    fn one(text: &str) -> Secrets {
        Secrets { current: secret(text), other: None }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn reply(secrets: &Secrets, unix_s: u32, address: IpAddr, data: &[u8]) -> (Standing, Vec<u8>) {
        let standing = judge(secrets, unix_s, address, data);
        (standing, answer(secrets, unix_s, address, data, standing).to_vec())
    }

    const A: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
    const CLIENT: &str = "2464c4abcf10c957";

    #[test]
    fn the_vectors_of_rfc_9018_appendix_a() {
        let (secrets, client) = (one(A), ip("198.51.100.100"));
        // A.1: learning a new server cookie.
        let (standing, learned) = reply(&secrets, 1_559_731_985, client, &hex(CLIENT));
        assert_eq!(standing, Standing::ClientOnly);
        assert_eq!(learned, hex("2464c4abcf10c957010000005cf79f111f8130c3eee29480"));
        // A.2: the same client learns a renewed one, 40 minutes later.
        let (standing, renewed) = reply(&secrets, 1_559_734_385, client, &learned);
        assert_eq!(standing, Standing::Valid { reuse: false });
        assert_eq!(renewed, hex("2464c4abcf10c957010000005cf7a871d4a564a1442aca77"));
        // A.3: reserved bytes that are set are hashed as they are, and not repeated. The example's own time, two hours
        // after the cookie's, is past the hour of section 4.3.
        let (another, sent) = (ip("203.0.113.203"), hex("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5"));
        assert_eq!(judge(&secrets, 1_559_727_985, another, &sent), Standing::Valid { reuse: true });
        let (standing, renewed) = reply(&secrets, 1_559_734_700, another, &sent);
        assert_eq!(standing, Standing::Wrong);
        assert_eq!(renewed, hex("fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e"));
        // A.4: IPv6, a cookie of the secret before.
        let (client, sent) =
            (ip("2001:db8:220:1:59de:d0f4:8769:82b8"), hex("22681ab97d52c298010000005cf7c57926556bd0934c72f8"));
        let new = "445536bcd2513298075a5d379663c962";
        let rolled = Secrets { current: secret(new), other: Some(secret("dd3bdf9344b678b185a6f5cb60fca715")) };
        let (standing, renewed) = reply(&rolled, 1_559_741_961, client, &sent);
        assert_eq!(standing, Standing::Valid { reuse: false });
        assert_eq!(renewed, hex("22681ab97d52c298010000005cf7c609a6bb79d16625507a"));
        assert_eq!(judge(&one(new), 1_559_741_961, client, &sent), Standing::Wrong, "the old secret is gone");
    }

    #[test]
    fn a_cookie_lives_for_an_hour_and_is_repeated_for_half_of_it() {
        let (secrets, client) = (one(A), ip("192.0.2.1"));
        // 2038 and 2106 are years like any other.
        for made in [1_700_000_000, i32::MAX.cast_unsigned(), u32::MAX - 60, 5] {
            let (_, cookie) = reply(&secrets, made, client, &hex(CLIENT));
            let cases = [
                (0, Standing::Valid { reuse: true }),
                (1800, Standing::Valid { reuse: true }),
                (1801, Standing::Valid { reuse: false }),
                (3600, Standing::Valid { reuse: false }),
                (3601, Standing::Wrong),
                (1 << 31, Standing::Wrong),
                (u32::MAX - 299, Standing::Valid { reuse: true }),
                (u32::MAX - 300, Standing::Wrong),
            ];
            for (later, expected) in cases {
                let (standing, given) = reply(&secrets, made.wrapping_add(later), client, &cookie);
                assert_eq!(standing, expected, "{later} seconds after {made}");
                assert_eq!(given == cookie, standing == Standing::Valid { reuse: true } || later == 0);
                assert_eq!(given[..8], cookie[..8]);
            }
        }
    }

    #[test]
    fn a_cookie_is_good_for_its_client_at_its_address_and_for_nobody_else() {
        let (secrets, client) = (one(A), ip("192.0.2.1"));
        let (_, cookie) = reply(&secrets, 1000, client, &hex(CLIENT));
        for address in ["192.0.2.2", "2001:db8::1"] {
            assert_eq!(judge(&secrets, 1000, ip(address), &cookie), Standing::Wrong, "{address}");
        }
        let mapped = ip("::ffff:192.0.2.1");
        assert_eq!(judge(&secrets, 1000, mapped, &cookie), Standing::Valid { reuse: true }, "the same on any listener");
        for at in 0..cookie.len() {
            let mut forged = cookie.clone();
            forged[at] ^= 1;
            assert_eq!(judge(&secrets, 1000, client, &forged), Standing::Wrong, "byte {at}");
        }
        for len in (16..24).chain([25, 32, 40]) {
            let other = [&cookie[..], &[0; 16]].concat();
            assert_eq!(judge(&secrets, 1000, client, &other[..len]), Standing::Wrong, "{len} bytes");
        }
    }

    #[test]
    fn secrets_are_replaced_without_a_client_noticing() {
        let (client, old, new) = (ip("192.0.2.1"), one(A), secret("445536bcd2513298075a5d379663c962"));
        let (_, cookie) = reply(&old, 1000, client, &hex(CLIENT));
        let announced = Secrets { other: Some(new), ..old };
        assert_eq!(judge(&announced, 1010, client, &cookie), Standing::Valid { reuse: true });
        let swapped = Secrets { current: new, other: Some(old.current) };
        let (standing, next) = reply(&swapped, 1020, client, &cookie);
        assert_eq!(standing, Standing::Valid { reuse: false }, "it gets one of the new secret at once");
        assert_eq!(
            judge(&announced, 1020, client, &next),
            Standing::Valid { reuse: false },
            "a server that lags behind"
        );
        let alone = Secrets { current: new, other: None };
        assert_eq!(judge(&alone, 1030, client, &next), Standing::Valid { reuse: true });
        assert_eq!(judge(&alone, 1030, client, &cookie), Standing::Wrong);
    }
}
