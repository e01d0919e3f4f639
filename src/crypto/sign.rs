//! Ed25519 (RFC 8032).

use sodiumoxide::crypto::sign::ed25519;
use zeroize::Zeroizing;

/// A signing key; libsodium's copy is wiped when dropped.
pub struct SigningKey {
    public: ed25519::PublicKey,
    secret: ed25519::SecretKey,
}

impl SigningKey {
    /// A fresh key.
    pub fn generate() -> Self {
        Self::from_seed(&Zeroizing::new(super::random()))
    }

    /// The key of a 32-byte seed (the "private key" of RFC 8032).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        super::ready();
        let (public, secret) = ed25519::keypair_from_seed(&ed25519::Seed(*seed));
        Self { public, secret }
    }

    /// The seed, to be stored.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        let mut seed = Zeroizing::new([0; 32]);
        seed.copy_from_slice(&self.secret.0[..32]);
        seed
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        self.public.0
    }

    /// A detached signature.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        ed25519::sign_detached(message, &self.secret).to_bytes()
    }
}

/// Whether the signature is of this key over this message.
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    super::ready();
    ed25519::Signature::from_bytes(signature)
        .is_ok_and(|signature| ed25519::verify_detached(&signature, message, &ed25519::PublicKey(*public)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_key_and_one_message() {
        let key = SigningKey::generate();
        let again = SigningKey::from_seed(&key.seed());
        let signature = again.sign(b"a");
        assert!(verify(&key.public(), b"a", &signature));
        assert!(!verify(&key.public(), b"b", &signature));
        assert!(!verify(&SigningKey::generate().public(), b"a", &signature));
    }
}
