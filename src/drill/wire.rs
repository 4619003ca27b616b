//! The few messages of a drill, made by hand: one question for an address, one answer with one.

/// What the upstream of a drill says.
pub(super) const TRUE_ADDRESS: [u8; 4] = [192, 0, 2, 1];
/// What nobody but a liar says.
pub(super) const FALSE_ADDRESS: [u8; 4] = [203, 0, 113, 66];

/// The zone that is slow, as its first label.
const SLOW_LABEL: &[u8] = b"\x04slow";

/// Seconds that an answer may be kept: short, so that the upstream is asked again and again.
const TTL: u32 = 1;

/// A query for the address of `labels` below drill.example.
pub(super) fn query(id: u16, labels: &[&str]) -> Vec<u8> {
    let mut query = id.to_be_bytes().to_vec();
    query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in labels.iter().chain(&["drill", "example"]) {
        query.push(label.len() as u8);
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    query
}

/// Where the first question of a message ends.
fn question_end(message: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        let label = usize::from(*message.get(at)?);
        at += 1 + label;
        if label == 0 {
            break;
        }
    }
    (at + 4 <= message.len()).then_some(at + 4)
}

/// An answer to `query` with one address; `None` when it is no query.
pub(super) fn answer(query: &[u8], address: [u8; 4]) -> Option<Vec<u8>> {
    let mut answer = query.get(..question_end(query)?)?.to_vec();
    answer[2] = 0x81;
    answer[3] = 0x80;
    answer[4..12].copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend([0xc0, 12, 0, 1, 0, 1]);
    answer.extend(TTL.to_be_bytes());
    answer.extend([0, 4]);
    answer.extend(address);
    Some(answer)
}

/// Whether a query asks for a name of the slow zone; in whatever letters.
pub(super) fn is_slow(query: &[u8]) -> bool {
    let question = query.get(12..).unwrap_or_default();
    let first = question.first().map_or(0, |len| usize::from(*len) + 1);
    question.get(first..first + SLOW_LABEL.len()).is_some_and(|label| label.eq_ignore_ascii_case(SLOW_LABEL))
}

/// What an answer is worth: `Some(true)` for the true one, `Some(false)` for a lie, `None` for no address at all.
pub(super) fn is_true(answer: &[u8]) -> Option<bool> {
    if answer.get(6..8)? == [0, 0] {
        return None;
    }
    Some(answer.windows(4).any(|four| four == TRUE_ADDRESS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_answered_truly_or_falsely() {
        let question = query(7, &["h1", "slow"]);
        assert!(is_slow(&question) && !is_slow(&query(7, &["h1"])) && !is_slow(&question[..14]));
        assert_eq!(is_true(&answer(&question, TRUE_ADDRESS).unwrap()), Some(true));
        assert_eq!(is_true(&answer(&question, FALSE_ADDRESS).unwrap()), Some(false));
        assert_eq!(is_true(&question), None);
        assert_eq!(answer(&question[..20], TRUE_ADDRESS), None);
        crate::dns::query::Query::scan(&question).expect("it is a query");
    }
}
