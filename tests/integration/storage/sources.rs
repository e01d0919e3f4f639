//! What `archive` takes, by the settings of a pipeline file, and what `tl plan --files` says of it.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use serde_json::Value as Json;

use crate::support::{Tl, ended};

const TREE: [&str; 12] = [
    "data/a.txt",
    "data/b.tmp",
    "data/keep.tmp",
    "data/cache/x",
    "data/deep/cache/y",
    "data/deep/report.PDF",
    "data/deep/main.rs",
    "data/.git/config",
    "data/marked/.nobackup",
    "data/marked/z",
    "data/tagged/CACHEDIR.TAG",
    "data/tagged/z",
];

fn tree() -> Tl {
    let tl = Tl::new();
    for name in TREE {
        tl.write(name, "x");
    }
    tl.write("data/tagged/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# a cache\n");
    tl.write("data/large.bin", [0; 5_000]);
    tl
}

/// Runs a file with these settings of `archive`, and returns the files of its archive as stock `tar` lists them.
fn taken(tl: &Tl, with: &str) -> Vec<String> {
    tl.pipeline(&format!(
        "stages:\n  collect: {{ uses: archive, with: {{ {with} }} }}\n  deliver: {{ needs: collect, uses: upload, with: {{ artifact: \
         '${{{{ needs.collect.outputs.artifact }}}}', store: shelf, key: a.tar, overwrite: true }} }}\n"
    ));
    tl.ok(&["run", "p.yaml"]);
    let listed = ended(Command::new("tar").arg("-tf").arg(tl.file("shelf/a.tar")));
    let names = listed.stdout.lines().filter(|line| *line != "data/");
    names.map(|line| line.strip_prefix("data/").unwrap_or(line).to_owned()).collect()
}

/// The same without folders, in one line.
fn files(tl: &Tl, with: &str) -> String {
    taken(tl, with).into_iter().filter(|name| !name.ends_with('/')).collect::<Vec<_>>().join(" ")
}

/// What `tl plan --files` says that would be taken.
fn planned(tl: &Tl) -> Json {
    let json: Json = serde_json::from_str(&tl.ok(&["plan", "p.yaml", "--files", "--json"]).stdout).unwrap();
    json[0].clone()
}

const ALL: &str = ".git/config a.txt b.tmp cache/x deep/cache/y deep/main.rs deep/report.PDF keep.tmp large.bin \
                   marked/.nobackup marked/z tagged/CACHEDIR.TAG tagged/z";

