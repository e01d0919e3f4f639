use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::open::failed;
use crate::cli::done::Done;
use crate::cli::state::state_dir;
use crate::diagnostic::ExitCode;
use crate::inspect::{self, OrphanedUpload, Watch, orphaned_uploads};
use crate::report::{Output, Screen, render_orphans, render_status};

#[derive(Debug, Args)]
pub(in crate::cli) struct Status {
    /// Keep watching, and show each change: in place on a terminal, else one after the other.
    #[arg(long)]
    pub(in crate::cli) watch: bool,
    /// Print as JSON; with `--watch`, one object a line.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    runs: &'a [inspect::Status],
    /// Open uploads that only `tl gc --store` aborts.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    uploads: &'a [OrphanedUpload],
}

/// How often to look for changes.
const POLL: Duration = Duration::from_millis(500);
/// How often to redraw the elapsed time.
const TICK: Duration = Duration::from_secs(1);

pub(in crate::cli) fn status(command: &Status, state: Option<&Path>, output: &mut Output) -> Done {
    let state = state_dir(state)?;
    let mut watch = Watch::new(state.clone());
    let in_place = command.watch && !command.json && Screen::of(output).is_terminal;
    let mut shown = Shown::default();
    let mut drawn = Instant::now();
    let orphans = orphaned_uploads(&state).map_err(failed)?;
    loop {
        let is_new = watch.look().map_err(failed)?.is_some();
        if is_new || (in_place && drawn.elapsed() >= TICK) {
            drawn = Instant::now();
            let screen = Screen::of(output);
            let found = watch.last();
            if command.json {
                let answer = Answer { runs: found, uploads: &orphans };
                if command.watch { output.json_line(&answer)? } else { output.json(&answer)? }
            } else if found.is_empty() && !command.watch {
                output.text(&render_orphans(&orphans, screen));
                if orphans.is_empty() {
                    output.hint("nothing runs here, and nothing was interrupted");
                }
            } else {
                let now = Timestamp::now();
                let text = match found {
                    [] => "nothing runs here\n".to_owned(),
                    found => render_status(found, now, screen),
                } + &render_orphans(&orphans, screen);
                output.text(&if in_place { shown.redraw(&text, screen) } else { text });
            }
        }
        if !command.watch || output.is_gone() {
            return Ok(ExitCode::Success);
        }
        thread::sleep(POLL);
    }
}

/// The lines on the terminal that the next redraw overwrites.
#[derive(Default)]
struct Shown {
    lines: usize,
}

impl Shown {
    /// Moves to the first line, rewrites every line and clears the rest. Lines that do not fit on the terminal are left out:
    /// the cursor cannot go back to a line that has scrolled away.
    fn redraw(&mut self, text: &str, screen: Screen) -> String {
        let back = match self.lines {
            0 => String::new(),
            lines => format!("\x1b[{lines}A"),
        };
        let lines: Vec<&str> = text.lines().take(screen.height.saturating_sub(1).max(1)).collect();
        self.lines = lines.len();
        let lines: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
        // Without wrapping, the terminal cuts a long line instead of making two of it.
        format!("{back}\x1b[?7l{lines}\x1b[?7h\x1b[J")
    }
}
