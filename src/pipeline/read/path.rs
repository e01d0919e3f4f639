//! Paths as people would write them.

use std::path::{Component, Path, PathBuf};

/// A path without the parts that lead nowhere: `a/../b` is `b`. Only where that is the same file.
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
