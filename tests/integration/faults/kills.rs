//! kill -9 at any moment, then `--resume`: the result equals that of an undisturbed run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use fastrand::Rng;
use serde_json::Value as Json;
use timelocker::state::StateDir;

use crate::support::{Tl, ended, event_unless_cut, events, files, in_session, left, wait_for};

/// A chain that seals, a diamond over an artifact in a file, slow programs, a matrix, a verification.
const PIPELINE: &str = r#"version: 1
name: test
stores:
  shelf: { uses: dir, with: { path: shelf } }
  nas: { uses: dir, with: { path: nas } }
stages:
  prepare: { run: 'echo x >> prepare.txt; sleep 0.02; echo "n=7" >> "$TL_OUTPUT"', shell: sh, outputs: { n: int } }
  collect: { needs: prepare, uses: archive, with: { sources: [data] } }
  seal: { needs: collect, uses: encrypt, with: { artifact: '${{ needs.collect.outputs.artifact }}', recipients-file: recipients.txt } }
  deliver: { needs: seal, uses: upload, with: { artifact: '${{ needs.seal.outputs.artifact }}', store: shelf, key: 'sealed-${{ run.id }}' } }
  spooled: { needs: prepare, uses: archive, with: { sources: [data] } }
  two: { needs: spooled, strategy: { matrix: { store: [shelf, nas] } }, uses: upload, with: { artifact: '${{ needs.spooled.outputs.artifact }}', store: '${{ matrix.store }}', key: 'plain-${{ run.id }}' } }
  prove: { needs: [deliver, two], uses: verify, with: { object: '${{ needs.deliver.outputs.object }}', level: content } }
  after: { needs: prove, run: 'echo x >> after.txt; sleep 0.02', shell: sh }
finally:
  always: { run: 'echo x >> always.txt; sleep 0.02', shell: sh }
"#;

/// A second chain, which uploads several parts to a server.
#[cfg(feature = "peers")]
const SENT: &str = r"  gather: { needs: prepare, uses: archive, with: { sources: [large] } }
  wrap: { needs: gather, uses: encrypt, with: { artifact: '${{ needs.gather.outputs.artifact }}', recipients-file: recipients.txt } }
  send: { needs: wrap, uses: upload, with: { artifact: '${{ needs.wrap.outputs.artifact }}', store: cloud, key: 'sealed-${{ run.id }}' } }
";

/// The phases in which a run was killed. Several may apply at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    BeforeTheJournal,
    BeforeTheFirstStage,
    Program,
    Chain,
    /// A server has parts of an object that does not exist yet.
    Parts,
    /// An object exists, but the journal does not have it yet.
    Delivered,
    Proof,
    Finally,
    /// The end of the run is recorded.
    End,
    /// None of these.
    Between,
}

type Objects = BTreeMap<String, Vec<u8>>;

/// A bucket as a further destination, if there is a server for it.
struct Cloud {
    store: String,
    stages: &'static str,
    keys: (&'static str, &'static str),
    /// The objects of a run by name.
    objects: Box<dyn Fn(&str) -> Objects>,
    open_uploads: Box<dyn Fn() -> usize>,
}

#[cfg(not(feature = "peers"))]
fn cloud() -> Option<Cloud> {
    None
}

#[cfg(feature = "peers")]
#[allow(clippy::unnecessary_wraps, reason = "without the server there is none")]
fn cloud() -> Option<Cloud> {
    use std::rc::Rc;
    let peer = Rc::new(crate::support::servers::Weed::start());
    peer.create_bucket("vault", false, false);
    let store = format!(
        "  cloud: {{ uses: s3, with: {{ bucket: vault, endpoint: '{}', region: us-east-1, path-style: true, allow-private: true, \
         part-size: 5MiB }} }}\n",
        peer.endpoint()
    );
    let (keys, same) = (peer.keys, Rc::clone(&peer));
    let objects = move |run: &str| {
        let named = ["sealed", "plain"].map(|kind| format!("{kind}-{run}"));
        let there = named.into_iter().filter(|key| !same.keys_below("vault", key).is_empty());
        there.map(|key| (key.clone(), same.bytes("vault", &key))).collect()
    };
    let open_uploads = move || peer.open_uploads("vault");
    Some(Cloud { store, stages: SENT, keys, objects: Box::new(objects), open_uploads: Box::new(open_uploads) })
}

/// The pipeline that is run, killed and resumed, with its undisturbed result.
struct Graph {
    cloud: Option<Cloud>,
    text: String,
    large: Vec<u8>,
    /// Has the identity that all runs seal for.
    undisturbed: Tl,
    objects: BTreeMap<String, Vec<u8>>,
    stages: BTreeSet<(String, Option<String>)>,
}

