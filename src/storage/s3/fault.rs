use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::storage::Error;

/// Why a request failed.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) class: Class,
    /// The message of the server or of the network.
    said: String,
    /// How long the server asks to wait (`Retry-After`).
    pub(super) retry_after: Option<Duration>,
    /// The bucket's region, if the server names it.
    pub(super) region: Option<String>,
    /// The server's clock in seconds since 1970, if the fault is about clocks.
    pub(super) clock: Option<i64>,
}

/// The class of a fault. It decides what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Too many requests.
    Throttled,
    /// The server or the network failed for the moment.
    Transient,
    /// No server answers there.
    Unreachable,
    /// The server's certificate is not trusted.
    Untrusted,
    /// The endpoint has a private address, and the settings do not allow one.
    Private,
    /// A success whose answer lacks what it must hold.
    Unclear,
    /// The bytes did not arrive as they were sent.
    Damaged,
    /// The answer is whole, and shorter than the object.
    Short,
    /// The clocks differ too much.
    Skewed,
    /// The credentials have expired.
    Expired,
    /// The credentials do not allow this.
    Denied,
    /// The bucket is in another region.
    Moved,
    /// There is no such bucket.
    NoBucket,
    /// There is no such object.
    NoObject,
    /// There is no such multipart upload.
    NoUpload,
    /// A precondition does not hold: the object exists, or has changed.
    Exists,
    /// Another writer is at work on the same key.
    Conflict,
    /// The range begins behind the end of the object.
    PastEnd,
    /// The server does not implement this.
    Unsupported,
    /// Anything else: the same request will fail again.
    Wrong,
    /// The caller has cancelled.
    Cancelled,
}

/// A private address of an endpoint whose settings do not allow one.
#[derive(Clone, Debug, thiserror::Error)]
#[error("`{host}` has the private address {address}")]
pub(super) struct PrivateAddress {
    pub(super) host: String,
    pub(super) address: IpAddr,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl StdError for Fault {}

impl Fault {
    pub(super) fn new(class: Class, said: impl Into<String>) -> Self {
        Self { class, said: said.into(), retry_after: None, region: None, clock: None }
    }

    /// The same fault in another class.
    pub(super) fn seen_as(self, class: Class) -> Self {
        Self { class, ..self }
    }

    /// Whether the request may have been carried out.
    pub(super) fn is_ambiguous(&self) -> bool {
        matches!(self.class, Class::Transient | Class::Unclear | Class::Conflict)
    }

    /// Whether a later attempt can use what was sent so far.
    pub(super) fn is_retryable_later(&self) -> bool {
        matches!(
            self.class,
            Class::Throttled
                | Class::Transient
                | Class::Unreachable
                | Class::Expired
                | Class::Skewed
                | Class::Cancelled
        )
    }

    /// The error of a call about an object or a bucket.
    pub(super) fn into_error(self, what: &str, uri: &str) -> Error {
        let (what, uri) = (what.to_owned(), uri.to_owned());
        match self.class {
            Class::Unreachable => Error::Unreachable { uri, source: self.into() },
            Class::Untrusted => Error::Settings {
                uri,
                why: format!("its certificate is not trusted: {self}"),
                help: "name the certificate of its authority in `ca-certificate`",
            },
            Class::Private => Error::Settings {
                uri,
                why: self.to_string(),
                help: "`allow-private: true` in the store, if that is meant",
            },
            Class::Denied | Class::Expired | Class::Skewed => Error::Refused { what, uri, source: self.into() },
            Class::NoBucket => Error::NoBucket { uri, source: self.into() },
            Class::NoObject => Error::NoObject { uri },
            Class::Short => Error::Truncated { uri, why: self.to_string() },
            Class::Exists => Error::Exists { uri },
            Class::Cancelled => Error::Cancelled { uri },
            class => {
                let transient = matches!(
                    class,
                    Class::Throttled
                        | Class::Transient
                        | Class::Unclear
                        | Class::Damaged
                        | Class::Conflict
                        | Class::NoUpload
                );
                Error::Answer { what, uri, transient, source: self.into() }
            }
        }
    }
}

impl<E> From<SdkError<E, HttpResponse>> for Fault
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let Some(response) = error.raw_response() else {
            let fault = unanswered(&error);
            // It was never sent: a header cannot hold one of its values, and a retry does not change that.
            let is_unfit = matches!(error, SdkError::ConstructionFailure(_)) && fault.class == Class::Transient;
            return if is_unfit { fault.seen_as(Class::Wrong) } else { fault };
        };
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).map(str::to_owned);
        let region = header("x-amz-bucket-region");
        let retry_after = header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let date = header("date");
        let request = header("x-amz-request-id");
        let about = error.as_service_error();
        let code = about.and_then(ProvideErrorMetadata::code).unwrap_or_default().to_owned();
        let class = match about {
            Some(_) => class(status, &code, region.is_some()),
            // Not an answer from S3, or a truncated one.
            None if status < 300 => Class::Unclear,
            None => class(status, "", region.is_some()),
        };
        let message = about.and_then(ProvideErrorMetadata::message).unwrap_or_default();
        let mut said = format!("{status} {code}").trim_end().to_owned();
        if !message.is_empty() {
            said.push_str(&format!(": {}", plain(message)));
        }
        if about.is_none() {
            said.push_str(&format!(": not an answer of S3 ({})", plain(&last_cause(&error))));
        }
        if let Some(request) = request {
            said.push_str(&format!(" (request {})", plain(&request)));
        }
        let clock = if class == Class::Skewed { date.and_then(|date| seconds(&date)) } else { None };
        Self { class, said, retry_after, region, clock }
    }
}

