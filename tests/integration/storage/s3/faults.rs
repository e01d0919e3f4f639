//! Every fault of a server, or of the network, through the real program. Faults that heal end with the right bytes in
//! exactly one version of the object. The others end with an error that names the object and the cause, and leave
//! nothing behind.

use std::sync::atomic::{AtomicU64, Ordering};

use super::delivery::{LIMITS, failure, living, pipeline, whole};
use crate::support::faulty_s3::{Action, Chaos, Fault, Op, PLAIN, Rule, SAFE, Server, VAULT, Work};
use crate::support::{KEYS, Tl, events, noise, with_keys};

const PUT: usize = 1 << 10;
const PARTS: usize = 12 << 20;
const NOWHERE: &str = "http://no-such-host.invalid:9";

/// One upload and its verification.
struct Case<'a> {
    rules: &'a [Rule],
    size: usize,
    bucket: &'a str,
    /// More settings of the store, each after a comma.
    store: &'a str,
    /// More settings of the upload, each after a comma.
    upload: &'a str,
    /// Prepares the server before the program runs.
    before: fn(&Server),
    endpoint: Option<&'a str>,
    end: End<'a>,
}

enum End<'a> {
    /// The object exists, and each of these operations took this many requests.
    Heals(&'a [(Op, usize)]),
    Dies {
        exit: i32,
        code: &'a str,
        says: &'a [&'a str],
    },
    /// Like `Dies`, with this many versions and open uploads left.
    Leaves {
        exit: i32,
        code: &'a str,
        says: &'a [&'a str],
        versions: usize,
        uploads: usize,
    },
}

const CASE: Case<'static> = Case {
    rules: &[],
    size: PUT,
    bucket: VAULT,
    store: "",
    upload: "",
    before: |_| {},
    endpoint: None,
    end: End::Heals(&[]),
};

impl Case<'_> {
    fn run(&self) {
        let server = Fault::start();
        for rule in self.rules {
            server.rule(*rule);
        }
        (self.before)(&server);
        let tl = Tl::new();
        let content = noise(self.size, 7);
        let endpoint = self.endpoint.map_or_else(|| server.endpoint(), str::to_owned);
        // YAML refuses duplicate keys, so a case that sets one limit sets all of them.
        let limits = if self.store.contains("request-timeout") { "tags: {}" } else { LIMITS };
        tl.write("data/a", &content).write("p.yaml", pipeline(self.bucket, &endpoint, limits, self.store, self.upload));
        let ended = with_keys(&tl, &["run", "p.yaml", "--reporter", "json"], KEYS);
        let happened = format!("{ended:#?}\n{:?}\n{:?}", server.requests(), server.faults());
        let events = events(&ended.stdout);
        let (code, text) = failure(&events);
        let mut left = (0, 0);
        match &self.end {
            End::Heals(counts) => {
                assert_eq!((ended.code, code.as_str()), (0, ""), "{happened}");
                whole(&server, self.bucket, &content, &events);
                for (op, count) in *counts {
                    assert_eq!(server.count(*op), *count, "{op:?}: {happened}");
                }
                assert_eq!(server.hurried(), 0, "{happened}");
                return;
            }
            End::Dies { .. } => {}
            End::Leaves { versions, uploads, .. } => left = (*versions, *uploads),
        }
        let (End::Dies { exit, code: expected, says } | End::Leaves { exit, code: expected, says, .. }) = &self.end
        else {
            return;
        };
        assert_eq!((ended.code, code.as_str()), (*exit, *expected), "{happened}");
        for part in says.iter().chain([&self.bucket]) {
            assert!(text.contains(part), "{part:?} is not in {text}\n{happened}");
        }
        let versions = living(&server, self.bucket).len();
        assert_eq!((versions, server.open_uploads()), left, "versions and uploads that are left: {happened}");
    }
}

macro_rules! cases {
    ($($name:ident: { $($field:ident: $value:expr),* $(,)? })*) => {
        $(#[test]
        fn $name() {
            Case { $($field: $value,)* ..CASE }.run();
        })*
    };
}

const fn error(status: u16, code: &'static str) -> Action {
    Action::Error(status, code, &[])
}