impl Graph {
    /// Runs the pipeline undisturbed.
    fn new() -> Self {
        let cloud = cloud();
        let text = cloud.as_ref().map_or_else(
            || PIPELINE.to_owned(),
            |cloud| {
                let text = PIPELINE.replace("stages:\n", &format!("{}stages:\n{}", cloud.store, cloud.stages));
                text.replace("[shelf, nas]", "[shelf, nas, cloud]").replace("[deliver, two]", "[deliver, two, send]")
            },
        );
        let undisturbed = Tl::new();
        undisturbed.ok(&["key", "new", "-o", "identity.txt", "--recipients", "recipients.txt"]);
        let large = crate::support::noise(11 << 20, 1);
        let mut graph = Self { cloud, text, large, undisturbed, objects: BTreeMap::new(), stages: BTreeSet::new() };
        graph.lay_out(&graph.undisturbed);
        let first = graph.run(&graph.undisturbed, &["p.yaml"]);
        assert_eq!(first.code, 0, "{first:?}");
        let run = events(&first.stdout)[0]["run"].as_str().unwrap().to_owned();
        graph.objects = graph.objects_of(&graph.undisturbed, &run);
        assert_eq!(graph.objects.len(), if graph.cloud.is_some() { 8 } else { 6 });
        graph.stages = stages_of(&shown(&graph.undisturbed, &run));
        graph
    }

    /// Writes the same files with the same times.
    fn lay_out(&self, tl: &Tl) {
        tl.write("p.yaml", &self.text).write("data/a.txt", "hello".repeat(500_000));
        if self.cloud.is_some() {
            tl.write("large/a", &self.large);
        }
        for path in ["data/a.txt", "data", "large/a", "large"] {
            if let Ok(file) = File::open(tl.file(path)) {
                file.set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
            }
        }
        for name in ["shelf", "nas"] {
            fs::create_dir_all(tl.file(name)).unwrap();
        }
    }

    fn start_over(&self) -> Tl {
        let tl = Tl::new();
        for name in ["identity.txt", "recipients.txt"] {
            tl.write(name, self.undisturbed.read(name));
        }
        fs::set_permissions(tl.file("identity.txt"), PermissionsExt::from_mode(0o600)).unwrap();
        self.lay_out(&tl);
        tl
    }

    fn command(&self, tl: &Tl, arguments: &[&str]) -> Command {
        let arguments = [&["run", "--reporter", "json"], arguments].concat();
        match &self.cloud {
            Some(cloud) => crate::support::keyed(tl, &arguments, cloud.keys),
            None => tl.command(&arguments),
        }
    }

    fn run(&self, tl: &Tl, arguments: &[&str]) -> crate::support::Ended {
        ended(&mut self.command(tl, arguments))
    }

    /// The content of the stores, decrypted. The names omit the run's id.
    fn objects_of(&self, tl: &Tl, run: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for store in ["shelf", "nas"] {
            for name in files(&tl.file(store)) {
                found.insert(format!("{store}/{name}"), fs::read(tl.file(store).join(&name)).unwrap());
            }
        }
        let there = self.cloud.iter().flat_map(|cloud| (cloud.objects)(run));
        found.extend(there.map(|(key, bytes)| (format!("cloud/{key}"), bytes)));
        let opened = |(name, bytes): (String, Vec<u8>)| {
            let is_digest = name.ends_with(".sha256");
            let bytes = match name.contains("/sealed-") {
                // The digest of sealed bytes differs each time.
                true if is_digest => bytes[64..].to_vec(),
                true => {
                    tl.write("sealed", bytes);
                    tl.ok(&["open", "-i", "identity.txt", "--force", "-o", "opened", "sealed"]);
                    fs::read(tl.file("opened")).unwrap()
                }
                false => bytes,
            };
            let bytes =
                if is_digest { String::from_utf8(bytes).unwrap().replace(run, "RUN").into_bytes() } else { bytes };
            (name.replace(run, "RUN"), bytes)
        };
        found.into_iter().map(opened).collect()
    }

    fn open_uploads(&self) -> usize {
        self.cloud.as_ref().map_or(0, |cloud| (cloud.open_uploads)())
    }

    /// The phases at which a kill can be aimed.
    fn targets(&self) -> Vec<Phase> {
        use Phase::{BeforeTheFirstStage, BeforeTheJournal, Chain, Delivered, End, Finally, Parts, Program, Proof};
        let all = [BeforeTheJournal, BeforeTheFirstStage, Program, Chain, Parts, Delivered, Proof, Finally, End];
        all.into_iter().filter(|&phase| phase != Parts || self.cloud.is_some()).collect()
    }

