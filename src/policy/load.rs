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

/// What a load needs besides the directory.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What gateway.toml falls back to.
    pub surroundings: Surroundings,
    /// The secret of the name table's hash: random for each process, so that nobody can choose names that collide.
    pub seed: u64,
}

impl Options {
    /// Those of this machine, with a seed of this process.
    pub fn of_this_machine() -> Self {
        let seed = RandomState::new().build_hasher().finish();
        Self { surroundings: Surroundings::look(Path::new("/etc/resolv.conf")), seed }
    }
}

/// Loads a directory. The report of a policy holds warnings only.
///
/// # Errors
/// The report of everything that is wrong: nothing of the directory runs.
pub fn load(dir: &Path, options: &Options) -> Result<(Policy, Report), Report> {
    let faults = Faults::default();
    match Files::read(dir, &faults) {
        Ok(files) => compile(files, options, faults),
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
pub fn load_files(files: Files, options: &Options) -> Result<(Policy, Report), Report> {
    compile(files, options, Faults::default())
}

/// The policy of a gateway that nobody wrote one for: loopback port 1053 before the nameservers of resolv.conf.
///
/// # Errors
/// When there is no nameserver to ask.
pub fn default_policy(options: &Options) -> Result<(Policy, Report), Report> {
    load_files([("gateway.toml", "schema = 1\n")].into_iter().collect(), options)
}

fn compile(mut files: Files, options: &Options, faults: Faults) -> Result<(Policy, Report), Report> {
    leave_out_strangers(&mut files, &faults);
    let policy = read(&files, options, &faults);
    let is_refused = faults.has_errors();
    let report = Report::new(faults, &files);
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
    let Limits { source, rrl, cookies, storm, tcp } = Limits::read(&root(limits.as_ref(), faults), &context);
    let filter = filter::read(&context, options.seed);
    let modes = modes::read(&context, limits.as_ref());
    let expectations = expect::read(files, faults);
    let policy = Policy { id: id_of(files), server, groups, access, source, rrl, cookies, storm, tcp, filter, modes };
    // The verdicts of a policy that is not what was meant would only be noise.
    if !faults.has_errors() {
        expect::check(&expectations, &policy, faults);
    }
    policy
}

fn root<'d>(file: Option<&'d TomlFile<'_>>, faults: &'d Faults) -> Table<'d> {
    file.map_or_else(|| Table::absent("", faults), |file| file.root(faults))
}

fn id_of(files: &Files) -> PolicyId {
    let mut id = PolicyId::default();
    let len = id.0.len();
    id.0.copy_from_slice(&files.digest()[..len]);
    id
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

fn belongs(path: &str) -> bool {
    let in_directory = |(dir, endings): &(&str, &[&str])| {
        path.strip_prefix(dir).is_some_and(|name| {
            endings.iter().any(|ending| name.ends_with(ending)) && (*dir == "lists/" || !name.contains('/'))
        })
    };
    let is_secrets = path.ends_with(cookies::ENDING) && !path.contains('/');
    TOP.contains(&path) || is_secrets || DIRECTORIES.iter().any(in_directory)
}

#[cfg(test)]
mod tests;
