//! `weir drill`: an attack on a gateway that is started for it, and a table of what became of everybody.

use super::{DrillArguments, Exit, output};
use crate::drill::{self, Settings};

/// `weir drill`
pub(super) fn drill(arguments: &DrillArguments) -> Exit {
    let settings = Settings { drill: arguments.name, rate: arguments.rate, upstream: arguments.upstream };
    match drill::hold(settings) {
        Ok(table) => {
            output::result(table.trim_end());
            Exit::Ok
        }
        Err(error) => {
            output::error(error);
            Exit::Failed
        }
    }
}
