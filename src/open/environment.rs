//! The environment of a run, as expressions see it: the host, the git repository of the file, the CI.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::git;
use crate::diagnostic::Diagnostic;
use crate::expression::Values;
use crate::pipeline::{Document, uses_context};
use crate::value::host_name;

/// The host, the repository and the CI of a run. Read once, with its file.
#[derive(Clone, Debug)]
pub struct RunEnvironment {
    host: Arc<Json>,
    git: Arc<Json>,
    ci: Arc<Json>,
}

impl RunEnvironment {
    /// Reads the environment. Runs `git` only if the file uses it; the file must then be in a repository.
    pub(crate) fn read(document: &Document) -> Result<Self, Diagnostic> {
        let uses_git = uses_context(document, "git");
        Ok(Self {
            host: Arc::new(json!({
                "name": document.value()["host-name"].as_str().map_or_else(host_name, str::to_owned),
                "os": std::env::consts::OS,
                "arch": std::env::consts::ARCH,
            })),
            git: Arc::new(if uses_git { git::look(document.folder())? } else { Json::Null }),
            ci: Arc::new(ci(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))),
        })
    }

    /// The environment as the journal keeps it.
    pub(crate) fn to_json(&self) -> Json {
        json!({ "host": *self.host, "git": *self.git, "ci": *self.ci })
    }

    /// The environment that the journal kept when a run started.
    pub(crate) fn from_json(kept: &Json) -> Self {
        let part = |name: &str| Arc::new(kept[name].clone());
        Self { host: part("host"), git: part("git"), ci: part("ci") }
    }

    /// The value of `host`. A plan holds a run to it, unlike `git` and `ci`, which differ from one run to the next.
    pub(crate) fn host(&self) -> Arc<Json> {
        Arc::clone(&self.host)
    }

    /// The values of `host`, `git` and `ci`.
    pub(crate) fn add_to(&self, values: Values) -> Values {
        let values = values.with("host", Arc::clone(&self.host)).with("ci", Arc::clone(&self.ci));
        if self.git.is_null() { values } else { values.with("git", Arc::clone(&self.git)) }
    }
}

/// The CI systems: the variable that identifies one, its name, the variables of the run's id and address.
const CIS: &[(&str, &str, &str, &str)] = &[
    ("GITEA_ACTIONS", "gitea", "GITHUB_RUN_ID", ""),
    ("GITHUB_ACTIONS", "github", "GITHUB_RUN_ID", ""),
    ("GITLAB_CI", "gitlab", "CI_PIPELINE_ID", "CI_PIPELINE_URL"),
    ("BUILDKITE", "buildkite", "BUILDKITE_BUILD_ID", "BUILDKITE_BUILD_URL"),
    ("CIRCLECI", "circleci", "CIRCLE_WORKFLOW_ID", "CIRCLE_BUILD_URL"),
    ("JENKINS_URL", "jenkins", "BUILD_ID", "BUILD_URL"),
];

fn ci(variable: &dyn Fn(&str) -> Option<String>) -> Json {
    let known = CIS.iter().find(|(there, ..)| variable(there).is_some_and(|value| value != "false"));
    let Some((_, name, id, address)) = known else {
        let active = variable("CI").is_some_and(|value| value != "false" && value != "0");
        return json!({ "active": active, "name": null, "run_id": null, "run_url": null });
    };
    let address = variable(address).or_else(|| {
        // GitHub and Gitea have no variable for the address.
        let [server, repository] = ["GITHUB_SERVER_URL", "GITHUB_REPOSITORY"].map(variable);
        Some(format!("{}/{}/actions/runs/{}", server?, repository?, variable(id)?))
    });
    json!({ "active": true, "name": name, "run_id": variable(id), "run_url": address })
}

/// The values that expressions can use before a run starts.
pub(crate) fn start_values(inputs: &Map<String, Json>, environment: &RunEnvironment) -> Values {
    environment.add_to(Values::default().with("inputs", Json::Object(inputs.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ci_is_known_by_its_variables() {
        let with = |variables: &'static [(&str, &str)]| {
            ci(&move |name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
        };
        let github = with(&[
            ("CI", "true"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_RUN_ID", "7"),
            ("GITHUB_SERVER_URL", "https://h"),
            ("GITHUB_REPOSITORY", "a/b"),
        ]);
        let url = "https://h/a/b/actions/runs/7";
        assert_eq!(github, json!({ "active": true, "name": "github", "run_id": "7", "run_url": url }));
        let other = with(&[("CI", "1")]);
        assert_eq!(other, json!({ "active": true, "name": null, "run_id": null, "run_url": null }));
        assert_eq!(with(&[])["active"], false);
        assert_eq!(with(&[("CI", "false")])["active"], false);
    }
}
