use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::jcs::{self, JsonError};
use crate::audit::{Error, Hash};

/// The longest line, without its newline: entry bundles of C2SP tlog-tiles have 16-bit lengths.
pub(in crate::audit) const MAX_LINE: usize = 65_535;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As expected.
    Info,
    /// As expected, and somebody may ask for it.
    Notice,
    /// Not as it should be; the work goes on.
    Warning,
    /// Failed.
    Error,
    /// Somebody must act now.
    Critical,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// What is to be recorded. The log adds who, when, and the place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Lower-case words with dots between them, such as `run.started`; at most 64 bytes.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// The run that it belongs to.
    pub run: Option<String>,
    /// More about it: strings, integers, booleans, arrays and objects with ASCII keys. Secrets are masked already.
    pub data: Map<String, Value>,
}

impl Entry {
    /// An entry without data.
    pub fn new(kind: impl Into<String>, severity: Severity) -> Self {
        Self { kind: kind.into(), severity, run: None, data: Map::new() }
    }

    /// Names the run.
    #[must_use]
    pub fn run(mut self, run: impl Into<String>) -> Self {
        self.run = Some(run.into());
        self
    }

    /// Adds a member to the data.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.data.insert(key.into(), value.into());
        self
    }
}

/// Who wrote a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// The number of the user.
    pub uid: u32,
    /// Their name, or the number again.
    pub user: String,
}

impl Actor {
    /// This process.
    pub(in crate::audit) fn current() -> Self {
        let uid = rustix::process::getuid().as_raw();
        let user = uzers::get_user_by_uid(uid);
        Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            uid,
            user: user.map_or_else(|| uid.to_string(), |user| user.name().to_string_lossy().into_owned()),
        }
    }

    /// Its canonical form.
    pub(in crate::audit) fn render(&self) -> Vec<u8> {
        let mut out = b"{\"host\":".to_vec();
        jcs::write_string(&mut out, &self.host);
        out.extend_from_slice(format!(",\"pid\":{},\"uid\":{},\"user\":", self.pid, self.uid).as_bytes());
        jcs::write_string(&mut out, &self.user);
        out.push(b'}');
        out
    }
}

/// A record as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Who wrote it.
    pub actor: Actor,
    /// More about it.
    pub data: Map<String, Value>,
    /// Which of the log's keys was in use; this version has one.
    pub epoch: u64,
    /// Base64 of the leaf hash of the record before it; of 32 zero bytes in record 0.
    pub prev: String,
    /// The run that it belongs to.
    pub run: Option<String>,
    /// Its place, counted from 0. The order of records is this, not the time.
    pub seq: u64,
    /// How much it matters.
    #[serde(rename = "sev")]
    pub severity: Severity,
    /// When it was written, by the clock of the machine: UTC with milliseconds.
    #[serde(rename = "ts")]
    pub time: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version of this format: 1.
    pub v: u8,
}

/// Why a line is not a record.
pub(in crate::audit) enum LineError {
    /// It says something else.
    Malformed(String),
    /// It says the right thing in other bytes.
    NotCanonical,
}

impl Record {
    /// Reads a line and accepts nothing but the bytes that [`Prepared::render`] writes for the same content. That
    /// rules out doubled keys, other escapes, spaces, and everything else that two parsers could read differently.
    pub(in crate::audit) fn parse(line: &[u8]) -> Result<Self, LineError> {
        let record: Self = serde_json::from_slice(line).map_err(|e| LineError::Malformed(e.to_string()))?;
        if record.v != 1 {
            return Err(LineError::Malformed(format!("version {} is not known here", record.v)));
        }
        if !is_kind(&record.kind) || parse_time(&record.time).is_none() {
            return Err(LineError::Malformed("its type or time has another form".to_owned()));
        }
        let data = Canonical::object(&record.data).map_err(|e| LineError::Malformed(e.to_string()))?;
        let place = Place { actor: &record.actor.render(), epoch: record.epoch, prev: &record.prev, seq: record.seq };
        let mut again = Vec::with_capacity(line.len());
        let (severity, run) = (record.severity, record.run.as_deref());
        render(&mut again, &data, &place, run, severity, &record.time, &record.kind);
        if again == line { Ok(record) } else { Err(LineError::NotCanonical) }
    }

