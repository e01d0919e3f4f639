//! A pipeline that delivers to a bucket and proves it, and what the bucket then holds.

use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use crate::support::archive_of;
use crate::support::faulty_s3::{Server, Version};

/// Nothing waits long where everything answers; a loaded machine is no fault.
pub const LIMITS: &str = "request-timeout: 20s, minimum-speed: 1MiB, retry-for: 4s";

pub fn pipeline(bucket: &str, endpoint: &str, limits: &str, store: &str, upload: &str) -> String {
    format!(
        "version: 1\nname: test\nstores:\n  cloud: {{ uses: s3, with: {{ bucket: {bucket}, endpoint: '{endpoint}', region: \
         us-east-1, path-style: true, allow-private: true, part-size: 5MiB, {limits}{store} }} }}\nstages:\n  collect: {{ \
         uses: archive, with: {{ sources: [data] }} }}\n  deliver: {{ needs: collect, uses: upload, with: {{ artifact: \
         '${{{{ needs.collect.outputs.artifact }}}}', store: cloud, key: object{upload} }} }}\n  prove: {{ needs: deliver, \
         uses: verify, with: {{ object: '${{{{ needs.deliver.outputs.object }}}}', level: content }} }}\n"
    )
}

/// Code and text of the error of the first stage that failed.
pub fn failure(events: &[Json]) -> (String, String) {
    let ended = events.iter().find(|event| event["event"] == "stage-ended" && event["outcome"] == "failure");
    ended.map_or_else(Default::default, |ended| {
        (ended["error"]["code"].as_str().unwrap_or_default().to_owned(), ended["error"].to_string())
    })
}

/// All versions of objects that are not delete markers.
pub fn living(server: &Server, bucket: &str) -> Vec<Version> {
    let versions = server.objects(bucket).into_iter().flat_map(|(_, versions)| versions);
    versions.filter(|version| !version.is_marker).collect()
}

/// The object is there once, and is the archive of what was collected; nothing is left beside it.
pub fn whole(server: &Server, bucket: &str, content: &[u8], events: &[Json]) {
    let versions = living(server, bucket);
    assert_eq!(versions.len(), 1, "{:?}", server.faults());
    assert_eq!(server.open_uploads(), 0, "{:?}", server.faults());
    let kept = &versions[0].bytes;
    let sha256: String = Sha256::digest(kept).iter().map(|byte| format!("{byte:02x}")).collect();
    let outputs = events.iter().find(|event| event["event"] == "stage-ended" && event["stage"] == "deliver").unwrap();
    assert!(outputs.to_string().contains(&sha256), "the digest that was told is not that of what is kept");
    archive_of(kept, content);
}
