//! Files and directories flow in, one POSIX tar stream flows out.
//!
//! [`write()`] walks the sources of its [`Options`] and writes an archive that stock `tar -x` restores exactly: names of any
//! length and any bytes, times to the nanosecond, owners, modes, extended attributes and ACLs, hard links, sparse
//! files, fifos and devices. The same tree always gives the same bytes. Files that cannot be read are reported to the
//! [`Observer`] and left out. Whatever happens to a file, the stream stays a valid archive. This module compresses and
//! seals nothing, and changes nothing on disk.
//!
//! # Format
//!
//! ustar headers. A pax `x` header precedes one only if ustar cannot express the entry (POSIX.1-2024, `pax`, "pax
//! Interchange Format"). Sparse files use GNU's pax format 1.0 (GNU tar manual, "Storing Sparse Files"). Extended
//! attributes are `SCHILY.xattr.*` with raw values, and ACLs are among them as `system.posix_acl_*`. Restore them with
//! `tar --xattrs --xattrs-include='*' -xpf`.

mod acl;
mod content;
mod entry;
mod error;
mod header;
mod options;
mod output;
mod sparse;
mod stage;
mod write;
mod xattr;

pub use error::Error;
pub use options::{Observer, Options, Summary};
pub use stage::Archive;
pub use write::write;
