use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{fgetxattr, flistxattr, lgetxattr, llistxattr};
use rustix::io::{Errno, Result};

/// Names and values, sorted by name.
pub(super) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// Where to read the attributes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// An entry that is never opened: a link, a fifo or a device.
    Named(BorrowedFd<'a>, &'a CStr),
}

/// The attributes that an archive keeps. Empty if the file system has none.
pub(super) fn read(subject: Subject<'_>) -> Result<Attributes> {
    match subject {
        Subject::Open(file) => collect(|list| flistxattr(file, list), |name, value| fgetxattr(file, name, value)),
        Subject::Named(directory, name) => {
            // `listxattrat` exists only since Linux 6.13. The path through /proc uses the very directory that was
            // checked, at any depth.
            let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
            path.extend_from_slice(name.to_bytes());
            let path = CString::new(path).map_err(|_| Errno::INVAL)?;
            match collect(|list| llistxattr(&path, list), |name, value| lgetxattr(&path, name, value)) {
                // In a container without /proc.
                Err(Errno::NOENT) if !Path::new("/proc/self/fd").exists() => Ok(Vec::new()),
                read => read,
            }
        }
    }
}

fn collect(
    list: impl FnMut(&mut [u8]) -> Result<usize>,
    mut get: impl FnMut(&[u8], &mut [u8]) -> Result<usize>,
) -> Result<Attributes> {
    let names = match grow(list) {
        Ok(names) => names,
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut attributes = Attributes::new();
    for name in names.split(|&byte| byte == 0).filter(|name| is_kept(name)) {
        match grow(|value| get(name, value)) {
            Ok(value) => attributes.push((name.to_vec(), value)),
            // It was removed after it was listed.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error),
        }
    }
    attributes.sort_unstable();
    Ok(attributes)
}

/// The rest of `system.*` repeats what modes and ACLs already say, and is specific to one file system.
fn is_kept(name: &[u8]) -> bool {
    [&b"user."[..], b"security.", b"trusted.", b"system.posix_acl_"].iter().any(|prefix| name.starts_with(prefix))
}

/// Calls with larger buffers until the answer fits. Linux allows 64 KiB for a value and for a list.
fn grow(mut call: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    loop {
        match call(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_any_length_are_read() {
        for length in [0, 255, 256, 257, 65_536] {
            let answer = grow(|buffer| {
                let target = buffer.get_mut(..length).ok_or(Errno::RANGE)?;
                target.fill(7);
                Ok(length)
            });
            assert_eq!(answer.unwrap(), vec![7; length]);
        }
    }

    #[test]
    fn only_what_a_restore_can_set_is_kept() {
        for (name, kept) in [
            ("user.a", true),
            ("security.capability", true),
            ("trusted.overlay.opaque", true),
            ("system.posix_acl_access", true),
            ("system.nfs4_acl", false),
            ("", false),
        ] {
            assert_eq!(is_kept(name.as_bytes()), kept, "{name}");
        }
    }
}
