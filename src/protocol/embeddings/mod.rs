//! Two protocols for embeddings: OpenAI's, as its public clients speak it (platform.openai.com/docs/api-reference/embeddings), and
//! that of text-embeddings-inference (`plain`), which has no name of a model and nothing around its vectors. Of the first:
//!
//! A request is `{"model": …, "input": …}`, where `input` is a text, a list of texts, the ids of tokens, or a list of
//! such; `encoding_format` is `"float"` or `"base64"` (little-endian FP32), and `dimensions` the size of the model's vectors.
//! What else it holds is not read. The answer has a vector for each, in their order, and how many tokens there were.
//!
//! Served by models that take texts and whose first output is called `embedding`, `embeddings` or `sentence_embedding`.

mod decode;
mod encode;
mod plain;
#[cfg(test)]
mod tests;
mod wire;

pub use decode::{decode, model};
pub use encode::{encode, encode_error};
pub use plain::{decode_plain, encode_plain, encode_plain_error};
pub use wire::{OpenAi, PlainEmbeddings};

/// What outputs are called that hold a vector for each row.
const OUTPUTS: [&str; 3] = ["embedding", "embeddings", "sentence_embedding"];

/// How an answer is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorPlan {
    /// Whether vectors are base64 of their bytes.
    is_base64: bool,
    /// The size that was asked for.
    dimensions: Option<usize>,
    /// Tokens that came as such, and were not made by the server.
    n_tokens: u64,
}