/// Limits that detect a silent server quickly. A loaded machine may then repeat requests too.
const HASTY: &str = ", request-timeout: 1s, minimum-speed: 4MiB, retry-for: 30s";
/// Limits that also give up quickly.
const IMPATIENT: &str = ", request-timeout: 1s, minimum-speed: 4MiB, retry-for: 2s";
/// Limits for completions, which get twenty times the time of a small request.
const BRIEF: &str = ", request-timeout: 400ms, minimum-speed: 1MiB, retry-for: 60s";

const EUROPE: Action = Action::Error(301, "PermanentRedirect", &[("x-amz-bucket-region", "eu-west-1")]);
const ELSEWHERE: Action = Action::Error(307, "TemporaryRedirect", &[("location", "http://127.0.0.1:9/vault/object")]);

// Throttling and errors of the server.
cases! {
    put_slow_down_once: { rules: &[Rule::once(Op::Put, error(503, "SlowDown"))], end: End::Heals(&[(Op::Put, 2)]) }
    put_slow_down_always: {
        rules: &[Rule::always(Op::Put, error(503, "SlowDown"))],
        end: End::Dies { exit: 1, code: "TL0647", says: &["object", "503 SlowDown"] },
    }
    part_slow_down_always: {
        size: PARTS,
        rules: &[Rule::always(Op::Part, error(503, "SlowDown")).part(2)],
        end: End::Dies { exit: 1, code: "TL0647", says: &["object", "part 2", "503 SlowDown"] },
    }
    every_request_slow_down_five_times: {
        size: PARTS,
        rules: &[
            Rule::once(Op::Create, error(503, "SlowDown")).times(5),
            Rule::once(Op::Part, error(503, "SlowDown")).times(5),
            Rule::once(Op::Complete, error(503, "SlowDown")).times(5),
            Rule::once(Op::Head, error(503, "")).times(5),
            Rule::once(Op::Get, error(503, "SlowDown")).times(5),
        ],
    }
    put_internal_error: { rules: &[Rule::once(Op::Put, error(500, "InternalError"))], end: End::Heals(&[(Op::Put, 2)]) }
    put_page_of_a_proxy_502: { rules: &[Rule::once(Op::Put, Action::Html(502))], end: End::Heals(&[(Op::Put, 2)]) }
    put_request_timeout: { rules: &[Rule::once(Op::Put, error(400, "RequestTimeout"))], end: End::Heals(&[(Op::Put, 2)]) }
    put_retry_after: { rules: &[Rule::once(Op::Put, Action::RetryAfter(1))], end: End::Heals(&[(Op::Put, 2)]) }
    part_retry_after: {
        size: PARTS,
        rules: &[Rule::once(Op::Part, Action::RetryAfter(1)).part(3)],
        end: End::Heals(&[(Op::Part, 4)]),
    }
    put_too_many_requests: {
        rules: &[Rule::once(Op::Put, error(429, "TooManyRequests"))],
        end: End::Heals(&[(Op::Put, 2)]),
    }
    part_internal_error: {
        size: PARTS,
        rules: &[Rule::once(Op::Part, error(500, "InternalError")).part(2)],
        end: End::Heals(&[(Op::Part, 4), (Op::Complete, 1)]),
    }
}

