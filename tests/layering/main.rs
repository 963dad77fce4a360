//! The rooms of `src/` and what each may name: the table of ARCHITECTURE.md, enforced.
//!
//! Reads source files and not the compiled program, so that every feature's code is seen. Test code
//! is free: it may reach wherever it must.

mod inside;
mod names;
mod paths;
mod rules;
mod source;

use paths::{modules, paths};
use rules::{ROOMS, RULES, Rule};
use source::Source;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file, by its path below `src/`.
struct File {
    path: String,
    text: String,
}

fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    let read = |path: PathBuf| File {
        text: fs::read_to_string(&path).expect("source files are readable"),
        path: path.strip_prefix(&root).expect("found below it").to_str().expect("ASCII").to_owned(),
    };
    let files: Vec<_> = paths.into_iter().map(read).collect();
    let tests: Vec<String> = files.iter().flat_map(test_files).collect();
    let is_test = |path: &str| tests.iter().any(|test| path.starts_with(test.as_str()));
    files.into_iter().filter(|file| !is_test(&file.path)).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("source folders are readable") {
        let path = entry.expect("source folders are readable").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// The beginnings of the paths of the modules that this file declares for tests.
fn test_files(file: &File) -> Vec<String> {
    let mut folder = file.path.trim_end_matches(".rs");
    folder = folder.strip_suffix("mod").or(folder.strip_suffix("lib")).unwrap_or(folder);
    let folder = folder.trim_end_matches('/');
    let join =
        |name: &str| if folder.is_empty() { name.into() } else { format!("{folder}/{name}") };
    let modules = Source::read(&file.text).test_modules;
    modules.into_iter().flat_map(|name| [join(name) + ".rs", join(name) + "/"]).collect()
}

/// The rooms that a file names, with the line of each.
fn named_rooms(path: &str, source: &Source<'_>) -> BTreeSet<(usize, String)> {
    let named = paths(path, source).into_iter().filter(|path| path.is_absolute);
    named.filter_map(|path| Some((path.line, path.segments.first()?.clone()))).collect()
}

/// Rooms that a file names and must not.
fn upward(path: &str, source: &Source<'_>) -> Vec<String> {
    let Some(&room) = modules(path).first() else { return Vec::new() };
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return vec![format!("{path}: room {room} has no row in the table")];
    };
    let Some(allowed) = allowed else { return Vec::new() };
    let named = named_rooms(path, source);
    let wrong = named.into_iter().filter(|(_, name)| name != room && !allowed.contains(&&**name));
    let may_name = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
    let report =
        |(line, name)| format!("{path}:{line}: {room} names {name}, it may name {may_name}");
    wrong.map(report).collect()
}

/// Words of a file that a rule keeps out of it.
fn forbidden(path: &str, source: &Source<'_>, rule: &Rule) -> Vec<String> {
    if !rule.covers(path) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for word in rule.words {
        let parts: Vec<&str> = word.split_inclusive("::").flat_map(split_colons).collect();
        let hits = source
            .tokens
            .windows(parts.len())
            .filter(|tokens| tokens.iter().map(|token| token.text).eq(parts.iter().copied()));
        found.extend(hits.map(|hit| format!("{path}:{}: {word}: {}", hit[0].line, rule.says)));
    }
    found
}

fn split_colons(part: &str) -> Vec<&str> {
    match part.strip_suffix("::") {
        Some(word) => vec![word, "::"],
        None => vec![part],
    }
}

#[track_caller]
fn none(found: Vec<String>) {
    assert!(found.is_empty(), "the rooms must keep their rules:\n{}", found.join("\n"));
}

#[test]
fn no_room_names_one_above_it() {
    none(files().iter().flat_map(|file| upward(&file.path, &Source::read(&file.text))).collect());
}

#[test]
fn what_belongs_to_one_room_stays_there() {
    let mut found = Vec::new();
    for file in &files() {
        let source = Source::read(&file.text);
        found.extend(RULES.iter().flat_map(|rule| forbidden(&file.path, &source, rule)));
    }
    none(found);
}

#[test]
fn the_table_has_the_rooms_that_there_are() {
    let lib = include_str!("../../src/lib.rs");
    assert!(lib.contains("#![forbid(unsafe_code)]"), "unsafe code is for crates/torch-shim alone");
    let source = Source::read(lib);
    let declared: BTreeSet<_> = source
        .tokens
        .windows(2)
        .filter(|tokens| tokens[0].text == "mod" && tokens[1].is_word())
        .map(|tokens| tokens[1].text)
        .collect();
    let listed: BTreeSet<_> = ROOMS.iter().map(|(room, _)| *room).collect();
    assert_eq!(declared, listed, "a new room needs a row, and a row a room");
}

