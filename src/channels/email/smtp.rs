use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, AsyncTokioStream, Certificate, CertificateStore, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UdpSocket};
use tokio::runtime;
use tokio::time::timeout;

use super::settings::{Email, Security};
use crate::channels::{Error, text};
use crate::value::Masker;

/// The most characters of a reply to show.
const SHOWN: usize = 200;

/// Sends a mail. Returns the server's reply.
pub(super) fn send(settings: &Email, envelope: &Envelope, mail: &[u8]) -> Result<String, Error> {
    in_time(settings, talk(settings, envelope, mail))
}

/// Connects and logs in as for a mail, then quits.
pub(super) fn greet(settings: &Email) -> Result<String, Error> {
    in_time(settings, async {
        let mut connection = log_in(settings).await?;
        drop(connection.quit().await);
        let how = if settings.username.is_some() { "the login is good" } else { "it takes connections" };
        Ok(format!("{}: {how}; no mail was sent", place(settings)))
    })
}

fn in_time(settings: &Email, work: impl Future<Output = Result<String, Error>>) -> Result<String, Error> {
    let unfit = |error: io::Error| Error::Unfit { reason: error.to_string() };
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(unfit)?;
    let result = runtime.block_on(async { timeout(settings.timeout(), work).await });
    // Otherwise dropping the runtime would wait for a running DNS lookup.
    runtime.shutdown_background();
    result.unwrap_or_else(|_| Err(unreachable(settings, "there was no answer in time")))
}

async fn talk(settings: &Email, envelope: &Envelope, mail: &[u8]) -> Result<String, Error> {
    let failed = |error: lettre::transport::smtp::Error| failure(settings, &error);
    let mut connection = log_in(settings).await?;
    let reply = match connection.send(envelope, mail).await {
        // One recipient that is gone must not keep the mail from the others.
        Err(error) if error.is_permanent() && envelope.to().len() > 1 => {
            return one_by_one(settings, envelope, mail).await.unwrap_or_else(|| Err(failed(error)));
        }
        reply => reply.map_err(failed)?,
    };
    // The server has accepted the mail. A failed QUIT changes nothing.
    drop(connection.quit().await);
    Ok(answer(settings, &reply))
}

/// Sends the mail to each recipient alone. Returns the last good reply with those whom the server refused; `None` if it refused all.
async fn one_by_one(settings: &Email, envelope: &Envelope, mail: &[u8]) -> Option<Result<String, Error>> {
    let (mut taken, mut refused) = (None, Vec::new());
    for recipient in envelope.to() {
        let sent = async {
            let one = Envelope::new(envelope.from().cloned(), vec![recipient.clone()]);
            let one = one.map_err(|error| Error::Unfit { reason: error.to_string() })?;
            let mut connection = log_in(settings).await?;
            let reply = connection.send(&one, mail).await.map_err(|error| failure(settings, &error))?;
            drop(connection.quit().await);
            Ok::<_, Error>(answer(settings, &reply))
        };
        match sent.await {
            Ok(answer) => taken = Some(answer),
            Err(error) => refused.push(format!("{recipient}: {error}")),
        }
    }
    taken.map(|answer| Ok(format!("{answer}; it did not take the mail for {}", refused.join("; "))))
}

fn answer(settings: &Email, reply: &Response) -> String {
    let said = reply.message().collect::<Vec<_>>().join(" ");
    format!("{} {}", reply.code(), shown(settings, &said)).trim_end().to_owned()
}

async fn log_in(settings: &Email) -> Result<AsyncSmtpConnection, Error> {
    let mut connection = connect(settings).await?;
    if let (Some(username), Some(password)) = (&settings.username, &settings.password) {
        let credentials = Credentials::new(username.clone(), password.expose().to_owned());
        let logged_in = connection.auth(DEFAULT_MECHANISMS, &credentials).await;
        logged_in.map_err(|error| failure(settings, &error))?;
    }
    Ok(connection)
}

