//! E-mail to a real SMTP server, `smtp_server.py` on aiosmtpd. `.ci/run` installs it.

use serde_json::{Value as Json, json};
use timelocker::channels::Error;

use super::samples::{HOSTILE, channel, message};
use crate::support::Tl;
use crate::support::smtp::{PASSWORD, Server};

fn deliver(server: &Server, security: &str, more: &Json) -> Result<String, Error> {
    channel("email", server.settings(security, more)).deliver(&message("failure"))
}

fn headers<'m>(mail: &'m Json, name: &str) -> Vec<&'m str> {
    let all = mail["headers"].as_array().unwrap().iter();
    all.filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap()).collect()
}

fn names(mail: &Json) -> Vec<&str> {
    let mut names: Vec<&str> =
        mail["headers"].as_array().unwrap().iter().map(|pair| pair[0].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_server_takes_mail_through_tls() {
    for security in ["tls", "starttls"] {
        let server = Server::start(security);
        let how = deliver(&server, security, &json!({ "reply-to": "help@example.com" })).unwrap();
        assert_eq!(how, "250 2.0.0 Ok: queued as TEST1");
        let mail = server.mail(1);
        assert_eq!((&mail["encrypted"], &mail["authenticated"]), (&json!(true), &json!(true)), "{security}");
        assert_eq!(mail["from"], "backup@example.com");
        assert_eq!(mail["to"], json!(["ops@example.com", "night@example.com", "audit@example.com"]));
        assert_eq!(headers(&mail, "Subject"), ["orders: failure"]);
        assert_eq!(headers(&mail, "To"), ["ops@example.com, Nächte <night@example.com>"]);
        assert_eq!(headers(&mail, "Reply-To"), ["help@example.com"]);
        assert_eq!(headers(&mail, "Message-ID"), ["<01ARZ3NDEKTSV4RRFFQ69G5FAV.failure.0@example.com>"]);
        assert_eq!(headers(&mail, "References"), ["<orders-web1.pipeline@example.com>"]);
        assert_eq!(headers(&mail, "In-Reply-To"), headers(&mail, "References"));
        assert_eq!(headers(&mail, "Auto-Submitted"), ["auto-generated"]);
        assert_eq!(headers(&mail, "Date"), ["Thu, 01 Jan 2026 00:00:00 +0000"]);
        let text = mail["parts"][0]["text"].as_str().unwrap().replace("\r\n", "\n");
        assert_eq!(text.trim_end(), message("failure").body.trim_end());
        assert_eq!(mail["defects"], json!([]));
    }
}

/// Many servers refuse the name of a machine that is no full one (RFC 5321, 4.1.4).
#[test]
fn a_server_is_greeted_with_a_domain_or_an_address() {
    let more = |hello: Json| json!({ "insecure-plaintext": true, "username": null, "password": null, "ca-certificate": null, "hello": hello });
    for (hello, says) in [
        (json!("backup.example.com"), "EHLO backup.example.com\r\n"),
        (json!("192.0.2.7"), "EHLO [192.0.2.7]\r\n"),
        (json!("2001:db8::7"), "EHLO [IPv6:2001:db8::7]\r\n"),
    ] {
        let server = Server::start("plain");
        deliver(&server, "none", &more(hello)).unwrap();
        assert!(server.heard().contains(says), "{}", server.heard());
    }
    // By default as this machine is called, if that is a full name; else by its address.
    let server = Server::start("plain");
    deliver(&server, "none", &more(Json::Null)).unwrap();
    let heard = server.heard();
    let name = heard.lines().find_map(|line| line.strip_prefix("EHLO ")).unwrap();
    assert!(name.contains('.') || name.starts_with('['), "{name}");
}

/// One address that is gone does not keep the mail from the others, and the answer names it.
#[test]
fn a_recipient_who_is_gone_does_not_silence_the_others() {
    let plain =
        json!({ "insecure-plaintext": true, "username": null, "password": null, "ca-certificate": null, "cc": null });
    let to = |names: &[&str]| {
        let mut more = plain.clone();
        more["to"] = json!(names);
        more
    };
    let server = Server::start("some");
    let how = deliver(&server, "none", &to(&["gone@example.com", "ops@example.com", "night@example.com"])).unwrap();
    assert!(how.starts_with("250 ") && how.contains("gone@example.com") && how.contains("no such mailbox"), "{how}");
    assert_eq!(server.mails(), 2);
    let all = deliver(&server, "none", &to(&["gone@example.com", "gone2@example.com"])).unwrap_err();
    assert!(all.to_string().contains("no such mailbox"), "{all}");
    assert_eq!(server.mails(), 2);
}

#[test]
fn a_mail_may_have_two_forms() {
    let server = Server::start("tls");
    let mut message = message("success");
    message.html = Some("<p>ünïcödé</p>\n".to_owned());
    channel("email", server.settings("tls", &json!({}))).deliver(&message).unwrap();
    let mail = server.mail(1);
    assert_eq!(mail["type"], "multipart/alternative");
    let kinds: Vec<&Json> = mail["parts"].as_array().unwrap().iter().map(|part| &part["type"]).collect();
    assert_eq!(kinds, ["text/plain", "text/html"]);
    assert_eq!(mail["parts"][1]["text"].as_str().unwrap().trim_end(), "<p>ünïcödé</p>");
}

/// No password is sent where others could read it, and nothing received in plaintext counts after STARTTLS.
#[test]
fn a_password_is_sent_through_tls_or_not_at_all() {
    let is_silent = |server: &Server| {
        let heard = server.heard();
        assert!(
            !heard.to_uppercase().contains("AUTH") && !heard.contains(PASSWORD) && !heard.contains("MAIL"),
            "{heard}"
        );
        assert_eq!(server.mails(), 0);
        heard
    };
    // The server does not offer STARTTLS, or an attacker removed it from the offer.
    let server = Server::start("no-starttls");
    let error = deliver(&server, "starttls", &json!({})).unwrap_err();
    assert!(error.to_string().contains("STARTTLS is not supported"), "{error}");
    assert!(is_silent(&server).to_uppercase().contains("EHLO"));
    // The server offers it, but an attacker appended replies to the server's reply.
    let server = Server::start("inject");
    let error = deliver(&server, "starttls", &json!({})).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(is_silent(&server).contains("STARTTLS"));
    // A plaintext server where TLS is expected.
    let server = Server::start("plain");
    assert!(deliver(&server, "tls", &json!({ "timeout": "2s" })).is_err());
    is_silent(&server);
    // A certificate for another host, and one from an unknown authority.
    for (security, name, more) in [
        ("tls", "elsewhere.example.com", json!({})),
        ("starttls", "elsewhere.example.com", json!({})),
        ("tls", "localhost", json!({ "ca-certificate": null })),
        ("starttls", "localhost", json!({ "ca-certificate": null })),
    ] {
        let server = Server::with_name(security, name);
        let error = deliver(&server, security, &more).unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }) && error.to_string().contains("certificate"), "{error}");
        is_silent(&server);
    }
}

