//! `weir feed`: how the feeds are, and what a person does about them. A refresh stays in the foreground and shows how far
//! it is, until each feed has been looked at.

use super::ask::{AskArguments, carry_out, connect, failed};
use super::{Exit, output};
use crate::control::client::AskError;
use crate::control::feeds::awaited::Awaited;
use crate::control::feeds::progress::{Phase, ProgressStatus};
use crate::control::feeds::report::{FeedList, FeedStatus};
use crate::control::protocol::{Command, Failure, FailureCode};
use crate::control::reload::Reloaded;
use crate::language::{Text, Told as _, json_in, text};
use clap::{Args, Subcommand};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct FeedArguments {
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: AskArguments,
    #[command(subcommand)]
    command: Option<FeedCommand>,
}

#[derive(Debug, Subcommand)]
enum FeedCommand {
    /// Look at the source of a feed now, or of all, and wait until that is done
    Refresh(FeedRefreshArguments),
    /// Put a copy in force that waits because of how much came or went, or of what it would block
    Accept(FeedAcceptArguments),
}

#[derive(Debug, Args)]
struct FeedRefreshArguments {
    /// The feed [default: all]
    name: Option<String>,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: AskArguments,
}

#[derive(Debug, Args)]
struct FeedAcceptArguments {
    /// The feed
    name: String,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: AskArguments,
}

/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(100);

/// The longest that a refresh is waited for: the gateway itself gives up before.
const PATIENCE: Duration = Duration::from_secs(40 * 60);

/// `weir feed`
pub(super) fn feed(arguments: FeedArguments) -> Exit {
    match arguments.command {
        None => carry_out::<FeedList>(&arguments.ask, &Command::Feeds {}, arguments.json),
        Some(FeedCommand::Refresh(refresh_arguments)) => refresh(&refresh_arguments),
        Some(FeedCommand::Accept(FeedAcceptArguments { name, json, ask })) => {
            carry_out::<Reloaded>(&ask, &Command::FeedAccept { name }, json)
        }
    }
}

fn refresh(arguments: &FeedRefreshArguments) -> Exit {
    match wait(arguments) {
        Ok(list) => {
            let is_well = list.feeds.iter().all(|feed| feed.last_error.is_none());
            if arguments.json {
                match json_in(output::lang(), &list) {
                    Ok(value) => output::raw(format_args!("{value:#}")),
                    Err(error) => output::error(&Text::of_json(&error)),
                }
            } else {
                output::result(&list.text());
            }
            if is_well { Exit::Ok } else { Exit::Failed }
        }
        Err(error) => failed(&error),
    }
}

/// Asks for a look, and waits until each feed that was meant has had one that began afterwards. A feed that a reload declares
/// otherwise meanwhile is asked again.
fn wait(arguments: &FeedRefreshArguments) -> Result<FeedList, AskError> {
    let ask = |command: Command| -> Result<FeedList, AskError> {
        let mut connection = connect(arguments.ask.socket.as_ref())?;
        let socket = connection.socket().to_path_buf();
        let value = connection.ask(&command)?;
        serde_json::from_value(value).map_err(|error| AskError::Broken {
            socket,
            cause: text!("its answer is not understood: {error}", error = Text::of_json(&error)),
        })
    };
    let mut awaited = Awaited::default();
    awaited.add(&ask(Command::FeedRefresh { name: arguments.name.clone() })?);
    let (begun, mut bars) = (Instant::now(), Bars::new());
    loop {
        let mut list = ask(Command::Feeds {})?;
        for name in awaited.take_gone(&list) {
            let gone =
                text!("feed {name} is gone: gateway.toml does not declare it any more, and it was not looked at", name);
            if arguments.name.is_some() {
                bars.clear();
                return Err(AskError::Refused(Failure::new(FailureCode::Unavailable, gone)));
            }
            output::note(&gone);
        }
        for name in awaited.replaced(&list) {
            awaited.add(&ask(Command::FeedRefresh { name: Some(name) })?);
        }
        list.feeds.retain(|feed| awaited.has(feed));
        bars.show(&list, |feed| awaited.is_done(feed));
        if list.feeds.iter().all(|feed| awaited.is_done(feed)) || begun.elapsed() > PATIENCE {
            bars.clear();
            return Ok(list);
        }
        std::thread::sleep(LOOK);
    }
}

/// A bar for each feed, on standard error, where that is a terminal.
struct Bars {
    all: MultiProgress,
    bars: BTreeMap<String, ProgressBar>,
}

impl Bars {
    fn new() -> Self {
        Self { all: MultiProgress::new(), bars: BTreeMap::new() }
    }

    fn show(&mut self, list: &FeedList, is_done: impl Fn(&FeedStatus) -> bool) {
        for feed in &list.feeds {
            let bar = self.bars.entry(feed.name.clone()).or_insert_with(|| {
                let bar = self.all.add(ProgressBar::no_length());
                bar.set_prefix(feed.name.clone());
                bar
            });
            let ProgressStatus { phase, bytes, total } = feed.progress;
            let has_total = total > 0 && phase == Phase::Receiving;
            bar.set_style(style(has_total));
            bar.set_length(if has_total { total } else { bytes });
            bar.set_position(bytes);
            let message = if is_done(feed) { text!("done") } else { phase.text() };
            bar.set_message(message.to(output::lang()));
            bar.tick();
        }
    }

    fn clear(&self) {
        // A terminal that is gone needs no clearing.
        let _ = self.all.clear();
    }
}

fn style(has_total: bool) -> ProgressStyle {
    let template = if has_total {
        "{prefix:>16}  {wide_bar}  {percent:>3} %  {bytes} / {total_bytes}  {msg}"
    } else {
        "{prefix:>16}  {spinner}  {bytes}  {msg}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
