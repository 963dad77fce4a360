//! Words that stand for the engine's own types, so that those may change without the protocol.

use crate::engine::{Death, Fault, Format};
use crate::tensor::DataType;
use serde::{Deserialize, Serialize};

/// A datatype by its name.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub(in crate::engine::remote) struct WireDataType(pub(in crate::engine::remote) DataType);

impl TryFrom<String> for WireDataType {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse().map(Self)
    }
}

impl From<WireDataType> for &'static str {
    fn from(datatype: WireDataType) -> Self {
        datatype.0.name()
    }
}

/// A format by its name.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub(in crate::engine::remote) struct WireFormat(pub(in crate::engine::remote) Format);

impl Default for WireFormat {
    /// What a parent means that names none.
    fn default() -> Self {
        Self(Format::TorchScript)
    }
}

impl TryFrom<String> for WireFormat {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse().map(Self)
    }
}

impl From<WireFormat> for &'static str {
    fn from(format: WireFormat) -> Self {
        format.0.as_str()
    }
}

/// A fault by its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub(in crate::engine::remote) struct WireFault(pub(in crate::engine::remote) Fault);

impl WireFault {
    /// Every fault that has a word.
    const ALL: [Self; 12] = [
        Self(Fault::InvalidFile),
        Self(Fault::Raised),
        Self(Fault::Environment),
        Self(Fault::OutOfMemory),
        Self(Fault::Device),
        Self(Fault::Unsupported),
        Self(Fault::Died(Death::Crashed)),
        Self(Fault::Died(Death::Terminated)),
        Self(Fault::Died(Death::OutOfMemory)),
        Self(Fault::Died(Death::Before)),
        Self(Fault::TimedOut),
        Self(Fault::Internal),
    ];
}

impl TryFrom<String> for WireFault {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|fault| <&str>::from(*fault) == word);
        known.ok_or_else(|| format!("unknown fault {word:?}"))
    }
}

impl From<WireFault> for &'static str {
    fn from(fault: WireFault) -> Self {
        match fault.0 {
            Fault::InvalidFile => "invalid_file",
            Fault::Raised => "raised",
            Fault::Environment => "environment",
            Fault::OutOfMemory => "out_of_memory",
            Fault::Device => "device",
            Fault::Unsupported => "unsupported",
            Fault::Died(Death::Crashed) => "died",
            Fault::Died(Death::Terminated) => "killed",
            Fault::Died(Death::OutOfMemory) => "killed_for_memory",
            Fault::Died(Death::Before) => "died_before",
            Fault::TimedOut => "timed_out",
            Fault::Internal => "internal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_word_of_its_own() {
        for fault in WireFault::ALL {
            let word = serde_json::to_string(&fault).unwrap();
            assert_eq!(serde_json::from_str::<WireFault>(&word).unwrap(), fault, "{word}");
        }
        assert!(serde_json::from_str::<WireFault>("\"another\"").is_err());
    }
}