async fn connect(settings: &Email) -> Result<AsyncSmtpConnection, Error> {
    let failed = |error: lettre::transport::smtp::Error| failure(settings, &error);
    let host = settings.host.trim_start_matches('[').trim_end_matches(']');
    let address = (host, settings.port());
    let name = hello(settings, address).await;
    if settings.security == Security::Tls {
        let tls = Some(tls(settings)?);
        return AsyncSmtpConnection::connect_tokio1(address, None, &name, tls, None).await.map_err(failed);
    }
    let stream = TcpStream::connect(address).await.map_err(|error| unreachable(settings, &error.to_string()))?;
    let stream = Box::new(ByteByByte(stream));
    let mut connection = AsyncSmtpConnection::connect_with_transport(stream, &name).await.map_err(failed)?;
    if settings.security == Security::Starttls {
        // Fails if the server does not offer STARTTLS: an attacker may have removed it from the offer.
        connection.starttls(tls(settings)?, &name).await.map_err(failed)?;
    }
    Ok(connection)
}

/// What we call ourselves. Many servers refuse a name that is no full one; RFC 5321 (4.1.4) then wants the address of our side.
async fn hello(settings: &Email, server: (&str, u16)) -> ClientId {
    let name =
        settings.hello.clone().unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    let name = name.trim_end_matches('.');
    match name.parse() {
        Ok(IpAddr::V4(address)) => return ClientId::Ipv4(address),
        Ok(IpAddr::V6(address)) => return ClientId::Ipv6(address),
        Err(_) if settings.hello.is_some() || is_full_name(name) => return ClientId::Domain(name.to_owned()),
        Err(_) => {}
    }
    // Sends nothing: the kernel only chooses the address from which it would.
    let own = async {
        let any = if server.0.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(server).await?;
        socket.local_addr()
    };
    match own.await.map(|address| address.ip()) {
        Ok(IpAddr::V4(address)) => ClientId::Ipv4(address),
        Ok(IpAddr::V6(address)) => ClientId::Ipv6(address),
        Err(_) => ClientId::Ipv4(Ipv4Addr::LOCALHOST),
    }
}

/// Whether a name has at least two labels of letters, digits and hyphens, and is not one that every host has.
fn is_full_name(name: &str) -> bool {
    let is_label = |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    name.contains('.') && name.split('.').all(is_label) && !name.ends_with(".localdomain")
}

fn tls(settings: &Email) -> Result<TlsParameters, Error> {
    let failed = |error: lettre::transport::smtp::Error| failure(settings, &error);
    let host = settings.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let mut building: TlsParametersBuilder = TlsParameters::builder(host);
    if let Some(path) = &settings.ca_certificate {
        let path = path.as_path();
        let unfit = |reason: String| Error::Unfit { reason: format!("`{}`: {reason}", path.display()) };
        let pem = fs::read(path).map_err(|error| unfit(error.to_string()))?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| unfit(causes(&error)))?;
        building = building.certificate_store(CertificateStore::None).add_root_certificate(certificate);
    }
    building.build().map_err(failed)
}

/// Reads one byte at a time before TLS starts. A buffer could hold plaintext that an attacker appended to the reply to
/// STARTTLS, and `lettre` would take it for replies that came through TLS (as in CVE-2011-0411). Unbuffered, those
/// bytes reach the TLS handshake, which rejects them.
struct ByteByByte(TcpStream);

impl fmt::Debug for ByteByByte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByteByByte")
    }
}

impl AsyncTokioStream for ByteByByte {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }
}

impl AsyncRead for ByteByByte {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte);
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut self.0).poll_read(cx, &mut one);
        if let Poll::Ready(Ok(())) = &read {
            buf.put_slice(one.filled());
        }
        read
    }
}

impl AsyncWrite for ByteByByte {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

fn failure(settings: &Email, error: &lettre::transport::smtp::Error) -> Error {
    match error.status() {
        Some(code) => {
            let text = shown(settings, &causes(error));
            Error::Replied { place: place(settings), code: code.into(), text }
        }
        None if error.is_client() => Error::Unfit { reason: format!("{}: {}", place(settings), causes(error)) },
        None => unreachable(settings, &causes(error)),
    }
}

fn unreachable(settings: &Email, reason: &str) -> Error {
    Error::Unreachable { place: place(settings), reason: shown(settings, reason) }
}

fn place(settings: &Email) -> String {
    format!("{}:{}", settings.host, settings.port())
}

/// The text of a reply, masked: a server may repeat what it was sent.
fn shown(settings: &Email, said: &str) -> String {
    text::cut(&text::one_line(&Masker::new(&settings.password).mask(said)), SHOWN)
}

fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        causes.push(inner.to_string());
        cause = inner.source();
    }
    causes.dedup();
    if causes.is_empty() { error.to_string() } else { causes.join(": ") }
}
