use std::io;

use super::error::Error;
use super::options::Observer;
use super::output::Output;
use super::sparse::Extent;
use crate::source::Meta;

/// The buffer size: large enough to make system calls cheap, small enough for the CPU caches.
pub(super) const BUFFER: usize = 256 << 10;

/// How reading the content went. As many bytes as promised were written in any case.
#[derive(Debug)]
pub(super) enum Content {
    /// The whole content was read.
    Whole,
    /// The whole content was read, and there is more: the file is longer than its size says, like the files in `/proc`.
    More,
    /// The file ended at this offset. The rest is zeros.
    Short(u64),
    /// Reading failed at this offset. The rest is zeros.
    Failed(u64, io::Error),
}

impl Content {
    /// The warning for a file whose header promised `promised` and whose metadata is `after` once its content was read.
    pub(super) fn problem(&self, promised: &Meta, after: &Meta) -> Option<String> {
        match self {
            Self::Failed(at, error) => Some(format!("cannot be read at byte {at} ({error}); zeros stand for the rest")),
            Self::Short(at) => Some(format!("shrank while being read; zeros stand for what was behind byte {at}")),
            Self::Whole | Self::More if after.size > promised.size => {
                Some(format!("grew while being read; its first {} bytes are stored", promised.size))
            }
            Self::More => {
                Some(format!("has more content than its size of {} bytes; the rest is not stored", promised.size))
            }
            Self::Whole if after.size < promised.size => Some("shrank while being read".to_owned()),
            Self::Whole if after.mtime != promised.mtime => Some("changed while being read".to_owned()),
            Self::Whole => None,
        }
    }
}

/// The largest file that is read before anything of it is written.
pub(super) const SMALL: u64 = BUFFER as u64;

/// The content of a small file that did not change while it was read, and the metadata that fits it. A file that changed is read
/// once more; `None` if it changed again, or cannot be read whole. A large file is not read twice: one that always changes, such
/// as the image of a disk, would cost twice the time.
pub(super) fn settled(
    mut meta: Meta,
    mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
    mut stat: impl FnMut() -> io::Result<Meta>,
) -> Option<(Meta, Vec<u8>)> {
    for _ in 0..2 {
        if meta.size > SMALL {
            return None;
        }
        let mut content = vec![0; usize::try_from(meta.size).ok()?];
        let mut at = 0;
        while at < content.len() {
            match read_at(&mut content[at..], at as u64).ok()? {
                0 => break,
                count => at += count,
            }
        }
        let after = stat().ok()?;
        if at == content.len() && (after.size, after.mtime) == (meta.size, meta.mtime) {
            return Some((meta, content));
        }
        meta = after;
    }
    None
}

/// Copies these runs of a file and pads the last block. The header has promised a length. It is kept even if the file
/// shrinks or its disk fails: otherwise everything after it would be lost.
pub(super) fn copy(
    mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
    extents: &[Extent],
    buffer: &mut [u8],
    out: &mut Output<'_>,
    observer: &dyn Observer,
) -> Result<Content, Error> {
    let mut content = Content::Whole;
    for extent in extents {
        let mut at = extent.offset;
        let end = extent.offset + extent.length;
        while at < end {
            if observer.cancelled() {
                return Err(Error::Cancelled);
            }
            let part = part_of(buffer, end - at);
            if let Content::Whole = content {
                match read_at(part, at) {
                    Ok(0) => content = Content::Short(at),
                    Ok(count) => {
                        observer.progress(count as u64);
                        out.put(&part[..count])?;
                        at += count as u64;
                    }
                    Err(error) => content = Content::Failed(at, error),
                }
            } else {
                out.put_zeros(part.len() as u64)?;
                at += part.len() as u64;
            }
        }
    }
    out.end_block()?;
    Ok(content)
}

/// Checks for bytes past the end of a file that was read whole.
pub(super) fn look_behind(
    content: Content,
    size: u64,
    read_at: impl FnOnce(&mut [u8], u64) -> io::Result<usize>,
) -> Content {
    match content {
        // An error there says nothing about the promised bytes.
        Content::Whole if read_at(&mut [0], size).is_ok_and(|count| count > 0) => Content::More,
        other => other,
    }
}

