//! What a transport brings to the door: which model is meant, who asks, and the request itself.

use super::observer::Tap;
use crate::inference::{
    ByteLease, InferError, InferResponse, ModelName, ModelRef, RoutingKey, VersionSelector,
};
use crate::protocol::Metadata;
use crate::repository::ModelHandle;
use crate::tensor::Buffer;
use std::convert::Infallible;
use std::time::{Duration, Instant};

/// Which model a request is for, and what chooses among its versions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// The model; `None` for the configured default, or the only one.
    pub model: Option<ModelName>,
    /// Which version of it.
    pub version: VersionSelector,
    /// What the caller is known by, where a share of the callers gets a new version.
    pub key: Option<RoutingKey>,
}

impl From<ModelRef> for Target {
    fn from(model: ModelRef) -> Self {
        Self { model: Some(model.name), version: model.version, key: None }
    }
}

/// A request as its transport has it. One type for each transport: this is all that the door needs.
pub trait Call: Send {
    /// What accompanies the body.
    type Metadata: Metadata;
    /// How the transport makes answers shorter; [`Infallible`] where it does not.
    type Packing: Packing;

    /// What accompanies the body.
    fn metadata(&self) -> &Self::Metadata;

    /// How long the caller waits at most, if it says so. It may only shorten what the model allows.
    ///
    /// # Errors
    ///
    /// What it says cannot be read.
    fn timeout(&self) -> Result<Option<Duration>, InferError>;

    /// How the caller wants answers packed, where its protocol has them packed at all.
    fn packing(&self) -> Option<Self::Packing>;

    /// Reads the body within its limits. Every byte is booked before it is kept. Called once.
    ///
    /// # Errors
    ///
    /// The body is too large, too late or cut off, or there is no room for it.
    fn read(
        &mut self,
        limits: BodyLimits,
        lease: ByteLease,
    ) -> impl Future<Output = Result<Received, InferError>> + Send;

    /// The model that answers is known. Who looks on at this very request is given back.
    fn resolved(&self, model: &ModelHandle) -> Option<Box<dyn Tap>>;

    /// The model has answered; what is left is to write it.
    fn inferred(&self, response: &InferResponse);
}

/// What holds for a body, whatever carries it.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Its size as it comes, and what it unpacks to.
    pub max_bytes: usize,
    /// When its sender stops waiting for the answer.
    pub deadline: Instant,
}

/// A body that has come, and the share of the budget that it holds.
#[derive(Debug)]
pub struct Received {
    /// All of it, as its sender wrote it.
    pub body: Buffer,
    /// Booked for it.
    pub lease: ByteLease,
}

/// A way to make the bytes of an answer fewer.
pub trait Packing: Copy + Send + 'static {
    /// Packs, if that makes it shorter.
    fn pack(self, bytes: &[u8]) -> Option<Vec<u8>>;
}

impl Packing for Infallible {
    fn pack(self, _: &[u8]) -> Option<Vec<u8>> {
        match self {}
    }
}
