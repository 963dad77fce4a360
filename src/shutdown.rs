//! The way down: signals in, phases out. Listeners and readiness follow the phase; what happens
//! after the drain (unload, exit) is `app`'s.

use std::future::{Future, pending};
use std::io::{self, IsTerminal};
use std::pin::pin;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::listener::{DrainPhase, DrainSignal};

/// What a listener needs to end once it was ordered to abort. It drops its connections at once, so
/// this is only a net: under a thread that is busy with something else.
const ABORT_GRACE: Duration = Duration::from_millis(300);

/// A request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: load balancers still send requests, so go on serving for a while.
    Terminate,
    /// SIGINT: somebody waits at a terminal.
    Interrupt,
}

/// How long the steps of the way down may take.
#[derive(Clone, Copy, Debug)]
pub struct ShutdownOptions {
    /// How long to go on serving with readiness off (5 s). It must outlast the load balancer's
    /// health check interval.
    pub lame_duck: Duration,
    /// How long requests in progress may take after the listeners have closed (20 s).
    pub drain: Duration,
}

impl Default for ShutdownOptions {
    fn default() -> Self {
        Self { lame_duck: Duration::from_secs(5), drain: Duration::from_secs(20) }
    }
}

/// How the way down ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownOutcome {
    /// Everything in progress was finished.
    Drained,
    /// The drain deadline passed; what was left was dropped.
    DeadlinePassed,
    /// A second signal came; what was left was dropped.
    Forced,
}

/// How the way down ended, with what the drained future returned; nothing, if it did not end even
/// when everything was aborted.
#[derive(Debug)]
pub struct Ending<T> {
    pub outcome: ShutdownOutcome,
    pub drained: Option<T>,
}

/// Owns the phase. Everybody else only reads it.
#[derive(Debug, Default)]
pub struct Shutdown {
    phase: watch::Sender<DrainPhase>,
}

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// The phase, for listeners.
    pub fn phases(&self) -> DrainSignal {
        self.phase.subscribe()
    }

    pub fn phase(&self) -> DrainPhase {
        *self.phase.borrow()
    }

    /// Whether readiness must be off.
    pub fn is_draining(&self) -> bool {
        self.phase() > DrainPhase::Serving
    }

    /// Waits for a signal, then leads through the phases. `drained` resolves when all listeners
    /// have ended; it must make progress by itself (spawned tasks), since it is polled only after
    /// they were ordered to close. `options` says at the first signal how long the steps may take.
    pub async fn run<T>(
        &self,
        signals: &mut mpsc::Receiver<Signal>,
        options: impl Fn() -> ShutdownOptions,
        drained: impl Future<Output = T>,
    ) -> Ending<T> {
        let mut drained = pin!(drained);
        let first = next_signal(signals).await;
        let outcome = tokio::select! {
            biased;
            drained = self.lead_down(first, options(), drained.as_mut()) => match drained {
                Some(drained) => {
                    return Ending {
                        outcome: ShutdownOutcome::Drained,
                        drained: Some(drained),
                    };
                }
                None => ShutdownOutcome::DeadlinePassed,
            },
            second = next_signal(signals) => {
                info!(signal = ?second, "second signal, dropping what is in progress");
                ShutdownOutcome::Forced
            }
        };
        self.enter(DrainPhase::Aborting);
        let drained = timeout(ABORT_GRACE, drained).await.ok();
        Ending { outcome, drained }
    }

    /// None when the drain deadline passed.
    async fn lead_down<T>(
        &self,
        signal: Signal,
        options: ShutdownOptions,
        drained: impl Future<Output = T>,
    ) -> Option<T> {
        if signal == Signal::Terminate && !options.lame_duck.is_zero() {
            self.enter(DrainPhase::LameDuck);
            sleep(options.lame_duck).await;
        }
        self.enter(DrainPhase::Closing);
        timeout(options.drain, drained).await.ok()
    }

    fn enter(&self, phase: DrainPhase) {
        info!(?phase, "shutting down");
        self.phase.send_replace(phase);
    }
}

/// When nobody can send signals any more, none come.
async fn next_signal(signals: &mut mpsc::Receiver<Signal>) -> Signal {
    match signals.recv().await {
        Some(signal) => signal,
        None => pending().await,
    }
}

/// The process's signals.
#[derive(Debug)]
pub struct OsSignals {
    /// SIGTERM, and SIGQUIT, which means no less, and SIGINT. More than two unread ones are dropped: two already mean now.
    pub stops: mpsc::Receiver<Signal>,
    /// SIGHUP, for reading the configuration again; several unread ones are one. Where the server was started on a terminal that
    /// is gone, it means to stop.
    pub hang_ups: mpsc::Receiver<()>,
}

