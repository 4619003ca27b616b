//! What is wrong with a list: its problems, counted by their kind. A list has a million lines, its report has ten.

use super::problem::{Problem, Weight};

/// The longest piece of a bad line that is kept as an example, in bytes.
const SAMPLE_MAX: usize = 60;

/// One kind of problem in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What is wrong.
    pub problem: Problem,
    /// In how many lines.
    pub count: usize,
    /// The first of them, counted from 1.
    pub line: usize,
    /// Where the first of them is, in bytes of the file.
    pub span: std::ops::Range<usize>,
    /// The first of them, cut to 60 bytes, unprintable bytes escaped.
    pub sample: String,
    /// What was probably meant by the first of them, where that can be told.
    pub meant: Option<String>,
}

/// All problems of a list, grouped; as many groups as there are kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    groups: Vec<Group>,
}

impl Problems {
    /// Lines left out in all.
    pub fn count(&self) -> usize {
        self.bad() + self.unsupported()
    }

    /// Lines that are wrong in their own format.
    pub fn bad(&self) -> usize {
        self.of(Weight::Bad)
    }

    /// Lines that ask for what is not done here.
    pub fn unsupported(&self) -> usize {
        self.of(Weight::Unsupported)
    }

    fn of(&self, weight: Weight) -> usize {
        self.groups.iter().filter(|group| group.problem.weight() == weight).map(|group| group.count).sum()
    }

    /// The groups, in the order of their first lines.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(super) fn add(&mut self, problem: Problem, line: usize, start: usize, text: &[u8]) {
        self.add_many(problem, 1, (line, start), text);
        if let Some(group) = self.groups.last_mut()
            && (group.line, group.problem, group.count) == (line, problem, 1)
        {
            group.span = start..start + text.len();
        }
    }

    /// Adds a problem, and what was probably meant.
    pub(in crate::policy::filter) fn add_meant(
        &mut self,
        problem: Problem,
        line: usize,
        start: usize,
        text: &[u8],
        meant: Option<String>,
    ) {
        let known = self.groups.len();
        self.add(problem, line, start, text);
        if let Some(group) = self.groups.get_mut(known) {
            group.meant = meant;
        }
    }

    /// Adds `count` problems that the line which begins at `start` stands for.
    pub(super) fn add_many(&mut self, problem: Problem, count: usize, (line, start): (usize, usize), text: &[u8]) {
        if let Some(group) = self.groups.iter_mut().find(|group| group.problem == problem) {
            group.count += count;
            return;
        }
        let sample = text[..text.len().min(SAMPLE_MAX)].escape_ascii().to_string();
        self.groups.push(Group { problem, count, line, span: start..start, sample, meant: None });
    }

    /// Adds problems that only the whole list shows.
    pub(super) fn add_unplaced(&mut self, problem: Problem, count: usize) {
        if count > 0 {
            self.add_many(problem, count, (1, 0), b"the list as a whole");
        }
    }
}
