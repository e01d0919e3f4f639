//! What a sound file says and hardly means: nothing is refused for it.
//!
//! Read from the whole file as it stands, so that a name counts as used wherever it is mentioned: a warning that is wrong
//! costs more trust than one that is missing.

use std::path::{Component, Path, PathBuf};

use serde_json::Value as Json;

use super::document::Document;
use super::events::escape;
use super::model::{Pipeline, Stage};
use super::notification::When;
use super::resolve::artifact_source;
use crate::diagnostic::{Code, Diagnostic};
use crate::expression::{Expression, Template};
use crate::stages::{self, Flow};
use crate::value::Name;

/// All of them. `device` tells the file system of a path that is on this machine.
pub fn warnings(document: &Document, pipeline: &Pipeline, device: &dyn Fn(&Path) -> Option<u64>) -> Vec<Diagnostic> {
    let mut mentions = Mentions::default();
    mentions.gather(document.value());
    let reader = Reader { document, pipeline, mentions };
    let mut found = reader.unused();
    found.extend(reader.unread_outputs());
    found.extend(reader.uploads());
    found.extend(reader.stores_beside_their_sources(device));
    found.extend(reader.nobody_is_told());
    found
}

/// What the texts of a file name.
#[derive(Default)]
struct Mentions<'a> {
    /// What its expressions select, such as `["inputs", "side"]`.
    paths: Vec<Vec<String>>,
    /// Its texts.
    texts: Vec<&'a str>,
}

