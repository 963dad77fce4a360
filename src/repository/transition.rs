//! Changes of state: the first load of all models, and the reload of one.
//!
//! One transition of a model at a time. The new version comes up beside the old one; only when it
//! is warm does the catalog's handle change, in one step, and what is no longer chosen drains.

use super::beside::Beside;
use super::busy::Busy;
use super::decisions::{self, remember_served};
use super::entry::{ModelEntry, State, VersionEntry};
use super::error::RepositoryError;
use super::failure::{FailureCode, ModelFailure};
use super::intents::{Intent, Rejection};
use super::layout::{self, ModelFolder, NamedFolder};
use super::load::LoadWatcher;
use super::manifest::Strategy;
use super::orders;
use super::policy::{Situation, VersionPolicy};
use super::rollouts;
use super::served::{ModelHandle, Served};
use super::shared::Shared;
use super::source::Source;
use super::status;
use crate::inference::{ModelName, Version};
use crate::telemetry::events::EventKind;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// What is reported of a model whose named folder holds nothing yet.
const TO_COME: &str = "the model's folder is not there or empty, and is waited for";
/// How often folders that are to come are looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Loads every model that the catalog has, those first that readiness waits for. Gives back those
/// whose folders are to come; they stay marked as being loaded.
#[must_use]
pub(super) fn load_all(shared: &Shared) -> Vec<ModelName> {
    let models = shared.catalog.snapshot();
    let mut names: Vec<_> =
        models.iter().map(|(name, entry)| (!entry.is_required(), name)).collect();
    names.sort();
    let mut late = Vec::new();
    for (_, name) in names {
        if shared.catalog.is_closed() {
            return Vec::new();
        }
        match folder_to_come(shared, name) {
            Some(named) => {
                tracing::warn!(model.name = %name, folder = %named.path.display(), "{TO_COME}");
                shared.catalog.update(name, |entry| {
                    entry.problem = Some(ModelFailure::new(FailureCode::Incomplete, TO_COME));
                });
                late.push(name.clone());
            }
            None => load_first(shared, name),
        }
    }
    report_readiness(shared);
    late
}

/// The folder of a model, when it was named and is to come.
fn folder_to_come(shared: &Shared, name: &ModelName) -> Option<NamedFolder> {
    let live = shared.loader.options.live.now();
    let named = live.named.iter().find(|named| named.name == *name && named.is_to_come());
    named.cloned()
}