#[test]
fn loopback_may_be_told_in_the_clear() {
    let server = Server::start("plain");
    let more = json!({ "insecure-plaintext": true, "username": null, "password": null });
    assert_eq!(deliver(&server, "none", &more).unwrap(), "250 2.0.0 Ok: queued as TEST1");
    assert_eq!(server.mail(1)["encrypted"], false);
}

#[test]
fn each_refusal_has_its_outcome() {
    for (mode, code, is_transient) in [("refuse", 550, false), ("busy", 451, true)] {
        let error = deliver(&Server::start(mode), "tls", &json!({})).unwrap_err();
        assert_eq!(error.is_transient(), is_transient, "{error}");
        assert!(matches!(&error, Error::Replied { code: replied, .. } if *replied == code), "{error:?}");
    }
    let error = deliver(&Server::start("tls"), "tls", &json!({ "password": "wrong-password" })).unwrap_err();
    assert!(matches!(error, Error::Replied { code: 535, .. }) && !error.is_transient(), "{error:?}");
    assert!(!error.to_string().contains("wrong-password"));
    let mut server = Server::start("tls");
    server.kill();
    assert!(deliver(&server, "tls", &json!({})).unwrap_err().is_transient());
}

/// Whatever a message contains, the mail has the same headers and the same parts.
#[test]
fn hostile_texts_stay_texts() {
    let server = Server::start("tls");
    let channel = channel("email", server.settings("tls", &json!({})));
    channel.deliver(&message("failure")).unwrap();
    let usual = names(&server.mail(1)).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let long = ["x".repeat(1 << 20), "ä\n".repeat(1 << 19), ".\r\n".repeat(9_999)];
    for (number, text) in HOSTILE.iter().map(|text| (*text).to_owned()).chain(long).enumerate() {
        let mut message = message("failure");
        (message.subject, message.body) = (text.clone(), text.clone());
        message.id = format!("{text}.{number}").chars().take(100).collect();
        message.pipeline = text.chars().take(100).collect();
        channel.deliver(&message).unwrap();
        let mail = server.mail(number + 2);
        assert_eq!(names(&mail), usual, "{text:?}");
        assert_eq!(mail["to"].as_array().unwrap().len(), 3);
        assert_eq!(
            (&mail["defects"], &mail["controls"], &mail["bare"]),
            (&json!([]), &json!([]), &json!(false)),
            "{text:?}"
        );
        assert_eq!(mail["type"], "text/plain");
        assert!(mail["longest_line"].as_u64().unwrap() <= 998);
        let subject = headers(&mail, "Subject")[0];
        let is_plain = |c: char| !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        assert!(subject.chars().all(is_plain) && subject.chars().count() <= 250, "{subject:?}");
        let body = mail["parts"][0]["text"].as_str().unwrap();
        let is_text = |c: char| is_plain(c) || matches!(c, '\r' | '\n' | '\t');
        assert!(body.chars().all(is_text), "{text:?}");
        let lines = |text: &str| text.replace("\r\n", "\n").trim_end().chars().count();
        assert_eq!(lines(body), lines(&text), "nothing is lost of {:?}", &text[..20.min(text.len())]);
    }
    assert_eq!(server.mails(), HOSTILE.len() + 4);
}

