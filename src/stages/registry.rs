use super::kind::kind;
use super::{StageKind, archive, assert, audit, decrypt, download, encrypt, notify, upload, verify};

/// Every kind of stage.
pub static KINDS: &[StageKind] = &[
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

/// The kind of that name.
pub fn find(name: &str) -> Option<&'static StageKind> {
    KINDS.iter().find(|kind| kind.name == name)
}
