//! What people and CI services see of a run, through the real program.

use std::fs;

use quick_xml::events::Event;

use crate::support::{Ended, Tl, ended};

/// Output of a child that imitates other output.
const HOSTILE: &str = r"printf '%s\n' ']]>' '::error::forged' '##[error]forged' '  ::add-mask::e' 'a | b `c` <img src=x>' '::endgroup::'
printf '\033[2J\001\014\r::stop-commands::x\n\357\277\276\n'
exit 3
";

/// A success, a failure, a stage skipped because of it, and a matrix with one failing instance.
fn mixed() -> Tl {
    let tl = Tl::new();
    tl.write("hostile.sh", HOSTILE).write("copy.sh", "echo copying to \"$1\"; [ \"$1\" = nas ]\n").pipeline(
        "stages:
  good: { run: [echo, fine] }
  hostile: { run: [sh, hostile.sh] }
  after: { needs: hostile, run: [ls] }
  copy:
    strategy: { matrix: { to: [nas, 'a|b ]]> ::error::x `y`'] } }
    run: [sh, copy.sh, '${{ matrix.to }}']
",
    );
    tl
}

fn with(tl: &Tl, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = tl.command(arguments);
    ended(command.envs(variables.iter().copied()))
}

/// An XML element: its name, its attributes, and its text including that of its children.
#[derive(Debug)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
}

impl Element {
    fn attribute(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(own, _)| own == name);
        &found.unwrap_or_else(|| panic!("no {name}: {self:?}")).1
    }
}

