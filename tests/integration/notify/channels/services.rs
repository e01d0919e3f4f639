//! The request that each service receives.

use serde_json::{Value as Json, json};

use super::samples::{HOSTILE, channel, message, refused};
use crate::support::receiver::{Receiver, status};

const SERVICES: &[&str] =
    &["slack", "discord", "teams", "ntfy", "gotify", "pushover", "pagerduty", "healthchecks", "uptime-kuma"];

fn settings(kind: &str, url: &str) -> Json {
    match kind {
        "ntfy" => json!({ "server": url, "topic": "topic-secret", "token": "token-secret", "allow-private": true }),
        "gotify" => json!({ "server": url, "token": "token-secret", "allow-private": true }),
        "pushover" => json!({ "server": url, "token": "token-secret", "user": "user-secret", "allow-private": true }),
        "pagerduty" => json!({ "server": url, "routing-key": "key-secret", "allow-private": true }),
        "healthchecks" => json!({ "server": url, "uuid": "uuid-secret", "allow-private": true }),
        "uptime-kuma" => {
            json!({ "url": format!("{url}/api/push/x-secret?status=up&msg=OK&ping="), "allow-private": true })
        }
        _ => json!({ "url": format!("{url}/x-secret"), "allow-private": true }),
    }
}

#[test]
fn each_service_is_sent_what_it_reads() {
    for kind in SERVICES {
        let mut sheet = String::new();
        for when in [
            "started",
            "success",
            "warning",
            "failure",
            "skipped",
            "cancelled",
            "blocked",
            "recovered",
            "stale",
            "stage",
        ] {
            let receiver = Receiver::start(vec![status("200 OK", "", "token-secret x-secret uuid-secret")]);
            let result = channel(kind, settings(kind, &receiver.url())).deliver(&message(when));
            let result = result.unwrap_or_else(|error| error.to_string());
            for secret in ["token-secret", "x-secret", "uuid-secret"] {
                assert!(
                    !result.contains(secret) || !settings(kind, "").to_string().contains(secret),
                    "{kind}: {result}"
                );
            }
            sheet.push_str(&format!("== {when}\n"));
            for request in receiver.requests() {
                let own = |name: &str| {
                    !matches!(
                        name,
                        "host" | "accept" | "user-agent" | "content-length" | "accept-encoding" | "connection"
                    )
                };
                let headers = request.headers.iter().filter(|(name, _)| own(name));
                let headers: String = headers.map(|(name, value)| format!("{name}: {value}\n")).collect();
                let body = serde_json::from_str::<Json>(&request.body)
                    .map_or(request.body.clone(), |json| serde_json::to_string_pretty(&json).unwrap());
                sheet.push_str(&format!("{}\n{headers}\n{body}\n", request.line));
            }
            if receiver.requests().is_empty() {
                sheet.push_str(&format!("{result}\n"));
            }
        }
        insta::with_settings!({ snapshot_path => "snapshots/services", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(*kind, sheet);
        });
    }
}

/// Status 200 does not always mean that the message was taken.
#[test]
fn a_no_with_a_good_status_is_a_no() {
    let cases = [
        ("slack", "ok", true),
        ("slack", r#"{"ok":false,"error":"invalid_auth"}"#, false),
        ("teams", "1", true),
        ("teams", "", true),
        (
            "teams",
            "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429",
            false,
        ),
        ("healthchecks", "OK", true),
        ("healthchecks", "OK (not found)", false),
        ("healthchecks", "OK (rate limited)", false),
        ("pushover", r#"{"status":1,"request":"647d"}"#, true),
        ("pushover", r#"{"status":0,"errors":["user identifier is invalid"]}"#, false),
        ("uptime-kuma", r#"{"ok":true}"#, true),
        ("uptime-kuma", r#"{"ok":false,"msg":"Monitor not found or not active."}"#, false),
        ("discord", "", true),
        ("ntfy", r#"{"id":"x","event":"message"}"#, true),
        ("gotify", r#"{"id":1}"#, true),
        ("pagerduty", r#"{"status":"success","message":"Event processed"}"#, true),
    ];
    // A channel asks again before it gives up, so all wait at once.
    std::thread::scope(|scope| {
        for (kind, answer, is_taken) in cases {
            scope.spawn(move || {
                let receiver = Receiver::start(vec![status("200 OK", "", answer)]);
                let result = channel(kind, settings(kind, &receiver.url())).deliver(&message("failure"));
                assert_eq!(result.is_ok(), is_taken, "{kind} {answer}: {result:?}");
                if let Err(error) = result {
                    let said = error.to_string();
                    assert!(said.contains("did not take the message") && !said.contains("-secret"), "{kind}: {said}");
                }
            });
        }
    });
}

/// Text from a file name or an error cannot become a mention, link, header or field, and fits the service's limits.
#[test]
fn hostile_texts_stay_texts() {
    for kind in SERVICES {
        for hostile in HOSTILE.iter().map(|text| (*text).to_owned()).chain(["x".repeat(1 << 20)]) {
            let receiver = Receiver::start(vec![status("200 OK", "", "")]);
            let mut message = message("failure");
            (message.subject, message.body) = (hostile.clone(), hostile.clone());
            channel(kind, settings(kind, &receiver.url())).deliver(&message).unwrap();
            let [request] = &receiver.requests()[..] else { panic!("{kind}") };
            assert!(request.line.chars().all(|c| !c.is_control()) && request.line.len() < 4_000, "{}", request.line);
            let names: Vec<&str> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
            assert!(!names.contains(&"bcc"), "{names:?}");
            let body = &request.body;
            assert!(
                !body.contains("\\u0000") && !body.contains("\\u001b") && !body.contains('\u{202e}'),
                "{kind}: {body}"
            );
            assert!(body.len() < 200_000, "{kind}: {} bytes", body.len());
            if let Ok(body) = serde_json::from_str::<Json>(body) {
                assert!(*kind != "slack" || !body["text"].as_str().unwrap().contains('<'));
                if *kind == "discord" {
                    let content = body["content"].as_str().unwrap();
                    assert!(content.chars().count() <= 2_000 && content.matches("```").count() == 2, "{content}");
                    assert_eq!(body["allowed_mentions"]["parse"], json!([]));
                }
            } else {
                assert!(matches!(*kind, "pushover" | "healthchecks" | "uptime-kuma"), "{kind}: {body}");
            }
        }
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    assert!(refused("healthchecks", json!({})).contains("either `url` or `uuid`"));
    assert!(refused("healthchecks", json!({ "url": "https://h/x", "uuid": "u" })).contains("either `url` or `uuid`"));
    assert!(refused("slack", json!({ "url": "http://h/x-secret" })).contains("https"));
    assert!(refused("gotify", json!({ "server": "https://h", "token": "a\r\nb" })).contains("x-gotify-key"));
    if cfg!(not(feature = "desktop")) {
        assert_eq!(refused("desktop", json!({})), "this `tl` was built without the feature `desktop`");
    }
}
