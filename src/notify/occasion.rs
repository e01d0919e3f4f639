//! Which entries of `notify` get a message about an outcome.

use std::path::Path;

use super::message::{Origin, message};
use crate::audit::{self, Record, RunEnd};
use crate::channels::Message;
use crate::diagnostic::Result;
use crate::event::{Outcome, What};
use crate::graph::assurance::{Past, Recovery, recovers};
use crate::open::{News, place_of};
use crate::pipeline::When;
use crate::stages::Shared;
use crate::state::StateDir;

/// The word for an outcome in `notify.when`.
pub(crate) fn when(outcome: Outcome) -> When {
    match outcome {
        Outcome::Success => When::Success,
        Outcome::Warning => When::Warning,
        Outcome::Failure => When::Failure,
        Outcome::Skipped => When::Skipped,
        Outcome::Cancelled => When::Cancelled,
        Outcome::Blocked => When::Blocked,
    }
}

/// The occasion of the message for an entry that wants `wanted`, if it gets one. `recovered` replaces `success`, never a worse
/// result that was asked for.
fn occasion(wanted: &[When], result: When, ends: Recovery) -> Option<When> {
    let is_end = ends.failure
        || ends.warning && wanted.contains(&When::Warning)
        || ends.cancelled && wanted.contains(&When::Cancelled);
    let recovery = is_end && matches!(result, When::Success | When::Warning) && wanted.contains(&When::Recovered);
    match result {
        When::Success if recovery => Some(When::Recovered),
        result if wanted.contains(&result) => Some(result),
        _ => recovery.then_some(When::Recovered),
    }
}

/// The beginning of the ids of a run's messages. A resumed run starts and ends again. Its messages are new ones, so their ids name the
/// session.
pub(crate) fn message_id(shared: &Shared) -> String {
    match shared.session {
        1 => shared.run.clone(),
        session => format!("{}.{session}", shared.run),
    }
}

/// Sends the messages of a run about a result. All are kept before the first is sent, and `kept` is called in between. A failed
/// delivery does not change the outcome of the run.
pub(crate) fn send(
    shared: &Shared,
    news: &News<'_>,
    ends: Recovery,
    kept: &mut dyn FnMut(),
    emit: &mut dyn FnMut(What),
) {
    let id = message_id(shared);
    let origin = Origin { id: &id, run: &shared.run, masker: &shared.masker };
    let mut messages = Vec::new();
    for (number, notification) in news.pipeline.notify.iter().enumerate() {
        let Some(when) = occasion(&notification.when, news.result, ends) else { continue };
        messages.push((&notification.to, when, message(&origin, news, number, when)));
    }
    let all: Vec<(&str, &Message)> = messages
        .iter()
        .filter_map(|(channels, _, message)| Some((channels, message.as_ref().ok()?)))
        .flat_map(|(channels, message)| channels.iter().map(move |channel| (channel.as_str(), message)))
        .collect();
    shared.notifier.keep(&all);
    kept();
    for (channels, when, message) in &messages {
        for channel in *channels {
            match message {
                Ok(message) => emit(message_event(channel, message, shared.notifier.deliver(channel, message))),
                Err(error) => {
                    let nothing = Message { when: when.word().to_owned(), ..Message::default() };
                    emit(message_event(channel, &nothing, Err(error.clone())));
                }
            }
        }
    }
}

pub(super) fn message_event(channel: &str, message: &Message, result: Result<String>) -> What {
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

/// What came before the end of a run.
pub(crate) struct History<'a> {
    /// The folder of the audit log.
    pub(crate) audit: &'a Path,
    /// The name of the pipeline.
    pub(crate) pipeline: &'a str,
    /// Its file.
    pub(crate) file: &'a Path,
    /// The run.
    pub(crate) run: &'a str,
}

