//! The stage `upload` in a resumed run: what earlier attempts left, and what earlier sessions delivered.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use timelocker::audit::Draft;
use timelocker::channels::Message;
use timelocker::diagnostic::{Diagnostic, Result, codes};
use timelocker::stages::artifact::{ArtifactRef, ArtifactWriter, Sink, Source, Spool, stream};
use timelocker::stages::{
    Checkpoint, Context, Deliveries, Ledger, Meter, Notifier, OpenDelivery, Places, Record, Recorder, Shared,
    StageError, StageNotice, Unfinished, find,
};
use timelocker::storage::{KINDS, PendingObject, Store};
use timelocker::value::{Cancel, Kind, Masker};
use timelocker::vault::{Secrets, Uses};

use crate::support::faulty_s3::{Action, Fault, Op, PLAIN, Rule, SAFE, Server, VAULT};
use crate::support::uploads::{digest, key, never, s3};

/// A journal of deliveries in memory.
#[derive(Default)]
struct Kept {
    unfinished: Mutex<HashMap<String, Unfinished>>,
    is_full: bool,
}

impl Kept {
    fn keep(&self, uri: &str, change: impl FnOnce(&mut Unfinished)) -> Result<()> {
        if self.is_full {
            return Err(Diagnostic::failure(codes::TL0707, "the database could not be written: it is full"));
        }
        let mut unfinished = self.unfinished.lock().unwrap();
        let new = || Unfinished { since: Timestamp::now(), coming: Vec::new(), disproved: Vec::new(), open: None };
        change(unfinished.entry(uri.to_owned()).or_insert_with(new));
        Ok(())
    }
}

impl Deliveries for Kept {
    fn begun(&self, uri: &str) -> Result<()> {
        self.keep(uri, |known| known.since = Timestamp::now())
    }

    fn opened(&self, uri: &str, open: &OpenDelivery) -> Result<()> {
        self.keep(uri, |known| known.open = Some(open.upload.clone()))
    }

    fn closed(&self, uri: &str) -> Result<()> {
        self.keep(uri, |known| known.open = None)
    }

    fn are_kept(&self) -> bool {
        true
    }

    fn pending(&self, uri: &str, pending: &PendingObject) -> Result<()> {
        self.keep(uri, |known| known.coming.push(pending.clone()))
    }

    fn disproved(&self, uri: &str) -> Result<()> {
        self.keep(uri, |known| known.disproved = std::mem::take(&mut known.coming))
    }

    fn left(&self, uri: &str) -> Option<Unfinished> {
        self.unfinished.lock().unwrap().get(uri).cloned()
    }
}

struct Nowhere;

impl Notifier for Nowhere {
    fn keep(&self, _messages: &[(&str, &Message)]) {}

    fn deliver(&self, _channel: &str, _message: &Message) -> Result<String> {
        Err(Diagnostic::failure(codes::TL0670, "there are no channels"))
    }
}

#[derive(Default)]
struct Records(Mutex<Vec<Record>>);

impl Recorder for Records {
    fn record(&self, record: Record) -> Result<()> {
        self.0.lock().unwrap().push(record);
        Ok(())
    }

    fn checkpoint(&self) -> Result<Checkpoint> {
        Err(Diagnostic::failure(codes::TL0706, "nothing is signed"))
    }
}

/// One session of a run.
struct Session {
    shared: Arc<Shared>,
    records: Arc<Records>,
    work: tempfile::TempDir,
    warnings: Arc<AtomicU32>,
}

impl Session {
    fn new(store: Arc<dyn Store>, deliveries: &Arc<Kept>) -> Self {
        let (work, records) = (tempfile::tempdir().unwrap(), Arc::<Records>::default());
        let shared = Shared {
            session: 1,
            run: "run".to_owned(),
            pipeline: "test".to_owned(),
            host: String::new(),
            base: work.path().to_owned(),
            state: work.path().to_owned(),
            program: "tl".into(),
            places: Places { stores: BTreeMap::from([("shelf".to_owned(), store)]), ..Places::default() },
            notifier: Arc::new(Nowhere),
            recorder: records.clone(),
            ledger: Ledger::default(),
            deliveries: deliveries.clone(),
            masker: Masker::default(),
            secrets: Arc::new(Secrets::new(Vec::new(), [])),
        };
        Self { shared: Arc::new(shared), records, work, warnings: Arc::default() }
    }

    fn upload(&self, source: Source, more: &Json) -> Result<Json> {
        let artifact = ArtifactRef::of("collect");
        let warnings = Arc::clone(&self.warnings);
        let context = Context {
            message: "message".to_owned(),
            stage: "deliver".to_owned(),
            instance: None,
            key: "deliver".to_owned(),
            attempt: 1,
            uses: Uses::default(),
            shared: Arc::clone(&self.shared),
            base: self.work.path().to_owned(),
            work: self.work.path().join("parts"),
            cancel: Cancel::default(),
            meter: Arc::new(Meter::default()),
            fails_on_warning: false,
            failure_gate: Arc::default(),
            emit: Box::new(move |notice| {
                assert!(matches!(notice, StageNotice::Warning(_)));
                warnings.fetch_add(1, SeqCst);
            }),
            sources: Mutex::new(HashMap::from([(artifact.clone(), source)])),
            sink: Mutex::default(),
        };
        let mut with = json!({ "artifact": artifact, "store": "shelf", "key": "object" });
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        (find("upload").unwrap().run)(with, &context).map_err(|error| match error {
            StageError::Failed(error) => error,
            StageError::NothingToDo(why) => panic!("{why}"),
        })
    }

