//! `SHA256SUMS` beside a model file: what the files of the version have to be.

use super::fingerprint::Fingerprint;
use super::layout::{SUMS_FILE, Sum, read_sums};
use super::text_file::read_text;
use std::path::Path;

/// Checks every file that is listed, of at most `max_bytes` each. `model` is the model file's name, `digest` what it has; it must
/// be on the list.
///
/// # Errors
///
/// What differs, or is wrong with the list.
pub(super) fn check(
    folder: &Path,
    model: &Path,
    digest: &str,
    max_bytes: u64,
) -> Result<(), String> {
    let path = folder.join(SUMS_FILE);
    let Some(text) = read_text(&path, SUMS_FILE)? else {
        // A link that leads nowhere is no list, and somebody wanted one.
        let is_link = path.symlink_metadata().is_ok();
        return if is_link { Err(format!("{SUMS_FILE}: the link leads nowhere")) } else { Ok(()) };
    };
    let model = model.file_name().unwrap_or_default();
    let mut has_model = false;
    for Sum { digest: expected, name } in read_sums(&text)? {
        let found = if name == model {
            has_model = true;
            digest.to_owned()
        } else {
            Fingerprint::take_up_to(&folder.join(name), max_bytes)
                .map(|print| print.digest)
                .map_err(|error| format!("{name} is listed in {SUMS_FILE}, and {error}"))?
        };
        if !found.eq_ignore_ascii_case(expected) {
            return Err(format!("{name} has the SHA-256 {found}, {SUMS_FILE} says {expected}"));
        }
    }
    if has_model {
        Ok(())
    } else {
        Err(format!("{SUMS_FILE} does not list {}", Path::new(model).display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[track_caller]
    fn check_sums(sums: &str, expected: Result<(), &str>) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("other"), "abc").unwrap();
        fs::write(folder.path().join(SUMS_FILE), sums).unwrap();
        let checked = check(folder.path(), &folder.path().join("model.pt"), ABC, 3);
        match (checked, expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
            (checked, _) => panic!("{sums:?} gave {checked:?}"),
        }
    }

    #[test]
    fn every_listed_file_has_to_be_what_it_was() {
        let no = "0".repeat(64);
        check_sums(&format!("{ABC}  model.pt\n"), Ok(()));
        check_sums(&format!("{ABC} *./model.pt\r\n\n{ABC}  other\n"), Ok(()));
        check_sums(&format!("{}  model.pt\n", ABC.to_uppercase()), Ok(()));
        check_sums(&format!("{no}  model.pt\n"), Err("model.pt has the SHA-256 ba7816"));
        check_sums(&format!("{ABC}  model.pt\n{no}  other\n"), Err("other has the SHA-256"));
        check_sums(&format!("{ABC}  model.pt\n{no}  absent\n"), Err("absent is listed in"));
        check_sums(&format!("{ABC}  other\n"), Err("does not list model.pt"));
        check_sums("", Err("does not list model.pt"));
        let large = tempfile::tempdir().unwrap();
        fs::write(large.path().join("other"), "abcd").unwrap();
        fs::write(large.path().join(SUMS_FILE), format!("{ABC}  other\n")).unwrap();
        let error = check(large.path(), &large.path().join("model.pt"), ABC, 3).unwrap_err();
        assert!(error.contains("it has 4 bytes, at most 3 are read"), "{error}");
        for odd in [
            "x",
            &format!("{ABC} model.pt"),
            &format!("{ABC}  ../model.pt"),
            &format!("{ABC}  /etc/passwd"),
        ] {
            check_sums(odd, Err("SHA256SUMS:1: expected 64 hexadecimal digits"));
        }
    }
}
