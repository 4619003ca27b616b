//! The control socket: a Unix stream socket that only root and the gateway's own user may use. Everything about it is
//! bounded: connections, line length, and how long a silent peer is kept.

use super::protocol::{self, Command, Failure, FailureCode};
use crate::language::{Lang, Text, Told, text};
use serde_json::Value;
use std::fmt;
use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net as std_unix;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The most connections at a time; further ones are told so and closed.
pub const CONNECTIONS_MAX: usize = 16;

/// How long a peer may stay silent, or leave an answer unread.
pub const IDLE_MAX: Duration = Duration::from_secs(30);

/// Where the commands look for a gateway, in order: the places of a gateway whose policy names none.
pub fn default_paths() -> Vec<PathBuf> {
    let uid = own_uid();
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let private = std::env::temp_dir().join(format!("weir-{uid}"));
    // Anybody may make a directory of that name among the temporary files: another's would tell us what it likes.
    let private = fs::symlink_metadata(&private).is_ok_and(|made| made.uid() == uid).then_some(private);
    let directories = [Some(PathBuf::from("/run/weir")), session.map(|dir| dir.join("weir")), private];
    directories.into_iter().flatten().map(|directory| directory.join("control.sock")).collect()
}

/// The user that this process acts as: the owner of its entry in /proc.
fn own_uid() -> u32 {
    fs::metadata("/proc/self").map_or(u32::MAX, |metadata| metadata.uid())
}

/// What was tried with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// To make its directory.
    Make,
    /// To look at it.
    Look,
    /// To listen there.
    Listen,
}

/// Why the control socket cannot be opened.
#[derive(Debug)]
pub enum SocketError {
    /// Another gateway answers there.
    InUse(PathBuf),
    /// Something that is not a socket has that name; it is left alone.
    NotASocket(PathBuf),
    /// The directory of the socket lets others in, or belongs to someone else.
    NotPrivate(PathBuf),
    /// The system said no.
    System {
        /// What was tried.
        what: Tried,
        /// With which file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

impl Told for SocketError {
    fn text(&self) -> Text {
        match self {
            Self::InUse(path) => text!(
                "control socket {path}: another gateway answers there\n  stop it, or give this one a socket of its own: \
                 `[control] socket` in gateway.toml, or `--socket PATH`",
                path = path.display()
            ),
            Self::NotASocket(path) => text!(
                "control socket {path}: a file that is not a socket is in the way; it is left alone",
                path = path.display()
            ),
            Self::NotPrivate(path) => text!(
                "control socket: directory {path} belongs to another user or is writable by others\n  name another place \
                 with `[control] socket` in gateway.toml, or `--socket PATH`",
                path = path.display()
            ),
            Self::System { what, path, error } => {
                let (path, error) = (path.display(), Text::of_io(error));
                match what {
                    Tried::Make => text!("control socket: cannot make {path}: {error}", path, error),
                    Tried::Look => text!("control socket: cannot look at {path}: {error}", path, error),
                    Tried::Listen => text!("control socket: cannot listen on {path}: {error}", path, error),
                }
            }
        }
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().english())
    }
}

impl std::error::Error for SocketError {}

/// The open socket; its file goes away with it.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of our file, so that the file of a successor is not removed.
    identity: (u64, u64),
    /// The owner of our file: who runs the gateway.
    owner: u32,
}

