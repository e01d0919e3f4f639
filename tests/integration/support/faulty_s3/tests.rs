//! Tests the server itself: it behaves like S3, and fails as the rules demand.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use super::checksum::{Algorithm, base64, hex, md5};
use super::http::{Answer, answer, exchange};
use super::{Action, Chaos, Fault, Op, PLAIN, Rule, SAFE, Seen, Server, VAULT, Work};

fn ask(server: &Server, request: &str, body: &[u8]) -> Answer {
    exchange(server.port(), request, body).unwrap()
}

fn line(method: &str, target: &str, headers: &[(&str, &str)]) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("\r\n{name}: {value}")).collect();
    format!("{method} {target} HTTP/1.1{headers}")
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

fn between<'t>(text: &'t str, from: &str, to: &str) -> &'t str {
    text.split_once(from).unwrap().1.split_once(to).unwrap().0
}

#[test]
fn an_object_comes_back_as_it_was_sent_with_what_was_said_of_it() {
    let server = Fault::start();
    let sum = Algorithm::Crc64nvme.of(b"hello");
    let headers = [
        ("x-amz-checksum-crc64nvme", sum.as_str()),
        ("x-amz-meta-token", "t"),
        ("If-None-Match", "*"),
        ("x-amz-tagging", "a=b"),
    ];
    let put = line("PUT", "/vault/a%20b", &headers);
    let first = ask(&server, &put, b"hello");
    assert_eq!((first.status, first.header("x-amz-checksum-crc64nvme")), (200, Some(sum.as_str())));
    assert_eq!(first.header("etag"), Some(format!("\"{}\"", hex(&md5(b"hello"))).as_str()));
    assert_eq!(ask(&server, &put, b"hello").status, 412);
    let id = first.header("x-amz-version-id").unwrap();
    assert_eq!(server.objects(VAULT)[0].1[0].tagging.as_deref(), Some("a=b"));

    let head = ask(&server, &line("HEAD", "/vault/a%20b", &[("x-amz-checksum-mode", "ENABLED")]), b"");
    assert_eq!((head.header("content-length"), head.header("x-amz-meta-token")), (Some("5"), Some("t")));
    assert_eq!(head.header("x-amz-checksum-crc64nvme"), Some(sum.as_str()));
    assert_eq!(head.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
    let part = ask(&server, &line("GET", &format!("/vault/a%20b?versionId={id}"), &[("Range", "bytes=1-2")]), b"");
    assert_eq!((part.status, part.body.as_slice()), (206, b"el".as_slice()));
    assert_eq!(ask(&server, &line("GET", "/vault/a%20b", &[("If-Match", "\"x\"")]), b"").status, 412);
    assert_eq!(ask(&server, &line("GET", "/vault/other", &[]), b"").status, 404);
    assert_eq!(ask(&server, &line("HEAD", "/nowhere", &[]), b"").status, 404);

    assert_eq!(ask(&server, &line("DELETE", "/vault/a%20b", &[]), b"").status, 204);
    assert_eq!(ask(&server, &line("GET", "/vault/a%20b", &[]), b"").status, 404);
    assert_eq!(server.objects(VAULT)[0].1.len(), 2, "a delete marker is one more version");
    assert_eq!(ask(&server, &line("DELETE", &format!("/vault/a%20b?versionId={id}"), &[]), b"").status, 204);
    assert_eq!(server.objects(VAULT)[0].1.iter().filter(|version| !version.is_marker).count(), 0);
}

#[test]
fn every_checksum_is_looked_at() {
    // The check values from the catalogue of CRC algorithms.
    for (algorithm, value) in [
        (Algorithm::Crc32, &0xcbf4_3926_u32.to_be_bytes()[..]),
        (Algorithm::Crc32c, &0xe306_9283_u32.to_be_bytes()),
        (Algorithm::Crc64nvme, &0xae8b_1486_0a79_9888_u64.to_be_bytes()),
    ] {
        assert_eq!(algorithm.of(b"123456789"), base64(value), "{algorithm:?}");
    }
    let server = Fault::start();
    let good = Algorithm::ALL.map(|algorithm| (algorithm.header(), algorithm.of(b"hello")));
    for (name, value) in good.into_iter().chain([("content-md5".to_owned(), base64(&md5(b"hello")))]) {
        let request = line("PUT", "/plain/a", &[(&name, &value)]);
        assert_eq!(ask(&server, &request, b"hello").status, 200, "{name}");
        let refused = ask(&server, &request, b"hellO");
        assert_eq!((refused.status, text(&refused).contains("BadDigest")), (400, true), "{name}");
    }
    let framed = line("PUT", "/plain/a", &[("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")]);
    assert_eq!(ask(&server, &framed, b"5\r\nhello\r\n0\r\n\r\n").status, 400);
    assert_eq!(server.objects(PLAIN)[0].1[0].bytes, b"hello");
}

fn create(server: &Server, target: &str, headers: &[(&str, &str)]) -> String {
    let answer = ask(server, &line("POST", &format!("{target}?uploads"), headers), b"");
    assert_eq!(answer.status, 200, "{}", text(&answer));
    between(&text(&answer), "<UploadId>", "</UploadId>").to_owned()
}

fn send_part(server: &Server, target: &str, id: &str, number: usize, bytes: &[u8]) -> String {
    let sum = Algorithm::Crc64nvme.of(bytes);
    let request = line(
        "PUT",
        &format!("{target}?partNumber={number}&uploadId={id}"),
        &[("x-amz-checksum-crc64nvme", &sum), ("Expect", "100-continue")],
    );
    let mut connection = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    connection.write_all(format!("{request}\r\ncontent-length: {}\r\n\r\n", bytes.len()).as_bytes()).unwrap();
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    assert_eq!(answer(&mut reader, false).unwrap().status, 100);
    connection.write_all(bytes).unwrap();
    let answer = answer(&mut reader, false).unwrap();
    assert_eq!(answer.status, 200, "{}", text(&answer));
    format!(
        "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag><ChecksumCRC64NVME>{sum}</ChecksumCRC64NVME></Part>",
        answer.header("etag").unwrap()
    )
}

const FULL: [(&str, &str); 2] = [("x-amz-checksum-algorithm", "CRC64NVME"), ("x-amz-checksum-type", "FULL_OBJECT")];

#[test]
fn parts_become_an_object_where_all_that_is_said_of_them_is_true() {
    let server = Fault::start();
    let whole: Vec<u8> = (0..(5 << 20) + 7).map(|n: u32| n.to_le_bytes()[1]).collect();
    let (first, second) = whole.split_at(5 << 20);
    let id = create(&server, "/vault/big", &FULL);
    let parts = [send_part(&server, "/vault/big", &id, 1, first), send_part(&server, "/vault/big", &id, 2, second)];
    assert_eq!(server.open_uploads(), 1);
    assert!(text(&ask(&server, &line("GET", "/vault?uploads", &[]), b"")).contains(&id));
    let page = text(&ask(&server, &line("GET", &format!("/vault/big?uploadId={id}&max-parts=1"), &[]), b""));
    assert!(page.contains("<IsTruncated>true") && page.contains("<NextPartNumberMarker>1<"), "{page}");

    let target = format!("/vault/big?uploadId={id}");
    let list = |parts: &[String]| format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.concat());
    let code = |headers: &[(&str, &str)], body: &str| {
        let answer = ask(&server, &line("POST", &target, headers), body.as_bytes());
        let text = text(&answer);
        if answer.status == 200 { "done".to_owned() } else { between(&text, "<Code>", "</Code>").to_owned() }
    };
    let good = list(&parts);
    let size = whole.len().to_string();
    let sum = Algorithm::Crc64nvme.of(&whole);
    assert_eq!(code(&[("x-amz-mp-object-size", "5")], &good), "InvalidRequest");
    assert_eq!(code(&[("x-amz-checksum-crc64nvme", &Algorithm::Crc64nvme.of(b""))], &good), "BadDigest");
    assert_eq!(code(&[], &list(&[parts[1].clone(), parts[0].clone()])), "InvalidPartOrder");
    assert_eq!(code(&[], &good.replace("<ETag>\"", "<ETag>\"0")), "InvalidPart");
    assert_eq!(code(&[], &good.replace("64NVME>", "64NVME>0")), "InvalidPart");
    assert_eq!(code(&[("x-amz-mp-object-size", &size), ("x-amz-checksum-crc64nvme", &sum)], &good), "done");
    assert_eq!(code(&[], &good), "NoSuchUpload");
    assert_eq!((server.open_uploads(), server.objects(VAULT)[0].1.len()), (0, 1));
    let version = &server.objects(VAULT)[0].1[0];
    assert!(version.bytes == whole && version.etag.ends_with("-2\"") && version.checksums[0].1 == sum);

    let id = create(&server, "/vault/big", &FULL);
    send_part(&server, "/vault/big", &id, 1, b"x");
    let abort = line("DELETE", &format!("/vault/big?uploadId={id}"), &[]);
    assert_eq!((ask(&server, &abort, b"").status, ask(&server, &abort, b"").status), (204, 404));
    assert_eq!(server.open_uploads(), 0);
}

