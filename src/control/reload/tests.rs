//! The order of a reload and who shares one, without files or sockets.

use super::*;
use crate::control::changes::Delta;
use std::sync::mpsc as std_mpsc;

/// What the engine was told to do.
type Events = Arc<Mutex<Vec<String>>>;

/// An engine whose policies come from a channel: a load waits for its turn there.
struct Script {
    events: Events,
    loads: Arc<Mutex<std_mpsc::Receiver<Result<&'static str, &'static str>>>>,
    runs: Arc<Mutex<&'static str>>,
    cannot_open: &'static str,
    cannot_place: &'static str,
    generation: u64,
}

impl Engine for Script {
    type Candidate = &'static str;
    type Opened = ();

    fn watched(&self) -> Option<PathBuf> {
        None
    }

    fn loader(&self, _: &Order) -> impl FnOnce() -> Result<Loaded<&'static str>, Failure> + Send + 'static {
        let (events, loads, runs) = (Arc::clone(&self.events), Arc::clone(&self.loads), *self.runs.lock().unwrap());
        move || {
            let load = loads.lock().unwrap().recv().unwrap();
            events.lock().unwrap().push(format!("load {load:?}"));
            let candidate = load.map_err(|fault| Failure::new(FailureCode::PolicyFaults, Text::verbatim(fault)))?;
            let changes =
                Changes { listeners: Delta { added: vec!["new".into()], removed: vec![] }, ..Changes::default() };
            Ok(Loaded { candidate, id: candidate.into(), changed: candidate != runs, changes, warnings: vec![] })
        }
    }

    async fn open(&mut self, candidate: &&'static str) -> Result<(), Failure> {
        self.events.lock().unwrap().push(format!("open for {candidate}"));
        if *candidate == self.cannot_open {
            return Err(Failure::new(FailureCode::CannotListen, text!("address in use")));
        }
        Ok(())
    }

    async fn place(&mut self, candidate: &&'static str, order: &Order) -> Result<bool, Failure> {
        if order.source != Source::Running {
            self.events.lock().unwrap().push(format!("place {candidate}"));
            if *candidate == self.cannot_place {
                return Err(Failure::new(FailureCode::CannotWrite, Text::verbatim("read-only")));
            }
        }
        Ok(order.source != Source::Running)
    }

    async fn note(&mut self, order: &Order) -> Vec<Text> {
        if order.source != Source::Running {
            self.events.lock().unwrap().push("note".into());
        }
        vec![]
    }

    fn overdue(&self) -> Option<Order> {
        None
    }

    async fn publish(&mut self, candidate: &'static str, (): ()) -> Result<u64, Failure> {
        self.events.lock().unwrap().push(format!("publish {candidate}"));
        *self.runs.lock().unwrap() = candidate;
        self.generation += 1;
        Ok(self.generation)
    }

    async fn retire(&mut self) {
        self.events.lock().unwrap().push("retire".into());
    }

    fn generation(&self) -> u64 {
        self.generation
    }
}

struct Stage {
    reloader: Reloader<Script>,
    asker: Asker,
    loads: std_mpsc::Sender<Result<&'static str, &'static str>>,
    events: Events,
}

