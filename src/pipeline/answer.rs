//! Answers on their way out: written, perhaps packed, and booked until the transport has sent them.

use super::call::Packing;
use super::offload::off_runtime;
use crate::inference::{ByteLease, InferError, InferResponse};
use crate::protocol::{Encoded, Header, Wire};
use std::time::Instant;

/// Answers up to this size are booked nowhere and never refused: with its heads, its task and its state a stream takes
/// as much without one.
pub const SMALL_BYTES: usize = 4 * 1024;

/// Bytes and what they hold of the budget, for as long as a transport has them.
#[derive(Debug)]
pub struct Booked {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// `None` for few bytes.
    pub lease: Option<ByteLease>,
}

impl Booked {
    /// Books an answer, for which the lease holds enough; what is left of it is given back.
    ///
    /// # Errors
    ///
    /// `overloaded` while answers that their clients have not taken hold half of the budget.
    pub fn new(bytes: Vec<u8>, mut lease: ByteLease) -> Result<Self, InferError> {
        if bytes.len() <= SMALL_BYTES {
            return Ok(Self { bytes, lease: None });
        }
        lease.shrink_to(bytes.capacity());
        Ok(Self { bytes, lease: Some(lease.into_answer()?) })
    }
}

impl AsRef<[u8]> for Booked {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The answer to a request, for its transport to send.
#[derive(Debug)]
pub struct EncodedAnswer<P> {
    /// The body.
    pub body: Booked,
    /// Its media type.
    pub content_type: &'static str,
    /// What else its reader has to know, if anything.
    pub header: Option<Header>,
    /// How the body is packed, if it is.
    pub packing: Option<P>,
}

/// What it takes to write an answer.
pub(super) struct Unwritten<W: Wire, P> {
    pub(super) response: InferResponse,
    pub(super) plan: W::Plan,
    pub(super) packing: Option<P>,
    /// What the request holds of the budget.
    pub(super) lease: ByteLease,
    /// When its caller stops waiting.
    pub(super) deadline: Instant,
}

impl<W: Wire, P: Packing> Unwritten<W, P> {
    /// Encodes and packs; the bytes stay booked until the transport has sent them.
    pub(super) async fn write(self) -> Result<EncodedAnswer<P>, InferError> {
        let Self { response, plan, packing, mut lease, deadline } = self;
        let outputs = response.outputs.iter().map(|output| output.tensor.buffer().len());
        let outputs: usize = outputs.sum();
        // The answer's tensors, and their text at some three characters a byte.
        let text = outputs.saturating_mul(3);
        lease.grow(outputs.saturating_add(text)).map_err(InferError::after_run)?;
        // Packing takes some four times as long as writing what is packed.
        let effort = if packing.is_some() { text.saturating_mul(4) } else { text };
        let write = move || {
            let encoded = W::encode(plan, &response)?;
            let packed = packing.and_then(|packing| Some((packing, packing.pack(&encoded.bytes)?)));
            Ok::<_, InferError>((encoded, packed, lease))
        };
        let (encoded, packed, lease) = off_runtime(effort, deadline, write).await??;
        let Encoded { bytes, content_type, header } = encoded;
        let (bytes, packing) = match packed {
            Some((packing, packed)) => (packed, Some(packing)),
            None => (bytes, None),
        };
        let body = Booked::new(bytes, lease).map_err(InferError::after_run)?;
        Ok(EncodedAnswer { body, content_type, header, packing })
    }
}
