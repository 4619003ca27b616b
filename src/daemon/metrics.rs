//! The metrics listener: opened before a policy is published, moved when its address changes.

use super::{Site, survey};
use crate::language::{Text, text};
use crate::telemetry::{exposition, metrics};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The metrics server, when there is one; dropping it ends it.
#[derive(Debug, Default)]
pub(super) struct MetricsServer {
    address: Option<SocketAddr>,
    task: Option<JoinHandle<()>>,
}

impl MetricsServer {
    /// Opens `address` if it is another than now: what [`Self::follow`] is to be given.
    ///
    /// # Errors
    /// The message for the user: which address cannot be listened on, and why.
    pub(super) async fn open(&self, address: Option<SocketAddr>) -> Result<Option<TcpListener>, Text> {
        let Some(address) = address.filter(|address| self.address != Some(*address)) else { return Ok(None) };
        TcpListener::bind(address).await.map(Some).map_err(|error| {
            text!(
                "cannot listen on {address} for metrics: {error}\n  change `[metrics] listen` in gateway.toml",
                address,
                error = Text::of_io(&error)
            )
        })
    }

    /// Serves on `opened`, or no more when `address` is none.
    pub(super) fn follow(&mut self, address: Option<SocketAddr>, opened: Option<TcpListener>, site: &Arc<Site>) {
        if self.address == address {
            return;
        }
        self.end();
        self.address = address;
        let site = Arc::clone(site);
        self.task = opened.map(|listener| {
            tokio::spawn(async move {
                let render = Arc::new(move || exposition::write(&survey::snapshot(&site)));
                match metrics::serve(listener, render).await {}
            })
        });
    }

    fn end(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.end();
    }
}
