//! One look at a feed, from the source to the policy: fetch or transfer, check, judge, publish. And the task that looks
//! again and again.

use super::change::Change;
use super::fetch::{self, Got};
use super::judge::{Judgement, entries_of, judge};
use super::progress::Phase;
use super::schedule::Interval;
use super::store::Store;
use super::transfer::{self, transfer};
use super::zone::Zone;
use super::{ERROR_MAX, Feed, came_before, lock, publish, random, signature};
use crate::clock::Clock;
use crate::control::beside::{beside, waiting};
use crate::control::incidents::Who;
use crate::control::protocol::{Failure, FailureCode};
use crate::control::reload::Asker;
use crate::language::{Text, text};
use crate::policy::feeds::{Copy, FeedSource, Manifest, Pin, UrlFeed, ZoneFeed};
use hyper::Uri;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// One who looks.
struct Looker {
    feed: Arc<Feed>,
    store: Arc<Store>,
    clock: Clock,
    asker: Asker,
    /// The zone that is in force, so that a change need not read it from the disk; with the hash of its text.
    zone: Option<(String, Zone)>,
}

/// Looks whenever it is time, for ever.
pub(super) async fn keep(feed: Arc<Feed>, store: Arc<Store>, clock: Clock, asker: Asker) -> Infallible {
    let mut looker = Looker { feed, store, clock, asker, zone: None };
    loop {
        looker.wait().await;
        {
            let mut state = lock(&looker.feed.state);
            state.schedule.begin(clock.moment());
            state.is_looking = true;
        }
        let outcome = match &Arc::clone(&looker.feed.settings).source {
            FeedSource::Url(url) => looker.look_at_url(url).await,
            FeedSource::Zone(zone) => looker.look_at_zone(zone).await,
        };
        looker.note(outcome);
    }
}

/// What became of a copy that is new.
enum Taken {
    InForce,
    /// It waits; why.
    Held(Text),
}

