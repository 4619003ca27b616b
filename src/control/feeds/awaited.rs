//! A refresh that somebody waits for: which looks it was. A reload that declares a feed otherwise begins another feed of that
//! name, whose looks are counted from nothing again, and one may take the feed away: whoever waits must not do so for ever.

use super::report::{FeedList, FeedStatus};
use std::collections::BTreeMap;

/// The looks that are waited for, by the names of their feeds.
#[derive(Debug, Default)]
pub struct Awaited(BTreeMap<String, Look>);

#[derive(Debug)]
struct Look {
    /// Of which of the feeds that have had the name.
    known_since_unix_ms: u64,
    /// How many of its looks have ended once this one has.
    looks: u64,
}

impl Awaited {
    /// Waits for a look at each of these, which were so when they were asked for it.
    pub fn add(&mut self, asked: &FeedList) {
        for FeedStatus { name, known_since_unix_ms, looks, is_looking, .. } in &asked.feeds {
            // One that was under way began before it was asked for: the one after it counts.
            let looks = looks + 1 + u64::from(*is_looking);
            self.0.insert(name.clone(), Look { known_since_unix_ms: *known_since_unix_ms, looks });
        }
    }

    /// Whether a feed is waited for.
    pub fn has(&self, feed: &FeedStatus) -> bool {
        self.0.contains_key(&feed.name)
    }

    /// Whether the look at a feed has ended, or none is waited for.
    pub fn is_done(&self, feed: &FeedStatus) -> bool {
        self.0.get(&feed.name).is_none_or(|look| look.is_of(feed) && feed.looks >= look.looks)
    }

    /// The feeds that others have taken the place of, who were not asked.
    pub fn replaced(&self, now: &FeedList) -> Vec<String> {
        let is_replaced = |feed: &&FeedStatus| self.0.get(&feed.name).is_some_and(|look| !look.is_of(feed));
        now.feeds.iter().filter(is_replaced).map(|feed| feed.name.clone()).collect()
    }

    /// Waits no more for the feeds that are not there any more, and tells which.
    pub fn take_gone(&mut self, now: &FeedList) -> Vec<String> {
        let is_there = |name: &&String| now.feeds.iter().any(|feed| feed.name == **name);
        let gone: Vec<_> = self.0.keys().filter(|name| !is_there(name)).cloned().collect();
        self.0.retain(|name, _| !gone.contains(name));
        gone
    }
}

impl Look {
    fn is_of(&self, feed: &FeedStatus) -> bool {
        self.known_since_unix_ms == feed.known_since_unix_ms
    }
}
