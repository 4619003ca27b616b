//! feeds: lists and response policy zones that come from elsewhere, declared in gateway.toml and named by rules as
//! `list = "feed:NAME"`.
//!
//! Protects from a list that grows old, shrinks to nothing or is replaced on its way: what is fetched is pinned or
//! signed, bounded, and compiled before it acts; the last good copy stays in force until then. Not from a publisher who
//! signs nonsense within the bounds.
//!
//! ```toml
//! [[feed]]
//! name        = "phishing"                 # letters, digits, - _ ., unique
//! url         = "https://lists.example/phishing.txt"   # http only to loopback
//! refresh     = "1h"                       # between two looks, 1m to 30d
//! sha256      = "..."                      # 64 digits: only this content is ever taken
//! minisign    = "RWQ..."                   # or a public key: the signature is at url + ".minisig"
//! ca          = "house-ca.pem"             # certificates that may sign the server's besides those of the system
//! size_max    = "64MiB"                    # 1KiB to 256MiB, unpacked
//! entries_min = 1                          # fewer lines or records are no list
//! change_max  = 0.3                        # a larger part of the entries that comes or goes waits for `weir feed accept`
//! age_max     = "2d"                       # older than this it is alarmed about; it stays in force
//!
//! [[feed]]
//! name    = "rpz-primary"
//! primary = "10.1.0.53"                    # IXFR, else AXFR (RFC 1995, 5936); port 53 unless given
//! zone    = "rpz.example"
//! tsig    = { name = "weir.key", algorithm = "hmac-sha256", secret_file = "feeds.secrets" }    # RFC 8945
//! notify  = ["10.1.0.53"]                  # whose NOTIFY (RFC 1996) is heard; the primary's unless given
//! ```
//!
//! Secrets are of the machine: a file `*.secrets` at the top of the policy directory, a line `NAME BASE64` for each key.

mod copies;
mod key;

pub use copies::{Copies, Copy, Manifest, content_file, digest_of, hex, read_content, read_manifest};
pub use key::TsigKey;

use super::document::values::address;
use super::document::{At, Code, Faults, Files, Table, nearest};
use crate::dns::name::Name;
use crate::language::{Text, text};
use hyper::Uri;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// What a rule writes before the name of a feed.
pub const PREFIX: &str = "feed:";

/// The most feeds of one policy: each has a task of its own.
pub const FEEDS_MAX: usize = 64;

/// The ending of files of certificates at the top of the policy directory.
pub const CERTIFICATES: &str = ".pem";

/// The longest name, in bytes: it is the name of a directory, and a metric label.
const NAME_MAX: usize = 64;

/// The longest URL, in bytes.
const URL_MAX: usize = 2_048;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// What makes sure that content is what its publisher made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Nothing but the server's certificate.
    None,
    /// SHA-256 of the only content that is taken.
    Sha256([u8; 32]),
    /// A minisign public key, in base64.
    Minisign(String),
}

impl Pin {
    /// Whether what is known of a copy says that it is what is pinned. Pins come and change while copies are kept.
    pub fn is_of(&self, copy: &Manifest) -> bool {
        match self {
            Self::None => true,
            Self::Sha256(pinned) => copy.sha256.eq_ignore_ascii_case(&hex(pinned)),
            Self::Minisign(key) => copy.signed_by.as_ref() == Some(key),
        }
    }
}

/// A file of a web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlFeed {
    /// https, or http on loopback.
    pub url: Uri,
    /// What it must match.
    pub pin: Pin,
    /// Certificates in PEM that may sign the server's besides those of the system.
    pub ca: Option<Vec<u8>>,
    /// Between two looks.
    pub refresh: Duration,
}

/// A zone of a primary server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneFeed {
    /// The server.
    pub primary: SocketAddr,
    /// The zone.
    pub zone: Name,
    /// What requests and answers are signed with.
    pub key: Option<TsigKey>,
    /// Whose NOTIFY is heard.
    pub notify: Vec<IpAddr>,
}

/// Where a feed comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // 64 of them at the most
pub enum FeedSource {
    /// https.
    Url(UrlFeed),
    /// AXFR and IXFR.
    Zone(ZoneFeed),
}

