//! Sealed files as text (<https://c2sp.org/age>, "ASCII armor"). Strict PEM, so that each file has exactly one text.
//!
//! A sealed value in a pipeline is such a text. Stock age opens it, and `validate` checks its armor and header without an
//! identity.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::Error;
use super::header::Header;

const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const END: &str = "-----END AGE ENCRYPTED FILE-----";
const COLUMNS: usize = 64;
/// The smallest payload after a header: the nonce of the stream, and the tag of an empty chunk.
const SMALLEST_PAYLOAD: usize = 16 + 16;

/// A sealed file as text, with a line end after its last line.
pub fn armor(sealed: &[u8]) -> String {
    let mut text = format!("{BEGIN}\n");
    for line in sealed.chunks(COLUMNS / 4 * 3) {
        text.push_str(&STANDARD.encode(line));
        text.push('\n');
    }
    text.push_str(END);
    text.push('\n');
    text
}

/// Reads what [`armor`] writes. White space around the text is ignored.
///
/// # Errors
///
/// [`Error::NotAge`] with the rule that is broken.
pub fn dearmor(text: &str) -> Result<Vec<u8>, Error> {
    let mut lines = text.trim().lines();
    if lines.next() != Some(BEGIN) {
        return Err(Error::NotAge("it does not begin with `-----BEGIN AGE ENCRYPTED FILE-----`"));
    }
    if lines.next_back() != Some(END) {
        return Err(Error::NotAge("it does not end with `-----END AGE ENCRYPTED FILE-----`"));
    }
    let mut bytes = Vec::new();
    let mut full = true;
    for line in lines {
        // Only the last line may be short, and none is empty.
        if !full || line.is_empty() || line.len() > COLUMNS {
            return Err(Error::NotAge("the lines of its armor are not 64 characters long"));
        }
        full = line.len() == COLUMNS;
        let before = bytes.len();
        STANDARD
            .decode_vec(line, &mut bytes)
            .map_err(|_| Error::NotAge("a line of its armor holds a character that is none of base64"))?;
        // Padding fills the last line only.
        full &= bytes.len() - before == COLUMNS / 4 * 3;
    }
    Ok(bytes)
}

/// Checks what can be checked of a sealed file without an identity: its header and its length.
///
/// # Errors
///
/// As [`open`](super::open) would fail before it tries an identity.
pub fn check(sealed: &[u8]) -> Result<(), Error> {
    let mut rest = sealed;
    let (_, read) = Header::read(&mut rest)?;
    if read.len() + rest.len() < SMALLEST_PAYLOAD { Err(Error::Truncated) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn armor_survives_the_round_trip() {
        for length in [0, 1, 2, 3, 47, 48, 49, 95, 96, 97, 1000] {
            let bytes: Vec<u8> = (0..length).map(|number| u8::try_from(number % 251).unwrap()).collect();
            let text = armor(&bytes);
            assert!(text.lines().all(|line| line.len() <= 64));
            assert_eq!(dearmor(&text).unwrap(), bytes);
            assert_eq!(dearmor(&format!("\n  {}\r\n", text.trim_end().replace('\n', "\r\n"))).unwrap(), bytes);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let good = armor(&[7; 100]);
        let lines: Vec<&str> = good.lines().collect();
        for (bad, why) in [
            (String::new(), "begin"),
            (lines[1..].join("\n"), "begin"),
            (lines[..lines.len() - 1].join("\n"), "end with"),
            (good.replacen('B', "!", 3).replace("!EGIN", "BEGIN"), "base64"),
            (good.replace(lines[1], &lines[1][..60]), "64 characters"),
            (good.replace(lines[1], &format!("{}AAAA", lines[1])), "64 characters"),
            (good.replace(lines[2], &format!("{}\n", lines[2])), "64 characters"),
            (good.replace(lines[1], &format!("{}AA==", &lines[1][..60])), "64 characters"),
        ] {
            let error = dearmor(&bad).unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn a_header_is_judged_without_an_identity() {
        let recipient = crate::crypto::Identity::generate().recipient();
        let mut sealed = Vec::new();
        crate::crypto::seal(&[recipient], &mut &b""[..], &mut sealed, std::num::NonZeroUsize::MIN).unwrap();
        assert!(check(&sealed).is_ok());
        assert!(matches!(check(&sealed[..sealed.len() - 1]), Err(Error::Truncated)));
        assert!(matches!(check(b"age-encryption.org/v1\n"), Err(Error::NotAge(_))));
        assert!(matches!(check(b"age-encryption.org/v2\n"), Err(Error::UnsupportedVersion)));
    }
}
