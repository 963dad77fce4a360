//! The log of a process that has none of its own: what models print there, as it is, for whoever started it.

use std::fmt;
use std::io::{Write, stderr};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// Has events go to standard error, each as its text alone and at once: a model may end the process with its next step.
/// Without effect where there is a log already.
pub fn log_plainly() {
    let _ = Registry::default().with(Plain.with_filter(LevelFilter::INFO)).try_init();
}

struct Plain;

impl<S: Subscriber> Layer<S> for Plain {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        // Nobody may read any more.
        let _ = stderr().write_all(line(event).as_bytes());
    }
}

fn line(event: &Event<'_>) -> String {
    let mut words = Words::default();
    event.record(&mut words);
    let left_out = match words.left_out {
        0 => String::new(),
        n => format!("({n} lines left out)\n"),
    };
    let warning = if *event.metadata().level() < Level::INFO { "warning: " } else { "" };
    format!("{left_out}{warning}{}\n", words.text.or(words.message).unwrap_or_default())
}

/// What of an event is told.
#[derive(Default)]
struct Words {
    /// What a model printed, or libtorch said of it.
    text: Option<String>,
    message: Option<String>,
    left_out: u64,
}

impl Visit for Words {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "left_out" {
            self.left_out = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "text" {
            self.text = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = Some(format!("{value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<String>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            self.0.lock().unwrap().push_str(&line(event));
        }
    }

    #[test]
    fn what_a_model_prints_is_all_that_is_told() {
        let kept = Kept::default();
        let log = Registry::default().with(kept.clone());
        tracing::subscriber::with_default(log, || {
            tracing::info!(model = "m/1", text = "hello 1", left_out = 0u64, "The model printed");
            tracing::warn!(text = "odd", left_out = 3u64, "libtorch warned");
            tracing::warn!(error = "e", "something else");
        });
        let expected = "hello 1\n(3 lines left out)\nwarning: odd\nwarning: something else\n";
        assert_eq!(*kept.0.lock().unwrap(), expected);
    }
}
