//! `tl explain`: its output, and that its examples do what they claim. Each example runs as printed, in its own folder,
//! as an unprivileged user.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use regex::Regex;
use timelocker::diagnostic::Code;
use timelocker::explain::{Example, Explanation, all};

use crate::support::{Ended, Tl, ended, files, root};

/// Wrong examples that not every machine can run, each with the test that shows its code: file and name.
const SHOWN_BY_A_TEST: &[(&str, &str, &str)] = &[
    ("TL0601", "tests/integration/run/runs.rs", "ctrl_c_stops_cleanly_and_finally_still_runs"),
    ("TL0319", "tests/integration/language/semantics.rs", "git_has_a_time_limit"),
    // Reports show the reason of a cancelled instance instead of this code.
    (
        "TL0603",
        "tests/integration/language/semantics.rs",
        "fail_fast_ends_running_instances_with_their_programs_and_starts_no_more",
    ),
    ("TL0634", "tests/integration/storage/peers.rs", "a_full_store_keeps_nothing_partial"),
    ("TL0635", "src/storage/dir/deliver.rs", "an_object_is_there_whole_or_not_at_all"),
    ("TL0646", "tests/integration/storage/s3/faults.rs", "put_access_denied"),
    ("TL0647", "tests/integration/storage/s3/faults.rs", "put_bad_digest"),
    ("TL0658", "tests/integration/storage/s3/faults.rs", "bucket_is_missing"),
    ("TL0659", "tests/integration/storage/s3/resume.rs", "what_cannot_be_taken_back_is_told_and_not_forgotten"),
    ("TL0736", "tests/integration/run/secrets.rs", "a_terminal_is_asked_twice_and_shows_nothing"),
    ("TL0739", "tests/integration/run/secrets.rs", "a_terminal_is_asked_twice_and_shows_nothing"),
    ("TL0744", "tests/integration/cli/versions.rs", "on_a_terminal_it_asks_and_looks_again"),
    // There is no older version than the first.
    ("TL0747", "src/cli/file/migrate.rs", "files_are_written_whole_with_leave_and_all_or_none"),
    ("TL0754", "tests/integration/run/cancel.rs", "a_run_that_takes_its_time_is_told"),
    ("TL0903", "src/engine/dispatcher.rs", "a_panic_is_one_failed_stage"),
];

/// Wrong examples that no machine can run on demand, each with the reason.
const SHOWN_BY_NOTHING: &[(&str, &str)] = &[
    ("TL0608", "the user's limit of processes, which counts what else that user runs"),
    ("TL0655", "a server that takes an object and then describes another"),
    ("TL0672", "two processes that reach for one message in the same moment"),
    ("TL0702", "a log that is locked for half a minute"),
    ("TL0713", "a terminal"),
    ("TL0777", "a mistake in tl"),
    ("TL0901", "a mistake in tl"),
    ("TL0902", "a mistake in tl"),
];

/// Codes that follow another one: later messages wait because an earlier one was not delivered, and a warning precedes
/// the failure that it causes.
const COMPANIONS: &[(&str, &str)] = &[("TL0609", "TL0613"), ("TL0673", "TL0670"), ("TL0676", "TL0764")];

static GIVEN: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?:error|warning)\[(TL\d{4})\]").unwrap());
static NAMED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bcodes::(TL\d{4})\b").unwrap());

fn is_run(code: &str) -> bool {
    !SHOWN_BY_A_TEST.iter().any(|(other, ..)| *other == code)
        && !SHOWN_BY_NOTHING.iter().any(|(other, _)| *other == code)
}

/// The codes that the program uses.
fn codes_in_source() -> BTreeSet<String> {
    let src = root().join("src");
    let sources = files(&src).into_iter().filter(|name| name.ends_with(".rs") && !name.ends_with("tests.rs"));
    let mut codes = BTreeSet::new();
    for name in sources {
        let text = fs::read_to_string(src.join(name)).unwrap();
        let code = text.split("\n#[cfg(test)]\n").next().unwrap_or_default();
        codes.extend(NAMED.captures_iter(code).map(|found| found[1].to_owned()));
    }
    codes
}

/// Writes the files of an example and runs its commands as one script.
fn run(example: &Example, options: &str) -> (Tl, Ended) {
    let tl = Tl::unprivileged();
    for file in &example.files {
        tl.write(file.name, file.text);
    }
    let ended = ended(&mut tl.shell(&format!("{options}{}", example.commands.join("\n"))));
    (tl, ended)
}

/// Lets whoever runs the tests delete what an example left.
fn tidy(tl: &Tl) {
    assert!(tl.shell(r"find . -type d ! -perm -700 -exec chmod u+rwx {} \;").status().unwrap().success());
}

fn given(ended: &Ended) -> BTreeSet<String> {
    let text = format!("{}{}", ended.stdout, ended.stderr);
    GIVEN.captures_iter(&text).map(|found| found[1].to_owned()).collect()
}

/// Asks a question about every explanation, several at a time. Returns the joined answers.
fn of_each(question: impl Fn(&Explanation) -> Option<String> + Sync) -> String {
    let next = AtomicUsize::new(0);
    let worker = || {
        std::iter::from_fn(|| all().get(next.fetch_add(1, Ordering::SeqCst))).filter_map(&question).collect::<String>()
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    })
}

