//! C2SP signed notes (<https://c2sp.org/signed-note>) with Ed25519 keys, and the key lines of Go's `sumdb/note`.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::crypto::sign::{self, SigningKey};

/// The signature type of plain Ed25519.
const ED25519: u8 = 0x01;

/// More lines than the 16 that each verifier must accept; the limit of Go's `note.Open`.
const MAX_SIGNATURES: usize = 100;

/// The public half of a log's key, which a verifier must know beforehand.
///
/// Its text is `<name>+<key id, 8 hex digits>+<base64 of 0x01 and the public key>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    public: [u8; 32],
}

/// The secret half, with the name under which it signs.
pub(super) struct Signer {
    verifier: Verifier,
    key: SigningKey,
}

impl Verifier {
    /// Reads its text, without a newline.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, id, public) = parts(text)?;
        let verifier = Self { name: name.to_owned(), public: *public };
        (id == hex(verifier.id())).then_some(verifier)
    }

    /// The name of the key, which is the origin of the log's checkpoints.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Four bytes from name, type and key. They find the right line of a note; they prove nothing.
    fn id(&self) -> [u8; 4] {
        let hash = Sha256::new().chain_update(&self.name).chain_update([b'\n', ED25519]).chain_update(self.public);
        let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
        [a, b, c, d]
    }

    /// The text of a note, with its last newline, if this key signed it.
    pub(super) fn open<'a>(&self, note: &'a str) -> Result<&'a str, &'static str> {
        if note.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err("it has a control character");
        }
        let split = note.rfind("\n\n").ok_or("it has no signature")?;
        let (text, signatures) = (&note[..=split], &note[split + 2..]);
        let signatures = signatures.strip_suffix('\n').ok_or("it does not end in a newline")?;
        let mut signed = false;
        for (count, line) in signatures.split('\n').enumerate() {
            if count == MAX_SIGNATURES {
                return Err("it has too many signatures");
            }
            let (name, signature) =
                line.strip_prefix("— ").and_then(|l| l.split_once(' ')).ok_or("it has a malformed signature line")?;
            let bytes = STANDARD.decode(signature).map_err(|_| "it has a malformed signature line")?;
            let (id, signature) = bytes.split_first_chunk::<4>().ok_or("it has a malformed signature line")?;
            // Lines of other keys are those of witnesses or of newer keys.
            if name != self.name || *id != self.id() {
                continue;
            }
            let signature = signature.try_into().map_err(|_| "its signature has a wrong length")?;
            if !sign::verify(&self.public, text.as_bytes(), signature) {
                return Err("its signature is wrong");
            }
            signed = true;
        }
        if signed { Ok(text) } else { Err("it is not signed by the key of this log") }
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}+{}", self.name, hex(self.id()), STANDARD.encode(tagged(&self.public).as_slice()))
    }
}

impl Signer {
    /// A key with its name; the name must be free of spaces and `+`.
    pub(super) fn new(name: String, key: SigningKey) -> Self {
        Self { verifier: Verifier { name, public: key.public() }, key }
    }

    /// Reads the line `PRIVATE+KEY+<name>+<id>+<base64 of 0x01 and the seed>`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, id, seed) = parts(text.strip_prefix("PRIVATE+KEY+")?)?;
        let signer = Self::new(name.to_owned(), SigningKey::from_seed(&seed));
        (id == hex(signer.verifier.id())).then_some(signer)
    }

    /// The line that [`Self::parse`] reads.
    pub(super) fn secret_line(&self) -> Zeroizing<String> {
        let mut line = Zeroizing::new(String::with_capacity(self.verifier.name.len() + 80));
        line.push_str("PRIVATE+KEY+");
        line.push_str(&self.verifier.name);
        line.push('+');
        line.push_str(&hex(self.verifier.id()));
        line.push('+');
        STANDARD.encode_string(tagged(&self.key.seed()).as_slice(), &mut line);
        line
    }

    pub(super) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// A signed note of this text, which must end in a newline.
    pub(super) fn sign(&self, text: &str) -> String {
        let mut signature = self.verifier.id().to_vec();
        signature.extend_from_slice(&self.key.sign(text.as_bytes()));
        format!("{text}\n— {} {}\n", self.verifier.name, STANDARD.encode(signature))
    }
}

/// Splits `<name>+<id>+<base64>`. Standard base64 has a `+` of its own, so the first two separate.
fn parts(text: &str) -> Option<(&str, &str, Zeroizing<[u8; 32]>)> {
    let mut fields = text.splitn(3, '+');
    let (name, id, data) = (fields.next()?, fields.next()?, fields.next()?);
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return None;
    }
    let data = Zeroizing::new(STANDARD.decode(data).ok()?);
    let (&[kind], bytes) = data.split_first_chunk::<1>()?;
    let mut key = Zeroizing::new([0; 32]);
    if kind != ED25519 || bytes.len() != key.len() {
        return None;
    }
    key.copy_from_slice(bytes);
    Some((name, id, key))
}

fn tagged(key: &[u8; 32]) -> Zeroizing<[u8; 33]> {
    let mut bytes = Zeroizing::new([ED25519; 33]);
    bytes[1..].copy_from_slice(key);
    bytes
}

fn hex(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys and the note of the documentation of Go's `golang.org/x/mod/sumdb/note`.
    const SKEY: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\
        \n\
        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn reads_and_writes_what_go_does() {
        let signer = Signer::parse(SKEY).unwrap();
        let verifier = Verifier::parse(VKEY).unwrap();
        assert_eq!(signer.verifier(), &verifier);
        assert_eq!(signer.secret_line().as_str(), SKEY);
        assert_eq!(verifier.to_string(), VKEY);
        let text = verifier.open(NOTE).unwrap();
        assert_eq!(signer.sign(text), NOTE);
    }

    #[test]
    fn other_lines_are_ignored_and_a_wrong_one_of_ours_is_fatal() {
        let verifier = Verifier::parse(VKEY).unwrap();
        let stranger = Signer::new("stranger".to_owned(), SigningKey::generate());
        let text = verifier.open(NOTE).unwrap();
        let line = stranger.sign(text)[text.len() + 1..].to_owned();
        assert_eq!(verifier.open(&format!("{NOTE}{line}")), Ok(text));
        assert!(verifier.open(&stranger.sign(text)).is_err());
        let wrong = NOTE.replace("answer", "Answer");
        assert_eq!(verifier.open(&wrong), Err("its signature is wrong"));
        assert!(verifier.open(&format!("{NOTE}x\n")).is_err());
        assert!(verifier.open(NOTE.trim_end()).is_err());
        assert!(verifier.open(&NOTE.replace("your problem,\n", "your problem,\r\n")).is_err());
    }

    #[test]
    fn malformed_keys_are_refused() {
        for text in ["", "a", "a+b", "a+c74f20a3+", &VKEY.replace("c7", "c8"), &VKEY[1..], &format!("{VKEY}="), SKEY] {
            assert!(Verifier::parse(text).is_none(), "{text}");
        }
        assert!(Signer::parse(VKEY).is_none());
    }
}
