use super::{Record, UploadRef};
use crate::value::Masker;

impl Record {
    /// Masks every text that can hold a secret. The words of `tl` and the names that the file gives stay as they are, even if a
    /// secret is spelled like one of them: other programs, and `tl` itself, decide by them.
    pub fn mask(&mut self, masker: &Masker) {
        let mask = |text: &mut String| *text = masker.mask(text);
        match self {
            Self::RunStarted(start) | Self::RunResumed(start) => {
                start.extends.iter_mut().map(|extended| &mut extended.file).chain([&mut start.file]).for_each(mask);
                start.inputs.values_mut().for_each(|value| masker.mask_json(value));
            }
            Self::RunFinished(end) => end.errors.iter_mut().flatten().for_each(mask),
            Self::StageEnded { detail, .. } => detail.iter_mut().for_each(mask),
            Self::RunUnsigned { error } | Self::StageRetrying { error, .. } => mask(error),
            Self::UploadIntent { uri, .. }
            | Self::UploadResumed { uri, .. }
            | Self::UploadDone { uri, .. }
            | Self::UploadAborted(UploadRef { uri, .. })
            | Self::UploadAbandoned(UploadRef { uri, .. })
            | Self::VerifyPassed { uri, .. } => mask(uri),
            Self::UploadFailed { uri, error, .. } | Self::VerifyFailed { uri, error, .. } => {
                mask(uri);
                mask(error);
            }
            Self::SealIntent { recipients, .. } | Self::KeyUsed { recipients, .. } => {
                recipients.iter_mut().for_each(mask);
            }
            Self::NotifyDelivered(message) | Self::NotifyFailed { message, .. } => mask(&mut message.how),
            Self::StageStarted { .. }
            | Self::SealDone { .. }
            | Self::SecretUsed { .. }
            | Self::AuditTornTail { .. }
            | Self::AuditAccepted { .. }
            | Self::ClockJump { .. } => {}
        }
    }
}
