//! Has the versions of a model come up, one after the other, each with the part that it is to play.

use super::beside::Beside;
use super::decisions;
use super::entry::{ModelEntry, State, Tried};
use super::failure::{FailureCode, ModelFailure};
use super::fingerprint::Stamp;
use super::found::Found;
use super::intents::{Intent, Rejection};
use super::layout::ModelFolder;
use super::lifecycle::VersionState;
use super::load::LoadWatcher;
use super::manifest::Strategy;
use super::policy::Situation;
use super::problem::Problem;
use super::rollouts;
use super::served::{ModelHandle, Served};
use super::shared::Shared;
use super::standing::is_rejected;
use crate::inference::{ModelName, Version};
use crate::telemetry::events::EventKind;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// Why a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// For the first time, or on order: what serves is loaded anew.
    Ordered,
    /// Files changed: what serves and is as it was stays.
    Noticed,
}

/// Has everything serve that should and can; what cannot, and why.
pub(super) fn bring_up(
    shared: &Shared,
    found: &Found,
    cause: Cause,
    situation: &mut Situation,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    while let Some(version) = situation.next() {
        if shared.catalog.is_closed() {
            problems.push(Problem::of_model("the server is shutting down"));
            break;
        }
        // What takes the place of a version that cannot serve need not be loaded anew.
        let is_replacement = situation.tried.values().any(|serves| !serves);
        let may_stay = cause == Cause::Noticed || is_replacement;
        let known = may_stay.then(|| known_failure(shared, found, version)).flatten();
        let loaded = match (known, may_stay && is_current(shared, found, version)) {
            (Some(reason), _) => Err(reason),
            (None, true) => Ok(()),
            (None, false) => load_version(shared, found, version, role(shared, found, version)),
        };
        let mut serves = loaded.is_ok();
        if let Err(reason) = loaded {
            let models = shared.catalog.snapshot();
            let entry = models.get(&found.folder.name);
            // What it was loaded with before may serve on: then nothing has to take its place.
            serves = entry.is_some_and(|entry| entry.healthy_version(version).is_some());
            if !entry.and_then(|entry| entry.versions.get(&version)).is_some_and(is_rejected) {
                problems.push(Problem { version: Some(version), reason });
            }
        }
        situation.tried.insert(version, serves);
    }
    problems
}

/// Whether a version serves, by the files that are there now.
pub(super) fn is_current(shared: &Shared, found: &Found, version: Version) -> bool {
    let models = shared.catalog.snapshot();
    let served = models.get(&found.folder.name).and_then(|entry| entry.ready_version(version));
    served.is_some_and(|it| it.failure().is_none() && is_of_files(shared, found, it))
}

/// Whether a version was loaded from the files that are there now.
fn is_of_files(shared: &Shared, found: &Found, handle: &ModelHandle) -> bool {
    let Found { folder, source } = found;
    let file = folder.versions.iter().find(|folder| folder.version == handle.version());
    let Some(file) = file else { return false };
    let served = &handle.0;
    served.source_digest == source.digest
        && served.beside == Beside::of(file, folder)
        && served.defaults == shared.options().live.now().defaults
        && served.fingerprint.still_holds(&file.file)
}

/// What a version is loaded with.
fn tried(shared: &Shared, found: &Found, version: Version) -> Option<Tried> {
    let Found { folder, source } = found;
    let file = folder.versions.iter().find(|folder| folder.version == version)?;
    Some(Tried {
        source_digest: source.digest.clone(),
        beside: Beside::of(file, folder),
        defaults: shared.options().live.now().defaults.clone(),
        file: fs::metadata(&file.file).ok().map(|found| Stamp::of(&found)),
    })
}

/// Why a version failed, if it would be loaded with nothing else now and another try cannot help.
fn known_failure(shared: &Shared, found: &Found, version: Version) -> Option<String> {
    let models = shared.catalog.snapshot();
    let entry = models.get(&found.folder.name)?.versions.get(&version)?;
    let failure = entry.failure()?;
    if let Some(handle) = entry.handle().filter(|handle| handle.has_failed()) {
        // With the same files it would be given up again.
        return is_of_files(shared, found, handle).then(|| failure.details().to_owned());
    }
    // What was decided may be decided otherwise now.
    let is_final = !failure.may_pass() && failure.code() != FailureCode::Rejected;
    let is_same = is_final && entry.tried.as_deref() == tried(shared, found, version).as_ref();
    (is_same && entry.tried.is_some()).then(|| failure.details().to_owned())
}

/// What is told while a version comes up.
struct Progress<'a> {
    shared: &'a Shared,
    name: &'a ModelName,
    version: Version,
}

impl Progress<'_> {
    /// A version that serves stays ready while it is loaded anew, and one that was let go meanwhile goes.
    fn reach(&self, state: State) {
        self.shared.catalog.update(self.name, |entry| {
            let begins = matches!(state, State::Loading);
            let before = entry.versions.get(&self.version).map(|it| it.state.stage());
            let is_coming = before.is_some_and(VersionState::is_coming);
            if is_coming || (begins && entry.ready_version(self.version).is_none()) {
                entry.put(self.version, state);
            }
        });
    }
}

