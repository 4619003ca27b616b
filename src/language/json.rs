//! Why a piece of JSON was not taken, in the languages of the gateway: serde_json says it in English alone. What is not known
//! here is quoted.

use super::{Text, text};
use serde_json::error::{Category, Error};

impl Text {
    /// Why a piece of JSON was not taken.
    pub fn of_json(error: &Error) -> Self {
        let words = error.to_string();
        // What was read from a value and not from a text has no place.
        let (line, column) = (error.line(), error.column());
        let place = format!(" at line {line} column {column}");
        match (words.strip_suffix(&place), error.io_error_kind()) {
            (_, Some(kind)) => Self::of_io(&kind.into()),
            (Some(words), _) => {
                text!("{cause} at line {line} column {column}", cause = cause(error, words), line, column)
            }
            (None, _) => cause(error, &words),
        }
    }
}

/// The cause in words without its place.
fn cause(error: &Error, words: &str) -> Text {
    if error.classify() == Category::Eof {
        return text!("it ended too early");
    }
    match words {
        "expected value" | "expected ident" => text!("a value is expected"),
        "invalid number" => text!("invalid number"),
        "number out of range" => text!("number out of range"),
        "trailing comma" => text!("trailing comma"),
        "trailing characters" => text!("trailing characters"),
        "key must be a string" => text!("key must be a string"),
        "recursion limit exceeded" => text!("recursion limit exceeded"),
        "invalid escape"
        | "invalid unicode code point"
        | "lone leading surrogate in hex escape"
        | "unexpected end of hex escape" => text!("invalid escape"),
        _ if words.starts_with("control character ") => text!("control character found while parsing a string"),
        // Those of the standard library, which serde passes on.
        "invalid IP address syntax" => text!("invalid IP address syntax"),
        "invalid IPv4 address syntax" => text!("invalid IPv4 address syntax"),
        "invalid IPv6 address syntax" => text!("invalid IPv6 address syntax"),
        "invalid socket address syntax" => text!("invalid socket address syntax"),
        _ => of_parts(words).unwrap_or_else(|| text!("it is not as expected: {words:?}", words)),
    }
}

/// The cause in words with names and values among them: those of the JSON, and those that serde has instead.
fn of_parts(words: &str) -> Option<Text> {
    let after = |start: &str| words.strip_prefix(start);
    if let Some(key) = after("missing field ") {
        return Some(text!("missing field {key}", key));
    }
    if let Some(key) = after("duplicate field ") {
        return Some(text!("duplicate field {key}", key));
    }
    if let Some(marks) = after("expected ").filter(|marks| marks.starts_with('`')) {
        return Some(text!("expected {words}", words = choices(marks)?));
    }
    for (start, is_field) in [("unknown field ", true), ("unknown variant ", false)] {
        let Some(rest) = after(start) else { continue };
        let (name, known) = match rest.rsplit_once("`, expected ") {
            Some((name, known)) => (name, choices(known)),
            None => (rest.rsplit_once("`, there are no ")?.0, None),
        };
        let name = format!("{name}`");
        return Some(match (is_field, known) {
            (true, Some(words)) => text!("unknown field {name}, expected {words}", name, words),
            (true, None) => text!("unknown field {name}", name),
            (false, Some(words)) => text!("unknown word {name}, expected {words}", name, words),
            (false, None) => text!("unknown word {name}", name),
        });
    }
    let found = after("invalid type: ").or_else(|| after("invalid value: ")).or_else(|| after("invalid "))?;
    let (found, wanted) = found.rsplit_once(", expected ")?;
    let wanted = wanted_of(wanted)?;
    Some(match found {
        "sequence" => text!("{wanted} is expected, not a list", wanted),
        "map" => text!("{wanted} is expected, not an object", wanted),
        _ => text!("{wanted} is expected, not {found}", wanted, found = found_of(found)),
    })
}

