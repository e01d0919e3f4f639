//! `tl init`: writes each template, checks it, and runs it as a user would after making the changes that its comments
//! ask for.

use std::fs;
use std::path::Path;

use serde_json::Value as Json;

use crate::support::faulty_s3::{Fault, SAFE, VAULT};
use crate::support::{Tl, ended, files};

const NAMES: [&str; 9] = [
    "home_to_disk",
    "etc_to_nas",
    "website_folder",
    "sqlite_application",
    "postgres_nightly",
    "git_mirror",
    "folder_to_s3_lock",
    "two_regions",
    "ci_artifact",
];

/// Writes a template as `p.yaml` with these replacements, next to recipients and an empty `shelf`.
fn written(tl: &Tl, template: &str, changes: &[(&str, &str)]) {
    tl.ok(&["init", "--template", template, "p.yaml"]);
    tl.ok(&["key", "new", "-o", "identity.txt", "--recipients", "recipients.txt"]);
    fs::create_dir_all(tl.file("shelf")).unwrap();
    let mut text = tl.read("p.yaml");
    for (from, to) in changes {
        assert!(text.contains(from), "{template} does not say {from}");
        text = text.replace(from, to);
    }
    tl.write("p.yaml", text);
}

/// Opens a sealed archive and unpacks it. Returns the folder with its content.
fn unpacked(tl: &Tl, sealed: &[u8]) -> std::path::PathBuf {
    tl.write("delivered.age", sealed);
    tl.ok(&["open", "-i", "identity.txt", "-o", "delivered.tar.zst", "delivered.age"]);
    let tar = zstd::decode_all(fs::File::open(tl.file("delivered.tar.zst")).unwrap()).unwrap();
    let back = tl.file("back");
    tar::Archive::new(tar.as_slice()).unpack(&back).unwrap();
    back
}

/// The only object on the shelf.
fn delivered(tl: &Tl) -> Vec<u8> {
    let names: Vec<String> =
        files(&tl.file("shelf")).into_iter().filter(|name| name.ends_with(".tar.zst.age")).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    fs::read(tl.file("shelf").join(&names[0])).unwrap()
}

/// The archive path of a file below the folder of `tl`.
fn archived(back: &Path, path: &Path) -> std::path::PathBuf {
    back.join(path.strip_prefix("/").unwrap())
}

#[test]
fn every_template_is_listed_written_proven_and_planned() {
    let tl = Tl::new();
    let list: Json = serde_json::from_str(&tl.ok(&["init", "--list", "--json"]).stdout).unwrap();
    let names: Vec<&str> =
        list["templates"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, NAMES);
    insta::assert_snapshot!("list", tl.ok(&["init", "--list"]).stdout);
    tl.ok(&["key", "new", "-o", "identity.txt", "--recipients", "recipients.txt"]);
    for name in NAMES {
        tl.ok(&["init", "--template", name]);
        let file = format!("{}.yaml", name.replace('_', "-"));
        assert_eq!(tl.ok(&["validate", &file]).stdout, format!("{file}: fine\n"));
        let plan: Json = serde_json::from_str(&tl.ok(&["plan", &file, "--json"]).stdout).unwrap();
        assert_eq!(plan["pipeline"], name);
        for word in ["encrypt", "upload"] {
            assert!(plan.to_string().contains(word), "{name} lacks {word}");
        }
        // The channels for failures exist, and a message can be rendered for them.
        let preview = tl.ok(&["notify", "preview", &file, "--when", "failure", "--json"]).stdout;
        let preview: Json = serde_json::from_str(&preview).unwrap();
        assert!(!preview[0]["to"].as_array().unwrap().is_empty(), "{name}");
    }
}

