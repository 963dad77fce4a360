//! Where spans go.

use super::variables::{Protocol, Variables};
use crate::telemetry::without_secrets;
use std::time::Duration;

/// Where spans go, below what is said for all signals.
const PATH: &str = "/v1/traces";
/// For one call, unless the environment says it (the specification's default).
const TIMEOUT: Duration = Duration::from_secs(10);
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
    /// For one call.
    pub(super) timeout: Duration,
    pub(super) names_service: bool,
    /// What the environment says of the service, decoded.
    pub(super) attributes: Vec<(String, String)>,
}

impl Destination {
    /// Where spans go, for people.
    pub(super) fn shown(&self) -> String {
        without_secrets(&self.endpoint)
    }

    /// What is said of it: by the environment before the options.
    pub(super) fn of(options: &TracesOptions, variables: &Variables) -> Option<Self> {
        let Variables { is_off, endpoint, protocol, names_service, attributes, timeout, .. } =
            variables;
        let said = endpoint.clone().map(|(address, of_traces)| {
            (address, if of_traces { Path::Whole } else { Path::Below })
        });
        let (address, path) = said
            .or_else(|| options.endpoint.clone().map(|address| (address, Path::BelowAServer)))
            .filter(|_| !is_off)?;
        let rest = address.split_once("://").map_or(&*address, |(_, rest)| rest);
        let (host, below) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, has_more) = (host.split(['?', '#']).next().unwrap_or(host), !below.is_empty());
        let by_port = if host.ends_with(GRPC_PORT) { Protocol::Grpc } else { Protocol::Http };
        let protocol = protocol.unwrap_or(by_port);
        let address = address.split('#').next().unwrap_or_default().to_owned();
        let has_path = match path {
            Path::Whole => true,
            Path::Below => false,
            // What has a query is meant as it stands.
            Path::BelowAServer => has_more || address.contains('?'),
        };
        let endpoint = match protocol {
            Protocol::Http if !has_path => {
                let (base, query) = address.split_at(address.find('?').unwrap_or(address.len()));
                format!("{}{PATH}{query}", base.trim_end_matches('/'))
            }
            Protocol::Http | Protocol::Grpc => address,
        };
        let (names_service, attributes) = (*names_service, attributes.clone());
        let timeout = timeout.unwrap_or(TIMEOUT);
        Some(Self { protocol, endpoint, timeout, names_service, attributes })
    }
}

/// What an address leaves out, over HTTP.
enum Path {
    /// Nothing.
    Whole,
    /// Where spans go below it.
    Below,
    /// The same, if it is that of a server alone.
    BelowAServer,
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
        let check = |endpoint, set: &[(&str, &str)], expected: Option<(Protocol, &str)>| {
            let variables = Variables::read(|name| {
                set.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
            });
            let found = Destination::of(&options(endpoint), &variables);
            let found = found.as_ref().map(|it| (it.protocol, &*it.endpoint));
            assert_eq!(found, expected, "{endpoint} {set:?}");
        };
        let (grpc, http) = (|it| Some((Protocol::Grpc, it)), |it| Some((Protocol::Http, it)));
        check("", &[], None);
        check("http://a:4317", &[], grpc("http://a:4317"));
        check("http://a:4318", &[], http("http://a:4318/v1/traces"));
        check("http://a:4318/", &[], http("http://a:4318/v1/traces"));
        check("http://a/x:4317", &[], http("http://a/x:4317"));
        let of_all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://b:4318/x");
        check("http://a:4317", &[of_all], http("http://b:4318/x/v1/traces"));
        let of_traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b:4318");
        check("http://a:4317", &[of_all, of_traces], http("http://b:4318"));
        let by_grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        check("http://a:4318", &[by_grpc], grpc("http://a:4318"));
        check("http://a:4317", &[of_all, ("OTEL_SDK_DISABLED", "true")], None);
        check("http://a:4317", &[("OTEL_TRACES_EXPORTER", "none")], None);
        check("http://a?b=c", &[], http("http://a?b=c"));
        let with_query = |address| [("OTEL_EXPORTER_OTLP_ENDPOINT", address)];
        check("", &with_query("http://b/x?t=a%2Fb"), http("http://b/x/v1/traces?t=a%2Fb"));
        check("", &with_query("http://b:4318?t=a"), http("http://b:4318/v1/traces?t=a"));
        check("", &with_query("http://b:4318/x#f"), http("http://b:4318/x/v1/traces"));
        let secret = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:secret@b:4317?token=secret");
        let get = |name: &str| (name == secret.0).then(|| secret.1.to_owned());
        let found = Destination::of(&options(""), &Variables::read(get)).unwrap();
        assert_eq!(found.shown(), "http://b:4317");
    }
}
