use std::ops::Range;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;

use super::S3;
use super::connection::runtime;
use super::fault::{Class, Fault};
use super::part::Buffer;
use crate::storage::{Error, LARGEST_READ, ObjectId};
use crate::value::Cancel;

impl S3 {
    pub(super) fn read_range(&self, object: &ObjectId, range: Range<u64>, cancel: &Cancel) -> Result<Bytes, Error> {
        let target = self.target_of(&object.key, cancel)?;
        let failed = |fault: Fault| fault.into_error("reading", &target.uri);
        let length = range.end.saturating_sub(range.start);
        if length == 0 {
            return Ok(Bytes::new());
        }
        if length > LARGEST_READ {
            return Err(failed(Fault::new(Class::Wrong, "the range is too long")));
        }
        let read = |client: Client| piece(client, &self.bucket, &target.key, object.version.as_deref(), range.clone());
        match runtime(&target.uri)?.block_on(target.connection.call(length, cancel, read)) {
            Err(fault) if fault.class == Class::PastEnd => Ok(Bytes::new()),
            read => read.map_err(failed),
        }
    }
}

/// Requests one range. Fails unless all bytes arrive that the answer announces.
async fn piece(
    client: Client,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    range: Range<u64>,
) -> Result<Bytes, Fault> {
    let request = client.get_object().bucket(bucket).key(key).set_version_id(version.map(str::to_owned));
    let request = request.range(format!("bytes={}-{}", range.start, range.end - 1));
    let answer = request.send().await.map_err(|error: SdkError<GetObjectError, HttpResponse>| Fault::from(error))?;
    // A server without support for ranges sends the whole object.
    let announced = answer.content_range().and_then(content_range);
    let Some((announced, size)) = announced else {
        return Err(Fault::new(Class::Wrong, "the server does not know ranges"));
    };
    if announced.start != range.start || announced.end != range.end.min(size) {
        return Err(Fault::new(Class::Unclear, format!("the server answers with the range {announced:?} of {size}")));
    }
    Buffer::collect(answer.body, announced.end - announced.start).await
}

/// The range and the size of the whole, from a `Content-Range`.
fn content_range(header: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (from, to) = range.split_once('-')?;
    let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
    (from <= to).then_some((from..to.checked_add(1)?, size.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_or_refused() {
        assert_eq!(content_range("bytes 0-0/1"), Some((0..1, 1)));
        assert_eq!(content_range("bytes 5-9/20"), Some((5..10, 20)));
        for other in ["", "bytes", "bytes */20", "bytes 5-/20", "bytes 9-5/20", "bytes 0-1/*", "items 0-1/2"] {
            assert_eq!(content_range(other), None, "{other}");
        }
    }
}
