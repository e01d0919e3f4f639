use std::net::IpAddr;
use std::thread;

use lettre::message::Mailbox;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{mail, smtp};
use crate::channels::{Channel, Error, Message};
use crate::value::{FilePath, PositiveDuration, Secret};

/// A mail server that takes messages for others.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Email {
    /// The mail server.
    #[schemars(length(min = 1))]
    pub(super) host: String,
    /// Its port; by default 465 with `tls`, 587 with `starttls`, 25 with `none`.
    #[schemars(range(min = 1))]
    port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub(super) security: Security,
    /// With `security: none`: that everything, the password too, may be read by who can read this machine's loopback.
    #[serde(default)]
    insecure_plaintext: bool,
    /// Whose account it is.
    pub(super) username: Option<String>,
    /// The password of that account.
    pub(super) password: Option<Secret>,
    /// Who writes: `backup@example.com` or `Backup <backup@example.com>`.
    #[schemars(length(min = 1))]
    from: String,
    /// To whom.
    #[schemars(length(min = 1))]
    to: Vec<String>,
    /// Who gets a copy.
    #[serde(default)]
    cc: Vec<String>,
    /// Who gets answers.
    reply_to: Option<String>,
    /// A PEM file with certificates that are trusted instead of the system's.
    pub(super) ca_certificate: Option<FilePath>,
    /// The longest that delivery may take; by default 30s.
    timeout: Option<PositiveDuration>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Security {
    /// TLS from the first byte.
    #[default]
    Tls,
    /// TLS after STARTTLS; without it nothing is sent.
    Starttls,
    /// None; only to this machine itself.
    None,
}

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// The people of a mail.
pub(super) struct People {
    pub(super) from: Mailbox,
    pub(super) to: Vec<Mailbox>,
    pub(super) cc: Vec<Mailbox>,
    pub(super) reply_to: Option<Mailbox>,
}

impl Channel for Email {
    fn deliver(&self, message: &Message) -> Result<String, Error> {
        self.check().map_err(|reason| Error::Unfit { reason })?;
        let people = self.people().map_err(|reason| Error::Unfit { reason })?;
        let (envelope, bytes) = mail::write(message, &people)?;
        apart(|| smtp::send(self, &envelope, &bytes))
    }

    fn probe(&self) -> Result<String, Error> {
        self.check().map_err(|reason| Error::Unfit { reason })?;
        apart(|| smtp::greet(self))
    }

    fn check(&self) -> Result<(), String> {
        self.people()?;
        match self.security {
            Security::None if !self.insecure_plaintext => {
                return Err("`security: none` needs `insecure-plaintext: true`".to_owned());
            }
            Security::None if !is_loopback(&self.host) => {
                return Err("`security: none` is for a mail server on this machine alone: `localhost`".to_owned());
            }
            _ => {}
        }
        if self.host.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err("`host` is no name of a host".to_owned());
        }
        match (&self.username, &self.password) {
            (Some(_), None) => Err("`username` needs a `password`".to_owned()),
            (None, Some(_)) => Err("`password` needs a `username`".to_owned()),
            _ => Ok(()),
        }
    }
}

/// Runs in a thread of its own: the caller's may belong to a runtime, inside which no other one can wait.
fn apart(work: impl FnOnce() -> Result<String, Error> + Send) -> Result<String, Error> {
    thread::scope(|scope| {
        let working = thread::Builder::new().name("channel".to_owned()).spawn_scoped(scope, work);
        let working = working.map_err(|error| Error::Unfit { reason: error.to_string() })?;
        working.join().unwrap_or_else(|_| Err(Error::Unfit { reason: "the channel panicked".to_owned() }))
    })
}

impl Email {
    pub(super) fn port(&self) -> u16 {
        self.port.unwrap_or(match self.security {
            Security::Tls => 465,
            Security::Starttls => 587,
            Security::None => 25,
        })
    }

    pub(super) fn timeout(&self) -> std::time::Duration {
        self.timeout.map_or(TIMEOUT, PositiveDuration::get)
    }

    fn people(&self) -> Result<People, String> {
        let several = |texts: &[String]| texts.iter().map(|text| mailbox(text)).collect::<Result<Vec<_>, _>>();
        if self.to.is_empty() {
            return Err("`to` names nobody".to_owned());
        }
        Ok(People {
            from: mailbox(&self.from)?,
            to: several(&self.to)?,
            cc: several(&self.cc)?,
            reply_to: self.reply_to.as_deref().map(mailbox).transpose()?,
        })
    }
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    let wrong = |reason: &str| format!("`{}` is no address: {reason}", text.escape_debug());
    if text.chars().any(char::is_control) {
        return Err(wrong("it holds a control character"));
    }
    text.parse().map_err(|error: lettre::address::AddressError| wrong(&error.to_string()))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn email(more: serde_json::Value) -> Result<(), String> {
        let mut settings = json!({ "host": "mail.example.com", "from": "a@example.com", "to": ["b@example.com"] });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<Email>(settings).map_err(|error| error.to_string())?.check()
    }

    #[test]
    fn plaintext_stays_on_this_machine() {
        assert!(email(json!({})).is_ok() && email(json!({ "security": "starttls" })).is_ok());
        assert!(email(json!({ "security": "none" })).is_err());
        assert!(email(json!({ "security": "none", "insecure-plaintext": true })).is_err());
        for host in ["localhost", "127.0.0.1", "::1", "[::1]"] {
            assert!(email(json!({ "security": "none", "host": host })).is_err());
            assert!(email(json!({ "security": "none", "host": host, "insecure-plaintext": true })).is_ok());
        }
        for host in ["localhost.example.com", "128.0.0.1", "localhost\n", "127.0.0.1.example.com", "::2"] {
            assert!(email(json!({ "security": "none", "host": host, "insecure-plaintext": true })).is_err(), "{host}");
        }
    }

    #[test]
    fn addresses_are_addresses() {
        assert!(email(json!({ "from": "Täglich <a@example.com>", "cc": ["x@y.org"], "reply-to": "z@y.org" })).is_ok());
        for address in ["", "a", "a@", "@b", "a@b\r\nBcc: c@d", "a b@c", "<a@b", "a@b, c@d", "a\n <a@b>", "a\0@b.org"] {
            assert!(email(json!({ "to": [address] })).is_err(), "{address:?}");
        }
        assert!(email(json!({ "to": [] })).is_err());
    }

    #[test]
    fn half_an_account_is_none() {
        assert!(email(json!({ "username": "a" })).is_err() && email(json!({ "password": "hunter22" })).is_err());
    }
}
