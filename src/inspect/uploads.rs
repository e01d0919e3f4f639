//! Open uploads that no run will resume or abort: of a file that is gone, or of a pipeline that was renamed.

use std::path::Path;

use serde::Serialize;

use crate::pipeline;
use crate::state::{DbError, OpenUploadOf, StateDir};

/// An open upload that only `tl gc --store` aborts. It costs what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrphanedUpload {
    /// The URI of the object.
    pub uri: String,
    /// The run that opened it.
    pub run: String,
    /// The pipeline of that run.
    pub pipeline: String,
    /// Its file.
    pub file: String,
    /// Why no run of the file aborts it.
    pub reason: String,
    #[serde(skip)]
    pub(crate) row: OpenUploadOf,
}

/// The open uploads that no run of their file will abort. A file that does not read may be mended, so its uploads are not among
/// them.
pub fn orphaned_uploads(state: &StateDir) -> Result<Vec<OrphanedUpload>, DbError> {
    let orphan = |row: OpenUploadOf| {
        let reason = reason(&row.file, &row.pipeline)?;
        Some(OrphanedUpload {
            uri: row.upload.uri.clone(),
            run: row.upload.run.clone(),
            pipeline: row.pipeline.clone(),
            file: row.file.display().to_string(),
            reason,
            row,
        })
    };
    let all = state.open_uploads()?.into_iter().filter(|row| !row.upload.is_at_work);
    Ok(all.filter_map(orphan).collect())
}

fn reason(file: &Path, pipeline: &str) -> Option<String> {
    if std::fs::symlink_metadata(file).is_err() {
        return Some("its file is gone".to_owned());
    }
    let (_, outline) = pipeline::load(file).ok()?;
    (outline.name.as_str() != pipeline).then(|| format!("its file is of `{}` now", outline.name))
}
