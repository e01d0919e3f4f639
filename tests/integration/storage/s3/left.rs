//! A writer that ended in the middle: what it said before, and what is found and taken back after it.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use timelocker::storage::{
    Body, Delivered, Error, KINDS, Lock, LockMode, OpenUpload, PendingObject, Store, UploadJournal, UploadOptions,
};
use timelocker::value::{Cancel, CancelReason, Digest, Kind, ObjectKey};

use super::fault::{Action, Fault, Op, PLAIN, Rule, SAFE, Server, VAULT};
use super::{KEYS, noise};

const SMALL: usize = 1 << 10;
const LARGE: usize = 12 << 20;

pub fn s3(bucket: &str, endpoint: &str) -> Arc<dyn Store> {
    let settings = json!({
        "bucket": bucket, "prefix": "some/where", "endpoint": endpoint, "path-style": true, "allow-private": true, "region":
        "us-east-1", "part-size": "5MiB", "request-timeout": "20s", "retry-for": "2s", "access-key-id": KEYS.0,
        "secret-access-key": KEYS.1,
    });
    (Kind::find(KINDS, "s3").unwrap().build)(settings).unwrap().into()
}

/// What the store says, in its order, and what becomes of it then.
#[derive(Default)]
pub struct Said<'a> {
    pub log: Mutex<Vec<&'static str>>,
    pub coming: Mutex<Option<PendingObject>>,
    /// What is looked at, at each of its moments.
    look: Option<&'a (dyn Fn(&str) + Sync)>,
}

impl Said<'_> {
    fn at(&self, moment: &'static str) {
        self.log.lock().unwrap().push(moment);
        if let Some(look) = self.look {
            look(moment);
        }
    }
}

impl UploadJournal for Said<'_> {
    fn begun(&self) -> Result<(), Error> {
        self.at("begun");
        Ok(())
    }

    fn opened(&self, _upload: &OpenUpload) -> Result<(), Error> {
        self.at("opened");
        Ok(())
    }

    fn reused(&self, _bytes: u64) {}

    fn pending(&self, coming: &PendingObject) -> Result<(), Error> {
        *self.coming.lock().unwrap() = Some(coming.clone());
        self.at("coming");
        Ok(())
    }
}

struct Refuses(&'static str);

impl Refuses {
    fn at(&self, moment: &str) -> Result<(), Error> {
        let source = "the disk is full".into();
        if self.0 == moment { Err(Error::Unrecorded { uri: "object".to_owned(), source }) } else { Ok(()) }
    }
}

impl UploadJournal for Refuses {
    fn begun(&self) -> Result<(), Error> {
        self.at("begun")
    }

    fn opened(&self, _upload: &OpenUpload) -> Result<(), Error> {
        self.at("opened")
    }

    fn reused(&self, _bytes: u64) {}

    fn pending(&self, _object: &PendingObject) -> Result<(), Error> {
        self.at("coming")
    }
}

pub struct Bytes<'a>(pub &'a [u8], pub Digest);

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Body for Bytes<'_> {
    fn digest(&self) -> Option<Digest> {
        Some(self.1)
    }
}

pub fn digest(bytes: &[u8]) -> Digest {
    Digest { sha256: Sha256::digest(bytes).into(), size: bytes.len() as u64 }
}

pub fn never() -> Cancel {
    Cancel::default()
}

pub fn key() -> ObjectKey {
    "object".parse().unwrap()
}

pub fn options(overwrite: bool) -> UploadOptions<'static> {
    UploadOptions { overwrite, lock: None, ordered: Timestamp::now(), resume: None, scratch: Path::new("/nowhere") }
}

pub fn put(store: &dyn Store, bytes: &[u8], journal: &dyn UploadJournal) -> Result<Delivered, Error> {
    store.upload(&key(), &mut Bytes(bytes, digest(bytes)), &options(true), journal, &never())
}

