//! How far the program is on its way down, as the listeners see it. Who decides it is `shutdown`.

use tokio::sync::watch;

/// A step of the way down. Phases only move forward; each includes what the ones before it ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DrainPhase {
    /// Normal service.
    #[default]
    Serving,
    /// Readiness is off and load balancers are looking away. Connections are accepted and served
    /// as before, but every HTTP/1 answer says `Connection: close` and HTTP/2 gets GOAWAY.
    LameDuck,
    /// The listening socket closes. Idle connections are closed, requests begun are answered.
    Closing,
    /// The drain deadline has passed: what is left is dropped.
    Aborting,
}

/// Where a listener reads the phase. When the sender is gone, the last phase stays.
pub type DrainSignal = watch::Receiver<DrainPhase>;
