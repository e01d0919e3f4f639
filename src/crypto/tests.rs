//! What only an insider can try: chosen file keys and nonces, and malformed headers with a right authenticator.

use std::num::NonZeroUsize;

use super::error::Error;
use super::header::Header;
use super::keys::{Identity, Key, Recipient};
use super::pipeline::{CHUNK, SLOT};
use super::sodium::{init, random};
use super::stanza::{FileKey, Stanza, decode, encode, wrap};
use super::stream::{open, seal_payload, seal_with};

const FILE_KEY: [u8; 16] = *b"YELLOW SUBMARINE";

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn sealed(plain: &[u8], nonce: [u8; 16], to: Recipient) -> Vec<u8> {
    let mut out = Vec::new();
    seal_with(&FileKey::from_bytes(FILE_KEY), nonce, &[to], &mut &*plain, &mut out, threads(2)).unwrap();
    out
}

fn opened(file: &[u8], keys: &[Key]) -> (Vec<u8>, Result<(), Error>) {
    let mut out = Vec::new();
    let result = open(keys, &mut &*file, &mut out, threads(2)).map(|_| ());
    (out, result)
}

/// A file of these stanzas, authentic in all else.
fn crafted(stanzas: Vec<Stanza>) -> Vec<u8> {
    let file_key = FileKey::from_bytes(FILE_KEY);
    let mut file = Header::seal(stanzas, &file_key).as_bytes().to_vec();
    file.extend([9; 16]);
    seal_payload(&file_key.payload_key(&[9; 16]), &mut &b"secret"[..], &mut file, threads(1)).unwrap();
    file
}

/// C9.
#[test]
fn the_number_of_threads_leaves_no_trace() {
    init();
    let mut sizes = fastrand::Rng::with_seed(9);
    let plain: Vec<u8> = std::iter::repeat_with(|| sizes.u8(..)).take(36 * CHUNK).collect();
    let key = FileKey::from_bytes(FILE_KEY).payload_key(&[1; 16]);
    let mut compared = 0;
    for round in 0..1000 {
        // Every tenth one is larger than a batch.
        let size = if round % 10 == 0 { sizes.usize(..plain.len()) } else { sizes.usize(..3 * CHUNK) };
        let outputs = [1, 2, 8].map(|count| {
            let mut out = Vec::new();
            seal_payload(&key, &mut &plain[..size], &mut out, threads(count)).unwrap();
            compared += 1;
            out
        });
        assert!(outputs[0] == outputs[1] && outputs[0] == outputs[2], "{size} bytes");
        assert_eq!(outputs[0].len(), size + 16 * size.div_ceil(CHUNK).max(1));
    }
    println!("C9: {compared} sealings compared");
    assert_eq!(compared, 3000);
}

/// C5, the part that needs one file key for two files.
#[test]
fn chunks_of_a_file_with_the_same_file_key_do_not_fit() {
    let identity = Identity::generate();
    let keys = [Key::from(identity.clone())];
    let (ours, theirs) = (vec![1; 5 * CHUNK + 7], vec![2; 5 * CHUNK + 7]);
    let (ours, theirs) = (sealed(&ours, [1; 16], identity.recipient()), sealed(&theirs, [2; 16], identity.recipient()));
    let start = ours.len() - (5 * SLOT + 7 + 16);
    for chunk in 0..6 {
        let range = start + chunk * SLOT..(start + (chunk + 1) * SLOT).min(ours.len());
        let mut file = ours.clone();
        file[range.clone()].copy_from_slice(&theirs[range]);
        let (released, result) = opened(&file, &keys);
        assert!(matches!(result, Err(Error::Tampered { chunk: at }) if at == chunk as u64), "{chunk}: {result:?}");
        assert_eq!(released.len(), chunk * CHUNK);
    }
    // The header of one before the payload of the other.
    let file = [&ours[..start - 16], &theirs[start - 16..]].concat();
    let (released, result) = opened(&file, &keys);
    assert_eq!(released.len(), 5 * CHUNK + 7, "one file key is one file key: {result:?}");
    let file = [&ours[..start], &theirs[start..]].concat();
    assert!(matches!(opened(&file, &keys).1, Err(Error::Tampered { chunk: 0 })));
}

