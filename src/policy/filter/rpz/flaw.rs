//! What can be wrong with a record of a response policy zone. The zones of the world are full of such records, and none of
//! them may cost its neighbours: each is counted, and the report says what was meant.

use crate::policy::filter::lists::Weight;

/// What is wrong with a record, or doubtful about it though it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flaw {
    /// An address trigger without a prefix length, or with one out of range.
    IpPrefix,
    /// An IPv6 trigger that is not in the form of response policy zones.
    Ip6Form,
    /// An address trigger that holds no address.
    IpForm,
    /// Bits beyond the prefix; it is taken as the network.
    HostBits,
    /// A network that holds more of the Internet than any record should block.
    WideNetwork,
    /// A name that looks like a trigger of another kind, and is none.
    SuspectOwner,
    /// An address as a name, which nobody asks for.
    AddressOwner,
    /// A policy outside the zone because of its last dot; it is taken as if it had none.
    OutOfZone,
    /// Data outside the zone.
    OutOfZoneData,
    /// A record that is there already.
    Duplicate,
    /// Another action for a trigger that has one.
    SecondAction,
    /// More records of one trigger than there may be.
    TooManyRecords,
    /// A CNAME to an `rpz-` name that no action has.
    UnknownAction,
    /// An action without its last dot; it is taken as if it had one.
    RelativeAction,
    /// No record type where one should be.
    NoType,
    /// Data that its type does not allow.
    Data,
    /// A type that cannot be local data.
    Type,
    /// A class other than IN.
    Class,
    /// A line without an owner, and nothing above to take it from.
    NoOwner,
    /// A quote that is not closed on its line.
    Quote,
    /// A parenthesis that is not closed, or was not opened.
    Parenthesis,
    /// Longer than any record can be.
    TooLong,
    /// `$INCLUDE`
    Include,
    /// `$GENERATE`
    Generate,
    /// Another line that begins with `$`, or one of ours that cannot be read.
    Directive,
    /// More than a zone may take of memory.
    TooLarge,
    /// A trigger that a list of names cannot hold.
    NoName,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::IpPrefix,
        Self::Ip6Form,
        Self::IpForm,
        Self::HostBits,
        Self::WideNetwork,
        Self::SuspectOwner,
        Self::AddressOwner,
        Self::OutOfZone,
        Self::OutOfZoneData,
        Self::Duplicate,
        Self::SecondAction,
        Self::TooManyRecords,
        Self::UnknownAction,
        Self::RelativeAction,
        Self::NoType,
        Self::Data,
        Self::Type,
        Self::Class,
        Self::NoOwner,
        Self::Quote,
        Self::Parenthesis,
        Self::TooLong,
        Self::Include,
        Self::Generate,
        Self::Directive,
        Self::TooLarge,
        Self::NoName,
    ];

    /// Code, weight, words and hint.
    pub(in crate::policy::filter) const fn row(self) -> (&'static str, Weight, &'static str, Option<&'static str>) {
        use Weight::{Bad, Taken, Unsupported};
        match self {
            Self::IpPrefix => (
                "rpz-ip-prefix",
                Bad,
                "an address trigger without a prefix length, or with one out of range",
                Some("the prefix length comes first, then the address backwards: 24.0.2.0.192.rpz-ip is 192.0.2.0/24"),
            ),
            Self::Ip6Form => (
                "rpz-ip6-form",
                Bad,
                "an ipv6 trigger in another form than that of rpz",
                Some("128.1.zz.db8.2001.rpz-ip is 2001:db8::1/128: backwards, with dots, and zz for ::"),
            ),
            Self::IpForm => (
                "rpz-ip-form",
                Bad,
                "an address trigger that holds no address",
                Some("24.0.2.0.192.rpz-ip is 192.0.2.0/24, 128.1.zz.db8.2001.rpz-ip is 2001:db8::1/128"),
            ),
            Self::HostBits => (
                "rpz-hostbits",
                Taken,
                "an address trigger with bits beyond its prefix, taken as the network",
                Some("write the network's own address, or a longer prefix"),
            ),
            Self::WideNetwork => (
                "rpz-wide-network",
                Bad,
                "an address trigger on far more addresses than any record should block",
                Some(
                    "write networks from /8 of ipv4 and from /16 of ipv6; force = true takes wider ones, if you mean them",
                ),
            ),
            Self::SuspectOwner => (
                "rpz-suspect-owner",
                Bad,
                "a name that looks like another trigger, and would be one that nobody asks for",
                Some("the last label is rpz-ip, rpz-client-ip, rpz-nsip or rpz-nsdname"),
            ),
            Self::AddressOwner => (
                "rpz-address-owner",
                Bad,
                "an address as a name, which nobody asks for",
                Some("an address in answers is written as 32.1.2.0.192.rpz-ip"),
            ),
            Self::OutOfZone => (
                "rpz-out-of-zone",
                Taken,
                "an owner outside the zone because of its last dot, taken as if it had none",
                Some("leave the last dot of the owner out"),
            ),
            Self::OutOfZoneData => (
                "rpz-out-of-zone-data",
                Bad,
                "a record outside the zone",
                Some("leave the last dot of the owner out, if it is a trigger"),
            ),
            Self::Duplicate => {
                ("rpz-duplicate", Taken, "a record that is there already", Some("the first counts, once"))
            }
            Self::SecondAction => (
                "rpz-second-action",
                Bad,
                "another action for a trigger that has one",
                Some("the first counts; a cname stands alone"),
            ),
            Self::TooManyRecords => (
                "rpz-too-many-records",
                Bad,
                "more records of one trigger than an answer can hold",
                Some("a trigger has at most 64 records and 2048 bytes of data"),
            ),
            Self::UnknownAction => (
                "rpz-unknown-action",
                Bad,
                "a cname to an rpz- name that no action has",
                Some("the actions are rpz-passthru. rpz-drop. rpz-tcp-only."),
            ),
            Self::RelativeAction => (
                "rpz-relative-action",
                Taken,
                "an action without its last dot, taken as if it had one",
                Some("write rpz-passthru. with a dot at the end"),
            ),
            Self::NoType => (
                "rpz-no-type",
                Bad,
                "a line without a record type where one should be",
                Some("a record is owner, type and data: `x CNAME .`; a line that begins with a blank has no owner"),
            ),
            Self::Data => (
                "rpz-data",
                Bad,
                "record data that its type does not allow",
                Some("look at the line: the data is as in a master file"),
            ),
            Self::Type => (
                "rpz-type",
                Unsupported,
                "a record type that cannot be local data",
                Some("such records say nothing in a policy zone; an unknown type is written as \\# LENGTH HEX"),
            ),
            Self::Class => {
                ("rpz-class", Bad, "a record of a class other than IN", Some("write IN, or no class at all"))
            }
            Self::NoOwner => (
                "rpz-no-owner",
                Bad,
                "a line without an owner, below a line whose owner cannot be read",
                Some("mend the line above, or write the owner out"),
            ),
            Self::Quote => (
                "rpz-quote",
                Bad,
                "a quote that is not closed on its line",
                Some("close it, or write \\\" where a quote is meant"),
            ),
            Self::Parenthesis => (
                "rpz-parenthesis",
                Bad,
                "a parenthesis that is not closed, or was not opened",
                Some("close it, or write the record on one line"),
            ),
            Self::TooLong => (
                "rpz-too-long",
                Bad,
                "a line longer than any record can be",
                Some("look at the line: the file is damaged, or not what it should be"),
            ),
            Self::Include => (
                "rpz-include",
                Bad,
                "$INCLUDE, which would read other files",
                Some("put the records into the file itself: named-compilezone -o FILE ZONE FILE does it"),
            ),
            Self::Generate => (
                "rpz-generate",
                Bad,
                "$GENERATE, which is bind's own",
                Some("write the records out: named-compilezone -o FILE ZONE FILE does it"),
            ),
            Self::Directive => (
                "rpz-directive",
                Bad,
                "a line that begins with $ and cannot be read",
                Some("$ORIGIN name. and $TTL 300 are read"),
            ),
            Self::TooLarge => ("rpz-too-large", Bad, "a record beyond 1 GiB of records", Some("split the zone")),
            Self::NoName => (
                "rpz-no-name",
                Unsupported,
                "a trigger on addresses or name servers, which a list of names cannot hold",
                Some("take the file as a zone of its own: filters/NN-name.rpz"),
            ),
        }
    }
}
