use std::io;
use std::net::SocketAddr;

use url::Url;

use crate::value::{Secret, is_public};

/// The receiver of a request. Only scheme and host are ever shown: the path of its URL may be a secret.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) url: Url,
    allow_private: bool,
}

impl Target {
    /// Parses a URL. The error does not repeat the URL.
    pub(super) fn new(url: &Secret, allow_private: bool) -> Result<Self, String> {
        let url = Url::parse(url.expose().trim()).map_err(|error| format!("the URL is none: {error}"))?;
        match url.scheme() {
            "https" => {}
            "http" if allow_private => {}
            "http" => {
                return Err("the URL must begin with `https:`; `http:` needs `allow-private: true`".to_owned());
            }
            _ => return Err("the URL must begin with `https:`".to_owned()),
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("the URL names no host".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL holds a user or a password: write them into a header".to_owned());
        }
        Ok(Self { url, allow_private })
    }

    /// Scheme and host, for people.
    pub(super) fn place(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}", self.url.scheme(), self.url.host_str().unwrap_or_default())
    }

    /// Looks up the addresses of the host. Blocks; the caller must limit the time.
    pub(super) fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        self.url.socket_addrs(|| None)
    }

    /// The addresses that tl may connect to. Plain HTTP may go to private addresses only.
    pub(super) fn permitted(&self, addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let is_plain = self.url.scheme() == "http";
        let may = |address: &SocketAddr| if is_public(address.ip()) { !is_plain } else { self.allow_private };
        addresses.into_iter().filter(may).collect()
    }
}

/// Checks a URL from the settings. The error does not repeat it.
pub(in crate::channels) fn check_url(url: &Secret, allow_private: bool) -> Result<(), String> {
    Target::new(url, allow_private).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, allow_private: bool) -> Result<Target, String> {
        Target::new(&Secret::new(url.to_owned()), allow_private)
    }

    /// Local and private addresses in each form that a URL's host can take.
    const LOCAL: &[&str] = &[
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0x7F.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "0",
        "0.0.0.0",
        "0x0",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "LocalHost.",
        "%6cocalhost",
        "127.0.0.%31",
        "１２７.0.0.1",
        "127。0。0。1",
        "ⓛocalhost",
        "10.0.0.1",
        "0xa.1",
        "012.0.0.1",
        "167772161",
        "172.16.0.1",
        "0xac100001",
        "192.168.1.1",
        "0xc0a80101",
        "3232235777",
        "100.64.0.1",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:a9fe:a9fe]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2001::1]",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "[fec0::1]",
        "[2001:db8::1]",
        "224.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "192.0.2.1",
        "203.0.113.1",
        "192.0.0.192",
        "100.100.100.200",
        "168.63.129.16",
    ];

    #[test]
    fn no_spelling_of_a_local_address_passes() {
        println!("{} spellings", LOCAL.len());
        let mut refused = 0;
        for host in LOCAL {
            let url = format!("https://{host}/hook");
            // Some are not URLs at all, which is fine too.
            let Ok(target) = target(&url, false) else {
                refused += 1;
                continue;
            };
            // Not every system resolves the name with a trailing dot.
            let Ok(addresses) = target.resolve() else {
                assert!(host.to_lowercase().starts_with("localhost."), "{host} has no address");
                continue;
            };
            assert!(!addresses.is_empty() && target.permitted(addresses).is_empty(), "{host}");
        }
        assert!(refused < 5, "{refused} of them are no URL");
    }

    #[test]
    fn a_name_that_means_both_leads_to_the_public_address_alone() {
        let addresses: Vec<SocketAddr> =
            ["10.0.0.1:443", "8.8.8.8:443", "[::1]:443"].iter().map(|text| text.parse().unwrap()).collect();
        let permitted = |url, allow| target(url, allow).unwrap().permitted(addresses.clone());
        assert_eq!(permitted("https://x", false), ["8.8.8.8:443".parse().unwrap()]);
        assert_eq!(permitted("https://x", true).len(), 3);
        assert_eq!(permitted("http://x", true).len(), 2, "plain HTTP stays at home");
    }

    #[test]
    fn an_error_shows_no_url() {
        for url in ["http://h/secret", "ftp://h/secret", "https://u:secret@h/", "secret", "https:///secret:99999", ""] {
            let Err(error) = target(url, false) else { continue };
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(target("http://h/", true).is_ok() && target("file:///etc/passwd", true).is_err());
        assert_eq!(target("https://h:8443/secret?x", false).unwrap().place(), "https://h:8443");
    }
}
