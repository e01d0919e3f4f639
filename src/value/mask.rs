//! Masks secrets in texts.
//!
//! Programs print secrets encoded and escaped, so the usual spellings of each secret are masked too. Masking reduces
//! accidents. It cannot stop a program that wants to leak a secret.

use std::collections::BTreeSet;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::Secret;

/// The text that replaces a secret.
pub const MASK: &str = "***";

/// Replaces every secret, in each of its usual spellings, by [`MASK`].
///
/// Spellings: as it is, trimmed, each of its lines, base64 and base64url at three alignments, hex, percent encoding, JSON
/// and XML escapes, shell quotes. A spelling of less than four bytes is not masked: it would hide half of every text.
#[derive(Clone, Debug, Default)]
pub struct Masker {
    patterns: Option<Arc<AhoCorasick>>,
    /// The length of the longest spelling.
    longest: usize,
}

/// The length of the shortest spelling that is masked, in bytes.
const SHORTEST: usize = 4;
/// The length of the shortest line of a wrapped spelling that is masked. A shorter line may be something else.
const LONG_ENOUGH: usize = 12;

impl Masker {
    /// A masker for these secrets.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        Self::with_placeholders(secrets, [])
    }

    /// A masker for these secrets and for texts that stand for secrets. Only `tl` writes such a text, so it has one spelling.
    pub fn with_placeholders<'a>(
        secrets: impl IntoIterator<Item = &'a Secret>,
        placeholders: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut spellings: BTreeSet<Vec<u8>> = placeholders.into_iter().map(String::into_bytes).collect();
        for secret in secrets {
            let text = secret.expose();
            for plain in [text, text.trim()].into_iter().chain(text.lines()).chain(text.lines().map(str::trim)) {
                // A blank line would mask every indentation.
                if plain.len() >= SHORTEST && !plain.trim().is_empty() {
                    add_spellings(plain, &mut spellings);
                }
            }
        }
        spellings.retain(|s: &Vec<u8>| s.len() >= SHORTEST);
        let Some(longest) = spellings.iter().map(Vec::len).max() else { return Self::default() };
        let patterns = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(spellings)
            .expect("a few hundred short patterns are far below the automaton's limit");
        Self { patterns: Some(Arc::new(patterns)), longest }
    }

    /// The text with every secret replaced.
    pub fn mask(&self, text: &str) -> String {
        match &self.patterns {
            Some(patterns) => patterns.replace_all(text, &vec![MASK; patterns.patterns_len()]),
            None => text.to_owned(),
        }
    }

    /// How many bytes of a text can be masked and shown while more text follows: no spelling begins in that part and ends
    /// after it.
    pub fn settled(&self, text: &str) -> usize {
        let Some(patterns) = &self.patterns else { return text.len() };
        let mut settled = text.floor_char_boundary(text.len().saturating_sub(self.longest - 1));
        for found in patterns.find_iter(text) {
            if found.start() < settled && found.end() > settled {
                settled = found.end();
            }
        }
        settled
    }

    /// Masks every text and number inside a JSON value. Keys are names of the file or of `tl`.
    pub fn mask_json(&self, value: &mut serde_json::Value) {
        if self.patterns.is_none() {
            return;
        }
        match value {
            serde_json::Value::String(text) => *text = self.mask(text),
            serde_json::Value::Array(items) => items.iter_mut().for_each(|item| self.mask_json(item)),
            serde_json::Value::Object(map) => map.values_mut().for_each(|item| self.mask_json(item)),
            serde_json::Value::Number(number) => {
                let text = number.to_string();
                let masked = self.mask(&text);
                if masked != text {
                    *value = masked.into();
                }
            }
            serde_json::Value::Bool(_) | serde_json::Value::Null => {}
        }
    }
}

