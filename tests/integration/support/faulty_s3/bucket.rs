//! The content of a bucket, and how S3 behaves when nothing goes wrong.

use std::collections::{BTreeMap, HashMap};

use super::checksum::{Algorithm, base64, hex, md5};
use super::http::{Answer, Head, date};
use super::rules::Op;

/// One version of an object.
#[derive(Clone, Debug, Default)]
pub struct Version {
    pub key: String,
    pub id: Option<String>,
    /// A delete marker, not an object.
    pub is_marker: bool,
    pub bytes: Vec<u8>,
    pub etag: String,
    /// Algorithm and value.
    pub checksums: Vec<(Algorithm, String)>,
    pub is_composite: bool,
    /// Without `x-amz-meta-`.
    pub metadata: Vec<(String, String)>,
    pub tagging: Option<String>,
    pub storage_class: Option<String>,
    pub sse: Option<String>,
    pub kms_key_id: Option<String>,
    pub lock_mode: Option<String>,
    pub lock_until: Option<String>,
    pub legal_hold: bool,
}

#[derive(Clone, Debug)]
struct Part {
    bytes: Vec<u8>,
    etag: String,
    checksum: Option<(Algorithm, String)>,
}

/// An open multipart upload.
#[derive(Clone, Debug)]
struct Upload {
    id: String,
    /// The version that it will become, without bytes.
    version: Version,
    algorithm: Option<Algorithm>,
    is_full: bool,
    parts: BTreeMap<u32, Part>,
    /// By the server's clock.
    initiated: jiff::Timestamp,
}

/// How to deviate from S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    Nothing,
    FlippedAtRest,
    DamagedOnArrival,
    IgnoresCondition,
    IgnoresChecksums,
    DropsMetadata,
}

/// A bucket.
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    pub is_versioned: bool,
    pub locks: bool,
    /// Oldest first.
    pub versions: Vec<Version>,
    uploads: Vec<Upload>,
    counter: u32,
    /// How many parts one answer lists.
    pub page: usize,
    /// How far the server's clock is ahead.
    pub ahead: jiff::SignedDuration,
}

type Answered = Result<Answer, Answer>;

const SMALLEST_PART: usize = 5 << 20;

impl Bucket {
    pub fn new(is_versioned: bool, locks: bool) -> Self {
        Self { is_versioned, locks, page: 1000, ..Self::default() }
    }

    pub fn open_uploads(&self) -> usize {
        self.uploads.len()
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now() + self.ahead
    }

    /// Begins an upload of this key as another client, dated this many seconds ago.
    pub fn begin_upload(&mut self, key: &str, seconds_ago: i64) -> String {
        let id = format!("upload-{}", self.next_id());
        let initiated = self.now() - jiff::SignedDuration::from_secs(seconds_ago);
        let version = Version { key: key.to_owned(), ..Version::default() };
        let upload =
            Upload { id: id.clone(), version, algorithm: None, is_full: false, parts: BTreeMap::new(), initiated };
        self.uploads.push(upload);
        id
    }

    pub fn change_part(&mut self, number: u32, change: impl Fn(&mut Vec<u8>)) {
        let upload = self.uploads.first_mut().unwrap();
        let part = upload.parts.get_mut(&number).unwrap();
        change(&mut part.bytes);
        part.etag = etag(&part.bytes, upload.version.sse.as_deref());
        let algorithm = part.checksum.as_ref().map(|(algorithm, _)| *algorithm);
        part.checksum = algorithm.map(|algorithm| (algorithm, algorithm.of(&part.bytes)));
        if part.bytes.is_empty() {
            upload.parts.remove(&number);
        }
    }

    pub fn abort_all(&mut self) {
        self.uploads.clear();
    }

    pub fn open_ids(&self) -> Vec<String> {
        self.uploads.iter().map(|upload| upload.id.clone()).collect()
    }

