//! Whom to tell of what.

use std::path::Path;

use super::drain::{Drained, Tried};
use super::message::{News, Origin, message};
use crate::audit::{self, Record};
use crate::channels::Message;
use crate::diagnostic::Result;
use crate::event::{Outcome, What};
use crate::pipeline::When;
use crate::stages::Shared;

/// The word for an outcome in `notify.when`.
pub(super) fn when(outcome: Outcome) -> When {
    match outcome {
        Outcome::Success => When::Success,
        Outcome::Warning => When::Warning,
        Outcome::Failure => When::Failure,
        Outcome::Skipped => When::Skipped,
        Outcome::Cancelled => When::Cancelled,
        Outcome::Blocked => When::Blocked,
    }
}

/// What somebody who asked to be told of `wanted` is told of a result. A recovery is told instead of a success, never
/// instead of anything that is not well.
fn occasion(wanted: &[When], result: When, recovered: bool) -> Option<When> {
    let recovery = recovered && matches!(result, When::Success | When::Warning) && wanted.contains(&When::Recovered);
    match result {
        When::Success if recovery => Some(When::Recovered),
        result if wanted.contains(&result) => Some(result),
        _ => recovery.then_some(When::Recovered),
    }
}

/// Tells everybody who wants to know. A message that is not delivered changes nothing of the run.
pub(super) fn tell(shared: &Shared, news: &News<'_>, recovered: bool, emit: &mut dyn FnMut(What)) {
    // A run that goes on starts and ends once more, and that is news.
    let id = match shared.session {
        1 => shared.run.clone(),
        session => format!("{}.{session}", shared.run),
    };
    let origin = Origin { id: &id, run: &shared.run, masker: &shared.masker };
    for (number, notification) in news.pipeline.notify.iter().enumerate() {
        let Some(when) = occasion(&notification.when, news.result, recovered) else { continue };
        match message(&origin, news, number, when) {
            Ok(message) => {
                for channel in &notification.to {
                    let result = shared.post.deliver(channel, &message);
                    emit(told(channel, &message, result));
                }
            }
            Err(error) => {
                let nothing = Message { when: when.word().to_owned(), ..Message::default() };
                for channel in &notification.to {
                    emit(told(channel, &nothing, Err(error.clone())));
                }
            }
        }
    }
}

fn told(channel: &str, message: &Message, result: Result<String>) -> What {
    let (delivered, error) = match result {
        Ok(how) => (Some(how), None),
        Err(error) => (None, Some(error)),
    };
    What::Message {
        channel: channel.to_owned(),
        when: message.when.clone(),
        subject: message.subject.clone(),
        body: message.body.clone(),
        delivered,
        error,
    }
}

/// What came of a message of an earlier run, as an event of this one.
pub(super) fn told_late(drained: Drained) -> What {
    match drained {
        Drained::Problem(error) => What::Problem { error },
        Drained::Tried(tried) => {
            let Tried { message, channel, attempts, result } = *tried;
            let of = match message.run.as_str() {
                "" => format!("attempt {attempts}, of {}", message.pipeline),
                run => format!("attempt {attempts}, run {run} of {}", message.pipeline),
            };
            let result = result.map(|how| format!("{how} ({of})")).map_err(|error| error.label(of));
            told(&channel, &message, result)
        }
    }
}

/// Whether the last run of the same pipeline before this one failed. Runs that did only some of their stages well count
/// for nothing. The audit log is the only history of this, so that no second one can disagree with it.
pub(super) fn failed_before(folder: &Path, pipeline: &str, run: &str) -> bool {
    let filter = audit::Filter { kind: Some("run.finished".to_owned()), ..audit::Filter::default() };
    let Ok(entries) = audit::read_backwards(folder, filter) else { return false };
    let ends = entries.filter_map(std::result::Result::ok).filter(|entry| entry.run.as_deref() != Some(run));
    let mut ends = ends.filter_map(|entry| match entry.record() {
        Some(Record::RunFinished(end)) if end.pipeline == pipeline => Some(end),
        _ => None,
    });
    let last = ends.find(|end| end.left_out.is_empty() || !matches!(end.outcome.as_str(), "success" | "warning"));
    last.is_some_and(|end| matches!(end.outcome.as_str(), "failure" | "blocked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [When; 9] = [
        When::Started,
        When::Success,
        When::Warning,
        When::Failure,
        When::Skipped,
        When::Cancelled,
        When::Blocked,
        When::Recovered,
        When::Stale,
    ];

    /// Every set of flags, every result, recovered or not.
    #[test]
    fn who_is_told_of_what() {
        let mut told = 0;
        for flags in 0_u32..512 {
            let wanted: Vec<When> =
                ALL.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1).map(|(_, when)| *when).collect();
            // What is late has no result.
            for result in ALL.into_iter().filter(|when| !matches!(when, When::Recovered | When::Stale)) {
                for recovered in [false, true] {
                    let got = occasion(&wanted, result, recovered);
                    let is_well = matches!(result, When::Success | When::Warning);
                    let recovery = recovered && is_well && wanted.contains(&When::Recovered);
                    // What was asked for is told; nothing else is, but for a recovery.
                    assert_eq!(
                        got.is_some(),
                        wanted.contains(&result) || recovery,
                        "{wanted:?} {result:?} {recovered}"
                    );
                    // What is not well keeps its name, whatever else there is to tell.
                    if result != When::Success && wanted.contains(&result) {
                        assert_eq!(got, Some(result), "{wanted:?} {recovered}");
                    }
                    // A recovery has its name where nothing worse does.
                    if recovery && (result == When::Success || !wanted.contains(&result)) {
                        assert_eq!(got, Some(When::Recovered), "{wanted:?} {result:?}");
                    }
                    told += usize::from(got.is_some());
                }
            }
        }
        assert!(told > 1_000);
    }
}
