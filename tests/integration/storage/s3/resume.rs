//! Resumed uploads: after kill -9, a failure, or a cancel. And uploads that cannot be resumed.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use timelocker::state::StateDir;

use super::delivery::{LIMITS, failure, living, pipeline, whole};
use crate::support::faulty_s3::{Action, Fault, Op, PLAIN, Rule, SAFE, Server, VAULT};
use crate::support::{Ended, KEYS, Tl, error_of, events, keyed, kill, noise, wait_for, with_keys};

/// Three parts of 5 MiB, the last one shorter.
const SIZE: usize = 12 << 20;
/// The third part is accepted but never answered.
const NO_ANSWER: Rule = Rule::once(Op::Part, Action::Silence).part(3);
const BUSY: Action = Action::Error(503, "SlowDown", &[]);
const REFUSED: Action = Action::Error(403, "AccessDenied", &[]);
/// The first fault of a request is final.
const AT_ONCE: &str = "request-timeout: 20s, retry-for: 0s";
const RESUME: &str = ", resume: true";

/// A pipeline and the server to which it delivers.
struct Delivery {
    tl: Tl,
    server: Server,
    content: Vec<u8>,
    bucket: &'static str,
}

impl Delivery {
    fn new() -> Self {
        Self::with(VAULT, LIMITS, "", RESUME)
    }

    /// `store` and `upload` are further settings, each after a comma.
    fn with(bucket: &'static str, limits: &str, store: &str, upload: &str) -> Self {
        let (tl, server, content) = (Tl::new(), Fault::start(), noise(SIZE, 7));
        tl.write("data/a", &content).write("p.yaml", pipeline(bucket, &server.endpoint(), limits, store, upload));
        Self { tl, server, content, bucket }
    }

    /// Replaces a text in the pipeline file.
    fn set(&self, from: &str, to: &str) {
        let text = self.tl.read("p.yaml");
        assert!(text.contains(from), "{from} is not in {text}");
        self.tl.write("p.yaml", text.replace(from, to));
    }

    fn edit(&self, from: &str, to: &str) -> &Self {
        self.set(from, to);
        self
    }

    fn fails(&self, rule: Rule) {
        self.server.rule(rule);
    }

