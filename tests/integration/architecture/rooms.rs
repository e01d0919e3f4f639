//! Which room may import which, and where each outside crate lives.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::debts;
use super::imports::rooms_named;
use super::sources::{Source, sources};

/// What a room may import.
enum May {
    These(&'static [&'static str]),
    /// Every room above it in the table.
    Above,
}
use May::{Above, These};

/// The rooms of `src/` in the order of the data: name, what it is, what it may import.
const ROOMS: &[(&str, &str, May)] = &[
    (
        "value",
        "names, durations, sizes, digests, paths, `Secret` and its masking; `Cancel`, the one way to be cancelled",
        These(&[]),
    ),
    ("diagnostic", "one error with code, place, help, and a kind that gives the exit code", These(&[])),
    ("event", "what the engine says happened; serialisable, with a schema", These(&["value", "diagnostic"])),
    ("process", "programs: started, supervised, ended", These(&["value", "diagnostic"])),
    ("expression", "CEL: parse, check, evaluate", These(&["value", "diagnostic"])),
    ("crypto", "age v1 files, identities, Ed25519", These(&["value"])),
    ("storage", "stores and their kinds", These(&["value"])),
    ("source", "what is taken: sources, patterns, the walk through them", These(&["value"])),
    ("template", "messages as text and HTML", These(&["value"])),
    ("audit", "the log and its proofs", These(&["value", "crypto", "storage"])),
    ("vault", "sources of secrets", These(&["value", "crypto", "audit", "process"])),
    ("channels", "ways to send a message", These(&["value", "template", "crypto", "process"])),
    ("stages", "the kinds of stages, artifacts, `Context`", Above),
    ("pipeline", "a file from text to a checked `Pipeline`: read, check, model", Above),
    ("explain", "what each code means, one text a code", These(&["value", "diagnostic"])),
    ("init", "pipelines to begin with", These(&["value", "diagnostic"])),
    ("trace", "the log of what the program does; `tracing` itself is used everywhere", These(&["value", "diagnostic"])),
    (
        "graph",
        "the plan, and the ready-state machine, without clock or I/O",
        These(&["value", "diagnostic", "event", "expression", "stages", "pipeline"]),
    ),
    (
        "state",
        "the state folder: journal, history, logs, outbox, texts of pipelines, locks",
        These(&["value", "event", "diagnostic", "process"]),
    ),
    (
        "engine",
        "dispatcher and workers, generic over the work",
        // A unit keeps the `retry` of its stage, as the model has it.
        These(&["value", "diagnostic", "event", "expression", "stages", "pipeline", "graph"]),
    ),
    // It may import the engine too: `open` makes the expansion of a matrix that plan and run share.
    ("open", "a file made ready, nothing run: loaded text, environment, secrets, stores, channels", Above),
    ("inspect", "reads and judges without running: validate, plan, doctor, status, stats, stale, versions", Above),
    ("notify", "which message is sent when, and its way through the outbox", Above),
    ("run", "one run: prepare, execute, recall, resume", Above),
    (
        "report",
        "renders events, plans, findings, records, diagnostics; owns all output",
        These(&[
            "value",
            "diagnostic",
            "event",
            "explain",
            "trace",
            "graph",
            "source",
            "storage",
            "audit",
            "state",
            "inspect",
            "run",
        ]),
    ),
    (
        "cli",
        "arguments, nothing else",
        These(&[
            "value",
            "diagnostic",
            "event",
            "process",
            "expression",
            "crypto",
            "audit",
            "stages",
            "pipeline",
            "explain",
            "init",
            "trace",
            "graph",
            "state",
            "open",
            "inspect",
            "notify",
            "run",
            "report",
        ]),
    ),
];

/// Imports that the table forbids: `file > room`, each once.
const TO_BE_MENDED: &[(&str, usize)] = &[];