/// Reads stay aligned to file-system blocks while the file lasts.
fn part_of(buffer: &mut [u8], left: u64) -> &mut [u8] {
    let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
    &mut buffer[..length]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::path::Path;

    struct Quiet {
        read: Cell<u64>,
        cancel_after: u64,
    }

    impl Observer for Quiet {
        fn progress(&self, bytes: u64) {
            self.read.set(self.read.get() + bytes);
        }

        fn warn(&self, path: &Path, reason: String) {
            panic!("{}: {reason}", path.display());
        }

        fn note(&self, text: String) {
            panic!("{text}");
        }

        fn cancelled(&self) -> bool {
            self.read.get() >= self.cancel_after
        }
    }

    fn run(
        read_at: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
        extents: &[(u64, u64)],
        cancel_after: u64,
    ) -> (Result<Content, Error>, Vec<u8>, u64) {
        let extents: Vec<_> = extents.iter().map(|&(offset, length)| Extent { offset, length }).collect();
        let observer = Quiet { read: Cell::new(0), cancel_after };
        let mut bytes = Vec::new();
        let mut out = Output::new(&mut bytes);
        let result = copy(read_at, &extents, &mut [0; 1024], &mut out, &observer);
        drop(out);
        (result, bytes, observer.read.get())
    }

    /// A file of `x` bytes that is read in odd portions.
    fn file(size: u64) -> impl FnMut(&mut [u8], u64) -> io::Result<usize> {
        move |part, at| {
            let count = part.len().min(700).min(usize::try_from(size.saturating_sub(at)).unwrap());
            part[..count].fill(b'x');
            Ok(count)
        }
    }

    #[test]
    fn a_small_file_that_changes_is_read_once_more() {
        let meta = |size, seconds| crate::source::Meta {
            kind: rustix::fs::FileType::RegularFile,
            mode: 0o640,
            uid: 0,
            gid: 0,
            size,
            allocated: 512,
            mtime: crate::source::Time { seconds, nanoseconds: 0 },
            links: 1,
            id: crate::source::Id { device: 1, inode: 1 },
            node: (0, 0),
        };
        // What `fstat` says after each reading.
        let settle = |first: Meta, stats: &[Meta]| {
            let mut stats = stats.iter().copied();
            settled(first, file(10_000), || stats.next().ok_or(io::ErrorKind::NotFound.into()))
        };
        let kept = |found: Option<(Meta, Vec<u8>)>| found.map(|(meta, content)| (meta, content.len()));
        assert_eq!(kept(settle(meta(3_000, 1), &[meta(3_000, 1)])), Some((meta(3_000, 1), 3_000)));
        assert_eq!(kept(settle(meta(3_000, 1), &[meta(3_500, 2), meta(3_500, 2)])), Some((meta(3_500, 2), 3_500)));
        assert_eq!(kept(settle(meta(3_000, 1), &[meta(3_000, 2), meta(3_000, 3)])), None);
        assert_eq!(kept(settle(meta(3_000, 1), &[meta(SMALL + 1, 2)])), None);
        // It is shorter than its size says, or cannot be read.
        assert_eq!(kept(settle(meta(12_000, 1), &[meta(12_000, 1), meta(12_000, 1)])), None);
        assert!(settled(meta(5, 1), |_, _| Err(io::Error::other("EIO")), || Ok(meta(5, 1))).is_none());
    }

    #[test]
    fn short_reads_are_continued() {
        let (content, bytes, read) = run(file(3000), &[(0, 3000)], u64::MAX);
        assert!(matches!(content.unwrap(), Content::Whole));
        assert_eq!((bytes.len(), read), (3072, 3000));
        assert!(bytes[..3000].iter().all(|&byte| byte == b'x') && bytes[3000..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_short_file_is_filled_with_zeros_over_all_runs() {
        let (content, bytes, read) = run(file(1500), &[(0, 1000), (1400, 2000), (9000, 10)], u64::MAX);
        assert!(matches!(content.unwrap(), Content::Short(1500)));
        assert_eq!((bytes.len(), read), (3072, 1100));
        assert!(bytes[..1100].iter().all(|&byte| byte == b'x') && bytes[1100..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_failing_disk_is_filled_with_zeros() {
        let mut good = file(u64::MAX);
        let failing = |part: &mut [u8], at: u64| if at > 0 { Err(io::Error::other("EIO")) } else { good(part, at) };
        let (content, bytes, _) = run(failing, &[(0, 2048)], u64::MAX);
        assert!(matches!(content.unwrap(), Content::Failed(700, _)));
        assert_eq!(bytes.len(), 2048);
        assert!(bytes[700..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_cancelled_copy_stops_between_buffers() {
        let (content, _, read) = run(file(u64::MAX), &[(0, 1 << 30)], 2000);
        assert!(matches!(content, Err(Error::Cancelled)));
        assert_eq!(read, 2100);
    }
}
