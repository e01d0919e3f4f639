//! Credentials and connections of a store, and what `tl doctor` finds out about it.

use crate::support::faulty_s3::{Action, Fault, Op, Rule};
use crate::support::receiver::{Receiver, certificate, status};
use crate::support::{Ended, KEYS, Tl, ended, error_of, events};

fn pipeline(bucket: &str, endpoint: &str, more: &str) -> String {
    format!(
        "version: 1\nname: test\nsecrets:\n  key: {{ from: env, name: MY_KEY }}\nstores:\n  cloud: {{ uses: s3, with: {{ bucket: \
         {bucket}, endpoint: '{endpoint}', path-style: true, retry-for: 1s, request-timeout: 20s{more} }} }}\nstages:\n  \
         collect: {{ uses: archive, with: {{ sources: [data] }} }}\n  deliver: {{ needs: collect, uses: upload, with: {{ \
         artifact: '${{{{ needs.collect.outputs.artifact }}}}', store: cloud, key: object }} }}\n"
    )
}

fn doctor(tl: &Tl, bucket: &str, endpoint: &str, more: &str) -> Ended {
    tl.write("p.yaml", pipeline(bucket, endpoint, more)).write("data/a", "x");
    ended(aws(tl, &["doctor", "p.yaml"]).env("AWS_ACCESS_KEY_ID", KEYS.0).env("AWS_SECRET_ACCESS_KEY", KEYS.1))
}

/// The program without any settings that the AWS tools would find on the machine.
fn aws(tl: &Tl, arguments: &[&str]) -> std::process::Command {
    let profile = format!("[mine]\naws_access_key_id = {}\naws_secret_access_key = {}\n", KEYS.0, KEYS.1);
    tl.write("aws-empty", "").write("aws-credentials", profile);
    let mut command = tl.command(arguments);
    command
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", tl.file("aws-empty"))
        .env("AWS_SHARED_CREDENTIALS_FILE", tl.file("aws-credentials"))
        .env("MY_KEY", KEYS.1);
    command
}

#[test]
fn doctor_tries_everything_and_leaves_nothing() {
    for bucket in ["vault", "safe", "plain"] {
        let server = Fault::start();
        let tl = Tl::new();
        let found = doctor(&tl, bucket, &server.endpoint(), ", allow-private: true");
        let shown = found.shown(&tl).replace(&server.port().to_string(), "[PORT]");
        insta::assert_snapshot!(format!("doctor_{bucket}"), shown);
        assert!(server.objects(bucket).iter().all(|(_, versions)| versions.is_empty()), "{:?}", server.objects(bucket));
        assert_eq!(server.open_uploads(), 0);
    }
}

#[test]
fn doctor_says_what_is_refused_and_what_is_missing() {
    let server = Fault::start();
    let tl = Tl::new();
    server.rule(Rule::always(Op::Put, Action::Error(403, "AccessDenied", &[])));
    let found = doctor(&tl, "vault", &server.endpoint(), ", allow-private: true");
    assert_eq!(found.code, 1);
    assert!(found.stdout.contains("FAILED   write") && found.stdout.contains("AccessDenied"), "{}", found.stdout);

    let missing = doctor(&tl, "nowhere", &server.endpoint(), ", allow-private: true");
    assert_eq!(missing.code, 1);
    assert!(
        missing.stdout.contains("FAILED   reach") && missing.stdout.contains("no such bucket"),
        "{}",
        missing.stdout
    );

    // A missing secret is reported once, and the rest is checked anyway.
    let more = ", allow-private: true";
    tl.write("p.yaml", pipeline("plain", &server.endpoint(), more));
    let half = ended(with_env(aws(&tl, &["doctor", "p.yaml", "--json"]).env_remove("MY_KEY")));
    let found: serde_json::Value = serde_json::from_str(&half.stdout).unwrap();
    assert_eq!(half.code, 1);
    assert_eq!(found["examined"][1]["trials"][0]["result"], "failed");
    assert_eq!(found["examined"][2]["trials"][0]["result"], "yes", "{found}");
}

fn with_env(command: &mut std::process::Command) -> &mut std::process::Command {
    command.env("AWS_ACCESS_KEY_ID", KEYS.0).env("AWS_SECRET_ACCESS_KEY", KEYS.1)
}

/// Each half of a key comes from the file, else from the environment. A profile provides both. The server knows one
/// key.
#[test]
fn credentials_come_from_each_place() {
    let server = Fault::start();
    server.accept_key(KEYS.0, true);
    let tl = Tl::new();
    tl.write("data/a", "x");
    let (id, secret) = (Some(KEYS.0), Some(KEYS.1));
    let own = format!("access-key-id: {}", KEYS.0);
    let key = "secret-access-key: '${{ secrets.key }}'";
    for (settings, env_id, env_secret, expected) in [
        (format!(", {own}, {key}"), None, None, 0),
        (format!(", {own}, {key}"), Some("AKIAANOTHERANOTHERAN"), Some("wrong"), 0),
        (format!(", {own}"), None, secret, 0),
        (format!(", {key}"), id, None, 0),
        (String::new(), id, secret, 0),
        (", profile: mine".to_owned(), Some("AKIAANOTHERANOTHERAN"), Some("wrong"), 0),
        (String::new(), Some("AKIAANOTHERANOTHERAN"), secret, 12),
        (format!(", profile: mine, {own}"), None, None, 2),
        (", profile: nobody".to_owned(), id, secret, 12),
        (format!(", {own}"), None, None, 12),
        (format!(", {key}"), None, None, 12),
    ] {
        let settings = format!("{settings}, allow-private: true");
        let text = pipeline("plain", &server.endpoint(), &settings).replace("key: object", "key: '${{ run.id }}'");
        tl.write("p.yaml", text);
        let mut command = aws(&tl, &["run", "p.yaml", "--reporter", "json"]);
        for (name, value) in [("AWS_ACCESS_KEY_ID", env_id), ("AWS_SECRET_ACCESS_KEY", env_secret)] {
            value.map(|value| command.env(name, value));
        }
        let ended = ended(&mut command);
        assert_eq!(ended.code, expected, "{settings}, {env_id:?}, {env_secret:?}: {ended:#?}");
        assert!(!ended.stdout.contains(KEYS.1) && !ended.stderr.contains(KEYS.1));
        if settings.contains("nobody") {
            assert_eq!(error_of(&events(&ended.stdout), "deliver"), "TL0646", "it is not tried again and again");
        }
    }
}

