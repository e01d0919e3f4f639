//! Migrates files of older versions to a newer one.
//!
//! Each step edits the text at the places of the document. Writing the file anew from its value would lose comments and
//! layout. The result is checked like any file before it replaces one.

use std::path::Path;

use super::load::check_document;
use super::read::{Document, NEWEST_VERSION, Span, unknown_version, version_number};
use crate::diagnostic::{Diagnostic, Result, codes};

/// The migration from one version to the next.
pub struct Step {
    /// The version of its input. Its output has the next version.
    pub from: i64,
    /// Records the edits, except that of `version` itself. Refuses what cannot be migrated, with its place.
    pub edit: fn(&mut Edits<'_>) -> Result<()>,
}

/// Every step. Empty, since version 1 is the first version.
pub const STEPS: &[Step] = &[];

/// The edits of one step.
pub struct Edits<'a> {
    document: &'a Document,
    edits: Vec<(Span, String)>,
}

impl<'a> Edits<'a> {
    /// The file before the edits.
    pub fn document(&self) -> &'a Document {
        self.document
    }

    /// Renames a key.
    pub fn rename(&mut self, pointer: &str, key: &str) {
        if let Some(span) = self.document.node_of(pointer).and_then(|node| node.key) {
            self.edits.push((span, key.to_owned()));
        }
    }

    /// Replaces a value that stands on one line. `value` is YAML.
    pub fn replace(&mut self, pointer: &str, value: &str) {
        if let Some(node) = self.document.node_of(pointer) {
            self.edits.push((node.value, value.to_owned()));
        }
    }

    /// The text with all edits applied.
    fn apply(mut self) -> Result<String> {
        self.edits.sort_by(|(a, a_text), (b, b_text)| (a.start, a.end, a_text).cmp(&(b.start, b.end, b_text)));
        // A value that aliases repeat stands in the text once, but is edited once for each alias.
        self.edits.dedup();
        let characters = self.document.characters();
        let mut text = String::new();
        let mut done = 0;
        for (span, new) in &self.edits {
            if span.start < done {
                let message = "this cannot be migrated: it stands for several things, which change in different ways";
                let place = self.document.place(0, *span);
                return Err(Diagnostic::usage(codes::TL0747, message)
                    .at(place)
                    .help("write it out instead of an alias"));
            }
            text.extend(&characters[done..span.start]);
            text.push_str(new);
            done = span.end;
        }
        text.extend(&characters[done..]);
        Ok(text)
    }
}

/// A text of a newer version.
#[derive(Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The version that the file has.
    pub from: i64,
    /// The version that the text has.
    pub to: i64,
    /// The whole file.
    pub text: Vec<u8>,
}

