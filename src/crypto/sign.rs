//! Ed25519 signatures and random bytes for the audit log, and HMAC for webhooks.

use std::fmt;

use sodiumoxide::crypto::sign::ed25519;
use zeroize::Zeroizing;

pub use super::sodium::random;
use super::sodium::{hmac, init};

/// A secret signing key, wiped when dropped.
pub struct SigningKey(ed25519::SecretKey);

impl SigningKey {
    /// A new key from the random source of the operating system.
    pub fn generate() -> Self {
        init();
        Self(ed25519::gen_keypair().1)
    }

    /// The key of a stored seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        init();
        Self(ed25519::keypair_from_seed(&ed25519::Seed(*seed)).1)
    }

    /// The seed to store. [`from_seed`](Self::from_seed) makes the key of it again.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        let mut seed = Zeroizing::new([0; 32]);
        // libsodium's secret key is the seed of RFC 8032 followed by the public key.
        seed.copy_from_slice(&self.0[..32]);
        seed
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> [u8; 32] {
        self.0.public_key().0
    }

    /// The signature of a message (RFC 8032, Ed25519, not pre-hashed).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        ed25519::sign_detached(message, &self.0).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

/// Whether the signature is valid for this message and public key. Malformed and low-order keys verify nothing.
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    init();
    // `Signature::new` panics if s is out of range; `from_bytes` returns an error.
    ed25519::Signature::from_bytes(signature)
        .is_ok_and(|signature| ed25519::verify_detached(&signature, message, &ed25519::PublicKey(*public)))
}

/// HMAC-SHA-256 over the parts, joined. The key may have any length.
pub fn authenticate(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    init();
    *hmac(key, parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn agrees_with_its_rfc() {
        let seed = unhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = SigningKey::from_seed(&seed);
        assert_eq!(key.public(), unhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"));
        assert_eq!(
            key.sign(&[0x72]),
            unhex(
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                 085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
            )
        );
        assert_eq!(*key.seed(), seed);
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let key = SigningKey::generate();
        let (public, message) = (key.public(), *b"size 3, root abc");
        let signature = key.sign(&message);
        assert!(verify(&public, &message, &signature));
        for bit in 0..512 {
            let mut bad = signature;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&public, &message, &bad), "signature bit {bit}");
        }
        for bit in 0..128 {
            let mut bad = message;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&public, &bad, &signature), "message bit {bit}");
        }
        assert!(!verify(&SigningKey::generate().public(), &message, &signature));
        assert!(!verify(&public, &message, &[0xff; 64]));
        assert!(!verify(&[0; 32], &message, &signature));
    }

    #[test]
    fn debug_hides_the_key() {
        assert_eq!(format!("{:?}", SigningKey::from_seed(&[7; 32])), "SigningKey(***)");
    }
}
