//! The phases of a request, each with its histogram: a new phase is one line here, and where it is measured.

use super::exposition::{Family, Kind};
use std::ops::{Index, IndexMut};
use std::time::Duration;

/// Declares the phases in their order, and a family of durations for each, whose help text is the doc comment.
macro_rules! phases {
    ($($(#[doc = $help:literal])+ $phase:ident = $name:literal;)*) => {
        /// A part of a request's time.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Phase {
            $($(#[doc = $help])+ $phase,)*
        }

        impl Phase {
            /// All of them, in the order in which a request goes through them.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$phase),*];

            /// Its name on the wire.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$phase => $name,)*
                }
            }
        }

        /// Durations by phase, in the order of [`Phase::ALL`].
        pub(super) const FAMILIES: &[Family] = &[$(Family {
            name: concat!("sconce_", $name, "_duration_seconds"),
            help: concat!($($help),+),
            kind: Kind::Histogram,
            labels: &["model", "version"],
        }),*];
    };
}

phases! {
    /// Reading the body into tensors.
    Decode = "decode";
    /// Making the model's tensors of texts or images.
    Preprocess = "preprocess";
    /// Waiting in the model's queue.
    Queue = "queue";
    /// Putting the batch together and handing it to the device.
    Input = "input";
    /// The model's own run; counted once for each request of a batch.
    Compute = "compute";
    /// Getting the outputs back and cutting them apart.
    Output = "output";
    /// Writing the answer.
    Encode = "encode";
}

/// Something for each phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ByPhase<T>([T; Phase::ALL.len()]);

/// How long each phase took; `None` for those that were not reached.
pub type PhaseTimes = ByPhase<Option<Duration>>;

impl<T> ByPhase<T> {
    /// Made for each phase in turn.
    pub fn from_fn(make: impl Fn(Phase) -> T) -> Self {
        Self(Phase::ALL.map(make))
    }

    /// Each phase with its own, in the order of [`Phase::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Phase, &T)> {
        Phase::ALL.into_iter().zip(&self.0)
    }
}

impl<T> Index<Phase> for ByPhase<T> {
    type Output = T;

    fn index(&self, phase: Phase) -> &T {
        &self.0[phase as usize]
    }
}

impl<T> IndexMut<Phase> for ByPhase<T> {
    fn index_mut(&mut self, phase: Phase) -> &mut T {
        &mut self.0[phase as usize]
    }
}