    /// Starts a session and kills it. `None` if it ended first.
    fn killed(&self, tl: &Tl, arguments: &[&str], target: Phase, random: &mut Rng) -> Option<Killed> {
        let there: BTreeSet<String> = objects_in(tl).collect();
        let ends = arguments.get(1).map_or(0, |run| count(&records(tl, run), "run.finished"));
        let mut child = in_session(tl, &self.command(tl, arguments)).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = Self::aim(tl, &mut lines, target, &there, random);
        child.kill().unwrap();
        let status = child.wait().unwrap();
        seen.extend(lines.map_while(Result::ok).filter_map(|line| event_unless_cut(&line)));
        if status.signal().is_none() {
            // A session killed after the end of its run cannot be resumed.
            assert!(status.code() == Some(0) || seen.is_empty() && status.code() == Some(2), "{status}: {seen:#?}");
            return None;
        }
        let run = seen.first().map(|event| event["run"].as_str().unwrap().to_owned());
        let proven = run.as_deref().and_then(|run| proven(tl, run));
        let Some((run, proven)) = run.zip(proven) else {
            return Some(Killed { child, run: None, proven: Proven::new(), phases: vec![Phase::BeforeTheJournal] });
        };
        let has_end = count(&records(tl, &run), "run.finished") > ends;
        let is_uncounted = objects_in(tl).any(|name| !there.contains(&name) && !proven.contains(&deliverer(&name)));
        let phases = self.phases(&seen, has_end, is_uncounted);
        Some(Killed { child, run: Some(run), proven, phases })
    }

    /// Waits until the target phase begins, and then a little longer. Returns the events until then.
    fn aim(
        tl: &Tl,
        lines: &mut std::io::Lines<BufReader<ChildStdout>>,
        target: Phase,
        there: &BTreeSet<String>,
        random: &mut Rng,
    ) -> Vec<Json> {
        let (event, stage, most) = match target {
            Phase::BeforeTheJournal => ("", "", 15_000),
            Phase::BeforeTheFirstStage => ("run-started", "", 1_500),
            Phase::Program => ("stage-started", random.choice(["prepare", "after"]).unwrap(), 20_000),
            Phase::Chain => ("stage-started", random.choice(["seal", "deliver"]).unwrap(), 60_000),
            Phase::Parts => ("stage-started", "send", 400_000),
            Phase::Proof => ("stage-started", "prove", 20_000),
            Phase::Finally => ("stage-started", "always", 25_000),
            Phase::End => ("stage-ended", "always", 12_000),
            Phase::Delivered | Phase::Between => ("stage-started", "seal", 1),
        };
        let mut seen = Vec::new();
        while !event.is_empty()
            && let Some(Ok(line)) = lines.next()
        {
            let one = crate::support::event(&line);
            let is_it = one["event"] == event && (stage.is_empty() || one["stage"] == stage);
            seen.push(one);
            if is_it {
                break;
            }
        }
        let log = tl.file("state/audit/seg/00000000000000000000.jsonl");
        let length = || fs::metadata(&log).map_or(0, |about| about.len());
        let before = length();
        let awaited: &dyn Fn() -> bool = match target {
            Phase::Delivered => &|| objects_in(tl).any(|name| !there.contains(&name)),
            Phase::BeforeTheFirstStage => &|| length() > before,
            _ => &|| true,
        };
        // The phase may never come.
        let patience = Instant::now() + Duration::from_millis(500);
        while !awaited() && Instant::now() < patience {}
        std::thread::sleep(Duration::from_micros(random.u64(0..most)));
        seen
    }

    fn phases(&self, seen: &[Json], has_end: bool, is_uncounted: bool) -> Vec<Phase> {
        let names = |event: &str| -> BTreeSet<&str> {
            seen.iter().filter(|one| one["event"] == event).filter_map(|one| one["stage"].as_str()).collect()
        };
        let (started, ended) = (names("stage-started"), names("stage-ended"));
        let runs = |stages: &[&str]| stages.iter().any(|&stage| started.contains(stage) && !ended.contains(stage));
        let mut phases = Vec::new();
        let mut say = |phase, holds| phases.extend(Some(phase).filter(|_| holds));
        say(Phase::BeforeTheFirstStage, started.is_empty());
        say(Phase::Program, runs(&["prepare", "after"]));
        say(Phase::Chain, runs(&["collect", "seal", "deliver"]));
        say(Phase::Parts, self.open_uploads() > 0);
        say(Phase::Delivered, is_uncounted);
        say(Phase::Proof, runs(&["prove"]));
        say(Phase::Finally, runs(&["always"]));
        say(Phase::End, has_end);
        let is_between = phases.is_empty();
        phases.extend(Some(Phase::Between).filter(|_| is_between));
        phases
    }

