//! Machines that are not as a developer's: no `/proc`, a strict umask, an ignored signal, a folder of another user, a file system
//! that refuses modes.

#[cfg(feature = "peers")]
use std::fs;
#[cfg(feature = "peers")]
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::{Tl, ended, files, signal, wait_for};

/// A file with a chain to a folder that is made when it is needed.
fn chain(tl: &Tl) {
    tl.write("data/a", "hello").pipeline("").write(
        "p.yaml",
        "version: 1\nname: test\nstores: { shelf: { uses: dir, with: { path: made/shelf, create: true } } }\nstages:\n  \
         collect: { uses: archive, with: { sources: [data] } }\n  seal: { needs: collect, uses: encrypt, with: { artifact: \
         '${{ needs.collect.outputs.artifact }}', recipients-file: recipients.txt } }\n  deliver: { needs: seal, uses: \
         upload, with: { artifact: '${{ needs.seal.outputs.artifact }}', store: shelf, key: 'day/${{ run.id }}' } }\n",
    );
}

/// Folders can be entered by who made them, whatever the umask takes away.
#[test]
fn folders_have_their_own_modes_under_any_umask() {
    for umask in ["0177", "0277", "0777"] {
        let tl = Tl::unprivileged();
        chain(&tl);
        if crate::support::is_root() {
            ended(Command::new("chown").args(["-R", "65534:65534"]).arg(tl.path()));
        }
        for _ in 0..2 {
            let told = ended(&mut tl.shell(&format!("umask {umask}; exec tl run p.yaml")));
            assert_eq!(told.code, 0, "{umask}: {told:?}");
        }
        assert_eq!(files(&tl.file("made/shelf/day")).len(), 4, "{umask}");
    }
}

/// `nohup` ignores SIGHUP: a session that ends is no cancel.
#[test]
fn a_signal_that_the_caller_ignores_stays_ignored() {
    for (trap, code) in [("trap '' HUP;", 0), ("", 130)] {
        let tl = Tl::new();
        tl.pipeline("stages: { a: { shell: sh, run: 'touch began; while [ ! -e go ]; do sleep 0.02; done' } }\n");
        let mut run = tl.shell(&format!("{trap} exec tl run p.yaml"));
        let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(|| tl.file("began").exists());
        signal(&run, Signal::HUP);
        if code == 0 {
            std::thread::sleep(std::time::Duration::from_millis(300));
            tl.write("go", "");
        }
        assert_eq!(run.wait().unwrap().code(), Some(code), "{trap}");
    }
}

/// Kubernetes mounts a folder of links to links.
#[test]
fn a_folder_of_links_is_a_folder_of_files() {
    let tl = Tl::new();
    tl.write("cm/..2026/p.yaml", "version: 1\nname: t\nstages: { a: { run: ['true'] } }\n");
    tl.write("cm/..2026/q.yaml", "version: 1\nname: u\nstages: { a: { start: ['true'] } }\n");
    for (target, link) in [("..2026", "..data"), ("..data/p.yaml", "p.yaml"), ("..data/q.yaml", "q.yaml")] {
        std::os::unix::fs::symlink(target, tl.file("cm").join(link)).unwrap();
    }
    let told = tl.run(&["validate", "cm"]);
    let text = format!("{}{}", told.stdout, told.stderr);
    assert_eq!(told.code, 2, "{text}");
    assert_eq!(text.matches("cm/p.yaml: fine").count(), 1, "{text}");
    assert!(text.contains("cm/q.yaml:3") && text.contains("1 of 2 files fine"), "{text}");
    assert!(!text.contains("..2026") && !text.contains("..data"), "{text}");
}

