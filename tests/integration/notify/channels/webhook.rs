//! Webhooks: the request, and the reaction to each answer.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value as Json, json};
use timelocker::channels::Error;
use timelocker::value::is_control_or_bidi;

use super::samples::{HOSTILE, channel, message, refused};
use crate::support::receiver::{Answer, Received, Receiver, certificate, status};
use crate::support::{Tl, read_events};

const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OTHER: &str = "whsec_dGhpcyBpcyB0d2VudHktZm91ciBieXRlcyBsb25n";
const OK: &str = "200 OK";

fn settings(receiver: &Receiver, more: &Json) -> Json {
    let mut settings = json!({
        "url": format!("{}/path-secret?token=query-secret", receiver.url()), "allow-private": true, "timeout": "1s",
        "signing-key": KEY,
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

fn deliver(receiver: &Receiver, more: &Json) -> Result<String, Error> {
    channel("webhook", settings(receiver, more)).deliver(&message("failure"))
}

/// An independent implementation accepts the signature.
fn judge(key: &str, request: &Received) {
    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let value = request.header(name).unwrap().parse().unwrap();
        headers.insert(http::HeaderName::from_static(name), value);
    }
    standardwebhooks::Webhook::new(key).unwrap().verify(request.body.as_bytes(), &headers).unwrap();
}

#[test]
fn a_receiver_can_trust_what_it_gets() {
    let receiver = Receiver::start(vec![status(OK, "", "thanks path-secret?token=query-secret \u{1b}[31m")]);
    let how =
        deliver(&receiver, &json!({ "headers": { "X-Token": "header-secret" }, "signing-keys": [OTHER] })).unwrap();
    assert_eq!(how, "200 OK, 43 bytes answered: thanks *** \u{fffd}[31m");
    let [request] = &receiver.requests()[..] else { panic!() };
    assert_eq!(request.line, "POST /path-secret?token=query-secret HTTP/1.1");
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("x-token"), Some("header-secret"));
    assert_eq!(request.header("webhook-id"), Some("01ARZ3NDEKTSV4RRFFQ69G5FAV_failure_0"));
    assert_eq!(request.header("idempotency-key"), request.header("webhook-id"));
    assert_eq!(request.header("webhook-signature").unwrap().split(' ').count(), 2);
    judge(KEY, request);
    judge(OTHER, request);
    let body: Json = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body["subject"], "orders: failure");
    assert_eq!(body["body"], message("failure").body);
    assert_eq!((&body["host"], body.as_object().unwrap().len()), (&Json::from("web1"), 8));
}

#[test]
fn values_stay_values_in_a_template() {
    let template = r#"{"text": "{{subject}}", "more": ["{{{body}}}"]}"#;
    for hostile in HOSTILE {
        let receiver = Receiver::start(vec![status(OK, "", "")]);
        let mut message = message("failure");
        (message.subject, message.body) = ((*hostile).to_owned(), (*hostile).to_owned());
        let channel = channel("webhook", settings(&receiver, &json!({ "body": template })));
        assert_eq!(channel.deliver(&message).unwrap(), "200 OK");
        let [request] = &receiver.requests()[..] else { panic!() };
        let body: Json = serde_json::from_str(&request.body).unwrap();
        // JSON escapes control characters. Templates replace characters that would control how the text is displayed.
        let shown = hostile.replace(|c: char| is_control_or_bidi(c) && !c.is_control(), "\u{fffd}");
        assert_eq!(body, json!({ "text": shown, "more": [shown] }));
        judge(KEY, request);
    }
}

#[test]
fn settings_that_cannot_work_are_refused_before_anything_is_sent() {
    let receiver = Receiver::start(vec![status(OK, "", "")]);
    for more in [
        json!({ "url": "http://127.0.0.1/secret", "allow-private": false }),
        json!({ "url": "ftp://127.0.0.1/secret" }),
        json!({ "url": "https://user:secret@127.0.0.1/" }),
        json!({ "url": "secret" }),
        json!({ "signing-key": "whsec_secret" }),
        json!({ "headers": { "Content-Length": "1" } }),
        json!({ "headers": { "Connection": "close" } }),
        json!({ "headers": { "X\r\nY": "1" } }),
        json!({ "headers": { "X": "secret\r\nY: 1" } }),
        json!({ "headers": { "X": "secret\0" } }),
        json!({ "body": "{{subjetc}}" }),
        json!({ "body": "{{#if}" }),
        json!({ "body": "{\"a\": {{subject}}}" }),
        json!({ "body": "x", "method": "GET" }),
        json!({ "content-type": "text/plain\r\nX: y" }),
        json!({ "method": "DELETE" }),
        json!({ "urll": "x" }),
    ] {
        let error = refused("webhook", settings(&receiver, &more));
        assert!(!error.contains("secret"), "{error}");
    }
    assert_eq!(receiver.connections(), 0);
}

