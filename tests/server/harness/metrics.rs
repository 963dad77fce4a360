//! Reading the text of `/metrics`.

use std::collections::BTreeSet;

/// Names with labels, without values.
pub(crate) type Series = BTreeSet<String>;

/// Every series of a text. Responses by route, method and status are left out: those series appear
/// with their first response, out of closed lists.
pub(crate) fn series(text: &str) -> Series {
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let names = samples.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()));
    names.filter(|name| !name.starts_with("sconce_http_requests_total")).collect()
}

/// A value; 0 when there is no such series. The order of the labels does not matter.
pub(crate) fn metric(text: &str, series: &str) -> f64 {
    let wanted = parts(series);
    let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
    let mut values = samples.filter(|(name, _)| parts(name) == wanted).map(|(_, value)| value);
    values.next().map_or(0.0, |value| value.parse().unwrap())
}

/// A series' name and labels. No label value of ours holds a comma.
fn parts(series: &str) -> BTreeSet<&str> {
    series.split(['{', ',', '}']).collect()
}
