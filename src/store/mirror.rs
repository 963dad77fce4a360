//! The thread that keeps a folder as the store is.

use super::connect::Remote;
use super::error::StoreError;
use super::options::{Heard, InUse, MirrorOptions, SyncOutcome};
use super::stats::Stats;
use super::sync::{Report, Syncer};
use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, watch};
use tracing::dispatcher::{self, Dispatch};

/// The wait after a first failure; it doubles from one failure to the next.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
/// Maximum changes that are named in a line of the log.
const MAX_NAMED: usize = 10;

/// A folder that is kept as a store is, for as long as a clone of this lives.
#[derive(Clone)]
pub struct Mirror {
    stats: Arc<Stats>,
    in_use: Arc<Mutex<Option<InUse>>>,
    heard: Arc<Mutex<Option<Heard>>>,
    url: String,
    /// Has the thread look now.
    asked: Arc<Notify>,
    /// The thread ends when it is gone.
    _stop: Arc<watch::Sender<()>>,
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirror").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Mirror {
    /// Makes the folder, and starts the thread that looks at the store at once.
    ///
    /// # Errors
    ///
    /// The address or the environment is faulty, or the folder cannot be had. That the store does not answer is none.
    pub fn start(options: MirrorOptions) -> Result<Self, StoreError> {
        let remote = Remote::connect(&options.url)?;
        let stats = Arc::<Stats>::default();
        let syncer = Syncer::open(&options, remote, Arc::clone(&stats))?;
        if syncer.has_versions() {
            stats.settle();
        }
        let in_use = Arc::<Mutex<Option<InUse>>>::default();
        let heard = Arc::<Mutex<Option<Heard>>>::default();
        let asked = Arc::<Notify>::default();
        let (stop, mut stopped) = watch::channel(());
        let keeper = Keeper {
            syncer,
            stats: Arc::clone(&stats),
            in_use: Arc::clone(&in_use),
            heard: Arc::clone(&heard),
            asked: Arc::clone(&asked),
            poll: options.poll,
            url: options.url.to_string(),
            log: dispatcher::get_default(Clone::clone),
        };
        let models = options.models();
        let failed = |source: io::Error| StoreError::Disk { path: models.clone(), source };
        // Files are written on this thread, so it must be no other's.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(failed)?;
        let spawned = std::thread::Builder::new().name("store".into()).spawn(move || {
            // What libraries log of their requests may hold signatures, so that nothing of this thread is logged but what
            // the keeper says.
            let running = async {
                tokio::select! {
                    _ = stopped.changed() => {}
                    never = keeper.keep() => match never {}
                }
            };
            dispatcher::with_default(&Dispatch::none(), || runtime.block_on(running));
            // A look-up of a name may hang for long.
            runtime.shutdown_background();
        });
        spawned.map_err(failed)?;
        let url = options.url.to_string();
        Ok(Self { stats, in_use, heard, url, asked, _stop: Arc::new(stop) })
    }

    /// Waits until there is something to serve: what came earlier, or what the first look at the store brings. Returns too
    /// when the store is away, or the time is over. Blocks.
    pub fn wait(&self, patience: Duration) {
        self.stats.wait(patience);
    }

    /// Looks at the store now, and returns when the folder is as it is, or the time is over. Blocks.
    pub fn look(&self, patience: Duration) {
        self.stats.wait_for_look(|| self.asked.notify_one(), patience);
    }

    /// Says from now on which versions the server needs; until then all stay.
    pub fn tell_use(&self, in_use: InUse) {
        *self.in_use.lock().unwrap_or_else(PoisonError::into_inner) = Some(in_use);
    }

    /// Says from now on to this when something is wrong with the store, and with nothing when that is over. What is wrong already
    /// is said at once.
    pub fn tell_problems(&self, heard: Heard) {
        let mut place = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(problem) = self.stats.problem() {
            heard(Some(&problem));
        }
        *place = Some(heard);
    }

    /// Why what the store has is not here yet: nothing came before, and the first sync is not over.
    #[must_use]
    pub fn not_yet(&self) -> Option<String> {
        let problem = self.stats.is_unsettled()?;
        let why = problem.unwrap_or_else(|| "the first download is under way".to_owned());
        Some(format!("the models of {} are not here yet: {why}", self.url))
    }

    /// What was wrong at the last look at the store.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.stats.problem()
    }

    /// How many looks at the store came out so.
    #[must_use]
    pub fn syncs(&self, outcome: SyncOutcome) -> u64 {
        self.stats.syncs(outcome)
    }

    /// Bytes of objects that were downloaded.
    #[must_use]
    pub fn downloaded_bytes(&self) -> u64 {
        self.stats.downloaded_bytes.load(Ordering::Relaxed)
    }

    /// When the folder was last as the store, in seconds since 1970; 0 if it has not been yet.
    #[must_use]
    pub fn last_success(&self) -> u64 {
        self.stats.last_success()
    }
}

