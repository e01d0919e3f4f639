//! Third-party servers: `SeaweedFS`, which does most of what S3 does; moto, which believes everything; s3rver, which
//! stores the framing of a chunked body as if it were the body. `.ci/run` installs them below `target/tools`. Also the
//! server of `examples/s3-server.rs`.

use std::process::{Command, Stdio};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::support::servers::{Moto, Peer, RUNTIME, S3rver, Weed};
use crate::support::{Ended, KEYS, Tl, archive_of, events, is_root, noise, outcomes, root, tree, uploads, with_keys};

/// Delivers `data` to a bucket and verifies it.
fn deliver(tl: &Tl, peer: &Peer, bucket: &str, more: &Order) -> Ended {
    let Order { key, store, upload, level, keys } = more;
    tl.write(
        "p.yaml",
        format!(
            "version: 1\nname: test\nstores:\n  cloud: {{ uses: s3, with: {{ bucket: {bucket}, prefix: some/where, endpoint: \
             '{}', region: us-east-1, path-style: true, allow-private: true, part-size: 5MiB{store} }} }}\nstages:\n  \
             collect: {{ uses: archive, with: {{ sources: [data] }} }}\n  deliver: {{ needs: collect, uses: upload, with: {{ \
             artifact: '${{{{ needs.collect.outputs.artifact }}}}', store: cloud, key: '{key}'{upload} }} }}\n  prove: {{ \
             needs: deliver, uses: verify, with: {{ object: '${{{{ needs.deliver.outputs.object }}}}', level: {level} }} }}\n",
            peer.endpoint()
        ),
    );
    with_keys(tl, &["run", "p.yaml", "--reporter", "json"], keys.unwrap_or(peer.keys))
}

struct Order {
    key: &'static str,
    store: &'static str,
    upload: &'static str,
    level: &'static str,
    keys: Option<(&'static str, &'static str)>,
}

const ORDER: Order = Order { key: "object", store: "", upload: "", level: "content", keys: None };
const SMALL: usize = 1 << 10;
const LARGE: usize = 12 << 20;

/// Uploads in one piece and in parts, each read back by another client.
fn both_ways(peer: &Peer, bucket: &str, orders: &[Order]) {
    for (number, order) in orders.iter().enumerate() {
        for size in [SMALL, LARGE] {
            let tl = Tl::new();
            let content = noise(size, number as u64);
            tl.write("data/a", &content);
            let ended = deliver(&tl, peer, bucket, order);
            assert_eq!(ended.code, 0, "{size} bytes, {}: {ended:#?}", order.store);
            archive_of(&peer.bytes(bucket, &format!("some/where/{}", order.key)), &content);
            // Leaves the name free for the next one.
            let delete = peer.client().delete_object().bucket(bucket).key(format!("some/where/{}", order.key));
            RUNTIME.block_on(delete.send()).unwrap();
        }
    }
}

/// The code of the error of a stage.
fn code(ended: &Ended) -> (i32, String) {
    (ended.code, crate::support::error_of(&events(&ended.stdout), "deliver"))
}

#[test]
fn seaweedfs() {
    let weed = Weed::start();
    weed.create_bucket("plain", false, false);
    weed.create_bucket("vault", true, false);
    weed.create_bucket("safe", false, true);
    both_ways(
        &weed,
        "plain",
        &[
            ORDER,
            Order { level: "checksum", ..ORDER },
            Order { store: ", checksum: crc32c", level: "checksum", ..ORDER },
            Order { store: ", checksum: sha256", level: "checksum", ..ORDER },
            Order { store: ", checksum: md5", ..ORDER },
            Order { key: "a b+c/ü & ~.tar", store: ", tags: { a: b c }", ..ORDER },
        ],
    );

    // One version, and the existing object stays as it is.
    let tl = Tl::new();
    let content = noise(LARGE, 1);
    tl.write("data/a", &content);
    assert_eq!(deliver(&tl, &weed, "vault", &ORDER).code, 0);
    assert_eq!(code(&deliver(&tl, &weed, "vault", &ORDER)), (1, "TL0632".to_owned()));
    assert_eq!((weed.versions("vault", "some/where/object"), weed.open_uploads("vault")), (1, 0));
    archive_of(&weed.bytes("vault", "some/where/object"), &content);
    assert_eq!(deliver(&tl, &weed, "vault", &Order { upload: ", overwrite: true", ..ORDER }).code, 0);
    assert_eq!(weed.versions("vault", "some/where/object"), 2);

    // The object is locked, and the lock works.
    let lock = Order { upload: ", object-lock: { mode: compliance, retain-for: 30d }", level: "checksum", ..ORDER };
    for (size, key) in [(SMALL, "small"), (LARGE, "large")] {
        tl.write("data/a", noise(size, 2));
        let ended = deliver(&tl, &weed, "safe", &Order { key, ..lock });
        assert_eq!(ended.code, 0, "{ended:#?}");
        let key = format!("some/where/{key}");
        let client = weed.client();
        RUNTIME.block_on(async {
            let head = client.head_object().bucket("safe").key(&key).send().await.unwrap();
            assert!(head.object_lock_retain_until_date().is_some());
            let version = head.version_id().unwrap();
            let removed = client.delete_object().bucket("safe").key(&key).version_id(version).send().await;
            assert!(removed.is_err(), "it could be removed");
        });
    }
    assert_eq!(code(&deliver(&tl, &weed, "plain", &lock)), (1, "TL0649".to_owned()));

    // What a killed writer left is removed, and what appeared is found.
    let (store, since) = (uploads::s3("vault", &weed.endpoint()), jiff::Timestamp::now());
    let coming = uploads::killed_at(store.as_ref(), &content, "coming").unwrap();
    assert_eq!(
        (store.recover(&uploads::key(), &coming, &uploads::never()).unwrap(), weed.open_uploads("vault")),
        (None, 1)
    );
    assert_eq!(store.discard_unfinished(&uploads::key(), since, &uploads::never()).unwrap(), 1);
    assert_eq!(weed.open_uploads("vault"), 0);
    for bytes in [&content[..], b"hello"] {
        let said = uploads::StepJournal::default();
        let stored = uploads::put(store.as_ref(), bytes, &said).unwrap();
        let coming = said.pending.into_inner().unwrap().unwrap();
        assert_eq!(store.recover(&uploads::key(), &coming, &uploads::never()).unwrap(), Some(stored));
    }

    // Refusals.
    let wrong = Order { keys: Some((KEYS.0, "another")), ..ORDER };
    assert_eq!(code(&deliver(&tl, &weed, "plain", &wrong)), (12, "TL0646".to_owned()));
    assert_eq!(code(&deliver(&tl, &weed, "missing", &ORDER)), (10, "TL0658".to_owned()));
}