    /// Checks that journal, audit log and stores agree about a successful run.
    fn agrees(&self, tl: &Tl, run: &str, most: u64, is_each_on_record: bool) {
        assert_eq!(self.open_uploads(), 0, "parts are left");
        let objects = self.objects_of(tl, run);
        assert_eq!(objects.keys().collect::<Vec<_>>(), self.objects.keys().collect::<Vec<_>>(), "of {run}");
        let others = objects.iter().filter(|(name, bytes)| self.objects[*name] != **bytes).map(|(name, _)| name);
        let others: Vec<_> = others.collect();
        assert!(others.is_empty(), "other bytes: {others:?}");
        tl.ok(&["audit", "verify"]);
        let shown = shown(tl, run);
        assert_eq!((&shown["life"], &shown["outcome"]), (&"ended".into(), &"success".into()), "{shown:#}");
        let sessions = shown["sessions"].as_u64().unwrap();
        assert!((1..=most).contains(&sessions), "{shown:#}");
        assert_eq!(stages_of(&shown), self.stages, "{shown:#}");
        let stages = shown["stages"].as_array().unwrap();
        assert!(stages.iter().all(|stage| stage["outcome"] == "success"), "{shown:#}");

        let records = records(tl, run);
        assert_eq!(records[0]["type"], "run.started", "{records:#?}");
        assert_eq!(count(&records, "run.started"), 1, "{records:#?}");
        let resumed: Vec<u64> =
            of_type(&records, "run.resumed").map(|one| one["data"]["session"].as_u64().unwrap()).collect();
        assert!(resumed.is_sorted() && resumed.iter().collect::<BTreeSet<_>>().len() == resumed.len(), "{resumed:?}");
        // A session that was killed at its very start may have left no record.
        assert!(
            !is_each_on_record || resumed.len() as u64 == sessions - 1,
            "{sessions} sessions, resumed: {resumed:?}"
        );
        let finished: Vec<&Json> = of_type(&records, "run.finished").collect();
        assert!((1..=sessions).contains(&(finished.len() as u64)), "{finished:#?}");
        assert!(finished.iter().all(|one| one["data"]["outcome"] == "success" && one["data"]["exit_code"] == 0));
        for stage in stages {
            let is_same =
                |one: &&Json| one["data"]["stage"] == stage["stage"] && one["data"]["instance"] == stage["instance"];
            let mut ends = of_type(&records, "stage.ended").filter(is_same);
            assert!(ends.any(|one| one["data"]["outcome"] == "success"), "{stage:#}\n{records:#?}");
            if let Some(uri) = stage["outputs"]["object"]["uri"].as_str() {
                let at = |kind| {
                    of_type(&records, kind)
                        .find(|one| one["data"]["uri"] == uri)
                        .map(|one| one["seq"].as_u64().unwrap())
                };
                assert!(at("upload.intent").unwrap() < at("upload.done").unwrap(), "{uri}: {records:#?}");
            }
        }
        assert!(count(&records, "verify.passed") > 0);
    }
}

/// A session that was killed.
struct Killed {
    child: Child,
    /// The run, if it got as far as the journal.
    run: Option<String>,
    proven: Proven,
    phases: Vec<Phase>,
}

/// The units that are known to be done before a run is resumed.
type Proven = BTreeSet<(String, Option<usize>)>;

fn proven(tl: &Tl, run: &str) -> Option<Proven> {
    let left = StateDir::locate(Some(&tl.state())).unwrap().prior_run(run).unwrap()?;
    // A proof is made again in each session.
    let kept = left.effects.into_iter().filter(|effect| effect.stage != "prove");
    Some(kept.map(|effect| (effect.stage, effect.instance)).collect())
}

/// The objects in folders, without their digest files.
fn objects_in(tl: &Tl) -> impl Iterator<Item = String> {
    let names = |store: &'static str| files(&tl.file(store)).into_iter().map(move |name| format!("{store}/{name}"));
    let all: Vec<String> = ["shelf", "nas"].into_iter().flat_map(names).collect();
    all.into_iter()
        .filter(|name| name.contains("/sealed-") || name.contains("/plain-"))
        .filter(|name| !name.ends_with(".sha256"))
}

/// The stage that delivers an object.
fn deliverer(name: &str) -> (String, Option<usize>) {
    if name.contains("/sealed-") {
        ("deliver".to_owned(), None)
    } else {
        ("two".to_owned(), Some(usize::from(name.starts_with("nas"))))
    }
}

