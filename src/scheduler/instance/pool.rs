//! All that runs batches of a version: its instances, and the engines for threads that ask.

use super::direct::Direct;
use super::thread::{Instance, Started};
use crate::engine::{EngineError, Fault};
use crate::scheduler::options::SchedulerStatus;
use crate::scheduler::shared::Shared;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often threads are looked at that are to end.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Held by the scheduler's handle, and for a moment by the watchdog.
pub(in crate::scheduler) struct Pool {
    pub(in crate::scheduler) shared: Arc<Shared>,
    pub(in crate::scheduler) direct: Direct,
    instances: Mutex<Vec<Instance>>,
}

impl Pool {
    pub(in crate::scheduler) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, direct: Direct::default(), instances: Mutex::default() }
    }

    /// Starts the instances and returns when all have warmed up.
    pub(in crate::scheduler) fn start(&self) -> Result<(), EngineError> {
        let shared = &self.shared;
        let n_instances = shared.options.instances.max(1);
        let started: Vec<_> =
            (0..n_instances).map(|_| self.spawn()).collect::<Result<_, EngineError>>()?;
        // A thread that ends without a word has panicked. All are heard before one failure counts: to whom nobody
        // listens, a failure is that of a model in service.
        let ended = || EngineError::new(Fault::Internal, "an instance ended while it started");
        let outcomes: Vec<_> =
            started.iter().map(|ready| ready.recv().unwrap_or_else(|_| Err(ended()))).collect();
        outcomes.into_iter().collect::<Result<(), _>>()?;
        if shared.options.direct {
            self.direct.begin(shared, n_instances)?;
        }
        Ok(())
    }

    fn spawn(&self) -> Result<Started, EngineError> {
        let (instance, started) = Instance::spawn(&self.shared)?;
        self.instances().push(instance);
        Ok(started)
    }

    pub(in crate::scheduler) fn status(&self) -> SchedulerStatus {
        let instances = self.instances();
        let n_busy = instances.iter().filter(|instance| instance.is_running()).count();
        SchedulerStatus {
            queued: self.shared.queue.len(),
            running: n_busy + self.direct.n_running(),
            instances: instances.len(),
            failed: self.shared.failed(),
            direct: self.direct.is_on(),
            direct_ended: self.direct.ended(),
            refuted: self.shared.watched.reason(),
        }
    }

    /// Whether an instance runs something.
    pub(super) fn is_running(&self) -> bool {
        self.instances().iter().any(Instance::is_running)
    }

    /// Gives all runs so much more time: nothing of the process ran meanwhile.
    pub(in crate::scheduler) fn put_off(&self, by: Duration) {
        self.instances().iter().for_each(|it| it.put_off(by));
        self.direct.put_off(by);
        tracing::warn!(
            model = %self.shared.options.label,
            seconds = by.as_secs_f64(),
            "The process stood still; runs under way get so much more time"
        );
    }

    /// Replaces instances whose run is stuck at `now`; fails the version when there are too many.
    pub(in crate::scheduler) fn replace_stuck(&self, now: Instant) {
        let shared = &self.shared;
        let grace = shared.options.stuck_grace;
        let stuck: Vec<Instance> =
            self.instances().extract_if(.., |it| it.give_up_if_stuck(now, grace)).collect();
        for instance in stuck {
            // The thread's handle is dropped: it cannot be ended, and nobody waits for it.
            shared.metrics.instances_changed(-1);
            if instance.fail_start() {
                continue;
            }
            if shared.count_stuck() {
                return;
            }
            if let Err(error) = self.spawn() {
                shared.fail(error.message);
                return;
            }
            shared.metrics.instance_restarted();
        }
    }

    /// Looks at the runs on threads that asked; says whether to look again soon.
    pub(in crate::scheduler) fn look_at_direct_runs(&self, now: Instant) -> bool {
        let shared = &self.shared;
        let was_on = self.direct.is_on();
        let look = self.direct.look(now, shared.options.stuck_grace);
        if was_on && let Some(reason) = self.direct.ended() {
            tracing::warn!(
                model = %shared.options.label,
                reason,
                "Threads that serve connections run no batches of this model any more"
            );
        }
        for _ in 0..look.stuck {
            shared.count_stuck();
        }
        look.again
    }

    /// Waits for the threads to end; call it after the queue has been closed. One whose run is stuck is given up: it cannot be
    /// ended, and what it holds of the processor is for others.
    pub(in crate::scheduler) fn join(&self) {
        let mut instances = std::mem::take(&mut *self.instances());
        let n_instances = i64::try_from(instances.len()).unwrap_or(i64::MAX);
        self.shared.metrics.instances_changed(-n_instances);
        loop {
            instances.extract_if(.., |it| it.has_ended()).for_each(Instance::join);
            let (now, grace) = (Instant::now(), self.shared.options.stuck_grace);
            let stuck = instances.extract_if(.., |it| it.give_up_if_stuck(now, grace)).count();
            for _ in 0..stuck {
                self.shared.count_stuck();
            }
            if instances.is_empty() {
                return;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn instances(&self) -> MutexGuard<'_, Vec<Instance>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
