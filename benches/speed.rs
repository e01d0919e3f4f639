//! Benchmarks against other programs in the same run: `cargo bench --bench speed`.
//!
//! Needs stock `age`, `borgmatic`, `check-jsonschema`, `ninja`, `make`, `timeout` and GNU `time` in PATH. `cargo bench
//! --bench speed -- validate` runs only the named parts: seal, validate, audit, engine, children, watch. Files are in
//! `/dev/shm` if it exists, so that disk speed does not affect the result. Each figure is the median of several rounds
//! in which the programs take turns. A ratio above 1 means that tl is faster. `engine` has no peer and runs one round
//! of stages that do nothing.

use std::fs;
use std::hint::black_box;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json, json};
use timelocker::audit::{Draft, Durability, Log, Record, Severity, verify};
use timelocker::crypto::{Identity, Key, open, seal};
use timelocker::diagnostic::Result as Judged;
use timelocker::engine::{Attempt, BoxFuture, Engine, Expansion, Results, Work};
use timelocker::expression::Status;
use timelocker::graph::Plan;
use timelocker::graph::outcome::{Ended, OwnEnd};
use timelocker::value::Cancel;

const TL: &str = env!("CARGO_BIN_EXE_tl");
const ROUNDS: usize = 7;
const GIB: usize = 1 << 30;

fn main() {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.expect("a folder for the files");
    let mut out = io::stdout().lock();
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    say(&mut out, &format!("{cores} cores, files in {}", folder.path().display()));
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let parts: [(&str, fn(&mut _, &_)); 6] = [
        ("seal", seal_and_open),
        ("validate", validate),
        ("audit", audit),
        ("engine", engine),
        ("children", children),
        ("watch", watch),
    ];
    for (name, part) in parts {
        if is_wanted(name) {
            part(&mut out, folder.path());
        }
    }
}

fn seal_and_open(out: &mut io::StdoutLock<'_>, folder: &Path) {
    programs(out, folder);
    library(out);
}

fn say(out: &mut impl Write, line: &str) {
    writeln!(out, "{line}").expect("somebody reads");
}

/// Runs the works in turn and returns the median time of each. Removes the output of the previous round before the
/// clock starts: otherwise the time would include freeing the old file.
fn medians(rounds: usize, made: &[&str], works: &mut [&mut dyn FnMut()]) -> Vec<Duration> {
    let mut times = vec![Vec::new(); works.len()];
    // The first round warms caches and does not count.
    for round in 0..=rounds {
        for (number, (work, times)) in works.iter_mut().zip(&mut times).enumerate() {
            if let Some(made) = made.get(number).filter(|made| Path::new(made).exists()) {
                fs::remove_file(made).expect("it was made in the round before");
            }
            let start = Instant::now();
            work();
            if round > 0 {
                times.push(start.elapsed());
            }
        }
    }
    for times in &mut times {
        times.sort();
    }
    times.iter().map(|times| times[times.len() / 2]).collect()
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.unwrap_or_else(|error| panic!("{program}: {error}")).success(), "{program} {arguments:?}");
}

fn speed(name: &str, peer: &str, bytes: usize, ours: Duration, theirs: Duration) -> String {
    let rate = |time: Duration| bytes as f64 / time.as_secs_f64() / 1e6;
    let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
    format!("{name}: tl {:.0} MB/s, {peer} {:.0} MB/s, ratio {ratio:.2}", rate(ours), rate(theirs))
}