    /// Delivers an artifact from a file in the work folder.
    fn file(&self, bytes: &[u8], more: &Json) -> Result<Json> {
        let spool = Spool::new(self.work.path().join(ulid::Ulid::new().to_string()));
        let mut writer = ArtifactWriter::new(Sink::File(spool.clone()), Cancel::default()).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap();
        self.upload(Source::File(spool), more)
    }

    /// Delivers an artifact while it is produced.
    fn stream(&self, bytes: &[u8]) -> Result<Json> {
        let (sink, source, _) = stream(true);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut writer = ArtifactWriter::new(sink, Cancel::default()).unwrap();
                writer.write_all(bytes).unwrap();
                writer.finish().unwrap();
            });
            self.upload(source, &json!({}))
        })
    }

    fn still_holds(&self, outputs: &Json, key: &str) -> Result<bool> {
        (find("upload").unwrap().still_holds)(outputs, key, &self.shared, &never())
    }

    fn records(&self) -> Vec<String> {
        self.records.0.lock().unwrap().iter().map(|record| Draft::from(record.clone()).kind).collect()
    }
}

fn dir(path: &Path) -> Arc<dyn Store> {
    (Kind::find(KINDS, "dir").unwrap().build)(json!({ "path": path }).into()).unwrap().into()
}

fn cloud(server: &Server, bucket: &str) -> Arc<dyn Store> {
    s3(bucket, &server.endpoint())
}

fn versions(server: &Server, bucket: &str) -> usize {
    server.objects(bucket).iter().map(|(_, versions)| versions.len()).sum()
}

#[test]
fn what_was_delivered_and_not_counted_is_not_delivered_again() {
    let (server, kept) = (Fault::start(), Arc::<Kept>::default());
    let first = Session::new(cloud(&server, VAULT), &kept).file(b"hello", &json!({})).unwrap();
    // The next session knows only what is recorded.
    let next = Session::new(cloud(&server, VAULT), &kept);
    assert_eq!(next.file(b"hello", &json!({})).unwrap(), first);
    assert_eq!((versions(&server, VAULT), server.count(Op::Put)), (1, 1));
    assert_eq!(next.records(), ["upload.done"]);
    let uri = first["object"]["uri"].as_str().unwrap();
    assert_eq!(next.shared.ledger.expected(uri).unwrap().digest.to_string(), first["object"]["digest"]);

    let root = tempfile::tempdir().unwrap();
    let first = Session::new(dir(root.path()), &kept).file(b"hello", &json!({})).unwrap();
    fs::remove_file(root.path().join("object.sha256")).unwrap();
    assert_eq!(Session::new(dir(root.path()), &kept).file(b"hello", &json!({})).unwrap(), first);
    assert!(root.path().join("object.sha256").exists());
}

#[test]
fn what_nobody_counts_on_is_not_in_the_way_of_other_bytes() {
    let server = Fault::start();
    let root = tempfile::tempdir().unwrap();
    let stores: [&dyn Fn() -> Arc<dyn Store>; 3] =
        [&|| dir(root.path()), &|| cloud(&server, PLAIN), &|| cloud(&server, VAULT)];
    for store in stores {
        let kept = Arc::<Kept>::default();
        Session::new(store(), &kept).file(b"hello", &json!({})).unwrap();
        // The digest of a stream is known only once it was read. That it is unchanged would be known too late.
        for (bytes, is_stream) in [(b"hello", true), (b"other", true), (b"again", false)] {
            let next = Session::new(store(), &kept);
            let outputs = if is_stream { next.stream(bytes) } else { next.file(bytes, &json!({})) }.unwrap();
            assert_eq!(next.records(), ["upload.intent", "upload.done"]);
            assert!(next.still_holds(&outputs, "deliver").unwrap());
        }
        // Another run does not replace it.
        let error = Session::new(store(), &Arc::default()).file(b"hello", &json!({})).unwrap_err();
        assert_eq!(error.code, codes::TL0632);
    }
    assert_eq!(versions(&server, VAULT), 4);
}

/// The second delivery of a run was killed just before it replaced the first.
#[test]
fn what_was_about_to_replace_an_object_of_its_own_run_still_may() {
    let (server, root) = (Fault::start(), tempfile::tempdir().unwrap());
    let stores: [&dyn Fn() -> Arc<dyn Store>; 2] = [&|| dir(root.path()), &|| cloud(&server, VAULT)];
    for store in stores {
        let kept = Arc::<Kept>::default();
        let first = Session::new(store(), &kept).file(b"hello", &json!({})).unwrap();
        let uri = first["object"]["uri"].as_str().unwrap();
        let coming = kept.left(uri).unwrap().coming.pop().unwrap();
        let token = coming.token.as_ref().map(|_| "another".to_owned());
        kept.pending(uri, &PendingObject { token, digest: digest(b"other"), ..coming }).unwrap();
        let second = Session::new(store(), &kept).file(b"other", &json!({})).unwrap();
        assert_ne!(second["object"]["digest"], first["object"]["digest"]);
    }
}