    fn run(&self, arguments: &[&str]) -> (Ended, Vec<Json>) {
        let ended = with_keys(&self.tl, &[&["run", "--reporter", "json"], arguments].concat(), KEYS);
        let events = events(&ended.stdout);
        (ended, events)
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let arguments = [&["run", "--reporter", "json"], arguments].concat();
        keyed(&self.tl, &arguments, KEYS).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Kills the run when the server has the first two parts.
    fn killed(&self) -> &Self {
        self.server.rule(NO_ANSWER);
        let mut child = self.start(&["p.yaml"]);
        self.wait_for_part(3, 0);
        kill(&mut child);
        self
    }

    fn wait_for_part(&self, part: u32, status: u16) {
        let came = |part, status| self.parts().contains(&(part, status));
        wait_for(|| (1..part).all(|part| came(part, 200)) && came(part, status));
    }

    /// The parts that arrived, and the status of each answer.
    fn parts(&self) -> Vec<(u32, u16)> {
        let parts = self.server.requests().into_iter().filter(|seen| seen.op == Op::Part);
        parts.map(|seen| (seen.part.unwrap(), seen.status)).collect()
    }

    /// Resumes the run and checks that it ends with the object and nothing else. Returns the parts that this took.
    fn resumed(&self) -> Vec<u32> {
        let before = self.parts().len();
        let (ended, events) = self.run(&["--resume"]);
        assert_eq!(ended.code, 0, "{ended:#?}\n{:?}", self.server.requests());
        self.is_whole(&events);
        let mut parts: Vec<u32> = self.parts()[before..].iter().map(|(part, _)| *part).collect();
        parts.sort_unstable();
        parts
    }

    fn is_whole(&self, events: &[Json]) {
        whole(&self.server, self.bucket, &self.content, events);
        assert_eq!(self.on_record(), 0);
        self.tl.ok(&["audit", "verify"]);
    }

    /// The open uploads in the journal.
    fn on_record(&self) -> usize {
        let state = StateDir::locate(Some(&self.tl.state())).unwrap();
        state.unfinished_uploads("test", &self.tl.file("p.yaml").canonicalize().unwrap()).unwrap().len()
    }

    /// The parts and bytes that were reused, according to the audit log.
    fn kept(&self) -> Option<(u64, u64)> {
        let shown = self.tl.ok(&["audit", "show", "--type", "upload.resumed", "--last", "1", "--json"]).stdout;
        let record: Json = serde_json::from_str(shown.lines().next()?).unwrap();
        Some((record["data"]["parts"].as_u64().unwrap(), record["data"]["bytes"].as_u64().unwrap()))
    }

    fn count(&self, op: Op) -> usize {
        self.server.count(op)
    }
}

#[test]
fn only_what_the_store_lacks_is_sent_after_a_kill() {
    for (store, page, sent) in [
        ("", 1000, &[3][..]),
        // The server lists one part at a time.
        ("", 1, &[3]),
        (", checksum: crc32c", 1000, &[3]),
        (", checksum: sha256", 1000, &[3]),
        // Compared by their `ETag`s.
        (", checksum: md5", 1000, &[3]),
        (", sse: kms", 1000, &[3]),
        // Nothing that the store reports describes their bytes.
        (", sse: kms, checksum: md5", 1000, &[1, 2, 3]),
    ] {
        let delivery = Delivery::with(VAULT, LIMITS, store, RESUME);
        delivery.server.set_page(page);
        delivery.killed();
        assert_eq!((delivery.server.open_uploads(), delivery.on_record()), (1, 1), "{store}");
        assert_eq!(delivery.resumed(), sent, "{store}");
        assert_eq!((delivery.count(Op::Create), delivery.count(Op::Complete)), (1, 1), "{store}");
        assert_eq!(delivery.count(Op::ListParts), if page == 1 { 2 } else { 1 }, "{store}");
        assert_eq!(delivery.kept(), (sent.len() == 1).then_some((2, 10 << 20)), "{store}");
    }
}

#[test]
fn a_part_that_is_another_one_is_sent_again() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, u32, Change); 4] = [
        ("other bytes", 2, |bytes| bytes[7] ^= 1),
        ("shorter", 1, |bytes| bytes.truncate(5 << 19)),
        ("longer", 2, |bytes| bytes.push(0)),
        ("gone", 1, Vec::clear),
    ];
    for store in ["", ", checksum: md5"] {
        for (what, part, change) in changes {
            let delivery = Delivery::with(VAULT, LIMITS, store, RESUME);
            delivery.killed().server.change_part(VAULT, part, change);
            assert_eq!(delivery.resumed(), [part, 3], "{what}{store}");
            assert_eq!(delivery.kept().unwrap().0, 1, "{what}{store}");
        }
    }
}

#[test]
fn what_cannot_go_on_starts_over_and_is_taken_back() {
    const UNKNOWN: Action = Action::Error(501, "NotImplemented", &[]);
    type Change = fn(&Delivery);
    let changes: [(&str, Change); 7] = [
        ("gone", |delivery| delivery.server.abort_all()),
        ("nobody may list", |delivery| delivery.fails(Rule::once(Op::ListParts, REFUSED))),
        ("no list", |delivery| delivery.fails(Rule::once(Op::ListParts, UNKNOWN))),
        ("part size", |delivery| delivery.set("part-size: 5MiB", "part-size: 6MiB")),
        ("checksum", |delivery| delivery.set("part-size:", "checksum: crc32c, part-size:")),
        ("properties", |delivery| delivery.set("part-size:", "tags: { a: b }, part-size:")),
        ("not asked for", |delivery| delivery.set(RESUME, "")),
    ];
    for (what, change) in changes {
        let delivery = Delivery::new();
        change(delivery.killed());
        let parts = delivery.resumed();
        assert_eq!(parts.first(), Some(&1), "{what}");
        assert_eq!((delivery.count(Op::Create), delivery.kept()), (2, None), "{what}");
    }
}

#[test]
fn another_artifact_starts_over_and_the_old_upload_is_taken_back() {
    let mut delivery = Delivery::new();
    delivery.killed();
    let run = delivery.tl.last_run();
    std::fs::remove_file(delivery.tl.file("state/work").join(run).join("collect-1-1.artifact")).unwrap();
    delivery.content = noise(SIZE + 1, 8);
    delivery.tl.write("data/a", &delivery.content);
    assert_eq!(delivery.resumed(), [1, 2, 3]);
    assert_eq!((delivery.count(Op::Create), delivery.kept()), (2, None));
}

