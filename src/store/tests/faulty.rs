//! A store in memory that fails as it is told to.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};
use std::sync::{Mutex, MutexGuard};

/// What goes wrong.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Nothing is answered.
    pub(super) is_away: bool,
    /// Bodies end with an error after so many bytes.
    pub(super) cut_after: Option<usize>,
    /// An object gets this content after it was listed and before it is got.
    pub(super) change_before_get: Option<(Path, &'static [u8])>,
    /// Parts cannot be asked for.
    pub(super) has_no_ranges: bool,
    /// Listings that reach this folder fail as by a key that is no path.
    pub(super) odd_key_below: Option<Path>,
    /// Where each body that was asked for began.
    pub(super) gets: Vec<(String, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Faulty {
    inner: InMemory,
    faults: Mutex<Faults>,
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faulty")
    }
}

fn failure(text: &str) -> Error {
    Error::Generic { store: "faulty", source: text.into() }
}

impl Faulty {
    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap()
    }

    pub(super) async fn put(&self, path: &str, text: impl Into<Bytes>) {
        let payload = PutPayload::from_bytes(text.into());
        self.inner.put(&Path::from(path), payload).await.unwrap();
    }

    pub(super) async fn delete(&self, path: &str) {
        self.inner.delete(&Path::from(path)).await.unwrap();
    }

    /// What was got since the last time.
    pub(super) fn take_gets(&self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.faults().gets)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        at: &Path,
        body: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(at, body, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        let begin = match &options.range {
            Some(GetRange::Offset(begin)) => *begin,
            _ => 0,
        };
        let (change, cut_after) = {
            let mut faults = self.faults();
            if faults.is_away {
                return Err(failure("away"));
            }
            if faults.has_no_ranges && options.range.is_some() {
                return Err(failure("not partial"));
            }
            faults.gets.push((at.to_string(), begin));
            (faults.change_before_get.take(), faults.cut_after)
        };
        if let Some((path, text)) = change {
            self.inner.put(&path, PutPayload::from_static(text)).await?;
        }
        let result = self.inner.get_opts(at, options).await?;
        let Some(cut_after) = cut_after else { return Ok(result) };
        let (meta, range, attributes) =
            (result.meta.clone(), result.range.clone(), result.attributes.clone());
        let extensions = result.extensions.clone();
        let whole = result.bytes().await?;
        let cut = whole.slice(..cut_after.min(whole.len()));
        let body = stream::iter([Ok(cut), Err(failure("cut off"))]).boxed();
        Ok(GetResult {
            payload: GetResultPayload::Stream(body),
            meta,
            range,
            attributes,
            extensions,
        })
    }

    fn delete_stream(
        &self,
        at: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(at)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let faults = self.faults();
        if faults.is_away {
            return stream::iter([Err(failure("away"))]).boxed();
        }
        if let Some(odd) = &faults.odd_key_below
            && prefix.is_none_or(|prefix| odd.prefix_matches(prefix))
        {
            let error = Path::parse("a//b").unwrap_err();
            return stream::iter([Err(error.into())]).boxed();
        }
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