/// The name by which receivers tell machines apart is set by the file, else by the environment.
#[test]
fn a_host_has_the_name_that_it_is_given() {
    let tl = Tl::new();
    let named = |field: &str, value: Option<&str>| {
        tl.pipeline("stages: { a: { run: [echo, '${{ host.name }}'] } }\nnotify: [{ when: [success], to: [log] }]\n");
        tl.write("p.yaml", format!("{}{field}", tl.read("p.yaml")));
        let mut command = tl.command(&["run", "p.yaml", "--reporter", "json"]);
        let told = ended(command.envs(value.map(|value| ("TL_HOST", value))));
        assert_eq!(told.code, 0, "{told:?}");
        let message: serde_json::Value = serde_json::from_str(tl.read("log.jsonl").lines().last().unwrap()).unwrap();
        message["host"].as_str().unwrap().to_owned()
    };
    assert_eq!(named("", Some("web-7")), "web-7");
    assert_eq!(named("host-name: db-1\n", Some("web-7")), "db-1");
    assert!(!named("", None).is_empty());
    assert_eq!(named("", Some("a b\nc")), "a b c");
}

/// The state folder is no source, however its path comes: by a link, or with `..`.
#[test]
fn the_state_folder_is_never_archived_by_any_of_its_paths() {
    let tl = Tl::new();
    tl.write("data/a", "hello").pipeline(
        "stages:\n  collect: { uses: archive, with: { sources: [.], exclude: [shelf/] } }\n  deliver: { needs: collect, uses: upload, \
         with: { artifact: '${{ needs.collect.outputs.artifact }}', store: shelf, key: '${{ run.id }}.tar' } }\n",
    );
    std::os::unix::fs::symlink("state", tl.file("link")).unwrap();
    for path in ["state", "link", "data/../state", "./link/../link"] {
        let told = ended(tl.command(&["--state", path, "run", "p.yaml"]).env_remove("TL_STATE"));
        assert_eq!(told.code, 0, "{path}: {told:?}");
    }
    for object in files(&tl.file("shelf")).iter().filter(|name| name.ends_with(".tar")) {
        let listed = ended(Command::new("tar").arg("-tf").arg(tl.file("shelf").join(object))).stdout;
        assert!(listed.contains("data/a") && !listed.contains("audit"), "{object}: {listed}");
    }
    assert_eq!(files(&tl.file("shelf")).len(), 8);
}

/// Git refuses the repository of another user: the help names the command that allows it.
#[cfg(feature = "peers")]
#[test]
fn a_repository_of_another_user_is_named_as_such() {
    let tl = Tl::unprivileged();
    tl.write("repo/p.yaml", "version: 1\nname: t\nstages: { a: { run: [echo, '${{ git.commit }}'] } }\n");
    let git = "git init -q repo && git -C repo -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m x";
    assert_eq!(ended(Command::new("sh").args(["-c", git]).current_dir(tl.path())).code, 0);
    ended(Command::new("chown").args(["-R", "12345"]).arg(tl.file("repo")));
    let told = tl.run(&["run", "repo/p.yaml"]);
    assert_eq!(told.code, 2, "{told:?}");
    let is_named = told.stderr.contains("belongs to another user") && told.stderr.contains("safe.directory");
    assert!(is_named && told.stderr.contains("TL0318"), "{told:?}");
}

/// A container of `tl`, its libraries, and nothing else.
#[cfg(feature = "peers")]
#[test]
fn a_run_needs_no_proc() {
    let tl = Tl::new();
    let binary = env!("CARGO_BIN_EXE_tl");
    tl.write("r/src/f", "x").write("r/etc/passwd", "");
    std::os::unix::fs::symlink("f", tl.file("r/src/link")).unwrap();
    for folder in ["dev", "tmp", "store"] {
        fs::create_dir_all(tl.file("r").join(folder)).unwrap();
    }
    let libraries = ended(Command::new("ldd").arg(binary)).stdout;
    let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    for (from, to) in libraries.map(|path| (path, path)).chain([(binary, "/tl")]) {
        let to = tl.file("r").join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(Path::new(from).canonicalize().unwrap(), to).unwrap();
    }
    tl.write(
        "r/p.yaml",
        "version: 1\nname: test\nstores: { shelf: { uses: dir, with: { path: /store } } }\nstages:\n  collect: { uses: archive, with: { \
         sources: [/src] } }\n  deliver: { needs: collect, uses: upload, with: { artifact: '${{ needs.collect.outputs.artifact }}', \
         store: shelf, key: a.tar } }\n  prove: { needs: deliver, uses: verify, with: { object: '${{ \
         needs.deliver.outputs.object }}', level: content } }\n",
    );
    let inside = "mount --bind /dev r/dev && cd r && exec chroot . /tl run --state /state /p.yaml";
    let told = ended(Command::new("unshare").args(["-m", "sh", "-c", inside]).current_dir(tl.path()));
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(files(&tl.file("r/store")), ["a.tar", "a.tar.sha256"]);
}

