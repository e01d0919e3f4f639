//! Faults below the real program: a disk that may fail at every write of a run, and a clock that jumps.

mod clock;
mod disk;
#[cfg(feature = "peers")]
mod full;
mod kills;
mod migrations;
mod races;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::LazyLock;

use timelocker::state::StateDir;

use crate::support::program::{Tl, files};

/// Compiles a library from this folder with the machine's C compiler, for `LD_PRELOAD`.
pub fn preloaded(name: &str) -> PathBuf {
    static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
    let library = FOLDER.path().join(format!("{name}.so"));
    if !library.exists() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/integration/faults/{name}.c"));
        let mut made = Command::new("cc");
        made.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source);
        assert!(made.status().unwrap().success(), "a C compiler is needed: `cc`");
    }
    library
}

/// What happens to a write.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Error { number: u32, forever: bool },
    Killed(&'static str),
}

pub const FAULTS: [Fault; 6] = [
    Fault::Error { number: EIO, forever: false },
    Fault::Error { number: EIO, forever: true },
    Fault::Error { number: ENOSPC, forever: false },
    Fault::Error { number: ENOSPC, forever: true },
    Fault::Killed("before"),
    Fault::Killed("after"),
];
const EIO: u32 = 5;
const ENOSPC: u32 = 28;

/// The write at which a program fails.
#[derive(Clone, Copy)]
pub struct Case {
    pub fault: Fault,
    /// The number of the write, from 1. With 0, none fails.
    pub at: usize,
}

/// The number of cases to try: as set by `TL_FAULTS`, or all.
pub fn most() -> usize {
    std::env::var("TL_FAULTS").map_or(36, |most| most.parse().unwrap_or(usize::MAX))
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at write {}", self.fault, self.at)
    }
}

impl Case {
    /// Makes a program fail in its state folder. The library lists the calls in the file `calls`.
    pub fn arm(&self, tl: &Tl, command: &mut Command) {
        command
            .env("LD_PRELOAD", preloaded("disk"))
            .env("TL_FAULT_BELOW", tl.state())
            .env("TL_FAULT_LOG", tl.file("calls"));
        match self.fault {
            Fault::Error { number, forever } => {
                command.env("TL_FAULT_ERROR", number.to_string());
                if forever {
                    command.env("TL_FAULT_FOREVER", "1");
                }
            }
            Fault::Killed(when) => drop(command.env("TL_FAULT_ERROR", when)),
        }
        command.env("TL_FAULT_AT", self.at.to_string());
    }
}

/// Everything that a run writes to disk: programs with output, a chain, a diamond over a file, a verification,
/// messages.
const PIPELINE: &str = r#"version: 1
name: test
max-parallel: 2
stores:
  shelf: { uses: dir, with: { path: shelf } }
channels:
  log: { uses: file, with: { path: log.jsonl } }
stages:
  prepare: { run: 'echo x >> prepare.txt; echo done; echo "n=7" >> "$TL_OUTPUT"', shell: sh, outputs: { n: int } }
  collect: { needs: prepare, uses: archive, with: { sources: [data] } }
  seal: { needs: collect, uses: encrypt, with: { artifact: '${{ needs.collect.outputs.artifact }}', recipients-file: recipients.txt } }
  deliver: { needs: seal, uses: upload, with: { artifact: '${{ needs.seal.outputs.artifact }}', store: shelf, key: 'sealed-${{ run.id }}' } }
  spooled: { needs: prepare, uses: archive, with: { sources: [data] } }
  two: { needs: spooled, strategy: { matrix: { k: [a, b] } }, uses: upload, with: { artifact: '${{ needs.spooled.outputs.artifact }}', store: shelf, key: '${{ matrix.k }}-${{ run.id }}' } }
  prove: { needs: [deliver, two], uses: verify, with: { object: '${{ needs.deliver.outputs.object }}', level: content } }
finally:
  always: { run: 'echo x >> always.txt', shell: sh }
notify:
  - { when: [success, failure, blocked], to: [log] }
"#;

/// A folder with everything that the pipeline needs.
fn lay_out() -> Tl {
    let tl = Tl::new();
    // Creates the companion files while nothing fails.
    tl.pipeline("").write("p.yaml", PIPELINE).write("data/a", "hello".repeat(20_000));
    tl
}

/// The finished stages of a run in the journal, by name. `None` if the journal does not have the run.
fn proven(tl: &Tl, run: &str) -> Option<Vec<(String, Option<usize>)>> {
    let left = StateDir::locate(Some(&tl.state())).unwrap().prior_run(run).unwrap()?;
    Some(left.effects.into_iter().map(|effect| (effect.stage, effect.instance)).collect())
}

/// Checks that the store has all objects of a run, each with its digest and with the content of the source.
fn delivered(tl: &Tl, run: &str) -> Result<(), String> {
    let named = files(&tl.file("shelf")).into_iter().filter(|name| name.contains(run));
    let expected: Vec<String> = ["a", "b", "sealed"]
        .into_iter()
        .flat_map(|kind| [format!("{kind}-{run}"), format!("{kind}-{run}.sha256")])
        .collect();
    let found: Vec<String> = named.collect();
    if found != expected {
        return Err(format!("{found:?}"));
    }
    let whole = expected.iter().filter(|name| name.ends_with(".sha256")).all(|name| {
        Command::new("sha256sum")
            .args(["-c", "--status", name])
            .current_dir(tl.file("shelf"))
            .status()
            .unwrap()
            .success()
    });
    tl.ok(&["open", "-i", "identity.txt", "--force", "-o", "opened", &format!("shelf/sealed-{run}")]);
    let plain = std::fs::read(tl.file(&format!("shelf/a-{run}"))).unwrap();
    let is_same = std::fs::read(tl.file("opened")).unwrap() == plain;
    let is_right = is_same && std::fs::read(tl.file(&format!("shelf/b-{run}"))).unwrap() == plain;
    crate::storage::s3::archive_of(&plain, "hello".repeat(20_000).as_bytes());
    (whole && is_right).then_some(()).ok_or_else(|| "other bytes".to_owned())
}

/// Collects both output streams of a child. Kills it after a minute, which fails the test.
fn output_of(child: Child) -> std::process::Output {
    let id = child.id();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || drop(tell.send(child.wait_with_output())));
    told.recv_timeout(std::time::Duration::from_mins(1)).map(Result::unwrap).unwrap_or_else(|_| {
        let id = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
        panic!("it hangs")
    })
}