#[test]
fn nobody_follows_a_receiver_that_points_elsewhere() {
    for code in ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let other = Receiver::start(vec![status(OK, "", "")]);
        let receiver = Receiver::start(vec![status(code, &format!("location: {}\r\n", other.url()), "")]);
        let error = deliver(&receiver, &json!({})).unwrap_err();
        assert!(!error.is_transient(), "{error}");
        assert_eq!((receiver.requests().len(), other.connections()), (1, 0));
        let text = error.to_string();
        assert!(text.ends_with("which leads elsewhere: nobody follows") && !text.contains("secret"), "{text}");
    }
}

#[test]
fn each_refusal_has_its_outcome() {
    for (code, attempts, is_transient) in [
        ("400 Bad Request", 1, false),
        ("401 Unauthorized", 1, false),
        ("404 Not Found", 1, false),
        ("410 Gone", 1, false),
        ("408 Request Timeout", 3, true),
        ("429 Too Many Requests", 3, true),
        ("500 Internal Server Error", 3, true),
        ("503 Service Unavailable", 3, true),
    ] {
        let receiver = Receiver::start(vec![status(code, "", "no: path-secret?token=query-secret")]);
        let error = deliver(&receiver, &json!({})).unwrap_err();
        assert_eq!((receiver.requests().len(), error.is_transient()), (attempts, is_transient), "{code}");
        assert_eq!(error.to_string(), format!("{} answered {}: no: ***", receiver.url(), &code[..3]));
        let ids: Vec<_> =
            receiver.requests().iter().map(|request| request.header("webhook-id").map(str::to_owned)).collect();
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    }
}

#[test]
fn a_receiver_that_recovers_gets_the_message() {
    let after = status("429 Too Many Requests", "retry-after: 1\r\n", "");
    let receiver = Receiver::start(vec![after, Answer::Nothing, status("202 Accepted", "", "")]);
    assert_eq!(deliver(&receiver, &json!({})).unwrap(), "202 Accepted");
    assert_eq!(receiver.requests().len(), 3);
    receiver.requests().iter().for_each(|request| judge(KEY, request));
}

#[test]
fn a_receiver_that_wants_an_hour_is_left_alone() {
    let receiver = Receiver::start(vec![status("429 Too Many Requests", "retry-after: 3600\r\n", "")]);
    let error = deliver(&receiver, &json!({})).unwrap_err();
    assert_eq!((receiver.requests().len(), error.is_transient()), (1, true));
    assert_eq!(error.retry_after(), Some(Duration::from_hours(1)));
}

/// Every wait has a limit. The test proves it by ending.
#[test]
fn slow_and_endless_answers_end() {
    let head = "HTTP/1.1 200 OK\r\n".to_owned();
    for answer in [Answer::Drip(head.clone()), Answer::Drip(format!("{head}x-long: ")), Answer::Drip(String::new())] {
        let receiver = Receiver::start(vec![answer]);
        let error = deliver(&receiver, &json!({ "timeout": "500ms" })).unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }) && error.is_transient(), "{error}");
    }
    // The status decides. What follows is not waited for.
    let receiver = Receiver::start(vec![Answer::Drip(format!("{head}\r\n"))]);
    let how = deliver(&receiver, &json!({ "timeout": "20s" })).unwrap();
    assert!(how.starts_with("200 OK, more than "), "{how}");
    let receiver = Receiver::start(vec![Answer::Flood(format!("{head}\r\n"))]);
    let how = deliver(&receiver, &json!({ "timeout": "20s" })).unwrap();
    assert!(how.starts_with("200 OK, more than 65536 bytes answered: xxx"), "{how}");
    assert!(how.chars().count() < 200, "{how}");
    let receiver = Receiver::start(vec![Answer::Flood(format!("{head}x-long: "))]);
    assert!(deliver(&receiver, &json!({})).is_err());
}

