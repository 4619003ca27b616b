//! `weir mode`, `weir block`, `weir unblock`: what a person does in an incident. What they say is checked by the gateway,
//! which knows its modes and routes; so a program on the control socket gets the same answers.

use super::{BlockArguments, Exit, ModeArguments, UnblockArguments, ask};
use crate::control::incidents::report::{Done, Modes};
use crate::control::incidents::request::{BlockRequest, ModeRequest, UnblockRequest};
use crate::control::protocol::Command;

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
