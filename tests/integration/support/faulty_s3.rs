//! An S3 server in memory that behaves like S3 and fails on request. It uses plain TCP so that it can cut, stall and
//! lie, with one thread for each connection. It checks signatures only on request.

mod bucket;
mod checksum;
mod connection;
mod http;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

pub use bucket::Version;
use bucket::{Bucket, Buckets};
pub use rules::{Action, Chaos, Op, Rule, Work};

/// A versioned bucket. Every server has it.
pub const VAULT: &str = "vault";
/// A bucket with object lock. Every server has it.
pub const SAFE: &str = "safe";
/// A bucket without versions. Every server has it.
pub const PLAIN: &str = "plain";

/// A received request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub op: Op,
    pub part: Option<u32>,
    /// The status of the answer; 0 if there was none.
    pub status: u16,
}

/// Starts servers.
pub struct Fault;

/// A running server. Stops when dropped.
pub struct Server {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    stopped: AtomicBool,
}

#[derive(Default)]
struct State {
    buckets: Buckets,
    script: rules::Script,
    seen: Vec<Seen>,
    /// The only accepted key, and whether its secret is right.
    key: Option<(String, bool)>,
    /// Until when a client was asked to wait.
    away: HashMap<(Op, Option<u32>), Instant>,
    hurried: usize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

impl Fault {
    pub fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        for (name, is_versioned, locks) in [(VAULT, true, false), (SAFE, true, true), (PLAIN, false, false)] {
            let bucket = Bucket::new(is_versioned, locks);
            shared.state().buckets.insert(name.to_owned(), bucket);
        }
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if own.is_stopped() {
                    break;
                }
                let (Ok(stream), own) = (stream, Arc::clone(&own)) else { continue };
                std::thread::spawn(move || connection::serve(stream, &own));
            }
        });
        Server { port, shared }
    }
}

impl Server {
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn rule(&self, rule: Rule) -> &Self {
        self.shared.state().script.add(rule);
        self
    }

    pub fn chaos(&self, chaos: Chaos) -> &Self {
        self.shared.state().script.set_chaos(chaos);
        self
    }

    /// Refuses every other key, and this one too if its secret is wrong.
    pub fn accept_key(&self, id: &str, is_secret_good: bool) {
        self.shared.state().key = Some((id.to_owned(), is_secret_good));
    }

    pub fn remove_bucket(&self, bucket: &str) {
        self.shared.state().buckets.remove(bucket);
    }

    /// The objects of a bucket, each with its versions, oldest first.
    pub fn objects(&self, bucket: &str) -> Vec<(String, Vec<Version>)> {
        self.shared.state().buckets.get(bucket).map(Bucket::objects).unwrap_or_default()
    }

    /// How many multipart uploads are open, in all buckets.
    pub fn open_uploads(&self) -> usize {
        self.shared.state().buckets.values().map(Bucket::open_uploads).sum()
    }

    /// Sets the server's clock, which it reports and which dates new uploads.
    pub fn set_ahead(&self, seconds: i64) {
        let ahead = jiff::SignedDuration::from_secs(seconds);
        self.shared.state().buckets.values_mut().for_each(|bucket| bucket.ahead = ahead);
    }

    /// Begins an upload as another client, dated this many seconds ago. Returns its id.
    pub fn begin_upload(&self, bucket: &str, key: &str, seconds_ago: i64) -> String {
        self.shared.state().buckets.get_mut(bucket).unwrap().begin_upload(key, seconds_ago)
    }

    /// The ids of the open uploads in a bucket, oldest first.
    pub fn open_ids(&self, bucket: &str) -> Vec<String> {
        self.shared.state().buckets[bucket].open_ids()
    }

    /// Ends all faults.
    pub fn heal(&self) -> &Self {
        self.shared.state().script = rules::Script::default();
        self
    }

    /// Limits how many parts one answer lists.
    pub fn set_page(&self, parts: usize) {
        self.shared.state().buckets.values_mut().for_each(|bucket| bucket.page = parts);
    }

    /// Changes a part of the oldest upload of a bucket, as a new upload of the part would. Removes a part that becomes
    /// empty.
    pub fn change_part(&self, bucket: &str, number: u32, change: impl Fn(&mut Vec<u8>)) {
        self.shared.state().buckets.get_mut(bucket).unwrap().change_part(number, change);
    }

    /// Aborts all uploads, as another client.
    pub fn abort_all(&self) {
        self.shared.state().buckets.values_mut().for_each(Bucket::abort_all);
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    pub fn count(&self, op: Op) -> usize {
        self.requests().iter().filter(|seen| seen.op == op).count()
    }

    /// The faults that happened, in order.
    pub fn faults(&self) -> Vec<(Op, Option<u32>, Action)> {
        self.shared.state().script.done.clone()
    }

    /// How many requests came before the time given by `Retry-After`.
    pub fn hurried(&self) -> usize {
        self.shared.state().hurried
    }

    /// Changes the stored bytes of an object, in every version and bucket.
    pub fn flip_at_rest(&self, key: &str, byte: usize) {
        let mut state = self.shared.state();
        let versions = state.buckets.values_mut().flat_map(|bucket| &mut bucket.versions);
        let mut changed = 0;
        for version in versions.filter(|version| version.key == key) {
            version.bytes[byte] ^= 1;
            changed += 1;
        }
        assert!(changed > 0, "there is no object {key}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for the next connection.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}