/// A zone that the machine does not know gets a warning: its dates are those of UTC.
#[cfg(feature = "peers")]
#[test]
fn an_unknown_zone_is_told() {
    let tl = Tl::new();
    tl.pipeline("stages: { a: { shell: sh, run: 'echo ok' } }\n");
    let inside = "mount -t tmpfs none /usr/share/zoneinfo && exec \"$0\" run p.yaml";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", inside, env!("CARGO_BIN_EXE_tl")]).env("TL_STATE", tl.state());
    let told = ended(command.env("TZ", "Pacific/Kiritimati").current_dir(tl.path()));
    assert_eq!(told.code, 0, "{told:?}");
    assert!(format!("{}{}", told.stdout, told.stderr).contains("`Pacific/Kiritimati` is not known here"), "{told:?}");
}

/// A mount of `bindfs`, gone with the test.
#[cfg(feature = "peers")]
struct Bound(std::path::PathBuf);

#[cfg(feature = "peers")]
impl Bound {
    fn new(from: &Path, to: &Path, options: &[&str]) -> Self {
        for folder in [from, to] {
            fs::create_dir_all(folder).unwrap();
        }
        let mounted = Command::new("bindfs").args(options).args([from, to]).status().unwrap();
        assert!(mounted.success(), "bindfs could not be mounted");
        Self(to.to_owned())
    }
}

#[cfg(feature = "peers")]
impl Drop for Bound {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// As a share of Windows or a USB stick answers: no mode, no owner and no link of a file can be set.
#[cfg(feature = "peers")]
#[test]
fn a_store_may_refuse_modes_owners_and_links() {
    let tl = Tl::new();
    chain(&tl);
    let options = ["--chmod-deny", "--chown-deny", "--chgrp-deny"];
    let _bound = Bound::new(&tl.file("real"), &tl.file("made"), &options);
    for count in [2, 4] {
        let told = tl.run(&["run", "p.yaml"]);
        assert_eq!(told.code, 0, "{told:?}");
        let left = files(&tl.file("real/shelf"));
        assert_eq!(left.len(), count, "{left:?}");
    }
    for command in [&["doctor", "p.yaml"][..], &["gc", "--store"]] {
        let told = tl.run(command);
        assert!(!told.stderr.contains("panicked") && told.code < 20, "{told:?}");
    }
}

/// A file system may be unable to sync its folders: the object is delivered, and `doctor` says what that means.
#[cfg(feature = "peers")]
#[test]
fn a_store_may_be_unable_to_sync_its_folders() {
    let tl = Tl::new();
    chain(&tl);
    fs::create_dir_all(tl.file("made/shelf/day")).unwrap();
    let traced = |command: &str| {
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-qq", "-o", "trace", "-P"])
            .arg(tl.file("made/shelf/day"))
            .arg("-P")
            .arg(tl.file("made/shelf"));
        strace.args([
            "-e",
            "trace=fsync",
            "-e",
            "inject=fsync:error=EINVAL",
            env!("CARGO_BIN_EXE_tl"),
            command,
            "p.yaml",
        ]);
        ended(strace.env("TL_STATE", tl.state()).current_dir(tl.path()))
    };
    let told = traced("run");
    assert!(told.code == 0 && tl.read("trace").contains("INJECTED"), "{told:?}");
    assert_eq!(files(&tl.file("made/shelf")).len(), 2);
    let found = traced("doctor");
    assert!(found.code == 0 && found.stdout.contains("cannot be synced"), "{found:?}");
}
