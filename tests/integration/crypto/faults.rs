//! C19: devices that are slow, interrupted, or failing. Each schedule has a seed, which is printed on failure.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use timelocker::crypto::{Error, Identity, open, seal};

use super::sample::{key, noise, opened, sealed, threads};

/// Transfers a few bytes at a time, gets interrupted, and fails for good at some call.
struct Faulty<T> {
    inner: T,
    random: fastrand::Rng,
    calls_left: usize,
}

impl<T> Faulty<T> {
    fn new(inner: T, seed: u64, calls_left: usize) -> Self {
        Self { inner, random: fastrand::Rng::with_seed(seed), calls_left }
    }

    /// How many of these bytes this call may transfer.
    fn allow(&mut self, wanted: usize) -> io::Result<usize> {
        self.calls_left = self.calls_left.checked_sub(1).ok_or_else(|| io::Error::other("the device broke"))?;
        match self.random.u8(..8) {
            0 => Err(ErrorKind::Interrupted.into()),
            1 => Ok(wanted.min(1)),
            2..5 => Ok(self.random.usize(..=wanted).max(wanted.min(1))),
            _ => Ok(wanted),
        }
    }
}

impl<R: Read> Read for Faulty<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.allow(buffer.len())?;
        self.inner.read(&mut buffer[..length])
    }
}

impl<W: Write> Write for Faulty<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = self.allow(buffer.len())?;
        self.inner.write(&buffer[..length])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Turns a hang of the pipeline into a test failure.
fn without_deadlock<T: Send + 'static>(what: String, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    let worker = thread::spawn(move || done.send(work()));
    match result.recv_timeout(Duration::from_mins(1)) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what} hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => panic!("{what} panicked: {:?}", worker.join()),
    }
}

fn broke(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.to_string() == "the device broke")
}

#[test]
fn slow_and_failing_devices_give_the_same_bytes_or_a_clean_error() {
    let identity = Identity::generate();
    let (mut whole, mut failed) = (0, 0);
    for seed in 0..500 {
        let mut random = fastrand::Rng::with_seed(seed);
        let largest = [100, 200_000, 200_000, 2_500_000][random.usize(..4)];
        let plain = noise(random.usize(..largest));
        let limit = |random: &mut fastrand::Rng| if random.bool() { usize::MAX } else { random.usize(..20) };
        let limits = [(); 4].map(|()| limit(&mut random));
        let count = random.usize(1..=4);
        let (identity, expected) = (identity.clone(), plain.clone());
        let (file, sealing, released, opening) = without_deadlock(format!("schedule {seed}"), move || {
            let mut file = Vec::new();
            let sealing = seal(
                &[identity.recipient()],
                &mut Faulty::new(&*plain, seed, limits[0]),
                &mut Faulty::new(&mut file, seed + 1, limits[1]),
                threads(count),
            );
            let good = sealed(&plain, &[identity.recipient()], 1);
            let mut released = Vec::new();
            let opening = open(
                &key(&identity),
                &mut Faulty::new(&*good, seed + 2, limits[2]),
                &mut Faulty::new(&mut released, seed + 3, limits[3]),
                threads(count),
            );
            let file = sealing.is_ok().then(|| opened(&file, &key(&identity), 1).0);
            (file, sealing, released, opening)
        });
        match &sealing {
            Ok(_) => assert!(file.is_some_and(|plain| plain == expected), "schedule {seed}"),
            Err(error) => assert!(broke(error), "schedule {seed}: {error:?}"),
        }
        match &opening {
            Ok(_) => assert!(released == expected, "schedule {seed}"),
            Err(error) => assert!(broke(error) && expected.starts_with(&released), "schedule {seed}: {error:?}"),
        }
        for ok in [sealing.is_ok(), opening.is_ok()] {
            *(if ok { &mut whole } else { &mut failed }) += 1;
        }
    }
    println!("C19: 500 schedules, {whole} came through, {failed} failed cleanly");
    assert!(whole > 200 && failed > 200, "the schedules exercise both");
}

/// A writer that fails at its n-th call, for every n: at the header, the nonce, and each batch.
#[test]
fn every_failing_write_is_reported() {
    struct Failing(usize);
    impl Write for Failing {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or_else(|| io::Error::other("the device broke"))?;
            Ok(buffer.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let identity = Identity::generate();
    for calls in 0..22 {
        for count in [1, 2, 8] {
            let to = identity.recipient();
            let result = without_deadlock(format!("write {calls}"), move || {
                seal(&[to], &mut io::repeat(7).take(20 << 20), &mut Failing(calls), threads(count))
            });
            assert!(result.as_ref().is_err_and(broke), "write {calls}: {result:?}");
        }
    }
}

/// An endless input: it stops only if the writer's failure reaches the reader.
#[test]
fn a_failing_writer_stops_an_endless_reader() {
    let to = Identity::generate().recipient();
    let result = without_deadlock("an endless input".to_owned(), move || {
        seal(&[to], &mut io::repeat(7), &mut Faulty::new(io::sink(), 1, 30), threads(2))
    });
    assert!(result.as_ref().is_err_and(broke), "{result:?}");
}

/// Damage in an endless file: what a worker finds must stop the reader.
#[test]
fn damage_stops_an_endless_reader() {
    let identity = Identity::generate();
    let file = sealed(b"short", &[identity.recipient()], 1);
    let (released, result) = without_deadlock("an endless file".to_owned(), move || {
        let mut released = Vec::new();
        let mut input = (&*file).chain(io::repeat(0));
        let result = open(&key(&identity), &mut input, &mut released, threads(2));
        (released, result)
    });
    assert!(matches!(result, Err(Error::Tampered { chunk: 0 })), "{result:?}");
    assert!(released.is_empty());
}

#[test]
fn an_error_that_is_no_interruption_ends_it() {
    struct WouldBlock(usize);
    impl Read for WouldBlock {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(ErrorKind::WouldBlock)?;
            buffer.fill(1);
            Ok(buffer.len())
        }
    }
    for reads in 0..40 {
        let to = Identity::generate().recipient();
        let result = seal(&[to], &mut WouldBlock(reads), &mut io::sink(), threads(2));
        assert!(matches!(&result, Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock), "{result:?}");
    }
}

#[test]
fn a_panicking_device_does_not_hang_the_pipeline() {
    struct Panics;
    impl Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("a reader panics")
        }
    }
    impl Write for Panics {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            if buffer.len() > 1000 { panic!("a writer panics") } else { Ok(buffer.len()) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let to = Identity::generate().recipient();
    let panicked = |work: Box<dyn FnOnce() + Send>| {
        without_deadlock("a panic".to_owned(), move || {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err()
        })
    };
    assert!(panicked(Box::new(move || {
        seal(&[to], &mut Panics, &mut io::sink(), threads(2)).ok();
    })));
    assert!(panicked(Box::new(move || {
        seal(&[to], &mut io::repeat(1), &mut Panics, threads(2)).ok();
    })));
}