impl<'a> Mentions<'a> {
    fn gather(&mut self, value: &'a Json) {
        match value {
            Json::String(text) => {
                let template = Template::parse(text);
                self.paths.extend(template.iter().flat_map(Template::expressions).flat_map(Expression::paths));
                self.texts.push(text);
            }
            Json::Array(items) => items.iter().for_each(|item| self.gather(item)),
            Json::Object(map) => {
                for (key, item) in map {
                    match item.as_str().filter(|_| key == "if").map(|text| Expression::parse(text, 0)) {
                        Some(Ok(condition)) => self.paths.extend(condition.paths()),
                        // What people call it is no use of it.
                        _ if matches!(key.as_str(), "name" | "description") => {}
                        _ => self.gather(item),
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether an expression reads this, a part of it, or what it is a part of.
    fn read(&self, wanted: &[&str]) -> bool {
        self.paths.iter().any(|path| path.iter().zip(wanted).all(|(name, wanted)| name == wanted))
    }

    /// Whether a store or a channel is named.
    fn name(&self, name: &str) -> bool {
        self.texts.iter().any(|text| *text == name || Template::is_in(text) && text.contains(name))
    }
}

struct Reader<'a> {
    document: &'a Document,
    pipeline: &'a Pipeline,
    mentions: Mentions<'a>,
}

impl<'a> Reader<'a> {
    /// Stages of both sections, with their pointers.
    fn stages(&self) -> impl Iterator<Item = (String, &'a str, &'a Stage)> {
        let in_section = |section: &'static str| move |name: &str| format!("/{section}/{}", escape(name));
        let (main, last) = (in_section("stages"), in_section("finally"));
        let stages = self.pipeline.stages.iter().map(move |(name, stage)| (main(name.as_str()), name.as_str(), stage));
        let finally =
            self.pipeline.finally.iter().map(move |(name, stage)| (last(name.as_str()), name.as_str(), stage));
        stages.chain(finally)
    }

    fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = (String, &'a str, &'a Stage)> {
        self.stages().filter(move |(.., stage)| stage.uses.as_deref() == Some(kind))
    }

    fn stage(&self, name: &str) -> Option<&'a Stage> {
        self.stages().find(|(_, other, _)| *other == name).map(|(.., stage)| stage)
    }

    fn at_key(&self, code: Code, pointer: &str, message: String, help: &str) -> Diagnostic {
        Diagnostic::warning(code, message).at(self.document.at_key(pointer)).help(help)
    }

    fn unused(&self) -> Vec<Diagnostic> {
        let Pipeline { secrets, inputs, stores, channels, .. } = self.pipeline;
        let mut found = Vec::new();
        for name in secrets.keys().map(Name::as_str).filter(|name| !self.mentions.read(&["secrets", name])) {
            let help = "remove it: where it is missing, a run is blocked for nothing";
            let message = format!("nothing uses the secret `{name}`");
            found.push(self.at_key("TL0801", &format!("/secrets/{name}"), message, help));
        }
        let inputs = inputs.keys().filter(|name| !self.mentions.read(&["inputs", name.as_str()]));
        let stores = stores.keys().filter(|name| !self.mentions.name(name.as_str()));
        let channels = channels.keys().filter(|name| !self.mentions.name(name.as_str()));
        let named = inputs.map(|name| ("inputs", "input", name));
        let named = named.chain(stores.map(|name| ("stores", "store", name)));
        for (section, what, name) in named.chain(channels.map(|name| ("channels", "channel", name))) {
            let message = format!("nothing uses the {what} `{name}`");
            let help = "use it, or remove it";
            found.push(self.at_key("TL0807", &format!("/{section}/{name}"), message, help));
        }
        found
    }

    fn unread_outputs(&self) -> Vec<Diagnostic> {
        let declared = self
            .stages()
            .flat_map(|(at, name, stage)| stage.outputs.keys().map(move |output| (at.clone(), name, output)));
        declared
            .filter(|(_, name, output)| !self.mentions.read(&["needs", name, "outputs", output.as_str()]))
            .map(|(at, name, output)| {
                let message = format!("nothing reads the output `{output}` of `{name}`");
                let help = "remove it from `outputs`: the stage fails where it does not write it";
                self.at_key("TL0802", &format!("{at}/outputs/{output}"), message, help)
            })
            .collect()
    }

    /// Deliveries that nothing proves, and those of plaintext.
    fn uploads(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for (at, name, upload) in self.of_kind("upload") {
            if !self.of_kind("verify").any(|(prove, _, verify)| self.proves(&prove, verify, name, upload)) {
                let help = format!(
                    "add a stage: `{{ needs: {name}, uses: verify, with: {{ object: \"${{{{ needs.{name}.outputs.object }}}}\" }} }}`"
                );
                let message = format!("nothing verifies what `{name}` delivers");
                found.push(self.at_key("TL0803", &at, message, &help));
            }
            if let Some((source, kind)) = self.plaintext(upload) {
                let message = format!("`{name}` delivers what `{source}` ({kind}) gives, which is not encrypted");
                let warning = Diagnostic::warning("TL0805", message)
                    .at(self.document.at_value(&format!("{at}/with/artifact")))
                    .help("put a stage `uses: encrypt` between them: whoever can read the store can read this");
                found.push(warning);
            }
        }
        found
    }

    /// Whether a `verify` reads the object of an upload: by expression, or by the same store and key.
    fn proves(&self, at: &str, verify: &Stage, upload: &str, uploaded: &Stage) -> bool {
        let mut mentions = Mentions::default();
        if let Some(stage) = self.document.value().pointer(at) {
            mentions.gather(stage);
        }
        let object = &verify.with["object"];
        let same = |key: &str| object.get(key).is_some_and(|value| uploaded.with.get(key) == Some(value));
        mentions.read(&["needs", upload, "outputs", "object"]) || same("store") && same("key")
    }

    /// The stage whose plaintext an upload delivers, and its kind. What a program made or what was fetched may be anything.
    fn plaintext(&self, upload: &Stage) -> Option<(String, &'a str)> {
        let source = artifact_source(upload.with.get("artifact")?.as_str()?)?;
        let kind = self.stage(&source)?.uses.as_deref()?;
        let flow = stages::find(kind)?.flow;
        (kind == "decrypt" || flow == Flow::Source && kind != "download").then_some((source, kind))
    }

    /// Directory stores that are lost together with what they keep.
    fn stores_beside_their_sources(&self, device: &dyn Fn(&Path) -> Option<u64>) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for (name, store) in self.pipeline.stores.iter().filter(|(_, store)| store.uses == "dir") {
            let at = format!("/stores/{name}/with/path");
            let Some(path) = store.with.get("path").and_then(|path| self.path(&at, path)) else { continue };
            let uploads =
                self.of_kind("upload").filter(|(.., upload)| upload.with.get("store") == Some(&name.as_str().into()));
            let mut sources =
                uploads.filter_map(|(at, _, upload)| self.archive_of(at, upload)).flat_map(|(at, archive)| {
                    let stays = archive.with.get("one-file-system") == Some(&Json::Bool(true));
                    let sources = archive.with["sources"].as_array().into_iter().flatten();
                    sources.filter_map(move |source| {
                        Some((source.as_str()?, self.path(&format!("{at}/with/sources"), source)?, stays))
                    })
                });
            let near = sources.find(|(_, source, stays)| {
                match (device(&path), device(source)) {
                    (Some(store), Some(source)) => store == source,
                    // Not on this machine. What is mounted inside a source may be left out of it.
                    _ => path.starts_with(source) && !stays || source.starts_with(&path),
                }
            });
            if let Some((source, ..)) = near {
                let message = format!("the store `{name}` is on the same disk as `{source}`, which it keeps");
                let warning = Diagnostic::warning("TL0804", message)
                    .at(self.document.at_value(&at))
                    .help("who loses the disk loses both: deliver to another disk or machine, too");
                found.push(warning);
            }
        }
        found
    }

    /// The archive that an upload delivers, through what seals it, and its pointer.
    fn archive_of(&self, at: String, upload: &'a Stage) -> Option<(String, &'a Stage)> {
        let (mut at, mut stage) = (at, upload);
        // A pipeline has no cycles.
        while stage.uses.as_deref() != Some("archive") {
            let source = artifact_source(stage.with.get("artifact")?.as_str()?)?;
            (at, _, stage) = self.stages().find(|(_, name, _)| *name == source)?;
        }
        Some((at, stage))
    }

    /// The absolute path, without `.` and `..`, that stands at a pointer, where the file says one.
    fn path(&self, pointer: &str, value: &Json) -> Option<PathBuf> {
        let text = value.as_str().filter(|text| !Template::is_in(text))?;
        let mut path = PathBuf::new();
        for part in self.document.folder_of(pointer).join(text).components() {
            match part {
                Component::ParentDir => drop(path.pop()),
                Component::CurDir => {}
                part => path.push(part),
            }
        }
        Some(path)
    }

    fn nobody_is_told(&self) -> Option<Diagnostic> {
        let Pipeline { notify, finally, channels, .. } = self.pipeline;
        let is_told = notify.iter().any(|entry| entry.when.contains(&When::Failure))
            // Runs last, whatever happened.
            || finally.values().any(|stage| stage.uses.as_deref() == Some("notify"));
        self.of_kind("upload").next().filter(|_| !is_told)?;
        let at = if notify.is_empty() { self.document.at_value("/name") } else { self.document.at_key("/notify") };
        let channel = channels.keys().next().map_or("CHANNEL", Name::as_str);
        let entry = format!("- {{ when: [failure, blocked], to: [{channel}] }}");
        Some(
            Diagnostic::warning("TL0806", "this pipeline protects data, and nobody is told when it fails")
                .at(at)
                .help(format!("add `{entry}` to `notify`")),
        )
    }
}
