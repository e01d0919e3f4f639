//! Servers of others: `SeaweedFS`, which does most of what S3 does; moto, which believes everything; s3rver, which keeps
//! the framing of a chunked body as if it were the body. `.ci/run` installs them below `target/tools`. And the server of
//! `examples/s3-server.rs`.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use rustix::process::{Pid, Signal, kill_process_group};
use sha2::{Digest as _, Sha256};

use super::{KEYS, archive_of, left, noise, with_keys};
use crate::support::program::{Ended, Tl, events, outcomes};
use crate::support::tree;

/// A server that runs, until it is dropped.
pub struct Peer {
    child: Child,
    ports: Vec<u16>,
    /// A key that is good there.
    pub keys: (&'static str, &'static str),
    /// Whatever it keeps. Removed after the server has ended.
    _data: tempfile::TempDir,
}

pub struct Weed;
pub struct Moto;
struct S3rver;

fn tools() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools")
}

/// Ports that nobody uses at this moment.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

impl Peer {
    /// Starts a program, and waits until it answers on the first of its ports.
    fn start(
        program: PathBuf,
        ports: usize,
        keys: (&'static str, &'static str),
        arguments: impl Fn(&str, &[u16]) -> Vec<String>,
    ) -> Self {
        assert!(program.exists(), "{} is missing: .ci/run installs it", program.display());
        let data = tempfile::tempdir().unwrap();
        let ports = free_ports(ports);
        let place = data.path().to_str().unwrap();
        let mut command = Command::new(&program);
        command
            .args(arguments(place, &ports))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", place)
            .env("PYTHONPATH", tools().join("python"))
            .env("AWS_ACCESS_KEY_ID", keys.0)
            .env("AWS_SECRET_ACCESS_KEY", keys.1)
            .current_dir(place)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let mut peer = Self { child: command.spawn().unwrap(), ports, keys, _data: data };
        // It is there in one to three seconds, on a loaded machine later.
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", peer.ports[0])).is_ok() {
                return peer;
            }
            assert_eq!(peer.child.try_wait().unwrap(), None, "{} has ended", program.display());
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{} does not listen", program.display());
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    fn client(&self) -> Client {
        let settings = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .endpoint_url(self.endpoint())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new(self.keys.0, self.keys.1, None, None, "test"))
            .force_path_style(true);
        Client::from_conf(settings.build())
    }

    pub fn create_bucket(&self, name: &str, versions: bool, lock: bool) {
        let client = self.client();
        RUNTIME.block_on(async {
            let create = client.create_bucket().bucket(name);
            // A server may listen before all of it is there.
            let create = create.set_object_lock_enabled_for_bucket(lock.then_some(true));
            let mut tries = 0;
            while let Err(error) = create.clone().send().await {
                tries += 1;
                assert!(tries < 30, "{error:?}");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            if versions {
                let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
                client.put_bucket_versioning().bucket(name).versioning_configuration(enabled).send().await.unwrap();
            }
        });
    }

    pub fn bytes(&self, bucket: &str, key: &str) -> Vec<u8> {
        RUNTIME.block_on(async {
            let answer = self.client().get_object().bucket(bucket).key(key).send().await.unwrap();
            answer.body.collect().await.unwrap().into_bytes().to_vec()
        })
    }

    /// The keys below a prefix.
    pub fn keys_below(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let list = self.client().list_objects_v2().bucket(bucket).prefix(prefix);
        let found = RUNTIME.block_on(list.send()).unwrap();
        found.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }

    /// How many versions there are below a prefix.
    fn versions(&self, bucket: &str, prefix: &str) -> usize {
        let list = self.client().list_object_versions().bucket(bucket).prefix(prefix);
        RUNTIME.block_on(list.send()).unwrap().versions().len()
    }

    /// How many parts of an object on its way there are.
    fn parts(&self, bucket: &str, key: &str) -> usize {
        RUNTIME.block_on(async {
            let uploads = self.client().list_multipart_uploads().bucket(bucket).send().await.unwrap();
            let Some(id) = uploads.uploads().iter().find_map(|upload| upload.upload_id()) else { return 0 };
            let parts = self.client().list_parts().bucket(bucket).key(key).upload_id(id).send().await;
            parts.map_or(0, |parts| parts.parts().len())
        })
    }

    pub fn open_uploads(&self, bucket: &str) -> usize {
        let list = self.client().list_multipart_uploads().bucket(bucket);
        RUNTIME.block_on(list.send()).unwrap().uploads().len()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It takes 20 seconds to end when it is asked to.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process_group(group, Signal::KILL).ok();
        }
        self.child.wait().ok();
        // And leaves sockets behind.
        for entry in std::fs::read_dir("/tmp").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_own = self.ports.iter().any(|port| name.ends_with(&format!("-{port}.sock")));
            if name.starts_with("seaweedfs-") && is_own {
                std::fs::remove_file(entry.path()).ok();
            }
        }
    }
}

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());