fn shown(tl: &Tl, run: &str) -> Json {
    serde_json::from_str(&tl.ok(&["show", run, "--json"]).stdout).unwrap()
}

fn stages_of(shown: &Json) -> BTreeSet<(String, Option<String>)> {
    let named =
        |stage: &Json| (stage["stage"].as_str().unwrap().to_owned(), stage["instance"].as_str().map(str::to_owned));
    shown["stages"].as_array().unwrap().iter().map(named).collect()
}

fn records(tl: &Tl, run: &str) -> Vec<Json> {
    // There may be no log yet.
    let shown = tl.run(&["audit", "show", "--run", run, "--json"]);
    shown.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of_type<'a>(records: &'a [Json], kind: &'a str) -> impl Iterator<Item = &'a Json> {
    records.iter().filter(move |record| record["type"] == kind)
}

fn count(records: &[Json], kind: &str) -> usize {
    of_type(records, kind).count()
}

/// The stages that were done again although they were known to be done.
fn done_again<'a>(events: &'a [Json], proven: &'a Proven) -> Vec<&'a Json> {
    let instances = ["shelf", "nas", "cloud"];
    let number = |event: &Json| instances.iter().position(|name| event["instance"] == **name);
    let fresh = events.iter().filter(|event| event["event"] == "stage-ended" && event["recalled"] != true);
    fresh.filter(|event| proven.contains(&(event["stage"].as_str().unwrap().to_owned(), number(event)))).collect()
}

/// `TL_KILLS` sets the number of kills. The number of a run is its seed.
#[test]
fn a_killed_run_that_is_resumed_leaves_what_an_undisturbed_one_does() {
    let most = std::env::var("TL_KILLS").map_or(24, |count| count.parse::<usize>().unwrap());
    let graph = Graph::new();
    let mut kills = 0;
    let mut phases: BTreeMap<Phase, usize> = graph.targets().into_iter().map(|phase| (phase, 0)).collect();
    'runs: for seed in 0.. {
        if kills >= most {
            break;
        }
        let mut random = Rng::with_seed(seed);
        let tl = graph.start_over();
        let (mut arguments, mut before, mut children) = (vec!["p.yaml".to_owned()], Proven::new(), Vec::new());
        let (mut sessions, mut is_each_on_record) = (1, true);
        // Every third run is killed again when it resumes.
        for _ in 0..=usize::from(seed % 3 == 0) {
            let given: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let target = phases.iter().filter(|(phase, _)| **phase != Phase::Between).min_by_key(|(_, count)| **count);
            let Some(killed) = graph.killed(&tl, &given, *target.unwrap().0, &mut random) else {
                // It ended before the kill. A resumed run is then complete.
                if given[0] == "p.yaml" {
                    continue 'runs;
                }
                sessions += 1;
                break;
            };
            kills += 1;
            for phase in &killed.phases {
                *phases.entry(*phase).or_default() += 1;
            }
            is_each_on_record &= !killed.phases.contains(&Phase::BeforeTheFirstStage);
            children.push(killed.child);
            let Some(run) = killed.run else { break };
            sessions += 1;
            assert!(before.is_subset(&killed.proven), "seed {seed}: {before:?} was forgotten");
            before = killed.proven;
            arguments = vec!["--resume".to_owned(), run];
        }
        let given: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let last = graph.run(&tl, &given);
        let events = events(&last.stdout);
        // It may have ended before it was killed.
        let is_over = last.code == 2 && last.stderr.contains("TL0781");
        assert!(is_over || last.code == 0, "seed {seed}, {before:?}: {last:?}");
        let again = done_again(&events, &before);
        assert!(again.is_empty(), "seed {seed}: proven and done again: {again:#?}");
        let run =
            events.first().map_or_else(|| arguments[1].clone(), |event| event["run"].as_str().unwrap().to_owned());
        println!("seed {seed}: {phases:?}");
        graph.agrees(&tl, &run, sessions, is_each_on_record);
        // The program of an unfinished stage may have run once in each session.
        for name in ["prepare.txt", "after.txt"] {
            assert!((1..=3).contains(&tl.read(name).lines().count()), "seed {seed}: {name}");
        }
        assert!(is_over || files(&tl.file("state/work")) == ["lock"], "seed {seed}");
        for child in &children {
            wait_for(|| left(&tl, child).is_empty());
        }
    }
    println!("{kills} kills: {phases:?}");
    if most >= 300 {
        assert!(phases.iter().all(|(phase, count)| *phase == Phase::Between || *count >= 20), "{phases:?}");
    }
}
