//! The step that makes token ids of texts, as a Hugging Face `tokenizer.json` has them.

mod ids;
mod trust;

use super::content::{Given, at, beside, elements, input};
use super::desk::Desk;
use super::error::TransformError;
use super::steps::InputStep;
use crate::inference::{Content, InferError, NamedTensor, TensorSpec};
use crate::tensor::{DataType, Dim, Shape, Tensor};
use ids::IdLimits;
use std::fmt;
use std::sync::Arc;
use tokenizers::{
    Encoding, NormalizedString, Normalizer as _, PostProcessor as _, Tokenizer, TruncationParams,
};
use trust::Growth;

const STEP: &str = "preprocess.text";
/// The second text of a pair.
const PAIR: &str = "text_pair";
/// The inputs that the step can make, by their names in Hugging Face's models.
pub const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";
const TYPES: &str = "token_type_ids";

/// What a tokenizer holds of each byte of a text while it works: two copies with the place of each of their bytes, and up to
/// a token a byte with its own text.
const BYTES_PER_BYTE: usize = 160;
/// What a normalizer holds of each byte that it makes: it, and the place where it comes from.
const BYTES_PER_NORMALIZED: usize = 24;
/// What is surely no longer than this after its normalization is not measured.
const LONG: usize = 64 * 1024;
/// What it leaves of each token, with the model's three tensors of it.
const BYTES_PER_TOKEN: usize = 96 + 3 * size_of::<i64>();
/// Texts from this many bytes on take longer than a thread that serves connections should be held up: about a quarter of a
/// millisecond.
const QUICK_BYTES: usize = 1024;

/// How texts become tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextOptions {
    /// Most tokens of a row, with those that the tokenizer adds.
    pub max_tokens: usize,
    /// Whether longer ones are cut, and not refused.
    pub truncate: bool,
    /// Most bytes of a text.
    pub max_bytes: usize,
    /// Whether a row is two texts.
    pub pairs: bool,
    /// The id that fills up shorter rows, where it is not the tokenizer's own.
    pub pad: Option<i64>,
}

/// Texts to token ids, with the masks and types that the model takes.
pub struct Tokenize {
    tokenizer: Tokenizer,
    options: TextOptions,
    pad: i64,
    growth: Growth,
    /// The ids are below this one.
    n_ids: i64,
}

/// An input of the model that the step makes.
#[derive(Debug, Clone)]
struct Made {
    name: Arc<str>,
    kind: Kind,
    datatype: DataType,
    /// How many tokens a row has, where that is fixed.
    fixed: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ids,
    Mask,
    Types,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        match name {
            IDS => Some(Self::Ids),
            MASK => Some(Self::Mask),
            TYPES => Some(Self::Types),
            _ => None,
        }
    }

    fn values(self, row: &Encoding) -> &[u32] {
        match self {
            Self::Ids => row.get_ids(),
            Self::Mask => row.get_attention_mask(),
            Self::Types => row.get_type_ids(),
        }
    }
}

