//! What the store has, sorted by models and versions, within bounds.

use super::connect::Remote;
use super::error::StoreError;
use super::keys;
use futures_util::StreamExt;
use object_store::path::Path as ObjectPath;
use object_store::{Error, ObjectMeta};
use std::collections::{BTreeMap, BTreeSet};

/// Maximum objects of a store that are looked at.
pub(super) const MAX_OBJECTS: usize = 100_000;
/// Maximum reasons that are kept of objects that are no model's.
const MAX_REFUSED: usize = 5;

/// An object of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    /// Its path below the prefix, which is that below the models folder too.
    pub(super) key: String,
    pub(super) location: ObjectPath,
    /// Tells one content from the next: the ETag, or else the time of the last change.
    pub(super) identity: String,
    pub(super) size: u64,
}

/// Files by name.
pub(super) type Files = BTreeMap<String, Object>;

/// What belongs to one model.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ModelListing {
    /// What lies beside the versions.
    pub(super) files: Files,
    pub(super) versions: BTreeMap<u64, Files>,
}

/// What the store has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) models: BTreeMap<String, ModelListing>,
    /// Models that there are, whose objects could not be listed.
    pub(super) unlisted: BTreeSet<String>,
    /// Why objects are not taken, a sentence each for the first few.
    pub(super) refused: Vec<String>,
    pub(super) n_refused: usize,
    n_objects: usize,
}

/// What tells one content of an object from the next. Some stores write ETags with quotes in one place and without in
/// another.
pub(super) fn identity(meta: &ObjectMeta) -> String {
    match meta.e_tag.as_deref().map(|tag| tag.trim_start_matches("W/").trim_matches('"')) {
        Some(tag) if !tag.is_empty() => tag.to_owned(),
        _ => format!("modified {}", meta.last_modified.timestamp()),
    }
}

impl Listing {
    /// Asks the store.
    pub(super) async fn read(remote: &Remote) -> Result<Self, StoreError> {
        let mut listing = Self::default();
        match listing.add_all(remote, &remote.prefix).await {
            // One object whose name is no path makes the whole listing unreadable; model by model, one model.
            Err(Failure::Store(Error::InvalidPath { .. })) => Self::read_by_model(remote).await,
            Err(failure) => Err(failure.into_error(remote)),
            Ok(()) => Ok(listing),
        }
    }

    async fn read_by_model(remote: &Remote) -> Result<Self, StoreError> {
        let mut listing = Self::default();
        let top = remote.store.list_with_delimiter(some(&remote.prefix)).await;
        let folders = top.map_err(|error| remote.fault(&error))?.common_prefixes;
        for folder in folders {
            match listing.add_all(remote, &folder).await {
                Err(Failure::Store(error @ Error::InvalidPath { .. })) => {
                    let name = folder.filename().unwrap_or_default().to_owned();
                    listing.refuse(&name, &remote.secrets.describe(&error));
                    listing.models.remove(&name);
                    listing.unlisted.insert(name);
                }
                Err(failure) => return Err(failure.into_error(remote)),
                Ok(()) => {}
            }
        }
        Ok(listing)
    }

    async fn add_all(&mut self, remote: &Remote, folder: &ObjectPath) -> Result<(), Failure> {
        let mut objects = remote.store.list(some(folder));
        while let Some(object) = objects.next().await {
            self.n_objects += 1;
            if self.n_objects > MAX_OBJECTS {
                return Err(Failure::TooMany);
            }
            match object {
                Ok(meta) => self.add(&remote.prefix, &meta),
                Err(error) if is_of_one_object(&error) => {
                    self.note(format!(
                        "an object is not taken: {}",
                        remote.secrets.describe(&error)
                    ));
                }
                Err(error) => return Err(Failure::Store(error)),
            }
        }
        Ok(())
    }

    pub(super) fn add(&mut self, prefix: &ObjectPath, meta: &ObjectMeta) {
        let Some(parts) = meta.location.prefix_match(prefix) else { return };
        let parts: Vec<_> = parts.collect();
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        let key = parts.join("/");
        match keys::read(&parts) {
            Ok(None) => {}
            Ok(Some(at)) => {
                let object = Object {
                    key,
                    location: meta.location.clone(),
                    identity: identity(meta),
                    size: meta.size,
                };
                let model = self.models.entry(at.model).or_default();
                let files = match at.version {
                    Some(version) => model.versions.entry(version).or_default(),
                    None => &mut model.files,
                };
                files.insert(at.file, object);
            }
            Err(reason) => self.refuse(&key, reason),
        }
    }

    fn refuse(&mut self, key: &str, reason: &str) {
        self.note(format!("{key:?} is not taken: {reason}"));
    }

    fn note(&mut self, refusal: String) {
        self.n_refused += 1;
        if self.refused.len() < MAX_REFUSED {
            self.refused.push(refusal);
        }
    }

    /// Whether this is a file or a version that there is, or may be.
    pub(super) fn has(&self, key: &str) -> bool {
        let mut parts = key.splitn(3, '/');
        let (name, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let Some(model) = self.models.get(name) else { return self.unlisted.contains(name) };
        match keys::number(second).map(|version| model.versions.get(&version)) {
            Some(files) => {
                files.is_some_and(|files| parts.next().is_none_or(|it| files.contains_key(it)))
            }
            None => model.files.contains_key(second),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.models.is_empty() && self.unlisted.is_empty()
    }
}

/// Whether this says of one object that its name is no path, and more objects follow: so do stores by HTTP, which list all at
/// once and read each name by itself.
fn is_of_one_object(error: &Error) -> bool {
    let Error::Generic { store: "HTTP", source } = error else { return false };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&**source);
    while let Some(error) = cause {
        if error.is::<object_store::path::Error>() || error.is::<std::str::Utf8Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The root is no prefix.
fn some(prefix: &ObjectPath) -> Option<&ObjectPath> {
    Some(prefix).filter(|prefix| !prefix.as_ref().is_empty())
}

enum Failure {
    Store(Error),
    TooMany,
}

impl Failure {
    fn into_error(self, remote: &Remote) -> StoreError {
        match self {
            Self::Store(error) => remote.fault(&error),
            Self::TooMany => StoreError::TooMany(MAX_OBJECTS),
        }
    }
}
