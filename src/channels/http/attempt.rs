use std::error::Error as _;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, Response, redirect};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::retry;
use super::target::Target;
use super::{Connection, Method, Request};
use crate::channels::{Error, text};
use crate::value::{Masker, Secret};

/// The most bytes of an answer to read.
const LARGEST_ANSWER: usize = 64 * 1024;
/// The time limit for reading an answer's body. The status alone decides, so a slow body is cut.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The most characters of an answer to show.
const SHOWN: usize = 120;

/// Whether a 2xx answer with this body means that the message was not taken.
type Refuses<'a> = &'a (dyn Fn(&str) -> bool + Sync);

/// Makes one attempt, limited to `limit`.
pub(super) async fn attempt(
    request: &Request,
    connection: &Connection<'_>,
    limit: Duration,
    refuses: Refuses<'_>,
) -> Result<String, Error> {
    let target = Target::new(&request.url, connection.allow_private).map_err(|reason| Error::Unfit { reason })?;
    let place = target.place();
    let limit = limit.min(connection.timeout);
    match timeout(limit, exchange(request, connection, &target, refuses)).await {
        Ok(result) => result,
        Err(_) => Err(Error::Unreachable { place, reason: "there was no answer in time".to_owned() }),
    }
}

/// Connects without sending a request. Blocks.
pub(super) fn reach(request: &Request, connection: &Connection<'_>) -> Result<String, Error> {
    let target = Target::new(&request.url, connection.allow_private).map_err(|reason| Error::Unfit { reason })?;
    let place = target.place();
    let unreachable = |reason: String| Error::Unreachable { place: place.clone(), reason };
    let addresses = target.permitted(target.resolve().map_err(|error| unreachable(error.to_string()))?);
    let first = addresses.first().ok_or_else(|| Error::Private { place: place.clone() })?;
    TcpStream::connect_timeout(first, connection.timeout).map_err(|error| unreachable(error.to_string()))?;
    Ok(format!("{place} takes connections; no message was sent"))
}

async fn exchange(
    request: &Request,
    connection: &Connection<'_>,
    target: &Target,
    refuses: Refuses<'_>,
) -> Result<String, Error> {
    let place = target.place();
    let unreachable = |reason: String| Error::Unreachable { place: place.clone(), reason };
    let asked = target.clone();
    let found = spawn_blocking(move || asked.resolve()).await;
    let found = found.map_err(|_| unreachable("its name could not be looked up".to_owned()))?;
    let found = found.map_err(|error| unreachable(error.to_string()))?;
    let addresses = target.permitted(found);
    if addresses.is_empty() {
        return Err(Error::Private { place });
    }
    let client = client(connection, addresses)?;
    let response = send(&client, request, target).await.map_err(|error| unreachable(reason(&error)))?;
    answered(response, request, place, refuses).await
}

/// Answers each lookup with the checked addresses, so that the owner of the name cannot change them between check and
/// connection.
struct Pinned(Vec<SocketAddr>);

impl Resolve for Pinned {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(async { Ok(addresses) })
    }
}

