//! The paths that a file names, from the crate's root on.

use crate::source::Source;

/// A path in the source. A file stands for its module, and so do modules that are written inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// From the crate's root; as it is written where it begins with neither `crate`, `self` nor `super`.
    pub(crate) segments: Vec<String>,
    pub(crate) is_absolute: bool,
    /// The name that a `use` gives it in this file.
    pub(crate) alias: Option<String>,
    pub(crate) line: usize,
}

impl Named {
    /// From the crate's root, when a module names it so.
    pub(crate) fn absolute(&self, module: &[String]) -> Vec<String> {
        let module = if self.is_absolute { &[] } else { module };
        [module, &self.segments].concat()
    }
}

/// The modules around a file's code: `engine/remote/mod.rs` is in `engine` and `remote`.
pub(crate) fn modules(path: &str) -> Vec<&str> {
    let mut modules: Vec<_> = path.trim_end_matches(".rs").split('/').collect();
    if matches!(modules.last(), Some(&("mod" | "lib" | "main"))) {
        modules.pop();
    }
    modules
}

/// Every path of a file, those of `use` and those in its code.
pub(crate) fn paths(path: &str, source: &Source<'_>) -> Vec<Named> {
    let mut reader = Reader { source, module: modules(path), found: Vec::new() };
    // Where modules inside the file end: their `super` is the file's own module.
    let mut inner_ends: Vec<usize> = Vec::new();
    let mut at = 0;
    while at < source.tokens.len() {
        if inner_ends.last().is_some_and(|end| at >= *end) {
            inner_ends.pop();
            reader.module.pop();
        }
        at = match source.text(at) {
            "mod" if source.text(at + 2) == "{" => {
                inner_ends.push(source.end_of_group(at + 2));
                reader.module.push(source.text(at + 1));
                at + 3
            }
            // `pub(in path)` says who may see something, and not what is used.
            "pub" if source.text(at + 2) == "in" => source.end_of_group(at + 1),
            // Behind a `+` it captures lifetimes.
            "use" if source.text(at + 1) != "<" => reader.tree(at + 1, &[]),
            _ if source.starts_path(at) => reader.plain(at),
            _ => at + 1,
        };
    }
    reader.found
}

struct Reader<'s> {
    source: &'s Source<'s>,
    module: Vec<&'s str>,
    found: Vec<Named>,
}

impl<'s> Reader<'s> {
    /// A path in the code; gives back where it ends.
    fn plain(&mut self, start: usize) -> usize {
        let (segments, end) = self.segments(start);
        self.add(segments, None, start);
        end
    }

    /// A path of a `use`, or a group of them, behind the prefix that they share.
    fn tree(&mut self, start: usize, prefix: &[&'s str]) -> usize {
        let (segments, end) = self.segments(start);
        let mut whole = [prefix, &segments].concat();
        match self.source.text(end) {
            "{" => {
                let close = self.source.end_of_group(end) - 1;
                let mut at = end + 1;
                while at < close {
                    at = self.tree(at, &whole);
                    at += usize::from(self.source.text(at) == ",");
                }
                return close + 1;
            }
            "*" => {
                self.add(whole, None, start);
                return end + 1;
            }
            _ => {}
        }
        // `{self}` is the prefix itself.
        if whole.len() > 1 && whole.last() == Some(&"self") {
            whole.pop();
        }
        let is_renamed = self.source.text(end) == "as";
        let alias =
            if is_renamed { Some(self.source.text(end + 1)) } else { whole.last().copied() };
        self.add(whole, alias, start);
        if is_renamed { end + 2 } else { end.max(start + 1) }
    }

    /// Words with `::` between them; a `::` in front of what is no word is left out.
    fn segments(&self, start: usize) -> (Vec<&'s str>, usize) {
        let mut segments = Vec::new();
        let mut at = start;
        // A path of another crate may begin so.
        if self.source.text(at) == "::" {
            at += 1;
        }
        while self.source.is_word(at) {
            segments.push(self.source.text(at));
            at += 1;
            if self.source.text(at) != "::" {
                break;
            }
            at += 1;
        }
        (segments, at)
    }

    fn add(&mut self, segments: Vec<&'s str>, alias: Option<&'s str>, at: usize) {
        let mut rest = segments.as_slice();
        let base: Option<&[&str]> = match rest.first() {
            Some(&"crate") => Some(&[]),
            Some(&("self" | "super")) => Some(&self.module),
            _ => None,
        };
        let mut from_root = base.map(<[&str]>::to_vec).unwrap_or_default();
        while let [word @ ("crate" | "self" | "super"), behind @ ..] = rest {
            if *word == "super" {
                from_root.pop();
            }
            rest = behind;
        }
        from_root.extend(rest);
        self.found.push(Named {
            segments: from_root.into_iter().map(str::to_owned).collect(),
            is_absolute: base.is_some(),
            alias: alias.map(str::to_owned),
            line: self.source.tokens[at].line,
        });
    }
}

#[test]
fn paths_are_read_from_the_root() {
    let check = |path: &str, text: &str, expected: &[&str]| {
        let source = Source::read(text);
        let found = paths(path, &source).into_iter().map(|it| {
            let root = if it.is_absolute { "/" } else { "" };
            let alias = it.alias.map(|alias| format!(" as {alias}")).unwrap_or_default();
            format!("{root}{}{alias}", it.segments.join("::"))
        });
        assert_eq!(found.collect::<Vec<_>>(), expected, "{path}: {text}");
    };
    check(
        "a/b.rs",
        "use super::c::{self, D as E, f::*};",
        &["/a::c as c", "/a::c::D as E", "/a::c::f"],
    );
    check(
        "a/mod.rs",
        "use b::C; fn f() { b::g::<T>(self::d::h, x.y) }",
        &["b::C as C", "b::g", "/a::d::h"],
    );
    check("a/b.rs", "mod inner { use super::X; } use super::Y;", &["/a::b::X as X", "/a::Y as Y"]);
    check("a/b/c.rs", "pub(in super::super) fn f(at: crate::a::At) {}", &["/a::At"]);
    check(
        "a/b.rs",
        "fn f() -> impl Sized + use<'_> {} use ::http::Method;",
        &["http::Method as Method"],
    );
    check(
        "a/b.rs",
        "use super::super::{d, e::{F, G}}; use h;",
        &["/d as d", "/e::F as F", "/e::G as G", "h as h"],
    );
}
