//! An HTTP server that answers as a test demands, and keeps the requests.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What a receiver does with a request.
#[derive(Clone)]
pub enum Answer {
    /// Sends these bytes and closes.
    Bytes(String),
    /// Closes without an answer.
    Nothing,
    /// Sends this, then endlessly a byte from time to time.
    Drip(String),
    /// Sends this, then endlessly as much as the client takes.
    Flood(String),
}

/// An answer with a status and a body.
pub fn status(status: &str, headers: &str, body: &str) -> Answer {
    Answer::Bytes(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()))
}

/// A received request.
#[derive(Clone, Debug)]
pub struct Received {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} stands there twice");
        value
    }
}

pub struct Receiver {
    pub port: u16,
    requests: Arc<Mutex<Vec<Received>>>,
    connections: Arc<Mutex<usize>>,
}

impl Receiver {
    /// Answers each request in turn. The last answer repeats.
    pub fn start(answers: Vec<Answer>) -> Self {
        Self::listen(answers, None)
    }

    pub fn with_tls(answers: Vec<Answer>, certificate: &str, key: &str) -> Self {
        let certificate = rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        Self::listen(answers, Some(Arc::new(config)))
    }

    fn listen(answers: Vec<Answer>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let receiver = Self { port, requests: Arc::clone(&requests), connections: Arc::clone(&connections) };
        thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                *connections.lock().unwrap() += 1;
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let (requests, answers, tls) = (Arc::clone(&requests), answers.clone(), tls.clone());
                thread::spawn(move || match tls {
                    Some(config) => {
                        serve(StreamOwned::new(ServerConnection::new(config).unwrap(), stream), &requests, &answers);
                    }
                    None => serve::<TcpStream>(stream, &requests, &answers),
                });
            }
        });
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn requests(&self) -> Vec<Received> {
        self.requests.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

fn serve<S: Read + Write>(mut stream: S, requests: &Mutex<Vec<Received>>, answers: &[Answer]) {
    let Some(request) = read(&mut stream) else { return };
    let number = {
        let mut all = requests.lock().unwrap();
        all.push(request);
        all.len() - 1
    };
    let Some(answer) = answers.get(number).or(answers.last()) else { return };
    // A client that disconnects is not the server's fault.
    let _gone = match answer {
        Answer::Nothing => Ok(()),
        Answer::Bytes(bytes) => stream.write_all(bytes.as_bytes()).and_then(|()| stream.flush()),
        Answer::Drip(head) => stream.write_all(head.as_bytes()).and_then(|()| {
            loop {
                stream.write_all(b"x")?;
                stream.flush()?;
                thread::sleep(Duration::from_millis(50));
            }
        }),
        Answer::Flood(head) => stream.write_all(head.as_bytes()).and_then(|()| {
            loop {
                stream.write_all(&[b'x'; 16 << 10])?;
            }
        }),
    };
}

fn read(stream: &mut impl Read) -> Option<Received> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let mut lines = head.split("\r\n").map(str::to_owned);
            let line = lines.next().unwrap();
            let headers: Vec<(String, String)> = lines
                .map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())).unwrap())
                .collect();
            let length =
                headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, v)| v.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                let body = String::from_utf8(bytes[end + 4..end + 4 + length].to_vec()).unwrap();
                return Some(Received { line, headers, body });
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) => return None,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// A certificate for a name, and its key.
pub fn certificate(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}