fn client(connection: &Connection<'_>, addresses: Vec<SocketAddr>) -> Result<Client, Error> {
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(concat!("timelocker/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(Pinned(addresses)))
        .pool_max_idle_per_host(0);
    if let Some(path) = connection.ca_certificate {
        let unfit = |reason: String| Error::Unfit { reason: format!("`{}`: {reason}", path.display()) };
        let pem = fs::read(path).map_err(|error| unfit(error.to_string()))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| unfit(reason(&error)))?;
        if certificates.is_empty() {
            return Err(unfit("there is no certificate in it".to_owned()));
        }
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(|error| Error::Unfit { reason: reason(&error) })
}

async fn send(client: &Client, request: &Request, target: &Target) -> reqwest::Result<Response> {
    let method = match request.method {
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Get => reqwest::Method::GET,
    };
    let mut building = client.request(method, target.url.clone());
    if let Some((kind, body)) = &request.body {
        building = building.header(CONTENT_TYPE, kind).body(body.clone());
    }
    let mut headers = reqwest::header::HeaderMap::new();
    for (name, value) in &request.headers {
        // `check` refused invalid names and values when the channel was opened.
        if let (Ok(name), Ok(mut value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.expose().as_bytes()))
        {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    building.headers(headers).send().await
}

async fn answered(
    mut response: Response,
    request: &Request,
    place: String,
    refuses: Refuses<'_>,
) -> Result<String, Error> {
    let status = response.status();
    let now = jiff::Timestamp::now().as_second();
    let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = after.and_then(|value| retry::retry_after(value, now));
    let (answer, is_whole) = read(&mut response).await;
    let shown = shown(&answer, request);
    if status.is_success() && refuses(&String::from_utf8_lossy(&answer)) {
        return Err(Error::NotTaken { place, status: status.as_u16(), answer: shown });
    }
    if status.is_success() {
        let more = if is_whole { "" } else { "more than " };
        let reason = status.canonical_reason().map(|reason| format!(" {reason}")).unwrap_or_default();
        return Ok(match answer.len() {
            0 => format!("{}{reason}", status.as_u16()),
            length => format!("{}{reason}, {more}{length} bytes answered{shown}", status.as_u16()),
        });
    }
    let answer = if status.is_redirection() { ", which leads elsewhere: nobody follows".to_owned() } else { shown };
    Err(Error::Answered { place, status: status.as_u16(), answer, after })
}

/// The beginning of the answer, and whether it is complete.
async fn read(response: &mut Response) -> (Vec<u8>, bool) {
    let mut answer = Vec::new();
    let whole = timeout(ANSWER_LIMIT, async {
        while let Ok(chunk) = response.chunk().await {
            let Some(chunk) = chunk else { return true };
            answer.extend_from_slice(&chunk);
            if answer.len() > LARGEST_ANSWER {
                answer.truncate(LARGEST_ANSWER);
                return false;
            }
        }
        false
    })
    .await;
    (answer, whole.unwrap_or(false))
}

/// The beginning of an answer, masked: a receiver may repeat parts of the request.
fn shown(answer: &[u8], request: &Request) -> String {
    let parts = secret_parts(request);
    let masker = Masker::new(parts.iter().chain([&request.url]).chain(&request.secrets));
    let begin = &answer[..answer.len().min(8 * 1024)];
    let shown = text::cut(&text::one_line(&masker.mask(&String::from_utf8_lossy(begin))), SHOWN);
    if shown.is_empty() { shown } else { format!(": {shown}") }
}

/// Shorter parts are taken for ordinary words and are not masked.
const SHORTEST_SECRET: usize = 8;

/// The parts of a request that may be secrets: the path of the URL and its segments, the headers and their words.
fn secret_parts(request: &Request) -> Vec<Secret> {
    let url = request.url.expose();
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.split_once('/').map(|(_, path)| path).unwrap_or_default();
    let is_own = |name: &str| name.starts_with("webhook-") || name == "idempotency-key";
    let headers = request.headers.iter().filter(|(name, _)| !is_own(name)).map(|(_, value)| value.expose());
    let words = path.split(['/', '?', '&', '=']).chain(headers.clone().flat_map(str::split_whitespace));
    let words = words.filter(|word| word.len() >= SHORTEST_SECRET);
    words.chain([path]).chain(headers).map(|part| Secret::new(part.to_owned())).collect()
}

/// The causes of an error, without the URL that `reqwest` puts into the outermost one.
fn reason(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        causes.push(inner.to_string());
        cause = inner.source();
    }
    causes.dedup();
    let all = if causes.is_empty() { "the connection failed".to_owned() } else { causes.join(": ") };
    text::cut(&text::one_line(&all), 300)
}