    /// The versions of each object, oldest first.
    pub fn objects(&self) -> Vec<(String, Vec<Version>)> {
        let mut objects: BTreeMap<String, Vec<Version>> = BTreeMap::new();
        for version in &self.versions {
            objects.entry(version.key.clone()).or_default().push(version.clone());
        }
        objects.into_iter().collect()
    }

    pub fn answer(&mut self, op: Op, key: &str, head: &Head, body: Vec<u8>, twist: Twist) -> Answer {
        let answered = match op {
            Op::HeadBucket => Ok(Answer::new(200).with("x-amz-bucket-region", "us-east-1")),
            Op::GetVersioning => Ok(self.versioning()),
            Op::GetObjectLock => self.object_lock(),
            Op::Put => self.put(key, head, body, twist),
            Op::Head => self.get(key, head).map(|answer| Answer { announced: Some(answer.body.len()), ..answer }),
            Op::Get => self.get(key, head),
            Op::Delete => self.delete(key, head),
            Op::Create => self.create(key, head, twist),
            Op::Part => self.part(head, body, twist),
            Op::Complete => self.complete(key, head, &body, twist),
            Op::Abort => self.abort(head),
            Op::List => Ok(self.list(head)),
            Op::ListUploads => Ok(self.list_uploads(head)),
            Op::ListParts => self.list_parts(key, head),
            Op::Other => Err(Answer::error(501, "NotImplemented")),
        };
        answered.unwrap_or_else(|error| error)
    }

    fn versioning(&self) -> Answer {
        let status = if self.is_versioned { "<Status>Enabled</Status>" } else { "" };
        Answer::new(200).xml(&format!("<VersioningConfiguration>{status}</VersioningConfiguration>"))
    }

    fn object_lock(&self) -> Answered {
        if !self.locks {
            return Err(Answer::error(404, "ObjectLockConfigurationNotFoundError"));
        }
        let enabled = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>";
        Ok(Answer::new(200).xml(&format!("<ObjectLockConfiguration>{enabled}</ObjectLockConfiguration>")))
    }

    fn latest(&self, key: &str) -> Option<&Version> {
        self.versions.iter().rev().find(|version| version.key == key).filter(|version| !version.is_marker)
    }

    fn next_id(&mut self) -> String {
        self.counter += 1;
        format!("v{:08}", self.counter)
    }

    fn condition(&self, key: &str, head: &Head, twist: Twist) -> Result<(), Answer> {
        let found = self.latest(key);
        let (absent, etag) = (head.header("if-none-match") == Some("*"), head.header("if-match"));
        match (found, etag) {
            _ if twist == Twist::IgnoresCondition => Ok(()),
            (Some(_), _) if absent => Err(Answer::error(412, "PreconditionFailed")),
            (None, Some(_)) => Err(Answer::error(404, "NoSuchKey")),
            (Some(found), Some(etag)) if found.etag != etag => Err(Answer::error(412, "PreconditionFailed")),
            _ => Ok(()),
        }
    }

    /// The objects in order of their keys, `max-keys` or 1,000 at a time. The token is the last key in disguise.
    fn list(&self, head: &Head) -> Answer {
        let prefix = head.query("prefix").unwrap_or_default();
        let after = head.query("continuation-token").and_then(|token| token.strip_prefix("after:")).unwrap_or_default();
        let most = head.query("max-keys").and_then(|most| most.parse().ok()).unwrap_or(1_000).min(1_000);
        let mut keys: Vec<&str> = self.versions.iter().map(|version| version.key.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|key| key.starts_with(prefix) && *key > after && self.latest(key).is_some());
        let rest = keys.len().saturating_sub(most);
        keys.truncate(most);
        let contents: String = keys
            .iter()
            .filter_map(|key| self.latest(key))
            .map(|found| {
                let (key, size) = (escaped(&found.key), found.bytes.len());
                format!("<Contents><Key>{key}</Key><Size>{size}</Size></Contents>")
            })
            .collect();
        let next = keys.last().filter(|_| rest > 0).map_or_else(String::new, |last| {
            format!("<NextContinuationToken>after:{}</NextContinuationToken>", escaped(last))
        });
        let truncated = rest > 0;
        Answer::new(200).xml(&format!(
            "<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{next}{contents}</ListBucketResult>"
        ))
    }

