use std::fmt::Write as _;

use super::output::fill_block;
use crate::source::Time;

/// The largest owner and device number of a ustar field.
pub(super) const OCTAL_7: u64 = 0o777_7777;
/// The largest size and time of a ustar field: 8 GiB less one byte, and the year 2242.
pub(super) const OCTAL_11: u64 = 0o777_7777_7777;

/// The records of one pax extended header. Keywords are text; values are any bytes.
#[derive(Debug, Default)]
pub(super) struct Records(Vec<u8>);

impl Records {
    /// `LENGTH KEYWORD=VALUE\n`, where the length counts its own digits.
    pub(super) fn add(&mut self, keyword: &[u8], value: &[u8]) {
        let rest = keyword.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + decimal_digits(length) {
            length = rest + decimal_digits(length);
        }
        self.0.extend_from_slice(format!("{length} ").as_bytes());
        self.0.extend_from_slice(keyword);
        self.0.push(b'=');
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    /// Adds a record for a number that the field cannot hold. Returns the value for the field.
    pub(super) fn clamp(&mut self, keyword: &str, value: u64, largest: u64) -> u64 {
        if value > largest {
            self.add(keyword.as_bytes(), value.to_string().as_bytes());
        }
        value.min(largest)
    }

    /// Fills a field. Adds a record if the text does not fit or needs to declare its encoding.
    pub(super) fn text(&mut self, keyword: &str, value: &[u8], field: &mut [u8]) {
        let length = value.len().min(field.len());
        field[..length].copy_from_slice(&value[..length]);
        if length < value.len() || needs_encoding(value) {
            self.add(keyword.as_bytes(), value);
        }
    }

    /// The extended header for an entry of this path: its header block and its body. Empty without records.
    pub(super) fn blocks(self, path: &[u8]) -> Vec<u8> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::XHeader);
        // Only readers without pax see this name. GNU tar uses its process id here, which would make every archive
        // differ.
        put(&mut ustar(&mut header).name, &beside(path, b"PaxHeaders"));
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(self.0.len() as u64);
        header.set_cksum();
        let mut blocks = header.as_bytes().to_vec();
        blocks.extend_from_slice(&self.0);
        fill_block(&mut blocks);
        blocks
    }
}

/// The fields of a header made by `new_ustar`.
pub(super) fn ustar(header: &mut tar::Header) -> &mut tar::UstarHeader {
    header.as_ustar_mut().expect("made as ustar")
}

/// Copies as much as fits. The rest is zeros.
pub(super) fn put(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

/// `DIRECTORY/FOLDER/NAME` for `DIRECTORY/NAME`.
pub(super) fn beside(path: &[u8], folder: &[u8]) -> Vec<u8> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let start = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    [&path[..start], folder, b"/", &path[start..]].concat()
}

/// Where to split a path between the fields `prefix` and `name`. The slash at the split is stored in neither.
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((b"", path));
    }
    // The first slash that leaves a name of at most 100 bytes. A trailing slash is no place to split.
    let earliest = path.len() - 101;
    let slash = earliest + path[earliest..path.len() - 1].iter().position(|&byte| byte == b'/')?;
    (slash > 0 && slash <= 155).then(|| (&path[..slash], &path[slash + 1..]))
}

/// Values of pax records are UTF-8; ustar fields have no encoding. UTF-8 beyond ASCII therefore needs a record. Other
/// bytes are literal in a field and illegal in a record, so they go into a record only if they do not fit. GNU tar
/// writes and reads them there; `hdrcharset=BINARY` would make it print a warning for each.
pub(super) fn needs_encoding(value: &[u8]) -> bool {
    !value.is_ascii() && std::str::from_utf8(value).is_ok()
}

/// Seconds as an exact decimal fraction, without trailing zeros.
pub(super) fn decimal(time: Time) -> String {
    let Time { mut seconds, mut nanoseconds } = time;
    let mut text = String::new();
    if seconds < 0 && nanoseconds > 0 {
        // Half a second before 1970 is -1 s plus 500 ms, and is written as -0.5.
        seconds += 1;
        nanoseconds = 1_000_000_000 - nanoseconds;
        if seconds == 0 {
            text.push('-');
        }
    }
    text.push_str(&seconds.to_string());
    if nanoseconds > 0 {
        write!(text, ".{nanoseconds:09}").expect("a String takes everything");
    }
    text
}

fn decimal_digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for length in (0..1100).chain([9_980, 99_970, 65_536]) {
            let mut records = Records::default();
            records.add(b"comment", &vec![b'x'; length]);
            let stated: usize = std::str::from_utf8(&records.0).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert_eq!(stated, records.0.len(), "{length}");
        }
    }

    #[test]
    fn times_are_exact() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "0"),
            (0, 1, "0.000000001"),
            (1_234, 567_890_123, "1234.567890123"),
            (-1, 0, "-1"),
            (-1, 500_000_000, "-0.500000000"),
            (-2, 750_000_000, "-1.250000000"),
            (7_258_118_400, 0, "7258118400"),
        ] {
            assert_eq!(decimal(Time { seconds, nanoseconds }), text);
        }
    }

    #[test]
    fn paths_divide_where_ustar_can_hold_them() {
        let path = |parts: &[usize]| parts.iter().map(|&n| "x".repeat(n)).collect::<Vec<_>>().join("/").into_bytes();
        for (parts, fits) in [
            (&[100][..], true),
            (&[101], false),
            (&[1, 99], true),
            (&[1, 100], true),
            (&[1, 101], false),
            (&[155, 100], true),
            (&[156, 100], false),
            (&[155, 101], false),
            (&[50, 50, 50, 50], true),
            (&[0, 100], false),
        ] {
            let path = path(parts);
            let halves = split(&path);
            assert_eq!(halves.is_some(), fits, "{parts:?}");
            if let Some((prefix, name)) = halves {
                assert!(prefix.len() <= 155 && name.len() <= 100, "{parts:?}");
                let joined = if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() };
                assert_eq!(joined, path);
            }
        }
        // The trailing slash of a directory is no place to split.
        assert_eq!(split(&[&path(&[120])[..], b"/"].concat()), None);
    }
}
