//! From an address to a client of the store, with credentials from the usual places of the environment.

use super::address::{Kind, StoreUrl};
use super::error::StoreError;
use super::scrub::Secrets;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::path::Path as ObjectPath;
use object_store::{ClientConfigKey, ObjectStore, RetryConfig};
use std::sync::Arc;
use std::time::Duration;

/// Time for a whole file: what is slow and goes on must not be cut off.
const NO_TIMEOUT: &str = "24 hours";
/// Time without a byte.
const READ_TIMEOUT: &str = "30 seconds";
const CONNECT_TIMEOUT: &str = "5 seconds";

/// A store, and the prefix below which models lie.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) prefix: ObjectPath,
    pub(super) secrets: Secrets,
}

impl Remote {
    /// Makes a client; asks nothing of the store yet.
    pub(super) fn connect(url: &StoreUrl) -> Result<Self, StoreError> {
        // The client finds its cryptography there; somebody else may have chosen before, and that does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let secrets = Secrets::of(std::env::vars_os().filter_map(text));
        let parts = url.parts()?;
        let prefix = ObjectPath::from_url_path(parts.path)
            .map_err(|_| StoreError::Address("its path cannot be one of a store"))?;
        let store = build(parts.kind, parts.root)
            .map_err(|error| StoreError::Setup(secrets.describe(&error)))?;
        Ok(Self { store, prefix, secrets })
    }

    pub(super) fn fault(&self, error: &object_store::Error) -> StoreError {
        StoreError::Store(self.secrets.describe(error))
    }
}

/// A few tries at once; a longer outage is waited for between looks at the store.
fn retry() -> RetryConfig {
    RetryConfig { max_retries: 3, retry_timeout: Duration::from_secs(10), ..RetryConfig::default() }
}

fn build(kind: Kind, root: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    let times = [
        (ClientConfigKey::Timeout, NO_TIMEOUT),
        (ClientConfigKey::ReadTimeout, READ_TIMEOUT),
        (ClientConfigKey::ConnectTimeout, CONNECT_TIMEOUT),
    ];
    Ok(match kind {
        Kind::S3 => {
            let builder = AmazonS3Builder::from_env().with_url(root).with_retry(retry());
            let client = AmazonS3ConfigKey::Client;
            let with = |it: AmazonS3Builder, (key, value)| it.with_config(client(key), value);
            Arc::new(times.into_iter().fold(builder, with).build()?)
        }
        Kind::Gcs => {
            let builder = GoogleCloudStorageBuilder::from_env().with_url(root).with_retry(retry());
            let client = GoogleConfigKey::Client;
            let with =
                |it: GoogleCloudStorageBuilder, (key, value)| it.with_config(client(key), value);
            Arc::new(times.into_iter().fold(builder, with).build()?)
        }
        Kind::Azure => {
            let builder = MicrosoftAzureBuilder::from_env().with_url(root).with_retry(retry());
            let client = AzureConfigKey::Client;
            let with = |it: MicrosoftAzureBuilder, (key, value)| it.with_config(client(key), value);
            Arc::new(times.into_iter().fold(builder, with).build()?)
        }
        Kind::Http => {
            // Whoever writes `http:` means it.
            let builder = HttpBuilder::new().with_url(root).with_retry(retry());
            let builder = builder.with_config(ClientConfigKey::AllowHttp, "true");
            let with = |it: HttpBuilder, (key, value)| it.with_config(key, value);
            Arc::new(times.into_iter().fold(builder, with).build()?)
        }
    })
}
