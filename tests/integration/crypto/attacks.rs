//! What an attacker can do to a sealed file: flip bits, truncate, move, repeat, append, overload.

use std::io::{self, Read};

use timelocker::crypto::{Error, Identity, Key, open, seal};
use timelocker::value::Secret;

use super::sample::{key, noise, opened, sealed, threads};

const CHUNK: usize = 65_536;
const SLOT: usize = CHUNK + 16;

/// The length of header and nonce for this many recipients.
fn prelude(recipients: usize) -> usize {
    22 + 98 * recipients + 48 + 16
}

/// The file with one bit flipped.
fn flipped(file: &[u8], bit: usize) -> Vec<u8> {
    let mut bad = file.to_vec();
    bad[bit / 8] ^= 1 << (bit % 8);
    bad
}

/// C1.
#[test]
fn every_bit_before_the_payload_counts() {
    let identities = [Identity::generate(), Identity::generate()];
    let to = identities.each_ref().map(Identity::recipient);
    let file = sealed(b"the plaintext", &to, 1);
    let bits = prelude(2) * 8;
    for bit in 0..bits {
        let bad = flipped(&file, bit);
        for identity in &identities {
            let (released, result) = opened(&bad, &key(identity), 1);
            assert!(result.is_err() && released.is_empty(), "bit {bit}: {result:?}");
        }
    }
    println!("C1: {bits} bits, {} refusals", 2 * bits);
    assert_eq!(bits, 2256);
}

/// C2.
#[test]
fn every_bit_of_the_payload_counts() {
    let identity = Identity::generate();
    let file = sealed(&noise(1000), &[identity.recipient()], 1);
    let bits = prelude(1) * 8..file.len() * 8;
    assert_eq!(bits.len(), 8128);
    for bit in bits.clone() {
        let (released, result) = opened(&flipped(&file, bit), &key(&identity), 1);
        assert!(matches!(result, Err(Error::Tampered { chunk: 0 })), "bit {bit}: {result:?}");
        assert!(released.is_empty());
    }
    println!("C2: {} bits of one chunk", bits.len());
}

/// C2, second part: damage far into a file releases exactly the bytes before it.
#[test]
fn damage_ends_the_release_at_its_chunk() {
    let identity = Identity::generate();
    let plain = noise(5 << 20);
    let file = sealed(&plain, &[identity.recipient()], 2);
    let mut random = fastrand::Rng::with_seed(2);
    for round in 0..200 {
        let bit = random.usize(prelude(1) * 8..file.len() * 8);
        let hit = (bit / 8 - prelude(1)) / SLOT;
        let (released, result) = opened(&flipped(&file, bit), &key(&identity), 1 + round % 4);
        assert!(matches!(result, Err(Error::Tampered { chunk }) if chunk == hit as u64), "bit {bit}: {result:?}");
        assert!(released == plain[..hit * CHUNK], "bit {bit} released {} bytes", released.len());
    }
}

/// C3.
#[test]
fn every_truncation_is_noticed() {
    let identity = Identity::generate();
    let plain = noise(2 * CHUNK + 1000);
    let file = sealed(&plain, &[identity.recipient()], 1);
    let start = prelude(1);
    let boundaries = [start, start + SLOT, start + 2 * SLOT, file.len()];
    let near = |length: usize| boundaries.iter().any(|boundary| length.abs_diff(*boundary) <= 40);
    let mut count = 0;
    for length in (0..file.len()).filter(|&length| length < start || near(length) || length % 97 == 0) {
        count += 1;
        let (released, result) = opened(&file[..length], &key(&identity), 1);
        let whole = length.saturating_sub(start) / SLOT;
        assert!(released == plain[..whole * CHUNK], "cut to {length} released {} bytes", released.len());
        match result {
            Err(Error::NotAge(_)) => assert!(length < start, "cut to {length}"),
            Err(Error::Truncated | Error::Tampered { .. }) => assert!(length >= start, "cut to {length}"),
            other => panic!("cut to {length}: {other:?}"),
        }
    }
    println!("C3: {count} truncations");
    assert!(count >= 1232);
}

/// C4.
#[test]
fn truncations_between_chunks_are_noticed() {
    let identity = Identity::generate();
    let plain = noise(299 * CHUNK + 17);
    let file = sealed(&plain, &[identity.recipient()], 2);
    for chunks in 0..300 {
        let (released, result) = opened(&file[..prelude(1) + chunks * SLOT], &key(&identity), 2);
        assert!(matches!(result, Err(Error::Truncated)), "{chunks} chunks: {result:?}");
        assert!(released == plain[..chunks * CHUNK], "{chunks} chunks");
    }
}

/// C5. Tests inside the crate cover chunks of another file with the same file key.
#[test]
fn chunks_have_one_place() {
    let identity = Identity::generate();
    let plain = noise(16 * CHUNK);
    let file = sealed(&plain, &[identity.recipient()], 2);
    let (head, payload) = file.split_at(prelude(1));
    let chunks: Vec<&[u8]> = payload.chunks(SLOT).collect();
    assert_eq!(chunks.len(), 16);
    // What was changed, the chunks in their new order, and how many chunks at the start are still in place.
    let mut forgeries = Vec::new();
    for a in 0..16 {
        for b in a + 1..16 {
            let mut order = chunks.clone();
            order.swap(a, b);
            forgeries.push((format!("{a} and {b} swapped"), order, a));
        }
        let mut order = chunks.clone();
        order.insert(a, chunks[a]);
        forgeries.push((format!("{a} doubled"), order, if a == 15 { 16 } else { a + 1 }));
        let mut order = chunks.clone();
        order.remove(a);
        forgeries.push((format!("{a} dropped"), order, a));
        let mut order = chunks.clone();
        order.push(chunks[a]);
        forgeries.push((format!("{a} appended"), order, 16));
        let mut order = chunks.clone();
        order[a] = &payload[a * SLOT..a * SLOT + 100];
        forgeries.push((format!("{a} shortened"), order, a));
    }
    for (what, order, intact) in &forgeries {
        let bad = [head, &order.concat()].concat();
        let (released, result) = opened(&bad, &key(&identity), 2);
        assert!(result.is_err(), "{what}");
        assert!(released == plain[..intact * CHUNK], "{what} released {} bytes: {result:?}", released.len());
    }
    println!("C5: {} forgeries", forgeries.len());
    assert!(forgeries.len() >= 180);
    for extra in [1, 15, 16, 17, SLOT, 17 * SLOT] {
        let bad = [&*file, &vec![0; extra]].concat();
        let (released, result) = opened(&bad, &key(&identity), 2);
        assert!(matches!(result, Err(Error::TrailingData)), "{extra} more bytes: {result:?}");
        assert!(released == plain);
    }
}

