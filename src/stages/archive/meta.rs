use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::fs::{FileType, Stat, major, minor};
use uzers::{Groups, Users, UsersCache};

/// The metadata of an entry, in the widths that an archive needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) kind: FileType,
    /// Permissions with set-uid, set-gid and sticky, without the file type.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    /// Bytes on disk. Fewer than `size` suggest holes.
    pub(super) allocated: u64,
    pub(super) mtime: Time,
    pub(super) links: u64,
    /// Device and inode, which identify the file.
    pub(super) id: Id,
    /// Major and minor number of a device node.
    pub(super) node: (u32, u32),
}

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// Seconds since 1970, negative before that, and nanoseconds to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) seconds: i64,
    pub(super) nanoseconds: u32,
}

// The fields of `stat` have other widths on other architectures.
#[allow(clippy::useless_conversion)]
impl From<Stat> for Meta {
    fn from(stat: Stat) -> Self {
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            allocated: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
            mtime: Time {
                seconds: i64::from(stat.st_mtime),
                nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            },
            links: u64::from(stat.st_nlink),
            id: Id { device: u64::from(stat.st_dev), inode: u64::from(stat.st_ino) },
            node: (major(stat.st_rdev), minor(stat.st_rdev)),
        }
    }
}

/// Names of users and groups. Each is looked up once.
#[derive(Default)]
pub(super) struct Owners(UsersCache);

/// The names of an entry's owners. Empty if the system knows none.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) user: Arc<OsStr>,
    pub(super) group: Arc<OsStr>,
}

impl Owners {
    pub(super) fn of(&self, meta: &Meta) -> Owner {
        let unknown = || Arc::from(OsStr::from_bytes(b""));
        Owner {
            user: self.0.get_user_by_uid(meta.uid).map_or_else(unknown, |user| Arc::from(user.name())),
            group: self.0.get_group_by_gid(meta.gid).map_or_else(unknown, |group| Arc::from(group.name())),
        }
    }
}
