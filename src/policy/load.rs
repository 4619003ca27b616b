//! A policy directory to the policy that runs: all of it or nothing, and every fault of it in one report.

use super::access::Access;
use super::clients::Groups;
use super::cookies;
use super::document::files::POLICY_MAX;
use super::document::toml_file::{TomlFile, TomlText};
use super::document::{Code, Context, Faults, Files, Place, Report, Table};
use super::feeds::{self, Copies, Feeds};
use super::limits::Limits;
use super::outline::Outline;
use super::schedules::Schedules;
use super::server::{Server, Surroundings};
use super::{Policy, PolicyId, expect, filter, modes};
use crate::clock::Clock;
use crate::language::{Text, text};
use crate::policy::document::nearest;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::Arc;

/// What a load needs besides the directory.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What gateway.toml falls back to.
    pub surroundings: Surroundings,
    /// The secret of the name table's hash: random for each process, so that nobody can choose names that collide.
    pub seed: u64,
    /// Where the last copies of feeds are.
    pub copies: Copies,
    /// The time, for warnings about what has expired, in milliseconds since 1970-01-01 UTC; 0: not known.
    pub unix_ms: u64,
    /// The filter that runs, made with the same seed: lists that it has already are not read again.
    pub running: Option<filter::Filter>,
}

impl Options {
    /// Those of this machine, with a seed of this process.
    pub fn of_this_machine() -> Self {
        let seed = RandomState::new().build_hasher().finish();
        let unix_ms = Clock::start().now().unix_ms;
        let surroundings = Surroundings::look(Path::new("/etc/resolv.conf"));
        Self { surroundings, seed, copies: Copies::default(), unix_ms, running: None }
    }
}

/// Loads a directory. The report of a policy holds warnings only.
///
/// # Errors
/// The report of everything that is wrong: nothing of the directory runs.
pub fn load(dir: &Path, options: &Options) -> Result<(Policy, Report), Report> {
    let (files, faults) = read_directory(dir)?;
    compile(&files, options, faults)
}

/// Reads a directory without compiling it: the files that are of the policy, and what is wrong so far.
///
/// # Errors
/// The report of a directory that cannot be read at all.
pub fn read_directory(dir: &Path) -> Result<(Files, Faults), Report> {
    read_directory_up_to(dir, POLICY_MAX)
}

fn read_directory_up_to(dir: &Path, most: u64) -> Result<(Files, Faults), Report> {
    let faults = Faults::default();
    match Files::read_up_to(dir, &faults, |_| true, most) {
        Ok(mut files) => {
            leave_out_strangers(&mut files, &faults);
            Ok((files, faults))
        }
        Err(error) => {
            let (dir, error) = (dir.display(), Text::of_io(&error));
            let message = text!("cannot read the policy directory {dir}: {error}", dir, error);
            let hint = text!("name a directory that holds gateway.toml");
            faults.add(Code::Io, &Place::whole(""), message, hint);
            Err(Report::new(faults, &Files::default()))
        }
    }
}

/// Loads a directory that is in memory.
///
/// # Errors
/// As [`load`].
pub fn load_files(mut files: Files, options: &Options) -> Result<(Policy, Report), Report> {
    let faults = Faults::default();
    leave_out_strangers(&mut files, &faults);
    compile(&files, options, faults)
}

/// The policy of a gateway that nobody wrote one for: loopback port 1053 before the nameservers of resolv.conf.
///
/// # Errors
/// When there is no nameserver to ask.
pub fn default_policy(options: &Options) -> Result<(Policy, Report), Report> {
    load_files(default_files(), options)
}

/// The files of that policy.
pub fn default_files() -> Files {
    [("gateway.toml", "schema = 1\n")].into_iter().collect()
}

/// Compiles files that [`read_directory`] has read; its faults count.
///
/// # Errors
/// As [`load`].
pub fn compile(files: &Files, options: &Options, faults: Faults) -> Result<(Policy, Report), Report> {
    // What was not read any more would be told as missing.
    if files.is_cut() {
        return Err(Report::new(faults, files));
    }
    let policy = read(files, options, &faults);
    let is_refused = faults.has_errors();
    let report = Report::new(faults, files);
    if is_refused { Err(report) } else { Ok((policy, report)) }
}

