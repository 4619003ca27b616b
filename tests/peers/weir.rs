//! The gateway itself, as an operator runs it: the built program, a policy directory, signals and commands.

use super::ask;
use super::harness::{PATIENCE, Scratch, free_port, signal, wait_exit};
use hickory_proto::rr::RecordType;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Tries to start a gateway whose port somebody else has for a moment.
const STARTS_MAX: usize = 5;

/// What a test says about its gateway; the rest is the same for all.
pub(crate) struct Setup<'a> {
    /// `recursive` or `authoritative`.
    pub(crate) profile: &'a str,
    /// Address and tier of each upstream.
    pub(crate) upstreams: Vec<(SocketAddr, u8)>,
    /// What the health checks ask for: a question that the upstreams answer.
    pub(crate) health: &'a str,
    /// Further lines of `[pool.default]`.
    pub(crate) pool: &'a str,
    /// `watch` of gateway.toml.
    pub(crate) watch: bool,
    /// Further arguments of `weir run`.
    pub(crate) arguments: &'a [&'a str],
    /// Further sections of gateway.toml.
    pub(crate) gateway: &'a str,
    /// Other files of the directory, by path.
    pub(crate) files: Vec<(&'a str, String)>,
}

impl<'a> Setup<'a> {
    /// One upstream, no limits: tests that are not about limits ask more than a source may.
    pub(crate) fn before(profile: &'a str, upstream: SocketAddr, health: &'a str) -> Self {
        let limits =
            "[source]\nmode = \"off\"\n[rrl]\nmode = \"off\"\n[overload]\nmode = \"off\"\n[tcp]\nrate = 100000\n"
                .to_owned();
        Self {
            profile,
            upstreams: vec![(upstream, 0)],
            health,
            pool: "",
            watch: false,
            arguments: &[],
            gateway: "",
            files: vec![("limits.toml", limits)],
        }
    }

    /// Adds or replaces a file of the directory.
    pub(crate) fn with(mut self, name: &'a str, text: &str) -> Self {
        self.files.retain(|(other, _)| *other != name);
        self.files.push((name, text.to_owned()));
        self
    }

    /// Another upstream of the default pool.
    pub(crate) fn and_upstream(mut self, address: SocketAddr, tier: u8) -> Self {
        self.upstreams.push((address, tier));
        self
    }

    /// Adds lines to `[pool.default]`.
    pub(crate) fn with_pool(mut self, text: &'a str) -> Self {
        self.pool = text;
        self
    }

    /// Adds sections to gateway.toml.
    pub(crate) fn with_gateway(mut self, text: &'a str) -> Self {
        self.gateway = text;
        self
    }
}

/// A running gateway. Ended by [`Weir::stop`], which insists on a clean exit; when a test fails it is killed.
pub(crate) struct Weir {
    /// UDP and TCP over IPv4.
    pub(crate) address: SocketAddr,
    /// UDP and TCP over IPv6.
    pub(crate) address6: SocketAddr,
    /// Where Prometheus looks.
    pub(crate) metrics: SocketAddr,
    /// The policy directory.
    pub(crate) directory: PathBuf,
    socket: PathBuf,
    child: Option<Child>,
    log: PathBuf,
}

