//! Which objects belong to models: `NAME/FILE` and `NAME/VERSION/FILE` below the prefix.

/// Longest name, in bytes.
const MAX_NAME: usize = 128;

/// Where an object belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) model: String,
    /// `None` for what lies beside the versions.
    pub(super) version: Option<u64>,
    pub(super) file: String,
}

/// Reads the parts of a path below the prefix. `None` for what lies beside the models, like a page for people.
pub(super) fn read(parts: &[&str]) -> Result<Option<Key>, &'static str> {
    if parts.iter().any(|part| part.is_empty() || *part == "." || *part == "..") {
        return Err("a part of its path is empty, `.` or `..`");
    }
    let (model, version, file) = match parts {
        [] | [_] => return Ok(None),
        [model, file] => (model, None, file),
        [model, version, file] => {
            let version =
                number(version).ok_or("a version is a whole number without leading zeros")?;
            (model, Some(version), file)
        }
        _ => return Err("it lies too deep, expected NAME/FILE or NAME/VERSION/FILE"),
    };
    if !is_name(model) || !is_name(file) {
        return Err(
            "a name starts with a letter or digit and has at most 128 of letters, digits, '.', '_', '-'",
        );
    }
    if version.is_none() && number(file).is_some() {
        return Err("it is a file where the folder of a version belongs");
    }
    Ok(Some(Key { model: (*model).to_owned(), version, file: (*file).to_owned() }))
}

/// A version's number in its one spelling.
pub(super) fn number(text: &str) -> Option<u64> {
    let is_canonical = text == "0" || !text.starts_with('0');
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_canonical && is_plain { text.parse().ok() } else { None }
}

/// The grammar of names of models holds for files too: none is hidden, none leads anywhere.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let begins = text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    begins && text.len() <= MAX_NAME && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_model_is_a_file_of_it_or_of_a_version() {
        let key = |model: &str, version, file: &str| {
            Ok(Some(Key { model: model.into(), version, file: file.into() }))
        };
        assert_eq!(read(&["digits", "model.toml"]), key("digits", None, "model.toml"));
        assert_eq!(read(&["digits", "12", "model.pt"]), key("digits", Some(12), "model.pt"));
        assert_eq!(read(&["README.md"]), Ok(None));
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        let long = "a".repeat(129);
        for parts in [
            &["..", "model.toml"][..],
            &["a", "..", "model.pt"],
            &["a", "", "model.pt"],
            &["a", "."],
            &[".hidden", "model.toml"],
            &["a", ".model.toml"],
            &["a", "1", "..model.pt"],
            &["a", "01", "model.pt"],
            &["a", "v1", "model.pt"],
            &["a", "1", "deep", "model.pt"],
            &["a", "1"],
            &["a", "b/c"],
            &["a", "1", "b\\c"],
            &["a", "1", "b\0"],
            &["ä", "1", "model.pt"],
            &["a%2F..", "model.toml"],
            &[&long, "model.toml"],
            &["a", "99999999999999999999", "model.pt"],
        ] {
            assert!(read(parts).is_err(), "{parts:?} must be refused");
        }
    }
}