/// Loads models as soon as their folders are there. Blocks until all are, or the server ends.
pub(super) fn load_late(shared: &Shared, mut late: Vec<ModelName>) {
    while !late.is_empty() && !shared.catalog.is_closed() {
        let n_late = late.len();
        late.retain(|name| {
            let is_to_come = folder_to_come(shared, name).is_some();
            if !is_to_come {
                load_first(shared, name);
            }
            is_to_come
        });
        if late.len() < n_late {
            report_readiness(shared);
        }
        if !late.is_empty() {
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// Loads a model that was marked when the catalog was made.
fn load_first(shared: &Shared, name: &ModelName) {
    let busy = Busy::first_load(&shared.catalog, name);
    // Whoever asks for the outcome reads it from the catalog.
    let _ = load_model(shared, name, Cause::Ordered);
    drop(busy);
}

fn report_readiness(shared: &Shared) {
    // On the way down there are no models left to report.
    if shared.catalog.is_closed() {
        return;
    }
    let readiness = status::readiness(shared);
    if readiness.ready {
        tracing::info!("every required model is ready");
    } else if let Some(reason) = readiness.reason {
        let models = &shared.loader.options.models;
        // A relative path is of no use to whoever does not know where the server was started.
        let folder = std::path::absolute(models).unwrap_or_else(|_| models.clone());
        tracing::error!(folder = %folder.display(), "the server is not ready: {reason}");
    } else {
        let waiting_for = readiness.waiting_for;
        tracing::error!(?waiting_for, "required models are not loaded, so the server is not ready");
    }
}

/// Loads one model of a catalog that nobody else loads.
pub(super) fn load_alone(shared: &Shared, name: &ModelName) -> Result<(), RepositoryError> {
    let catalog = &shared.catalog;
    if !catalog.snapshot().contains_key(name) {
        return Err(RepositoryError::NotFound(name.clone()));
    }
    let busy = Busy::first_load(catalog, name);
    let outcome = load_model(shared, name, Cause::Ordered);
    drop(busy);
    outcome.map_err(|failure| RepositoryError::Failed { model: name.clone(), failure })
}

/// Loads one model anew.
pub(super) fn reload(shared: &Shared, name: &ModelName) -> Result<(), RepositoryError> {
    load_again(shared, name, Cause::Ordered)
}

/// Loads what of one model has changed.
pub(super) fn refresh(shared: &Shared, name: &ModelName) -> Result<(), RepositoryError> {
    load_again(shared, name, Cause::Noticed)
}

fn load_again(shared: &Shared, name: &ModelName, cause: Cause) -> Result<(), RepositoryError> {
    let catalog = &shared.catalog;
    if catalog.is_closed() {
        return Err(RepositoryError::Draining);
    }
    let is_known = catalog.snapshot().contains_key(name);
    if !is_known && find(shared, name).is_none() {
        return Err(RepositoryError::NotFound(name.clone()));
    }
    let busy = Busy::begin_or_add(catalog, name)?;
    let outcome = load_model(shared, name, cause);
    drop(busy);
    outcome.map_err(|failure| RepositoryError::Failed { model: name.clone(), failure })
}

/// Why a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// For the first time, or on order: what serves is loaded anew.
    Ordered,
    /// Files changed: what serves and is as it was stays.
    Noticed,
}

pub(super) fn load_model(
    shared: &Shared,
    name: &ModelName,
    cause: Cause,
) -> Result<(), ModelFailure> {
    let loaded = catch_unwind(AssertUnwindSafe(|| try_load_model(shared, name, cause)));
    let loaded = loaded.unwrap_or_else(|_| Err("loading the model panicked".into()));
    let loaded = loaded.map_err(|problem| ModelFailure::new(FailureCode::Incomplete, problem));
    shared.catalog.update(name, |entry| {
        entry.problem = loaded.as_ref().err().cloned();
        // A panic leaves versions behind that nobody is loading.
        let is_left = |it: &VersionEntry| it.state.stage().is_coming();
        let left: Vec<_> = entry.versions.iter().filter(|(_, it)| is_left(it)).collect();
        for version in left.into_iter().map(|(version, _)| *version).collect::<Vec<_>>() {
            entry.put(version, State::Failed("loading the version was given up".into()));
        }
    });
    if let Err(failure) = &loaded {
        let reason = failure.details();
        tracing::error!(model.name = %name, reason, "model could not be loaded");
        shared.tell(EventKind::ModelProblem, name, None, reason);
    }
    loaded
}

pub(super) fn find(shared: &Shared, name: &ModelName) -> Option<ModelFolder> {
    let options = &shared.loader.options;
    layout::find(&options.models, &options.live.now().named, name)
}

/// A model's folder, read whole.
pub(super) struct Found {
    pub(super) folder: ModelFolder,
    pub(super) source: Source,
}

pub(super) fn read(shared: &Shared, name: &ModelName) -> Result<Found, String> {
    let folder = find(shared, name).ok_or("the model's folder is gone")?;
    for sentence in &folder.ignored {
        tracing::warn!("{sentence}");
    }
    if let Some(problem) = folder.problem {
        return Err(problem);
    }
    let mut source = Source::read(&folder)?;
    if let Some(only) = shared.loader.options.overrides.version {
        source.manifest.versions = VersionPolicy::Specific(vec![only]);
    }
    Ok(Found { folder, source })
}

fn try_load_model(shared: &Shared, name: &ModelName, cause: Cause) -> Result<(), String> {
    let found = read(shared, name)?;
    let is_first = shared.catalog.snapshot().get(name).is_none_or(|it| !it.state.is_settled());
    // Where one version is asked for, nothing that was decided matters.
    let only = shared.loader.options.overrides.version;
    if is_first && only.is_none() {
        decisions::remember(shared, name);
    }
    let mut situation = shared.catalog.update(name, |entry| {
        entry.requirement = entry.requirement.read_again(found.source.is_required());
        entry.plan = Arc::new(found.source.manifest.rollout.plan());
        situation(entry, &found)
    });
    if only.is_none() {
        rollouts::follow_plan(shared, name);
    }
    let by = if only.is_some() { "" } else { " by model.toml" };
    let missing = situation.policy.missing(&situation.available).into_iter();
    let mut problems: Vec<_> = missing
        .map(|version| format!("version {version} is asked for{by} and not there"))
        .collect();
    problems.extend(bring_up(shared, &found, cause, &mut situation));
    let (gone, folderless) = shared.catalog.update(name, |entry| {
        let held = entry.routing.in_rollout().collect();
        let gone = retire(entry, &situation.holding(held));
        orders::report_pin(name, entry);
        (gone, folderless(entry, &situation.available))
    });
    problems.extend(folderless);
    tell_gone(shared, name, gone);
    rollouts::settle(shared, name);
    if only.is_none() {
        remember_served(shared, name);
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// What operators or a roll-out want served and the folder does not hold.
fn folderless(entry: &ModelEntry, available: &[Version]) -> Vec<String> {
    let is_gone = |version: &Version| !available.contains(version);
    let ready = entry.versions.iter().filter(|(version, it)| is_gone(version) && it.is_healthy());
    let serves_on = ready.map(|(version, _)| {
        format!(
            "version {version} is not in the folder any more: it serves on, and not after a restart"
        )
    });
    let pin = entry.routing.default.map(|pin| pin.version);
    let pin = pin.filter(|pin| is_gone(pin) && entry.healthy_version(*pin).is_none());
    let unkept = pin.map(|pin| format!("version {pin} was set as the default and is not there"));
    let labels = entry.routing.labels.iter();
    let labels = labels.filter(|(_, it)| is_gone(it) && entry.healthy_version(**it).is_none());
    let nothing = labels
        .map(|(label, it)| format!("the label {label:?} names version {it}, which is not there"));
    serves_on.chain(unkept).chain(nothing).collect()
}

fn tell_gone(shared: &Shared, name: &ModelName, gone: Vec<Version>) {
    for version in gone {
        let text = "it is not to be served any more, and finishes what it has";
        shared.tell(EventKind::VersionDraining, name, Some(version), text);
    }
}

/// Has everything serve that should and can; what cannot, and why.
pub(super) fn bring_up(
    shared: &Shared,
    found: &Found,
    cause: Cause,
    situation: &mut Situation,
) -> Vec<String> {
    let mut problems = Vec::new();
    while let Some(version) = situation.next() {
        if shared.catalog.is_closed() {
            problems.push("the server is shutting down".to_owned());
            break;
        }
        // What takes the place of a version that cannot serve need not be loaded anew.
        let is_replacement = situation.tried.values().any(|serves| !serves);
        let may_stay = cause == Cause::Noticed || is_replacement;
        let loaded = match may_stay && is_current(shared, found, version) {
            true => Ok(()),
            false => load_version(shared, found, version, role(shared, found, version)),
        };
        if let Err(reason) = &loaded
            && !is_rejected(shared, &found.folder.name, version)
        {
            problems.push(format!("version {version}: {reason}"));
        }
        situation.tried.insert(version, loaded.is_ok());
    }
    problems
}

/// Whether a version does not serve because somebody wanted it so: that is no problem of the model.
fn is_rejected(shared: &Shared, name: &ModelName, version: Version) -> bool {
    let models = shared.catalog.snapshot();
    let failure = models.get(name).and_then(|entry| entry.versions.get(&version)?.failure());
    failure.is_some_and(|failure| failure.code() == FailureCode::Rejected)
}

pub(super) fn situation(entry: &ModelEntry, found: &Found) -> Situation {
    let Found { folder, source } = found;
    // What serves stays beside a version that is to take over by and by.
    let is_gradual = source.manifest.rollout.strategy != Strategy::Replace;
    let serving = entry.serving().map(ModelHandle::version);
    // At a start nothing serves yet, and what did before comes first.
    let outgoing = serving.or(entry.intent.served.map(Version)).filter(|_| is_gradual);
    Situation {
        available: folder.versions.iter().map(|folder| folder.version).collect(),
        policy: source.manifest.versions.clone(),
        pin: entry.routing.default.map(|pin| pin.version),
        held: outgoing.into_iter().chain(entry.routing.in_rollout()).collect(),
        labeled: entry.routing.labels.values().copied().collect(),
        tried: BTreeMap::new(),
    }
}

/// Whether a version serves, by the files that are there now.
pub(super) fn is_current(shared: &Shared, found: &Found, version: Version) -> bool {
    let Found { folder, source } = found;
    let models = shared.catalog.snapshot();
    let served = models.get(&folder.name).and_then(|entry| entry.ready_version(version));
    let file = folder.versions.iter().find(|folder| folder.version == version);
    let (Some(handle), Some(file)) = (served, file) else { return false };
    let served = &handle.0;
    served.source_digest == source.digest
        && served.beside == Beside::of(file, folder)
        && served.defaults == shared.loader.options.live.now().defaults
        && served.fingerprint.still_holds(&file.file)
        && handle.failure().is_none()
}

/// Whether everything of a model serves that should, by the files that are there now, and nothing else is said of it.
pub(super) fn is_up_to_date(shared: &Shared, name: &ModelName) -> bool {
    let Ok(found) = read(shared, name) else { return false };
    let models = shared.catalog.snapshot();
    let Some(entry) = models.get(name).filter(|it| it.problem.is_none()) else { return false };
    let mut situation = situation(entry, &found);
    while let Some(version) = situation.next() {
        if !is_current(shared, &found, version) {
            return false;
        }
        situation.tried.insert(version, true);
    }
    true
}

/// What is told while a version comes up.
struct Progress<'a> {
    shared: &'a Shared,
    name: &'a ModelName,
    version: Version,
}

impl Progress<'_> {
    /// A version that serves stays ready while it is loaded anew.
    fn reach(&self, state: State) {
        self.shared.catalog.update(self.name, |entry| {
            if entry.ready_version(self.version).is_none() {
                entry.put(self.version, state);
            }
        });
    }
}

impl LoadWatcher for Progress<'_> {
    fn file_is_known(&self, digest: &str) -> Result<(), ModelFailure> {
        let Self { shared, name, version } = *self;
        if shared.loader.options.overrides.version.is_some() {
            // Nothing was read of what is decided, so nothing may be written over it.
            return Ok(());
        }
        let intent = decisions::current(&shared.catalog, name);
        if let Some(rejection) = intent.rejected.get(digest) {
            let Rejection { version: rejected, reason } = rejection;
            let reason = match *rejected == version.0 {
                true => reason.clone(),
                false => {
                    format!("it is the file of version {rejected}, which was rejected: {reason}")
                }
            };
            return Err(ModelFailure::new(FailureCode::Rejected, reason));
        }
        if intent.first_seen.get(&version.0).map(String::as_str) == Some(digest) {
            return Ok(());
        }
        let mut before = None;
        decisions::decide(shared, name, |intent| before = intent.see(version, digest));
        if let Some(before) = before {
            let text = format!("its file has the SHA-256 {digest}, and had {before} before");
            tracing::warn!(model.name = %name, model.version = version.0, "{text}");
            shared.tell(EventKind::FileReplaced, name, Some(version), text);
        }
        Ok(())
    }

    fn warms_up(&self) {
        self.reach(State::Warming);
    }
}

/// What a version is to be once it is ready, by model.toml and what was decided.
fn role(shared: &Shared, found: &Found, version: Version) -> Role {
    if found.source.manifest.rollout.strategy == Strategy::Replace {
        return Role::Beside;
    }
    let models = shared.catalog.snapshot();
    let Some(entry) = models.get(&found.folder.name) else { return Role::Beside };
    // Where one was set, an operator has chosen who answers.
    let is_free = entry.intent.default.is_none();
    let Some(from) = entry.serving().map(ModelHandle::version).filter(|_| is_free) else {
        return Role::Beside;
    };
    if entry.intent.rollout.as_ref().is_some_and(|it| it.by_hand) {
        // It stays the operator's; what comes meanwhile is there and waits.
        return Role::Beside;
    }
    // What comes up in place of a version that is gone takes nothing over, and what answered before a restart answers again. Of
    // a version that is loaded anew beside itself there is only one number.
    let is_new = version > from && entry.intent.served != Some(version.0);
    if is_new { Role::TakesOver { from, by_hand: false } } else { Role::Beside }
}

/// What a version is to be from the moment in which it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// One of those that are ready, of which the highest answers by default.
    Beside,
    /// The new one of a roll-out.
    TakesOver {
        /// The version that serves.
        from: Version,
        /// Whether an operator wants it so.
        by_hand: bool,
    },
    /// The one that answers by default, by an operator's order.
    Default,
}