#[test]
fn each_setting_takes_what_it_says() {
    let tl = tree();
    tl.write("excludes.txt", "# what nobody needs\n\n*.tmp\n!keep.tmp\n/cache/\n");
    let without = |out: &[&str]| ALL.split(' ').filter(|name| !out.contains(name)).collect::<Vec<_>>().join(" ");
    for (settings, expected) in [
        ("", ALL.to_owned()),
        (", exclude: ['*.tmp', '!keep.tmp']", without(&["b.tmp"])),
        (", exclude: [/cache/]", without(&["cache/x"])),
        (", exclude: ['cache/']", without(&["cache/x", "deep/cache/y"])),
        (", exclude-file: excludes.txt", without(&["b.tmp", "cache/x"])),
        // The pattern of the file itself is the nearer one.
        (", exclude-file: excludes.txt, exclude: ['!*.tmp']", without(&["cache/x"])),
        (", exclude-groups: [vcs-objects, temporary-files]", without(&[".git/config", "b.tmp", "keep.tmp"])),
        (", exclude-if-present: [.nobackup]", without(&["marked/z"])),
        (", exclude-caches: true", without(&["tagged/z"])),
        (", exclude-larger-than: 1KB", without(&["large.bin"])),
        (", include: ['*.txt', 'deep/']", "a.txt deep/cache/y deep/main.rs deep/report.PDF".to_owned()),
        (", include-groups: [office-documents, source-code]", "deep/main.rs deep/report.PDF".to_owned()),
        (", include: ['*.tmp'], exclude: [keep.tmp]", "b.tmp".to_owned()),
    ] {
        assert_eq!(files(&tl, &format!("sources: [data]{settings}")), expected, "{settings}");
        // The plan says the same, and names a rule for each entry that is not taken.
        let plan = planned(&tl);
        let listed: Vec<&str> =
            plan["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
        let prefix = format!("{}/data/", tl.path().display());
        let listed: Vec<&str> = listed.into_iter().map(|path| path.strip_prefix(&prefix).unwrap()).collect();
        assert_eq!(listed.join(" "), expected, "{settings}");
    }
    let absolute = tl.file("data/deep");
    assert_eq!(
        files(&tl, &format!("sources: [data], exclude: ['{}/cache']", absolute.display())),
        without(&["deep/cache/y"])
    );
}

/// However the file and its sources are reached, an absolute pattern means the same folder.
/// `globset` matches bytes: `m?ll` would miss `müll`, and `[ä]*` would take each name that begins with the same byte.
#[test]
fn a_character_is_a_character() {
    let tl = Tl::new();
    for name in ["müll.tmp", "mall.tmp", "keep", "ärger", "über", "Äpfel", "straße/日", "straße/日本"] {
        tl.write(&format!("data/{name}"), "x");
    }
    let sources = |rest: &str| format!("sources: [data], {rest}");
    let left = files(&tl, &sources("exclude: ['m?ll.tmp', '[ä]*', 'stra?e/?', '!mall.tmp']"));
    assert_eq!(tar_text(&left), "keep mall.tmp straße/日本 Äpfel über");
    assert_eq!(tar_text(&files(&tl, &sources("include: ['[а-яü]*', '??/', '?pfel']"))), "Äpfel über");
}

/// What `tar -t` wrote with octal numbers for bytes that are not ASCII.
fn tar_text(listed: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), listed.as_bytes());
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        let escaped = octal.filter(|_| *first == b'\\');
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[3..] } else { tail };
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn an_absolute_pattern_means_what_its_path_is() {
    let tl = tree();
    std::os::unix::fs::symlink("data", tl.file("link")).unwrap();
    let base = tl.path().display().to_string();
    let all: Vec<&str> = ALL.split(' ').collect();
    let without_deep = all.iter().filter(|name| !name.starts_with("deep/")).copied().collect::<Vec<_>>().join(" ");
    for (pattern, from) in [
        (format!("{base}/data/deep"), "p.yaml"),
        (format!("{base}/link/deep"), "p.yaml"),
        (format!("{base}/data/deep"), "data/../p.yaml"),
    ] {
        assert_eq!(files(&tl, &format!("sources: [data], exclude: ['{pattern}']")), without_deep, "{pattern}");
        tl.ok(&["run", from]);
        let why = tl.ok(&["plan", from, "--files", "--why", "data/deep"]).stdout;
        assert!(why.contains(&format!("`{pattern}` of `exclude`")), "{from}: {why}");
    }
    // Of an outer source, below an inner one; and the source as a whole.
    let nested = format!("sources: [data, data/deep], exclude: ['{base}/data/**/*.rs']");
    assert_eq!(
        files(&tl, &nested),
        all.iter().filter(|name| !name.ends_with(".rs")).copied().collect::<Vec<_>>().join(" ")
    );
    assert_eq!(files(&tl, &format!("sources: [data], include: ['{base}/data']")), ALL);
}

/// A list of single files is chosen from as a folder is.
#[test]
fn rules_hold_for_sources_that_are_files() {
    let tl = tree();
    assert_eq!(
        ended(Command::new("sh").args(["-c", "find data -type f -print0 > list"]).current_dir(tl.path())).code,
        0
    );
    for (settings, expected) in [
        (", exclude: ['*.tmp', '*.bin', CACHEDIR.TAG], exclude-larger-than: 1KB", 9),
        (", include: ['*.tmp']", 2),
        (", exclude-larger-than: 1KB", 12),
    ] {
        let taken = files(&tl, &format!("sources-file: list{settings}"));
        assert_eq!(taken.split(' ').count(), expected, "{settings}: {taken}");
    }
}

