//! The drivers over real loopback sockets, with a core that does as each query tells it: what is tested is what sockets,
//! connections and threads do, not what a gateway decides.
//!
//! Ports are chosen by the kernel, every wait has a deadline, every count a bound.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

mod bench;
mod crowd;
mod overload;
mod slowloris;
#[path = "../stage/mod.rs"]
mod stage;
mod tcp;
mod transfers;
mod udp;
mod upstreams;