// The way to the server.
cases! {
    put_reset_before_the_body: { rules: &[Rule::once(Op::Put, Action::ResetBefore)], end: End::Heals(&[(Op::Put, 2)]) }
    part_reset_in_the_body: {
        size: PARTS,
        rules: &[Rule::once(Op::Part, Action::ResetMiddle).part(1)],
        end: End::Heals(&[(Op::Part, 4)]),
    }
    put_closed_without_an_answer: { rules: &[Rule::once(Op::Put, Action::Close)], end: End::Heals(&[(Op::Put, 2)]) }
    part_closed_without_an_answer: {
        size: PARTS,
        rules: &[Rule::once(Op::Part, Action::Close).part(2)],
        end: End::Heals(&[(Op::Part, 4)]),
    }
    part_refused_before_the_body: {
        size: PARTS,
        rules: &[Rule::once(Op::Part, Action::Early(503, "SlowDown")).part(2)],
        end: End::Heals(&[(Op::Part, 4)]),
    }
    connections_closed_between_requests: {
        size: PARTS,
        rules: &[Rule::always(Op::Head, Action::CloseAfter), Rule::always(Op::Part, Action::CloseAfter)],
    }
    put_never_answered_once: { store: HASTY, rules: &[Rule::once(Op::Put, Action::Silence)] }
    put_never_answered: {
        store: IMPATIENT,
        rules: &[Rule::always(Op::Put, Action::Silence)],
        end: End::Dies { exit: 1, code: "TL0647", says: &["object", "no answer"] },
    }
    part_never_answered: {
        size: PARTS,
        store: IMPATIENT,
        rules: &[Rule::always(Op::Part, Action::Silence).part(2)],
        end: End::Dies { exit: 1, code: "TL0647", says: &["object", "part 2", "no answer"] },
    }
    part_never_read: { size: PARTS, store: HASTY, rules: &[Rule::once(Op::Part, Action::NeverRead).part(2)] }
    part_read_slowly: { size: PARTS, store: HASTY, rules: &[Rule::once(Op::Part, Action::SlowRead).part(2)] }
    nobody_listens: {
        endpoint: Some("http://127.0.0.1:9"),
        end: End::Dies { exit: 10, code: "TL0645", says: &["object", "127.0.0.1:9"] },
    }
    no_such_host: {
        endpoint: Some(NOWHERE),
        end: End::Dies { exit: 10, code: "TL0645", says: &["object", "no-such-host.invalid"] },
    }
}

// Clock, credentials and locations.
cases! {
    clock_is_wrong: { rules: &[Rule::once(Op::Put, Action::Skewed(3600))], end: End::Heals(&[(Op::Put, 2)]) }
    clock_is_wrong_for_ever: {
        rules: &[Rule::always(Op::Put, Action::Skewed(3600))],
        end: End::Dies { exit: 12, code: "TL0646", says: &["object", "RequestTimeTooSkewed"] },
    }
    token_expired_once: {
        size: PARTS,
        store: ", profile: renewable",
        rules: &[Rule::once(Op::Part, error(400, "ExpiredToken")).part(3)],
        end: End::Heals(&[(Op::Part, 4)]),
    }
    token_expired: {
        size: PARTS,
        rules: &[Rule::always(Op::Part, error(400, "ExpiredToken")).part(3)],
        end: End::Dies { exit: 12, code: "TL0646", says: &["object", "part 3", "ExpiredToken"] },
    }
    put_access_denied: {
        rules: &[Rule::always(Op::Put, error(403, "AccessDenied"))],
        end: End::Dies { exit: 12, code: "TL0646", says: &["object", "AccessDenied"] },
    }
    part_access_denied: {
        size: PARTS,
        rules: &[Rule::always(Op::Part, error(403, "AccessDenied")).part(2)],
        end: End::Dies { exit: 12, code: "TL0646", says: &["object", "part 2", "AccessDenied"] },
    }
    signature_does_not_match: {
        before: |server| server.accept_key(KEYS.0, false),
        rules: &[Rule::always(Op::Head, error(403, ""))],
        end: End::Dies { exit: 12, code: "TL0646", says: &["object", "SignatureDoesNotMatch"] },
    }
    key_is_unknown: {
        before: |server| server.accept_key("AKIAOTHEROTHEROTHERX", true),
        end: End::Dies { exit: 12, code: "TL0646", says: &["object", "InvalidAccessKeyId"] },
    }
    may_not_look: { rules: &[Rule::always(Op::Head, error(403, ""))], end: End::Leaves {
        exit: 12, code: "TL0646", says: &["object"], versions: 1, uploads: 0,
    } }
    put_bad_digest_once: { rules: &[Rule::once(Op::Put, error(400, "BadDigest"))], end: End::Heals(&[(Op::Put, 2)]) }
    put_bad_digest: {
        rules: &[Rule::always(Op::Put, error(400, "BadDigest"))],
        end: End::Dies { exit: 1, code: "TL0647", says: &["object", "BadDigest"] },
    }
    part_bad_digest: {
        size: PARTS,
        rules: &[Rule::always(Op::Part, error(400, "BadDigest")).part(1)],
        end: End::Dies { exit: 1, code: "TL0647", says: &["object", "part 1", "BadDigest"] },
    }
    bucket_is_in_another_region: { rules: &[Rule::once(Op::Put, EUROPE)], end: End::Heals(&[(Op::Put, 2)]) }
    create_in_another_region: { size: PARTS, rules: &[Rule::once(Op::Create, EUROPE)], end: End::Heals(&[(Op::Create, 2)]) }
    bucket_is_elsewhere_for_ever: {
        rules: &[Rule::always(Op::Put, ELSEWHERE)],
        end: End::Dies { exit: 1, code: "TL0647", says: &["object", "TemporaryRedirect"] },
    }
    bucket_is_missing: {
        before: |server| server.remove_bucket(VAULT),
        end: End::Dies { exit: 10, code: "TL0658", says: &["object", "NoSuchBucket"] },
    }
    no_such_upload_on_a_part: {
        size: PARTS,
        rules: &[Rule::always(Op::Part, error(404, "NoSuchUpload")).part(2)],
        end: End::Dies { exit: 1, code: "TL0647", says: &["object", "part 2", "NoSuchUpload"] },
    }
    put_conflict_once: {
        rules: &[Rule::once(Op::Put, error(409, "ConditionalRequestConflict"))],
        end: End::Heals(&[(Op::Put, 2)]),
    }
    put_operation_aborted_once: {
        rules: &[Rule::once(Op::Put, error(409, "OperationAborted"))],
        end: End::Heals(&[(Op::Put, 2)]),
    }
    complete_conflict: {
        size: PARTS,
        rules: &[Rule::always(Op::Complete, error(409, "ConditionalRequestConflict"))],
        end: End::Dies { exit: 1, code: "TL0647", says: &["object", "ConditionalRequestConflict"] },
    }
}