#[test]
fn a_list_that_may_come_later_is_waited_for() {
    let delivery = Delivery::new();
    delivery.killed().server.rule(Rule::once(Op::ListParts, BUSY));
    assert_eq!((delivery.resumed(), delivery.count(Op::ListParts)), (vec![3], 2));

    let delivery = Delivery::with(VAULT, AT_ONCE, "", RESUME);
    delivery.killed().server.rule(Rule::once(Op::ListParts, BUSY));
    let (ended, events) = delivery.run(&["--resume"]);
    assert_eq!((ended.code, error_of(&events, "deliver").as_str()), (1, "TL0647"), "{ended:#?}");
    assert_eq!((delivery.server.open_uploads(), delivery.count(Op::Abort)), (1, 0));
    assert_eq!(delivery.resumed(), [3]);
}

/// The same stages as a joined chain, and an upload that may not be resumed: both start over and leave nothing.
#[test]
fn the_next_attempt_goes_on_where_that_is_asked_for() {
    for (upload, sent, creates, aborts) in [(RESUME, 4, 1, 0), (", resume: false", 6, 2, 1)] {
        let delivery = Delivery::with(VAULT, AT_ONCE, "", upload);
        delivery.edit("deliver: { needs", "deliver: { retry: { attempts: 2, delay: 10ms }, needs");
        delivery.server.rule(Rule::once(Op::Part, BUSY).part(3));
        let (ended, events) = delivery.run(&["p.yaml"]);
        assert_eq!(ended.code, 0, "{ended:#?}");
        delivery.is_whole(&events);
        let counts = [Op::Part, Op::Create, Op::Abort].map(|op| delivery.count(op));
        assert_eq!(counts, [sent, creates, aborts], "{upload}");
        // One part failed, whichever it was. Without `resume`, the data went straight through and nothing was reused.
        assert_eq!(delivery.kept().is_some(), upload == RESUME);
    }
}

#[test]
fn what_fails_for_now_is_left_and_says_so() {
    let delivery = Delivery::with(VAULT, AT_ONCE, "", RESUME);
    delivery.server.rule(Rule::once(Op::Part, BUSY).part(3));
    let (ended, events) = delivery.run(&["p.yaml"]);
    let (code, text) = failure(&events);
    assert_eq!((ended.code, code.as_str(), delivery.server.open_uploads()), (1, "TL0647", 1), "{ended:#?}");
    assert!(text.contains("its parts wait for the next attempt, or for `tl run --resume`"), "{text}");
    assert_eq!(delivery.resumed(), [3]);
}

#[test]
fn what_is_stopped_is_left_and_says_so() {
    let delivery = Delivery::new();
    delivery.server.rule(NO_ANSWER);
    let child = delivery.start(&["p.yaml"]);
    delivery.wait_for_part(3, 0);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), delivery.server.open_uploads()), (Some(130), 1), "{said}");
    assert!(said.contains("its parts wait for the next attempt"), "{said}");
    let run = delivery.tl.last_run();
    assert!(said.contains(&format!("`tl run --resume {run}` goes on with its parts")), "{said}");
    assert_eq!(delivery.resumed(), [3]);
}

#[test]
fn what_is_refused_for_good_is_taken_back() {
    let exists = Action::Error(412, "PreconditionFailed", &[]);
    for (rule, exit, code) in [
        (Rule::once(Op::Part, REFUSED).part(2), 12, "TL0646"),
        (Rule::once(Op::Complete, REFUSED), 12, "TL0646"),
        (Rule::once(Op::Complete, exists), 1, "TL0632"),
        (Rule::once(Op::Complete, Action::Error(400, "InvalidPart", &[])), 1, "TL0647"),
        (Rule::once(Op::Complete, Action::Error(409, "ConditionalRequestConflict", &[])), 1, "TL0647"),
        (Rule::always(Op::Part, Action::Damage).part(2), 1, "TL0647"),
    ] {
        let delivery = Delivery::new();
        delivery.server.rule(rule);
        let (ended, events) = delivery.run(&["p.yaml"]);
        assert_eq!((ended.code, failure(&events).0.as_str()), (exit, code), "{rule:?}: {ended:#?}");
        let left = (delivery.server.open_uploads(), living(&delivery.server, VAULT).len(), delivery.on_record());
        assert_eq!(left, (0, 0, 0), "{rule:?}");
    }
    // An upload that cannot be aborted stays in the journal, and is resumed once that works.
    let delivery = Delivery::new();
    delivery.server.rule(Rule::once(Op::Part, REFUSED).part(3)).rule(Rule::always(Op::Abort, REFUSED));
    assert_eq!(delivery.run(&["p.yaml"]).0.code, 12);
    assert_eq!((delivery.server.open_uploads(), delivery.on_record()), (1, 1));
    delivery.server.heal();
    delivery.server.accept_key("ANOTHER", true);
    let (ended, events) = delivery.run(&["--resume"]);
    assert_eq!((ended.code, error_of(&events, "deliver").as_str()), (12, "TL0646"), "{ended:#?}");
    assert_eq!((delivery.server.open_uploads(), delivery.on_record()), (1, 1));
    delivery.server.accept_key(KEYS.0, true);
    assert_eq!(delivery.resumed(), [3]);
}

