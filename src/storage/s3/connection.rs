use std::env;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::default_provider::{credentials::DefaultCredentialsChain, region::DefaultRegionChain};
use aws_config::meta::region::ProvideRegion as _;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_smithy_async::time::TimeSource;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::runtime::Runtime;
use url::{Host, Url};

use super::checksum::Algorithm;
use super::fault::{Class, Fault, PrivateAddress};
use super::retry::until_cancelled;
use super::settings::{Choice, LARGEST_PART, S3, SMALLEST_PART, Sse};
use crate::storage::Error;
use crate::value::{Cancel, ObjectKey, Secret, is_public};

/// S3 closes idle connections after about 20 seconds, and a request on such a connection fails.
const IDLE: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(10);

/// The client of one bucket, and what this process has learnt about its server.
#[derive(Debug)]
pub(super) struct Connection {
    client: Mutex<Client>,
    settings: Mutex<Builder>,
    /// Set once the server refused CRC64NVME and `checksum: auto` fell back. A probe object cannot find this out
    /// beforehand: a bucket that locks by default would not let us remove it.
    fallback: OnceLock<Algorithm>,
    choice: Choice,
    /// Whether fresh credentials can be fetched.
    renewable: bool,
    /// Whether the server has refused a write whose `If-None-Match` could not hold.
    pub(super) keeps_absent: AtomicBool,
    /// The same for `If-Match`.
    pub(super) keeps_unchanged: AtomicBool,
    pub(super) policy: Policy,
}

/// Time limits of requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) request_timeout: Duration,
    pub(super) minimum_speed: u64,
    pub(super) retry_for: Duration,
}

impl Policy {
    /// How long a request with this many bytes may take.
    pub(super) fn limit(&self, bytes: u64) -> Duration {
        self.request_timeout + Duration::from_secs_f64(bytes as f64 / self.minimum_speed.max(1) as f64)
    }
}

/// The runtime of all requests. Stores have their own, since their callers block threads that belong to no runtime.
pub(super) fn runtime(uri: &str) -> Result<&'static Runtime, Error> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("s3")
        .enable_all()
        .build()
        .map_err(|error| Error::from_io(uri, error))?;
    // If two threads race, one runtime is dropped. That would panic in an asynchronous context; no caller is in one.
    Ok(RUNTIME.get_or_init(|| runtime))
}

impl Connection {
    /// Finds credentials and region, and prepares a client. Sends nothing to the store.
    pub(super) async fn new(s3: &S3, uri: &str) -> Result<Self, Error> {
        let settings = |why: String, help| Error::Settings { uri: uri.to_owned(), why, help };
        let http = http_client(s3).map_err(|why| settings(why, "see `ca-certificate`"))?;
        let found = credentials(s3, &http).await;
        let (credentials, renewable) = found.map_err(|why| Error::NoCredentials { uri: uri.to_owned(), why })?;
        let builder = Builder::new()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(http)
            .region(region(s3).await)
            .credentials_provider(credentials)
            .force_path_style(s3.path_style)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build())
            // The SDK's guard would kill a `CompleteMultipartUpload` that takes longer than five seconds. Our own
            // limits apply.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // We choose the checksum; `AWS_REQUEST_CHECKSUM_CALCULATION` must not turn it off.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        let mut builder = builder;
        builder.set_endpoint_url(s3.endpoint.clone());
        Ok(Self {
            client: Mutex::new(Client::from_conf(builder.clone().build())),
            settings: Mutex::new(builder),
            fallback: OnceLock::new(),
            choice: s3.checksum,
            renewable,
            keeps_absent: AtomicBool::new(false),
            keeps_unchanged: AtomicBool::new(false),
            policy: Policy {
                request_timeout: s3.request_timeout.get(),
                minimum_speed: s3.minimum_speed.get(),
                retry_for: s3.retry_for.get(),
            },
        })
    }

    pub(super) fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The algorithm that requests use now.
    pub(super) fn algorithm(&self) -> Algorithm {
        match self.choice {
            Choice::Auto => self.fallback.get().copied().unwrap_or(Algorithm::Crc64Nvme),
            Choice::Crc64nvme => Algorithm::Crc64Nvme,
            Choice::Crc32c => Algorithm::Crc32c,
            Choice::Sha256 => Algorithm::Sha256,
            Choice::Md5 => Algorithm::Md5,
        }
    }

    /// Whether requests use this algorithm, or may fall back to it.
    pub(super) fn takes(&self, algorithm: Algorithm) -> bool {
        algorithm == self.algorithm() || self.choice == Choice::Auto && algorithm == Algorithm::Md5
    }

    /// Switches `checksum: auto` to MD5. Returns whether that changes anything.
    pub(super) fn fall_back(&self) -> bool {
        self.choice == Choice::Auto && self.fallback.set(Algorithm::Md5).is_ok()
    }

    /// Corrects the region, the clock or the credentials that a fault shows to be wrong. Returns whether it could.
    pub(super) fn adjust(&self, fault: &Fault) -> bool {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let adjusted = match (fault.class, &fault.region, fault.clock) {
            (Class::Moved, Some(region), _) => settings.clone().region(Region::new(region.clone())),
            (Class::Skewed, _, Some(clock)) => settings.clone().time_source(ShiftedClock::to(clock)),
            // A new client has an empty cache of credentials.
            (Class::Expired, ..) if self.renewable => settings.clone(),
            _ => return false,
        };
        *settings = adjusted;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Client::from_conf(settings.clone().build());
        true
    }
}