/// Crates that one room alone may use.
const HOMES: &[(&str, &str)] = &[
    ("aho_corasick", "value"),
    ("aws_config", "storage"),
    ("aws_sdk_s3", "storage"),
    ("aws_smithy_http_client", "storage"),
    ("bech32", "crypto"),
    ("cel", "expression"),
    ("clap", "cli"),
    ("clap_complete", "cli"),
    ("clap_mangen", "cli"),
    ("crc_fast", "storage"),
    ("croner", "value"),
    ("ignore", "source"),
    ("handlebars", "template"),
    ("indicatif", "report"),
    ("jsonschema", "pipeline"),
    ("layout", "report"),
    ("lettre", "channels"),
    ("libsodium_sys", "crypto"),
    ("md5", "storage"),
    ("notify_rust", "channels"),
    ("reqwest", "channels"),
    ("rusqlite", "state"),
    ("saphyr_parser", "pipeline"),
    ("serde_yaml", "pipeline"),
    ("shlex", "report"),
    ("similar", "report"),
    ("sodiumoxide", "crypto"),
    ("tar", "stages"),
    ("tracing_subscriber", "trace"),
    ("xattr", "stages"),
    ("zstd", "stages"),
];

/// The names of the rooms that each room may import.
fn rules() -> BTreeMap<&'static str, Vec<&'static str>> {
    let names = |rooms: &'static [(&str, &str, May)]| rooms.iter().map(|(name, ..)| *name).collect();
    let rule = |(at, (name, _, may)): (usize, &'static (&str, &str, May))| {
        let allowed = match may {
            These(rooms) => rooms.to_vec(),
            Above => names(&ROOMS[..at]),
        };
        (*name, allowed)
    };
    ROOMS.iter().enumerate().map(rule).collect()
}

#[test]
fn data_flows_one_way() {
    let rules = rules();
    let mut found = BTreeMap::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let room = source.room();
        if matches!(room.as_str(), "lib" | "main") {
            continue;
        }
        let path = source.path.display();
        let allowed = rules.get(room.as_str()).unwrap_or_else(|| panic!("{path} is in no row of the table"));
        let named = rooms_named(&source.code());
        let forbidden = named.iter().filter(|import| **import != room && !allowed.contains(&import.as_str()));
        found.extend(forbidden.map(|import| (format!("{path} > {import}"), 1)));
    }
    debts::compare("imports that the table forbids", TO_BE_MENDED, &found);
}

#[test]
fn the_table_is_about_what_is_there() {
    let there: BTreeSet<String> = sources("src").iter().map(Source::room).collect();
    let missing: Vec<&str> = ROOMS.iter().map(|(room, ..)| *room).filter(|room| !there.contains(*room)).collect();
    assert!(missing.is_empty(), "rooms that have no folder: {missing:?}");
}

#[test]
fn each_outside_crate_has_one_home() {
    let mut found = Vec::new();
    let mut used = BTreeSet::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let code = source.code();
        for (name, home) in HOMES {
            let is_used = code.match_indices(&format!("{name}::")).any(|(at, _)| {
                let before = code[..at].chars().next_back();
                before.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == ':'))
            });
            if is_used {
                used.insert(*name);
            }
            if is_used && source.room() != *home {
                found.push(format!("{} uses {name}", source.path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    let unused: Vec<_> = HOMES.iter().filter(|(name, _)| !used.contains(name)).collect();
    assert!(unused.is_empty(), "used nowhere: {unused:?}");
}

const BEGIN: &str = "<!-- rooms: this table is written by TL_WRITE=1 cargo test architecture -->\n";
const END: &str = "<!-- end of rooms -->\n";

/// The table of ARCHITECTURE.md.
fn table() -> String {
    let mut table = "| folder | what it is | may import |\n| --- | --- | --- |\n".to_owned();
    for (name, about, may) in ROOMS {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let suffix = if root.join(format!("{name}.rs")).exists() { ".rs" } else { "/" };
        let imports = match may {
            These([]) => "nothing".to_owned(),
            These(rooms) => rooms.join(", "),
            Above => "all of the above".to_owned(),
        };
        table += &format!("| `{name}{suffix}` | {about} | {imports} |\n");
    }
    table
}

#[test]
fn architecture_md_shows_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("ARCHITECTURE.md has the mark before the table");
    let (shown, after) = rest.split_once(END).expect("ARCHITECTURE.md has the mark behind the table");
    if std::env::var_os("TL_WRITE").is_some() {
        fs::write(path, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
        return;
    }
    assert!(shown == table(), "ARCHITECTURE.md shows another table than this one; TL_WRITE=1 writes it:\n{}", table());
}
