//! Help, completions and manual pages.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use crate::support::{CHAIN, Ended, Tl, ended, events, files};

/// The words of each command that has help, including the program itself, according to help.
fn commands(tl: &Tl) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    let mut next = vec![Vec::new()];
    while let Some(words) = next.pop() {
        let help = help(tl, &words);
        assert_eq!(help.code, 0, "{words:?}: {help:?}");
        assert!(help.stdout.contains("Usage: tl") && help.stderr.is_empty(), "{words:?}: {help:?}");
        for name in subcommands(&help.stdout) {
            next.push(words.iter().cloned().chain([name]).collect());
        }
        found.insert(words);
    }
    found
}

/// A network namespace without interfaces, if this machine allows one.
static NO_NETWORK: LazyLock<&str> = LazyLock::new(|| {
    let tried = Command::new("unshare").args(["--net", "true"]).stderr(Stdio::null()).status();
    if tried.is_ok_and(|status| status.success()) { "unshare --net" } else { "env" }
});

/// Asks for help without a home, a network, or a state folder that can be created.
fn help(tl: &Tl, words: &[String]) -> Ended {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {} \"$@\"", *NO_NETWORK), "sh", env!("CARGO_BIN_EXE_tl")]);
    command.args(words).arg("--help");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    ended(command.env("TL_STATE", "/proc/nowhere").current_dir(tl.path()))
}

/// The names below `Commands:`.
fn subcommands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

#[test]
fn every_command_has_help_that_needs_nothing() {
    let tl = Tl::new();
    let commands = commands(&tl);
    assert!(commands.len() > 20 && commands.contains(&vec!["notify".to_owned(), "flush".to_owned()]), "{commands:?}");
    // Everything that help names is a command: each one answers.
    for words in &commands {
        let help = help(&tl, words).stdout;
        for mention in help.split("`tl ").skip(1) {
            let name = mention.split(|c: char| !c.is_ascii_lowercase()).next().unwrap();
            assert!(name.is_empty() || commands.contains(&vec![name.to_owned()]), "{words:?} names `tl {name}`");
        }
    }
    assert_eq!(tl.run(&["nosuchcommand"]).code, 2);
    assert!(files(tl.path()).is_empty());
}

/// Empty, blank, too long for a file name, other scripts, a line break.
#[test]
fn an_odd_argument_ends_in_one_error() {
    let tl = Tl::new();
    let long = "x".repeat(1_000);
    let commands: [&[&str]; 14] = [
        &["validate"],
        &["plan"],
        &["graph"],
        &["run"],
        &["migrate"],
        &["doctor"],
        &["secret", "check"],
        &["notify", "test"],
        &["init", "--template"],
        &["explain"],
        &["audit", "verify", "--state"],
        &["key", "show"],
        &["show"],
        &["stale"],
    ];
    for words in commands {
        for odd in ["", " ", &long, "ü/日本$(x)", "a\nb", "--=", "*"] {
            let ended = tl.run(&[words, &[odd]].concat());
            let errors = ended.stderr.lines().filter(|line| line.starts_with("error")).count();
            assert!(matches!(ended.code, 1 | 2 | 12) && errors == 1, "{words:?} {odd:?}: {ended:?}");
            assert!((10..4_000).contains(&ended.stderr.len()), "{words:?} {odd:?}: {ended:?}");
        }
    }
    assert!(files(tl.path()).iter().all(|name| name.starts_with("state/")), "{:?}", files(tl.path()));
}

/// Before and after a run.
#[test]
fn what_every_command_gives_machines_is_json() {
    let tl = Tl::new();
    tl.write("data/a.txt", "a").pipeline(&format!(
        "secrets: {{ token: {{ from: env, name: TOKEN }} }}\nstages:\n{CHAIN}notify: [{{ when: [success], to: [log] }}]\n"
    ));
    let commands: [&[&str]; 20] = [
        &["validate", "p.yaml"],
        &["plan", "p.yaml"],
        &["graph", "p.yaml"],
        &["versions", "p.yaml"],
        &["versions", "diff", "p.yaml", "1"],
        &["doctor", "p.yaml"],
        &["secret", "check", "p.yaml"],
        &["notify", "preview", "p.yaml", "--when", "success"],
        &["notify", "list"],
        &["audit", "verify"],
        &["audit", "show"],
        &["init", "--list"],
        &["explain", "--list"],
        &["key", "show", "identity.txt"],
        &["status"],
        &["history"],
        &["show"],
        &["stats"],
        &["stale"],
        &["gc"],
    ];
    for after in [false, true] {
        for words in commands {
            let format: &[&str] = if words[0] == "graph" { &["--format", "json"] } else { &["--json"] };
            let ended = ended(tl.command(&[words, format].concat()).env("TOKEN", "not-a-short-one"));
            let is_json = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok();
            let is_one = is_json(&ended.stdout) || ended.stdout.lines().all(is_json);
            assert!(is_one && (ended.code == 0 || !after), "{words:?}: {ended:?}");
        }
        if !after {
            let run = ended(tl.command(&["run", "p.yaml", "--reporter", "json"]).env("TOKEN", "not-a-short-one"));
            assert!(run.code == 0 && events(&run.stdout).len() > 10, "{run:?}");
        }
    }
}