#[test]
fn a_file_is_written_once_and_the_next_commands_are_named() {
    let tl = Tl::new();
    insta::assert_snapshot!(
        "written",
        tl.run(&["init", "--template", "git_mirror", "some/where/my file.yaml"]).shown(&tl)
    );
    assert!(tl.read("some/where/my file.yaml").contains("tl run 'some/where/my file.yaml' --input"));
    let again = tl.run(&["init", "--template", "two_regions", "some/where/my file.yaml"]);
    insta::assert_snapshot!("again", again.shown(&tl));
    assert!(tl.read("some/where/my file.yaml").contains("name: git_mirror"));
    // An existing folder, or a path that names one.
    tl.ok(&["init", "--template", "two_regions", "some"]);
    tl.ok(&["init", "--template", "two_regions", "new/"]);
    assert_eq!(tl.read("some/two-regions.yaml").replace("some/", "new/"), tl.read("new/two-regions.yaml"));
    // A name with a newline in it.
    tl.ok(&["init", "--template", "two_regions", "a\nb: c"]);
    tl.ok(&["key", "new", "-o", "identity.txt", "--recipients", "recipients.txt"]);
    tl.ok(&["validate", "a\nb: c"]);
    // A dangling link counts as existing, too.
    std::os::unix::fs::symlink("nowhere", tl.file("link.yaml")).unwrap();
    assert!(tl.run(&["init", "--template", "two_regions", "link.yaml"]).stderr.contains("TL0711"));
    assert!(!tl.file("nowhere").exists());
    tl.write("file", "");
    let unwritable = tl.run(&["init", "--template", "two_regions", "file/p.yaml"]);
    assert_eq!(unwritable.code, 1);
    assert!(unwritable.stderr.contains("TL0712"), "{}", unwritable.stderr);
}

#[test]
fn without_a_name_and_a_terminal_the_names_are_told() {
    let tl = Tl::new();
    insta::assert_snapshot!("unnamed", tl.run(&["init"]).shown(&tl));
    insta::assert_snapshot!("unknown", tl.run(&["init", "--template", "home_to_disc"]).shown(&tl));
    assert_eq!(tl.run(&["init", "--list", "--template", "git_mirror"]).code, 2);
    assert!(files(tl.path()).is_empty());
}

#[cfg(feature = "peers")]
#[test]
fn on_a_terminal_it_asks() {
    let tl = Tl::new();
    let numbered = tl.typed("init", "printf '6\\n'");
    assert!(numbered.code == 0 && numbered.stdout.contains("which one"), "{numbered:?}");
    assert!(tl.read("git-mirror.yaml").contains("name: git_mirror"));
    assert_eq!(tl.typed("init", "echo two_regions").code, 0);
    assert!(tl.file("two-regions.yaml").exists());
    for (input, code) in [("echo 99", "TL0740"), ("echo", "TL0741"), ("printf '\\004'", "TL0741")] {
        let refused = tl.typed("init", input);
        assert!(refused.code == 2 && refused.stdout.contains(code), "{input:?}: {refused:?}");
    }
}

#[test]
fn the_home_folder_arrives_and_a_missing_disk_is_told() {
    let tl = Tl::new();
    tl.write("home/a letter.txt", "dear").write("home/.cache/x", "x").write("home/deep/er/b", "b");
    written(&tl, "home_to_disk", &[("/mnt/backup/tl", "shelf"), ("/home/ana", tl.file("home").to_str().unwrap())]);
    tl.ok(&["run", "p.yaml"]);
    let back = archived(&unpacked(&tl, &delivered(&tl)), &tl.file("home"));
    assert_eq!(files(&back), ["a letter.txt", "deep/er/b"]);
    assert_eq!(fs::read_to_string(back.join("a letter.txt")).unwrap(), "dear");
    fs::rename(tl.file("shelf"), tl.file("unplugged")).unwrap();
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 10);
    let told: Vec<Json> =
        tl.read("home-to-disk.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let occasions: Vec<&str> = told.iter().map(|message| message["when"].as_str().unwrap()).collect();
    assert_eq!(occasions, ["success", "failure"]);
}

#[test]
fn a_website_arrives_and_an_empty_one_does_not() {
    let tl = Tl::new();
    tl.write("site/index.html", "<p>").write("site/cache/x", "x").write("conf/nginx.conf", "server {}");
    written(&tl, "website_folder", &[("/mnt/backup/websites", "shelf")]);
    let inputs =
        [format!("site={}", tl.file("site").display()), format!("configuration={}", tl.file("conf").display())];
    let run = ["run", "p.yaml", "--input", &inputs[0], "--input", &inputs[1]];
    tl.ok(&run);
    let back = archived(&unpacked(&tl, &delivered(&tl)), tl.path());
    assert_eq!(files(&back), ["conf/nginx.conf", "site/index.html"]);
    assert_eq!(fs::read(back.join("site/index.html")).unwrap(), b"<p>");
    fs::remove_file(tl.file("site/index.html")).unwrap();
    assert_eq!(tl.run(&run).code, 1);
    delivered(&tl);
}

/// Replaces a template's store with a server on this machine.
const REGION: &str = "region: eu-central-1";