/// C11: refused after a bounded number of bytes, whatever follows them.
#[test]
fn bombs_do_not_go_off() {
    struct Counted<R>(R, u64);
    impl<R: Read> Read for Counted<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read(buffer)?;
            self.1 += read as u64;
            Ok(read)
        }
    }
    let version = "age-encryption.org/v1\n";
    let share = "A".repeat(43);
    let x25519 = format!("-> X25519 {share}\n{share}\n");
    let salt = "A".repeat(22);
    let mut bombs = vec![
        "x".repeat(1 << 20),
        format!("{version}{}", "-> a\n\n".repeat(10_000)),
        format!("{version}{}", x25519.repeat(10_000)),
        format!("{version}-> {}", "a".repeat(1 << 20)),
        format!("{version}-> {}", "a ".repeat(1 << 19)),
        format!("{version}-> a\n{}", format!("{}\n", "A".repeat(64)).repeat(20_000)),
        format!("{version}--- {}", "A".repeat(1 << 20)),
    ];
    for work in
        ["0", "23", "24", "31", "32", "63", "64", "127", "128", "255", "256", "-1", "1e9", "18446744073709551616"]
    {
        bombs.push(format!("{version}-> scrypt {salt} {work}\n{share}\n--- {share}\n"));
    }
    let keys = [Key::from(Identity::generate()), Key::Passphrase(Secret::new("hunter2".to_owned()))];
    for bomb in bombs {
        let mut input = Counted(bomb.as_bytes(), 0);
        let result = open(&keys, &mut input, &mut io::sink(), threads(2));
        assert!(matches!(result, Err(Error::NotAge(_))), "{}: {result:?}", &bomb[..80]);
        assert!(input.1 <= 72 * 1024, "{} bytes were read of {}", input.1, &bomb[..80]);
    }
}

/// C13: a decoder that ignores or maps foreign bytes would pass these on to the authenticator.
#[test]
fn foreign_bytes_in_base64_are_refused_by_the_parser() {
    let identity = Identity::generate();
    let file = sealed(b"the plaintext", &[identity.recipient()], 1);
    let (share, wrapped, mac) = (22 + 10, 22 + 10 + 44, 22 + 98 + 4);
    let foreign: Vec<u8> = (0..=255).filter(|b: &u8| !b.is_ascii_alphanumeric() && !b"+/".contains(b)).collect();
    assert_eq!(foreign.len(), 192);
    for position in [share, share + 42, wrapped + 20, wrapped + 42, mac, mac + 42] {
        for &byte in &foreign {
            let mut bad = file.clone();
            assert!(bad[position].is_ascii_alphanumeric() || b"+/".contains(&bad[position]));
            bad[position] = byte;
            let (released, result) = opened(&bad, &key(&identity), 1);
            assert!(matches!(result, Err(Error::NotAge(_))), "byte {byte:#x} at {position}: {result:?}");
            assert!(released.is_empty());
        }
    }
}

#[test]
fn the_wrong_key_is_told_apart_from_damage() {
    let (owner, stranger) = (Identity::generate(), Identity::generate());
    let file = sealed(b"the plaintext", &[owner.recipient()], 1);
    let error = |file: &[u8], keys: &[Key]| opened(file, keys, 1).1.unwrap_err();
    assert!(error(&file, &key(&stranger)).is_wrong_key());
    assert!(error(&file, &[]).is_wrong_key());
    assert!(error(&file, &[Key::Passphrase(Secret::new("x".to_owned()))]).is_wrong_key());
    assert!(!error(&file[..100], &key(&owner)).is_wrong_key());
    assert!(!error(&file[..file.len() - 1], &key(&owner)).is_wrong_key());
    let both = [Key::from(stranger), Key::from(owner)];
    assert!(opened(&file, &both, 1).1.is_ok());
}

#[test]
fn sealing_for_nobody_or_for_a_crowd_is_refused() {
    let to = vec![Identity::generate().recipient(); 257];
    let mut out = Vec::new();
    assert!(matches!(seal(&[], &mut io::empty(), &mut out, threads(1)), Err(Error::NoRecipients)));
    assert!(matches!(seal(&to, &mut io::empty(), &mut out, threads(1)), Err(Error::TooManyRecipients(257))));
    assert!(out.is_empty());
}

#[test]
fn sealing_twice_gives_two_files() {
    let to = [Identity::generate().recipient()];
    let (a, b) = (sealed(b"same", &to, 1), sealed(b"same", &to, 1));
    let equal = a.iter().zip(&b).skip(prelude(1) - 16).filter(|(a, b)| a == b).count();
    assert!(equal < 12, "{equal} of 36 bytes of nonce and payload are equal");
}
