//! One look at the store: what is new is brought, checked and moved in, what is gone goes.

use super::connect::Remote;
use super::error::StoreError;
use super::fetch::{fetch, part_name};
use super::folders::{Folders, delete, disk, entries};
use super::index::{self, Entry, Index, modified};
use super::listing::{Files, Listing, ModelListing, Object};
use super::options::MirrorOptions;
use super::plan::{Choice, Id, Known, choose, label};
use super::stats::Stats;
use crate::repository::layout::{SUMS_FILE, Sum, read_sums};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest `SHA256SUMS` that is read.
const MAX_SUMS_BYTES: u64 = 1 << 20;

/// How exactly it is kept when a version was needed last, in seconds.
const USED_STEP: u64 = 3600;

/// What a mirror's thread works with.
#[derive(Debug)]
pub(super) struct Syncer {
    remote: Remote,
    folders: Folders,
    index: Index,
    stats: Arc<Stats>,
    cache_bytes: u64,
    max_file_bytes: u64,
    /// Held from the first sync on.
    lock: Option<File>,
    /// Digests of parts that were brought and not taken, so that a wrong one is not brought each time.
    brought: HashMap<String, String>,
    /// Why objects are not taken, as it was last time, and what of it nobody has said yet.
    refused: Vec<String>,
    untold: Vec<String>,
}

/// What came of a sync.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Versions and files beside them that came, changed or went.
    pub(super) changes: Vec<String>,
    /// What could not be had, although the store answers.
    pub(super) problems: Vec<StoreError>,
}

/// What one sync goes by.
struct Look<'a> {
    listing: &'a Listing,
    choice: &'a Choice,
    /// In seconds since 1970.
    now: u64,
}

/// A file that is to be placed, and from where.
struct Source {
    name: String,
    key: String,
    path: PathBuf,
    entry: Entry,
}

/// A version, or what lies beside the versions, that is whole in staging.
struct Unit {
    /// `None` for the latter.
    version: Option<u64>,
    sources: Vec<Source>,
}

impl Syncer {
    pub(super) fn open(
        options: &MirrorOptions,
        remote: Remote,
        stats: Arc<Stats>,
    ) -> Result<Self, StoreError> {
        let folders = Folders::open(options.folder())?;
        let index = Index::load(&index::path(folders.root()));
        Ok(Self {
            remote,
            folders,
            index,
            stats,
            cache_bytes: options.cache_bytes,
            max_file_bytes: options.max_file_bytes,
            lock: None,
            brought: HashMap::new(),
            refused: Vec::new(),
            untold: Vec::new(),
        })
    }

    /// Whether there is a version to serve.
    pub(super) fn has_versions(&self) -> bool {
        self.folders.versions().is_ok_and(|versions| !versions.is_empty())
    }

    /// Looks at the store once. `in_use` is what the server needs, `now` in seconds since 1970.
    pub(super) async fn sync(
        &mut self,
        in_use: Option<&BTreeSet<Id>>,
        now: u64,
    ) -> Result<Report, StoreError> {
        if self.lock.is_none() {
            self.lock = Some(self.folders.lock()?);
            self.folders.clear_leftovers()?;
            // Another process may have changed it.
            self.index = Index::load(&index::path(self.folders.root()));
        }
        let listing = Listing::read(&self.remote).await?;
        self.note_refused(&listing);
        let here = self.folders.versions()?;
        if listing.is_empty() {
            return Err(if here.is_empty() { StoreError::Empty } else { StoreError::Emptied });
        }
        for id in in_use.into_iter().flatten() {
            self.index.set_used(label(id), now / USED_STEP * USED_STEP);
        }
        let known =
            Known { here: &here, in_use, used: &self.index.used, max_bytes: self.cache_bytes };
        let choice = choose(&listing, &known);
        let mut report = Report::default();
        let outcome = self
            .carry_out(&Look { listing: &listing, choice: &choice, now }, &here, &mut report)
            .await;
        // What was done is kept, however it ended.
        self.index.retain(|key| listing.has(key));
        let saved = self.index.save(&index::path(self.folders.root()));
        outcome.and(saved).map(|()| report)
    }