impl Weed {
    pub fn start() -> Peer {
        const PORTS: [&str; 10] = [
            "s3.port",
            "s3.port.grpc",
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
            "admin.port",
            "admin.port.grpc",
        ];
        Peer::start(tools().join("python/bin/weed"), PORTS.len(), KEYS, |data, ports| {
            let fixed = [
                format!("-logdir={data}"),
                "mini".into(),
                format!("-dir={data}"),
                "-ip=127.0.0.1".into(),
                "-ip.bind=127.0.0.1".into(),
                "-webdav=false".into(),
                "-admin.ui=false".into(),
                "-s3.port.iceberg=0".into(),
                "-s3.port.lance=0".into(),
                "-master.telemetry=false".into(),
                // By default a typing mistake is a new bucket.
                "-s3.autoCreateBucket=false".into(),
            ];
            let named = PORTS.iter().zip(ports).map(|(name, port)| format!("-{name}={port}"));
            fixed.into_iter().chain(named).collect()
        })
    }
}

impl Moto {
    pub fn start() -> Peer {
        Peer::start(tools().join("python/bin/moto_server"), 1, KEYS, |_, ports| {
            ["-H", "127.0.0.1", "-p", &ports[0].to_string()].map(str::to_owned).into()
        })
    }
}

impl S3rver {
    /// It knows one key alone.
    fn start() -> Peer {
        Peer::start(tools().join("node_modules/.bin/s3rver"), 1, ("S3RVER", "S3RVER"), |data, ports| {
            let port = ports[0].to_string();
            ["-d", data, "-a", "127.0.0.1", "-p", &port, "--silent", "--no-vhost-buckets"].map(str::to_owned).into()
        })
    }
}

/// Delivers `data` to a bucket, and proves it.
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

/// Both ways to send, each read back by another client.
fn both_ways(peer: &Peer, bucket: &str, orders: &[Order]) {
    for (number, order) in orders.iter().enumerate() {
        for size in [SMALL, LARGE] {
            let tl = Tl::new();
            let content = noise(size, number as u64);
            tl.write("data/a", &content);
            let ended = deliver(&tl, peer, bucket, order);
            assert_eq!(ended.code, 0, "{size} bytes, {}: {ended:#?}", order.store);
            archive_of(&peer.bytes(bucket, &format!("some/where/{}", order.key)), &content);
            // Nothing is in the way of the next.
            let delete = peer.client().delete_object().bucket(bucket).key(format!("some/where/{}", order.key));
            RUNTIME.block_on(delete.send()).unwrap();
        }
    }
}

