//! A policy directory to the policy that runs: all of it or nothing, and every fault of it in one report.

use super::access::Access;
use super::clients::Groups;
use super::cookies;
use super::document::toml_file::{TomlFile, TomlText};
use super::document::{Code, Context, Faults, Files, Place, Report, Table};
use super::limits::Limits;
use super::server::{Server, Surroundings};
use super::{Policy, PolicyId, expect, filter, modes};
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
    /// The filter that runs, made with the same seed: lists that it has already are not read again.
    pub running: Option<filter::Filter>,
}

impl Options {
    /// Those of this machine, with a seed of this process.
    pub fn of_this_machine() -> Self {
        let seed = RandomState::new().build_hasher().finish();
        Self { surroundings: Surroundings::look(Path::new("/etc/resolv.conf")), seed, running: None }
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
    let faults = Faults::default();
    match Files::read(dir, &faults) {
        Ok(mut files) => {
            leave_out_strangers(&mut files, &faults);
            Ok((files, faults))
        }
        Err(error) => {
            let message = format!("cannot read the policy directory {}: {error}", dir.display());
            let hint = "name a directory that holds gateway.toml";
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
        let message = "there is no gateway.toml in the policy directory";
        let hint = "it is the one file that is needed; \"schema = 1\" is enough to begin with";
        faults.add(Code::MissingFile, &Place::whole("gateway.toml"), message, hint);
    }
    let [gateway, clients, access, limits] =
        [&gateway, &clients, &access, &limits].map(|text| text.as_ref().map(|text| TomlFile::parse(text, faults)));
    let server = Server::read(&root(gateway.as_ref(), faults), &options.surroundings);
    let groups = Groups::read(&root(clients.as_ref(), faults));
    let access = Access::read(&root(access.as_ref(), faults), &groups);
    let context = Context { server: &server, groups: &groups, files, faults };
    let Limits { source, rrl, cookies, storm, tcp, overload } = Limits::read(&root(limits.as_ref(), faults), &context);
    let filter = filter::read(&context, options.seed, options.running.as_ref());
    let modes = modes::read(&context, limits.as_ref(), (source.memory, rrl.memory, storm.zones)).into();
    let expectations = expect::read(files, faults);
    let (id, server, groups, access) = (PolicyId::of(files), Arc::new(server), Arc::new(groups), Arc::new(access));
    let policy = Policy { id, server, groups, access, source, rrl, cookies, storm, tcp, overload, filter, modes };
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
            Some(near) => format!("did you mean {near:?}?"),
            None => "policies are gateway.toml, clients.toml, access.toml, limits.toml, filters/*.toml, lists/*, \
                     modes/*.toml, tests/*.toml and *.secrets"
                .to_owned(),
        };
        faults.add(
            Code::UnknownFile,
            &Place::whole(&path),
            format!("{path} is not a policy file, and is not read"),
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
    TOP.contains(&path) || is_secrets(path) || DIRECTORIES.iter().any(in_directory)
}

/// Whether a path is a file of secrets: of the machine, never kept beside the policy and never shown.
pub fn is_secrets(path: &str) -> bool {
    path.ends_with(cookies::ENDING) && !path.contains('/')
}

#[cfg(test)]
mod tests;
