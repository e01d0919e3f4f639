//! The secrets of a process, and the only way to their texts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use crate::crypto;
use crate::value::{Masker, Secret, hex};

/// The secrets that were read. Everything else holds placeholders: settings, expressions, keys, outputs.
///
/// A placeholder is `tl-secret:NONCE:NAME:`. The nonce is 128 random bits of this process, so no text of a user or a program
/// can name a secret. The last `:` ends the name, because a placeholder may stand inside a longer text.
pub struct Secrets {
    /// The start of every placeholder.
    prefix: String,
    read: BTreeMap<String, Secret>,
    unread: BTreeSet<String>,
    masker: Masker,
}

/// Why a text was not revealed.
#[derive(Debug, PartialEq, Eq)]
pub enum RevealError<E> {
    /// It names a secret that was not read.
    Unread(String),
    /// The use could not be put on record.
    Unrecorded(E),
}

/// The uses of secrets that are on record, of one attempt or one opening: name and purpose.
pub type Uses = Mutex<BTreeSet<(String, &'static str)>>;

impl Secrets {
    /// `unread` are the names of declared secrets that nothing here needs. They have placeholders too, but no text.
    pub fn new(read: Vec<(String, Secret)>, unread: impl IntoIterator<Item = String>) -> Self {
        let prefix = format!("tl-secret:{}:", hex(&crypto::random::<16>()));
        let (read, unread): (BTreeMap<_, _>, BTreeSet<_>) = (read.into_iter().collect(), unread.into_iter().collect());
        let placeholders = read.keys().chain(&unread).map(|name| placeholder(&prefix, name));
        let masker = Masker::with_placeholders(read.values(), placeholders);
        Self { prefix, read, unread, masker }
    }

    /// Each name with its placeholder. A secret that could not be read has none.
    pub fn placeholders(&self) -> impl Iterator<Item = (&str, String)> {
        self.read.keys().chain(&self.unread).map(|name| (name.as_str(), placeholder(&self.prefix, name)))
    }

    /// Whether a secret is declared and was left unread.
    pub fn is_unread(&self, name: &str) -> bool {
        self.unread.contains(name)
    }

    /// Masks the secrets that were read, and every placeholder.
    pub fn masker(&self) -> &Masker {
        &self.masker
    }

    /// Replaces the placeholders in a text by the secrets. `record` puts the use of a secret on record. It is called before
    /// the text is handed out, once for each secret and purpose in `uses`, and must be durable when it returns.
    pub fn reveal<E>(
        &self,
        text: &str,
        purpose: &'static str,
        uses: &Uses,
        record: &mut dyn FnMut(&str) -> Result<(), E>,
    ) -> Result<Zeroizing<String>, RevealError<E>> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once(&self.prefix) {
            let (name, behind) = from.split_once(':').unwrap_or((from, ""));
            let secret = self.read.get(name).ok_or_else(|| RevealError::Unread(name.to_owned()))?;
            record_once(uses, name, purpose, record).map_err(RevealError::Unrecorded)?;
            pieces.extend([before, secret.expose()]);
            rest = behind;
        }
        pieces.push(rest);
        // Room for all of it at once: a string that grows leaves copies of a secret behind.
        let mut revealed = Zeroizing::new(String::with_capacity(pieces.iter().map(|piece| piece.len()).sum()));
        pieces.into_iter().for_each(|piece| revealed.push_str(piece));
        Ok(revealed)
    }
}

fn placeholder(prefix: &str, name: &str) -> String {
    format!("{prefix}{name}:")
}

/// Calls `record` unless it succeeded before for this secret and purpose. The lock is held meanwhile, so that another thread
/// does not get the text before the record is durable.
fn record_once<E>(
    uses: &Uses,
    name: &str,
    purpose: &'static str,
    record: &mut dyn FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let mut recorded = uses.lock().unwrap_or_else(PoisonError::into_inner);
    let one = (name.to_owned(), purpose);
    if !recorded.contains(&one) {
        record(name)?;
        recorded.insert(one);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "hunter2-hunter2";

    fn secrets() -> Secrets {
        let read = ["a", "ab"].map(|name| (name.to_owned(), Secret::new(format!("{TEXT}-{name}"))));
        Secrets::new(read.into(), ["later".to_owned()])
    }

    fn placeholder_of(secrets: &Secrets, wanted: &str) -> String {
        secrets.placeholders().find(|(name, _)| *name == wanted).unwrap().1
    }

    fn revealed(secrets: &Secrets, text: &str) -> Result<String, RevealError<()>> {
        secrets.reveal(text, "env", &Uses::default(), &mut |_| Ok(())).map(|text| text.to_string())
    }

    #[test]
    fn placeholders_are_replaced_inside_a_text() {
        let secrets = secrets();
        let (a, ab) = (placeholder_of(&secrets, "a"), placeholder_of(&secrets, "ab"));
        assert!(a.len() > 32 && !a.contains(TEXT), "{a}");
        assert_eq!(revealed(&secrets, &format!("Bearer {a}b:{ab}{a}")).unwrap(), {
            format!("Bearer {TEXT}-ab:{TEXT}-ab{TEXT}-a")
        });
        assert_eq!(revealed(&secrets, "plain tl-secret:x:").unwrap(), "plain tl-secret:x:");
    }

    #[test]
    fn a_placeholder_of_another_process_is_a_text_like_any_other() {
        let (here, there) = (secrets(), secrets());
        let foreign = placeholder_of(&there, "a");
        assert_eq!(revealed(&here, &foreign).unwrap(), foreign);
    }

    #[test]
    fn a_secret_that_was_not_read_is_not_revealed() {
        let secrets = secrets();
        let later = placeholder_of(&secrets, "later");
        assert_eq!(revealed(&secrets, &later), Err(RevealError::Unread("later".to_owned())));
    }

    #[test]
    fn each_use_is_on_record_once_and_before_the_text_is_handed_out() {
        let secrets = secrets();
        let (a, uses, mut recorded) = (placeholder_of(&secrets, "a"), Uses::default(), Vec::new());
        let refused = secrets.reveal(&a, "env", &uses, &mut |_| Err("full"));
        assert_eq!(refused, Err(RevealError::Unrecorded("full")));
        for purpose in ["env", "env", "identity"] {
            let revealed = secrets.reveal::<()>(&format!("{a}{a}"), purpose, &uses, &mut |name| {
                recorded.push((name.to_owned(), purpose));
                Ok(())
            });
            assert_eq!(revealed.unwrap().as_str(), format!("{TEXT}-a{TEXT}-a"));
        }
        assert_eq!(recorded, [("a".to_owned(), "env"), ("a".to_owned(), "identity")]);
    }

    #[test]
    fn a_placeholder_is_masked_as_its_secret_is() {
        let secrets = secrets();
        let mask = |text: &str| secrets.masker().mask(&format!("Bearer {text}/x"));
        assert_eq!(mask(&placeholder_of(&secrets, "a")), mask(&format!("{TEXT}-a")));
        assert_eq!(mask(&placeholder_of(&secrets, "later")), "Bearer ***/x");
    }
}
