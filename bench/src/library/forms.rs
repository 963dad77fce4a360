//! The forms in which the server may run a model, made the way it makes them.

use std::path::Path;

use clap::ValueEnum;
use torch_shim::{Module, TorchDevice};

use crate::Error;

/// A form of a model in full precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    Plain,
    Frozen,
    Optimized,
    /// Weights of convolutions with their channels innermost, then frozen.
    ChannelsLastFrozen,
}

impl Form {
    /// The likely best first.
    pub(crate) const ALL: [Self; 4] =
        [Self::Optimized, Self::ChannelsLastFrozen, Self::Frozen, Self::Plain];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Frozen => "frozen",
            Self::Optimized => "optimized",
            Self::ChannelsLastFrozen => "channels-last-frozen",
        }
    }

    pub(crate) fn load(self, path: &Path) -> Result<Module, Error> {
        // Rewriting runs operators too.
        torch_shim::set_intra_op_threads(1)?;
        let plain = Module::load_path(path, TorchDevice::Cpu)?;
        Ok(match self {
            Self::Plain => plain,
            Self::Frozen => plain.freeze(&[])?,
            Self::Optimized => plain.optimize_for_inference(&[])?,
            Self::ChannelsLastFrozen => plain.recast(None, true)?.freeze(&[])?,
        })
    }
}
