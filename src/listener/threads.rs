//! The threads that serve connections: each has a reactor and a timer of its own, and a connection
//! stays on the thread that it was given to.
//!
//! Threads that share their work wake each other for nearly every request, to see whether there is
//! some to take over; where a request is a few microseconds of work, the waking costs more than all
//! of it.
//!
//! What a thread does may take longer than anybody foresaw: a run that was judged short and hangs, thousands of bodies
//! that came at once. A connection that its thread does not begin with is then given to another one, and where none is
//! free to a spare one, so that whoever comes anew, such as a probe, is answered all the same.

use std::future::Future;
use std::io;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;
use tokio::task::{Id, JoinHandle, JoinSet};
use tracing::warn;

/// Threads of each reactor for large bodies, which would hold up its other connections. There are as many reactors as cores:
/// one keeps them busy, the second lets a small one pass; more would only take the cores from the reactors.
const BLOCKING_THREADS: usize = 2;

/// How long a thread may take to begin with a connection: longer than a round of all that a busy one does, since each
/// spare thread takes memory and a share of the cores, and not so long that a probe gives up, mostly after a second.
const BEGIN_WITHIN: Duration = Duration::from_millis(500);

/// Threads that are started where all are held up. One is enough for what comes anew, unless it is held up as well.
const MAX_SPARES: usize = 2;

/// The threads. Clones share them; they end when the last clone is gone, and what they served with
/// them.
#[derive(Clone, Debug)]
pub struct Threads(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    threads: Vec<Thread>,
    /// Started when they are needed, used when no other thread is free.
    spares: Mutex<Vec<Thread>>,
    stack_bytes: usize,
    ended: watch::Receiver<()>,
    _running: watch::Sender<()>,
}

#[derive(Debug)]
struct Thread {
    runtime: Handle,
    load: Arc<Load>,
}

#[derive(Debug, Default)]
struct Load {
    n_connections: AtomicUsize,
    /// It did not begin with a connection in time, and has not begun with one since.
    is_held_up: AtomicBool,
}

/// A connection's place on a thread.
#[derive(Debug)]
struct Place {
    runtime: Handle,
    load: Arc<Load>,
}

type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection on its way to its thread.
enum Arrival {
    Waiting(Connection),
    Begun,
    Moved(JoinHandle<()>),
}

/// Shared by the thread's task and whoever sees to it that the connection arrives.
#[derive(Clone)]
struct Slot(Arc<Mutex<Arrival>>);

impl Threads {
    /// Starts `n_threads` threads, at least one, with stacks of `stack_bytes`: what they call may need more than usual.
    ///
    /// # Errors
    ///
    /// The system gives no thread or no reactor.
    pub fn start(n_threads: usize, stack_bytes: usize) -> io::Result<Self> {
        let (running, ended) = watch::channel(());
        let threads = (0..n_threads.max(1)).map(|_| Thread::start(stack_bytes, ended.clone()));
        let threads = threads.collect::<io::Result<_>>()?;
        let spares = Mutex::default();
        Ok(Self(Arc::new(Pool { threads, spares, stack_bytes, ended, _running: running })))
    }

    /// The caller's own runtime, on which a test decides what happens in which order.
    #[cfg(test)]
    pub(super) fn of_the_caller() -> Self {
        let thread = Thread { runtime: Handle::current(), load: Arc::default() };
        let (running, ended) = watch::channel(());
        let (threads, spares, stack_bytes) = (vec![thread], Mutex::default(), 2 << 20);
        Self(Arc::new(Pool { threads, spares, stack_bytes, ended, _running: running }))
    }

