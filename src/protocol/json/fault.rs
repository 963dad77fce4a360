//! What can be wrong with a tensor in JSON text, before it is known which tensor it is.

use super::number::NumberFault;
use super::reader::SyntaxError;

/// Longest part of a number that is repeated to the client.
const MAX_ECHO: usize = 32;

/// A fault and the indices that lead to it, outermost first.
#[derive(Debug)]
pub(super) enum Fault {
    /// The text is not JSON.
    Syntax(SyntaxError),
    /// A value of another kind than a tensor is made of.
    Kind { index: Vec<usize>, expected: &'static str, got: &'static str },
    /// A number that the datatype does not have.
    Number { index: Vec<usize>, text: String, fault: NumberFault },
    /// Lists that do not make the shape that is expected. The right words need a second look at the
    /// whole value, see [`super::measure`].
    Shape,
    /// More rows than the model takes; the rest was not looked at.
    TooManyRows,
}

impl Fault {
    /// The fault, as seen from the list in which its value is item `position`.
    #[cold]
    pub(super) fn inside(mut self, position: usize) -> Self {
        if let Self::Kind { index, .. } | Self::Number { index, .. } = &mut self {
            index.insert(0, position);
        }
        self
    }
}

impl From<SyntaxError> for Fault {
    fn from(error: SyntaxError) -> Self {
        Self::Syntax(error)
    }
}

/// The start of what a client wrote, short enough to be repeated to it.
pub(crate) fn excerpt(text: &str) -> String {
    if text.len() <= MAX_ECHO {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(MAX_ECHO)])
}
