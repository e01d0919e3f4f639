//! Races between two processes, of which exactly one must win.

use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value as Json;

use crate::support::{Ended, Tl, collected, events, files};

/// How often each race runs. The number of the round is its seed.
const RACES: u64 = 8;

fn all(children: impl IntoIterator<Item = Child>) -> Vec<Ended> {
    children.into_iter().map(collected).collect()
}

fn shown(tl: &Tl, run: &str) -> Json {
    serde_json::from_str(&tl.ok(&["show", run, "--json"]).stdout).unwrap()
}

/// A run that failed at its last stage and can be resumed.
fn stopped() -> (Tl, String) {
    let tl = Tl::new();
    tl.write("data/a", "hello".repeat(10_000)).pipeline(&format!(
        "stages:\n{}  spooled: {{ uses: archive, with: {{ sources: [data] }} }}\n  last: {{ needs: [deliver, spooled], shell: sh, run: 'echo x >> last.txt; \
         sleep 0.05; test -e go' }}\n  keep: {{ needs: [spooled, last], uses: upload, with: {{ artifact: '${{{{ needs.spooled.outputs.artifact \
         }}}}', store: shelf, key: kept }} }}\n",
        crate::support::CHAIN
    ));
    let (code, told) = tl.events(&[]);
    assert_eq!(code, 1, "{told:#?}");
    tl.write("go", "");
    (tl, told[0]["run"].as_str().unwrap().to_owned())
}

/// Checks the result of a run that was resumed exactly once.
fn went_on_once(tl: &Tl, run: &str, seed: u64) {
    assert_eq!(tl.read("last.txt"), "x\nx\n", "seed {seed}");
    assert_eq!(files(&tl.file("shelf")), ["kept", "kept.sha256", "object", "object.sha256"]);
    let shown = shown(tl, run);
    assert_eq!((&shown["outcome"], &shown["sessions"]), (&"success".into(), &2.into()), "seed {seed}");
    let log = tl.ok(&["audit", "show", "--run", run]).stdout;
    assert_eq!((log.matches("run.started").count(), log.matches("run.resumed").count()), (1, 1), "seed {seed}: {log}");
    assert_eq!(log.matches("upload.done").count(), 2, "seed {seed}: {log}");
    tl.ok(&["audit", "verify"]);
}

#[test]
fn of_two_that_go_on_with_a_run_one_does() {
    for seed in 0..RACES {
        let mut random = fastrand::Rng::with_seed(seed);
        let (tl, run) = stopped();
        let second = |pause: u64| {
            sleep(Duration::from_micros(pause));
            tl.start(&["run", "--resume", &run])
        };
        let ended = all([second(0), second(0), second(random.u64(0..60_000))]);
        let won = ended.iter().filter(|ended| ended.code == 0).count();
        assert_eq!(won, 1, "seed {seed}: {ended:#?}");
        for ended in ended.iter().filter(|ended| ended.code != 0) {
            let is_busy = ended.code == 11 && ended.stdout.contains("TL0782");
            let is_done = ended.code == 2 && ended.stderr.contains("TL0781");
            assert!(is_busy || is_done, "seed {seed}: {ended:#?}");
        }
        went_on_once(&tl, &run, seed);
    }
}

#[test]
fn what_is_tidied_meanwhile_is_nothing_that_a_run_goes_on_with() {
    for seed in 0..RACES {
        let mut random = fastrand::Rng::with_seed(seed);
        let (tl, run) = stopped();
        let gc = || tl.start(&["gc", "--runs", "1d", "--logs", "1d"]);
        let mut children = vec![gc()];
        sleep(Duration::from_micros(random.u64(0..30_000)));
        children.push(tl.start(&["run", "--resume", &run]));
        sleep(Duration::from_micros(random.u64(0..60_000)));
        children.push(gc());
        let ended = all(children);
        assert!(ended.iter().all(|ended| ended.code == 0), "seed {seed}: {ended:#?}");
        went_on_once(&tl, &run, seed);
    }
}

#[test]
fn a_run_that_ends_as_it_is_cancelled_has_one_end() {
    let tl = Tl::new();
    tl.pipeline("stages:\n  a: { run: [sleep, '0.1'] }\nfinally:\n  f: { run: ['true'] }\n");
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..RACES * 3 {
        let mut random = fastrand::Rng::with_seed(seed);
        let run = tl.start(&["run", "p.yaml", "--reporter", "json"]);
        sleep(Duration::from_millis(random.u64(20..260)));
        let known: Json = serde_json::from_str(&tl.ok(&["history", "--json", "--last", "1"]).stdout).unwrap();
        let asked = known["runs"][0]["run"].as_str().map(|id| (id.to_owned(), tl.run(&["cancel", id])));
        let ran = collected(run);
        let id = events(&ran.stdout)[0]["run"].as_str().unwrap().to_owned();
        let outcome = shown(&tl, &id)["outcome"].as_str().unwrap().to_owned();
        let fits = matches!((ran.code, outcome.as_str()), (0, "success") | (130, "cancelled"));
        assert!(fits, "seed {seed}: {outcome}, {ran:#?}");
        // The cancel may have gone to an earlier run, if this one was not known yet.
        if let Some((_, asked)) = asked.filter(|(asked, _)| *asked == id) {
            let is_told = asked.stdout.contains(&format!("ended: {outcome}")) && asked.code == 0;
            let is_over = asked.code == 1 && asked.stderr.contains("TL0752") && ran.code == 0;
            assert!(is_told || is_over, "seed {seed}: {asked:#?}\n{ran:#?}");
        }
        let ends = tl.ok(&["audit", "show", "--type", "run.finished", "--run", &id]).stdout;
        assert_eq!(ends.lines().count(), 1, "seed {seed}: {ends}");
        *seen.entry(outcome).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 2, "both happened: {seen:?}");
}

#[test]
fn two_runs_of_a_group_are_never_at_work_at_once() {
    for (if_busy, other) in [("wait", 0), ("skip", 75), ("fail", 11)] {
        for seed in 0..RACES / 2 {
            let mut random = fastrand::Rng::with_seed(seed);
            let tl = Tl::new();
            tl.pipeline(&format!(
                "concurrency: {{ group: g, if-busy: {if_busy} }}\nstages:\n  a: {{ shell: sh, run: 'mkdir alone && echo x >> ran.txt && sleep 0.05 \
                 && rmdir alone' }}\n"
            ));
            let first = tl.start(&["run", "p.yaml"]);
            sleep(Duration::from_micros(random.u64(0..40_000)));
            let ended = all([first, tl.start(&["run", "p.yaml"])]);
            let mut codes: Vec<i32> = ended.iter().map(|ended| ended.code).collect();
            codes.sort_unstable();
            let ran = codes.iter().filter(|code| **code == 0).count();
            assert!(codes == [0, other] || codes == [0, 0], "{if_busy}, seed {seed}: {ended:#?}");
            assert_eq!(tl.read("ran.txt").lines().count(), ran, "{if_busy}, seed {seed}");
            assert_eq!(files(&tl.file("state/work")), ["lock"]);
            tl.ok(&["audit", "verify"]);
        }
    }
}
