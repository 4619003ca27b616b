//! The files of a policy directory are replaced by those of another policy, so that a crash at any point is undone or
//! completed by the next start.
//!
//! File by file and not the directory as a whole: it may be a mount, its parent may belong to somebody else, and it may hold
//! what is not of the policy (READMEs, version control), which stays. [`begin`] writes the marker, [`put`] replaces, [`end`]
//! takes the marker away; [`settle`] does the rest of it when somebody finds a marker.

use super::History;
use crate::control::whole_file;
use crate::language::{Text, list, text};
use crate::policy::PolicyId;
use crate::policy::document::{Contents, Faults, Files, files};
use crate::policy::load::{belongs, is_secrets, read_directory};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// The marker in the policy directory; hidden names are no part of a policy.
pub const MARKER: &str = ".weir-replacing";

/// A file that is not whole yet.
const FRESH: &str = ".weir-fresh";

/// The most files that a message names.
const NAMED_MAX: usize = 3;

/// What the marker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// What the directory is to become.
    pub settle_on: PolicyId,
    /// The state directory whose history has it.
    pub state: PathBuf,
}

/// Whether the files of a directory are being replaced.
///
/// # Errors
/// The message for the user: the marker cannot be read.
pub fn marker(dir: &Path) -> Result<Option<Marker>, Text> {
    let path = dir.join(MARKER);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(text!("{path}: {error}", path = path.display(), error = Text::of_io(&error))),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| text!("{path}: {error}", path = path.display(), error = Text::of_json(&error)))
}

/// Writes the marker.
///
/// # Errors
/// What the system said: the directory cannot be written to, most likely. Nothing has changed then.
pub fn begin(dir: &Path, marker: &Marker) -> io::Result<()> {
    whole_file::write(&dir.join(MARKER), &serde_json::to_vec_pretty(marker)?)
}

/// Takes the marker away: the directory is whole.
///
/// # Errors
/// What the system said.
pub fn end(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(MARKER)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => whole_file::sync_directory(dir),
    }
}

/// Makes a directory that has a marker what the marker names; returns that, or `None` when there is no marker.
///
/// # Errors
/// The message for the user; the marker stays.
pub fn settle(dir: &Path, history: Option<&History>) -> Result<Option<PolicyId>, Text> {
    let Some(Marker { settle_on, state }) = marker(dir)? else { return Ok(None) };
    let half = |cause: Text| {
        text!(
            "the files of {dir} were being replaced when it broke off: {cause}\n  run with `--state {state}`, which keeps policy \
             {settle_on}; or put the directory in order yourself and remove {marker} from it",
            dir = dir.display(),
            cause,
            state = state.display(),
            settle_on,
            marker = MARKER
        )
    };
    let history = history.ok_or_else(|| half(text!("the history that can mend it is not open")))?;
    let kept = history.load(settle_on).map_err(half)?;
    put(dir, &kept.files).and_then(|_| end(dir)).map_err(|error| half(Text::of_io(&error)))?;
    Ok(Some(settle_on))
}

/// The files of a policy that lie in `dir`, before [`put`] replaces them: all of them, so that they can be set aside.
///
/// # Errors
/// The message for the user: some were not read, because there are more than a policy may have or one may not be read, and
/// nothing would bring them back.
pub fn lying(dir: &Path) -> Result<Files, Text> {
    let untouched = |cause: Text| text!("{cause}\n  nothing has changed", cause);
    let (files, faults) = read_directory(dir)
        .map_err(|report| untouched(Text::joined("; ", report.faults.iter().map(|fault| fault.text().clone()))))?;
    let cannot_list = |error| untouched(text!("{path}: {error}", path = dir.display(), error = Text::of_io(&error)));
    let mut lost = files::paths(dir).map_err(cannot_list)?;
    lost.retain(|path| belongs(path) && !is_secrets(path) && files.contents(path).is_none());
    if lost.is_empty() {
        return Ok(files);
    }
    let is_of =
        |place: &str, path: &str| path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let (faults, _) = faults.into_parts();
    let fault = faults.into_iter().find(|fault| lost.iter().any(|path| is_of(&fault.place.file, path)));
    let cause = fault.map_or_else(|| text!("it has just come"), |fault| fault.message);
    let named = Text::verbatim(list(lost.iter().take(NAMED_MAX).map(String::as_str)));
    let paths = match lost.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => text!("{named} and {more} more", named, more),
    };
    Err(text!(
        "the files of {dir} are not replaced: {paths} cannot be set aside first and would be lost: {cause}\n  nothing has \
         changed; move them out of {dir}, then do it again",
        dir = dir.display(),
        paths,
        cause
    ))
}