#[test]
fn folders_are_taken_where_something_in_them_is() {
    let tl = tree();
    assert_eq!(taken(&tl, "sources: [data], include: ['main.rs']"), ["deep/", "deep/main.rs"]);
    fs::create_dir(tl.file("data/empty")).unwrap();
    assert!(taken(&tl, "sources: [data]").contains(&"empty/".to_owned()));
}

#[test]
fn a_list_of_find_is_a_list_of_sources() {
    let tl = tree();
    let odd = std::ffi::OsStr::from_bytes(b"data/od\nd \xff.txt");
    fs::write(tl.path().join(odd), "x").unwrap();
    let find = "find data -name '*.txt' -print0 > list";
    assert_eq!(ended(Command::new("sh").args(["-c", find]).current_dir(tl.path())).code, 0);
    assert_eq!(taken(&tl, "sources-file: list").len(), 2);
    assert_eq!(files(&tl, "sources-file: list, sources: [data/cache]"), "a.txt cache/x od\\nd \\377.txt");
    // A list that changed is another artifact: a resumed run collects again.
    tl.write("list", "data/a.txt\0");
    assert_eq!(files(&tl, "sources-file: list"), "a.txt");
}

#[test]
fn a_plan_says_why_a_path_is_left_out() {
    let tl = tree();
    rustix::fs::mkfifoat(rustix::fs::CWD, tl.file("data/fifo"), rustix::fs::Mode::RWXU).unwrap();
    tl.write("other/x", "");
    std::os::unix::fs::symlink("../other", tl.file("data/out")).unwrap();
    tl.pipeline(
        "stages:\n  collect: { uses: archive, with: { sources: [data], exclude: ['*.tmp', /cache/], exclude-caches: true, exclude-if-present: \
         [.nobackup] } }\n  count: { needs: collect, run: [echo, '${{ needs.collect.outputs.files }}'] }\n",
    );
    for (path, says) in [
        ("data/a.txt", "collect takes"),
        ("data/b.tmp", "`*.tmp` of `exclude`"),
        ("data/cache/x", "since it leaves out"),
        ("data/tagged/z", "`exclude-caches`"),
        ("data/tagged/CACHEDIR.TAG", "collect takes"),
        ("data/marked/z", "`.nobackup` of `exclude-if-present`"),
        ("data/none", "there is nothing of this name"),
        ("p.yaml", "it is below no source"),
        ("data/../data/b.tmp", "`*.tmp` of `exclude`"),
        ("data/fifo", "collect takes"),
        ("data/out/x", "it is below no source"),
    ] {
        let said = tl.ok(&["plan", "p.yaml", "--files", "--why", path]).stdout;
        assert!(said.contains(says), "{path}: {said}");
        let json: Json =
            serde_json::from_str(&tl.ok(&["plan", "p.yaml", "--files", "--json", "--why", path]).stdout).unwrap();
        assert_eq!(json[0]["stage"], "collect", "{json}");
    }
    let listed = tl.ok(&["plan", "p.yaml", "--files"]).stdout;
    assert!(listed.contains("  largest\n") && listed.contains("4.9 KiB"), "{listed}");
    assert!(listed.contains("b.tmp: `*.tmp` of `exclude`"), "{listed}");
}

/// A source that is a link to a folder would keep the link alone.
#[test]
fn a_source_that_is_a_link_to_a_folder_is_refused() {
    let tl = tree();
    std::os::unix::fs::symlink("data", tl.file("link")).unwrap();
    for source in ["link", "link/"] {
        tl.pipeline(&format!("stages:\n  collect: {{ uses: archive, with: {{ sources: [{source}] }} }}\n"));
        for command in ["run", "plan", "doctor"] {
            let refused = tl.run(&[command, "p.yaml"]);
            let text = format!("{}{}", refused.stdout, refused.stderr);
            assert!(refused.code == 1 && text.contains("TL0611") && text.contains("is a link to a folder"), "{text}");
        }
    }
    // A list may name the link itself.
    tl.write("list", "link\0data/a.txt\0");
    tl.pipeline("stages:\n  collect: { uses: archive, with: { sources-file: list } }\n");
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 3);
}

