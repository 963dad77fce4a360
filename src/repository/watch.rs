//! Notices that folders have changed, and has loaded what they hold.
//!
//! By looking: every file system can be looked at, also those that notify nobody, and links that are changed as a whole
//! (`..data` of Kubernetes) show as other files behind the same names. What was noticed is acted on when it has been the
//! same twice in a row, so that a copy is waited for. A model is loaded when it changed, or came; the same failure is not
//! repeated until it changes again, unless it may have been the machine's.
//!
//! What an operator decided is not undone: an unloaded model stays unloaded, a pin and a rejection hold.

use super::busy::Busy;
use super::catalog::Catalog;
use super::entry::ModelEntry;
use super::error::RepositoryError;
use super::failure::ModelFailure;
use super::fingerprint::Stamp;
use super::found::find;
use super::layout::{self, MANIFEST_FILE, MODEL_FILE, ModelFolder, PACKAGE_FILE, SAMPLE_FILE};
use super::options::FolderWatch;
use super::problem::Problems;
use super::shared::Shared;
use super::threads::loading_thread;
use super::transition;
use crate::inference::ModelName;
use crate::telemetry::events::{EventKind, Subject};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How often the folders are looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// Looking takes at most so much of the time: one part in this.
const SHARE: u32 = 50;
/// Maximum files of one folder that are looked at.
const MAX_FILES: usize = 1000;
/// Models that are loaded at once because their folders changed.
const MAX_LOADS: usize = 4;
/// When a failure that may pass is tried again the first time, and at most.
const FIRST_RETRY: Duration = Duration::from_secs(60);
const LAST_RETRY: Duration = Duration::from_secs(3600);

/// The files of a model with what changes when one is written or replaced.
type Signature = Vec<(PathBuf, Option<Stamp>)>;

/// What the folders are known to hold.
#[derive(Debug)]
pub(super) struct Watcher {
    models: BTreeMap<ModelName, Seen>,
    /// Whether the models folder could be read the last time.
    is_readable: bool,
    /// Whether it waits for what it has loaded, for tests.
    pub(super) waits: bool,
}

/// What is known of one model's folder.
#[derive(Debug, Default)]
struct Seen {
    /// What was acted on.
    settled: Signature,
    /// What was seen the last time; empty for no folder.
    latest: Signature,
    retry: Option<Retry>,
    /// A load that goes on.
    load: Option<Load>,
}

/// A load on a thread of its own: what it verifies may take minutes, and other models must not wait for it.
#[derive(Debug)]
struct Load {
    outcome: Receiver<Result<(), RepositoryError>>,
    /// What it found.
    of: Signature,
    is_retry: bool,
}

/// Another try of what may have failed by the machine.
#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Instant,
    after: Duration,
}

/// Nothing is to be watched any more.
pub(super) fn end(shared: &Shared) {
    let (ended, condition) = &shared.ended;
    *ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
    condition.notify_all();
}

impl Watcher {
    /// A watcher that takes for known what is there now; `None` where nothing is to be watched.
    pub(super) fn new(shared: &Shared) -> Option<Self> {
        if shared.options().watch == FolderWatch::Off {
            return None;
        }
        let mut watcher = Self { models: BTreeMap::new(), is_readable: true, waits: false };
        let signatures = watcher.look(shared)?;
        watcher.models = signatures
            .into_iter()
            .map(|(name, it)| (name, Seen { settled: it.clone(), latest: it, ..Seen::default() }))
            .collect();
        Some(watcher)
    }

    /// Watches until the end of the server.
    pub(super) fn run(mut self, shared: &Arc<Shared>) {
        let mut wait = INTERVAL;
        while !sleep(shared, wait) {
            wait = INTERVAL.max(self.look_once(shared) * SHARE);
        }
    }

    /// Looks at everything, and acts on what has changed; how long the looking took.
    pub(super) fn look_once(&mut self, shared: &Arc<Shared>) -> Duration {
        let began_at = Instant::now();
        let signatures = self.look(shared);
        let took = began_at.elapsed();
        if let Some(signatures) = signatures {
            self.act(shared, signatures);
        }
        took
    }

