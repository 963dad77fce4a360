//! What tests of this room and of others send through the door.

use super::{BodyLimits, Call, Received, Tap};
use crate::inference::{ByteLease, InferError, InferResponse};
use crate::protocol::Metadata;
use crate::repository::ModelHandle;
use std::convert::Infallible;
use std::time::Duration;

/// A call whose body is there; without one it never comes.
pub(crate) struct Whole(pub(crate) Option<String>);

pub(crate) struct Nothing;

impl Metadata for Nothing {
    fn value(&self, _: &str) -> Option<&[u8]> {
        None
    }
}

impl Call for Whole {
    type Metadata = Nothing;
    type Packing = Infallible;

    fn metadata(&self) -> &Nothing {
        &Nothing
    }

    fn timeout(&self) -> Result<Option<Duration>, InferError> {
        Ok(None)
    }

    fn packing(&self) -> Option<Infallible> {
        None
    }

    async fn read(&mut self, _: BodyLimits, mut lease: ByteLease) -> Result<Received, InferError> {
        let Some(body) = self.0.take() else { return std::future::pending().await };
        lease.grow(body.len())?;
        Ok(Received { body: body.into_bytes().into(), lease })
    }

    fn resolved(&self, _: &ModelHandle) -> Option<Box<dyn Tap>> {
        None
    }

    fn inferred(&self, _: &InferResponse) {}
}
