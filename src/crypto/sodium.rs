//! Initialises libsodium, and adds its random source, HMAC, and HKDF, which libsodium 1.0.18 does not have.

use std::sync::OnceLock;

use sodiumoxide::crypto::auth::hmacsha256;
use sodiumoxide::randombytes::randombytes_into;
use zeroize::{Zeroize, Zeroizing};

/// 32 secret bytes, wiped when dropped.
pub(super) type Secret32 = Zeroizing<[u8; 32]>;

/// Initialises libsodium once. Every public entry point calls this. Before it, the random source is not thread-safe and
/// libsodium uses slow implementations.
pub(super) fn init() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| sodiumoxide::init().expect("libsodium starts wherever there is a random source"));
}

/// Bytes from the random source of the operating system.
pub fn random<const N: usize>() -> [u8; N] {
    init();
    let mut bytes = [0; N];
    randombytes_into(&mut bytes);
    bytes
}

/// HMAC-SHA-256 over the parts, joined.
pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> Secret32 {
    let mut state = hmacsha256::State::init(key);
    for part in parts {
        state.update(part);
    }
    // sodiumoxide treats a tag as public and does not wipe it. Here it is often a key.
    let mut tag = state.finalize();
    let bytes = Zeroizing::new(tag.0);
    tag.0.zeroize();
    bytes
}

/// HKDF-SHA-256 (RFC 5869) for one block of output.
pub(super) fn hkdf(secret: &[u8], salt: &[u8], info: &[u8]) -> Secret32 {
    let pseudo_random_key = hmac(salt, &[secret]);
    hmac(pseudo_random_key.as_slice(), &[info, &[1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> [u8; 32] {
        std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    }

    /// RFC 5869, test cases 1 (salt and info) and 3 (neither), the first 32 bytes of each.
    #[test]
    fn hkdf_agrees_with_its_rfc() {
        init();
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        for (salt, info, output) in [
            (&*salt, &*info, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"),
            (&[], &[], "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"),
        ] {
            assert_eq!(*hkdf(&[0x0b; 22], salt, info), unhex(output));
        }
    }

    #[test]
    fn random_bytes_do_not_repeat() {
        assert_ne!(random::<32>(), random::<32>());
    }
}
