//! `[[preprocess.columns]]`: what the server makes of the columns of a table.

use super::names::refuse_twice;
use super::types::TensorName;
use crate::settings::{Above, Reader, Setting, Table, Value, section, words};
use crate::transform::{Categories, Column, ColumnKind};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The list of tables.
const LIST: &str = "preprocess.columns";
/// Most columns, and most categories of one of them.
const MAX_COLUMNS: usize = 4096;
const MAX_CATEGORIES: usize = 65_536;
/// Longest name of a column, in characters.
const MAX_NAME: usize = 128;

words! {
    Encode, "\"one_hot\" or \"index\"", OneHot = "one_hot", Index = "index";
    Others, "\"error\" or \"none\"", Error = "error", None = "none";
}

section! {
    /// A column.
    pub(super) struct ColumnKeys("preprocess.columns[].") {
        /// Name of a column of a table. Clients then send rows, see Tables.
        name: Option<ColumnName> = (required, else "none: clients send tensors");
        /// The model's input that it is part of. Columns of one input stand in it in the order of these tables.
        input: Option<TensorName> = (else "the only one");
        /// What is taken off a number.
        mean: Option<f64> = (else "0"), range Above(-1e15, 1e15);
        /// What a number is divided by then.
        std: Option<f64> = (else "1"), range Above(0.0, 1e15);
        /// The words of a column that has no numbers, in the order in which the model has them.
        categories: Option<Words> = (else "none: a column of numbers");
        /// A number for each category, 1 or 0, or the position of the word.
        encode: Option<Encode> = (else "`\"one_hot\"`");
        /// What becomes of other words: they are refused, or are no category: zeros, or the position -1.
        others: Option<Others> = (else "`\"error\"`");
        /// What stands for a missing value, a number (`nan` too) or a category.
        missing: Option<Missing> = (else "none: missing values are refused");
    }
}

/// A name as data frames have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ColumnName(Arc<str>);

impl Setting for ColumnName {
    const EXPECTED: &'static str = "1 to 128 characters";

    fn read(value: &Value) -> Option<Self> {
        let text = value.text()?;
        let is_name = (1..=MAX_NAME).contains(&text.chars().count());
        (is_name && !text.chars().any(char::is_control)).then(|| Self(text.into()))
    }
}

/// How categories are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encode {
    /// One for each.
    OneHot,
    /// The position of the word.
    Index,
}

/// What becomes of words that are not listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// They are refused.
    Error,
    /// They are no category.
    None,
}

/// Some texts, all different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words(Vec<Arc<str>>);

impl Setting for Words {
    const EXPECTED: &'static str = "a list of up to 65536 different texts";

    fn read(value: &Value) -> Option<Self> {
        let items = value.items()?;
        let words: Option<Vec<Arc<str>>> =
            items.iter().map(|item| item.text().map(Arc::from)).collect();
        let words = words.filter(|it| !it.is_empty() && it.len() <= MAX_CATEGORIES)?;
        let different = words.iter().collect::<HashSet<_>>().len() == words.len();
        different.then_some(Self(words))
    }
}

/// What stands for what is missing.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Missing {
    Number(f64),
    Word(Arc<str>),
}

impl Setting for Missing {
    const EXPECTED: &'static str = "a number or a text";

    fn read(value: &Value) -> Option<Self> {
        let number = value.number().filter(|number| !number.is_infinite()).map(Self::Number);
        number.or_else(|| value.text().map(|text| Self::Word(text.into())))
    }
}

/// Reads the columns.
pub(super) fn read(reader: &mut Reader) -> Vec<Column> {
    let tables = reader.tables(LIST);
    let mut names = HashSet::new();
    let mut columns = Vec::new();
    for (position, table) in tables.iter().enumerate() {
        let mut keys = ColumnKeys::read(reader, table);
        let Some(ColumnName(name)) = keys.name.take() else { continue };
        refuse_twice(reader, table, &mut names, &name);
        if position == MAX_COLUMNS {
            let message = format!("expected at most {MAX_COLUMNS} columns");
            reader.conflict(&[&table.path("name")], message);
        }
        let input = keys.input.take().map(|TensorName(input)| input);
        let kind = match keys.categories.take() {
            Some(words) => category(reader, table, words, keys),
            None => number(reader, table, keys),
        };
        columns.push(Column { name, input, kind });
    }
    columns
}

