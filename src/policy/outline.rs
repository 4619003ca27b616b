//! What a policy was written as, kept with it in outline: rule files whole, lists by their sizes and marks. So that a policy
//! that runs can be compared with one that is to come, without its lists being held in memory a second time.

use super::document::{Contents, Files};
use super::load::is_secrets;
use std::collections::BTreeMap;
use std::sync::Arc;

/// See above.
#[derive(Clone, Debug, Default)]
pub struct Outline {
    texts: BTreeMap<Arc<str>, String>,
    bulk: BTreeMap<Arc<str>, Bulk>,
}

/// A file that is not kept: a list, a response policy zone, secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// Names of a list that a rule names; of any other file its lines.
    pub entries: usize,
    /// Of two files with the same mark one takes for granted that they are alike.
    pub mark: u64,
}

impl Outline {
    /// The outline of a directory; `sizes` are the names that its lists were read to have.
    pub fn of(files: &Files, sizes: &BTreeMap<String, usize>) -> Self {
        let mut outline = Self::default();
        for (path, contents) in files.iter() {
            if let (true, Some(bytes)) = (path.ends_with(".toml"), contents.in_memory()) {
                outline.texts.insert(Arc::clone(path), String::from_utf8_lossy(bytes).into_owned());
                continue;
            }
            let entries = sizes.get(&**path).copied().unwrap_or_else(|| lines(contents));
            let mark = contents.sha256().first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
            outline.bulk.insert(Arc::clone(path), Bulk { entries, mark });
        }
        outline
    }

    /// The rule files by their paths, as they were written.
    pub fn texts(&self) -> &BTreeMap<Arc<str>, String> {
        &self.texts
    }

    /// The lists and zones by their paths.
    pub fn lists(&self) -> impl Iterator<Item = (&str, Bulk)> {
        self.bulk.iter().filter(|(path, _)| !is_secrets(path)).map(|(path, bulk)| (&**path, *bulk))
    }

    /// A list or zone.
    pub fn list(&self, path: &str) -> Option<Bulk> {
        self.bulk.get(path).copied()
    }

    /// Files of secrets; nothing of them is shown but that they differ.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, u64)> {
        self.bulk.iter().filter(|(path, _)| is_secrets(path)).map(|(path, bulk)| (&**path, bulk.mark))
    }
}

/// Lines, whatever is in them: a few milliseconds for a million. Of what cannot be read any more, as far as it goes.
fn lines(contents: &Contents) -> usize {
    let (mut ends, mut last) = (0, b'\n');
    let _ = contents.read_through(|piece| {
        ends += piece.iter().filter(|byte| **byte == b'\n').count();
        last = piece.last().copied().unwrap_or(last);
        Ok(())
    });
    ends + usize::from(last != b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_files_are_kept_and_lists_are_measured() {
        let files: Files = [
            ("gateway.toml", &b"schema = 1\n"[..]),
            ("lists/a.txt", b"# of names\na.example\nb.example\n"),
            ("filters/20-x.rpz", b"; zone\n$TTL 30\n\na.example CNAME .\n"),
            ("cookie.secrets", b"00112233445566778899aabbccddeeff\n"),
        ]
        .into_iter()
        .collect();
        let sizes = BTreeMap::from([("lists/a.txt".to_owned(), 7)]);
        let outline = Outline::of(&files, &sizes);
        assert_eq!(outline.texts().keys().map(|path| &**path).collect::<Vec<_>>(), ["gateway.toml"]);
        let entries: Vec<_> = outline.lists().map(|(path, bulk)| (path, bulk.entries)).collect();
        assert_eq!(entries, [("filters/20-x.rpz", 4), ("lists/a.txt", 7)], "what was read counts, else lines");
        assert_eq!(outline.secrets().count(), 1);
        assert_eq!(
            outline.list("lists/a.txt").map(|bulk| bulk.mark),
            Outline::of(&files, &sizes).list("lists/a.txt").map(|bulk| bulk.mark)
        );
    }
}
