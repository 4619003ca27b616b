//! What becomes of a request on the control socket.

use super::{Site, survey};
use crate::control::protocol::{Command, Failure, FailureCode};
use crate::control::reload::Asker;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// Answers one request.
pub(super) async fn answer(site: Arc<Site>, asker: Asker, command: Command) -> Result<Value, Failure> {
    match command {
        Command::Status {} => value(&survey::status(&site)),
        Command::Top { rows } => value(&survey::top(&site, rows)),
        Command::Reload {} => value(&asker.reload().await?),
        Command::Explain(question) => {
            let running = site.shared.live.load();
            let explained = crate::control::explain::explain(&running.policy, &question);
            value(&explained.map_err(|message| Failure::new(FailureCode::BadRequest, message))?)
        }
    }
}

fn value(result: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(result)
        .map_err(|error| Failure::new(FailureCode::Unavailable, format!("the answer cannot be written: {error}")))
}
