//! The routes for embeddings: OpenAI's, and that of text-embeddings-inference.

use super::codes::PREDICTION;
use crate::http::embeddings;
use crate::http::route::{Content, Methods, Operation, Protocol, Rights, Route};

const EMBEDDINGS: Operation = Operation {
    rights: Rights::Predict,
    takes: &[Content::json("EmbeddingsRequest")],
    gives: &[(200, &[Content::json("Embeddings")])],
    fails: &[PREDICTION],
    ..Operation::new(Methods::Post, Protocol::OpenAi, "OpenAI")
};

const EMBED: Operation = Operation {
    rights: Rights::Predict,
    takes: &[Content::json("EmbedRequest")],
    gives: &[(200, &[Content::json("EmbedAnswer")])],
    fails: &[PREDICTION],
    ..Operation::new(Methods::Post, Protocol::PlainEmbeddings, "text-embeddings-inference")
};

pub(super) const ROUTES: &[Route] = &[
    EMBEDDINGS.at(
        "/v1/embeddings",
        "Vectors of texts or token ids, of the model that the body names, for those that take texts.",
        |place| place.to(embeddings::create),
    ),
    EMBED.at(
        "/embed",
        "Vectors of texts or token ids, of the default model.",
        |place| place.to(embeddings::embed),
    ),
];
