use std::ffi::OsString;
use std::io::{self, IsTerminal};

use clap::Parser;
use clap::error::ErrorKind;

use super::arguments::{Arguments, Command};
use super::done::Done;
use super::{audit, explain, file, history, keys, manual, notify, run};
use crate::diagnostic::ExitCode;
use crate::process;
use crate::report::{Output, on_panic};
use crate::state::StateDir;
use crate::trace;

/// Runs `tl` with these arguments; returns its exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    on_panic();
    keep_secrets_out_of_core_dumps();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // Only `tl` starts itself with this word; it is no command for people.
    if arguments.get(1).is_some_and(|word| word == process::COMMAND) && !io::stdin().is_terminal() {
        return process::supervise();
    }
    process::enable();
    let code = command(arguments);
    process::finish();
    code.into()
}

fn command(arguments: Vec<OsString>) -> ExitCode {
    let mut output = Output::standard();
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Usage errors go to standard error; a failed write there changes nothing.
            if !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
                let _gone = error.print();
                return ExitCode::Usage;
            }
            let colours = output.style().colour;
            let help = error.render();
            output.text(&if colours { help.ansi().to_string() } else { help.to_string() });
            return ended(Ok(ExitCode::Success), &mut output);
        }
    };
    let state = arguments.state.as_deref();
    // Without a state folder, no log can be in it.
    let own = StateDir::locate(state).ok();
    if let Err(error) = trace::start(own.as_ref().map(StateDir::path)) {
        return ended(Err(vec![error]), &mut output);
    }
    let done = match arguments.command {
        Command::Init(command) => file::init(&command, &mut output),
        Command::Validate(command) => file::validate(&command, state, &mut output),
        Command::Explain(command) => explain::explain(&command, &mut output),
        Command::Schema(command) => file::schema(&command, &mut output),
        Command::Plan(command) => file::plan(&command, state, &mut output),
        Command::Graph(command) => file::graph(&command, &mut output),
        Command::Run(command) => run::run(command, state, &mut output),
        Command::Cancel(command) => run::cancel(&command, state, &mut output),
        Command::Status(command) => history::status(&command, state, &mut output),
        Command::History(command) => history::history(&command, state, &mut output),
        Command::Show(command) => history::show(&command, state, &mut output),
        Command::Logs(command) => history::logs(&command, state, &mut output),
        Command::Stats(command) => history::stats(&command, state, &mut output),
        Command::Stale(command) => history::stale(&command, state, &mut output),
        Command::Gc(command) => history::gc(&command, state, &mut output),
        Command::Doctor(command) => file::doctor(&command, state, &mut output),
        Command::Notify(command) => notify::notify(&command, state, &mut output),
        Command::Key(command) => keys::key(&command, &mut output),
        Command::Secret(command) => keys::secret(&command, &mut output),
        Command::Seal(command) => keys::seal(&command, &mut output),
        Command::Open(command) => keys::open(&command),
        Command::Audit(command) => audit::audit(&command, state, &mut output),
        Command::Versions(command) => file::versions(&command, state, &mut output),
        Command::Migrate(command) => file::migrate(&command, &mut output),
        Command::Completions { shell } => {
            manual::completions(shell, &mut output);
            Ok(ExitCode::Success)
        }
        Command::Man { dir } => manual::man(dir.as_deref(), &mut output),
    };
    let code = ended(done, &mut output);
    // A log that could not be written does not change the exit code: the command was carried out.
    trace::lost().iter().for_each(|lost| output.problem(lost));
    code
}

/// Tells what is wrong; returns the exit code.
fn ended(done: Done, output: &mut Output) -> ExitCode {
    let code = match done {
        Ok(code) => code,
        Err(problems) => {
            problems.iter().for_each(|problem| output.problem(problem));
            problems.first().map_or(ExitCode::Failure, |first| first.kind.exit_code())
        }
    };
    // The command was carried out: a backup does not stop because its report cannot be written.
    match output.lost() {
        Some(lost) if code == ExitCode::Success => {
            output.problem(&lost.help("what was asked for was done; only what was to be told of it is not there"));
            ExitCode::Failure
        }
        Some(lost) => {
            output.problem(&lost);
            code
        }
        None => code,
    }
}

/// Keeps secrets out of core dumps. If the system refuses, nothing more can be done.
fn keep_secrets_out_of_core_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _refused = setrlimit(Resource::Core, none);
    let _refused = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
