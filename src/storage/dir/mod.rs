//! The store kind `dir`: a directory of this machine, each object a file.
//!
//! - A delivered object has its digest beside it, in `KEY.sha256`, in the form that `sha256sum -c` reads: a check needs no
//!   `tl`. Deliveries alone write such files. A small write or a removal takes the digest of what it replaces away.
//! - A file gets its name when all of it is on the disk. Until then it is called `.tl-….partial` and is no object.
//! - The object gets its name before its digest, under a lock of the folder, and an overwrite removes the old digest first. A
//!   crash leaves an object without a digest, which `verify` and `download` survive, and never one with a wrong digest.
//! - A system call can hang in the kernel for as long as a file server is dead, and nothing can interrupt it. So calls
//!   run on threads of their own, which are left behind when the caller goes. The bytes of a delivery are written on the thread
//!   of its stage, which the engine leaves behind in the same way.
//! - No call follows a symbolic link below the directory: a key may come from an expression, and must not lead out of it.

mod deliver;
mod folder;
mod list;
mod objects;
mod thread;

pub use objects::Dir;
