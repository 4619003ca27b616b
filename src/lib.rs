//! weir: a DNS security gateway and filtering proxy that stands inline before DNS servers.
//!
//! This file is the map of the house. Imports go downward only: a module may use those listed below it, never those
//! above (`tests/house.rs` holds the table).
//!
//! | module | what lives there |
//! |---|---|
//! | [`cli`] | the commands, as a person types them |
//! | [`drill`] | attacks as a command, beside ordinary clients, to convince oneself |
//! | [`daemon`] | wiring: policy in, workers out, signals |
//! | [`lab`] | a small authoritative upstream of our own, for `--lab`, drills and tests |
//! | [`control`] | the control socket, reload, file watch, feeds, status, incidents, the history |
//! | [`telemetry`] | metrics, query log, tracing |
//! | [`listen`] | the drivers: batched UDP, TCP, upstream sockets; they feed the core with bytes and time |
//! | [`gateway`] | the request path without I/O: a query's whole life, top to bottom |
//! | [`live_policy`] | the one place where a running policy is replaced |
//! | [`storm`] | zones that fail or are under random names: what each holds, and who may still be asked |
//! | [`upstream`] | whom we ask: pools, routes, health, what is in flight |
//! | [`cache`] | answers that were vetted, in fixed memory |
//! | [`recordings`] | queries from files: text, query log, dnstap, packet captures |
//! | [`policy`] | one file or folder per policy: what was written, what runs, and the check |
//! | [`ledger`] | counters: every query exactly once |
//! | [`verdict`] | what may become of a query |
//! | [`dns`] | the wire: scan, patch, build; whose a name is |
//! | [`language`] | what a person reads, in English and in Chinese |
//! | [`clock`] | time as an argument |
//! | [`sys`] | the only unsafe room: batched socket calls, hints about memory, keys at random |

pub mod cache;
pub mod cli;
pub mod clock;
pub mod control;
pub mod daemon;
pub mod dns;
pub mod drill;
pub mod gateway;
pub mod lab;
pub mod language;
pub mod ledger;
pub mod listen;
pub mod live_policy;
pub mod policy;
pub mod recordings;
pub mod storm;
pub mod sys;
pub mod telemetry;
pub mod upstream;
pub mod verdict;