fn at(endpoint: &str) -> String {
    format!("region: us-east-1\n      endpoint: {endpoint}\n      path-style: true\n      allow-private: true")
}

#[test]
fn a_folder_arrives_in_a_bucket_that_locks_it() {
    let server = Fault::start();
    let tl = Tl::new();
    tl.write("data/a", "x");
    let endpoint = at(&server.endpoint());
    let folder = tl.file("data");
    written(
        &tl,
        "folder_to_s3_lock",
        &[("/srv/data", folder.to_str().unwrap()), ("acme-backups", SAFE), (REGION, &endpoint)],
    );
    let mut command = tl.command(&["run", "p.yaml"]);
    command.env("AWS_ACCESS_KEY_ID", "AKIATESTTESTTESTTEST").env("AWS_SECRET_ACCESS_KEY", "not/a/secret");
    let run = ended(command.env("HOOK_URL", "https://hooks.example.org/x"));
    assert_eq!(run.code, 0, "{run:?}");
    let objects = server.objects(SAFE);
    let (_, versions) = &objects[0];
    assert!(objects.len() == 1 && versions.len() == 1, "{}", objects.len());
    assert_eq!(versions[0].lock_mode.as_deref(), Some("COMPLIANCE"));
    let back = archived(&unpacked(&tl, &versions[0].bytes), &folder);
    assert_eq!(fs::read(back.join("a")).unwrap(), b"x");
}

#[test]
fn a_folder_arrives_in_two_regions() {
    let (first, second) = (Fault::start(), Fault::start());
    let tl = Tl::new();
    tl.write("data/a", "x");
    let folder = tl.file("data");
    let (here, there) = (at(&first.endpoint()), at(&second.endpoint()));
    written(
        &tl,
        "two_regions",
        &[
            ("/srv/data", folder.to_str().unwrap()),
            ("acme-backups-eu", VAULT),
            ("acme-backups-us", SAFE),
            (REGION, &here),
            ("region: us-east-2", &there),
        ],
    );
    let mut command = tl.command(&["run", "p.yaml"]);
    command.env("FIRST_SECRET", "not/a/secret").env("SECOND_SECRET", "nor/one/this");
    let run = ended(command.env("HOOK_URL", "https://hooks.example.org/x"));
    assert_eq!(run.code, 0, "{run:?}");
    let (one, two) = (first.objects(VAULT), second.objects(SAFE));
    assert!(one.len() == 1 && two.len() == 1);
    assert!(one[0].0 == two[0].0 && one[0].1[0].bytes == two[0].1[0].bytes, "the regions differ");
    let back = archived(&unpacked(&tl, &one[0].1[0].bytes), &folder);
    assert_eq!(fs::read(back.join("a")).unwrap(), b"x");
}

