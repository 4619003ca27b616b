//! The query log on a thread of its own: a full disk or a pipe that nobody reads holds up this thread and nothing else.

use super::Site;
use crate::language::{Text, text};
use crate::ledger::journal::RuleId;
use crate::live_policy::Running;
use crate::policy::access::Question;
use crate::policy::filter::Rule;
use crate::telemetry::query_log::{Notes, QueryLog};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

/// Between two looks at the queue; it holds what comes meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// How long the end waits for the last lines.
const END_MAX: Duration = Duration::from_millis(500);

/// What the thread is told.
#[derive(Debug)]
enum Order {
    /// Write there from now on.
    Use(QueryLog),
    /// Open the same file again: log rotation may have renamed it.
    Reopen,
    /// Write what is queued, tell, end.
    End(Sender<()>),
}

/// The thread; dropping it ends it once what is queued is written.
#[derive(Debug)]
pub(super) struct LogThread {
    orders: Sender<Order>,
}

/// Opens the log, so that a file which cannot be had is said before anything is changed.
///
/// # Errors
/// The message for the user.
pub(super) fn open(path: Option<&Path>) -> Result<QueryLog, Text> {
    QueryLog::open(path).map_err(|error| {
        let path = path.map_or_else(|| "standard output".into(), Path::to_string_lossy);
        text!(
            "query log {path}: cannot be opened: {error}\n  change `[log] file` in gateway.toml",
            path,
            error = Text::of_io(&error)
        )
    })
}

impl LogThread {
    /// Starts it.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub(super) fn start(mut log: QueryLog, site: Arc<Site>) -> io::Result<Self> {
        let (orders, told) = mpsc::channel();
        std::thread::Builder::new().name("weir-query-log".to_owned()).spawn(move || {
            let (mut known, mut failing) = (Known::new(&site), false);
            loop {
                let order = told.recv_timeout(LOOK);
                match order {
                    Ok(Order::Use(other)) => {
                        write(&mut log, &site, &mut known, &mut failing);
                        log = other;
                    }
                    Ok(Order::Reopen) => {
                        let path = log.path().map(Path::to_path_buf);
                        if let Err(error) = log.reopen(path.as_deref()) {
                            tracing::warn!("the query log cannot be opened again and goes on where it was: {error}");
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(Order::End(_)) | Err(RecvTimeoutError::Disconnected) => {
                        write(&mut log, &site, &mut known, &mut failing);
                        if let Ok(Order::End(ended)) = order {
                            // Who does not wait any more does not need to know.
                            let _ = ended.send(());
                        }
                        return;
                    }
                }
                write(&mut log, &site, &mut known, &mut failing);
            }
        })?;
        Ok(Self { orders })
    }

    /// Writes to another file from now on.
    pub(super) fn write_to(&self, log: QueryLog) {
        // It ends with us only.
        let _ = self.orders.send(Order::Use(log));
    }

    /// Opens the file again.
    pub(super) fn reopen(&self) {
        let _ = self.orders.send(Order::Reopen);
    }

    /// Writes what is queued, and ends; not waited for when the sink does not take it.
    pub(super) fn end(self) {
        let (ended, is_ended) = mpsc::channel();
        if self.orders.send(Order::End(ended)).is_ok() {
            let _ = is_ended.recv_timeout(END_MAX);
        }
    }
}

/// What is known of the rules and upstreams that the queue speaks of. The policy itself is not held: a sink that takes
/// nothing would keep an old one in memory.
#[derive(Debug)]
struct Known {
    generation: u64,
    /// Names by slot.
    upstreams: HashMap<u16, String>,
    /// Owner and ticket of each rule that has one, by its id as it is queued.
    rules: HashMap<RuleId, RuleNotes>,
    /// Those of the policy before: a line may have been queued just before a reload.
    before: HashMap<RuleId, RuleNotes>,
}

/// Owner and ticket.
type RuleNotes = (Option<String>, Option<String>);

impl Known {
    fn new(site: &Site) -> Self {
        Self::of(&site.shared.live.load())
    }

    fn of(running: &Running) -> Self {
        let upstreams = running.routing.upstreams.iter();
        let upstreams = upstreams.map(|upstream| (upstream.link.slot, upstream.settings.name.clone())).collect();
        Self { generation: running.generation, upstreams, rules: rules_of(running), before: HashMap::new() }
    }

    /// Learns of another policy.
    fn follow(&mut self, site: &Site) {
        let running = site.shared.live.load();
        if running.generation != self.generation {
            self.before = std::mem::replace(self, Self::of(&running)).rules;
        }
    }
}

fn rules_of(running: &Running) -> HashMap<RuleId, RuleNotes> {
    let questions = running.policy.access.questions().iter().map(Question::counted);
    let rules = questions.chain(running.policy.filter.rules().iter().map(Rule::counted));
    let noted = rules.filter(|rule| rule.owner.is_some() || rule.ticket.is_some());
    noted.map(|rule| (RuleId::new(rule.id), (rule.owner.map(str::to_owned), rule.ticket.map(str::to_owned)))).collect()
}

impl Notes for Known {
    fn upstream(&self, slot: u16) -> Option<String> {
        self.upstreams.get(&slot).cloned()
    }

    fn rule(&self, id: &RuleId) -> (Option<&str>, Option<&str>) {
        let noted = self.rules.get(id).or_else(|| self.before.get(id));
        noted.map_or((None, None), |(owner, ticket)| (owner.as_deref(), ticket.as_deref()))
    }
}

/// Writes all that is queued; a sink that fails is reported once, and once when it works again.
fn write(log: &mut QueryLog, site: &Site, known: &mut Known, failing: &mut bool) {
    known.follow(site);
    loop {
        match log.write_queued(&site.shared.journal, known) {
            Ok(more) => {
                if std::mem::take(failing) {
                    tracing::info!("the query log is written again; {} lines were lost", log.lost());
                }
                if !more {
                    return;
                }
            }
            Err(error) => {
                if !std::mem::replace(failing, true) {
                    tracing::warn!("the query log cannot be written, its lines are lost and counted: {error}");
                }
                return;
            }
        }
    }
}