/// Every element in document order. Fails if the document is not well-formed.
fn elements(document: &str) -> Vec<Element> {
    let mut reader = quick_xml::Reader::from_str(document);
    reader.config_mut().check_end_names = true;
    let mut found: Vec<Element> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    loop {
        let event = reader.read_event().unwrap_or_else(|error| panic!("{error}\n{document}"));
        match &event {
            Event::Eof => break,
            Event::Start(start) | Event::Empty(start) => {
                let attributes = start.attributes().map(|attribute| {
                    let attribute = attribute.unwrap();
                    let key = String::from_utf8(attribute.key.as_ref().to_vec()).unwrap();
                    let value = String::from_utf8(attribute.value.to_vec()).unwrap();
                    (key, quick_xml::escape::unescape(&value).unwrap().into_owned())
                });
                let name = String::from_utf8(start.name().as_ref().to_vec()).unwrap();
                found.push(Element { name, attributes: attributes.collect(), text: String::new() });
                if matches!(event, Event::Start(_)) {
                    open.push(found.len() - 1);
                }
            }
            Event::End(_) => {
                open.pop().unwrap();
            }
            Event::Text(text) => {
                let text = String::from_utf8(text.to_vec()).unwrap();
                assert!(!text.contains("]]>"), "{text}");
                open.iter().for_each(|&at| found[at].text.push_str(&text));
            }
            Event::GeneralRef(reference) => {
                let name = String::from_utf8(reference.to_vec()).unwrap();
                let text = quick_xml::escape::unescape(&format!("&{name};")).unwrap().into_owned();
                open.iter().for_each(|&at| found[at].text.push_str(&text));
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "{document}");
    found
}

#[test]
fn junit_is_a_file_beside_the_report_and_well_formed_whatever_a_child_writes() {
    let tl = mixed();
    let ran = tl.run(&["run", "p.yaml", "--junit", "report.xml"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("next: "), "{}", ran.stdout);
    let document = tl.read("report.xml");
    let allowed = |c: char| matches!(c, '\n' | '\t' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    assert!(document.chars().all(allowed), "{document}");
    let elements = elements(&document);
    let names = |name: &str| elements.iter().filter(|element| element.name == name).collect::<Vec<_>>();
    let suite = names("testsuite");
    let counts = ["tests", "failures", "errors", "skipped"].map(|name| suite[0].attribute(name));
    assert_eq!(counts, ["5", "2", "0", "1"], "{document}");
    let mut cases: Vec<&str> = names("testcase").iter().map(|case| case.attribute("name")).collect();
    cases.sort_unstable();
    assert_eq!(cases, ["after", "copy (a|b ]]> ::error::x `y`)", "copy (nas)", "good", "hostile"]);
    assert!(names("testcase").iter().all(|case| case.attribute("time").parse::<f64>().is_ok()));
    let hostile = names("testcase").into_iter().find(|case| case.attribute("name") == "hostile").unwrap();
    assert!(hostile.text.contains("| ]]>\n| ::error::forged\n"), "{hostile:?}");
    assert!(names("failure").iter().all(|failure| failure.attribute("type") == "TL0651"), "{document}");
    assert!(names("skipped")[0].attribute("message").contains("`hostile` failed"), "{document}");

    // An older report is replaced, and nothing else.
    tl.write("good.yaml", "version: 1\nname: good\nstages: { a: { run: [ls] } }\n");
    tl.ok(&["run", "good.yaml", "--junit", "report.xml"]);
    assert!(tl.read("report.xml").contains("failures=\"0\""));
    let refused = tl.run(&["run", "good.yaml", "--junit", "p.yaml"]);
    assert!(refused.code == 2 && refused.stderr.contains("TL0711") && refused.stdout.is_empty(), "{refused:?}");
    let nowhere = tl.run(&["run", "good.yaml", "--junit", "nowhere/report.xml"]);
    assert!(nowhere.code == 2 && nowhere.stderr.contains("TL0712") && nowhere.stdout.is_empty(), "{nowhere:?}");
    let status = std::process::Command::new("mkfifo").arg(tl.file("pipe")).status().unwrap();
    let pipe = tl.run(&["run", "good.yaml", "--junit", "pipe"]);
    assert!(status.success() && pipe.code == 2 && pipe.stderr.contains("it is a pipe"), "{pipe:?}");
    let full = tl.run(&["run", "good.yaml", "--junit", "/dev/full"]);
    assert!(full.code == 1 && full.stderr.contains("TL0712") && full.stdout.contains("success in"), "{full:?}");
    // An old run's report is not mistaken for that of a run that could not start.
    assert_eq!(tl.run(&["run", "gone.yaml", "--junit", "report.xml"]).code, 2);
    assert_eq!(tl.read("report.xml"), "");
}

#[test]
fn the_log_of_github_has_groups_annotations_and_a_summary_and_no_forged_command() {
    let tl = mixed();
    tl.write("summary.md", "what another step wrote\n");
    let ran = with(&tl, &["run", "p.yaml", "--reporter", "github"], &[("GITHUB_STEP_SUMMARY", "summary.md")]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{ran:?}");
    let log = &ran.stdout;
    assert!(!log.contains("##[") && !log.contains('\u{1b}') && !log.contains('\r'), "{log}");
    let mut open = None;
    let mut groups = Vec::new();
    let mut annotations = Vec::new();
    for line in log.lines() {
        if let Some(title) = line.strip_prefix("::group::") {
            assert!(open.replace(title).is_none(), "{log}");
        } else if line == "::endgroup::" {
            groups.extend(open.take());
        } else if line.trim_start().starts_with("::") {
            assert!(line.starts_with("::error file=p.yaml,line="), "{line}");
            annotations.push(line);
        }
    }
    assert!(open.is_none(), "{log}");
    assert_eq!(groups.len(), 4, "{log}");
    assert!(groups.iter().any(|title| title.starts_with("failure   hostile")), "{log}");
    assert_eq!(annotations.len(), 2, "{log}");
    // Placed at the stage in its file: the failure itself has no place.
    let line = tl.read("p.yaml").lines().position(|line| line.starts_with("  hostile:")).unwrap() + 1;
    let about = format!("line={line},endLine={line},col=3,endColumn=10,title=TL0651 in hostile::");
    assert!(annotations.iter().any(|annotation| annotation.contains(&about)), "{annotations:#?}");

    let summary = tl.read("summary.md");
    assert!(summary.starts_with("what another step wrote\n## ❌ test: failure\n"), "{summary}");
    for row in [
        "| good | ✅ success |",
        "| after | ⏭️ skipped |",
        r"| copy \(a\|b \]\]\> \:\:error\:\:x \`y\`\) | ❌ failure |",
        "stage_hostile --> stage_after",
        "style stage_good fill:#2da44e",
    ] {
        assert!(summary.contains(row), "{row}\n{summary}");
    }
    assert_eq!(summary.matches("```").count(), 2, "{summary}");

    // A summary that cannot be written is reported. The outcome of the run does not change.
    tl.write("good.yaml", "version: 1\nname: good\nstages: { a: { run: [ls] } }\n");
    let lost = with(&tl, &["run", "good.yaml", "--reporter", "github"], &[("GITHUB_STEP_SUMMARY", "nowhere/s.md")]);
    assert!(lost.code == 1 && lost.stderr.contains("TL0712") && lost.stdout.contains("success in"), "{lost:?}");
    let without = with(&tl, &["run", "good.yaml", "--reporter", "github"], &[("GITHUB_STEP_SUMMARY", "")]);
    assert_eq!((without.code, without.stderr.as_str()), (0, ""));
}

#[test]
fn each_line_of_a_plain_report_names_its_time_its_event_and_its_stage() {
    let tl = mixed();
    let ran = with(&tl, &["run", "p.yaml", "--reporter", "plain"], &[("LANG", "C.UTF-8")]);
    assert_eq!(ran.code, 1);
    let known = regex::Regex::new(
        r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (run-(started|ended)|checkpoint|stage-(started|output|ended) (good|hostile|after|copy)( \(.+\))?:) ",
    );
    let known = known.unwrap();
    for line in ran.stdout.lines() {
        assert!(known.is_match(line), "{line}");
    }
    assert!(ran.stdout.contains(" stage-output hostile: stdout: ::error::forged\n"), "{}", ran.stdout);
    assert!(!ran.stdout.chars().any(|c| c.is_control() && c != '\n'));
}

#[test]
fn what_is_told_to_do_next_can_be_done() {
    let tl = mixed();
    tl.write("good.yaml", "version: 1\nname: good\nstages: { a: { run: [ls] } }\n");
    tl.write("none.yaml", "version: 1\nname: none\nstages: { a: { if: 'false', run: [ls] } }\n");
    tl.write("it's blocked.yaml", "version: 1\nname: b\nsecrets: { s: { from: env, name: NOT_SET } }\nstages: { a: { run: [ls], env: { S: '${{ secrets.s }}' } } }\n");
    for (file, code) in [("p.yaml", 1), ("good.yaml", 0), ("none.yaml", 75), ("it's blocked.yaml", 12)] {
        let ran = tl.run(&["run", file]);
        assert_eq!(ran.code, code, "{ran:?}");
        let next = ran.stdout.split("\nnext: ").nth(1).unwrap();
        let commands: Vec<&str> = next.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        assert!(!commands.is_empty(), "{next}");
        for command in commands {
            let ended = ended(&mut tl.shell(command));
            // `doctor` reports the problem, a resumed run ends as before, and none is a usage error.
            let expected = match command {
                _ if command.starts_with("tl doctor") => 1,
                _ if command.contains("--resume") => code,
                _ => 0,
            };
            assert_eq!(ended.code, expected, "{command}: {ended:?}");
        }
    }
}

/// The screen of a terminal with this many columns that understands the escapes of the live view.
fn screen(written: &str, columns: usize) -> String {
    let mut lines = vec![Vec::new()];
    let (mut row, mut column) = (0, 0);
    let mut rest = written.chars();
    while let Some(c) = rest.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            '\u{1b}' => {
                assert_eq!(rest.next(), Some('['));
                let argument: String = rest.by_ref().take_while(|c| !c.is_ascii_alphabetic()).collect();
                // `take_while` has consumed the final letter, so it is looked up after what was taken.
                let at = written.len() - rest.as_str().len() - 1;
                let count = argument.parse().unwrap_or(1);
                match &written[at..=at] {
                    "A" => row -= count,
                    "B" => row += count,
                    "D" => column -= count,
                    "K" if argument == "2" => lines[row].clear(),
                    "K" => lines[row].truncate(column),
                    "m" => {}
                    letter => panic!("unknown: {argument}{letter}"),
                }
            }
            c => {
                // A full line wraps, but only when more text follows.
                if column == columns {
                    (row, column) = (row + 1, 0);
                    lines.resize(lines.len().max(row + 1), Vec::new());
                }
                let line = &mut lines[row];
                if line.len() <= column {
                    line.resize(column + 1, ' ');
                }
                line[column] = c;
                column += 1;
            }
        }
        if lines.len() <= row {
            lines.resize(row + 1, Vec::new());
        }
    }
    let lines = lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

#[test]
fn a_terminal_shows_what_runs_and_keeps_the_report_alone() {
    let tl = Tl::new();
    // Each step waits until its output was seen, so timing does not matter.
    tl.write("wait.sh", "echo \"$1 waits\"; while [ ! -e go ]; do sleep 0.05; done; echo \"$1 goes on\"\n").pipeline(
        "stages:
  quick: { run: [echo, fine] }
  slow: { needs: quick, run: [sh, wait.sh, slow] }
  copy: { needs: quick, strategy: { matrix: { to: [nas, offsite] } }, run: [sh, wait.sh, '${{ matrix.to }}'] }
max-parallel: 4
",
    );
    for (variables, branch) in [
        (&[("LANG", "C.UTF-8"), ("TERM", "xterm")][..], "├─ "),
        (&[("LANG", "C.UTF-8"), ("TERM", "linux")], "|- "),
        (&[("LC_ALL", "C"), ("TERM", "xterm"), ("NO_COLOR", "1")], "|- "),
    ] {
        let _before = fs::remove_file(tl.file("go"));
        let mut command = tl.command(&["run", "p.yaml"]);
        command.envs(variables.iter().copied());
        let seen = |written: &str| {
            if written.contains("copy  run, 2 running") && written.contains("slow  run") {
                tl.write("go", "");
            }
        };
        let written = Tl::on_terminal(&mut command, (60, 20), seen);
        for line in ["1 of 3 stages ended", &format!("{branch}slow  run"), "copy  run, 2 running"] {
            assert!(written.contains(line), "{line}\n{written:?}");
        }
        // Below their stage, in the order in which they started.
        let instance = |name: &str| written.contains(&format!("   {branch}{name}"));
        assert!(instance("nas") || instance("offsite"), "{written:?}");
        let coloured = !variables.iter().any(|(name, _)| *name == "NO_COLOR");
        assert_eq!(written.contains("\u{1b}[1;32msuccess"), coloured, "{written:?}");
        let screen = screen(&written, 60);
        let lines: Vec<&str> = screen.lines().collect();
        assert!(lines[0].starts_with("test (p.yaml)  run 01"), "{screen}");
        assert!(!screen.contains(branch) && !screen.contains("stages ended"), "{screen}");
        assert_eq!(lines.iter().filter(|line| line.starts_with("  success ")).count(), 5, "{screen}");
        assert!(lines.iter().all(|line| line.chars().count() <= 60), "{screen}");
        assert!(lines.last().unwrap().starts_with("  tl audit show --run 01"), "{screen}");
    }
}

#[test]
fn a_dumb_terminal_gets_lines() {
    let tl = Tl::new();
    tl.pipeline("stages: { a: { run: [echo, fine] } }\n");
    let mut command = tl.command(&["run", "p.yaml"]);
    let written = Tl::on_terminal(command.env("TERM", "dumb").env("LANG", "C.UTF-8"), (60, 20), |_| {});
    assert!(written.contains("  success   a  ") && !written.contains('\u{1b}'), "{written:?}");
}

/// What cron mails: nothing, or one screen.
#[test]
fn a_quiet_run_prints_nothing_or_what_failed() {
    let tl = Tl::new();
    tl.pipeline(
        "stages:\n  chatty: { shell: sh, run: 'seq 1000' }\n  odd: { uses: assert, with: { that: false, message: so so, otherwise: warn } \
         }\n  dump: { shell: sh, run: 'seq 100; echo no space left >&2; test -e go', if: \"host.name != ''\" }\nnotify: [{ when: [failure], to: \
         [log] }]\n",
    );
    let failed = tl.run(&["run", "--quiet", "p.yaml"]);
    assert_eq!((failed.code, failed.stderr.as_str()), (1, ""));
    let said = &failed.stdout;
    for wanted in ["p.yaml", "dump", "TL0651", "no space left", "so so", "next:", "tl run --resume"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    assert!(!said.contains("chatty |") && !said.contains(" 90\n") && said.contains(" 100\n"), "{said}");
    assert!(said.lines().count() <= 40, "{said}");
    tl.write("go", "");
    tl.write("p.yaml", tl.read("p.yaml").replace("that: false", "that: true"));
    for arguments in [&["run", "-q", "p.yaml"][..], &["run", "--quiet", "p.yaml"]] {
        let quiet = tl.ok(arguments);
        assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    }
    let both = tl.run(&["run", "--quiet", "--reporter", "json", "p.yaml"]);
    assert!(both.code == 2 && both.stderr.contains("--reporter"), "{both:?}");
}
