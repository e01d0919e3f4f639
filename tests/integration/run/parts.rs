//! A store that is down keeps no copy in another store from being proven.

use serde_json::{Value as Json, json};

use crate::support::{Tl, events};

const STAGES: &str = "stages:
  collect: { uses: archive, with: { sources: [data] } }
  deliver:
    needs: collect
    strategy: { matrix: { store: [shelf, nas] } }
    uses: upload
    with: { artifact: '${{ needs.collect.outputs.artifact }}', store: '${{ matrix.store }}', key: '${{ run.id }}.tar' }
  prove:
    needs: deliver
    strategy: { matrix: { object: '${{ needs.deliver.outputs.object }}' } }
    uses: verify
    with: { object: '${{ matrix.object }}', level: content }
  vacuum: { needs: [deliver, prove], run: [touch, vacuumed] }
  after_proof: { needs: prove, run: [touch, vacuumed] }
";

fn ends(events: &[Json]) -> Vec<(String, String, String)> {
    let ended = events.iter().filter(|event| event["event"] == "stage-ended");
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let kind = |event: &Json| if event["instance"].is_null() { "" } else { "instance" }.to_owned();
    ended.map(|event| (text(&event["stage"]), kind(event), text(&event["outcome"]))).collect()
}

#[test]
fn the_copy_that_arrived_is_proven() {
    let tl = Tl::new();
    tl.write("data/a.txt", "a").pipeline(STAGES);
    tl.write("p.yaml", tl.read("p.yaml").replace("stores:\n", "stores:\n  nas: { uses: dir, with: { path: nas } }\n"));
    let (code, seen) = tl.events(&[]);
    assert_eq!(code, 10, "the store that is down decides");
    let ended = ends(&seen);
    let of = |stage: &str, kind: &str| -> Vec<&str> {
        let mut of: Vec<&str> =
            ended.iter().filter(|end| end.0 == stage && end.1 == kind).map(|end| end.2.as_str()).collect();
        of.sort_unstable();
        of
    };
    assert_eq!((of("deliver", "instance"), of("deliver", "")), (vec!["failure", "success"], vec!["failure"]));
    assert_eq!((of("prove", "instance"), of("prove", "")), (vec!["skipped", "success"], vec!["skipped"]));
    assert_eq!((of("vacuum", ""), of("after_proof", "")), (vec!["skipped"], vec!["skipped"]));
    let skipped = seen.iter().find(|event| event["stage"] == "prove" && event["outcome"] == "skipped").unwrap();
    assert_eq!(skipped["reason"], "`deliver` failed: its value in the matrix is null");
    assert!(!tl.file("vacuumed").exists());

    // The store is back: what was proven is proven again only if its delivery was done again.
    std::fs::create_dir(tl.file("nas")).unwrap();
    let ended = tl.run(&["run", "--resume", "--reporter", "json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let seen = events(&ended.stdout);
    assert_eq!(seen.last().unwrap()["counts"]["assurance"], json!("proven"));
    assert!(tl.file("vacuumed").exists());
}

#[test]
fn an_if_decides_alone() {
    let tl = Tl::new();
    let stages = STAGES.replace("    uses: verify", "    if: 'true'\n    uses: verify");
    tl.write("data/a.txt", "a").pipeline(&stages);
    tl.write("p.yaml", tl.read("p.yaml").replace("stores:\n", "stores:\n  nas: { uses: dir, with: { path: nas } }\n"));
    let (code, seen) = tl.events(&[]);
    assert_eq!(code, 10);
    let proven = ends(&seen).into_iter().filter(|end| end.0 == "prove").collect::<Vec<_>>();
    assert_eq!(proven, [("prove".to_owned(), String::new(), "skipped".to_owned())]);
}
