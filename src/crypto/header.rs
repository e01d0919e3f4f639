//! The header of a sealed file: a version line, stanzas, and an authenticator over both.
//!
//! The parser accepts only what an encoder writes (<https://c2sp.org/age>, "Header"). So each meaning has exactly one
//! header, and the authenticator is computed over the bytes as they were read.

use std::io::Read;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};
use sodiumoxide::utils::memcmp;

use super::error::Error;
use super::pipeline::read_some;
use super::stanza::{FileKey, Stanza, decode, encode};

/// Limits of tl, far above what recipients need. age has none.
const MAX_BYTES: usize = 64 * 1024;
pub(super) const MAX_STANZAS: usize = 256;

const VERSION_LINE: &str = "age-encryption.org/v1";
const STANZA_START: &str = "-> ";
const MAC_START: &str = "---";
const BODY_COLUMNS: usize = 64;
/// The length of what follows the authenticated bytes: a space, 43 characters of the authenticator, a line end.
const MAC_TAIL: usize = 1 + 43 + 1;

/// A well-formed header. It is authentic only after [`verify`](Self::verify).
pub(super) struct Header {
    pub(super) stanzas: Vec<Stanza>,
    bytes: Vec<u8>,
    mac: [u8; 32],
}

impl Header {
    /// A header of these stanzas.
    pub(super) fn seal(stanzas: Vec<Stanza>, file_key: &FileKey) -> Self {
        let mut text = format!("{VERSION_LINE}\n");
        for stanza in &stanzas {
            text.push_str(STANZA_START);
            text.push_str(&stanza.args.join(" "));
            let body = encode(&stanza.body);
            // The last line of a body is always short. If the text fills its lines exactly, an empty line follows.
            for start in (0..=body.len()).step_by(BODY_COLUMNS) {
                text.push('\n');
                text.push_str(&body[start..body.len().min(start + BODY_COLUMNS)]);
            }
            text.push('\n');
        }
        text.push_str(MAC_START);
        let mac = *file_key.header_mac(text.as_bytes());
        text.push(' ');
        text.push_str(&encode(&mac));
        text.push('\n');
        Self { stanzas, bytes: text.into_bytes(), mac }
    }

    /// Reads a header. Returns it with the bytes after it that were read already.
    pub(super) fn read(input: &mut dyn Read) -> Result<(Self, Vec<u8>), Error> {
        let mut lines = Lines { input, buffer: Vec::new(), next: 0 };
        check_version(lines.next()?)?;
        let mut stanzas = Vec::new();
        let mac = loop {
            let line = lines.next()?;
            if let Some(mac) = line.strip_prefix(MAC_START.as_bytes()) {
                let mac = mac.strip_prefix(b" ").and_then(decode);
                break mac.ok_or(Error::NotAge("the last line of its header is malformed"))?;
            }
            let args = parse_args(line)?;
            if stanzas.len() == MAX_STANZAS {
                return Err(Error::NotAge("its header has more than 256 stanzas"));
            }
            let body = read_body(&mut lines)?;
            stanzas.push(Stanza { args, body });
        };
        if stanzas.is_empty() {
            return Err(Error::NotAge("its header has no stanza"));
        }
        let mut bytes = lines.buffer;
        let rest = bytes.split_off(lines.next);
        Ok((Self { stanzas, bytes, mac }, rest))
    }

    /// Checks that the header was written by someone who knows the file key.
    pub(super) fn verify(&self, file_key: &FileKey) -> Result<(), Error> {
        let authenticated = &self.bytes[..self.bytes.len() - MAC_TAIL];
        let mac = file_key.header_mac(authenticated);
        if memcmp(mac.as_slice(), &self.mac) { Ok(()) } else { Err(Error::HeaderMac) }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash that names this header in the audit log.
    pub(super) fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }
}

fn check_version(line: &[u8]) -> Result<(), Error> {
    if line == VERSION_LINE.as_bytes() {
        return Ok(());
    }
    if line.starts_with(b"-----BEGIN AGE ENCRYPTED FILE") {
        return Err(Error::NotAge("it is armored: convert it to a binary age file first"));
    }
    match line.strip_prefix(b"age-encryption.org/v") {
        Some(version) if !version.is_empty() && version.iter().all(u8::is_ascii_alphanumeric) => {
            Err(Error::UnsupportedVersion)
        }
        _ => Err(Error::NotAge("it does not begin like an age file")),
    }
}

fn parse_args(line: &[u8]) -> Result<Vec<String>, Error> {
    let malformed = Error::NotAge("its header has a line that begins no stanza");
    let Some(args) = line.strip_prefix(STANZA_START.as_bytes()) else { return Err(malformed) };
    let visible = |arg: &[u8]| !arg.is_empty() && arg.iter().all(u8::is_ascii_graphic);
    let args: Vec<&[u8]> = args.split(|&b| b == b' ').collect();
    if !args.iter().all(|arg| visible(arg)) {
        return Err(malformed);
    }
    Ok(args.into_iter().map(|arg| arg.iter().copied().map(char::from).collect()).collect())
}