impl Looker {
    async fn wait(&self) {
        loop {
            let left = lock(&self.feed.state).schedule.next.since(self.clock.moment());
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                () = self.feed.wake.notified() => {}
            }
        }
    }

    /// Keeps how it went.
    fn note(&self, outcome: Result<(), Text>) {
        let (now, feed) = (self.clock.moment(), &self.feed);
        feed.progress.enter(Phase::Idle);
        feed.note_in_force(&self.store);
        let mut state = lock(&feed.state);
        let interval = state.interval;
        state.is_looking = false;
        state.looks += 1;
        match outcome {
            Ok(()) => {
                if state.schedule.failures > 0 {
                    tracing::info!(feed = feed.settings.name, "feed comes again");
                }
                state.looks_ok += 1;
                state.last_error = None;
                state.schedule.succeeded(now, interval, random());
            }
            Err(why) => {
                let why = harmless(why);
                tracing::warn!(
                    feed = feed.settings.name,
                    why = why.english(),
                    "feed did not come; the last good copy stays in force"
                );
                state.last_error = Some(why);
                state.schedule.failed(now, interval, random());
            }
        }
    }

    async fn look_at_url(&mut self, of: &UrlFeed) -> Result<(), Text> {
        let settings = Arc::clone(&self.feed.settings);
        let (name, source) = (&settings.name, settings.source.text());
        // Of what is not known to be what is pinned, the server is not asked whether it has changed.
        let is_ours = |manifest: &Manifest| settings.source.vouches_for(manifest);
        let last = self.store.manifest(name)?.filter(is_ours);
        // What waits is what the server had last.
        let held = self.store.held_manifest(name).filter(is_ours);
        let known = held.as_ref().or(last.as_ref());
        let wanted = fetch::Wanted {
            url: of.url.clone(),
            ca: of.ca.clone(),
            size_max: settings.size_max,
            etag: known.and_then(|known| known.etag.clone()),
            last_modified: known.and_then(|known| known.last_modified.clone()),
        };
        let (bytes, etag, last_modified) = match fetch::get(&wanted, &self.feed.progress).await? {
            Got::Unchanged => return self.unchanged(last, held.is_some()),
            Got::Content { bytes, etag, last_modified } => (bytes, etag, last_modified),
        };
        let signature = self.signature(of).await?;
        self.feed.progress.enter(Phase::Checking);
        let (pin, unix_ms) = (of.pin.clone(), self.clock.now().unix_ms);
        let checking = beside(move || {
            signature::verify(&pin, &bytes, signature.as_deref())?;
            let signed_by = match pin {
                Pin::Minisign(key) => Some(key),
                Pin::None | Pin::Sha256(_) => None,
            };
            let of_bytes = Manifest::of(&bytes, source, unix_ms);
            let manifest = Manifest { entries: entries_of(&bytes), signed_by, ..of_bytes };
            Ok::<_, Text>(Copy { content: bytes.into(), manifest })
        });
        let mut copy = checking.await.map_err(|error| text!("checking broke off: {error}", error))??;
        (copy.manifest.etag, copy.manifest.last_modified) = (etag, last_modified);
        if self.is_in_force(&copy)? {
            copy.manifest.fetched_unix_ms = last.as_ref().map_or(unix_ms, |last| last.fetched_unix_ms);
            self.store.release(name);
            if last.is_some() || self.store.manifest(name)?.is_some_and(|known| settings.source.is_pinned(&known)) {
                return self.store.confirm(name, copy.manifest).map_err(|error| Text::of_io(&error));
            }
            // It acts already. Compiled again, nobody is warned any more that it is not known to be what is pinned.
            let published = publish(&self.asker, &self.feed, Arc::new(copy), (Who::named("feed"), false)).await;
            return published.map(drop).map_err(|failure| refused(&failure));
        }
        match self.take(Arc::new(copy)).await? {
            Taken::InForce => Ok(()),
            Taken::Held(why) => Err(why),
        }
    }

    /// The server has what is here.
    fn unchanged(&self, last: Option<Manifest>, is_held: bool) -> Result<(), Text> {
        let name = &self.feed.settings.name;
        if is_held {
            let held = lock(&self.feed.state).held.as_ref().map(|(_, why)| why.clone());
            return Err(waits(name, held.as_ref()));
        }
        let Some(mut manifest) = last else {
            return Err(text!("it says that nothing has changed, and nothing is here"));
        };
        manifest.confirmed_unix_ms = self.clock.now().unix_ms;
        self.store.confirm(name, manifest).map_err(|error| Text::of_io(&error))
    }

    /// The signature file, where the pin is a key.
    async fn signature(&self, of: &UrlFeed) -> Result<Option<Vec<u8>>, Text> {
        if !matches!(of.pin, Pin::Minisign(_)) {
            return Ok(None);
        }
        let wanted = fetch::Wanted {
            url: next_to(&of.url, ".minisig")?,
            ca: of.ca.clone(),
            size_max: signature::SIGNATURE_MAX,
            etag: None,
            last_modified: None,
        };
        // Its few bytes are no progress to speak of.
        match fetch::get(&wanted, &super::Progress::default()).await? {
            Got::Content { bytes, .. } => Ok(Some(bytes)),
            Got::Unchanged => Err(text!("its signature does not come")),
        }
    }

    async fn look_at_zone(&mut self, of: &ZoneFeed) -> Result<(), Text> {
        let settings = Arc::clone(&self.feed.settings);
        let source = settings.source.text();
        let before = self.zone_in_force(&source).await;
        let wanted = transfer::Wanted {
            primary: of.primary,
            apex: of.zone.as_wire().to_vec(),
            key: of.key.as_ref().map(|key| Arc::clone(key.key())),
            size_max: settings.size_max,
        };
        let (zone, has_changed) = transfer(&wanted, before, || random() as u16, &self.feed.progress).await?;
        self.follow_soa(&zone);
        let unix_ms = self.clock.now().unix_ms;
        if !has_changed && let Some(mut manifest) = self.store.manifest(&settings.name)? {
            manifest.confirmed_unix_ms = unix_ms;
            self.zone = Some((manifest.sha256.clone(), zone));
            return self.store.confirm(&settings.name, manifest).map_err(|error| Text::of_io(&error));
        }
        self.feed.progress.enter(Phase::Checking);
        let writing = beside(move || {
            let bytes = zone.to_text().into_bytes();
            let of_text = Manifest::of(&bytes, source, unix_ms);
            let manifest = Manifest { entries: zone.entries(), serial: Some(zone.soa.serial), ..of_text };
            (zone, Arc::new(Copy { content: bytes.into(), manifest }))
        });
        let (zone, copy) = writing.await.map_err(|error| text!("writing the zone broke off: {error}", error))?;
        let sha256 = copy.manifest.sha256.clone();
        if self.is_in_force(&copy)? {
            self.zone = Some((sha256, zone));
            return self.store.confirm(&settings.name, copy.manifest.clone()).map_err(|error| Text::of_io(&error));
        }
        match self.take(copy).await? {
            Taken::InForce => self.zone = Some((sha256, zone)),
            Taken::Held(why) => return Err(why),
        }
        Ok(())
    }

    /// The zone that is in force: what a change is made on. None where it is not of this source, or cannot be read.
    async fn zone_in_force(&mut self, source: &str) -> Option<Zone> {
        let (store, settings) = (Arc::clone(&self.store), Arc::clone(&self.feed.settings));
        let manifest = store.manifest(&settings.name).ok().flatten().filter(|manifest| manifest.source == source)?;
        match self.zone.take() {
            Some((sha256, zone)) if sha256 == manifest.sha256 => return Some(zone),
            _ => {}
        }
        let reading = beside(move || {
            let copy = store.last(&settings).ok().flatten()?;
            Zone::from_text(str::from_utf8(&copy.content.whole().ok()?).ok()?).ok()
        });
        reading.await.ok().flatten()
    }

    fn follow_soa(&self, zone: &Zone) {
        let mut state = lock(&self.feed.state);
        state.interval = Interval::of_soa(zone.soa.refresh, zone.soa.retry);
        state.expire = Some(Duration::from_secs(zone.soa.expire.into()));
    }

    fn is_in_force(&self, copy: &Copy) -> Result<bool, Text> {
        let last = self.store.manifest(&self.feed.settings.name)?;
        Ok(last.is_some_and(|last| last.sha256 == copy.manifest.sha256))
    }

    /// Puts a copy that is new in force, or keeps it until somebody has looked.
    async fn take(&self, copy: Arc<Copy>) -> Result<Taken, Text> {
        let settings = &self.feed.settings;
        let change = self.change(&copy).await?;
        if let Judgement::Hold(why) = judge(settings, change, copy.manifest.entries)? {
            return self.hold(copy, why).await;
        }
        if self.store.held_manifest(&settings.name).is_some_and(|held| held.sha256 == copy.manifest.sha256) {
            // What was asked lately is forgotten sooner than that somebody has to look.
            let why = lock(&self.feed.state).held.as_ref().map(|(_, why)| why.clone());
            return self.hold(copy, why.unwrap_or_else(came_before)).await;
        }
        let manifest = copy.manifest.clone();
        let (store, name) = (Arc::clone(&self.store), settings.name.clone());
        let staging = waiting(move || store.stage(&name, copy));
        let copy = staging.await.map_err(|error| text!("writing it broke off: {error}", error))??;
        match publish(&self.asker, &self.feed, Arc::clone(&copy), (Who::named("feed"), false)).await {
            Ok(_) => {
                self.store.release(&settings.name);
                Ok(Taken::InForce)
            }
            Err(failure) if failure.code == FailureCode::Guarded => self.hold(copy, failure.text().first_line()).await,
            Err(failure) => {
                self.store.give_up(&settings.name, &manifest);
                Err(refused(&failure))
            }
        }
    }

    /// How much came and went; `None` when there is nothing that it takes the place of.
    async fn change(&self, copy: &Arc<Copy>) -> Result<Option<Change>, Text> {
        let settings = Arc::clone(&self.feed.settings);
        let Some(last) = self.store.manifest(&settings.name)? else { return Ok(None) };
        let of_lengths = Change::of_lengths(last.entries, copy.manifest.entries);
        // An entry of another source is no measure, but the shrinking of what protects is the same.
        if last.source != copy.manifest.source {
            return Ok(Some(of_lengths));
        }
        let (store, copy) = (Arc::clone(&self.store), Arc::clone(copy));
        let comparing = beside(move || {
            let Ok(Some(last)) = store.last(&settings) else { return Ok(None) };
            Change::between(&settings.source, last.content.source(), copy.content.source()).map(Some)
        });
        let compared = comparing.await.map_err(|error| text!("comparing broke off: {error}", error))?;
        // Of a copy that is damaged nothing else is known.
        Ok(Some(compared.ok().flatten().unwrap_or(of_lengths)))
    }

    /// Keeps a copy until somebody has looked.
    async fn hold(&self, copy: Arc<Copy>, why: Text) -> Result<Taken, Text> {
        let (name, manifest) = (&self.feed.settings.name, copy.manifest.clone());
        let (store, of) = (Arc::clone(&self.store), name.clone());
        let holding = beside(move || store.hold(&of, &copy));
        let kept = holding.await.map_err(|error| text!("keeping it broke off: {error}", error))?;
        kept.map_err(|error| Text::of_io(&error))?;
        lock(&self.feed.state).held = Some((manifest, why.clone()));
        Ok(Taken::Held(waits(name, Some(&why))))
    }
}

