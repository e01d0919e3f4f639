use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::fs::{FileType, Stat, major, minor};
use uzers::{Groups, Users, UsersCache};

/// The metadata of an entry, in the widths that an archive needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: FileType,
    /// Permissions with set-uid, set-gid and sticky, without the file type.
    pub mode: u32,
    /// The id of its user.
    pub uid: u32,
    /// The id of its group.
    pub gid: u32,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes on disk. Fewer than `size` suggest holes.
    pub allocated: u64,
    /// When its content last changed.
    pub mtime: Time,
    /// The number of its names.
    pub links: u64,
    /// Device and inode, which identify the file.
    pub id: Id,
    /// Major and minor number of a device node.
    pub node: (u32, u32),
}

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    /// The file system.
    pub device: u64,
    /// The file there.
    pub inode: u64,
}

/// Seconds since 1970, negative before that, and nanoseconds to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Below a second.
    pub nanoseconds: u32,
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
pub struct Owners(UsersCache);

/// The names of an entry's owners. Empty if the system knows none.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The name of its user.
    pub user: Arc<OsStr>,
    /// The name of its group.
    pub group: Arc<OsStr>,
}

impl Owners {
    /// The names of the owners of an entry.
    pub fn of(&self, meta: &Meta) -> Owner {
        let unknown = || Arc::from(OsStr::from_bytes(b""));
        Owner {
            user: self.0.get_user_by_uid(meta.uid).map_or_else(unknown, |user| Arc::from(user.name())),
            group: self.0.get_group_by_gid(meta.gid).map_or_else(unknown, |group| Arc::from(group.name())),
        }
    }
}
