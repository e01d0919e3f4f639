use std::fmt::Write as _;
use std::os::fd::AsFd;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::output::fill_block;

/// A stored run of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// The data ranges of a file with holes: in order, inside the file, without overlap. Each run takes sixteen bytes of
/// memory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Map {
    extents: Vec<Extent>,
    size: u64,
}

impl Map {
    /// Asks the file system for the holes of a file of this size. `None` if there are none or the file system cannot
    /// tell. That is always correct: a hole reads as zeros.
    pub(super) fn of(file: impl AsFd, size: u64) -> Option<Self> {
        let file = file.as_fd();
        let mut extents = Vec::new();
        let mut at = 0;
        while at < size {
            let offset = match seek(file, SeekFrom::Data(at)) {
                Ok(offset) if offset < size => offset,
                // No data between here and the end.
                Ok(_) | Err(Errno::NXIO) => break,
                Err(_) => return None,
            };
            let end = seek(file, SeekFrom::Hole(offset)).ok()?.min(size);
            // Another process is punching holes right now. An empty run would never let the loop move on.
            if end <= offset {
                return None;
            }
            extents.push(Extent { offset, length: end - offset });
            at = end;
        }
        (extents != [Extent { offset: 0, length: size }]).then_some(Self { extents, size })
    }

    /// The runs to store.
    pub(super) fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// The size of the file with its holes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The length of all runs together.
    pub(super) fn stored(&self) -> u64 {
        self.extents.iter().map(|extent| extent.length).sum()
    }

    /// The map that precedes the data: decimal numbers, one per line, padded to a block.
    pub(super) fn text(&self) -> Vec<u8> {
        let last = self.extents.last().map_or(0, |extent| extent.offset + extent.length);
        // If the file ends in a hole, a final empty run gives its size: readers seek there and truncate.
        let end = (last < self.size).then_some(Extent { offset: self.size, length: 0 });
        let mut text = format!("{}\n", self.extents.len() + usize::from(end.is_some()));
        for extent in self.extents.iter().chain(&end) {
            writeln!(text, "{}\n{}", extent.offset, extent.length).expect("a String takes everything");
        }
        let mut bytes = text.into_bytes();
        fill_block(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    fn text(map: &Map) -> String {
        let bytes = map.text();
        assert_eq!(bytes.len() % 512, 0);
        String::from_utf8(bytes).unwrap().trim_end_matches('\0').to_owned()
    }

    #[test]
    fn the_map_ends_where_the_file_ends() {
        let hole = Map { extents: vec![], size: 1 << 30 };
        assert_eq!(text(&hole), "1\n1073741824\n0\n");
        let data_last = Map { extents: vec![Extent { offset: 4096, length: 10 }], size: 4106 };
        assert_eq!(text(&data_last), "1\n4096\n10\n");
        let hole_last = Map { extents: vec![Extent { offset: 0, length: 512 }], size: 8192 };
        assert_eq!(text(&hole_last), "2\n0\n512\n8192\n0\n");
    }

    #[test]
    fn holes_are_found_and_dense_files_have_no_map() {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create_new(directory.path().join("f")).unwrap();
        file.write_all_at(&[1; 8192], 0).unwrap();
        assert_eq!(Map::of(&file, 8192), None);
        file.write_all_at(&[1; 4096], 1 << 20).unwrap();
        file.set_len(2 << 20).unwrap();
        let map = Map::of(&file, 2 << 20).unwrap();
        assert_eq!(
            map.extents,
            [Extent { offset: 0, length: 8192 }, Extent { offset: 1 << 20, length: 4096 }],
            "the test needs a file system with holes"
        );
        assert_eq!(map.stored(), 12_288);
    }
}
