/// Why a text is not a schedule, with the part that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ScheduleError {
    /// The kind of mistake.
    pub kind: ScheduleErrorKind,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: &'static str,
    /// Which part is wrong, such as `minute`.
    pub field: &'static str,
    /// Where that part begins in the text, in bytes.
    pub offset: usize,
    /// How long it is, in bytes.
    pub length: usize,
}

/// What kind of mistake a text that is not a schedule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleErrorKind {
    /// It cannot be read as a schedule.
    Malformed,
    /// It can be read, but `tl` does not support what it says.
    Unsupported,
    /// There is no such day.
    Never,
    /// The time zone is unknown.
    UnknownZone,
}