/// Reads everything, whatever is wrong: the policy counts only when there were no errors.
fn read(files: &Files, options: &Options, faults: &Faults) -> Policy {
    let [gateway, clients, access, limits] =
        ["gateway.toml", "clients.toml", "access.toml", "limits.toml"].map(|path| TomlText::of(files, path, faults));
    if gateway.is_none() {
        let message = text!("there is no gateway.toml in the policy directory");
        let hint = text!("it is the one file that is needed; \"schema = 1\" is enough to begin with");
        faults.add(Code::MissingFile, &Place::whole("gateway.toml"), message, hint);
    }
    let [gateway, clients, access, limits] =
        [&gateway, &clients, &access, &limits].map(|text| text.as_ref().map(|text| TomlFile::parse(text, faults)));
    let gateway = root(gateway.as_ref(), faults);
    let (server, feeds) = (Server::read(&gateway, &options.surroundings), Feeds::read(&gateway, files));
    drop(gateway);
    let clients = root(clients.as_ref(), faults);
    let (groups, schedules) = (Groups::read(&clients), Schedules::read(&clients));
    drop(clients);
    let context = Context {
        server: &server,
        groups: &groups,
        schedules: &schedules,
        files,
        feeds: &feeds,
        copies: &options.copies,
        faults,
        unix_ms: options.unix_ms,
    };
    let access = Access::read(&root(access.as_ref(), faults), &context);
    let Limits { source, rrl, cookies, storm, tcp, overload, rebinding } =
        Limits::read(&root(limits.as_ref(), faults), &context);
    let filter = filter::read(&context, options.seed, options.running.as_ref());
    let modes = modes::read(&context, limits.as_ref(), (source.memory, rrl.memory, storm.zones)).into();
    let expectations = expect::read(files, faults);
    // What is unused because of an error is used once that is mended.
    if !faults.has_errors() {
        groups.report_unused(faults);
        schedules.report_unused(faults);
    }
    let (id, server, groups, access) = (PolicyId::of(files), Arc::new(server), Arc::new(groups), Arc::new(access));
    let outline = Arc::new(Outline::of(files, filter.lists()));
    let (copies, feeds) = (Arc::new(options.copies.in_force(&feeds)), Arc::new(feeds));
    let schedules = Arc::new(schedules);
    let policy = Policy {
        id,
        server,
        groups,
        schedules,
        access,
        source,
        rrl,
        cookies,
        storm,
        tcp,
        overload,
        rebinding,
        filter,
        feeds,
        copies,
        modes,
        outline,
    };
    // The verdicts of a policy that is not what was meant would only be noise.
    if !faults.has_errors() {
        expect::check(&expectations, &policy, faults);
    }
    policy
}

fn root<'d>(file: Option<&'d TomlFile<'_>>, faults: &'d Faults) -> Table<'d> {
    file.map_or_else(|| Table::absent("", faults), |file| file.root(faults))
}

/// The files at the top.
const TOP: [&str; 4] = ["gateway.toml", "clients.toml", "access.toml", "limits.toml"];

/// The directories with the endings of what may be in them; lists are named by rules and may end in anything.
const DIRECTORIES: [(&str, &[&str]); 4] =
    [("filters/", &[".toml", ".rpz"]), ("lists/", &[""]), ("modes/", &[".toml"]), ("tests/", &[".toml"])];

/// Files that belong to nothing are no part of the policy, nor of its id; each is a warning, because one letter less in a
/// name would be a policy that is not there.
fn leave_out_strangers(files: &mut Files, faults: &Faults) {
    let strangers: Vec<_> = files.iter().map(|(path, _)| path).filter(|path| !belongs(path)).cloned().collect();
    for path in strangers {
        let hint = match nearest(&path, TOP) {
            Some(word) => text!("did you mean {word:?}?", word),
            None => text!(
                "policies are gateway.toml, clients.toml, access.toml, limits.toml, filters/*.toml, filters/*.rpz, lists/*, modes/*.toml, \
                 tests/*.toml, *.secrets and *.pem"
            ),
        };
        faults.add(
            Code::UnknownFile,
            &Place::whole(&path),
            text!("{path} is not a policy file, and is not read", path),
            hint,
        );
        files.remove(&path);
    }
}

/// Whether a path within the directory is of the policy.
pub fn belongs(path: &str) -> bool {
    let in_directory = |(dir, endings): &(&str, &[&str])| {
        path.strip_prefix(dir).is_some_and(|name| {
            endings.iter().any(|ending| name.ends_with(ending)) && (*dir == "lists/" || !name.contains('/'))
        })
    };
    TOP.contains(&path) || is_secrets(path) || is_certificates(path) || DIRECTORIES.iter().any(in_directory)
}

/// Whether a path is a file of certificates that feeds trust.
fn is_certificates(path: &str) -> bool {
    path.ends_with(feeds::CERTIFICATES) && !path.contains('/')
}

/// Whether a path is a file of secrets: of the machine, never kept beside the policy and never shown.
pub fn is_secrets(path: &str) -> bool {
    path.ends_with(cookies::ENDING) && !path.contains('/')
}

#[cfg(test)]
mod tests;
