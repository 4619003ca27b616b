//! What can be wrong with a line of a list, and how that is told.

use super::detect::{self, Format};
use crate::language::Text;
use crate::policy::filter::rpz::Flaw;

/// What is wrong with a line, or beyond what a gateway does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Problem {
    /// An address where a name should be.
    Address,
    /// A setting about addresses in answers.
    ResponseAddress,
    /// A line that sends a name to a real address.
    Redirect,
    /// A line of a hosts file that does not begin with an address.
    NoAddress,
    /// A hosts line in a list of another format.
    HostsLine,
    /// `||name^` and alike, in another format.
    AdblockLine,
    /// `address=/name/` and alike, in another format.
    DnsmasqLine,
    /// `local-zone: ...` and alike, in another format.
    UnboundLine,
    /// `domain:name` and alike, in another format.
    V2flyLine,
    /// A record of a zone.
    RpzLine,
    /// A URL, a path or a port.
    Url,
    /// An adblock rule for a URL, a path or a port.
    AdblockUrl,
    /// A regular expression.
    Pattern,
    /// A piece of a name.
    Keyword,
    /// `*` anywhere but as the first label.
    InnerWildcard,
    /// The beginning of names, without an end.
    Prefix,
    /// An adblock rule without its caret; it is taken.
    OpenEnd,
    /// An adblock rule for a piece of a name; it is taken as the name.
    Unanchored,
    /// An adblock rule that hides pieces of pages.
    Cosmetic,
    /// A modifier of an adblock rule that has no meaning for names.
    Modifier,
    /// An adblock rule for some clients.
    Clients,
    /// An adblock rule with an answer of its own.
    Rewrite,
    /// More different sets of record types than a list may have.
    TooManyTypes,
    /// More record types than a line may have.
    LongDnstype,
    /// More lines than a list may have that say more than that a name is named.
    TooManyExceptions,
    /// An adblock rule whose `$denyallow` allows all of it.
    DeniesNothing,
    /// More names in `$denyallow` than a list may have.
    TooManyHoles,
    /// A setting of dnsmasq or unbound that blocks no name.
    Setting,
    /// A setting that forwards a name to a server.
    Forward,
    /// A list to be taken in that is not there.
    Include,
    /// More lists to be taken in than one may take in.
    TooManyIncludes,
    /// More attributes than a line may have.
    TooManyAttributes,
    /// A name with letters beyond ASCII that is none.
    Unicode,
    /// A whole top-level domain, or all that a registry registers below another name.
    PublicSuffix,
    /// `a..b` or `.a`.
    EmptyLabel,
    /// A label over 63 bytes.
    LabelTooLong,
    /// A name over 255 bytes in wire form.
    NameTooLong,
    /// Something behind the name that is not a comment.
    Trailing,
    /// Bytes that no name in a list has.
    Character,
    /// Something about a record of a response policy zone.
    Rpz(Flaw),
}

/// What becomes of a line with a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It is wrong in its own format, and left out.
    Bad,
    /// It asks for what is not done here, and is left out.
    Unsupported,
    /// It is taken, as said.
    Taken,
}

impl Problem {
    /// All of them.
    pub const ALL: [Self; 66] = [
        Self::Address,
        Self::ResponseAddress,
        Self::Redirect,
        Self::NoAddress,
        Self::HostsLine,
        Self::AdblockLine,
        Self::DnsmasqLine,
        Self::UnboundLine,
        Self::V2flyLine,
        Self::RpzLine,
        Self::Url,
        Self::AdblockUrl,
        Self::Pattern,
        Self::Keyword,
        Self::InnerWildcard,
        Self::Prefix,
        Self::OpenEnd,
        Self::Unanchored,
        Self::Cosmetic,
        Self::Modifier,
        Self::Clients,
        Self::Rewrite,
        Self::TooManyTypes,
        Self::LongDnstype,
        Self::TooManyExceptions,
        Self::DeniesNothing,
        Self::TooManyHoles,
        Self::Setting,
        Self::Forward,
        Self::Include,
        Self::TooManyIncludes,
        Self::TooManyAttributes,
        Self::Unicode,
        Self::PublicSuffix,
        Self::EmptyLabel,
        Self::LabelTooLong,
        Self::NameTooLong,
        Self::Trailing,
        Self::Character,
        Self::Rpz(Flaw::IpPrefix),
        Self::Rpz(Flaw::Ip6Form),
        Self::Rpz(Flaw::IpForm),
        Self::Rpz(Flaw::HostBits),
        Self::Rpz(Flaw::WideNetwork),
        Self::Rpz(Flaw::SuspectOwner),
        Self::Rpz(Flaw::AddressOwner),
        Self::Rpz(Flaw::OutOfZone),
        Self::Rpz(Flaw::OutOfZoneData),
        Self::Rpz(Flaw::Duplicate),
        Self::Rpz(Flaw::SecondAction),
        Self::Rpz(Flaw::TooManyRecords),
        Self::Rpz(Flaw::UnknownAction),
        Self::Rpz(Flaw::RelativeAction),
        Self::Rpz(Flaw::NoType),
        Self::Rpz(Flaw::Data),
        Self::Rpz(Flaw::Type),
        Self::Rpz(Flaw::Class),
        Self::Rpz(Flaw::NoOwner),
        Self::Rpz(Flaw::Quote),
        Self::Rpz(Flaw::Parenthesis),
        Self::Rpz(Flaw::TooLong),
        Self::Rpz(Flaw::Include),
        Self::Rpz(Flaw::Generate),
        Self::Rpz(Flaw::Directive),
        Self::Rpz(Flaw::TooLarge),
        Self::Rpz(Flaw::NoName),
    ];