#[test]
fn each_command_has_a_manual_page() {
    let tl = Tl::new();
    tl.ok(&["man", "--dir", "pages/man1"]);
    let pages: BTreeSet<String> = files(&tl.file("pages/man1")).into_iter().collect();
    let expected = commands(&tl).into_iter().map(|words| {
        let words: Vec<String> = [vec!["tl".to_owned()], words].concat();
        format!("{}.1", words.join("-"))
    });
    assert_eq!(pages, expected.collect());
    let main = tl.ok(&["man"]).stdout;
    assert_eq!(main, tl.read("pages/man1/tl.1"));
    assert!(main.contains(".SH SUBCOMMANDS") && main.contains("Exit codes"), "{main}");
    // A link with the name of a page is replaced. Its target stays.
    tl.write("precious", "mine");
    std::fs::remove_file(tl.file("pages/man1/tl-run.1")).unwrap();
    std::os::unix::fs::symlink(tl.file("precious"), tl.file("pages/man1/tl-run.1")).unwrap();
    tl.ok(&["man", "--dir", "pages/man1"]);
    assert!(tl.read("precious") == "mine" && tl.read("pages/man1/tl-run.1").contains("tl\\-run"));
    assert_eq!(files(&tl.file("pages/man1")).len(), pages.len(), "something was left beside them");
    tl.write("file", "");
    let unwritable = tl.run(&["man", "--dir", "file/pages"]);
    assert!(unwritable.code == 1 && unwritable.stderr.contains("TL0712"), "{unwritable:?}");
}

#[cfg(feature = "peers")]
#[test]
fn groff_has_nothing_to_say_of_the_pages() {
    let tl = Tl::new();
    tl.ok(&["man", "--dir", "pages"]);
    for page in files(&tl.file("pages")) {
        let ended =
            ended(Command::new("groff").args(["-ww", "-man", "-Tutf8", "-z"]).arg(tl.file("pages").join(&page)));
        assert!(ended.code == 0 && ended.stderr.is_empty(), "{page}: {ended:?}");
    }
}

#[test]
fn bash_completes_commands_and_options() {
    let tl = Tl::new();
    tl.write("tl.bash", tl.ok(&["completions", "bash"]).stdout);
    // As readline calls it: the words so far, and which one to complete.
    let complete = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let script = format!(
            "source ./tl.bash\ncomplete -p tl > /dev/null\nCOMP_WORDS=({})\nCOMP_CWORD={}\n_tl tl '{}' '{}'\nprintf '%s\\n' \
             \"${{COMPREPLY[@]}}\"\n",
            words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let ended = ended(Command::new("bash").args(["-euc", &script]).current_dir(tl.path()));
        assert_eq!(ended.code, 0, "{script}\n{ended:?}");
        ended.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete("tl val"), ["validate"]);
    assert_eq!(complete("tl notify fl"), ["flush"]);
    assert_eq!(complete("tl run --rep"), ["--reporter"]);
    assert!(complete("tl completions ").contains(&"fish".to_owned()));
}

#[test]
fn each_shell_has_a_script() {
    let tl = Tl::new();
    for (shell, words) in [
        ("zsh", "#compdef tl"),
        ("fish", "complete -c tl"),
        ("elvish", "edit:completion:arg-completer[tl]"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = tl.ok(&["completions", shell]).stdout;
        assert!(script.contains(words) && script.contains("validate"), "{shell}");
    }
    assert_eq!(tl.run(&["completions", "tcsh"]).code, 2);
}
