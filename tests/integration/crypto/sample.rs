//! Files to seal and open.

use std::num::NonZeroUsize;

use timelocker::crypto::{Error, Identity, Key, Recipient, open, seal};

/// Where chunks and batches begin and end.
pub const SIZES: [usize; 12] =
    [0, 1, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (3 << 20) + 17];

pub fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).expect("a test asks for at least one thread")
}

/// Bytes without any pattern, the same in every run.
pub fn noise(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(size as u64).fill(&mut bytes);
    bytes
}

pub fn sealed(plain: &[u8], recipients: &[Recipient], count: usize) -> Vec<u8> {
    let mut file = Vec::new();
    let sealed = seal(recipients, &mut &*plain, &mut file, threads(count)).expect("memory does not fail");
    assert_eq!(sealed.plaintext_bytes, plain.len() as u64);
    assert_eq!(sealed.sealed_bytes, file.len() as u64);
    file
}

/// What was released, and how it ended.
pub fn opened(file: &[u8], keys: &[Key], count: usize) -> (Vec<u8>, Result<(), Error>) {
    let mut plain = Vec::new();
    let result = open(keys, &mut &*file, &mut plain, threads(count)).map(|opened| {
        assert_eq!(opened.plaintext_bytes, plain.len() as u64);
        assert_eq!(opened.sealed_bytes, file.len() as u64);
    });
    (plain, result)
}

pub fn key(identity: &Identity) -> [Key; 1] {
    [Key::from(identity.clone())]
}
