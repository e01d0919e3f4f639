//! Servers of others: the suite, with what each lacks.

use super::conformance::{Lack, Subject, fill};
use super::faults::LONGEST_KEY;
use crate::storage::s3::left::s3;
use crate::storage::s3::peers::{Moto, Peer, Weed};

fn conforms(peer: &Peer, bucket: &str, lacks: &[Lack]) {
    let store = s3(bucket, &peer.endpoint());
    Subject { store, lacks, longest_key: LONGEST_KEY, fill: &fill }.conforms();
}

#[test]
fn seaweedfs_conforms() {
    let weed = Weed::start();
    weed.create_bucket("plain", false, false);
    weed.create_bucket("safe", true, true);
    // It takes `\` for `/`: such an object is kept, and listed under another key.
    let backslash = Lack::Key("a\\b");
    // It keeps objects in folders, and lists a folder before the file `folder-`.
    conforms(&weed, "plain", &[Lack::Lock, Lack::Order, backslash]);
    conforms(&weed, "safe", &[Lack::Order, backslash]);
}

#[test]
fn moto_conforms() {
    let moto = Moto::start();
    moto.create_bucket("plain", false, false);
    moto.create_bucket("safe", true, true);
    // It asks for a header that S3 does not need before it locks an object.
    // And of two writers at once, both may find that there is no object.
    conforms(&moto, "plain", &[Lack::Lock, Lack::Race]);
    conforms(&moto, "safe", &[Lack::Lock, Lack::Race]);
}
