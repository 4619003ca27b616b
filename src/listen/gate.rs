//! TCP's share of a worker: so many reads of connections, then everybody else's turn. Ten thousand connections that each
//! drip a byte are ten thousand tasks; without a bound on how many of them run in a row, a datagram waits for all.

use std::cell::Cell;
use tokio::sync::Notify;
use tokio::task::yield_now;

/// Reads of connections between two turns of the rest of the worker: listeners, upstreams, timers.
const PASSES: usize = 16;

/// Messages that a read may bring for its pass; what is more counts as further reads.
const MESSAGES_A_PASS: usize = 8;

/// What a connection passes before it reads.
#[derive(Debug)]
pub(super) struct Gate {
    passes: Cell<usize>,
    waiting: Cell<usize>,
    /// For those who wait: the oldest may pass.
    turnstile: Notify,
    /// For the pacer: passes were used.
    used: Notify,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self { passes: Cell::new(PASSES), waiting: Cell::new(0), turnstile: Notify::new(), used: Notify::new() }
    }

    /// Returns when the caller may read once.
    pub(super) async fn pass(&self) {
        self.used.notify_one();
        if self.waiting.get() == 0 && self.passes.get() > 0 {
            return self.passes.set(self.passes.get() - 1);
        }
        self.waiting.set(self.waiting.get() + 1);
        self.turnstile.notified().await;
        self.waiting.set(self.waiting.get() - 1);
    }

    /// A read has brought so many messages.
    pub(super) fn spend(&self, messages: usize) {
        self.passes.set(self.passes.get().saturating_sub(messages / MESSAGES_A_PASS));
    }

    /// Gives out new passes, each time after everything else that is ready has had its turn; never ends.
    pub(super) async fn pace(&self) {
        loop {
            self.used.notified().await;
            loop {
                yield_now().await;
                let waiting = self.waiting.get();
                let granted = waiting.min(PASSES);
                (0..granted).for_each(|_| self.turnstile.notify_one());
                self.passes.set(PASSES - granted);
                if waiting == 0 {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;
    use tokio::task::{LocalSet, spawn_local};

    #[test]
    fn many_readers_leave_everybody_else_a_turn_after_a_few_of_them() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (gate, reads, most) = (Rc::new(Gate::new()), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        LocalSet::new().block_on(&runtime, async {
            let pacer = spawn_local({
                let gate = Rc::clone(&gate);
                async move { gate.pace().await }
            });
            let readers: Vec<_> = (0..1000)
                .map(|_| {
                    let (gate, reads) = (Rc::clone(&gate), Rc::clone(&reads));
                    spawn_local(async move {
                        for _ in 0..5 {
                            gate.pass().await;
                            reads.set(reads.get() + 1);
                            yield_now().await;
                        }
                    })
                })
                .collect();
            let other = spawn_local({
                let (reads, most) = (Rc::clone(&reads), Rc::clone(&most));
                async move {
                    while reads.get() < 5000 {
                        let before = reads.get();
                        yield_now().await;
                        most.set(most.get().max(reads.get() - before));
                    }
                }
            });
            for reader in readers {
                reader.await.unwrap();
            }
            other.await.unwrap();
            pacer.abort();
        });
        assert_eq!(reads.get(), 5000, "each got all its turns");
        assert!(most.get() <= 3 * PASSES, "{} reads in a row", most.get());
    }
}
