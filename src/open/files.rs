//! Paths of pipeline files.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// The absolute path of a file that was read.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    // `absolute` fails for an empty path only, which cannot have been read.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The path under which the state folder knows a file: the same for every spelling, also if the file does not exist.
pub(crate) fn place_of(file: &Path) -> PathBuf {
    let beside = || {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(fs::canonicalize(folder)?.join(file.file_name().unwrap_or_default()))
    };
    fs::canonicalize(file).or_else(|_| beside()).or_else(|_: io::Error| std::path::absolute(file)).unwrap_or_default()
}

/// The YAML files below a folder, in the order of their paths. Hidden folders and links to folders are left out, and links to what
/// is not below the folder.
pub(crate) fn yaml_files_below(folder: &Path, failed: &mut dyn FnMut(&Path, io::Error)) -> Vec<PathBuf> {
    let root = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    below(folder, &root, failed)
}

fn below(folder: &Path, root: &Path, failed: &mut dyn FnMut(&Path, io::Error)) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut paths: Vec<PathBuf> = match entries {
        Ok(entries) => entries.iter().map(fs::DirEntry::path).collect(),
        Err(error) => {
            failed(folder, error);
            return Vec::new();
        }
    };
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        match fs::symlink_metadata(&path).map(|metadata| metadata.file_type()) {
            Ok(kind) if kind.is_dir() && !is_hidden => found.extend(below(&path, root, failed)),
            Ok(kind) if kind.is_file() && is_yaml => found.push(path),
            // Kubernetes mounts the files of a ConfigMap as links into a hidden folder beside them.
            Ok(kind) if kind.is_symlink() && is_yaml => {
                let target = fs::canonicalize(&path).ok().filter(|target| target.is_file() && target.starts_with(root));
                found.extend(target.map(|_| path));
            }
            Ok(_) => {}
            Err(error) => failed(&path, error),
        }
    }
    found
}
