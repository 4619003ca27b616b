//! Changing a message that is sent on: TTLs counted down, the client's id and spelling put back, OPT cut off. In place,
//! at offsets that a scan found; offsets that do not fit the message are left alone (RFC 1035, 2181, 6840, 8767).

use super::edns::Edns;
use super::query::Query;
use super::record::seconds;
use super::{HEADER_LEN, header, put_u16, u16_at, u32_at};

/// Counts TTLs down by the `elapsed` seconds that a message lay in a cache, then keeps them within `floor..=cap` seconds.
/// `ttls` are the offsets that [`super::response::Response::ttls`] gave for these bytes.
pub fn patch_ttls(message: &mut [u8], ttls: &[u16], elapsed: u32, floor: u32, cap: u32) {
    for_each_ttl(message, ttls, |ttl| ttl.saturating_sub(elapsed).max(floor).min(cap));
}

/// Sets all TTLs to the same value, as for a stale answer: RFC 8767 section 4 recommends 30 seconds.
pub fn set_ttls(message: &mut [u8], ttls: &[u16], ttl: u32) {
    for_each_ttl(message, ttls, |_| ttl);
}

fn for_each_ttl(message: &mut [u8], ttls: &[u16], new: impl Fn(u32) -> u32) {
    for &at in ttls {
        let at = usize::from(at);
        if let Some(ttl) = u32_at(message, at) {
            message[at..at + 4].copy_from_slice(&new(seconds(ttl)).to_be_bytes());
        }
    }
}

/// Overwrites the question with the client's spelling of it; owners that are pointers to it follow. The two differ in
/// letter case only, so a question of another length is left alone.
pub fn restore_question(message: &mut [u8], question: &[u8]) {
    if let Some(place) = message.get_mut(HEADER_LEN..HEADER_LEN + question.len()) {
        place.copy_from_slice(question);
    }
}

/// Makes a response, cached or shared, the answer to this query: its id, its RD and CD, and its spelling of the
/// question. AD stays only for a client that asked for it by AD or DO (RFC 6840 section 5.8).
pub fn address_to(message: &mut [u8], query: &Query<'_>) {
    let Some(flags) = u16_at(message, 2) else { return };
    let mut flags = flags & !(header::RD | header::CD);
    if query.rd {
        flags |= header::RD;
    }
    if query.cd {
        flags |= header::CD;
    }
    if !query.ad && !query.dnssec_ok() {
        flags &= !header::AD;
    }
    put_u16(message, 0, query.id);
    put_u16(message, 2, flags);
    restore_question(message, query.question());
}

/// Takes the OPT record off the end of a message and returns what is left of its length; `None`, and nothing changed,
/// when records follow it: what stands behind it may be pointed to.
pub fn cut_opt(message: &mut [u8], edns: &Edns) -> Option<usize> {
    let additionals = u16_at(message, 10)?.checked_sub(1)?;
    if edns.end != message.len() {
        return None;
    }
    put_u16(message, 10, additionals);
    Some(edns.start)
}

#[cfg(test)]
mod tests {
    use super::super::response::Response;
    use super::super::rtype;
    use super::super::sample::Sample;
    use super::*;

    fn cached() -> Vec<u8> {
        Sample::response("www.example", rtype::A)
            .flags(0x81B0)
            .record(1, b"\xc0\x0c", rtype::A, 300, &[192, 0, 2, 1])
            .record(1, b"\xc0\x0c", rtype::A, 0x8000_0000, &[192, 0, 2, 2])
            .opt(b"")
            .bytes()
    }

    fn ttls(message: &[u8]) -> Vec<u32> {
        Response::scan(message).unwrap().records().map(|(_, record)| record.ttl).collect()
    }

    #[test]
    fn ttls_count_down_within_bounds_and_opt_is_spared() {
        let mut message = cached();
        let at = Response::scan(&message).unwrap().ttls().to_vec();
        for (elapsed, floor, cap, expected) in
            [(100, 0, u32::MAX, [200, 0, 0x8000]), (50, 1, 120, [120, 1, 0x8000]), (500, 0, 60, [0, 0, 0x8000])]
        {
            patch_ttls(&mut message, &at, elapsed, floor, cap);
            assert_eq!(ttls(&message), expected);
        }
        set_ttls(&mut message, &at, 30);
        assert_eq!(ttls(&message), [30, 30, 0x8000]);
        let len = message.len() as u16;
        set_ttls(&mut message, &[len - 3, len, u16::MAX], 1);
        assert_eq!(ttls(&message), [30, 30, 0x8000], "offsets that are not in the message");
    }

    #[test]
    fn a_shared_answer_becomes_this_clients() {
        let mut message = cached();
        let packet = Sample::query("wWw.eXample", rtype::A).flags(0x0000).bytes();
        let query = Query::scan(&packet).unwrap();
        address_to(&mut message, &query);
        assert_eq!(u16_at(&message, 2), Some(0x8080), "neither RD, CD nor AD was asked for");
        assert_eq!(message[12..query.question_end], packet[12..]);
        let packet = Sample::query("www.example", rtype::A).flags(0x0120).bytes();
        let mut message = cached();
        address_to(&mut message, &Query::scan(&packet).unwrap());
        assert_eq!(u16_at(&message, 2), Some(0x81A0), "AD was asked for");
        address_to(&mut message[..3], &Query::scan(&packet).unwrap());
        restore_question(&mut message[..20], query.question());
    }

    #[test]
    fn opt_is_cut_off_the_end_only() {
        let mut message = cached();
        let edns = Response::scan(&message).unwrap().edns.unwrap();
        let len = cut_opt(&mut message, &edns).unwrap();
        let bare = &message[..len];
        assert_eq!((len, Response::scan(bare).unwrap().edns), (edns.start, None));
        let mut signed = Sample(cached()).tsig().bytes();
        let edns = Response::scan(&signed).unwrap().edns.unwrap();
        assert_eq!(cut_opt(&mut signed, &edns), None);
    }
}
