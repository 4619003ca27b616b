//! What primaries have said with NOTIFY: a queue of fixed size between the workers, who hear it, and the control side, who
//! looks. A NOTIFY that finds it full is lost, as one on the wire may be: the zone's own interval is there for that.

use crate::dns::name::Name;
use crossbeam_queue::ArrayQueue;
use tokio::sync::Notify;

/// Notices that may wait: as many as there may be feeds.
pub const NOTICES: usize = 64;

/// A zone has changed, says its primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which.
    pub zone: Name,
}

/// See above.
#[derive(Debug)]
pub struct Notices {
    queue: ArrayQueue<Notice>,
    come: Notify,
}

impl Default for Notices {
    fn default() -> Self {
        Self { queue: ArrayQueue::new(NOTICES), come: Notify::new() }
    }
}

impl Notices {
    /// Leaves a notice, and wakes whoever waits for one.
    pub fn leave(&self, notice: Notice) {
        // Full: as many zones are to be looked at already.
        let _ = self.queue.push(notice);
        self.come.notify_one();
    }

    /// Takes the oldest.
    pub fn take(&self) -> Option<Notice> {
        self.queue.pop()
    }

    /// Waits until there is one, or was.
    pub async fn come(&self) {
        self.come.notified().await;
    }
}
