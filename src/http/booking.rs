//! The bytes of answers, in the budget until the connection has written them.
//!
//! How long that takes is the client's choice: what nobody counts here, a few clients that ask for much and take nothing
//! make as large as they like. Every answer passes, whatever made it: those of predictions bring their bytes booked, the
//! others are booked on their way out.

use crate::inference::{ByteLease, ErrorCode, InferError};
use crate::pipeline::{Booked, SMALL_BYTES};
use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::Response;
use http_body_util::BodyExt;

/// What a stream takes beside its answer: its state, its task, its heads.
const STREAM_BYTES: usize = 2 * 1024;

/// What an answer says of its bytes, in its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Booking {
    /// They are booked, or belong to the program and not to this answer.
    Settled,
    /// The answer of a probe, whose status says all: where there is no room, it goes without them.
    Dispensable,
}

/// The answer of a prediction, which is booked.
pub(super) fn answer(booked: Booked) -> Response {
    if booked.lease.is_none() {
        return Response::new(Body::from(booked.bytes));
    }
    let mut response = Response::new(Body::from(Bytes::from_owner(booked)));
    response.extensions_mut().insert(Booking::Settled);
    response
}

/// Books what an answer holds with a lease of nothing, unless it says that this is settled.
pub(super) async fn book(mut lease: ByteLease, response: Response) -> Result<Response, InferError> {
    // Handlers give their bodies whole. Of one that did not, nothing would lie here.
    let len = response.body().size_hint().exact().and_then(|len| usize::try_from(len).ok());
    let Some(len) = len.filter(|len| *len > SMALL_BYTES) else { return Ok(response) };
    let booking = response.extensions().get::<Booking>().copied();
    if booking == Some(Booking::Settled) {
        return Ok(response);
    }
    let (mut head, body) = response.into_parts();
    let lease = match lease.grow(len).and_then(|()| lease.into_answer()) {
        Ok(lease) => lease,
        Err(_) if booking == Some(Booking::Dispensable) => {
            head.headers.remove(CONTENT_LENGTH);
            head.headers.remove(CONTENT_TYPE);
            return Ok(Response::from_parts(head, Body::empty()));
        }
        Err(error) => return Err(error),
    };
    Ok(Response::from_parts(head, held(body, lease).await?))
}

/// Counts a small answer among those that wait, where its connection may have many.
pub(super) async fn count_small(lease: ByteLease, response: Response) -> Response {
    let is_small = |len: &u64| (1..=SMALL_BYTES as u64).contains(len);
    let Some(len) = response.body().size_hint().exact().filter(is_small) else { return response };
    let Some(lease) = lease.into_small_answer(len as usize + STREAM_BYTES) else { return response };
    let (head, body) = response.into_parts();
    let body = held(body, lease).await;
    Response::from_parts(head, body.unwrap_or_default())
}

/// A body that holds the lease until its bytes have left.
async fn held(body: Body, lease: ByteLease) -> Result<Body, InferError> {
    let whole = body
        .collect()
        .await
        .map_err(|_| InferError::new(ErrorCode::Internal, "the server failed on this request"))?;
    // Copied, since the room that it was written to may be twice as large.
    let booked = Booked { bytes: whole.to_bytes().to_vec(), lease: Some(lease) };
    Ok(Body::from(Bytes::from_owner(booked)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::{ByteBudget, Recipient};
    use axum::http::StatusCode;
    use axum::response::IntoResponse;

    const LEN: usize = 3 * SMALL_BYTES;

    fn of(len: usize) -> Response {
        (StatusCode::IM_A_TEAPOT, vec![b'x'; len]).into_response()
    }

    #[tokio::test]
    async fn answers_stay_booked_until_their_bytes_are_gone() {
        let budget = ByteBudget::new(4 * LEN);
        let mut booked = book(budget.lease(), of(LEN)).await.unwrap();
        assert_eq!((budget.used(), booked.status()), (LEN, StatusCode::IM_A_TEAPOT));
        let bytes = booked.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        drop(booked);
        assert_eq!(budget.used(), LEN, "the connection holds the bytes, not the body");
        let rest = bytes.slice(1..);
        drop(bytes);
        assert_eq!((rest.len(), budget.used()), (LEN - 1, LEN), "a part holds the whole");
        drop(rest);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn what_a_prediction_brings_is_booked_once() {
        let budget = ByteBudget::new(4 * LEN);
        let mut lease = budget.lease();
        lease.grow(2 * LEN).unwrap();
        let prediction = answer(Booked::new(vec![b'x'; LEN], lease).unwrap());
        assert_eq!(budget.used(), LEN, "what is left of the request is given back");
        let prediction = book(budget.lease(), prediction).await.unwrap();
        assert_eq!(budget.used(), LEN);
        drop(prediction);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn without_room_small_answers_and_probes_still_go() {
        let budget = ByteBudget::new(LEN);
        let _body = {
            let mut lease = budget.lease();
            lease.grow(LEN).unwrap();
            lease
        };
        let error = book(budget.lease(), of(LEN)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Overloaded);
        let small = book(budget.lease(), of(SMALL_BYTES)).await.unwrap();
        assert_eq!(small.body().size_hint().exact(), Some(SMALL_BYTES as u64));
        let mut probe = of(LEN);
        probe.headers_mut().insert(CONTENT_LENGTH, LEN.into());
        probe.extensions_mut().insert(Booking::Dispensable);
        let probe = book(budget.lease(), probe).await.unwrap();
        assert_eq!((probe.status(), probe.headers().len()), (StatusCode::IM_A_TEAPOT, 0));
        assert_eq!(probe.body().size_hint().exact(), Some(0), "its status says all");
        let mut page = of(LEN);
        page.extensions_mut().insert(Booking::Settled);
        book(budget.lease(), page).await.expect("what all share takes no room");
        assert_eq!(budget.used(), LEN);
    }

    #[tokio::test]
    async fn small_answers_are_counted_where_a_connection_may_have_many() {
        let budget = ByteBudget::new(4 * (STREAM_BYTES + 10));
        let recipient = Recipient::default();
        let lease = || budget.lease_for(Some(recipient.clone()));
        let mut waiting = Vec::new();
        for _ in 0..10 {
            let mut small = count_small(lease(), of(10)).await;
            assert_eq!(small.status(), StatusCode::IM_A_TEAPOT);
            let bytes = small.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
            waiting.push(bytes);
        }
        assert_eq!((budget.used(), budget.scarcity(), waiting[9].len()), (0, 1.0, 10));
        drop(waiting);
        assert_eq!(budget.scarcity(), 0.0);
        let alone = count_small(budget.lease(), of(10)).await;
        assert_eq!(alone.body().size_hint().exact(), Some(10));
    }

    #[tokio::test]
    async fn answers_that_nobody_takes_leave_half_to_others() {
        let budget = ByteBudget::new(4 * LEN);
        let mut untaken = Vec::new();
        let refused = loop {
            match book(budget.lease(), of(LEN)).await {
                Ok(answer) => untaken.push(answer),
                Err(error) => break error,
            }
        };
        assert_eq!((refused.code, untaken.len()), (ErrorCode::Overloaded, 3));
        budget.lease().grow(LEN).expect("a body still has room");
    }
}