/// A completion without an answer: a completed object is found, and an incomplete one is completed.
#[test]
fn a_completion_that_nobody_heard_of() {
    for (action, is_done) in [(Action::LostInSilence, true), (Action::Silence, false)] {
        let delivery = Delivery::new();
        delivery.server.rule(Rule::once(Op::Complete, action));
        let mut child = delivery.start(&["p.yaml"]);
        wait_for(|| delivery.count(Op::Complete) == 1);
        kill(&mut child);
        assert_eq!(delivery.resumed(), [0_u32; 0], "{action:?}");
        let counts = [Op::Create, Op::Complete].map(|op| delivery.count(op));
        assert_eq!(counts, [1, if is_done { 1 } else { 2 }], "{action:?}");
    }
}

/// Both deliveries of the run were killed: the first when its object existed, the second just before it replaced that
/// object.
#[test]
fn a_second_delivery_that_was_killed_still_replaces_the_first() {
    let mut delivery = Delivery::with(PLAIN, LIMITS, "", RESUME);
    for (session, action) in [["p.yaml"], ["--resume"]].iter().zip([Action::LostInSilence, Action::Silence]) {
        let before = delivery.count(Op::Complete);
        delivery.server.rule(Rule::once(Op::Complete, action));
        let mut child = delivery.start(session);
        wait_for(|| delivery.count(Op::Complete) > before);
        kill(&mut child);
        if before == 0 {
            let run = delivery.tl.last_run();
            std::fs::remove_file(delivery.tl.file("state/work").join(run).join("collect-1-1.artifact")).unwrap();
            delivery.content = noise(SIZE, 8);
            delivery.tl.write("data/a", &delivery.content);
        }
    }
    assert_eq!((delivery.resumed(), delivery.kept().unwrap().0), (Vec::new(), 3));
}

#[test]
fn a_chain_starts_over_and_takes_back_what_it_left() {
    let delivery = Delivery::with(VAULT, LIMITS, "", "");
    delivery.killed();
    assert_eq!((delivery.server.open_uploads(), delivery.on_record()), (1, 0));
    assert_eq!(delivery.resumed(), [1, 2, 3]);
    assert_eq!((delivery.count(Op::Create), delivery.count(Op::Abort), delivery.kept()), (2, 1, None));
}

#[test]
fn a_lock_counts_from_the_first_attempt_and_another_one_starts_over() {
    let lock = |time: &str| format!("{RESUME}, object-lock: {{ mode: governance, retain-for: {time} }}");
    for (then, creates) in [("30d", 1), ("31d", 2)] {
        let delivery = Delivery::with(SAFE, LIMITS, "", &lock("30d"));
        delivery.killed().edit("retain-for: 30d", &format!("retain-for: {then}"));
        delivery.resumed();
        assert_eq!(delivery.count(Op::Create), creates, "{then}");
    }
}

