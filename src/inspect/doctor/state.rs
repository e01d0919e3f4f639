//! What every run needs: a state folder that it can use, with a sound audit log and a database that it can read.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use super::examine::{DoctorItem, item, tried};
use crate::audit;
use crate::diagnostic::{Diagnostic, Result};
use crate::open::{audit_error, database_error, state_error};
use crate::state::{self, StateDir};
use crate::value::human_bytes;

pub(super) fn state(state: &StateDir) -> DoctorItem {
    let path = state.path();
    let trials = if path.symlink_metadata().is_ok() {
        vec![tried("write", usable(state)), tried("audit log", log(state)), tried("database", database(state))]
    } else {
        vec![tried("write", can_be_made(path))]
    };
    item("state", &path.display().to_string(), "folder", trials)
}

fn failed(path: &Path, source: io::Error) -> Diagnostic {
    state_error(&state::Error::Io { path: path.to_owned(), source })
}

/// Whether the first run can make it.
fn can_be_made(path: &Path) -> Result<String> {
    let above = path.ancestors().skip(1).find(|above| above.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
    let is_folder = above
        .metadata()
        .and_then(|about| if about.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) });
    is_folder
        .and_then(|()| Ok(access(above, Access::WRITE_OK | Access::EXEC_OK)?))
        .map_err(|error| failed(path, error))?;
    Ok("it is missing; the first run makes it".to_owned())
}

fn usable(state: &StateDir) -> Result<String> {
    state.create().map_err(|error| state_error(&error))?;
    let path = state.path();
    // Such as those of a run by root.
    for name in ["audit", "blocked", "logs", "work", "state.db"].map(|name| path.join(name)) {
        if name.exists() {
            access(&name, Access::WRITE_OK).map_err(|error| failed(&name, error.into()))?;
        }
    }
    write_and_remove(&path.join(format!("doctor-{}", std::process::id()))).map_err(|error| failed(path, error))?;
    let free = statvfs(path).map(|about| about.f_bavail.saturating_mul(about.f_frsize));
    let free = free.map_or_else(|_| String::new(), |free| format!("; {} free", human_bytes(free as f64)));
    Ok(format!("a file was made and removed{free}"))
}

fn write_and_remove(path: &Path) -> io::Result<()> {
    let written = File::create_new(path)?.write_all(b"tl doctor");
    written.and(fs::remove_file(path))
}

/// Reads the log and repairs nothing.
fn log(state: &StateDir) -> Result<String> {
    let folder = state.audit();
    if folder.symlink_metadata().is_err() {
        return Ok("it is missing; the first run begins it".to_owned());
    }
    audit::check_key(&folder).map_err(|error| audit_error(&error))?;
    let report = audit::verify(&folder).map_err(|error| audit_error(&error))?;
    match report.problems.into_iter().find(audit::Problem::is_damage) {
        Some(damage) => Err(audit_error(&audit::Error::Damaged(Box::new(damage)))),
        None => Ok(format!("its {} records are what was signed", report.records)),
    }
}

fn database(state: &StateDir) -> Result<String> {
    let runs = state.runs().map_err(|error| database_error(&error))?;
    Ok(if runs.is_some() { "it can be read" } else { "it is missing; the first run makes it" }.to_owned())
}
