//! Shell completions and manual pages.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::arguments::Arguments;
use super::atomic_file::unwritable;
use super::done::Done;
use crate::diagnostic::ExitCode;
use crate::report::Output;

pub(super) fn completions(shell: Shell, output: &mut Output) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "tl", &mut script);
    output.text(&String::from_utf8_lossy(&script));
}

pub(super) fn man(folder: Option<&Path>, output: &mut Output) -> Done {
    let command = Arguments::command();
    let Some(folder) = folder else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page).expect("a vector takes everything");
        output.text(&String::from_utf8_lossy(&page));
        return Ok(ExitCode::Success);
    };
    pages(command, folder).map_err(|error| vec![unwritable(folder, &error)])?;
    Ok(ExitCode::Success)
}

/// Writes the pages to a temporary folder and moves them into place: a link with the name of a page is replaced, not
/// followed.
fn pages(command: clap::Command, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let beside = tempfile::Builder::new().prefix(".tl-").tempdir_in(folder)?;
    clap_mangen::generate_to(command, beside.path())?;
    for page in fs::read_dir(beside.path())? {
        let page = page?;
        fs::rename(page.path(), folder.join(page.file_name()))?;
    }
    Ok(())
}
