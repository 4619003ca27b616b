//! The lab on a thread of its own: a flood of queries to it must not hold up the control side.

use crate::lab;
use crate::language::text;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// A running lab; dropping it ends it.
#[derive(Debug)]
pub(crate) struct LabThread {
    /// Where it answers.
    pub(crate) address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LabThread {
    /// Starts it on a loopback port that the kernel chooses.
    ///
    /// # Errors
    /// Why there is no thread, no runtime or no port.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (started, address) = mpsc::channel();
        let (end, ended) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("weir-lab".to_owned()).spawn(move || {
            runtime.block_on(async {
                let lab = lab::start((Ipv4Addr::LOCALHOST, 0).into()).await;
                let lab = lab.map(|lab| (lab.address, lab));
                let (address, lab) = match lab {
                    Ok((address, lab)) => (Ok(address), Some(lab)),
                    Err(error) => (Err(error), None),
                };
                let _ = started.send(address);
                if let Some(lab) = lab {
                    let _ = ended.await;
                    lab.stop().await;
                }
            });
        })?;
        let address =
            address.recv().map_err(|_| text!("the lab ended before it had begun").into_io(io::ErrorKind::Other))??;
        Ok(Self { address, end: Some(end), thread: Some(thread) })
    }
}

impl Drop for LabThread {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by its own thread.
            let _ = thread.join();
        }
    }
}