    /// Stores a new version, depending on whether the bucket is versioned.
    fn keep(&mut self, mut version: Version, twist: Twist) -> Option<String> {
        if self.is_versioned {
            version.id = Some(self.next_id());
        } else {
            self.versions.retain(|other| other.key != version.key);
        }
        if twist == Twist::FlippedAtRest {
            flip(&mut version.bytes);
        }
        let id = version.id.clone();
        self.versions.push(version);
        id
    }

    /// The headers that describe an object.
    fn described(&self, key: &str, head: &Head, twist: Twist) -> Result<Version, Answer> {
        let own = |name: &str| head.header(name).map(str::to_owned);
        let meta = head
            .headers
            .iter()
            .filter_map(|(name, value)| name.strip_prefix("x-amz-meta-").map(|name| (name.to_owned(), value.clone())));
        let version = Version {
            key: key.to_owned(),
            metadata: if twist == Twist::DropsMetadata { Vec::new() } else { meta.collect() },
            tagging: own("x-amz-tagging"),
            storage_class: own("x-amz-storage-class"),
            sse: own("x-amz-server-side-encryption"),
            kms_key_id: own("x-amz-server-side-encryption-aws-kms-key-id"),
            lock_mode: own("x-amz-object-lock-mode"),
            lock_until: own("x-amz-object-lock-retain-until-date"),
            legal_hold: head.header("x-amz-object-lock-legal-hold") == Some("ON"),
            ..Version::default()
        };
        let is_locked = version.lock_mode.is_some() || version.legal_hold;
        if version.lock_mode.is_some() != version.lock_until.is_some() || is_locked && !self.locks {
            return Err(Answer::error(400, "InvalidRequest"));
        }
        if version.lock_until.is_some() && !is_future(version.lock_until.as_deref()) {
            return Err(Answer::error(400, "InvalidArgument"));
        }
        Ok(version)
    }

    fn put(&mut self, key: &str, head: &Head, mut body: Vec<u8>, twist: Twist) -> Answered {
        self.condition(key, head, twist)?;
        let mut version = self.described(key, head, twist)?;
        let is_locked = version.lock_mode.is_some() || version.legal_hold;
        let checksum = verified(head, &body, twist)?;
        if is_locked && checksum.is_none() && head.header("content-md5").is_none() {
            return Err(Answer::error(400, "InvalidRequest"));
        }
        let checksum = match checksum {
            Some((algorithm, _)) if twist == Twist::DamagedOnArrival => {
                flip(&mut body);
                Some((algorithm, algorithm.of(&body)))
            }
            other => other,
        };
        version.etag = etag(&body, version.sse.as_deref());
        let mut answer = Answer::new(200).with("etag", version.etag.clone());
        if let Some((algorithm, value)) = &checksum {
            answer = answer.with(&algorithm.header(), value.clone()).with("x-amz-checksum-type", "FULL_OBJECT");
        }
        // S3 computes a checksum itself if none was sent.
        let own = || (twist != Twist::IgnoresChecksums).then(|| (Algorithm::Crc64nvme, Algorithm::Crc64nvme.of(&body)));
        version.checksums = checksum.or_else(own).into_iter().collect();
        version.bytes = body;
        let sse = encryption(&version);
        let id = self.keep(version, twist);
        answer.headers.extend(sse);
        answer.headers.extend(id.map(|id| ("x-amz-version-id".to_owned(), id)));
        Ok(answer)
    }

