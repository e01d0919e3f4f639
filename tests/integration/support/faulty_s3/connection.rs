//! One connection: reads requests and answers them as the rules demand.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Shared;
use super::bucket::{Twist, flip};
use super::http::{Answer, Head};
use super::rules::{Action, Op, Work};
use super::{Seen, State};

/// What to do with the connection next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Next,
    End,
}

pub fn serve(stream: TcpStream, shared: &Shared) {
    // A client that disconnects is not the server's fault.
    let _ended: io::Result<()> = (|| {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        while !shared.is_stopped() {
            let Some(head) = Head::read(&mut reader)? else { break };
            let request = Request::new(head, &stream, shared);
            if request.answer(&mut reader)? == Then::End {
                break;
            }
        }
        Ok(())
    })();
}

struct Request<'a> {
    head: Head,
    op: Op,
    part: Option<u32>,
    bucket: String,
    key: String,
    stream: &'a TcpStream,
    shared: &'a Shared,
}

impl<'a> Request<'a> {
    fn new(head: Head, stream: &'a TcpStream, shared: &'a Shared) -> Self {
        let path = head.path.trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let part = head.query("partNumber").and_then(|number| number.parse().ok());
        let op = op(&head, &key);
        Self { head, op, part, bucket, key, stream, shared }
    }

