//! The names of types: no two public ones share one, so that a name alone says what is meant, in a message, in a search and
//! in a review. What a room keeps to itself (`pub(super)`, `pub(crate)`) is free.

use crate::source::Source;
use crate::{File, files};
use std::collections::BTreeMap;

const KINDS: [&str; 5] = ["struct", "enum", "union", "trait", "type"];

/// The plain `pub` types of a file outside its tests, with the line of each.
fn public_types(text: &str) -> Vec<(String, usize)> {
    let source = Source::read(text);
    let declared = source.tokens.windows(3).filter(|tokens| {
        tokens[0].text == "pub" && KINDS.contains(&tokens[1].text) && tokens[2].is_word()
    });
    declared.map(|tokens| (tokens[2].text.to_owned(), tokens[2].line)).collect()
}

/// Names that several public types have, with the places of all of them.
fn shared_names(files: &[File]) -> Vec<String> {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for file in files {
        for (name, line) in public_types(&file.text) {
            places.entry(name).or_default().push(format!("{}:{line}", file.path));
        }
    }
    let shared = places.into_iter().filter(|(_, places)| places.len() > 1);
    shared.map(|(name, places)| format!("{name}: {}", places.join(", "))).collect()
}

#[test]
fn no_two_public_types_share_a_name() {
    let found = shared_names(&files());
    assert!(found.is_empty(), "a public type must have a name of its own:\n{}", found.join("\n"));
}

#[test]
fn a_planted_second_type_of_a_name_is_found() {
    let check = |a: &str, b: &str, expected: &[&str]| {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let found = shared_names(&[file("a.rs", a), file("b.rs", b)]);
        assert_eq!(found, expected, "{a} / {b}");
    };
    let both = &["Form: a.rs:1, b.rs:2"];
    check("pub struct Form(u8);", "\npub enum Form { A }", both);
    check("pub trait Form {}", "\npub type Form = u8;", both);
    check("pub struct Form<T>(T);", "\nsection! { pub struct Form {} }", both);
    check("pub struct Form; mod inner { pub struct Form; }", "", &["Form: a.rs:1, a.rs:1"]);
    // What is not plainly public, not a type, or test code.
    check("pub struct Form;", "pub(super) struct Form; pub(crate) enum Form {} struct Form;", &[]);
    check("pub struct Form;", "pub use a::Form; pub fn Form() {} // pub struct Form;", &[]);
    check("pub struct Form;", "#[cfg(test)] mod tests { pub struct Form; }", &[]);
    check("pub struct Form;", "impl Trait for X { type Form = u8; } pub struct FormOf;", &[]);
}