    fn find(&self, key: &str, head: &Head) -> Result<&Version, Answer> {
        match head.query("versionId") {
            Some(id) => {
                let found = self.versions.iter().find(|version| version.key == key && is_id(version, id));
                let found = found.ok_or_else(|| Answer::error(404, "NoSuchVersion"))?;
                if found.is_marker { Err(Answer::error(405, "MethodNotAllowed")) } else { Ok(found) }
            }
            None => self.latest(key).ok_or_else(|| Answer::error(404, "NoSuchKey")),
        }
    }

    fn get(&self, key: &str, head: &Head) -> Answered {
        let version = self.find(key, head)?;
        if head.header("if-match").is_some_and(|wanted| wanted != version.etag && wanted != "*") {
            return Err(Answer::error(412, "PreconditionFailed"));
        }
        let mut answer = Answer::new(200)
            .with("etag", version.etag.clone())
            .with("last-modified", super::http::date(jiff::Timestamp::now()))
            .with("accept-ranges", "bytes")
            .with("content-type", "application/octet-stream");
        let mut add = |name: &str, value: Option<&String>| {
            answer.headers.extend(value.map(|value| (name.to_owned(), value.clone())));
        };
        add("x-amz-version-id", version.id.as_ref());
        add("x-amz-storage-class", version.storage_class.as_ref());
        add("x-amz-object-lock-mode", version.lock_mode.as_ref());
        add("x-amz-object-lock-retain-until-date", version.lock_until.as_ref());
        version.metadata.iter().for_each(|(name, value)| add(&format!("x-amz-meta-{name}"), Some(value)));
        if version.legal_hold {
            answer = answer.with("x-amz-object-lock-legal-hold", "ON");
        }
        answer.headers.extend(encryption(version));
        let size = version.bytes.len();
        let range = head.header("range").and_then(|range| range.strip_prefix("bytes=")).map(str::to_owned);
        if head.header("x-amz-checksum-mode") == Some("ENABLED") && range.is_none() {
            for (algorithm, value) in &version.checksums {
                answer = answer.with(&algorithm.header(), value.clone());
            }
            if !version.checksums.is_empty() {
                let kind = if version.is_composite { "COMPOSITE" } else { "FULL_OBJECT" };
                answer = answer.with("x-amz-checksum-type", kind);
            }
        }
        answer.body.clone_from(&version.bytes);
        if let Some(range) = range {
            let (from, to) = range.split_once('-').unwrap_or((&range, ""));
            let from: usize = from.parse().map_err(|_| Answer::error(416, "InvalidRange"))?;
            let to = to.parse().unwrap_or(usize::MAX).min(size.saturating_sub(1));
            if from > to || size == 0 {
                return Err(Answer::error(416, "InvalidRange"));
            }
            answer.body = version.bytes[from..=to].to_vec();
            answer.status = 206;
            answer = answer.with("content-range", format!("bytes {from}-{to}/{size}"));
        }
        Ok(answer)
    }

    fn delete(&mut self, key: &str, head: &Head) -> Answered {
        if let Some(id) = head.query("versionId") {
            let found = self.versions.iter().position(|version| version.key == key && is_id(version, id));
            let Some(at) = found else { return Ok(Answer::new(204)) };
            let version = &self.versions[at];
            // Governance mode yields to a permission that this server never grants.
            if version.legal_hold || is_future(version.lock_until.as_deref()) {
                return Err(Answer::error(403, "AccessDenied"));
            }
            self.versions.remove(at);
            return Ok(Answer::new(204).with("x-amz-version-id", id));
        }
        if !self.is_versioned {
            self.versions.retain(|version| version.key != key);
            return Ok(Answer::new(204));
        }
        let marker = Version { key: key.to_owned(), is_marker: true, ..Version::default() };
        let id = self.keep(marker, Twist::Nothing).unwrap_or_default();
        Ok(Answer::new(204).with("x-amz-delete-marker", "true").with("x-amz-version-id", id))
    }

