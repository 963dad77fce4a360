//! The modules inside a room: which of them names which, and that no way along these arrows leads
//! back to where it began.
//!
//! Looked at folder by folder: what lies deeper counts as its folder. A `mod.rs` stands above the files of
//! its folder, since it declares them, so that they may not name what it defines itself. What it only
//! hands on belongs to the file that it comes from.

use crate::paths::{Named, modules, paths};
use crate::rules::INSIDE;
use crate::source::Source;
use crate::{File, files};
use std::collections::{BTreeMap, BTreeSet};

/// How often a path is followed through what modules hand on.
const MAX_STEPS: usize = 8;

/// From a module to those that it names, by their paths below `src/`.
pub(crate) type Arrows = BTreeMap<String, BTreeSet<String>>;

/// A module, by its path from the crate's root.
type Module = Vec<String>;

/// The modules of one room, with what each one's file names.
struct Room(BTreeMap<Module, Vec<Named>>);

impl Room {
    fn read(files: &[File], name: &str) -> Self {
        let module = |file: &File| modules(&file.path).into_iter().map(str::to_owned).collect();
        let all = files.iter().map(|file| (module(file), file));
        let of_room =
            all.filter(|(module, _): &(Module, _)| module.first().is_some_and(|it| it == name));
        let named = |file: &File| paths(&file.path, &Source::read(&file.text));
        Self(of_room.map(|(module, file)| (module, named(file))).collect())
    }

    /// The module in which something is defined that another one names; `None` for what is of no module of this
    /// room.
    fn home(&self, module: &Module, path: &Named) -> Option<&Module> {
        let mut path = path.absolute(module);
        for _ in 0..MAX_STEPS {
            let mut depths = (1..=path.len()).rev();
            let (home, named) = depths.find_map(|depth| self.0.get_key_value(&path[..depth]))?;
            let Some(item) = path.get(home.len()) else {
                // An ancestor that is imported as a whole is not used yet.
                return (!module.starts_with(home)).then_some(home);
            };
            let handed_on = named.iter().find(|it| it.alias.as_ref() == Some(item));
            let Some(origin) = handed_on.map(|it| it.absolute(home)) else { return Some(home) };
            let next = [&origin, &path[home.len() + 1..]].concat();
            if next == path {
                return None;
            }
            path = next;
        }
        None
    }

    fn arrows(&self) -> Arrows {
        let mut arrows = Arrows::new();
        for (module, named) in &self.0 {
            for home in named.iter().filter_map(|path| self.home(module, path)) {
                if home == module {
                    continue;
                }
                let (from, to) = (side(module, home), side(home, module));
                arrows.entry(from).or_default().insert(to);
            }
        }
        arrows
    }

    /// From each folder to what it declares.
    fn declarations(&self) -> Arrows {
        let mut arrows = Arrows::new();
        for module in self.0.keys() {
            if let [parent @ .., _] = module.as_slice()
                && !parent.is_empty()
            {
                arrows.entry(parent.join("/")).or_default().insert(module.join("/"));
            }
        }
        arrows
    }
}

/// How a module is called in the folder in which the ways to it and to another part.
fn side(module: &Module, other: &Module) -> String {
    let shared = module.iter().zip(other).take_while(|(a, b)| a == b).count();
    module[..module.len().min(shared + 1)].join("/")
}

/// What is left of arrows when those are taken away that lie on no circle.
fn on_circles(mut arrows: Arrows) -> Arrows {
    loop {
        let before = arrows.len();
        let targets: BTreeSet<_> = arrows.values().flatten().cloned().collect();
        arrows.retain(|from, _| targets.contains(from));
        let sources: BTreeSet<_> = arrows.keys().cloned().collect();
        arrows.values_mut().for_each(|to| to.retain(|to| sources.contains(to)));
        arrows.retain(|_, to| !to.is_empty());
        if arrows.len() == before {
            return arrows;
        }
    }
}

/// One circle of arrows that all lie on some.
fn circle(arrows: &Arrows) -> Option<String> {
    let mut way: Vec<&str> = vec![arrows.keys().next()?];
    loop {
        let next = arrows[*way.last()?].iter().next()?;
        if let Some(start) = way.iter().position(|it| it == next) {
            let names: Vec<_> = way[start..].iter().copied().chain([next.as_str()]).collect();
            return Some(names.join(" → "));
        }
        way.push(next);
    }
}

fn join(mut arrows: Arrows, more: Arrows) -> Arrows {
    for (from, to) in more {
        arrows.entry(from).or_default().extend(to);
    }
    arrows
}

/// A circle inside a room.
fn circle_inside(room: &Room) -> Option<String> {
    circle(&on_circles(join(room.arrows(), room.declarations())))
}

#[test]
fn the_modules_of_a_room_name_each_other_without_circles() {
    let files = files();
    let mut found = Vec::new();
    for name in INSIDE {
        let room = Room::read(&files, name);
        let arrows = room.arrows();
        let count: usize = arrows.values().map(BTreeSet::len).sum();
        println!("{name}: {count} arrows between {} modules", room.0.len());
        for (from, to) in &arrows {
            let to: Vec<_> = to.iter().map(String::as_str).collect();
            println!("  {from} → {}", to.join(", "));
        }
        found.extend(circle_inside(&room));
    }
    assert!(found.is_empty(), "the modules of a room must form no circle:\n{}", found.join("\n"));
}

#[test]
fn a_planted_circle_is_found() {
    let check = |texts: &[(&str, &str)], expected: Option<&str>| {
        let file =
            |(path, text): &(&str, &str)| File { path: (*path).into(), text: (*text).into() };
        let files: Vec<_> = texts.iter().map(file).collect();
        let circle = circle_inside(&Room::read(&files, "a"));
        assert_eq!(circle.as_deref(), expected, "{texts:?}");
    };
    let b_to_c = ("a/b.rs", "use super::c::C;");
    let c_to_b = ("a/c.rs", "fn f() { crate::a::b::g() }");
    check(&[("a/mod.rs", "pub use b::B;"), b_to_c, ("a/c.rs", "")], None);
    check(&[b_to_c, c_to_b], Some("a/b → a/c → a/b"));
    // What a parent defines, and what it hands on.
    let parent = ("a/mod.rs", "mod b; mod c; pub use c::C; use crate::z::Z; pub struct Own;");
    check(&[parent, ("a/b.rs", "use super::{C, Z}; use crate::a;"), ("a/c.rs", "")], None);
    check(&[parent, ("a/b.rs", "use super::Own;"), ("a/c.rs", "")], Some("a → a/b → a"));
    check(&[parent, ("a/b.rs", "use crate::a; fn f(_: a::Own) {}")], Some("a → a/b → a"));
    // A folder counts as one.
    let folder = [("a/b/mod.rs", ""), ("a/b/x.rs", "use crate::a::c::C;"), ("a/b/y.rs", "")];
    let back = ("a/c.rs", "use super::b::y::Y;");
    check(&[&folder[..], &[("a/mod.rs", ""), back]].concat(), Some("a/b → a/c → a/b"));
    check(&[&folder[..], &[("a/mod.rs", ""), ("a/c.rs", "")]].concat(), None);
    // Test code is free.
    check(&[b_to_c, ("a/c.rs", "#[cfg(test)] mod tests { use super::super::b::B; }")], None);
}
