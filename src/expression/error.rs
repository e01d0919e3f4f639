use crate::diagnostic::Code;

/// An error inside one text, with its position there. `pipeline/` turns it into a place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionError {
    /// Stable code, `TL03xx`.
    pub code: Code,
    /// Where it begins, in characters from the start of the text.
    pub offset: usize,
    /// Its length in characters, at least 1.
    pub length: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl ExpressionError {
    /// An error at an offset and with a length, in characters.
    pub fn new(code: Code, (offset, length): (usize, usize), message: impl Into<String>) -> Self {
        Self { code, offset, length: length.max(1), message: message.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
