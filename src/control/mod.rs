//! The control side: the socket that the commands speak to, reload, file watch, feeds, history, incidents and status.
//!
//! It runs on a thread and a runtime of its own, so that nothing here can hold up a query; the workers meet it only
//! through the published policy and the counters.

pub mod beside;
pub mod changes;
pub mod client;
pub mod example;
pub mod explain;
pub mod feeds;
pub mod history;
pub mod incidents;
pub mod origin;
pub mod plan;
pub mod protocol;
pub mod reload;
pub mod rules;
pub mod socket;
pub mod status;
pub mod top;
pub mod watch;
pub mod whole_file;
