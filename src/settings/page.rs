//! What the tests of the documents share: each page has a table with a row for each key.

use super::section::Key;

/// What a key takes, as a cell: what stands in quotes is code.
pub(crate) fn takes(key: &Key) -> String {
    let takes = key.takes();
    let mut pieces = takes.split('"');
    let mut cell = pieces.next().unwrap_or_default().to_owned();
    while let (Some(code), Some(text)) = (pieces.next(), pieces.next()) {
        cell += &format!("`\"{code}\"`{text}");
    }
    cell
}

/// The rows of the table of keys, of which the first cell is code, without the targets of links.
pub(crate) fn rows(page: &str) -> Vec<String> {
    let table = page.split("| key |").nth(1).expect("the page must have a table of keys");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(without_links).collect()
}

/// `see [padding](#padding)` as `see padding`.
fn without_links(text: &str) -> String {
    let mut rest = text;
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once("](") {
        let Some((front, label)) = before.rsplit_once('[') else { break };
        let Some((_, behind)) = after.split_once(')') else { break };
        plain += front;
        plain += label;
        rest = behind;
    }
    plain + rest
}
