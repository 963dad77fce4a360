//! What is said of folders as a whole.

/// What is said of a model whose folder is not there any more.
pub const FOLDER_IS_GONE: &str = "the model's folder is gone";
/// How begins what is said of a folder that cannot be read.
pub(super) const UNREADABLE: &str = "the folder cannot be read";

/// Whether a problem is one of a folder as a whole, and not of anything in it.
#[must_use]
pub fn is_of_folder(problem: &str) -> bool {
    problem.starts_with(FOLDER_IS_GONE) || problem.starts_with(UNREADABLE)
}
