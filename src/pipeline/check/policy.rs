//! Checks `policy` over the graph of the file.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::checker::{Checker, kind_of};
use super::matrix_values::choices;
use super::wording::listed;
use crate::diagnostic::{Diagnostic, codes};
use crate::expression::Template;
use crate::pipeline::model::{artifact_source, expressions_in, output_of, whole_path};
use crate::pipeline::read::{entries, escape};
use crate::stages::{ARTIFACT, Delivery};
use crate::value::Kind;
use crate::{channels, vault};

/// The stages of `stages` and `finally`: section, name, stage.
fn all_stages(file: &Json) -> impl Iterator<Item = (&'static str, &String, &Json)> {
    ["stages", "finally"].into_iter().flat_map(move |section| entries(file, section).map(move |(n, s)| (section, n, s)))
}

/// The stages that deliver: section, name, stage, and how.
fn deliveries(file: &Json) -> impl Iterator<Item = (&'static str, &String, &Json, &'static Delivery)> {
    all_stages(file).filter_map(|(section, name, stage)| Some((section, name, stage, kind_of(stage)?.delivery()?)))
}

impl Checker<'_> {
    pub(super) fn policy(&mut self) {
        let policy = &self.file["policy"];
        if policy["require-encryption"] == true {
            self.require_encryption();
        }
        if policy["require-verify"] == true {
            self.require_verify();
        }
        if let Some(allowed) = policy["allow-run"].as_array() {
            self.allow_run(&texts(allowed));
        }
        if let Some(allowed) = policy["allow-stores"].as_array() {
            for (index, name) in allowed.iter().enumerate() {
                if let Some(name) = name.as_str() {
                    self.require_known("stores", "store", &format!("/policy/allow-stores/{index}"), name);
                }
            }
            self.allow_stores(&texts(allowed));
        }
    }

    fn violated(&mut self, key: &str, pointer: &str, message: String, help: &str) {
        let at = self.document.at_value(pointer);
        let policy = self.document.at_key(&format!("/policy/{key}"));
        let rule = format!("`{key}` of `policy`, {}:{}", policy.file, policy.line);
        self.report(Diagnostic::usage(codes::TL0411, message).at(at).label(rule).help(help));
    }

    fn require_encryption(&mut self) {
        let sealed: BTreeSet<&str> = all_stages(self.file)
            .filter(|(_, _, stage)| kind_of(stage).is_some_and(|kind| kind.seals().is_some()))
            .map(|(_, name, _)| name.as_str())
            .collect();
        for (section, name, stage, _) in deliveries(self.file) {
            let Some(text) = stage["with"][ARTIFACT].as_str() else { continue };
            let sources = artifact_sources(stage, text);
            let pointer = format!("/{section}/{}/with/{ARTIFACT}", escape(name));
            if sources.is_empty() || !sources.iter().all(|source| sealed.contains(source.as_str())) {
                let message = format!("what `{name}` delivers is not proven to be sealed");
                self.violated("require-encryption", &pointer, message, "put an `encrypt` stage before it");
            }
        }
    }

    fn require_verify(&mut self) {
        // A `verify` that may be skipped, or may fail without failing the run, proves nothing.
        let verifies = all_stages(self.file)
            .filter(|(_, _, stage)| stage.get("if").is_none() && stage.get("continue-on-error").is_none());
        let proven: BTreeSet<(String, String)> = verifies.filter_map(|(_, _, stage)| verified_by(stage)).collect();
        for (section, name, _, Delivery { object, .. }) in deliveries(self.file) {
            if !proven.contains(&(name.clone(), (*object).to_owned())) {
                let message = format!("no `verify` reads what `{name}` delivers");
                let help =
                    format!("add a stage that uses `verify` with `object: ${{{{ needs.{name}.outputs.{object} }}}}`");
                self.violated("require-verify", &format!("/{section}/{}/uses", escape(name)), message, &help);
            }
        }
    }

    fn allow_run(&mut self, allowed: &[&str]) {
        let help = match allowed {
            [] => "no program may be run".to_owned(),
            some => format!("these may be run: {}", listed(some)),
        };
        for (section, name, stage) in all_stages(self.file) {
            let pointer = format!("/{section}/{}/run", escape(name));
            match &stage["run"] {
                Json::String(_) => {
                    let message = format!("`{name}` runs a script, which may run any program");
                    self.violated("allow-run", &pointer, message, &help);
                }
                Json::Array(argv) => self.allowed_program(&pointer, argv, allowed, &help),
                _ => {}
            }
            if stage.get("run").is_some() && stage["env"].get("PATH").is_some() {
                let pointer = format!("/{section}/{}/env/PATH", escape(name));
                let message = "`PATH` decides which program a name means".to_owned();
                self.violated("allow-run", &pointer, message, "leave it out, and name the program with its whole path");
            }
        }
        let channels = entries(self.file, "channels").filter_map(|(name, channel)| {
            let setting = Kind::find(channels::KINDS, channel["uses"].as_str()?)?.program?;
            Some(format!("/channels/{}/with/{setting}", escape(name)))
        });
        let secrets = entries(self.file, "secrets").filter_map(|(name, secret)| {
            let setting = Kind::find(vault::SOURCES, secret["from"].as_str()?)?.program?;
            Some(format!("/secrets/{}/{setting}", escape(name)))
        });
        for pointer in channels.chain(secrets) {
            if let Some(argv) = self.file.pointer(&pointer).and_then(Json::as_array) {
                self.allowed_program(&pointer, argv, allowed, &help);
            }
        }
    }

    fn allowed_program(&mut self, pointer: &str, argv: &[Json], allowed: &[&str], help: &str) {
        if let Some(program) = argv.first().and_then(Json::as_str)
            && !Template::is_in(program)
        {
            let at = format!("{pointer}/0");
            // A relative path is looked up from the folder of the pipeline. In the folder of the file that allows it, the path may
            // name another program.
            if program.contains('/') && !program.starts_with('/') {
                let message = format!("`{}` means another program in each folder", program.escape_debug());
                self.violated("allow-run", &at, message, "name a program of PATH, or write its whole path");
            } else if !allowed.contains(&program) {
                let message = format!("`{}` is not among the programs that may be run", program.escape_debug());
                self.violated("allow-run", &at, message, help);
            }
        }
    }

    fn allow_stores(&mut self, allowed: &[&str]) {
        let help = format!("these may be used: {}", listed(allowed));
        for (section, name, stage) in all_stages(self.file) {
            let Some(kind) = kind_of(stage) else { continue };
            for (key, value) in entries(stage, "with") {
                let (true, Some(text)) = ((kind.schema)()["properties"][key]["x-tl-type"] == "store", value.as_str())
                else {
                    continue;
                };
                let pointer = format!("/{section}/{}/with/{}", escape(name), escape(key));
                let stores = if Template::is_in(text) {
                    choices(self.file, stage, &pointer, text).unwrap_or_default()
                } else {
                    vec![(pointer, text.to_owned())]
                };
                for (at, store) in stores.iter().filter(|(_, store)| !allowed.contains(&store.as_str())) {
                    self.violated("allow-stores", at, format!("the store `{store}` may not be used"), &help);
                }
            }
        }
    }
}

