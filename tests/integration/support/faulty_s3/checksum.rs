//! The checksums that S3 knows, in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use sha2::Sha256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64nvme,
    Sha256,
}

impl Algorithm {
    pub const ALL: [Self; 4] = [Self::Crc32, Self::Crc32c, Self::Crc64nvme, Self::Sha256];

    /// As in `x-amz-checksum-…`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "crc32",
            Self::Crc32c => "crc32c",
            Self::Crc64nvme => "crc64nvme",
            Self::Sha256 => "sha256",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    pub fn header(self) -> String {
        format!("x-amz-checksum-{}", self.name())
    }

    /// As in the XML of a completion.
    pub fn element(self) -> String {
        format!("Checksum{}", self.name().to_ascii_uppercase())
    }

    fn raw(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Crc32 => crc_fast::crc32_iso_hdlc(bytes).to_be_bytes().into(),
            Self::Crc32c => crc_fast::crc32_iscsi(bytes).to_be_bytes().into(),
            Self::Crc64nvme => crc_fast::crc64_nvme(bytes).to_be_bytes().into(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
        }
    }

    pub fn of(self, bytes: &[u8]) -> String {
        STANDARD.encode(self.raw(bytes))
    }

    /// The composite checksum: the checksum of the parts' checksums.
    pub fn composite(self, parts: &[String]) -> String {
        let raw: Vec<u8> = parts.iter().flat_map(|part| STANDARD.decode(part).unwrap_or_default()).collect();
        format!("{}-{}", self.of(&raw), parts.len())
    }
}

pub fn md5(bytes: &[u8]) -> Vec<u8> {
    Md5::digest(bytes).to_vec()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
