//! One file of a web server: GET with the validators of the last copy (RFC 9110 section 13), redirects, a bound on what
//! comes and on what it unpacks to.
//!
//! No proxy, no cookies, no netrc: of the environment only `SSL_CERT_FILE` and `SSL_CERT_DIR` are read, which say where the
//! system's certificates are. Names are looked up by the system's resolver.

use super::progress::{Phase, Progress};
use super::trust;
use crate::control::beside::beside;
use crate::language::{Text, text};
use crate::policy::feeds::check_scheme;
use flate2::write::MultiGzDecoder;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// Until there is a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(10);

/// Until the head of an answer, and between two pieces of its body.
const STALL: Duration = Duration::from_secs(30);

/// For all of it.
const WHOLE: Duration = Duration::from_secs(15 * 60);

/// The longest validator that is remembered, in bytes.
const VALIDATOR_MAX: usize = 1_024;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where.
    pub url: Uri,
    /// Certificates in PEM that may sign the server's besides those of the system.
    pub ca: Option<Vec<u8>>,
    /// The largest content, in bytes, unpacked.
    pub size_max: u64,
    /// What the server called the copy that is here.
    pub etag: Option<String>,
    /// When it said that it had changed.
    pub last_modified: Option<String>,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    /// The copy that is here is the one that the server has.
    Unchanged,
    /// Another.
    Content {
        /// Unpacked.
        bytes: Vec<u8>,
        /// Its name.
        etag: Option<String>,
        /// When it changed.
        last_modified: Option<String>,
    },
}

/// Fetches it.
///
/// # Errors
/// The message for the user.
pub async fn get(wanted: &Wanted, progress: &Progress) -> Result<Got, Text> {
    let work = async {
        let mut url = wanted.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            progress.enter(Phase::Connecting);
            let (response, _connection) = ask(&url, wanted).await.map_err(|why| text!("{url}: {why}", url, why))?;
            if !is_redirect(response.status()) {
                return take(response, wanted, progress).await.map_err(|why| text!("{url}: {why}", url, why));
            }
            url = target(&url, response.headers()).map_err(|why| text!("{url}: {why}", url, why))?;
        }
        Err(text!("{url}: more than {most} redirects", url = wanted.url, most = REDIRECTS_MAX))
    };
    let outcome = timeout(WHOLE, work).await;
    outcome.unwrap_or_else(|_| {
        Err(text!("{url}: it took longer than {n} minutes", url = wanted.url, n = WHOLE.as_secs() / 60))
    })
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads.
fn target(from: &Uri, headers: &HeaderMap) -> Result<Uri, Text> {
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| text!("it redirects to nowhere"))?;
    let to: Uri = location
        .parse()
        .map_err(|error| text!("it redirects to {to:?}: {error}", to = location, error = Text::of_library(&error)))?;
    let to = match (to.authority(), to.path_and_query()) {
        (Some(_), _) => to,
        (None, Some(path)) if path.as_str().starts_with('/') && !path.as_str().starts_with("//") => {
            let mut parts = from.clone().into_parts();
            parts.path_and_query = Some(path.clone());
            Uri::from_parts(parts).map_err(|error| Text::of_library(&error))?
        }
        _ => return Err(text!("it redirects to {to:?}, which is no whole URL", to = location)),
    };
    check_scheme(&to).map_err(|why| text!("it redirects to {to}: {why}", to, why))?;
    if from.scheme_str() == Some("https") && to.scheme_str() != Some("https") {
        return Err(text!("it redirects from https to {to}", to));
    }
    Ok(to)
}

