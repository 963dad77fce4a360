//! What all clones of a repository share.

use super::catalog::Catalog;
use super::load::VersionLoader;
use super::pins::Pins;
use super::threads::DetachedLimit;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) catalog: Catalog,
    pub(super) loader: VersionLoader,
    pub(super) pins: Pins,
    /// What looked like a model at the start and is none, a sentence each.
    pub(super) ignored: Vec<String>,
    /// Of loads and orders under way.
    pub(super) detached: DetachedLimit,
}