/// The code of the error of a stage.
fn code(ended: &Ended) -> (i32, String) {
    (ended.code, crate::support::program::error_of(&events(&ended.stdout), "deliver"))
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

    // One version, and what is there is left as it is.
    let tl = Tl::new();
    let content = noise(LARGE, 1);
    tl.write("data/a", &content);
    assert_eq!(deliver(&tl, &weed, "vault", &ORDER).code, 0);
    assert_eq!(code(&deliver(&tl, &weed, "vault", &ORDER)), (1, "TL0632".to_owned()));
    assert_eq!((weed.versions("vault", "some/where/object"), weed.open_uploads("vault")), (1, 0));
    archive_of(&weed.bytes("vault", "some/where/object"), &content);
    assert_eq!(deliver(&tl, &weed, "vault", &Order { upload: ", overwrite: true", ..ORDER }).code, 0);
    assert_eq!(weed.versions("vault", "some/where/object"), 2);

    // A lock is there, and holds.
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

    // What a killed writer left is taken back, and what appeared is found.
    let (store, since) = (left::s3("vault", &weed.endpoint()), jiff::Timestamp::now());
    let coming = left::killed_at(store.as_ref(), &content, "coming").unwrap();
    assert_eq!((store.recover(&left::key(), &coming, &left::never()).unwrap(), weed.open_uploads("vault")), (None, 1));
    assert_eq!(store.discard_unfinished(&left::key(), since, &left::never()).unwrap(), 1);
    assert_eq!(weed.open_uploads("vault"), 0);
    for bytes in [&content[..], b"hello"] {
        let said = left::Said::default();
        let stored = left::put(store.as_ref(), bytes, &said).unwrap();
        let coming = said.coming.into_inner().unwrap().unwrap();
        assert_eq!(store.recover(&left::key(), &coming, &left::never()).unwrap(), Some(stored));
    }

    // Refusals.
    let wrong = Order { keys: Some((KEYS.0, "another")), ..ORDER };
    assert_eq!(code(&deliver(&tl, &weed, "plain", &wrong)), (12, "TL0646".to_owned()));
    assert_eq!(code(&deliver(&tl, &weed, "missing", &ORDER)), (10, "TL0658".to_owned()));
}

/// It is killed with some of its parts on the server, which keeps no checksums of parts: their `ETag`s tell.
#[test]
fn an_upload_goes_on_in_seaweedfs() {
    let weed = Weed::start();
    weed.create_bucket("vault", true, false);
    let tl = Tl::new();
    let content = noise(100 << 20, 5);
    tl.write("data/a", &content).write(
        "p.yaml",
        super::faults::pipeline("vault", &weed.endpoint(), super::faults::LIMITS, "", ", resume: true"),
    );
    let mut child = super::keyed(&tl, &["run", "p.yaml"], weed.keys).stdout(Stdio::null()).spawn().unwrap();
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

/// Sealed and sent, fetched again, and opened: nothing of the tree is lost on the way.
#[test]
fn the_odd_tree_goes_there_and_comes_back() {
    assert!(tree::is_root(), "owners, devices and set-uid bits can be restored by root alone");
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

/// Its checksums of objects in parts are those of something else: what it says of itself is held against it.
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

/// It keeps no checksums, and knows neither conditions nor how to take an upload back.
#[test]
fn s3rver() {
    let s3rver = S3rver::start();
    s3rver.create_bucket("vault", false, false);
    both_ways(&s3rver, "vault", &[ORDER, Order { store: ", checksum: md5", ..ORDER }]);
    let tl = Tl::new();
    tl.write("data/a", noise(SMALL, 1));
    let ended = deliver(&tl, &s3rver, "vault", &Order { level: "presence", ..ORDER });
    assert!(ended.code == 0 && outcomes(&events(&ended.stdout)).iter().all(|(_, outcome)| outcome == "success"));

    // What another client sends with its checksum behind the bytes is stored with its framing, and a success.
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
        let found = crate::support::program::error_of(&events(&ended.stdout), "prove");
        assert_eq!((ended.code, found.as_str()), (4, "TL0641"), "{ended:#?}");
    }
}

/// The example, as its comments say to run it.
#[test]
fn the_example() {
    // Cargo builds it with the tests; not with `--test integration` alone.
    let program = std::env::current_exe().unwrap().parent().unwrap().join("../examples/s3-server");
    let keys = ("AKIADEMODEMODEMODEMO", "demo-secret-for-loopback-only");
    let server = Peer::start(program, 1, keys, |data, ports| {
        vec![ports[0].to_string(), "--data".to_owned(), format!("{data}/objects")]
    });
    let tl = Tl::new();
    let example = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/s3");
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
