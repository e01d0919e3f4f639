//! Recipients and identities: the halves of an X25519 key pair.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sodiumoxide::crypto::scalarmult::curve25519::{GroupElement, Scalar, scalarmult, scalarmult_base};
use zeroize::Zeroizing;

use super::error::{KeyError, LineError};
use super::sodium::{Secret32, init, random};
use crate::value::Secret;

const RECIPIENT_PREFIX: &str = "age";
const IDENTITY_PREFIX: &str = "age-secret-key-";

/// A recipient, for whom files are sealed: an X25519 public key, written `age1…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Recipient([u8; 32]);

impl Recipient {
    pub(super) fn point(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Recipient {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if starts_like_identity(text) {
            return Err(KeyError::IdentityAsRecipient);
        }
        if text.len() != 62 || !text.starts_with("age1") {
            return Err(KeyError::NotRecipient);
        }
        let recipient = Self(*decode(text, RECIPIENT_PREFIX)?);
        if recipient.to_string() != text {
            return Err(KeyError::NotCanonical);
        }
        init();
        // Whether the product is zero does not depend on the scalar: X25519 scalars are multiples of the cofactor.
        match scalarmult(&Scalar([1; 32]), &GroupElement(recipient.0)) {
            Ok(_) => Ok(recipient),
            Err(()) => Err(KeyError::LowOrder),
        }
    }
}

impl TryFrom<String> for Recipient {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Recipient> for String {
    fn from(recipient: Recipient) -> Self {
        recipient.to_string()
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = Hrp::parse_unchecked(RECIPIENT_PREFIX);
        f.write_str(&spelled(bech32::encode_lower::<Bech32>(prefix, &self.0)))
    }
}

impl JsonSchema for Recipient {
    fn schema_name() -> Cow<'static, str> {
        "Recipient".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^age1[02-9ac-hj-np-z]{58}$",
            "description": "An age recipient (X25519 public key): age1 and 58 more characters.",
        })
    }
}

/// An identity, which opens what was sealed for its [`Recipient`]: an X25519 private key, written `AGE-SECRET-KEY-1…`.
/// Wiped when dropped.
#[derive(Clone)]
pub struct Identity {
    // sodiumoxide wipes a `Scalar` when it is dropped.
    scalar: Scalar,
    recipient: Recipient,
}

impl Identity {
    /// A new identity from the random source of the operating system.
    pub fn generate() -> Self {
        Self::from_scalar(Zeroizing::new(random()))
    }

    /// Reads the form that `age-keygen` writes. The error never holds any part of the text.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.starts_with("age1") {
            return Err(KeyError::RecipientAsIdentity);
        }
        if text.len() != 74 || !text.starts_with("AGE-SECRET-KEY-1") {
            return Err(KeyError::NotIdentity);
        }
        let identity = Self::from_scalar(decode(text, IDENTITY_PREFIX)?);
        if identity.encode().expose() == text { Ok(identity) } else { Err(KeyError::NotCanonical) }
    }

    /// The form that [`parse`](Self::parse) reads.
    pub fn encode(&self) -> Secret {
        let prefix = Hrp::parse_unchecked(IDENTITY_PREFIX);
        Secret::new(spelled(bech32::encode_upper::<Bech32>(prefix, &self.scalar.0)))
    }

    /// The recipient whose files this identity opens.
    pub fn recipient(&self) -> Recipient {
        self.recipient
    }

    pub(super) fn scalar(&self) -> &Scalar {
        &self.scalar
    }

    fn from_scalar(bytes: Secret32) -> Self {
        init();
        let scalar = Scalar(*bytes);
        let recipient = Recipient(scalarmult_base(&scalar).0);
        Self { scalar, recipient }
    }
}

impl fmt::Debug for Identity {
    /// Shows the recipient, so that keys can be told apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity(*** of {})", self.recipient)
    }
}

/// A key that may open a sealed file.
#[derive(Clone, Debug)]
pub enum Key {
    /// Opens what was sealed for its recipient.
    X25519(Identity),
    /// Opens what another program sealed with a passphrase; tl itself seals for recipients only.
    Passphrase(Secret),
}

impl From<Identity> for Key {
    fn from(identity: Identity) -> Self {
        Self::X25519(identity)
    }
}

/// The recipients of a file: one on each line. Blank lines and `#` comments are skipped.
pub fn parse_recipients(text: &str) -> Result<Vec<Recipient>, LineError> {
    parse_lines(text, Recipient::from_str)
}

/// The identities of a file as `age-keygen` writes it: one on each line. Blank lines and `#` comments are skipped.
pub fn parse_identities(text: &str) -> Result<Vec<Identity>, LineError> {
    parse_lines(text, Identity::parse)
}

fn parse_lines<T>(text: &str, parse: impl Fn(&str) -> Result<T, KeyError>) -> Result<Vec<T>, LineError> {
    let mut keys = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            keys.push(parse(line).map_err(|error| LineError { line: number, error })?);
        }
    }
    if keys.is_empty() {
        return Err(LineError { line: text.lines().count().max(1), error: KeyError::Empty });
    }
    Ok(keys)
}