impl FeedSource {
    /// As manifests and reports have it.
    pub fn text(&self) -> String {
        match self {
            Self::Url(of) => of.url.to_string(),
            Self::Zone(of) => format!("{} of {}", of.zone, of.primary),
        }
    }

    /// Whether a copy is what is pinned, wherever it came from.
    pub fn is_pinned(&self, copy: &Manifest) -> bool {
        match self {
            Self::Url(of) => of.pin.is_of(copy),
            Self::Zone(_) => true,
        }
    }

    /// Whether a copy came from here, and is what is pinned.
    pub fn vouches_for(&self, copy: &Manifest) -> bool {
        copy.source == self.text() && self.is_pinned(copy)
    }
}

/// `[[feed]]`
#[derive(Clone, Debug, PartialEq)]
pub struct FeedSettings {
    /// Unique.
    pub name: String,
    /// Where it comes from.
    pub source: FeedSource,
    /// The largest content, in bytes.
    pub size_max: u64,
    /// The fewest entries that are a list at all.
    pub entries_min: u64,
    /// The largest part of the entries that may come or go at once, 0 to 1.
    pub change_max: f64,
    /// How long ago the source may have confirmed the content.
    pub age_max: Duration,
}

/// All feeds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feeds {
    feeds: BTreeMap<String, Arc<FeedSettings>>,
}

/// The names of the feeds that a gateway.toml declares, whatever else is in it.
///
/// # Errors
/// It is not TOML.
pub fn declared(gateway: &str) -> Result<Vec<String>, toml::de::Error> {
    let table = DeTable::parse(gateway)?.into_inner();
    let feeds = table.get("feed").and_then(|feeds| feeds.get_ref().as_array());
    let name = |feed: &toml::Spanned<DeValue<'_>>| feed.get_ref().get("name")?.get_ref().as_str().map(str::to_owned);
    Ok(feeds.into_iter().flat_map(|feeds| feeds.iter()).filter_map(name).collect())
}

