use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// The program that a name means: a path, relative to `folder`, or a name in the folders of `path`, by default of `$PATH`. `None`
/// if there is none that may be started.
pub fn find_program(name: &str, folder: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![folder.join(name)]
    } else {
        let path = path.map(OsStr::to_owned).or_else(|| env::var_os("PATH"));
        path.iter().flat_map(env::split_paths).map(|place| folder.join(place).join(name)).collect()
    };
    candidates.into_iter().find(|file| file.is_file() && access(file, Access::EXEC_OK).is_ok())
}
