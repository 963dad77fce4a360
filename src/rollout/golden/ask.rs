//! Has a version answer, by the native protocol and without a server. Blocks.

use crate::inference::{Context, InferError, InferRequest};
use crate::pipeline;
use crate::protocol::predict;
use crate::repository::ModelHandle;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;

/// Asks one version, one request at a time: an update is in no hurry, and what serves comes first.
pub(super) struct Asker<'h> {
    handle: &'h ModelHandle,
    runtime: Runtime,
    request_id: Arc<str>,
}

/// What is looked at of an answer.
#[derive(Debug, Deserialize)]
pub(super) struct Answer<'t> {
    #[serde(borrow)]
    prediction: Option<&'t RawValue>,
    #[serde(borrow)]
    predictions: Option<&'t RawValue>,
    #[serde(borrow)]
    outputs: Option<&'t RawValue>,
    #[serde(default, deserialize_with = "given")]
    label: Option<Option<String>>,
    labels: Option<Vec<Option<String>>>,
}

/// A member that is there, be it `null`.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

impl<'h> Asker<'h> {
    pub(super) fn new(handle: &'h ModelHandle) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        Ok(Self { handle, runtime, request_id: "golden".into() })
    }

    /// The body of the answer to this one.
    pub(super) fn ask(&self, body: &str) -> Result<String, InferError> {
        let decoded = predict::decode(body.as_bytes(), self.handle.interface())?;
        let context = Context::new(
            Arc::clone(&self.request_id),
            Instant::now() + self.handle.limits().timeout,
        );
        let request = InferRequest { context, inputs: decoded.inputs };
        let request = pipeline::check(self.handle, request)?;
        let response = self.runtime.block_on(pipeline::run(self.handle, request))?;
        let answer = predict::encode(&response, decoded.plan);
        Ok(String::from_utf8(answer).expect("what a protocol prints as JSON is text"))
    }
}

impl<'t> Answer<'t> {
    pub(super) fn read(body: &'t str) -> Self {
        serde_json::from_str(body).expect("the native protocol writes such objects")
    }

    /// The name and the text of what the model gave.
    pub(super) fn values(&self) -> (&'static str, &'t RawValue) {
        let forms = [
            ("prediction", self.prediction),
            ("predictions", self.predictions),
            ("outputs", self.outputs),
        ];
        let given = forms.into_iter().find_map(|(name, value)| Some((name, value?)));
        given.expect("an answer has one of them")
    }

    /// The labels of all rows, `None` for one that got none; empty where the model has no labels.
    pub(super) fn labels(self) -> Vec<Option<String>> {
        self.labels.or_else(|| self.label.map(|label| vec![label])).unwrap_or_default()
    }
}