/// A build that a script next to the repository's `scripts/` makes.
#[test]
fn a_build_arrives_under_its_version() {
    let tl = Tl::new();
    let build = "#!/bin/sh\nset -e\n[ \"$1 $2 $5\" = '--channel stable --output' ] && echo 1.2.3 > \"$6/VERSION\" && echo built > \"$6/tool\"\n";
    tl.write("scripts/build-release", build);
    fs::set_permissions(tl.file("scripts/build-release"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    tl.ok(&["init", "--template", "ci_artifact", "ci/"]);
    tl.ok(&["key", "new", "-o", "identity.txt", "--recipients", "ci/recipients.txt"]);
    let shelf = tl.file("shelf");
    tl.write("ci/ci-artifact.yaml", tl.read("ci/ci-artifact.yaml").replace("/srv/releases", shelf.to_str().unwrap()));
    let mut command = tl.command(&["run", "ci/ci-artifact.yaml", "--input", "channel=stable"]);
    let run = ended(command.env("BUILD_TOKEN", "not-a-secret").env("HOOK_URL", "https://hooks.example.org/x"));
    assert_eq!(run.code, 0, "{run:?}");
    let back = unpacked(&tl, &fs::read(shelf.join("stable/1.2.3.tar.zst.age")).unwrap());
    assert_eq!(fs::read_to_string(back.join("dist/tool")).unwrap(), "built\n");
    assert_eq!(fs::read_link(shelf.join("latest-stable")).unwrap(), shelf.join("stable/1.2.3.tar.zst.age"));
}

#[cfg(feature = "peers")]
mod peers {
    use std::process::Command;

    use super::*;

    fn bash(tl: &Tl, line: &str) -> String {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", line]).current_dir(tl.path()).env("HOME", tl.path());
        let ended = ended(&mut command);
        assert_eq!(ended.code, 0, "{line}\n{ended:?}");
        ended.stdout
    }

    fn run_folder(back: &Path) -> std::path::PathBuf {
        fs::read_dir(back.join("staging")).unwrap().next().unwrap().unwrap().path()
    }

    /// Plaintext is removed, after a failure too.
    fn nothing_left(tl: &Tl) {
        assert!(files(&tl.file("staging")).is_empty(), "{:?}", files(&tl.file("staging")));
    }

    #[test]
    fn a_repository_arrives_with_its_branches_and_tags() {
        let tl = Tl::new();
        bash(
            &tl,
            "git init -q -b main source && cd source && git config user.email a@example.com && git config user.name A && \
             echo one > file && git add file && git commit -qm one && git tag v1 && git checkout -qb other && \
             echo two > file && git commit -qam two",
        );
        written(&tl, "git_mirror", &[("/mnt/backup/git", "shelf"), ("delay: 30s", "delay: 1s")]);
        let repository = format!("repository={}", tl.file("source").display());
        tl.ok(&["run", "p.yaml", "--input", &repository]);
        nothing_left(&tl);
        let bundle = run_folder(&unpacked(&tl, &delivered(&tl))).join("repository.bundle");
        bash(&tl, &format!("git clone -q --mirror '{}' restored.git", bundle.display()));
        let refs = "for-each-ref --format='%(objectname) %(refname)'";
        let heads = bash(&tl, &format!("git -C source {refs}"));
        assert_eq!(bash(&tl, &format!("git -C restored.git {refs}")), heads);
        assert_eq!(heads.lines().count(), 3);
        // A missing one fails after its retries.
        assert_eq!(tl.run(&["run", "p.yaml", "--input", "repository=/nowhere.git"]).code, 1);
        nothing_left(&tl);
    }

    #[test]
    fn a_database_that_is_written_to_arrives_whole() {
        let tl = Tl::new();
        tl.write("uploads/a", "x");
        bash(&tl, "sqlite3 app.db 'PRAGMA journal_mode=WAL; CREATE TABLE t(n INTEGER); INSERT INTO t VALUES (1)'");
        written(&tl, "sqlite_application", &[("/mnt/backup/app", "shelf")]);
        let inputs = |database: &str| {
            [format!("database={}", tl.file(database).display()), format!("files={}", tl.file("uploads").display())]
        };
        let good = inputs("app.db");
        // An open connection with rows that are only in the journal.
        let writer = rusqlite::Connection::open(tl.file("app.db")).unwrap();
        writer.execute_batch("BEGIN; INSERT INTO t VALUES (2), (3); COMMIT; BEGIN; INSERT INTO t VALUES (4)").unwrap();
        tl.ok(&["run", "p.yaml", "--input", &good[0], "--input", &good[1]]);
        nothing_left(&tl);
        let back = unpacked(&tl, &delivered(&tl));
        assert_eq!(fs::read(archived(&back, &tl.file("uploads/a"))).unwrap(), b"x");
        let database = run_folder(&back).join("database.db");
        let rows = bash(&tl, &format!("sqlite3 '{}' 'SELECT group_concat(n) FROM t'", database.display()));
        assert_eq!(rows, "1,2,3\n");
        // A wrong path fails and creates no database.
        let wrong = inputs("absent.db");
        assert_eq!(tl.run(&["run", "p.yaml", "--input", &wrong[0], "--input", &wrong[1]]).code, 1);
        assert!(!tl.file("absent.db").exists());
        nothing_left(&tl);
        delivered(&tl);
    }

    /// A private database server that runs as an unprivileged user and ends with the test.
    struct Postgres {
        programs: String,
        data: tempfile::TempDir,
        port: u16,
    }

    const NOBODY: u32 = 65_534;

    impl Postgres {
        fn start(password: &str) -> Self {
            use std::os::unix::fs::chown;
            let find = "command -v initdb || ls /usr/lib/postgresql/*/bin/initdb | tail -n 1";
            let found = ended(Command::new("bash").args(["-c", find])).stdout;
            let found = found.lines().next().expect("initdb is missing: .ci/run installs PostgreSQL");
            let programs = fs::canonicalize(found).unwrap().parent().unwrap().display().to_string();
            let data = tempfile::tempdir().unwrap();
            chown(data.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            fs::write(data.path().join("password"), password).unwrap();
            chown(data.path().join("password"), Some(NOBODY), Some(NOBODY)).unwrap();
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let server = Self { programs, data, port };
            server.ok("initdb", "-D cluster -U admin -A scram-sha-256 --pwfile=password -E UTF8 --no-locale -N");
            let options =
                format!("-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c port={port} -c fsync=off");
            server.ok("pg_ctl", &format!("-D cluster -l log -w -t 120 -o '{options}' start"));
            server
        }

        fn ok(&self, program: &str, arguments: &str) {
            use std::os::unix::process::CommandExt as _;
            let line = format!("{}/{program} {arguments} > {program}.out 2>&1", self.programs);
            let mut command = Command::new("sh");
            command.args(["-c", &line]).current_dir(self.data.path()).uid(NOBODY).gid(NOBODY);
            let status = command.env("HOME", self.data.path()).status().unwrap();
            let said = fs::read_to_string(self.data.path().join(format!("{program}.out"))).unwrap_or_default();
            assert!(status.success(), "{line}\n{said}");
        }

        fn psql(&self, database: &str, sql: &str) -> String {
            let mut command = Command::new(format!("{}/psql", self.programs));
            command.args([
                "-XAtq",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                "127.0.0.1",
                "-U",
                "admin",
                "-d",
                database,
                "-c",
                sql,
            ]);
            let ended = ended(command.env("PGPORT", self.port.to_string()).env("PGPASSWORD", "admin's secret"));
            assert_eq!(ended.code, 0, "{ended:?}");
            ended.stdout
        }
    }

    impl Drop for Postgres {
        fn drop(&mut self) {
            self.ok("pg_ctl", "-D cluster -w -m immediate stop");
        }
    }

    #[test]
    fn a_postgresql_database_arrives_and_can_be_restored() {
        assert!(rustix::process::geteuid().is_root(), "PostgreSQL runs as another user: run as root");
        let server = Postgres::start("admin's secret");
        server.psql("postgres", "CREATE DATABASE orders");
        server.psql("postgres", "CREATE ROLE backup LOGIN PASSWORD 'backups secret'");
        server.psql("postgres", "GRANT pg_read_all_data TO backup");
        server.psql("orders", "CREATE TABLE items (id int primary key, name text)");
        server.psql("orders", "INSERT INTO items SELECT n, 'item ' || n FROM generate_series(1, 1000) n");
        let tl = Tl::new();
        tl.write("password", "backups secret");
        fs::set_permissions(tl.file("password"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let port = format!("default: {}", server.port);
        written(
            &tl,
            "postgres_nightly",
            &[
                ("/mnt/backup/postgres", "shelf"),
                ("/etc/tl/postgres-password", "password"),
                ("default: 5432", &port),
                ("default: localhost", "default: 127.0.0.1"),
            ],
        );
        let path = format!("{}:{}", server.programs, std::env::var("PATH").unwrap());
        let run = |database: &str| {
            let input = format!("database={database}");
            ended(tl.command(&["run", "p.yaml", "--input", &input]).env("PATH", &path))
        };
        let first = run("orders");
        assert_eq!(first.code, 0, "{first:?}");
        nothing_left(&tl);
        let folder = run_folder(&unpacked(&tl, &delivered(&tl)));
        assert!(fs::read_to_string(folder.join("roles.sql")).unwrap().contains("CREATE ROLE backup"));
        server.psql("postgres", "CREATE DATABASE restored");
        let mut restore = Command::new(format!("{}/pg_restore", server.programs));
        restore.args(["--exit-on-error", "--no-password", "-h", "127.0.0.1", "-U", "admin", "--dbname=restored"]);
        restore.arg(folder.join("database.dump")).env("PGPORT", server.port.to_string());
        let restored = ended(restore.env("PGPASSWORD", "admin's secret"));
        assert_eq!(restored.code, 0, "{restored:?}");
        let sum = "SELECT count(*), sum(id), md5(string_agg(name, ',' ORDER BY id)) FROM items";
        assert_eq!(server.psql("restored", sum), server.psql("orders", sum));
        // A missing database, and one without tables.
        for database in ["absent", "postgres"] {
            let failed = run(database);
            assert_eq!(failed.code, 1, "{failed:?}");
            assert!(!failed.stdout.contains("backups secret"));
            nothing_left(&tl);
        }
        delivered(&tl);
    }
}
