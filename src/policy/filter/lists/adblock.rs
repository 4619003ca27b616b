//! Lines of adblock lists (`||x^`, `@@||x^`), of which a gateway sees only the name: what else a line asks for either has a
//! meaning for a name, or the line is left out and counted, because half a rule blocks too much.
//! <https://adguard-dns.io/kb/general/dns-filtering-syntax/>

use super::line::{Reader, Saying, is_blank};
use super::problem::Problem;
use super::resolve::Says;
use super::{BELOW, SELF, Types, detect};
use crate::policy::document::words;

/// Names in all `$denyallow` of one list: each is held against every line above it.
const HOLES_MAX: usize = 500;

/// Types of one `$dnstype`, which has one to three: what is left of a name is worked out type by type.
const LISTED_MAX: usize = 20;

/// What the modifiers behind `$` ask for.
struct Modifiers {
    saying: Saying,
    important: bool,
}

impl Reader<'_> {
    /// Reads one line.
    pub(super) fn adblock_line(&mut self, line: &[u8]) -> Result<(), Problem> {
        match line {
            [b'!' | b';' | b'[', ..] => return self.no_line(),
            [b'#', ..] if !hides_everywhere(line) => return self.no_line(),
            _ if hides_somewhere(line) => return Err(Problem::Cosmetic),
            _ => {}
        }
        if detect::format_of_line(line) == Some(super::Format::Hosts) {
            self.inner_hosts_line();
            return Ok(());
        }
        let (excepts, rule) = match line.strip_prefix(b"@@") {
            Some(rule) => (true, rule),
            None => (false, line),
        };
        if rule.len() > 1 && rule.starts_with(b"/") && !rule.starts_with(b"//") {
            return Err(Problem::Pattern);
        }
        let (pattern, modifiers) = match rule.iter().position(|byte| *byte == b'$') {
            Some(at) => (&rule[..at], Some(&rule[at + 1..])),
            None => (without_comment(rule), None),
        };
        let mut asked = Modifiers { saying: Saying::NAMED, important: false };
        if let Some(modifiers) = modifiers {
            self.modifiers(without_comment(modifiers), excepts, &mut asked)?;
        }
        asked.saying.says = match (excepts, asked.important) {
            (false, false) => Says::Named,
            (false, true) => Says::Important,
            (true, false) => Says::Excepted,
            (true, true) => Says::ImportantExcepted,
        };
        // What is no rule may be a line of another format, and is then called so.
        let (reach, doubt) = self.pattern(pattern).map_err(|found| match detect::format_of_line(line) {
            None | Some(super::Format::Adblock | super::Format::Domains | super::Format::Wildcards) => found,
            Some(_) => super::problem::classify(line, pattern, super::Format::Adblock),
        })?;
        self.say(reach, asked.saying)?;
        doubt.map_or(Ok(()), Err)
    }

    /// Reads the name of a pattern; says what of it is meant, and what is doubtful about it though it is taken.
    fn pattern(&mut self, pattern: &[u8]) -> Result<(u8, Option<Problem>), Problem> {
        let subtree = SELF | BELOW;
        if pattern == b"*" || pattern == b"||*^" {
            self.root();
            return Ok((subtree, None));
        }
        let (anchored, body) = match (pattern.strip_prefix(b"||"), pattern.strip_prefix(b"|")) {
            (Some(body), _) => (Some(subtree), body),
            (None, Some(body)) => (Some(SELF), body),
            (None, None) => (None, pattern),
        };
        let (closed, body) = match body.strip_suffix(b"|").unwrap_or(body) {
            shorter if shorter.ends_with(b"^") => (true, &shorter[..shorter.len() - 1]),
            shorter => (shorter.len() < body.len(), shorter),
        };
        if let Some(problem) = beyond_names(body) {
            return Err(problem);
        }
        match (anchored, closed) {
            (None, false) if body.starts_with(b".") => Err(Problem::EmptyLabel),
            (None, false) => Ok((self.word(body, self.bare)?, None)),
            // A piece of a name, such as `.x^`: what was meant is the name.
            (None, true) => {
                let body = body.strip_prefix(b".").unwrap_or(body);
                Ok((self.word(body, subtree)?, Some(Problem::Unanchored)))
            }
            (Some(reach), true) => Ok((self.word(body, reach)?, None)),
            (Some(_), false) if body.ends_with(b".") || body.ends_with(b"-") || !body.contains(&b'.') => {
                Err(Problem::Prefix)
            }
            (Some(reach), false) => Ok((self.word(body, reach)?, Some(Problem::OpenEnd))),
        }
    }

    fn modifiers(&mut self, text: &[u8], excepts: bool, asked: &mut Modifiers) -> Result<(), Problem> {
        for modifier in text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let (key, value) = match modifier.iter().position(|byte| *byte == b'=') {
                Some(at) => (&modifier[..at], Some(&modifier[at + 1..])),
                None => (modifier, None),
            };
            match (key, value) {
                (b"important", None) => asked.important = true,
                (b"badfilter", None) => asked.saying.cancels = true,
                (b"dnstype", Some(value)) => asked.saying.types = read_types(value)?,
                (b"denyallow", Some(value)) if !excepts => asked.saying.holes = self.holes(value)?,
                (b"dnsrewrite", Some(value)) if !excepts => {
                    if !only_blocks(value) {
                        return Err(Problem::Rewrite);
                    }
                }
                (b"dnsrewrite", _) => return Err(Problem::Rewrite),
                (b"client" | b"ctag", _) => return Err(Problem::Clients),
                _ => return Err(Problem::Modifier),
            }
        }
        Ok(())
    }

    /// The names of `$denyallow=a.example|b.example`.
    fn holes(&mut self, value: &[u8]) -> Result<Vec<Box<[u8]>>, Problem> {
        let mut holes = Vec::new();
        for name in value.split(|byte| *byte == b'|') {
            if self.word(name, SELF | BELOW)? != SELF | BELOW {
                return Err(Problem::Modifier);
            }
            // Looked at for each, or a line of nothing else would take many times its size of memory.
            if self.holes + holes.len() == HOLES_MAX {
                return Err(Problem::TooManyHoles);
            }
            holes.push(self.wire());
        }
        self.holes += holes.len();
        Ok(holes)
    }
}