    /// The signatures of all models; `None` when the models folder cannot be read, which is told once.
    fn look(&mut self, shared: &Shared) -> Option<BTreeMap<ModelName, Signature>> {
        let options = shared.options();
        match layout::scan(&options.models, &options.live.now().named) {
            Ok(scan) => {
                if !std::mem::replace(&mut self.is_readable, true) {
                    let text = "the models folder can be read again";
                    tracing::info!("{text}");
                    shared.events.add(EventKind::StoreRecovered, Subject::default(), text);
                }
                let models = scan.models.iter();
                Some(models.map(|it| (it.name.clone(), signature(it))).collect())
            }
            Err(error) => {
                if std::mem::replace(&mut self.is_readable, false) {
                    let folder = options.models.display();
                    let text = format!(
                        "the models folder {folder} cannot be read, what is loaded serves on: {error}"
                    );
                    tracing::error!("{text}");
                    shared.events.add(EventKind::StoreProblem, Subject::default(), text);
                }
                None
            }
        }
    }

    fn act(&mut self, shared: &Arc<Shared>, mut signatures: BTreeMap<ModelName, Signature>) {
        let known = self.models.keys().cloned();
        for name in known.filter(|name| !signatures.contains_key(name)).collect::<Vec<_>>() {
            signatures.insert(name, Signature::new());
        }
        let mut n_loads = 0;
        for (name, signature) in signatures {
            let seen = self.models.entry(name.clone()).or_default();
            let is_steady = seen.latest == signature;
            seen.latest = signature;
            seen.end_load(shared, &name);
            let is_free = n_loads < MAX_LOADS && seen.load.is_none();
            if is_free
                && is_steady
                && (seen.is_due(Instant::now()) || is_readable_again(shared, &name, &seen.latest))
                && !is_held(&shared.catalog, &name)
            {
                seen.act(shared, &name);
                if self.waits {
                    seen.wait(shared, &name);
                }
            }
            n_loads += usize::from(seen.load.is_some());
            if is_steady && seen.latest.is_empty() {
                forget_unloaded(shared, &name);
            }
            // Of a folder that is gone nothing is remembered, unless its model serves on.
            let is_over = seen.settled.is_empty() && seen.latest.is_empty() && seen.load.is_none();
            if is_over && !is_known(shared, &name) {
                self.models.remove(&name);
            }
        }
    }
}

impl Seen {
    fn is_due(&self, now: Instant) -> bool {
        self.settled != self.latest || self.retry.is_some_and(|retry| now >= retry.at)
    }

    fn act(&mut self, shared: &Arc<Shared>, name: &ModelName) {
        let is_retry = self.settled == self.latest;
        if self.latest.is_empty() {
            self.settled.clear();
            self.retry = None;
            folder_is_gone(shared, name);
            return;
        }
        if self.settled.is_empty() && transition::is_up_to_date(shared, name) {
            // Somebody ordered it while it was new here.
            self.settled.clone_from(&self.latest);
            return;
        }
        if !is_retry {
            let text = "the files in its folder changed, and are read again";
            tracing::info!(model.name = %name, "{text}");
            shared.tell(EventKind::FilesChanged, name, None, text);
        }
        let (done, outcome) = mpsc::channel();
        let (whole, model) = (Arc::clone(shared), name.clone());
        let load = move || {
            // Nobody may look any more.
            let _ = done.send(transition::refresh(&whole, &model));
        };
        match loading_thread().spawn(load) {
            Ok(_) => self.load = Some(Load { outcome, of: self.latest.clone(), is_retry }),
            // It is due again at the next look.
            Err(error) => tracing::error!(model.name = %name, %error, "no thread can load it"),
        }
    }

    /// Takes up what a load came to, once it has ended.
    fn end_load(&mut self, shared: &Shared, name: &ModelName) {
        let Some(load) = &self.load else { return };
        let ended = load.outcome.try_recv();
        if !matches!(ended, Err(TryRecvError::Empty)) {
            self.settle(shared, name, ended.ok());
        }
    }

    /// Waits for the end of a load.
    fn wait(&mut self, shared: &Shared, name: &ModelName) {
        if let Some(ended) = self.load.as_ref().map(|load| load.outcome.recv()) {
            self.settle(shared, name, ended.ok());
        }
    }

    /// Nothing came of a load that panicked: what it found is not loaded again.
    fn settle(
        &mut self,
        shared: &Shared,
        name: &ModelName,
        ended: Option<Result<(), RepositoryError>>,
    ) {
        let Some(load) = self.load.take() else { return };
        match ended {
            // Somebody else loads it: it is looked at again.
            Some(Err(RepositoryError::Busy(_))) => return,
            Some(Ok(())) | None => self.retry = None,
            Some(Err(_)) => self.retry = self.next_retry(shared, name, load.is_retry),
        }
        self.settled = load.of;
    }

