//! The loaders of a program, one for each format: whoever loads a file names its format and no loader.

use super::{Artifact, Device, EngineError, Fault, Format, LoadOptions, Loader, Model};
use std::fmt;
use std::io;
use std::sync::Arc;

/// Loads files of several formats, each by its own loader.
pub struct Loaders {
    /// In the order in which they were added; of two for one format the first counts.
    loaders: Vec<(Format, Arc<dyn Loader>)>,
}

impl Loaders {
    /// No loader yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { loaders: Vec::new() }
    }

    /// With this loader for files of a format.
    #[must_use]
    pub fn with(mut self, format: Format, loader: Arc<dyn Loader>) -> Self {
        self.loaders.push((format, loader));
        self
    }

    fn find(&self, format: Format) -> Option<&dyn Loader> {
        let found = self.loaders.iter().find(|(of, _)| *of == format);
        found.map(|(_, loader)| &**loader)
    }
}

impl fmt::Debug for Loaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.loaders.iter().map(|(format, _)| format)).finish()
    }
}

impl Default for Loaders {
    fn default() -> Self {
        Self::new()
    }
}

impl Loader for Loaders {
    fn load(
        &self,
        artifact: &Artifact,
        options: &LoadOptions,
    ) -> Result<Box<dyn Model>, EngineError> {
        let format = artifact.format;
        let unknown = || format!("this program has no loader for files of the format {format}");
        let loader = self.find(format);
        loader
            .ok_or_else(|| EngineError::new(Fault::Unsupported, unknown()))?
            .load(artifact, options)
    }

    fn other_kind(&self, artifact: &Artifact) -> io::Result<Option<String>> {
        self.find(artifact.format).map_or(Ok(None), |loader| loader.other_kind(artifact))
    }

    fn damage(&self, artifact: &Artifact) -> io::Result<Option<String>> {
        self.find(artifact.format).map_or(Ok(None), |loader| loader.damage(artifact))
    }

    /// Those of all loaders, in their order.
    fn devices(&self) -> Vec<Device> {
        let mut devices: Vec<Device> = Vec::new();
        for device in self.loaders.iter().flat_map(|(_, loader)| loader.devices()) {
            if !devices.contains(&device) {
                devices.push(device);
            }
        }
        devices
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::{FakeLoader, FakeModel};

    const CPU: LoadOptions = LoadOptions::plain(Device::Cpu, 1);

    #[test]
    fn a_file_is_loaded_by_the_loader_of_its_format() {
        let path = std::env::current_exe().unwrap();
        let artifact = Artifact::new(Format::TorchScript, path, "m/1".to_owned());
        let none = Loaders::new();
        let error = none.load(&artifact, &CPU).err().expect("nothing loads it");
        assert_eq!(error.fault, Fault::Unsupported);
        assert!(error.message.contains("the format torchscript"), "{error}");
        assert_eq!(none.devices(), []);

        let (first, second) = (FakeModel::echo(), FakeModel::echo());
        let loaders = Loaders::new()
            .with(Format::TorchScript, Arc::new(FakeLoader(first.clone())))
            .with(Format::TorchScript, Arc::new(FakeLoader(second.clone())));
        drop(loaders.load(&artifact, &CPU).unwrap().instance().unwrap());
        assert_eq!((first.seen().instances(), second.seen().instances()), (1, 0));
        assert_eq!(loaders.devices(), [Device::Cpu], "each device is there once");
    }

    #[test]
    fn formats_are_read_by_their_names() {
        for &format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert!("onnx".parse::<Format>().is_err());
    }
}