    /// Code, weight, words and hint.
    const fn row(self) -> (&'static str, Weight, &'static str, Option<&'static str>) {
        use Weight::{Bad, Taken, Unsupported};
        match self {
            Self::Address => (
                "address",
                Bad,
                "an address where a name should be",
                Some("addresses in answers are not filtered by this version; a list holds names"),
            ),
            Self::ResponseAddress => (
                "response-address",
                Unsupported,
                "a line about addresses in answers",
                Some("addresses in answers are not filtered by this version"),
            ),
            Self::Redirect => (
                "redirect",
                Unsupported,
                "a name with a real address",
                Some("only 0.0.0.0, 127.0.0.1, :: and ::1 block a name; a sinkhole rule gives addresses"),
            ),
            Self::NoAddress => (
                "hosts-no-address",
                Bad,
                "a line without an address in a hosts file",
                Some("format = \"domains\" reads plain names"),
            ),
            Self::HostsLine => (
                "hosts-line",
                Bad,
                "a hosts line in a list of another format",
                Some("format = \"hosts\" reads such lines"),
            ),
            Self::AdblockLine => (
                "adblock-line",
                Bad,
                "an adblock rule in a list of another format",
                Some("format = \"adblock\" reads such lines"),
            ),
            Self::DnsmasqLine => (
                "dnsmasq-line",
                Bad,
                "a dnsmasq setting in a list of another format",
                Some("format = \"dnsmasq\" reads such lines"),
            ),
            Self::UnboundLine => (
                "unbound-line",
                Bad,
                "an unbound setting in a list of another format",
                Some("format = \"unbound\" reads such lines"),
            ),
            Self::V2flyLine => (
                "v2fly-line",
                Bad,
                "a v2fly entry in a list of another format",
                Some("format = \"v2fly\" reads such lines"),
            ),
            Self::RpzLine => (
                "rpz-line",
                Bad,
                "a zone file record in a list of another format",
                Some("format = \"rpz\" reads such lines"),
            ),
            Self::Url => (
                "url",
                Bad,
                "a url, path or port, which dns does not see",
                Some("dns sees the name alone: write the name, if all of it is to be blocked"),
            ),
            Self::AdblockUrl => (
                "adblock-url",
                Unsupported,
                "an adblock rule for a url, path or port, which dns does not see",
                Some("dns sees the name alone: write ||x^, if all of x is to be blocked"),
            ),
            Self::Pattern => (
                "pattern",
                Unsupported,
                "a regular expression",
                Some("names are matched whole: write the names that are meant"),
            ),
            Self::Keyword => {
                ("keyword", Unsupported, "a keyword", Some("names are matched whole: write the names that are meant"))
            }
            Self::InnerWildcard => (
                "inner-wildcard",
                Unsupported,
                "a wildcard that is not the whole first label",
                Some("\"*.x\" is all below x; write the names that are meant"),
            ),
            Self::Prefix => (
                "adblock-prefix",
                Unsupported,
                "the beginning of a name without its end",
                Some("\"||x^\" is x and all below; a beginning alone matches names under every top-level domain"),
            ),
            Self::OpenEnd => (
                "adblock-open-end",
                Taken,
                "an adblock rule without ^, taken as the name and all below",
                Some("write \"||x^\""),
            ),
            Self::Unanchored => (
                "adblock-unanchored",
                Taken,
                "an adblock rule without ||, taken as the name and all below",
                Some("write \"||x^\""),
            ),
            Self::Cosmetic => (
                "adblock-cosmetic",
                Unsupported,
                "an adblock rule for pieces of a page, which dns does not see",
                Some("it is for browsers: nothing has to be done"),
            ),
            Self::Modifier => (
                "adblock-modifier",
                Unsupported,
                "an adblock rule with a modifier that says nothing about names",
                Some("the rule is for browsers; important, badfilter, dnstype and denyallow are understood"),
            ),
            Self::Clients => (
                "adblock-client",
                Unsupported,
                "an adblock rule for some clients",
                Some("make a rule with groups = [\"@name\"] and names = [...] of it"),
            ),
            Self::Rewrite => (
                "adblock-rewrite",
                Unsupported,
                "an adblock rule with an answer of its own",
                Some("make a rule with action = \"sinkhole\" and addresses = [...] of it"),
            ),
            Self::TooManyTypes => (
                "too-many-types",
                Unsupported,
                "one more set of record types than 15 in one list",
                Some("split the list"),
            ),
            Self::LongDnstype => (
                "too-long-dnstype",
                Bad,
                "more than 20 record types of one line",
                Some("a line has one to three types: look at it"),
            ),
            Self::TooManyExceptions => (
                "too-many-exceptions",
                Unsupported,
                "more than 1000000 exceptions and lines that are important, for some types or take others back",
                Some("make a list of the names that are freed, for a rule with action = \"allow\" in a zone before"),
            ),
            Self::DeniesNothing => (
                "adblock-denies-nothing",
                Bad,
                "an adblock rule whose $denyallow is all of it",
                Some("name what is below the rule's own name in $denyallow"),
            ),
            Self::TooManyHoles => (
                "too-many-denyallow",
                Unsupported,
                "more than 500 names in $denyallow",
                Some("write the exceptions as @@||x^"),
            ),
            Self::Setting => (
                "setting",
                Unsupported,
                "a setting that blocks no name",
                Some("address=/x/, server=/x/, local=/x/, local-zone and local-data are read"),
            ),
            Self::Forward => (
                "forward",
                Unsupported,
                "a setting that forwards a name to a server",
                Some("[[route]] of gateway.toml sends zones to other servers"),
            ),
            Self::Include => (
                "include",
                Bad,
                "a list to take in that is not there or is no list",
                Some("include:x is the file x, or x.txt, beside the list"),
            ),
            Self::TooManyIncludes => (
                "too-many-includes",
                Bad,
                "more to take in than 1000 lists, or than 256 MiB of them together",
                Some("split the list"),
            ),
            Self::TooManyAttributes => (
                "too-many-attributes",
                Bad,
                "more than 50 attributes of one line, or one over 64 bytes",
                Some("a line has one to three: look at it"),
            ),
            Self::Unicode => (
                "unicode",
                Bad,
                "a name with letters beyond ascii that no domain has",
                Some("write the name in its ASCII form, which begins with xn--"),
            ),
            Self::PublicSuffix => (
                "public-suffix",
                Bad,
                "a whole public suffix",
                Some("force = true takes whole public suffixes, if that is what you want"),
            ),
            Self::EmptyLabel => (
                "empty-label",
                Bad,
                "a name with an empty label",
                Some("one dot between labels, and none at the beginning"),
            ),
            Self::LabelTooLong => {
                ("label-too-long", Bad, "a label over 63 bytes", Some("no domain has such a label: look at the line"))
            }
            Self::NameTooLong => {
                ("name-too-long", Bad, "a name over 255 bytes", Some("no domain has such a name: look at the line"))
            }
            Self::Trailing => (
                "trailing",
                Bad,
                "text behind the name that is no comment",
                Some("one name on each line; a comment begins with #"),
            ),
            Self::Character => (
                "character",
                Bad,
                "a character that no name has",
                Some("letters, digits, '-' and '_', with dots between labels"),
            ),
            Self::Rpz(flaw) => flaw.row(),
        }
    }