/// `tl seal` and `tl open` against `age`: separate processes, file to file.
fn programs(out: &mut impl Write, folder: &Path) {
    let path = |name: &str| folder.join(name).display().to_string();
    let (plain, ours, theirs) = (path("plain"), path("ours.age"), path("theirs.age"));
    let identity = path("identity.txt");
    let mut noise = vec![0; GIB];
    fastrand::Rng::with_seed(1).fill(&mut noise);
    fs::write(&plain, &noise).expect("1 GiB of memory");
    drop(noise);
    run(TL, &["key", "new", "-o", &identity]);
    let shown = Command::new(TL).args(["key", "show", &identity]).output().expect("tl key show").stdout;
    let recipient = String::from_utf8(shown).expect("a recipient").trim().to_owned();

    let times = medians(
        ROUNDS,
        &[&ours, &theirs],
        &mut [&mut || run(TL, &["seal", "-r", &recipient, "-o", &ours, &plain]), &mut || {
            run("age", &["-r", &recipient, "-o", &theirs, &plain]);
        }],
    );
    say(out, &speed("seal 1 GiB, file to file", "age", GIB, times[0], times[1]));
    fs::remove_file(&plain).expect("it was just written");
    let back = path("back");
    let times = medians(
        ROUNDS,
        &[&back, &back],
        &mut [&mut || run(TL, &["open", "-i", &identity, "-o", &back, &theirs]), &mut || {
            run("age", &["-d", "-i", &identity, "-o", &back, &ours]);
        }],
    );
    say(out, &speed("open 1 GiB, file to file", "age", GIB, times[0], times[1]));
    for name in [&ours, &theirs, &back] {
        fs::remove_file(name).expect("it was just written");
    }
}

/// The library against the `age` crate: in this process, from memory, output discarded.
fn library(out: &mut impl Write) {
    let mut plain = vec![0; GIB];
    fastrand::Rng::with_seed(2).fill(&mut plain);
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let identity = Identity::generate();
    let theirs: age::x25519::Recipient = identity.recipient().to_string().parse().expect("the same spelling");
    let times = medians(
        ROUNDS,
        &[],
        &mut [
            &mut || {
                black_box(
                    seal(&[identity.recipient()], &mut plain.as_slice(), &mut io::sink(), threads).expect("sealed"),
                );
            },
            &mut || {
                let recipients = std::iter::once(&theirs as &dyn age::Recipient);
                let encryptor = age::Encryptor::with_recipients(recipients).expect("one recipient");
                let mut writer = encryptor.wrap_output(io::sink()).expect("a header");
                writer.write_all(&plain).expect("written");
                writer.finish().expect("finished");
            },
        ],
    );
    say(out, &speed("seal 1 GiB, in memory", "age crate", GIB, times[0], times[1]));
    let mut sealed = Vec::with_capacity(GIB + (1 << 20));
    seal(&[identity.recipient()], &mut plain.as_slice(), &mut sealed, threads).expect("sealed");
    drop(plain);
    let keys = [Key::X25519(identity.clone())];
    let their_identity: age::x25519::Identity = identity.encode().expose().parse().expect("the same spelling");
    let times = medians(
        ROUNDS,
        &[],
        &mut [
            &mut || {
                black_box(open(&keys, &mut sealed.as_slice(), &mut io::sink(), threads).expect("opened"));
            },
            &mut || {
                let decryptor = age::Decryptor::new(sealed.as_slice()).expect("a header");
                let identities = std::iter::once(&their_identity as &dyn age::Identity);
                let mut reader = decryptor.decrypt(identities).expect("the right key");
                io::copy(&mut reader, &mut io::sink()).expect("opened");
            },
        ],
    );
    say(out, &speed("open 1 GiB, in memory", "age crate", GIB, times[0], times[1]));
}

