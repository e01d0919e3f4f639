//! Concurrency groups: one run of a group at a time.

use std::thread;
use std::time::{Duration, Instant};

use tracing::debug;

use crate::diagnostic::{Diagnostic, Kind, codes};
use crate::open::{Loaded, state_error};
use crate::pipeline::IfBusy;
use crate::state::{GroupLock, StateDir};
use crate::value::{Cancel, CancelReason};

/// How often a waiting run tries the lock again.
const LOOK: Duration = Duration::from_millis(100);

/// The result of asking for the lock of a group.
pub(super) enum Turn {
    /// The run may start. It holds the lock, if the file names a group.
    Taken(Option<GroupLock>),
    /// Another run is at work, and the file says `if-busy: skip`.
    Skip(Diagnostic),
}

/// Takes the lock of the run's group, waiting as long as the file allows. `waiting` gets one warning that names the other run.
pub(super) fn wait_for_turn(
    loaded: &Loaded,
    state: &StateDir,
    run: &str,
    cancel: &Cancel,
    waiting: &mut dyn FnMut(Diagnostic),
) -> Result<Turn, Diagnostic> {
    let Some(concurrency) = &loaded.pipeline.concurrency else { return Ok(Turn::Taken(None)) };
    let at = || loaded.document.at_key("/concurrency");
    let started = Instant::now();
    let since = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ");
    let holder = format!("run {run} of `{}`, process {}, since {since}", loaded.pipeline.name, std::process::id());
    let mut told = false;
    loop {
        let taken = state.take_group(&concurrency.group, &holder).map_err(|error| state_error(&error))?;
        let other = match taken {
            Ok(lock) => {
                debug!(millis = started.elapsed().as_millis(), "group taken");
                return Ok(Turn::Taken(Some(lock)));
            }
            Err(other) => other,
        };
        let message = format!("another run of the group `{}` is at work", concurrency.group);
        let busy = |message: String| {
            let found = Diagnostic::new(codes::TL0722, Kind::Busy, message).at(at()).transient(true);
            if other.is_empty() { found } else { found.label(&other) }
        };
        match concurrency.if_busy {
            IfBusy::Skip => return Ok(Turn::Skip(busy(message))),
            IfBusy::Fail => {
                return Err(busy(message).help("let it end, or say `if-busy: wait` to wait for it"));
            }
            IfBusy::Wait => {}
        }
        if let Some(longest) = concurrency.wait.map(crate::value::Duration::get)
            && started.elapsed() >= longest
        {
            let help = "let it end, or give more time: `wait` of `concurrency`";
            return Err(busy(format!("{message}, still after {}s", started.elapsed().as_secs())).help(help));
        }
        if cancel.is_cancelled() {
            return Err(CancelReason::Requested.into());
        }
        if !told {
            told = true;
            waiting(busy(format!("{message}: waiting for it")).as_warning());
        }
        thread::sleep(LOOK);
    }
}