impl fmt::Debug for Tokenize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenize").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Tokenize {
    /// Reads a `tokenizer.json`. What it says of truncation and padding does not hold: the options do.
    ///
    /// # Errors
    ///
    /// [`TransformError`] for a file that is no tokenizer, and for limits that leave no room for a token.
    pub fn new(json: &[u8], options: TextOptions) -> Result<Self, TransformError> {
        let fault = |reason: String| TransformError::Step { step: STEP, reason };
        let growth = trust::growth(json)
            .map_err(|reason| fault(format!("the tokenizer is not taken: {reason}")))?;
        let mut tokenizer = Tokenizer::from_bytes(json)
            .map_err(|error| fault(format!("the tokenizer cannot be read: {error}")))?;
        let own = tokenizer.get_padding().map(|padding| i64::from(padding.pad_id));
        tokenizer.with_padding(None);
        let added = tokenizer.get_post_processor().map_or(0, |it| it.added_tokens(options.pairs));
        if options.max_tokens <= added {
            return Err(fault(format!(
                "max_tokens is {}, but the tokenizer adds {added} of its own to each row",
                options.max_tokens
            )));
        }
        let truncation = options.truncate.then(|| TruncationParams {
            max_length: options.max_tokens,
            ..TruncationParams::default()
        });
        tokenizer.with_truncation(truncation).map_err(|error| fault(error.to_string()))?;
        let pad = options.pad.or(own).unwrap_or_default();
        let largest = tokenizer.get_vocab(true).into_values().max();
        let n_ids = largest.map_or(0, |id| i64::from(id) + 1).max(pad + 1);
        Ok(Self { tokenizer, options, pad, growth, n_ids })
    }

    fn names(&self) -> &'static [&'static str] {
        const NAMES: &[&str] = &[Content::Text.name(), PAIR];
        if self.options.pairs { NAMES } else { &NAMES[..1] }
    }

    /// The tokens of one row, which is one text or two.
    fn row(&self, texts: &[&str], what: &str) -> Result<Encoding, InferError> {
        let encoded = match *texts {
            [text, pair] => self.tokenizer.encode_fast((text, pair), true),
            _ => self.tokenizer.encode_fast(texts[0], true),
        };
        let name = Content::Text.name();
        let row = encoded.map_err(|error| {
            InferError::invalid_input(name, format!("{what} cannot be made into tokens: {error}"))
        })?;
        let (n_tokens, max) = (row.len(), self.options.max_tokens);
        if n_tokens > max {
            let message = format!("{what} has {n_tokens} tokens, at most {max} are allowed");
            return Err(InferError::invalid_input(name, message)
                .with_mismatch(format_args!("at most {max} tokens"), n_tokens));
        }
        if n_tokens == 0 {
            return Err(InferError::invalid_input(name, format!("{what} has no tokens")));
        }
        Ok(row)
    }

    /// One element as a text.
    fn text<'t>(&self, bytes: &'t [u8], name: &str, what: &str) -> Result<&'t str, InferError> {
        let max = self.options.max_bytes;
        if bytes.len() > max {
            let message = format!("{what} has {} bytes, at most {max} are allowed", bytes.len());
            return Err(InferError::invalid_input(name, message)
                .with_mismatch(format_args!("at most {max} bytes"), bytes.len()));
        }
        std::str::from_utf8(bytes).map_err(|_| {
            InferError::invalid_input(name, format!("{what} is not UTF-8"))
                .with_mismatch("UTF-8", "other bytes")
        })
    }

    /// Bytes that the tokens of these texts take at most.
    fn cost(&self, columns: &[Vec<&[u8]>]) -> usize {
        let longest = |column: &Vec<&[u8]>| column.iter().map(|text| text.len()).max();
        let longest: usize = columns.iter().filter_map(longest).sum();
        let longest = longest.min(columns.len() * self.options.max_bytes);
        // No text has more tokens than bytes, but for those that are added.
        let grown = longest.saturating_mul(self.growth.normalized * self.growth.cut);
        let width = self.options.max_tokens.min(grown + columns.len() * 8);
        columns[0].len() * width * BYTES_PER_TOKEN
    }

    /// Bytes that are needed while these texts are worked on. Long ones are normalized to see what comes of them.
    fn working_cost(&self, texts: &[&str], desk: &mut Desk<'_>) -> Result<usize, InferError> {
        let mut all = 0usize;
        for text in texts {
            let bound = text.len().saturating_mul(self.growth.normalized);
            let length = match self.tokenizer.get_normalizer() {
                Some(normalizer) if bound > LONG => {
                    let cost = bound.saturating_mul(BYTES_PER_NORMALIZED);
                    desk.book(cost)?;
                    let mut normalized = NormalizedString::from(*text);
                    let outcome = normalizer.normalize(&mut normalized);
                    desk.give_back(cost);
                    // What cannot be normalized is told where the text is made into tokens.
                    outcome.map_or(bound, |()| normalized.get().len())
                }
                _ => bound,
            };
            all = all.saturating_add(length.saturating_mul(self.growth.cut * BYTES_PER_BYTE));
        }
        Ok(all)
    }

    /// Puts rows of different lengths into one tensor.
    fn tensor(&self, made: &Made, rows: &[Encoding], width: usize) -> Tensor {
        let filler = if made.kind == Kind::Ids { self.pad } else { 0 };
        let row = |row: &Encoding| {
            let values = made.kind.values(row).iter().map(|value| i64::from(*value));
            values.chain(std::iter::repeat(filler)).take(width).collect::<Vec<_>>()
        };
        let values = rows.iter().flat_map(row);
        let shape = Shape::from([rows.len(), width]);
        let tensor = match made.datatype {
            DataType::Int32 => {
                // Ids are positions in a vocabulary, far below where they would not fit.
                let values = values.map(|value| i32::try_from(value).unwrap_or(i32::MAX)).collect();
                Tensor::from_vec::<i32>(shape, values)
            }
            _ => Tensor::from_vec::<i64>(shape, values.collect()),
        };
        tensor.expect("each row has the width")
    }
}

impl InputStep for Tokenize {
    fn content(&self) -> Option<Content> {
        Some(Content::Text)
    }

    fn specs(&self, inner: &[TensorSpec]) -> Result<Vec<TensorSpec>, TransformError> {
        self.made(inner)?;
        let content = self.names().iter().map(|name| input(name)).collect();
        Ok(beside(content, inner))
    }

    fn is_quick(&self, inputs: &[NamedTensor]) -> bool {
        // Files whose rules make texts much longer are few.
        let growth = (self.growth.normalized * self.growth.cut / 8).max(1);
        let n_bytes: usize = inputs.iter().map(|input| input.tensor.buffer().len()).sum();
        n_bytes.saturating_mul(growth) < QUICK_BYTES
    }