#[test]
fn the_page_has_the_same_table() {
    let page = include_str!("../../ARCHITECTURE.md");
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(rows.len(), ROOMS.len(), "ARCHITECTURE.md must have a row for each room");
    for (row, (room, allowed)) in rows.iter().zip(ROOMS) {
        let may_name = match allowed {
            None => "all".to_owned(),
            Some([]) => "nothing".to_owned(),
            Some(rooms) => format!("`{}`", rooms.join("`, `")),
        };
        let matches =
            row.starts_with(&format!("| `{room}` |")) && row.ends_with(&format!("| {may_name} |"));
        assert!(matches, "ARCHITECTURE.md must say that {room} may name {may_name}: {row}");
    }
}

#[test]
fn every_rule_covers_a_file() {
    let files = files();
    for rule in RULES {
        let covered = files.iter().any(|file| rule.covers(&file.path));
        assert!(covered, "a rule that covers nothing proves nothing: {}", rule.says);
    }
}

#[test]
fn a_planted_upward_import_is_found() {
    let check = |path: &str, text: &str, expected: &[&str]| {
        let named: Vec<_> = upward(path, &Source::read(text))
            .iter()
            .map(|found| {
                found.split(" names ").nth(1).unwrap().split(',').next().unwrap().to_owned()
            })
            .collect();
        assert_eq!(named, expected, "{path}: {text}");
    };
    check("tensor/mod.rs", "use crate::inference::ModelName;", &["inference"]);
    check("scheduler/queue.rs", "fn f() { crate::http::status(code) }", &["http"]);
    check(
        "engine/mod.rs",
        "use crate::{tensor::Tensor, app::{self, http}, http};",
        &["app", "http"],
    );
    check("engine/remote/mod.rs", "use super::super::scheduler::Job;", &["scheduler"]);
    check("app.rs", "use crate::http::App;", &[]);
    check("shutdown.rs", "use crate::http::App;", &["http"]);
    check("transform/mod.rs", "pub use super::config;", &["config"]);
    check("transform/mod.rs", "mod inner { use super::config; }\nuse super::http;", &["http"]);
    check("tensor/mod.rs", "macro_rules! m { () => { $crate::app::serve() } }", &["app"]);
    // What is no code, belongs to tests, or stays inside the room.
    check("tensor/mod.rs", "//! Like [`crate::app`].\n/* crate::app /* */ crate::cli */", &[]);
    check(
        "tensor/mod.rs",
        r####"const T: &str = r#"crate::app"#; const U: &str = "\"crate::app";"####,
        &[],
    );
    check("tensor/mod.rs", "#[cfg(test)]\n#[path = \"x\"]\nmod tests { use crate::app; }", &[]);
    check("tensor/mod.rs", "#[cfg(test)] use crate::app; use crate::cli;", &["cli"]);
    check("engine/remote/mod.rs", "use super::Loader; use super::super::engine::Model;", &[]);
    let found =
        upward("tensor/mod.rs", &Source::read("\n\nuse crate::tensor::Shape;\nuse crate::app;"));
    assert_eq!(found, ["tensor/mod.rs:4: tensor names app, it may name nothing"]);
    let found = upward("attic/mod.rs", &Source::read(""));
    assert_eq!(found, ["attic/mod.rs: room attic has no row in the table"]);
}

#[test]
fn a_planted_word_is_found() {
    let check = |path: &str, text: &str, expected: usize| {
        let found: Vec<_> =
            RULES.iter().flat_map(|rule| forbidden(path, &Source::read(text), rule)).collect();
        assert_eq!(found.len(), expected, "{path}: {text}: {found:?}");
    };
    check("scheduler/instance.rs", "use tch::Tensor;", 1);
    check("engine/torch/mod.rs", "use tch::Tensor;", 0);
    check("pipeline/mod.rs", "fn f() -> StatusCode { axum::http::StatusCode::OK }", 3);
    check("http/error.rs", "use axum::http::StatusCode;", 0);
    check("inference/spec.rs", "#[derive(Serialize)] struct S<'static>(&'static str);", 1);
    check("engine/remote/protocol.rs", "use serde::Serialize;", 0);
    check("scheduler/policy.rs", "fn f(now: Instant) { Instant::now(); }", 1);
    check("scheduler/policy.rs", "fn f(now: Instant) -> char { '\"' } // Instant::now", 0);
    check("repository/policy.rs", "use std::fs::File;", 2);
    check("app.rs", "static CALLS: AtomicU64 = AtomicU64::new(0);", 1);
    check("app.rs", "use std::sync::LazyLock;", 1);
    check("telemetry/logging/mod.rs", "static SET: OnceLock<()> = OnceLock::new();", 0);
}

#[test]
fn files_of_test_modules_are_test_code() {
    let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
    let of = |path: &str, text: &str| test_files(&file(path, text));
    assert_eq!(
        of("scheduler/mod.rs", "#[cfg(test)]\nmod testing;"),
        ["scheduler/testing.rs", "scheduler/testing/"]
    );
    assert_eq!(
        of("shutdown.rs", "#[cfg(test)] mod tests;"),
        ["shutdown/tests.rs", "shutdown/tests/"]
    );
    assert!(of("lib.rs", "mod tests; #[cfg(test)] mod inner { mod tests; }").is_empty());
}