/// Files with many stages, cold: each round is a new process. The peers get equivalents: borgmatic a file of the same
/// meaning, check-jsonschema the published schema.
fn validate(out: &mut io::StdoutLock<'_>, folder: &Path) {
    let write = |name: &str, text: &str| {
        let path = folder.join(name).display().to_string();
        fs::write(&path, text).expect("a small file");
        path
    };
    let file = |stages: usize| write(&format!("{stages}.yaml"), &pipeline(stages));
    let hundred = file(100);
    let quickstart = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart/pipeline.yaml");
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/pipeline.v1.schema.json");
    let borgmatic =
        write("borgmatic.yaml", "source_directories: [/srv/orders]\nrepositories: [{ path: /mnt/nas/orders }]\n");
    let times = medians(
        21,
        &[],
        &mut [
            &mut || run("true", &[]),
            &mut || run(TL, &["--version"]),
            &mut || run(TL, &["validate", quickstart]),
            &mut || run(TL, &["validate", &hundred]),
            &mut || run(TL, &["plan", &hundred]),
        ],
    );
    for (name, time) in
        ["true", "tl --version", "tl validate quickstart", "tl validate 100 stages", "tl plan 100 stages"]
            .iter()
            .zip(&times)
    {
        say(out, &format!("{name}: {:.1} ms", time.as_secs_f64() * 1e3));
    }
    let peers = medians(
        3,
        &[],
        &mut [&mut || run("borgmatic", &["--config", &borgmatic, "config", "validate"]), &mut || {
            run("check-jsonschema", &["--schemafile", schema, &hundred]);
        }],
    );
    for (name, time) in ["borgmatic config validate", "check-jsonschema 100 stages"].iter().zip(peers) {
        let ratio = time.as_secs_f64() / times[3].as_secs_f64();
        say(out, &format!("{name}: {:.0} ms, ratio {ratio:.0}", time.as_secs_f64() * 1e3));
    }
    for stages in [100, 1_000, 10_000] {
        let path = file(stages);
        let time = medians(5, &[], &mut [&mut || run(TL, &["validate", &path]), &mut || run(TL, &["plan", &path])]);
        let [validate, plan] = [time[0], time[1]].map(|time| time.as_secs_f64() * 1e3);
        let memory = memory_of(&["validate", &path]);
        say(out, &format!("{stages} stages: validate {validate:.1} ms and {memory} KiB, plan {plan:.1} ms"));
    }
}

/// Chains of four stages, as people write them.
fn pipeline(stages: usize) -> String {
    let stage = |number: usize| {
        let needs = number.saturating_sub(1);
        let what = match number % 4 {
            0 => "uses: archive\n    with: { sources: [/srv/orders, /etc/orders], exclude: ['**/*.tmp'], compress: zstd }".to_owned(),
            1 => format!(
                "needs: s{needs}\n    uses: encrypt\n    with:\n      artifact: '${{{{ needs.s{needs}.outputs.artifact }}}}'\n      \
                 recipients: [age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg]"
            ),
            2 => format!(
                "needs: s{needs}\n    uses: upload\n    with:\n      artifact: '${{{{ needs.s{needs}.outputs.artifact }}}}'\n      \
                 store: nas\n      key: '${{{{ run.date }}}}/{number}-${{{{ run.id }}}}.tar.zst.age'"
            ),
            _ => format!(
                "needs: s{needs}\n    uses: verify\n    with: {{ object: '${{{{ needs.s{needs}.outputs.object }}}}', level: content }}"
            ),
        };
        format!("  s{number}:\n    {what}\n")
    };
    let stages: String = (0..stages).map(stage).collect();
    format!("version: 1\nname: large\nstores:\n  nas: {{ uses: dir, with: {{ path: /mnt/nas }} }}\nstages:\n{stages}")
}

/// The peak memory of `tl`, in KiB.
fn memory_of(arguments: &[&str]) -> u64 {
    let output = Command::new("time").args(["-f", "%M", TL]).args(arguments).output().expect("GNU time");
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().last().and_then(|line| line.trim().parse().ok()).expect("a number of KiB")
}