    /// Serves a connection on the thread that has the fewest, as a task of the set. Must be called on a runtime, which
    /// sees to it that it begins. Returns which task it is.
    pub(super) fn serve<F>(&self, connection: F, tasks: &mut JoinSet<()>) -> Id
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let slot = Slot(Arc::new(Mutex::new(Arrival::Waiting(Box::pin(connection)))));
        let place = self.place();
        let (runtime, load) = (place.runtime.clone(), Arc::clone(&place.load));
        let task = tasks.spawn_on(place.begin(slot.clone()), &runtime);
        tokio::spawn(self.clone().see_to(slot, load));
        task.id()
    }

    /// Gives the connection to another thread as long as the one that it was given to does not begin with it.
    async fn see_to(self, mut slot: Slot, mut load: Arc<Load>) {
        loop {
            tokio::time::sleep(BEGIN_WITHIN).await;
            if !slot.is_late(&load) {
                return;
            }
            let place = self.place();
            if place.is_held_up() {
                // There is no better place. Whichever thread comes back first takes it.
                continue;
            }
            let next = Arc::clone(&place.load);
            match slot.move_to(place) {
                Some(moved) => (slot, load) = (moved, next),
                None => return,
            }
        }
    }

    /// A place on the thread that has the fewest connections, of those that are not held up. Spare ones come last.
    fn place(&self) -> Place {
        let pool = &*self.0;
        let idlest = |threads: &[Thread]| {
            threads.iter().min_by_key(|it| (it.is_held_up(), it.n_connections())).map(Thread::place)
        };
        let place = idlest(&pool.threads).expect("there is at least one thread");
        if !place.is_held_up() {
            return place;
        }
        let mut spares = pool.spares.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.iter().all(Thread::is_held_up) && spares.len() < MAX_SPARES {
            warn!("every thread of connections is held up, new connections get a spare one");
            match Thread::start(pool.stack_bytes, pool.ended.clone()) {
                Ok(spare) => spares.push(spare),
                Err(error) => warn!(%error, "there is no spare thread for connections"),
            }
        }
        idlest(&spares).filter(|spare| !spare.is_held_up()).unwrap_or(place)
    }
}

impl Thread {
    fn start(stack_bytes: usize, mut ended: watch::Receiver<()>) -> io::Result<Self> {
        let (started, outcome) = mpsc::channel();
        let serve = move || {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(BLOCKING_THREADS)
                .thread_name("http-large")
                .thread_stack_size(stack_bytes)
                .build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            drop(started.send(Ok(runtime.handle().clone())));
            // The channel never says anything: it ends.
            runtime.block_on(async { drop(ended.changed().await) });
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("http".into()).stack_size(stack_bytes);
        thread.spawn(serve)?;
        let runtime = outcome.recv().map_err(io::Error::other)??;
        Ok(Self { runtime, load: Arc::default() })
    }

    fn n_connections(&self) -> usize {
        self.load.n_connections.load(Ordering::Relaxed)
    }

    fn is_held_up(&self) -> bool {
        self.load.is_held_up.load(Ordering::Relaxed)
    }

    fn place(&self) -> Place {
        self.load.n_connections.fetch_add(1, Ordering::Relaxed);
        Place { runtime: self.runtime.clone(), load: Arc::clone(&self.load) }
    }
}

impl Place {
    fn is_held_up(&self) -> bool {
        self.load.is_held_up.load(Ordering::Relaxed)
    }

