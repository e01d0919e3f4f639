use std::net::IpAddr;

use lettre::message::Mailbox;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{mail, smtp};
use crate::channels::thread::on_own_thread;
use crate::channels::{Channel, Error, Message};
use crate::value::{FilePath, PositiveDuration, Secret, Unfit};

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
    /// What `tl` calls itself when it greets the server; by default this host's full name, else its address in brackets.
    #[schemars(length(min = 1))]
    pub(super) hello: Option<String>,
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
        let people = self.people().map_err(|unfit| Error::Unfit { reason: unfit.error })?;
        let (envelope, bytes) = mail::write(message, &people)?;
        on_own_thread(|| smtp::send(self, &envelope, &bytes))
    }

    fn probe(&self) -> Result<String, Error> {
        on_own_thread(|| smtp::greet(self))
    }

    fn check(&self) -> Vec<Unfit<String>> {
        let mut found: Vec<_> = self.people().err().into_iter().collect();
        let mut refuse = |setting: &str, error: &str| found.push(unfit(setting, error.to_owned()));
        let is_name = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
        if self.hello.as_ref().is_some_and(|name| !name.chars().all(is_name)) {
            refuse("hello", "`hello` must be a domain, or an IP address without brackets");
        }
        match self.security {
            Security::None if !self.insecure_plaintext => {
                refuse("security", "`security: none` needs `insecure-plaintext: true`");
            }
            Security::None if !is_loopback(&self.host) => {
                refuse("host", "`security: none` is for a mail server on this machine alone: `localhost`");
            }
            _ => {}
        }
        if self.host.chars().any(|c| c.is_control() || c.is_whitespace()) {
            refuse("host", "`host` is no name of a host");
        }
        match (&self.username, &self.password) {
            (Some(_), None) => refuse("username", "`username` needs a `password`"),
            (None, Some(_)) => refuse("password", "`password` needs a `username`"),
            _ => {}
        }
        found
    }
}

fn unfit(setting: &str, error: String) -> Unfit<String> {
    Unfit { setting: setting.to_owned(), error }
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

    fn people(&self) -> Result<People, Unfit<String>> {
        let one = |setting: &str, text: &str| mailbox(text).map_err(|error| unfit(setting, error));
        let several = |setting: &str, texts: &[String]| {
            texts
                .iter()
                .enumerate()
                .map(|(at, text)| one(&format!("{setting}/{at}"), text))
                .collect::<Result<Vec<_>, _>>()
        };
        if self.to.is_empty() {
            return Err(unfit("to", "`to` names nobody".to_owned()));
        }
        Ok(People {
            from: one("from", &self.from)?,
            to: several("to", &self.to)?,
            cc: several("cc", &self.cc)?,
            reply_to: self.reply_to.as_deref().map(|text| one("reply-to", text)).transpose()?,
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
        let email = serde_json::from_value::<Email>(settings).map_err(|error| error.to_string())?;
        email.check().into_iter().next().map_or(Ok(()), |unfit| Err(unfit.error))
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