// Successes that are failures, and failures that are successes.
cases! {
    put_page_of_a_proxy_200: { rules: &[Rule::once(Op::Put, Action::Html(200))], end: End::Heals(&[(Op::Put, 2)]) }
    put_page_of_a_proxy_200_for_ever: {
        rules: &[Rule::always(Op::Put, Action::Html(200))],
        end: End::Dies { exit: 1, code: "TL0647", says: &["object", "ETag"] },
    }
    put_without_etag: { rules: &[Rule::always(Op::Put, Action::NoEtag)], end: End::Heals(&[(Op::Put, 1)]) }
    part_without_etag_once: { size: PARTS, rules: &[Rule::once(Op::Part, Action::NoEtag).part(1)], end: End::Heals(&[(Op::Part, 4)]) }
    put_wrong_etag_beside_the_right_checksum: {
        rules: &[Rule::once(Op::Put, Action::WrongEtag)],
        end: End::Dies { exit: 1, code: "TL0647", says: &["object", "ETag"] },
    }
    part_wrong_etag_beside_the_right_checksum: {
        size: PARTS,
        rules: &[Rule::once(Op::Part, Action::WrongEtag).part(2)],
        end: End::Dies { exit: 1, code: "TL0647", says: &["object", "InvalidPart"] },
    }
    put_wrong_etag_md5: { store: ", checksum: md5", rules: &[Rule::once(Op::Put, Action::WrongEtag)], end: End::Heals(&[(Op::Put, 2)]) }
    part_wrong_etag_md5: {
        size: PARTS,
        store: ", checksum: md5",
        rules: &[Rule::once(Op::Part, Action::WrongEtag).part(2)],
        end: End::Heals(&[(Op::Part, 4)]),
    }
    put_wrong_checksum: { rules: &[Rule::once(Op::Put, Action::WrongChecksum)], end: End::Heals(&[(Op::Put, 2)]) }
    put_wrong_checksum_without_versions: {
        bucket: PLAIN,
        rules: &[Rule::once(Op::Put, Action::WrongChecksum)],
        end: End::Heals(&[(Op::Put, 2)]),
    }
    part_wrong_checksum: { size: PARTS, rules: &[Rule::once(Op::Part, Action::WrongChecksum).part(2)], end: End::Heals(&[(Op::Part, 4)]) }
    put_damaged_on_arrival_once: { rules: &[Rule::once(Op::Put, Action::Damage)], end: End::Heals(&[(Op::Put, 2)]) }
    put_damaged_on_arrival: {
        rules: &[Rule::always(Op::Put, Action::Damage)],
        end: End::Dies { exit: 1, code: "TL0647", says: &["object"] },
    }
    part_damaged_on_arrival: {
        size: PARTS,
        rules: &[Rule::always(Op::Part, Action::Damage).part(2)],
        end: End::Dies { exit: 1, code: "TL0647", says: &["object", "part 2"] },
    }
    put_lost: { rules: &[Rule::once(Op::Put, Action::Lost)], end: End::Heals(&[(Op::Put, 1)]) }
    put_lost_in_silence: { store: HASTY, rules: &[Rule::once(Op::Put, Action::LostInSilence)] }
    put_answer_cut: { rules: &[Rule::once(Op::Put, Action::Cut)], end: End::Heals(&[(Op::Put, 1)]) }
    put_lost_while_it_may_not_be_looked_at_first: {
        rules: &[Rule::once(Op::Put, Action::Lost), Rule::once(Op::Head, error(503, "")).nth(2).times(2)],
        end: End::Heals(&[(Op::Put, 1)]),
    }
    put_lost_and_another_is_there: {
        // Without its token nobody can tell whose object it is.
        rules: &[
            Rule::once(Op::Put, Action::DropMetadata),
            Rule::once(Op::Put, Action::Lost).nth(2),
            Rule::once(Op::Head, error(404, "")),
        ],
    }
    somebody_else_was_first: {
        rules: &[Rule::once(Op::Put, error(412, "PreconditionFailed"))],
        end: End::Dies { exit: 1, code: "TL0632", says: &["object"] },
    }
    complete_finds_that_somebody_else_was_first: {
        size: PARTS,
        rules: &[Rule::once(Op::Complete, error(412, "PreconditionFailed"))],
        end: End::Dies { exit: 1, code: "TL0632", says: &["object"] },
    }
    part_lost: { size: PARTS, rules: &[Rule::once(Op::Part, Action::Lost).part(2)], end: End::Heals(&[(Op::Part, 4)]) }
    put_duplicate_headers: { rules: &[Rule::always(Op::Put, Action::Twice)], end: End::Heals(&[(Op::Put, 1)]) }
    part_duplicate_headers_once: { size: PARTS, rules: &[Rule::once(Op::Part, Action::Twice).part(2)] }
    part_duplicate_headers: {
        size: PARTS,
        rules: &[Rule::always(Op::Part, Action::Twice).part(2)],
        end: End::Dies { exit: 1, code: "TL0647", says: &["object", "part 2"] },
    }

    put_condition_ignored: { rules: &[Rule::always(Op::Put, Action::IgnoreCondition)] }
}

