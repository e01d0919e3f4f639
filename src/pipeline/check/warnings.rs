//! Lints: what is valid but probably a mistake.
//!
//! `validate` shows them and `run` never does, since they are for the author of the file. Nothing is refused for them, and
//! no key silences one. A name counts as used wherever the file mentions it: a false warning costs more trust than a
//! missing one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use super::pipes::pipes;
use crate::diagnostic::{Code, Diagnostic, codes};
use crate::expression::{Expression, Template, Values};
use crate::pipeline::model::{Pipeline, Stage, StoreOrChannel, When, artifact_source};
use crate::pipeline::partial::{PartialResolver, SecretPlaceholder};
use crate::pipeline::read::{Document, escape};
use crate::stages::{ARTIFACT, Delivery, Effect, Finding, Findings, Flow, Known, ObjectRef, Reading, StageKind};
use crate::storage;
use crate::value::{Kind, Name};

/// Every warning. `device` gives the file system of a path, or `None` if the path does not exist on this machine.
pub fn warnings(document: &Document, pipeline: &Pipeline, device: &dyn Fn(&Path) -> Option<u64>) -> Vec<Diagnostic> {
    let mut mentions = Mentions::default();
    mentions.gather(document.value());
    let by_name = stages_of(pipeline).map(|(section, name, stage)| (name, (section, stage))).collect();
    let reader = Reader { document, pipeline, mentions, by_name };
    let mut found = reader.unused();
    found.extend(reader.unread_outputs());
    found.extend(reader.deliveries());
    found.extend(reader.stores_beside_their_sources(device));
    found.extend(reader.of_kinds());
    found.extend(reader.nobody_is_told());
    found.extend(pipes(document, pipeline));
    found.extend(elsewhere(document, pipeline).into_iter().map(Diagnostic::as_warning));
    found
}

/// What asks for other hosts: `tl run` refuses it.
pub fn elsewhere(document: &Document, pipeline: &Pipeline) -> Vec<Diagnostic> {
    let chosen = stages_of(pipeline).filter(|(_, _, stage)| stage.runs_on.is_some());
    let refuse = |(section, name, _): (&str, &str, &Stage)| {
        Diagnostic::usage(codes::TL0105, "`runs-on` chooses among several hosts, which are not built yet")
            .at(document.at_key(&format!("{}/runs-on", pointer(section, name))))
            .help("remove it, and run the file on the host that has the data")
    };
    chosen.map(refuse).collect()
}

/// The names that the texts of a file mention.
#[derive(Default)]
struct Mentions<'a> {
    /// The paths that its expressions select, such as `["inputs", "side"]`.
    paths: BTreeSet<Vec<String>>,
    /// Its texts, and the words of those that hold expressions.
    words: HashSet<&'a str>,
}

