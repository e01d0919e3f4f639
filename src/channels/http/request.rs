use std::path::Path;
use std::time::Duration;

use super::target::Target;
use crate::value::{FilePath, PositiveDuration, Secret, Unfit};

/// The default limit of one attempt.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The method of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::channels) enum Method {
    /// With a body.
    #[default]
    Post,
    /// With a body.
    Put,
    /// Without one.
    Get,
}

/// How to connect.
#[derive(Clone, Copy, Debug)]
pub(in crate::channels) struct Connection<'a> {
    pub(in crate::channels) allow_private: bool,
    /// Certificates to trust instead of the system's.
    pub(in crate::channels) ca_certificate: Option<&'a Path>,
    pub(in crate::channels) timeout: Duration,
}

impl<'a> Connection<'a> {
    pub(in crate::channels) fn new(
        allow_private: bool,
        ca_certificate: Option<&'a FilePath>,
        timeout: Option<PositiveDuration>,
    ) -> Self {
        let timeout = timeout.map_or(TIMEOUT, PositiveDuration::get);
        Self { allow_private, ca_certificate: ca_certificate.map(FilePath::as_path), timeout }
    }
}

/// A request that carries one message.
#[derive(Debug)]
pub(in crate::channels) struct Request {
    pub(in crate::channels) method: Method,
    pub(in crate::channels) url: Secret,
    pub(in crate::channels) headers: Vec<(String, Secret)>,
    /// Its content type and text.
    pub(in crate::channels) body: Option<(String, String)>,
    /// Texts to mask in an answer, beyond the URL and the headers.
    pub(in crate::channels) secrets: Vec<Secret>,
}

impl Request {
    /// A POST of JSON.
    pub(in crate::channels) fn json(url: Secret, body: &serde_json::Value) -> Self {
        Self {
            method: Method::Post,
            url,
            headers: Vec::new(),
            body: Some(("application/json".to_owned(), body.to_string())),
            secrets: Vec::new(),
        }
    }

    /// Adds a header.
    pub(in crate::channels) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), Secret::new(value.into())));
        self
    }

    /// Checks the URL, which comes from `setting`, and the headers. The reasons contain no secret.
    pub(super) fn check(&self, connection: &Connection<'_>, setting: &str) -> Vec<Unfit<String>> {
        let url = Target::new(&self.url, connection.allow_private).err();
        let url = url.map(|error| Unfit { setting: setting.to_owned(), error });
        url.into_iter().chain(check_headers(self.headers.iter().map(|(name, value)| (name, value)))).collect()
    }
}

/// Headers that the HTTP library sets itself.
const OF_THE_CONNECTION: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Checks headers from the settings. Each is an entry of the map `headers`.
pub(in crate::channels) fn check_headers<'a>(
    headers: impl Iterator<Item = (&'a String, &'a Secret)>,
) -> impl Iterator<Item = Unfit<String>> {
    headers.filter_map(|(name, value)| {
        let error = check_header(name, value).err()?;
        Some(Unfit { setting: format!("headers/{}", name.replace('~', "~0").replace('/', "~1")), error })
    })
}

fn check_header(name: &str, value: &Secret) -> Result<(), String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        return Err(format!("`{}` cannot be the name of a header", name.escape_debug()));
    }
    if OF_THE_CONNECTION.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(format!("the header `{name}` belongs to the connection"));
    }
    if value.expose().chars().any(|c| c.is_control() && c != '\t') {
        return Err(format!("the header `{name}` holds a line end or another control character"));
    }
    Ok(())
}

/// A URL with these segments added to its path. Query and fragment stay what they are. What is no URL stays as it is: the check of
/// the settings refuses it.
pub(in crate::channels) fn below(base: &str, segments: &[&str]) -> Secret {
    let built = url::Url::parse(base.trim()).ok().and_then(|mut url| {
        url.path_segments_mut().ok()?.pop_if_empty().extend(segments);
        Some(url.to_string())
    });
    Secret::new(built.unwrap_or_else(|| base.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_cannot_become_others() {
        let secret = |text: &str| Secret::new(text.to_owned());
        assert!(check_header("X-Token", &secret("abc def\t")).is_ok());
        for (name, value) in [
            ("", "x"),
            ("X Y", "x"),
            ("X\r\nY", "x"),
            ("Content-Length", "1"),
            ("Transfer-Encoding", "chunked"),
            ("host", "x"),
            ("X", "a\r\nb"),
            ("X", "a\nb"),
            ("X", "a\0b"),
            ("X", "a\u{1b}b"),
        ] {
            let error = check_header(name, &secret(value)).unwrap_err();
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_path_grows_and_a_query_stays() {
        for (base, whole) in [
            ("https://h", "https://h/a/b"),
            ("https://h/", "https://h/a/b"),
            ("https://h/x", "https://h/x/a/b"),
            ("https://h/x/?create=1&y=a/b#f", "https://h/x/a/b?create=1&y=a/b#f"),
            ("no url", "no url"),
        ] {
            assert_eq!(below(base, &["a", "b"]).expose(), whole);
        }
        assert_eq!(below("https://h/x", &["a/?b"]).expose(), "https://h/x/a%2F%3Fb");
    }
}