    /// When it was written.
    pub fn timestamp(&self) -> Option<Timestamp> {
        parse_time(&self.time)
    }
}

/// The place of a record in the chain, and who puts it there.
pub(in crate::audit) struct Place<'a> {
    /// The canonical form of the actor.
    pub(in crate::audit) actor: &'a [u8],
    pub(in crate::audit) epoch: u64,
    /// Base64 of the leaf hash before it.
    pub(in crate::audit) prev: &'a str,
    pub(in crate::audit) seq: u64,
}

/// An object's canonical form.
struct Canonical(Vec<u8>);

impl Canonical {
    fn object(map: &Map<String, Value>) -> Result<Self, JsonError> {
        let mut out = Vec::new();
        jcs::write_object(&mut out, map)?;
        Ok(Self(out))
    }
}

/// An entry that was checked and rendered as far as possible before any lock is taken.
pub(in crate::audit) struct Prepared<'a> {
    entry: &'a Entry,
    data: Canonical,
}

impl<'a> Prepared<'a> {
    /// Checks the type, the data, and the length for the longest sequence number that there can be, so that it does
    /// not depend on the record's place.
    pub(in crate::audit) fn new(entry: &'a Entry, actor: &[u8]) -> Result<Self, Error> {
        if !is_kind(&entry.kind) {
            return Err(Error::Kind(entry.kind.clone()));
        }
        let data = Canonical::object(&entry.data).map_err(|source| Error::Data { kind: entry.kind.clone(), source })?;
        let prepared = Self { entry, data };
        let place = Place { actor, epoch: 0, prev: &encode(&[0; 32]), seq: jcs::MAX_INTEGER };
        let mut line = Vec::with_capacity(prepared.data.0.len() + 512);
        prepared.render(&mut line, &place, TIME_SHAPE);
        if line.len() > MAX_LINE {
            return Err(prepared.too_long(line.len()));
        }
        Ok(prepared)
    }

    /// Appends the line, without a newline.
    pub(in crate::audit) fn render(&self, out: &mut Vec<u8>, place: &Place<'_>, time: &str) {
        render(out, &self.data, place, self.entry.run.as_deref(), self.entry.severity, time, &self.entry.kind);
    }

    fn too_long(&self, bytes: usize) -> Error {
        let size = |value: &Value| {
            let mut one = Map::new();
            one.insert(String::new(), value.clone());
            Canonical::object(&one).map_or(0, |data| data.0.len() - "{\"\":}".len())
        };
        let mut fields: Vec<_> = self.entry.data.iter().map(|(key, value)| (key.clone(), size(value))).collect();
        fields.extend(self.entry.run.iter().map(|run| ("run".to_owned(), run.len())));
        fields.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        Error::TooLong { kind: self.entry.kind.clone(), bytes, fields }
    }
}

/// The one place that knows the order of the keys: by their bytes, as RFC 8785 wants it.
fn render(
    out: &mut Vec<u8>,
    data: &Canonical,
    place: &Place<'_>,
    run: Option<&str>,
    severity: Severity,
    time: &str,
    kind: &str,
) {
    out.extend_from_slice(b"{\"actor\":");
    out.extend_from_slice(place.actor);
    out.extend_from_slice(b",\"data\":");
    out.extend_from_slice(&data.0);
    out.extend_from_slice(b",\"epoch\":");
    jcs::write_u64(out, place.epoch);
    out.extend_from_slice(b",\"prev\":");
    jcs::write_string(out, place.prev);
    out.extend_from_slice(b",\"run\":");
    match run {
        Some(run) => jcs::write_string(out, run),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"seq\":");
    jcs::write_u64(out, place.seq);
    out.extend_from_slice(b",\"sev\":");
    jcs::write_string(out, severity.as_str());
    out.extend_from_slice(b",\"ts\":");
    jcs::write_string(out, time);
    out.extend_from_slice(b",\"type\":");
    jcs::write_string(out, kind);
    out.extend_from_slice(b",\"v\":1}");
}

/// Base64 of a hash, as in `prev`.
pub(in crate::audit) fn encode(hash: &Hash) -> String {
    STANDARD.encode(hash)
}