/// What the thread does.
struct Keeper {
    syncer: Syncer,
    stats: Arc<Stats>,
    in_use: Arc<Mutex<Option<InUse>>>,
    heard: Arc<Mutex<Option<Heard>>>,
    asked: Arc<Notify>,
    poll: Duration,
    url: String,
    log: Dispatch,
}

impl Keeper {
    async fn keep(mut self) -> std::convert::Infallible {
        let mut n_failures = 0;
        loop {
            n_failures = if self.look().await { 0 } else { n_failures + 1 };
            let pause = tokio::time::sleep(pause(self.poll, n_failures, random()));
            tokio::select! {
                () = pause => {}
                () = self.asked.notified() => {}
            }
        }
    }

    /// Looks at the store once; says whether all was well.
    async fn look(&mut self) -> bool {
        self.stats.begin();
        let in_use = self.in_use();
        let report = self.syncer.sync(in_use.as_ref(), now()).await;
        let (outcome, problem) = judge(&report);
        let log = self.log.clone();
        dispatcher::with_default(&log, || self.tell(&report, problem.as_deref()));
        // One bad object must not hold up all the others, nor who only reads what another process brings.
        let is_here = match &report {
            Ok(_) => true,
            Err(error) => matches!(error, StoreError::Shared(_)) && self.syncer.has_versions(),
        };
        if is_here {
            self.stats.settle();
        }
        let whole_at = problem.is_none().then(now);
        self.stats.record(outcome, problem, whole_at);
        outcome != SyncOutcome::Failed
    }

    /// Logs what is new; the same outage is told once.
    fn tell(&mut self, report: &Result<Report, StoreError>, problem: Option<&str>) {
        for reason in self.syncer.take_untold() {
            tracing::warn!("{reason}");
        }
        let store = &self.url;
        let is_new = problem != self.stats.problem().as_deref();
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(heard) = heard.as_ref().filter(|_| is_new) {
            heard(problem);
        }
        drop(heard);
        match problem {
            _ if !is_new => {}
            Some(problem) => {
                tracing::warn!(store, problem, "the store has a problem, what is here serves on");
            }
            None => tracing::info!(store, "models are as in the store again"),
        }
        let changes = report.as_ref().map_or(&[][..], |report| &report.changes);
        if !changes.is_empty() {
            let named = changes.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>();
            let (n_changes, named) = (changes.len(), named.join(", "));
            tracing::info!(store, n_changes, named, "models were brought from the store");
        }
    }

    fn in_use(&self) -> Option<BTreeSet<(String, u64)>> {
        let in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.as_ref()?().map(|used| used.into_iter().collect())
    }
}

/// What came of a sync, and in a text what was wrong.
fn judge(report: &Result<Report, StoreError>) -> (SyncOutcome, Option<String>) {
    match report {
        // The other process keeps it as the store is.
        Err(StoreError::Shared(_)) => {
            (SyncOutcome::Unchanged, report.as_ref().err().map(ToString::to_string))
        }
        Err(error) => (SyncOutcome::Failed, Some(error.to_string())),
        Ok(Report { problems, .. }) if !problems.is_empty() => {
            let first = problems.iter().take(3).map(ToString::to_string).collect::<Vec<_>>();
            let more = problems.len() - first.len();
            let more = if more > 0 { format!("; {more} more") } else { String::new() };
            (SyncOutcome::Failed, Some(first.join("; ") + &more))
        }
        Ok(Report { changes, .. }) if changes.is_empty() => (SyncOutcome::Unchanged, None),
        Ok(_) => (SyncOutcome::Updated, None),
    }
}

/// How long to wait for the next look at the store: about `poll`, or less after the first failures. `random` is from 0 to 1:
/// many servers that started together must not ask together.
fn pause(poll: Duration, n_failures: u32, random: f64) -> Duration {
    if n_failures == 0 {
        return poll.mul_f64(0.9 + 0.2 * random);
    }
    let back_off = FIRST_BACK_OFF.saturating_mul(1 << (n_failures - 1).min(16));
    back_off.min(poll).mul_f64(0.5 + random)
}

fn random() -> f64 {
    let bits = RandomState::new().hash_one(0_u8) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_at_the_store_spread_and_back_off() {
        let poll = Duration::from_secs(30);
        let check = |n_failures, random, seconds: f64| {
            let pause = pause(poll, n_failures, random).as_secs_f64();
            assert!((pause - seconds).abs() < 1e-6, "{n_failures} {random}: {pause}");
        };
        check(0, 0.0, 27.0);
        check(0, 1.0, 33.0);
        check(1, 0.0, 0.5);
        check(1, 0.5, 1.0);
        check(3, 0.5, 4.0);
        check(6, 0.5, 30.0);
        check(u32::MAX, 0.5, 30.0);
        assert!((0.0..1.0).contains(&random()));
    }
}
