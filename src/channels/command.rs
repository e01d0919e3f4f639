use std::env;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};
use rustix::process::{Pid, Signal, kill_process_group};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Channel, Error, Message};
use crate::process::Supervised;
use crate::value::INHERITED;

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

/// Telling somebody must not hold up the end of a run.
const LIMIT: Duration = Duration::from_secs(30);

impl Channel for Command {
    fn deliver(&self, message: &Message) -> Result<String, Error> {
        let (program, arguments) = self.run.split_first().ok_or_else(|| self.refused("no program is named"))?;
        let failed = |source| Error::Start { program: program.clone(), source };
        let supervised = Supervised::announce().map_err(failed)?;
        let mut child = process::Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .envs(supervised.environment())
            .env("TL_MESSAGE_ID", &message.id)
            .env("TL_WHEN", &message.when)
            .env("TL_PIPELINE", &message.pipeline)
            .env("TL_RUN", &message.run)
            .env("TL_SUBJECT", &message.subject)
            .current_dir(&message.folder)
            .stdin(Stdio::piped())
            // What it prints would mix with the report of the run.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own: a Ctrl-C is for tl, and a time-out ends its children too.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        supervised.began(child.id());
        let body = message.body.clone();
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read its input is not an error: its exit code decides. The thread is not waited for:
            // something that the program left behind may hold the other end.
            let _detached = thread::spawn(move || drop(stdin.write_all(body.as_bytes())));
        }
        let answer = self.wait(&mut child);
        drop(supervised);
        answer
    }

    fn probe(&self) -> Result<String, Error> {
        let program = self.run.first().ok_or_else(|| self.refused("no program is named"))?;
        let candidates: Vec<PathBuf> = if program.contains('/') {
            vec![PathBuf::from(program)]
        } else {
            env::var_os("PATH").iter().flat_map(env::split_paths).map(|folder| folder.join(program)).collect()
        };
        let found = candidates.iter().find(|path| path.is_file() && access(*path, Access::EXEC_OK).is_ok());
        match found {
            Some(path) => Ok(format!("`{}` can be started", path.display())),
            // A relative one is meant from the folder of the pipeline file, which is not known here.
            None if program.contains('/') && !program.starts_with('/') => {
                Ok("not tried: it is a relative path".to_owned())
            }
            None => Err(Error::Start { program: program.clone(), source: io::ErrorKind::NotFound.into() }),
        }
    }
}

impl Command {
    fn wait(&self, child: &mut Child) -> Result<String, Error> {
        let start = Instant::now();
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok("exit 0".to_owned()),
                Ok(Some(status)) => return Err(self.refused(&status.to_string())),
                Ok(None) if start.elapsed() < LIMIT => thread::sleep(Duration::from_millis(10)),
                Ok(None) => {
                    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                    if let Some(group) = group {
                        // It may have ended in this moment; then there is nobody to kill.
                        let _ended = kill_process_group(group, Signal::KILL);
                    }
                    let _reaped = child.wait();
                    return Err(self.refused(&format!("it ran longer than {} seconds", LIMIT.as_secs())));
                }
                Err(error) => return Err(self.refused(&error.to_string())),
            }
        }
    }

    fn refused(&self, how: &str) -> Error {
        Error::Refused { program: self.run.first().cloned().unwrap_or_default(), how: how.to_owned() }
    }
}
