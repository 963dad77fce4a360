//! The types of keys that are words, names or lists of them.

use crate::capture::Redaction;
use crate::http::{CorsOrigins, HostNames, KeyHeader};
use crate::inference::ModelName;
use crate::repository::{NamePattern, NamedFolder, TrustedModel};
use crate::settings::{Setting, ToToml, Value, quote, words};
use crate::telemetry::logging::{LogFormat, RequestLogMode};
use ::http::Uri;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

words! {
    LogFormat, "\"human\" or \"json\"", Human = "human", Json = "json";
    RequestLogMode, "\"errors\", \"all\" or \"sampled\"",
        Errors = "errors", All = "all", Sampled = "sampled";
}

/// The address of a server to which something is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(String);

impl HttpUrl {
    /// Reads one: `http` or `https`, a host, and nothing that is secret, since the configuration is printed.
    fn parse(text: &str) -> Option<Self> {
        let url: Uri = text.parse().ok()?;
        let is_known = matches!(url.scheme_str(), Some("http" | "https"));
        let authority = url.authority().filter(|it| !it.as_str().contains('@'))?;
        let after_host = authority.as_str().strip_prefix(authority.host())?;
        let has_port = after_host.is_empty() || authority.port_u16().is_some();
        (is_known && !authority.host().is_empty() && has_port).then(|| Self(text.to_owned()))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for Option<ModelName> {
    const EXPECTED: &'static str =
        "a model's name (letters, digits, '.', '_' and '-', at most 128) or \"\" for none";

    fn read(value: &Value) -> Option<Self> {
        match value.text()? {
            "" => Some(None),
            text => text.parse().ok().map(Some),
        }
    }
}

impl ToToml for Option<ModelName> {
    fn to_toml(&self) -> String {
        quote(self.as_ref().map_or("", ModelName::as_str))
    }
}

impl Setting for Option<PathBuf> {
    const EXPECTED: &'static str = "a path or \"\" for none";

    fn read(value: &Value) -> Option<Self> {
        match value.text()? {
            "" => Some(None),
            _ => PathBuf::read(value).map(Some),
        }
    }
}

impl ToToml for Option<PathBuf> {
    fn to_toml(&self) -> String {
        self.as_ref().map_or_else(|| quote(""), ToToml::to_toml)
    }
}

impl Setting for Option<HttpUrl> {
    const EXPECTED: &'static str =
        "an address like \"http://host:4318\", without user and password, or \"\" for none";

    fn read(value: &Value) -> Option<Self> {
        match value.text()? {
            "" => Some(None),
            text => HttpUrl::parse(text).map(Some),
        }
    }
}

impl ToToml for Option<HttpUrl> {
    fn to_toml(&self) -> String {
        quote(self.as_ref().map_or("", HttpUrl::as_str))
    }
}

impl Setting for Vec<TrustedModel> {
    const EXPECTED: &'static str = "a list of \"name@sha256:<64 hexadecimal digits>\"";

    fn read(value: &Value) -> Option<Self> {
        read_list(value)
    }
}

impl ToToml for Vec<TrustedModel> {
    fn to_toml(&self) -> String {
        print_list(self)
    }
}

impl Setting for Vec<NamePattern> {
    const EXPECTED: &'static str = "a list of models' names, in which * stands for any characters";

    fn read(value: &Value) -> Option<Self> {
        read_list(value)
    }
}

impl ToToml for Vec<NamePattern> {
    fn to_toml(&self) -> String {
        print_list(self)
    }
}

impl Setting for Vec<PathBuf> {
    const EXPECTED: &'static str = "a list of paths";

    fn read(value: &Value) -> Option<Self> {
        value.items()?.iter().map(|item| PathBuf::read(item)).collect()
    }
}

impl ToToml for Vec<PathBuf> {
    fn to_toml(&self) -> String {
        let items: Vec<_> = self.iter().map(ToToml::to_toml).collect();
        format!("[{}]", items.join(", "))
    }
}

impl Setting for Vec<NamedFolder> {
    const EXPECTED: &'static str = "a list of \"name=folder\"";

    fn read(value: &Value) -> Option<Self> {
        read_list(value)
    }
}

impl ToToml for Vec<NamedFolder> {
    fn to_toml(&self) -> String {
        print_list(self)
    }
}

fn read_list<T: FromStr>(value: &Value) -> Option<Vec<T>> {
    value.items()?.iter().map(|item| item.text()?.parse().ok()).collect()
}

fn print_list<T: Display>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(|item| quote(&item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

impl Setting for Option<KeyHeader> {
    const EXPECTED: &'static str = "the name of a header like \"X-User-Id\" or \"\" for none";

    fn read(value: &Value) -> Option<Self> {
        match value.text()? {
            "" => Some(None),
            text => KeyHeader::parse(text).map(Some),
        }
    }
}

impl ToToml for Option<KeyHeader> {
    fn to_toml(&self) -> String {
        quote(self.as_ref().map_or("", KeyHeader::as_str))
    }
}

impl Setting for Redaction {
    const EXPECTED: &'static str = "a list of \"name\" or \"model/name\"";

    fn read(value: &Value) -> Option<Self> {
        let items = value.items()?;
        items
            .iter()
            .map(|item| item.text().map(str::to_owned))
            .collect::<Option<_>>()
            .map(Self::new)
    }
}

impl ToToml for Redaction {
    fn to_toml(&self) -> String {
        print_list(&self.names().collect::<Vec<_>>())
    }
}

impl Setting for HostNames {
    const EXPECTED: &'static str = "a list of host names like \"sconce.internal\", without a port";

    fn read(value: &Value) -> Option<Self> {
        let items = value.items()?;
        let items: Vec<&str> = items.iter().map(|item| item.text()).collect::<Option<_>>()?;
        Self::parse(&items)
    }
}

impl ToToml for HostNames {
    fn to_toml(&self) -> String {
        print_list(self.names())
    }
}

impl Setting for CorsOrigins {
    const EXPECTED: &'static str =
        "a list of origins like \"https://app.example.com\", without a path, or [\"*\"] for all";

    fn read(value: &Value) -> Option<Self> {
        let items = value.items()?;
        let items: Vec<&str> = items.iter().map(|item| item.text()).collect::<Option<_>>()?;
        Self::parse(&items)
    }
}

impl ToToml for CorsOrigins {
    fn to_toml(&self) -> String {
        let items: Vec<_> = match self {
            Self::Any => vec![quote("*")],
            Self::Listed(origins) => origins.iter().map(|origin| quote(origin)).collect(),
        };
        format!("[{}]", items.join(", "))
    }
}

/// What the log holds: a level, or levels by target, as in `info,hyper=warn`.
///
/// Checked here because the library that reads it takes a misspelled level for the name of a
/// target and then logs nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevel(String);

impl LogLevel {
    /// The directives, as the log's filter reads them.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for LogLevel {
    const EXPECTED: &'static str = "\"error\", \"warn\", \"info\", \"debug\", \"trace\" or \"off\", also by target: \"info,hyper=warn\"";

    fn read(value: &Value) -> Option<Self> {
        let is_level =
            |text: &str| matches!(text, "error" | "warn" | "info" | "debug" | "trace" | "off");
        let is_target = |text: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
            !text.is_empty() && text.bytes().all(allowed)
        };
        let is_directive = |text: &str| match text.split_once('=') {
            None => is_level(text),
            Some((target, level)) => is_target(target) && is_level(level),
        };
        let text = value.text()?;
        text.split(',').all(is_directive).then(|| Self(text.into()))
    }
}

impl ToToml for LogLevel {
    fn to_toml(&self) -> String {
        quote(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::manifest::DeviceChoice;
    use std::path::Path;

    fn read<T: Setting>(text: &str) -> Option<T> {
        T::read(&Value::Plain(text.into()))
    }

    #[test]
    fn a_misspelled_level_is_refused() {
        for good in ["info", "off", "warn,sconce=debug", "info,hyper::proto=trace"] {
            assert_eq!(read::<LogLevel>(good).unwrap().as_str(), good);
        }
        for bad in ["", "infoo", "INFO", "info,", "sconce", "sconce=loud", "=info", "a b=info"] {
            assert_eq!(read::<LogLevel>(bad), None, "{bad:?} must be refused");
        }
    }

    #[test]
    fn a_trusted_model_is_a_name_and_a_whole_digest() {
        let digest = "0f".repeat(32);
        let text = format!("digits@sha256:{digest}, audio@sha256:{}", digest.to_uppercase());
        let trusted = read::<Vec<TrustedModel>>(&text).unwrap();
        assert_eq!(trusted.len(), 2);
        assert_eq!(trusted[1].name.as_str(), "audio");
        assert_eq!(trusted[1].digest, "0f".repeat(32));
        assert_eq!(trusted[0].to_string(), format!("digits@sha256:{digest}"));
        for bad in ["digits", "digits@sha256:0f", "@sha256:", &format!("a/b@sha256:{digest}")] {
            assert_eq!(read::<Vec<TrustedModel>>(bad), None, "{bad:?} must be refused");
        }
        assert_eq!(read::<Vec<TrustedModel>>(&format!("a@sha256:{}é", "0".repeat(62))), None);
        assert_eq!(read::<Vec<TrustedModel>>(""), Some(Vec::new()));
    }

    #[test]
    fn a_list_of_paths_has_no_empty_ones() {
        let paths = read::<Vec<PathBuf>>("a.so, /lib/b c.so").unwrap();
        assert_eq!(paths, [PathBuf::from("a.so"), PathBuf::from("/lib/b c.so")]);
        assert_eq!(paths.to_toml(), "[\"a.so\", \"/lib/b c.so\"]");
        assert_eq!(read::<Vec<PathBuf>>(""), Some(Vec::new()));
        assert_eq!(read::<Vec<PathBuf>>("a.so,,b.so"), None);
        assert_eq!(Vec::<PathBuf>::read(&Value::Text("a.so".into())), None);
    }

    #[test]
    fn an_address_has_a_scheme_a_host_and_no_secret() {
        let read = |text| read::<Option<HttpUrl>>(text);
        for good in ["http://a", "https://a.example:4317", "http://[::1]:4318/v1/traces"] {
            assert_eq!(read(good).flatten().map(|it| it.0).as_deref(), Some(good));
        }
        assert_eq!(read(""), Some(None));
        for bad in [
            "a:4317",
            "/a",
            "ftp://a",
            "http://",
            "http://u:p@a",
            "http://a b",
            "http://a:99999",
            "http://a:b",
        ] {
            assert_eq!(read(bad), None, "{bad:?} must be refused");
        }
    }

    #[test]
    fn a_named_folder_is_a_name_and_a_path() {
        let named = read::<Vec<NamedFolder>>("digits=/mnt/models, b=x=y").unwrap();
        assert_eq!(named[0].path, Path::new("/mnt/models"));
        assert_eq!((named[1].name.as_str(), named[1].path.as_path()), ("b", Path::new("x=y")));
        assert_eq!(named.to_toml(), "[\"digits=/mnt/models\", \"b=x=y\"]");
        for bad in ["digits", "=x", "digits=", "a/b=x", "_a=x", "a=x,y"] {
            assert_eq!(read::<Vec<NamedFolder>>(bad), None, "{bad:?} must be refused");
        }
    }

    #[test]
    fn a_device_is_chosen_or_named() {
        assert_eq!(read("auto"), Some(DeviceChoice::Auto));
        assert_eq!(read("cuda:1"), Some(DeviceChoice::Only(crate::engine::Device::Cuda(1))));
        assert_eq!(read::<DeviceChoice>("gpu"), None);
    }

    #[test]
    fn origins_are_a_list_or_all() {
        let listed = |origins: &[&str]| CorsOrigins::parse(origins);
        assert_eq!(
            read("https://a.example, http://localhost:3000"),
            listed(&["https://a.example", "http://localhost:3000"])
        );
        assert_eq!(read("*"), Some(CorsOrigins::Any));
        assert_eq!(read("[\"*\"]"), Some(CorsOrigins::Any));
        assert_eq!(read("['https://a.example']"), listed(&["https://a.example"]));
        assert_eq!(read(""), Some(CorsOrigins::default()));
        for bad in ["[1]", "[*]", "a.example", "https://a.example/", "*,https://a.example"] {
            assert_eq!(read::<CorsOrigins>(bad), None, "{bad:?} must be refused");
        }
        let items = ["https://a", "http://b:1"].map(|item| Value::Text(item.into())).to_vec();
        let origins = CorsOrigins::read(&Value::List(items)).unwrap();
        assert_eq!(origins.to_toml(), "[\"https://a\", \"http://b:1\"]");
        assert_eq!(CorsOrigins::Any.to_toml(), "[\"*\"]");
    }
}
