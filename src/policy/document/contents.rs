//! What is in a file: in memory, or left on the disk and read piece by piece whenever it is needed. The text of a list or a
//! policy zone of a million names beside the table that runs and the one that is to come would be the most that a gateway
//! ever takes.
//!
//! What is left on the disk is known by its SHA-256, and each reading is held against it: a file that somebody writes into
//! meanwhile is no list with half of its names. One that is replaced by another is read on as it was, since it stays open.
//! It is read and not mapped: a mapped file that is cut short kills who reads it (mmap(2), SIGBUS).

use crate::language::text;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// From this size on, in bytes, a list or a policy zone is left on the disk, and any file enters the id of a policy by its digest.
pub const LARGE: u64 = 1 << 20;

/// Bytes that are read at once. A line that is longer is read whole all the same.
const PIECE: usize = 1 << 18;

/// See above. A clone shares what is on the disk.
#[derive(Clone, Debug)]
pub struct Contents(Held);

#[derive(Clone, Debug)]
enum Held {
    Memory(Vec<u8>),
    Disk(OnDisk),
}

/// A file that was read once, to know what is in it.
#[derive(Clone, Debug)]
pub struct OnDisk {
    file: Arc<File>,
    len: u64,
    sha256: [u8; 32],
}

impl Contents {
    /// Those of a file, left where they are: reads it once. `None` when there are more than `limit` bytes.
    ///
    /// # Errors
    /// What the system said.
    pub fn on_disk(file: File, limit: u64) -> io::Result<Option<Self>> {
        let mut on_disk = OnDisk { file: Arc::new(file), len: limit.saturating_add(1), sha256: [0; 32] };
        let mut digest = Sha256::new();
        let mut buffer = vec![0; PIECE];
        let mut at = 0;
        loop {
            let read = on_disk.read_at(&mut buffer, at)?;
            digest.update(&buffer[..read]);
            at += read as u64;
            if read == 0 {
                break;
            }
        }
        if at > limit {
            return Ok(None);
        }
        (on_disk.len, on_disk.sha256) = (at, digest.finalize().into());
        Ok(Some(Self(Held::Disk(on_disk))))
    }

    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        self.source().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Them, where they are in memory.
    pub fn in_memory(&self) -> Option<&[u8]> {
        match &self.0 {
            Held::Memory(bytes) => Some(bytes),
            Held::Disk(_) => None,
        }
    }

    /// Their SHA-256; worked out anew of what is in memory.
    pub fn sha256(&self) -> [u8; 32] {
        match &self.0 {
            Held::Memory(bytes) => Sha256::digest(bytes).into(),
            Held::Disk(on_disk) => on_disk.sha256,
        }
    }

    /// Where to read them.
    pub fn source(&self) -> Source<'_> {
        match &self.0 {
            Held::Memory(bytes) => Source::Memory(bytes),
            Held::Disk(on_disk) => Source::Disk(on_disk),
        }
    }

    /// Gives them to `visit`, piece by piece in their order.
    ///
    /// # Errors
    /// As [`Pieces::next`]; what `visit` was given may not be what is in the file then.
    pub fn read_through(&self, mut visit: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut pieces = self.source().pieces();
        while let Some(piece) = pieces.next()? {
            visit(piece)?;
        }
        Ok(())
    }

    /// All of them at once: for what cannot be read in pieces.
    ///
    /// # Errors
    /// As [`Pieces::next`].
    pub fn whole(&self) -> io::Result<Cow<'_, [u8]>> {
        self.source().whole()
    }
}

impl<B: Into<Vec<u8>>> From<B> for Contents {
    fn from(bytes: B) -> Self {
        Self(Held::Memory(bytes.into()))
    }
}

impl PartialEq for Contents {
    /// Whether both are the same bytes, wherever they are.
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Held::Memory(one), Held::Memory(other)) => one == other,
            _ => self.len() == other.len() && self.sha256() == other.sha256(),
        }
    }
}

impl Eq for Contents {}

