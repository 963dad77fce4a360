//! The tables of pages, and the page about errors tells the truth.

use super::status;
use crate::inference::ErrorCode;

const ERRORS_PAGE: &str = include_str!("../../docs/errors.md");

/// The cells of the rows below a table's head, without the marks of code.
pub(super) fn rows(page: &str, head: &str) -> Vec<Vec<String>> {
    let below = page.split_once(head).expect("the page has the table").1;
    let rows = below.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| {
        let row = row.trim_matches('|');
        row.split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    rows.map(cells).collect()
}

#[test]
fn the_page_has_every_code_with_its_status_and_no_other() {
    let listed = rows(ERRORS_PAGE, "| status | code | when |");
    let listed: Vec<_> = listed.iter().map(|cells| format!("{} {}", cells[0], cells[1])).collect();
    let expected: Vec<_> =
        ErrorCode::ALL.iter().map(|code| format!("{} {code}", status(*code).as_u16())).collect();
    assert_eq!(listed, expected, "docs/errors.md must list the codes, in order");
}
