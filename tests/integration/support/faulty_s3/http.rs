//! The subset of HTTP/1.1 for a server that must be able to cut, stall and lie.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A request before its body.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub method: String,
    /// Percent-decoded.
    pub path: String,
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// Reads the next request of a connection. `None` if the client has closed it.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let line = line(from)?;
        if line.is_empty() {
            return Ok(None);
        }
        let mut words = line.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let mut head = Self { method: method.to_owned(), path: decoded(path), query, headers: Vec::new() };
        loop {
            let line = self::line(from)?;
            if line.is_empty() {
                return Ok(Some(head));
            }
            let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            head.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub fn waits_for_100(&self) -> bool {
        self.header("expect").is_some_and(|expect| expect.eq_ignore_ascii_case("100-continue"))
    }

    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    }

    /// The length of the body, if the client states it.
    pub fn length(&self) -> u64 {
        self.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)
    }

    /// Reads the whole body.
    pub fn body(&self, from: &mut impl BufRead) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if !self.is_chunked() {
            let length = self.length();
            if from.take(length).read_to_end(&mut body)? as u64 != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            return Ok(body);
        }
        loop {
            let size = line(from)?;
            let size = size.split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
            if from.take(size).read_to_end(&mut body)? as u64 != size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if size == 0 {
                while !line(from)?.is_empty() {}
                return Ok(body);
            }
            line(from)?;
        }
    }
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An answer of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The announced length, if it differs from that of the body.
    pub announced: Option<usize>,
}

impl Answer {
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn with_all(mut self, headers: &[(&str, &str)]) -> Self {
        self.headers.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    pub fn xml(mut self, xml: &str) -> Self {
        self.body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{xml}").into_bytes();
        self.with("content-type", "application/xml")
    }

    pub fn html(status: u16) -> Self {
        let mut answer = Self::new(status).with("content-type", "text/html");
        answer.body =
            b"<html><head><title>A proxy</title></head><body><h1>Something went wrong</h1></body></html>".into();
        answer
    }

    /// An error in the format of S3.
    pub fn error(status: u16, code: &str) -> Self {
        Self::new(status).xml(&format!(
            "<Error><Code>{code}</Code><Message>The fault server says {code}</Message><RequestId>0FAULT</RequestId></Error>"
        ))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub fn without(mut self, matches: impl Fn(&str) -> bool) -> Self {
        self.headers.retain(|(name, _)| !matches(name));
        self
    }

    /// The status line and the headers.
    pub fn start(&self, keep_alive: bool) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} Whatever\r\nx-amz-request-id: 0FAULT\r\n", self.status);
        let stated = |name: &str| self.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        if !stated("date") {
            text.push_str(&format!("date: {}\r\n", date(jiff::Timestamp::now())));
        }
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.status != 204 {
            text.push_str(&format!("content-length: {}\r\n", self.announced.unwrap_or(self.body.len())));
        }
        if !keep_alive {
            text.push_str("connection: close\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    pub fn write(&self, to: &mut impl Write, keep_alive: bool) -> io::Result<()> {
        to.write_all(&[self.start(keep_alive), self.body.clone()].concat())?;
        to.flush()
    }
}

/// A time in the format of HTTP.
pub fn date(time: jiff::Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A client that sends exactly what it is given, for the server's own tests.
pub fn exchange(port: u16, request: &str, body: &[u8]) -> io::Result<Answer> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    let head = format!("{request}\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.write_all(head.as_bytes())?;
    connection.write_all(body)?;
    answer(&mut BufReader::new(connection), request.starts_with("HEAD"))
}

/// Reads an answer.
pub fn answer(from: &mut impl BufRead, bodiless: bool) -> io::Result<Answer> {
    let line = line(from)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut answer = Answer::new(status);
    loop {
        let line = self::line(from)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
        answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    if !bodiless && status != 100 && from.take(length).read_to_end(&mut answer.body)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}
