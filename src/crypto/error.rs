use std::io;

/// Why a file could not be sealed or opened. Coarse on purpose: a finer answer helps an attacker more than the owner.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The header breaks the format; says which rule, never which byte.
    #[error("this is not a sealed file that tl can read: {0}")]
    NotAge(&'static str),
    /// The first line announces another version of the format.
    #[error("this file has a later version of the age format than v1")]
    UnsupportedVersion,
    /// The file is well-formed, but none of the keys opens it.
    #[error("none of the given keys opens this file")]
    NoMatch,
    /// The file was sealed with a passphrase and only identities were given.
    #[error("this file was sealed with a passphrase, not for a recipient")]
    PassphraseNeeded,
    /// A stanza opened, but the header was changed after it was written.
    #[error("the header of this file was changed after it was sealed")]
    HeaderMac,
    /// A chunk is not authentic. Everything written before it is authentic.
    #[error("chunk {chunk} of this file is not authentic: it was changed, moved or cut")]
    Tampered {
        /// Which chunk, counted from 0.
        chunk: u64,
    },
    /// The last chunk is missing. Everything written is authentic, but not complete.
    #[error("this file is cut off before its last chunk")]
    Truncated,
    /// There are bytes after the last chunk.
    #[error("this file goes on after its last chunk")]
    TrailingData,
    /// There are no recipients. Nobody could open the file.
    #[error("no recipient was given")]
    NoRecipients,
    /// There are more recipients than tl would accept in a header.
    #[error("{0} recipients are more than a header may name (256)")]
    TooManyRecipients(usize),
    /// Deriving the key would need more memory than there is.
    #[error("there is not enough memory to derive the key from the passphrase")]
    OutOfMemory,
    /// Reading the input or writing the output failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Error {
    /// Whether the key is wrong, and not the file.
    pub fn is_wrong_key(&self) -> bool {
        matches!(self, Self::NoMatch | Self::PassphraseNeeded)
    }
}

/// Why a text is not a key. Never holds any part of the text: it may be a secret in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A secret where a public key belongs.
    #[error("this is a secret identity where a recipient (`age1…`) belongs")]
    IdentityAsRecipient,
    /// A public key where a secret belongs.
    #[error("this is a recipient where an identity (`AGE-SECRET-KEY-1…`) belongs")]
    RecipientAsIdentity,
    /// Another kind of recipient: a plugin's, an SSH key.
    #[error("this is not an X25519 recipient: those are `age1` and 58 more characters")]
    NotRecipient,
    /// Another kind of identity.
    #[error("this is not an X25519 identity: those are `AGE-SECRET-KEY-1` and 58 more characters, in capitals")]
    NotIdentity,
    /// The checksum disagrees with the characters.
    #[error("a character is wrong or missing: the checksum does not fit")]
    Checksum,
    /// Right checksum, but not what an encoder writes.
    #[error("this is not the spelling that an age program writes for this key")]
    NotCanonical,
    /// A public key for which every secret would be the same.
    #[error("this recipient is a low-order point: anybody could open what is sealed for it")]
    LowOrder,
    /// A file without a single key.
    #[error("there is no key in it")]
    Empty,
}

/// What is wrong with a file of keys, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {error}")]
pub struct LineError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub error: KeyError,
}
