use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, checksum_combine};
use md5::Md5;
use sha2::{Digest as _, Sha256};

use crate::value::hex;

/// A checksum that goes with the bytes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Crc64Nvme,
    Crc32c,
    Sha256,
    Md5,
}

/// A checksum that is being computed.
pub(super) enum Running {
    Crc(Algorithm, crc_fast::Digest),
    Sha256(Sha256),
    Md5(Md5),
}

/// The checksum of one part, or of a whole object that was sent as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) algorithm: Algorithm,
    /// Big-endian, as S3 writes it.
    bytes: Vec<u8>,
    /// Of how many bytes.
    pub(super) size: u64,
}

impl Algorithm {
    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Sha256 | Self::Md5 => None,
        }
    }

    /// Its name among the checksums of an object.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "crc64nvme",
            Self::Crc32c => "crc32c",
            Self::Sha256 => "sha256",
            Self::Md5 => "md5",
        }
    }

    /// The algorithm of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Crc64Nvme, Self::Crc32c, Self::Sha256, Self::Md5].into_iter().find(|algorithm| algorithm.name() == name)
    }

    pub(super) fn start(self) -> Running {
        match self.crc() {
            Some(crc) => Running::Crc(self, crc_fast::Digest::new(crc)),
            None if self == Self::Sha256 => Running::Sha256(Sha256::new()),
            None => Running::Md5(Md5::new()),
        }
    }

    /// The checksum of no bytes: the start when parts are combined.
    pub(super) fn of_nothing(self) -> Sum {
        self.start().finish(0)
    }
}

impl Running {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(_, crc) => crc.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
            Self::Md5(hash) => hash.update(bytes),
        }
    }

    pub(super) fn finish(self, size: u64) -> Sum {
        let (algorithm, bytes) = match self {
            Self::Crc(algorithm, crc) => {
                let value = crc.finalize().to_be_bytes();
                let length = if algorithm == Algorithm::Crc32c { 4 } else { 8 };
                (algorithm, value[8 - length..].to_vec())
            }
            Self::Sha256(hash) => (Algorithm::Sha256, hash.finalize().to_vec()),
            Self::Md5(hash) => (Algorithm::Md5, hash.finalize().to_vec()),
        };
        Sum { algorithm, bytes, size }
    }
}

impl Sum {
    /// In base64, as headers hold it.
    pub(super) fn base64(&self) -> String {
        STANDARD.encode(&self.bytes)
    }

    /// In hexadecimal, as an `ETag` holds it.
    pub(super) fn hex(&self) -> String {
        hex(&self.bytes)
    }

    /// The checksum of the bytes of both, if the algorithm can combine two.
    pub(super) fn followed_by(&self, next: &Self) -> Option<Self> {
        let number = |sum: &Self| sum.bytes.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        let value = checksum_combine(self.algorithm.crc()?, number(self), number(next), next.size).to_be_bytes();
        let bytes = value[8 - self.bytes.len()..].to_vec();
        Some(Self { algorithm: self.algorithm, bytes, size: self.size + next.size })
    }

    /// The composite checksum that S3 keeps of an object in parts: the hash of their hashes, and their number.
    pub(super) fn of_parts(parts: &[Self]) -> Option<String> {
        let algorithm = parts.first()?.algorithm;
        let mut running = algorithm.start();
        parts.iter().for_each(|part| running.update(&part.bytes));
        let sum = running.finish(0);
        let text = if algorithm == Algorithm::Md5 { sum.hex() } else { sum.base64() };
        Some(format!("{text}-{}", parts.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(algorithm: Algorithm, bytes: &[u8]) -> Sum {
        let mut running = algorithm.start();
        running.update(bytes);
        running.finish(bytes.len() as u64)
    }

    /// The check values of the catalogue of CRC algorithms (reveng), of FIPS 180-4 and of RFC 1321.
    #[test]
    fn known_answers() {
        let check = b"123456789";
        assert_eq!(sum(Algorithm::Crc64Nvme, check).hex(), "ae8b14860a799888");
        assert_eq!(sum(Algorithm::Crc32c, check).hex(), "e3069283");
        assert_eq!(sum(Algorithm::Md5, b"abc").hex(), "900150983cd24fb0d6963f7d28e17f72");
        assert!(sum(Algorithm::Sha256, b"abc").hex().starts_with("ba7816bf"));
        assert_eq!(sum(Algorithm::Crc64Nvme, check).base64(), "rosUhgp5mIg=");
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let bytes: Vec<u8> = (0..10_000_u32).map(|i| i.to_le_bytes()[1]).collect();
        for algorithm in [Algorithm::Crc64Nvme, Algorithm::Crc32c] {
            for at in [0, 1, 4_999, 10_000] {
                let (left, right) = bytes.split_at(at);
                let both = sum(algorithm, left).followed_by(&sum(algorithm, right)).unwrap();
                assert_eq!(both, sum(algorithm, &bytes));
            }
            let from_nothing = algorithm.of_nothing().followed_by(&sum(algorithm, &bytes)).unwrap();
            assert_eq!(from_nothing, sum(algorithm, &bytes));
        }
        assert_eq!(sum(Algorithm::Sha256, b"a").followed_by(&sum(Algorithm::Sha256, b"b")), None);
    }

    #[test]
    fn the_etag_of_parts_is_the_md5_of_their_md5s() {
        let parts = [sum(Algorithm::Md5, b"abc"), sum(Algorithm::Md5, b"")];
        let mut both = Algorithm::Md5.start();
        both.update(&[parts[0].bytes.as_slice(), parts[1].bytes.as_slice()].concat());
        assert_eq!(Sum::of_parts(&parts), Some(format!("{}-2", both.finish(0).hex())));
    }
}
