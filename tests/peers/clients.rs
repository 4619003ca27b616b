//! dig, kdig, dnspython and dnsperf, as a person would call them.

use super::harness::program;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

/// Runs a program to its end.
pub(crate) fn run(name: &str, arguments: &[&str]) -> Output {
    Command::new(program(name)).args(arguments).output().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What dig or kdig printed.
#[derive(Debug)]
pub(crate) struct Printed(pub(crate) String);

impl Printed {
    /// `NOERROR`, `NXDOMAIN`, ...; empty when nothing answered.
    pub(crate) fn status(&self) -> &str {
        self.after("status: ").map_or("", |rest| rest.split([',', ';', ' ', '\n']).next().unwrap_or_default())
    }

    /// Whether the header has a flag, such as `tc`. kdig writes them as dig does.
    pub(crate) fn has_flag(&self, flag: &str) -> bool {
        let flags = self.after("lags: ").map_or("", |rest| rest.split(';').next().unwrap_or_default());
        flags.split_whitespace().any(|found| found == flag)
    }

    /// The records of one section (`ANSWER`, `AUTHORITY`, `ADDITIONAL`), fields apart by one space.
    pub(crate) fn section(&self, name: &str) -> Vec<String> {
        let heads = [format!(";; {name} SECTION"), format!(";; {name} RECORDS")];
        let lines = self.0.lines().skip_while(|line| !heads.iter().any(|head| line.starts_with(head))).skip(1);
        let records = lines.take_while(|line| !line.is_empty() && !line.starts_with(";;"));
        records.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    /// The records of the answer section.
    pub(crate) fn answer(&self) -> Vec<String> {
        self.section("ANSWER")
    }

    /// The data of the answers, sorted: everything after owner, TTL, class and type.
    pub(crate) fn data(&self) -> Vec<String> {
        let data = |record: &String| record.splitn(5, ' ').nth(4).unwrap_or_default().to_owned();
        let mut all: Vec<String> = self.answer().iter().map(data).collect();
        all.sort();
        all
    }

    /// The TTL of the first answer, or of the first authority record when there is no answer.
    pub(crate) fn ttl(&self) -> u32 {
        let records = [self.answer(), self.section("AUTHORITY")].concat();
        let field = records.first().and_then(|record| record.split(' ').nth(1));
        field.and_then(|ttl| ttl.parse().ok()).unwrap_or_else(|| panic!("no TTL in\n{}", self.0))
    }

    /// Whether an EDE option (RFC 8914) of this code came.
    pub(crate) fn has_ede(&self, code: u16) -> bool {
        self.0.lines().any(|line| {
            let code_of = |rest: &str| rest.trim().split([' ', '(']).next().and_then(|code| code.parse::<u16>().ok());
            line.split_once("EDE: ").and_then(|(_, rest)| code_of(rest)) == Some(code)
        })
    }

    fn after(&self, mark: &str) -> Option<&str> {
        self.0.split_once(mark).map(|(_, rest)| rest)
    }
}

fn digger(name: &str, at: SocketAddr, arguments: &[&str]) -> Printed {
    let (server, port) = (format!("@{}", at.ip()), at.port().to_string());
    let tries = if name == "dig" { "+tries=1" } else { "+retry=0" };
    let output = run(name, &[&[server.as_str(), "-p", port.as_str(), "+time=5", tries], arguments].concat());
    Printed(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// dig, one try of five seconds; TC is not followed unless a test says `+noignore`.
pub(crate) fn dig(at: SocketAddr, arguments: &[&str]) -> Printed {
    digger("dig", at, &[&["+ignore", "+nocookie"], arguments].concat())
}

/// kdig, one try of five seconds.
pub(crate) fn kdig(at: SocketAddr, arguments: &[&str]) -> Printed {
    digger("kdig", at, arguments)
}

/// Runs one of the dnspython scripts beside this file; fails with what it printed. Its standard output comes back.
pub(crate) fn python(script: &str, arguments: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(script);
    let output = run("python3", &[&["-B", path.to_str().expect("a path in UTF-8")], arguments].concat());
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!err.contains("No module named 'dns"), "dnspython is not installed: apt-get install python3-dnspython");
    assert!(output.status.success(), "{script} {arguments:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}