#[test]
fn a_run_that_takes_the_place_of_another_takes_back_its_upload() {
    let delivery = Delivery::new();
    delivery.edit("key: object", "key: '${{ run.id }}'").killed();
    let old = delivery.tl.last_run();
    let (ended, events) = delivery.run(&["p.yaml"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    delivery.is_whole(&events);
    let log = delivery.tl.ok(&["audit", "show", "--type", "upload.aborted", "--json"]).stdout;
    assert!(log.lines().count() == 1 && log.contains(&old), "{log}");
}

/// The problems that a run reports outside its stages.
fn problems(events: &[Json]) -> Vec<&str> {
    let problems = events.iter().filter(|event| event["event"] == "problem");
    problems.map(|event| event["error"]["code"].as_str().unwrap()).collect()
}

#[test]
fn what_cannot_be_taken_back_is_told_and_not_forgotten() {
    let delivery = Delivery::new();
    delivery.edit("key: object", "key: '${{ run.id }}'").killed();
    delivery.server.rule(Rule::always(Op::Abort, REFUSED));
    let (ended, events) = delivery.run(&["p.yaml"]);
    assert_eq!((ended.code, problems(&events)), (0, vec!["TL0659"]), "{ended:#?}");
    // Only the journal knows of it.
    delivery.tl.ok(&["gc", "--runs", "0s", "--logs", "0s"]);
    assert_eq!((delivery.server.open_uploads(), delivery.on_record()), (1, 1));
    delivery.server.heal();
    let (ended, events) = delivery.run(&["p.yaml"]);
    assert_eq!((ended.code, problems(&events)), (0, vec![]), "{ended:#?}");
    assert_eq!((delivery.server.open_uploads(), delivery.on_record()), (0, 0));

    // The store of that name has become another one.
    let delivery = Delivery::new();
    delivery.killed().edit("bucket: vault", "bucket: plain");
    let (ended, events) = delivery.run(&["p.yaml"]);
    assert_eq!((ended.code, problems(&events)), (0, vec!["TL0659"]), "{ended:#?}");
    assert!(ended.stdout.contains("upload-") && ended.stdout.contains("vault/object"), "{ended:#?}");
    assert_eq!((delivery.server.open_uploads(), delivery.on_record()), (1, 0));
    let abandoned = delivery.tl.ok(&["audit", "show", "--type", "upload.abandoned", "--json"]).stdout;
    assert!(abandoned.contains("upload-") && abandoned.contains("vault/object"), "{abandoned}");
}

#[test]
fn a_stage_of_another_name_goes_on_and_of_one_that_is_gone_nothing_stays() {
    let delivery = Delivery::new();
    delivery
        .killed()
        .edit("deliver:", "send:")
        .edit("needs: deliver", "needs: send")
        .edit("needs.deliver", "needs.send");
    let before = delivery.parts().len();
    let (ended, _) = delivery.run(&["--resume"]);
    assert_eq!((ended.code, delivery.parts().len() - before, delivery.server.open_uploads()), (0, 1, 0), "{ended:#?}");

    let delivery = Delivery::new();
    delivery.killed();
    let text = delivery.tl.read("p.yaml");
    delivery.tl.write("p.yaml", text.split_once("  deliver:").unwrap().0);
    let (ended, _) = delivery.run(&["--resume"]);
    let left = (delivery.server.open_uploads(), delivery.on_record());
    assert_eq!((ended.code, left), (0, (0, 0)), "{ended:#?}");
}

#[test]
fn a_store_that_does_not_answer_is_no_reason_to_deliver_again() {
    for upload in ["", RESUME] {
        let delivery = Delivery::with(VAULT, AT_ONCE, "", upload);
        delivery.tl.write("p.yaml", delivery.tl.read("p.yaml") + "  last: { needs: deliver, run: [test, -e, go] }\n");
        assert_eq!(delivery.run(&["p.yaml"]).0.code, 1);
        let sent = delivery.count(Op::Part);
        delivery.tl.write("go", "");
        delivery.fails(Rule::always(Op::Head, BUSY));
        let (ended, events) = delivery.run(&["--resume"]);
        assert_eq!((ended.code, failure(&events).0.as_str()), (1, "TL0647"), "{ended:#?}");
        delivery.server.heal();
        let (ended, _) = delivery.run(&["--resume"]);
        assert_eq!((ended.code, delivery.count(Op::Part)), (0, sent), "{ended:#?}");
    }
}

#[test]
fn a_directory_starts_over() {
    let tl = Tl::new();
    tl.write("data/a", "hello").pipeline(
        "stages:\n  collect: { uses: archive, with: { sources: [data] } }\n  deliver: { needs: collect, uses: upload, with: { artifact: '${{ \
         needs.collect.outputs.artifact }}', store: shelf, key: object, resume: true } }\n  last: { needs: deliver, run: [test, -e, go] }\n",
    );
    assert_eq!(tl.events(&[]).0, 1);
    let run = tl.last_run();
    let spooled = crate::support::files(&tl.file("state/work").join(run));
    assert!(spooled.contains(&"collect-1-1.artifact".to_owned()), "{spooled:?}");
    // It was removed before the delivery was recorded.
    std::fs::remove_file(tl.file("shelf/object")).unwrap();
    tl.write("go", "").ok(&["run", "--resume"]);
    assert_eq!(crate::support::files(&tl.file("shelf")), ["object", "object.sha256"]);
}

/// `TL_KILLS` sets the number of uploads. The number of each is its seed.
#[test]
fn killed_anywhere_in_an_upload_it_ends_with_the_object_and_nothing_else() {
    let count = std::env::var("TL_KILLS").map_or(12, |count| count.parse::<u64>().unwrap());
    let mut phases: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..count {
        let mut random = fastrand::Rng::with_seed(number);
        let checksum = ["auto", "crc32c", "sha256", "md5"][random.usize(0..4)];
        let mut delivery = Delivery::with(VAULT, LIMITS, &format!(", checksum: {checksum}"), RESUME);
        delivery.content = noise(22 << 20, number);
        delivery.tl.write("data/a", &delivery.content);
        for op in [Op::Create, Op::Part, Op::Complete] {
            delivery.server.rule(Rule::always(op, Action::Late(30)));
        }
        let mut arguments = vec!["p.yaml"];
        for _ in 0..=random.usize(0..3) {
            let requests = delivery.server.requests().len() + random.usize(0..9);
            let mut child = delivery.start(&arguments);
            wait_for(|| delivery.server.requests().len() > requests || child_is_over(&child));
            std::thread::sleep(Duration::from_micros(random.u64(0..40_000)));
            kill(&mut child);
            *phases.entry(format!("{} parts with the server", delivery.parts().len())).or_default() += 1;
            arguments = vec!["--resume"];
        }
        let (ended, all) = delivery.run(&["--resume"]);
        // It had ended before it was killed.
        let is_over = ended.code == 2 && ended.stderr.contains("TL0780");
        assert!(ended.code == 0 || is_over, "seed {number}: {ended:#?}");
        let versions = living(&delivery.server, VAULT);
        let left = (versions.len(), delivery.server.open_uploads(), delivery.on_record());
        assert_eq!(left, (1, 0, 0), "seed {number}: {:?}", delivery.server.requests());
        crate::support::archive_of(&versions[0].bytes, &delivery.content);
        if !is_over {
            delivery.is_whole(&all);
        }
    }
    println!("{count} uploads, numbered from 0, the number is the seed: {phases:?}");
}

/// Whether the process has ended, even if nobody has waited for it.
fn child_is_over(child: &Child) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('Z'))
}