#[test]
fn a_lock_that_the_file_asks_for_by_now_is_not_left_out() {
    let (server, kept) = (Fault::start(), Arc::<Kept>::default());
    let month = json!({ "object-lock": { "mode": "compliance", "retain-for": "30d" } });
    let held = json!({ "object-lock": { "mode": "compliance", "retain-for": "30d", "legal-hold": true } });
    let year = json!({ "object-lock": { "mode": "compliance", "retain-for": "365d" } });
    for (more, expected) in [(&month, 1), (&month, 1), (&json!({}), 1), (&held, 2), (&held, 2), (&year, 3)] {
        Session::new(cloud(&server, SAFE), &kept).file(b"hello", more).unwrap();
        assert_eq!(versions(&server, SAFE), expected, "{more}");
    }
}

#[test]
fn what_an_earlier_attempt_left_is_taken_back_first() {
    let (server, kept) = (Fault::start(), Arc::<Kept>::default());
    let session = Session::new(cloud(&server, VAULT), &kept);
    let uri = session.shared.places.stores["shelf"].uri(&key());
    kept.begun(&uri).unwrap();
    server.begin_upload(VAULT, "some/where/object", 0);
    session.file(b"hello", &json!({})).unwrap();
    assert_eq!((server.open_uploads(), session.warnings.load(SeqCst)), (0, 0));

    // If that fails, a warning is shown and the object is delivered anyway.
    server.rule(Rule::always(Op::ListUploads, Action::Error(403, "AccessDenied", &[])));
    kept.begun(&uri).unwrap();
    session.file(b"hello", &json!({ "overwrite": true })).unwrap();
    assert_eq!(session.warnings.load(SeqCst), 1);
}

#[test]
fn what_cannot_be_put_on_record_is_not_delivered() {
    let full = Arc::new(Kept { is_full: true, ..Kept::default() });
    let (server, root) = (Fault::start(), tempfile::tempdir().unwrap());
    for store in [dir(root.path()), cloud(&server, VAULT)] {
        let error = Session::new(store, &full).file(b"hello", &json!({})).unwrap_err();
        assert_eq!(error.code, codes::TL0707);
        assert!(error.one_line().contains("it is full"), "{error:?}");
    }
    assert_eq!((versions(&server, VAULT), fs::read_dir(root.path()).unwrap().count()), (0, 0));
}

#[test]
fn an_object_of_an_earlier_session_is_looked_at() {
    let server = Fault::start();
    let root = tempfile::tempdir().unwrap();
    let stores: [&dyn Fn() -> Arc<dyn Store>; 3] =
        [&|| dir(root.path()), &|| cloud(&server, PLAIN), &|| cloud(&server, VAULT)];
    for (number, store) in stores.into_iter().enumerate() {
        let kept = Arc::<Kept>::default();
        let outputs = Session::new(store(), &kept).file(b"hello", &json!({})).unwrap();
        let uri = outputs["object"]["uri"].as_str().unwrap();
        let next = Session::new(store(), &kept);
        assert!(next.still_holds(&outputs, "deliver").unwrap());
        assert_eq!(next.shared.ledger.expected(uri).unwrap().digest.to_string(), outputs["object"]["digest"]);
        assert!(!next.still_holds(&outputs, "other").unwrap(), "two stages cannot both have delivered it");

        // The bytes change, but not the length.
        Session::new(store(), &kept).file(b"hellO", &json!({ "overwrite": true })).unwrap();
        let (next, is_versioned) = (Session::new(store(), &kept), number == 2);
        assert_eq!(next.still_holds(&outputs, "deliver").unwrap(), is_versioned, "an old version stays as it was");
        assert_eq!(next.shared.ledger.expected(uri).is_some(), is_versioned);
    }
    // A missing digest file is written again if the bytes are right. A missing object is not.
    let kept = Arc::<Kept>::default();
    let outputs = Session::new(dir(root.path()), &kept).file(b"hello", &json!({ "overwrite": true })).unwrap();
    fs::remove_file(root.path().join("object.sha256")).unwrap();
    assert!(Session::new(dir(root.path()), &kept).still_holds(&outputs, "deliver").unwrap());
    assert!(root.path().join("object.sha256").exists());
    fs::remove_file(root.path().join("object")).unwrap();
    assert!(!Session::new(dir(root.path()), &kept).still_holds(&outputs, "deliver").unwrap());
    assert!(!Session::new(dir(root.path()), &kept).still_holds(&json!({ "object": null }), "deliver").unwrap());

    // Kinds without effects outside the run have nothing to check.
    let session = Session::new(dir(root.path()), &kept);
    assert!((find("assert").unwrap().still_holds)(&json!({}), "check", &session.shared, &never()).unwrap());
}
