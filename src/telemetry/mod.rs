//! What is seen from outside: metrics for Prometheus, the query log, and tracing for the rest. None of it is on the path
//! of a query: workers count and queue, the control side reads, writes and serves.

pub mod exposition;
pub mod lines;
pub mod metrics;
pub mod query_log;

use crate::language::{Text, Told, text};
use std::fmt;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// The environment variable that says what tracing shows, as `level` or `target=level,...`; `info` when it is absent.
pub const FILTER_VARIABLE: &str = "WEIR_LOG";

/// Why tracing cannot start.
#[derive(Debug, PartialEq, Eq)]
pub enum TracingFault {
    /// `WEIR_LOG` is not a filter.
    BadFilter(String),
    /// Somebody started it before.
    AlreadyStarted,
}

impl Told for TracingFault {
    fn text(&self) -> Text {
        match self {
            Self::BadFilter(why) => {
                text!("{name} is not a filter such as info or weir=debug: {why}", name = FILTER_VARIABLE, why)
            }
            Self::AlreadyStarted => text!("tracing was started before"),
        }
    }
}

impl fmt::Display for TracingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().english())
    }
}

impl std::error::Error for TracingFault {}

/// Starts tracing to standard error, as `WEIR_LOG` says.
///
/// # Errors
/// [`TracingFault`]: a filter that cannot be read is no silent default.
pub fn start_tracing() -> Result<(), TracingFault> {
    let filter = filter(std::env::var(FILTER_VARIABLE).ok().as_deref())?;
    // Neither a file nor a journal takes colour.
    let is_terminal = std::io::stderr().is_terminal();
    let colour = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    subscriber.try_init().map_err(|_| TracingFault::AlreadyStarted)
}

fn filter(text: Option<&str>) -> Result<EnvFilter, TracingFault> {
    let text = text.filter(|text| !text.trim().is_empty()).unwrap_or("info");
    EnvFilter::builder().parse(text).map_err(|fault| TracingFault::BadFilter(fault.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error_that_names_the_variable() {
        assert!(filter(None).is_ok() && filter(Some("")).is_ok() && filter(Some("weir=debug,warn")).is_ok());
        let fault = filter(Some("weir=loud")).err().map(|fault| fault.to_string()).unwrap_or_default();
        assert!(fault.starts_with("WEIR_LOG is not a filter"), "{fault}");
    }
}