#[test]
fn a_thousand_parts_fill_a_page() {
    let server = Fault::start();
    let id = create(&server, "/vault/many", &[]);
    for number in 1..=1001 {
        let request = line("PUT", &format!("/vault/many?partNumber={number}&uploadId={id}"), &[]);
        assert_eq!(ask(&server, &request, b"x").status, 200);
    }
    let page = text(&ask(&server, &line("GET", &format!("/vault/many?uploadId={id}"), &[]), b""));
    assert_eq!(page.matches("<PartNumber>").count(), 1000);
    let rest = line("GET", &format!("/vault/many?uploadId={id}&part-number-marker=1000"), &[]);
    let rest = text(&ask(&server, &rest, b""));
    assert!(rest.contains("<IsTruncated>false") && rest.matches("<PartNumber>").count() == 1, "{rest}");
}

#[test]
fn locks_hold() {
    let server = Fault::start();
    let md5 = base64(&md5(b"x"));
    let until =
        [("x-amz-object-lock-mode", "COMPLIANCE"), ("x-amz-object-lock-retain-until-date", "2999-01-01T00:00:00Z")];
    let with_md5 = [&until[..], &[("content-md5", &md5)]].concat();
    assert_eq!(ask(&server, &line("PUT", "/safe/a", &until), b"x").status, 400, "a lock wants a checksum");
    assert_eq!(ask(&server, &line("PUT", "/vault/a", &with_md5), b"x").status, 400, "no lock there");
    let put = ask(&server, &line("PUT", "/safe/a", &with_md5), b"x");
    let id = put.header("x-amz-version-id").unwrap();
    assert_eq!(ask(&server, &line("HEAD", "/safe/a", &[]), b"").header("x-amz-object-lock-mode"), Some("COMPLIANCE"));
    assert_eq!(ask(&server, &line("DELETE", &format!("/safe/a?versionId={id}"), &[]), b"").status, 403);
    assert_eq!(ask(&server, &line("GET", "/vault?object-lock", &[]), b"").status, 404);
    assert!(text(&ask(&server, &line("GET", "/safe?object-lock", &[]), b"")).contains("Enabled"));
    assert!(text(&ask(&server, &line("GET", "/safe?versioning", &[]), b"")).contains("Enabled"));
    assert!(!text(&ask(&server, &line("GET", "/plain?versioning", &[]), b"")).contains("Enabled"));
    assert_eq!(server.objects(SAFE)[0].1.len(), 1);
}