    /// When to try again what failed, if another try may help.
    fn next_retry(&self, shared: &Shared, name: &ModelName, is_retry: bool) -> Option<Retry> {
        let models = shared.catalog.snapshot();
        let mut versions = models.get(name)?.versions.values();
        versions.find(|it| it.failure().is_some_and(ModelFailure::may_pass))?;
        let before = self.retry.filter(|_| is_retry);
        let after = before.map_or(FIRST_RETRY, |it| (it.after * 2).min(LAST_RETRY));
        Some(Retry { at: Instant::now() + after, after })
    }
}

/// Whether an operator wants nothing of it to serve, or somebody loads it now.
fn is_held(catalog: &Catalog, name: &ModelName) -> bool {
    let models = catalog.snapshot();
    models.get(name).is_some_and(|entry| entry.state.is_unloaded() || entry.state.is_changing())
}

fn is_known(shared: &Shared, name: &ModelName) -> bool {
    shared.catalog.snapshot().contains_key(name)
}

/// Whether a folder could not be read when somebody asked for its model, and can be now: nothing in it need have changed.
fn is_readable_again(shared: &Shared, name: &ModelName, signature: &Signature) -> bool {
    let models = shared.catalog.snapshot();
    let was_not = |entry: &Arc<ModelEntry>| {
        let found = &entry.problems.found;
        found.iter().any(|it| it.version.is_none() && layout::is_of_folder(&it.reason))
    };
    !signature.is_empty()
        && models.get(name).is_some_and(was_not)
        && find(shared, name).is_some_and(|folder| folder.problem.is_none())
}

/// What is loaded serves on: a folder may be gone for a moment, or by mistake. Who wants the model gone unloads it.
fn folder_is_gone(shared: &Shared, name: &ModelName) {
    if !is_known(shared, name) {
        return;
    }
    let text =
        format!("{}; what is loaded serves on until the model is unloaded", layout::FOLDER_IS_GONE);
    tracing::error!(model.name = %name, "{text}");
    shared.tell(EventKind::ModelProblem, name, None, &text);
    shared.catalog.update(name, |entry| {
        entry.problems = Problems::of_model(text);
    });
}

/// A model that an operator let go, and whose folder has gone then, is no model any more.
fn forget_unloaded(shared: &Shared, name: &ModelName) {
    let models = shared.catalog.snapshot();
    if models.get(name).is_some_and(|entry| entry.state.is_unloaded())
        && let Ok(busy) = Busy::begin(&shared.catalog, name)
        && find(shared, name).is_none()
    {
        tracing::info!(model.name = %name, "its folder is gone, and the unloaded model with it");
        busy.forget();
    }
}

/// Sleeps; whether everything ends instead.
fn sleep(shared: &Shared, wait: Duration) -> bool {
    let (ended, condition) = &shared.ended;
    let guard = ended.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = condition.wait_timeout_while(guard, wait, |ended| !*ended);
    *waited.unwrap_or_else(PoisonError::into_inner).0
}

/// All files of the model's folder and of its versions.
fn signature(folder: &ModelFolder) -> Signature {
    let mut signature = Signature::new();
    add_files(&folder.path, &mut signature);
    for version in &folder.versions {
        match version.file.parent() {
            Some(parent) if parent != folder.path => add_files(parent, &mut signature),
            _ => {}
        }
    }
    // A model without a version, or that is a file, has a signature too: the empty one is that of no folder.
    add(&folder.path, &mut signature);
    signature
}

fn add_files(folder: &Path, signature: &mut Signature) {
    // Whatever else lies there.
    for name in [MODEL_FILE, PACKAGE_FILE, MANIFEST_FILE, SAMPLE_FILE] {
        add(&folder.join(name), signature);
    }
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut files: Vec<_> = entries.take(MAX_FILES).filter_map(Result::ok).collect();
    files.sort_by_key(fs::DirEntry::file_name);
    for file in files {
        let name = file.file_name();
        // A log that is written on and on would keep a folder from ever being the same twice.
        let is_log = name.to_string_lossy().contains(".log");
        if !name.as_encoded_bytes().starts_with(b".") && !is_log {
            add(&file.path(), signature);
        }
    }
}

/// A folder's own times change with every file that is put beside it: they are left out.
fn add(path: &Path, signature: &mut Signature) {
    let Ok(found) = fs::metadata(path) else { return };
    if found.is_dir() {
        signature.push((path.to_owned(), None));
    } else {
        signature.push((path.to_owned(), Some(Stamp::of(&found))));
    }
}
