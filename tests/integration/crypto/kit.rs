//! The age test kit of the Community Cryptography Test Vectors (C2SP/CCTV), as the `age` package contains it.
//!
//! That package is under MIT or Apache-2.0 and states nothing else for these files. The tests read them from cargo's
//! copy of the package. This repository contains none of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest, Sha256};
use timelocker::crypto::{Error, Identity, Key};
use timelocker::value::Secret;

use super::sample::opened;
use crate::support::root;

struct Vector {
    fields: BTreeMap<String, Vec<String>>,
    file: Vec<u8>,
}

impl Vector {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").expect("an empty line ends the fields");
        let text = std::str::from_utf8(&bytes[..end]).expect("the fields are text");
        let mut fields = BTreeMap::<_, Vec<_>>::new();
        for line in text.lines() {
            let (name, value) = line.split_once(": ").expect("each field has a value");
            fields.entry(name.to_owned()).or_default().push(value.to_owned());
        }
        let mut file = bytes[end + 2..].to_vec();
        match fields.get("compressed").map(|values| values[0].as_str()) {
            None => {}
            Some("zlib") => {
                let packed = std::mem::take(&mut file);
                flate2::read::ZlibDecoder::new(&*packed).read_to_end(&mut file).expect("the kit compresses well");
            }
            Some(other) => panic!("the kit compresses with {other}"),
        }
        Self { fields, file }
    }

    fn all(&self, name: &str) -> &[String] {
        self.fields.get(name).map_or(&[], Vec::as_slice)
    }

    fn keys(&self) -> Vec<Key> {
        let identities =
            self.all("identity").iter().map(|text| Identity::parse(text).expect("a valid identity").into());
        let passphrases = self.all("passphrase").iter().map(|text| Key::Passphrase(Secret::new(text.clone())));
        identities.chain(passphrases).collect()
    }
}

fn directory() -> PathBuf {
    let about = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let about = String::from_utf8_lossy(&about.stdout).into_owned();
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    // Excludes packages for other systems, which are not downloaded.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", host])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("cargo lists packages");
    let age = packages.iter().find(|package| package["name"] == "age").expect("age is a dev-dependency");
    let manifest = PathBuf::from(age["manifest_path"].as_str().expect("a path is a text"));
    manifest.with_file_name("tests/testdata/testkit")
}

fn class(result: &Result<(), Error>) -> &'static str {
    match result {
        Ok(()) => "success",
        Err(Error::NotAge(_) | Error::UnsupportedVersion) => "header failure",
        Err(Error::HeaderMac) => "HMAC failure",
        Err(Error::NoMatch | Error::PassphraseNeeded) => "no match",
        Err(Error::Tampered { .. } | Error::Truncated | Error::TrailingData) => "payload failure",
        Err(_) => "a failure without a class",
    }
}

fn hex_sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// C6: the class of each outcome, and which bytes were released before it.
#[test]
fn every_binary_vector_ends_as_it_should() {
    let (mut ran, mut hashes, mut wrong) = (0, 0, Vec::new());
    for entry in fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let vector = Vector::parse(&fs::read(&path).unwrap());
        if name.starts_with("armor") || vector.all("armored") == ["yes"] {
            continue;
        }
        ran += 1;
        let expected = vector.all("expect")[0].as_str();
        for threads in [1, 2, 4] {
            let (released, result) = opened(&vector.file, &vector.keys(), threads);
            if class(&result) != expected {
                wrong.push(format!("{name} with {threads} threads: expected {expected}, got {result:?}"));
            }
            match vector.all("payload") {
                [] => assert!(released.is_empty(), "{name} released {} bytes", released.len()),
                [payload] => {
                    hashes += 1;
                    assert_eq!(&hex_sha256(&released), payload, "{name} released {} bytes", released.len());
                }
                more => panic!("{name} has {} payloads", more.len()),
            }
        }
    }
    println!("C6: {ran} vectors, {hashes} hashes of released plaintext");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!((ran, hashes), (92, 3 * 33));
}
