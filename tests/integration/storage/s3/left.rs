//! A writer that ended in the middle: what it recorded before, and what is found and removed after it.

use jiff::Timestamp;
use timelocker::storage::{Error, Lock, LockMode, PendingObject};
use timelocker::value::{Cancel, CancelReason};

use crate::support::faulty_s3::{Action, Fault, Op, PLAIN, Rule, SAFE, Server, VAULT};
use crate::support::noise;
use crate::support::uploads::{Bytes, StepJournal, digest, key, killed_at, never, options, put, s3};

const SMALL: usize = 1 << 10;
const LARGE: usize = 12 << 20;

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
        let said = StepJournal { look: Some(&look), ..StepJournal::default() };
        let bytes = noise(size, 1);
        let stored = put(s3(VAULT, &server.endpoint()).as_ref(), &bytes, &said).unwrap();
        assert_eq!(*said.steps.lock().unwrap(), expected, "{size}");
        let coming = said.pending.into_inner().unwrap().unwrap();
        assert_eq!((coming.digest, coming.checksums), (digest(&bytes), stored.checksums), "{size}");
        assert!(coming.token.is_some());
    }
}

/// If the server refuses the first checksum, the last journal entry names the one that it accepts.
#[test]
fn what_is_said_of_an_object_is_what_its_store_will_say() {
    let server = Fault::start();
    server.rule(Rule::always(Op::Put, Action::RefuseChecksums(400, "InvalidRequest")));
    let said = StepJournal::default();
    put(s3(VAULT, &server.endpoint()).as_ref(), b"hello", &said).unwrap();
    assert_eq!(*said.steps.lock().unwrap(), ["coming", "coming"]);
    let checksums = said.pending.into_inner().unwrap().unwrap().checksums;
    assert_eq!(checksums.into_keys().collect::<Vec<_>>(), ["md5", "sha256"]);
}

#[test]
fn what_is_not_on_record_does_not_appear() {
    for (size, moment) in [(SMALL, "coming"), (LARGE, "begun"), (LARGE, "coming")] {
        let server = Fault::start();
        let error = put(
            s3(VAULT, &server.endpoint()).as_ref(),
            &noise(size, 1),
            &StepJournal { refused: Some(moment), ..StepJournal::default() },
        )
        .unwrap_err();
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

/// The server's clock dates an upload, and ours dates the question.
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
        let (first, second, bytes) = (StepJournal::default(), StepJournal::default(), noise(size, 1));
        let stored = put(store.as_ref(), &bytes, &first).unwrap();
        let coming = first.pending.into_inner().unwrap().unwrap();
        // It lies in the journal.
        let coming: PendingObject = serde_json::from_str(&serde_json::to_string(&coming).unwrap()).unwrap();
        assert_eq!(store.recover(&key(), &coming, &never()).unwrap(), Some(stored));
        assert_eq!(store.recover(&"other".parse().unwrap(), &coming, &never()).unwrap(), None);

        // Another writer's object, although its bytes are the same.
        let stored = put(store.as_ref(), &bytes, &second).unwrap();
        assert_eq!(store.recover(&key(), &coming, &never()).unwrap(), None, "{bucket} {size}");
        let coming = second.pending.into_inner().unwrap().unwrap();
        assert_eq!(store.recover(&key(), &coming, &never()).unwrap(), Some(stored), "{bucket} {size}");

        // Access denied: treated as unknown.
        server.rule(Rule::always(Op::Head, Action::Error(403, "AccessDenied", &[])));
        assert_eq!(store.recover(&key(), &coming, &never()).unwrap(), None);
    }
}

#[test]
fn an_object_that_is_not_as_it_was_sent_is_no_delivery() {
    let server = Fault::start();
    let (store, said) = (s3(VAULT, &server.endpoint()), StepJournal::default());
    put(store.as_ref(), &noise(SMALL, 1), &said).unwrap();
    let coming = said.pending.into_inner().unwrap().unwrap();
    let lock = Some(Lock { retention: Some((LockMode::Compliance, Timestamp::now())), legal_hold: false });
    let error = store.recover(&key(), &PendingObject { lock, ..coming.clone() }, &never()).unwrap_err();
    assert!(matches!(error, Error::Unproven { .. }), "{error:?}");
    let error =
        store.recover(&key(), &PendingObject { digest: digest(b"other"), ..coming.clone() }, &never()).unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("upload"), "{error:?}");
    // It was removed like any upload that arrived damaged, and can be sent again.
    assert_eq!(store.recover(&key(), &coming, &never()).unwrap(), None);
}

/// The completion was sent, but its writer never got the answer.
#[test]
fn a_completion_without_an_answer() {
    let server = Fault::start();
    server.rule(Rule::once(Op::Complete, Action::LostInSilence));
    let (store, said, since) = (s3(VAULT, &server.endpoint()), StepJournal::default(), Timestamp::now());
    let cancel = Cancel::default();
    let bytes = noise(LARGE, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while server.count(Op::Complete) == 0 {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            cancel.cancel(CancelReason::Requested);
        });
        let error = store.upload(&key(), &mut Bytes::new(&bytes), &options(false), &said, &cancel).unwrap_err();
        assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
    });
    assert_eq!(store.discard_unfinished(&key(), since, &never()).unwrap(), 0);
    let coming = said.pending.into_inner().unwrap().unwrap();
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
