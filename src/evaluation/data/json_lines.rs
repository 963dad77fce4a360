//! A line that is a native body of one row with a label beside it.

use crate::protocol::predict;
use serde::de::IgnoredAny;

/// The body and the label of a line.
pub(super) fn row(line: &mut Vec<u8>, name: &str) -> Result<(Vec<u8>, String), String> {
    let label = predict::take_member(line, name).map_err(|error| error.to_string())?;
    let expected = || format!("expected a member {name:?} with a text or a number");
    let label = label.ok_or_else(|| format!("{}, got none", expected()))?;
    let text = match label.first() {
        Some(b'"') => serde_json::from_slice(&label).ok(),
        Some(b'[' | b'{' | b'n') | None => None,
        // A number, and not one that is missing.
        Some(_) => serde_json::from_slice::<IgnoredAny>(&label)
            .is_ok()
            .then(|| String::from_utf8_lossy(&label).into_owned()),
    };
    let text = text.ok_or_else(|| format!("{}, got {}", expected(), shown(&label)))?;
    Ok((std::mem::take(line), text))
}

/// The beginning of what came.
fn shown(value: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(value).chars().take(40).collect();
    if text.len() < value.len() { format!("{text}…") } else { text }
}
