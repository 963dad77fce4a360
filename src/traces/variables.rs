//! What the environment says of traces, in the names of OpenTelemetry's specification (1.5x, "Environment Variable
//! Specification").
//!
//! As the specification wants it, what cannot be understood is told and left out: these variables are often set for programs of
//! all kinds at once. What the library of the wire reads itself (headers, timeout, compression, attributes of the resource) is
//! not here.

use http::Uri;
use std::fmt::Display;
use std::time::Duration;

/// Longest timeout of a call.
const MAX_TIMEOUT_MS: u64 = 60_000;

/// By what protocol spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    Http,
}

/// What was said.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Variables {
    /// Nothing is to be sent, whatever else is said.
    pub(super) is_off: bool,
    /// And whether it is that of traces alone, which is taken as it stands.
    pub(super) endpoint: Option<(String, bool)>,
    pub(super) protocol: Option<Protocol>,
    /// Whether callers decide, where that is said.
    pub(super) follows_parent: Option<bool>,
    pub(super) ratio: Option<f64>,
    /// Whether the service has a name.
    pub(super) names_service: bool,
    /// For one call.
    pub(super) timeout: Option<Duration>,
    /// What is said of the service.
    pub(super) attributes: Vec<(String, String)>,
    /// What was not understood, a sentence each.
    pub(super) faults: Vec<String>,
}

impl Variables {
    /// Reads them; `get` has the value of a variable. An empty one is as none.
    pub(super) fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| get(name).map(|it| it.trim().to_owned()).filter(|it| !it.is_empty());
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| get(name).map(|value| (name, value)))
        };
        let mut read = Self {
            names_service: get("OTEL_SERVICE_NAME").is_some()
                || get("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|it| it.contains("service.name=")),
            ..Self::default()
        };
        let service = get("OTEL_SERVICE_NAME");
        match get("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => read.is_off = true,
            Some(other) => {
                read.fault("OTEL_TRACES_EXPORTER", "`otlp` or `none`", other);
            }
        }
        match get("OTEL_SDK_DISABLED").map(|it| it.to_ascii_lowercase()).as_deref() {
            None | Some("false") => {}
            Some("true") => read.is_off = true,
            Some(other) => read.fault("OTEL_SDK_DISABLED", "`true` or `false`", other),
        }
        if let Some((name, value)) =
            first(["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])
        {
            match is_endpoint(&value) {
                true => read.endpoint = Some((value, name == "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")),
// There may be a password in it.
                false => read.faults.push(format!(
                    "{name}: expected an address like \"http://host:4318\", got something else; it is left out"
                )),
            }
        }
        if let Some((name, value)) =
            first(["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"])
        {
            match value.parse().ok().filter(|ms| (1..=MAX_TIMEOUT_MS).contains(ms)) {
                Some(ms) => read.timeout = Some(Duration::from_millis(ms)),
                None => read.fault(name, "1 to 60000 milliseconds", value),
            }
        }
        if let Some((name, value)) =
            first(["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"])
            && !matches!(&*value, "gzip" | "none")
        {
            read.fault(name, "`gzip` or `none`", value);
        }
        if let Some((name, value)) =
            first(["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"])
            && !are_pairs(&value)
        {
            // What is in it may be secret.
            read.faults.push(format!("{name}: expected pairs like `name=value,other=value`; what is none of these is left out"));
        }
        if let Some(value) = get("OTEL_RESOURCE_ATTRIBUTES") {
            match pairs(&value) {
                Some(pairs) => read.attributes = pairs,
                None => read.fault(
                    "OTEL_RESOURCE_ATTRIBUTES",
                    "pairs like `name=value,other=value`",
                    value,
                ),
            }
        }
        if let Some(service) = service {
            // It goes before what the attributes say ("Resource SDK", section on the environment).
            read.attributes.retain(|(name, _)| name != "service.name");
            read.attributes.push(("service.name".to_owned(), service));
        }
        if let Some((name, value)) =
            first(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"])
        {
            match &*value {
                "grpc" => read.protocol = Some(Protocol::Grpc),
                "http/protobuf" => read.protocol = Some(Protocol::Http),
                other => read.fault(name, "`grpc` or `http/protobuf`", other),
            }
        }
        if let Some(sampler) = get("OTEL_TRACES_SAMPLER") {
            read.sampler(&sampler, get("OTEL_TRACES_SAMPLER_ARG"));
        }
        read
    }

    fn sampler(&mut self, sampler: &str, argument: Option<String>) {
        let (follows_parent, kind) = match sampler.strip_prefix("parentbased_") {
            Some(kind) => (true, kind),
            None => (false, sampler),
        };
        let ratio = match (kind, argument) {
            ("always_on", _) => Some(1.0),
            ("always_off", _) => Some(0.0),
            ("traceidratio", None) => Some(1.0),
            ("traceidratio", Some(text)) => {
                let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
                if ratio.is_none() {
                    self.fault("OTEL_TRACES_SAMPLER_ARG", "a number from 0 to 1", text);
                }
                // As without one.
                ratio.or(Some(1.0))
            }
            _ => {
                let expected =
                    "`always_on`, `always_off` or `traceidratio`, each also after `parentbased_`";
                return self.fault("OTEL_TRACES_SAMPLER", expected, sampler);
            }
        };
        (self.follows_parent, self.ratio) = (Some(follows_parent), ratio);
    }

    fn fault(&mut self, name: &str, expected: &str, got: impl Display) {
        self.faults.push(format!(
            "{name}: expected {expected}, got {got:?}; it is left out",
            got = got.to_string()
        ));
    }
}

/// Whether spans can be sent there: a scheme, a host, and a port that there is.
fn is_endpoint(text: &str) -> bool {
    let Ok(address) = text.parse::<Uri>() else { return false };
    let is_known = matches!(address.scheme_str(), Some("http" | "https"));
    is_known
        && address.authority().is_some_and(|it| {
            let has_port = it.as_str().rsplit_once(':').is_some_and(|(_, end)| !end.ends_with(']'));
            !it.host().is_empty() && (it.port_u16().is_some() || !has_port)
        })
}

/// Whether all of it are pairs, none without a name or with white space in that.
fn are_pairs(text: &str) -> bool {
    text.split(',').filter(|pair| !pair.trim().is_empty()).all(|pair| {
        pair.split_once('=').is_some_and(|(name, _)| {
            let name = name.trim();
            !name.is_empty() && !name.contains(char::is_whitespace)
        })
    })
}

/// Pairs, with values as they were before they were written as parts of a list (percent-encoded, as baggage); `None` where one
/// of them is none, or cannot be decoded.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((name.trim().to_owned(), decoded(value.trim())?))
    };
    are_pairs(text).then(|| pairs.map(pair).collect()).flatten()
}

fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let is_encoded = *first == b'%';
        out.push(if is_encoded { hex(others.first_chunk()?)? } else { *first });
        rest = if is_encoded { &others[2..] } else { others };
    }
    String::from_utf8(out).ok()
}

fn hex(digits: &[u8; 2]) -> Option<u8> {
    let digit = |it: u8| char::from(it).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Variables {
        Variables::read(|name| {
            set.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn what_is_said_of_traces_goes_before_what_is_said_of_all() {
        assert_eq!(read(&[]), Variables::default());
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4317");
        assert_eq!(read(&[all]).endpoint, Some(("http://a:4317".to_owned(), false)));
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b/v1/traces");
        let of_traces = Some(("http://b/v1/traces".to_owned(), true));
        assert_eq!(read(&[all, traces]).endpoint, of_traces);
        let empty = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", " ");
        assert_eq!(read(&[all, empty]).endpoint, Some(("http://a:4317".to_owned(), false)));
        let protocol = |value| read(&[("OTEL_EXPORTER_OTLP_PROTOCOL", value)]);
        assert_eq!(protocol("grpc").protocol, Some(Protocol::Grpc));
        assert_eq!(protocol("http/protobuf").protocol, Some(Protocol::Http));
        let json = protocol("http/json");
        assert_eq!(json.protocol, None);
        assert_eq!(
            json.faults,
            [
                "OTEL_EXPORTER_OTLP_PROTOCOL: expected `grpc` or `http/protobuf`, got \"http/json\"; it is left out"
            ]
        );
    }

    #[test]
    fn either_switch_turns_them_off() {
        assert!(read(&[("OTEL_SDK_DISABLED", "TRUE")]).is_off);
        assert!(!read(&[("OTEL_SDK_DISABLED", "1")]).is_off);
        assert_eq!(read(&[("OTEL_SDK_DISABLED", "1")]).faults.len(), 1);
        assert!(read(&[("OTEL_TRACES_EXPORTER", "none")]).is_off);
        assert!(!read(&[("OTEL_TRACES_EXPORTER", "otlp")]).is_off);
        assert_eq!(read(&[("OTEL_TRACES_EXPORTER", "zipkin")]).faults.len(), 1);
    }

    #[test]
    fn samplers_are_those_of_the_specification() {
        let of = |sampler, argument| {
            let read =
                read(&[("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)]);
            (read.follows_parent, read.ratio, read.faults.len())
        };
        assert_eq!(of("always_on", ""), (Some(false), Some(1.0), 0));
        assert_eq!(of("parentbased_always_off", ""), (Some(true), Some(0.0), 0));
        assert_eq!(of("traceidratio", "0.25"), (Some(false), Some(0.25), 0));
        assert_eq!(of("parentbased_traceidratio", ""), (Some(true), Some(1.0), 0));
        assert_eq!(of("parentbased_traceidratio", "2"), (Some(true), Some(1.0), 1));
        assert_eq!(of("traceidratio", "nan"), (Some(false), Some(1.0), 1));
        assert_eq!(of("jaeger_remote", ""), (None, None, 1));
    }

    #[test]
    fn a_service_is_named_in_one_of_two_ways() {
        assert!(read(&[("OTEL_SERVICE_NAME", "digits")]).names_service);
        let both = read(&[
            ("OTEL_SERVICE_NAME", "digits"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,a=b%2C"),
        ]);
        let expected = [("a", "b,"), ("service.name", "digits")];
        assert_eq!(both.attributes, expected.map(|(name, it)| (name.to_owned(), it.to_owned())));
        for faulty in ["a=b,c=%ZZ", "a=%4", "a=%+1"] {
            let read = read(&[("OTEL_RESOURCE_ATTRIBUTES", faulty)]);
            assert_eq!((read.attributes.len(), read.faults.len()), (0, 1), "{faulty}");
        }
        assert!(read(&[("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.name=x")]).names_service);
        assert!(!read(&[("OTEL_RESOURCE_ATTRIBUTES", "a=b")]).names_service);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (name, good, bad) in [
            ("ENDPOINT", "https://[::1]:4317", "collector:4318"),
            ("ENDPOINT", "http://a/otlp", "foo"),
            ("ENDPOINT", "http://a", "http://a:99999"),
            ("ENDPOINT", "http://a", "ftp://a"),
            ("ENDPOINT", "http://a", "/v1/traces"),
            ("TIMEOUT", "10000", "10s"),
            ("COMPRESSION", "gzip", "snappy"),
            ("HEADERS", "a=b,c=d%20e", "bad"),
            ("HEADERS", "a=", "a b=c"),
        ] {
            let name = format!("OTEL_EXPORTER_OTLP_{name}");
            assert_eq!(read(&[(&name, good)]).faults, [""; 0], "{name}={good}");
            let faults = read(&[(&name, bad)]).faults;
            assert_eq!(faults.len(), 1, "{name}={bad}");
            assert!(faults[0].starts_with(&name), "{faults:?}");
        }
        let secret = read(&[("OTEL_EXPORTER_OTLP_HEADERS", "hunter2")]).faults;
        assert!(!secret[0].contains("hunter2"), "{secret:?}");
        assert_eq!(read(&[("OTEL_RESOURCE_ATTRIBUTES", "bad")]).faults.len(), 1);
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "foo")]).endpoint, None);
        let said = read(&[("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb%20c, x=50%25")]).attributes;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(said, [pair("team", "a,b c"), pair("x", "50%")]);
    }
}
