//! The strict test server: the suite, lost answers, and servers that ignore parts of a request.

use std::time::Duration;

use timelocker::storage::{Error, Precondition, Removed};
use timelocker::value::CancelReason;

use super::conformance::{LONGEST_S3_KEY, Lack, Subject, content, fill, id, key, never, stat, write};
use crate::support::faulty_s3::{Action, Fault, Op, PLAIN, Rule, SAFE, Server, VAULT};
use crate::support::uploads::s3;

fn versions(server: &Server, bucket: &str) -> usize {
    server.objects(bucket).iter().map(|(_, versions)| versions.len()).sum()
}

#[test]
fn s3_conforms() {
    let server = Fault::start();
    for (bucket, lacks) in [(PLAIN, &[Lack::Lock][..]), (VAULT, &[Lack::Lock]), (SAFE, &[])] {
        let store = s3(bucket, &server.endpoint());
        Subject { store, lacks, longest_key: LONGEST_S3_KEY, fill: &fill }.conforms();
    }
}

/// It ignores every condition of a write, as many servers do.
#[test]
fn a_server_without_conditions_conforms_in_all_else() {
    let server = Fault::start();
    server.rule(Rule::always(Op::Put, Action::IgnoreCondition));
    let (store, lacks) = (s3(PLAIN, &server.endpoint()), &[Lack::Lock, Lack::Absent, Lack::Unchanged]);
    Subject { store, lacks, longest_key: LONGEST_S3_KEY, fill: &fill }.conforms();
}

#[test]
fn a_lost_answer_changes_nothing() {
    for action in [Action::Lost, Action::Close, Action::Error(500, "InternalError", &[])] {
        for (bucket, per_object) in [(PLAIN, 1), (VAULT, 2)] {
            let server = Fault::start();
            let store = s3(bucket, &server.endpoint());
            server.rule(Rule::once(Op::Put, action));
            let first = store.write(&key("a"), b"one", &Precondition::Absent, &never()).unwrap();
            assert_eq!(stat(store.as_ref(), "a").unwrap().version, first.version);
            let etag = stat(store.as_ref(), "a").unwrap().etag.unwrap();
            server.heal().rule(Rule::once(Op::Put, action));
            store.write(&key("a"), b"two", &Precondition::Unchanged(etag), &never()).unwrap();
            assert_eq!(content(store.as_ref(), "a"), b"two");
            assert_eq!(versions(&server, bucket), per_object, "{action:?}: nothing was written twice");
            server.heal().rule(Rule::once(Op::Delete, action));
            assert_eq!(store.remove(&id("a"), &never()).unwrap(), Removed::Removed);
            assert_eq!(stat(store.as_ref(), "a"), None);
        }
    }
}

/// After a lost answer, another writer's object is never mistaken for ours.
#[test]
fn an_object_of_another_writer_is_not_ours() {
    let server = Fault::start();
    let store = s3(VAULT, &server.endpoint());
    write(store.as_ref(), "a", b"one");
    server.rule(Rule::once(Op::Put, Action::Close));
    let error = store.write(&key("a"), b"one", &Precondition::Absent, &never()).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error:?}");
}

#[test]
fn a_server_that_ignores_conditions_is_not_trusted() {
    for when in ["absent", "unchanged"] {
        let server = Fault::start();
        server.rule(Rule::always(Op::Put, Action::IgnoreCondition));
        let store = s3(VAULT, &server.endpoint());
        let when = if when == "absent" {
            Precondition::Absent
        } else {
            write(store.as_ref(), "a", b"zero");
            Precondition::Unchanged(stat(store.as_ref(), "a").unwrap().etag.unwrap())
        };
        let before = versions(&server, VAULT);
        let error = store.write(&key("a"), b"one", &when, &never()).unwrap_err();
        assert!(matches!(error, Error::NoPrecondition { .. }), "{error:?}");
        assert_eq!(versions(&server, VAULT), before + 1, "what the proof has written is removed again");
    }
}

#[test]
fn a_condition_is_proven_once() {
    let server = Fault::start();
    let store = s3(PLAIN, &server.endpoint());
    for (name, puts) in [("a", 2), ("b", 3), ("c", 4)] {
        store.write(&key(name), b"x", &Precondition::Absent, &never()).unwrap();
        assert_eq!(server.count(Op::Put), puts);
    }
}

#[test]
fn a_conflict_of_two_writers_is_tried_again() {
    let server = Fault::start();
    server.rule(Rule::once(Op::Put, Action::Error(409, "ConditionalRequestConflict", &[])));
    s3(PLAIN, &server.endpoint()).write(&key("a"), b"x", &Precondition::Absent, &never()).unwrap();
}

#[test]
fn bytes_that_arrive_damaged_are_sent_again_and_bytes_that_come_back_cut_are_read_again() {
    let server = Fault::start();
    let store = s3(PLAIN, &server.endpoint());
    server.rule(Rule::once(Op::Put, Action::Damage)).rule(Rule::once(Op::Get, Action::Cut));
    write(store.as_ref(), "a", b"0123456789");
    assert_eq!(store.read(&id("a"), 2..8, &never()).unwrap(), &b"234567"[..]);
    assert_eq!((server.count(Op::Put), server.count(Op::Get)), (2, 2));
}

#[test]
fn every_call_to_a_silent_server_can_be_cancelled() {
    for op in [Op::Head, Op::Get, Op::Put, Op::List, Op::Delete] {
        let server = Fault::start();
        let store = s3(PLAIN, &server.endpoint());
        write(store.as_ref(), "a", b"one");
        server.rule(Rule::always(op, Action::Silence));
        let cancel = never();
        let store = store.as_ref();
        let result = std::thread::scope(|scope| {
            let call = scope.spawn(|| match op {
                Op::Head => store.stat(&id("a"), &cancel).map(drop),
                Op::Get => store.read(&id("a"), 0..1, &cancel).map(drop),
                Op::Put => store.write(&key("a"), b"two", &Precondition::None, &cancel).map(drop),
                Op::List => store.list("", None, &cancel).map(drop),
                _ => store.remove(&id("a"), &cancel).map(drop),
            });
            while server.faults().is_empty() {
                std::thread::sleep(Duration::from_millis(5));
            }
            cancel.cancel(CancelReason::Requested);
            call.join().unwrap()
        });
        // Without the cancel, it would time out as unanswered.
        assert!(matches!(result, Err(Error::Cancelled { .. })), "{op:?}: {result:?}");
    }
}