/// A writer that ends in this moment, and tidies nothing up.
pub fn killed_at(store: &dyn Store, bytes: &[u8], moment: &'static str) -> Option<PendingObject> {
    let die = |at: &str| assert_ne!(at, moment, "killed");
    let said = Said { look: Some(&die), ..Said::default() };
    let died = catch_unwind(AssertUnwindSafe(|| put(store, bytes, &said)));
    assert!(died.is_err(), "it was not killed");
    said.coming.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn versions(server: &Server, bucket: &str) -> usize {
    server.objects(bucket).iter().map(|(_, versions)| versions.len()).sum()
}

#[test]
fn each_step_is_on_record_before_it_is_done() {
    for (size, expected) in [(0, &["coming"][..]), (SMALL, &["coming"]), (LARGE, &["begun", "coming"])] {
        let server = Fault::start();
        let look = |moment: &str| {
            let done = [Op::Create, Op::Part, Op::Put, Op::Complete].map(|op| server.count(op));
            let due = if moment == "coming" && size == LARGE { [1, 3, 0, 0] } else { [0; 4] };
            assert_eq!(done, due, "{size} {moment}");
        };
        let said = Said { look: Some(&look), ..Said::default() };
        let bytes = noise(size, 1);
        let stored = put(s3(VAULT, &server.endpoint()).as_ref(), &bytes, &said).unwrap();
        assert_eq!(*said.log.lock().unwrap(), expected, "{size}");
        let coming = said.coming.into_inner().unwrap().unwrap();
        assert_eq!((coming.digest, coming.checksums), (digest(&bytes), stored.checksums), "{size}");
        assert!(coming.token.is_some());
    }
}

/// Where the server refuses the first checksum, what is said last names the one that it takes.
#[test]
fn what_is_said_of_an_object_is_what_its_store_will_say() {
    let server = Fault::start();
    server.rule(Rule::always(Op::Put, Action::RefuseChecksums(400, "InvalidRequest")));
    let said = Said::default();
    put(s3(VAULT, &server.endpoint()).as_ref(), b"hello", &said).unwrap();
    assert_eq!(*said.log.lock().unwrap(), ["coming", "coming"]);
    let checksums = said.coming.into_inner().unwrap().unwrap().checksums;
    assert_eq!(checksums.into_keys().collect::<Vec<_>>(), ["md5", "sha256"]);
}

#[test]
fn what_is_not_on_record_does_not_appear() {
    for (size, moment) in [(SMALL, "coming"), (LARGE, "begun"), (LARGE, "coming")] {
        let server = Fault::start();
        let error = put(s3(VAULT, &server.endpoint()).as_ref(), &noise(size, 1), &Refuses(moment)).unwrap_err();
        assert!(matches!(error, Error::Unrecorded { .. }), "{error:?}");
        assert_eq!((versions(&server, VAULT), server.open_uploads()), (0, 0), "{size} {moment}");
        assert_eq!(server.count(Op::Put) + server.count(Op::Complete), 0, "{size} {moment}");
        assert_eq!(server.count(Op::Create), usize::from(moment == "coming" && size == LARGE));
    }
}

#[test]
fn what_never_appeared_is_taken_back() {
    for (size, moment) in [(SMALL, "coming"), (LARGE, "begun"), (LARGE, "coming")] {
        let server = Fault::start();
        let since = Timestamp::now();
        let others = [
            server.begin_upload(VAULT, "some/where/object", 60),
            server.begin_upload(VAULT, "some/where/object2", 0),
            server.begin_upload(VAULT, "some/where/objec", 0),
            server.begin_upload(VAULT, "object", 0),
            server.begin_upload(PLAIN, "some/where/object", 0),
        ];
        let store = s3(VAULT, &server.endpoint());
        let coming = killed_at(store.as_ref(), &noise(size, 1), moment);
        let left = usize::from(size == LARGE && moment == "coming");
        assert_eq!(server.open_uploads(), others.len() + left, "{size} {moment}");
        assert_eq!(store.discard_unfinished(&key(), since, &never()).unwrap(), left, "{size} {moment}");
        assert_eq!(server.open_ids(VAULT), others[..4], "{size} {moment}");
        if let Some(coming) = coming {
            assert_eq!(store.recover(&key(), &coming, &never()).unwrap(), None);
        }
        assert_eq!(versions(&server, VAULT), 0);
        assert_eq!(store.discard_unfinished(&key(), since, &never()).unwrap(), 0);
    }
}

/// The begin of an upload is told by the server's clock, and what is asked for by ours.
#[test]
fn clocks_may_differ() {
    for ahead in [-86_400, -90, 90, 86_400] {
        let server = Fault::start();
        server.set_ahead(ahead);
        let earlier = server.begin_upload(VAULT, "some/where/object", 30);
        let since = Timestamp::now();
        let store = s3(VAULT, &server.endpoint());
        killed_at(store.as_ref(), &noise(LARGE, 1), "coming");
        assert_eq!(store.discard_unfinished(&key(), since, &never()).unwrap(), 1, "{ahead}");
        assert_eq!(server.open_ids(VAULT), [earlier], "{ahead}");
    }
}

#[test]
fn an_object_that_appeared_is_found() {
    for (bucket, size) in [(VAULT, SMALL), (VAULT, LARGE), (PLAIN, SMALL), (PLAIN, LARGE)] {
        let server = Fault::start();
        let store = s3(bucket, &server.endpoint());
        let (first, second, bytes) = (Said::default(), Said::default(), noise(size, 1));
        let stored = put(store.as_ref(), &bytes, &first).unwrap();
        let coming = first.coming.into_inner().unwrap().unwrap();
        // It lies in the journal.
        let coming: PendingObject = serde_json::from_str(&serde_json::to_string(&coming).unwrap()).unwrap();
        assert_eq!(store.recover(&key(), &coming, &never()).unwrap(), Some(stored));
        assert_eq!(store.recover(&"other".parse().unwrap(), &coming, &never()).unwrap(), None);

        // Another writer's, though its bytes are the same.
        let stored = put(store.as_ref(), &bytes, &second).unwrap();
        assert_eq!(store.recover(&key(), &coming, &never()).unwrap(), None, "{bucket} {size}");
        let coming = second.coming.into_inner().unwrap().unwrap();
        assert_eq!(store.recover(&key(), &coming, &never()).unwrap(), Some(stored), "{bucket} {size}");

        // Who may not look cannot know.
        server.rule(Rule::always(Op::Head, Action::Error(403, "AccessDenied", &[])));
        assert_eq!(store.recover(&key(), &coming, &never()).unwrap(), None);
    }
}

#[test]
fn an_object_that_is_not_as_it_was_sent_is_no_delivery() {
    let server = Fault::start();
    let (store, said) = (s3(VAULT, &server.endpoint()), Said::default());
    put(store.as_ref(), &noise(SMALL, 1), &said).unwrap();
    let coming = said.coming.into_inner().unwrap().unwrap();
    let lock = Some(Lock { retention: Some((LockMode::Compliance, Timestamp::now())), legal_hold: false });
    let error = store.recover(&key(), &PendingObject { lock, ..coming.clone() }, &never()).unwrap_err();
    assert!(matches!(error, Error::Unproven { .. }), "{error:?}");
    let error =
        store.recover(&key(), &PendingObject { digest: digest(b"other"), ..coming.clone() }, &never()).unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("upload"), "{error:?}");
    // As after an upload that arrived otherwise, it is removed, and can be sent again.
    assert_eq!(store.recover(&key(), &coming, &never()).unwrap(), None);
}

