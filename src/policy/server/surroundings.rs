//! What the machine around the gateway supplies where gateway.toml is silent: the nameservers of resolv.conf and a place
//! for the control socket. Looked up once and handed in, so that reading a policy touches no disk.

use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The most bytes of resolv.conf that are read.
const RESOLV_CONF_MAX: u64 = 64 << 10;

/// The most nameservers that are taken from it; the system's own resolver takes three.
const NAMESERVERS_MAX: usize = 8;

/// What gateway.toml falls back to.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The nameservers of resolv.conf, port 53.
    pub nameservers: Vec<SocketAddr>,
    /// Where the nameservers come from, for messages.
    pub resolv_conf: PathBuf,
    /// The control socket; `None` when no directory for it can be had.
    pub control_socket: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this machine. `resolv_conf` is `/etc/resolv.conf` but in tests; one that cannot be read has no
    /// nameservers.
    pub fn look(resolv_conf: &Path) -> Self {
        let mut text = Vec::new();
        let read = fs::File::open(resolv_conf).and_then(|file| file.take(RESOLV_CONF_MAX).read_to_end(&mut text));
        if read.is_err() {
            text.clear();
        }
        Self {
            nameservers: nameservers(&String::from_utf8_lossy(&text)),
            resolv_conf: resolv_conf.to_owned(),
            control_socket: control_directory().map(|dir| dir.join("control.sock")),
        }
    }
}

/// The nameservers of a resolv.conf (resolv.conf(5)): the keyword at the beginning of a line, then an address; a link-local
/// one may name its interface by number.
pub fn nameservers(text: &str) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if line.starts_with([' ', '\t']) || words.next() != Some("nameserver") {
            continue;
        }
        if let Some(address) = words.next().and_then(nameserver)
            && !found.contains(&address)
            && found.len() < NAMESERVERS_MAX
        {
            found.push(address);
        }
    }
    found
}

fn nameserver(text: &str) -> Option<SocketAddr> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, 53));
    }
    let (ip, zone) = text.split_once('%')?;
    let ip: Ipv6Addr = ip.parse().ok()?;
    // /sys knows the number of a named interface.
    let index = zone.parse().ok().or_else(|| {
        let is_name = zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_@:".contains(&byte));
        let path = is_name.then(|| format!("/sys/class/net/{zone}/ifindex"))?;
        fs::read_to_string(path).ok()?.trim().parse().ok()
    })?;
    Some(SocketAddr::V6(SocketAddrV6::new(ip, 53, 0, index)))
}

/// The first directory that is ours to write: the system's, the session's, one of our own under the temporary directory.
fn control_directory() -> Option<PathBuf> {
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let mut candidates = vec![PathBuf::from("/run/weir")];
    candidates.extend(session.map(|dir| dir.join("weir")));
    let uid = fs::metadata("/proc/self").map(|metadata| metadata.uid()).ok();
    candidates.extend(uid.map(|uid| std::env::temp_dir().join(format!("weir-{uid}"))));
    candidates.into_iter().find(|dir| is_ours(dir, uid))
}

/// Whether `dir` exists or could be made, belongs to us (or we are root) and nobody else may write there: in a shared
/// temporary directory somebody may have made it before us.
fn is_ours(dir: &Path, uid: Option<u32>) -> bool {
    let made = fs::DirBuilder::new().mode(0o700).create(dir);
    if made.is_ok() {
        return true;
    }
    fs::symlink_metadata(dir).is_ok_and(|metadata| {
        metadata.is_dir() && Some(metadata.uid()) == uid && metadata.permissions().mode() & 0o022 == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameservers_are_read_as_the_system_reads_them() {
        let text = "# nameserver 192.0.2.1\nnameserver 192.0.2.2\n nameserver 192.0.2.3\nnameserver\t2001:db8::53 # a\n\
                    search example.org\nnameserver fe80::1%3\nnameserver nonsense\nnameserver 192.0.2.2\nnameserver";
        let found: Vec<_> = nameservers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.2:53", "[2001:db8::53]:53", "[fe80::1%3]:53"]);
    }

    #[test]
    fn a_resolv_conf_that_is_not_there_has_no_nameservers() {
        let path = std::env::temp_dir().join("weir-no-such-directory/resolv.conf");
        assert!(Surroundings::look(&path).nameservers.is_empty());
    }
}
