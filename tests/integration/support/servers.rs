//! S3 servers of other projects. `.ci/run` installs them below `target/tools`.

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

use super::repository::tools;
use super::s3::KEYS;

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

pub struct S3rver;

/// Ports that nobody uses at this moment.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

impl Peer {
    /// Starts a program, and waits until it answers on the first of its ports.
    pub fn start(
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

    pub fn client(&self) -> Client {
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
    pub fn versions(&self, bucket: &str, prefix: &str) -> usize {
        let list = self.client().list_object_versions().bucket(bucket).prefix(prefix);
        RUNTIME.block_on(list.send()).unwrap().versions().len()
    }

    /// How many parts of an object on its way there are.
    pub fn parts(&self, bucket: &str, key: &str) -> usize {
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

pub static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());

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
    pub fn start() -> Peer {
        Peer::start(tools().join("node_modules/.bin/s3rver"), 1, ("S3RVER", "S3RVER"), |data, ports| {
            let port = ports[0].to_string();
            ["-d", data, "-a", "127.0.0.1", "-p", &port, "--silent", "--no-vhost-buckets"].map(str::to_owned).into()
        })
    }
}
