//! A verdict as JSON: words and numbers that stay readable when the program's own types change.

use super::failure::{FailureCode, ModelFailure};
use super::verdict::Verdict;
use crate::engine::probe::{
    Findings, FormFacts, FormFindings, RunTimes, ShapeSource, TimedRun, TriedForm,
};
use crate::inference::{
    AnswerForm, Batching, BatchingScope, Contract, InputPadding, Padding, TensorSpec,
};
use crate::tensor::ShapePattern;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const SHAPE_SOURCES: [ShapeSource; 4] =
    [ShapeSource::Declared, ShapeSource::Sample, ShapeSource::Guessed, ShapeSource::None];

/// A verdict as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    Passed(Box<PassedRecord>),
    Failed { code: String, reason: String },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PassedRecord {
    inputs: Vec<TensorRecord>,
    outputs: Vec<TensorRecord>,
    contract: ContractRecord,
    batching: String,
    /// What of the code says so.
    grounds: Option<String>,
    shape_source: String,
    notes: Vec<String>,
    times: Option<TimesRecord>,
    /// Rows and nanoseconds.
    curve: Vec<(usize, u64)>,
    form: String,
    tried: Vec<TriedRecord>,
    padding: Option<PaddingRecord>,
    /// What of the code can end the process that runs it.
    risk: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TensorRecord {
    name: String,
    datatype: String,
    /// Absent when unknown.
    shape: Option<Vec<i64>>,
    optional: bool,
    declared: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct ContractRecord {
    form: String,
    inputs_have_rows: bool,
    squeezed: Vec<bool>,
    own_names: Vec<String>,
    may_have_more: bool,
    /// Inputs that have to be given to share runs, and whether any sizes may.
    shares: (Vec<bool>, bool),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PaddingRecord {
    /// Dimension and bytes of the element.
    fills: Vec<Option<(usize, Vec<u8>)>>,
    given: Vec<bool>,
    follows: Vec<Vec<usize>>,
    buckets: Vec<usize>,
}

/// Rows and nanoseconds of the minimum and of the maximum of rows that was timed.
type TimesRecord = [(usize, u64); 2];

/// A form that was tried: with its facts, or with the reason why it is out.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TriedRecord {
    form: String,
    facts: Option<FactsRecord>,
    reason: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FactsRecord {
    gain: f64,
    difference: f64,
    changed: Option<(usize, usize)>,
    times: TimesRecord,
}

/// Rows and nanoseconds.
fn run(run: TimedRun) -> (usize, u64) {
    (run.n_rows, nanos(run.duration))
}

fn timed_run((n_rows, nanos): (usize, u64)) -> TimedRun {
    TimedRun { n_rows, duration: Duration::from_nanos(nanos) }
}

fn times(times: RunTimes) -> TimesRecord {
    [times.min_rows, times.max_rows].map(run)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn run_times([min_rows, max_rows]: TimesRecord) -> RunTimes {
    RunTimes { min_rows: timed_run(min_rows), max_rows: timed_run(max_rows) }
}

impl From<&Verdict> for Record {
    fn from(verdict: &Verdict) -> Self {
        let tensors = |specs: &[TensorSpec]| specs.iter().map(TensorRecord::from).collect();
        match verdict {
            Verdict::Passed(findings) => Self::Passed(Box::new(PassedRecord {
                inputs: tensors(&findings.inputs),
                outputs: tensors(&findings.outputs),
                contract: ContractRecord::from(&findings.contract),
                batching: findings.batching.as_str().into(),
                grounds: findings.grounds.clone(),
                shape_source: findings.shape_source.as_str().into(),
                notes: findings.notes.clone(),
                times: findings.times.map(times),
                curve: findings.curve.iter().copied().map(run).collect(),
                form: findings.form.chosen.to_string(),
                tried: findings.form.tried.iter().map(TriedRecord::from).collect(),
                padding: findings.padding.as_ref().map(PaddingRecord::from),
                risk: findings.risk.clone(),
            })),
            Verdict::Failed(failure) => Self::Failed {
                code: failure.code().as_str().into(),
                reason: failure.details().into(),
            },
        }
    }
}

impl From<&Padding> for PaddingRecord {
    fn from(padding: &Padding) -> Self {
        let pad =
            |pad: &Option<InputPadding>| pad.as_ref().map(|it| (it.axis, it.element.to_vec()));
        Self {
            fills: padding.pads.iter().map(pad).collect(),
            given: padding.given.clone(),
            follows: padding.follows.clone(),
            buckets: padding.buckets.clone(),
        }
    }
}

impl From<PaddingRecord> for Padding {
    fn from(record: PaddingRecord) -> Self {
        let pad =
            |(axis, element): (usize, Vec<u8>)| InputPadding { axis, element: element.into() };
        let pads = record.fills.into_iter().map(|it| it.map(pad)).collect();
        let PaddingRecord { given, follows, buckets, .. } = record;
        Self { pads, given, follows, buckets }
    }
}

impl From<&Contract> for ContractRecord {
    fn from(contract: &Contract) -> Self {
        Self {
            form: contract.form.as_str().into(),
            inputs_have_rows: contract.inputs_have_rows,
            squeezed: contract.squeezed.clone(),
            own_names: contract.own_names.iter().map(|name| name.to_string()).collect(),
            may_have_more: contract.may_have_more,
            shares: (contract.batching_scope.given.clone(), contract.batching_scope.any_sizes),
        }
    }
}

impl TryFrom<ContractRecord> for Contract {
    type Error = String;

    fn try_from(record: ContractRecord) -> Result<Self, String> {
        let form = AnswerForm::ALL.into_iter().find(|known| known.as_str() == record.form);
        Ok(Self {
            form: form.ok_or("unknown form of answers")?,
            inputs_have_rows: record.inputs_have_rows,
            squeezed: record.squeezed,
            own_names: record.own_names.into_iter().map(Into::into).collect(),
            may_have_more: record.may_have_more,
            batching_scope: BatchingScope { given: record.shares.0, any_sizes: record.shares.1 },
            // What model.toml and the file say is read from there.
            one_size: Vec::new(),
            sizes: Vec::new(),
            content: None,
        })
    }
}

impl From<&TensorSpec> for TensorRecord {
    fn from(spec: &TensorSpec) -> Self {
        Self {
            name: spec.name.to_string(),
            datatype: spec.datatype.name().into(),
            shape: spec.shape.to_wire(),
            optional: spec.optional,
            declared: spec.declared,
        }
    }
}

impl TryFrom<Record> for Verdict {
    type Error = String;

    fn try_from(record: Record) -> Result<Self, String> {
        match record {
            Record::Failed { code, reason } => {
                let code = FailureCode::ALL.iter().find(|known| known.as_str() == code);
                Ok(Self::Failed(ModelFailure::new(*code.ok_or("unknown failure")?, reason)))
            }
            Record::Passed(passed) => {
                Findings::try_from(*passed).map(|it| Self::Passed(Box::new(it)))
            }
        }
    }
}

impl TryFrom<PassedRecord> for Findings {
    type Error = String;

    fn try_from(record: PassedRecord) -> Result<Self, String> {
        let PassedRecord { batching, shape_source, .. } = &record;
        let batching = Batching::ALL.iter().find(|known| known.as_str() == *batching);
        let mut sources = SHAPE_SOURCES.into_iter();
        let shape_source = sources.find(|known| known.as_str() == *shape_source);
        let tensors = |records: Vec<TensorRecord>| {
            records.into_iter().map(TensorSpec::try_from).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            inputs: tensors(record.inputs)?,
            outputs: tensors(record.outputs)?,
            contract: Contract::try_from(record.contract)?,
            batching: *batching.ok_or("unknown batching")?,
            grounds: record.grounds,
            shape_source: shape_source.ok_or("unknown source of shapes")?,
            notes: record.notes,
            padding: record.padding.map(Padding::from),
            times: record.times.map(run_times),
            curve: record.curve.into_iter().map(timed_run).collect(),
            form: FormFindings {
                chosen: record.form.parse()?,
                tried: record
                    .tried
                    .into_iter()
                    .map(TriedForm::try_from)
                    .collect::<Result<_, _>>()?,
            },
            risk: record.risk,
        })
    }
}

impl From<&TriedForm> for TriedRecord {
    fn from(tried: &TriedForm) -> Self {
        let facts = tried.outcome.as_ref().ok().map(|facts| FactsRecord {
            gain: facts.gain,
            difference: facts.difference,
            changed: facts.changed,
            times: times(facts.times),
        });
        let reason = tried.outcome.as_ref().err().cloned();
        Self { form: tried.form.to_string(), facts, reason }
    }
}

impl TryFrom<TriedRecord> for TriedForm {
    type Error = String;

    fn try_from(record: TriedRecord) -> Result<Self, String> {
        let facts = record.facts.map(|facts| FormFacts {
            gain: facts.gain,
            difference: facts.difference,
            changed: facts.changed,
            times: run_times(facts.times),
        });
        let outcome = facts.ok_or_else(|| record.reason.unwrap_or_default());
        Ok(Self { form: record.form.parse()?, outcome })
    }
}

impl TryFrom<TensorRecord> for TensorSpec {
    type Error = String;

    fn try_from(record: TensorRecord) -> Result<Self, String> {
        let shape = record.shape.as_deref().map(ShapePattern::from_wire).transpose()?;
        Ok(Self {
            name: record.name.into(),
            datatype: record.datatype.parse()?,
            shape: shape.unwrap_or(ShapePattern::Unknown),
            optional: record.optional,
            declared: record.declared,
        })
    }
}
