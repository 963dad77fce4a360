//! From what was written to settings that are checked and complete.
//!
//! The tables in `keys` turn what `settings` reads into a [`Config`]; `check` finds what contradicts
//! itself, `rooms` makes each room's own options of it. Rooms do not know this one: the composition
//! root hands them their options.

mod check;
mod host;
mod keys;
mod live;
mod print;
mod rooms;
mod types;

pub mod resources;

#[cfg(test)]
mod documents;

pub use host::Host;
pub use keys::{
    BatchingConfig, CaptureConfig, FeedbackConfig, GeneralConfig, HttpConfig, IsolationConfig,
    LimitsConfig, LogConfig, ManagementConfig, RequestsConfig, ShutdownConfig, StoreConfig,
    ThreadsConfig, TracingConfig, TrialConfig,
};
pub use live::Changes;
pub use types::LogLevel;

use crate::settings::{CONFIG_FILE, FlagValue, Key, Origin, SettingError, SettingErrors};
use crate::settings::{Reader, Schema, Sources, Table};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest configuration file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

macro_rules! config {
    ($($(#[doc = $doc:literal])+ $field:ident: $Section:ident,)+) => {
        /// Every setting, checked and complete. Durations and sizes are typed; the meaning of each
        /// key stands with its field.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config { $($(#[doc = $doc])+ pub $field: $Section,)+ }

        impl Config {
            /// Every key, in the order of the documents.
            pub fn keys() -> impl Iterator<Item = &'static Key> {
                [$($Section::KEYS),+].into_iter().flatten()
            }

            fn read(reader: &mut Reader, host: &Host) -> Self {
                Self { $($field: $Section::read(reader, &Table::of($Section::KEYS), host)),+ }
            }

            /// Takes over what can change while the server runs.
            fn adopt(&mut self, new: &Self) {
                $(self.$field.adopt(&new.$field);)+
            }
        }
    };
}

config! {
    /// The keys outside any section.
    general: GeneralConfig,
    /// The listener for predictions.
    http: HttpConfig,
    /// The listener that changes state.
    management: ManagementConfig,
    /// What a single request may ask for.
    requests: RequestsConfig,
    /// How requests are put together.
    batching: BatchingConfig,
    /// Who computes where.
    threads: ThreadsConfig,
    /// What all requests together may take.
    limits: LimitsConfig,
    /// The trial of a model.
    trial: TrialConfig,
    /// Models in processes of their own.
    isolation: IsolationConfig,
    /// Models that lie in a store.
    store: StoreConfig,
    /// Labels that come back.
    feedback: FeedbackConfig,
    /// Requests that are kept in files.
    capture: CaptureConfig,
    /// Spans of requests.
    tracing: TracingConfig,
    /// What happens after SIGTERM.
    shutdown: ShutdownConfig,
    /// What is logged.
    log: LogConfig,
}

/// Where settings come from, the file apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSources {
    /// The file named on the command line.
    pub file: Option<PathBuf>,
    /// The environment.
    pub variables: Vec<(OsString, OsString)>,
    /// The command line.
    pub flags: Vec<FlagValue>,
    /// What `auto` depends on.
    pub host: Host,
}

/// A configuration, and where each of its values came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Their sources by key.
    pub sources: Sources,
}

impl Loaded {
    /// Reads the file, if one is named, and resolves all sources: flags over environment over file
    /// over defaults. Without a named file none is read.
    ///
    /// # Errors
    ///
    /// Every fault of every source.
    pub fn load(inputs: &ConfigSources) -> Result<Self, SettingErrors> {
        let variable = inputs.variables.iter().find(|(name, _)| name == CONFIG_FILE);
        let from_variable = variable.map(|(_, path)| Path::new(path));
        let Some(path) = inputs.file.as_deref().or(from_variable) else {
            return Self::resolve(None, inputs);
        };
        let text = read_file(path).map_err(|message| {
            let origin = Origin::File { path: path.display().to_string().into(), line: 0 };
            SettingError { origin, key: String::new(), message }
        })?;
        Self::resolve(Some((path, &text)), inputs)
    }

    /// Resolves all sources, the file given as text.
    fn resolve(file: Option<(&Path, &str)>, inputs: &ConfigSources) -> Result<Self, SettingErrors> {
        let mut reader = Reader::new(Schema {
            keys: Config::keys().collect(),
            misplaced: &[],
            misplaced_reason: "",
            page: "docs/configuration.md",
        });
        if let Some((path, text)) = file {
            reader.add_file(&path.display().to_string(), text);
        }
        reader.add_environment(&inputs.variables);
        reader.add_flags(&inputs.flags);
        let config = Config::read(&mut reader, &inputs.host);
        check::check(&config, &mut reader);
        let sources = reader.finish()?;
        Ok(Self { config, sources })
    }
}

/// The text of a configuration file, or one line that says why there is none.
fn read_file(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("the configuration file cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("a configuration file has at most {MAX_FILE_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "a configuration file is UTF-8 text".into())
}

#[cfg(test)]
mod tests;
