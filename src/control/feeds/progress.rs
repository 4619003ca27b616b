//! How far a feed is, for whoever looks while it comes: written by the one that fetches, read by anybody.

use crate::language::{Text, Told, text};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What is being done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Phase {
    /// Nothing: it waits for its time.
    #[default]
    Idle,
    /// The server is being reached.
    Connecting,
    /// Bytes come.
    Receiving,
    /// What came is checked and counted.
    Checking,
    /// The policy is compiled with it.
    Compiling,
}

impl Phase {
    const ALL: [Self; 5] = [Self::Idle, Self::Connecting, Self::Receiving, Self::Checking, Self::Compiling];
}

impl Told for Phase {
    fn text(&self) -> Text {
        match self {
            Self::Idle => text!("waiting"),
            Self::Connecting => text!("connecting"),
            Self::Receiving => text!("receiving"),
            Self::Checking => text!("checking"),
            Self::Compiling => text!("compiling"),
        }
    }
}

/// See above. Plain stores: a reader may see the bytes of one moment and the total of the next.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    bytes: AtomicU64,
    total: AtomicU64,
}

/// Progress at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressStatus {
    /// What is being done.
    pub phase: Phase,
    /// Bytes that have come.
    pub bytes: u64,
    /// Bytes that will; 0 when the server did not say.
    pub total: u64,
}

impl Progress {
    /// Enters a phase; a new one of receiving begins at no bytes.
    pub fn enter(&self, phase: Phase) {
        if matches!(phase, Phase::Connecting | Phase::Idle) {
            self.bytes.store(0, Ordering::Relaxed);
            self.total.store(0, Ordering::Relaxed);
        }
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// So many bytes are expected.
    pub fn expect(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    /// So many bytes came.
    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// How far it is.
    pub fn now(&self) -> ProgressStatus {
        let phase = Phase::ALL[usize::from(self.phase.load(Ordering::Relaxed)) % Phase::ALL.len()];
        ProgressStatus { phase, bytes: self.bytes.load(Ordering::Relaxed), total: self.total.load(Ordering::Relaxed) }
    }
}