/// The choices of "`a`", "`a` or `b`" and "one of `a`, `b`, `c`".
fn choices(words: &str) -> Option<Text> {
    let words = words.strip_prefix("one of ").unwrap_or(words);
    Some(match words.starts_with('`').then(|| words.split_once("` or `"))? {
        Some((one, other)) => Text::joined(" or ", [format!("{one}`"), format!("`{other}")].map(Text::verbatim)),
        None => Text::verbatim(words),
    })
}

/// What serde expects; `None` for the words of a type of ours or of another library.
fn wanted_of(words: &str) -> Option<Text> {
    if let Some(kind) = words.strip_prefix("a nonzero ") {
        return Some(text!("a whole number other than 0 ({kind})", kind));
    }
    let of_size = ["a tuple of size ", "an array of length "].iter().find_map(|start| words.strip_prefix(start));
    if let Some(n) = of_size {
        return Some(text!("a list of {n} entries", n));
    }
    Some(match words {
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" | "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => {
            text!("a whole number ({kind})", kind = words)
        }
        "f32" | "f64" => text!("a number"),
        "a boolean" => text!("true or false"),
        "a string" | "string" | "str" | "a borrowed string" | "variant identifier" | "field identifier"
        | "path string" => {
            text!("text")
        }
        "a sequence" | "a set" => text!("a list"),
        "a map" => text!("an object"),
        _ if words.starts_with("struct ") || words.starts_with("internally tagged enum ") => text!("an object"),
        _ if words.starts_with("tuple ") || words == "an empty array" => text!("a list"),
        _ if words.starts_with("enum ") || words.starts_with("string or map") => text!("a word or an object"),
        _ => return None,
    })
}