/// Ends the connection when the answer has been read, or is not wanted any more.
struct Connection(tokio::task::JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn ask(url: &Uri, wanted: &Wanted) -> Result<(Response<Incoming>, Connection), Text> {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let is_tls = url.scheme_str() == Some("https");
    let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let connecting = async {
        let stream = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(|error| text!("no connection: {error}", error = Text::of_io(&error)))?;
        if !is_tls {
            return start(stream).await;
        }
        let ca = wanted.ca.clone();
        // Reading the system's certificates waits for the disk.
        let config = beside(move || trust::config(ca.as_deref())).await?;
        let name = ServerName::try_from(host.clone()).map_err(|error| Text::of_library(&error))?;
        let stream = TlsConnector::from(Arc::new(config?)).connect(name, stream).await;
        start(stream.map_err(|error| text!("no TLS: {error}", error = trust::refusal(&error)))?).await
    };
    let connected = timeout(CONNECT, connecting).await;
    let (mut sender, connection) =
        connected.map_err(|_| text!("no connection within {seconds} s", seconds = CONNECT.as_secs()))??;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::get(path)
        .header(header::HOST, url.authority().map_or("", |authority| authority.as_str()))
        .header(header::USER_AGENT, concat!("weir/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT_ENCODING, "gzip");
    for (name, value) in [(header::IF_NONE_MATCH, &wanted.etag), (header::IF_MODIFIED_SINCE, &wanted.last_modified)] {
        if let Some(value) = value.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
            request = request.header(name, value);
        }
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| Text::of_library(&error))?;
    let answered = timeout(STALL, sender.send_request(request)).await;
    let answered = answered.map_err(|_| text!("no answer within {seconds} s", seconds = STALL.as_secs()))?;
    Ok((answered.map_err(|error| text!("no answer: {error}", error = Text::of_library(&error)))?, connection))
}

type Sender = hyper::client::conn::http1::SendRequest<Empty<Bytes>>;

async fn start(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<(Sender, Connection), Text> {
    let begun = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = begun.map_err(|error| text!("no HTTP: {error}", error = Text::of_library(&error)))?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection of a feed ended early");
        }
    });
    Ok((sender, Connection(task)))
}

/// Takes an answer that is no redirect.
async fn take(response: Response<Incoming>, wanted: &Wanted, progress: &Progress) -> Result<Got, Text> {
    let has_validator = wanted.etag.is_some() || wanted.last_modified.is_some();
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED if has_validator => return Ok(Got::Unchanged),
        status => return Err(text!("it says {status}", status)),
    }
    let text = |name| {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        value.filter(|value| value.len() <= VALIDATOR_MAX)
    };
    let (etag, last_modified) = (text(header::ETAG), text(header::LAST_MODIFIED));
    let encoding = text(header::CONTENT_ENCODING).unwrap_or_default().to_ascii_lowercase();
    let mut unpacker = match encoding.as_str() {
        "" | "identity" => Unpacker::None(Bounded::new(wanted.size_max)),
        "gzip" | "x-gzip" => Unpacker::Gzip(Box::new(MultiGzDecoder::new(Bounded::new(wanted.size_max)))),
        _ => return Err(text!("it is packed as {encoding:?}, which was not asked for", encoding)),
    };
    let length = text(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length > wanted.size_max) {
        return Err(too_large(wanted.size_max));
    }
    progress.enter(Phase::Receiving);
    progress.expect(length.unwrap_or(0));
    let (mut body, mut came) = (response.into_body(), 0_u64);
    while let Some(frame) = timeout(STALL, body.frame())
        .await
        .map_err(|_| text!("nothing came for {seconds} s", seconds = STALL.as_secs()))?
    {
        let frame = frame.map_err(|error| text!("it broke off: {error}", error = Text::of_library(&error)))?;
        let Some(data) = frame.data_ref() else { continue };
        progress.add(data.len());
        came += data.len() as u64;
        if came > wanted.size_max {
            return Err(too_large(wanted.size_max));
        }
        unpacker.write(data).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => too_large(wanted.size_max),
            _ => text!("it cannot be unpacked: {error}", error = Text::of_io(&error)),
        })?;
    }
    let bytes = unpacker.finish().map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => too_large(wanted.size_max),
        _ => text!("it cannot be unpacked: {error}", error = Text::of_io(&error)),
    })?;
    Ok(Got::Content { bytes, etag, last_modified })
}

fn too_large(size_max: u64) -> Text {
    text!("it is larger than {most} bytes (size_max)", most = size_max)
}

/// What a body is unpacked by.
enum Unpacker {
    None(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

impl Unpacker {
    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::None(to) => to.write_all(data),
            Self::Gzip(through) => through.write_all(data),
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::None(to) => Ok(to.bytes),
            Self::Gzip(through) => through.finish().map(|to| to.bytes),
        }
    }
}

/// Takes so many bytes and no more, whatever they were packed in.
#[derive(Debug)]
pub(super) struct Bounded {
    bytes: Vec<u8>,
    most: u64,
}

impl Bounded {
    pub(super) fn new(most: u64) -> Self {
        Self { bytes: Vec::new(), most }
    }
}

impl Write for Bounded {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if (self.bytes.len() + data.len()) as u64 > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