/// The time of an HTTP `Date`.
pub(super) fn seconds(date: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(date).ok().map(|time| time.timestamp().as_second())
}

/// A server's message, made safe for logs: short and without control characters.
fn plain(text: &str) -> String {
    text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |cause| (*cause).source())
}

fn last_cause(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

/// The fault of a request that got no answer.
fn unanswered(error: &(dyn StdError + 'static)) -> Fault {
    if let Some(private) = causes(error).find_map(|cause| cause.downcast_ref::<PrivateAddress>()) {
        return Fault::new(Class::Private, private.to_string());
    }
    let texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    let has = |part: &str| texts.iter().any(|text| text.contains(part));
    let no_connection = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|error| {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
        matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
    });
    let class = if has("certificate") {
        Class::Untrusted
    } else if has("credential") {
        Class::Denied
    } else if has("InvalidContentType") {
        // The server does not use TLS.
        Class::Wrong
    } else if no_connection || has("dns error") || has("failed to lookup") {
        Class::Unreachable
    } else {
        Class::Transient
    };
    let last = plain(&texts.last().cloned().unwrap_or_default());
    Fault::new(class, if class == Class::Denied { format!("there are no credentials: {last}") } else { last })
}

fn class(status: u16, code: &str, has_region: bool) -> Class {
    match code {
        "SlowDown" | "Throttling" | "ThrottlingException" | "TooManyRequests" | "RequestLimitExceeded" => {
            Class::Throttled
        }
        "InternalError" | "RequestTimeout" | "ServiceUnavailable" | "IncompleteBody" => Class::Transient,
        "BadDigest" | "XAmzContentChecksumMismatch" => Class::Damaged,
        "RequestTimeTooSkewed" => Class::Skewed,
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => Class::Expired,
        "AccessDenied" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "AllAccessDisabled" => Class::Denied,
        "AuthorizationHeaderMalformed" if has_region => Class::Moved,
        "NoSuchBucket" => Class::NoBucket,
        "NoSuchKey" | "NoSuchVersion" => Class::NoObject,
        "NoSuchUpload" => Class::NoUpload,
        "PreconditionFailed" => Class::Exists,
        "InvalidRange" => Class::PastEnd,
        "ConditionalRequestConflict" | "OperationAborted" => Class::Conflict,
        "NotImplemented"
        | "InvalidRequest"
        | "InvalidArgument"
        | "MissingContentMD5"
        | "InvalidDigest"
        | "XAmzContentSHA256Mismatch" => Class::Unsupported,
        _ => match status {
            300..400 => Class::Moved,
            400 if has_region && code.is_empty() => Class::Moved,
            401 | 403 => Class::Denied,
            404 => Class::NoObject,
            408 | 500 | 502 | 504 => Class::Transient,
            409 => Class::Conflict,
            412 => Class::Exists,
            416 => Class::PastEnd,
            429 | 503 => Class::Throttled,
            501 => Class::Unsupported,
            ..300 => Class::Unclear,
            _ => Class::Wrong,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_an_answer() {
        for (status, code, region, expected) in [
            (503, "SlowDown", false, Class::Throttled),
            (429, "", false, Class::Throttled),
            (500, "InternalError", false, Class::Transient),
            (200, "InternalError", false, Class::Transient),
            (502, "", false, Class::Transient),
            (400, "RequestTimeout", false, Class::Transient),
            (400, "BadDigest", false, Class::Damaged),
            (400, "ExpiredToken", false, Class::Expired),
            (403, "RequestTimeTooSkewed", false, Class::Skewed),
            (403, "SignatureDoesNotMatch", false, Class::Denied),
            (301, "PermanentRedirect", true, Class::Moved),
            (400, "AuthorizationHeaderMalformed", true, Class::Moved),
            (400, "AuthorizationHeaderMalformed", false, Class::Wrong),
            (200, "AccessDenied", false, Class::Denied),
            (404, "NoSuchBucket", false, Class::NoBucket),
            (404, "", false, Class::NoObject),
            (404, "NoSuchUpload", false, Class::NoUpload),
            (409, "ConditionalRequestConflict", false, Class::Conflict),
            (412, "", false, Class::Exists),
            (416, "InvalidRange", false, Class::PastEnd),
            (501, "NotImplemented", false, Class::Unsupported),
            (400, "EntityTooLarge", false, Class::Wrong),
        ] {
            assert_eq!(class(status, code, region), expected, "{status} {code}");
        }
    }

    #[test]
    fn the_clock_of_a_server_is_read() {
        assert_eq!(seconds("Tue, 24 Nov 2026 11:00:00 GMT"), Some(1_795_518_000));
    }
}