impl OnDisk {
    /// Fills what it can of `buffer` from `at` on, up to the end.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut filled = 0;
        let room = buffer.len().min(usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX));
        while filled < room {
            match self.file.read_at(&mut buffer[filled..room], at + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// Bytes that can be read from their beginning any number of times.
#[derive(Clone, Copy, Debug)]
pub enum Source<'s> {
    /// In memory.
    Memory(&'s [u8]),
    /// On the disk.
    Disk(&'s OnDisk),
}

impl<'s> Source<'s> {
    /// How many bytes there are.
    pub fn len(self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Disk(on_disk) => on_disk.len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// All of them at once: for what cannot be read in pieces.
    ///
    /// # Errors
    /// As [`Pieces::next`].
    pub fn whole(self) -> io::Result<Cow<'s, [u8]>> {
        if let Self::Memory(bytes) = self {
            return Ok(Cow::Borrowed(bytes));
        }
        let mut whole = Vec::with_capacity(self.len() as usize);
        let mut pieces = self.pieces();
        while let Some(piece) = pieces.next()? {
            whole.extend_from_slice(piece);
        }
        Ok(Cow::Owned(whole))
    }

    /// Them in pieces, each of whole lines but the last.
    pub fn pieces(self) -> Pieces<'s> {
        Pieces { source: self, buffer: Vec::new(), filled: 0, taken: 0, read: 0, digest: Sha256::new(), is_told: false }
    }
}

/// See [`Source::pieces`].
#[derive(Debug)]
pub struct Pieces<'s> {
    source: Source<'s>,
    /// What was read, `filled` of it.
    buffer: Vec<u8>,
    filled: usize,
    /// What of that, or of what is in memory, was given out.
    taken: usize,
    /// Bytes of the file so far.
    read: u64,
    digest: Sha256,
    /// The end of the file was reached: what comes next, if anything was given back, is the last.
    is_told: bool,
}

impl Pieces<'_> {
    /// The next one; `None` at the end. What is in memory is one piece.
    ///
    /// # Errors
    /// What the system said; at the end [`io::ErrorKind::InvalidData`] when it is not what was read the first time, so
    /// that nothing that was given out before counts.
    #[allow(clippy::should_implement_trait, reason = "a piece is lent, which no iterator can")]
    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        match self.source {
            Source::Memory(bytes) => {
                self.is_told = true;
                let piece = &bytes[std::mem::replace(&mut self.taken, bytes.len())..];
                Ok((!piece.is_empty()).then_some(piece))
            }
            Source::Disk(on_disk) => self.next_of(on_disk),
        }
    }

    /// Takes the last `left` bytes of the piece last given, whole lines, back: the next one begins with them, and goes on
    /// behind them unless [`Self::is_at_the_end`].
    pub fn give_back(&mut self, left: usize) {
        self.taken = self.taken.saturating_sub(left);
    }

    /// Whether all bytes were in the pieces that were given.
    pub fn is_at_the_end(&self) -> bool {
        self.is_told
    }

    fn next_of(&mut self, on_disk: &OnDisk) -> io::Result<Option<&[u8]>> {
        self.buffer.copy_within(self.taken..self.filled, 0);
        self.filled -= std::mem::take(&mut self.taken);
        // Where to look for the end of a line: no more of what is left over from before can be given alone.
        let mut looked = self.filled;
        while !self.is_told {
            if self.filled == self.buffer.len() {
                self.buffer.resize(self.buffer.len() + PIECE, 0);
            }
            let read = on_disk.read_at(&mut self.buffer[self.filled..], self.read)?;
            self.digest.update(&self.buffer[self.filled..self.filled + read]);
            (self.filled, self.read) = (self.filled + read, self.read + read as u64);
            if self.filled < self.buffer.len() || self.read == on_disk.len {
                self.is_told = true;
                if self.read != on_disk.len || self.digest.clone().finalize()[..] != on_disk.sha256 {
                    return Err(text!("it changed while it was read").into_io(io::ErrorKind::InvalidData));
                }
                self.taken = self.filled;
            } else if let Some(end) = self.buffer[looked..self.filled].iter().rposition(|byte| *byte == b'\n') {
                self.taken = looked + end + 1;
                break;
            }
            looked = self.filled;
        }
        if self.is_told {
            self.taken = self.filled;
        }
        Ok((self.taken > 0).then(|| &self.buffer[..self.taken]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::{Lang, Text};
    use std::fs::OpenOptions;
    use std::io::{Seek, SeekFrom, Write};

    /// A file of these bytes without a name, and a second hand on it to write with.
    fn file_of(bytes: &[u8]) -> (File, File) {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("weir-contents-{}-{number}", std::process::id()));
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
        file.write_all(bytes).unwrap();
        let other = file.try_clone().unwrap();
        std::fs::remove_file(&path).unwrap();
        (file, other)
    }

    fn on_disk(bytes: &[u8]) -> (Contents, File) {
        let (file, other) = file_of(bytes);
        (Contents::on_disk(file, u64::MAX - 1).unwrap().unwrap(), other)
    }

    /// Lines up to three pieces long.
    fn text() -> Vec<u8> {
        let lens = [0, 1, 40, PIECE - 43, PIECE, 7, 3 * PIECE, PIECE - 1, PIECE + 1, 12];
        lens.iter().flat_map(|len| [vec![b'x'; *len], vec![b'\n']].concat()).chain(*b"the last").collect()
    }

    #[test]
    fn what_is_on_the_disk_comes_in_pieces_of_whole_lines() {
        for bytes in [text(), text()[..2 * PIECE].to_vec(), b"x\n".to_vec(), vec![]] {
            let (contents, _) = on_disk(&bytes);
            assert_eq!(contents, Contents::from(bytes.clone()));
            assert_eq!(contents.whole().unwrap(), bytes);
            let (mut pieces, mut all) = (contents.source().pieces(), Vec::new());
            while let Some(piece) = pieces.next().unwrap() {
                assert!(all.is_empty() || all.ends_with(b"\n"), "a piece ends with a line");
                assert!(!piece.is_empty());
                all.extend_from_slice(piece);
            }
            assert_eq!(all, bytes);
            assert!(pieces.next().unwrap().is_none(), "the end stays the end");
        }
    }

    #[test]
    fn the_end_of_a_piece_can_be_given_back() {
        let bytes = text();
        let (contents, _) = on_disk(&bytes);
        for contents in [contents, Contents::from(bytes.clone())] {
            let (mut pieces, mut all, mut left) = (contents.source().pieces(), Vec::new(), 0);
            while let Some(piece) = pieces.next().unwrap() {
                assert!(piece.len() > left, "with what was given back comes what is behind it");
                assert!(piece.starts_with(&bytes[all.len()..all.len() + left]));
                // All lines but the first.
                let taken = piece.iter().position(|byte| *byte == b'\n').map_or(piece.len(), |end| end + 1);
                left = piece.len() - taken;
                all.extend_from_slice(&piece[..taken]);
                pieces.give_back(left);
                if pieces.is_at_the_end() {
                    break;
                }
            }
            assert_eq!(pieces.next().unwrap().unwrap_or_default(), &bytes[all.len()..]);
            assert!(pieces.next().unwrap().is_none(), "the end stays the end");
        }
    }

    #[test]
    fn what_is_written_into_a_file_while_it_is_read_is_noticed() {
        type Write = fn(&mut File);
        let ways: [Write; 3] = [
            |file| file.set_len(3 * PIECE as u64).unwrap(),
            |file| {
                file.seek(SeekFrom::Start(2 * PIECE as u64)).unwrap();
                file.write_all(b"y").unwrap();
            },
            |file| file.set_len(0).unwrap(),
        ];
        for write in ways {
            let (contents, mut file) = on_disk(&text());
            let mut pieces = contents.source().pieces();
            pieces.next().unwrap().unwrap();
            write(&mut file);
            let error =
                std::iter::from_fn(|| Some(pieces.next().map(|piece| piece.is_some()))).find_map(|next| match next {
                    Ok(true) => None,
                    Ok(false) => Some(None),
                    Err(error) => Some(Some(error)),
                });
            let error = error.flatten().expect("it is told");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert_eq!(Text::of_io(&error).to(Lang::Zh), "它在读取期间被修改");
            assert!(contents.whole().is_err(), "and every time");
        }
    }

    #[test]
    fn what_is_added_behind_is_not_of_it() {
        let bytes = text();
        let (contents, mut file) = on_disk(&bytes);
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(b"more\n").unwrap();
        assert_eq!(contents.whole().unwrap(), bytes);
    }

    #[test]
    fn more_than_the_limit_is_refused() {
        let (file, _) = file_of(b"12345");
        assert!(Contents::on_disk(file.try_clone().unwrap(), 4).unwrap().is_none());
        assert_eq!(Contents::on_disk(file, 5).unwrap().unwrap().len(), 5);
    }
}