/// The same through the program: the texts of a stage, as a file may contain them.
#[test]
fn hostile_texts_of_a_run_stay_texts() {
    let server = Server::start("starttls");
    let tl = Tl::new();
    let with = server.settings("starttls", &json!({ "password": "${{ secrets.smtp }}" }));
    for (number, text) in HOSTILE.iter().filter(|text| !text.contains("${{")).enumerate() {
        let told = json!({ "to": ["ops"], "subject": text, "body": text });
        let file = json!({
            "version": 1, "name": "orders", "secrets": { "smtp": { "from": "env", "name": "SMTP" } },
            "channels": { "ops": { "uses": "email", "with": with } },
            "stages": { "tell": { "uses": "notify", "with": told } },
        });
        tl.write("p.yaml", file.to_string().replace('\u{2028}', "\\u2028").replace('\u{85}', "\\u0085"));
        let ended = crate::support::ended(tl.command(&["run", "p.yaml"]).env("SMTP", PASSWORD));
        assert_eq!(ended.code, 0, "{text:?} {ended:?}");
        let mail = server.mail(number + 1);
        assert!(!names(&mail).contains(&"Bcc") && headers(&mail, "Subject").len() == 1, "{mail:#}");
        assert_eq!(
            (&mail["defects"], &mail["controls"], &mail["type"]),
            (&json!([]), &json!([]), &json!("text/plain"))
        );
        assert_eq!(mail["to"].as_array().unwrap().len(), 3);
    }
    assert!(!tl.ok(&["audit", "show"]).stdout.contains(PASSWORD));
}
