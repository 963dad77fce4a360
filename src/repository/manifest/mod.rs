//! `model.toml`: what a model says about itself that its file does not.
//!
//! Reading only; the defaults of the server are applied where a version is loaded. Trust, isolation
//! and signatures have no key here: a folder must not vouch for itself.

mod choice;
mod columns;
mod keys;
mod names;
pub mod ranges;
mod rollout;
mod steps;
mod types;

pub use choice::{DeviceChoice, Optimize, QueueWait};
pub use keys::{BatchingKeys, Bound, EvaluationKeys, LimitKeys, Manifest};
pub use rollout::{Decider, RolloutKeys, RolloutPlan, RolloutStep, RolloutSteps, Strategy};
pub use steps::{ImageKeys, Numbers, PostprocessKeys, Sides, TextKeys, TooLong};
pub(super) use types::are_labels;
pub use types::{FolderFile, LabelSource, Pad, Sharing};

use crate::inference::{InputPadding, TensorSpec};
use crate::settings::{Key, Reader, Schema, SettingErrors, Table};
use crate::tensor::Dim;
use columns::ColumnKeys;
use keys::{InputKeys, OutputKeys};
use names::refuse_twice;
use std::collections::HashSet;
use std::sync::Arc;
use types::{PadValue, TensorName};

/// Keys that people look for here and that only the server's configuration has.
const SERVER_ONLY: &[&str] =
    &["trusted", "trusted_models", "trust", "isolation", "signature", "signatures"];

impl Manifest {
    /// Every key, in the order of the page that documents them (`docs/models.md`).
    pub fn keys() -> impl Iterator<Item = &'static Key> {
        let tables = [
            Self::KEYS,
            InputKeys::KEYS,
            OutputKeys::KEYS,
            BatchingKeys::KEYS,
            LimitKeys::KEYS,
            RolloutKeys::KEYS,
            EvaluationKeys::KEYS,
            TextKeys::KEYS,
            ImageKeys::KEYS,
            ColumnKeys::KEYS,
            PostprocessKeys::KEYS,
        ];
        tables.into_iter().flatten()
    }

    /// Reads the text of a model.toml. `file` is how messages call it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once, each with its line and key.
    pub fn parse(file: &str, text: &str) -> Result<Self, SettingErrors> {
        let mut reader = Reader::new(Schema {
            keys: Self::keys().collect(),
            misplaced: SERVER_ONLY,
            misplaced_reason: "only the server's configuration sets this, a model's folder cannot",
            page: "docs/models.md",
        });
        reader.add_file(file, text);
        let mut manifest = Self::read(&mut reader, &Table::of(Self::KEYS));
        manifest.read_tables(&mut reader);
        reader.finish().map(|_| manifest)
    }

    /// Adds what stands in tables, and puts the labels together.
    fn read_tables(&mut self, reader: &mut Reader) {
        if self.labels.is_some() && self.labels_file.is_some() {
            let message = "labels are listed already, expected one of both";
            reader.conflict(&["labels_file"], message.into());
        }
        let file = self.labels_file.take().map(|FolderFile(path)| LabelSource::File(path));
        self.labels = self.labels.take().or(file);
        (self.inputs, self.pads) = read_inputs(reader);
        self.outputs = read_outputs(reader);
        self.batching = BatchingKeys::read(reader, &Table::of(BatchingKeys::KEYS));
        self.limits = LimitKeys::read(reader, &Table::of(LimitKeys::KEYS));
        self.rollout = RolloutKeys::read(reader, &Table::of(RolloutKeys::KEYS));
        if let Some(message) = self.rollout.conflict() {
            reader.conflict(&["rollout.steps"], message.into());
        }
        self.evaluation = EvaluationKeys::read(reader, &Table::of(EvaluationKeys::KEYS));
        self.columns = columns::read(reader);
        (self.text, self.image, self.postprocess) = steps::read(reader);
        if self.text.tokenizer.is_some() || self.image.resize.is_some() {
            let message = "the model takes texts or images already, expected one of both";
            reader.conflict(&["preprocess.columns[0].name"], message.into());
        }
    }
}

fn read_inputs(reader: &mut Reader) -> (Vec<TensorSpec>, Vec<Pad>) {
    let (mut inputs, mut pads) = (Vec::new(), Vec::new());
    let mut names = HashSet::new();
    for table in reader.tables("inputs") {
        let InputKeys { name, datatype, shape, optional, pad } = InputKeys::read(reader, &table);
        let (Some(TensorName(name)), Some(datatype), Some(shape)) = (name, datatype, shape) else {
            continue;
        };
        refuse_twice(reader, &table, &mut names, &name);
        let optional = optional.unwrap_or_default();
        let spec = TensorSpec { name, datatype, shape, optional, declared: true };
        if let Some(pad) = pad {
            match read_pad(&pad, &spec) {
                Ok(pad) => pads.push(pad),
                Err(message) => reader.conflict(&[&table.path("pad")], message),
            }
        }
        inputs.push(spec);
    }
    (inputs, pads)
}

fn read_outputs(reader: &mut Reader) -> Vec<TensorSpec> {
    let mut outputs = Vec::new();
    let mut names = HashSet::new();
    for table in reader.tables("outputs") {
        let OutputKeys { name, datatype, shape } = OutputKeys::read(reader, &table);
        let (Some(TensorName(name)), Some(datatype), Some(shape)) = (name, datatype, shape) else {
            continue;
        };
        refuse_twice(reader, &table, &mut names, &name);
        outputs.push(TensorSpec { name, datatype, shape, optional: false, declared: true });
    }
    outputs
}

/// What an input is padded with, and where, or what is wrong with that.
fn read_pad(pad: &PadValue, spec: &TensorSpec) -> Result<Pad, String> {
    let element = pad.element(spec.datatype)?;
    let dims = spec.shape.dims().unwrap_or_default();
    let is_variable = |axis: &usize| dims[*axis] == Dim::Variable;
    let mut variable = (1..dims.len()).filter(is_variable);
    let (Some(axis), None) = (variable.next(), variable.next()) else {
        return Err(format!("expected a shape with one -1 behind the rows, got {}", spec.shape));
    };
    Ok(Pad {
        input: Arc::clone(&spec.name),
        padding: InputPadding { axis, element: element.into() },
    })
}

#[cfg(test)]
mod tests;