/// What serde found but for lists and objects: a kind, mostly with the value itself. It is set as a Latin word.
fn found_of(words: &str) -> Text {
    for start in ["integer ", "floating point ", "boolean ", "string ", "character "] {
        if let Some(value) = words.strip_prefix(start) {
            return Text::verbatim(value);
        }
    }
    match words.strip_prefix("length ") {
        Some(length) => text!("{n} entries", n = length),
        None => Text::verbatim(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Lang;
    use serde::Deserialize;
    use std::net::{IpAddr, Ipv6Addr};
    use std::num::NonZeroU32;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "what is tested is why it cannot be read")]
    struct Entry {
        bytes: u64,
        path: String,
        #[serde(default)]
        parts: Vec<bool>,
        #[serde(default)]
        kind: Kind,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Kind {
        #[default]
        List,
        Zone,
        Notes,
    }

    #[test]
    fn what_json_can_lack_is_said_in_both_languages() {
        for (json, en, zh) in [
            ("", "it ended too early at line 1 column 0", "第 1 行第 0 列：数据不完整"),
            ("{\n\"bytes\"", "it ended too early at line 2 column 7", "第 2 行第 7 列：数据不完整"),
            ("nothing", "a value is expected at line 1 column 2", "第 1 行第 2 列：此处应有值"),
            ("{bytes", "key must be a string at line 1 column 2", "第 1 行第 2 列：键应写在引号中"),
            (r#"{"bytes" 1}"#, "expected `:` at line 1 column 10", "第 1 行第 10 列：此处应为 `:`"),
            (r#"{"bytes":1 "a""#, "expected `,` or `}` at line 1 column 12", "第 1 行第 12 列：此处应为 `,` 或 `}`"),
            (r#"{"bytes":1,}"#, "trailing comma at line 1 column 12", "第 1 行第 12 列：多了一个逗号"),
            (r#"{"bytes":01}"#, "invalid number at line 1 column 11", "第 1 行第 11 列：数字格式错误"),
            (r#"{"path":"\x"}"#, "invalid escape at line 1 column 11", "第 1 行第 11 列：转义序列错误"),
            (r#"{"bytes":1}"#, "missing field `path` at line 1 column 11", "第 1 行第 11 列：缺少字段 `path`"),
            (
                r#"{"bytes":1,"bytes":1}"#,
                "duplicate field `bytes` at line 1 column 18",
                "第 1 行第 18 列：字段 `bytes` 重复",
            ),
            (
                r#"{"byte`, s":1}"#,
                "unknown field `byte`, s`, expected `bytes`, `path`, `parts`, `kind` at line 1 column 11",
                "第 1 行第 11 列：未知字段 `byte`, s`，应为以下之一：`bytes`, `path`, `parts`, `kind`",
            ),
            (
                r#"{"bytes":1,"path":"","kind":"zon"}"#,
                "unknown word `zon`, expected `list`, `zone`, `notes` at line 1 column 33",
                "第 1 行第 33 列：未知的词 `zon`，应为以下之一：`list`, `zone`, `notes`",
            ),
            (
                r#"{"bytes":-1}"#,
                "a whole number (u64) is expected, not `-1` at line 1 column 11",
                "第 1 行第 11 列：此处应为整数（u64），而不是 `-1`",
            ),
            (
                r#"{"bytes":"a, expected b"}"#,
                "a whole number (u64) is expected, not \"a, expected b\" at line 1 column 24",
                "第 1 行第 24 列：此处应为整数（u64），而不是 \"a, expected b\"",
            ),
            (
                r#"{"path":null}"#,
                "text is expected, not null at line 1 column 12",
                "第 1 行第 12 列：此处应为文本，而不是 null",
            ),
            (
                r#"{"parts":[1]}"#,
                "true or false is expected, not `1` at line 1 column 11",
                "第 1 行第 11 列：此处应为布尔值（true 或 false），而不是 `1`",
            ),
            (
                r#"{"parts":{}}"#,
                "a list is expected, not an object at line 1 column 9",
                "第 1 行第 9 列：此处应为列表，而不是对象",
            ),
            (
                "[[]]",
                "a whole number (u64) is expected, not a list at line 1 column 1",
                "第 1 行第 1 列：此处应为整数（u64），而不是列表",
            ),
            ("7", "an object is expected, not `7` at line 1 column 1", "第 1 行第 1 列：此处应为对象，而不是 `7`"),
        ] {
            let told = Text::of_json(&serde_json::from_str::<Entry>(json).unwrap_err());
            assert_eq!([Lang::En, Lang::Zh].map(|lang| told.to(lang)), [en, zh], "{json}");
        }
        let kind = serde_json::from_value::<Kind>(serde_json::json!([])).unwrap_err();
        assert_eq!(Text::of_json(&kind).to(Lang::Zh), "此处应为一个词或一个对象，而不是列表", "{kind}");
        let told = |error: serde_json::Error| Text::of_json(&error).to(Lang::Zh);
        for (error, zh) in [
            (serde_json::from_str::<IpAddr>("\"1.2.3\"").unwrap_err(), "第 1 行第 7 列：IP 地址格式错误"),
            (serde_json::from_str::<Ipv6Addr>("\"1.2.3\"").unwrap_err(), "第 1 行第 7 列：IPv6 地址格式错误"),
            (
                serde_json::from_str::<(u8, u8)>("[1]").unwrap_err(),
                "第 1 行第 3 列：此处应为含 2 项的列表，而不是 1 项",
            ),
            (serde_json::from_str::<[u8; 3]>("{}").unwrap_err(), "第 1 行第 0 列：此处应为含 3 项的列表，而不是对象"),
            (
                serde_json::from_str::<NonZeroU32>("0").unwrap_err(),
                "第 1 行第 1 列：此处应为非零整数（u32），而不是 `0`",
            ),
        ] {
            let en = error.to_string();
            assert_eq!(told(error), zh, "{en}");
        }
        let deep = serde_json::from_str::<serde_json::Value>(&"[".repeat(200)).unwrap_err();
        assert_eq!(Text::of_json(&deep).to(Lang::Zh), "第 1 行第 128 列：嵌套过深");
        let of_ours = <serde_json::Error as serde::de::Error>::custom("the moon is wrong");
        assert_eq!(Text::of_json(&of_ours).to(Lang::Zh), "内容不符合要求，原文为 \"the moon is wrong\"");
        let system = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert_eq!(Text::of_json(&serde_json::Error::io(system)).to(Lang::Zh), "权限不足");
    }
}
