use std::fmt;
use std::io::Read;
use std::ops::Range;

use bytes::Bytes;
use jiff::Timestamp;
use tracing::debug_span;

use super::S3;
use super::connection::runtime;
use super::stat::stat;
use crate::storage::{
    Body, Check, Cursor, Deliver, Delivered, Error, ObjectId, Objects, OpenUpload, Page, PendingObject, Precondition,
    Removed, ResumedUpload, Stat, UploadJournal, UploadOptions,
};
use crate::value::{Cancel, ObjectKey, Unfit};

impl Objects for S3 {
    fn check(&self) -> Vec<Unfit<String>> {
        let unfit = self.unfit().err();
        unfit.into_iter().map(|(setting, error)| Unfit { setting: setting.to_owned(), error }).collect()
    }

    fn uri(&self, key: &ObjectKey) -> String {
        let (bucket, key) = (&self.bucket, self.full_key(key));
        match &self.endpoint {
            Some(endpoint) => format!("{}/{bucket}/{key}", endpoint.trim_end_matches('/')),
            None => format!("s3://{bucket}/{key}"),
        }
    }

    fn stat(&self, object: &ObjectId, cancel: &Cancel) -> Result<Option<Stat>, Error> {
        let target = self.target_of(&object.key, cancel)?;
        let _entered = debug_span!("stat", uri = target.uri).entered();
        let found = runtime(&target.uri)?.block_on(self.find(&target, object.version.as_deref()));
        found
            .map(|head| head.as_ref().map(stat))
            .map_err(|fault| fault.into_error("a look at the properties", &target.uri))
    }

    fn read(&self, object: &ObjectId, range: Range<u64>, cancel: &Cancel) -> Result<Bytes, Error> {
        let _entered = debug_span!("read", uri = self.uri(&object.key)).entered();
        self.read_range(object, range, cancel)
    }

    fn open(&self, object: &ObjectId, cancel: &Cancel) -> Result<Box<dyn Read + Send>, Error> {
        let _entered = debug_span!("get", uri = self.uri(&object.key)).entered();
        self.download(object, cancel)
    }

    fn write(&self, key: &ObjectKey, bytes: &[u8], when: &Precondition, cancel: &Cancel) -> Result<ObjectId, Error> {
        let _entered = debug_span!("write", uri = self.uri(key)).entered();
        self.write_small(key, bytes, when, cancel)
    }

    fn list(&self, prefix: &str, after: Option<&Cursor>, cancel: &Cancel) -> Result<Page, Error> {
        let _entered = debug_span!("list", prefix).entered();
        self.list_page(prefix, after, cancel)
    }

    fn remove(&self, object: &ObjectId, cancel: &Cancel) -> Result<Removed, Error> {
        let _entered = debug_span!("remove", uri = self.uri(&object.key)).entered();
        self.remove_object(object, cancel)
    }

    fn probe(&self) -> Vec<Check> {
        self.checks()
    }
}

impl Deliver for S3 {
    fn upload(
        &self,
        key: &ObjectKey,
        body: &mut dyn Body,
        options: &UploadOptions<'_>,
        journal: &dyn UploadJournal,
        cancel: &Cancel,
    ) -> Result<Delivered, Error> {
        let _entered = debug_span!("put", uri = self.uri(key)).entered();
        self.upload_object(key, body, options, journal, cancel)
    }

    fn recover(&self, key: &ObjectKey, pending: &PendingObject, cancel: &Cancel) -> Result<Option<Delivered>, Error> {
        self.recover_object(key, pending, cancel)
    }

    fn is_own(&self, key: &ObjectKey, pending: &PendingObject, cancel: &Cancel) -> Result<bool, Error> {
        self.has_token(key, pending, cancel)
    }

    fn resume(&self, key: &ObjectKey, upload: &OpenUpload, cancel: &Cancel) -> Result<Option<ResumedUpload>, Error> {
        self.resume_upload(key, upload, cancel)
    }

    fn abort(&self, key: &ObjectKey, upload: &OpenUpload) -> Result<(), Error> {
        self.abort_upload(key, &upload.id)
    }

    fn discard_unfinished(&self, key: &ObjectKey, since: Timestamp, cancel: &Cancel) -> Result<usize, Error> {
        self.abort_unfinished(key, since, cancel)
    }
}

impl S3 {
    /// The full key in the bucket, with the prefix.
    pub(super) fn full_key(&self, key: &impl fmt::Display) -> String {
        match self.prefix.trim_matches('/') {
            "" => key.to_string(),
            prefix => format!("{prefix}/{key}"),
        }
    }
}
