//! Every refusal of a run, and where it is found earlier: by `tl validate` in CI, by `tl plan`, by `tl doctor` on the machine; or
//! why it cannot be. The wrong examples of `tl explain` show it.

use std::collections::BTreeSet;

use regex::Regex;
use timelocker::explain::all;

use crate::support::{Ended, Tl, ended};

/// Where a refusal of a run is found before the run.
#[derive(Clone, Copy, Debug)]
enum Earlier {
    /// `tl validate --strict` says this.
    Validate(&'static str),
    /// `tl plan` says this.
    Plan(&'static str),
    /// `tl doctor` says this.
    Doctor(&'static str),
    /// Nowhere, for this reason.
    Not(&'static str),
}

use Earlier::{Doctor, Not, Plan, Validate};

const START: &str = "the command line says it, and it is refused before anything begins";
const MEANWHILE: &str = "it happens while the run goes on";
const PROOF: &str = "it is what a proof is for";
const VALUE: &str = "a stage gives the value";
const OTHERS: &str = "another process has it at that moment";
const WARNING: &str = "a warning: the run goes on";
const OTHER_COMMAND: &str = "another command says it";

const REFUSALS: &[(&str, Earlier)] = &[
    ("TL0105", Validate("TL0105")),
    ("TL0310", Plan("TL0310")),
    ("TL0318", Doctor("TL0318")),
    ("TL0319", Not("it may be over when the run comes")),
    ("TL0320", Not(WARNING)),
    ("TL0501", Plan("TL0501")),
    ("TL0502", Plan("TL0502")),
    ("TL0504", Not(START)),
    ("TL0510", Doctor("TL0510")),
    ("TL0511", Doctor("TL0511")),
    ("TL0512", Doctor("TL0512")),
    ("TL0514", Doctor("TL0514")),
    ("TL0515", Doctor("TL0515")),
    ("TL0516", Doctor("TL0516")),
    ("TL0601", Not(MEANWHILE)),
    ("TL0602", Not(MEANWHILE)),
    ("TL0603", Not(MEANWHILE)),
    ("TL0604", Not(MEANWHILE)),
    ("TL0605", Not(MEANWHILE)),
    ("TL0606", Doctor("TL0606")),
    ("TL0607", Not(MEANWHILE)),
    ("TL0608", Not(MEANWHILE)),
    ("TL0609", Not(MEANWHILE)),
    ("TL0610", Doctor("TL0610")),
    ("TL0611", Doctor("TL0611")),
    ("TL0612", Doctor("TL0612")),
    ("TL0613", Not(MEANWHILE)),
    ("TL0615", Doctor("TL0615")),
    ("TL0616", Doctor("TL0616")),
    ("TL0617", Doctor("TL0617")),
    ("TL0630", Doctor("is not there")),
    ("TL0631", Not(PROOF)),
    ("TL0632", Not("the object may go before the run comes")),
    ("TL0633", Doctor("permission denied")),
    ("TL0634", Not(MEANWHILE)),
    ("TL0636", Not(MEANWHILE)),
    ("TL0637", Plan("TL0637")),
    ("TL0638", Not(PROOF)),
    ("TL0639", Not(MEANWHILE)),
    ("TL0640", Not(PROOF)),
    ("TL0641", Not(PROOF)),
    ("TL0642", Not(PROOF)),
    ("TL0643", Not(PROOF)),
    ("TL0644", Not(PROOF)),
    ("TL0645", Doctor("Connection refused")),
    ("TL0648", Doctor("nowhere.pem`: it cannot be read")),
    ("TL0649", Validate("TL0649")),
    ("TL0650", Doctor("TL0650")),
    ("TL0651", Not(MEANWHILE)),
    ("TL0652", Not(VALUE)),
    ("TL0653", Plan("TL0653")),
    ("TL0654", Doctor("there are no credentials")),
    ("TL0655", Not(MEANWHILE)),
    ("TL0657", Not(PROOF)),
    ("TL0659", Not(WARNING)),
    ("TL0660", Not(VALUE)),
    ("TL0672", Not(OTHERS)),
    ("TL0673", Not(WARNING)),
    ("TL0674", Not(WARNING)),
    ("TL0675", Plan("TL0675")),
    ("TL0701", Doctor("TL0701")),
    ("TL0702", Not(OTHERS)),
    ("TL0703", Doctor("TL0703")),
    ("TL0705", Not(OTHER_COMMAND)),
    ("TL0706", Doctor("TL0706")),
    ("TL0707", Doctor("TL0707")),
    ("TL0708", Not(WARNING)),
    ("TL0709", Not(VALUE)),
    ("TL0714", Not(OTHER_COMMAND)),
    ("TL0717", Doctor("TL0717")),
    ("TL0718", Doctor("TL0718")),
    ("TL0719", Doctor("TL0719")),
    ("TL0721", Not(START)),
    ("TL0722", Not(OTHERS)),
    ("TL0728", Not(MEANWHILE)),
    ("TL0742", Not(OTHER_COMMAND)),
    ("TL0743", Not(OTHER_COMMAND)),
    ("TL0744", Not(OTHER_COMMAND)),
    ("TL0745", Not(OTHER_COMMAND)),
    ("TL0748", Not(OTHER_COMMAND)),
    ("TL0752", Not(OTHER_COMMAND)),
    ("TL0753", Not(WARNING)),
    ("TL0754", Not(OTHER_COMMAND)),
    ("TL0755", Not(OTHER_COMMAND)),
    ("TL0763", Not(OTHER_COMMAND)),
    ("TL0770", Not(START)),
    ("TL0771", Not(START)),
    ("TL0772", Not(START)),
    ("TL0773", Not(START)),
    ("TL0774", Not(START)),
    ("TL0780", Not(START)),
    ("TL0781", Not(START)),
    ("TL0782", Not(OTHERS)),
    ("TL0783", Not(START)),
    ("TL0784", Not(WARNING)),
    ("TL0785", Not(WARNING)),
    ("TL0790", Not(START)),
    ("TL0901", Not("a mistake of tl")),
    ("TL0903", Not("a mistake of tl")),
];

/// `tl run` in a line of an example, with a state folder if it names one.
fn run_in(line: &str) -> Option<regex::Match<'_>> {
    static RUN: std::sync::LazyLock<Regex> =
        std::sync::LazyLock::new(|| Regex::new(r"\btl (--state \w+ )?run\b").unwrap());
    RUN.find(line)
}

#[test]
fn the_table_has_every_refusal_of_a_run() {
    let shown = all().iter().filter(|page| page.wrong.commands.iter().any(|line| run_in(line).is_some()));
    let shown: BTreeSet<String> = shown.map(|page| page.code.to_string()).collect();
    let listed: BTreeSet<String> = REFUSALS.iter().map(|(code, _)| (*code).to_owned()).collect();
    assert_eq!(shown, listed);
    assert!(REFUSALS.iter().all(|(_, earlier)| !matches!(earlier, Not(""))));
}

/// The example with another command in place of its run.
fn tried(code: &str, command: &str) -> Ended {
    let page = all().iter().find(|page| page.code.to_string() == code).unwrap();
    let tl = Tl::unprivileged();
    for file in &page.wrong.files {
        tl.write(file.name, file.text);
    }
    let mut lines: Vec<String> = page.wrong.commands.iter().map(|line| (*line).to_owned()).collect();
    let last = lines.last_mut().unwrap();
    match run_in(last).map(|found| found.range()) {
        Some(range) => last.replace_range(range.clone(), &last[range].replace("run", command)),
        // The run came before what it would be refused for.
        None => lines.push(format!("tl --state state {command} pipeline.yaml")),
    }
    let ended = ended(&mut tl.shell(&lines.join("\n")));
    assert!(tl.shell(r"find . -type d ! -perm -700 -exec chmod u+rwx {} \;").status().unwrap().success());
    ended
}

#[test]
fn what_can_be_known_earlier_is_found_earlier() {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let worker = || {
        let mut wrong = String::new();
        while let Some((code, earlier)) = REFUSALS.get(next.fetch_add(1, std::sync::atomic::Ordering::SeqCst)) {
            let (command, found) = match earlier {
                Validate(found) => ("validate --strict", found),
                Plan(found) => ("plan", found),
                Doctor(found) => ("doctor", found),
                Not(_) => continue,
            };
            let ended = tried(code, command);
            // A plan of what would fail is a plan.
            let is_told = ended.code != 0 || command == "plan";
            if !is_told || !format!("{}{}", ended.stdout, ended.stderr).contains(found) {
                wrong.push_str(&format!("{code}: `tl {command}` does not find {found}: {ended:?}\n"));
            }
        }
        wrong
    };
    let wrong: String = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{wrong}");
}
