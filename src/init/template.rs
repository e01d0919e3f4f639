/// A pipeline template.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Template {
    /// The name of its file in `pipelines/`.
    pub file: &'static str,
    text: &'static str,
}

macro_rules! templates {
    ($($file:literal)*) => {
        &[$(Template { file: $file, text: include_str!(concat!("../../pipelines/", $file)) }),*]
    };
}

/// Every template, the simplest first.
pub(crate) const TEMPLATES: &[Template] = templates! {
    "home-to-disk.yaml"
    "etc-to-nas.yaml"
    "website-folder.yaml"
    "sqlite-application.yaml"
    "postgres-nightly.yaml"
    "git-mirror.yaml"
    "folder-to-s3-lock.yaml"
    "two-regions.yaml"
    "ci-artifact.yaml"
};

/// The template with this name.
pub(crate) fn find(name: &str) -> Option<&'static Template> {
    TEMPLATES.iter().find(|template| template.name() == name)
}

impl Template {
    /// Its name, which is that of its pipeline.
    pub(crate) fn name(&self) -> &'static str {
        self.value_of("name: ")
    }

    /// What it does, in one sentence.
    pub(crate) fn description(&self) -> &'static str {
        self.value_of("description: ")
    }

    /// The value of a top-level key. It reads lines instead of YAML; a test keeps each template in this form.
    fn value_of(&self, key: &str) -> &'static str {
        self.text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default()
    }

    /// The text for a file of this name. The commands in its comments use the name, so it must be quoted for a shell. The
    /// first lines are left out: they name a schema for editors, relative to `pipelines/`.
    pub(crate) fn text(&self, name: &str) -> String {
        let modeline = "# yaml-language-server:";
        let body = match self.text.strip_prefix(modeline).and_then(|rest| rest.split_once('\n')) {
            Some((_, rest)) => rest.strip_prefix("#\n").unwrap_or(rest),
            None => self.text,
        };
        body.replace(&format!("pipelines/{}", self.file), name)
    }
}