    fn apply(
        &self,
        inner: &[TensorSpec],
        inputs: Vec<NamedTensor>,
        desk: &mut Desk<'_>,
    ) -> Result<Vec<NamedTensor>, InferError> {
        let names = self.names();
        let content = match Given::of(inputs, names)? {
            Given::Tensors(tensors) => {
                let limits = IdLimits { max_tokens: self.options.max_tokens, n_ids: self.n_ids };
                let spec = inner.iter().find(|spec| &*spec.name == IDS);
                limits.check(spec, tensors.iter().find(|it| &*it.name == IDS))?;
                return Ok(tensors);
            }
            Given::Content(content) => content,
        };
        let columns: Vec<Vec<&[u8]>> = content
            .iter()
            .map(|input| elements(&input.name, &input.tensor))
            .collect::<Result<_, _>>()?;
        let n_rows = columns[0].len();
        if let Some((column, name)) =
            columns.iter().zip(names).find(|(column, _)| column.len() != n_rows)
        {
            let message = format!(
                "input {name:?} has {} rows, but {:?} has {n_rows}",
                column.len(),
                names[0]
            );
            return Err(
                InferError::invalid_input(*name, message).with_mismatch(n_rows, column.len())
            );
        }
        desk.book(self.cost(&columns))?;
        let mut rows = Vec::with_capacity(n_rows);
        for row in 0..n_rows {
            desk.go_on()?;
            let what = at(Content::Text, row, n_rows);
            let texts = columns.iter().zip(names);
            let texts = texts.map(|(column, name)| self.text(column[row], name, &what));
            let texts = texts.collect::<Result<Vec<_>, _>>()?;
            let cost = self.working_cost(&texts, desk)?;
            desk.book(cost)?;
            rows.push(self.row(&texts, &what)?);
            desk.give_back(cost);
        }
        desk.work.tokens += rows.iter().map(|row| row.len() as u64).sum::<u64>();
        let longest = rows.iter().map(Encoding::len).max().unwrap_or_default();
        let shortest = rows.iter().map(Encoding::len).min().unwrap_or_default();
        let made = self.made(inner).map_err(|error| error.at_run())?;
        let is_masked = made.iter().any(|made| made.kind == Kind::Mask);
        let width = made.iter().find_map(|made| made.fixed).unwrap_or(longest);
        if shortest < width && !is_masked && self.options.pad.is_none() {
            let message = format!(
                "the texts have {shortest} to {longest} tokens, and the model has no {MASK:?} to tell padding by: send them one by one, or declare pad in model.toml"
            );
            return Err(InferError::invalid_input(Content::Text.name(), message));
        }
        // A model of one length may fill up beyond the most tokens of a text.
        desk.book(n_rows * width * made.len() * size_of::<i64>())?;
        let tensor = |made: &Made| NamedTensor {
            name: Arc::clone(&made.name),
            tensor: self.tensor(made, &rows, width),
        };
        Ok(made.iter().map(tensor).collect())
    }
}

impl Tokenize {
    /// The inputs of a model that the step makes.
    fn made(&self, inner: &[TensorSpec]) -> Result<Vec<Made>, TransformError> {
        let fault = |reason: String| TransformError::Step { step: STEP, reason };
        let mut made = Vec::new();
        for spec in inner {
            let Some(kind) = Kind::of(&spec.name) else {
                if spec.optional {
                    continue;
                }
                return Err(fault(format!(
                    "the model has an input {:?}, expected {IDS:?}, {MASK:?} and {TYPES:?} alone: name them so in model.toml's inputs, in their order",
                    spec.name
                )));
            };
            let datatype = if spec.declared { spec.datatype } else { DataType::Int64 };
            if !matches!(datatype, DataType::Int64 | DataType::Int32) {
                return Err(fault(format!(
                    "input {:?} is of {datatype}, expected INT64 or INT32",
                    spec.name
                )));
            }
            let fixed = match spec.shape.dims().filter(|_| spec.declared) {
                None | Some([_, Dim::Variable]) => None,
                Some([_, Dim::Fixed(width)]) => Some(*width),
                Some(_) => {
                    return Err(fault(format!(
                        "input {:?} has shape {}, expected one row of tokens for each text: [-1, -1]",
                        spec.name, spec.shape
                    )));
                }
            };
            if let Some(width) = fixed.filter(|width| *width < self.options.max_tokens) {
                return Err(fault(format!(
                    "max_tokens is {}, but input {:?} takes {width}",
                    self.options.max_tokens, spec.name
                )));
            }
            made.push(Made { name: Arc::clone(&spec.name), kind, datatype, fixed });
        }
        if !made.iter().any(|made| made.kind == Kind::Ids) {
            return Err(fault(format!(
                "the model has no input {IDS:?}: name its inputs in model.toml, in their order"
            )));
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests;
