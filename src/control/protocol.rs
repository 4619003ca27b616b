//! What is said over the control socket: one JSON object a line in each direction, because a person with `socat` and a
//! program in any language can speak that.
//!
//! A request is `{"weir":1,"command":"reload"}`; a response is `{"weir":1,"ok":true,"result":...}` or
//! `{"weir":1,"ok":false,"error":{"code":...,"message":...}}`. The number is the version of the protocol: it changes
//! when a field changes its meaning, not when one is added.

use super::history::request::{ApplyRequest, ConfirmRequest, DiffRequest, RollbackRequest};
use super::incidents::request::{BlockRequest, ModeRequest, UnblockRequest};
use super::plan::PlanRequest;
use crate::language::{Lang, Text, text};
use crate::policy::document::Report;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version that this program speaks.
pub const VERSION: u64 = 1;

/// The longest request line, in bytes; a longer one ends the connection.
pub const REQUEST_MAX: usize = 16 * 1024;

/// The longest response line that a client takes, in bytes: a fault report of a whole policy directory fits.
pub const RESPONSE_MAX: usize = 16 * 1024 * 1024;

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// How the gateway is: see [`super::status::Status`].
    Status {},
    /// Load the policy directory again: see [`super::reload::Reloaded`].
    Reload {
        /// Even what the guard objects to.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        force: bool,
    },
    /// Who it is: see [`super::top::Top`].
    Top {
        /// Rows of each list, at most [`super::top::ROWS_MAX`].
        #[serde(default = "Command::default_rows")]
        rows: usize,
    },
    /// What the running policy would do with a question.
    Explain(Question),
    /// Which modes there are and which is on, or a switch: see [`super::incidents::report::Modes`].
    Mode(ModeRequest),
    /// Block names, at once and for a time: see [`super::incidents::report::Done`].
    Block(BlockRequest),
    /// Let names go again: see [`super::incidents::report::Done`].
    Unblock(UnblockRequest),
    /// The policies that came to run: see [`super::history::report::HistoryList`].
    History {},
    /// What differs between two policies: see [`super::history::diff::Diff`].
    Diff(DiffRequest),
    /// What another policy would change: see [`super::plan::Plan`].
    Plan(PlanRequest),
    /// Make another directory the policy: see [`super::reload::Reloaded`].
    Apply(ApplyRequest),
    /// Make a policy of the history the policy: see [`super::reload::Reloaded`].
    Rollback(RollbackRequest),
    /// Keep what was applied: see [`super::history::report::Confirmed`].
    Confirm(ConfirmRequest),
    /// How the feeds are: see [`super::feeds::report::FeedList`].
    Feeds {},
    /// Look at feeds now; answered at once with how they were before: see [`super::feeds::report::FeedList`].
    FeedRefresh {
        /// One of them; all unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Put a copy in force that waits: see [`super::reload::Reloaded`].
    FeedAccept {
        /// The feed.
        name: String,
    },
}

impl Command {
    fn default_rows() -> usize {
        5
    }
}

/// The question of `explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The name, in master-file text.
    pub name: String,
    /// The type: a mnemonic such as `AAAA`, or `TYPE65`.
    #[serde(default = "Question::default_type", rename = "type")]
    pub qtype: String,
    /// The client's address; 127.0.0.1 unless given.
    #[serde(default = "Question::default_client")]
    pub client: std::net::IpAddr,
    /// Asked over TCP.
    #[serde(default)]
    pub tcp: bool,
    /// When it is asked: a date with time and offset; now unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

impl Question {
    fn default_type() -> String {
        "A".to_owned()
    }

    fn default_client() -> std::net::IpAddr {
        std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)
    }
}

/// Why a request was not carried out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// For programs.
    pub code: FailureCode,
    /// For people: the place, the cause and the way out.
    pub message: String,
    /// The faults of a policy that was not taken, rendered for a terminal without colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// What `message` and `report` were made of, on the side that made them.
    #[serde(skip)]
    pub said: Option<Box<SaidFailure>>,
}

/// A failure that can still be said in another language.
#[derive(Clone, Debug)]
pub struct SaidFailure {
    message: Text,
    /// The name of the policy, and what is wrong with it.
    faults: Option<(Text, Report)>,
}

/// The kinds of [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCode {
    /// Not JSON, an unknown command or field, a value that cannot be.
    BadRequest,
    /// A version that is not spoken here.
    UnknownVersion,
    /// The peer is neither root nor the user that the gateway runs as.
    NotAllowed,
    /// Too many connections at a time.
    Busy,
    /// The policy on disk has faults; the running one stays.
    PolicyFaults,
    /// A new listener could not be opened; the running policy stays.
    CannotListen,
    /// A file that the new policy writes to could not be opened; the running policy stays.
    CannotOpen,
    /// The policy directory cannot be written to, or what lies there would be lost; nothing has changed.
    CannotWrite,
    /// No history is kept, or it cannot be read or written; nothing has changed.
    NoHistory,
    /// The guard objects: so large a change has to be forced; the running policy stays.
    Guarded,
    /// An apply waits to be confirmed first; nothing has changed.
    Unconfirmed,
    /// As many as there may be are there already.
    Full,
    /// The gateway is ending, or a part of it did not answer.
    Unavailable,
}