/// A text that may repeat what a server sent, as [`one_line`] has it. What has to be cut or cleaned stays in English.
fn harmless(why: Text) -> Text {
    let whole = why.english();
    let told = one_line(&whole);
    if told == whole { why } else { Text::verbatim(told) }
}

/// A message that may repeat what a server sent: bounded, and nothing in it that a terminal obeys.
fn one_line(why: &str) -> String {
    let why: String = why.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let end = (0..=ERROR_MAX.min(why.len())).rev().find(|end| why.is_char_boundary(*end));
    why[..end.unwrap_or(0)].to_owned()
}

fn waits(name: &str, why: Option<&Text>) -> Text {
    match why {
        Some(why) => text!("a copy waits for `weir feed accept {name}`: {why}", name, why),
        None => text!("a copy waits for `weir feed accept {name}`", name),
    }
}

/// The policy cannot be compiled with what came.
fn refused(failure: &Failure) -> Text {
    failure.first_fault().unwrap_or_else(|| failure.text())
}

/// The URL of a file whose name has more at its end.
fn next_to(url: &Uri, ending: &str) -> Result<Uri, Text> {
    let mut parts = url.clone().into_parts();
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    let path = format!("{}{ending}{query}", url.path()).parse();
    parts.path_and_query =
        Some(path.map_err(|error| text!("its signature has no URL: {error}", error = Text::of_library(&error)))?);
    Uri::from_parts(parts).map_err(|error| Text::of_library(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Lang;

    #[test]
    fn what_a_server_sent_is_bounded_and_steers_no_terminal() {
        let told = |status: &str| harmless(text!("it says {status}", status)).to(Lang::Zh);
        assert_eq!(told("404 Not Found"), "对方返回 404 Not Found");
        assert_eq!(told("\u{1b}[2J\n"), "it says  [2J");
        assert_eq!(told(&"x".repeat(ERROR_MAX)).len(), ERROR_MAX);
    }

    #[test]
    fn the_signature_lies_beside_the_list() {
        for (url, signature) in [
            ("https://a.example/x.txt", "https://a.example/x.txt.minisig"),
            ("https://a.example:8443/x?y=z", "https://a.example:8443/x.minisig?y=z"),
        ] {
            assert_eq!(next_to(&url.parse().unwrap(), ".minisig").unwrap().to_string(), signature);
        }
    }
}