impl<'a> Mentions<'a> {
    fn gather(&mut self, value: &'a Json) {
        match value {
            Json::String(text) => {
                if let Ok(template) = Template::parse(text) {
                    self.paths.extend(template.expressions().flat_map(Expression::paths));
                }
                self.words.insert(text);
                if Template::is_in(text) {
                    self.words.extend(text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
                }
            }
            Json::Array(items) => items.iter().for_each(|item| self.gather(item)),
            Json::Object(map) => {
                for (key, item) in map {
                    match item.as_str().filter(|_| key == "if").map(|text| Expression::parse(text, 0)) {
                        Some(Ok(condition)) => self.paths.extend(condition.paths()),
                        // A name or a description does not use what it mentions.
                        _ if matches!(key.as_str(), "name" | "description") => {}
                        _ => self.gather(item),
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether an expression reads this path, a part of it, or a whole that contains it.
    fn read(&self, wanted: &[&str]) -> bool {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        // The set is ordered, so the parts of a path follow it.
        let is_part = self.paths.range(wanted.clone()..).next().is_some_and(|path| path.starts_with(&wanted));
        is_part || (0..wanted.len()).any(|length| self.paths.contains(&wanted[..length]))
    }

    /// Whether a store or a channel is named.
    fn name(&self, name: &str) -> bool {
        self.words.contains(name)
    }
}

/// Stages of both sections: section, name, stage.
pub(super) fn stages_of(pipeline: &Pipeline) -> impl Iterator<Item = (&'static str, &str, &Stage)> {
    let in_section = |section: &'static str| move |(name, stage)| (section, Name::as_str(name), Arc::as_ref(stage));
    let stages = pipeline.stages.iter().map(in_section("stages"));
    stages.chain(pipeline.finally.iter().map(in_section("finally")))
}

struct Reader<'a> {
    document: &'a Document,
    pipeline: &'a Pipeline,
    mentions: Mentions<'a>,
    by_name: HashMap<&'a str, (&'static str, &'a Stage)>,
}

impl<'a> Reader<'a> {
    /// The stages whose kind has such an effect: pointer, name, stage, and the effect.
    fn with_effect<T>(
        &self,
        effect: impl Fn(&StageKind) -> Option<T>,
    ) -> impl Iterator<Item = (String, &'a str, &'a Stage, T)> {
        stages_of(self.pipeline).filter_map(move |(section, name, stage)| {
            Some((pointer(section, name), name, stage, effect(stage.kind()?)?))
        })
    }

    /// What the kinds of the stages warn of.
    fn of_kinds(&self) -> Vec<Diagnostic> {
        let mut warned = Vec::new();
        for (with, _, stage, kind) in self.with_effect(|kind| Some(*kind)) {
            let (settings, mut found) = (Json::Object(stage.with.clone()), Findings::default());
            (kind.warn)(&Known::new(&settings), &mut found);
            let at = |found: &Finding| self.document.at_value(&format!("{with}/with{}", found.pointer));
            warned.extend(found.into_iter().map(|found| found.problem.clone().at(at(&found))));
        }
        warned
    }

    fn stage(&self, name: &str) -> Option<&'a Stage> {
        self.by_name.get(name).map(|(_, stage)| *stage)
    }

    fn at_key(&self, code: Code, pointer: &str, message: String, help: &str) -> Diagnostic {
        Diagnostic::warning(code, message).at(self.document.at_key(pointer)).help(help)
    }

    fn unused(&self) -> Vec<Diagnostic> {
        let Pipeline { secrets, inputs, stores, channels, .. } = self.pipeline;
        let mut found = Vec::new();
        for name in secrets.keys().map(Name::as_str).filter(|name| !self.mentions.read(&["secrets", name])) {
            let help = "remove it, or name it where it is needed: no run reads it";
            let message = format!("nothing uses the secret `{name}`");
            found.push(self.at_key(codes::TL0801, &format!("/secrets/{name}"), message, help));
        }
        let inputs = inputs.keys().filter(|name| !self.mentions.read(&["inputs", name.as_str()]));
        let stores = stores.keys().filter(|name| !self.mentions.name(name.as_str()));
        let channels = channels.keys().filter(|name| !self.mentions.name(name.as_str()));
        let named = inputs.map(|name| ("inputs", "input", name));
        let named = named.chain(stores.map(|name| ("stores", "store", name)));
        for (section, what, name) in named.chain(channels.map(|name| ("channels", "channel", name))) {
            let message = format!("nothing uses the {what} `{name}`");
            let help = "use it, or remove it";
            found.push(self.at_key(codes::TL0807, &format!("/{section}/{name}"), message, help));
        }
        found
    }

    fn unread_outputs(&self) -> Vec<Diagnostic> {
        let declared = stages_of(self.pipeline)
            .flat_map(|(section, name, stage)| stage.outputs.keys().map(move |output| (section, name, output)));
        declared
            .filter(|(_, name, output)| !self.mentions.read(&["needs", name, "outputs", output.as_str()]))
            .map(|(section, name, output)| {
                let at = pointer(section, name);
                let message = format!("nothing reads the output `{output}` of `{name}`");
                let help = "remove it from `outputs`: the stage fails where it does not write it";
                self.at_key(codes::TL0802, &format!("{at}/outputs/{output}"), message, help)
            })
            .collect()
    }

    /// Deliveries that nothing verifies, and deliveries of plaintext.
    fn deliveries(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let proofs = self.proofs();
        for (at, name, stage, delivery) in self.with_effect(StageKind::delivery) {
            if !proofs.cover(name, stage, delivery) {
                let object = format!("${{{{ needs.{name}.outputs.{} }}}}", delivery.object);
                let help =
                    format!("add a stage: `{{ needs: {name}, uses: verify, with: {{ object: \"{object}\" }} }}`");
                let message = format!("nothing verifies what `{name}` delivers");
                found.push(self.at_key(codes::TL0803, &at, message, &help));
            }
            if let Some((source, kind)) = self.plaintext(stage) {
                let message = format!("`{name}` delivers what `{source}` ({kind}) gives, which is not encrypted");
                let warning = Diagnostic::warning(codes::TL0805, message)
                    .at(self.document.at_value(&format!("{at}/with/{ARTIFACT}")))
                    .help("put a stage `uses: encrypt` between them: whoever can read the store can read this");
                found.push(warning);
            }
        }
        found
    }

    fn proofs(&self) -> Proofs<'a> {
        let mut proofs = Proofs::default();
        for (at, _, verify, object) in self.with_effect(StageKind::proved) {
            if let Some(stage) = self.document.value().pointer(&at) {
                proofs.mentions.gather(stage);
            }
            proofs.objects.extend(verify.with.get(object).and_then(ObjectRef::place));
        }
        proofs
    }

    /// The stage whose plaintext a stage delivers, and its kind. The output of a program and a fetched object may be anything, so
    /// they do not count.
    fn plaintext(&self, delivers: &Stage) -> Option<(String, &'a str)> {
        let source = artifact_source(delivers.with.get(ARTIFACT)?.as_str()?)?;
        let kind = self.stage(&source)?.kind()?;
        let opens = kind.effects.iter().any(|effect| matches!(effect, Effect::Opens));
        let fetches = kind.effects.iter().any(|effect| matches!(effect, Effect::Fetches { .. }));
        (opens || kind.flow == Flow::Source && !fetches).then_some((source, kind.name))
    }

    /// Directory stores on the same disk as the data that they protect.
    fn stores_beside_their_sources(&self, device: &dyn Fn(&Path) -> Option<u64>) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let mut by_store: HashMap<&str, Vec<(String, &Stage)>> = HashMap::new();
        for (at, _, stage, delivery) in self.with_effect(StageKind::delivery) {
            if let Some(store) = stage.with.get(delivery.store).and_then(Json::as_str) {
                by_store.entry(store).or_default().push((at, stage));
            }
        }
        for (name, store) in &self.pipeline.stores {
            let Some((at, path)) = self.folder_of(name, store) else { continue };
            let stages = by_store.get(name.as_str()).into_iter().flatten();
            let mut sources = stages.filter_map(|(at, stage)| self.reader_behind(at.clone(), stage)).flat_map(
                |(at, reader, Reading { paths, one_device })| {
                    let stays = one_device.is_some_and(|setting| reader.with.get(setting) == Some(&Json::Bool(true)));
                    let given = reader.with.get(*paths).map_or(&[][..], |given| match given {
                        Json::Array(list) => list,
                        one => std::slice::from_ref(one),
                    });
                    given.iter().filter_map(move |source| {
                        Some((source.as_str()?, self.path(&format!("{at}/with/{paths}"), source)?, stays))
                    })
                },
            );
            let near = sources.find(|(_, source, stays)| {
                match (device(&path), device(source)) {
                    (Some(store), Some(source)) => store == source,
                    // At least one path is not on this machine, so compare the paths. With `one-file-system`, a store inside a
                    // source may be a mount that the archive leaves out.
                    _ => path.starts_with(source) && !stays || source.starts_with(&path),
                }
            });
            if let Some((source, ..)) = near {
                let message = format!("the store `{name}` is on the same disk as `{source}`, which it keeps");
                let warning = Diagnostic::warning(codes::TL0804, message)
                    .at(self.document.at_value(&at))
                    .help("who loses the disk loses both: deliver to another disk or machine, too");
                found.push(warning);
            }
        }
        found
    }

    /// The pointer of the setting that names the folder of a store on this machine, and the folder.
    fn folder_of(&self, name: &Name, store: &StoreOrChannel) -> Option<(String, PathBuf)> {
        let kind = Kind::find(storage::KINDS, &store.uses)?;
        let at = format!("/stores/{name}/with");
        let (document, values) = (self.document, &Values::default());
        let resolver = PartialResolver { document, values, secrets: SecretPlaceholder::Hidden };
        let settings = resolver.resolve(&Json::Object(store.with.clone()), (kind.schema)(), &at).value;
        let built = (kind.build)(settings.clone().into()).ok()?;
        let folder = built.local_folder()?.to_str()?;
        let (key, _) = settings.as_object()?.iter().find(|(_, value)| *value == folder)?;
        let at = format!("{at}/{key}");
        let path = self.path(&at, &store.with[key])?;
        Some((at, path))
    }

    /// The stage whose files another one delivers, through what seals them: its pointer, the stage, and the settings of its
    /// reading.
    fn reader_behind(&self, at: String, delivers: &'a Stage) -> Option<(String, &'a Stage, &'static Reading)> {
        let (mut at, mut stage) = (at, delivers);
        // This ends, since a checked pipeline has no circles.
        loop {
            if let Some(reading) = stage.kind().and_then(StageKind::reading) {
                return Some((at, stage, reading));
            }
            let source = artifact_source(stage.with.get(ARTIFACT)?.as_str()?)?;
            let &(section, next) = self.by_name.get(source.as_str())?;
            (at, stage) = (pointer(section, &source), next);
        }
    }

    /// The absolute path at a pointer, without `.` and `..`. `None` if it is not a literal.
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
        let tells = |kind: &StageKind| kind.effects.iter().any(|effect| matches!(effect, Effect::Tells));
        let is_told = notify.iter().any(|entry| entry.when.contains(&When::Failure))
            // `finally` runs whatever happened.
            || finally.values().filter_map(|stage| stage.kind()).any(tells);
        self.with_effect(StageKind::delivery).next().filter(|_| !is_told)?;
        let at = if notify.is_empty() { self.document.at_value("/name") } else { self.document.at_key("/notify") };
        let channel = channels.keys().next().map_or("CHANNEL", Name::as_str);
        let entry = format!("- {{ when: [failure, blocked], to: [{channel}] }}");
        Some(
            Diagnostic::warning(codes::TL0806, "this pipeline protects data, and nobody is told when it fails")
                .at(at)
                .help(format!("add `{entry}` to `notify`")),
        )
    }
}

/// What the stages of a file prove.
#[derive(Default)]
struct Proofs<'a> {
    mentions: Mentions<'a>,
    /// The literal stores and keys of their objects.
    objects: HashSet<(&'a Json, &'a Json)>,
}

impl Proofs<'_> {
    /// Whether the object that a stage delivers is read: by expression, or by the same store and key.
    fn cover(&self, name: &str, stage: &Stage, delivery: &Delivery) -> bool {
        let object = stage.with.get(delivery.store).zip(stage.with.get(delivery.key));
        let is_read = self.mentions.read(&["needs", name, "outputs", delivery.object]);
        is_read || object.is_some_and(|it| self.objects.contains(&it))
    }
}

fn pointer(section: &str, name: &str) -> String {
    format!("/{section}/{}", escape(name))
}