#[test]
fn no_connection_is_an_error_that_may_pass() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for url in [format!("http://127.0.0.1:{closed}/secret"), "https://no-such-host.invalid/secret".to_owned()] {
        let error = channel("webhook", json!({ "url": url, "allow-private": true })).deliver(&message("failure"));
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }) && error.is_transient(), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let receiver = Receiver::start(vec![Answer::Nothing]);
    assert!(deliver(&receiver, &json!({})).unwrap_err().is_transient());
    let receiver = Receiver::start(vec![Answer::Bytes("garbage\r\n\r\n".to_owned())]);
    assert!(deliver(&receiver, &json!({})).unwrap_err().is_transient());
}

#[test]
fn only_the_named_certificate_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (good, key) = certificate("localhost");
    let (other, other_key) = certificate("localhost");
    let (elsewhere, elsewhere_key) = certificate("elsewhere.example.com");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, format!("{good}{elsewhere}")).unwrap();
    let tell = |receiver: &Receiver, ca: Option<&std::path::Path>| {
        let mut settings = json!({ "url": format!("https://localhost:{}/", receiver.port), "allow-private": true });
        if let Some(ca) = ca {
            settings["ca-certificate"] = ca.to_str().unwrap().into();
        }
        channel("webhook", settings).deliver(&message("failure"))
    };
    let answers = || vec![status(OK, "", "")];
    let receiver = Receiver::with_tls(answers(), &good, &key);
    assert_eq!(tell(&receiver, Some(&ca)).unwrap(), "200 OK");
    // No other authority vouches for it.
    assert!(tell(&receiver, None).is_err());
    assert_eq!(receiver.requests().len(), 1);
    for (certificate, key) in [(other, other_key), (elsewhere, elsewhere_key)] {
        let receiver = Receiver::with_tls(answers(), &certificate, &key);
        let error = tell(&receiver, Some(&ca)).unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }) && error.to_string().contains("certificate"), "{error}");
        assert!(receiver.requests().is_empty());
    }
}

#[test]
fn this_machine_is_told_only_where_the_file_allows_it() {
    let receiver = Receiver::start(vec![status(OK, "", "")]);
    for host in ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0"] {
        let url = format!("https://{host}:{}/secret", receiver.port);
        let error = channel("webhook", json!({ "url": url })).deliver(&message("failure")).unwrap_err();
        assert!(matches!(error, Error::Private { .. }) && !error.is_transient(), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    assert_eq!(receiver.connections(), 0);
    // Plain HTTP never goes to the internet, whatever the settings allow.
    let error = channel("webhook", json!({ "url": "http://192.0.2.1/", "allow-private": true, "timeout": "100ms" }));
    assert!(error.deliver(&message("failure")).is_err());
    let error =
        channel("webhook", json!({ "url": "http://8.8.8.8/", "allow-private": true })).deliver(&message("failure"));
    assert!(matches!(error.unwrap_err(), Error::Private { .. }));
}

/// Through the program: it ignores proxies from the environment, and shows no secret.
#[test]
fn a_run_tells_its_webhook() {
    let receiver = Receiver::start(vec![status(OK, "", "thanks for path-secret")]);
    let tl = Tl::new();
    tl.write(
        "p.yaml",
        "version: 1\nname: test\nsecrets: { hook: { from: env, name: HOOK }, key: { from: env, name: KEY } }\nchannels:\n  hook: { \
         uses: webhook, with: { url: '${{ secrets.hook }}', signing-key: '${{ secrets.key }}', allow-private: true } }\nstages:\n  \
         check: { run: [/bin/true] }\nnotify:\n  - { when: [success], to: [hook] }\n",
    );
    let url = format!("{}/path-secret", receiver.url());
    let mut command = tl.command(&["run", "p.yaml", "--reporter", "json"]);
    command.env("HOOK", &url).env("KEY", KEY);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:1");
    }
    let ended = crate::support::ended(&mut command);
    assert_eq!(ended.code, 0, "{ended:?}");
    let [request] = &receiver.requests()[..] else { panic!("{ended:?}") };
    judge(KEY, request);
    read_events(&ended.stdout);
    assert!(ended.stdout.contains("\"delivered\":\"200 OK, 22 bytes answered: thanks for ***\""), "{}", ended.stdout);
    let log = tl.ok(&["audit", "show"]).stdout;
    assert!(!log.contains("path-secret") && !ended.stdout.contains("path-secret"), "{log}");
}