fn texts(values: &[Json]) -> Vec<&str> {
    values.iter().filter_map(Json::as_str).collect()
}

/// The stage and its output that a stage proves: the output is passed on whole, directly or through the matrix.
fn verified_by(stage: &Json) -> Option<(String, String)> {
    let object = whole_path(stage["with"][kind_of(stage)?.proved()?].as_str()?)?;
    let path = match object.as_slice() {
        [matrix, list] if matrix == "matrix" => whole_path(stage["strategy"]["matrix"][list].as_str()?)?,
        _ => object,
    };
    output_of(&path).map(|(stage, output)| (stage.to_owned(), output.to_owned()))
}

/// The stages whose artifact a setting passes on, directly or through the matrix.
fn artifact_sources(stage: &Json, text: &str) -> Vec<String> {
    if let Some(source) = artifact_source(text) {
        return vec![source];
    }
    let read = |value: &Json| -> Vec<String> {
        let paths = expressions_in(value).into_iter().flat_map(|expression| expression.paths());
        let source = |path: Vec<String>| {
            let (stage, output) = output_of(path.get(..4)?)?;
            (output == ARTIFACT).then(|| stage.to_owned())
        };
        paths.filter_map(source).collect()
    };
    let own = read(&Json::from(text));
    if own.is_empty() && text.contains("matrix.") { read(&stage["strategy"]["matrix"]) } else { own }
}