    async fn carry_out(
        &mut self,
        look: &Look<'_>,
        here: &BTreeSet<Id>,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        let Look { listing, choice, .. } = look;
        self.drop_parts(listing)?;
        let is_listed =
            |id: &Id| listing.models.get(&id.0).is_some_and(|it| it.versions.contains_key(&id.1));
        // What has to make room goes first.
        for id in here.difference(&choice.wanted).filter(|id| is_listed(id)) {
            self.folders.remove(&self.folders.version(id))?;
            report.changes.push(format!("{} made room", label(id)));
        }
        for id in &choice.too_large {
            report.problems.push(StoreError::Object {
                key: label(id),
                reason: "it has no room in store.cache_bytes".to_owned(),
            });
        }
        for (name, model) in &listing.models {
            let before = report.problems.len();
            self.bring(name, model, look, report).await?;
            // What goes out of use may still be needed for as long as what is to come has not.
            if report.problems.len() == before {
                self.remove_gone(name, model, report)?;
            }
        }
        for name in self.folders.models()? {
            if !listing.models.contains_key(&name) && !listing.unlisted.contains(&name) {
                self.folders.remove(&self.folders.model(&name))?;
                report.changes.push(format!("{name} is gone"));
            }
        }
        Ok(())
    }

    /// Brings what is new of one model: all of it into staging, and only then anything into sight.
    async fn bring(
        &mut self,
        name: &str,
        model: &ModelListing,
        look: &Look<'_>,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        let mut units = Vec::new();
        let folder = self.folders.model(name);
        let changed: Files = model
            .files
            .iter()
            .filter(|(file, object)| self.index.fitting(object, &folder.join(file)).is_none())
            .map(|(file, object)| (file.clone(), object.clone()))
            .collect();
        let beside = (!changed.is_empty()).then_some((None, changed));
        let wanted = |version: u64| look.choice.wanted.contains(&(name.to_owned(), version));
        let versions = model.versions.iter().filter(|(version, _)| wanted(**version));
        let versions = versions.map(|(version, files)| (Some(*version), files.clone()));
        for (version, files) in beside.into_iter().chain(versions) {
            let target = match version {
                Some(version) => self.folders.version(&(name.to_owned(), version)),
                None => folder.clone(),
            };
            if version.is_some() && self.is_as_listed(&target, &files) {
                continue;
            }
            match self.stage(&target, &files, version.is_some()).await {
                Ok(sources) => units.push(Unit { version, sources }),
                Err(problem @ StoreError::Object { .. }) => report.problems.push(problem),
                Err(error) => return Err(error),
            }
        }
        for unit in units {
            self.place(name, unit, look.now, report)?;
        }
        Ok(())
    }

    /// Whether the folder of a version has these files and no others.
    fn is_as_listed(&self, folder: &Path, files: &Files) -> bool {
        let Ok(here) = entries(folder) else { return false };
        let fits = |(name, object): (&String, &Object)| {
            self.index.fitting(object, &folder.join(name)).is_some()
        };
        here.len() == files.len() && files.iter().all(fits)
    }

    /// Has every file of a unit on this disk, and its digest as it should be. Nothing is visible yet.
    async fn stage(
        &mut self,
        target: &Path,
        files: &Files,
        is_version: bool,
    ) -> Result<Vec<Source>, StoreError> {
        let mut digests = BTreeMap::new();
        let mut sources = Vec::new();
        if let Some(object) = files.get(SUMS_FILE).filter(|_| is_version) {
            let source = self.obtain(SUMS_FILE, object, target, None).await?;
            digests = listed_digests(&source.path, object, files)?;
            sources.push(source);
        }
        for (name, object) in files.iter().filter(|(name, _)| !is_version || *name != SUMS_FILE) {
            let expected = digests.get(name).map(String::as_str);
            sources.push(self.obtain(name, object, target, expected).await?);
        }
        Ok(sources)
    }

    /// The file of an object: the one that lies here already, or a part that is brought.
    async fn obtain(
        &mut self,
        name: &str,
        object: &Object,
        target: &Path,
        expected: Option<&str>,
    ) -> Result<Source, StoreError> {
        let wrong = |sha256: &str| {
            let expected = expected.filter(|expected| *expected != sha256)?;
            let reason =
                format!("its SHA-256 is {sha256}, {SUMS_FILE} says {expected}; it is not taken");
            Some(StoreError::Object { key: object.key.clone(), reason })
        };
        let source = |path: PathBuf, entry| Source {
            name: name.to_owned(),
            key: object.key.clone(),
            path,
            entry,
        };
        if object.size > self.max_file_bytes {
            let reason =
                format!("it has {} bytes, at most {} are taken", object.size, self.max_file_bytes);
            return Err(StoreError::Object { key: object.key.clone(), reason });
        }
        let here = target.join(name);
        if let Some(entry) = self.index.fitting(object, &here) {
            return wrong(&entry.sha256).map_or_else(|| Ok(source(here, entry.clone())), Err);
        }
        let part = part_name(object);
        if let Some(error) = self.brought.get(&part).and_then(|sha256| wrong(sha256)) {
            return Err(error);
        }
        let path = self.folders.part(&part);
        let sha256 = fetch(&self.remote, object, &path, &self.stats.downloaded_bytes).await?;
        if let Some(error) = wrong(&sha256) {
            self.brought.insert(part, sha256);
            delete(&path)?;
            return Err(error);
        }
        let file = fs::metadata(&path).map_err(disk(&path))?;
        let (identity, size) = (object.identity.clone(), object.size);
        Ok(source(path, Entry { identity, size, sha256, modified: modified(&file) }))
    }