fn number(reader: &mut Reader, table: &Table, keys: ColumnKeys) -> ColumnKind {
    let of_categories = [table.path("encode"), table.path("others")];
    reader.conflict(
        &of_categories.each_ref().map(String::as_str),
        "it says nothing without categories".into(),
    );
    let missing = match keys.missing {
        Some(Missing::Number(number)) => Some(number),
        Some(Missing::Word(word)) => {
            let message = format!("expected a number in a column without categories, got {word:?}");
            reader.conflict(&[&table.path("missing")], message);
            None
        }
        None => None,
    };
    let (mean, std) = (keys.mean.unwrap_or(0.0), keys.std.unwrap_or(1.0));
    ColumnKind::Number { missing, mean, std }
}

fn category(
    reader: &mut Reader,
    table: &Table,
    Words(words): Words,
    keys: ColumnKeys,
) -> ColumnKind {
    let of_numbers = [table.path("mean"), table.path("std")];
    reader.conflict(
        &of_numbers.each_ref().map(String::as_str),
        "a column of categories has no numbers".into(),
    );
    let missing = match keys.missing {
        Some(Missing::Word(word)) => Some(word),
        Some(Missing::Number(number)) => {
            let message = format!("expected one of the categories, got {number}");
            reader.conflict(&[&table.path("missing")], message);
            None
        }
        None => None,
    };
    let takes_others = keys.others == Some(Others::None);
    if let Some(word) = missing.as_ref().filter(|word| !takes_others && !words.contains(word)) {
        let message = format!("{word:?} is none of the categories");
        reader.conflict(&[&table.path("missing")], message);
    }
    ColumnKind::Category(Categories {
        places: words.into_iter().zip(0..).collect::<HashMap<_, _>>(),
        is_one_hot: keys.encode != Some(Encode::Index),
        takes_others,
        missing,
    })
}

#[cfg(test)]
mod tests {
    use crate::repository::manifest::Manifest;
    use crate::transform::{Categories, Column, ColumnKind};

    #[test]
    fn columns_are_read_in_their_order() {
        let text = r#"
            [[preprocess.columns]]
            name = "age"
            mean = 38
            std = 13.5
            missing = 40
            [[preprocess.columns]]
            name = "city"
            input = "ids"
            categories = ["Paris", "Rome"]
            encode = "index"
            others = "none"
            missing = "?"
        "#;
        let manifest = Manifest::parse("m/model.toml", text).unwrap();
        let age = ColumnKind::Number { missing: Some(40.0), mean: 38.0, std: 13.5 };
        let city = ColumnKind::Category(Categories {
            places: [("Paris".into(), 0), ("Rome".into(), 1)].into(),
            is_one_hot: false,
            takes_others: true,
            missing: Some("?".into()),
        });
        let expected = [
            Column { name: "age".into(), input: None, kind: age },
            Column { name: "city".into(), input: Some("ids".into()), kind: city },
        ];
        assert_eq!(manifest.columns, expected);
    }

    #[track_caller]
    fn refused(column: &str, expected: &str) {
        let text = format!("[[preprocess.columns]]\nname = \"a\"\n{column}");
        let error = Manifest::parse("m/model.toml", &text).unwrap_err().to_string();
        assert_eq!(error, expected, "for {column:?}");
    }

    #[test]
    fn what_says_nothing_or_contradicts_itself_is_refused() {
        let at =
            |key: &str, rest: &str| format!("m/model.toml:3: preprocess.columns[0].{key}: {rest}");
        refused("others = \"none\"", &at("others", "it says nothing without categories"));
        refused(
            "missing = \"x\"",
            &at("missing", "expected a number in a column without categories, got \"x\""),
        );
        refused(
            "std = 0",
            &at("std", "expected a number above 0, at most 1000000000000000, got 0"),
        );
        let words = "categories = [\"p\", \"q\"]; ".replace("; ", "\n");
        let at =
            |key: &str, rest: &str| format!("m/model.toml:4: preprocess.columns[0].{key}: {rest}");
        refused(&format!("{words}mean = 1"), &at("mean", "a column of categories has no numbers"));
        refused(
            &format!("{words}missing = 1"),
            &at("missing", "expected one of the categories, got 1"),
        );
        refused(
            &format!("{words}missing = \"r\""),
            &at("missing", "\"r\" is none of the categories"),
        );
        let at =
            |key: &str, rest: &str| format!("m/model.toml:3: preprocess.columns[0].{key}: {rest}");
        refused(
            "categories = [\"p\", \"p\"]",
            &at("categories", "expected a list of up to 65536 different texts, got a list of 2"),
        );
        refused(
            "[[preprocess.columns]]\nname = \"a\"",
            "m/model.toml:4: preprocess.columns[1].name: \"a\" is there already",
        );
        refused(
            "[preprocess.image]\nresize = 8",
            "m/model.toml:2: preprocess.columns[0].name: the model takes texts or images already, expected one of both",
        );
    }
}
