//! All that a run needs before its first stage.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize as _;

use super::delivery_journal::DeliveryJournal;
use super::event_sink::{EventSink, emit};
use super::group::{Turn, wait_for_turn};
use super::logs::RunLogs;
use super::on_record::begin;
use super::options::Options;
use super::recall::prior;
use super::resume::{holds_secret, open_journal, optional_journal, share_locks, sweep, take_work};
use super::work::PipelineWork;
use crate::audit::Log;
use crate::diagnostic::{Diagnostic, codes};
use crate::event::What;
use crate::graph::{Plan, Selection};
use crate::inspect::texts_of;
use crate::notify::{OutboxHandle, RunNotifier};
use crate::open::{
    Channels, Contexts, Loaded, LogRecorder, audit_error, open_channels, open_places, read_needed, secrets_of_run,
    state_error, unwritten,
};
use crate::stages::{Ledger, OpenDelivery, Places, Recorder, Shared};
use crate::state::{Filter, GroupLock, Journal, WorkDir};
use crate::value::{Cancel, PositiveDuration};

/// A run that is ready for its first stage.
pub(super) struct Prepared {
    pub(super) work: Arc<PipelineWork>,
    pub(super) recorder: Arc<LogRecorder>,
    pub(super) shared: Arc<Shared>,
    pub(super) notifier: Arc<RunNotifier>,
    pub(super) audit: PathBuf,
    pub(super) folder: WorkDir,
    pub(super) group: Option<GroupLock>,
    /// The time limit of the run, less the time that reading the secrets took.
    pub(super) left: Option<Duration>,
}

/// Why a run could not start.
pub(super) struct NotReady {
    pub(super) folder: Option<WorkDir>,
    pub(super) errors: Vec<Diagnostic>,
    /// Another run of the group is at work, and the file says `if-busy: skip`.
    pub(super) skipped: bool,
    /// None where the audit log or the work folder could not be opened.
    pub(super) with: Option<Blocked>,
}

/// The parts of a run that could not start which are needed to record and report that.
pub(super) struct Blocked {
    pub(super) recorder: Arc<LogRecorder>,
    pub(super) notifier: Arc<RunNotifier>,
    pub(super) shared: Arc<Shared>,
    pub(super) loaded: Loaded,
}

/// Opens everything that a run needs, and records its start.
pub(super) fn prepare(
    loaded: Loaded,
    options: &Options,
    plan: Plan,
    run: &str,
    sink: &Mutex<EventSink>,
) -> std::result::Result<Prepared, Box<NotReady>> {
    let early = |folder, error| Box::new(NotReady { folder, errors: vec![error], skipped: false, with: None });
    unknown_zone().into_iter().for_each(|error| emit(sink, What::Problem { error }));
    options.state.create().map_err(|error| early(None, state_error(&error)))?;
    let audit = options.state.audit();
    let log = Log::open(&audit).map_err(|error| early(None, audit_error(&error)))?;
    let folder = take_work(&options.state, run, options.resumed.as_ref()).map_err(|error| early(None, error))?;

    // Before the secrets are read: that may take long, and `tl status` and `tl cancel` find a run by its journal.
    let (fixed, journal) = open_journal(&loaded, options, run);
    let outbox = OutboxHandle::new(options.state.clone());
    let mut journal = optional_journal(journal, options, &outbox).map_err(|error| early(None, error))?;

    at_once(&loaded, options, run).into_iter().for_each(|error| emit(sink, What::Problem { error }));

    // Reading secrets counts towards the time limit of the run. Waiting for its group does not, and has a limit of its own.
    let (began, limit) = (Instant::now(), loaded.pipeline.timeout.map(PositiveDuration::get));
    let plan = Arc::new(plan);
    let prior = prior(&plan, options.resumed.as_ref());
    let needed = secrets_of_run(&loaded, &plan, stores_of_uploads(&loaded, options), |stage| prior.has_effect(stage));
    let read = |cancel: &Cancel| read_needed(&loaded.document, &loaded.pipeline, &needed, cancel);
    let secrets = options.cancel.limited(limit, read);
    let left = limit.map(|limit| limit.saturating_sub(began.elapsed()));
    let masker = secrets.masker().clone();
    sink.lock().unwrap_or_else(PoisonError::into_inner).masker = masker.clone();
    let recorder = Arc::new(LogRecorder::new(log, Some(run), masker.clone()));
    let mut errors = secrets.missing;
    if let Some(journal) = journal.as_mut().filter(|_| errors.is_empty() && options.resumed.is_none()) {
        let inputs = Some(&loaded.inputs).filter(|inputs| !holds_secret(inputs, &masker));
        // Without this the run cannot be resumed, but a backup that cannot be resumed is better than none.
        let written = journal.ready(inputs);
        written.unwrap_or_else(|error| emit(sink, What::Problem { error: unwritten(&error).as_warning() }));
    }
    let journal = journal.map(Arc::new);
    sink.lock().unwrap_or_else(PoisonError::into_inner).journal.clone_from(&journal);
    let contexts = Contexts::new(&loaded, &secrets.known, fixed);
    let (places, channels, unopened) = open_declared(&loaded, &contexts, &*recorder);
    // A store that needs a missing secret cannot be opened either. Only the secret is reported then.
    if errors.is_empty() {
        errors = unopened;
    }
    let notifier = Arc::new(RunNotifier {
        channels,
        outbox,
        recorder: recorder.clone(),
        masker: masker.clone(),
        file: loaded.path.clone(),
        inputs: loaded.inputs.clone(),
    });
    let shared = Arc::new(Shared {
        run: run.to_owned(),
        session: options.session(),
        pipeline: loaded.pipeline.name.to_string(),
        host: loaded.pipeline.host(),
        base: loaded.document.folder().to_owned(),
        state: options.state.path().to_owned(),
        program: options.program.clone(),
        places,
        notifier: notifier.clone(),
        recorder: recorder.clone(),
        ledger: Ledger::default(),
        deliveries: Arc::new(DeliveryJournal::new(journal.clone(), options.resumed.as_ref())),
        masker,
        secrets: secrets.known,
    });
    let started = if errors.is_empty() {
        start(&loaded, options, run, &recorder, &folder, (journal.as_deref(), sink))
    } else {
        Err(Refused { errors, skipped: false })
    };
    let group = match started {
        Ok(group) => group,
        Err(Refused { errors, skipped }) => {
            // The channels that could be opened still carry messages.
            let with = Some(Blocked { recorder, notifier, shared, loaded });
            // A resumed run keeps its work folder: a later session may still use it.
            let folder = options.resumed.is_none().then_some(folder);
            return Err(Box::new(NotReady { folder, errors, skipped, with }));
        }
    };
    notifier.outbox.keep_texts(loaded.pipeline.name.as_str(), &texts_of(&loaded));
    let session = journal.as_ref().map_or(1, |journal| journal.session());
    let work = Arc::new(PipelineWork {
        prior,
        loaded,
        plan,
        contexts,
        shared: Arc::clone(&shared),
        recorder: Arc::clone(&recorder),
        folder: folder.path().to_owned(),
        logs: Arc::new(RunLogs::new(options.state.logs(run), session)),
        journal,
        memory: Mutex::default(),
    });
    Ok(Prepared { work, recorder, shared, notifier, audit, folder, group, left })
}

