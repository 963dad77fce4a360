//! What a client likes (RFC 9110, section 12.4.2).

/// How much an offer is liked, 0 to 1. What cannot be read says "not at all".
pub(super) fn weight(parameters: &str) -> f32 {
    let mut values = parameters.split(';').filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then_some(value.trim())
    });
    let Some(value) = values.next() else { return 1.0 };
    value.parse().ok().filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0)
}
