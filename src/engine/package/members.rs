//! What lies in a package, by the names in its archive. Names are compared, and never used as paths. Pure.

use super::Refusal;
use crate::engine::Fault;
use crate::engine::kind::zip::Entry;
use std::collections::HashSet;

/// Where compiled models lie, below the archive's one top folder.
const COMPILED: &str = "data/aotinductor/";
/// Records that an archive may have.
const MAX_RECORDS: usize = 100_000;

/// How to write a package that can be served.
pub(super) const PACK: &str = "sconce_export.export(…, formats=(\"pt2\",)) writes one that can";

/// The records of a package that count.
#[derive(Debug)]
pub(super) struct Members {
    entries: Vec<Entry>,
    library: usize,
    weights: Option<usize>,
    facts: Vec<usize>,
    program: usize,
}

/// What a file of a compiled model is, by the end of its name.
enum Role {
    Library,
    Weights,
    /// What it was compiled for.
    Facts,
    /// What it was compiled from or with, of which nothing is used.
    Source,
    Gpu,
    /// What calls operators by name, or makes objects.
    Proxy,
    Unknown,
}

const ROLES: &[(&str, Role)] = &[
    (".so", Role::Library),
    (".blob", Role::Weights),
    ("_metadata.json", Role::Facts),
    ("_flags.json", Role::Source),
    (".cpp", Role::Source),
    (".h", Role::Source),
    (".o", Role::Source),
    (".cubin", Role::Gpu),
    (".fatbin", Role::Gpu),
    (".ptx", Role::Gpu),
    (".hsaco", Role::Gpu),
    (".spv", Role::Gpu),
    (".metallib", Role::Gpu),
    (".json", Role::Proxy),
    (".pt", Role::Proxy),
];

fn role(name: &str) -> &'static Role {
    ROLES.iter().find(|(end, _)| name.ends_with(end)).map_or(&Role::Unknown, |(_, role)| role)
}

/// What is wrong with the names of an archive: they lead elsewhere, are there twice, or do not lie in one folder.
pub(super) fn check_names(entries: &[Entry]) -> Result<(), String> {
    if entries.len() > MAX_RECORDS {
        return Err(format!("it has {} records, at most {MAX_RECORDS} are read", entries.len()));
    }
    let mut seen = HashSet::new();
    let mut top = None;
    for Entry { name, .. } in entries {
        let path = name.strip_suffix('/').unwrap_or(name);
        if !path.split('/').all(is_plain) {
            return Err(format!("its record {name:?} has a name that no package has"));
        }
        if !seen.insert(name.to_ascii_lowercase()) {
            return Err(format!("it has two records {name:?}"));
        }
        let own = path.split('/').next().unwrap_or_default();
        if *top.get_or_insert(own) != own {
            return Err(format!("its record {name:?} lies outside of its one top folder"));
        }
    }
    Ok(())
}

/// Whether a part of a name is one that leads nowhere else.
fn is_plain(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+=@ ".contains(&byte);
    !matches!(part, "" | "." | "..") && part.bytes().all(allowed)
}

/// The files of compiled models, by what they are.
#[derive(Debug, Default)]
struct Found<'e> {
    /// Names of the models.
    names: HashSet<&'e str>,
    libraries: Vec<usize>,
    weights: Vec<usize>,
    facts: Vec<usize>,
    has_source: bool,
}

impl<'e> Found<'e> {
    fn among(entries: &'e [Entry]) -> Result<Self, String> {
        let mut found = Self::default();
        for (place, entry) in entries.iter().enumerate().filter(|(_, it)| !it.is_folder) {
            let Some(path) = below_top(&entry.name).strip_prefix(COMPILED) else { continue };
            let parts = path.split_once('/').filter(|(_, file)| !file.contains('/'));
            let Some((name, file)) = parts else {
                return Err(format!("the package has {:?}, of which nothing is known", entry.name));
            };
            found.names.insert(name);
            match role(file) {
                Role::Library => found.libraries.push(place),
                Role::Weights => found.weights.push(place),
                Role::Facts => found.facts.push(place),
                Role::Source => found.has_source = true,
                Role::Gpu => {
                    return Err(format!(
                        "the package has code for a GPU ({file}), expected one that is compiled for the CPU"
                    ));
                }
                Role::Proxy => {
                    return Err(format!(
                        "the package calls operators by name or keeps objects ({file}), which cannot be served: compile a module whose operators AOTInductor compiles itself"
                    ));
                }
                Role::Unknown => {
                    return Err(format!("the package has {file:?}, of which nothing is known"));
                }
            }
        }
        Ok(found)
    }

    /// The one library.
    fn library(&self) -> Result<usize, String> {
        match (&*self.libraries, self.has_source) {
            ([library], _) => Ok(*library),
            ([], true) => Err(format!(
                "the package has source code (.cpp) and no library (.so): nothing is compiled here; {PACK}"
            )),
            (found, _) => {
                Err(format!("the package has {} libraries (.so), expected one", found.len()))
            }
        }
    }
}

impl Members {
    /// Finds what counts among records whose names have been checked.
    pub(super) fn find(entries: Vec<Entry>) -> Result<Self, Refusal> {
        Self::found(entries).map_err(|text| (Fault::Unsupported, text))
    }

    fn found(entries: Vec<Entry>) -> Result<Self, String> {
        let found = Found::among(&entries)?;
        let n_models = found.names.len();
        let Some(name) = found.names.iter().next().filter(|_| n_models == 1) else {
            return Err(format!("the package holds {n_models} compiled models, expected one"));
        };
        let library = found.library()?;
        if found.weights.len() > 1 {
            let n_files = found.weights.len();
            return Err(format!(
                "the package has {n_files} files of weights, expected at most one"
            ));
        }
        if found.facts.is_empty() {
            return Err(format!(
                "the package does not say for which machine it was compiled; {PACK}"
            ));
        }
        let program = program(&entries, name).ok_or_else(|| {
            format!(
                "the package does not hold its exported program (models/{name}.json or extra/{name}.json), without which nothing is known of its inputs; {PACK}"
            )
        })?;
        let (weights, facts) = (found.weights.first().copied(), found.facts);
        Ok(Self { library, weights, facts, program, entries })
    }

    pub(super) fn library(&self) -> &Entry {
        &self.entries[self.library]
    }

    pub(super) fn weights(&self) -> Option<&Entry> {
        self.weights.map(|place| &self.entries[place])
    }

    /// Bytes of library and weights.
    pub(super) fn bytes(&self) -> u64 {
        self.library().size + self.weights().map_or(0, |it| it.size)
    }

    pub(super) fn program(&self) -> &Entry {
        &self.entries[self.program]
    }

    pub(super) fn facts(&self) -> impl Iterator<Item = &Entry> {
        self.facts.iter().map(|place| &self.entries[*place])
    }
}

fn below_top(name: &str) -> &str {
    name.split_once('/').map_or("", |(_, rest)| rest)
}

/// The exported program of the compiled model of this name: as torch packs it, or as an extra file.
fn program(entries: &[Entry], name: &str) -> Option<usize> {
    let find = |folder: &str| {
        let path = format!("{folder}/{name}.json");
        entries.iter().position(|entry| below_top(&entry.name) == path)
    };
    find("models").or_else(|| find("extra"))
}
