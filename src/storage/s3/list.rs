use aws_sdk_s3::Client;

use super::S3;
use super::connection::runtime;
use super::fault::{Class, Fault};
use crate::storage::{Cursor, Entry, Error, PAGE, Page};
use crate::value::{Cancel, ObjectKey};

impl S3 {
    /// Lists one page. The cursor is S3's continuation token, not the last key: directory buckets, for example, do not
    /// list in order.
    pub(super) fn list_page(&self, prefix: &str, after: Option<&Cursor>, cancel: &Cancel) -> Result<Page, Error> {
        let uri = self.bucket_name();
        let connection = self.connect(cancel)?;
        let full_prefix = self.full_key(&prefix);
        let send = |client: Client| {
            let list = client.list_objects_v2().bucket(&self.bucket).prefix(&full_prefix);
            list.set_continuation_token(after.map(|cursor| cursor.0.clone()))
                .max_keys(i32::try_from(PAGE).unwrap_or(i32::MAX))
                .send()
        };
        let failed = |fault: Fault| fault.into_error("the list", &uri);
        let answer = runtime(&uri)?.block_on(connection.call(0, cancel, send)).map_err(failed)?;
        let mut page = Page::default();
        let own_prefix = full_prefix.strip_suffix(prefix).unwrap_or_default();
        for object in answer.contents() {
            let name = object.key().and_then(|key| key.strip_prefix(own_prefix)).unwrap_or_default();
            let size = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
            match ObjectKey::listed(name) {
                Ok(key) => page.entries.push(Entry { key, size }),
                Err(_) if name.split('/').any(|part| part.starts_with(".tl-")) => {}
                Err(_) => page.skipped += 1,
            }
        }
        if answer.is_truncated() == Some(true) {
            let next = answer.next_continuation_token().filter(|next| after.is_none_or(|after| after.0 != *next));
            let next = next.ok_or_else(|| {
                failed(Fault::new(Class::Unclear, "a page of the list does not say where the next one begins"))
            })?;
            page.next = Some(Cursor(next.to_owned()));
        }
        Ok(page)
    }
}