impl ControlSocket {
    /// Opens the socket at `path`, mode 0600; a missing directory is made with mode 0700, the file of a gateway that
    /// is gone is replaced. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let system = |what, path: &Path| {
            let path = path.to_path_buf();
            move |error| SocketError::System { what, path, error }
        };
        let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(system(Tried::Make, directory))?;
        refuse_shared_directory(directory)?;
        refuse_if_taken(path)?;

        // Bound under another name and moved into place, so that nobody ever finds it with a mode other than 0600.
        let fresh = directory.join(format!(".weir-{}.sock", std::process::id()));
        let _ = fs::remove_file(&fresh);
        let listener = std_unix::UnixListener::bind(&fresh).map_err(system(Tried::Listen, path))?;
        let placed = fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))
            .and_then(|()| listener.set_nonblocking(true))
            .and_then(|()| fs::rename(&fresh, path))
            .and_then(|()| fs::symlink_metadata(path));
        let metadata = placed.map_err(|error| {
            let _ = fs::remove_file(&fresh);
            system(Tried::Listen, path)(error)
        })?;
        let listener = UnixListener::from_std(listener).map_err(system(Tried::Listen, path))?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(Self { listener, path: path.to_path_buf(), identity, owner: metadata.uid() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves until it is dropped: `answer` gets each command with who gave it and in which language, and says what becomes of
    /// it.
    pub async fn serve<A, F>(self, answer: A)
    where
        A: Fn(Command, Peer, Lang) -> F + Clone + 'static,
        F: Future<Output = Result<Value, Failure>> + 'static,
    {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                // Out of descriptors, most likely: trying again at once would only burn the core.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let peer = match admit(&stream, self.owner) {
                Ok(peer) => peer,
                Err(failure) => {
                    turn_away(&stream, failure);
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                let message = text!("{most} others use the control socket; try again later", most = CONNECTIONS_MAX);
                turn_away(&stream, Failure::new(FailureCode::Busy, message));
                continue;
            };
            let answer = answer.clone();
            let answer = move |command, lang| answer(command, peer, lang);
            tokio::task::spawn_local(async move {
                if let Err(error) = converse(stream, answer).await {
                    tracing::debug!("control connection: {error}");
                }
                drop(place);
            });
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.identity);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// In a directory that others may write to, they could put a socket of their own in place of ours. A sticky directory
/// such as /tmp forbids that for files of others, so it is taken when it was named.
fn refuse_shared_directory(directory: &Path) -> Result<(), SocketError> {
    let metadata = fs::metadata(directory).map_err(|error| SocketError::System {
        what: Tried::Look,
        path: directory.to_path_buf(),
        error,
    })?;
    let ours = [0, own_uid()].contains(&metadata.uid());
    let (others_write, sticky) = (metadata.mode() & 0o022 != 0, metadata.mode() & 0o1000 != 0);
    if ours && (!others_write || sticky) { Ok(()) } else { Err(SocketError::NotPrivate(directory.to_path_buf())) }
}

/// Whether a file of that name stands in the way: anything that is not a socket, or a socket that someone answers at.
fn refuse_if_taken(path: &Path) -> Result<(), SocketError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SocketError::System { what: Tried::Look, path: path.to_path_buf(), error }),
    };
    if !metadata.file_type().is_socket() {
        return Err(SocketError::NotASocket(path.to_path_buf()));
    }
    match std_unix::UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_path_buf())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(SocketError::System { what: Tried::Look, path: path.to_path_buf(), error }),
    }
}

/// Who speaks, as the system tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The user.
    pub uid: u32,
    /// The process, while it lives.
    pub pid: Option<i32>,
}

/// Root and the owner of the socket may speak. The mode of the file says the same; this holds where it was changed.
fn admit(stream: &UnixStream, owner: u32) -> Result<Peer, Failure> {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == owner => Ok(Peer { uid: peer.uid(), pid: peer.pid() }),
        Ok(peer) => Err(Failure::new(
            FailureCode::NotAllowed,
            text!("user {uid} may not control this gateway; root and user {owner} may", uid = peer.uid(), owner),
        )),
        Err(error) => Err(Failure::new(FailureCode::NotAllowed, text!("who you are cannot be told: {error}", error))),
    }
}

/// One try without waiting: a peer that is not admitted holds nothing of ours.
fn turn_away(stream: &UnixStream, failure: Failure) {
    let line = protocol::write_response(&Err(failure));
    let _ = stream.try_write(line.as_bytes());
}

