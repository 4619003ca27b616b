//! The drivers over real loopback sockets, with a core that does as each query tells it: what is tested is what sockets,
//! connections and threads do, not what a gateway decides.
//!
//! Ports are chosen by the kernel, every wait has a deadline, every count a bound.
//!
//! No test here may start a program: until it runs, the child holds a copy of every socket of all tests, also of those that
//! are closed meanwhile, to which the kernel then still gives datagrams. What needs one is a test program of its own, as
//! `wildcard` is.

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
