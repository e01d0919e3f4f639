//! C8, first half: the `age` crate opens what tl seals, and tl opens what the crate seals.

use std::io::{Read, Write};
use std::str::FromStr;

use age::secrecy::ExposeSecret;
use proptest::prelude::*;
use timelocker::crypto::{Identity, parse_recipients, sealed_len};

use super::sample::{SIZES, key, noise, opened, sealed};

fn theirs(identity: &Identity) -> age::x25519::Identity {
    age::x25519::Identity::from_str(identity.encode().expose()).expect("our spelling is theirs")
}

fn seal_theirs(plain: &[u8], recipients: &[age::x25519::Recipient]) -> Vec<u8> {
    let recipients = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(recipients).expect("there are recipients");
    let mut file = Vec::new();
    let mut writer = encryptor.wrap_output(&mut file).expect("memory does not fail");
    writer.write_all(plain).expect("memory does not fail");
    writer.finish().expect("memory does not fail");
    file
}

fn open_theirs(file: &[u8], identity: &age::x25519::Identity) -> Vec<u8> {
    let decryptor = age::Decryptor::new(file).expect("a header that age accepts");
    let mut plain = Vec::new();
    let mut reader = decryptor.decrypt(std::iter::once(identity as &dyn age::Identity)).expect("a key that fits");
    reader.read_to_end(&mut plain).expect("an authentic payload");
    plain
}

#[test]
fn the_age_crate_opens_what_tl_seals() {
    let (a, b) = (Identity::generate(), Identity::generate());
    for size in SIZES {
        let plain = noise(size);
        for threads in [1, 2, 4] {
            let file = sealed(&plain, &[a.recipient(), b.recipient()], threads);
            assert!(open_theirs(&file, &theirs(&b)) == plain, "{size} bytes, {threads} threads");
        }
    }
}

#[test]
fn tl_opens_what_the_age_crate_seals() {
    let generated = age::x25519::Identity::generate();
    let ours = Identity::parse(generated.to_string().expose_secret()).unwrap();
    assert_eq!(ours.recipient().to_string(), generated.to_public().to_string());
    let other = age::x25519::Identity::generate().to_public();
    for size in SIZES {
        let plain = noise(size);
        let file = seal_theirs(&plain, &[other.clone(), generated.to_public()]);
        for threads in [1, 2, 4] {
            let (released, result) = opened(&file, &key(&ours), threads);
            assert!(result.is_ok() && released == plain, "{size} bytes, {threads} threads: {result:?}");
        }
    }
}

#[test]
fn recipients_are_spelled_alike() {
    for _ in 0..50 {
        let identity = Identity::generate();
        let public = theirs(&identity).to_public().to_string();
        assert_eq!(parse_recipients(&public).unwrap(), [identity.recipient()]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_length_is_known_beforehand(size in prop_oneof![0..300_000_usize, 65_530..65_545_usize], recipients in 1..6_usize) {
        let to: Vec<_> = std::iter::repeat_with(|| Identity::generate().recipient()).take(recipients).collect();
        let file = sealed(&noise(size), &to, 1);
        prop_assert_eq!(sealed_len(size as u64, recipients), file.len() as u64);
    }

    /// The rule behind it, far beyond the sizes that a test can seal.
    #[test]
    fn the_length_grows_by_a_chunk_for_a_chunk(plain in 1..1_u64 << 60, recipients in 1..257_usize) {
        let length = sealed_len(plain, recipients);
        prop_assert_eq!(sealed_len(plain + 65_536, recipients), length + 65_552);
        prop_assert_eq!(sealed_len(plain, recipients + 1), length + 98);
    }
}

#[test]
fn boundary_lengths_are_exact() {
    let to = [Identity::generate().recipient()];
    for size in SIZES {
        assert_eq!(sealed_len(size as u64, 1), sealed(&noise(size), &to, 2).len() as u64, "{size}");
    }
}