impl Weir {
    /// Writes the policy directory, starts `weir run` and waits until it answers.
    pub(crate) fn start(scratch: &Scratch, setup: &Setup<'_>) -> Self {
        let port = free_port();
        let mut weir = Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            address6: SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
            metrics: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())),
            directory: scratch.directory(&format!("policy-{port}")),
            socket: scratch.path(&format!("{port}.sock")),
            child: None,
            log: scratch.path(&format!("weir-{port}.log")),
        };
        weir.write("gateway.toml", &weir.gateway_toml(setup));
        for (name, text) in &setup.files {
            weir.write(name, text);
        }
        // Servers of other tests ask from ports of chance, which may be the one that was free a moment ago.
        for _ in 0..STARTS_MAX {
            let child = weir.run(scratch, setup.arguments);
            weir.child = Some(child);
            if weir.is_ready() {
                return weir;
            }
        }
        panic!("something keeps the port of the gateway:\n{}", weir.log());
    }

    fn run(&self, scratch: &Scratch, arguments: &[&str]) -> Child {
        let out = File::create(&self.log).expect("a log file can be made");
        let err = out.try_clone().expect("a file can be shared");
        Command::new(env!("CARGO_BIN_EXE_weir"))
            .arg("run")
            .arg(&self.directory)
            .args(arguments)
            .env("STATE_DIRECTORY", scratch.path(&format!("state-{}", self.address.port())))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .expect("the gateway is built")
    }

    fn gateway_toml(&self, setup: &Setup<'_>) -> String {
        let mut text = format!(
            "schema = 1\nprofile = \"{}\"\nlisten = [\"{}\", \"{}\"]\nworkers = 2\nwatch = {}\n\
             [control]\nsocket = \"{}\"\n[metrics]\nlisten = \"{}\"\n[log]\nqueries = \"none\"\n\
             [pool.default]\nhealth = {{ interval = \"1s\", query = \"{}\", fall = 2, rise = 1 }}\n{}\n",
            setup.profile,
            self.address,
            self.address6,
            setup.watch,
            self.socket.display(),
            self.metrics,
            setup.health,
            setup.pool
        );
        for (number, (address, tier)) in setup.upstreams.iter().enumerate() {
            let _ = write!(text, "[[upstream]]\nname = \"u{number}\"\naddress = \"{address}\"\ntier = {tier}\n");
        }
        text + setup.gateway
    }

    /// Waits for the control socket, the metrics page and any answer over UDP: also a refusal shows that it serves. `false`
    /// when its port was taken meanwhile.
    fn is_ready(&mut self) -> bool {
        let end = Instant::now() + PATIENCE;
        loop {
            let beside = self.socket.exists() && TcpStream::connect(self.metrics).is_ok();
            if beside && ask::answers(self.address, "ready.invalid", RecordType::A) {
                return true;
            }
            let child = self.child.as_mut().expect("it was started");
            if let Some(status) = child.try_wait().expect("a child can be asked") {
                if self.log().contains("address in use") {
                    return false;
                }
                panic!("weir run ended with {status}:\n{}", self.log());
            }
            assert!(Instant::now() < end, "the gateway does not answer:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Writes a file of the policy directory; nothing changes until a reload.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.directory.join(name);
        fs::create_dir_all(path.parent().expect("below the directory")).expect("directories can be made");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if name.ends_with(".secrets") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
        }
    }

    /// Ends it, and starts it again with the same directory and state.
    pub(crate) fn restart(mut self, scratch: &Scratch) -> Self {
        self.signal("TERM");
        self.wait_end();
        self.child = Some(self.run(scratch, &[]));
        assert!(self.is_ready(), "its port was taken:\n{}", self.log());
        self
    }

    /// `weir reload`.
    pub(crate) fn reload(&self) -> Output {
        self.command(&["reload"])
    }

    /// Any command that speaks to this gateway.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(arguments).arg("--socket").arg(&self.socket).output().expect("the gateway is built")
    }

    /// Sends a signal by name, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.as_ref().expect("it runs"), name);
    }

    /// What it wrote so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGTERM; fails unless it ends with exit code 0, and in time.
    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        self.wait_end();
    }

    /// Waits for the end of a gateway that was told to stop.
    pub(crate) fn wait_end(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let status = wait_exit(&mut child, PATIENCE);
        if status.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = self.log();
        assert!(status.is_some(), "the gateway does not end:\n{log}");
        assert!(status.is_some_and(|status| status.success()), "the gateway ended with {status:?}:\n{log}");
    }

    /// The sum of all samples of a metric whose labels contain `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = self.scrape();
        let samples = text.lines().filter(|line| line.starts_with(name) && line.contains(labels));
        let matching = samples.filter(|line| matches!(line.as_bytes().get(name.len()), Some(b'{' | b' ')));
        matching.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The metrics page.
    pub(crate) fn scrape(&self) -> String {
        use std::io::{Read, Write};
        let mut stream = TcpStream::connect(self.metrics).expect("the metrics page is there");
        stream.set_read_timeout(Some(ask::TIMEOUT)).expect("a timeout above zero");
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.metrics);
        stream.write_all(request.as_bytes()).expect("the page takes a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the page is text");
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        text
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- weir\n{}", self.log());
        }
    }
}

/// A command without a gateway: `weir check DIR` and the like.
pub(crate) fn command(arguments: &[&str], directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(arguments)
        .arg(directory)
        .stdin(Stdio::null())
        .output()
        .expect("the gateway is built")
}