    /// A short word for it that stays the same over versions and languages.
    pub const fn code(self) -> &'static str {
        self.row().0
    }

    /// What becomes of the line.
    pub const fn weight(self) -> Weight {
        self.row().1
    }

    /// What is wrong.
    pub fn text(self) -> Text {
        Text::phrase(self.row().2)
    }

    /// What to do about it, when there is something.
    pub fn hint(self) -> Option<Text> {
        self.row().3.map(Text::phrase)
    }
}

/// What is wrong with a line that could not be read, or with the `word` of it that could not.
pub(in crate::policy::filter) fn classify(line: &[u8], word: &[u8], format: Format) -> Problem {
    match detect::format_of_line(line) {
        Some(seen) if seen == format => {}
        Some(Format::Adblock) => return Problem::AdblockLine,
        Some(Format::Dnsmasq) => return Problem::DnsmasqLine,
        Some(Format::Unbound) => return Problem::UnboundLine,
        Some(Format::V2fly) => return Problem::V2flyLine,
        Some(Format::Rpz) => return Problem::RpzLine,
        Some(Format::Hosts) => return Problem::HostsLine,
        _ => {}
    }
    if detect::is_address(word) {
        return Problem::Address;
    }
    if word.iter().any(|byte| matches!(byte, b'/' | b'?' | b':')) {
        return Problem::Url;
    }
    if !word.is_ascii() && str::from_utf8(word).is_ok() {
        return Problem::Unicode;
    }
    if word.contains(&b'*') {
        return Problem::InnerWildcard;
    }
    Problem::Character
}