/// Listens for them. SIGUSR1 and SIGUSR2 mean nothing here, and the log says so to those who are used to send them.
pub fn os_signals() -> io::Result<OsSignals> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut first = signal(SignalKind::user_defined1())?;
    let mut second = signal(SignalKind::user_defined2())?;
    // By default a file over the limit of the process (ulimit -f) ends it. So the write fails, as on a full disk.
    let mut too_large = signal(SignalKind::from_raw(libc::SIGXFSZ))?;
    let (sender, stops) = mpsc::channel(2);
    let (hung_up, hang_ups) = mpsc::channel(1);
    let had_terminal = io::stderr().is_terminal();
    tokio::spawn(async move {
        loop {
            let signal = tokio::select! {
                Some(()) = terminate.recv() => Signal::Terminate,
                Some(()) = hang_up.recv() => {
                    if had_terminal && !io::stderr().is_terminal() {
                        Signal::Terminate
                    } else {
                        let _ = hung_up.try_send(());
                        continue;
                    }
                }
                Some(()) = quit.recv() => Signal::Terminate,
                Some(()) = first.recv() => { ignored("SIGUSR1"); continue }
                Some(()) = second.recv() => { ignored("SIGUSR2"); continue }
                Some(()) = too_large.recv() => continue,
                Some(()) = interrupt.recv() => Signal::Interrupt,
                else => return,
            };
            if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(signal) {
                return;
            }
        }
    });
    Ok(OsSignals { stops, hang_ups })
}

fn ignored(signal: &str) {
    warn!(signal, "this signal means nothing here; SIGHUP has the configuration read again");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::*;

    struct Rig {
        shutdown: Arc<Shutdown>,
        signals: mpsc::Sender<Signal>,
        drained: oneshot::Sender<&'static str>,
        ending: tokio::task::JoinHandle<Ending<&'static str>>,
        phases: DrainSignal,
    }

    /// The clock is paused: what never comes fails at once, and not never.
    async fn soon<F: Future>(future: F) -> F::Output {
        timeout(Duration::from_secs(3600), future).await.expect("must come within an hour")
    }

    impl Rig {
        async fn reaches(&mut self, phase: DrainPhase) {
            soon(self.phases.wait_for(|it| *it == phase)).await.expect("alive");
        }

        async fn next(&mut self) -> DrainPhase {
            soon(self.phases.changed()).await.expect("alive");
            *self.phases.borrow_and_update()
        }
    }

    fn start() -> Rig {
        let shutdown = Arc::new(Shutdown::new());
        let (signals, mut receiver) = mpsc::channel(2);
        let (drained, drained_rx) = oneshot::channel();
        let phases = shutdown.phases();
        let running = Arc::clone(&shutdown);
        let ending = tokio::spawn(async move {
            let drained = async { drained_rx.await.expect("the test holds the sender") };
            running.run(&mut receiver, ShutdownOptions::default, drained).await
        });
        Rig { shutdown, signals, drained, ending, phases }
    }

    #[tokio::test(start_paused = true)]
    async fn sigterm_goes_through_the_lame_duck() {
        let mut rig = start();
        assert!(!rig.shutdown.is_draining(), "must be ready before any signal");
        let begun = Instant::now();
        rig.signals.send(Signal::Terminate).await.expect("the runner listens");
        rig.reaches(DrainPhase::LameDuck).await;
        assert!(rig.shutdown.is_draining(), "must not be ready in the lame duck");
        assert_eq!(begun.elapsed(), Duration::ZERO);
        rig.reaches(DrainPhase::Closing).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        rig.drained.send("report").expect("the runner waits for it");
        let ending = soon(rig.ending).await.expect("no panic");
        assert_eq!((ending.outcome, ending.drained), (ShutdownOutcome::Drained, Some("report")));
        assert_eq!(begun.elapsed(), Duration::from_secs(5), "must not wait out the drain");
        assert_eq!(rig.shutdown.phase(), DrainPhase::Closing);
    }

    #[tokio::test(start_paused = true)]
    async fn sigint_skips_the_lame_duck_and_the_drain_has_a_deadline() {
        let mut rig = start();
        let begun = Instant::now();
        rig.signals.send(Signal::Interrupt).await.expect("the runner listens");
        assert_eq!(rig.next().await, DrainPhase::Closing);
        assert_eq!(rig.next().await, DrainPhase::Aborting);
        assert_eq!(begun.elapsed(), Duration::from_secs(20));
        let ending = soon(rig.ending).await.expect("no panic");
        assert_eq!((ending.outcome, ending.drained), (ShutdownOutcome::DeadlinePassed, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_at_once() {
        let mut rig = start();
        let begun = Instant::now();
        rig.signals.send(Signal::Terminate).await.expect("the runner listens");
        rig.signals.send(Signal::Terminate).await.expect("the runner listens");
        rig.reaches(DrainPhase::Aborting).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        rig.drained.send("report").expect("aborted listeners still report");
        let ending = soon(rig.ending).await.expect("no panic");
        assert_eq!((ending.outcome, ending.drained), (ShutdownOutcome::Forced, Some("report")));
    }

    #[tokio::test(start_paused = true)]
    async fn without_signals_nothing_ends() {
        let rig = start();
        drop(rig.signals);
        let outcome = timeout(Duration::from_secs(3600), rig.ending).await;
        assert!(outcome.is_err(), "a closed signal channel must not end the program");
    }
}