pub(super) fn load_version(
    shared: &Shared,
    found: &Found,
    version: Version,
    role: Role,
) -> Result<(), String> {
    let Found { folder, source } = found;
    let file = folder.versions.iter().find(|folder| folder.version == version);
    let file = file.ok_or("the version's folder is gone")?;
    let name = &folder.name;
    let progress = Progress { shared, name, version };
    progress.reach(State::Loading);
    let outcome = shared.loader.load(folder, source, file, &progress).and_then(|served| {
        progress.reach(State::Verifying);
        let handle = ModelHandle(Arc::new(served));
        let beside = file.file.parent().unwrap_or(&folder.path);
        if let Some(verifier) = &shared.verifier {
            let verified = verifier.verify(&handle, beside);
            verified.map_err(|reason| ModelFailure::new(FailureCode::Verification, reason))?;
        }
        Ok(handle)
    });
    match outcome {
        Ok(handle) => {
            report(&handle.0);
            handle.metrics().set_ready(true);
            let under_way = decisions::current(&shared.catalog, name).rollout;
            let under_way = under_way.filter(|it| it.candidate == version.0);
            let begins = match (role, under_way) {
                // Of the same file there is nothing to find out.
                (Role::TakesOver { from, by_hand }, None)
                    if !is_same_file(shared, from, &handle) =>
                {
                    Some((from, by_hand))
                }
                // Another file in its place has shown nothing yet.
                (_, Some(it)) if is_another_file(shared, name, &handle) => {
                    Some((Version(it.stable), it.by_hand))
                }
                _ => None,
            };
            if let Some((from, by_hand)) = begins {
                // Before it is ready: no request goes to it otherwise than by its share.
                rollouts::begin(shared, name, from, version, by_hand);
            }
            let mut replaced = None;
            let put = |entry: &mut ModelEntry| {
                entry.state.serve();
                replaced = entry.ready_version(version).cloned();
                entry.put(version, State::Ready(handle));
            };
            match role {
                Role::Beside | Role::TakesOver { .. } => shared.catalog.update(name, put),
                // In one moment: set before it is ready, another one than that of now would stand in for it.
                Role::Default => {
                    let set = |intent: &mut Intent| intent.default = Some(version.0);
                    decisions::decide_and(shared, name, set, put);
                }
            }
            // Its part of the series of the version, which the new load shares.
            replaced.iter().for_each(|handle| handle.metrics().set_ready(false));
            shared.tell(EventKind::VersionReady, name, Some(version), "it is ready");
            Ok(())
        }
        Err(failure) => {
            let reason = failure.details().to_owned();
            // That a version is rejected was told when it was, and is no failure of a load.
            let intent = decisions::current(&shared.catalog, name);
            let is_known = intent.rejected.values().any(|it| it.version == version.0);
            if failure.code() != FailureCode::Rejected || !is_known {
                shared.failures.add(failure.code());
                shared.tell(EventKind::VersionFailed, name, Some(version), &*reason);
            }
            shared.catalog.update(name, |entry| fail(entry, version, failure));
            Err(reason)
        }
    }
}

