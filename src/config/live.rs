//! What another configuration changes in the one that holds.

use super::{Config, Loaded};

/// What a configuration that was read again has otherwise, each as `key: before -> after`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// What holds from now on.
    pub applied: Vec<String>,
    /// What would hold after a restart.
    pub after_restart: Vec<String>,
}

impl Loaded {
    /// Takes over from a configuration that was read again what can change while the server runs.
    pub fn adopt(&mut self, new: &Self) -> Changes {
        let mut changes = Changes::default();
        for key in Config::keys() {
            let (old, new) = (self.sources.get(key.path), new.sources.get(key.path));
            let (Some(old), Some(new)) = (old, new) else { continue };
            if old.value == new.value {
                continue;
            }
            let change = format!("{}: {} -> {}", key.path, old.value, new.value);
            if key.is_live {
                changes.applied.push(change);
                self.sources.insert(key.path.to_owned(), new.clone());
            } else {
                changes.after_restart.push(change);
            }
        }
        self.config.adopt(&new.config);
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::inputs;
    use super::*;
    use crate::settings::FlagValue;

    fn loaded(settings: &[(&str, &str)]) -> Loaded {
        let flags = settings.iter().map(|(key, value)| FlagValue {
            flag: format!("--set {key}"),
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        });
        let flags = flags.collect();
        Loaded::load(&super::super::ConfigSources { flags, ..inputs() }).unwrap()
    }

    #[test]
    fn what_can_change_is_taken_over_and_the_rest_is_named() {
        let mut running = loaded(&[("requests.timeout", "9s"), ("http.listen", "127.0.0.1:1")]);
        let new = loaded(&[("http.listen", "127.0.0.1:2"), ("model_folders", "m=x")]);
        let expected = Changes {
            applied: vec![
                "model_folders: [] -> [\"m=x\"]".into(),
                "requests.timeout: \"9s\" -> \"30s\"".into(),
            ],
            after_restart: vec!["http.listen: \"127.0.0.1:1\" -> \"127.0.0.1:2\"".into()],
        };
        assert_eq!(running.adopt(&new), expected);
        assert_eq!(running.config.requests, new.config.requests);
        assert_eq!(running.config.general.model_folders, new.config.general.model_folders);
        assert_eq!(running.config.http.listen.port(), 1);
        // Once more: only what still waits for a restart is named.
        let again = Changes { applied: vec![], ..expected };
        assert_eq!(running.adopt(&new), again);
        assert_eq!(running.adopt(&running.clone()), Changes::default());
    }

    /// A key that is marked and not taken over, or the other way round, would be reported falsely.
    #[test]
    fn the_marks_are_what_is_taken_over() {
        let odd = loaded(&[
            ("model_folders", "m=x"),
            ("default_model", "m"),
            ("optimize", "off"),
            ("requests.timeout", "7s"),
            ("requests.max_rows", "7"),
            ("batching.max_batch_size", "7"),
            ("batching.max_queue_delay", "7ms"),
            ("batching.queue_capacity", "7"),
            ("batching.max_queue_wait", "7s"),
            ("batching.verify_every", "7"),
            ("threads.instances", "7"),
            ("limits.stuck_grace", "7s"),
            ("limits.max_stuck_runs", "7"),
            ("shutdown.lame_duck", "7s"),
            ("shutdown.drain", "7s"),
            ("log.level", "warn"),
            ("log.requests", "all"),
            ("log.slow", "7s"),
        ]);
        let mut running = loaded(&[]);
        let changes = running.adopt(&odd);
        assert_eq!(changes.after_restart, Vec::<String>::new());
        assert_eq!(changes.applied.len(), Config::keys().filter(|key| key.is_live).count());
        assert_eq!(running, odd);
    }
}
