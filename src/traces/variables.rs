//! What the environment says of traces, in the names of OpenTelemetry's specification (1.5x, "Environment Variable
//! Specification").
//!
//! As the specification wants it, what cannot be understood is told and left out: these variables are often set for programs of
//! all kinds at once. What the library of the wire reads itself (headers, timeout, compression, attributes of the resource) is
//! not here.

use std::fmt::Display;

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
    pub(super) endpoint: Option<String>,
    pub(super) protocol: Option<Protocol>,
    /// Whether callers decide, where that is said.
    pub(super) follows_parent: Option<bool>,
    pub(super) ratio: Option<f64>,
    /// Whether the service has a name.
    pub(super) names_service: bool,
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
            is_off: get("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true")),
            names_service: get("OTEL_SERVICE_NAME").is_some()
                || get("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|it| it.contains("service.name=")),
            ..Self::default()
        };
        match get("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => read.is_off = true,
            Some(other) => {
                read.fault("OTEL_TRACES_EXPORTER", "`otlp` or `none`", other);
            }
        }
        let endpoint = first(["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]);
        read.endpoint = endpoint.map(|(_, value)| value);
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
                ratio
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
        assert_eq!(read(&[all]).endpoint.as_deref(), Some("http://a:4317"));
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b/v1/traces");
        assert_eq!(read(&[all, traces]).endpoint.as_deref(), Some("http://b/v1/traces"));
        let empty = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", " ");
        assert_eq!(read(&[all, empty]).endpoint.as_deref(), Some("http://a:4317"));
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
        assert_eq!(of("parentbased_traceidratio", "2"), (Some(true), None, 1));
        assert_eq!(of("traceidratio", "nan"), (Some(false), None, 1));
        assert_eq!(of("jaeger_remote", ""), (None, None, 1));
    }

    #[test]
    fn a_service_is_named_in_one_of_two_ways() {
        assert!(read(&[("OTEL_SERVICE_NAME", "digits")]).names_service);
        assert!(read(&[("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.name=x")]).names_service);
        assert!(!read(&[("OTEL_RESOURCE_ATTRIBUTES", "a=b")]).names_service);
    }
}