#[test]
fn each_code_has_a_text_and_each_text_a_code() {
    let texts: BTreeSet<String> = all().iter().map(|explanation| explanation.code.to_string()).collect();
    assert_eq!(texts.len(), all().len(), "a code has two texts");
    let codes = codes_in_source();
    let without: Vec<_> = codes.difference(&texts).collect();
    assert!(without.is_empty(), "write src/explain/codes/CODE.md and its line in code.rs for {without:?}");
    let unused: Vec<_> = texts.difference(&codes).collect();
    assert!(unused.is_empty(), "nothing in src gives {unused:?}");
    for explanation in all() {
        let file = root().join(format!("src/explain/codes/{}.md", explanation.code));
        let text = fs::read_to_string(file).unwrap();
        assert!(
            text.starts_with(&format!("# {}: ", explanation.code)),
            "{} is in the file of another",
            explanation.code
        );
    }
}

#[test]
fn no_two_codes_have_the_same_title() {
    let mut titles: BTreeMap<&str, Code> = BTreeMap::new();
    for explanation in all() {
        if let Some(other) = titles.insert(explanation.title, explanation.code) {
            panic!("{other} and {} are both `{}`", explanation.code, explanation.title);
        }
    }
}

#[test]
fn a_wrong_example_gives_its_code_and_no_other() {
    let differ = of_each(|explanation| {
        let code = &explanation.code.to_string();
        if !is_run(code) {
            return None;
        }
        let (tl, ended) = run(&explanation.wrong, "");
        tidy(&tl);
        let companion = COMPANIONS.iter().find(|(with, _)| *with == code).map(|(_, companion)| (*companion).to_owned());
        let expected: BTreeSet<String> = companion.into_iter().chain([code.to_owned()]).collect();
        let found = given(&ended);
        (found != expected).then(|| format!("{code} gives {found:?}\n{}{}\n", ended.stdout, ended.stderr))
    });
    assert!(differ.is_empty(), "{differ}");
}

#[test]
fn a_right_example_works() {
    let differ = of_each(|explanation| {
        // Examples that need git run in the peer tests: a fresh machine has no git.
        if !cfg!(feature = "peers") && explanation.right.commands.iter().any(|line| line.starts_with("git ")) {
            return None;
        }
        let (tl, ended) = run(&explanation.right, "set -e\n");
        tidy(&tl);
        let mut report = format!("{}{}", ended.stdout, ended.stderr);
        let mut is_right = ended.code == 0 && !given(&ended).contains(&explanation.code.to_string());
        let pipelines = explanation.right.files.iter().filter(|file| file.name.ends_with(".yaml"));
        for file in pipelines.filter(|file| tl.file(file.name).exists()) {
            let validated = tl.run(&["validate", file.name]);
            is_right &= validated.code == 0;
            report.push_str(&validated.stderr);
        }
        (!is_right).then(|| format!("{} ends with {}\n{report}\n", explanation.code, ended.code))
    });
    assert!(differ.is_empty(), "{differ}");
}

#[test]
fn what_is_not_run_is_shown_elsewhere_or_says_why_not() {
    let codes: Vec<String> = all().iter().map(|explanation| explanation.code.to_string()).collect();
    for (code, file, name) in SHOWN_BY_A_TEST {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let is_there = text.contains(&format!("fn {name}(")) || text.contains(&format!("    {name}: {{"));
        assert!(is_there && codes.iter().any(|known| known == code), "{code}: there is no test {name} in {file}");
    }
    for (code, why) in SHOWN_BY_NOTHING {
        assert!(codes.iter().any(|known| known == code) && !why.is_empty(), "{code}");
        assert!(!SHOWN_BY_A_TEST.iter().any(|(other, ..)| other == code), "{code} stands in both lists");
    }
}

#[test]
fn an_explanation_reads_well() {
    let tl = Tl::new();
    for (name, code) in [("file", "TL0207"), ("commands", "TL0622"), ("several_files", "TL0671")] {
        insta::assert_snapshot!(format!("explain_{name}"), tl.ok(&["explain", code]).stdout);
    }
    let json: serde_json::Value = serde_json::from_str(&tl.ok(&["explain", "TL0671", "--json"]).stdout).unwrap();
    let explanation = all().iter().find(|explanation| explanation.code.to_string() == "TL0671").unwrap();
    assert_eq!(json, serde_json::to_value(explanation).unwrap());
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["code", "title", "cause", "wrong", "right"]);
}

#[test]
fn every_code_is_listed() {
    let tl = Tl::new();
    let listed = tl.ok(&["explain", "--list"]).stdout;
    assert_eq!(listed.lines().count(), all().len());
    assert!(listed.contains("TL0207: an unknown key\n"), "{listed}");
    let json: serde_json::Value = serde_json::from_str(&tl.ok(&["explain", "--list", "--json"]).stdout).unwrap();
    let codes = json["codes"].as_array().unwrap();
    let lines: Vec<String> = codes
        .iter()
        .map(|about| format!("{}: {}\n", about["code"].as_str().unwrap(), about["title"].as_str().unwrap()))
        .collect();
    assert_eq!(lines.concat(), listed);
}

#[test]
fn a_code_may_be_spelled_in_many_ways_and_what_is_none_is_hinted_at() {
    let tl = Tl::new();
    let expected = tl.ok(&["explain", "TL0207"]).stdout;
    for word in ["tl0207", "tl207", "0207", "207", "E0207", "error[TL0207]:"] {
        assert_eq!(tl.ok(&["explain", word]).stdout, expected, "{word}");
    }
    for (name, word) in [("number", "TL0299"), ("letter", "TLO207"), ("word", "recipients")] {
        let ended = tl.run(&["explain", word]);
        assert_eq!(ended.code, 2, "{word}");
        insta::assert_snapshot!(format!("explain_unknown_{name}"), ended.shown(&tl));
    }
    for arguments in [&["explain"][..], &["explain", "TL0207", "--list"], &["explain", "TL0207", "TL0208"]] {
        assert_eq!(tl.run(arguments).code, 2, "{arguments:?}");
    }
}