impl PartialEq for Failure {
    /// As it is on the wire.
    fn eq(&self, other: &Self) -> bool {
        (self.code, &self.message, &self.report) == (other.code, &other.message, &other.report)
    }
}

impl Eq for Failure {}

impl Failure {
    /// A failure without a report.
    pub fn new(code: FailureCode, message: Text) -> Self {
        Self {
            code,
            message: message.english(),
            report: None,
            said: Some(Box::new(SaidFailure { message, faults: None })),
        }
    }

    /// A failure with the faults of the policy `name`.
    pub fn of_faults(message: Text, name: Text, report: Report) -> Self {
        let (english, shown) = (message.english(), report.human(&name.english(), false));
        let said = SaidFailure { message, faults: Some((name, report)) };
        Self { code: FailureCode::PolicyFaults, message: english, report: Some(shown), said: Some(Box::new(said)) }
    }

    /// What is wrong, in any language, where it did not come over the wire.
    pub fn text(&self) -> Text {
        match &self.said {
            Some(said) => said.message.clone(),
            None => Text::verbatim(&self.message),
        }
    }

    /// The first of the faults that refuse the policy, where it is that.
    pub fn first_fault(&self) -> Option<Text> {
        let (_, report) = self.said.as_ref()?.faults.as_ref()?;
        let fault = report.faults.iter().find(|fault| fault.severity == "error")?;
        Some(text!("error[{code}]: {message}", code = fault.code, message = fault.text()))
    }

    /// As whoever asked reads it; what came over the wire stays as it is.
    #[must_use]
    pub fn in_language(mut self, lang: Lang) -> Self {
        let Some(said) = &self.said else { return self };
        self.message = said.message.to(lang);
        if let Some((name, report)) = &said.faults {
            self.report = Some(report.clone().in_language(lang).human(&name.to(lang), false));
        }
        self
    }
}

/// Reads one request line (without its line end), and the language that refusals are to be in: `"lang":"zh"`, English unless
/// given.
///
/// # Errors
/// A [`Failure`] that names what is wrong with the line.
pub fn read_request(line: &[u8]) -> Result<(Command, Lang), Failure> {
    let bad = |message: Text| Failure::new(FailureCode::BadRequest, message);
    let value: Value = serde_json::from_slice(line)
        .map_err(|error| bad(text!("the request is not JSON: {error}", error = Text::of_json(&error))))?;
    let Value::Object(mut fields) = value else {
        return Err(bad(text!("the request is not a JSON object, such as {{\"weir\":1,\"command\":\"status\"}}")));
    };
    match fields.remove("weir").as_ref().map(Value::as_u64) {
        Some(Some(VERSION)) => {}
        Some(other) => {
            let other = other.map_or_else(|| text!("something else"), |version| Text::verbatim(version.to_string()));
            let message = text!(
                "this gateway speaks version {version} of the control protocol, not {other}",
                version = VERSION,
                other
            );
            return Err(Failure::new(FailureCode::UnknownVersion, message));
        }
        None => {
            return Err(bad(text!(
                "the request lacks \"weir\":{version}, the version of the protocol",
                version = VERSION
            )));
        }
    }
    // A language that is not spoken here is no reason to refuse what may be urgent.
    let lang = fields.remove("lang").and_then(|lang| lang.as_str()?.parse().ok()).unwrap_or_default();
    let command = serde_json::from_value(Value::Object(fields))
        .map_err(|error| bad(text!("the request is not understood: {error}", error = Text::of_json(&error))))?;
    Ok((command, lang))
}

/// Writes a request as one line, line end included.
pub fn write_request(command: &Command, lang: Lang) -> String {
    let mut value = serde_json::to_value(command).unwrap_or(Value::Null);
    if let Value::Object(fields) = &mut value {
        fields.insert("weir".to_owned(), VERSION.into());
        if lang != Lang::default() {
            fields.insert("lang".to_owned(), lang.name().into());
        }
    }
    format!("{value}\n")
}

/// Writes a response as one line, line end included.
pub fn write_response(result: &Result<Value, Failure>) -> String {
    let value = match result {
        Ok(result) => serde_json::json!({ "weir": VERSION, "ok": true, "result": result }),
        Err(failure) => serde_json::json!({ "weir": VERSION, "ok": false, "error": failure }),
    };
    format!("{value}\n")
}

