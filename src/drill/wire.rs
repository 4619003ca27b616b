//! The few messages of a drill, made by hand: one question, and an answer with one address, an error, or nothing.

use crate::dns::name::Name;
use crate::dns::rcode;

/// What the upstream of a drill says.
pub(super) const TRUE_ADDRESS: [u8; 4] = [192, 0, 2, 1];
/// What nobody but a liar says.
pub(super) const FALSE_ADDRESS: [u8; 4] = [203, 0, 113, 66];

/// Seconds that an answer may be kept: short, so that the upstream is asked again and again.
const TTL: u32 = 1;

/// Types that are asked for.
const A: u16 = 1;
const TXT: u16 = 16;

/// Bytes of a client's cookie, and of all of it once a server has added its part (RFC 7873, 9018).
const CLIENT_COOKIE: [u8; 8] = *b"drilling";
const COOKIE_LEN: usize = 24;
const COOKIE: [u8; 2] = [0, 10];

/// A name of a drill.
///
/// # Panics
/// When it is no name: those of drills are made here.
pub(super) fn name(text: &str) -> Name {
    Name::from_text(text).expect("the names that a drill makes are names")
}

/// `label` below `zone`; `zone` itself when there is no room for a label more.
pub(super) fn below(label: &str, zone: &Name) -> Name {
    let wire = [&[label.len() as u8][..], label.as_bytes(), zone.as_wire()].concat();
    Name::from_wire(&wire).unwrap_or(*zone)
}

/// A query for the address of `name`.
pub(super) fn query(id: u16, name: &Name) -> Vec<u8> {
    question(id, name, A)
}

fn question(id: u16, name: &Name, qtype: u16) -> Vec<u8> {
    let mut query = id.to_be_bytes().to_vec();
    query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    query.extend(name.as_wire());
    query.extend(qtype.to_be_bytes());
    query.extend([0, 1]);
    query
}

/// A query for the texts of `name`, with room for a large answer, and with a cookie: `Some(&[])` for one that the server
/// has still to add its part to.
pub(super) fn large_query(id: u16, name: &Name, cookie: Option<&[u8]>) -> Vec<u8> {
    let mut query = question(id, name, TXT);
    query[11] = 1;
    let option = cookie.map_or(Vec::new(), |server| {
        let len = (CLIENT_COOKIE.len() + server.len()) as u16;
        [&COOKIE, &len.to_be_bytes(), &CLIENT_COOKIE[..], server].concat()
    });
    query.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0]);
    query.extend((option.len() as u16).to_be_bytes());
    query.extend(option);
    query
}

/// The server's part of the cookie in a response to [`large_query`]: found by the client's part, which no text of ours has.
pub(super) fn server_cookie(response: &[u8]) -> Option<&[u8]> {
    let at = response.windows(CLIENT_COOKIE.len()).rposition(|bytes| bytes == CLIENT_COOKIE)?;
    response.get(at + CLIENT_COOKIE.len()..at + COOKIE_LEN)
}

/// The name that a query asks for.
pub(super) fn asked(query: &[u8]) -> Option<Name> {
    Some(Name::read_uncompressed(query, 12).ok()?.0)
}

