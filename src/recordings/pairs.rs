//! Puts the responses of a recording to its queries, in fixed memory: a query waits for its response until so many others
//! have come that it will have none any more.

use super::{Asker, Recorded, Taken, Tally};
use crate::dns::name::Name;
use crate::dns::response::Response;
use crate::dns::{HEADER_LEN, u16_at};
use std::collections::{HashMap, VecDeque};

/// Queries that may wait: those of a third of a second of a busy server, some 20 MiB.
pub(super) const WAITING_MAX: usize = 1 << 15;

/// What a response has in common with its query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    asker: Asker,
    id: u16,
    question: (Name, u16),
}

/// See above.
#[derive(Debug)]
pub(super) struct Pairs {
    taken: Taken,
    /// By what the response will have: which query waits.
    waiting: HashMap<Key, u64>,
    /// In the order in which they came; some have left already.
    order: VecDeque<(u64, Key)>,
    came: u64,
}

/// Who wants what was asked, with the response where there is one.
pub(super) type Take<'t> = &'t mut dyn FnMut(&Recorded<'_>);

impl Key {
    fn recorded<'m>(&self, answer: Option<&'m [u8]>) -> Recorded<'m> {
        let Self { asker: Asker { client, tcp, .. }, question: (name, qtype), .. } = *self;
        Recorded { client, name, qtype, tcp, answer }
    }
}

impl Pairs {
    /// Nobody waits.
    pub(super) fn new(taken: Taken) -> Self {
        Self { taken, waiting: HashMap::new(), order: VecDeque::new(), came: 0 }
    }

    /// A query to a server, one of those that `tally` takes.
    pub(super) fn query(&mut self, message: &[u8], asker: Asker, tally: &mut Tally, take: Take<'_>) {
        if self.taken == Taken::Responses {
            tally.others += 1;
            return;
        }
        let (Some(question), Some(id)) = (tally.asked(message), u16_at(message, 0)) else { return };
        let key = Key { asker, id, question };
        self.came += 1;
        if self.waiting.insert(key, self.came).is_some() {
            // Asked again before there was an answer: the first has none.
            take(&key.recorded(None));
        }
        self.order.push_back((self.came, key));
        if self.order.len() > WAITING_MAX
            && let Some((number, key)) = self.order.pop_front()
        {
            self.leave(number, &key, take);
        }
    }

    /// A response of a server.
    pub(super) fn response(&mut self, message: &[u8], asker: Asker, tally: &mut Tally, take: Take<'_>) {
        let Some((name, qtype, qclass)) = question(message) else {
            tally.bad += 1;
            return;
        };
        let key = Key { asker, id: u16_at(message, 0).unwrap_or_default(), question: (name, qtype) };
        let is_taken = match self.taken {
            Taken::Queries => self.waiting.remove(&key).is_some(),
            Taken::Responses => tally.question((name, qtype, qclass)).is_some(),
        };
        if is_taken {
            let answer = Response::scan(message).is_ok().then_some(message);
            tally.answers += u64::from(answer.is_some());
            take(&key.recorded(answer));
        } else if self.taken == Taken::Queries {
            tally.responses += 1;
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len().max(self.order.len())
    }

    /// The end: whoever waits still has no response.
    pub(super) fn end(mut self, take: Take<'_>) {
        while let Some((number, key)) = self.order.pop_front() {
            self.leave(number, &key, take);
        }
    }

    fn leave(&mut self, number: u64, key: &Key, take: Take<'_>) {
        if self.waiting.get(key) == Some(&number) {
            self.waiting.remove(key);
            take(&key.recorded(None));
        }
    }
}

/// The question that a response repeats: name, type and class.
fn question(response: &[u8]) -> Option<(Name, u16, u16)> {
    if u16_at(response, 4)? != 1 {
        return None;
    }
    let (name, end) = Name::read_uncompressed(response, HEADER_LEN).ok()?;
    Some((name, u16_at(response, end)?, u16_at(response, end + 2)?))
}
