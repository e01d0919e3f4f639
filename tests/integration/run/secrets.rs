//! The sources of secrets, through the real program.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Ended, Tl, group_ended};

const VALUE: &str = "s3cr3t-of-the-test";

/// A pipeline that succeeds when its secret is `VALUE`.
fn with_secret(source: &str) -> Tl {
    let tl = Tl::new();
    tl.pipeline(&format!(
        "secrets:\n  key: {source}\nstages:\n  a:\n    env: {{ KEY: '${{{{ secrets.key }}}}' }}\n    shell: sh\n    run: test \"$KEY\" \
         = {VALUE}\n"
    ));
    tl
}

/// Writes a program into the folder that is first in PATH.
fn script(tl: &Tl, name: &str, text: &str) {
    tl.write(&format!("bin/{name}"), format!("#!/bin/sh\n{text}\n"));
    fs::set_permissions(tl.file(&format!("bin/{name}")), fs::Permissions::from_mode(0o755)).unwrap();
}

fn run(tl: &Tl, variables: &[(&str, &str)]) -> Ended {
    let path = format!("{}:{}", tl.file("bin").display(), std::env::var("PATH").unwrap());
    let mut command = tl.command(&["run", "p.yaml"]);
    command.env("PATH", path).envs(variables.iter().copied());
    crate::support::ended(&mut command)
}

/// Runs it and expects that the secret cannot be read.
fn refused(tl: &Tl, code: &str) -> String {
    let ended = run(tl, &[]);
    assert_eq!(ended.code, 12, "{ended:?}");
    let told = ended.stdout + &ended.stderr;
    assert!(told.contains(&format!("error[{code}]")), "{told}");
    assert!(!told.contains(VALUE), "{told}");
    tl.redact(&told)
}

