use std::io::{self, IsTerminal as _};
use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::arguments::{ReporterKind, Run};
use super::junit_file::junit_file;
use crate::cli::done::Done;
use crate::cli::inputs::Inputs;
use crate::cli::state::{known_run, state_dir};
use crate::diagnostic::{Diagnostic, ExitCode, codes};
use crate::graph::Selection;
use crate::inspect::{self, PlanFile};
use crate::open::{self, Loaded};
use crate::process;
use crate::report::{Actions, Human, JsonLines, Junit, Lines, Output, Queue, Quiet, Reporter, plan_difference};
use crate::run::{self, LastWords, Options, ResumeMode, Resumed};
use crate::state::StateDir;
use crate::value::{Cancel, CancelReason};

/// Finds the run to resume: by its file, by its id, or the only one.
fn find_resumed(named: Option<&Path>, state: &StateDir, mode: ResumeMode) -> Result<Resumed, Vec<Diagnostic>> {
    match named.filter(|named| !named.exists()).and_then(Path::to_str) {
        Some(word) => run::resume(state, Some(&known_run(state, word)?.run), None, mode),
        None => run::resume(state, None, named, mode),
    }
}

/// Tells the channels of the last good text that a run could not begin. A mistyped input at a terminal concerns nobody else.
fn tell_of_unread(file: &Path, state: Option<&Path>, found: &[Diagnostic], output: &mut Output) {
    let Ok(state) = state_dir(state) else { return };
    if io::stdin().is_terminal() && open::check(file).is_ok() {
        return;
    }
    run::unread(&state, file, found).iter().for_each(|problem| output.problem(problem));
}

/// Loads what to run: a pipeline file, or the file of a plan after checking that the plan still holds. Also returns the
/// SHA-256 of the plan.
fn load(file: &Path, inputs: &Inputs, state: Option<&Path>) -> Result<(Loaded, Option<String>), Vec<Diagnostic>> {
    let read = |path: &Path| open::check(path).map_err(|found| inspect::with_last_good(found, state, path));
    let Some(plan) = inspect::open_plan(file).map_err(|error| vec![error])? else {
        let inputs = inputs.values()?;
        return Ok((open::settle(read(file)?, file, &inputs)?, None));
    };
    if !inputs.inputs.is_empty() {
        let message = "a plan has its inputs, and `--input` cannot change them";
        return Err(vec![
            Diagnostic::usage(codes::TL0773, message).help("make a plan with these inputs, or leave them out"),
        ]);
    }
    let loaded = plan.settle(read(&plan.file)?)?;
    check_plan_holds(&plan, &loaded)?;
    Ok((loaded, Some(plan.sha256)))
}

/// Refuses a pipeline that would do something else than the plan says.
fn check_plan_holds(plan: &PlanFile, loaded: &Loaded) -> Result<(), Vec<Diagnostic>> {
    let found = plan.differences(loaded).map_err(|error| vec![error])?;
    if found.is_empty() { Ok(()) } else { Err(found.iter().map(plan_difference).collect()) }
}

pub(in crate::cli) fn run(command: Run, state: Option<&Path>, output: &mut Output) -> Done {
    // Emptied before anything is read: an old report must not stand for a run that could not begin.
    let junit = command.junit.as_deref().map(|path| junit_file(path).map(|file| Junit::new(path.to_owned(), file)));
    let junit = junit.transpose()?;
    let selection = command.selection();
    let (loaded, plan, resumed) = match (&command.file, command.resume_mode()) {
        (named, Some(mode)) => {
            let Resumed { loaded, left } = find_resumed(named.as_deref(), &state_dir(state)?, mode)?;
            (loaded, None, Some(left))
        }
        (file, None) => {
            // clap requires a file unless a run is resumed.
            let file = file.as_deref().unwrap_or(Path::new(""));
            let loaded = load(file, &command.inputs, state).and_then(|(loaded, plan)| {
                open::runnable(&loaded)?;
                Ok((loaded, plan))
            });
            let (loaded, plan) = loaded.inspect_err(|found| tell_of_unread(file, state, found, output))?;
            if plan.is_some() && selection != Selection::All {
                let message = "a plan runs as it was planned, and not in part";
                return Err(vec![
                    Diagnostic::usage(codes::TL0773, message).help("name the pipeline file instead of the plan"),
                ]);
            }
            (loaded, plan, None)
        }
    };
    selection.check(&loaded.pipeline).map_err(|error| vec![error])?;
    let failed =
        |error: &dyn std::error::Error| vec![Diagnostic::failure(codes::TL0721, "tl could not start").cause(error)];
    let state = state_dir(state)?;
    let program = process::own_path().map_err(|error| failed(&error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| failed(&error))?;
    let mut reporters = vec![if command.quiet {
        Box::new(Quiet::new(output.stream(), output.style()))
    } else {
        reporter(command.reporter, &loaded, output)
    }];
    reporters.extend(junit.map(|junit| Box::new(junit) as Box<dyn Reporter>));
    let queue = Queue::start(Box::new(reporters));
    let sink = Box::new(queue.sink());
    let code = runtime.block_on(async {
        let (cancel, last_words) = (Cancel::default(), LastWords::default());
        // A terminal that goes away is a reason to stop, too. What the caller ignores, as `nohup` does, stays ignored.
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let heeded = kinds.into_iter().filter(|kind| !process::is_ignored(kind.as_raw_value()));
        for signal in heeded.filter_map(|kind| signal(kind).ok()) {
            tokio::spawn(cancel_on_signal(signal, cancel.clone(), last_words.clone()));
        }
        // Beyond a limit on the size of files, a write then fails instead of ending the process. Programs get the default back.
        let _caught = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
        let options = Options { state, cancel, program, plan, resumed, selection, last_words };
        // Its own task: a blocking step of it may move the runtime's other work to another thread.
        let run = tokio::spawn(run::execute(loaded, options, sink));
        // The panic's message is withheld: it may hold data.
        run.await.map_err(|_| {
            vec![
                Diagnostic::failure(codes::TL0903, "tl made a mistake in this run (panic)")
                    .help("please report this with the output above"),
            ]
        })
    })?;
    // A stage that could not be ended has been reported; it must not keep the process alive.
    runtime.shutdown_background();
    let (hidden, lost) = queue.finish();
    if hidden > 0 && !command.quiet {
        output.hint(&format!("{hidden} lines of output were not shown: they came faster than they were read"));
    }
    // A missing report must not pass as a success.
    Ok(match lost {
        Some(lost) => {
            output.problem(&lost);
            code.or_failure()
        }
        None => code,
    })
}

fn reporter(kind: ReporterKind, loaded: &Loaded, output: &Output) -> Box<dyn Reporter> {
    let out = output.stream();
    match kind {
        ReporterKind::Human => Box::new(Human::new(out, output.style())),
        ReporterKind::Plain => Box::new(Lines::new(out)),
        ReporterKind::Json => Box::new(JsonLines::new(out)),
        ReporterKind::Github => {
            let summary = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty());
            Box::new(Actions::new(out, summary.map(Into::into), inspect::stage_entries(loaded)))
        }
    }
}

/// The first signal cancels the run, the second ends the process at once.
async fn cancel_on_signal(mut signal: Signal, cancel: Cancel, last_words: LastWords) {
    while signal.recv().await.is_some() {
        if cancel.is_cancelled() {
            process::end_at_once(u8::from(ExitCode::Cancelled).into(), move || last_words.write());
        }
        cancel.cancel(CancelReason::Requested);
    }
}
