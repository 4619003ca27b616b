//! `weir mode`, `weir block`, `weir unblock`: what a person does in an incident. What they say is checked by the gateway,
//! which knows its modes and routes; so a program on the control socket gets the same answers.

use super::{Exit, ask};
use crate::control::incidents::report::{Done, Modes};
use crate::control::incidents::request::{BlockRequest, ModeRequest, UnblockRequest};
use crate::control::protocol::Command;
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct ModeArguments {
    /// The mode to switch to, a file of modes/, or normal
    name: Option<String>,
    /// How long, such as 30m; it ends by itself
    #[arg(long = "for", value_name = "TIME")]
    lasts: Option<String>,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: ask::AskArguments,
}

#[derive(Debug, Args)]
pub(super) struct BlockArguments {
    /// As in a rule: x is x and all below, =x is x alone, *.x is only what is below
    name: String,
    /// How long, such as 1h; it ends by itself
    #[arg(long = "for", value_name = "TIME")]
    lasts: Option<String>,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// What the client gets: nxdomain, nodata, refused, drop, truncate
    #[arg(long, value_name = "ACTION", default_value = "nxdomain")]
    action: String,
    /// Even a top-level domain, or a zone that has a route of its own
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    ask: ask::AskArguments,
}

#[derive(Debug, Args)]
pub(super) struct UnblockArguments {
    /// As it was blocked
    name: String,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    ask: ask::AskArguments,
}

/// `weir mode`
pub(super) fn mode(arguments: ModeArguments) -> Exit {
    let ModeArguments { name, lasts, reason, json, ask } = arguments;
    ask::carry_out::<Modes>(&ask, &Command::Mode(ModeRequest { name, lasts, reason }), json)
}

/// `weir block`
pub(super) fn block(arguments: BlockArguments) -> Exit {
    let BlockArguments { name, lasts, reason, action, force, ask } = arguments;
    ask::carry_out::<Done>(&ask, &Command::Block(BlockRequest { name, lasts, reason, action, force }), false)
}

/// `weir unblock`
pub(super) fn unblock(arguments: UnblockArguments) -> Exit {
    let UnblockArguments { name, reason, ask } = arguments;
    ask::carry_out::<Done>(&ask, &Command::Unblock(UnblockRequest { name, reason }), false)
}