    fn create(&mut self, key: &str, head: &Head, twist: Twist) -> Answered {
        let version = self.described(key, head, twist)?;
        let algorithm = match head.header("x-amz-checksum-algorithm") {
            Some(_) if twist == Twist::IgnoresChecksums => None,
            Some(name) => Some(Algorithm::named(name).ok_or_else(|| Answer::error(400, "InvalidRequest"))?),
            None => None,
        };
        let kind = head.header("x-amz-checksum-type");
        let is_full = match (algorithm, kind) {
            (Some(Algorithm::Crc64nvme), Some("COMPOSITE")) | (Some(Algorithm::Sha256), Some("FULL_OBJECT")) => {
                return Err(Answer::error(400, "InvalidRequest"));
            }
            (Some(Algorithm::Crc64nvme), _) => true,
            _ => kind == Some("FULL_OBJECT"),
        };
        let id = format!("upload-{}", self.next_id());
        let bucket = head.path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let mut answer = Answer::new(200).xml(&format!(
            "<InitiateMultipartUploadResult><Bucket>{}</Bucket><Key>{}</Key><UploadId>{id}</UploadId>\
             </InitiateMultipartUploadResult>",
            escaped(bucket),
            escaped(key)
        ));
        answer.headers.extend(encryption(&version));
        let initiated = self.now();
        self.uploads.push(Upload { id, version, algorithm, is_full, parts: BTreeMap::new(), initiated });
        Ok(answer)
    }

    fn upload(&mut self, head: &Head) -> Result<&mut Upload, Answer> {
        let id = head.query("uploadId").unwrap_or_default();
        let found = self.uploads.iter_mut().find(|upload| upload.id == id);
        found.ok_or_else(|| Answer::error(404, "NoSuchUpload"))
    }

    fn part(&mut self, head: &Head, mut body: Vec<u8>, twist: Twist) -> Answered {
        let number: u32 = head.query("partNumber").and_then(|number| number.parse().ok()).unwrap_or(0);
        if !(1..=10_000).contains(&number) {
            return Err(Answer::error(400, "InvalidArgument"));
        }
        let upload = self.upload(head)?;
        let mut checksum = verified(head, &body, twist)?;
        if let (Some(declared), Some((sent, _))) = (upload.algorithm, &checksum)
            && declared != *sent
        {
            return Err(Answer::error(400, "InvalidRequest"));
        }
        if twist == Twist::DamagedOnArrival {
            flip(&mut body);
            checksum = checksum.map(|(algorithm, _)| (algorithm, algorithm.of(&body)));
        }
        let etag = etag(&body, upload.version.sse.as_deref());
        let mut answer = Answer::new(200).with("etag", etag.clone());
        if let Some((algorithm, value)) = &checksum {
            answer = answer.with(&algorithm.header(), value.clone());
        }
        answer.headers.extend(encryption(&upload.version));
        if twist == Twist::FlippedAtRest {
            flip(&mut body);
        }
        upload.parts.insert(number, Part { bytes: body, etag, checksum });
        Ok(answer)
    }

    fn complete(&mut self, key: &str, head: &Head, body: &[u8], twist: Twist) -> Answered {
        self.condition(key, head, twist)?;
        let upload = self.upload(head)?.clone();
        let mut version = assembled(&upload, head, &String::from_utf8_lossy(body), twist)?;
        if version.checksums.is_empty() && twist != Twist::IgnoresChecksums {
            version.checksums.push((Algorithm::Crc64nvme, Algorithm::Crc64nvme.of(&version.bytes)));
        }
        let (etag, sse) = (version.etag.clone(), encryption(&version));
        let kind = if version.is_composite { "COMPOSITE" } else { "FULL_OBJECT" };
        let sums: String = version.checksums.iter().map(|(algorithm, value)| element(*algorithm, value)).collect();
        self.uploads.retain(|other| other.id != upload.id);
        let id = self.keep(version, twist);
        let mut answer = Answer::new(200).xml(&format!(
            "<CompleteMultipartUploadResult><Location>x</Location><Bucket>x</Bucket><Key>{}</Key>{sums}\
             <ChecksumType>{kind}</ChecksumType><ETag>{}</ETag></CompleteMultipartUploadResult>",
            escaped(key),
            escaped(&etag)
        ));
        answer.headers.extend(sse);
        answer.headers.extend(id.map(|id| ("x-amz-version-id".to_owned(), id)));
        Ok(answer)
    }

