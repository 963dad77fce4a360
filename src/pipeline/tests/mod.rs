//! The door with a scripted engine behind it, and nothing of HTTP before it.

mod observed;
mod unary;

use super::Door;
use crate::engine::fake::{FakeLoader, FakeModel};
use crate::inference::ByteBudget;
use crate::repository::{Repository, RepositoryOptions, RepositoryParts};
use crate::scheduler::Permits;
use crate::telemetry::events::Events;
use crate::telemetry::{Metrics, MetricsOptions};
use std::fs;
use std::sync::Arc;
use tempfile::TempDir;

/// What the one model says of itself: rows of two numbers in, and the same out.
const MANIFEST: &str = "[[inputs]]\nname = \"x\"\ndatatype = \"FP32\"\nshape = [-1, 2]\n\
    [[outputs]]\nname = \"x\"\ndatatype = \"FP32\"\nshape = [-1, 2]\n\
    [limits]\nmax_body_bytes = 1024\n";

/// A server without a transport: one model, `echo`, and a door to it.
struct Served {
    door: Door,
    budget: ByteBudget,
    metrics: Metrics,
    _models: TempDir,
}

fn served(model: FakeModel) -> Served {
    let models = tempfile::tempdir().unwrap();
    fs::create_dir_all(models.path().join("echo/1")).unwrap();
    fs::write(models.path().join("echo/1/model.pt"), "a fake").unwrap();
    fs::write(models.path().join("echo/model.toml"), MANIFEST).unwrap();
    let loader = Arc::new(FakeLoader(model));
    let codes = crate::inference::ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    let metrics = Metrics::new(MetricsOptions { codes, ..MetricsOptions::default() });
    let repository = Repository::open(RepositoryParts {
        options: RepositoryOptions::new(models.path().to_owned()),
        trial_loader: loader.clone(),
        isolated_loader: loader.clone(),
        loader,
        decode_sample: Arc::new(|_, _| Ok(Vec::new())),
        permits: Permits::new(1),
        metrics: metrics.clone(),
        verifier: None,
        events: Events::new(),
    })
    .unwrap();
    let loaded = repository.check();
    assert!(loaded[0].serving.is_some(), "{loaded:?}");
    let budget = ByteBudget::new(1 << 20);
    let door = Door::new(repository, metrics.clone(), budget.clone());
    Served { door, budget, metrics, _models: models }
}
