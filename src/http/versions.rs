//! What of a request's head chooses among the versions of a model, where the configuration says so.

use crate::inference::{ErrorCode, InferError, RoutingKey, VersionSelector};
use crate::pipeline::Target;
use axum::http::{HeaderMap, HeaderName};

/// Names a version by its number or a label.
const VERSION: HeaderName = HeaderName::from_static("x-sconce-version");

/// The headers that choose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoutingHeaders {
    /// Whose value is what a caller is known by: in a roll-out the same value gets the same version.
    pub key: Option<KeyHeader>,
    /// Whether `X-Sconce-Version` names a version where the path names none.
    pub version: bool,
}

/// The name of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHeader(HeaderName);

impl KeyHeader {
    /// A header of that name; `None` for what is no name of a header.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        name.parse().ok().map(Self)
    }

    /// Its name, in small letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl RoutingHeaders {
    /// The target with what the head adds to it.
    pub(super) fn apply(
        &self,
        mut target: Target,
        headers: &HeaderMap,
    ) -> Result<Target, InferError> {
        if let Some(KeyHeader(name)) = &self.key {
            target.key = headers.get(name).map(|value| RoutingKey::of(value.as_bytes()));
        }
        // Empty it names none.
        let named = headers.get(&VERSION).filter(|value| self.version && !value.is_empty());
        if let (Some(value), VersionSelector::Default) = (named, &target.version) {
            let text = value.to_str().unwrap_or_default();
            target.version = selector(text).ok_or_else(|| {
                let message = "X-Sconce-Version: expected the number of a version or a label";
                InferError::new(ErrorCode::VersionNotFound, message)
            })?;
        }
        Ok(target)
    }
}

/// A number, or a label: names that are numbers are versions.
fn selector(text: &str) -> Option<VersionSelector> {
    let number = text.parse().ok().map(VersionSelector::Specific);
    number.or_else(|| text.parse().ok().map(VersionSelector::Label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::Version;

    fn headers() -> HeaderMap {
        let pairs = [("x-user", "u1"), ("x-sconce-version", "canary")];
        pairs
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .into_iter()
            .collect()
    }

    #[test]
    fn the_head_chooses_only_where_the_configuration_says_so() {
        let apply = |routing: &RoutingHeaders| routing.apply(Target::default(), &headers());
        assert_eq!(apply(&RoutingHeaders::default()).unwrap(), Target::default());
        let key = Some(KeyHeader("x-user".parse().unwrap()));
        let both = apply(&RoutingHeaders { key, version: true }).unwrap();
        assert_eq!(both.key, Some(RoutingKey::of(b"u1")));
        assert_eq!(both.version, VersionSelector::Label("canary".parse().unwrap()));
    }

    #[test]
    fn a_version_in_the_path_goes_before_the_head() {
        let routing = RoutingHeaders { key: None, version: true };
        let version = VersionSelector::Specific(Version(1));
        let target = Target { version: version.clone(), ..Target::default() };
        assert_eq!(routing.apply(target, &headers()).unwrap().version, version);
        let odd = [("x-sconce-version".parse().unwrap(), "../x".parse().unwrap())];
        let error = routing.apply(Target::default(), &odd.into_iter().collect()).unwrap_err();
        assert_eq!(error.code, ErrorCode::VersionNotFound);
        let empty = [("x-sconce-version".parse().unwrap(), "".parse().unwrap())];
        let target = routing.apply(Target::default(), &empty.into_iter().collect()).unwrap();
        assert_eq!(target.version, VersionSelector::Default);
    }

    #[test]
    fn numbers_are_versions_and_the_rest_labels() {
        assert_eq!(selector("2"), Some(VersionSelector::Specific(Version(2))));
        assert_eq!(selector("v2"), Some(VersionSelector::Label("v2".parse().unwrap())));
        assert_eq!(selector(""), None);
    }
}