fn stage() -> Stage {
    let (loads, receiver) = std_mpsc::channel();
    let events = Events::default();
    let script = Script {
        events: Arc::clone(&events),
        loads: Arc::new(Mutex::new(receiver)),
        runs: Arc::new(Mutex::new("first")),
        cannot_open: "blocked",
        cannot_place: "barred",
        generation: 1,
    };
    let (reloader, asker) = Reloader::new(script, watch::digest(std::path::Path::new("/nowhere")), Last::default());
    Stage { reloader, asker, loads, events }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn sockets_open_before_the_policy_is_published_and_close_after_it() {
    let mut stage = stage();
    stage.loads.send(Ok("second")).unwrap();
    let reloaded = block_on(stage.reloader.carry_out(&Order::reload(Cause::Command, Who::weir()))).unwrap();
    assert_eq!((reloaded.policy.as_str(), reloaded.generation, reloaded.changed), ("second", 2, true));
    assert_eq!(*stage.events.lock().unwrap(), ["load Ok(\"second\")", "open for second", "publish second", "retire"]);
    let said = reloaded.text();
    assert!(said.to(crate::language::Lang::En).contains("listeners   +new"), "{said:?}");
    assert!(said.to(crate::language::Lang::Zh).contains("监听地址    +new"), "{said:?}");
}

#[test]
fn faults_and_taken_addresses_change_nothing() {
    let mut stage = stage();
    stage.loads.send(Err("two faults")).unwrap();
    stage.loads.send(Ok("blocked")).unwrap();
    stage.loads.send(Ok("first")).unwrap();
    block_on(async {
        let codes = [
            stage.reloader.carry_out(&Order::reload(Cause::Watch, Who::weir())).await.unwrap_err().code,
            stage.reloader.carry_out(&Order::reload(Cause::Signal, Who::weir())).await.unwrap_err().code,
        ];
        assert_eq!(codes, [FailureCode::PolicyFaults, FailureCode::CannotListen]);
        let last = stage.reloader.last.outcome().unwrap();
        assert!(!last.ok && last.message.english() == "address in use" && last.cause == Cause::Signal);
        let same = stage.reloader.carry_out(&Order::reload(Cause::Command, Who::weir())).await.unwrap();
        assert!(!same.changed && same.generation == 1, "back to what runs: nothing to do");
    });
    let events = stage.events.lock().unwrap();
    assert!(!events.iter().any(|event| event.starts_with("publish") || event == "retire"), "{events:?}");
}

#[test]
fn an_apply_writes_the_directory_between_opening_and_publishing() {
    let mut stage = stage();
    let source = Source::Directory("/new".into());
    let order = Order { source, ..Order::reload(Cause::Apply, Who::weir()) };
    stage.loads.send(Ok("second")).unwrap();
    stage.loads.send(Ok("barred")).unwrap();
    block_on(async {
        assert_eq!(stage.reloader.carry_out(&order).await.unwrap().policy, "second");
        let barred = stage.reloader.carry_out(&order).await.unwrap_err();
        assert_eq!(barred.code, FailureCode::CannotWrite);
    });
    let events = stage.events.lock().unwrap();
    let of_second = ["load Ok(\"second\")", "open for second", "place second", "publish second", "note", "retire"];
    assert_eq!(events[..6], of_second);
    assert_eq!(
        events[6..],
        ["load Ok(\"barred\")", "open for barred", "place barred", "retire"],
        "what was opened is closed"
    );
}

#[test]
fn all_that_ask_during_a_reload_share_the_next_one() {
    let stage = stage();
    let Stage { mut reloader, asker, loads, events } = stage;
    block_on(async {
        let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).unwrap();
        let asking = async {
            let first = tokio::spawn({
                let asker = asker.clone();
                async move { asker.reload(Who::weir(), false).await }
            });
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            let later: Vec<_> = (0..5)
                .map(|_| {
                    let asker = asker.clone();
                    tokio::spawn(async move { asker.reload(Who::weir(), false).await })
                })
                .collect();
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
            loads.send(Ok("second")).unwrap();
            loads.send(Ok("third")).unwrap();
            assert_eq!(first.await.unwrap().unwrap().policy, "second");
            for asked in later {
                assert_eq!(asked.await.unwrap().unwrap().policy, "third");
            }
        };
        tokio::select! {
            () = reloader.run(&mut hangup) => unreachable!("it runs for ever"),
            () = asking => {}
        }
    });
    let loads = events.lock().unwrap().iter().filter(|event| event.starts_with("load")).count();
    assert_eq!(loads, 2, "five that waited shared one reload");
    drop(reloader);
    let gone = block_on(asker.reload(Who::weir(), false)).unwrap_err();
    assert_eq!(gone.code, FailureCode::Unavailable);
}
