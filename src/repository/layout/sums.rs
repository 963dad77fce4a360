//! The lines of `SHA256SUMS`, as `sha256sum` writes them: 64 hexadecimal digits, two blanks (or a blank and a star), and
//! the name of a file beside it.

use super::folder::SUMS_FILE;
use std::path::{Component, Path};

/// Maximum lines.
const MAX_LINES: usize = 1000;

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum<'a> {
    /// 64 hexadecimal digits, of either case.
    pub digest: &'a str,
    /// What has it.
    pub name: &'a str,
}

/// Reads all lines.
///
/// # Errors
///
/// A line of another form, or too many of them.
pub fn read_sums(text: &str) -> Result<Vec<Sum<'_>>, String> {
    let mut sums = Vec::new();
    for (idx, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let number = idx + 1;
        if number > MAX_LINES {
            return Err(format!("{SUMS_FILE}: expected at most {MAX_LINES} lines"));
        }
        sums.push(Sum::read(line).ok_or_else(|| {
            format!(
                "{SUMS_FILE}:{number}: expected 64 hexadecimal digits, two blanks and the name of a file beside it"
            )
        })?);
    }
    Ok(sums)
}

impl<'a> Sum<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (digest, rest) = line.split_at_checked(64)?;
        let name = rest.strip_prefix("  ").or_else(|| rest.strip_prefix(" *"))?;
        let name = name.trim_end_matches('\r');
        let name = name.strip_prefix("./").unwrap_or(name);
        let mut parts = Path::new(name).components();
        let is_beside = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
        let is_digest = digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_digest && is_beside).then_some(Self { digest, name })
    }
}