fn audit(out: &mut io::StdoutLock<'_>, folder: &Path) {
    let folder = folder.join("audit");
    let log = Log::open(&folder).expect("a new log");
    let draft =
        || Draft::new("bench.record", Severity::Info).run("01M8687BPPD1AJKTAJX3SZMXX1").with("text", "x".repeat(40));
    let count = 36_000_u32;
    let start = Instant::now();
    for _ in 0..count {
        let record = log.prepare(&draft()).expect("a fine record");
        log.append(&[record], Durability::Buffered).expect("appended");
    }
    let each = start.elapsed() / count;
    say(out, &format!("audit append without the flush: {:.1} us", each.as_secs_f64() * 1e6));
    log.checkpoint().expect("signed");
    let size: u64 = fs::read_dir(folder.join("seg"))
        .expect("segments")
        .map(|entry| entry.and_then(|entry| entry.metadata()).map_or(0, |meta| meta.len()))
        .sum();
    let times = medians(ROUNDS, &[], &mut [&mut || assert!(!verify(&folder).expect("verified").is_damaged())]);
    say(out, &format!("audit verify of {:.1} MB: {:.0} ms", size as f64 / 1e6, times[0].as_secs_f64() * 1e3));
}

/// Work whose attempts end immediately.
struct Done(Arc<Plan>);

impl Work for Done {
    fn condition(&self, _: usize, _: &Results, _: Status) -> Judged<bool> {
        Ok(true)
    }

    fn expand(&self, _: usize, _: &Results) -> Judged<Expansion> {
        Ok(Expansion { instances: Vec::new(), skipped: Vec::new() })
    }

    fn attempt(self: Arc<Self>, attempt: Attempt) -> BoxFuture<Vec<Ended>> {
        let ended = |&stage: &usize| Ended { stage, end: OwnEnd::Done(Map::new()) };
        let ended = self.0.units[attempt.unit].stages.iter().map(ended).collect();
        Box::pin(async move { ended })
    }

    fn note(&self, _: Record) -> Judged<()> {
        Ok(())
    }
}

/// The stages that a stage needs, by number.
type Needs = fn(usize) -> Vec<usize>;

/// The cost of planning and deciding, with stages that do nothing. The memory is this process's peak after it had read
/// the file.
fn engine(out: &mut io::StdoutLock<'_>, _: &Path) {
    let flat = |_: usize| Vec::new();
    let chain = |number: usize| number.checked_sub(1).into_iter().collect();
    // Each layer of a hundred stages; each stage needs three of the layer before.
    let layers = |number: usize| {
        let before = (number / 100).checked_sub(1);
        before.into_iter().flat_map(|layer| (0..3).map(move |n| layer * 100 + (number + n) % 100)).collect()
    };
    let shapes: [(&str, Needs); 3] = [("flat", flat), ("chain", chain), ("layers", layers)];
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().expect("a runtime");
    for count in [10_000_usize, 100_000] {
        for (name, needs) in shapes {
            let stage = |number: usize| {
                let needs: Vec<String> = needs(number).iter().map(|need| format!("s{need}")).collect();
                (format!("s{number}"), json!({ "needs": needs, "run": ["true"] }))
            };
            let stages: Map<String, Json> = (0..count).map(stage).collect();
            let file = json!({ "version": 1, "name": "many", "stages": stages });
            let pipeline = serde_json::from_value(file).expect("a pipeline");
            forget_most_memory();
            let start = Instant::now();
            let plan = Arc::new(Plan::new(&pipeline));
            let planned = start.elapsed().as_secs_f64() * 1e3;
            let work = Arc::new(Done(Arc::clone(&plan)));
            let start = Instant::now();
            let run = Engine::run(plan, work, 8, None, Cancel::default(), |what| drop(black_box(what)));
            let finished = runtime.block_on(runtime.spawn(run)).expect("the engine ends");
            let rate = count as f64 / start.elapsed().as_secs_f64();
            assert_eq!(finished.outcomes.len(), count);
            let memory = most_memory();
            say(out, &format!("{count} stages, {name}: {rate:.0} stages/s, planned in {planned:.0} ms, {memory} MiB"));
        }
    }
}

