//! Paths in their shortest form.

use std::path::{Component, Path, PathBuf};

/// A path without `.` and without `..` where possible: `a/../b` becomes `b`. If symbolic links make that another file, the
/// path stays as it is.
pub(in crate::pipeline) fn normalized(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(tidy.components().next_back(), Some(Component::Normal(_))) => {
                tidy.pop();
            }
            other => tidy.push(other),
        }
    }
    match (tidy.canonicalize(), path.canonicalize()) {
        (Ok(a), Ok(b)) if a == b => tidy,
        (Err(_), Err(_)) => tidy,
        _ => path.to_owned(),
    }
}
