//! The pages about routes and errors tell the truth.

use super::routes::is_management_only;
use super::{ROUTES, status};
use crate::inference::ErrorCode;

const ROUTES_PAGE: &str = include_str!("../../docs/http.md");
const ERRORS_PAGE: &str = include_str!("../../docs/errors.md");

/// The cells of the rows below a table's head, without the marks of code.
fn rows(page: &str, head: &str) -> Vec<Vec<String>> {
    let below = page.split_once(head).expect("the page has the table").1;
    let rows = below.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| {
        let row = row.trim_matches('|');
        row.split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    rows.map(cells).collect()
}

#[test]
fn the_page_has_every_route_and_no_other() {
    let listed = rows(ROUTES_PAGE, "| route | method | listener |");
    let listed: Vec<_> = listed.iter().map(|cells| &*cells[0]).collect();
    assert_eq!(listed, ROUTES, "docs/http.md must list the routes, in order");
}

#[test]
fn the_page_says_where_state_is_changed() {
    for cells in rows(ROUTES_PAGE, "| route | method | listener |") {
        let manages = is_management_only(&cells[0]);
        assert_eq!(cells[2] == "management", manages, "{} stands at the wrong listener", cells[0]);
    }
}

#[test]
fn the_page_has_every_code_with_its_status_and_no_other() {
    let listed = rows(ERRORS_PAGE, "| status | code | when |");
    let listed: Vec<_> = listed.iter().map(|cells| format!("{} {}", cells[0], cells[1])).collect();
    let expected: Vec<_> =
        ErrorCode::ALL.iter().map(|code| format!("{} {code}", status(*code).as_u16())).collect();
    assert_eq!(listed, expected, "docs/errors.md must list the codes, in order");
}
