use serde_json::{Map, Value as Json};

use super::kind::kind;
use super::{Command, RUN, StageKind, archive, assert, audit, decrypt, download, encrypt, notify, upload, verify};
use crate::event::Did;

#[cfg(feature = "test-kinds")]
pub use with_tests::KINDS;

/// Every kind of stage.
#[cfg(not(feature = "test-kinds"))]
pub static KINDS: &[StageKind] = SHIPPED;

const SHIPPED: &[StageKind] = &[
    kind::<archive::Archive>(),
    kind::<encrypt::Encrypt>(),
    kind::<decrypt::Decrypt>(),
    kind::<upload::Upload>(),
    kind::<download::Download>(),
    kind::<verify::Verify>(),
    kind::<audit::Audit>(),
    kind::<notify::Notify>(),
    kind::<assert::Assert>(),
];

/// Finds a kind by name.
pub fn find(name: &str) -> Option<&'static StageKind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// Summarises what a stage did, from its outputs. `kind` is the name of a kind, or [`RUN`].
pub fn summary(kind: &str, outputs: &Map<String, Json>) -> Did {
    if kind == RUN {
        return Command::summary(outputs);
    }
    find(kind).map(|kind| (kind.summary)(outputs)).unwrap_or_default()
}

/// The kinds, including the test kind if the environment variable `TL_TEST_KINDS` asks for it. Without the variable,
/// schema, help and messages list only the kinds that users have.
#[cfg(feature = "test-kinds")]
mod with_tests {
    use std::sync::LazyLock;

    use super::{SHIPPED, StageKind, kind};
    use crate::stages::test_kind::Deposit;

    /// Every kind of stage.
    pub static KINDS: LazyLock<Vec<StageKind>> = LazyLock::new(|| {
        let of_tests = std::env::var_os("TL_TEST_KINDS").map(|_| kind::<Deposit>());
        SHIPPED.iter().copied().chain(of_tests).collect()
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::{ARTIFACT, Delivery, Effect, Flow, Reading};

    fn is_artifact(schema: &Json) -> bool {
        schema["properties"][ARTIFACT]["x-tl-type"] == "artifact"
    }

    #[test]
    fn a_kind_takes_and_gives_its_artifact_by_one_name() {
        for kind in KINDS.iter() {
            let takes = matches!(kind.flow, Flow::Filter | Flow::Sink);
            let gives = matches!(kind.flow, Flow::Filter | Flow::Source);
            assert_eq!(is_artifact((kind.schema)()), takes, "{}", kind.name);
            assert_eq!(is_artifact((kind.outputs)()), gives, "{}", kind.name);
        }
    }

    #[test]
    fn effects_name_settings_and_outputs_that_are_there() {
        for kind in KINDS.iter() {
            for effect in kind.effects {
                let settings = match *effect {
                    Effect::Reads(Reading { paths, one_device }) => {
                        [Some(paths), one_device].into_iter().flatten().collect()
                    }
                    Effect::Seals { recipients, file } => vec![recipients, file],
                    Effect::Fetches { store, key } => vec![store, key],
                    Effect::Proves { object } => vec![object],
                    Effect::Delivers(Delivery { store, key, overwrite, lock, resume, object }) => {
                        assert!((kind.outputs)()["properties"][object].is_object(), "{}: {object}", kind.name);
                        [Some(store), Some(key), overwrite, lock, resume].into_iter().flatten().collect()
                    }
                    Effect::Opens | Effect::Tells => Vec::new(),
                };
                for setting in settings {
                    assert!((kind.schema)()["properties"][setting].is_object(), "{}: {setting}", kind.name);
                }
            }
        }
    }

    #[test]
    fn outputs_of_an_older_build_and_of_a_program_are_summed_up() {
        let outputs = |text: &str| serde_json::from_str::<Map<String, Json>>(text).unwrap();
        let object = r#"{ "object": { "store": "s", "key": "k", "uri": "/s/k", "size": 7, "digest": "sha256:0",
                          "version_id": null, "lock_until": null } }"#;
        let delivered = Did { bytes: Some(7), delivered: Some(7), uri: Some("/s/k".to_owned()), ..Did::default() };
        assert_eq!(summary("upload", &outputs(object)), delivered);
        let verified = Did { bytes: Some(0), level: Some("presence".to_owned()), ..Did::default() };
        assert_eq!(summary("verify", &outputs(r#"{ "level": "presence", "checked_bytes": 0 }"#)), verified);
        let program = Did { files: Some(2), ..Did::default() };
        assert_eq!(summary(RUN, &outputs(r#"{ "files": 2, "other": true }"#)), program);
        for (kind, other) in [("upload", r#"{ "object": [null] }"#), ("gone", r#"{ "files": 2 }"#)] {
            assert_eq!(summary(kind, &outputs(other)), Did::default());
        }
    }
}
