//! What each code means and how one gets out of it: for `weir check --explain CODE` and the rules of a SARIF log.

use super::Code;
use crate::language::{Text, text};

/// A code, explained.
#[derive(Clone, Debug)]
pub struct Meaning {
    /// What has happened.
    pub meaning: Text,
    /// What to do.
    pub way_out: Text,
}

/// What a code means.
pub fn of(code: Code) -> Meaning {
    let (meaning, way_out) = match code {
        Code::Io | Code::TooLarge | Code::Utf8 | Code::MissingFile | Code::Path | Code::UnknownFile => of_files(code),
        Code::Syntax | Code::UnknownKey | Code::MissingKey | Code::Type | Code::Empty => of_keys(code),
        Code::Range | Code::Choice | Code::Value | Code::Network | Code::Address | Code::Name | Code::Qtype => {
            of_values(code)
        }
        _ => of_wholes(code),
    };
    Meaning { meaning, way_out }
}

fn of_files(code: Code) -> (Text, Text) {
    match code {
        Code::Io => (
            text!("the directory or a file of it cannot be read"),
            text!("let the user that weir runs as read it; where a file is meant, put a file and not a directory"),
        ),
        Code::TooLarge => (
            text!(
                "a file is larger than 4 MiB (rules) or 256 MiB (lists and zones), or all files together are larger than 2048 MiB"
            ),
            text!("move names into a list, or split the file"),
        ),
        Code::Utf8 => (
            text!("a text or the name of a file is not UTF-8"),
            text!("save the file as UTF-8; the place is the first byte that is not"),
        ),
        Code::MissingFile => (
            text!("a file that has to be there, or that another file names, is not"),
            text!("add it, or mend the name; paths begin at the policy directory"),
        ),
        Code::Path => (
            text!("a path leaves the policy directory, or a file has a name that files of its kind cannot have"),
            text!("keep everything in the policy directory, which is checked, hashed and rolled back as a whole"),
        ),
        _ => (
            text!("a file belongs to nothing, and is not read"),
            text!("mend its name if it was meant to be read; else remove it, or begin its name with a dot"),
        ),
    }
}

fn of_keys(code: Code) -> (Text, Text) {
    match code {
        Code::Syntax => (
            text!("a file is not TOML"),
            text!("look at the place and at the line before it: a quote or a bracket is most often left open there"),
        ),
        Code::UnknownKey => (
            text!("a key does not exist at this place, so what it says would not act"),
            text!("mend the spelling, or move it to its section; `weir schema` says what may stand where"),
        ),
        Code::MissingKey => (
            text!("a key that has to be there is not"),
            text!("add it; `weir schema` says which keys a section has to have"),
        ),
        Code::Type => (
            text!("a value is of another type than its key has"),
            text!("texts, durations and sizes are in quotes; numbers, true and false are not; lists are in brackets"),
        ),
        _ => (
            text!("something holds nothing, and so would have no effect, or one that nobody means"),
            text!("write something, or leave the key out to have its default"),
        ),
    }
}

fn of_values(code: Code) -> (Text, Text) {
    match code {
        Code::Range => (
            text!("a value is outside its bounds"),
            text!("take a value within the bounds that the message gives; nothing is ever cut down to fit"),
        ),
        Code::Choice => (
            text!("a word is not among the choices of its key"),
            text!("take one of the words that the hint gives, in the same letters"),
        ),
        Code::Value => (
            text!("a duration, a size, a name or another text cannot be read"),
            text!("write it as the hint shows, such as \"30s\" or \"64MiB\""),
        ),
        Code::Network => (
            text!("a text is not a network, or it has bits set behind its prefix"),
            text!("write a network such as \"10.0.0.0/8\", an address, or \"@group\""),
        ),
        Code::Address => (
            text!("a text is not an address"),
            text!("write an IP address, where it is allowed with a port: \"10.1.0.53\", \"[2001:db8::1]:53\""),
        ),
        Code::Name => (
            text!("a text is not a domain name"),
            text!("write the name alone, in its ASCII form, without a URL, a path or a port"),
        ),
        _ => (
            text!("a text is not a record type, a class or an opcode"),
            text!("write its name such as \"AAAA\", or for a type or a class its number, such as \"TYPE65\""),
        ),
    }
}

