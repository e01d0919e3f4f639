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

    // The store is back. A proof is made again only where its delivery was.
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

/// A copy that is damaged before it is proven: the next session delivers it anew, and proves it.
#[test]
fn what_is_found_damaged_is_delivered_anew() {
    for (damage, code) in [
        ("printf x | dd of=$O bs=1 seek=3 conv=notrunc 2>/dev/null", "TL0642"),
        ("truncate -s -1 $O", "TL0641"),
        ("rm $O", "TL0640"),
    ] {
        let tl = Tl::new();
        tl.write("data/a.txt", "a").write("bad", "").write("damage.sh", format!("[ ! -e bad ] || {{ {damage}; }}\n"));
        tl.pipeline(
            "stages:\n  collect: { uses: archive, with: { sources: [data] } }\n  deliver: { needs: collect, uses: upload, with: { artifact: \
             '${{ needs.collect.outputs.artifact }}', store: shelf, key: a.tar } }\n  damage: { needs: deliver, shell: sh, run: '. ./damage.sh', \
             env: { O: shelf/a.tar } }\n  prove: { needs: [deliver, damage], uses: verify, with: { object: '${{ needs.deliver.outputs.object \
             }}', level: content } }\n",
        );
        let first = tl.run(&["run", "p.yaml"]);
        assert!(first.code == 4 && first.stdout.contains(code), "{first:?}");
        std::fs::remove_file(tl.file("bad")).unwrap();
        let ended = tl.run(&["run", "--resume", "--reporter", "json"]);
        assert_eq!(ended.code, 0, "{code}: {ended:?}");
        let seen = events(&ended.stdout);
        let recalled = |stage: &str| {
            seen.iter()
                .any(|event| event["event"] == "stage-ended" && event["stage"] == stage && event["recalled"] == true)
        };
        assert!(!recalled("deliver") && !recalled("prove"), "{code}");
    }
}

/// What a session proved is read again by the next one: the object may have changed since.
#[test]
fn a_proof_of_an_earlier_session_is_not_taken_for_one_of_today() {
    let tl = Tl::new();
    tl.write("data/a.txt", "a").pipeline(
        "stages:\n  collect: { uses: archive, with: { sources: [data] } }\n  deliver: { needs: collect, uses: upload, with: { artifact: '${{ \
         needs.collect.outputs.artifact }}', store: shelf, key: a.tar } }\n  prove: { needs: deliver, uses: verify, with: { object: '${{ \
         needs.deliver.outputs.object }}', level: content } }\n  last: { needs: prove, run: [test, -e, go] }\n",
    );
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 1);
    // As a disk does that loses a bit: neither time nor length changes.
    let object = tl.file("shelf/a.tar");
    let time = std::fs::metadata(&object).unwrap().modified().unwrap();
    let mut bytes = std::fs::read(&object).unwrap();
    bytes[600] ^= 1;
    std::fs::write(&object, &bytes).unwrap();
    std::fs::File::options().write(true).open(&object).unwrap().set_modified(time).unwrap();
    tl.write("go", "");
    assert_eq!(tl.run(&["run", "--resume"]).code, 4);
    assert_eq!(tl.run(&["run", "--resume"]).code, 0, "it is delivered anew");
}
