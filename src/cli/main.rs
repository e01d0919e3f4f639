use std::ffi::OsString;

use clap::Parser;
use clap::error::ErrorKind;

use super::arguments::{Arguments, Command};
use super::{audit, explain, history, init, key, manual, migrate, notify, pipeline, seal, secret, validate, versions};
use crate::diagnostic::Diagnostic;
use crate::report::{Output, on_panic};

/// What a command ends with: an exit code, or why it could not be done.
pub(super) type Done = Result<u8, Vec<Diagnostic>>;

/// Runs `tl` with these arguments; returns its exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    on_panic();
    keep_secrets_out_of_core_dumps();
    let mut output = Output::standard();
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Help goes to standard output, mistakes to standard error; that nobody reads it is no mistake.
            let _gone = error.print();
            return if help { 0 } else { 2 };
        }
    };
    let state = arguments.state.as_deref();
    let done = match arguments.command {
        Command::Init(command) => init::init(&command, &mut output),
        Command::Validate(command) => Ok(validate::validate(&command, state, &mut output)),
        Command::Explain(command) => explain::explain(&command, &mut output),
        Command::Schema(command) => pipeline::schema(&command, &mut output),
        Command::Plan(command) => pipeline::plan(&command, &mut output),
        Command::Graph(command) => pipeline::graph(&command, &mut output),
        Command::Run(command) => pipeline::run(command, state, &mut output),
        Command::Status(command) => history::status(&command, state, &mut output),
        Command::History(command) => history::history(&command, state, &mut output),
        Command::Show(command) => history::show(&command, state, &mut output),
        Command::Stats(command) => history::stats(&command, state, &mut output),
        Command::Stale(command) => history::stale(&command, state, &mut output),
        Command::Gc(command) => history::gc(&command, state, &mut output),
        Command::Doctor(command) => pipeline::doctor(&command, &mut output),
        Command::Notify(command) => notify::notify(&command, state, &mut output),
        Command::Key(command) => key::key(&command, &mut output),
        Command::Secret(command) => secret::secret(&command, &mut output),
        Command::Seal(command) => seal::seal(&command, &mut output),
        Command::Open(command) => seal::open(&command),
        Command::Audit(command) => audit::audit(&command, state, &mut output),
        Command::Versions(command) => versions::versions(&command, state, &mut output),
        Command::Migrate(command) => migrate::migrate(&command, &mut output),
        Command::Completions { shell } => {
            manual::completions(shell, &mut output);
            Ok(0)
        }
        Command::Man { dir } => manual::man(dir.as_deref(), &mut output),
    };
    let lost = output
        .failure()
        .map(|error| vec![Diagnostic::failure("TL0716", "what was to be printed could not be written").cause(&error)]);
    match lost.map_or(done, Err) {
        Ok(code) => code,
        Err(problems) => {
            problems.iter().for_each(|problem| output.problem(problem));
            problems.first().map_or(1, |first| first.kind.exit_code())
        }
    }
}

/// A crash must not write secrets to the disk. Where the system refuses this, there is nothing more to be done.
fn keep_secrets_out_of_core_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _refused = setrlimit(Resource::Core, none);
    let _refused = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
