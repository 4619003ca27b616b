//! What lately asked questions were answered, out of the cache: so that plans and the guard try rules about answers as well.
//! The path of a query keeps nothing for it. What nobody cached (failures, TTL 0, answers that a rule withheld, questions with
//! a client subnet) has no answer here.
//!
//! Looked up on the control thread, a few at a time: the thread that makes a plan lets others go first, and while it waited
//! for a core with the lock of a shard in its hand the look-ups of workers would miss.

use crate::cache::{Cache, Flags, Key};
use crate::dns::class;
use crate::ledger::recent::Asked;
use crate::live_policy::Shared;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc;
use tokio::runtime::Handle;

/// Bytes of answers that are taken at the most; questions whose answer finds no room are tried alone. Room for a hundred
/// thousand of the usual size.
const BYTES_MAX: usize = 32 << 20;

/// Questions between two turns of the control thread: some 50 µs.
const AT_ONCE: usize = 64;

/// The flags under which an answer may lie, the most frequent first.
const FLAGS: [Flags; 8] = [
    Flags::new(true, false, false),
    Flags::new(true, false, true),
    Flags::new(true, true, true),
    Flags::new(true, true, false),
    Flags::new(false, false, false),
    Flags::new(false, false, true),
    Flags::new(false, true, false),
    Flags::new(false, true, true),
];

/// See above.
#[derive(Debug, Default)]
pub(super) struct Answers {
    bytes: Vec<u8>,
    /// Of each question by its number: where its answer lies.
    places: Vec<Option<Range<usize>>>,
}

impl Answers {
    /// The answer to the question of this number.
    pub(super) fn of(&self, number: usize) -> Option<&[u8]> {
        self.bytes.get(self.places.get(number)?.clone()?)
    }

    /// Takes what the cache has for the question of this number.
    fn take(&mut self, cache: &Cache, number: usize, asked: &Asked) {
        let Asked { ref name, qtype, .. } = *asked;
        let key = |flags| Key { name, qtype, qclass: class::IN, flags, client_subnet: &[] };
        let start = self.bytes.len();
        if FLAGS.iter().any(|flags| cache.look(&key(*flags), BYTES_MAX - start, &mut self.bytes)) {
            self.places[number] = Some(start..self.bytes.len());
        }
    }
}

/// The answers to these questions. Waits for the control thread, so it must not be called there; nothing is found when that
/// one has ended.
pub(super) fn gather(control: &Handle, shared: &Arc<Shared>, queries: &Arc<Vec<Asked>>) -> Answers {
    // Questions that are the same lie one behind the other and share an answer.
    let mut order: Vec<u32> = (0..queries.len() as u32).collect();
    let question = |number: u32| (queries[number as usize].name, queries[number as usize].qtype);
    order.sort_unstable_by(|a, b| {
        let ((a, a_type), (b, b_type)) = (question(*a), question(*b));
        a.as_wire().cmp(b.as_wire()).then(a_type.cmp(&b_type))
    });
    let (done, answers) = mpsc::sync_channel(1);
    let (shared, queries) = (Arc::clone(shared), Arc::clone(queries));
    control.spawn(async move {
        let mut answers = Answers { bytes: Vec::new(), places: vec![None; queries.len()] };
        let mut last: Option<usize> = None;
        for some in order.chunks(AT_ONCE) {
            for number in some.iter().map(|number| *number as usize) {
                let asked = &queries[number];
                match last.filter(|last| (&queries[*last].name, queries[*last].qtype) == (&asked.name, asked.qtype)) {
                    Some(same) => answers.places[number] = answers.places[same].clone(),
                    None => answers.take(&shared.cache, number, asked),
                }
                last = Some(number);
            }
            tokio::task::yield_now().await;
        }
        let _ = done.send(answers);
    });
    answers.recv().unwrap_or_default()
}
