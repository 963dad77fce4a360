//! The flags that set keys of the configuration, the same for every subcommand that reads it.

use super::{Failure, print};
use crate::config::{ConfigSources, Host, Loaded};
use crate::settings::{CONFIG_FILE, FlagValue};
use clap::Args;
use std::path::PathBuf;

/// Flags that go before the environment and the file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
pub struct Settings {
    /// Configuration file; without it, and without SCONCE_CONFIG, none is read
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the models [default: models]
    #[arg(long, value_name = "DIR")]
    pub models: Option<String>,
    /// Serves one model from a folder of its own; may be repeated
    #[arg(long = "model", value_name = "NAME=FOLDER")]
    pub model_folders: Vec<String>,
    /// Address of the listener for predictions [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Address of the listener that can change state [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR")]
    pub manage_listen: Option<String>,
    /// Model that /predict without a name means
    #[arg(long, value_name = "NAME")]
    pub default_model: Option<String>,
    /// Log for people or for collectors: human, json [default: human on a terminal]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Minimum level logged: error, warn, info, debug, trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Sets any key, as in -s batching.max_batch_size=32; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
    /// Print every setting with its source, and do nothing else
    #[arg(long)]
    pub print_config: bool,
}

impl Settings {
    /// What the flags set, the weaker first: `--set` yields to a flag of the key's own.
    #[must_use]
    pub fn flags(&self) -> Vec<FlagValue> {
        let set = self.set.iter().map(|(key, value)| FlagValue {
            flag: format!("--set {key}"),
            key: key.clone(),
            value: value.clone(),
        });
        let model_folders = (!self.model_folders.is_empty()).then(|| self.model_folders.join(","));
        let named = [
            ("--models", "models", &self.models),
            ("--model", "model_folders", &model_folders),
            ("--listen", "http.listen", &self.listen),
            ("--manage-listen", "management.listen", &self.manage_listen),
            ("--default-model", "default_model", &self.default_model),
            ("--log-format", "log.format", &self.log_format),
            ("--log-level", "log.level", &self.log_level),
        ];
        let named = named.into_iter().filter_map(|(flag, key, value)| {
            let value = value.clone()?;
            Some(FlagValue { flag: flag.into(), key: key.into(), value })
        });
        set.chain(named).collect()
    }

    /// Reads the configuration from every source.
    ///
    /// # Errors
    ///
    /// Every fault of it.
    pub fn load(&self) -> Result<Loaded, Failure> {
        let variables: Vec<_> = std::env::vars_os().collect();
        let host = Host::discover(&variables);
        let inputs =
            ConfigSources { file: self.config.clone(), variables, flags: self.flags(), host };
        Ok(Loaded::load(&inputs)?)
    }

    /// Whether the file can be read once more: a pipe was read, and would be waited for.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn check_file(&self) -> Result<(), String> {
        let from_variable = || std::env::var_os(CONFIG_FILE).map(PathBuf::from);
        let Some(path) = self.config.clone().or_else(from_variable) else { return Ok(()) };
        match std::fs::metadata(&path) {
            Ok(found) if !found.is_file() => {
                Err(format!("{}: expected a plain file", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// The same, with folders that are there; nothing where it was only to be printed, which is done.
    ///
    /// # Errors
    ///
    /// Every fault of it.
    pub fn read_or_print(&self) -> Result<Option<Loaded>, Failure> {
        let loaded = self.load()?;
        if self.print_config {
            print(&loaded.to_toml())?;
            return Ok(None);
        }
        loaded.check_folders()?;
        Ok(Some(loaded))
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().into(), value.trim().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::collections::BTreeSet;

    fn given() -> Settings {
        let text = || Some("x".to_owned());
        Settings {
            config: None,
            models: text(),
            model_folders: vec!["x=y".to_owned()],
            listen: text(),
            manage_listen: text(),
            default_model: text(),
            log_format: text(),
            log_level: text(),
            set: vec![("http.metrics".into(), "false".into())],
            print_config: false,
        }
    }

    #[test]
    fn every_flag_sets_the_key_that_the_documents_say() {
        let expected: BTreeSet<_> = Config::keys()
            .filter_map(|key| Some((key.flag?.to_owned(), key.path.to_owned())))
            .collect();
        let flags = given().flags().into_iter().filter(|flag| !flag.flag.starts_with("--set"));
        let actual: BTreeSet<_> = flags.map(|flag| (flag.flag, flag.key)).collect();
        assert_eq!(actual, expected);
        let command = Settings::augment_args(clap::Command::new("sconce"));
        let known: BTreeSet<_> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();
        for (flag, key) in expected {
            assert!(known.contains(&flag[2..]), "{flag} must be taken for {key}");
        }
    }

    #[test]
    fn every_folder_that_is_named_counts() {
        let model_folders = vec!["a=x".to_owned(), "b=y".to_owned()];
        let settings = Settings { model_folders, ..Settings::default() };
        let value = "a=x,b=y".to_owned();
        let expected = FlagValue { flag: "--model".into(), key: "model_folders".into(), value };
        assert_eq!(settings.flags(), [expected]);
    }

    #[test]
    fn set_comes_first_and_so_is_the_weaker() {
        assert_eq!(given().flags()[0].flag, "--set http.metrics");
    }

    #[test]
    fn set_takes_a_key_and_a_value() {
        assert_eq!(key_and_value("a.b = c=d"), Ok(("a.b".into(), "c=d".into())));
        assert!(key_and_value("a.b").is_err());
    }
}
