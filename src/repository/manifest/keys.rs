//! Every key of model.toml, table by table, with its type, range and meaning.

use super::super::policy::VersionPolicy;
use super::choice::{DeviceChoice, Optimize, QueueWait};
use super::ranges;
use super::rollout::RolloutKeys;
use super::steps::{ImageKeys, PostprocessKeys, TextKeys};
use super::types::{FolderFile, LabelSource, Pad, PadValue, Sharing, TensorName};
use crate::engine::Precision;
use crate::inference::TensorSpec;
use crate::settings::{Above, ByteSize, Positive, section};
use crate::tensor::{DataType, ShapePattern};
use crate::transform::{Activation, Column};
use std::time::Duration;

section! {
    /// A model.toml, as written.
    #[derive(Default)]
    pub struct Manifest("") {
        /// One sentence for people.
        description: Option<String> = (else "none");
        /// Whether the server is ready only with this model, if it was there at the start.
        required: Option<bool> = (else "`true`");
        /// Versions to serve: `"latest"`, `"latest 2"` for so many of them, `"all"`, or a list like `[1, 3]`.
        versions: VersionPolicy = "latest";
        /// Where the model runs; `"auto"`: on a GPU when there is one. A device that is not there fails the model.
        device: Option<DeviceChoice> = (else "the server's `device`");
        /// `"auto"`: the trial looks for the fastest form of the model; `"off"`: it runs as its file has it.
        optimize: Option<Optimize> = (else "the server's `optimize`");
        /// `"bf16"`, or on a GPU `"fp16"`: compute in numbers of two bytes; `"fp32"` computes in those of the file. See Form.
        precision: Precision = "fp32";
        /// How far answers in a reduced precision may be from the file's own, relative to the largest.
        max_difference: Option<f64> = (else "`1e-2`"), range Above(0.0, 1.0);
        /// Threads that run the model, each with an engine of its own.
        instances: Option<usize> = (else "the server's; 1 for a stateful model"), range ranges::INSTANCES;
        /// Threads that one operator may use, in each instance.
        intra_op_threads: Option<usize> = (else "the server's"), range ranges::INTRA_OP_THREADS;
        /// Names of the classes, in the order of the model's output.
        labels: Option<LabelSource> = (else "none");
        /// The same from a text file in the model's folder, one a line.
        labels_file: Option<FolderFile> = (else "none");
        /// What turns the first output into scores before labels are read off it.
        activation: Activation = "none";
        /// How many of the best labels an answer lists.
        top: Option<usize> = (else "5"), range 1..=100;
        /// Labels with a lower score are not listed, and a row whose best has a lower one has none.
        threshold: Option<f64> = (else "none");
    }
    with {
        /// Declared inputs; empty leaves them to the probe.
        inputs: Vec<TensorSpec>,
        /// Inputs that may be padded.
        pads: Vec<Pad>,
        /// Declared outputs; empty leaves them to the probe.
        outputs: Vec<TensorSpec>,
        /// `[batching]`.
        batching: BatchingKeys,
        /// `[limits]`.
        limits: LimitKeys,
        /// `[rollout]`.
        rollout: RolloutKeys,
        /// `[evaluation]`.
        evaluation: EvaluationKeys,
        /// `[preprocess.text]`.
        text: TextKeys,
        /// `[preprocess.image]`.
        image: ImageKeys,
        /// `[[preprocess.columns]]`.
        columns: Vec<Column>,
        /// `[postprocess]`.
        postprocess: PostprocessKeys,
    }
}

section! {
    /// A declared input.
    pub(super) struct InputKeys("inputs[].") {
        /// Name of an input on the wire.
        name: Option<TensorName> = (required, else "the argument's name");
        /// `FP32`, `INT64`, `BOOL`, …, in the words of the Open Inference Protocol.
        datatype: Option<DataType> = (required, else "any of numbers");
        /// Sizes; -1 means any but 0, the first counts rows, `[]` is a plain number.
        shape: Option<ShapePattern> = (required, else "any");
        /// Kept for readers: the file alone decides whether an argument has a default.
        optional: Option<bool> = (else "as the file says");
        /// Value that this input's variable dimension is padded with, so that requests of different sizes share runs; see padding.
        pad: Option<PadValue> = (else "none");
    }
}

section! {
    /// A declared output.
    pub(super) struct OutputKeys("outputs[].") {
        /// Name of an output on the wire, or of each of a list.
        name: Option<TensorName> = (required, else "as the model names it, or by position");
        /// Its datatype.
        datatype: Option<DataType> = (required, else "found by probing");
        /// Its shape; a first dimension of -1 claims a row for each row of the request, of a model that never ran.
        shape: Option<ShapePattern> = (required, else "found by probing");
    }
}

