//! A directory of one test's own, the real program run in it, and gateways that end with the test.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use weir::control::client;
use weir::control::protocol;

/// Longer than anything here takes; what exceeds it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// For gateways whose policy changes what most queries get while a test waits and asks again and again.
pub(crate) const UNGUARDED: &str = "[guard]\nmode = \"off\"\n";

/// What a command ended with.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Asserts the exit code, and that standard error holds all of `parts`.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is missing in standard error of {self:#?}");
        }
        assert!(!self.err.contains('\u{1b}'), "colour without a terminal: {self:#?}");
    }

    /// Asserts success, and that standard output holds all of `parts`.
    #[track_caller]
    pub(crate) fn works(&self, parts: &[&str]) {
        assert_eq!(self.code, Some(0), "{self:#?}");
        for part in parts {
            assert!(self.out.contains(part), "{part:?} is missing in standard output of {self:#?}");
        }
        assert!(!self.out.contains('\u{1b}'), "colour without a terminal: {self:#?}");
    }
}

/// A directory that goes away with the test.
#[derive(Debug)]
pub(crate) struct Place {
    root: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("weir-commands-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir(&root).expect("a directory for the test");
        Self { root }
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Writes a file whole, as editors do: beside it, then moved over it.
    pub(crate) fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        let directory = path.parent().expect("every file is in a directory");
        fs::create_dir_all(directory).expect("a directory for the file");
        let fresh = directory.join(".fresh~");
        fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path)).expect("the file is written");
    }

    /// The control socket of gateways of this place.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run/control.sock")
    }

    /// Writes `policies/gateway.toml` for a gateway on `listen` with `more` behind it.
    pub(crate) fn write_gateway(&self, listen: &[SocketAddr], watch: bool, more: &str) {
        let listen: Vec<_> = listen.iter().map(|address| format!("\"{address}\"")).collect();
        let (listen, socket) = (listen.join(", "), self.socket());
        let text = format!(
            "schema = 1\nlisten = [{listen}]\nworkers = 1\nwatch = {watch}\n\
             [[upstream]]\nname = \"nowhere\"\naddress = \"127.0.0.1:9\"\n\
             [control]\nsocket = \"{}\"\n{more}",
            socket.display()
        );
        self.write("policies/gateway.toml", &text);
    }

    /// A command that has not been started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(arguments).current_dir(&self.root).stdin(Stdio::null());
        command.env("STATE_DIRECTORY", self.path("state"));
        command.env("XDG_RUNTIME_DIR", self.path("xdg")).env_remove("RUST_LOG").env_remove("WEIR_LOG");
        // Whoever runs the tests may speak another language.
        command.env("LC_ALL", "C");
        command
    }

    /// Runs a command to its end.
    pub(crate) fn weir(&self, arguments: &[&str]) -> Ended {
        let mut command = self.command(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        Running::new(child).wait()
    }

    /// As [`Self::weir`], with `--socket` of this place.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Ended {
        let socket = self.socket();
        let socket = socket.to_str().expect("paths of tests are text");
        self.weir(&[arguments, &["--socket", socket]].concat())
    }

    /// Starts `weir run` and waits for nothing.
    pub(crate) fn launch(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(&[&["run"], arguments].concat());
        Running::new(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts"))
    }

    /// Starts `weir run` and waits until it answers at `socket`.
    pub(crate) fn start(&self, arguments: &[&str], socket: &Path) -> Running {
        Self::answering(self.launch(arguments), socket)
    }

    fn answering(mut running: Running, socket: &Path) -> Running {
        let begun = Instant::now();
        while client::connect(&[socket.to_path_buf()])
            .and_then(|mut one| one.ask(&protocol::Command::Status {}))
            .is_err()
        {
            if running.has_ended() || begun.elapsed() > PATIENCE {
                panic!("the gateway did not start: {:#?}", running.stop());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        running
    }

    /// Starts a gateway with the lab behind it, on the policies of this place.
    pub(crate) fn start_lab(&self) -> Running {
        self.start(&["--lab"], &self.socket())
    }

    /// As [`Self::start_lab`], with a state directory.
    pub(crate) fn start_lab_with_state(&self) -> Running {
        let state = self.path("state");
        self.start(&["--lab", "--state", state.to_str().expect("paths of tests are text")], &self.socket())
    }

    /// As [`Self::start_lab_with_state`], where no file grows over a few KiB: the rest of a write is refused, as by a disk
    /// that is full.
    pub(crate) fn start_lab_on_a_small_disk(&self) -> Running {
        let weir = self.command(&["run", "--lab", "--state", "state"]);
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\""])
            .arg(weir.get_program())
            .args(weir.get_args());
        shell.current_dir(&self.root).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, value) in weir.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        Self::answering(Running::new(shell.spawn().expect("a shell")), &self.socket())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// A program that runs; it is ended with the test.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    out: Option<std::thread::JoinHandle<String>>,
    err: Option<std::thread::JoinHandle<String>>,
}

impl Running {
    fn new(mut child: Child) -> Self {
        // Read beside, so that a full pipe never stops the program.
        let drain = |mut pipe: Box<dyn Read + Send>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = pipe.read_to_end(&mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let out = child.stdout.take().map(|pipe| drain(Box::new(pipe)));
        let err = child.stderr.take().map(|pipe| drain(Box::new(pipe)));
        Self { child, out, err }
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().expect("kill is there");
        assert!(sent.success(), "SIG{name} was not sent");
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the program can be waited for").is_some()
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let begun = Instant::now();
        while !self.has_ended() {
            assert!(begun.elapsed() < PATIENCE, "it does not end: {:#?}", self.stop());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.collect()
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn stop(&mut self) -> Ended {
        let _ = self.child.kill();
        self.collect()
    }

    fn collect(&mut self) -> Ended {
        let code = self.child.wait().expect("the program can be waited for").code();
        let text = |reader: &mut Option<std::thread::JoinHandle<String>>| {
            reader.take().map_or_else(String::new, |reader| reader.join().unwrap_or_default())
        };
        Ended { code, out: text(&mut self.out), err: text(&mut self.err) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address that is free for UDP and TCP just now.
pub(crate) fn free_address() -> SocketAddr {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
        let address = udp.local_addr().expect("a bound socket has an address");
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Asks for (`name`, A) over UDP, once; the response, or `None` when none comes within `patience`.
pub(crate) fn ask_within(server: SocketAddr, name: &str, patience: Duration) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
    socket.set_read_timeout(Some(patience)).expect("a time limit");
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).expect("labels are short"));
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    socket.send_to(&query, server).ok()?;
    let mut buffer = [0; 4096];
    let len = socket.recv(&mut buffer).ok()?;
    assert_eq!(buffer[..2], query[..2], "the response to another query");
    Some(buffer[..len].to_vec())
}

/// The response code for (`name`, A); asked again when nothing comes, as stubs do.
#[track_caller]
pub(crate) fn rcode(server: SocketAddr, name: &str) -> u8 {
    let response = (0..4).find_map(|_| ask_within(server, name, Duration::from_secs(3)));
    response.expect("the gateway answers")[3] & 15
}

/// Waits until `is_so`; what it is about is `what`.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it never came: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
