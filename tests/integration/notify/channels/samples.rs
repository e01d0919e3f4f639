//! Channels to test and messages to send through them.

use std::path::PathBuf;

use serde_json::Value as Json;
use timelocker::channels::{Channel, KINDS, Message};
use timelocker::value::Kind;

pub fn channel(kind: &str, settings: Json) -> Box<dyn Channel> {
    (Kind::find(KINDS, kind).unwrap().build)(settings.into()).unwrap()
}

pub fn refused(kind: &str, settings: Json) -> String {
    match (Kind::find(KINDS, kind).unwrap().build)(settings.into()) {
        Ok(channel) => channel.check().swap_remove(0).error,
        Err(error) => error.to_string(),
    }
}

pub fn message(when: &str) -> Message {
    Message {
        id: format!("01ARZ3NDEKTSV4RRFFQ69G5FAV.{when}.0"),
        time: "2026-01-01T00:00:00Z".to_owned(),
        when: when.to_owned(),
        pipeline: "orders".to_owned(),
        run: "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
        host: "web1".to_owned(),
        counts: matches!(when, "success" | "warning" | "recovered"),
        subject: format!("orders: {when}"),
        body: "collect 4 files\nseal    \"562 B\"\n".to_owned(),
        html: None,
        folder: PathBuf::new(),
    }
}

/// Texts that would be more than text somewhere.
pub const HOSTILE: &[&str] = &[
    "a\r\nBcc: thief@example.com",
    "a\nBcc: thief@example.com",
    "a\rBcc: thief@example.com",
    "a\r\n\r\n<html><script>alert(1)</script>",
    "a\0b",
    "a\u{1b}[31mb\u{1b}]0;title\u{7}",
    "a\u{202e}txt.exe\u{2066}",
    "a\u{2028}Bcc: thief@example.com\u{85}x",
    "=?utf-8?q?=0D=0ABcc:_thief@example.com?=",
    "<!channel> <https://evil.example.com|click> @everyone `x` ```",
    "\r\n.\r\nMAIL FROM:<thief@example.com>\r\n",
    "\", \"text\": \"other\\",
    "{{subject}} ${{ secrets.x }}",
    "ünïcödé \u{1f980}\u{301}",
];
