//! kill -9 at any moment, and then `--resume`: what is left is what an undisturbed run leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value as Json;
use timelocker::state::StateDir;

use crate::program::{Tl, events, files};

/// A chain that seals, a diamond over an artifact in a file, programs that take a while, a matrix, a proof.
const STAGES: &str = r#"stages:
  prepare: { run: 'echo x >> prepare.txt; sleep 0.02; echo "n=7" >> "$TL_OUTPUT"', shell: sh, outputs: { n: int } }
  collect: { needs: prepare, uses: archive, with: { sources: [data] } }
  seal: { needs: collect, uses: encrypt, with: { artifact: '${{ needs.collect.outputs.artifact }}', recipients-file: recipients.txt } }
  deliver: { needs: seal, uses: upload, with: { artifact: '${{ needs.seal.outputs.artifact }}', store: shelf, key: 'sealed-${{ run.id }}' } }
  spooled: { needs: prepare, uses: archive, with: { sources: [data] } }
  two: { needs: spooled, strategy: { matrix: { k: [a, b] } }, uses: upload, with: { artifact: '${{ needs.spooled.outputs.artifact }}', store: shelf, key: '${{ matrix.k }}-${{ run.id }}' } }
  prove: { needs: [deliver, two], uses: verify, with: { object: '${{ needs.deliver.outputs.object }}', level: content } }
  after: { needs: prove, run: 'echo x >> after.txt; sleep 0.02', shell: sh }
finally:
  always: { run: 'echo x >> always.txt', shell: sh }
"#;

/// The same bytes, of the same time.
fn write_data(tl: &Tl) {
    tl.write("data/a.txt", "hello".repeat(10_000));
    for path in ["data/a.txt", "data"] {
        File::open(tl.file(path)).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
    }
}

/// What is proven done before a run is resumed.
type Proven = BTreeSet<(String, Option<usize>)>;

struct Killed {
    /// Its id, if it came so far as to have one.
    run: Option<String>,
    proven: Proven,
}

fn proven(tl: &Tl, run: &str) -> Option<Proven> {
    let left = StateDir::locate(Some(&tl.state())).unwrap().left(run).unwrap()?;
    Some(left.effects.into_iter().map(|effect| (effect.stage, effect.instance)).collect())
}

/// Starts it, and kills it after so many events and a while.
fn killed(tl: &Tl, arguments: &[&str], after: usize, pause: Duration) -> Killed {
    let mut child = tl
        .command(&[&["run", "--reporter", "json"], arguments].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first: Vec<String> = lines.by_ref().take(after).map_while(Result::ok).collect();
    std::thread::sleep(pause);
    child.kill().unwrap();
    child.wait().unwrap();
    let run = first.first().map(|line| serde_json::from_str::<Json>(line).unwrap()["run"].as_str().unwrap().to_owned());
    let proven = run.as_deref().and_then(|run| proven(tl, run)).unwrap_or_default();
    Killed { run, proven }
}

/// The contents of the store, by their names without the run's id.
fn objects(tl: &Tl, run: &str) -> BTreeMap<String, Vec<u8>> {
    let read = |name: &String| {
        let path = tl.file("shelf").join(name);
        if name.starts_with("sealed-") && !name.ends_with(".sha256") {
            tl.ok(&["open", "-i", "identity.txt", "--force", "-o", "opened", path.to_str().unwrap()]);
            return fs::read(tl.file("opened")).unwrap();
        }
        let content = fs::read(path).unwrap();
        // The digest of what is sealed differs each time.
        if name.starts_with("sealed-") { content[64..].replace_run(run) } else { content.replace_run(run) }
    };
    files(&tl.file("shelf")).iter().map(|name| (name.replace(run, "RUN"), read(name))).collect()
}

trait ReplaceRun {
    fn replace_run(&self, run: &str) -> Vec<u8>;
}

impl ReplaceRun for [u8] {
    fn replace_run(&self, run: &str) -> Vec<u8> {
        match str::from_utf8(self) {
            Ok(text) => text.replace(run, "RUN").into_bytes(),
            Err(_) => self.to_vec(),
        }
    }
}

/// `TL_KILLS` says how many; the seed of each is its number.
#[test]
fn a_killed_run_that_is_resumed_leaves_what_an_undisturbed_one_does() {
    let count = std::env::var("TL_KILLS").map_or(24, |count| count.parse::<u64>().unwrap());
    let undisturbed = Tl::new();
    write_data(&undisturbed);
    undisturbed.pipeline(STAGES);
    let (code, all) = undisturbed.events(&[]);
    assert_eq!(code, 0, "{all:?}");
    let expected = objects(&undisturbed, all[0]["run"].as_str().unwrap());
    assert_eq!(expected.len(), 6);
    let mut phases: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..count {
        let mut random = fastrand::Rng::with_seed(number);
        let tl = Tl::new();
        for name in ["identity.txt", "recipients.txt"] {
            tl.write(name, undisturbed.read(name));
        }
        fs::set_permissions(tl.file("identity.txt"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        write_data(&tl);
        tl.pipeline(STAGES);
        let mut arguments = vec!["p.yaml".to_owned()];
        let mut before = Proven::new();
        // Every third one is killed again when it goes on.
        for _ in 0..=usize::from(number % 3 == 0) {
            let given: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let killed = killed(&tl, &given, random.usize(0..all.len()), Duration::from_micros(random.u64(0..8_000)));
            let Some(run) = killed.run.filter(|run| proven(&tl, run).is_some()) else {
                *phases.entry("before the journal".to_owned()).or_default() += 1;
                break;
            };
            *phases.entry(format!("{} stages done", killed.proven.len())).or_default() += 1;
            assert!(before.is_subset(&killed.proven), "seed {number}: {before:?} was forgotten");
            before = killed.proven;
            arguments = vec!["--resume".to_owned(), run];
        }
        let ended =
            tl.run(&[vec!["run", "--reporter", "json"], arguments.iter().map(String::as_str).collect()].concat());
        if ended.code == 2 && ended.stderr.contains("TL0781") {
            // It had come to its end when it was killed.
            assert!(objects(&tl, arguments.last().unwrap()) == expected, "seed {number}: other objects");
            continue;
        }
        assert_eq!(ended.code, 0, "seed {number}, {before:?}: {ended:?}");
        let events = events(&ended.stdout);
        let again: Vec<&Json> = events
            .iter()
            .filter(|event| event["event"] == "stage-ended" && event["recalled"] != true)
            .filter(|event| before.iter().any(|(stage, instance)| event["stage"] == **stage && instance.is_none()))
            .collect();
        assert!(again.is_empty(), "seed {number}: proven and done again: {again:#?}");
        assert!(objects(&tl, events[0]["run"].as_str().unwrap()) == expected, "seed {number}: other objects");
        tl.ok(&["audit", "verify"]);
        // What a program of a stage that was not proven did, it may have done twice, and not more often.
        for name in ["prepare.txt", "after.txt"] {
            assert!((1..=3).contains(&tl.read(name).lines().count()), "seed {number}: {name}");
        }
        assert_eq!(files(&tl.file("state/work")), ["lock"], "seed {number}");
    }
    println!("{count} kills, numbered from 0, the number is the seed: {phases:?}");
}
