//! `SHA256SUMS`, as `sha256sum` writes it.

use std::collections::BTreeMap;

/// The file beside a version's others that has their digests.
pub(super) const SUMS_FILE: &str = "SHA256SUMS";
/// Largest one that is read, in bytes.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// Digests by name, in lowercase.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut sums = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (digest, name) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        // Two blanks, or a blank and an asterisk for what was read as bytes.
        let name = name.trim_start().trim_start_matches('*').trim_start_matches("./").trim_end();
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_digest || name.is_empty() {
            return Err(format!("{SUMS_FILE} has a line that is no digest and name"));
        }
        sums.insert(name.to_owned(), digest.to_ascii_lowercase());
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_and_a_name_stand_on_each_line() {
        let (a, b) = ("0a".repeat(32), "FF".repeat(32));
        let sums = parse(&format!("{a}  model.pt\n\n{b} *./labels.txt\r\n")).unwrap();
        assert_eq!(sums["model.pt"], a);
        assert_eq!(sums["labels.txt"], b.to_lowercase());
        for bad in ["abc  model.pt", &a, &format!("{a}  "), &format!("x{a}  m")] {
            assert!(parse(bad).is_err(), "{bad:?} must be refused");
        }
    }
}