/// The error names exactly what is missing.
#[test]
fn half_a_key_is_no_key() {
    let tl = Tl::new();
    tl.write("data/a", "x");
    for (settings, names, not) in [
        (", access-key-id: AKIA", "`secret-access-key`", "`access-key-id`"),
        (", secret-access-key: '${{ secrets.key }}'", "`access-key-id`", "`secret-access-key`"),
    ] {
        tl.write("p.yaml", pipeline("plain", "http://127.0.0.1:9", &format!("{settings}, allow-private: true")));
        let ended = ended(&mut aws(&tl, &["run", "p.yaml", "--reporter", "json"]));
        let events = events(&ended.stdout);
        assert_eq!((ended.code, error_of(&events, "deliver")), (12, "TL0654".to_owned()), "{ended:#?}");
        let text =
            events.iter().find(|event| event["error"]["code"] == "TL0654").unwrap()["error"]["message"].to_string();
        assert!(text.contains(names) && !text.contains(not), "{text}");
    }
}

/// A server with a self-signed certificate is trusted only if the file names the certificate.
#[test]
fn a_certificate_is_trusted_where_the_file_says_so() {
    let (certificate, key) = certificate("localhost");
    let (other, _) = self::certificate("localhost");
    let server = Receiver::with_tls(vec![status("403 Forbidden", "", "")], &certificate, &key);
    let endpoint = format!("https://localhost:{}", server.port);
    let tl = Tl::new();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    tl.write("ca.pem", &certificate).write("other.pem", &other).write("none.pem", "none").write("broken.pem", broken);
    let reached = doctor(&tl, "plain", &endpoint, ", allow-private: true, ca-certificate: ca.pem");
    assert!(reached.stdout.contains("unknown  reach"), "{}", reached.stdout);
    assert!(!server.requests().is_empty(), "the endpoint of the file is the one that is asked");
    let asked = server.requests().len();
    for (more, says) in [
        (", allow-private: true", "certificate"),
        (", allow-private: true, ca-certificate: other.pem", "certificate"),
        (", allow-private: true, ca-certificate: none.pem", "holds no PEM certificate"),
        (", allow-private: true, ca-certificate: broken.pem", "broken.pem"),
        (", allow-private: true, ca-certificate: absent.pem", "cannot be read"),
        (", ca-certificate: ca.pem", "private address"),
    ] {
        let refused = doctor(&tl, "plain", &endpoint, more);
        assert!(refused.code == 1 && refused.stdout.contains("FAILED   reach"), "{more}: {}", refused.stdout);
        assert!(refused.stdout.contains(says), "{more}: {}", refused.stdout);
    }
    assert_eq!(server.requests().len(), asked, "nothing was sent to a server that is not trusted");
}

/// Settings that the schema cannot check.
#[test]
fn settings_that_cannot_work_are_named_before_anything_is_sent() {
    let server = Fault::start();
    let tl = Tl::new();
    tl.write("data/a", "x");
    for (endpoint, more, says) in [
        (server.endpoint(), "", "needs `allow-private: true`"),
        ("https://127.0.0.1:1".to_owned(), "", "127.0.0.1 is private"),
        ("https://[::1]:1".to_owned(), "", "::1 is private"),
        ("https://user:word@s3.example.org".to_owned(), "", "holds no user"),
        ("https://s3.example.org/#here".to_owned(), "", "query or fragment"),
        (server.endpoint(), ", allow-private: true, minimum-speed: 0B", "more than nothing"),
        (server.endpoint(), ", allow-private: true, kms-key-id: k", "needs `sse: kms`"),
        (server.endpoint(), ", allow-private: true, prefix: ../x", "`prefix`"),
        (server.endpoint(), r#", allow-private: true, storage-class: "A\nB""#, "`storage-class`"),
        (server.endpoint(), ", allow-private: true, part-size: 1MiB", "from 5MiB to 5GiB"),
        (server.endpoint(), ", allow-private: true, part-size: 6GiB", "from 5MiB to 5GiB"),
    ] {
        tl.write("p.yaml", pipeline("plain", &endpoint, more));
        let ended = ended(with_env(&mut aws(&tl, &["run", "p.yaml", "--reporter", "json"])));
        let told = format!("{}{}", ended.stdout, ended.stderr);
        assert!(ended.code == 2 && told.contains("TL0606"), "{more} {endpoint}: {ended:#?}");
        assert!(told.contains(says), "{says}: {ended:#?}");
    }
    assert!(server.requests().is_empty());
    assert!(!tl.state().join("audit").exists(), "a run began");
}
