//! The Merkle tree of RFC 6962 section 2.1, as far as an append-only writer needs it.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// Serialises a hash as base64, as checkpoints and records have it.
pub(super) fn as_base64<S: serde::Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(hash))
}

/// The hash of one record's line, without its newline. The prefix keeps a leaf from passing as a node.
pub(super) fn leaf(line: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(line).finalize().into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The right edge of a growing tree: the roots of its complete subtrees, largest first, one per set bit of the size. That is
/// enough to append and to compute the root, in 32 bytes times log2 of the size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Makes it from its parts. `None` if their number does not fit the size.
    pub(super) fn from_parts(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends a leaf.
    pub(super) fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // Like a carry: each trailing one bit of the size is a complete subtree that this leaf makes twice as large.
        for _ in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().expect("one peak per bit of the size");
            hash = node(&left, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root of the tree. That of an empty tree is the hash of no bytes.
    pub(super) fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => Sha256::digest([]).into(),
            Some(last) => peaks.fold(*last, |right, left| node(left, &right)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MTH of RFC 6962 section 2.1, word by word.
    fn naive(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [one] => *one,
            _ => {
                let half = leaves.len().next_power_of_two() / 2;
                node(&naive(&leaves[..half]), &naive(&leaves[half..]))
            }
        }
    }

    #[test]
    fn every_root_is_that_of_the_rfc() {
        let leaves: Vec<Hash> = (0..300_u32).map(|n| leaf(&n.to_be_bytes())).collect();
        let mut tree = Frontier::default();
        for size in 0..=leaves.len() {
            assert_eq!(tree.root(), naive(&leaves[..size]), "size {size}");
            let parts = Frontier::from_parts(tree.size(), tree.peaks().to_vec());
            assert_eq!(parts.as_ref(), Some(&tree));
            if let Some(leaf) = leaves.get(size) {
                tree.push(*leaf);
            }
        }
        assert!(Frontier::from_parts(3, vec![[0; 32]]).is_none());
    }

    /// The root of the reference inputs of Certificate Transparency (transparency-dev/merkle, `testonly`).
    #[test]
    fn the_reference_tree() {
        let inputs: [&[u8]; 8] = [
            &[],
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
        ];
        let mut tree = Frontier::default();
        for input in inputs {
            tree.push(leaf(input));
        }
        let (high, low) =
            (0x5dc9_da79_a706_59a9_ad55_9cb7_01de_d9a2_u128, 0xab9d_823a_ad2f_4960_cfe3_70ef_f460_4328_u128);
        assert_eq!(tree.root(), [high.to_be_bytes(), low.to_be_bytes()].concat()[..]);
    }
}
