//! What becomes of a request on the control socket.

use super::{Site, survey};
use crate::control::incidents::Who;
use crate::control::protocol::{Command, Failure, FailureCode};
use crate::control::reload::Asker;
use crate::control::socket::Peer;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// Answers one request.
pub(super) async fn answer(site: Arc<Site>, asker: Asker, command: Command, peer: Peer) -> Result<Value, Failure> {
    let who = || Who::peer(peer.uid, peer.pid);
    match command {
        Command::Status {} => value(&survey::status(&site)),
        Command::Reload {} => {
            let (who, outcome) = (who(), asker.reload().await);
            if let Some(last) = site.last_reload() {
                site.incidents.reloaded(&who, &last);
            }
            value(&outcome?)
        }
        Command::Mode(request) => value(&site.incidents.mode(&who(), &request).await?),
        Command::Block(request) => value(&site.incidents.block(&who(), &request).await?),
        Command::Unblock(request) => value(&site.incidents.unblock(&who(), &request).await?),
        Command::Top { rows } => value(&survey::top(&site, rows)),
        Command::Explain(question) => {
            let running = site.shared.live.load();
            let explained = crate::control::explain::explain_running(&running, &question);
            value(&explained.map_err(|message| Failure::new(FailureCode::BadRequest, message))?)
        }
    }
}

fn value(result: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(result)
        .map_err(|error| Failure::new(FailureCode::Unavailable, format!("the answer cannot be written: {error}")))
}
