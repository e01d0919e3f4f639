//! Each level of verification against each way to change an object between its upload and its verification.
use crate::support::{CHAIN, Tl, error_of, outcomes};

/// What a `run` stage does to the object between upload and verification. `$O` is the object.
const CHANGES: [(&str, &str); 7] = [
    ("nothing", "true"),
    ("bit", r#"printf '\377' | dd of="$O" bs=1 seek=300 conv=notrunc 2>/dev/null"#),
    ("truncation", r#"truncate -s -1 "$O""#),
    ("growth", r#"printf x >> "$O""#),
    ("swap", r#"cp other "$O"; cp other.sha256 "$O.sha256""#),
    ("removal", r#"rm "$O""#),
    ("link", r#"mv "$O" "$O.x"; ln -s "$O.x" "$O""#),
];

#[test]
fn each_level_notices_all_that_it_claims_to_notice() {
    let tl = Tl::new();
    tl.write("data/a", "x");
    // Another object of the same length with its own valid digest, as from a store that mixes objects up.
    tl.pipeline(&format!("stages:\n{CHAIN}"));
    tl.ok(&["run", "p.yaml"]);
    for name in ["object", "object.sha256"] {
        std::fs::rename(tl.file("shelf").join(name), tl.file(&name.replace("object", "other"))).unwrap();
    }
    let noticed = |level: &str, change: &str| match change {
        "nothing" => false,
        "bit" => level == "content",
        "swap" => level != "presence",
        _ => true,
    };
    for level in ["presence", "checksum", "content"] {
        for (name, change) in CHANGES {
            tl.pipeline(&format!(
                "stages:\n{}  change: {{ needs: deliver, env: {{ O: '${{{{ needs.deliver.outputs.object.uri }}}}' }}, shell: sh, run: \
                 \"{}\" }}\n  prove: {{ needs: [deliver, change], uses: verify, with: {{ object: '${{{{ \
                 needs.deliver.outputs.object }}}}', level: {level} }} }}\n",
                CHAIN.replace("key: object", "key: 'o/${{ run.id }}'"),
                change.replace('\\', "\\\\").replace('"', "\\\"")
            ));
            let (code, events) = tl.events(&[]);
            let proven = outcomes(&events).iter().any(|(stage, outcome)| stage == "prove" && outcome == "success");
            assert_eq!(!proven, noticed(level, name), "{level} {name}");
            assert_eq!(code, if proven { 0 } else { 4 }, "{level} {name}");
            if !proven {
                let expected = match name {
                    "removal" | "link" => "TL0640",
                    "truncation" | "growth" => "TL0641",
                    _ => "TL0642",
                };
                assert_eq!(error_of(&events, "prove"), expected, "{level} {name}");
            }
        }
    }
    let failed = tl.ok(&["audit", "show", "--type", "verify.failed"]).stdout;
    assert_eq!(failed.lines().count(), 4 + 5 + 6);
}

/// The digest that this run computed at the source takes precedence over any other.
#[test]
fn the_digest_of_the_source_outweighs_every_other() {
    let tl = Tl::new();
    tl.write("data/a", "x").pipeline(&format!(
        "stages:\n{CHAIN}  prove:\n    needs: deliver\n    uses: verify\n    with: {{ level: presence, object: {{ store: shelf, key: \
         object, uri: x, size: '${{{{ needs.deliver.outputs.object.size }}}}', digest: 'sha256:{}' }} }}\n",
        "0".repeat(64)
    ));
    let (code, events) = tl.events(&[]);
    assert_eq!((code, error_of(&events, "prove")), (4, "TL0642".to_owned()));
}

/// `verify` does not believe a store that writes other bytes than it was given and records their digest. The digest of
/// the source decides.
#[test]
fn a_digest_in_the_file_is_compared_with_what_the_store_holds() {
    let tl = Tl::new();
    tl.write("data/a", "x").pipeline(&format!("stages:\n{CHAIN}"));
    tl.ok(&["run", "p.yaml"]);
    let digest = tl.read("shelf/object.sha256")[..64].to_owned();
    let size = std::fs::metadata(tl.file("shelf/object")).unwrap().len();
    let file = |digest: &str, size: u64| {
        format!(
            "stages:\n  old: {{ uses: verify, with: {{ object: {{ store: shelf, key: object, uri: x, size: {size}, digest: \
             'sha256:{digest}' }} }} }}\n"
        )
    };
    for (digest, size, code) in
        [(&*digest, size, 0), (&"0".repeat(64), size, 4), (&*digest, size + 1, 4), ("short", size, 1)]
    {
        tl.pipeline(&file(digest, size));
        assert_eq!(tl.run(&["run", "p.yaml"]).code, code, "{digest} {size}");
    }
}
