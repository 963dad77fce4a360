//! The defaults that operators set, kept over restarts: one small file a model, named like it, that
//! holds the number of the version.
//!
//! What cannot be read counts as not set, with a warning: a model serves its highest version rather
//! than none.

use super::routing::Pin;
use super::state_file;
use crate::inference::{ModelName, Version};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// No number of a version is longer.
const MAX_BYTES: u64 = 32;

/// The folder of pins.
#[derive(Debug)]
pub(super) struct Pins {
    folder: Option<PathBuf>,
}

impl Pins {
    /// Pins below `state_dir`; without one, they hold until the process ends.
    pub(super) fn new(state_dir: Option<&Path>) -> Self {
        Self { folder: state_dir.map(|path| path.join("defaults")) }
    }

    /// What was set before this process.
    pub(super) fn read(&self, name: &ModelName) -> Option<Pin> {
        let path = self.folder.as_ref()?.join(name.as_str());
        let version = match state_file::read(&path, MAX_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => Err(error.to_string()),
            Ok(text) => text.trim().parse::<Version>().map_err(|error| error.to_string()),
        };
        match version {
            Ok(version) => Some(Pin { version, kept: true }),
            Err(error) => {
                let path = path.display();
                tracing::warn!(model.name = %name, %path, error, "the default that was set cannot be read");
                None
            }
        }
    }

    /// Writes a pin down, or takes it away. A folder that cannot be written does not keep an operator
    /// from going back to a good version; the pin says that it will be lost.
    pub(super) fn write(&self, name: &ModelName, version: Option<Version>) -> Option<Pin> {
        let kept = self.folder.as_ref().is_some_and(|folder| {
            let written = match version {
                Some(version) => {
                    state_file::write(folder, name.as_str(), format!("{version}\n").as_bytes())
                }
                None => remove(&folder.join(name.as_str())),
            };
            if let Err(error) = &written {
                let folder = folder.display();
                tracing::error!(
                    model.name = %name, %folder, %error,
                    "the default cannot be written down, so it holds until the next restart only"
                );
            }
            written.is_ok()
        });
        version.map(|version| Pin { version, kept })
    }
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pins: &Pins) -> Option<u64> {
        pins.read(&"m".parse().unwrap()).map(|pin| pin.version.0)
    }

    #[test]
    fn a_pin_outlives_the_process_and_garbage_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let name = "m".parse().unwrap();
        let pins = Pins::new(Some(folder.path()));
        assert_eq!(read(&pins), None);
        let pin = pins.write(&name, Some(Version(7)));
        assert_eq!(pin, Some(Pin { version: Version(7), kept: true }));
        assert_eq!(read(&Pins::new(Some(folder.path()))), Some(7));
        for garbage in ["", "x", "-1", "07", "99999999999999999999999"] {
            fs::write(folder.path().join("defaults/m"), garbage).unwrap();
            assert_eq!(read(&pins), None, "{garbage:?}");
        }
        assert_eq!(pins.write(&name, None), None);
        assert!(!folder.path().join("defaults/m").exists());
        assert_eq!(pins.write(&name, None), None, "nothing to take away is no failure");
    }

    #[test]
    fn what_cannot_be_written_holds_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("defaults"), "in the way").unwrap();
        let name = "m".parse().unwrap();
        for state_dir in [Some(folder.path()), None] {
            let pin = Pins::new(state_dir).write(&name, Some(Version(7)));
            assert_eq!(pin, Some(Pin { version: Version(7), kept: false }));
        }
    }
}
