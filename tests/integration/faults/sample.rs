//! A pipeline that writes everything a run can write, and checks of what it leaves.

use std::process::{Child, Command};

use timelocker::state::StateDir;

use crate::support::{Tl, archive_of, files};

/// All that a run puts on the disk: programs that print and give, a chain, a diamond over a file, a proof, messages.
const PIPELINE: &str = r#"version: 1
name: test
max-parallel: 2
stores:
  shelf: { uses: dir, with: { path: shelf } }
channels:
  log: { uses: file, with: { path: log.jsonl } }
stages:
  prepare: { run: 'echo x >> prepare.txt; echo done; echo "n=7" >> "$TL_OUTPUT"', shell: sh, outputs: { n: int } }
  collect: { needs: prepare, uses: archive, with: { sources: [data] } }
  seal: { needs: collect, uses: encrypt, with: { artifact: '${{ needs.collect.outputs.artifact }}', recipients-file: recipients.txt } }
  deliver: { needs: seal, uses: upload, with: { artifact: '${{ needs.seal.outputs.artifact }}', store: shelf, key: 'sealed-${{ run.id }}' } }
  spooled: { needs: prepare, uses: archive, with: { sources: [data] } }
  two: { needs: spooled, strategy: { matrix: { k: [a, b] } }, uses: upload, with: { artifact: '${{ needs.spooled.outputs.artifact }}', store: shelf, key: '${{ matrix.k }}-${{ run.id }}' } }
  prove: { needs: [deliver, two], uses: verify, with: { object: '${{ needs.deliver.outputs.object }}', level: content } }
finally:
  always: { run: 'echo x >> always.txt', shell: sh }
notify:
  - { when: [success, failure, blocked], to: [log] }
"#;

/// A folder with all that the pipeline needs.
pub fn lay_out() -> Tl {
    let tl = Tl::new();
    // With its companions, made where nothing fails.
    tl.pipeline("").write("p.yaml", PIPELINE).write("data/a", "hello".repeat(20_000));
    tl
}

/// The effects of a run in the journal, by name; nothing where there is none of that id.
pub fn proven(tl: &Tl, run: &str) -> Option<Vec<(String, Option<usize>)>> {
    let left = StateDir::locate(Some(&tl.state())).unwrap().prior_run(run).unwrap()?;
    // A proof is made again in each session.
    let kept = left.effects.into_iter().filter(|effect| effect.stage != "prove");
    Some(kept.map(|effect| (effect.stage, effect.instance)).collect())
}

/// That the store holds all that a run delivers, each with its digest, and each as it was at the source.
pub fn delivered(tl: &Tl, run: &str) -> Result<(), String> {
    let named = files(&tl.file("shelf")).into_iter().filter(|name| name.contains(run));
    let expected: Vec<String> = ["a", "b", "sealed"]
        .into_iter()
        .flat_map(|kind| [format!("{kind}-{run}"), format!("{kind}-{run}.sha256")])
        .collect();
    let found: Vec<String> = named.collect();
    if found != expected {
        return Err(format!("{found:?}"));
    }
    let whole = expected.iter().filter(|name| name.ends_with(".sha256")).all(|name| {
        Command::new("sha256sum")
            .args(["-c", "--status", name])
            .current_dir(tl.file("shelf"))
            .status()
            .unwrap()
            .success()
    });
    tl.ok(&["open", "-i", "identity.txt", "--force", "-o", "opened", &format!("shelf/sealed-{run}")]);
    let plain = std::fs::read(tl.file(&format!("shelf/a-{run}"))).unwrap();
    let is_same = std::fs::read(tl.file("opened")).unwrap() == plain;
    let is_right = is_same && std::fs::read(tl.file(&format!("shelf/b-{run}"))).unwrap() == plain;
    archive_of(&plain, "hello".repeat(20_000).as_bytes());
    (whole && is_right).then_some(()).ok_or_else(|| "other bytes".to_owned())
}

/// Both output streams of a child that is left alone with a while; it is killed after a minute, and that is an error.
pub fn output_of(child: Child) -> std::process::Output {
    let id = child.id();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || drop(tell.send(child.wait_with_output())));
    told.recv_timeout(std::time::Duration::from_mins(1)).map(Result::unwrap).unwrap_or_else(|_| {
        let id = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
        panic!("it hangs")
    })
}