fn add_spellings(plain: &str, into: &mut BTreeSet<Vec<u8>>) {
    let bytes = plain.as_bytes();
    into.insert(bytes.to_vec());
    // As commands encode it: whole, with and without a line end after the secret.
    for whole in [plain.to_owned(), format!("{plain}\n")] {
        into.insert(STANDARD_NO_PAD.encode(&whole).into_bytes());
        into.insert(URL_SAFE_NO_PAD.encode(&whole).into_bytes());
    }
    // Long texts are wrapped: base64 writes lines of 76 characters, openssl of 64, xxd of 60.
    for text in [STANDARD_NO_PAD.encode(bytes), STANDARD_NO_PAD.encode(format!("{plain}\n"))] {
        for width in [76, 64] {
            into.extend(text.as_bytes().chunks(width).filter(|line| line.len() >= LONG_ENOUGH).map(<[u8]>::to_vec));
        }
    }
    for shift in 0..3 {
        into.extend(base64_core(bytes, shift, &STANDARD_NO_PAD));
        into.extend(base64_core(bytes, shift, &URL_SAFE_NO_PAD));
    }
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    into.extend(hex.as_bytes().chunks(60).filter(|line| line.len() >= LONG_ENOUGH).map(<[u8]>::to_vec));
    into.insert(hex.to_uppercase().into_bytes());
    into.insert(hex.into_bytes());
    // RFC 3986 leaves unreserved characters as they are. Python leaves `/` as well, JavaScript `!'()*`.
    for kept in ["", "/", "!'()*"] {
        for (space, upper) in [("%20", true), ("%20", false), ("+", true), ("+", false)] {
            into.insert(percent(bytes, space, upper, kept).into_bytes());
        }
    }
    let json = serde_json::to_string(plain).expect("a string is always valid JSON");
    into.insert(json.as_bytes()[1..json.len() - 1].to_vec());
    let json = &json[1..json.len() - 1];
    // PHP escapes slashes, Python everything that is not ASCII.
    into.insert(json.replace('/', "\\/").into_bytes());
    into.insert(json.chars().flat_map(ascii_json).collect::<String>().into_bytes());
    let xml = plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    into.insert(xml.replace('"', "&quot;").replace('\'', "&#39;").into_bytes());
    into.insert(xml.replace('"', "&quot;").replace('\'', "&#x27;").into_bytes());
    into.insert(xml.replace('"', "&quot;").replace('\'', "&apos;").into_bytes());
    into.insert(xml.into_bytes());
    into.insert(plain.replace('\'', r"'\''").into_bytes());
    into.insert(plain.replace('\'', "'\"'\"'").into_bytes());
    into.insert(plain.chars().flat_map(shell_escaped).collect::<String>().into_bytes());
    into.insert(plain.replace('\\', "\\\\").replace('\'', "\\'").into_bytes());
    into.insert(plain.escape_debug().to_string().into_bytes());
}

/// The characters of a base64 text that depend on the secret alone, if `shift` other bytes come before the secret.
fn base64_core(bytes: &[u8], shift: usize, engine: &impl base64::Engine) -> Option<Vec<u8>> {
    let mut padded = vec![0; shift];
    padded.extend_from_slice(bytes);
    let text = engine.encode(padded).into_bytes();
    let start = [0, 2, 3][shift];
    let end = (shift + bytes.len()) * 8 / 6;
    (end > start).then(|| text[start..end].to_vec())
}

/// A character as Python's `json` writes it.
fn ascii_json(c: char) -> Vec<char> {
    if c.is_ascii() {
        return vec![c];
    }
    c.encode_utf16(&mut [0; 2]).iter().flat_map(|unit| format!("\\u{unit:04x}").chars().collect::<Vec<_>>()).collect()
}

/// A character as bash's `printf %q` writes it.
fn shell_escaped(c: char) -> Vec<char> {
    let plain = c.is_alphanumeric() || !c.is_ascii() || "%+,-./:=@_^".contains(c);
    if plain { vec![c] } else { vec!['\\', c] }
}

