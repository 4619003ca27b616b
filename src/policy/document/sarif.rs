//! The fault report as SARIF 2.1.0 (OASIS), which code scanning and editors read: a rule for each code, a result for each
//! fault, the place as a region whose columns count UTF-16 code units.

use super::report::{Located, Report};
use super::{Code, meaning};
use crate::language::{Lang, text};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The log of one run.
pub(super) fn log(report: &Report, dir: &str, lang: Lang) -> Value {
    let results: Vec<_> = report.faults.iter().map(|fault| result(fault, dir)).collect();
    // SARIF 3.20.21: what kept the tool from saying all is a notification, not a result.
    let notifications: Vec<_> = (report.more > 0)
        .then(|| {
            let more = text!("{more} more faults are not shown", more = report.more).to(lang);
            json!({ "level": "error", "message": { "text": more } })
        })
        .into_iter()
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "weir",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "language": lang.tag(),
                "rules": Code::ALL.iter().map(|code| rule(*code, lang)).collect::<Vec<_>>(),
            }},
            "language": lang.tag(),
            "columnKind": "utf16CodeUnits",
            "invocations": [{
                "executionSuccessful": true,
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    })
}

fn rule(code: Code, lang: Lang) -> Value {
    let meaning = meaning::of(code);
    json!({
        "id": code.as_str(),
        "shortDescription": { "text": meaning.meaning.to(lang) },
        "help": { "text": meaning.way_out.to(lang) },
        "defaultConfiguration": { "level": if code.refuses() { "error" } else { "warning" } },
    })
}

fn result(fault: &Located, dir: &str) -> Value {
    // A reader shows the message alone, so the hint goes with it.
    let message = match &fault.hint {
        Some(hint) => format!("{}\n{hint}", fault.message),
        None => fault.message.clone(),
    };
    let mut physical = json!({ "artifactLocation": artifact(dir, &fault.file) });
    if let Some((start, end)) = fault.utf16 {
        physical["region"] = json!({
            "startLine": fault.line,
            "startColumn": start,
            "endLine": fault.end_line,
            "endColumn": end,
            "snippet": { "text": fault.excerpt },
        });
    }
    let index = Code::ALL.iter().position(|code| code.as_str() == fault.code);
    json!({
        "ruleId": fault.code,
        "ruleIndex": index,
        "level": fault.severity,
        "message": { "text": message },
        "locations": [{ "physicalLocation": physical }],
        "partialFingerprints": { "weirFault/v1": fingerprint(fault) },
    })
}

/// The file as a URI: an absolute one for an absolute path, else one below the root of the sources.
fn artifact(dir: &str, file: &str) -> Value {
    let path = match (dir.trim_end_matches('/'), file) {
        ("", file) => file.to_owned(),
        (dir, "") => dir.to_owned(),
        (dir, file) => format!("{dir}/{file}"),
    };
    let path = path.strip_prefix("./").unwrap_or(&path);
    match path.strip_prefix('/') {
        Some(_) => json!({ "uri": format!("file://{}", encoded(path)) }),
        None => json!({ "uri": encoded(path), "uriBaseId": "%SRCROOT%" }),
    }
}

/// Percent-encoding of all but the unreserved characters and the slash (RFC 3986 section 2.3).
fn encoded(path: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    path.bytes().map(encode).collect()
}

/// The same for the same fault in a file that was changed elsewhere, and in every language: nothing of it counts lines.
fn fingerprint(fault: &Located) -> String {
    let mut digest = Sha256::new();
    for part in [fault.code, &fault.file, &fault.text().english(), fault.excerpt.trim()] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