/// Reads one response line.
///
/// # Errors
/// The outer one when the line is not a response of this protocol, the inner one when the gateway said no.
pub fn read_response(line: &[u8]) -> Result<Result<Value, Failure>, Text> {
    #[derive(Deserialize)]
    struct Response {
        weir: u64,
        ok: bool,
        #[serde(default)]
        result: Value,
        error: Option<Failure>,
    }
    let response: Response = serde_json::from_slice(line).map_err(|error| Text::of_json(&error))?;
    match response {
        Response { weir, .. } if weir != VERSION => {
            Err(text!("version {found} instead of {version}", found = weir, version = VERSION))
        }
        Response { ok: true, result, .. } => Ok(Ok(result)),
        Response { error: Some(failure), .. } => Ok(Err(failure)),
        Response { .. } => Err(text!("neither a result nor an error")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_wire() {
        let question = Question {
            name: "a.example".into(),
            qtype: "AAAA".into(),
            client: [192, 0, 2, 1].into(),
            tcp: true,
            at: Some("2026-01-01T00:00:00Z".into()),
        };
        let apply = ApplyRequest {
            directory: "/a b".into(),
            reason: Some("x".into()),
            confirm_within: Some("5m".into()),
            force: true,
        };
        let diff = DiffRequest { a: "3f2a9c".into(), b: "/next".into() };
        for command in [
            Command::Status {},
            Command::Reload { force: false },
            Command::Reload { force: true },
            Command::Plan(PlanRequest { policy: "/next".into() }),
            Command::Top { rows: 7 },
            Command::Explain(question),
            Command::History {},
            Command::Feeds {},
            Command::FeedRefresh { name: Some("phishing".into()) },
            Command::FeedAccept { name: "phishing".into() },
            Command::Apply(apply),
            Command::Diff(diff),
            Command::Rollback(RollbackRequest::default()),
            Command::Confirm(ConfirmRequest { reason: Some("good".into()) }),
        ] {
            let line = write_request(&command, Lang::Zh);
            assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
            assert_eq!(read_request(line.trim_end().as_bytes()), Ok((command, Lang::Zh)));
        }
    }

    #[test]
    fn a_short_explain_has_defaults() {
        let Ok((Command::Explain(question), Lang::En)) = read_request(br#"{"weir":1,"command":"explain","name":"x"}"#)
        else {
            panic!("a name is enough");
        };
        assert_eq!((question.qtype.as_str(), question.client.to_string().as_str()), ("A", "127.0.0.1"));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let cases: [(&[u8], FailureCode, &str); 8] = [
            (b"reload", FailureCode::BadRequest, "not JSON"),
            (b"[]", FailureCode::BadRequest, "not a JSON object"),
            (br#"{"command":"reload"}"#, FailureCode::BadRequest, "lacks"),
            (br#"{"weir":2,"command":"reload"}"#, FailureCode::UnknownVersion, "not 2"),
            (br#"{"weir":"1","command":"reload"}"#, FailureCode::UnknownVersion, "not something else"),
            (br#"{"weir":1,"command":"relaod"}"#, FailureCode::BadRequest, "relaod"),
            (br#"{"weir":1,"command":"reload","now":true}"#, FailureCode::BadRequest, "now"),
            (br#"{"weir":1,"command":"explain","name":"x","client":"y"}"#, FailureCode::BadRequest, "IP address"),
        ];
        for (line, code, part) in cases {
            let failure = read_request(line).expect_err("must not be taken");
            assert_eq!(failure.code, code, "{}", failure.message);
            assert!(failure.message.contains(part), "{} lacks {part}", failure.message);
        }
    }

    #[test]
    fn responses_survive_the_wire() {
        let failure = Failure {
            report: Some("line\nline".into()),
            ..Failure::new(FailureCode::PolicyFaults, Text::verbatim("no"))
        };
        for result in [Ok(serde_json::json!({"a": 1})), Err(failure)] {
            let line = write_response(&result);
            assert_eq!(line.matches('\n').count(), 1, "a report must not break the line");
            assert_eq!(read_response(line.trim_end().as_bytes()), Ok(result));
        }
        assert!(read_response(br#"{"weir":1,"ok":false}"#).is_err());
        assert!(read_response(b"HTTP/1.1 400").is_err());
    }

    #[test]
    fn requests_that_are_not_understood_are_told_in_chinese() {
        for (request, zh) in
            [("{", "请求不是 JSON：第 1 行第 1 列：数据不完整"), (r#"{"weir":1}"#, "无法理解请求：缺少字段 `command`")]
        {
            let failure = read_request(request.as_bytes()).unwrap_err().in_language(Lang::Zh);
            assert_eq!(failure.message, zh);
        }
        let failure = read_request(br#"{"weir":1,"command":"dance"}"#).unwrap_err().in_language(Lang::Zh);
        assert!(
            failure.message.starts_with("无法理解请求：未知的词 `dance`，应为以下之一：`status`"),
            "{}",
            failure.message
        );
    }
}