const TIME_SHAPE: &str = "0000-00-00T00:00:00.000Z";

/// RFC 3339 in UTC with milliseconds.
pub(in crate::audit) fn format_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn parse_time(text: &str) -> Option<Timestamp> {
    let shaped = text.len() == TIME_SHAPE.len()
        && text.bytes().zip(TIME_SHAPE.bytes()).all(|(b, shape)| b == shape || shape == b'0' && b.is_ascii_digit());
    if shaped { text.parse().ok() } else { None }
}

fn is_kind(text: &str) -> bool {
    let word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    text.len() <= 64 && text.split('.').all(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn actor() -> Actor {
        Actor { host: "h1".to_owned(), pid: 4711, uid: 1000, user: "ana".to_owned() }
    }

    fn line(entry: &Entry) -> Result<Vec<u8>, Error> {
        let actor = actor().render();
        let mut out = Vec::new();
        let place = Place { actor: &actor, epoch: 0, prev: &encode(&[0; 32]), seq: 7 };
        Prepared::new(entry, &actor)?.render(&mut out, &place, "2026-11-24T03:04:05.678Z");
        Ok(out)
    }

    #[test]
    fn the_bytes_of_a_record() {
        let entry = Entry::new("vault.unlock.failed", Severity::Info).run("01J").with("b", 1).with("a", "x\ny");
        let expected = r#"{"actor":{"host":"h1","pid":4711,"uid":1000,"user":"ana"},"data":{"a":"x\ny","b":1},"epoch":0,"prev":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","run":"01J","seq":7,"sev":"info","ts":"2026-11-24T03:04:05.678Z","type":"vault.unlock.failed","v":1}"#;
        let line = line(&entry).unwrap();
        assert_eq!(String::from_utf8_lossy(&line), expected);
        // The general writer agrees with the fixed order.
        let mut again = Vec::new();
        jcs::write_object(&mut again, &serde_json::from_slice(&line).unwrap()).unwrap();
        assert_eq!(again, line);
    }

    #[test]
    fn only_one_spelling_is_a_record() {
        let good = String::from_utf8(line(&Entry::new("a.b", Severity::Error).with("k", "é/")).unwrap()).unwrap();
        assert!(Record::parse(good.as_bytes()).is_ok());
        for bad in [
            good.replace("é", "\\u00e9"),
            good.replace('/', "\\/"),
            good.replace(",\"v\":1", ",\"v\": 1"),
            good.replace("\"epoch\":0,", ""),
            good.replace("\"epoch\":0", "\"epoch\":0,\"epoch\":0"),
            good.replace("\"k\":\"é/\"", "\"k\":\"x\",\"k\":\"é/\""),
            good.replace("\"v\":1", "\"v\":2"),
            good.replace("\"v\":1", "\"v\":1,\"w\":1"),
            good.replace("\"k\":\"é/\"", "\"k\":1.0"),
            good.replace("a.b", "A.b"),
            good.replace("\"k\":\"é/\"", "\"k\":\"\\ud800\""),
            format!("{good} "),
        ] {
            assert!(bad != good && Record::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn types_are_dotted_words() {
        for kind in ["a", "run.started", "audit.torn_tail", "s3.put"] {
            assert!(line(&Entry::new(kind, Severity::Info)).is_ok(), "{kind}");
        }
        for kind in ["", ".", "a.", ".a", "a..b", "A", "a b", "a\n", "a-b", "1a", "é", &"a".repeat(65)] {
            assert!(matches!(line(&Entry::new(kind, Severity::Info)), Err(Error::Kind(_))), "{kind}");
        }
    }

    #[test]
    fn a_long_record_names_its_largest_fields() {
        let empty = line(&Entry::new("a", Severity::Info).with("x", "")).unwrap().len();
        let room = MAX_LINE - empty - 15;
        let entry = |size: usize| Entry::new("a", Severity::Info).with("x", "y".repeat(size));
        assert_eq!(line(&entry(room)).unwrap().len(), MAX_LINE - 15);
        let entry = entry(room + 1).with("small", json!([1, 2]));
        let Err(error) = line(&entry) else { panic!("accepted") };
        assert!(error.to_string().contains(&format!("x {}, small 5", room + 3)), "{error}");
    }
}