// Completion.
cases! {
    complete_ok_with_an_internal_error: {
        size: PARTS,
        rules: &[Rule::once(Op::Complete, Action::OkError("InternalError"))],
        end: End::Heals(&[(Op::Complete, 2)]),
    }
    complete_ok_with_slow_down: {
        size: PARTS,
        rules: &[Rule::once(Op::Complete, Action::OkError("SlowDown")).times(4)],
        end: End::Heals(&[(Op::Complete, 5)]),
    }
    complete_ok_with_an_error_for_ever: {
        size: PARTS,
        rules: &[Rule::always(Op::Complete, Action::OkError("InternalError"))],
        end: End::Dies { exit: 1, code: "TL0647", says: &["object", "InternalError"] },
    }
    complete_ok_with_access_denied: {
        size: PARTS,
        rules: &[Rule::always(Op::Complete, Action::OkError("AccessDenied"))],
        end: End::Dies { exit: 12, code: "TL0646", says: &["object", "AccessDenied"] },
    }
    complete_empty_and_done: {
        size: PARTS,
        rules: &[Rule::once(Op::Complete, Action::OkEmpty(Work::Done))],
        end: End::Heals(&[(Op::Complete, 1)]),
    }
    complete_empty_and_undone: {
        size: PARTS,
        rules: &[Rule::once(Op::Complete, Action::OkEmpty(Work::Undone))],
        end: End::Heals(&[(Op::Complete, 2)]),
    }
    complete_cut_and_done: {
        size: PARTS,
        rules: &[Rule::once(Op::Complete, Action::OkCut(Work::Done))],
        end: End::Heals(&[(Op::Complete, 1)]),
    }
    complete_cut_and_undone: {
        size: PARTS,
        rules: &[Rule::once(Op::Complete, Action::OkCut(Work::Undone))],
        end: End::Heals(&[(Op::Complete, 2)]),
    }
    complete_half_and_done: {
        size: PARTS,
        rules: &[Rule::once(Op::Complete, Action::OkHalf(Work::Done))],
        end: End::Heals(&[(Op::Complete, 1)]),
    }
    complete_half_and_undone: {
        size: PARTS,
        rules: &[Rule::once(Op::Complete, Action::OkHalf(Work::Undone))],
        end: End::Heals(&[(Op::Complete, 2)]),
    }
    complete_lost: {
        size: PARTS,
        rules: &[Rule::once(Op::Complete, Action::Lost)],
        end: End::Heals(&[(Op::Complete, 1)]),
    }
    complete_lost_in_silence: { size: PARTS, store: BRIEF, rules: &[Rule::once(Op::Complete, Action::LostInSilence)] }
    complete_never_answered: { size: PARTS, store: BRIEF, rules: &[Rule::once(Op::Complete, Action::Silence)] }
    complete_headers_then_silence: {
        size: PARTS,
        rules: &[Rule::once(Op::Complete, Action::SlowAnswer(7000))],
        end: End::Heals(&[(Op::Complete, 1)]),
    }
    complete_late: { size: PARTS, store: BRIEF, rules: &[Rule::once(Op::Complete, Action::Late(3000))] }
    complete_spaces_first: { size: PARTS, store: BRIEF, rules: &[Rule::once(Op::Complete, Action::Spaces(30))] }
    create_lost_leaves_no_upload: {
        size: PARTS,
        rules: &[Rule::once(Op::Create, Action::Lost)],
    }
    create_without_upload_id: {
        size: PARTS,
        rules: &[Rule::once(Op::Create, Action::Html(200))],
    }
    abort_lost: {
        size: PARTS,
        rules: &[Rule::always(Op::Part, error(403, "AccessDenied")).part(2), Rule::once(Op::Abort, Action::Lost)],
        end: End::Dies { exit: 12, code: "TL0646", says: &["object", "part 2", "AccessDenied"] },
    }
    abort_refused: {
        size: PARTS,
        rules: &[
            Rule::always(Op::Part, error(403, "AccessDenied")).part(2),
            Rule::always(Op::Abort, error(403, "AccessDenied")),
        ],
        end: End::Leaves {
            exit: 12, code: "TL0646", says: &["object", "part 2", "AccessDenied", "left open", "upload-v"], versions: 0, uploads: 1,
        },
    }
}

