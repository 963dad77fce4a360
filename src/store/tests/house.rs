//! A store, a folder for it, and a mirror: what a test has around it.

use super::faulty::Faulty;
use crate::store::connect::Remote;
use crate::store::error::StoreError;
use crate::store::scrub::Secrets;
use crate::store::stats::Stats;
use crate::store::sync::{Report, Syncer};
use crate::store::{MirrorOptions, StoreUrl};
use object_store::path::Path as ObjectPath;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A store, a folder for it, and a mirror that can be started anew.
pub(super) struct House {
    pub(super) store: Arc<Faulty>,
    pub(super) folder: tempfile::TempDir,
    pub(super) stats: Arc<Stats>,
    pub(super) options: MirrorOptions,
    pub(super) syncer: Syncer,
}

pub(super) fn open(store: &Arc<Faulty>, options: &MirrorOptions, stats: &Arc<Stats>) -> Syncer {
    let store = Arc::<Faulty>::clone(store);
    let prefix = ObjectPath::from("models");
    let remote = Remote { store, prefix, secrets: Secrets::default() };
    Syncer::open(options, remote, Arc::clone(stats)).unwrap()
}

impl House {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = MirrorOptions {
            url: StoreUrl::of(Path::new("s3://bucket/models")).unwrap(),
            cache_dir: folder.path().to_owned(),
            cache_bytes: 1 << 20,
            max_file_bytes: 1 << 10,
            poll: Duration::from_secs(30),
        };
        let (store, stats) = (Arc::<Faulty>::default(), Arc::<Stats>::default());
        let syncer = open(&store, &options, &stats);
        Self { store, folder, stats, options, syncer }
    }

    /// With one model of one version.
    pub(super) async fn with_digits() -> Self {
        let house = Self::new();
        house.put("digits/model.toml", "about").await;
        house.put("digits/1/model.pt", "weights of one").await;
        house.put("digits/1/labels.txt", "zero").await;
        house
    }

    pub(super) async fn put(&self, key: &str, text: &str) {
        self.store.put(&format!("models/{key}"), text.to_owned()).await;
    }

    pub(super) async fn delete(&self, key: &str) {
        self.store.delete(&format!("models/{key}")).await;
    }

    /// As after the end of the process.
    pub(super) fn restart(&mut self) {
        // The lock goes first, as a process's does.
        let other = House::new();
        self.syncer = other.syncer;
        self.syncer = open(&self.store, &self.options, &self.stats);
    }

    pub(super) async fn sync(&mut self) -> Result<Report, StoreError> {
        self.syncer.sync(None, 7200).await
    }

    /// A sync without a problem.
    pub(super) async fn good_sync(&mut self) -> Report {
        let report = self.sync().await.unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        report
    }

    pub(super) fn root(&self) -> PathBuf {
        self.options.models().parent().unwrap().to_owned()
    }

    /// Everything in the models folder.
    pub(super) fn visible(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.options.models()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let key = path.strip_prefix(self.options.models()).unwrap();
                let text = fs::read_to_string(&path).unwrap();
                files.insert(key.to_str().unwrap().to_owned(), text);
            }
        }
        files
    }

    #[track_caller]
    pub(super) fn sees(&self, expected: &[(&str, &str)]) {
        let pair = |(key, text): &(&str, &str)| ((*key).to_owned(), (*text).to_owned());
        assert_eq!(self.visible(), expected.iter().map(pair).collect());
    }

    #[track_caller]
    pub(super) fn got(&self, expected: &[(&str, u64)]) {
        let gets = self.store.take_gets();
        let gets: Vec<_> = gets.iter().map(|(key, begin)| (key.as_str(), *begin)).collect();
        assert_eq!(gets, expected);
    }

    #[track_caller]
    pub(super) fn has_no_leftovers(&self) {
        for folder in ["parts", "fresh", "old"] {
            let left = fs::read_dir(self.root().join("staging").join(folder)).unwrap().count();
            assert_eq!(left, 0, "nothing must be left in staging/{folder}");
        }
    }
}