/// `##.banner`, but not a comment such as `## heading` or `#####`.
fn hides_everywhere(line: &[u8]) -> bool {
    let selector = line.iter().skip(1).position(|byte| !matches!(byte, b'#' | b'@' | b'?' | b'$' | b'%'));
    detect::hides(&line[..line.len().min(2)]) && selector.is_some_and(|at| !is_blank(line[at + 1]))
}

/// `example.com##.banner`, but not a comment behind a blank.
fn hides_somewhere(line: &[u8]) -> bool {
    detect::hides(&line[..line.len().min(2)])
        || line.windows(3).any(|three| !is_blank(three[0]) && detect::hides(&three[1..]))
}

/// Up to a `#` that follows a blank.
fn without_comment(text: &[u8]) -> &[u8] {
    let comment = text.windows(2).position(|pair| is_blank(pair[0]) && matches!(pair[1], b'#' | b'!'));
    text[..comment.unwrap_or(text.len())].trim_ascii_end()
}

/// Why a pattern is about more than a name.
fn beyond_names(body: &[u8]) -> Option<Problem> {
    let digits = body.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') && body.contains(&b'.');
    if detect::is_address(body) || digits || body.starts_with(b"[") {
        return Some(Problem::ResponseAddress);
    }
    let rest = body.strip_prefix(b"*.").unwrap_or(body);
    if rest.contains(&b'*') {
        return Some(Problem::InnerWildcard);
    }
    rest.iter().any(|byte| matches!(byte, b'/' | b':' | b'?' | b'&')).then_some(Problem::AdblockUrl)
}

/// `A|AAAA`, or `~A` for all others. Where both are given, what is named counts.
fn read_types(value: &[u8]) -> Result<Types, Problem> {
    let (mut only, mut except) = (Vec::new(), Vec::new());
    for word in value.split(|byte| *byte == b'|') {
        let (is_except, word) = match word.strip_prefix(b"~") {
            Some(word) => (true, word),
            None => (false, word),
        };
        if only.len() + except.len() == LISTED_MAX {
            return Err(Problem::LongDnstype);
        }
        let qtype = str::from_utf8(word).ok().and_then(words::qtype);
        let list = if is_except { &mut except } else { &mut only };
        list.push(qtype.ok_or(Problem::Modifier)?);
    }
    Ok(if only.is_empty() { Types::new(except, true) } else { Types::new(only, false) })
}

/// Whether a rewrite says no more than that the name is blocked; the rule says in which way.
fn only_blocks(value: &[u8]) -> bool {
    let is_null = |value: &[u8]| super::NULL_ADDRESSES.contains(&value);
    let mut parts = value.split(|byte| *byte == b';');
    let code = parts.next().unwrap_or(value);
    let (kind, data) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match code {
        b"NXDOMAIN" | b"REFUSED" => kind.is_empty() && data.is_empty(),
        b"NOERROR" => kind.is_empty() && data.is_empty() || matches!(kind, b"A" | b"AAAA") && is_null(data),
        other => is_null(other) && kind.is_empty(),
    }
}
