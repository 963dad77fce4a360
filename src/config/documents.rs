//! The documents tell the truth: the example file and the page have every key as it is.

use super::tests::inputs;
use super::{Config, Key, Loaded, Origin};
use crate::settings::page;
use std::path::Path;

const EXAMPLE: &str = include_str!("../../config/sconce.toml");
const PAGE: &str = include_str!("../../docs/configuration.md");

/// What the example sets other than the default.
const SET: (&str, &str) = ("default_model", "\"breast_cancer\"");

fn example_lines(key: &Key) -> String {
    let name = key.path.rsplit('.').next().unwrap();
    match SET {
        (path, value) if path == key.path => format!("# {}\n{name} = {value}\n", key.meaning()),
        _ => format!("# {}\n# {name} = {}\n", key.meaning(), key.default),
    }
}

fn page_row(key: &Key) -> String {
    let flag = key.flag.map_or_else(String::new, |flag| format!("`{flag}`"));
    let (path, variable, default) = (key.path, key.variable(), key.default);
    let (takes, meaning) = (page::takes(key), key.meaning());
    let live = if key.is_live { " (live)" } else { "" };
    format!("| `{path}` | `{variable}` | {flag} | `{default}` | {takes} | {meaning}{live} |")
}

#[test]
fn the_example_has_every_key_with_its_default() {
    for key in Config::keys() {
        let lines = example_lines(key);
        assert!(EXAMPLE.contains(&lines), "config/sconce.toml must have these lines:\n{lines}");
    }
}

#[test]
fn the_example_with_every_key_is_the_default_configuration() {
    let is_key = |rest: &str| rest.split_once(" = ").is_some_and(|(name, _)| !name.contains(' '));
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if is_key(rest) => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let path = Path::new("config/sconce.toml");
    let all = Loaded::resolve(Some((path, &uncommented)), &inputs()).unwrap();
    let as_it_is = Loaded::resolve(Some((path, EXAMPLE)), &inputs()).unwrap();
    let mut defaults = Loaded::resolve(None, &inputs()).unwrap().config;
    defaults.general.default_model = Some("breast_cancer".parse().unwrap());
    assert_eq!(all.config, defaults);
    assert_eq!(as_it_is.config, defaults);
    let written = all.sources.values().filter(|source| source.origin != Origin::Default);
    assert_eq!(written.count(), Config::keys().count(), "every key must stand in the example");
}

#[test]
fn the_page_has_every_key_and_no_other() {
    let rows = page::rows(PAGE);
    let expected: Vec<_> = Config::keys().map(page_row).collect();
    assert_eq!(
        rows,
        expected,
        "docs/configuration.md must list the keys:\n{}",
        expected.join("\n")
    );
}