/// The clock of a server, kept as an offset from ours.
#[derive(Debug)]
struct ShiftedClock {
    by: i64,
}

impl ShiftedClock {
    fn to(server: i64) -> Self {
        Self { by: server - jiff::Timestamp::now().as_second() }
    }
}

impl TimeSource for ShiftedClock {
    fn now(&self) -> SystemTime {
        let shift = Duration::from_secs(self.by.unsigned_abs());
        if self.by < 0 { SystemTime::now() - shift } else { SystemTime::now() + shift }
    }
}

/// Resolves host names, and refuses private addresses unless the settings allow them.
#[derive(Clone, Copy, Debug)]
struct Resolver {
    allow_private: bool,
}

impl ResolveDns for Resolver {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let found = tokio::net::lookup_host((name, 0)).await.map_err(ResolveDnsError::new)?;
            let addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            match addresses.iter().find(|address| !self.allow_private && !is_public(**address)) {
                Some(&address) => Err(ResolveDnsError::new(PrivateAddress { host: name.to_owned(), address })),
                None => Ok(addresses),
            }
        })
    }
}

impl S3 {
    /// The first setting that cannot work, and why. The reason contains no secret.
    pub(super) fn unfit(&self) -> Result<(), (&'static str, String)> {
        let is_bucket = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if self.bucket.len() < 3 || self.bucket.starts_with('.') || !self.bucket.chars().all(is_bucket) {
            return Err(("bucket", format!("`{}` cannot be the name of a bucket", self.bucket.escape_debug())));
        }
        if !self.prefix.trim_matches('/').is_empty() {
            let prefix: Result<ObjectKey, _> = self.prefix.trim_matches('/').parse();
            prefix.map_err(|error| ("prefix", format!("`prefix`: {error}")))?;
        }
        if !(SMALLEST_PART..=LARGEST_PART).contains(&self.part_size.get()) {
            let reason = format!("`part-size` is {}, and S3 takes parts from 5MiB to 5GiB", self.part_size);
            return Err(("part-size", reason));
        }
        let nothing = "`request-timeout` and `minimum-speed` must be more than nothing";
        if self.request_timeout.get().is_zero() {
            return Err(("request-timeout", nothing.to_owned()));
        }
        if self.minimum_speed.get() == 0 {
            return Err(("minimum-speed", nothing.to_owned()));
        }
        if self.kms_key_id.is_some() && self.sse != Some(Sse::Kms) {
            return Err(("kms-key-id", "`kms-key-id` needs `sse: kms`".to_owned()));
        }
        if self.profile.is_some() && (self.access_key_id.is_some() || self.secret_access_key.is_some()) {
            return Err(("profile", "`profile` excludes `access-key-id` and `secret-access-key`".to_owned()));
        }
        if self
            .storage_class
            .as_ref()
            .is_some_and(|class| !class.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        {
            return Err(("storage-class", "`storage-class` is a word such as `STANDARD_IA`".to_owned()));
        }
        // The SDK panics on a control character in a header.
        let in_headers = [("region", &self.region), ("kms-key-id", &self.kms_key_id), ("profile", &self.profile)];
        if let Some((setting, _)) =
            in_headers.into_iter().find(|(_, text)| text.as_ref().is_some_and(|text| text.contains(char::is_control)))
        {
            return Err((setting, format!("`{setting}` holds a control character")));
        }
        self.check_endpoint().map_err(|reason| ("endpoint", reason))
    }

    fn check_endpoint(&self) -> Result<(), String> {
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        let url = Url::parse(endpoint).map_err(|error| format!("the endpoint is not a URL: {error}"))?;
        let is_plain = url.username().is_empty() && url.password().is_none();
        if !is_plain || url.query().is_some() || url.fragment().is_some() {
            return Err("an endpoint holds no user, password, query or fragment".to_owned());
        }
        let address = match url.host() {
            None => return Err("the endpoint names no host".to_owned()),
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
        };
        match address {
            _ if self.allow_private => Ok(()),
            _ if url.scheme() != "https" => Err("an endpoint without TLS needs `allow-private: true`".to_owned()),
            Some(address) if !is_public(address) => {
                Err(format!("{address} is private and needs `allow-private: true`"))
            }
            _ => Ok(()),
        }
    }
}

/// Loads the certificates of a PEM file. Parses each, since the SDK panics on one that it cannot read.
fn certificates(path: &Path) -> Result<Vec<u8>, String> {
    let wrong = |reason: &dyn fmt::Display| format!("`{}`: {reason}", path.display());
    let pem = std::fs::read(path).map_err(|error| wrong(&format!("it cannot be read: {error}")))?;
    let mut trusted = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        trusted.add(certificate).map_err(|error| wrong(&error))?;
    }
    if trusted.is_empty() { Err(wrong(&"it holds no PEM certificate")) } else { Ok(pem) }
}

