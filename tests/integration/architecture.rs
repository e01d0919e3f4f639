//! The house of ARCHITECTURE.md, held by a test: who may import whom, which crate has which home, how long a file may be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may import, beside itself.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("value", &[]),
    ("diagnostic", &[]),
    ("process", &["value"]),
    ("event", &["value", "diagnostic"]),
    ("explain", &["diagnostic"]),
    ("expression", &["value", "diagnostic"]),
    ("crypto", &["value"]),
    ("storage", &["value"]),
    ("template", &["value"]),
    ("init", &[]),
    ("audit", &["value", "crypto", "storage"]),
    ("vault", &["value", "process", "crypto", "audit"]),
    ("channels", &["value", "process", "template", "crypto"]),
    (
        "stages",
        &[
            "value",
            "diagnostic",
            "event",
            "process",
            "expression",
            "crypto",
            "storage",
            "audit",
            "vault",
            "channels",
            "template",
        ],
    ),
    (
        "pipeline",
        &[
            "value",
            "diagnostic",
            "event",
            "expression",
            "crypto",
            "storage",
            "audit",
            "vault",
            "channels",
            "template",
            "stages",
        ],
    ),
    // The plan also knows which kinds can be joined into a stream.
    ("graph", &["value", "diagnostic", "event", "expression", "pipeline", "stages"]),
    ("state", &["value", "diagnostic", "event", "process"]),
    ("engine", &["value", "diagnostic", "event", "expression", "stages", "graph", "pipeline"]),
    (
        "open",
        &[
            "value",
            "diagnostic",
            "event",
            "process",
            "expression",
            "storage",
            "template",
            "audit",
            "vault",
            "channels",
            "stages",
            "pipeline",
            "graph",
            "state",
            "engine",
            "trace",
        ],
    ),
    (
        "inspect",
        &[
            "value",
            "diagnostic",
            "event",
            "expression",
            "crypto",
            "storage",
            "vault",
            "channels",
            "stages",
            "pipeline",
            "graph",
            "state",
            "engine",
            "open",
        ],
    ),
    (
        "notify",
        &[
            "value",
            "diagnostic",
            "event",
            "template",
            "audit",
            "channels",
            "stages",
            "pipeline",
            "state",
            "open",
            "inspect",
        ],
    ),
    (
        "run",
        &[
            "value",
            "diagnostic",
            "event",
            "process",
            "expression",
            "storage",
            "audit",
            "stages",
            "pipeline",
            "graph",
            "state",
            "engine",
            "open",
            "inspect",
            "notify",
        ],
    ),
    ("trace", &["value", "diagnostic"]),
    ("report", &["value", "diagnostic", "event", "explain", "storage", "state", "inspect", "audit", "trace"]),
    (
        "cli",
        &[
            "value",
            "diagnostic",
            "event",
            "graph",
            "explain",
            "process",
            "expression",
            "crypto",
            "audit",
            "init",
            "stages",
            "pipeline",
            "state",
            "open",
            "inspect",
            "notify",
            "run",
            "report",
            "trace",
        ],
    ),
];

/// Crates that one module alone may use.
const HOMES: &[(&str, &str)] = &[
    ("croner", "value"),
    ("sodiumoxide", "crypto"),
    ("libsodium_sys", "crypto"),
    ("bech32", "crypto"),
    ("handlebars", "template"),
    ("lettre", "channels"),
    ("reqwest", "channels"),
    ("cel", "expression"),
    ("serde_yaml", "pipeline"),
    ("saphyr_parser", "pipeline"),
    ("jsonschema", "pipeline"),
    ("tar", "stages"),
    ("zstd", "stages"),
    ("aws_sdk_s3", "storage"),
    ("aws_config", "storage"),
    ("aws_smithy_http_client", "storage"),
    ("rusqlite", "state"),
    ("clap", "cli"),
    ("clap_complete", "cli"),
    ("clap_mangen", "cli"),
    ("indicatif", "report"),
    ("similar", "report"),
    ("layout", "report"),
    ("tracing_subscriber", "trace"),
];

/// Modules that may hold `unsafe`, each with its argument beside it.
const UNSAFE: &[&str] = &["crypto/scrypt.rs"];

const LONGEST_FILE: usize = 400;

struct Source {
    path: PathBuf,
    module: String,
    /// Without comments, and without what stands behind the tests' gate.
    code: String,
    lines: usize,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().to_owned();
            let module = name.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
            let text = fs::read_to_string(&path).unwrap();
            let body = text.split("\n#[cfg(test)]\n").next().unwrap_or_default();
            let lines = body.lines().count();
            let code: Vec<&str> = body.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            // Files that hold nothing but tests belong to `cargo test` alone.
            let is_test =
                path.file_stem().is_some_and(|stem| stem == "tests") || path.iter().any(|part| part == "tests");
            if !is_test {
                found.push(Source { path: name, module, code: code.join("\n"), lines });
            }
        }
    }
    found
}

/// The modules of this crate that a text names: `crate::x`, also in `use crate::{x, y::z}`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0_i32;
            let mut word = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.push(std::mem::take(&mut word)),
                    c if depth == 0 => word.push(c),
                    _ => {}
                }
            }
            found.push(word);
        } else {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
        .iter()
        .map(|word| word.trim().split("::").next().unwrap_or_default().to_owned())
        .filter(|w| !w.is_empty())
        .collect()
}

#[test]
fn data_flows_one_way() {
    let rules: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut broken = Vec::new();
    for source in sources() {
        if matches!(source.module.as_str(), "lib" | "main") {
            continue;
        }
        let allowed = rules.get(source.module.as_str());
        let allowed = allowed.unwrap_or_else(|| panic!("{} is in no row of the table", source.path.display()));
        for import in imports(&source.code) {
            if import != source.module && !allowed.contains(&import.as_str()) {
                broken.push(format!("{} imports {import}", source.path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn each_outside_crate_has_one_home() {
    let mut broken = Vec::new();
    for source in sources() {
        for (name, home) in HOMES {
            let used = source.code.match_indices(&format!("{name}::")).any(|(at, _)| {
                let before = source.code[..at].chars().next_back();
                before.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == ':'))
            });
            if used && source.module != *home {
                broken.push(format!("{} uses {name}", source.path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn files_stay_readable() {
    let mut broken = Vec::new();
    for source in sources() {
        if source.lines > LONGEST_FILE {
            broken.push(format!("{} has {} lines before its tests", source.path.display(), source.lines));
        }
        let holds_code = ["fn ", "pub fn ", "const fn ", "struct ", "pub struct ", "pub enum ", "impl"];
        let starts = |line: &str| holds_code.iter().any(|word| line.starts_with(word));
        if source.path.ends_with("mod.rs") && source.code.lines().any(starts) {
            broken.push(format!("{} holds more than docs and re-exports", source.path.display()));
        }
        if source.code.contains("unsafe") && !UNSAFE.iter().any(|name| source.path.ends_with(name)) {
            broken.push(format!("{} holds `unsafe`", source.path.display()));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_table_is_about_what_is_there() {
    let sources = sources();
    for (module, _) in MAY_IMPORT {
        assert!(sources.iter().any(|source| source.module == *module), "{module} does not exist");
    }
    // The reader of imports itself.
    assert_eq!(imports("use crate::a::b; use crate::{c, d::{e, f}, g as h};"), ["a", "c", "d", "g as h"]);
}