/// No run of a file that is gone, or of a pipeline that has another name, will abort what an earlier one left.
#[test]
fn what_a_renamed_pipeline_left_open_is_shown_and_aborted() {
    for is_gone in [false, true] {
        let delivery = Delivery::new();
        delivery.killed();
        let Delivery { tl, server, .. } = &delivery;
        assert_eq!(server.open_uploads(), 1);
        assert!(!tl.run(&["status"]).stdout.contains("open upload"), "a resume finishes it");
        if is_gone {
            std::fs::rename(tl.file("p.yaml"), tl.file("q.yaml")).unwrap();
        } else {
            let name = tl.read("p.yaml").lines().find(|line| line.starts_with("name: ")).unwrap().to_owned();
            delivery.set(&name, "name: renamed");
        }
        let status = tl.ok(&["status"]).stdout;
        assert!(status.contains("open upload of http://") && status.contains("`tl gc --store`"), "{status}");
        let json: Json = serde_json::from_str(&tl.ok(&["status", "--json"]).stdout).unwrap();
        assert_eq!(json["uploads"].as_array().map(Vec::len), Some(1), "{json}");
        let dry = with_keys(tl, &["gc", "--store", "--dry-run"], KEYS);
        assert!(dry.code == 0 && dry.stdout.contains("would abort 1 open upload"), "{dry:?}");
        // Without its secrets the store is not asked, and the upload stays on record.
        let refused = tl.run(&["gc", "--store"]);
        assert!(refused.code == 1 && refused.stderr.contains("TL0659"), "{refused:?}");
        assert_eq!(server.open_uploads(), 1);
        let aborted = with_keys(tl, &["gc", "--store"], KEYS);
        assert!(aborted.code == 0 && aborted.stdout.contains("aborted 1 open upload"), "{aborted:?}");
        assert_eq!(server.open_uploads(), 0);
        assert!(tl.ok(&["audit", "show", "--type", "upload.aborted"]).stdout.lines().count() == 1);
        tl.ok(&["audit", "verify"]);
        assert!(!tl.run(&["status"]).stdout.contains("open upload"));
    }
}