fn starts_like_identity(text: &str) -> bool {
    text.get(..IDENTITY_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(IDENTITY_PREFIX))
}

fn spelled(text: Result<String, bech32::EncodeError>) -> String {
    text.expect("32 bytes are far below bech32's limit")
}

/// The 32 bytes of a bech32 text. The errors of the decoder quote characters of the text, so they are dropped.
fn decode(text: &str, prefix: &str) -> Result<Secret32, KeyError> {
    let decoded = CheckedHrpstring::new::<Bech32>(text).map_err(|_| KeyError::Checksum)?;
    if decoded.hrp() != Hrp::parse_unchecked(prefix) {
        return Err(KeyError::NotCanonical);
    }
    let mut bytes = Zeroizing::new([0; 32]);
    let mut count = 0;
    for byte in decoded.byte_iter() {
        *bytes.get_mut(count).ok_or(KeyError::NotCanonical)? = byte;
        count += 1;
    }
    if count == bytes.len() { Ok(bytes) } else { Err(KeyError::NotCanonical) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_survive_the_round_trip() {
        let identity = Identity::generate();
        let again = Identity::parse(identity.encode().expose()).unwrap();
        assert_eq!(again.recipient(), identity.recipient());
        assert_eq!(again.encode(), identity.encode());
        let recipient = identity.recipient();
        assert_eq!(recipient.to_string().parse(), Ok(recipient));
        let json = serde_json::to_string(&recipient).unwrap();
        assert_eq!(json, format!("\"{recipient}\""));
        assert_eq!(serde_json::from_str::<Recipient>(&json).unwrap(), recipient);
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let (public, secret) = (Identity::generate().recipient().to_string(), Identity::generate().encode());
        for at in 0..public.len() {
            for other in "qpzry9x8QPZ1b -é".chars().filter(|&c| !public[at..].starts_with(c)) {
                let bad = format!("{}{other}{}", &public[..at], &public[at + 1..]);
                assert!(bad.parse::<Recipient>().is_err(), "{bad}");
            }
        }
        let secret = secret.expose();
        for at in 0..secret.len() {
            for other in "QPZRY9X8qpz1b -é".chars().filter(|&c| !secret[at..].starts_with(c)) {
                let bad = format!("{}{other}{}", &secret[..at], &secret[at + 1..]);
                assert!(Identity::parse(&bad).is_err(), "{bad}");
            }
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        let identity = Identity::generate();
        let (public, secret) = (identity.recipient().to_string(), identity.encode());
        for (text, error) in [
            (public.to_uppercase(), KeyError::NotRecipient),
            (format!("{public} "), KeyError::NotRecipient),
            (public[..61].to_owned(), KeyError::NotRecipient),
            (String::new(), KeyError::NotRecipient),
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN".to_owned(),
                KeyError::NotRecipient,
            ),
            (secret.expose().to_owned(), KeyError::IdentityAsRecipient),
            (secret.expose().to_lowercase(), KeyError::IdentityAsRecipient),
            (
                bech32::encode_lower::<bech32::Bech32m>(Hrp::parse_unchecked("age"), &[9; 32]).unwrap(),
                KeyError::Checksum,
            ),
            (bech32::encode_lower::<Bech32>(Hrp::parse_unchecked("age"), &[0; 32]).unwrap(), KeyError::LowOrder),
        ] {
            assert_eq!(text.parse::<Recipient>(), Err(error), "{text}");
        }
        for (text, error) in [
            (secret.expose().to_lowercase(), KeyError::NotIdentity),
            (secret.expose()[..73].to_owned(), KeyError::NotIdentity),
            (public, KeyError::RecipientAsIdentity),
        ] {
            assert_eq!(Identity::parse(&text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn files_of_keys_have_comments_and_either_line_end() {
        let (a, b) = (Identity::generate(), Identity::generate());
        let text = format!("# made today\r\n\r\n{}\r\n  # more\n{}", a.encode().expose(), b.encode().expose());
        let read: Vec<_> = parse_identities(&text).unwrap().iter().map(Identity::recipient).collect();
        assert_eq!(read, [a.recipient(), b.recipient()]);
        let text = format!("{}\n\n{}\nage1oops\n", a.recipient(), b.recipient());
        assert_eq!(parse_recipients(&text), Err(LineError { line: 4, error: KeyError::NotRecipient }));
        for empty in ["", "\n", "# nothing\n"] {
            assert_eq!(parse_recipients(empty), Err(LineError { line: 1, error: KeyError::Empty }));
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let identity = Identity::generate();
        let text = identity.encode();
        let shown = format!("{identity:?} {:?}", Key::from(identity.clone()));
        assert!(!shown.contains(text.expose()) && !shown.contains(&text.expose()[16..40]), "{shown}");
        let wrong = format!("{}x", &text.expose()[..73]);
        let error =
            parse_recipients(&wrong).unwrap_err().to_string() + &parse_identities(&wrong).unwrap_err().to_string();
        assert!(!error.contains(&text.expose()[16..24]), "{error}");
    }
}