    fn abort(&mut self, head: &Head) -> Answered {
        let id = self.upload(head)?.id.clone();
        self.uploads.retain(|upload| upload.id != id);
        Ok(Answer::new(204))
    }

    fn list_uploads(&self, head: &Head) -> Answer {
        let prefix = head.query("prefix").unwrap_or_default();
        let uploads: String = self
            .uploads
            .iter()
            .filter(|upload| upload.version.key.starts_with(prefix))
            .map(|upload| {
                let (key, id, initiated) = (escaped(&upload.version.key), &upload.id, upload.initiated);
                format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{initiated}</Initiated></Upload>")
            })
            .collect();
        Answer::new(200)
            .xml(&format!(
                "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{uploads}</ListMultipartUploadsResult>"
            ))
            .with("date", date(self.now()))
    }

    fn list_parts(&mut self, key: &str, head: &Head) -> Answered {
        let after: u32 = head.query("part-number-marker").and_then(|marker| marker.parse().ok()).unwrap_or(0);
        let most = head.query("max-parts").and_then(|most| most.parse().ok()).unwrap_or(self.page).min(self.page);
        let upload = self.upload(head)?;
        let rest: Vec<_> = upload.parts.range(after + 1..).collect();
        let parts: String = rest
            .iter()
            .take(most)
            .map(|(number, part)| {
                let sum = part.checksum.as_ref().map(|(algorithm, value)| element(*algorithm, value));
                format!(
                    "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag><Size>{}</Size>{}</Part>",
                    escaped(&part.etag),
                    part.bytes.len(),
                    sum.unwrap_or_default()
                )
            })
            .collect();
        let last = rest.iter().take(most).next_back().map_or(0, |(number, _)| **number);
        Ok(Answer::new(200).xml(&format!(
            "<ListPartsResult><Key>{}</Key><UploadId>{}</UploadId><IsTruncated>{}</IsTruncated>\
             <NextPartNumberMarker>{last}</NextPartNumberMarker>{parts}</ListPartsResult>",
            escaped(key),
            upload.id,
            rest.len() > most
        )))
    }
}

/// Joins the parts, if what the client says about them is true.
fn assembled(upload: &Upload, head: &Head, xml: &str, twist: Twist) -> Result<Version, Answer> {
    let invalid = |code: &str| Answer::error(400, code);
    let mut version = upload.version.clone();
    let (mut md5s, mut sums) = (Vec::new(), Vec::new());
    let named: Vec<(u32, &str)> = xml
        .split("<Part>")
        .skip(1)
        .map(|part| (within(part, "PartNumber").and_then(|number| number.parse().ok()).unwrap_or(0), part))
        .collect();
    let count = named.len();
    if !named.is_sorted_by(|(before, _), (after, _)| before < after) {
        return Err(invalid("InvalidPartOrder"));
    }
    for (index, (number, named)) in named.into_iter().enumerate() {
        let part = upload.parts.get(&number).ok_or_else(|| invalid("InvalidPart"))?;
        let etag = within(named, "ETag").unwrap_or_default();
        if etag.trim_matches('"') != part.etag.trim_matches('"') {
            return Err(invalid("InvalidPart"));
        }
        if index + 1 < count && part.bytes.len() < SMALLEST_PART {
            return Err(invalid("EntityTooSmall"));
        }
        if let Some((algorithm, value)) = &part.checksum {
            match within(named, &algorithm.element()) {
                Some(stated) if stated != *value => return Err(invalid("InvalidPart")),
                None if upload.algorithm.is_some() && !upload.is_full => return Err(invalid("InvalidRequest")),
                _ => sums.push(value.clone()),
            }
        }
        md5s.extend(from_hex(&part.etag));
        version.bytes.extend(&part.bytes);
    }
    if count == 0 {
        return Err(invalid("MalformedXML"));
    }
    let size = head.header("x-amz-mp-object-size").and_then(|size| size.parse::<usize>().ok());
    if size.is_some_and(|size| size != version.bytes.len()) {
        return Err(invalid("InvalidRequest"));
    }
    version.etag = format!("\"{}-{count}\"", hex(&md5(&md5s)));
    if let Some(algorithm) = upload.algorithm.filter(|_| twist != Twist::IgnoresChecksums) {
        let own = if upload.is_full { algorithm.of(&version.bytes) } else { algorithm.composite(&sums) };
        if head.header(&algorithm.header()).is_some_and(|stated| stated != own) {
            return Err(invalid("BadDigest"));
        }
        version.is_composite = !upload.is_full;
        version.checksums.push((algorithm, own));
    }
    Ok(version)
}

