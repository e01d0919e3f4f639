//! The name and the keys of a log.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::checkpoint::{self, Checkpoint};
use super::files::{self, Layout};
use super::merkle::Frontier;
use super::note::{Signer, Verifier};
use super::{Error, Problem};
use crate::crypto::{self, sign::SigningKey};

/// Reads the keys of the log, or makes those of a new log.
///
/// `log.vkey` is written last, after a signed checkpoint of size 0. So nobody can delete records and checkpoints and make
/// a log look as if it were being created.
pub(super) fn load_or_create(layout: &Layout) -> Result<Signer, Error> {
    match (read_key(layout)?, read_verifier(layout)?) {
        (key, Some(verifier)) => fitting(key, &verifier),
        (key, None) => {
            if !is_unfinished(layout)? || key.is_none() && files::read_text(&layout.checkpoint())?.is_some() {
                return Err(wrong("`log.vkey` is missing").into());
            }
            create(layout, key)
        }
    }
}

fn fitting(key: Option<Signer>, verifier: &Verifier) -> Result<Signer, Error> {
    match key {
        Some(signer) if signer.verifier() == verifier => Ok(signer),
        Some(_) => Err(wrong("`key` is not the key of `log.vkey`").into()),
        None => Err(wrong("`key` is missing").into()),
    }
}

/// Fails if a run could not sign with the keys of the log in this folder. Writes nothing.
pub fn check_key(dir: &Path) -> Result<(), Error> {
    let layout = Layout::new(dir);
    let key = read_key(&layout)?;
    read_verifier(&layout)?.map_or(Ok(()), |verifier| fitting(key, &verifier).map(drop))
}

/// Whether the creation of a log without `log.vkey` was interrupted: nothing was recorded or signed in it yet.
pub(super) fn is_unfinished(layout: &Layout) -> Result<bool, Error> {
    let signed = checkpoint::sizes(layout)?.iter().any(|size| *size > 0);
    Ok(!signed && files::names(&layout.segments())?.is_empty())
}

/// The public key, as a verifier finds it.
pub(super) fn read_verifier(layout: &Layout) -> Result<Option<Verifier>, Error> {
    let Some(text) = files::read_text(&layout.verifier())? else { return Ok(None) };
    let verifier = text.strip_suffix('\n').and_then(Verifier::parse);
    verifier.map(Some).ok_or_else(|| wrong("`log.vkey` is not a verifier key").into())
}

fn create(layout: &Layout, key: Option<Signer>) -> Result<Signer, Error> {
    let signer = if let Some(signer) = key {
        signer
    } else {
        let signer = Signer::new(origin(), SigningKey::generate());
        let mut line = signer.secret_line();
        line.push('\n');
        files::create_once(&layout.key(), line.as_bytes())?;
        signer
    };
    let empty = Checkpoint::sign(&signer, 0, Frontier::default().root());
    checkpoint::store(layout, &empty, signer.verifier())?;
    files::create_once(&layout.verifier(), format!("{}\n", signer.verifier()).as_bytes())?;
    Ok(signer)
}

/// Reads the key. Fails where others can read it too.
fn read_key(layout: &Layout) -> Result<Option<Signer>, Error> {
    let path = layout.key();
    let file = match files::open(&path, OFlags::RDONLY) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(Error::io("open", &path))?,
    };
    // The mode of the open file, not of the path: nobody can exchange it in between.
    let metadata = file.metadata().map_err(Error::io("look at", &path))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Error::ExposedKey { path, mode });
    }
    if !metadata.is_file() {
        return Err(wrong("`key` is not a file").into());
    }
    let text = Zeroizing::new(std::io::read_to_string(file).map_err(Error::io("read", &path))?);
    let signer = text.strip_suffix('\n').and_then(Signer::parse);
    signer.map(Some).ok_or_else(|| wrong("`key` is not a signing key").into())
}

/// `tl/<host>/<log id>`: the host says where to look, the random id makes it unique.
fn origin() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let id = u64::from_be_bytes(crypto::random());
    format!("tl/{}/{id:016x}", sanitised(&host))
}

fn sanitised(host: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c.to_ascii_lowercase() } else { '-' };
    let host: String = host.chars().take(64).map(safe).collect();
    if host.is_empty() { "host".to_owned() } else { host }
}

fn wrong(reason: &str) -> Problem {
    Problem::WrongKey { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_become_names_of_keys() {
        for (host, name) in [("Web-1.example", "web-1.example"), ("a+b c\n—", "a-b-c--"), ("", "host")] {
            assert_eq!(sanitised(host), name);
        }
        assert!(Verifier::parse(&Signer::new(origin(), SigningKey::generate()).verifier().to_string()).is_some());
    }
}
