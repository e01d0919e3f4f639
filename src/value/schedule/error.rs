/// Why a text is not a schedule, and which part of it is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ScheduleError {
    /// The code of this kind of mistake.
    pub code: &'static str,
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

/// It cannot be read as a schedule.
pub(super) const MALFORMED: &str = "TL0312";
/// It can be read, and says something that tl does not do.
pub(super) const NOT_HERE: &str = "TL0313";
/// There is no such day.
pub(super) const NEVER: &str = "TL0314";
/// The time zone is not known.
pub(super) const ZONE: &str = "TL0315";
