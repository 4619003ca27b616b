//! The asking side of the control socket, for the commands: one request, one response, with a deadline.

use super::protocol::{self, Command, Failure};
use crate::language::{Lang, Text, text};
use serde_json::Value;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a gateway may take to answer; a policy with millions of names compiles within it.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Why there is no result.
#[derive(Debug)]
pub enum AskError {
    /// Nothing runs at the socket.
    NoGateway {
        /// Where it was looked for, in order.
        tried: Vec<PathBuf>,
    },
    /// The socket is there and could not be used.
    Connect {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The conversation broke off.
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What happened.
        cause: Text,
    },
    /// The gateway said no.
    Refused(Failure),
}

impl AskError {
    /// What is wrong, in any language; a refusal is in that of the request.
    pub fn text(&self) -> Text {
        match self {
            Self::NoGateway { tried } => {
                let tried: Vec<_> = tried.iter().map(|path| path.display().to_string()).collect();
                text!(
                    "no gateway runs at {sockets}\n  start one with `weir run DIR`, or name its socket with `--socket PATH`",
                    sockets = tried.join(" / ")
                )
            }
            Self::Connect { socket, error } if error.kind() == io::ErrorKind::PermissionDenied => text!(
                "control socket {socket}: permission denied\n  only root and the user that the gateway runs as may use it",
                socket = socket.display()
            ),
            Self::Connect { socket, error } => {
                text!("control socket {socket}: {error}", socket = socket.display(), error = Text::of_io(error))
            }
            Self::Broken { socket, cause } => {
                text!("control socket {socket}: {error}", socket = socket.display(), error = cause.clone())
            }
            Self::Refused(failure) => failure.text(),
        }
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().english())
    }
}

impl std::error::Error for AskError {}

/// Connects to the first of `sockets` at which a gateway answers.
///
/// # Errors
/// [`AskError::NoGateway`] when none is there, [`AskError::Connect`] when one is there and cannot be used.
pub fn connect(sockets: &[PathBuf]) -> Result<Connection, AskError> {
    for socket in sockets {
        match UnixStream::connect(socket) {
            Ok(stream) => return Connection::over(stream, socket),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {}
            Err(error) => return Err(AskError::Connect { socket: socket.clone(), error }),
        }
    }
    Err(AskError::NoGateway { tried: sockets.to_vec() })
}

/// A connection to a running gateway.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<UnixStream>,
    socket: PathBuf,
    lang: Lang,
}

impl Connection {
    fn over(stream: UnixStream, socket: &Path) -> Result<Self, AskError> {
        let limited = stream.set_read_timeout(Some(ANSWER_MAX)).and(stream.set_write_timeout(Some(ANSWER_MAX)));
        limited.map_err(|error| AskError::Connect { socket: socket.to_path_buf(), error })?;
        Ok(Self { stream: BufReader::new(stream), socket: socket.to_path_buf(), lang: Lang::default() })
    }

    /// With refusals in this language.
    #[must_use]
    pub fn in_language(self, lang: Lang) -> Self {
        Self { lang, ..self }
    }

    /// The socket that answered.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks one thing.
    ///
    /// # Errors
    /// [`AskError::Broken`] when the answer does not come whole and in time, [`AskError::Refused`] when it is a no.
    pub fn ask(&mut self, command: &Command) -> Result<Value, AskError> {
        let broken = |cause: Text| AskError::Broken { socket: self.socket.clone(), cause };
        let request = protocol::write_request(command, self.lang);
        // A gateway that turns us away may close before it has read: its reason is still there to be read.
        let sent = self.stream.get_mut().write_all(request.as_bytes());
        let mut line = Vec::new();
        let limit = protocol::RESPONSE_MAX as u64;
        let received = self.stream.by_ref().take(limit).read_until(b'\n', &mut line);
        match (received, sent) {
            (Ok(_), _) if line.last() == Some(&b'\n') => {}
            (Ok(_), Ok(())) => return Err(broken(text!("the gateway hung up before it had answered"))),
            (Err(error), _) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(broken(text!("no answer within {seconds} seconds", seconds = ANSWER_MAX.as_secs())));
            }
            (Err(error), _) | (_, Err(error)) => return Err(broken(Text::of_io(&error))),
        }
        match protocol::read_response(line.trim_ascii_end()) {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(failure)) => Err(AskError::Refused(failure)),
            Err(cause) => Err(broken(text!("not an answer of a weir gateway: {cause}", cause))),
        }
    }
}
