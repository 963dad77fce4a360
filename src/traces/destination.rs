//! Where spans go.

use super::variables::{Protocol, Variables};

/// The port that OTLP over gRPC has; the other protocol is at 4318.
const GRPC_PORT: &str = ":4317";

/// Where spans go, and which.
#[derive(Debug, Clone, PartialEq)]
pub struct TracesOptions {
    /// Where they are sent, unless the environment says it; `None`: nowhere.
    pub endpoint: Option<String>,
    /// The part of requests that is traced, of those whose callers do not say it; the environment goes before it.
    pub sample_rate: f64,
}

/// Where spans are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) protocol: Protocol,
    pub(super) endpoint: String,
    /// Whether the environment named it; then the library of the wire finds it there itself.
    pub(super) is_from_environment: bool,
    pub(super) names_service: bool,
}

impl Destination {
    /// What is said of it: by the environment before the options.
    pub(super) fn of(options: &TracesOptions, variables: &Variables) -> Option<Self> {
        let Variables { is_off, endpoint, protocol, names_service, .. } = variables;
        let is_from_environment = endpoint.is_some();
        let endpoint = endpoint.clone().or_else(|| options.endpoint.clone()).filter(|_| !is_off)?;
        let by_port = || {
            let rest = endpoint.split_once("://").map_or(&*endpoint, |(_, rest)| rest);
            let host = rest.split('/').next().unwrap_or_default();
            if host.ends_with(GRPC_PORT) { Protocol::Grpc } else { Protocol::Http }
        };
        let protocol = protocol.unwrap_or_else(by_port);
        Some(Self { protocol, endpoint, is_from_environment, names_service: *names_service })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_spans_go_and_by_what_protocol() {
        let options = |endpoint: &str| TracesOptions {
            endpoint: Some(endpoint.to_owned()).filter(|it| !it.is_empty()),
            sample_rate: 0.01,
        };
        let check = |endpoint, set: &[(&str, &str)], expected: Option<(Protocol, &str, bool)>| {
            let variables = Variables::read(|name| {
                set.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
            });
            let found = Destination::of(&options(endpoint), &variables);
            let found =
                found.as_ref().map(|it| (it.protocol, &*it.endpoint, it.is_from_environment));
            assert_eq!(found, expected, "{endpoint} {set:?}");
        };
        let of_all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://b:4318");
        check("", &[], None);
        check("http://a:4317", &[], Some((Protocol::Grpc, "http://a:4317", false)));
        check("http://a:4318", &[], Some((Protocol::Http, "http://a:4318", false)));
        check("http://a/x:4317", &[], Some((Protocol::Http, "http://a/x:4317", false)));
        check("http://a:4317", &[of_all], Some((Protocol::Http, "http://b:4318", true)));
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        check("http://a:4318", &[grpc], Some((Protocol::Grpc, "http://a:4318", false)));
        check("http://a:4317", &[of_all, ("OTEL_SDK_DISABLED", "true")], None);
        check("http://a:4317", &[("OTEL_TRACES_EXPORTER", "none")], None);
    }
}