/// It is killed while some parts are on the server. The server keeps no checksums of parts, so their `ETag`s are
/// compared.
#[test]
fn an_upload_goes_on_in_seaweedfs() {
    let weed = Weed::start();
    weed.create_bucket("vault", true, false);
    let tl = Tl::new();
    let content = noise(100 << 20, 5);
    tl.write("data/a", &content).write(
        "p.yaml",
        super::delivery::pipeline("vault", &weed.endpoint(), super::delivery::LIMITS, "", ", resume: true"),
    );
    let mut child = crate::support::keyed(&tl, &["run", "p.yaml"], weed.keys).stdout(Stdio::null()).spawn().unwrap();
    while weed.parts("vault", "object") < 3 {
        assert_eq!(child.try_wait().unwrap(), None, "it is over too early");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let left = weed.parts("vault", "object");
    let ended = with_keys(&tl, &["run", "--resume"], weed.keys);
    assert_eq!(ended.code, 0, "{ended:#?}");
    archive_of(&weed.bytes("vault", "object"), &content);
    assert_eq!((weed.versions("vault", "object"), weed.open_uploads("vault")), (1, 0));
    let log = tl.ok(&["audit", "show", "--type", "upload.resumed", "--json"]).stdout;
    let record: serde_json::Value = serde_json::from_str(&log).unwrap();
    assert!(record["data"]["parts"].as_u64().unwrap() >= left as u64, "{left}: {log}");
}

/// Sealed and sent, fetched and opened: the tree comes back complete.
#[test]
fn the_odd_tree_goes_there_and_comes_back() {
    assert!(is_root(), "owners, devices and set-uid bits can be restored by root alone");
    let weed = Weed::start();
    weed.create_bucket("vault", true, false);
    let tl = Tl::new();
    // Not on a tmpfs: it may lack extended attributes.
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = root.path().join("data");
    tree::build(&data, 10_000);
    let before = tree::snapshot(&data);
    tl.ok(&["key", "new", "-o", "identity.txt", "--recipients", "recipients.txt"]);
    tl.write(
        "p.yaml",
        format!(
            "version: 1\nname: test\nstores:\n  cloud: {{ uses: s3, with: {{ bucket: vault, endpoint: '{}', region: us-east-1, \
             path-style: true, allow-private: true, part-size: 5MiB }} }}\n  near: {{ uses: dir, with: {{ path: near, create: true \
             }} }}\nstages:\n  collect: {{ uses: archive, with: {{ sources: ['{}'] }} }}\n  seal: {{ needs: collect, uses: \
             encrypt, with: {{ artifact: '${{{{ needs.collect.outputs.artifact }}}}', recipients-file: recipients.txt }} }}\n  \
             deliver: {{ needs: seal, uses: upload, with: {{ artifact: '${{{{ needs.seal.outputs.artifact }}}}', store: cloud, \
             key: odd }} }}\n  prove: {{ needs: deliver, uses: verify, with: {{ object: '${{{{ needs.deliver.outputs.object \
             }}}}' }} }}\n  fetch: {{ needs: prove, uses: download, with: {{ store: cloud, key: odd }} }}\n  keep: {{ needs: \
             fetch, uses: upload, with: {{ artifact: '${{{{ needs.fetch.outputs.artifact }}}}', store: near, key: odd }} }}\n",
            weed.endpoint(),
            data.display()
        ),
    );
    let ended = with_keys(&tl, &["run", "p.yaml"], weed.keys);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(std::fs::read(tl.file("near/odd")).unwrap(), weed.bytes("vault", "odd"));
    let back = root.path().join("back");
    std::fs::create_dir(&back).unwrap();
    let line = format!(
        "{} open -i identity.txt near/odd | tar --xattrs --xattrs-include='*' --same-owner --warning=no-timestamp -xpf - -C '{}'",
        env!("CARGO_BIN_EXE_tl"),
        back.display()
    );
    let opened = Command::new("bash").args(["-eo", "pipefail", "-c", &line]).current_dir(tl.path()).status().unwrap();
    assert!(opened.success());
    tree::compare(&before, &tree::snapshot(&back.join(data.strip_prefix("/").unwrap())));
}

/// Its checksums of multipart objects are those of something else. tl must detect the mismatch.
#[test]
fn moto() {
    let moto = Moto::start();
    moto.create_bucket("vault", true, false);
    both_ways(&moto, "vault", &[Order { store: ", checksum: md5", ..ORDER }]);
    let tl = Tl::new();
    tl.write("data/a", noise(SMALL, 1));
    let small = deliver(&tl, &moto, "vault", &Order { key: "small", level: "checksum", ..ORDER });
    assert_eq!(small.code, 0, "{small:#?}");
    tl.write("data/a", noise(LARGE, 1));
    let large = deliver(&tl, &moto, "vault", &Order { key: "large", ..ORDER });
    assert_eq!(code(&large), (1, "TL0647".to_owned()));
    assert!(large.stdout.contains("the store has crc64nvme"), "{large:#?}");
    assert_eq!((moto.versions("vault", "some/where/large"), moto.open_uploads("vault")), (0, 0));
}

/// It keeps no checksums, and supports neither conditions nor aborting an upload.
#[test]
fn s3rver() {
    let s3rver = S3rver::start();
    s3rver.create_bucket("vault", false, false);
    both_ways(&s3rver, "vault", &[ORDER, Order { store: ", checksum: md5", ..ORDER }]);
    let tl = Tl::new();
    tl.write("data/a", noise(SMALL, 1));
    let ended = deliver(&tl, &s3rver, "vault", &Order { level: "presence", ..ORDER });
    assert!(ended.code == 0 && outcomes(&events(&ended.stdout)).iter().all(|(_, outcome)| outcome == "success"));

    // Another client that sends its checksum as a trailer gets a success, and the framing is stored.
    let content = noise(SMALL, 3);
    tl.write("content", &content);
    RUNTIME.block_on(async {
        let body = aws_sdk_s3::primitives::ByteStream::from_path(tl.file("content")).await.unwrap();
        s3rver.client().put_object().bucket("vault").key("framed").body(body).send().await.unwrap();
    });
    let digest: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    for level in ["presence", "content"] {
        tl.write(
            "v.yaml",
            format!(
                "version: 1\nname: test\nstores:\n  cloud: {{ uses: s3, with: {{ bucket: vault, endpoint: '{}', region: us-east-1, \
                 path-style: true, allow-private: true }} }}\nstages:\n  prove:\n    uses: verify\n    with: {{ level: {level}, \
                 object: {{ store: cloud, key: framed, uri: x, size: {SMALL}, digest: 'sha256:{digest}' }} }}\n",
                s3rver.endpoint()
            ),
        );
        let ended = with_keys(&tl, &["run", "v.yaml", "--reporter", "json"], s3rver.keys);
        let found = crate::support::error_of(&events(&ended.stdout), "prove");
        assert_eq!((ended.code, found.as_str()), (4, "TL0641"), "{ended:#?}");
    }
}

/// The example, run as its comments say.
#[test]
fn the_example() {
    // Cargo builds it with all tests, but not with `--test integration` alone.
    let program = std::env::current_exe().unwrap().parent().unwrap().join("../examples/s3-server");
    let keys = ("AKIADEMODEMODEMODEMO", "demo-secret-for-loopback-only");
    let server = Peer::start(program, 1, keys, |data, ports| {
        vec![ports[0].to_string(), "--data".to_owned(), format!("{data}/objects")]
    });
    let tl = Tl::new();
    let example = root().join("examples/s3");
    for name in ["sample/README.txt", "sample/orders.csv"] {
        tl.write(&format!("s3/{name}"), std::fs::read(example.join(name)).unwrap());
    }
    let pipeline = std::fs::read_to_string(example.join("pipeline.yaml")).unwrap();
    assert!(pipeline.contains("http://127.0.0.1:9000"));
    tl.write("s3/pipeline.yaml", pipeline.replace("http://127.0.0.1:9000", &server.endpoint()));
    let ended = with_keys(&tl, &["run", "s3/pipeline.yaml", "--reporter", "json"], keys);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(ended.stdout.contains("demo/"), "the prefix is part of the key");
    let refused = with_keys(&tl, &["run", "s3/pipeline.yaml"], (keys.0, "another"));
    assert_eq!(refused.code, 12, "{refused:#?}");
}