    fn answer(&self, reader: &mut BufReader<TcpStream>) -> io::Result<Then> {
        let action = {
            let mut state = self.shared.state();
            if state.away.get(&(self.op, self.part)).is_some_and(|until| Instant::now() < *until) {
                state.hurried += 1;
            }
            state.script.next(self.op, self.part)
        };
        match action {
            Some(Action::ResetBefore) => return self.reset(),
            Some(Action::Early(status, code)) => {
                // The client's data is never read, so closing resets the connection.
                return self.send(&Answer::error(status, code), Then::End);
            }
            Some(Action::NeverRead) => return self.hang(),
            _ => {}
        }
        if self.head.waits_for_100() {
            (&*self.stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        match action {
            Some(Action::ResetMiddle) => {
                io::copy(&mut reader.take(self.head.length() / 2), &mut io::sink())?;
                return self.reset();
            }
            Some(Action::SlowRead) => return self.read_slowly(reader),
            _ => {}
        }
        let body = self.head.body(reader)?;
        match action {
            Some(Action::Close) => Ok(self.close()),
            Some(Action::Silence) => self.hang(),
            Some(action) => match self.instead(action) {
                Some(answer) => self.send(&answer, self.next()),
                None => self.bent(body, action),
            },
            None => {
                let answer = self.work(body, Twist::Nothing);
                self.send(&answer, self.next())
            }
        }
    }

    fn next(&self) -> Then {
        if self.head.closes() { Then::End } else { Then::Next }
    }

    /// An answer given instead of doing the work.
    fn instead(&self, action: Action) -> Option<Answer> {
        let has_checksum = || self.head.headers.iter().any(|(name, _)| name.starts_with("x-amz-checksum-"));
        let answer = match action {
            Action::Error(status, code, headers) => Answer::error(status, code).with_all(headers),
            Action::RetryAfter(seconds) => {
                let until = Instant::now() + Duration::from_secs(seconds);
                self.shared.state().away.insert((self.op, self.part), until);
                Answer::error(503, "SlowDown").with("retry-after", seconds.to_string())
            }
            Action::Skewed(seconds) => {
                let time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
                Answer::error(403, "RequestTimeTooSkewed").with("date", super::http::date(time))
            }
            Action::Html(status) => Answer::html(status),
            Action::OkError(code) => Answer { status: 200, ..Answer::error(500, code) },
            Action::RefuseChecksums(status, code) if has_checksum() => Answer::error(status, code),
            _ => return None,
        };
        Some(answer)
    }

    /// Does the work, possibly with a deviation.
    fn bent(&self, body: Vec<u8>, action: Action) -> io::Result<Then> {
        let twist = match action {
            Action::StoreFlipped => Twist::FlippedAtRest,
            Action::Damage => Twist::DamagedOnArrival,
            Action::IgnoreCondition => Twist::IgnoresCondition,
            Action::IgnoreChecksums => Twist::IgnoresChecksums,
            Action::DropMetadata => Twist::DropsMetadata,
            _ => Twist::Nothing,
        };
        let is_undone = matches!(
            action,
            Action::OkEmpty(Work::Undone) | Action::OkCut(Work::Undone) | Action::OkHalf(Work::Undone)
        );
        let answer = if is_undone {
            Answer::new(200).xml("<CompleteMultipartUploadResult><Bucket>x</Bucket></CompleteMultipartUploadResult>")
        } else {
            self.work(body, twist)
        };
        if answer.status >= 300 {
            return self.send(&answer, self.next());
        }
        self.distorted(answer, action)
    }

    /// Sends an answer, possibly distorted.
    fn distorted(&self, mut answer: Answer, action: Action) -> io::Result<Then> {
        let is_checksum = |name: &str| name.starts_with("x-amz-checksum-") && name != "x-amz-checksum-type";
        match action {
            Action::Lost => return Ok(self.close()),
            Action::LostInSilence => return self.hang(),
            Action::Cut | Action::Stall | Action::OkCut(_) => return self.send_half(&answer, action == Action::Stall),
            Action::SlowAnswer(milliseconds) => {
                self.seen(answer.status);
                (&*self.stream).write_all(&answer.start(true))?;
                pause(milliseconds);
                (&*self.stream).write_all(&answer.body)?;
                return Ok(self.next());
            }
            Action::Spaces(times) => return self.send_after_spaces(answer, times),
            Action::CloseAfter => {
                self.send(&answer, Then::Next)?;
                return Ok(Then::End);
            }
            Action::Late(milliseconds) => pause(milliseconds),
            Action::Flip => flip(&mut answer.body),
            Action::OkEmpty(_) => answer.body.clear(),
            Action::OkHalf(_) => answer.body.truncate(answer.body.len() / 2),
            Action::NoEtag => answer = answer.without(|name| name == "etag"),
            Action::WrongEtag => {
                answer = answer.without(|name| name == "etag");
                answer = answer.with("etag", "\"00000000000000000000000000000000\"");
            }
            Action::WrongChecksum => answer
                .headers
                .iter_mut()
                .filter(|(name, _)| is_checksum(name))
                .for_each(|(_, value)| "AAAAAAAAAAA=".clone_into(value)),
            Action::Twice => answer.headers.extend(answer.headers.clone()),
            _ => {}
        }
        self.send(&answer, self.next())
    }

    fn work(&self, body: Vec<u8>, twist: Twist) -> Answer {
        let mut state = self.shared.state();
        if let Err(refused) = self.authorised(&state) {
            return refused;
        }
        match state.buckets.get_mut(&self.bucket) {
            Some(bucket) => bucket.answer(self.op, &self.key, &self.head, body, twist),
            None => Answer::error(404, "NoSuchBucket"),
        }
    }

    fn authorised(&self, state: &State) -> Result<(), Answer> {
        let Some((id, is_secret_good)) = &state.key else { return Ok(()) };
        let Some(authorization) = self.head.header("authorization") else {
            return Err(Answer::error(403, "AccessDenied"));
        };
        if !authorization.contains(&format!("Credential={id}/")) {
            return Err(Answer::error(403, "InvalidAccessKeyId"));
        }
        if *is_secret_good { Ok(()) } else { Err(Answer::error(403, "SignatureDoesNotMatch")) }
    }

    fn seen(&self, status: u16) {
        self.shared.state().seen.push(Seen { op: self.op, part: self.part, status });
    }

    fn send(&self, answer: &Answer, then: Then) -> io::Result<Then> {
        self.seen(answer.status);
        let mut answer = answer.clone();
        if self.head.method == "HEAD" {
            answer.announced.get_or_insert(answer.body.len());
            answer.body.clear();
        }
        answer.write(&mut &*self.stream, then == Then::Next)?;
        Ok(then)
    }

    fn send_half(&self, answer: &Answer, then_hang: bool) -> io::Result<Then> {
        self.seen(answer.status);
        let half = if self.head.method == "HEAD" { 0 } else { answer.body.len() / 2 };
        // An answer without a body is cut in its headers.
        let mut bytes = answer.start(true);
        if answer.body.is_empty() {
            bytes.truncate(bytes.len() / 2);
        }
        bytes.extend(&answer.body[..half]);
        (&*self.stream).write_all(&bytes)?;
        if then_hang { self.wait() } else { Ok(Then::End) }
    }

    fn send_after_spaces(&self, answer: Answer, times: u32) -> io::Result<Then> {
        self.seen(answer.status);
        let spaces = usize::try_from(times).unwrap_or(usize::MAX);
        let announced = Some(answer.body.len() + spaces);
        let mut stream = self.stream;
        // White space may precede an XML document only if it has no declaration.
        let start = answer.body.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let (declaration, rest) = answer.body.split_at(start);
        stream.write_all(&Answer { announced, ..answer.clone() }.start(true))?;
        stream.write_all(declaration)?;
        for _ in 0..times {
            pause(100);
            stream.write_all(b" ")?;
        }
        stream.write_all(rest)?;
        Ok(self.next())
    }

    fn close(&self) -> Then {
        self.seen(0);
        Then::End
    }

    fn reset(&self) -> io::Result<Then> {
        self.seen(0);
        socket2::SockRef::from(self.stream).set_linger(Some(Duration::ZERO))?;
        Ok(Then::End)
    }

    /// Sends nothing more.
    fn hang(&self) -> io::Result<Then> {
        self.seen(0);
        self.wait()
    }

    /// Waits until the client disconnects, at most a minute: without reading, a disconnect may go unnoticed.
    fn wait(&self) -> io::Result<Then> {
        self.stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        for _ in 0..600 {
            match self.stream.peek(&mut [0]) {
                Ok(0) => break,
                // The client's data stays unread.
                Ok(_) => pause(100),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
            if self.shared.is_stopped() {
                break;
            }
        }
        Ok(Then::End)
    }

    fn read_slowly(&self, reader: &mut impl Read) -> io::Result<Then> {
        self.seen(0);
        let mut bytes = [0; 64];
        while !self.shared.is_stopped() && reader.read(&mut bytes)? > 0 {
            pause(60);
        }
        Ok(Then::End)
    }
}

fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

fn op(head: &Head, key: &str) -> Op {
    let has = |name: &str| head.query(name).is_some();
    match (head.method.as_str(), key.is_empty()) {
        ("HEAD", true) => Op::HeadBucket,
        ("GET", true) if has("versioning") => Op::GetVersioning,
        ("GET", true) if has("object-lock") => Op::GetObjectLock,
        ("GET", true) if has("uploads") => Op::ListUploads,
        ("GET", true) if has("list-type") => Op::List,
        ("PUT", false) if has("partNumber") && has("uploadId") => Op::Part,
        ("PUT", false) if head.header("x-amz-copy-source").is_none() => Op::Put,
        ("POST", false) if has("uploads") => Op::Create,
        ("POST", false) if has("uploadId") => Op::Complete,
        ("DELETE", false) if has("uploadId") => Op::Abort,
        ("DELETE", false) => Op::Delete,
        ("GET", false) if has("uploadId") => Op::ListParts,
        ("GET", false) => Op::Get,
        ("HEAD", false) => Op::Head,
        _ => Op::Other,
    }
}
