//! What every run needs: a state folder that it can use, with a sound audit log and a database that it can read.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use rustix::fs::statvfs;

use super::examine::{DoctorItem, item, tried};
use crate::audit::Log;
use crate::diagnostic::Result;
use crate::open::{audit_error, database_error, state_error};
use crate::state::{self, StateDir};
use crate::storage::{Check, CheckResult};
use crate::value::human_bytes;

pub(super) fn state(state: &StateDir) -> DoctorItem {
    let path = state.path();
    let trials = if path.symlink_metadata().is_ok() {
        vec![tried("write", usable(state)), tried("audit log", log(state)), tried("database", database(state))]
    } else {
        let detail = "it is missing; the first run makes it".to_owned();
        vec![Check { what: "write", result: CheckResult::Unknown, detail }]
    };
    item("state", &path.display().to_string(), "folder", trials)
}

fn usable(state: &StateDir) -> Result<String> {
    state.create().map_err(|error| state_error(&error))?;
    let path = state.path();
    let failed = |source: io::Error| state_error(&state::Error::Io { path: path.to_owned(), source });
    write_and_remove(&path.join(format!("doctor-{}", std::process::id()))).map_err(failed)?;
    let free = statvfs(path).map(|about| about.f_bavail.saturating_mul(about.f_frsize));
    let free = free.map_or_else(|_| String::new(), |free| format!("; {} free", human_bytes(free as f64)));
    Ok(format!("a file was made and removed{free}"))
}

fn write_and_remove(path: &Path) -> io::Result<()> {
    let written = File::create_new(path)?.write_all(b"tl doctor");
    written.and(fs::remove_file(path))
}

fn log(state: &StateDir) -> Result<String> {
    if state.audit().symlink_metadata().is_err() {
        return Ok("it is missing; the first run begins it".to_owned());
    }
    Log::open(&state.audit()).map_err(|error| audit_error(&error))?;
    Ok("it can be continued; `tl audit verify` reads all of it".to_owned())
}

fn database(state: &StateDir) -> Result<String> {
    let runs = state.runs().map_err(|error| database_error(&error))?;
    Ok(if runs.is_some() { "it can be read" } else { "it is missing; the first run makes it" }.to_owned())
}
