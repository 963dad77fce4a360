//! The one table of every metric: the doc comment of a family is its help text. The histograms of phases are made from
//! the list of phases, `phase`.
//!
//! `docs/metrics.md` repeats this table; a test compares the two and what is really exported. A family is counted where its
//! room says so: see `collect`.

use super::exposition::{Family, Kind};
use super::phase;

/// Declares each family as a constant, its help text written once, and lists them.
macro_rules! families {
    ($all:ident; $($(#[doc = $help:literal])+ $id:ident: $kind:ident = $name:literal [$($label:literal),*];)*) => {
        $(
            $(#[doc = $help])+
            pub const $id: Family = Family {
                name: $name,
                // Each line of a doc comment begins with the blank that follows the slashes.
                help: concat!($($help),+),
                kind: Kind::$kind,
                labels: &[$($label),*],
            };
        )*

        const $all: &[Family] = &[$($id),*];
    };
}

/// Every family, in the order of the page that documents them.
pub fn all() -> impl Iterator<Item = &'static Family> {
    [
        SERVER,
        HTTP,
        REQUESTS_AND_TIMES,
        phase::FAMILIES,
        MODELS,
        ROLLOUTS,
        QUALITY,
        FEEDBACK_FAMILIES,
        CAPTURE,
        TRACES,
        PROCESS,
    ]
    .into_iter()
    .flatten()
}

families! { SERVER;
    /// Facts about this build; always 1.
    BUILD_INFO: Gauge = "sconce_build_info" ["version", "libtorch"];
    /// 1 while every required model is ready and the server is not draining, as the readiness probe says.
    READY: Gauge = "sconce_ready" [];
    /// 1 from the first request to stop until the end.
    DRAINING: Gauge = "sconce_draining" [];
    /// Bytes of bodies, decoded tensors and answers held now.
    INFLIGHT_BYTES: Gauge = "sconce_inflight_bytes" [];
    /// Bytes of bodies, decoded tensors and answers that may be held at once.
    INFLIGHT_BYTES_LIMIT: Gauge = "sconce_inflight_bytes_limit" [];
    /// 1 where the kernel has this layer of the sandbox in which models in child processes run, else 0.
    SANDBOX_LAYER: Gauge = "sconce_sandbox_layer" ["layer"];
    /// Log lines dropped because the log could not be written fast enough.
    LOG_LINES_DROPPED: Counter = "sconce_log_lines_dropped_total" [];
    /// Looks at the store that models come from, by outcome; there only with a store, as for the next two.
    STORE_SYNCS: Counter = "sconce_store_syncs_total" ["outcome"];
    /// Bytes of objects that were downloaded from the store.
    STORE_DOWNLOADED_BYTES: Counter = "sconce_store_downloaded_bytes_total" [];
    /// When models were last as in the store, in seconds since 1970; 0 if they have not been yet.
    STORE_LAST_SUCCESS: Gauge = "sconce_store_last_success_timestamp_seconds" [];
    /// Trials of model files in the child process, by outcome; `known` needed no child.
    TRIALS: Counter = "sconce_trials_total" ["outcome"];
    /// Versions that could not be loaded or verified, by what kept them from it.
    LOAD_FAILURES: Counter = "sconce_load_failures_total" ["reason"];
    /// Events of models, by kind: what `GET /manage/events` lists.
    EVENTS: Counter = "sconce_events_total" ["kind"];
}

families! { HTTP;
    /// HTTP responses by matched route, method and status; series appear with their first response.
    HTTP_REQUESTS: Counter = "sconce_http_requests_total" ["route", "method", "status"];
    /// Connections open now.
    HTTP_CONNECTIONS: Gauge = "sconce_http_connections" ["listener"];
    /// Connections accepted.
    HTTP_ACCEPTED: Counter = "sconce_http_connections_accepted_total" ["listener"];
    /// Connections that the server ended on its own account, by reason.
    HTTP_CLOSED: Counter = "sconce_http_connections_closed_total" ["listener", "reason"];
    /// HTTP/2 streams reset because their client took the answer too slowly.
    HTTP_STREAMS_RESET: Counter = "sconce_http_streams_reset_total" ["listener"];
    /// Times that accepting waited because the most connections allowed were open.
    HTTP_CAPACITY_WAITS: Counter = "sconce_http_capacity_waits_total" ["listener"];
    /// Times that accepting a connection failed.
    HTTP_ACCEPT_ERRORS: Counter = "sconce_http_accept_errors_total" ["listener"];
}

families! { REQUESTS_AND_TIMES;
    /// Inference requests by code, `ok` or that of the error; those that named no served model count under `<unknown>`.
    REQUESTS: Counter = "sconce_requests_total" ["model", "version", "code"];
    /// From the request's arrival to its encoded answer or error.
    REQUEST_DURATION: Histogram = "sconce_request_duration_seconds" ["model", "version"];
}

families! { MODELS;
    /// Tokens that texts were made into, with those that the tokenizer adds and without padding. Stays 0 for other models.
    TEXT_TOKENS: Counter = "sconce_text_tokens_total" ["model", "version"];
    /// Pixels of the images that were decoded, as they came. Stays 0 for other models.
    IMAGE_PIXELS: Counter = "sconce_image_pixels_total" ["model", "version"];
    /// Rows of each run of the model: `_count` counts runs, `_sum` rows.
    BATCH_ROWS: Histogram = "sconce_batch_rows" ["model", "version"];
    /// Positions of padded dimensions that were run, padding included: for text, tokens. Stays 0 for models without `pad`.
    RUN_POSITIONS: Counter = "sconce_run_positions_total" ["model", "version"];
    /// Those of them that were padding: the share of it is the share of work that was wasted.
    PADDING_POSITIONS: Counter = "sconce_padding_positions_total" ["model", "version"];
    /// Requests that wait in the queue now.
    QUEUE_LENGTH: Gauge = "sconce_queue_length" ["model", "version"];
    /// Requests that may wait in the queue at once.
    QUEUE_CAPACITY: Gauge = "sconce_queue_capacity" ["model", "version"];
    /// Requests between arrival and answer now.
    INFLIGHT_REQUESTS: Gauge = "sconce_inflight_requests" ["model", "version"];
    /// Instances that run the model now.
    INSTANCES: Gauge = "sconce_instances" ["model", "version"];
    /// Instances rebuilt after a panic, a failing device, a stuck run or the end of their process.
    INSTANCE_RESTARTS: Counter = "sconce_instance_restarts_total" ["model", "version"];
    /// Runs in the server's process that went on past deadline and grace; one in a process of its own is a death by `timed_out`.
    STUCK_RUNS: Counter = "sconce_stuck_runs_total" ["model", "version"];
    /// Ends of the child process that runs the model, by cause: `crashed`, `killed`, `out_of_memory` or `timed_out`; another follows.
    MODEL_DEATHS: Counter = "sconce_model_deaths_total" ["model", "version", "cause"];
    /// Requests that ended the process of their model, or were refused since the same inputs had ended it before.
    MODEL_KILLERS: Counter = "sconce_model_killer_requests_total" ["model", "version"];
    /// Bytes that the model's weights take.
    MODEL_MEMORY: Gauge = "sconce_model_memory_bytes" ["model", "version"];
    /// 1 while the version answers requests.
    MODEL_READY: Gauge = "sconce_model_ready" ["model", "version"];
    /// 1 for the value that says whether requests are put together and if not, why not; 0 for the others.
    MODEL_BATCHING: Gauge = "sconce_model_batching" ["model", "version", "batching"];
    /// Rows of real batches that were run again alone to see whether they get the same answer, by outcome: `skipped` when no
    /// instance was idle in time, or the model raised.
    BATCHING_VERIFICATIONS: Counter = "sconce_batching_verifications_total" ["model", "version", "outcome"];
    /// How long the version took from the start of its load until it was ready, the last time.
    MODEL_LOAD_DURATION: Gauge = "sconce_model_load_duration_seconds" ["model", "version"];
}

families! { ROLLOUTS;
    /// The share of requests that the new version of a roll-out answers; there while one is under way.
    ROLLOUT_WEIGHT: Gauge = "sconce_rollout_weight" ["model", "version"];
    /// Copies of requests whose answers were compared on this step of a roll-out.
    SHADOW_COMPARED: Gauge = "sconce_shadow_compared" ["model", "version"];
    /// Rows of them to which the new version gives another best class.
    SHADOW_FLIPS: Gauge = "sconce_shadow_flips" ["model", "version"];
    /// Copies that were dropped because there was no room beside live requests.
    SHADOW_DROPPED: Gauge = "sconce_shadow_dropped" ["model", "version"];
}

families! { QUALITY;
    /// Rows of the reference that a version is watched beside; there, as what follows, for versions with a reference.json.
    REFERENCE_ROWS: Gauge = "sconce_reference_rows" ["model", "version"];
    /// Values of a feature by the bins of the reference, counted from 0: larger requests count with some of their rows.
    FEATURE_VALUES: Counter = "sconce_feature_values_total" ["model", "version", "feature", "bin"];
    /// Values of a feature that have a rank among the reference's; in place of the bins, as the next one, for versions with more than 80 features.
    FEATURE_RANKED: Counter = "sconce_feature_ranked_total" ["model", "version", "feature"];
    /// The sum of their ranks, each from 0 to 1: half of their number where nothing has changed.
    FEATURE_RANK_SUM: Counter = "sconce_feature_rank_sum_total" ["model", "version", "feature"];
    /// The share of the reference's values in each bin, half a row added to each.
    REFERENCE_RATIO: Gauge = "sconce_reference_ratio" ["model", "version", "feature", "bin"];
    /// Rows in which a feature is not a number.
    FEATURE_MISSING: Counter = "sconce_feature_missing_total" ["model", "version", "feature"];
    /// Values of a feature beyond the range of the reference.
    FEATURE_OUT_OF_RANGE: Counter = "sconce_feature_out_of_range_total" ["model", "version", "feature"];
    /// The share of the reference's rows without the feature; of more than 80 features, of those that have such rows.
    REFERENCE_MISSING_RATIO: Gauge = "sconce_reference_missing_ratio" ["model", "version", "feature"];
    /// Rows by the label that they were answered with, of every model with labels; `<other>`: one that the reference does not have, or beyond the hundredth.
    PREDICTED_LABELS: Counter = "sconce_predicted_labels_total" ["model", "version", "label"];
    /// The same rows by the score of their label in ten bins from 0 to 1; scores that are no probabilities are left out.
    PREDICTED_SCORES: Counter = "sconce_predicted_scores_total" ["model", "version", "bin"];
    /// The sum of these scores.
    PREDICTED_SCORE_SUM: Counter = "sconce_predicted_score_sum_total" ["model", "version"];
    /// The share of the reference's rows that were answered with the label.
    REFERENCE_LABEL_RATIO: Gauge = "sconce_reference_label_ratio" ["model", "version", "label"];
    /// The part of the reference's rows that were answered right, where they had labels.
    REFERENCE_ACCURACY: Gauge = "sconce_reference_accuracy" ["model", "version"];
}

families! { FEEDBACK_FAMILIES;
    /// Labels that came back, by what became of them; there, as all below, for models that give labels or one number a row.
    FEEDBACK: Counter = "sconce_feedback_total" ["model", "outcome"];
    /// Rows whose callers asked for a token, to send labels back with.
    FEEDBACK_TOKENS: Counter = "sconce_feedback_tokens_total" ["model", "version"];
    /// Time from an answer to its label.
    FEEDBACK_DELAY: Histogram = "sconce_feedback_delay_seconds" ["model", "version"];
    /// Rows by the label that came back; `<other>`: one beyond the hundredth.
    FEEDBACK_ACTUAL: Counter = "sconce_feedback_actual_total" ["model", "version", "label"];
    /// Rows with a label that came back, by the label of their answer.
    FEEDBACK_PREDICTED: Counter = "sconce_feedback_predicted_total" ["model", "version", "label"];
    /// Rows whose answer was right, by label.
    FEEDBACK_CORRECT: Counter = "sconce_feedback_correct_total" ["model", "version", "label"];
    /// Rows with a label that came back, by the score of their answer in ten bins from 0 to 1; scores that are no probabilities are left out.
    FEEDBACK_SCORES: Counter = "sconce_feedback_scores_total" ["model", "version", "bin"];
    /// Those of them that were answered right.
    FEEDBACK_SCORE_CORRECT: Counter = "sconce_feedback_score_correct_total" ["model", "version", "bin"];
    /// The sum of their scores.
    FEEDBACK_SCORE_SUM: Counter = "sconce_feedback_score_sum_total" ["model", "version", "bin"];
    /// The sum of the squared differences of their scores from 1 where they were right and from 0 where not.
    FEEDBACK_BRIER_SUM: Counter = "sconce_feedback_brier_sum_total" ["model", "version"];
    /// Of models with two labels, rows by what they were (`positive`: the second label) and by the second label's score in twenty bins.
    FEEDBACK_BINARY_SCORES: Counter = "sconce_feedback_binary_scores_total" ["model", "version", "actual", "bin"];
    /// The same rows in this bin and all below it.
    FEEDBACK_BINARY_SCORES_UP_TO: Counter = "sconce_feedback_binary_scores_up_to_total" ["model", "version", "actual", "bin"];
    /// Rows of models that answer with numbers, with a number that came back.
    FEEDBACK_VALUES: Counter = "sconce_feedback_values_total" ["model", "version"];
    /// The sum of their absolute errors.
    FEEDBACK_ABSOLUTE_ERROR_SUM: Counter = "sconce_feedback_absolute_error_sum_total" ["model", "version"];
    /// The sum of their squared errors.
    FEEDBACK_SQUARE_ERROR_SUM: Counter = "sconce_feedback_square_error_sum_total" ["model", "version"];
    /// The sum of the errors of answers that were too high.
    FEEDBACK_OVER_SUM: Counter = "sconce_feedback_over_sum_total" ["model", "version"];
}

families! { CAPTURE;
    /// Requests that were to be captured, by outcome; there only where requests are captured, as for the next ones.
    CAPTURE_RECORDS: Counter = "sconce_capture_records_total" ["outcome"];
    /// Captured requests by what became of them on their way to the sink.
    CAPTURE_SENT: Counter = "sconce_capture_sent_total" ["outcome"];
    /// Bytes of the files of captured requests.
    CAPTURE_BYTES: Gauge = "sconce_capture_bytes" [];
}

families! { TRACES;
    /// Spans of traced requests, by outcome; there only where requests are traced.
    SPANS: Counter = "sconce_spans_total" ["outcome"];
}

families! { PROCESS;
    /// Processor time used by the process.
    PROCESS_CPU: Counter = "process_cpu_seconds_total" [];
    /// Memory of the process that is in RAM.
    PROCESS_RESIDENT_MEMORY: Gauge = "process_resident_memory_bytes" [];
    /// Address space of the process.
    PROCESS_VIRTUAL_MEMORY: Gauge = "process_virtual_memory_bytes" [];
    /// File descriptors open now.
    PROCESS_OPEN_FDS: Gauge = "process_open_fds" [];
    /// File descriptors that may be open at once.
    PROCESS_MAX_FDS: Gauge = "process_max_fds" [];
    /// Threads of the process.
    PROCESS_THREADS: Gauge = "process_threads" [];
    /// When the process started, in seconds since 1970.
    PROCESS_START_TIME: Gauge = "process_start_time_seconds" [];
}