/// Migrates a file by these steps to version `to`, or to the newest. `None` if it has that version already. A result of
/// the newest version is checked like any file, so that no file is replaced by one that does not run.
pub fn migrate(document: Document, to: Option<i64>, steps: &[Step]) -> Result<Option<Migrated>, Vec<Diagnostic>> {
    let from = version_number(&document).map_err(|found| vec![found])?;
    if from > NEWEST_VERSION {
        return Err(vec![unknown_version(&document, from)]);
    }
    let to = to.unwrap_or(NEWEST_VERSION);
    if to > NEWEST_VERSION || to < from {
        let place = document.at_value("/version");
        let unreachable =
            Diagnostic::usage(codes::TL0746, format!("version {from} cannot be migrated to version {to}"));
        let help =
            format!("there is a way forward, to version {NEWEST_VERSION}; an older text is in `tl versions` or in git");
        return Err(vec![unreachable.at(place).help(help)]);
    }
    let (name, folder) = (document.name().to_owned(), document.folder().to_owned());
    let mut now = document;
    for version in from..to {
        let step = steps.iter().find(|step| step.from == version);
        let step = step.ok_or_else(|| vec![unknown_version(&now, version)])?;
        let mut edits = Edits { document: &now, edits: Vec::new() };
        edits.replace("/version", &(version + 1).to_string());
        let edited = (step.edit)(&mut edits).and_then(|()| edits.apply()).map_err(|found| vec![found])?;
        // Its lines differ from those of the file, so errors must not name the file.
        let name = format!("{name} as version {}", version + 1);
        now = Document::parse(name, folder.clone(), now.byte_order_mark().to_owned() + &edited)?;
    }
    if from == to {
        return Ok(None);
    }
    let text = now.source();
    if to == NEWEST_VERSION {
        let path = folder.join(Path::new(&name).file_name().unwrap_or_default());
        check_document(now.extended(&mut vec![path], &[])?)?;
    }
    Ok(Some(Migrated { from, to, text }))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;

    use serde_json::Value as Json;

    use super::*;
    use crate::diagnostic::Code;

    /// Versions that there never were. The second step knows `after` no more.
    pub(crate) const MADE_UP: &[Step] = &[Step { from: 0, edit: from_zero }, Step { from: -1, edit: from_before }];

    fn stages(document: &Document) -> Vec<(String, Json)> {
        let jobs = document.value()["jobs"].as_object().unwrap();
        jobs.iter().map(|(name, job)| (format!("/jobs/{name}"), job.clone())).collect()
    }

    fn from_before(edits: &mut Edits<'_>) -> Result<()> {
        for (at, job) in stages(edits.document()) {
            let at = format!("{at}/after");
            if job.get("after").is_some_and(Json::is_number) {
                let refused = Diagnostic::usage(codes::TL0747, "`after` names no job");
                return Err(refused.at(edits.document().at_value(&at)));
            }
            edits.rename(&at, "needs");
        }
        Ok(())
    }

    fn from_zero(edits: &mut Edits<'_>) -> Result<()> {
        for (at, job) in stages(edits.document()) {
            let at = format!("{at}/timeout_sec");
            match job.get("timeout_sec").map(Json::as_u64) {
                Some(Some(seconds)) => {
                    edits.rename(&at, "timeout");
                    edits.replace(&at, &format!("{seconds}s"));
                }
                Some(None) => {
                    let refused = Diagnostic::usage(codes::TL0747, "`timeout_sec` is no whole number of seconds");
                    return Err(refused.at(edits.document().at_value(&at)));
                }
                None => {}
            }
        }
        edits.rename("/jobs", "stages");
        Ok(())
    }

    pub(crate) const OLD: &str = "# Aé: what it does\nversion:   -1 # old\r\nname: test\n\njobs: # all of them\n  'a': { run: ['true'],   \
                                  timeout_sec: &long 90 }   # first\n  b:\n    \"after\": a\n    timeout_sec: *long\n    run: [echo, 'after: jobs']\n";
    pub(crate) const NEW: &str = "# Aé: what it does\nversion:   1 # old\r\nname: test\n\nstages: # all of them\n  'a': { run: ['true'],   \
                                  timeout: &long 90s }   # first\n  b:\n    needs: a\n    timeout: *long\n    run: [echo, 'after: jobs']\n";

    fn read(text: &str) -> Document {
        Document::parse("t.yaml".to_owned(), PathBuf::new(), text.to_owned()).unwrap()
    }

    fn refused(text: &str, to: Option<i64>) -> (Code, usize, usize) {
        let found = migrate(read(text), to, MADE_UP).unwrap_err();
        let place = found[0].place.as_ref().unwrap();
        (found[0].code, place.line, place.column)
    }

    #[test]
    fn steps_go_in_order_and_change_nothing_else() {
        for mark in ["", "\u{feff}"] {
            let migrated = migrate(read(&format!("{mark}{OLD}")), None, MADE_UP).unwrap().unwrap();
            let expected = Migrated { from: -1, to: 1, text: format!("{mark}{NEW}").into_bytes() };
            assert_eq!(String::from_utf8_lossy(&migrated.text), String::from_utf8_lossy(&expected.text));
            assert_eq!(migrated, expected);
        }
        // Once is enough.
        assert_eq!(migrate(read(NEW), None, MADE_UP).unwrap(), None);
        // In two goes as in one.
        let half = migrate(read(OLD), Some(0), MADE_UP).unwrap().unwrap();
        assert_eq!((half.from, half.to), (-1, 0));
        let half = String::from_utf8(half.text).unwrap();
        assert!(half.contains("needs: a") && half.contains("jobs:"), "{half}");
        assert_eq!(migrate(read(&half), None, MADE_UP).unwrap().unwrap().text, NEW.as_bytes());
        assert_eq!(migrate(read(&half), Some(0), MADE_UP).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_brought_over_is_refused_where_it_stands() {
        let old = |job: &str| format!("version: 0\nname: t\njobs:\n  a:\n    run: ['true']\n{job}");
        assert_eq!(refused(&old("    timeout_sec: 1.5\n"), None), (codes::TL0747, 6, 18));
        assert_eq!(refused(&old("    after: 7\n").replace("version: 0", "version: -1"), None), (codes::TL0747, 6, 12));
        // What comes out must be a pipeline.
        assert_eq!(refused(&old("    timeout_sec: 7\n    wrong: 1\n"), None), (codes::TL0207, 7, 5));
        assert_eq!(refused(NEW, Some(2)), (codes::TL0746, 2, 12));
        assert_eq!(refused(NEW, Some(0)), (codes::TL0746, 2, 12));
        assert_eq!(refused("name: t\nversion: 2\n", None), (codes::TL0102, 2, 10));
        assert_eq!(refused("name: t\nversion: -2\n", None), (codes::TL0101, 2, 10));
        assert_eq!(refused("name: t\nversion: '1'\n", None), (codes::TL0101, 2, 10));
        assert_eq!(refused("name: t\n", None).0, codes::TL0101);
        assert_eq!(refused("[1]\n", None).0, codes::TL0201);
    }

    #[test]
    fn what_stands_for_several_things_changes_in_one_way() {
        let torn = [Step {
            from: 0,
            edit: |edits| {
                edits.replace("/a", "1");
                edits.replace("/b", "2");
                Ok(())
            },
        }];
        let found = migrate(read("version: 0\na: &x 0\nb: *x\n"), None, &torn).unwrap_err();
        assert_eq!((found[0].code, found[0].place.as_ref().unwrap().line), (codes::TL0747, 2));
    }
}
