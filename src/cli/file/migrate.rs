use std::path::{Path, PathBuf};

use clap::Args;

use super::confirm::confirm;
use crate::cli::atomic_file::{Rewrite, require_one_name, rewrite};
use crate::cli::done::Done;
use crate::diagnostic::{Diagnostic, ExitCode};
use crate::pipeline::{Document, Migrated, NEWEST_VERSION, STEPS, Step};
use crate::report::{Output, render_diff};
#[derive(Debug, Args)]
pub(in crate::cli) struct Migrate {
    /// Pipeline files.
    #[arg(required = true)]
    pub(in crate::cli) files: Vec<PathBuf>,
    /// The target version; by default the newest.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) to: Option<i64>,
    /// Change nothing; exit with 2 if a file would change.
    #[arg(long, conflicts_with = "yes")]
    pub(in crate::cli) check: bool,
    /// Do not ask.
    #[arg(long)]
    pub(in crate::cli) yes: bool,
}
pub(in crate::cli) fn migrate(command: &Migrate, output: &mut Output) -> Done {
    migrate_by(STEPS, command, output)
}

/// A file that would change.
struct Change<'a> {
    file: &'a Path,
    old: Vec<u8>,
    new: Migrated,
}

fn migrate_by(steps: &[Step], command: &Migrate, output: &mut Output) -> Done {
    let (mut changes, mut found) = (Vec::new(), Vec::new());
    for file in &command.files {
        match change(file, command.to, steps) {
            Ok(Some(change)) => changes.push(change),
            Ok(None) => output.line(&format!("{}: {}; nothing to do", file.display(), arrived(command.to))),
            Err(problems) => found.extend(problems),
        }
    }
    // All or none: files that belong together must have one version.
    if !found.is_empty() {
        return Err(found);
    }
    for change in &changes {
        let (now, then) = (change.file.display().to_string(), format!("version {}", change.new.to));
        output.text(&render_diff((&now, &change.old), (&format!("{now} as {then}"), &change.new.text), output.style()));
        if command.check {
            output.line(&format!("{now}: would change from version {} to {then}", change.new.from));
        } else if confirm(&format!("write it to {now}?"), command.yes, output)? {
            rewrite(&Rewrite { file: change.file, from: Some(&change.old), to: &change.new.text })?;
            output.line(&format!("{now}: changed from version {} to {then}", change.new.from));
        } else {
            output.hint(&format!("{now} was left as it is"));
        }
    }
    Ok(if command.check && !changes.is_empty() { ExitCode::Usage } else { ExitCode::Success })
}

fn arrived(to: Option<i64>) -> String {
    match to {
        Some(version) if version != NEWEST_VERSION => format!("it has version {version}"),
        _ => format!("version {NEWEST_VERSION} is the newest"),
    }
}

fn change<'a>(file: &'a Path, to: Option<i64>, steps: &[Step]) -> Result<Option<Change<'a>>, Vec<Diagnostic>> {
    let document = Document::alone(file)?;
    let old = document.source();
    let Some(new) = crate::pipeline::migrate(document, to, steps)? else { return Ok(None) };
    require_one_name(file)?;
    Ok(Some(Change { file, old, new }))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;
    use crate::diagnostic::{Code, codes};
    use crate::pipeline::{MADE_UP, NEW, OLD};

    fn run(files: &[PathBuf], check: bool, yes: bool) -> Result<ExitCode, Code> {
        let command = Migrate { files: files.to_vec(), to: None, check, yes };
        migrate_by(MADE_UP, &command, &mut Output::nowhere()).map_err(|found| found[0].code)
    }

    #[test]
    fn a_file_is_edited_alone_and_proven_with_what_it_extends() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("old.yaml");
        let base = "# A line that the file does not have.\nversion: 1\nname: t\nstages: { z: { run: ['true'] } }\n";
        fs::write(folder.path().join("base.yaml"), base).unwrap();
        fs::write(&file, "version: 0\nextends: base.yaml\njobs: { a: { run: ['true'] } } # mine\n").unwrap();
        assert_eq!(run(std::slice::from_ref(&file), false, true), Ok(ExitCode::Success));
        let now = fs::read_to_string(&file).unwrap();
        assert_eq!(now, "version: 1\nextends: base.yaml\nstages: { a: { run: ['true'] } } # mine\n");
        assert_eq!(fs::read_to_string(folder.path().join("base.yaml")).unwrap(), base);
    }

    #[test]
    fn files_are_written_whole_with_leave_and_all_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<PathBuf> = ["old", "new", "wrong"].map(|name| folder.path().join(name)).into();
        let texts = || files.iter().map(|file| fs::read_to_string(file).unwrap()).collect::<Vec<_>>();
        let wrong = "version: 0\nname: t\njobs: { a: { timeout_sec: x, run: ['true'] } }\n";
        for (file, text) in files.iter().zip([OLD, NEW, wrong]) {
            fs::write(file, text).unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let before = [OLD, NEW, wrong].map(str::to_owned);
        // One that cannot be migrated keeps the others as they are.
        assert_eq!(run(&files, false, true), Err(codes::TL0747));
        assert_eq!(texts(), before);
        // A look changes nothing, and nobody is there to ask.
        assert_eq!(run(&files[..2], true, false), Ok(ExitCode::Usage));
        assert_eq!(run(&files[..2], false, false), Err(codes::TL0742));
        assert_eq!(texts(), before);
        assert_eq!(run(&files[..2], false, true), Ok(ExitCode::Success));
        assert_eq!(texts()[..2], [NEW, NEW]);
        // A file of two names would lose one of them.
        fs::write(&files[0], OLD).unwrap();
        fs::hard_link(&files[0], folder.path().join("second")).unwrap();
        assert_eq!(run(&files[..2], false, true), Err(codes::TL0748));
        assert_eq!(texts()[0], OLD);
        fs::remove_file(folder.path().join("second")).unwrap();
        assert_eq!(run(&files[..2], false, true), Ok(ExitCode::Success));
        assert_eq!(fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(run(&files[..2], true, false), Ok(ExitCode::Success));
        assert_eq!(run(&files[..2], false, false), Ok(ExitCode::Success));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "something was left beside them");
    }
}
