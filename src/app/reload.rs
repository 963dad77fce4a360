//! SIGHUP: the configuration is read again, what can change while the server runs is changed, and the rest is named.
//!
//! On a thread of its own, one signal after the other: reading may block, and so do the loads that follow.

use super::AppError;
use crate::config::{Changes, Loaded};
use crate::http::App;
use crate::shutdown::ShutdownOptions;
use crate::telemetry::events::{EventKind, Subject};
use crate::telemetry::logging::LogError;
use tokio::sync::{mpsc, watch};

/// Reads the configuration from where it was read the first time; or every fault of it.
pub type ReadAgain = Box<dyn Fn() -> Result<Loaded, String> + Send>;

/// Changes what can be changed.
pub(super) struct Reloader<L> {
    /// What holds now.
    running: Loaded,
    read_again: ReadAgain,
    app: App,
    set_level: L,
    ways_down: watch::Sender<ShutdownOptions>,
}

impl<L: Fn(&str) -> Result<(), LogError> + Send + 'static> Reloader<L> {
    /// Waits for signals from now on; gives back how the server is to end.
    pub(super) fn start(
        running: Loaded,
        read_again: ReadAgain,
        app: App,
        set_level: L,
        mut hang_ups: mpsc::Receiver<()>,
    ) -> Result<watch::Receiver<ShutdownOptions>, AppError> {
        let (ways_down, receiver) = watch::channel(running.config.shutdown_options());
        let mut reloader = Self { running, read_again, app, set_level, ways_down };
        let wait = move || {
            while hang_ups.blocking_recv().is_some() {
                reloader.reload();
            }
        };
        std::thread::Builder::new().name("reload".into()).spawn(wait)?;
        Ok(receiver)
    }

    fn reload(&mut self) {
        let changes = (self.read_again)().map(|new| self.running.adopt(&new));
        match changes {
            Ok(changes) => {
                self.apply();
                let text = report(&changes);
                tracing::warn!("{text}");
                self.tell(EventKind::ConfigurationReloaded, text);
            }
            Err(faults) => {
                let text = format!("nothing was changed, the configuration is faulty: {faults}");
                tracing::error!("{text}");
                self.tell(EventKind::ConfigurationRefused, text);
                return;
            }
        }
        // Last, as it may take as long as models take to load; what comes of it are events of the models.
        self.app.repository.change(self.running.config.live_options());
    }

    /// What is done in no time.
    fn apply(&self) {
        let config = &self.running.config;
        if let Err(error) = (self.set_level)(config.log.level.as_str()) {
            tracing::error!(%error, "the level of the log could not be set");
        }
        self.app.request_log.set(config.request_log_options());
        self.ways_down.send_replace(config.shutdown_options());
    }

    fn tell(&self, kind: EventKind, text: String) {
        self.app.events.add(kind, Subject::default(), text);
    }
}

fn report(Changes { applied, after_restart }: &Changes) -> String {
    let list = |title: &str, changes: &[String]| match changes {
        [] => String::new(),
        changes => format!("; {title}: {}", changes.join(", ")),
    };
    let nothing =
        if applied.is_empty() && after_restart.is_empty() { ", nothing is new" } else { "" };
    format!(
        "the configuration was read again{nothing}{}{}",
        list("changed", applied),
        list("needs a restart", after_restart)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_changed_and_what_needs_a_restart() {
        let change = |text: &str| vec![text.to_owned()];
        let (applied, after_restart) = (change("a: 1 -> 2"), change("b: 3 -> 4"));
        let nothing = report(&Changes::default());
        assert_eq!(nothing, "the configuration was read again, nothing is new");
        assert_eq!(
            report(&Changes { applied, after_restart }),
            "the configuration was read again; changed: a: 1 -> 2; needs a restart: b: 3 -> 4"
        );
    }
}
