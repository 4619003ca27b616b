//! What every test stands on: a scratch directory, ports that nobody else has, programs and child processes that end
//! with the test.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take until it answers, and a gateway until it has drained.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A directory of one test; it goes away with the test, unless the test failed: then its logs are worth reading.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(test: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("weir-{}-{}-{test}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("scratch directory {}: {error}", path.display()));
        // The control socket wants a directory that nobody else can write to.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("the directory is ours");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file, and the directories above it.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below the scratch directory")).expect("directories can be made");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("directories can be made");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("logs and files of this test are in {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// A port that is free for UDP and TCP on 127.0.0.1 and ::1. Taken below the range from which the kernel serves
/// clients, each once per process, so that neither a query's source port nor another test takes it meanwhile.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id().wrapping_mul(97) % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let port = FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let free = |ip: IpAddr| UdpSocket::bind((ip, port)).is_ok() && TcpListener::bind((ip, port)).is_ok();
        if free(Ipv4Addr::LOCALHOST.into()) && free(Ipv6Addr::LOCALHOST.into()) {
            return port;
        }
    }
    panic!("no port from {FIRST} on is free");
}

/// 127.0.0.1 with a free port.
pub(crate) fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

/// Where a program is; fails by the name of the Debian package that has it.
pub(crate) fn program(name: &str) -> PathBuf {
    let package = match name {
        "unbound" => "unbound",
        "nsd" => "nsd",
        "knotd" => "knot",
        "named" => "bind9",
        "dnsperf" => "dnsperf",
        "tcpdump" => "tcpdump",
        "kdig" => "knot-dnsutils",
        "dig" | "nsupdate" => "bind9-dnsutils",
        "python3" => "python3-dnspython",
        other => panic!("{other}: the package of this program is not listed in harness.rs"),
    };
    // Debian's own python3 is the one that sees Debian's python3-dnspython.
    let path = if name == "python3" { "/usr/bin".to_owned() } else { std::env::var("PATH").unwrap_or_default() };
    find(name, &format!("{path}:/usr/sbin:/sbin:/usr/bin"), package)
}

fn find(name: &str, path: &str, package: &str) -> PathBuf {
    let mut places = path.split(':').map(|place| Path::new(place).join(name));
    places.find(|place| place.is_file()).unwrap_or_else(|| panic!("{name} is not installed: apt-get install {package}"))
}

#[test]
#[should_panic(expected = "unbound is not installed: apt-get install unbound")]
fn a_missing_program_fails_by_the_name_of_its_package() {
    find("unbound", env!("CARGO_MANIFEST_DIR"), "unbound");
}

/// A server in the foreground, ended with the test.
pub(crate) struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a program of Debian's in the foreground.
    pub(crate) fn start(scratch: &Scratch, name: &'static str, arguments: &[&str]) -> Self {
        let mut binary = program(name);
        // Debian's AppArmor profiles, which go by path, keep these two away from files anywhere but their own: so run
        // a copy. Made by cp, for a file that this process writes may be held open by a child forked meanwhile, and
        // could not be run then.
        if matches!(name, "named" | "unbound") {
            let copy = scratch.path(&format!("{name}-{}", free_port()));
            let status = Command::new("cp").arg(&binary).arg(&copy).status().expect("every system has cp");
            assert!(status.success(), "copying {name}: {status}");
            binary = copy;
        }
        let log = scratch.path(&format!("{name}-{}.log", free_port()));
        let out = File::create(&log).expect("a log file can be made");
        let err = out.try_clone().expect("a file can be shared");
        let child = Command::new(&binary)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|error| panic!("starting {name}: {error}"));
        Self { name, child, log }
    }

    /// Waits until `ready` holds; fails with the log when the process ends before or takes too long.
    pub(crate) fn wait(mut self, mut ready: impl FnMut() -> bool) -> Self {
        let end = Instant::now() + PATIENCE;
        while !ready() {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                panic!("{} ended with {status}:\n{}", self.name, self.log());
            }
            assert!(Instant::now() < end, "{} does not answer:\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        self
    }

    /// What the server wrote.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it at once.
    pub(crate) fn stop(mut self) {
        self.kill();
    }

    /// Tells it to reload (SIGHUP).
    pub(crate) fn hang_up(&self) {
        signal(&self.child, "HUP");
    }

    fn kill(&mut self) {
        // SIGTERM first: NSD has children that it ends itself.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            signal(&self.child, "TERM");
            wait_exit(&mut self.child, Duration::from_secs(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.name, self.log());
        }
    }
}

/// Sends a signal by name, such as `HUP`, to a child of ours that has not been waited for.
pub(crate) fn signal(child: &Child, name: &str) {
    let kill = format!("kill -s {name} {}", child.id());
    let status = Command::new("sh").args(["-c", &kill]).status().expect("every system has a shell");
    assert!(status.success(), "{kill}: {status}");
}

/// Waits for a child; `None` when it takes longer than `limit`.
pub(crate) fn wait_exit(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be asked") {
            return Some(status);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until something holds, looking every 50 ms; says whether it did.
pub(crate) fn eventually(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
