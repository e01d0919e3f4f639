use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value as Json, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::arguments::{Doctor, Drawing, Graph, Inputs, Plan, ReporterKind, Run, Schema};
use super::known_run::known_run;
use super::{Done, file};
use crate::audit::entry_schema;
use crate::diagnostic::{Diagnostic, codes};
use crate::event::Event;
use crate::expression::did_you_mean;
use crate::graph::Selection;
use crate::pipeline::{pipeline_schema, stage_schema};
use crate::process;
use crate::report::{
    Actions, Human, JsonLines, Junit, Lines, Output, Queue, Reporter, differing, graph as graph_of, render_dot,
    render_examined, render_mermaid, render_plan, render_svg,
};
use crate::run::{self, Examined, Kept, Loaded, Options, Resumed, Wish};
use crate::stages;
use crate::state::StateDir;
use crate::value::{Cancel, CancelReason, schema_of};

pub(super) fn schema(command: &Schema, output: &mut Output) -> Done {
    let schema = match &command.stage {
        _ if command.event => schema_of::<Event>(),
        _ if command.audit => entry_schema(),
        None => pipeline_schema(),
        Some(name) => match stages::find(name) {
            Some(kind) => stage_schema(kind),
            None => {
                let known: Vec<&str> = stages::KINDS.iter().map(|kind| kind.name).collect();
                let help = did_you_mean(name, known.iter().copied()).map_or_else(
                    || format!("there are {}", known.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                return Err(vec![
                    Diagnostic::usage(codes::TL0208, format!("there is no kind `{name}` of stage")).help(help),
                ]);
            }
        },
    };
    output.json(&schema);
    Ok(0)
}

pub(super) fn plan(command: &Plan, output: &mut Output) -> Done {
    let loaded = run::load(&command.file, &given(&command.inputs)?)?;
    let report = run::plan(&loaded).map_err(|error| vec![error])?;
    if let Some(out) = &command.out {
        let text = run::keep(&loaded).map_err(|error| vec![error])?;
        file::replace(out, text.as_bytes(), &run::is_plan)?;
    }
    if command.json {
        output.json(&serde_json::to_value(&report).unwrap_or(Json::Null));
    } else {
        output.text(&render_plan(&report, output.style()));
    }
    Ok(0)
}

pub(super) fn graph(command: &Graph, output: &mut Output) -> Done {
    let loaded = run::load(&command.file, &given(&command.inputs)?)?;
    let graph = graph_of(&run::plan(&loaded).map_err(|error| vec![error])?);
    let text = match command.format {
        Drawing::Mermaid => render_mermaid(&graph),
        Drawing::Dot => render_dot(&graph),
        Drawing::Json => format!("{:#}\n", serde_json::to_value(&graph).unwrap_or(Json::Null)),
        Drawing::Svg => render_svg(&graph).map_err(|error| vec![error])?,
    };
    match &command.out {
        Some(out) => {
            let from = file::held(out);
            file::rewrite(&file::Rewrite { file: out, from: from.as_deref(), to: text.as_bytes() })?;
        }
        None => output.text(&text),
    }
    Ok(0)
}

/// The run that goes on: named by its file or by its id, or the only one there is.
fn to_resume(named: Option<&Path>, state: &StateDir, wish: Wish) -> Result<Resumed, Vec<Diagnostic>> {
    match named.filter(|named| !named.exists()).and_then(Path::to_str) {
        Some(word) => run::resume(state, Some(&known_run(state, word)?.run), None, wish),
        None => run::resume(state, None, named, wish),
    }
}

/// What is to run: the pipeline of a file, or, where the file is a plan, what it is a plan of, proven to be the same still.
fn to_run(file: &Path, inputs: &Inputs, state: Option<&Path>) -> Result<(Loaded, Option<String>), Vec<Diagnostic>> {
    let read = |path: &Path| run::check(path).map_err(|found| run::with_last_good(found, state, path));
    let Some(plan) = run::open_plan(file).map_err(|error| vec![error])? else {
        let inputs = given(inputs)?;
        return Ok((run::settle(read(file)?, file, &inputs)?, None));
    };
    if !inputs.inputs.is_empty() {
        let message = "a plan has its inputs, and `--input` cannot change them";
        return Err(vec![
            Diagnostic::usage(codes::TL0773, message).help("make a plan with these inputs, or leave them out"),
        ]);
    }
    let loaded = plan.settle(read(&plan.file)?)?;
    hold_to(&plan, &loaded)?;
    Ok((loaded, Some(plan.sha256)))
}

/// Refuses what would not do what the plan says.
fn hold_to(plan: &Kept, loaded: &Loaded) -> Result<(), Vec<Diagnostic>> {
    let found = plan.differences(loaded).map_err(|error| vec![error])?;
    if found.is_empty() { Ok(()) } else { Err(found.iter().map(differing).collect()) }
}

pub(super) fn doctor(command: &Doctor, output: &mut Output) -> Done {
    let found = run::doctor(&run::load(&command.file, &given(&command.inputs)?)?);
    if command.json {
        output.json(&json!({ "examined": found }));
    } else {
        output.text(&render_examined(&found, output.style()));
    }
    Ok(u8::from(!found.iter().all(Examined::is_well)))
}

pub(super) fn run(command: Run, state: Option<&Path>, output: &mut Output) -> Done {
    // Before anything is read: an older report must not be taken for that of this run.
    let junit = command.junit.as_deref().map(|path| file::report(path).map(|file| Junit::new(path.to_owned(), file)));
    let junit = junit.transpose()?;
    let located = || StateDir::locate(state).map_err(|error| vec![Diagnostic::usage(codes::TL0707, error.to_string())]);
    let selection = command.selection();
    let (loaded, plan, resumed) = match (&command.file, command.wish()) {
        (named, Some(wish)) => {
            let Resumed { loaded, left } = to_resume(named.as_deref(), &located()?, wish)?;
            (loaded, None, Some(left))
        }
        (file, None) => {
            // The command line has one where no run goes on.
            let (loaded, plan) = to_run(file.as_deref().unwrap_or(Path::new("")), &command.inputs, state)?;
            run::runnable(&loaded)?;
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
    let state = located()?;
    let program = std::env::current_exe().map_err(|error| failed(&error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| failed(&error))?;
    let mut reporters = vec![reporter(command.reporter, &loaded, output)];
    reporters.extend(junit.map(|junit| Box::new(junit) as Box<dyn Reporter>));
    let queue = Queue::start(Box::new(reporters));
    let sink = Box::new(queue.sink());
    let code = runtime.block_on(async {
        let cancel = Cancel::default();
        // A terminal that goes away is a wish to stop, too.
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        if let [Ok(interrupt), Ok(terminate), Ok(hangup)] = kinds.map(signal) {
            tokio::spawn(stop_at_signals([interrupt, terminate, hangup], cancel.clone()));
        }
        let options = Options { state, cancel, program, plan, resumed, selection };
        // A task of its own: blocking steps of it may move the runtime's other work to another thread.
        let run = tokio::spawn(run::execute(loaded, options, sink));
        // Its message, which may hold data, is withheld.
        run.await.map_err(|_| {
            vec![
                Diagnostic::failure(codes::TL0903, "tl made a mistake in this run (panic)")
                    .help("please report this with the output above"),
            ]
        })
    })?;
    // A stage that could not be ended was reported as such; it must not keep the process.
    runtime.shutdown_background();
    let (hidden, lost) = queue.finish();
    if hidden > 0 {
        output.hint(&format!("{hidden} lines of output were not shown: they came faster than they were read"));
    }
    // A report that is missing is no silent success.
    Ok(match lost {
        Some(lost) => {
            output.problem(&lost);
            code.max(1)
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
            Box::new(Actions::new(out, summary.map(Into::into), run::entries(loaded)))
        }
    }
}

/// The first signal stops the run in order, the second ends it at once.
async fn stop_at_signals([mut interrupt, mut terminate, mut hangup]: [Signal; 3], cancel: Cancel) {
    for round in 0.. {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        if round == 0 {
            cancel.cancel(CancelReason::Requested);
        } else {
            process::end_at_once(130);
        }
    }
}

pub(super) fn given(inputs: &Inputs) -> Result<BTreeMap<String, String>, Vec<Diagnostic>> {
    let mut given = BTreeMap::new();
    for (name, value) in &inputs.inputs {
        if given.insert(name.clone(), value.clone()).is_some() {
            return Err(vec![Diagnostic::usage(codes::TL0504, format!("the input `{name}` is given twice"))]);
        }
    }
    Ok(given)
}
