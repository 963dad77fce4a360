//! The machine as a whole, with keys that no room has.

use super::*;
use std::time::Duration;

section! {
    /// Keys outside any table.
    struct General("", cores: usize) {
        /// How many.
        count: usize = 3, range 1..=9;
        /// Half of the cores.
        threads: usize = "auto" => *cores / 2, range 1..=8;
    }
}

section! {
    /// An item of a list.
    struct Item("items[].") {
        /// Its name.
        name: Option<String> = (required, else "nothing");
        /// How long.
        wait: Option<Duration> = (else "no time"), range Duration::ZERO..=Duration::from_secs(1);
        /// How much.
        share: Option<f64> = (else "all"), range Above(0.0, 1.0);
    }
}

fn reader(text: &str) -> Reader {
    let schema = Schema {
        keys: [General::KEYS, Item::KEYS].into_iter().flatten().collect(),
        misplaced: &["secret"],
        misplaced_reason: "this stands elsewhere",
        page: "the page",
    };
    let mut reader = Reader::new(schema);
    reader.add_file("f.toml", text);
    reader
}

fn read(reader: &mut Reader, cores: usize) -> (General, Vec<Item>) {
    let general = General::read(reader, &Table::of(General::KEYS), &cores);
    let items = reader.tables("items").iter().map(|table| Item::read(reader, table)).collect();
    (general, items)
}

#[track_caller]
fn check_faults(text: &str, expected: &[&str]) {
    let mut reader = reader(text);
    read(&mut reader, 2);
    let faults = reader.finish().unwrap_err().to_string();
    assert_eq!(faults.lines().collect::<Vec<_>>(), expected, "for {text:?}");
}

#[test]
fn what_is_left_out_has_its_default() {
    let mut nothing = reader("");
    let (general, items) = read(&mut nothing, 100);
    assert_eq!(general, General { count: 3, threads: 8 }, "what a machine gives is kept in range");
    assert_eq!(items, []);
    let sources = nothing.finish().unwrap();
    assert_eq!((sources["threads"].is_auto, &*sources["threads"].value), (true, "8"));
}

#[test]
fn lists_of_tables_keep_their_order() {
    let text: String = (0..12).map(|n| format!("[[items]]\nname = \"n{n}\"\n")).collect();
    let (_, items) = read(&mut reader(&text), 2);
    let names: Vec<_> = items.into_iter().map(|item| item.name.unwrap()).collect();
    assert_eq!((names.len(), &*names[2], &*names[11]), (12, "n2", "n11"));
    let (_, items) = read(&mut reader("items = [{ name = \"a\" }, { name = \"b\" }]"), 2);
    assert_eq!(items[1].name.as_deref(), Some("b"), "a list may be written on one line");
}

#[test]
fn every_fault_of_a_list_has_its_line_and_number() {
    check_faults(
        "[[items]]\nname = \"a\"\nwait = \"2s\"\nshare = 0\n\n[[items]]\nshare = 1.5\nwaits = \"1s\"\n",
        &[
            "f.toml:3: items[0].wait: expected a duration with its unit, like \"30s\" or \"250ms\", from \"0s\" to \"1s\", got \"2s\"",
            "f.toml:4: items[0].share: expected a number above 0, at most 1, got 0",
            "f.toml:6: items[1].name: missing, expected a text",
            "f.toml:7: items[1].share: expected a number above 0, at most 1, got 1.5",
            "f.toml:8: items[1].waits: unknown key, did you mean items.wait?",
        ],
    );
    check_faults("items = 3", &["f.toml:1: items: expected [[items]] tables, got 3"]);
    check_faults(
        "items = [\n{ name = \"a\" },\n7 ]",
        &["f.toml:3: items[1]: expected [[items]] tables, got 7"],
    );
    check_faults("[items]", &["f.toml:1: items: expected [[items]] tables, got a table"]);
}

#[test]
fn keys_that_belong_elsewhere_and_unknown_ones_are_named() {
    check_faults(
        "count = 0\nsecret = 1\ncuont = 2\nvolume = 3\n[item]\n",
        &[
            "f.toml:1: count: expected a whole number from 1 to 9, got 0",
            "f.toml:2: secret: this stands elsewhere",
            "f.toml:3: cuont: unknown key, did you mean count?",
            "f.toml:4: volume: unknown key, the page lists every one",
            "f.toml:5: item: unknown key, did you mean items?",
        ],
    );
}

#[test]
fn a_report_has_a_bound_and_says_so() {
    let text: String = (0..150).map(|n| format!("unknown_{n} = 1\n")).collect();
    let faults = reader(&text).finish().unwrap_err().to_string();
    assert_eq!(faults.lines().count(), 101);
    assert!(faults.ends_with("\nand 50 more"), "{faults}");
}

#[test]
fn a_huge_file_is_read_at_once() {
    // Quadratic work on a file of the largest size would hold up a start or a reload for minutes.
    let items = "[[items]]\nnmae = 1\n".repeat(50_000);
    let mut reader = reader(&items);
    let (_, items) = read(&mut reader, 2);
    assert_eq!(items.len(), 50_000);
    assert!(reader.finish().unwrap_err().to_string().ends_with("\nand 99900 more"));
}

#[test]
fn what_a_key_takes_is_printed_from_its_range() {
    let takes: Vec<_> = General::KEYS.iter().chain(Item::KEYS).map(Key::takes).collect();
    assert_eq!(takes[1], "a whole number from 1 to 8 or \"auto\"");
    assert_eq!(takes[2], "a text");
    assert_eq!(takes[4], "a number above 0, at most 1");
    assert_eq!(page::takes(&General::KEYS[1]), "a whole number from 1 to 8 or `\"auto\"`");
}
