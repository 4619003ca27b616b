//! How a policy of this process is made: from where, and what the command line lays over it. The start and every reload
//! follow the same recipe.

use crate::control::feeds::store::Store;
use crate::control::origin::{self, Origin};
use crate::language::Text;
use crate::policy::document::{Faults, Files, Report};
use crate::policy::feeds::Copies;
use crate::policy::server::{Server, Transport, UpstreamSettings};
use crate::policy::{self, Policy};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

/// See above.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    /// Where the files are.
    pub(super) origin: Origin,
    /// Where the system's nameservers are.
    pub(super) resolv_conf: PathBuf,
    /// The lab, when it is asked instead of every upstream.
    pub(super) lab: Option<SocketAddr>,
    /// The control socket, when the command line names one.
    pub(super) socket: Option<PathBuf>,
    /// Keys the hash of the name tables.
    pub(super) seed: u64,
    /// Where the last copies of feeds are.
    pub(super) store: Arc<Store>,
}

/// A policy that was made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) policy: Policy,
    pub(super) files: Arc<Files>,
    /// What its report warns of, a line each.
    pub(super) warnings: Vec<Text>,
}

impl Recipe {
    /// Makes the policy from where it comes, and tells the files of which.
    ///
    /// # Errors
    /// The report of all its faults.
    pub(super) fn make(&self) -> Result<Made, Report> {
        self.make_with(|_| {})
    }

    /// As [`Self::make`], for whoever has another policy to run: the first fault is enough. A million names are not read for
    /// nothing then.
    ///
    /// # Errors
    /// The report of some of its faults.
    pub(super) fn make_or_else(&self) -> Result<Made, Report> {
        self.make_with(Faults::first_is_enough)
    }

    fn make_with(&self, prepare: impl FnOnce(&Faults)) -> Result<Made, Report> {
        let (files, faults) = self.origin.read()?;
        prepare(&faults);
        let (policy, report) = self.compile(&files, faults)?;
        let warnings = report.texts();
        Ok(Made { policy, files: Arc::new(files), warnings })
    }

    /// Makes the policy of these files, which may be from elsewhere.
    ///
    /// # Errors
    /// The report of all its faults.
    pub(super) fn compile(&self, files: &Files, faults: Faults) -> Result<(Policy, Report), Report> {
        self.compile_with(files, self.store.copies(), faults, None)
    }

    /// As [`Self::compile`], with these copies of feeds, while a policy runs: what of its filter stays the same is shared.
    ///
    /// # Errors
    /// As there.
    pub(super) fn compile_with(
        &self,
        files: &Files,
        copies: Copies,
        faults: Faults,
        running: Option<&Policy>,
    ) -> Result<(Policy, Report), Report> {
        let mut options = origin::load_options(&self.resolv_conf, self.seed);
        options.copies = copies;
        options.running = running.map(|running| running.filter.clone());
        if let Some(lab) = self.lab {
            // A machine without a nameserver has no fault then.
            options.surroundings.nameservers = vec![lab];
        }
        let (mut policy, report) = policy::load::compile(files, &options, faults)?;
        if let Some(lab) = self.lab {
            ask_only(Arc::make_mut(&mut policy.server), lab);
        }
        if let Some(socket) = &self.socket {
            Arc::make_mut(&mut policy.server).control_socket = Some(socket.clone());
        }
        if self.origin.directory().is_none() {
            // Nobody wrote these addresses, so a machine without IPv6 is no fault of anybody's.
            Arc::make_mut(&mut policy.server).listen.retain(|address| is_of_this_machine(*address));
        }
        Ok((policy, report))
    }
}

/// Puts one server in the place of all, in every pool.
fn ask_only(server: &mut Server, address: SocketAddr) {
    let lab = |(pool, settings): (usize, &crate::policy::server::PoolSettings)| UpstreamSettings {
        name: if pool == 0 { "lab".to_owned() } else { format!("lab-{}", settings.name) },
        address,
        pool,
        tier: 0,
        weight: 1,
        transport: Transport::Auto,
    };
    server.upstreams = server.pools.iter().enumerate().map(lab).collect();
}

/// Whether the address can be bound at all; whether its port is free is asked when it is opened.
fn is_of_this_machine(address: SocketAddr) -> bool {
    UdpSocket::bind((address.ip(), 0)).is_ok()
}