// How the server stores bytes, and how they are read back.
cases! {
    put_kept_otherwise: {
        rules: &[Rule::once(Op::Put, Action::StoreFlipped)],
        end: End::Leaves { exit: 4, code: "TL0642", says: &["object"], versions: 1, uploads: 0 },
    }
    part_kept_otherwise: {
        size: PARTS,
        rules: &[Rule::once(Op::Part, Action::StoreFlipped).part(2)],
        end: End::Dies { exit: 1, code: "TL0647", says: &["object", "BadDigest"] },
    }
    part_kept_otherwise_md5: {
        // The ETags describe what arrived, and the server knows no better. Reading reveals it.
        size: PARTS,
        store: ", checksum: md5",
        rules: &[Rule::once(Op::Part, Action::StoreFlipped).part(2)],
        end: End::Leaves { exit: 4, code: "TL0642", says: &["object"], versions: 1, uploads: 0 },
    }
    get_cut: { size: PARTS, rules: &[Rule::once(Op::Get, Action::Cut).times(2)] }
    get_stalls: { size: PARTS, store: HASTY, rules: &[Rule::once(Op::Get, Action::Stall)] }
    get_reset: { rules: &[Rule::once(Op::Get, Action::ResetBefore)], end: End::Heals(&[(Op::Get, 2)]) }
    get_cut_for_ever: {
        rules: &[Rule::always(Op::Get, Action::Cut)],
        end: End::Leaves { exit: 1, code: "TL0647", says: &["object"], versions: 1, uploads: 0 },
    }
    get_short_once: {
        rules: &[Rule::once(Op::Get, Action::OkHalf(Work::Done))],
        end: End::Heals(&[(Op::Get, 2)]),
    }
    get_short_for_ever: {
        rules: &[Rule::always(Op::Get, Action::OkHalf(Work::Done))],
        end: End::Leaves { exit: 4, code: "TL0641", says: &["object", "truncated"], versions: 1, uploads: 0 },
    }
    get_finds_nothing: {
        // The server knows the object when asked for its properties.
        rules: &[Rule::always(Op::Get, error(404, "NoSuchKey"))],
        end: End::Leaves { exit: 4, code: "TL0640", says: &["object"], versions: 1, uploads: 0 },
    }
    get_finds_no_bucket: {
        rules: &[Rule::always(Op::Get, error(404, "NoSuchBucket"))],
        end: End::Leaves { exit: 10, code: "TL0658", says: &["object"], versions: 1, uploads: 0 },
    }
    get_gives_other_bytes: {
        rules: &[Rule::always(Op::Get, Action::Flip)],
        end: End::Leaves { exit: 4, code: "TL0642", says: &["object"], versions: 1, uploads: 0 },
    }
    get_denied: {
        rules: &[Rule::always(Op::Get, error(403, "AccessDenied"))],
        end: End::Leaves { exit: 4, code: "TL0643", says: &["object", "AccessDenied"], versions: 1, uploads: 0 },
    }
}

