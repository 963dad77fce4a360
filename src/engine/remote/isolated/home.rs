//! Where an isolated model lives: its child, the next one when that has died, and how many may follow.

use super::{IsolatedLoader, IsolationOptions, MAX_STARTS};
use crate::engine::remote::handover::Handover;
use crate::engine::remote::process::{Message, Process};
use crate::engine::remote::protocol::{self, Response};
use crate::engine::remote::shared::{Deadline, explain};
use crate::engine::remote::zygote::Nursery;
use crate::engine::{Artifact, Death, DeathWatcher, EngineError, Fault, LoadOptions, Signature};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// In how long a time deaths are counted together.
const WINDOW: Duration = Duration::from_secs(60);
/// How long the first start waits that follows two deaths with no answer between them; each further one twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How long a start waits at most: a version that is unloaded meanwhile waits with it.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Runs in a row for which there was no memory, after which it is looked at what the process keeps.
const MAX_REFUSED: u32 = 3;
/// How long a child waits at once for what is short, whom callers wait for.
const LONGEST_SHORTAGE: Duration = Duration::from_secs(1);

/// By which a file is known that was looked at before. Not when its entry changed last, as when a newer file takes its name.
#[derive(Debug, PartialEq, Eq)]
struct FileFacts {
    bytes: u64,
    modified: Option<SystemTime>,
}

impl FileFacts {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { bytes: metadata.len(), modified: metadata.modified().ok() })
    }
}

/// What a model, its engines and its children have in common.
#[derive(Debug)]
pub(super) struct Home {
    /// What each child loads, open, so that they get the same file.
    artifact: Artifact,
    load: LoadOptions,
    facts: FileFacts,
    nursery: Arc<Nursery>,
    pub(super) options: IsolationOptions,
    state: Mutex<State>,
    watcher: Mutex<Option<Watcher>>,
    has_warned: Arc<AtomicBool>,
}

struct Watcher(DeathWatcher);

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watcher")
    }
}

#[derive(Debug, Default)]
struct State {
    child: Option<Arc<ServingChild>>,
    /// When children died, within [`WINDOW`].
    deaths: VecDeque<Instant>,
    /// How many have died since one answered.
    in_a_row: u32,
}

/// A child in which the model is loaded.
#[derive(Debug)]
pub(super) struct ServingChild {
    pub(super) process: Process,
    pub(super) model: u64,
    /// Held for as long as it is asked for something over the socket that is for everything.
    pub(super) asking: Mutex<()>,
    pub(super) has_answered: AtomicBool,
    /// Runs in a row that it had no memory for.
    pub(super) n_refused: AtomicU32,
    /// What is known of its death.
    end: Mutex<Option<EngineError>>,
}

impl ServingChild {
    /// Why it is gone, if it is known to be.
    fn end(&self) -> Option<EngineError> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(super) struct Loaded {
    pub(super) child: Arc<ServingChild>,
    pub(super) signature: Signature,
    pub(super) memory: u64,
}

impl Home {
    /// Of a model that is loaded in its first child.
    pub(super) fn with_first_child(
        of: &IsolatedLoader,
        artifact: &Artifact,
        options: &LoadOptions,
    ) -> Result<(Arc<Self>, Loaded), EngineError> {
        let child = &of.options.child;
        let child = if artifact.is_unconfined() { child.trusting() } else { child.clone() };
        let file = artifact.open()?;
        let facts = FileFacts::of(&file).map_err(|error| {
            EngineError::new(Fault::InvalidFile, format!("the model file cannot be read: {error}"))
        })?;
        let home = Self {
            artifact: Artifact { file: Some(file), ..artifact.clone() },
            load: options.clone(),
            facts,
            nursery: Arc::clone(&of.nursery),
            options: IsolationOptions { child, ..of.options.clone() },
            state: Mutex::default(),
            watcher: Mutex::default(),
            has_warned: Arc::clone(&of.has_warned),
        };
        let loaded = home.start(options.within, home.options.child.timeout)?;
        home.state().child = Some(Arc::clone(&loaded.child));
        Ok((Arc::new(home), loaded))
    }