impl LoadWatcher for Progress<'_> {
    fn file_is_known(&self, digest: &str) -> Result<(), ModelFailure> {
        let Self { shared, name, version } = *self;
        if shared.options().overrides.version.is_some() {
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

/// Whether no link beside the version, or beside its model, leads out of the models folder: who verifies reads such files.
fn links_stay_within(folder: &ModelFolder, beside: &Path) -> Result<(), String> {
    for place in [beside, &folder.path] {
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                let path = entry.path();
                folder.stays_within(&path).map_err(|why| format!("{}: {why}", path.display()))?;
            }
        }
    }
    Ok(())
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
    let with = tried(shared, found, version).map(Arc::new);
    progress.reach(State::Loading);
    let load = || {
        shared.loader.load(folder, source, file, &progress).and_then(|served| {
            progress.reach(State::Verifying);
            let handle = ModelHandle(Arc::new(served));
            let beside = file.file.parent().unwrap_or(&folder.path);
            if let Some(verifier) = &shared.verifier {
                let outside = links_stay_within(folder, beside);
                outside.map_err(|reason| ModelFailure::new(FailureCode::Outside, reason))?;
                let verified = verifier.verify(&handle, beside);
                verified.map_err(|reason| ModelFailure::new(FailureCode::Verification, reason))?;
            }
            Ok(handle)
        })
    };
    // What goes wrong with one version is no reason not to try another.
    let outcome = catch_unwind(AssertUnwindSafe(load));
    let outcome = outcome.unwrap_or_else(|_| Err("loading the version panicked".into()));
    match outcome {
        Ok(handle) => {
            report(&handle.0);
            let under_way = decisions::current(&shared.catalog, name).rollout;
            let under_way = under_way.filter(|it| it.candidate == version.0);
            let is_file = |served: Version| {
                digest_in_service(shared, name, served).map(|it| it == handle.facts().digest)
            };
            let begins = match (role, under_way) {
                // Of the same file there is nothing to find out.
                (Role::TakesOver { from, by_hand }, None) if is_file(from) != Some(true) => {
                    Some((from, by_hand))
                }
                // Another file in its place has shown nothing yet.
                (_, Some(it)) if is_file(version) == Some(false) => {
                    Some((Version(it.stable), it.by_hand))
                }
                _ => None,
            };
            if let Some((from, by_hand)) = begins {
                // Before it is ready: no request goes to it otherwise than by its share.
                rollouts::begin(shared, name, from, version, by_hand);
            }
            let (mut replaced, mut refused) = (None, None);
            let put = |entry: &mut ModelEntry| {
                // It may have been rejected while it came up: going back waits for no load.
                refused = entry.intent.rejected.get(&handle.facts().digest).cloned();
                if refused.is_some() {
                    return;
                }
                handle.metrics().set_ready(true);
                entry.unloaded.remove(&version);
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
            if let Some(Rejection { reason, .. }) = refused {
                let failure = ModelFailure::new(FailureCode::Rejected, reason.clone());
                shared.catalog.update(name, |entry| fail(entry, version, failure));
                return Err(reason);
            }
            // Its part of the series of the version, which the new load shares.
            replaced.iter().for_each(|handle| handle.metrics().set_ready(false));
            shared.tell(EventKind::VersionReady, name, Some(version), "it is ready");
            Ok(())
        }
        Err(failure) => {
            // That a version is rejected was told when it was, and is no failure of a load; that its file is in the place of one
            // that serves is news.
            let intent = decisions::current(&shared.catalog, name);
            let serves = digest_in_service(shared, name, version).is_some();
            let is_known = !serves && intent.rejected.values().any(|it| it.version == version.0);
            let failure = match failure.code() == FailureCode::Rejected && serves {
                true => failure.reworded(|reason| {
                    format!(
                        "its file was replaced by one that was rejected ({reason}): what is loaded serves on, and not after a restart"
                    )
                }),
                false => failure,
            };
            let reason = failure.details().to_owned();
            if failure.code() != FailureCode::Rejected || !is_known {
                shared.failures.add(failure.code());
                shared.tell(EventKind::VersionFailed, name, Some(version), &*reason);
            }
            shared.catalog.update(name, |entry| {
                fail(entry, version, failure);
                if let Some(found) = entry.versions.get_mut(&version) {
                    found.tried = with;
                }
            });
            Err(reason)
        }
    }
}

/// Which file a version that serves is.
fn digest_in_service(shared: &Shared, name: &ModelName, version: Version) -> Option<String> {
    let models = shared.catalog.snapshot();
    let serves = models.get(name).and_then(|entry| entry.ready_version(version));
    serves.map(|handle| handle.facts().digest.clone())
}

fn fail(entry: &mut ModelEntry, version: Version, failure: ModelFailure) {
    match entry.versions.get_mut(&version) {
        Some(found) if matches!(found.state, State::Ready(_) | State::Draining(_)) => {
            found.last_failure = Some(failure);
        }
        _ => entry.put(version, State::Failed(failure)),
    }
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
