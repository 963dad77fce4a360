//! The address of a store, as people write it: `s3://bucket/prefix` and its like.

use super::error::StoreError;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::Path;

/// Longest readable part of the name of a store's folder, in bytes.
const MAX_READABLE: usize = 60;

/// A store's address. Credentials are no part of it, so that it can be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl(String);

/// Which interface a store speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    S3,
    Gcs,
    Azure,
    Http,
}

/// An address, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub(super) kind: Kind,
    /// With the scheme, without the path.
    pub(super) root: &'a str,
    /// Without a slash in front; percent-encoded.
    pub(super) path: &'a str,
}

impl StoreUrl {
    /// The address, if that is what was written where a folder is expected. It may still be a faulty one.
    #[must_use]
    pub fn of(models: &Path) -> Option<Self> {
        let text = models.to_str()?;
        text.contains("://").then(|| Self(text.to_owned()))
    }

    /// Whether it can be the address of a store.
    ///
    /// # Errors
    ///
    /// What is wrong with it. The text does not repeat the address, which may hold a password.
    pub fn check(&self) -> Result<(), StoreError> {
        self.parts().map(drop)
    }

    pub(super) fn parts(&self) -> Result<Parts<'_>, StoreError> {
        let wrong = |reason| Err(StoreError::Address(reason));
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return wrong("it has no scheme");
        };
        let kind = match scheme {
            "s3" | "s3a" => Kind::S3,
            "gs" => Kind::Gcs,
            "az" | "abfs" | "abfss" => Kind::Azure,
            "http" | "https" => Kind::Http,
            _ => return wrong("its scheme is none of s3, gs, az, abfs, abfss, http and https"),
        };
        if rest.contains(['?', '#']) {
            return wrong("it has a query or fragment; credentials come from the environment");
        }
        if rest.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return wrong("it holds a blank or control character");
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // In front of an account of Azure stands the container.
        let is_plain =
            !authority.contains('@') || (kind == Kind::Azure && !authority.contains(':'));
        if !is_plain {
            return wrong("it names a user; credentials come from the environment");
        }
        if authority.is_empty() {
            return wrong("it names no bucket, container or host");
        }
        let root = &self.0[..scheme.len() + "://".len() + authority.len()];
        Ok(Parts { kind, root, path: path.trim_matches('/') })
    }

    /// What the folder of this store's models is called, in a folder that may hold those of several.
    pub(super) fn folder_name(&self) -> String {
        let digest = Sha256::digest(self.0.trim_end_matches('/').as_bytes());
        let digest: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let mut readable = String::new();
        for c in self.0.chars().take(MAX_READABLE) {
            let c = if c.is_ascii_alphanumeric() { c } else { '-' };
            if c != '-' || !readable.ends_with('-') {
                readable.push(c);
            }
        }
        format!("{}-{digest}", readable.trim_matches('-'))
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> StoreUrl {
        StoreUrl::of(Path::new(text)).expect("it looks like an address")
    }

    #[test]
    fn a_folder_is_no_address() {
        for folder in ["models", "/mnt/models", "s3", "s3:/x", "./a:b"] {
            assert_eq!(StoreUrl::of(Path::new(folder)), None, "{folder}");
        }
    }

    #[test]
    fn an_address_has_a_root_and_a_path() {
        let check = |text: &str, kind: Kind, root: &str, path: &str| {
            let url = url(text);
            assert_eq!(url.parts().unwrap(), Parts { kind, root, path }, "{text}");
        };
        check("s3://bucket", Kind::S3, "s3://bucket", "");
        check("s3://bucket/a/b/", Kind::S3, "s3://bucket", "a/b");
        check("gs://bucket/a", Kind::Gcs, "gs://bucket", "a");
        check("az://container/a", Kind::Azure, "az://container", "a");
        check(
            "abfss://c@acc.dfs.core.windows.net/a",
            Kind::Azure,
            "abfss://c@acc.dfs.core.windows.net",
            "a",
        );
        check("http://127.0.0.1:9/dav/m", Kind::Http, "http://127.0.0.1:9", "dav/m");
    }

    #[test]
    fn credentials_in_an_address_are_refused_and_not_repeated() {
        for text in [
            "s3://AKIA:geheim@bucket/a",
            "https://user:geheim@host/a",
            "https://geheim@host/a",
            "abfs://c:geheim@account/a",
            "https://account.blob.core.windows.net/c?sig=geheim",
            "s3://bucket/a#geheim",
            "ftp://geheim/a",
            "s3:///geheim",
            "s3://buck et/geheim",
        ] {
            let error = url(text).check().unwrap_err().to_string();
            assert!(!error.contains("geheim"), "{text}: {error}");
        }
    }

    #[test]
    fn each_store_has_a_folder_of_its_own() {
        let name = url("s3://bucket/prefix/").folder_name();
        assert!(name.starts_with("s3-bucket-prefix-"), "{name}");
        assert_eq!(name, url("s3://bucket/prefix").folder_name());
        assert_ne!(name, url("s3://bucket-prefix").folder_name());
        assert!(url(&format!("s3://b/{}", "ä/".repeat(500))).folder_name().len() < 100);
    }
}