/// Whether a version that serves is the file that is to take over from it.
fn is_same_file(shared: &Shared, from: Version, new: &ModelHandle) -> bool {
    let models = shared.catalog.snapshot();
    let serves = models.get(new.name()).and_then(|entry| entry.ready_version(from));
    serves.is_some_and(|old| old.facts().digest == new.facts().digest)
}

/// Whether a version that serves is another file than the one that is to take its place.
fn is_another_file(shared: &Shared, name: &ModelName, new: &ModelHandle) -> bool {
    let models = shared.catalog.snapshot();
    let serves = models.get(name).and_then(|entry| entry.ready_version(new.version()));
    serves.is_some_and(|old| old.facts().digest != new.facts().digest)
}

/// Lets go what is not to be served any more, after less is wanted; loads nothing.
pub(super) fn let_go_unwanted(shared: &Shared, name: &ModelName) {
    let Ok(found) = read(shared, name) else { return };
    let gone = shared.catalog.update(name, |entry| {
        let mut situation = situation(entry, &found);
        while let Some(version) = situation.next() {
            situation.tried.insert(version, entry.ready_version(version).is_some());
        }
        retire(entry, &situation)
    });
    tell_gone(shared, name, gone);
}

fn fail(entry: &mut ModelEntry, version: Version, failure: ModelFailure) {
    match entry.versions.get_mut(&version) {
        Some(found) if matches!(found.state, State::Ready(_)) => found.last_failure = Some(failure),
        _ => entry.put(version, State::Failed(failure)),
    }
}

