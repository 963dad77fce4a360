//! What a zip archive is, by the names in it.

use super::Kind;

/// What was among the names so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    torch_script: bool,
    /// In the order in which they decide: the first that was seen is what the archive is.
    seen: [bool; MARKS.len()],
}

/// A name that shows what an archive is.
enum Mark {
    /// The file at this path, below the archive's one top folder.
    Inner(&'static str),
    /// A file whose path holds this.
    Part(&'static str),
    /// A file whose path ends like this.
    End(&'static str),
}

/// An archive may have several marks: one of AOTInductor may hold what it was made from, and one of
/// torch.export holds its samples as a `model.pt`.
const MARKS: &[(Mark, Kind)] = &[
    (Mark::Part("data/aotinductor/"), Kind::AotInductor),
    (Mark::End("models/model.json"), Kind::Exported),
    (Mark::End("serialized_exported_program.json"), Kind::Exported),
    (Mark::Part("MAR-INF/"), Kind::TorchServe),
    (Mark::Inner(".data/python_version"), Kind::PythonPackage),
    (Mark::Inner("data.pkl"), Kind::Saved),
    (Mark::End("model.weights.h5"), Kind::Keras),
    (Mark::Part("com.apple.CoreML/"), Kind::CoreMl),
    (Mark::End("saved_model.pb"), Kind::SavedModel),
    (Mark::End(".npy"), Kind::Numpy),
    (Mark::End(".pt"), Kind::Zipped),
];

impl Names {
    /// Takes note of one name.
    pub(super) fn note(&mut self, name: &str) {
        let inner = name.split_once('/').map_or("", |(_, rest)| rest);
        // Before constants.pkl there was model.json; whether such a file can still be loaded is for
        // libtorch to say.
        self.torch_script |= inner == "constants.pkl" || inner == "model.json";
        for (seen, (mark, _)) in self.seen.iter_mut().zip(MARKS) {
            *seen |= match mark {
                Mark::Inner(path) => inner == *path,
                Mark::Part(part) => name.contains(part),
                Mark::End(end) => name.ends_with(end),
            };
        }
    }

    /// What the archive is; `None` when it may be TorchScript.
    pub(super) fn kind(&self) -> Option<Kind> {
        if self.torch_script {
            return None;
        }
        let first = self.seen.iter().zip(MARKS).find(|(seen, _)| **seen);
        Some(first.map_or(Kind::OtherZip, |(_, (_, kind))| *kind))
    }
}
