//! The stanzas of a header: the file key, wrapped once for each recipient.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sodiumoxide::crypto::aead::chacha20poly1305_ietf as aead;
use sodiumoxide::crypto::scalarmult::curve25519::{GroupElement, Scalar, scalarmult, scalarmult_base};
use zeroize::Zeroizing;

use super::error::Error;
use super::keys::{Key, Recipient};
use super::scrypt;
use super::sodium::{Secret32, hkdf, hmac, random};

const X25519: &str = "X25519";
const X25519_INFO: &[u8] = b"age-encryption.org/v1/X25519";
const SCRYPT: &str = "scrypt";
const SCRYPT_SALT: &[u8] = b"age-encryption.org/v1/scrypt";

/// The file key, from which all keys of one sealed file are derived. Used for one file only, wiped when dropped.
pub(super) struct FileKey(Zeroizing<[u8; 16]>);

impl FileKey {
    pub(super) fn generate() -> Self {
        Self(Zeroizing::new(random()))
    }

    #[cfg(test)]
    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The authenticator of a header, up to and including its `---`.
    pub(super) fn header_mac(&self, header: &[u8]) -> Secret32 {
        // RFC 5869: no salt is a salt of zeros.
        hmac(hkdf(self.0.as_slice(), &[0; 32], b"header").as_slice(), &[header])
    }

    /// The key of the chunks after this nonce.
    pub(super) fn payload_key(&self, nonce: &[u8; 16]) -> aead::Key {
        aead::Key(*hkdf(self.0.as_slice(), nonce, b"payload"))
    }
}

/// One recipient stanza of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stanza {
    /// The kind, then its arguments. Never empty.
    pub(super) args: Vec<String>,
    pub(super) body: Vec<u8>,
}

/// Wraps a file key for a recipient.
pub(super) fn wrap(recipient: Recipient, file_key: &FileKey) -> Result<Stanza, Error> {
    let ephemeral = Scalar(random());
    let share = scalarmult_base(&ephemeral);
    let shared = scalarmult(&ephemeral, &GroupElement(*recipient.point()))
        .map_err(|()| Error::NotAge("a recipient is a low-order point"))?;
    let key = x25519_key(&shared, &share.0, recipient);
    Ok(Stanza {
        args: vec![X25519.to_owned(), encode(&share.0)],
        body: aead::seal(file_key.0.as_slice(), None, &ZERO_NONCE, &key),
    })
}

/// The file key that one of the keys unwraps.
///
/// Checks every stanza before it uses one, also those after the one that fits. Otherwise the error for a malformed header
/// would depend on the key that is tried, and tell an attacker which key it is.
pub(super) fn unwrap(stanzas: &[Stanza], keys: &[Key]) -> Result<FileKey, Error> {
    let locks = stanzas.iter().filter_map(Lock::parse).collect::<Result<Vec<_>, _>>()?;
    let passphrase = locks.iter().any(|lock| matches!(lock, Lock::Scrypt { .. }));
    if passphrase && stanzas.len() > 1 {
        // Whoever knows a passphrase may assume that the file was written by someone who knows it. A second stanza breaks this.
        return Err(Error::NotAge("its passphrase stanza does not stand alone"));
    }
    let mut found = None;
    for key in keys {
        for lock in &locks {
            let file_key = lock.open(key)?;
            found = found.or(file_key);
        }
    }
    let no_passphrase_given = !keys.iter().any(|key| matches!(key, Key::Passphrase(_)));
    match found {
        Some(file_key) => Ok(file_key),
        None if passphrase && no_passphrase_given => Err(Error::PassphraseNeeded),
        None => Err(Error::NoMatch),
    }
}

/// A well-formed stanza of a known kind.
enum Lock {
    X25519 { share: [u8; 32], wrapped: [u8; 32] },
    Scrypt { salt: [u8; 16], log_n: u8, wrapped: [u8; 32] },
}

impl Lock {
    /// `None` for unknown kinds, which other programs may define. They are authenticated and otherwise ignored.
    fn parse(stanza: &Stanza) -> Option<Result<Self, Error>> {
        let args: Vec<&str> = stanza.args.iter().map(String::as_str).collect();
        match args[0] {
            X25519 => Some(Self::parse_x25519(&args[1..], &stanza.body)),
            SCRYPT => Some(Self::parse_scrypt(&args[1..], &stanza.body)),
            _ => None,
        }
    }

    fn parse_x25519(args: &[&str], body: &[u8]) -> Result<Self, Error> {
        let malformed = || Error::NotAge("one of its X25519 stanzas is malformed");
        let [share] = args else { return Err(malformed()) };
        Ok(Self::X25519 {
            share: decode(share.as_bytes()).ok_or_else(malformed)?,
            // The length is checked before the key is used. The cipher does not commit to its key, so a longer body could hold
            // several file keys, one for each recipient.
            wrapped: body.try_into().map_err(|_| malformed())?,
        })
    }

    fn parse_scrypt(args: &[&str], body: &[u8]) -> Result<Self, Error> {
        let malformed = || Error::NotAge("its passphrase stanza is malformed");
        let [salt, log_n] = args else { return Err(malformed()) };
        // `u8::from_str` would also accept a sign and leading zeros.
        let decimal = !log_n.starts_with('0') && log_n.bytes().all(|b| b.is_ascii_digit());
        Ok(Self::Scrypt {
            salt: decode(salt.as_bytes()).ok_or_else(malformed)?,
            log_n: log_n.parse().ok().filter(|_| decimal).ok_or_else(malformed)?,
            wrapped: body.try_into().map_err(|_| malformed())?,
        })
    }

    /// The file key. `None` if the key does not fit, an error if the stanza is an attack.
    fn open(&self, key: &Key) -> Result<Option<FileKey>, Error> {
        match (self, key) {
            (Self::X25519 { share, wrapped }, Key::X25519(identity)) => {
                let shared = scalarmult(identity.scalar(), &GroupElement(*share))
                    .map_err(|()| Error::NotAge("one of its X25519 shares is a low-order point"))?;
                Ok(unseal(wrapped, &x25519_key(&shared, share, identity.recipient())))
            }
            (Self::Scrypt { salt, log_n, wrapped }, Key::Passphrase(passphrase)) => {
                let salt = [SCRYPT_SALT, salt].concat();
                let key = scrypt::derive(passphrase.expose().as_bytes(), &salt, *log_n)?;
                Ok(unseal(wrapped, &aead::Key(*key)))
            }
            _ => Ok(None),
        }
    }
}

/// Each wrapping key encrypts one message only, so the nonce may be zero.
const ZERO_NONCE: aead::Nonce = aead::Nonce([0; 12]);

fn x25519_key(shared: &GroupElement, share: &[u8; 32], recipient: Recipient) -> aead::Key {
    let salt = [share.as_slice(), recipient.point()].concat();
    aead::Key(*hkdf(&shared.0, &salt, X25519_INFO))
}

fn unseal(wrapped: &[u8; 32], key: &aead::Key) -> Option<FileKey> {
    let plain = Zeroizing::new(aead::open(wrapped, None, &ZERO_NONCE, key).ok()?);
    let mut file_key = Zeroizing::new([0; 16]);
    file_key.copy_from_slice(&plain);
    Some(FileKey(file_key))
}

/// Base64 as in headers: standard alphabet, no padding.
pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}

/// The bytes of a canonical base64 text. `None` unless they are exactly `N`.
pub(super) fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    // This engine refuses padding, foreign bytes and nonzero extra bits in the last character.
    STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()
}
