//! Files made to exhaust a machine. tl refuses them by counting, in little memory.
//!
//! The real program reads each one with a limited address space, and must end with the right code.

use std::fmt::Write;

use crate::support::{Ended, Tl, ended};

/// The limit of the address space. Most of it goes to the program itself and to the allocator's reserve. A file may
/// have 4 MiB.
const MIB: usize = 512;
const LARGEST: usize = 4 << 20;

fn validate(tl: &Tl) -> Ended {
    let kib = MIB << 10;
    ended(&mut tl.shell(&format!("ulimit -v {kib} && exec tl validate --json p.yaml")))
}

/// The codes of the findings in a file.
fn codes(tl: &Tl) -> Vec<String> {
    let ended = validate(tl);
    let found: serde_json::Value = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|_| panic!("exit code {}: {}", ended.code, &ended.stderr[..ended.stderr.len().min(2_000)]));
    let findings = found["findings"].as_array().unwrap();
    let refused = findings.iter().any(|finding| finding["severity"] == "error");
    assert_eq!(ended.code, if refused { 2 } else { 0 });
    findings.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

fn found_in(text: &str) -> Vec<String> {
    assert!(text.len() <= LARGEST, "{} bytes would be refused for their number", text.len());
    let tl = Tl::new();
    tl.write("p.yaml", text);
    codes(&tl)
}

fn pipeline(rest: &str) -> String {
    format!("version: 1\nname: large\n{rest}\nstages:\n  one: {{ run: [echo] }}\n")
}

#[test]
fn the_limit_is_one() {
    let tl = Tl::new();
    let hungry =
        ended(&mut tl.shell(&format!("ulimit -v {} && exec sh -c 'head -c 600M /dev/zero | tail -n 1'", MIB << 10)));
    assert_ne!(hungry.stderr, "", "a program that needs more must not get it");
    tl.write("p.yaml", pipeline(""));
    assert!(codes(&tl).is_empty());
}

#[test]
fn copies_of_copies_are_counted() {
    let mut aliases = "x-0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    let mut merges = "x-0: &a0 { a: 1, b: 2, c: 3 }\n".to_owned();
    for i in 1..40 {
        let before = i - 1;
        writeln!(aliases, "x-{i}: &a{i} [{}]", vec![format!("*a{before}"); 10].join(",")).unwrap();
        writeln!(merges, "x-{i}: &a{i} {{ <<: [*a{before}, *a{before}], k{i}: *a{before}, l{i}: *a{before} }}")
            .unwrap();
    }
    assert_eq!(found_in(&pipeline(&aliases)), ["TL0004"]);
    assert_eq!(found_in(&pipeline(&merges)), ["TL0004"]);
}

#[test]
fn long_texts_and_long_names_are_counted_in_bytes() {
    let copied = format!("x-0: &a {}\nx-1: [{}]\n", "x".repeat(3 << 20), ["*a"; 900].join(","));
    assert_eq!(found_in(&pipeline(&copied)), ["TL0004"]);
    let mut below_long_names = "x-0:\n".to_owned();
    for level in 1..25 {
        writeln!(below_long_names, "{}{}:", " ".repeat(level), "k".repeat(1_000)).unwrap();
    }
    writeln!(below_long_names, "{}[{}]", " ".repeat(25), vec!["1"; 400_000].join(",")).unwrap();
    assert_eq!(found_in(&pipeline(&below_long_names)), ["TL0004"]);
}

#[test]
fn depth_is_counted() {
    assert_eq!(found_in(&format!("x-0: {}", "[".repeat(1_000_000))), ["TL0004"]);
    assert_eq!(found_in(&format!("x-0: {}", "{a: ".repeat(1_000_000))), ["TL0004"]);
    assert_eq!(found_in(&format!("x-0:\n  {}x\n", "- ".repeat(1_000_000))), ["TL0004"]);
    assert_eq!(found_in(&format!("x-0:\n  {}x\n", "? ".repeat(1_000_000)))[0], "TL0010");
}

#[test]
fn many_keys_are_counted_and_so_are_findings() {
    let keys = |count: usize| (0..count).map(|key| format!("k{key:x}")).collect::<Vec<_>>();
    assert_eq!(found_in(&format!("{{{}}}", keys(520_000).join(","))), ["TL0004"]);
    // A million of the same finding, all on one line.
    let found = found_in(&format!("{{{}}}", vec!["a"; 1_000_000].join(",")));
    assert!(found.iter().all(|code| code == "TL0006" || code == "TL0004") && found.len() == 1_001, "{}", found.len());
    // A hundred thousand unknown keys.
    let unknown: String = keys(100_000).iter().fold(String::new(), |all, key| all + key + ": 1\n");
    let found = found_in(&pipeline(&unknown));
    assert_eq!((found.len(), found.iter().filter(|code| *code == "TL0004").count()), (1_001, 1));
    let needs: String =
        (0..2_000).fold(String::new(), |all, i| all + &format!("  s{i}: {{ run: [x], needs: n{i} }}\n"));
    let found = found_in(&(pipeline("") + &needs));
    assert_eq!((found.len(), found.iter().filter(|code| *code == "TL0401").count()), (1_001, 1_000));
}

#[test]
fn one_large_thing_is_read_or_refused() {
    let large = "x".repeat(LARGEST - 200);
    assert!(found_in(&pipeline(&format!("description: {large}"))).is_empty());
    let sum = vec!["1"; (LARGEST - 200) / 2].join("+");
    assert_eq!(found_in(&pipeline(&format!("timeout: ${{{{ {sum} }}}}"))), ["TL0309"]);
    let axis = |name: &str| format!("{name}: [{}]", (0..1_000).map(|i| i.to_string()).collect::<Vec<_>>().join(","));
    let matrix = format!("  two: {{ run: [echo], strategy: {{ matrix: {{ {}, {} }} }} }}\n", axis("a"), axis("b"));
    assert_eq!(found_in(&(pipeline("") + &matrix)), ["TL0410"]);
    let tl = Tl::new();
    tl.write("p.yaml", (0..1_000_000).fold(String::new(), |all, key| all + &format!("k{key}: 1\n")));
    assert_eq!(codes(&tl), ["TL0004"]);
}

#[test]
fn chains_circles_and_large_bases_are_refused() {
    let tl = Tl::new();
    for i in 0..9 {
        let name = if i == 0 { "p.yaml".to_owned() } else { format!("{i}.yaml") };
        tl.write(&name, pipeline(&format!("extends: {}.yaml", i + 1)));
    }
    tl.write("9.yaml", pipeline(""));
    assert_eq!(codes(&tl), ["TL0012"]);
    tl.write("5.yaml", pipeline("extends: p.yaml"));
    assert_eq!(codes(&tl), ["TL0011"]);
    tl.write("1.yaml", pipeline(&format!("description: {}", "x".repeat(LARGEST))));
    assert_eq!(codes(&tl), ["TL0004"]);
    tl.write("1.yaml", pipeline(&format!("description: {}", "x".repeat(LARGEST - 200))));
    assert!(codes(&tl).is_empty());
}
