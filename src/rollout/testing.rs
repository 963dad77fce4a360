//! What the tests of this room share.

use super::figures::Figures;
use super::rules::Evidence;
use crate::engine::fake::{FakeLoader, FakeModel};
use crate::engine::{EngineError, Fault};
use crate::inference::{ByteBudget, ErrorCode};
use crate::pipeline::Door;
use crate::repository::{ModelHandle, Repository, RepositoryOptions, RepositoryParts};
use crate::scheduler::Permits;
use crate::telemetry::events::Events;
use crate::telemetry::{Metrics, MetricsOptions};
use crate::tensor::Tensor;
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// So many requests, of which so many failed, each of so many microseconds, give or take a fifth.
pub(super) fn figures(requests: u64, errors: u64, micros: u64) -> Figures {
    let mut figures = Figures { requests, errors, ..Figures::default() };
    for nth in 0..requests - errors {
        figures.latencies.add(Duration::from_micros(micros * (80 + nth % 41) / 100));
    }
    figures
}

/// Of the old version and of the new one.
pub(super) fn evidence(stable: (u64, u64, u64), candidate: (u64, u64, u64)) -> Evidence {
    let of = |(requests, errors, micros)| figures(requests, errors, micros);
    Evidence { stable: of(stable), candidate: of(candidate), ..Evidence::default() }
}

/// SplitMix64: the same numbers on every machine.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to 1.
    pub(super) fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.part() < probability
    }
}

/// A model `m` with one version, rows of two numbers in and the same out, without a transport.
pub(super) struct Served {
    pub(super) door: Door,
    pub(super) handle: ModelHandle,
    pub(super) folder: TempDir,
}

const MANIFEST: &str = "[[inputs]]\nname = \"x\"\ndatatype = \"FP32\"\nshape = [-1, 2]\n\
    [[outputs]]\nname = \"y\"\ndatatype = \"FP32\"\nshape = [-1, 2]\n";

/// Serves a model; `top` stands above the tables of its model.toml.
pub(super) fn served(model: FakeModel, top: &str) -> Served {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("m/1")).unwrap();
    fs::write(folder.path().join("m/1/model.pt"), "a fake").unwrap();
    fs::write(folder.path().join("m/model.toml"), format!("{top}\n{MANIFEST}")).unwrap();
    let loader = Arc::new(FakeLoader(model));
    let codes = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    let metrics = Metrics::new(MetricsOptions { codes, ..MetricsOptions::default() });
    let repository = Repository::open(RepositoryParts {
        options: RepositoryOptions::new(folder.path().to_owned()),
        trial_loader: loader.clone(),
        isolated_loader: loader.clone(),
        loader,
        decode_sample: Arc::new(|_, _| Ok(Vec::new())),
        permits: Permits::new(2),
        metrics: metrics.clone(),
        verifier: None,
        events: Events::new(),
    });
    let repository = repository.unwrap();
    let loaded = repository.check();
    assert!(loaded[0].serving.is_some(), "{loaded:?}");
    let handle = repository.resolve_default().unwrap();
    let door = Door::new(repository, metrics, ByteBudget::new(1 << 20));
    Served { door, handle, folder }
}

/// A model that gives its rows back through this.
pub(super) fn mapping(map: impl Fn(&[f32]) -> Vec<f32> + Send + Sync + 'static) -> FakeModel {
    FakeModel::new(move |batch| {
        let x = batch.inputs.into_iter().flatten().next().unwrap();
        let values = x.as_slice::<f32>().unwrap();
        if values.contains(&13.0) {
            return Err(EngineError::new(Fault::Raised, "thirteen"));
        }
        Ok(vec![Tensor::from_vec(x.shape().clone(), map(values)).unwrap()])
    })
}
