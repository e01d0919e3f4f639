use std::fmt::{self, Write as _};
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// How many bytes are read at once.
const BLOCK: usize = 256 * 1024;

/// The SHA-256 and the length of some bytes. Computed where data is produced, compared where it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Digest {
    /// SHA-256. Serialised in hexadecimal.
    #[serde(serialize_with = "write_sha256", deserialize_with = "read_sha256")]
    pub sha256: [u8; 32],
    /// Length in bytes.
    pub size: u64,
}

impl Digest {
    /// The digest of everything that `from` gives. `None` if `stopped` returns true before the end.
    pub fn of(from: &mut dyn Read, stopped: &dyn Fn() -> bool) -> io::Result<Option<Self>> {
        let (mut hash, mut size, mut block) = (Sha256::new(), 0, vec![0; BLOCK]);
        while !stopped() {
            match from.read(&mut block) {
                Ok(0) => return Ok(Some(Self { sha256: hash.finalize().into(), size })),
                Ok(read) => {
                    hash.update(&block[..read]);
                    size += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The hash in lower-case hexadecimal.
    pub fn hex(&self) -> String {
        hex(&self.sha256)
    }
}

impl fmt::Display for Digest {
    /// `sha256:` and the hash in hexadecimal, without the size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

/// SHA-256 of a text or of bytes, in hexadecimal.
pub fn sha256(content: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(content))
}

fn write_sha256<S: Serializer>(sha256: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex(sha256))
}

fn read_sha256<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_sha256(&text).ok_or_else(|| serde::de::Error::custom("a SHA-256 has 64 digits"))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}

/// Reads 32 bytes of hexadecimal, with or without a leading `sha256:`.
pub fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    let text = text.strip_prefix("sha256:").unwrap_or(text);
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        // `from_str_radix` would accept a sign.
        if !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(bytes)
}

/// The name of an object in a store: parts separated by `/`. No part is empty, `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

/// Why a text cannot name an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot name an object: {reason}", text.escape_debug())]
pub struct KeyError {
    text: String,
    reason: &'static str,
}

impl ObjectKey {
    /// A name in a list of a store: also that of the digest beside an object, which no delivery may take.
    pub fn listed(text: &str) -> Result<Self, KeyError> {
        text.strip_suffix(".sha256").unwrap_or(text).parse::<Self>()?;
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its parts, outermost first.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }
}

impl FromStr for ObjectKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |reason| Err(KeyError { text: text.to_owned(), reason });
        if text.is_empty() {
            return refused("it is empty");
        }
        if text.len() > 1_024 {
            return refused("it is longer than 1024 bytes");
        }
        if text.chars().any(char::is_control) {
            return refused("it holds a control character");
        }
        // The digest of each object is stored beside it, under such a name.
        if text.ends_with(".sha256") {
            return refused("names that end in `.sha256` are those of the digests beside objects");
        }
        for part in text.split('/') {
            match part {
                "" => return refused("it has an empty part: no `/` at either end, no `//`"),
                "." | ".." => return refused("it has a part `.` or `..`"),
                // Leaves room for the suffix of the file with the digest: file names have at most 255 bytes.
                _ if part.len() > 240 => return refused("a part is longer than 240 bytes"),
                _ if part.starts_with(".tl-") => return refused("parts that begin with `.tl-` are tl's own"),
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_survives_its_spelling() {
        let digest = Digest { sha256: [0xab; 32], size: 1 };
        assert_eq!(parse_sha256(&digest.to_string()), Some(digest.sha256));
        assert_eq!(parse_sha256(&digest.hex()), Some(digest.sha256));
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(json, format!(r#"{{"sha256":"{}","size":1}}"#, "ab".repeat(32)));
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        for bad in ["", "sha256:", &"a".repeat(63), &"+1".repeat(32), &"ä".repeat(32)] {
            assert_eq!(parse_sha256(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_key_never_leaves_its_store() {
        for good in ["a", "2026-11-24/run.tar.age", "ü/ö", "-x"] {
            assert!(good.parse::<ObjectKey>().is_ok(), "{good}");
        }
        for bad in
            ["", "/a", "a/", "a//b", "../a", "a/..", "./a", "a\nb", "a\0b", ".tl-x", "a.sha256", &"x".repeat(241)]
        {
            assert!(bad.parse::<ObjectKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_listed_name_may_be_that_of_a_digest() {
        for good in ["a", "a.sha256", "a/b.sha256"] {
            assert_eq!(ObjectKey::listed(good).unwrap().as_str(), good);
        }
        for bad in ["", ".sha256", "a/.sha256", "a.sha256.sha256", "../a.sha256", ".tl-x", "a\nb"] {
            assert!(ObjectKey::listed(bad).is_err(), "{bad}");
        }
    }
}