#[test]
fn a_program_prints_a_secret() {
    let tl = with_secret("{ from: command, run: [pass, show, my key] }");
    script(&tl, "pass", &format!("test \"$2\" = 'my key' && printf '%s\\r\\n' {VALUE}"));
    assert_eq!(run(&tl, &[]).code, 0);
    // It runs without tl's environment and input, in the folder of the file.
    let lines = ["test -z \"$TOKEN\"", "test -n \"$HOME\"", "! read line", "test -e p.yaml", &format!("echo {VALUE}")];
    script(&tl, "pass", &lines.join(" || exit 9\n"));
    let ended = run(&tl, &[("TOKEN", "x")]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn a_program_that_fails_is_told_by_its_last_words_and_not_by_what_it_printed() {
    let tl = with_secret("{ from: command, run: [pass] }");
    script(&tl, "pass", &format!("echo {VALUE}; for n in 1 2 3 4 5; do echo line $n >&2; done; exit 3"));
    let told = refused(&tl, "TL0512");
    assert!(!told.contains("line 2"), "{told}");
    insta::assert_snapshot!("secret_command_failed", told);
    script(&tl, "pass", "kill -9 $$");
    assert!(refused(&tl, "TL0512").contains("signal 9"));
    script(&tl, "pass", "true");
    assert!(refused(&tl, "TL0510").contains("is empty"));
    script(&tl, "pass", "printf '            \\n'");
    assert!(refused(&tl, "TL0510").contains("is empty"));
    script(&tl, "pass", "printf '\\377\\376longer'");
    assert!(refused(&tl, "TL0510").contains("does not hold a text"));
    script(&tl, "pass", "head -c 65537 /dev/zero | tr '\\0' x");
    assert!(refused(&tl, "TL0512").contains("printed more than"));
    script(&tl, "pass", "echo short");
    refused(&tl, "TL0511");
    fs::remove_file(tl.file("bin/pass")).unwrap();
    let tl = with_secret("{ from: command, run: [no-such-program-of-tl] }");
    assert!(refused(&tl, "TL0512").contains("could not be started"));
}

#[test]
fn a_nul_byte_is_refused_wherever_a_secret_comes_from() {
    const NUL: &str = "s3cr3t\0of-the-test";
    let sealed = {
        let tl = Tl::new();
        tl.pipeline("").write("plain", NUL).ok(&["seal", "-R", "recipients.txt", "-o", "sealed", "plain"]);
        // `tl secret seal` refuses such a text, but age seals anything.
        let armor = timelocker::crypto::armor(&fs::read(tl.file("sealed")).unwrap());
        (armor.replace('\n', "\n      "), tl.read("identity.txt"))
    };
    for source in [
        "{ from: file, path: nul }",
        "{ from: command, run: [cat, nul] }",
        "{ from: systemd-creds, name: orders, path: nul }",
        &format!("\n    from: sealed\n    identity: mine.txt\n    value: |\n      {}", sealed.0),
    ] {
        let tl = with_secret(source);
        tl.write("nul", NUL).write("mine.txt", &sealed.1);
        fs::set_permissions(tl.file("mine.txt"), fs::Permissions::from_mode(0o600)).unwrap();
        script(&tl, "systemd-creds", "cat \"$3\"");
        let told = refused(&tl, "TL0516");
        assert!(told.contains("holds a NUL byte") && told.contains("base64") && !told.contains("s3cr3t"), "{told}");
        let path = format!("{}:{}", tl.file("bin").display(), std::env::var("PATH").unwrap());
        let checked = crate::support::ended(tl.command(&["secret", "check", "p.yaml"]).env("PATH", path));
        assert!(checked.code == 12 && checked.stderr.contains("error[TL0516]"), "{source}: {checked:?}");
    }
}

#[test]
fn a_program_has_a_time_limit_and_leaves_nothing_behind() {
    let tl = with_secret("{ from: command, run: [pass], timeout: 300ms }");
    script(&tl, "pass", "echo $$ > group; sleep 300 & sleep 300");
    assert!(refused(&tl, "TL0512").contains("did not end within 300ms"));
    group_ended(&tl);
    // One that ends well may have started others.
    script(&tl, "pass", &format!("echo $$ > group; sleep 300 & echo {VALUE}"));
    let ended = run(&tl, &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    group_ended(&tl);
}

#[test]
fn a_stop_reaches_the_program_of_a_secret() {
    let tl = with_secret("{ from: command, run: [./pass], timeout: 10m }");
    tl.write("pass", "#!/bin/sh\necho $$ > half && mv half group\nsleep 900 &\nsleep 900\n");
    fs::set_permissions(tl.file("pass"), fs::Permissions::from_mode(0o755)).unwrap();
    let run = tl.start(&["run", "p.yaml"]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while !tl.file("group").exists() {
        assert!(std::time::Instant::now() < deadline, "the program did not start");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&run), rustix::process::Signal::INT).unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("TL0601"), "{output:?}");
    group_ended(&tl);
}

#[test]
fn the_time_limit_of_a_run_reaches_the_program_of_a_secret() {
    let tl =
        with_secret("{ from: command, run: [./pass], timeout: 10m }\n  other: { from: env, name: NOT_SET_ANYWHERE }");
    tl.write("p.yaml", format!("{}timeout: 1s\nnotify: [{{ when: [blocked], to: [log] }}]\n", tl.read("p.yaml")));
    tl.write("pass", "#!/bin/sh\necho $$ > half && mv half group\nsleep 900 &\nsleep 900\n");
    fs::set_permissions(tl.file("pass"), fs::Permissions::from_mode(0o755)).unwrap();
    let ended = tl.run(&["run", "p.yaml"]);
    assert_eq!(ended.code, 124, "{ended:?}");
    assert!(ended.stdout.contains("error[TL0602]: the run took longer than its `timeout`"), "{ended:?}");
    assert!(!ended.stdout.contains("TL0510"), "what comes behind it is not read: {ended:?}");
    assert!(tl.read("log.jsonl").contains("TL0602"), "a message was sent");
    group_ended(&tl);
    // What the secrets took is not there for the stages.
    tl.write("pass", format!("#!/bin/sh\nsleep 0.8\necho {VALUE}\n"));
    let text = tl.read("p.yaml").replace("  other: { from: env, name: NOT_SET_ANYWHERE }\n", "");
    tl.write("p.yaml", text.replace("run: test", "run: sleep 60; test"));
    let began = std::time::Instant::now();
    let ended = tl.run(&["run", "p.yaml"]);
    assert!(ended.code == 124 && ended.stdout.contains("TL0602"), "{ended:?}");
    assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn the_service_manager_gives_a_credential() {
    let tl = with_secret("{ from: systemd-creds, name: orders.key }");
    tl.write("credentials/orders.key", VALUE);
    let folder = tl.file("credentials").display().to_string();
    assert_eq!(run(&tl, &[("CREDENTIALS_DIRECTORY", &folder)]).code, 0);
    insta::assert_snapshot!("secret_no_credentials", refused(&tl, "TL0515"));
    fs::remove_file(tl.file("credentials/orders.key")).unwrap();
    let ended = run(&tl, &[("CREDENTIALS_DIRECTORY", &folder)]);
    assert!(ended.code == 12 && ended.stdout.contains("credentials/orders.key` is missing"), "{ended:?}");
}

#[test]
fn an_encrypted_credential_is_decrypted_where_none_is_given() {
    let tl = with_secret("{ from: systemd-creds, name: orders, path: orders.cred }");
    tl.write("orders.cred", "sealed").write("credentials/orders", VALUE);
    let check = "test \"$1 $2 $4\" = 'decrypt --name=orders -' && test \"$(cat \"$3\")\" = sealed";
    script(&tl, "systemd-creds", &format!("{check} && printf %s {VALUE}"));
    assert_eq!(run(&tl, &[]).code, 0);
    script(&tl, "systemd-creds", "echo 'Failed to decrypt' >&2; exit 1");
    assert!(refused(&tl, "TL0512").contains("Failed to decrypt"));
    // Credentials that the environment provides take precedence.
    let folder = tl.file("credentials").display().to_string();
    assert_eq!(run(&tl, &[("CREDENTIALS_DIRECTORY", &folder)]).code, 0);
    fs::remove_file(tl.file("orders.cred")).unwrap();
    assert!(refused(&tl, "TL0510").contains("orders.cred` is missing"));
}

/// Runs `tl` with this input.
fn fed(tl: &Tl, arguments: &[&str], input: &[u8]) -> Ended {
    tl.write("input", input);
    let mut command = tl.command(arguments);
    command.stdin(fs::File::open(tl.file("input")).unwrap());
    crate::support::ended(&mut command)
}

/// A pipeline with a sealed secret as `tl secret seal` prints it.
fn with_sealed(arguments: &[&str]) -> Tl {
    let tl = Tl::new();
    tl.pipeline("");
    let sealed = fed(&tl, &[&["secret", "seal"], arguments, &["key"]].concat(), format!("{VALUE}\n").as_bytes());
    assert_eq!(sealed.code, 0, "{}", sealed.stderr);
    assert!(
        sealed
            .stdout
            .starts_with("  key:\n    from: sealed\n    identity: \"identity.txt\"\n    value: |\n      -----BEGIN")
    );
    assert!(!sealed.stdout.contains(VALUE));
    tl.pipeline(&format!(
        "secrets:\n{}stages:\n  a:\n    env: {{ KEY: '${{{{ secrets.key }}}}' }}\n    shell: sh\n    run: test \"$KEY\" = {VALUE}\n",
        sealed.stdout
    ));
    tl
}

#[test]
fn a_sealed_secret_opens_with_its_identity_alone() {
    for arguments in [&["-R", "recipients.txt"][..], &["--identity", "identity.txt"]] {
        let tl = with_sealed(arguments);
        tl.ok(&["validate", "p.yaml"]);
        let ended = run(&tl, &[]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    let tl = with_sealed(&["-R", "recipients.txt"]);
    fs::rename(tl.file("identity.txt"), tl.file("mine.txt")).unwrap();
    assert!(refused(&tl, "TL0621").contains("identity.txt` cannot be read"));
    tl.ok(&["key", "new", "-o", "identity.txt"]);
    insta::assert_snapshot!("secret_wrong_identity", refused(&tl, "TL0514"));
    fs::set_permissions(tl.file("identity.txt"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(&tl, "TL0621").contains("chmod 600"));
}

#[test]
fn a_sealed_secret_that_was_changed_is_told_apart_from_a_wrong_identity() {
    let tl = with_sealed(&["-R", "recipients.txt"]);
    let text = tl.read("p.yaml");
    // The last line of the armor is part of the payload. Only an identity can detect damage there.
    let line = text.lines().take_while(|line| !line.contains("-----END")).last().unwrap();
    let at = line.find(|c: char| c != ' ').unwrap();
    let other = if line[at..].starts_with('A') { "B" } else { "A" };
    let changed = format!("{}{other}{}", &line[..at], &line[at + 1..]);
    tl.write("p.yaml", text.replace(line, &changed));
    tl.ok(&["validate", "p.yaml"]);
    assert!(refused(&tl, "TL0513").contains("not authentic"));
}

#[test]
fn what_cannot_be_a_secret_is_not_sealed() {
    let tl = Tl::new();
    tl.pipeline("");
    let long = vec![b'x'; 65 * 1024];
    for (arguments, input, code, exit) in [
        (&["-R", "recipients.txt"][..], &b""[..], "TL0735", 2),
        (&["-R", "recipients.txt"], b"\r\n", "TL0735", 2),
        (&["-R", "recipients.txt"], b"hunter2\n", "TL0511", 2),
        (&["-R", "recipients.txt"], &long, "TL0738", 2),
        (&["-R", "recipients.txt"], b"\xff\xfe-no-text", "TL0738", 2),
        (&["-R", "recipients.txt"], b"long\0enough", "TL0516", 2),
        (&[], b"long enough", "TL0620", 2),
        (&["--identity", "nowhere.txt"], b"long enough", "TL0621", 12),
        (&["-R", "recipients.txt", "Not-A-Name"], b"long enough", "is not a name", 2),
    ] {
        let ended = fed(&tl, &[&["secret", "seal"], arguments].concat(), input);
        assert_eq!((ended.code, ended.stdout.as_str()), (exit, ""), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(code), "{arguments:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("hunter2"));
    }
    let mut command = tl.command(&["secret", "seal", "-R", "recipients.txt"]);
    command.stdin(fs::File::open(tl.path()).unwrap());
    assert!(crate::support::ended(&mut command).stderr.contains("error[TL0737]"));
}

/// Types each answer when its question appears. Returns what the terminal echoed afterwards, and how the program ended.
fn typed(tl: &Tl, answers: &[(&str, &str)]) -> (String, Ended) {
    use std::io::{Read, Write};
    use std::process::Stdio;

    let (mut controller, terminal) = crate::support::terminal();
    let mut command = tl.command(&["secret", "seal", "--identity", "identity.txt"]);
    command.stdin(terminal.try_clone().unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut errors = child.stderr.take().unwrap();
    let mut stderr = String::new();
    for (question, answer) in answers {
        while !stderr.ends_with(question) {
            let mut byte = [0];
            assert_eq!(errors.read(&mut byte).unwrap(), 1, "`{question}` was not asked: {stderr}");
            stderr.push(char::from(byte[0]));
        }
        controller.write_all(answer.as_bytes()).unwrap();
    }
    errors.read_to_string(&mut stderr).unwrap();
    let output = child.wait_with_output().unwrap();
    // Checks that the terminal echoes again.
    controller.write_all(b"shown again\n").unwrap();
    let mut shown = vec![0; 4096];
    let length = controller.read(&mut shown).unwrap();
    let shown = String::from_utf8_lossy(&shown[..length]).into_owned();
    let code = output.status.code().unwrap_or(-1);
    (shown, Ended { code, stdout: String::from_utf8(output.stdout).unwrap(), stderr })
}

#[test]
fn a_terminal_is_asked_twice_and_shows_nothing() {
    let tl = Tl::new();
    tl.pipeline("");
    let line = format!("{VALUE}\r");
    for (answers, code, told) in [
        (&[("value: ", line.as_str()), ("again: ", line.as_str())][..], 0, "again: \n"),
        (&[("value: ", &line), ("again: ", "something else\r")], 2, "TL0736"),
        (&[("value: ", "\r")], 2, "TL0735"),
        (&[("value: ", &line), ("again: ", "\x03")], 130, "TL0739"),
    ] {
        let (shown, ended) = typed(&tl, answers);
        assert_eq!(ended.code, code, "{}", ended.stderr);
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
        assert_eq!(ended.stdout.contains("-----BEGIN AGE"), code == 0);
        assert!(!format!("{shown}{ended:?}").contains(VALUE));
        assert!(shown.starts_with("shown again"), "{shown:?}");
    }
}

#[test]
fn each_secret_is_tried_and_none_is_shown() {
    let tl = Tl::new();
    tl.write("key.txt", VALUE).pipeline(
        "secrets:\n  here: { from: file, path: key.txt }\n  there: { from: env, name: NOT_SET_ANYWHERE }\n  printed: { from: command, \
         run: [sh, -c, 'cat key.txt >&2; exit 1'] }\nstages:\n  a: { run: [/bin/true] }\n",
    );
    let ended = tl.run(&["secret", "check", "p.yaml"]);
    assert_eq!(ended.code, 12);
    insta::assert_snapshot!("secret_check", ended.shown(&tl));
    let json = tl.run(&["secret", "check", "--json", "p.yaml"]);
    assert_eq!(json.code, 12);
    let found: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let of = |at: usize| &found["secrets"][at];
    assert_eq!((of(0)["found"].as_bool(), of(0)["error"].is_null()), (Some(true), true));
    assert_eq!((of(1)["found"].as_bool(), of(1)["error"]["code"].as_str()), (Some(false), Some("TL0510")));
    assert_eq!((of(2)["from"].as_str(), of(2)["error"]["code"].as_str()), (Some("command"), Some("TL0512")));
    assert!(!format!("{ended:?}{json:?}").contains(VALUE));
    tl.pipeline("stages:\n  a: { run: [/bin/true] }\n");
    assert!(tl.ok(&["secret", "check", "p.yaml"]).stdout.contains("nothing to try"));
    tl.pipeline("secrets: { here: { from: file, path: key.txt } }\nstages:\n  a: { run: [/bin/true] }\n");
    assert!(tl.ok(&["secret", "check", "p.yaml"]).stdout.starts_with("yes  here  file: "));
    tl.write("p.yaml", "version: 1\n");
    assert_eq!(tl.run(&["secret", "check", "p.yaml"]).code, 2);
}

/// Stock age reads what tl prints, and tl opens what stock age prints.
#[cfg(feature = "peers")]
#[test]
fn age_opens_what_is_sealed_and_tl_what_age_sealed() {
    use std::process::Command;

    let tl = with_sealed(&["-R", "recipients.txt"]);
    let text = tl.read("p.yaml");
    let armor = |text: &str| {
        let from = text.find("-----BEGIN").unwrap();
        let end = text.find("-----END AGE ENCRYPTED FILE-----").unwrap();
        text[from..end].replace(' ', "").replace("-----BEGINAGEENCRYPTEDFILE", "-----BEGIN AGE ENCRYPTED FILE")
            + "-----END AGE ENCRYPTED FILE-----\n"
    };
    tl.write("armor", armor(&text));
    let age = |arguments: &[&str]| {
        let output = Command::new("age").args(arguments).current_dir(tl.path()).output().expect("age is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(age(&["-d", "-i", "identity.txt", "armor"]), VALUE);
    tl.write("plain", format!("{VALUE}\n"));
    let sealed = age(&["-a", "-R", "recipients.txt", "plain"]).replace('\n', "\n      ");
    tl.pipeline(&format!(
        "secrets:\n  key:\n    from: sealed\n    identity: identity.txt\n    value: |\n      {}\nstages:\n  a:\n    env: {{ KEY: '${{{{ \
         secrets.key }}}}' }}\n    shell: sh\n    run: test \"$KEY\" = {VALUE}\n",
        sealed.trim_end()
    ));
    let ended = run(&tl, &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}