/// The points of small order and their other spellings (with p added, with the ignored top bit set).
fn low_order_points() -> Vec<[u8; 32]> {
    let unhex = |text: &str| std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap());
    let near_p = |low: u8| std::array::from_fn(|i| [low, 0xff, 0x7f][usize::from(i > 0) + usize::from(i == 31)]);
    let small = |low: u8| std::array::from_fn(|i| if i == 0 { low } else { 0 });
    let points = [
        small(0),
        small(1),
        unhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        unhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        near_p(0xec),
        near_p(0xed),
        near_p(0xee),
    ];
    points
        .into_iter()
        .flat_map(|point: [u8; 32]| {
            let mut other = point;
            other[31] |= 0x80;
            [point, other]
        })
        .collect()
}

/// C12.
#[test]
fn low_order_shares_end_it_wherever_they_stand() {
    let identity = Identity::generate();
    let file_key = FileKey::from_bytes(FILE_KEY);
    let good = wrap(identity.recipient(), &file_key).unwrap();
    let mut answers = Vec::new();
    for point in low_order_points() {
        for position in 0..3 {
            let mut stanzas = vec![good.clone(), good.clone()];
            stanzas.insert(position, Stanza { args: vec!["X25519".into(), encode(&point)], body: vec![0; 32] });
            let file = crafted(stanzas);
            for identity in [identity.clone(), Identity::generate()] {
                let (released, result) = opened(&file, &[identity.into()]);
                assert!(released.is_empty());
                answers.push(result.unwrap_err().to_string());
            }
        }
    }
    println!("C12: {} files", answers.len());
    assert_eq!(answers.len(), 84);
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].contains("low-order"), "{answers:?}");
}

/// C14: two recipients cannot be shown two different files.
#[test]
fn stanzas_with_different_file_keys_open_nothing_for_the_odd_one() {
    for _ in 0..100 {
        let (a, b) = (Identity::generate(), Identity::generate());
        let stanzas = vec![
            wrap(a.recipient(), &FileKey::from_bytes(FILE_KEY)).unwrap(),
            wrap(b.recipient(), &FileKey::from_bytes(random())).unwrap(),
        ];
        let file = crafted(stanzas);
        let (released, result) = opened(&file, &[b.into()]);
        assert!(released.is_empty() && matches!(result, Err(Error::HeaderMac)), "{result:?}");
        let (released, result) = opened(&file, &[a.into()]);
        assert!(result.is_ok() && released == b"secret");
    }
}

/// Other programs may add stanzas of their own; they are authenticated and otherwise ignored.
#[test]
fn foreign_stanzas_are_ignored() {
    let identity = Identity::generate();
    let grease = Stanza { args: vec!["x-grease".into(), "!".into()], body: vec![1; 100] };
    let good = wrap(identity.recipient(), &FileKey::from_bytes(FILE_KEY)).unwrap();
    for stanzas in [vec![grease.clone(), good.clone()], vec![good, grease.clone(), grease.clone()]] {
        let (released, result) = opened(&crafted(stanzas), &[identity.clone().into()]);
        assert!(result.is_ok() && released == b"secret", "{result:?}");
    }
    assert!(matches!(opened(&crafted(vec![grease]), &[identity.into()]).1, Err(Error::NoMatch)));
}

#[test]
fn base64_has_one_spelling() {
    assert_eq!(decode::<2>(b"AAE"), Some([0, 1]));
    for bad in ["AAF", "AAE=", "AAE ", "AAE\n", "AA", "AAEA", "AA-", "A\u{e9}E", ""] {
        assert_eq!(decode::<2>(bad.as_bytes()), None, "{bad}");
    }
}