fn http_client(s3: &S3) -> Result<SharedHttpClient, String> {
    let trust = match &s3.ca_certificate {
        None => TrustStore::default(),
        Some(path) => TrustStore::empty().with_pem_certificate(certificates(path.as_path())?),
    };
    let tls = TlsContext::builder().with_trust_store(trust).build().map_err(|error| error.to_string())?;
    Ok(aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(tls)
        .pool_idle_timeout(IDLE)
        // Amazon's own names may resolve to private addresses: VPC endpoints.
        .build_with_resolver(Resolver { allow_private: s3.allow_private || s3.endpoint.is_none() }))
}

/// The value from the settings, else from the environment.
fn field(given: Option<&Secret>, variable: &str) -> Option<Secret> {
    // As for every secret, one line end behind it is no part of it.
    let one_line =
        |text: String| text.strip_suffix('\n').map_or(text.as_str(), |text| text.trim_end_matches('\r')).to_owned();
    let from_environment = || env::var(variable).ok().map(one_line).filter(|text| !text.is_empty()).map(Secret::new);
    given.cloned().or_else(from_environment)
}

/// Finds the credentials. Also returns whether fresh ones can be fetched later. The error names exactly what is
/// missing.
async fn credentials(s3: &S3, http: &SharedHttpClient) -> Result<(SharedCredentialsProvider, bool), String> {
    let sources = ProviderConfig::default().with_http_client(http.clone());
    if let Some(profile) = &s3.profile {
        let provider = ProfileFileCredentialsProvider::builder().profile_name(profile).configure(&sources).build();
        return Ok((SharedCredentialsProvider::new(provider), true));
    }
    let id = field(s3.access_key_id.as_ref(), "AWS_ACCESS_KEY_ID");
    let secret = field(s3.secret_access_key.as_ref(), "AWS_SECRET_ACCESS_KEY");
    // A session token belongs to its key. The one in the environment does not fit a key from the settings.
    let token = match (&s3.session_token, &s3.access_key_id) {
        (None, Some(_)) => None,
        (given, _) => field(given.as_ref(), "AWS_SESSION_TOKEN"),
    };
    let missing =
        |key: &str, variable: &str| Err(format!("`{key}` is missing, and so is `{variable}` in the environment"));
    let broken = [(&id, "access-key-id"), (&secret, "secret-access-key"), (&token, "session-token")];
    if let Some((_, name)) =
        broken.into_iter().find(|(text, _)| text.as_ref().is_some_and(|text| text.expose().contains(char::is_control)))
    {
        return Err(format!("`{name}` holds a line break or another control character"));
    }
    match (id, secret) {
        (Some(id), Some(secret)) => {
            let token = token.map(|token| token.expose().to_owned());
            let keys = Credentials::new(id.expose(), secret.expose(), token, None, "tl");
            Ok((SharedCredentialsProvider::new(keys), false))
        }
        (Some(_), None) => missing("secret-access-key", "AWS_SECRET_ACCESS_KEY"),
        (None, Some(_)) => missing("access-key-id", "AWS_ACCESS_KEY_ID"),
        (None, None) => {
            let chain = DefaultCredentialsChain::builder().configure(sources).build().await;
            Ok((SharedCredentialsProvider::new(chain), true))
        }
    }
}

async fn region(s3: &S3) -> Region {
    let found = match (&s3.region, &s3.profile) {
        (Some(region), _) => Some(Region::new(region.clone())),
        (None, Some(profile)) => ProfileFileRegionProvider::builder().profile_name(profile).build().region().await,
        (None, None) => DefaultRegionChain::builder().build().region().await,
    };
    found.unwrap_or_else(|| Region::from_static("us-east-1"))
}

impl S3 {
    /// Names the bucket for people and tools.
    pub(super) fn bucket_name(&self) -> String {
        // Only the origin of the endpoint: it might hold a password.
        let origin = self.endpoint.as_deref().and_then(|endpoint| Url::parse(endpoint).ok());
        let origin = origin.map(|url| format!(" at {}", url.origin().ascii_serialization())).unwrap_or_default();
        format!("s3://{}{origin}", self.bucket)
    }

    /// The connection, made on first use.
    pub(super) fn connect(&self, cancel: &Cancel) -> Result<Arc<Connection>, Error> {
        if let Some(connection) = self.connection.get() {
            return Ok(Arc::clone(connection));
        }
        let uri = self.bucket_name();
        // The credentials may come from a program of the AWS profile or from a metadata service. Either may hang.
        let made = runtime(&uri)?.block_on(async {
            let new = tokio::time::timeout(self.request_timeout.get(), Connection::new(self, &uri));
            until_cancelled(new, cancel).await
        });
        let made = made.map_err(|fault| fault.into_error("the look for credentials", &uri))?;
        let late = |_| Error::NoCredentials { uri: uri.clone(), why: "their source does not answer".to_owned() };
        let connection = Arc::new(made.map_err(late)??);
        Ok(Arc::clone(self.connection.get_or_init(|| connection)))
    }
}