async fn converse<A, F>(stream: UnixStream, answer: A) -> io::Result<()>
where
    A: Fn(Command, Lang) -> F,
    F: Future<Output = Result<Value, Failure>>,
{
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = protocol::REQUEST_MAX as u64 + 1;
        let got = timeout(IDLE_MAX, (&mut read).take(limit).read_until(b'\n', &mut line)).await;
        if got.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? == 0 {
            return Ok(());
        }
        let whole = line.last() == Some(&b'\n');
        let too_long = !whole && line.len() > protocol::REQUEST_MAX;
        let result = match protocol::read_request(line.trim_ascii_end()) {
            _ if too_long => {
                let message = text!("a request is at most {most} bytes long", most = protocol::REQUEST_MAX);
                Err(Failure::new(FailureCode::BadRequest, message))
            }
            Ok((command, lang)) => answer(command, lang).await.map_err(|failure| failure.in_language(lang)),
            Err(failure) => Err(failure),
        };
        let response = protocol::write_response(&result);
        let sent = timeout(IDLE_MAX, write.write_all(response.as_bytes())).await;
        sent.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if !whole {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::client::{self, AskError};

    /// A directory of one test's own; removed at its end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("weir-socket-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
            Self(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Serves at `path` while `client` runs on a thread of its own.
    fn with_server<T: Send + 'static>(path: &Path, client: impl FnOnce() -> T + Send + 'static) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime, async {
            let socket = ControlSocket::bind(path).unwrap();
            let server = tokio::task::spawn_local(socket.serve(|command, _peer, _lang| async move {
                match command {
                    Command::Reload { .. } => {
                        Err(Failure::new(FailureCode::PolicyFaults, Text::verbatim("two faults")))
                    }
                    other => Ok(serde_json::json!({ "asked": format!("{other:?}") })),
                }
            }));
            let result = tokio::task::spawn_blocking(client).await.unwrap();
            server.abort();
            let _ = server.await;
            result
        })
    }

    #[test]
    fn commands_are_answered_one_by_one_on_one_connection() {
        let place = Place::new("answers");
        let path = place.0.join("made/control.sock");
        let (from, mode, directory_mode) = with_server(&path, {
            let path = path.clone();
            move || {
                let mut connection = client::connect(&[path.with_extension("none"), path.clone()]).unwrap();
                let status = connection.ask(&Command::Status {}).unwrap();
                assert!(status["asked"].as_str().unwrap().contains("Status"));
                let Err(AskError::Refused(failure)) = connection.ask(&Command::Reload { force: false }) else {
                    panic!("a refusal must arrive as one");
                };
                assert_eq!((failure.code, failure.message.as_str()), (FailureCode::PolicyFaults, "two faults"));
                let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
                (connection.socket().to_path_buf(), mode(&path), mode(path.parent().unwrap()))
            }
        });
        assert_eq!((from, mode, directory_mode), (path.clone(), 0o600, 0o700));
        assert!(!path.exists(), "the file goes away with the socket");
        assert!(matches!(client::connect(&[path]), Err(AskError::NoGateway { .. })));
    }

    #[test]
    fn endless_and_unfinished_lines_end_the_connection() {
        use std::io::{Read, Write};
        let place = Place::new("endless");
        let path = place.0.join("s");
        let (endless, unfinished) = with_server(&path.clone(), move || {
            let talk = |bytes: &[u8]| {
                let mut stream = std_unix::UnixStream::connect(&path).unwrap();
                stream.write_all(bytes).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                let mut answer = String::new();
                let _ = stream.read_to_string(&mut answer);
                answer
            };
            (talk(&vec![b'{'; protocol::REQUEST_MAX + 1]), talk(br#"{"weir":1,"#))
        });
        assert!(endless.contains("at most 16384 bytes"), "{endless}");
        assert!(unfinished.contains("not JSON"), "{unfinished}");
    }

    #[test]
    fn too_many_connections_are_told_so() {
        let place = Place::new("many");
        let path = place.0.join("s");
        with_server(&path.clone(), move || {
            let mut held: Vec<_> =
                (0..CONNECTIONS_MAX).map(|_| client::connect(std::slice::from_ref(&path)).unwrap()).collect();
            assert!(held.iter_mut().all(|connection| connection.ask(&Command::Status {}).is_ok()));
            let error = client::connect(std::slice::from_ref(&path)).and_then(|mut one| one.ask(&Command::Status {}));
            assert!(matches!(error, Err(AskError::Refused(Failure { code: FailureCode::Busy, .. }))), "{error:?}");
        });
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let place = Place::new("stale");
        let path = place.0.join("s");
        drop(std_unix::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "left behind");
        let error = with_server(&path.clone(), {
            let path = path.clone();
            move || refuse_if_taken(&path).unwrap_err()
        });
        assert!(matches!(error, SocketError::InUse(_)), "{error}");

        fs::write(&path, "precious").unwrap();
        assert!(matches!(refuse_if_taken(&path), Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_directory_open_to_others_is_refused() {
        let place = Place::new("open");
        fs::set_permissions(&place.0, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(refuse_shared_directory(&place.0), Err(SocketError::NotPrivate(_))));
        fs::set_permissions(&place.0, fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(refuse_shared_directory(&place.0).is_ok());
    }
}