#[test]
fn a_connection_serves_many_requests_and_chunks() {
    let server = Fault::start();
    let mut connection = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let chunked = "PUT /plain/a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
    for request in [chunked, "GET /plain/a HTTP/1.1\r\n\r\n"] {
        connection.write_all(request.as_bytes()).unwrap();
        let answer = answer(&mut reader, false).unwrap();
        assert_eq!(answer.status, 200);
        assert!(request == chunked || answer.body == b"abcde");
    }
}

#[test]
fn a_rule_is_of_an_operation_a_part_and_a_number_of_times() {
    let server = Fault::start();
    server.rule(Rule::once(Op::Part, Action::Error(503, "SlowDown", &[("x", "y")])).part(2).nth(2));
    let id = create(&server, "/vault/a", &[]);
    let statuses = [1, 2, 2, 2, 3].map(|number| {
        ask(&server, &line("PUT", &format!("/vault/a?partNumber={number}&uploadId={id}"), &[]), b"x").status
    });
    assert_eq!(statuses, [200, 200, 503, 200, 200]);
    assert!(server.requests().contains(&Seen { op: Op::Part, part: Some(2), status: 503 }));
    assert_eq!((server.count(Op::Part), server.faults().len()), (5, 1));
}

#[test]
fn answers_are_cut_held_back_and_changed() {
    let put = line("PUT", "/plain/a", &[]);
    let get = line("GET", "/plain/a", &[]);
    let after = |action| {
        let server = Fault::start();
        ask(&server, &put, &[7; 1000]);
        server.rule(Rule::once(Op::Get, action));
        let answer = exchange(server.port(), &get, b"").map(|answer| (answer.status, answer.body));
        assert_eq!(ask(&server, &get, b"").body, [7; 1000], "{action:?}: once is once");
        answer
    };
    for action in [Action::Cut, Action::ResetBefore, Action::ResetMiddle, Action::Close, Action::Lost] {
        assert!(after(action).is_err(), "{action:?}");
    }
    let (status, body) = after(Action::Flip).unwrap();
    assert_eq!((status, body.len(), body.iter().filter(|byte| **byte != 7).count()), (200, 1000, 1));
    assert_eq!(after(Action::Html(502)).unwrap().0, 502);
    assert_eq!(after(Action::OkHalf(Work::Done)).unwrap().1.len(), 500);
    assert_eq!(after(Action::Skewed(3600)).unwrap().0, 403);
    assert_eq!(after(Action::Twice).unwrap().1.len(), 1000);
}

