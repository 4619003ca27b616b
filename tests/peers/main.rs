//! The gateway between real servers and real clients: Unbound, NSD, Knot and BIND behind it; dig, kdig, nsupdate,
//! dnsperf and dnspython before it. Mocks agree with whoever wrote them; peers do not.
//!
//! The tests start the servers themselves, in the foreground, on loopback ports of their own, and end them by their
//! handles. They need the Debian packages unbound nsd knot bind9 dnsperf knot-dnsutils bind9-dnsutils tcpdump
//! and python3-dnspython; a program that is missing fails its test by the name of its package, and skips nothing.

mod answers;
mod ask;
mod clients;
mod harness;
mod servers;
mod weir;

mod access;
mod authoritative;
mod cache;
mod cookies;
mod feeds;
mod filter;
mod lab;
mod limits;
mod metrics;
mod process;
mod recordings;
mod recursive;
mod rpz;
mod soak;
mod storm;
mod transfer;
mod upstreams;