/// Starts programs that do nothing, two at a time: measures what it costs to start one and to save its result.
fn children(out: &mut io::StdoutLock<'_>, folder: &Path) {
    const COUNT: usize = 5_000;
    let numbers = || 0..COUNT;
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).expect("memory");
        path.display().to_string()
    };
    let stages: String = numbers().map(|number| format!("  s{number}: {{ run: [/bin/true] }}\n")).collect();
    let ours = write("children.yaml", format!("version: 1\nname: children\nmax-parallel: 2\nstages:\n{stages}"));
    let builds: String = numbers().map(|number| format!("build s{number}: nothing\n")).collect();
    let ninja = write("children.ninja", format!("rule nothing\n  command = /bin/true\n{builds}"));
    let names: String = numbers().map(|number| format!(" s{number}")).collect();
    let make = write("children.mk", format!("all:{names}\n.PHONY: all{names}\n{}:\n\t/bin/true\n", names.trim()));
    let (state, folder) = (folder.join("children-state").display().to_string(), folder.display().to_string());
    let times = medians(
        3,
        &[],
        &mut [
            &mut || run(TL, &["--state", &state, "run", &ours]),
            &mut || run("ninja", &["-C", &folder, "-j2", "-f", &ninja]),
            &mut || run("make", &["-j2", "-s", "-f", &make]),
        ],
    );
    let [ours, ninja, make] = [0, 1, 2].map(|number: usize| times[number].as_secs_f64());
    let rates = [ours, ninja, make].map(|time| format!("{:.0}/s", COUNT as f64 / time)).join(", ");
    let ratios = format!("ratio to ninja {:.2}, to make {:.2}", ninja / ours, make / ours);
    say(out, &format!("{COUNT} x /bin/true, tl, ninja -j2, make -j2: {rates}; {ratios}"));
}

/// The cost of `status --watch` during a run with moving bytes and waiting programs.
fn watch(out: &mut io::StdoutLock<'_>, folder: &Path) {
    const SECONDS: u32 = 20;
    let file = folder.join("watched.yaml");
    let slow = "i=0; while [ $i -lt 300 ]; do head -c 1048576 /dev/zero; i=$((i + 1)); sleep 0.1; done";
    let text = format!(
        "version: 1\nname: watched\nmax-parallel: 8\nstages:\n  prints: {{ run: \"{slow}\", shell: sh }}\n  \
         waits: {{ strategy: {{ matrix: {{ i: [1, 2, 3, 4] }} }}, run: [sleep, '{}'] }}\n",
        SECONDS * 2
    );
    fs::write(&file, text).expect("memory");
    let state = folder.join("watch-state").display().to_string();
    let start = ["--state", &state, "run", &file.display().to_string()].map(str::to_owned);
    let quiet = || Stdio::null();
    let mut run = Command::new(TL).args(start).stdout(quiet()).stderr(quiet()).spawn().expect("a run");
    std::thread::sleep(Duration::from_secs(1));
    let limit = SECONDS.to_string();
    let arguments = ["-f", "%U %S", "timeout", "-s", "INT", &limit, TL, "--state", &state, "status", "--watch"];
    let output = Command::new("time").args(arguments).stdout(Stdio::null()).output().expect("GNU time");
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().last().unwrap_or_default();
    let used: f64 = last.split(' ').map(|seconds| seconds.parse::<f64>().expect("seconds")).sum();
    run.kill().expect("it ran");
    run.wait().expect("it ended");
    say(out, &format!("status --watch for {SECONDS} s: {:.2} % of a core", used / f64::from(SECONDS) * 100.0));
}

/// Resets this process's peak memory (proc(5), `clear_refs`).
fn forget_most_memory() {
    // Without it, the figure is too high.
    let _unsupported = fs::write("/proc/self/clear_refs", "5");
}

/// The peak memory of this process, in MiB.
fn most_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default() / 1024
}