#[test]
fn writes_are_lost_and_spoiled() {
    let sum = Algorithm::Crc32c.of(b"hello");
    let put = line("PUT", "/vault/a", &[("x-amz-checksum-crc32c", &sum), ("x-amz-meta-a", "b")]);
    let after = |action| {
        let server = Fault::start();
        server.rule(Rule::once(Op::Put, action));
        let answer = exchange(server.port(), &put, b"hello").ok();
        let kept = server.objects(VAULT).pop().map(|(_, mut versions)| versions.remove(0));
        (answer, kept)
    };
    let (answer, kept) = after(Action::Lost);
    assert!(answer.is_none() && kept.unwrap().bytes == b"hello");
    let (answer, kept) = after(Action::Early(503, "SlowDown"));
    assert!(answer.is_none_or(|answer| answer.status == 503) && kept.is_none());
    let (answer, kept) = after(Action::StoreFlipped);
    assert_eq!(answer.unwrap().header("x-amz-checksum-crc32c"), Some(sum.as_str()));
    assert!(kept.is_some_and(|kept| kept.bytes != b"hello" && kept.checksums[0].1 == sum));
    let (answer, kept) = after(Action::Damage);
    assert_ne!(answer.unwrap().header("x-amz-checksum-crc32c"), Some(sum.as_str()));
    assert!(kept.is_some_and(|kept| kept.bytes != b"hello" && kept.checksums[0].1 != sum));
    assert!(after(Action::DropMetadata).1.unwrap().metadata.is_empty());
    let (answer, kept) = after(Action::IgnoreChecksums);
    assert!(answer.unwrap().header("x-amz-checksum-crc32c").is_none() && kept.unwrap().checksums.is_empty());
    let (answer, kept) = after(Action::RefuseChecksums(501, "NotImplemented"));
    assert!(answer.unwrap().status == 501 && kept.is_none());
    assert!(after(Action::NoEtag).0.unwrap().header("etag").is_none());
    assert_ne!(after(Action::WrongEtag).0.unwrap().header("etag"), Some(hex(&md5(b"hello")).as_str()));
}

#[test]
fn who_comes_back_too_early_is_counted() {
    let server = Fault::start();
    server.rule(Rule::once(Op::Head, Action::RetryAfter(3600)));
    let head = line("HEAD", "/plain/a", &[]);
    assert_eq!(ask(&server, &head, b"").header("retry-after"), Some("3600"));
    assert_eq!(server.hurried(), 0);
    ask(&server, &head, b"");
    assert_eq!(server.hurried(), 1);
}

#[test]
fn a_key_can_be_wrong() {
    let server = Fault::start();
    server.accept_key("GOOD", true);
    let status = |server: &Server, key: &str| {
        let value = format!("AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/s3/aws4_request");
        ask(server, &line("HEAD", "/plain", &[("Authorization", &value)]), b"").status
    };
    assert_eq!((status(&server, "GOOD"), status(&server, "BAD")), (200, 403));
    server.accept_key("GOOD", false);
    assert_eq!(status(&server, "GOOD"), 403);
    assert_eq!(ask(&server, &line("HEAD", "/plain", &[]), b"").status, 403);
}

#[test]
fn what_is_at_rest_rots() {
    let server = Fault::start();
    ask(&server, &line("PUT", "/plain/a", &[]), b"hello");
    server.flip_at_rest("a", 0);
    assert_eq!(ask(&server, &line("GET", "/plain/a", &[]), b"").body, b"iello");
}

#[test]
fn chance_repeats_itself_and_ends() {
    let run = |seed, budget| {
        let mut script = super::rules::Script::default();
        script.set_chaos(Chaos::survivable(seed, budget));
        (0..200).map(|_| script.next(Op::Put, None)).collect::<Vec<_>>()
    };
    let faults = |actions: &[Option<Action>]| actions.iter().flatten().count();
    assert_eq!(run(1, 20), run(1, 20));
    assert_ne!(run(1, 20), run(2, 20));
    assert_eq!(faults(&run(1, 20)), 20);
    assert!((40..100).contains(&faults(&run(1, 1000))));
}

#[test]
fn a_server_that_says_nothing_ends_with_its_client() {
    let server = Fault::start();
    server.rule(Rule::once(Op::Put, Action::Silence)).rule(Rule::once(Op::Get, Action::Stall));
    let mut connection = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    connection.write_all(b"PUT /plain/a HTTP/1.1\r\ncontent-length: 1\r\n\r\nx").unwrap();
    connection.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    connection.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}
