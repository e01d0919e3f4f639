//! A real SMTP server: `smtp_server.py` on aiosmtpd, which `.ci/run` installs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value as Json, json};

use super::receiver::certificate;
use super::repository::root;

/// A mail server, and the folder of what it got.
pub struct Server {
    process: Child,
    pub port: u16,
    pub folder: tempfile::TempDir,
}

impl Server {
    pub fn start(mode: &str) -> Self {
        Self::with_name(mode, "localhost")
    }

    pub fn with_name(mode: &str, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = certificate(name);
        fs::write(folder.path().join("ca.pem"), certificate).unwrap();
        fs::write(folder.path().join("key.pem"), key).unwrap();
        let mut process = Command::new("python3")
            .arg(root().join("tests/integration/support/smtp_server.py"))
            .arg(mode)
            .args([folder.path().to_owned(), folder.path().join("ca.pem"), folder.path().join("key.pem")])
            .env("PYTHONPATH", super::tools().join("python"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed");
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let port = port.trim().parse().expect("aiosmtpd is needed in target/tools/python: see .ci/run");
        Self { process, port, folder }
    }

    pub fn settings(&self, security: &str, more: &Json) -> Json {
        let mut settings = json!({
            "host": "localhost", "port": self.port, "security": security, "username": "backup", "password": PASSWORD,
            "from": "Backup <backup@example.com>", "to": ["ops@example.com", "Nächte <night@example.com>"],
            "cc": ["audit@example.com"], "ca-certificate": self.folder.path().join("ca.pem"), "timeout": "10s",
        });
        let settings_map = settings.as_object_mut().unwrap();
        settings_map.extend(more.as_object().unwrap().clone());
        settings_map.retain(|_, value| !value.is_null());
        settings
    }

    /// Kills the server, as a machine that is switched off.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub fn mail(&self, number: usize) -> Json {
        serde_json::from_str(&fs::read_to_string(self.folder.path().join(format!("{number}.json"))).unwrap()).unwrap()
    }

    pub fn mails(&self) -> usize {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "json")).count()
    }

    /// All that clients said, joined.
    pub fn heard(&self) -> String {
        let lines = fs::read_to_string(self.folder.path().join("commands.jsonl")).unwrap_or_default();
        lines.lines().map(|line| serde_json::from_str::<String>(line).unwrap()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub const PASSWORD: &str = "hunter2-hunter2";
