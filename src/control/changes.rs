//! What differs between two policies in the things that are not swapped with a pointer: sockets and servers, and the
//! settings that only a new start can take.

use crate::language::{Text, Told, text};
use crate::policy::Policy;
use crate::policy::server::Server;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Things that came and went, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// Not there before.
    pub added: Vec<String>,
    /// Not there any more.
    pub removed: Vec<String>,
}

impl Delta {
    fn between(old: &[String], new: &[String]) -> Self {
        let without = |one: &[String], other: &[String]| {
            one.iter().filter(|item| !other.contains(item)).cloned().collect::<Vec<_>>()
        };
        Self { added: without(new, old), removed: without(old, new) }
    }

    /// Whether nothing came or went.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

impl Told for Delta {
    /// `+a +b -c`, or `unchanged`.
    fn text(&self) -> Text {
        if self.is_empty() {
            return text!("unchanged");
        }
        let signed = |sign: &'static str| move |item: &String| format!("{sign}{item}");
        let items: Vec<_> = self.added.iter().map(signed("+")).chain(self.removed.iter().map(signed("-"))).collect();
        Text::verbatim(items.join(" "))
    }
}

/// What a reload changes beside the policy value itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Addresses that are listened on.
    pub listeners: Delta,
    /// Servers that are asked, as `NAME@ADDRESS`.
    pub upstreams: Delta,
    /// Settings that were changed and take effect at the next start only.
    pub at_next_start: Vec<String>,
}

impl Changes {
    /// What is different in `new`.
    pub fn between(old: &Policy, new: &Policy) -> Self {
        let listeners = |server: &Server| server.listen.iter().map(SocketAddr::to_string).collect::<Vec<_>>();
        let upstreams = |server: &Server| {
            server.upstreams.iter().map(|one| format!("{}@{}", one.name, one.address)).collect::<Vec<_>>()
        };
        Self {
            listeners: Delta::between(&listeners(&old.server), &listeners(&new.server)),
            upstreams: Delta::between(&upstreams(&old.server), &upstreams(&new.server)),
            at_next_start: at_next_start(old, new),
        }
    }
}

/// Threads and limit tables are made once: what is kept over a reload (debts above all) would be lost in new ones.
fn at_next_start(old: &Policy, new: &Policy) -> Vec<String> {
    let settings = [
        ("workers", old.server.workers != new.server.workers),
        ("[control] socket", old.server.control_socket != new.server.control_socket),
        ("[source] memory", old.source.memory != new.source.memory),
        ("[rrl] memory", old.rrl.memory != new.rrl.memory),
    ];
    settings.iter().filter(|(_, changed)| *changed).map(|(name, _)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_names_what_came_and_went() {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        let delta = Delta::between(&list(&["a", "b"]), &list(&["b", "c"]));
        assert_eq!(delta.text().english(), "+c -a");
        assert!(Delta::between(&list(&["a", "b"]), &list(&["b", "a"])).is_empty(), "order is no change");
        assert_eq!(Delta::default().text().english(), "unchanged");
    }
}
