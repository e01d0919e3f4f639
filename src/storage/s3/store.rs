use std::fmt;
use std::io::Read;

use jiff::Timestamp;
use tracing::debug_span;

use super::S3;
use super::connection::runtime;
use super::fault::Class;
use super::stat::stat;
use crate::storage::{Body, Coming, Error, OpenUpload, Order, Reopened, Stat, Stopped, Store, Stored, Trial};
use crate::value::ObjectKey;

impl Store for S3 {
    fn uri(&self, key: &ObjectKey) -> String {
        let (bucket, key) = (&self.bucket, self.full_key(key));
        match &self.endpoint {
            Some(endpoint) => format!("{}/{bucket}/{key}", endpoint.trim_end_matches('/')),
            None => format!("s3://{bucket}/{key}"),
        }
    }

    fn check(&self) -> Result<(), String> {
        self.check_settings()
    }

    fn put(&self, key: &ObjectKey, body: &mut dyn Body, order: &Order<'_>) -> Result<Stored, Error> {
        let _entered = debug_span!("put", uri = self.uri(key)).entered();
        self.upload(key, body, order)
    }

    fn stat(&self, key: &ObjectKey, version: Option<&str>, stopped: &Stopped) -> Result<Option<Stat>, Error> {
        let uri = self.uri(key);
        let _entered = debug_span!("stat", uri).entered();
        let connection = self.connect()?;
        let found = runtime(&uri)?.block_on(async {
            match self.head(&connection, &self.full_key(key), version, stopped).await? {
                None => {
                    self.head_bucket(&connection, stopped).await.map(|()| None).or_else(|fault| match fault.class {
                        // Who may not look at the bucket may still look at the object.
                        Class::Denied => Ok(None),
                        _ => Err(fault),
                    })
                }
                found => Ok(found),
            }
        });
        found.map(|head| head.as_ref().map(stat)).map_err(|fault| fault.into_error("a look at the properties", &uri))
    }

    fn get(&self, key: &ObjectKey, version: Option<&str>, stopped: &Stopped) -> Result<Box<dyn Read + Send>, Error> {
        let _entered = debug_span!("get", uri = self.uri(key)).entered();
        self.download(key, version, stopped)
    }

    fn own(&self, key: &ObjectKey, coming: &Coming, stopped: &Stopped) -> Result<Option<Stored>, Error> {
        self.find_coming(key, coming, stopped)
    }

    fn clear(&self, key: &ObjectKey, since: Timestamp, stopped: &Stopped) -> Result<usize, Error> {
        self.abort_left(key, since, stopped)
    }

    fn reopen(&self, key: &ObjectKey, upload: &OpenUpload, stopped: &Stopped) -> Result<Option<Reopened>, Error> {
        self.reopen_upload(key, upload, stopped)
    }

    fn close(&self, key: &ObjectKey, upload: &OpenUpload) -> Result<(), Error> {
        self.close_upload(key, &upload.id)
    }

    fn probe(&self) -> Vec<Trial> {
        self.trials()
    }
}

impl S3 {
    /// The key in the bucket.
    pub(super) fn full_key(&self, key: &impl fmt::Display) -> String {
        match self.prefix.trim_matches('/') {
            "" => key.to_string(),
            prefix => format!("{prefix}/{key}"),
        }
    }
}
