//! Where a policy comes from: a directory that was named or found, or what stands in for one. Decided once, at the
//! start; every reload goes back to the same place.

use super::example;
use super::history::replace::MARKER;
use crate::clock::Clock;
use crate::language::{Text, Told, text};
use crate::policy::document::{Code, Faults, Files, Place, Report};
use crate::policy::server::Surroundings;
use crate::policy::{self, Policy};
use std::path::{Path, PathBuf};

/// Where the system's resolver settings are, unless another file is named.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The directory that is used when none is named and it exists.
pub const DIRECTORY: &str = "policies";

/// What is said of a directory with a marker in it.
fn report_half_replaced(faults: &Faults) {
    let message =
        text!("the files are being replaced by an apply or a rollback, or that broke off: they may be of two policies");
    let hint = text!("`weir run DIR` makes them whole again; without a gateway `weir rollback --state DIR` does");
    faults.add(Code::HalfReplaced, &Place::whole(MARKER), message, hint);
}

/// Where a policy comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A directory; when it is missing or broken, that is an error and never a reason to take anything else.
    Directory(PathBuf),
    /// The example that is compiled in.
    Example,
    /// No files at all: loopback, and the nameservers of resolv.conf.
    Defaults,
}

impl Origin {
    /// The directory that was named, else `./policies` if anything has that name, else what stands in for it.
    pub fn find(named: Option<&Path>, lab: bool) -> Self {
        match named {
            Some(directory) => Self::Directory(directory.to_path_buf()),
            None if Path::new(DIRECTORY).symlink_metadata().is_ok() => Self::Directory(DIRECTORY.into()),
            None if lab => Self::Example,
            None => Self::Defaults,
        }
    }

    /// The directory that can be watched, if it is one.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(directory) => Some(directory),
            Self::Example | Self::Defaults => None,
        }
    }
}

impl Told for Origin {
    fn text(&self) -> Text {
        match self {
            Self::Directory(directory) => Text::verbatim(directory.display().to_string()),
            Self::Example => text!("the built-in example"),
            Self::Defaults => text!("the built-in defaults"),
        }
    }
}

impl Origin {
    /// Reads the files without compiling them; with what is wrong so far.
    ///
    /// # Errors
    /// The report of a directory that cannot be read at all.
    pub fn read(&self) -> Result<(Files, Faults), Report> {
        match self {
            Self::Directory(directory) => {
                let (files, faults) = policy::load::read_directory(directory)?;
                if directory.join(MARKER).exists() {
                    report_half_replaced(&faults);
                }
                Ok((files, faults))
            }
            Self::Example => Ok((example::files(), Faults::default())),
            Self::Defaults => Ok((policy::load::default_files(), Faults::default())),
        }
    }

    /// Loads and compiles the policy.
    ///
    /// # Errors
    /// The report of all its faults.
    pub fn load(&self, options: &policy::Options) -> Result<(Policy, Report), Report> {
        let (files, faults) = self.read()?;
        policy::load::compile(&files, options, faults)
    }
}

/// What a load needs besides the files: looked up anew each time, because nameservers change. `seed` is of the process.
pub fn load_options(resolv_conf: &Path, seed: u64) -> policy::Options {
    let unix_ms = Clock::start().now().unix_ms;
    policy::Options { surroundings: Surroundings::look(resolv_conf), seed, unix_ms, ..policy::Options::default() }
}

/// Whether a directory that is to be loaded is there at all: said before anything else, because nothing ever stands in
/// for it.
///
/// # Errors
/// The message for the user.
pub fn require_directory(directory: &Path) -> Result<(), Text> {
    let name = directory.display();
    match std::fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => {
            Err(text!("policy directory {name}: is a file, not a directory\n  name the directory that holds it", name))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(text!(
            "policy directory {name}: there is no such directory\n  name another, or make it with a gateway.toml that \
             has at least an [[upstream]]; it is never replaced by defaults",
            name
        )),
        Err(error) => Err(text!("policy directory {name}: cannot be read: {error}", name, error = Text::of_io(&error))),
    }
}