fn read_body(lines: &mut Lines<'_>) -> Result<Vec<u8>, Error> {
    let malformed = || Error::NotAge("the body of one of its stanzas is malformed");
    let mut body = Vec::new();
    loop {
        let line = lines.next()?;
        if line.len() > BODY_COLUMNS {
            return Err(malformed());
        }
        // Decoded line by line, so that no line can hide padding or extra bits in its last character.
        body.extend(STANDARD_NO_PAD.decode(line).map_err(|_| malformed())?);
        if line.len() < BODY_COLUMNS {
            return Ok(body);
        }
    }
}

/// Reads the lines of a header, and at most one block of what follows it.
struct Lines<'a> {
    input: &'a mut dyn Read,
    buffer: Vec<u8>,
    /// The offset of the next line.
    next: usize,
}

impl Lines<'_> {
    /// The next line without its line feed.
    fn next(&mut self) -> Result<&[u8], Error> {
        let mut searched = self.next;
        loop {
            if let Some(length) = self.buffer[searched..].iter().position(|&b| b == b'\n') {
                let line = self.next..searched + length;
                self.next = line.end + 1;
                return self.within_limit(line);
            }
            searched = self.buffer.len();
            self.within_limit(0..searched)?;
            self.read_block()?;
        }
    }

    fn within_limit(&self, line: Range<usize>) -> Result<&[u8], Error> {
        if line.end >= MAX_BYTES {
            return Err(Error::NotAge("its header is longer than 64 KiB"));
        }
        Ok(&self.buffer[line])
    }

    fn read_block(&mut self) -> Result<(), Error> {
        const BLOCK: usize = 4096;
        let start = self.buffer.len();
        self.buffer.resize(start + BLOCK, 0);
        let read = read_some(self.input, &mut self.buffer[start..])?;
        self.buffer.truncate(start + read);
        if read == 0 { Err(Error::NotAge("it ends inside its header")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out one byte at a time.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = self.0.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    fn stanza(body: usize) -> Stanza {
        Stanza { args: vec!["kind".into(), "arg!~".into()], body: vec![0xa5; body] }
    }

    #[test]
    fn headers_survive_the_round_trip() {
        let key = FileKey::from_bytes([3; 16]);
        // 48 bytes fill a line of 64 characters.
        let stanzas: Vec<_> = [0, 1, 47, 48, 49, 95, 96, 97, 1000].map(stanza).into();
        let header = Header::seal(stanzas.clone(), &key);
        let file = [header.as_bytes(), b"payload"].concat();
        let (read, rest) = Header::read(&mut &file[..]).unwrap();
        assert_eq!(read.stanzas, stanzas);
        assert_eq!(read.as_bytes(), header.as_bytes());
        assert_eq!(rest, b"payload");
        assert!(read.verify(&key).is_ok());
        assert!(matches!(read.verify(&FileKey::from_bytes([4; 16])), Err(Error::HeaderMac)));

        let (dripped, rest) = Header::read(&mut Drip(&file)).unwrap();
        assert_eq!(dripped.as_bytes(), header.as_bytes());
        assert!(rest.is_empty());
    }

    #[test]
    fn limits_are_exact() {
        let key = FileKey::from_bytes([3; 16]);
        let parse =
            |stanzas| Header::read(&mut Header::seal(stanzas, &key).as_bytes()).map(|(header, _)| header.bytes.len());
        assert!(parse(vec![stanza(1); MAX_STANZAS]).is_ok());
        assert!(matches!(parse(vec![stanza(1); MAX_STANZAS + 1]), Err(Error::NotAge(why)) if why.contains("256")));
        let largest = (48_000..).find_map(|body| parse(vec![stanza(body)]).err().map(|_| body - 1)).unwrap();
        let length = parse(vec![stanza(largest)]).unwrap();
        assert!(length <= MAX_BYTES && length > MAX_BYTES - 4, "{length}");
    }

    #[test]
    fn what_is_no_age_file_is_told_apart() {
        let error = |bytes: &[u8]| Header::read(&mut &*bytes).map(|_| ()).unwrap_err();
        assert!(matches!(error(b"age-encryption.org/v2\n"), Error::UnsupportedVersion));
        assert!(
            matches!(error(b"-----BEGIN AGE ENCRYPTED FILE-----\n"), Error::NotAge(why) if why.contains("armored"))
        );
        assert!(matches!(error(b"age-encryption.org/v1\r\n"), Error::NotAge(_)));
        assert!(matches!(error(b"%PDF-1.7\n"), Error::NotAge(why) if why.contains("begin")));
        assert!(matches!(error(b""), Error::NotAge(why) if why.contains("ends")));
    }
}