/// Makes the files of `dir` those of `files`, secrets apart; says how many were written or removed. Permissions and owners
/// stay; new files get those of gateway.toml, new directories those of `dir`. What is equal is not touched; a link to what
/// is not equal becomes a file.
///
/// # Errors
/// What the system said, and about what; some files may have been replaced then.
pub fn put(dir: &Path, files: &Files) -> io::Result<usize> {
    let dir = dir.canonicalize()?;
    let mut touched: BTreeSet<PathBuf> = BTreeSet::new();
    let mut changed = 0;
    for (path, contents) in files.iter().filter(|(path, _)| !is_secrets(path)) {
        let target = dir.join(&**path);
        if lies_there(&target, contents) {
            continue;
        }
        let within = target.parent().unwrap_or(&dir);
        make_directories(&dir, within)?;
        write(&dir, within, &target, contents).map_err(|error| about(path, &error))?;
        touched.insert(within.to_path_buf());
        changed += 1;
    }
    for path in files::paths(&dir)? {
        if belongs(&path) && !is_secrets(&path) && files.contents(&path).is_none() {
            let target = dir.join(&path);
            fs::remove_file(&target).map_err(|error| about(&path, &error))?;
            touched.insert(target.parent().unwrap_or(&dir).to_path_buf());
            changed += 1;
        }
    }
    // What a crash left is not of the policy; it goes where this comes by.
    for within in [dir.clone(), dir.join("filters"), dir.join("lists"), dir.join("modes"), dir.join("tests")] {
        let _ = fs::remove_file(within.join(FRESH));
        let _ = fs::remove_file(within.join(format!(".{MARKER}.fresh")));
    }
    touched.iter().try_for_each(|within| whole_file::sync_directory(within))?;
    Ok(changed)
}

/// Puts the secrets that lie in `dir` in the place of those of `files`.
pub fn keep_secrets(files: &mut Files, dir: &Path) {
    // What is wrong with them is said when they are compiled, or is no matter of theirs.
    let own = Files::read_those(dir, &Faults::default(), is_secrets).unwrap_or_default();
    files.take_over(&own, is_secrets);
}

fn about(path: &str, error: &io::Error) -> io::Error {
    text!("{path}: {error}", path, error = Text::of_io(error)).into_io(error.kind())
}

/// Makes what is missing of `within`, below `dir`.
fn make_directories(dir: &Path, within: &Path) -> io::Result<()> {
    if within.exists() {
        return Ok(());
    }
    let above = within.parent().filter(|above| above.starts_with(dir)).unwrap_or(dir);
    make_directories(dir, above)?;
    let like = fs::metadata(dir)?;
    DirBuilder::new().mode(0o700).create(within)?;
    give_directory(within, &like)?;
    whole_file::sync_directory(above)
}

/// Whether a file has these contents already.
fn lies_there(target: &Path, contents: &Contents) -> bool {
    let Ok(file) = File::open(target) else { return false };
    let is_as_long = file.metadata().is_ok_and(|metadata| metadata.len() == contents.len());
    is_as_long && Contents::on_disk(file, contents.len()).is_ok_and(|found| found.as_ref() == Some(contents))
}

fn write(dir: &Path, within: &Path, target: &Path, contents: &Contents) -> io::Result<()> {
    let like = fs::metadata(target).or_else(|_| fs::metadata(dir.join("gateway.toml")));
    let fresh = within.join(FRESH);
    let mut file = whole_file::make(&fresh)?;
    contents.read_through(|piece| file.write_all(piece))?;
    if let Ok(like) = like {
        give(&file, &like)?;
    }
    file.sync_all()?;
    fs::rename(&fresh, target)
}

/// As [`give`], for a directory that was just made.
fn give_directory(path: &Path, like: &Metadata) -> io::Result<()> {
    let only_itself = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    give(&OpenOptions::new().read(true).custom_flags(only_itself).open(path)?, like)
}

/// Gives a file of ours the owner and the permissions of another. It is open: by its path somebody who may write to the
/// directory could lead us to another one.
fn give(file: &File, like: &Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        fchown(file, Some(like.uid()), Some(like.gid())).map_err(|error| {
            let message = text!(
                "it belongs to user {uid}, which the gateway cannot keep: {error}",
                uid = like.uid(),
                error = Text::of_io(&error)
            );
            message.into_io(error.kind())
        })?;
    }
    file.set_permissions(Permissions::from_mode(like.permissions().mode() & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_that_is_planted_meanwhile_changes_nothing_else() {
        let place = std::env::temp_dir().join(format!("weir-give-{}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir(&place).unwrap();
        let [theirs, like, fresh] = ["theirs", "like", FRESH].map(|name| place.join(name));
        for (path, mode) in [(&theirs, 0o600), (&like, 0o640)] {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        let mode = |metadata: Metadata| metadata.permissions().mode() & 0o777;
        let file = whole_file::make(&fresh).unwrap();
        fs::remove_file(&fresh).unwrap();
        symlink(&theirs, &fresh).unwrap();
        give(&file, &fs::metadata(&like).unwrap()).unwrap();
        assert_eq!((mode(fs::metadata(&theirs).unwrap()), mode(file.metadata().unwrap())), (0o600, 0o640));
        // Nor in the place of a directory that was just made.
        let refused = give_directory(&fresh, &fs::metadata(&like).unwrap()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotADirectory);
        fs::remove_file(&fresh).unwrap();
        fs::create_dir(place.join("else")).unwrap();
        fs::set_permissions(place.join("else"), Permissions::from_mode(0o700)).unwrap();
        symlink(place.join("else"), &fresh).unwrap();
        assert!(give_directory(&fresh, &fs::metadata(&like).unwrap()).is_err());
        assert_eq!(mode(fs::metadata(place.join("else")).unwrap()), 0o700);
        fs::remove_dir_all(&place).unwrap();
    }
}
