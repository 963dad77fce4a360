//! What is told of all models at once: metrics, statistics, the list. It takes the longer the more models there are, so it is
//! made on a thread of its own and not on one that serves connections; one at a time, for all who asked before it was begun.

use crate::inference::{ErrorCode, InferError};
use axum::body::Bytes;
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;

/// One such text.
#[derive(Debug, Default)]
pub(super) struct Overview(Mutex<Option<Made>>);

#[derive(Debug)]
struct Made {
    begun: Instant,
    text: Bytes,
}

/// Those that there are.
#[derive(Debug, Default)]
pub(super) struct Overviews {
    pub(super) metrics: Overview,
    pub(super) open_metrics: Overview,
    pub(super) statistics: Overview,
    pub(super) models: Overview,
}

impl Overview {
    /// The text as it is now: no part of it is older than the question.
    pub(super) async fn get(
        &self,
        make: impl FnOnce() -> Vec<u8> + Send + 'static,
    ) -> Result<Bytes, InferError> {
        let came = Instant::now();
        let mut made = self.0.lock().await;
        if let Some(Made { text, .. }) = made.as_ref().filter(|made| made.begun > came) {
            return Ok(text.clone());
        }
        let begun = Instant::now();
        let text = Bytes::from(apart(make).await?);
        *made = Some(Made { begun, text: text.clone() });
        Ok(text)
    }
}

async fn apart(make: impl FnOnce() -> Vec<u8> + Send + 'static) -> Result<Vec<u8>, InferError> {
    let failed = |reason: &dyn std::fmt::Display| {
        tracing::error!(%reason, "an overview of the models was not made");
        InferError::new(ErrorCode::Internal, "the server failed on this request")
    };
    let (done, is_done) = oneshot::channel();
    // Who asked may have left.
    let work = move || drop(done.send(make()));
    let spawned = std::thread::Builder::new().name("overview".into()).spawn(work);
    spawned.map_err(|error| failed(&error))?;
    is_done.await.map_err(|_| failed(&"a panic"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{receive, until_in_task};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};

    #[tokio::test]
    async fn those_who_wait_share_what_is_begun_after_they_came() {
        let overview = Arc::<Overview>::default();
        let n_made = Arc::<AtomicUsize>::default();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let ask = |waits: Option<mpsc::Receiver<()>>| {
            let (overview, n_made) = (Arc::clone(&overview), Arc::clone(&n_made));
            tokio::spawn(async move {
                let make = move || {
                    let number = n_made.fetch_add(1, Ordering::Relaxed) + 1;
                    if let Some(waits) = waits {
                        receive("the word to go on", &waits);
                    }
                    number.to_string().into_bytes()
                };
                overview.get(make).await.unwrap()
            })
        };
        let first = ask(Some(may_go_on));
        until_in_task("it is begun", || n_made.load(Ordering::Relaxed) == 1).await;
        let others: Vec<_> = (0..20).map(|_| ask(None)).collect();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        go_on.send(()).unwrap();
        assert_eq!(first.await.unwrap(), "1");
        for other in others {
            assert_eq!(other.await.unwrap(), "2", "it came while the first was made");
        }
        assert_eq!(ask(None).await.unwrap(), "3");
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_next_is_made() {
        let overview = Overview::default();
        assert!(overview.get(|| panic!("while it is made")).await.is_err());
        assert_eq!(overview.get(|| b"well".to_vec()).await.unwrap(), "well");
    }
}