    /// Runs on the thread: serves the connection, unless it was given to another one meanwhile; then that is waited for.
    async fn begin(self, slot: Slot) {
        let arrival = std::mem::replace(&mut *slot.lock(), Arrival::Begun);
        self.load.is_held_up.store(false, Ordering::Relaxed);
        match arrival {
            Arrival::Waiting(connection) => connection.await,
            Arrival::Moved(task) => {
                // The connection has its place elsewhere.
                drop(self);
                if let Err(error) = task.await
                    && error.is_panic()
                {
                    resume_unwind(error.into_panic());
                }
            }
            Arrival::Begun => {}
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.load.n_connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Arrival> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the thread has not begun yet, which is noted. Under the lock, so that a thread which begins now
    /// takes the note away afterwards.
    fn is_late(&self, thread: &Load) -> bool {
        let arrival = self.lock();
        let is_waiting = matches!(*arrival, Arrival::Waiting(_));
        if is_waiting {
            thread.is_held_up.store(true, Ordering::Relaxed);
        }
        is_waiting
    }

    /// Takes the connection away from its thread, unless that has begun with it.
    fn move_to(&self, place: Place) -> Option<Self> {
        let mut arrival = self.lock();
        if !matches!(*arrival, Arrival::Waiting(_)) {
            return None;
        }
        let moved = Self(Arc::new(Mutex::new(std::mem::replace(&mut *arrival, Arrival::Begun))));
        let runtime = place.runtime.clone();
        *arrival = Arrival::Moved(runtime.spawn(place.begin(moved.clone())));
        Some(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_spread_over_the_threads() {
        let threads = Threads::start(2, 2 << 20).unwrap();
        let places: Vec<_> = (0..4).map(|_| threads.place()).collect();
        let counts = || threads.0.threads.iter().map(Thread::n_connections).collect::<Vec<_>>();
        assert_eq!(counts(), [2, 2]);
        drop(places);
        assert_eq!(counts(), [0, 0], "a place is given back");
    }

    #[test]
    fn the_threads_end_with_their_last_owner() {
        let threads = Threads::start(1, 2 << 20).unwrap();
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        threads.0.threads[0].runtime.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        drop(threads);
        crate::testing::until("the threads have ended", || Arc::strong_count(&alive) == 1);
    }

    /// Holds a thread up until the other end is dropped.
    fn hold_up(thread: &Thread) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel();
        let (begun, has_begun) = mpsc::channel();
        thread.runtime.spawn(async move {
            begun.send(()).unwrap();
            let _ = released.recv();
        });
        crate::testing::receive("the thread", &has_begun);
        release
    }

    /// Serves a connection that says on which thread it is, and ends with the others.
    async fn served(threads: &Threads, tasks: &mut JoinSet<()>) -> std::thread::ThreadId {
        let (says, said) = tokio::sync::oneshot::channel();
        let connection = async move {
            let _ = says.send(std::thread::current().id());
        };
        threads.serve(connection, tasks);
        let said = tokio::time::timeout(crate::testing::PATIENCE, said).await;
        said.expect("the connection must be begun with").expect("a thread")
    }

    #[tokio::test]
    async fn who_comes_while_threads_are_held_up_is_served_by_others() {
        let threads = Threads::start(2, 2 << 20).unwrap();
        let mut tasks = JoinSet::new();
        let first = hold_up(&threads.0.threads[0]);
        let second = served(&threads, &mut tasks).await;
        let spares = || threads.0.spares.lock().unwrap().len();
        assert_eq!(spares(), 0, "another thread was free");
        let other = hold_up(&threads.0.threads[1]);
        let spare = served(&threads, &mut tasks).await;
        assert_ne!(spare, second);
        let last = {
            let held = hold_up(&threads.0.spares.lock().unwrap()[0]);
            let next = served(&threads, &mut tasks).await;
            assert_ne!(next, spare);
            held
        };
        let all = hold_up(&threads.0.spares.lock().unwrap()[1]);
        let (says, mut said) = tokio::sync::oneshot::channel();
        let connection = async move {
            let _ = says.send(());
        };
        threads.serve(connection, &mut tasks);
        assert!(said.try_recv().is_err());
        drop((first, other, last, all));
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        assert!(said.try_recv().is_ok(), "who waited is served in the end");
        assert_eq!(spares(), MAX_SPARES, "threads have a bound");
        let thread = served(&threads, &mut tasks).await;
        assert_ne!(thread, spare, "spare threads come last");
        let counts = || threads.0.threads.iter().map(Thread::n_connections).sum::<usize>();
        crate::testing::until("every place is given back", || counts() == 0);
    }

    #[tokio::test]
    async fn a_panic_in_a_connection_that_was_moved_is_seen() {
        let threads = Threads::start(2, 2 << 20).unwrap();
        let mut tasks = JoinSet::new();
        let held = hold_up(&threads.0.threads[0]);
        let (begun, has_begun) = tokio::sync::oneshot::channel::<()>();
        let connection = async move {
            drop(begun);
            panic!("a connection panics");
        };
        threads.serve(connection, &mut tasks);
        assert!(has_begun.await.is_err());
        drop(held);
        assert!(tasks.join_next().await.unwrap().unwrap_err().is_panic());
    }
}