section! {
    /// What `[batching]` says.
    #[derive(Default)]
    pub struct BatchingKeys("batching.") {
        /// `false` keeps requests apart even where that is not needed; `"trust"` lets them share runs also where that is not proved, as long as no probe finds otherwise. See Sharing runs.
        enabled: Option<Sharing> = (else "`true`");
        /// How far a row's answer in a batch may be from its answer alone, relative to the largest. For models whose layers take one scale over all rows, as dynamic quantization does.
        max_difference: Option<f64> = (else "none"), range Above(0.0, 1.0);
        /// Maximum number of rows that share a run. A request with more rows (`limits.max_rows` bounds them) is one run of its own.
        max_batch_size: Option<usize> = (else "the server's, or as few as the trial finds to do nearly as many rows a second"), range ranges::BATCH_SIZE;
        /// How long an idle instance waits for more rows.
        max_queue_delay: Option<Duration> = (else "the server's"), range ranges::QUEUE_DELAY;
        /// Maximum number of requests that wait; can only lower the server's.
        queue_capacity: Option<usize> = (else "the server's"), range ranges::QUEUE_CAPACITY;
        /// How long a request may have to wait for its run; what would wait longer is refused.
        max_queue_wait: Option<QueueWait> = (else "the server's");
        /// Sizes that dimensions are padded to.
        pad_buckets: Option<Vec<usize>> = (else "8 to 512, see padding");
    }
}

section! {
    /// What `[limits]` says. A folder may tighten the server's limits, never widen them.
    #[derive(Default)]
    pub struct LimitKeys("limits.") {
        /// Maximum number of rows of one request; can only lower the server's.
        max_rows: Option<usize> = (else "the server's"), range ranges::ROWS;
        /// Maximum number of bytes of one body; can only lower the server's.
        max_body_bytes: Option<ByteSize> = (else "the server's"), range ranges::BODY_BYTES;
        /// Longest that a request may take; can only lower the server's.
        timeout: Option<Duration> = (else "the server's"), range ranges::TIMEOUT;
    }
}

section! {
    /// What `[evaluation]` says: what `sconce evaluate` asks of a version.
    #[derive(Default)]
    pub struct EvaluationKeys("evaluation.") {
        /// Minimum share of rows that get their label.
        accuracy: Option<f64> = (else "none"), range Above(0.0, 1.0);
        /// Minimum precision, averaged over classes.
        macro_precision: Option<f64> = (else "none"), range Above(0.0, 1.0);
        /// Minimum recall, averaged over classes.
        macro_recall: Option<f64> = (else "none"), range Above(0.0, 1.0);
        /// Minimum F1, averaged over classes.
        macro_f1: Option<f64> = (else "none"), range Above(0.0, 1.0);
        /// Minimum precision, averaged over classes by their rows.
        weighted_precision: Option<f64> = (else "none"), range Above(0.0, 1.0);
        /// Minimum recall, averaged over classes by their rows.
        weighted_recall: Option<f64> = (else "none"), range Above(0.0, 1.0);
        /// Minimum F1, averaged over classes by their rows.
        weighted_f1: Option<f64> = (else "none"), range Above(0.0, 1.0);
        /// Minimum area under the ROC curve.
        roc_auc: Option<f64> = (else "none"), range Above(0.0, 1.0);
        /// Maximum log loss.
        log_loss: Option<f64> = (else "none"), range Positive;
        /// Maximum expected calibration error.
        calibration_error: Option<f64> = (else "none"), range Above(0.0, 1.0);
        /// Minimum share of the numbers' variance that is explained.
        r2: Option<f64> = (else "none"), range Above(0.0, 1.0);
        /// Maximum mean absolute error.
        mae: Option<f64> = (else "none"), range Positive;
        /// Maximum root of the mean squared error.
        rmse: Option<f64> = (else "none"), range Positive;
    }
}

/// How far a figure may go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// Not below this.
    AtLeast(f64),
    /// Not above this.
    AtMost(f64),
}

impl EvaluationKeys {
    /// What is set, by the names of the figures.
    #[must_use]
    pub fn bounds(&self) -> Vec<(&'static str, Bound)> {
        let minimums = [
            ("accuracy", self.accuracy),
            ("macro_precision", self.macro_precision),
            ("macro_recall", self.macro_recall),
            ("macro_f1", self.macro_f1),
            ("weighted_precision", self.weighted_precision),
            ("weighted_recall", self.weighted_recall),
            ("weighted_f1", self.weighted_f1),
            ("roc_auc", self.roc_auc),
            ("r2", self.r2),
        ];
        let maximums = [
            ("log_loss", self.log_loss),
            ("calibration_error", self.calibration_error),
            ("mae", self.mae),
            ("rmse", self.rmse),
        ];
        let minimums = minimums.map(|(name, it)| (name, it.map(Bound::AtLeast)));
        let maximums = maximums.map(|(name, it)| (name, it.map(Bound::AtMost)));
        let all = minimums.into_iter().chain(maximums);
        all.filter_map(|(name, bound)| bound.map(|bound| (name, bound))).collect()
    }
}