fn of_wholes(code: Code) -> (Text, Text) {
    match code {
        Code::Duplicate => {
            (text!("the same thing is there twice"), text!("remove one of the two, or give it another name"))
        }
        Code::Conflict => (
            text!("two settings exclude each other"),
            text!("decide for one of the two; which one is meant cannot be guessed"),
        ),
        Code::AtOdds => (
            text!("one setting takes away from what another is for"),
            text!("see what the message says about the two; both act as they are written"),
        ),
        Code::UnknownGroup => (
            text!("a group is used that clients.toml does not have"),
            text!("mend the name, or add the group to clients.toml under [[group]]"),
        ),
        Code::UnknownPool => (
            text!("a pool is used that no upstream belongs to"),
            text!("mend the name, or give an upstream that pool in gateway.toml"),
        ),
        Code::UnknownFeed => (
            text!("a feed is used that gateway.toml does not have"),
            text!("mend the name, or add the feed to gateway.toml under [[feed]]"),
        ),
        Code::FeedAbsent => (
            text!("a feed has no copy yet, so that whatever it is for is empty"),
            text!("wait until it has come; `weir feed` says how it goes and why not"),
        ),
        Code::FeedUnpinned => (
            text!("the copy of a feed that acts was taken when its pin was another, or there was none"),
            text!("wait until what is pinned has come; `weir feed` says how it goes and why not"),
        ),
        Code::Overridden => (
            text!("an override also replaces what a zone lets pass, or answers by itself"),
            text!("put what is to pass into a zone before this one"),
        ),
        Code::HalfReplaced => (
            text!("the files were being replaced by others when they were read, so they may be of two policies"),
            text!("`weir run DIR` makes them whole again; without a gateway `weir rollback --state DIR` does"),
        ),
        Code::UnknownSchedule => (
            text!("a schedule is used that clients.toml does not have"),
            text!("mend the name, or add the schedule to clients.toml under [[schedule]]"),
        ),
        Code::TimeZone => (
            text!("a text is not the name of a time zone"),
            text!("write a name of the IANA time zone database, such as \"Asia/Shanghai\""),
        ),
        Code::Never => (
            text!("a time never comes, so what is bound to it never acts"),
            text!("give it days and hours, or remove it"),
        ),
        Code::Shadowed => (
            text!("a rule, or a part of it, never decides because others always decide before"),
            text!("remove what is never reached, or move it before the rule that the message names"),
        ),
        Code::Overlap => (
            text!("one network is in two places that disagree"),
            text!("take the network out of one of the two; the message says which one decides"),
        ),
        Code::Expired => (
            text!("the time of a rule or a zone is over, so it does nothing any more"),
            text!("remove it, or give it more time"),
        ),
        Code::Partial => (
            text!("a rule acts on some of what it says only"),
            text!("see what the message says about it; nothing has to be done if that part is enough"),
        ),
        Code::TooMany => (
            text!("there is more of something than there may be, so that memory and start-up stay bounded"),
            text!("merge or split what is there; long lists of names belong into files of lists/"),
        ),
        Code::Dangerous => (
            text!("a rule would block far more than anyone wants: the root, a public suffix, or a zone with a route"),
            text!("write the names that are meant; force = true in the rule, if all of it is meant"),
        ),
        Code::List => (
            text!("a list cannot be read, or more of its lines are bad than a list may have"),
            text!("look at the list and at its format; a list that was fetched may have become a web page"),
        ),
        Code::Expect => (
            text!("the policy does not do what tests/ expects of it, so it is not run"),
            text!("`weir explain` shows every rule that was considered; mend the rule, or what is expected"),
        ),
        Code::ListLine => (
            text!("lines of a list were left out or are in doubt; the rest of it was loaded"),
            text!("mend the lines, or tell whoever publishes the list; the word in brackets says what is wrong"),
        ),
        Code::Repeated => (
            text!("names are there more than once, or below other names that hold them already"),
            text!("nothing has to be done: it costs nothing"),
        ),
        _ => (text!("something can never take effect"), text!("remove it, or mend what keeps it from acting")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_has_a_meaning_of_its_own() {
        let meanings: HashSet<_> = Code::ALL.iter().map(|code| of(*code).meaning.english()).collect();
        assert_eq!(meanings.len(), Code::ALL.len(), "a code without words of its own has those of another");
    }
}
