//! What is wrong with a policy, and where: collected by everyone who reads, shown all at once by [`super::Report`].

use crate::language::Text;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The most faults that are kept; what is over is only counted.
pub const FAULTS_MAX: usize = 1_000;

/// Declares the codes with their spelling, so that the two cannot part.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What kind of fault it is. `E-` refuses the policy, `W-` does not. Tools match on the spelling: it never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The spelling in reports.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// The directory or a file cannot be read.
    Io = "E-IO",
    /// A file is larger than its kind may be.
    TooLarge = "E-TOO-LARGE",
    /// A text is not UTF-8.
    Utf8 = "E-UTF8",
    /// Not TOML.
    Syntax = "E-SYNTAX",
    /// A key that does not exist here.
    UnknownKey = "E-UNKNOWN-KEY",
    /// A key that has to be there is not.
    MissingKey = "E-MISSING-KEY",
    /// A file that has to be there, or is named by another, is not.
    MissingFile = "E-MISSING-FILE",
    /// A path that leaves the directory.
    Path = "E-PATH",
    /// A value of another type.
    Type = "E-TYPE",
    /// A value outside its bounds.
    Range = "E-RANGE",
    /// A word that is not among the choices.
    Choice = "E-CHOICE",
    /// A duration, size or other text that cannot be read.
    Value = "E-VALUE",
    /// Not a network, or one with host bits.
    Network = "E-NETWORK",
    /// Not an address.
    Address = "E-ADDRESS",
    /// Not a domain name.
    Name = "E-NAME",
    /// Not a record type, class or opcode.
    Qtype = "E-QTYPE",
    /// The same thing twice.
    Duplicate = "E-DUPLICATE",
    /// Two settings that exclude each other.
    Conflict = "E-CONFLICT",
    /// `@group` that clients.toml does not have.
    UnknownGroup = "E-UNKNOWN-GROUP",
    /// `feed:NAME` that gateway.toml does not have.
    UnknownFeed = "E-UNKNOWN-FEED",
    /// A schedule that clients.toml does not have.
    UnknownSchedule = "E-UNKNOWN-SCHEDULE",
    /// Not a name of the time zone database.
    TimeZone = "E-TIME-ZONE",
    /// A pool without an upstream.
    UnknownPool = "E-UNKNOWN-POOL",
    /// Something that would have no effect because it holds nothing.
    Empty = "E-EMPTY",
    /// More of something than there may be.
    TooMany = "E-TOO-MANY",
    /// A rule that would block far more than anyone wants.
    Dangerous = "E-DANGEROUS",
    /// More bad lines in a list than its budget allows.
    List = "E-LIST",
    /// An expected verdict that the policy does not give.
    Expect = "E-EXPECT",
    /// Bad lines in a list that loaded otherwise.
    ListLine = "W-LIST-LINE",
    /// Names of one rule that are there twice, or below another of its names.
    Repeated = "W-DUPLICATE",
    /// A file that belongs to nothing.
    UnknownFile = "W-UNKNOWN-FILE",
    /// A feed of which there is no copy yet: its rules are empty.
    FeedAbsent = "W-FEED-ABSENT",
    /// The copy of a feed was taken when its pin was another, or there was none.
    FeedUnpinned = "W-FEED-UNPINNED",
    /// Something that takes effect only where an answer shows what it asks about.
    Partial = "W-PARTIAL",
    /// What a zone lets pass, or answers by itself, is replaced by something else.
    Overridden = "W-OVERRIDE",
    /// The files were being replaced by others when they were read.
    HalfReplaced = "W-HALF-REPLACED",
    /// Two settings of which one takes away from what the other is for.
    AtOdds = "W-CONFLICT",
    /// Something that can never take effect, or that nothing names.
    Unused = "W-UNUSED",
    /// A time that never comes.
    Never = "W-NEVER",
    /// A rule, or a part of it, that others always decide before.
    Shadowed = "W-SHADOWED",
    /// One network in two places that disagree.
    Overlap = "W-OVERLAP",
    /// Something whose time is over.
    Expired = "W-EXPIRED",
}

