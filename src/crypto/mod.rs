//! The only door to the cryptographic library: signatures and random bytes.

pub mod sign;

use std::sync::OnceLock;

/// Random bytes from the operating system's generator.
pub fn random<const N: usize>() -> [u8; N] {
    ready();
    let mut bytes = [0; N];
    sodiumoxide::randombytes::randombytes_into(&mut bytes);
    bytes
}

/// libsodium chooses its implementations and opens its source of randomness once, before anything else.
fn ready() {
    static READY: OnceLock<()> = OnceLock::new();
    READY.get_or_init(|| sodiumoxide::init().expect("libsodium finds a source of randomness"));
}
