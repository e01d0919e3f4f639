//! Third-party servers: the suite, with what each lacks.

use super::conformance::{LONGEST_S3_KEY, Lack, Subject, fill};
use crate::support::servers::{Moto, Peer, Weed};
use crate::support::uploads::s3;

fn conforms(peer: &Peer, bucket: &str, lacks: &[Lack]) {
    let store = s3(bucket, &peer.endpoint());
    Subject { store, lacks, longest_key: LONGEST_S3_KEY, fill: &fill }.conforms();
}

#[test]
fn seaweedfs_conforms() {
    let weed = Weed::start();
    weed.create_bucket("plain", false, false);
    weed.create_bucket("safe", true, true);
    // It treats `\` as `/`: such an object is stored, but listed under another key.
    let backslash = Lack::Key("a\\b");
    // It stores objects in folders, and lists a folder before the file `folder-`.
    conforms(&weed, "plain", &[Lack::Lock, Lack::Order, backslash]);
    conforms(&weed, "safe", &[Lack::Order, backslash]);
}

#[test]
fn moto_conforms() {
    let moto = Moto::start();
    moto.create_bucket("plain", false, false);
    moto.create_bucket("safe", true, true);
    // To lock an object, it requires a header that S3 does not.
    // And two concurrent writers may both see no object.
    conforms(&moto, "plain", &[Lack::Lock, Lack::Race]);
    conforms(&moto, "safe", &[Lack::Lock, Lack::Race]);
}