// Servers with fewer features than S3.
cases! {
    put_checksums_ignored: { rules: &[Rule::always(Op::Put, Action::IgnoreChecksums)] }
    parts_checksums_ignored: {
        size: PARTS,
        rules: &[
            Rule::always(Op::Create, Action::IgnoreChecksums),
            Rule::always(Op::Part, Action::IgnoreChecksums),
            Rule::always(Op::Complete, Action::IgnoreChecksums),
        ],
    }
    put_checksums_refused: {
        rules: &[Rule::always(Op::Put, Action::RefuseChecksums(400, "InvalidRequest"))],
        end: End::Heals(&[(Op::Put, 2)]),
    }
    put_checksums_not_implemented: {
        rules: &[Rule::always(Op::Put, Action::RefuseChecksums(501, "NotImplemented"))],
        end: End::Heals(&[(Op::Put, 2)]),
    }
    create_checksums_not_implemented: {
        size: PARTS,
        rules: &[
            Rule::always(Op::Create, Action::RefuseChecksums(501, "NotImplemented")),
            Rule::always(Op::Part, Action::RefuseChecksums(501, "NotImplemented")),
        ],
        end: End::Heals(&[(Op::Create, 2), (Op::Part, 3)]),
    }
    metadata_dropped: {
        size: PARTS,
        rules: &[Rule::always(Op::Put, Action::DropMetadata), Rule::always(Op::Create, Action::DropMetadata)],
    }
    crc32c: { size: PARTS, store: ", checksum: crc32c" }
    sha256: { size: PARTS, store: ", checksum: sha256" }
    md5: { size: PARTS, store: ", checksum: md5" }
    kms: { store: ", sse: kms, kms-key-id: a-key" }
    kms_parts: { size: PARTS, store: ", sse: kms, kms-key-id: a-key" }
    tags_and_class: { size: PARTS, store: ", storage-class: STANDARD_IA, tags: { a: b }" }
    locked: { bucket: SAFE, upload: ", object-lock: { mode: compliance, retain-for: 30d, legal-hold: true }" }
    locked_parts: { size: PARTS, bucket: SAFE, upload: ", object-lock: { mode: governance, retain-for: 30d }" }
    locked_where_nothing_is: {
        upload: ", object-lock: { mode: compliance, retain-for: 30d }",
        end: End::Dies { exit: 1, code: "TL0649", says: &["object"] },
    }
}

