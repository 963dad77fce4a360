//! The threads that serve connections: each has a reactor and a timer of its own, and a connection
//! stays on the thread that it was given to.
//!
//! Threads that share their work wake each other for nearly every request, to see whether there is
//! some to take over; where a request is a few microseconds of work, the waking costs more than all
//! of it.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// Threads of each reactor for large bodies, which would hold up its other connections.
const BLOCKING_THREADS: usize = 4;

/// The threads. Clones share them; they end when the last clone is gone, and what they served with
/// them.
#[derive(Clone, Debug)]
pub struct Threads(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    threads: Vec<Thread>,
    _running: watch::Sender<()>,
}

#[derive(Debug)]
struct Thread {
    runtime: Handle,
    n_connections: Arc<AtomicUsize>,
}

/// A connection's place on a thread.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) runtime: Handle,
    n_connections: Arc<AtomicUsize>,
}

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
        Ok(Self(Arc::new(Pool { threads, _running: running })))
    }

    /// The caller's own runtime, on which a test decides what happens in which order.
    #[cfg(test)]
    pub(super) fn of_the_caller() -> Self {
        let thread = Thread { runtime: Handle::current(), n_connections: Arc::default() };
        Self(Arc::new(Pool { threads: vec![thread], _running: watch::channel(()).0 }))
    }

    /// A place on the thread that has the fewest connections.
    pub(super) fn place(&self) -> Place {
        let idlest = self.0.threads.iter().min_by_key(|thread| thread.n_connections());
        let Thread { runtime, n_connections } = idlest.expect("there is at least one thread");
        n_connections.fetch_add(1, Ordering::Relaxed);
        Place { runtime: runtime.clone(), n_connections: Arc::clone(n_connections) }
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
        Ok(Self { runtime, n_connections: Arc::default() })
    }

    fn n_connections(&self) -> usize {
        self.n_connections.load(Ordering::Relaxed)
    }
}

impl Place {
    /// The future, which holds the place to its end.
    pub(super) async fn hold<F: Future>(self, connection: F) -> F::Output {
        let output = connection.await;
        drop(self);
        output
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.n_connections.fetch_sub(1, Ordering::Relaxed);
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
        let place = threads.place();
        let runtime = place.runtime.clone();
        runtime.spawn(place.hold(async move {
            let _held = held;
            std::future::pending::<()>().await;
        }));
        drop(threads);
        crate::testing::until("the threads have ended", || Arc::strong_count(&alive) == 1);
    }
}