/// Lets go what is no longer chosen, unless nothing that is chosen serves: an old version is better
/// than none. What takes no more requests because of that.
fn retire(entry: &mut ModelEntry, situation: &Situation) -> Vec<Version> {
    let mut gone = Vec::new();
    let outgoing = entry.routing.split.as_ref().map(|split| split.stable);
    entry.versions.retain(|version, found| {
        let bears_label = entry.routing.labels.values().any(|it| it == version);
        if situation.is_chosen(*version) || Some(*version) == outgoing || bears_label {
            return true;
        }
        match &found.state {
            State::Ready(_) => {
                if situation.any_serves() && found.let_go(State::Draining) {
                    gone.push(*version);
                }
                true
            }
            State::Draining(served) | State::Unloaded(served) => served.strong_count() > 0,
            State::Loading | State::Warming | State::Verifying | State::Failed(_) => false,
        }
    });
    gone
}

fn report(served: &Served) {
    let batching = served.engine_spec.batching;
    tracing::info!(
        model.name = %served.name,
        model.version = served.version.0,
        device = %served.facts.device,
        %batching,
        form = %served.facts.form.chosen,
        gain = %format_args!("{:.2}", served.facts.form.gain()),
        duration_ms = u64::try_from(served.facts.load_duration.as_millis()).unwrap_or(u64::MAX),
        "model is ready"
    );
    if !batching.is_allowed() {
        tracing::warn!(
            model.name = %served.name,
            model.version = served.version.0,
            %batching,
            "requests are not put together: {}", batching.reason()
        );
    }
    if served.facts.padding_wanted && served.facts.padding.is_none() {
        tracing::warn!(
            model.name = %served.name,
            model.version = served.version.0,
            "inputs are not padded although model.toml says so: requests of different sizes are not put together"
        );
    }
    for note in &served.facts.notes {
        tracing::info!(model.name = %served.name, model.version = served.version.0, "{note}");
    }
}