/// Decodes hexadecimal digits.
fn from_hex(etag: &str) -> Vec<u8> {
    let digits = etag.trim_matches('"');
    (0..digits.len() / 2).filter_map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()).collect()
}

/// The checksum that came with a body, if it is right.
fn verified(head: &Head, body: &[u8], twist: Twist) -> Result<Option<(Algorithm, String)>, Answer> {
    if head.header("x-amz-content-sha256").is_some_and(|kind| kind.starts_with("STREAMING-")) {
        // Old servers refuse this form, or store its framing. tl never sends it.
        return Err(Answer::error(400, "XAmzContentSHA256Mismatch"));
    }
    if twist == Twist::IgnoresChecksums {
        return Ok(None);
    }
    let sha256 = head.header("x-amz-content-sha256").filter(|value| value.len() == 64);
    if sha256.is_some_and(|stated| stated != hex(&sha256_of(body))) {
        return Err(Answer::error(400, "XAmzContentSHA256Mismatch"));
    }
    if head.header("content-md5").is_some_and(|stated| stated != base64(&md5(body))) {
        return Err(Answer::error(400, "BadDigest"));
    }
    let mut found = None;
    for algorithm in Algorithm::ALL {
        let Some(stated) = head.header(&algorithm.header()) else { continue };
        if found.is_some() {
            return Err(Answer::error(400, "InvalidRequest"));
        }
        if stated != algorithm.of(body) {
            return Err(Answer::error(400, "BadDigest"));
        }
        found = Some((algorithm, stated.to_owned()));
    }
    Ok(found)
}

fn sha256_of(bytes: &[u8]) -> Vec<u8> {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).to_vec()
}

/// The MD5 of the bytes, unless S3 encrypts them with a KMS key.
fn etag(bytes: &[u8], sse: Option<&str>) -> String {
    let own = if sse == Some("aws:kms") { md5(&[bytes, b"encrypted"].concat()) } else { md5(bytes) };
    format!("\"{}\"", hex(&own))
}

fn encryption(version: &Version) -> Vec<(String, String)> {
    let named = [
        ("x-amz-server-side-encryption", &version.sse),
        ("x-amz-server-side-encryption-aws-kms-key-id", &version.kms_key_id),
    ];
    named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect()
}

/// Flips one bit in the middle.
pub fn flip(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
}

fn is_id(version: &Version, id: &str) -> bool {
    version.id.as_deref().unwrap_or("null") == id
}

fn is_future(until: Option<&str>) -> bool {
    until.and_then(|until| until.parse::<jiff::Timestamp>().ok()).is_some_and(|until| until > jiff::Timestamp::now())
}

fn element(algorithm: Algorithm, value: &str) -> String {
    format!("<{0}>{value}</{0}>", algorithm.element())
}

/// The text of the first element with that name.
fn within(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Buckets by name.
pub type Buckets = HashMap<String, Bucket>;