/// What fits nothing is mostly a mistake: a comment behind a pattern, a variable of a shell, a folder that was renamed.
#[test]
fn patterns_that_fit_nothing_are_named() {
    let tl = tree();
    tl.write("excludes.txt", "*.tmp # old\n*.PDF\n").pipeline(
        "stages:\n  collect: { uses: archive, with: { sources: [data], exclude-file: excludes.txt, exclude: [nosuchname, '*.rs'], \
         exclude-groups: [media-files] } }\n  deliver: { needs: collect, uses: upload, with: { artifact: '${{ \
         needs.collect.outputs.artifact }}', store: shelf, key: a.tar } }\n",
    );
    let unused: Vec<String> = serde_json::from_value(planned(&tl)["unused"].clone()).unwrap();
    assert!(
        unused.len() == 2 && unused[0].contains("`*.tmp # old`") && unused[1].contains("`nosuchname`"),
        "{unused:?}"
    );
    let run = tl.ok(&["run", "p.yaml"]).stdout;
    assert!(run.contains("note: patterns that fit nothing: `*.tmp # old`"), "{run}");
    fs::remove_file(tl.file("shelf/a.tar")).unwrap();
    assert_eq!(tl.ok(&["run", "p.yaml", "--quiet"]).stdout, "");
}

/// A plan leaves out what a run does: the folders of stores and the state folder.
#[test]
fn a_plan_knows_the_folders_of_tl() {
    let tl = Tl::new();
    tl.write("a", "x").write("shelf/old", "y").pipeline(
        "stages:\n  collect: { uses: archive, with: { sources: [.] } }\n  deliver: { needs: collect, uses: upload, with: { artifact: \
         '${{ needs.collect.outputs.artifact }}', store: shelf, key: a.tar } }\n",
    );
    tl.ok(&["run", "p.yaml"]);
    let listed = ended(Command::new("tar").arg("-tf").arg(tl.file("shelf/a.tar"))).stdout;
    let taken: Vec<&str> = listed.lines().filter(|name| !name.ends_with('/')).collect();
    let json = planned(&tl);
    let files = json["files"].as_array().unwrap();
    assert_eq!(files.len(), taken.len(), "{json}\n{listed}");
    for folder in ["shelf", "state"] {
        let path = tl.file(folder).canonicalize().unwrap().display().to_string();
        assert!(!listed.contains(&format!("./{folder}/old")) && json["left_out"].to_string().contains(&path), "{json}");
        let why = tl.ok(&["plan", "p.yaml", "--files", "--why", folder]).stdout;
        assert!(why.contains("`tl` keeps its own files there"), "{why}");
    }
}

#[test]
fn what_a_kind_cannot_take_is_refused_before_it_runs() {
    let tl = tree();
    for (with, code, says) in [
        ("exclude-larger-than: 1KB", "TL0202", "`sources` is missing"),
        ("sources: [data], exclude: ['#x']", "TL0205", "begins with `#`"),
        ("sources: [data], include: ['a/../b']", "TL0205", "`..`"),
        ("sources: [data], exclude-if-present: [a/b]", "TL0205", "no name of an entry"),
        ("sources: [data], exclude-groups: [pictures]", "TL0203", "pictures"),
    ] {
        tl.pipeline(&format!("stages:\n  collect: {{ uses: archive, with: {{ {with} }} }}\n"));
        let refused = tl.run(&["validate", "p.yaml"]);
        assert_eq!(refused.code, 2, "{with}");
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(said.contains(code) && said.contains(says), "{with}: {said}");
    }
    tl.pipeline("stages:\n  collect: { uses: archive, with: { sources: [data], exclude: [data/cache] } }\n");
    let warned = tl.run(&["validate", "p.yaml"]);
    assert!(warned.code == 0 && format!("{warned:?}").contains("TL0809"), "{warned:?}");
}
