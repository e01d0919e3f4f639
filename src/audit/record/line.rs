use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::draft::{Draft, Severity};
use super::jcs::{self, JsonError};
use crate::audit::{Error, Hash};

/// The longest line, without its newline: entry bundles of C2SP tlog-tiles have 16-bit lengths.
pub(in crate::audit) const MAX_LINE: usize = 65_535;

/// Where a record stands in the chain, and who writes it.
pub(in crate::audit) struct Place<'a> {
    /// The canonical form of the actor.
    pub(in crate::audit) actor: &'a [u8],
    pub(in crate::audit) epoch: u64,
    /// Base64 of the leaf hash before it.
    pub(in crate::audit) prev: &'a str,
    pub(in crate::audit) seq: u64,
}

/// An object's canonical form.
pub(super) struct Canonical(Vec<u8>);

impl Canonical {
    pub(super) fn object(map: &Map<String, Value>) -> Result<Self, JsonError> {
        let mut out = Vec::new();
        jcs::write_object(&mut out, map)?;
        Ok(Self(out))
    }
}

/// A draft that was checked, and rendered as far as its place in the chain allows. This happens before a lock is taken.
pub struct Prepared {
    kind: String,
    severity: Severity,
    run: Option<String>,
    data: Canonical,
}

impl Prepared {
    /// Checks the type, the data and the length. The length is that for the largest sequence number, so that whether a
    /// record fits does not depend on its place.
    pub(in crate::audit) fn new(draft: &Draft, actor: &[u8]) -> Result<Self, Error> {
        let Draft { kind, severity, run, data } = draft;
        if !is_kind(kind) {
            return Err(Error::Kind(kind.clone()));
        }
        let canonical = Canonical::object(data).map_err(|source| Error::Data { kind: kind.clone(), source })?;
        let prepared = Self { kind: kind.clone(), severity: *severity, run: run.clone(), data: canonical };
        let place = Place { actor, epoch: 0, prev: &encode(&[0; 32]), seq: jcs::MAX_INTEGER };
        let mut line = Vec::with_capacity(prepared.data.0.len() + 512);
        prepared.render(&mut line, &place, TIME_SHAPE);
        if line.len() > MAX_LINE { Err(too_long(draft, line.len())) } else { Ok(prepared) }
    }

    /// Appends the line, without a newline.
    pub(in crate::audit) fn render(&self, out: &mut Vec<u8>, place: &Place<'_>, time: &str) {
        encode_line(out, &self.data, place, self.run.as_deref(), self.severity, time, &self.kind);
    }
}

fn too_long(draft: &Draft, bytes: usize) -> Error {
    let size = |value: &Value| {
        let mut one = Map::new();
        one.insert(String::new(), value.clone());
        Canonical::object(&one).map_or(0, |data| data.0.len() - "{\"\":}".len())
    };
    let mut fields: Vec<_> = draft.data.iter().map(|(key, value)| (key.clone(), size(value))).collect();
    fields.extend(draft.run.iter().map(|run| ("run".to_owned(), run.len())));
    fields.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    Error::TooLong { kind: draft.kind.clone(), bytes, fields }
}

/// Appends a whole line, without a newline. The keys are in the order of their bytes, as RFC 8785 demands.
pub(super) fn encode_line(
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

pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    let shaped = text.len() == TIME_SHAPE.len()
        && text.bytes().zip(TIME_SHAPE.bytes()).all(|(b, shape)| b == shape || shape == b'0' && b.is_ascii_digit());
    if shaped { text.parse().ok() } else { None }
}

pub(super) fn is_kind(text: &str) -> bool {
    let word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    text.len() <= 64 && text.split('.').all(word)
}

#[cfg(test)]
mod tests {
    use super::super::{Actor, LogEntry};
    use super::*;
    use serde_json::json;

    fn actor() -> Actor {
        Actor { host: "h1".to_owned(), pid: 4711, uid: 1000, user: "ana".to_owned() }
    }

    fn line(draft: &Draft) -> Result<Vec<u8>, Error> {
        let actor = actor().render();
        let mut out = Vec::new();
        let place = Place { actor: &actor, epoch: 0, prev: &encode(&[0; 32]), seq: 7 };
        Prepared::new(draft, &actor)?.render(&mut out, &place, "2026-11-24T03:04:05.678Z");
        Ok(out)
    }

    #[test]
    fn the_bytes_of_a_record() {
        let entry = Draft::new("vault.unlock.failed", Severity::Info).run("01J").with("b", 1).with("a", "x\ny");
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
        let good = String::from_utf8(line(&Draft::new("a.b", Severity::Error).with("k", "é/")).unwrap()).unwrap();
        assert!(LogEntry::parse(good.as_bytes()).is_ok());
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
            assert!(bad != good && LogEntry::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn types_are_dotted_words() {
        for kind in ["a", "run.started", "audit.torn_tail", "s3.put"] {
            assert!(line(&Draft::new(kind, Severity::Info)).is_ok(), "{kind}");
        }
        for kind in ["", ".", "a.", ".a", "a..b", "A", "a b", "a\n", "a-b", "1a", "é", &"a".repeat(65)] {
            assert!(matches!(line(&Draft::new(kind, Severity::Info)), Err(Error::Kind(_))), "{kind}");
        }
    }

    #[test]
    fn a_long_record_names_its_largest_fields() {
        let empty = line(&Draft::new("a", Severity::Info).with("x", "")).unwrap().len();
        let room = MAX_LINE - empty - 15;
        let entry = |size: usize| Draft::new("a", Severity::Info).with("x", "y".repeat(size));
        assert_eq!(line(&entry(room)).unwrap().len(), MAX_LINE - 15);
        let entry = entry(room + 1).with("small", json!([1, 2]));
        let Err(error) = line(&entry) else { panic!("accepted") };
        assert!(error.to_string().contains(&format!("x {}, small 5", room + 3)), "{error}");
    }
}