impl Feeds {
    /// Reads `[[feed]]` of gateway.toml.
    pub fn read(gateway: &Table<'_>, files: &Files) -> Self {
        let mut feeds = BTreeMap::new();
        for table in gateway.tables("feed") {
            let settings = FeedSettings::read(&table, files);
            if feeds.len() == FEEDS_MAX {
                let message = text!("more than {most} feeds", most = FEEDS_MAX);
                table.faults().add(Code::TooMany, &table.place(), message, text!("merge lists where they are made"));
                break;
            }
            let Some(settings) = settings else { continue };
            let name = settings.name.clone();
            if feeds.insert(name.clone(), Arc::new(settings)).is_some() {
                table.fault(
                    "name",
                    Code::Duplicate,
                    text!("feed {name:?} is there twice", name),
                    text!("remove one of the two, or give it another name"),
                );
            }
        }
        Self { feeds }
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<FeedSettings>> {
        self.feeds.values()
    }

    /// The one of a name.
    pub fn of(&self, name: &str) -> Option<&Arc<FeedSettings>> {
        self.feeds.get(name)
    }

    /// The feed that `feed:name` means; an unknown one is a fault.
    pub fn require(&self, name: &At<&str>, faults: &Faults) -> Option<&Arc<FeedSettings>> {
        let feed = self.feeds.get(name.value);
        if feed.is_none() {
            let hint = match nearest(name.value, self.feeds.keys().map(String::as_str)) {
                Some(near) => text!("did you mean \"{prefix}{word}\"?", prefix = PREFIX, word = near),
                None => text!("feeds are declared in gateway.toml, under [[feed]]"),
            };
            faults.add(Code::UnknownFeed, &name.place, text!("there is no feed {name:?}", name = name.value), hint);
        }
        feed
    }

    /// The feed of a zone, if `peer` may tell that it has changed. Linear in the feeds, and only asked for NOTIFY.
    pub fn notified(&self, peer: IpAddr, zone: &Name) -> Option<&ZoneFeed> {
        self.feeds.values().find_map(|feed| match &feed.source {
            FeedSource::Zone(of) if of.zone == *zone && of.notify.contains(&peer.to_canonical()) => Some(of),
            _ => None,
        })
    }
}

impl FeedSettings {
    /// Reads one; `None` when it has no name that it could go by, or no source.
    fn read(t: &Table<'_>, files: &Files) -> Option<Self> {
        let name = t.required_text("name").filter(|name| is_name(name, t.faults()));
        let (has_url, has_primary) = (t.has("url"), t.has("primary"));
        let source = match (has_url, has_primary) {
            (true, false) => UrlFeed::read(t, files).map(FeedSource::Url),
            (false, true) => ZoneFeed::read(t, files).map(FeedSource::Zone),
            (both, _) => {
                let message = match both {
                    true => text!("a feed has one source: url or primary"),
                    false => text!("a feed needs url or primary"),
                };
                let code = if both { Code::Conflict } else { Code::MissingKey };
                t.faults().add(
                    code,
                    &t.place(),
                    message,
                    text!("url = \"https://...\", or primary = \"10.1.0.53\" and zone = ..."),
                );
                None
            }
        };
        let settings = |name: At<&str>, source| Self {
            name: name.value.to_owned(),
            source,
            size_max: 0,
            entries_min: 0,
            change_max: 0.0,
            age_max: Duration::ZERO,
        };
        let bounds = (
            t.size("size_max", 1 << 10..=256 << 20, 64 << 20),
            t.number("entries_min", 0..=1_000_000_000_u32, 1),
            t.fraction("change_max", 0.0..=1.0, 0.3),
            t.duration("age_max", MINUTE..=3_650 * DAY, 2 * DAY),
        );
        let mut settings = settings(name?, source?);
        (settings.size_max, settings.change_max, settings.age_max) = (bounds.0, bounds.2, bounds.3);
        settings.entries_min = bounds.1.into();
        Some(settings)
    }
}

impl UrlFeed {
    fn read(t: &Table<'_>, files: &Files) -> Option<Self> {
        for key in ["zone", "tsig", "notify"] {
            if t.has(key) {
                t.fault(key, Code::Conflict, text!("{key} is only for a feed with a primary", key), text!("remove it"));
            }
        }
        let url = t.required_text("url").and_then(|url| read_url(&url, t.faults()));
        let (sha256, minisign) = (read_sha256(t), read_minisign(t));
        if t.has("sha256") && t.has("minisign") {
            let hint = text!("sha256 for content that never changes, minisign for content that does");
            t.fault("minisign", Code::Conflict, text!("a feed has one pin: sha256 or minisign"), hint);
        }
        let pin = match (sha256, minisign) {
            (Some(hash), _) => Pin::Sha256(hash),
            (None, Some(key)) => Pin::Minisign(key),
            (None, None) => Pin::None,
        };
        let (ca, refresh) = (read_ca(t, files), t.duration("refresh", MINUTE..=30 * DAY, HOUR));
        Some(Self { url: url?, pin, ca, refresh })
    }
}

impl ZoneFeed {
    fn read(t: &Table<'_>, files: &Files) -> Option<Self> {
        for key in ["refresh", "sha256", "minisign", "ca"] {
            if t.has(key) {
                let hint = text!("the zone's SOA says how often, and tsig makes sure of it");
                t.fault(key, Code::Conflict, text!("{key} is only for a feed with a url", key), hint);
            }
        }
        let primary = t.address("primary", 53);
        if !t.has("zone") {
            t.missing("zone");
        }
        let zone = t.name("zone");
        let key = t.has("tsig").then(|| TsigKey::read(&t.table("tsig"), files)).flatten();
        let notify: Vec<_> = t
            .list("notify")
            .iter()
            .filter_map(|text| address(text, 53, t.faults()).map(|address| address.ip().to_canonical()))
            .collect();
        let primary = primary?.value;
        let notify = if t.has("notify") { notify } else { vec![primary.ip().to_canonical()] };
        Some(Self { primary, zone: zone?.value, key, notify })
    }
}

/// Whether a text can name a feed, and a directory.
fn is_name(name: &At<&str>, faults: &Faults) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_right = name.value.len() <= NAME_MAX && !name.value.starts_with('.') && name.value.chars().all(fits);
    if !is_right {
        let hint =
            text!("ascii letters, digits, - _ and ., at most {most} bytes, no . at the beginning", most = NAME_MAX);
        faults.add(Code::Value, &name.place, text!("{name:?} cannot be the name of a feed", name = name.value), hint);
    }
    is_right
}