/// What a run that counts as a success, for the time `good`, ends: what became of an earlier run or of an earlier session of its own, or
/// a success that was overdue.
pub(crate) fn recovery(state: &StateDir, past: &History<'_>, good: &str) -> Recovery {
    let place = place_of(past.file);
    let runs = state.runs().ok().flatten();
    let was_late = runs.as_ref().is_some_and(|runs| runs.was_told_late(&place, good).unwrap_or_default());
    // Two files may have the same name. A file that was moved is still the same.
    let is_of_other = |run: &str| {
        let run = runs.as_ref().and_then(|runs| runs.get(run).ok().flatten());
        run.is_some_and(|run| place_of(&run.file) != place && run.file.exists())
    };
    let ended = ended_before(past, &is_of_other);
    Recovery { failure: was_late || ended.failure, ..ended }
}

/// A success for the time `good` ended what was overdue, and its messages are kept. If this cannot be noted, the next success tells
/// of the recovery again.
pub(crate) fn forget_late(state: &StateDir, file: &Path, good: &str) {
    let place = place_of(file);
    let was_told = state.runs().ok().flatten().and_then(|runs| runs.was_told_late(&place, good).ok());
    if was_told == Some(true) {
        let _told_again = state.outbox().and_then(|mut outbox| outbox.forget_late(&place, good));
    }
}

/// What became of the runs and sessions before this one; runs of other files aside. The audit log decides: a second history could
/// disagree with it.
fn ended_before(past: &History<'_>, is_of_other: &dyn Fn(&str) -> bool) -> Recovery {
    let filter = audit::Filter { kind: Some("run".to_owned()), ..audit::Filter::default() };
    let Ok(entries) = audit::read_backwards(past.audit, filter) else { return Recovery::default() };
    recovers(entries.filter_map(std::result::Result::ok).filter_map(|entry| {
        let is_own = entry.run.as_deref() == Some(past.run);
        match entry.record()? {
            Record::RunStarted(_) | Record::RunResumed(_) if is_own => Some(Past::Began),
            Record::RunFinished(end) if end.pipeline == past.pipeline => {
                if entry.run.as_deref().is_some_and(is_of_other) {
                    return None;
                }
                let outcome = Outcome::from_word(&end.outcome)?;
                Some(Past::Ended { is_own, outcome, counts: outcome.is_ok() && does_count(&end) })
            }
            _ => None,
        }
    }))
}

/// Whether the record of a run that ended well says that it counts as a success. An earlier release did not record it.
fn does_count(end: &RunEnd) -> bool {
    end.counts.as_ref().map_or(end.left_out.is_empty(), |counts| counts != "none")
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
    fn occasions_follow_the_flags() {
        let mut sent = 0;
        for flags in 0_u32..512 {
            let wanted: Vec<When> =
                ALL.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1).map(|(_, when)| *when).collect();
            // An overdue pipeline has no result.
            for result in ALL.into_iter().filter(|when| !matches!(when, When::Recovered | When::Stale)) {
                for recovered in [false, true] {
                    let got = occasion(&wanted, result, Recovery { failure: recovered, ..Recovery::default() });
                    let is_well = matches!(result, When::Success | When::Warning);
                    let recovery = recovered && is_well && wanted.contains(&When::Recovered);
                    // Only results that were asked for get a message, and recoveries.
                    assert_eq!(
                        got.is_some(),
                        wanted.contains(&result) || recovery,
                        "{wanted:?} {result:?} {recovered}"
                    );
                    // A result other than success keeps its name, also in a recovery.
                    if result != When::Success && wanted.contains(&result) {
                        assert_eq!(got, Some(result), "{wanted:?} {recovered}");
                    }
                    // A recovery has its own name unless a worse result takes the message.
                    if recovery && (result == When::Success || !wanted.contains(&result)) {
                        assert_eq!(got, Some(When::Recovered), "{wanted:?} {result:?}");
                    }
                    sent += usize::from(got.is_some());
                }
            }
        }
        assert!(sent > 1_000);
    }
}