    /// Moves a unit in.
    fn place(
        &mut self,
        name: &str,
        unit: Unit,
        now: u64,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        match unit.version {
            Some(version) => {
                let id = (name.to_owned(), version);
                let files: Vec<_> =
                    unit.sources.iter().map(|it| (it.name.clone(), it.path.clone())).collect();
                self.folders.place_version(&id, &files)?;
                self.index.set_used(label(&id), now / USED_STEP * USED_STEP);
                report.changes.push(format!("{} came", label(&id)));
            }
            None => {
                for source in &unit.sources {
                    self.folders.place_file(name, &source.name, &source.path)?;
                    report.changes.push(format!("{} came", source.key));
                }
            }
        }
        let mut parts = Vec::new();
        for source in unit.sources {
            parts.extend(Some(source.path).filter(|path| self.folders.is_part(path)));
            self.index.set(&source.key, source.entry);
        }
        self.index.save(&index::path(self.folders.root()))?;
        // Only now: whoever is ended before this finds the parts again and downloads nothing.
        parts.iter().try_for_each(|part| delete(part))
    }

    /// Removes what the store does not have any more of a model that it still has.
    fn remove_gone(
        &mut self,
        name: &str,
        model: &ModelListing,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        for path in entries(&self.folders.model(name)).unwrap_or_default() {
            let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
            let version = super::keys::number(file);
            let is_listed = version.is_some_and(|it| model.versions.contains_key(&it));
            if !is_listed && !model.files.contains_key(file) {
                report.changes.push(format!("{name}/{file} is gone"));
                self.folders.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Deletes parts of what the store does not have any more.
    fn drop_parts(&mut self, listing: &Listing) -> Result<(), StoreError> {
        let parts = self.folders.parts()?;
        if parts.is_empty() && self.brought.is_empty() {
            return Ok(());
        }
        let of_model = |model: &ModelListing| {
            let versions = model.versions.values().flat_map(Files::values);
            model.files.values().chain(versions).map(part_name).collect::<Vec<_>>()
        };
        let listed: BTreeSet<_> = listing.models.values().flat_map(of_model).collect();
        self.brought.retain(|part, _| listed.contains(part));
        let is_listed = |path: &Path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|it| listed.contains(it))
        };
        parts.iter().filter(|path| !is_listed(path)).try_for_each(|path| delete(path))
    }

    /// Notes what is in the store and not taken, to be told once.
    fn note_refused(&mut self, listing: &Listing) {
        if self.refused != listing.refused {
            self.refused.clone_from(&listing.refused);
            self.untold.clone_from(&listing.refused);
            if let Some(more @ 1..) = listing.n_refused.checked_sub(listing.refused.len()) {
                self.untold.push(format!("{more} more objects of the store are not taken"));
            }
        }
    }

    /// What has to be told of objects that are not taken.
    pub(super) fn take_untold(&mut self) -> Vec<String> {
        std::mem::take(&mut self.untold)
    }
}

/// What `SHA256SUMS` says of these files. A file that it names and that is not there has not been uploaded yet.
fn listed_digests(
    path: &Path,
    object: &Object,
    files: &Files,
) -> Result<BTreeMap<String, String>, StoreError> {
    let wrong = |reason| StoreError::Object { key: object.key.clone(), reason };
    if object.size > MAX_SUMS_BYTES {
        return Err(wrong(format!("it has more than {MAX_SUMS_BYTES} bytes")));
    }
    let text = fs::read(path).map_err(disk(path))?;
    let text = String::from_utf8_lossy(&text);
    let sums = read_sums(&text).map_err(wrong)?;
    match sums.iter().find(|sum| !files.contains_key(sum.name)) {
        Some(Sum { name, .. }) => Err(wrong(format!("it names {name:?}, which is not there yet"))),
        None => Ok(sums
            .iter()
            .map(|sum| (sum.name.to_owned(), sum.digest.to_ascii_lowercase()))
            .collect()),
    }
}