/// A warning if another run of this file is at work and the file does not say what then. It may be meant, with other inputs.
fn at_once(loaded: &Loaded, options: &Options, run: &str) -> Option<Diagnostic> {
    if loaded.pipeline.concurrency.is_some() {
        return None;
    }
    let (files, outcome) = (Some(vec![loaded.path.clone()]), Some("running".to_owned()));
    let filter = Filter { files, outcome, last: Some(2), ..Filter::default() };
    let running = options.state.runs().ok()??.list(&filter).ok()?;
    let other = running.iter().find(|other| other.id != run)?;
    let message = format!("the run `{}` of this file is at work, too", other.id);
    let warning = Diagnostic::warning(codes::TL0784, message);
    Some(warning.help("give the file a `concurrency`, so that one waits for the other or is skipped"))
}

/// A warning if `TZ` names a zone that is not known here: dates are then those of UTC. Without `TZ` nobody asked for a zone.
fn unknown_zone() -> Option<Diagnostic> {
    let name = std::env::var("TZ").ok().filter(|name| !name.is_empty())?;
    let error = jiff::tz::TimeZone::try_system().err()?;
    let message =
        format!("the time zone `{}` is not known here: dates and times are those of UTC", name.escape_debug());
    let warning = Diagnostic::warning(codes::TL0320, message).cause(&error);
    Some(warning.help("install the package `tzdata`, or correct `TZ`"))
}

/// The stores of uploads that earlier runs left open, and that this run aborts. A run of selected stages leaves them to the
/// next whole run: it must not read secrets that its stages do not need.
fn stores_of_uploads(loaded: &Loaded, options: &Options) -> BTreeSet<String> {
    if options.selection != Selection::All {
        return BTreeSet::new();
    }
    // The journal reports an error of the database when it is opened.
    let uploads = options.state.unfinished_uploads(loaded.pipeline.name.as_str(), &loaded.path).unwrap_or_default();
    uploads.iter().filter_map(|left| Some(OpenDelivery::deserialize(&left.upload).ok()?.store)).collect()
}

/// Opens the stores and channels of a file; returns also why some could not be opened.
fn open_declared(loaded: &Loaded, contexts: &Contexts, recorder: &dyn Recorder) -> (Places, Channels, Vec<Diagnostic>) {
    let mut unopened = Vec::new();
    let places = open_places(loaded, contexts, recorder).unwrap_or_else(|error| {
        unopened.push(error);
        Places::default()
    });
    let channels = open_channels(loaded, contexts, recorder);
    unopened.extend(channels.values().filter_map(|channel| channel.as_ref().err().cloned()));
    (places, channels, unopened)
}

/// Why a run does not start, and whether it was skipped: another run of its group is at work.
struct Refused {
    errors: Vec<Diagnostic>,
    skipped: bool,
}

impl From<Diagnostic> for Refused {
    fn from(error: Diagnostic) -> Self {
        Self { errors: vec![error], skipped: false }
    }
}

/// Waits for the lock of the group and records the start.
fn start(
    loaded: &Loaded,
    options: &Options,
    run: &str,
    recorder: &LogRecorder,
    folder: &WorkDir,
    (journal, sink): (Option<&Journal>, &Mutex<EventSink>),
) -> std::result::Result<Option<GroupLock>, Refused> {
    let wait_for = |group: Option<&str>| journal.into_iter().for_each(|journal| journal.wait_for(group));
    let mut has_waited = false;
    let mut waiting = |warning| {
        has_waited = true;
        wait_for(loaded.pipeline.concurrency.as_ref().map(|concurrency| concurrency.group.as_str()));
        emit(sink, What::Problem { error: warning });
    };
    let group = match wait_for_turn(loaded, &options.state, run, &options.cancel, &mut waiting)? {
        Turn::Taken(group) => {
            if has_waited {
                wait_for(None);
            }
            group
        }
        Turn::Skip(why) => return Err(Refused { errors: vec![why.as_warning()], skipped: true }),
    };
    begin(loaded, recorder, options)?;
    let group = share_locks(folder, group)?;
    sweep(loaded, &options.state, run);
    Ok(group)
}
