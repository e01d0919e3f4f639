use std::io;
use std::path::Path;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Channel, Error, Message};
use crate::process::{Failure, Program, find_program};
use crate::value::{Cancel, Secret, Unfit};

/// A program that gets the body on its standard input, and the rest in `TL_MESSAGE_ID`, `TL_WHEN`, `TL_PIPELINE`,
/// `TL_RUN` and `TL_SUBJECT`. It runs without a shell, in the folder of the pipeline file, and inherits as little as a
/// `run` does.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments.
    #[schemars(length(min = 1))]
    run: Vec<String>,
}

/// Sending a message must not hold up the end of a run.
const LIMIT: Duration = Duration::from_secs(30);

impl Channel for Command {
    fn deliver(&self, message: &Message) -> Result<String, Error> {
        let (name, arguments) = self.run.split_first().ok_or_else(|| self.refused("no program is named"))?;
        // What it prints would mix with the report of the run, so nobody reads it.
        let ended = Program::new(name, arguments)
            .folder(&message.folder)
            .limit(LIMIT)
            .env("TL_MESSAGE_ID", &message.id)
            .env("TL_WHEN", &message.when)
            .env("TL_PIPELINE", &message.pipeline)
            .env("TL_RUN", &message.run)
            .env("TL_HOST", &message.host)
            .env("TL_SUBJECT", &message.subject)
            .input(Secret::new(message.body.clone()))
            .run(&Cancel::default());
        match ended {
            Ok(status) if status.success() => Ok("exit 0".to_owned()),
            Ok(status) => Err(self.refused(&status.to_string())),
            Err(Failure::Start(source)) => Err(Error::Start { program: name.clone(), source }),
            Err(Failure::Wait(error)) => Err(self.refused(&error.to_string())),
            Err(Failure::Late | Failure::Cancelled(_)) => {
                Err(self.refused(&format!("it ran longer than {} seconds", LIMIT.as_secs())))
            }
        }
    }

    fn probe(&self) -> Result<String, Error> {
        let program = self.run.first().ok_or_else(|| self.refused("no program is named"))?;
        match find_program(program, Path::new(""), None) {
            Some(path) => Ok(format!("`{}` can be started", path.display())),
            // A relative path starts at the folder of the pipeline file, which is unknown here.
            None if program.contains('/') && !program.starts_with('/') => {
                Ok("not tried: it is a relative path".to_owned())
            }
            None => Err(Error::Start { program: program.clone(), source: io::ErrorKind::NotFound.into() }),
        }
    }

    fn check(&self) -> Vec<Unfit<String>> {
        let unfit = |(at, reason): (usize, &str)| Unfit { setting: format!("run/{at}"), error: reason.to_owned() };
        let has_nul = |(_, word): &(usize, &String)| word.contains('\0');
        let nul = self.run.iter().enumerate().filter(has_nul).map(|(at, _)| (at, "an argument cannot hold a NUL byte"));
        let unnamed = self.run.first().filter(|name| name.is_empty()).map(|_| (0, "no program is named"));
        unnamed.into_iter().chain(nul).map(unfit).collect()
    }
}

impl Command {
    fn refused(&self, how: &str) -> Error {
        Error::Refused { program: self.run.first().cloned().unwrap_or_default(), how: how.to_owned() }
    }
}
