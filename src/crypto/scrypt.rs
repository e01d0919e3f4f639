//! scrypt with free parameters, for passphrase stanzas. sodiumoxide wraps only the parameters that libsodium chooses.

use zeroize::Zeroizing;

use super::error::Error;
use super::sodium::Secret32;

/// The largest work factor that is accepted, as a power of two; the same as in `age`. It costs 4 GiB and some seconds. The
/// author of the file chooses the factor, so it needs a limit.
pub(super) const MAX_LOG_N: u8 = 22;

/// The block size and parallelism that the age specification fixes.
const R: u32 = 8;
const P: u32 = 1;

/// Derives a key from a passphrase with N = 2^`log_n`.
///
/// Fails when the work factor is 0 or above [`MAX_LOG_N`], before any work is done, and when memory runs out.
pub(super) fn derive(passphrase: &[u8], salt: &[u8], log_n: u8) -> Result<Secret32, Error> {
    if !(1..=MAX_LOG_N).contains(&log_n) {
        return Err(Error::NotAge("its passphrase stanza asks for an unreasonable amount of work"));
    }
    let mut key = Zeroizing::new([0; 32]);
    // SAFETY: each of the three pointers comes from a live slice and is passed with that slice's own length; the
    // function reads the first two, writes the third, which nobody else borrows, and keeps none of them. A wrong N, r
    // or p, or a failed allocation, is an error code and not undefined behaviour.
    #[allow(unsafe_code)]
    let status = unsafe {
        libsodium_sys::crypto_pwhash_scryptsalsa208sha256_ll(
            passphrase.as_ptr(),
            passphrase.len(),
            salt.as_ptr(),
            salt.len(),
            1 << log_n,
            R,
            P,
            key.as_mut_ptr(),
            key.len(),
        )
    };
    if status == 0 { Ok(key) } else { Err(Error::OutOfMemory) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sodium::init;

    /// RFC 7914, section 12, has r = 8 and p = 1 once: N = 16384, the first 32 of its 64 bytes.
    #[test]
    fn agrees_with_its_rfc() {
        init();
        let key = derive(b"pleaseletmein", b"SodiumChloride", 14).unwrap();
        assert_eq!(key[..8], [0x70, 0x23, 0xbd, 0xcb, 0x3a, 0xfd, 0x73, 0x48]);
    }

    #[test]
    fn bombs_are_refused_before_any_work() {
        for log_n in [0, MAX_LOG_N + 1, 63, 64, 255] {
            assert!(matches!(derive(b"", b"", log_n), Err(Error::NotAge(_))), "{log_n}");
        }
    }
}