/// The completion was sent, and whoever sent it never learnt what came of it.
#[test]
fn a_completion_without_an_answer() {
    let server = Fault::start();
    server.rule(Rule::once(Op::Complete, Action::LostInSilence));
    let (store, said, since) = (s3(VAULT, &server.endpoint()), Said::default(), Timestamp::now());
    let cancel = Cancel::default();
    let bytes = noise(LARGE, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while server.count(Op::Complete) == 0 {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            cancel.cancel(CancelReason::Requested);
        });
        let error =
            store.upload(&key(), &mut Bytes(&bytes, digest(&bytes)), &options(false), &said, &cancel).unwrap_err();
        assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
    });
    assert_eq!(store.discard_unfinished(&key(), since, &never()).unwrap(), 0);
    let coming = said.coming.into_inner().unwrap().unwrap();
    let own = store.recover(&key(), &coming, &never()).unwrap().expect("it has appeared");
    assert_eq!((own.digest, own.version.is_some()), (coming.digest, true));
}

#[test]
fn who_may_not_list_uploads_is_told_so() {
    let server = Fault::start();
    server.rule(Rule::always(Op::ListUploads, Action::Error(403, "AccessDenied", &[])));
    let error = s3(SAFE, &server.endpoint()).discard_unfinished(&key(), Timestamp::now(), &never()).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("open multipart uploads"), "{error}");
}