fn percent(bytes: &[u8], space: &str, upper: bool, kept: &str) -> String {
    bytes.iter().fold(String::new(), |mut out, &b| {
        match b {
            _ if kept.as_bytes().contains(&b) => out.push(char::from(b)),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(b)),
            b' ' => out.push_str(space),
            _ if upper => out.push_str(&format!("%{b:02X}")),
            _ => out.push_str(&format!("%{b:02x}")),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn each_spelling_is_hidden() {
        let secret = "p&ss <w>'ord\"/+9";
        let masker = Masker::new([&Secret::new(secret.to_owned())]);
        let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
        for text in [
            secret.to_owned(),
            hex.to_uppercase(),
            hex,
            STANDARD.encode(secret),
            STANDARD.encode(format!("a{secret}b")),
            STANDARD.encode(format!("ab{secret}")),
            serde_json::to_string(secret).unwrap(),
            percent(secret.as_bytes(), "%20", true, ""),
            percent(secret.as_bytes(), "+", false, ""),
            percent(secret.as_bytes(), "%20", true, "/"),
            secret.replace('\'', "'\"'\"'"),
            secret.chars().flat_map(shell_escaped).collect(),
            serde_json::to_string(secret).unwrap().replace('/', "\\/"),
            secret.replace('\'', r"'\''"),
            "p&amp;ss &lt;w&gt;&#39;ord&quot;/+9".to_owned(),
        ] {
            let shown = masker.mask(&format!("before {text} after"));
            assert!(shown.contains(MASK), "{text}");
            assert!(!shown.contains("ss") && shown.starts_with("before "), "{shown}");
        }
    }

    #[test]
    fn wrapped_spellings_are_hidden_line_by_line() {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYwJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEYé".repeat(2);
        let masker = Masker::new([&Secret::new(secret.clone())]);
        let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
        let encoded = STANDARD.encode(&secret);
        let lines = encoded.as_bytes().chunks(76).chain(hex.as_bytes().chunks(60));
        for line in lines.map(|line| std::str::from_utf8(line).unwrap()).filter(|line| line.len() >= 16) {
            assert!(masker.mask(line).len() < 8, "{line}: {}", masker.mask(line));
        }
        let python = secret.chars().flat_map(ascii_json).collect::<String>();
        assert_eq!(masker.mask(&python), MASK);
    }

    #[test]
    fn lines_of_a_long_secret_are_hidden_one_by_one() {
        let masker = Masker::new([&Secret::new("-----BEGIN\nabcdefgh\nijklmnop\n".to_owned())]);
        assert_eq!(masker.mask("key=abcdefgh, ijklmnop."), "key=***, ***.");
    }

    #[test]
    fn a_text_in_pieces_shows_no_part_of_a_secret() {
        let secret = "hunter2-hunter2";
        let masker = Masker::new([&Secret::new(secret.to_owned())]);
        let text = format!("before {secret} between {secret}{secret} after ä");
        for size in 1..text.chars().count() {
            let (mut carried, mut shown) = (String::new(), String::new());
            for piece in text.chars().collect::<Vec<_>>().chunks(size) {
                carried.extend(piece);
                let settled = masker.settled(&carried);
                shown.push_str(&masker.mask(&carried[..settled]));
                carried.drain(..settled);
            }
            shown.push_str(&masker.mask(&carried));
            assert_eq!(shown, masker.mask(&text), "{size}");
        }
    }

    #[test]
    fn json_is_masked_inside() {
        let masker = Masker::new(&["hunter22", "220044880"].map(|text| Secret::new(text.to_owned())));
        let mut value = serde_json::json!({ "a": ["x hunter22"], "hunter22": 1, "b": 220_044_880, "c": 22 });
        masker.mask_json(&mut value);
        assert_eq!(value, serde_json::json!({ "a": ["x ***"], "hunter22": 1, "b": "***", "c": 22 }));
    }
}