/// https; http where nobody is between us and the server.
fn read_url(text: &At<&str>, faults: &Faults) -> Option<Uri> {
    let wrong = |message: Text| {
        faults.add(Code::Value, &text.place, message, text!("such as \"https://lists.example/phishing.txt\""));
        None
    };
    let url = match text.value.parse::<Uri>() {
        Ok(url) if text.value.len() <= URL_MAX && url.host().is_some_and(|host| !host.is_empty()) => url,
        Ok(_) => return wrong(text!("feed.url must have a host and at most {most} bytes", most = URL_MAX)),
        Err(error) => {
            return wrong(text!("{text:?} is not a URL: {error}", text = text.value, error = Text::of_library(&error)));
        }
    };
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return wrong(text!("feed.url has a user or password in it, which every copy of the policy would show"));
    }
    match check_scheme(&url) {
        Ok(()) => Some(url),
        Err(message) => wrong(message),
    }
}

/// Whether a URL may be fetched at all: also asked for the target of a redirect.
///
/// # Errors
/// The message for the user.
pub fn check_scheme(url: &Uri) -> Result<(), Text> {
    let is_loopback = || {
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    match url.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if is_loopback() => Ok(()),
        Some("http") => Err(text!("a feed is fetched over https: over http anybody between could change it")),
        other => Err(text!("a feed is fetched over https, not {scheme:?}", scheme = other.unwrap_or_default())),
    }
}

fn read_sha256(t: &Table<'_>) -> Option<[u8; 32]> {
    let text = t.has("sha256").then(|| t.required_text("sha256")).flatten()?;
    let digits: Option<Vec<u8>> = text.value.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let bytes: Option<Vec<u8>> = digits
        .filter(|digits| digits.len() == 64)
        .map(|d| d.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect());
    let hash = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    if hash.is_none() {
        let hint = text!("64 hexadecimal digits, as `sha256sum` prints them");
        t.fault("sha256", Code::Value, text!("feed.sha256 is not a SHA-256"), hint);
    }
    hash
}

fn read_minisign(t: &Table<'_>) -> Option<String> {
    let text = t.has("minisign").then(|| t.required_text("minisign")).flatten()?;
    match minisign_verify::PublicKey::from_base64(text.value) {
        Ok(_) => Some(text.value.to_owned()),
        Err(error) => {
            let hint = text!("the second line of minisign.pub, which begins with RW");
            t.fault(
                "minisign",
                Code::Value,
                text!("feed.minisign is not a public key: {error}", error = Text::of_library(&error)),
                hint,
            );
            None
        }
    }
}

fn read_ca(t: &Table<'_>, files: &Files) -> Option<Vec<u8>> {
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
    let path = t.has("ca").then(|| t.required_text("ca")).flatten()?;
    let hint = text!("a file at the top of the policy directory whose name ends in .pem");
    if path.value.contains('/') || !path.value.ends_with(CERTIFICATES) {
        t.fault("ca", Code::Path, text!("feed.ca cannot be {path:?}", path = path.value), hint);
        return None;
    }
    let Some(bytes) = files.bytes(path.value) else {
        t.fault("ca", Code::MissingFile, text!("there is no {path} in the policy directory", path = path.value), hint);
        return None;
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    if !certificates.is_ok_and(|certificates| !certificates.is_empty()) {
        let hint = text!("PEM: each certificate between BEGIN CERTIFICATE and END CERTIFICATE");
        t.fault("ca", Code::Value, text!("{path} holds no certificate", path = path.value), hint);
        return None;
    }
    Some(bytes.to_vec())
}

#[cfg(test)]
mod tests;