/// A response to `query` without records; `None` when it is no query.
fn response(query: &[u8], rcode: u16) -> Option<Vec<u8>> {
    let end = Name::read_uncompressed(query, 12).ok()?.1 + 4;
    let mut response = query.get(..end)?.to_vec();
    // AA and RA both: it stands for a resolver, or for the server of a zone behind one.
    response[2] = 0x85;
    response[3] = 0x80 | rcode as u8;
    response[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    Some(response)
}

/// An answer to `query` with one address; `None` when it is no query.
pub(super) fn answer(query: &[u8], address: [u8; 4]) -> Option<Vec<u8>> {
    let mut answer = response(query, rcode::NOERROR)?;
    answer[7] = 1;
    answer.extend([0xc0, 12, 0, 1, 0, 1]);
    answer.extend(TTL.to_be_bytes());
    answer.extend([0, 4]);
    answer.extend(address);
    Some(answer)
}

/// SERVFAIL.
pub(super) fn failure(query: &[u8]) -> Option<Vec<u8>> {
    response(query, rcode::SERVFAIL)
}

/// NXDOMAIN, with the SOA of `zone`.
pub(super) fn absence(query: &[u8], zone: &Name) -> Option<Vec<u8>> {
    let mut answer = response(query, rcode::NXDOMAIN)?;
    answer[9] = 1;
    answer.extend(zone.as_wire());
    answer.extend([0, 6, 0, 1, 0, 0, 0, 60, 0, 22]);
    // Both names are the root.
    answer.extend([0, 0]);
    [1u32, 3600, 600, 86_400, 60].iter().for_each(|number| answer.extend(number.to_be_bytes()));
    Some(answer)
}

/// What an answer is worth: `Some(true)` for the true one, `Some(false)` for a lie, `None` for no address at all.
pub(super) fn is_true(answer: &[u8]) -> Option<bool> {
    if answer.get(6..8)? == [0, 0] {
        return None;
    }
    Some(answer.windows(4).any(|four| four == TRUE_ADDRESS))
}

/// Whether a response tells a client what it wanted to know: records, or that there are none; whole.
pub(super) fn is_whole(response: &[u8]) -> bool {
    let Some([flags, code]) = response.get(2..4) else { return false };
    let is_cut = flags & 0x02 != 0;
    flags & 0x80 != 0 && !is_cut && matches!(u16::from(code & 0x0f), rcode::NOERROR | rcode::NXDOMAIN)
}

/// Whether a response has records in its answer and all of them.
pub(super) fn has_records(response: &[u8]) -> bool {
    is_whole(response) && response.get(6..8).is_some_and(|count| count != [0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::query::Query;
    use crate::dns::response::Response;

    #[test]
    fn what_is_asked_is_answered_truly_or_falsely() {
        let asks = query(7, &below("h1", &name("drill.example")));
        assert_eq!(asked(&asks), Some(name("h1.drill.example")));
        assert_eq!(is_true(&answer(&asks, TRUE_ADDRESS).unwrap()), Some(true));
        assert_eq!(is_true(&answer(&asks, FALSE_ADDRESS).unwrap()), Some(false));
        assert_eq!(is_true(&asks), None);
        assert_eq!(answer(&asks[..20], TRUE_ADDRESS), None);
        assert!(!is_whole(&asks) && is_whole(&answer(&asks, TRUE_ADDRESS).unwrap()));
        Query::scan(&asks).expect("it is a query");
    }

    #[test]
    fn failures_and_absences_are_responses() {
        let zone = name("drill.example");
        let asks = query(7, &below("r1", &zone));
        let failed = failure(&asks).unwrap();
        assert_eq!(Response::scan(&failed).expect("a response").rcode, rcode::SERVFAIL);
        assert!(!is_whole(&failed));
        let absent = absence(&asks, &zone).unwrap();
        let scanned = Response::scan(&absent).expect("a response");
        assert_eq!((scanned.rcode, scanned.soa().map(|(owner, _)| owner)), (rcode::NXDOMAIN, Some(zone)));
        assert!(is_whole(&absent) && is_true(&absent).is_none());
    }

    #[test]
    fn a_cookie_is_shown_as_it_was_got() {
        let zone = name("drill.example");
        for server in [&[][..], &[7; 16]] {
            let asks = large_query(1, &zone, Some(server));
            let scanned = Query::scan(&asks).expect("it is a query");
            let (start, end) = scanned.edns.expect("it has an OPT").cookie.expect("it has a cookie");
            assert_eq!(asks[start..end], [&CLIENT_COOKIE[..], server].concat());
        }
        assert_eq!(server_cookie(&large_query(1, &zone, Some(&[7; 16]))), Some(&[7; 16][..]));
        assert_eq!(server_cookie(&large_query(1, &zone, Some(&[]))), None);
        assert!(Query::scan(&large_query(1, &zone, None)).expect("it is a query").edns.is_some());
    }
}
