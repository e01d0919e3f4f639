//! The files of this repository, and the programs that `.ci/run` installs in it.

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where `.ci/run` installs other programs.
#[cfg(feature = "peers")]
pub fn tools() -> PathBuf {
    root().join("target/tools")
}

/// The files of a folder of tests, as a user at the root of the repository would name them.
pub fn files_of(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| Path::new(folder).join(entry.unwrap().file_name()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

/// Every YAML file of a folder and those below.
pub fn pipelines_below(root: &Path, folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join(folder)).unwrap().map(|entry| folder.join(entry.unwrap().file_name()));
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| root.join(path).is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.chain(folders.iter().flat_map(|folder| pipelines_below(root, folder))).collect()
}