impl Code {
    /// Whether it refuses the policy.
    pub const fn severity(self) -> Severity {
        if self.as_str().as_bytes()[0] == b'W' { Severity::Warning } else { Severity::Error }
    }

    /// Whether a policy with it is not run.
    pub const fn refuses(self) -> bool {
        matches!(self.severity(), Severity::Error)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a fault refuses the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The policy is not run.
    Error,
    /// The policy runs; somebody should look.
    Warning,
}

/// A place in a file of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Path within the directory, with `/`.
    pub file: Arc<str>,
    /// Bytes of the file's text; empty at 0 for the file as a whole.
    pub span: Range<usize>,
}

impl Place {
    /// The bytes `span` of `file`.
    pub fn new(file: &Arc<str>, span: Range<usize>) -> Self {
        Self { file: Arc::clone(file), span }
    }

    /// The file as a whole.
    pub fn whole(file: &str) -> Self {
        Self { file: file.into(), span: 0..0 }
    }

    /// The part `span` of this place, in bytes from its beginning: to underline a piece of a string.
    pub fn part(&self, span: Range<usize>) -> Self {
        let start = self.span.start.saturating_add(span.start).min(self.span.end);
        let end = self.span.start.saturating_add(span.end).min(self.span.end);
        Self { file: Arc::clone(&self.file), span: start..end }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub place: Place,
}

impl<T> At<T> {
    /// Another value from the same place.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At { value: f(self.value), place: self.place }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind it is.
    pub code: Code,
    /// Where.
    pub place: Place,
    /// What is wrong, naming the thing.
    pub message: Text,
    /// What to do about it.
    pub hint: Option<Text>,
}

impl Fault {
    /// A fault without a hint.
    pub fn new(code: Code, place: Place, message: Text) -> Self {
        Self { code, place, message, hint: None }
    }

    /// With advice.
    #[must_use]
    pub fn hint(mut self, hint: Text) -> Self {
        self.hint = Some(hint);
        self
    }
}

/// The collector, shared by all readers of one load. The same fault is kept once, however many modes read its section.
#[derive(Debug, Default)]
pub struct Faults {
    kept: RefCell<Vec<Fault>>,
    over: Cell<usize>,
    first_is_enough: Cell<bool>,
}

impl Faults {
    /// Adds a fault.
    pub fn push(&self, fault: Fault) {
        let mut kept = self.kept.borrow_mut();
        if kept.contains(&fault) {
            return;
        }
        if kept.len() == FAULTS_MAX {
            self.over.set(self.over.get() + 1);
        } else {
            kept.push(fault);
        }
    }

    /// Adds a fault with a hint.
    pub fn add(&self, code: Code, place: &Place, message: Text, hint: Text) {
        self.push(Fault::new(code, place.clone(), message).hint(hint));
    }

    /// From here on it is enough to know that the policy is refused: what is dear to read may be left out then, and some of
    /// its faults are not found.
    pub fn first_is_enough(&self) {
        self.first_is_enough.set(true);
    }

    /// Whether no more faults are wanted.
    pub fn are_enough(&self) -> bool {
        self.first_is_enough.get() && self.has_errors()
    }

    /// How far it is, for [`Self::back_to`].
    pub fn mark(&self) -> (usize, usize) {
        (self.kept.borrow().len(), self.over.get())
    }

    /// Forgets what was added since the mark was taken: it will be read again.
    pub fn back_to(&self, (kept, over): (usize, usize)) {
        self.kept.borrow_mut().truncate(kept);
        self.over.set(over);
    }

    /// Whether something that refuses the policy was added.
    pub fn has_errors(&self) -> bool {
        self.kept.borrow().iter().any(|fault| fault.code.severity() == Severity::Error)
    }

    /// All faults in the order in which they were found, and how many more there were.
    pub fn into_parts(self) -> (Vec<Fault>, usize) {
        (self.kept.into_inner(), self.over.get())
    }
}
