//! Checks `needs`: that its names exist, and that there are no circles.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::checker::Checker;
use super::scope::needs_of;
use super::wording::listed;
use crate::diagnostic::{Diagnostic, Location, codes};
use crate::expression::{Template, did_you_mean};
use crate::pipeline::read::{entries, escape};

impl Checker<'_> {
    pub(super) fn needs(&mut self, section: &str, name: &str, stage: &Json) {
        let mut seen = BTreeSet::new();
        for (index, need) in needs_of(stage).enumerate().filter(|(_, need)| !Template::is_in(need)) {
            let at = self.need(section, name, stage, index);
            if !seen.insert(need) {
                self.report(
                    Diagnostic::usage(codes::TL0406, format!("`{need}` stands in `needs` twice"))
                        .at(at)
                        .help("once is enough"),
                );
            } else if need == name {
                self.report(
                    Diagnostic::usage(codes::TL0402, format!("`{name}` needs itself")).at(at).help("remove it"),
                );
            } else if self.file[section].get(need).is_none() {
                let found = self.missing_need(section, name, need).at(at);
                self.report(found);
            }
        }
    }

    fn missing_need(&self, section: &str, name: &str, need: &str) -> Diagnostic {
        if self.scopes.has_stage(need) {
            let (other, help) = if section == "finally" {
                ("stages", format!("it has ended anyway; `stages.{need}.result` says how"))
            } else {
                ("finally", "no stage can wait for `finally`, which runs last".to_owned())
            };
            let message = format!("`{need}` is a stage of `{other}`, not of `{section}`");
            return Diagnostic::usage(codes::TL0404, message).help(help);
        }
        let diagnostic = Diagnostic::usage(codes::TL0401, format!("there is no stage `{}`", need.escape_debug()));
        let others = || entries(self.file, section).map(|(other, _)| other.as_str()).filter(|other| *other != name);
        let others_listed: Vec<&str> = others().collect();
        match did_you_mean(need, others()) {
            Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
            None if others_listed.is_empty() => diagnostic.help(format!("`{section}` has no other stage")),
            None => diagnostic.help(format!("`{section}` has {}", listed(&others_listed))),
        }
    }

    /// The place of one name in `needs`.
    fn need(&self, section: &str, name: &str, stage: &Json, index: usize) -> Location {
        let base = format!("/{section}/{}/needs", escape(name));
        // `index` counts texts only, as `needs_of` does.
        let texts = stage["needs"].as_array().into_iter().flatten().enumerate().filter(|(_, item)| item.is_string());
        let item = texts.map(|(at, _)| at).nth(index);
        self.document.at_value(&item.map_or(base.clone(), |item| format!("{base}/{item}")))
    }

    /// Reports each circle once, at the need that closes it.
    pub(super) fn cycles(&mut self, section: &str) {
        let graph: BTreeMap<&str, Vec<&str>> =
            entries(self.file, section).map(|(name, stage)| (name.as_str(), needs_of(stage).collect())).collect();
        let mut done = BTreeSet::new();
        for start in graph.keys() {
            // Depth first, without recursion: a chain of needs may be as long as the file.
            let mut path: Vec<(&str, usize)> = vec![(start, 0)];
            let mut on_path = BTreeSet::from([*start]);
            while let Some((stage, next)) = path.last_mut() {
                let (stage, index) = (*stage, *next);
                let need = if done.contains(stage) { None } else { graph.get(stage).and_then(|n| n.get(index)) };
                *next += 1;
                match need.copied() {
                    Some(need) if need == stage || !graph.contains_key(need) => {}
                    Some(need) if on_path.contains(need) => {
                        let from = path.iter().position(|(on, _)| *on == need).unwrap_or(0);
                        let mut circle: Vec<&str> = path[from..].iter().map(|(on, _)| *on).collect();
                        circle.push(need);
                        let at = self.need(section, stage, &self.file[section][stage], index);
                        let message = format!("these stages wait for each other: {}", shortened(&circle).join(" → "));
                        self.report(Diagnostic::usage(codes::TL0402, message).at(at).help("remove one of these needs"));
                    }
                    Some(need) => {
                        path.push((need, 0));
                        on_path.insert(need);
                    }
                    None => {
                        done.insert(stage);
                        on_path.remove(stage);
                        path.pop();
                    }
                }
            }
        }
    }
}

/// A circle as a message shows it, shortened: a circle may have as many stages as the file.
fn shortened<'a>(circle: &[&'a str]) -> Vec<&'a str> {
    match circle {
        [first @ .., last] if circle.len() > 40 => first[..20].iter().copied().chain(["…", *last]).collect(),
        all => all.to_vec(),
    }
}