/// Bytes that rot in a store.
#[test]
fn rot_is_found_by_who_reads() {
    let server = Fault::start();
    let tl = Tl::new();
    tl.write("data/a", noise(PUT, 7)).write("p.yaml", pipeline(VAULT, &server.endpoint(), LIMITS, "", ""));
    assert_eq!(with_keys(&tl, &["run", "p.yaml"], KEYS).code, 0);
    server.flip_at_rest("object", 600);
    let text = pipeline(VAULT, &server.endpoint(), LIMITS, "", "");
    let (stores, _) = text.split_once("stages:").unwrap();
    tl.write(
        "p.yaml",
        format!(
            "{stores}stages:\n  fetch: {{ uses: download, with: {{ store: cloud, key: object }} }}\n  again: {{ needs: fetch, \
             uses: upload, with: {{ artifact: '${{{{ needs.fetch.outputs.artifact }}}}', store: cloud, key: other }} }}\n"
        ),
    );
    let ended = with_keys(&tl, &["run", "p.yaml", "--reporter", "json"], KEYS);
    let (code, text) = failure(&events(&ended.stdout));
    assert_eq!((ended.code, code.as_str(), text.contains("object")), (4, "TL0642", true), "{ended:#?}");
    assert_eq!(living(&server, VAULT).len(), 1, "what is damaged is not delivered on");
}

/// Every schedule of faults ends with the object. `TL_SCHEDULES` sets the number of schedules. A failure names the
/// seed, and `TL_SEED` runs that one alone.
#[test]
fn random_schedules() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, count) = match number("TL_SEED") {
        Some(seed) => (seed, 1),
        None => (1, number("TL_SCHEDULES").unwrap_or(100)),
    };
    println!("seeds {first} to {}", first + count - 1);
    let next = AtomicU64::new(first);
    let failures = std::sync::Mutex::new(Vec::new());
    let faults = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= first + count {
                        break;
                    }
                    match std::panic::catch_unwind(|| schedule(seed)) {
                        Ok(happened) => faults.fetch_add(happened, Ordering::SeqCst),
                        Err(_) => {
                            failures.lock().unwrap().push(seed);
                            0
                        }
                    };
                }
            });
        }
    });
    println!("{} faults", faults.load(Ordering::SeqCst));
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "schedules that did not end well, by seed: {failures:?}");
    assert!(count == 1 || faults.load(Ordering::SeqCst) >= count, "hardly anything went wrong");
}

/// Runs a schedule. Returns the number of faults.
fn schedule(seed: u64) -> u64 {
    const LIMITS: &str = "request-timeout: 2s, minimum-speed: 4MiB, retry-for: 60s";
    let server = Fault::start();
    let checksum = ["auto", "crc32c", "sha256", "md5"][usize::try_from(seed / 2 % 4).unwrap()];
    let mut chaos = Chaos::survivable(seed, 12);
    if checksum == "md5" {
        // With a good checksum, a wrong ETag is believed until the end and then fails the upload. So only MD5 gets this
        // fault.
        [Op::Put, Op::Part].into_iter().for_each(|op| chaos.rates.push((op, Action::WrongEtag, 0.03)));
    }
    server.chaos(chaos);
    let tl = Tl::new();
    let content = noise(if seed.is_multiple_of(2) { PARTS } else { PUT }, seed);
    let checksum = format!(", checksum: {checksum}");
    tl.write("data/a", &content).write("p.yaml", pipeline(VAULT, &server.endpoint(), LIMITS, &checksum, ""));
    let ended = with_keys(&tl, &["run", "p.yaml", "--reporter", "json"], KEYS);
    assert_eq!(ended.code, 0, "seed {seed}: {:?}\n{ended:#?}", server.faults());
    whole(&server, VAULT, &content, &events(&ended.stdout));
    server.faults().len() as u64
}
