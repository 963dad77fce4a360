//! The known name that a misspelled one most likely means.

/// Longest text that is compared, in bytes: no known name is nearly as long.
const MAX_COMPARED: usize = 128;

/// The name nearest to `text`, when one is near enough to be worth naming.
///
/// A right word under a wrong section counts as near too: `listen` for `http.listen`.
pub(super) fn closest<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if text.len() > MAX_COMPARED {
        return None;
    }
    let limit = 1 + text.len() / 5;
    let distance = strsim::levenshtein;
    let score = |name: &str| match distance(text, name) {
        far if last(text) == last(name) => far.min(1),
        near => near,
    };
    known
        .map(|name| (score(name), name))
        .min_by_key(|(score, _)| *score)
        .filter(|(score, _)| *score <= limit)
        .map(|(_, name)| name)
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["models", "http.listen", "management.listen", "requests.timeout"];

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(closest(text, KNOWN.into_iter()), expected, "closest to {text:?}");
    }

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        check("model", Some("models"));
        check("htpp.listen", Some("http.listen"));
        check("listen", Some("http.listen"));
        check("requests.time_out", Some("requests.timeout"));
        check("workers", None);
        check("", None);
        check(&"models".repeat(100), None);
    }
}