    /// Has deaths told. Only the first watcher counts.
    pub(super) fn watch(&self, watcher: DeathWatcher) {
        let mut first = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(Watcher(watcher));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a child and loads the model in it. What is short for it is waited for that long.
    fn start(&self, within: Option<Duration>, shortage: Duration) -> Result<Loaded, EngineError> {
        let options = &self.options.child;
        let file = self.artifact.open()?;
        if !FileFacts::of(&file).is_ok_and(|facts| facts == self.facts) {
            let text = "the model file changed since it was loaded, and cannot be loaded again";
            return Err(EngineError::new(Fault::InvalidFile, text));
        }
        let timeout = options.timeout;
        let deadline = Deadline::after(within.map_or(timeout, |it| it.min(timeout)));
        let is_unconfined = self.artifact.is_unconfined();
        let tried_until = deadline.at.min(Instant::now() + shortage);
        let process = self.nursery.child_by(options, is_unconfined, tried_until);
        let process = process.map_err(|error| options.cannot_start(&error))?;
        process.log_as(&self.artifact.label);
        let handover = Handover::of(&self.artifact, options.memory_bytes)?;
        let request = handover.request(&self.artifact, &self.load);
        let message = Message { request: &request, buffers: &[], files: handover.files() };
        let answer = process.call(message, deadline.at);
        let answer = answer.map_err(|error| explain(&process, &error, deadline))?.0;
        match answer {
            Response::Loaded { model, signature, memory, unconfined } => {
                options.judge(&unconfined, &self.has_warned)?;
                let child = Arc::new(ServingChild {
                    process,
                    model,
                    asking: Mutex::default(),
                    has_answered: AtomicBool::new(false),
                    n_refused: AtomicU32::new(0),
                    end: Mutex::default(),
                });
                let (signature, memory) = handover.facts(signature.into(), memory);
                Ok(Loaded { child, signature, memory })
            }
            Response::Failed { fault, message } => Err(protocol::failure(fault, &message)),
            _ => Err(another_answer()),
        }
    }

    /// Notices that the child has ended by itself, where nobody is just about to.
    pub(super) fn notice_end(&self) {
        let Ok(mut state) = self.state.try_lock() else { return };
        if let Some(child) = state.child.clone()
            && child.end().is_none()
            && child.process.has_ended()
        {
            self.found_dead(&mut state, &child);
        }
    }

    fn found_dead(&self, state: &mut State, child: &Arc<ServingChild>) {
        let error = io::ErrorKind::UnexpectedEof.into();
        self.bury(state, child, &error, Deadline::after(Duration::ZERO));
    }

    /// The child that serves, or another one in place of one that has died.
    pub(super) fn child(&self) -> Result<Arc<ServingChild>, EngineError> {
        let mut state = self.state();
        for _ in 0..MAX_STARTS {
            if let Some(child) = &state.child
                && child.end().is_none()
            {
                if !child.process.has_ended() {
                    return Ok(Arc::clone(child));
                }
                let child = Arc::clone(child);
                self.found_dead(&mut state, &child);
            }
            self.may_start(&mut state)?;
            match self.start(None, LONGEST_SHORTAGE) {
                Ok(Loaded { child, .. }) => {
                    tracing::info!(model = %self.artifact.label, pid = child.process.id(), "A new process runs the model");
                    state.child = Some(child);
                }
                Err(error) if is_end(error.fault) => self.count_death(&mut state, &error, ""),
                Err(error) => return Err(error),
            }
        }
        let text = "the processes that were to run the model ended before they could";
        Err(EngineError::new(Fault::Died(Death::Crashed), text))
    }

    /// Waits as long as the deaths before want it; an error when there were too many.
    fn may_start(&self, state: &mut State) -> Result<(), EngineError> {
        let now = Instant::now();
        while state.deaths.front().is_some_and(|&at| now.duration_since(at) > WINDOW) {
            state.deaths.pop_front();
        }
        let (n_deaths, maximum) = (state.deaths.len(), self.options.max_deaths);
        if n_deaths > maximum {
            let text = format!(
                "the process that runs the model died {n_deaths} times within a minute, at most {maximum} times it is started again (isolation.max_deaths)"
            );
            return Err(EngineError::new(Fault::Died(Death::Crashed), text));
        }
        if let Some(doublings) = state.in_a_row.checked_sub(2) {
            std::thread::sleep((FIRST_PAUSE * (1 << doublings.min(8))).min(LONGEST_PAUSE));
        }
        Ok(())
    }

    /// What a broken exchange says of the child, which is ended if it has not ended by itself.
    pub(super) fn broke_off(
        &self,
        child: &Arc<ServingChild>,
        error: &io::Error,
        deadline: Deadline,
    ) -> EngineError {
        let mut state = self.state();
        if let Some(known) = child.end() {
            // This exchange had no part in it, as far as is known.
            let fault = match known.fault {
                Fault::Died(death) => Fault::Died(death),
                _ => Fault::Died(Death::Terminated),
            };
            return EngineError::new(fault, known.message);
        }
        self.bury(&mut state, child, error, deadline)
    }

    /// After a run that there was no memory for: ends a process in which most of it is taken by what no run gives back. That
    /// is nobody's death; another one takes its place with the next run.
    pub(super) fn look_for_leaks(&self, child: &Arc<ServingChild>) {
        let n_refused = child.n_refused.fetch_add(1, Ordering::Relaxed) + 1;
        let Some(limit) = self.options.child.memory_bytes.filter(|_| n_refused >= MAX_REFUSED)
        else {
            return;
        };
        let mut end = child.end.lock().unwrap_or_else(PoisonError::into_inner);
        let held = child.process.anonymous_bytes().unwrap_or_default();
        if end.is_some() || held <= limit / 2 {
            return;
        }
        tracing::warn!(
            model = %self.artifact.label, pid = child.process.id(), held, limit,
            "The process that runs the model keeps memory that no run gives back, and is replaced"
        );
        child.process.end();
        let text = "its memory was full of what no run gave back";
        *end = Some(EngineError::new(Fault::Died(Death::Terminated), text));
    }

    fn bury(
        &self,
        state: &mut State,
        child: &Arc<ServingChild>,
        error: &io::Error,
        deadline: Deadline,
    ) -> EngineError {
        let end = explain(&child.process, error, deadline);
        child.process.end();
        *child.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end.clone());
        if child.has_answered.load(Ordering::Relaxed) {
            state.in_a_row = 0;
        }
        self.count_death(state, &end, &child.process.last_words());
        end
    }

    fn count_death(&self, state: &mut State, end: &EngineError, last_words: &str) {
        state.deaths.push_back(Instant::now());
        state.in_a_row = state.in_a_row.saturating_add(1);
        tracing::warn!(model = %self.artifact.label, reason = %end, last_words, "The process that runs the model is gone");
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Watcher(watcher)) = &*watcher {
            watcher(end);
        }
    }
}

/// Whether a fault is the end of the process.
pub(super) const fn is_end(fault: Fault) -> bool {
    matches!(fault, Fault::Died(_) | Fault::TimedOut)
}

/// Whatever runs there, it is not our program.
fn another_answer() -> EngineError {
    let text = "the process that ran the model gave another call's answer";
    EngineError::new(Fault::Died(Death::Crashed), text)
}
