use crate::diagnostic::Code;

/// A mistake inside one text, by character offsets into it; the pipeline turns it into a place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionError {
    /// Stable code, `TL03xx`.
    pub code: Code,
    /// Where it begins, in characters from the start of the text.
    pub offset: usize,
    /// How many characters are meant.
    pub length: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl ExpressionError {
    /// A mistake at an offset and over a length, in characters.
    pub fn new(code: Code, (offset, length): (usize, usize), message: impl Into<String>) -> Self {
        Self { code, offset, length: length.max(1), message: message.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
