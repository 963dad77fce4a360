//! The mark on a model that is being loaded or changed: one load or order of it at a time.

use super::catalog::Catalog;
use super::error::RepositoryError;
use crate::inference::ModelName;

/// Marks a model as being loaded or changed, until dropped.
pub(super) struct Busy<'a> {
    catalog: &'a Catalog,
    name: &'a ModelName,
}

impl<'a> Busy<'a> {
    /// Marks a model that the catalog has.
    pub(super) fn begin(
        catalog: &'a Catalog,
        name: &'a ModelName,
    ) -> Result<Self, RepositoryError> {
        if catalog.is_closed() {
            return Err(RepositoryError::Draining);
        }
        if !catalog.snapshot().contains_key(name) {
            return Err(RepositoryError::NotFound(name.clone()));
        }
        Self::begin_or_add(catalog, name)
    }

    /// Marks a model, which the catalog gets if it does not have it.
    pub(super) fn begin_or_add(
        catalog: &'a Catalog,
        name: &'a ModelName,
    ) -> Result<Self, RepositoryError> {
        if catalog.update(name, |entry| entry.state.begin()) {
            Ok(Self { catalog, name })
        } else {
            Err(RepositoryError::Busy(name.clone()))
        }
    }

    /// Has the catalog forget the model.
    pub(super) fn forget(self) {
        self.catalog.remove(self.name);
        // Its end would bring the model back.
        std::mem::forget(self);
    }

    /// Takes over the mark of a model's first load, which it got when the catalog was made.
    pub(super) fn first_load(catalog: &'a Catalog, name: &'a ModelName) -> Self {
        Self { catalog, name }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.catalog.update(self.name, |entry| entry.state.end());
    }
}
