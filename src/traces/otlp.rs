//! Spans on their way: OTLP over gRPC or HTTP, by the library of OpenTelemetry, which reads headers, timeouts, compression and
//! what the resource is called from the standard's variables.

use super::destination::Destination;
use super::ids::SpanIds;
use super::sending::Wire;
use super::span::{Span, Value};

use super::variables::Protocol;
use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, StringValue};
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _, SpanLinks};
use std::time::Duration;
use tokio::runtime::Runtime;

/// For all tries of one sending; the library bounds each.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the protocol over HTTP takes spans, below what is configured.
const PATH: &str = "/v1/traces";

/// A receiver of spans.
pub(super) struct Otlp {
    runtime: Runtime,
    exporter: SpanExporter,
    scope: InstrumentationScope,
}

impl Otlp {
    /// Makes a client; sends nothing yet.
    pub(super) fn connect(destination: &Destination) -> Result<Self, String> {
        // The clients find their cryptography there; somebody else may have chosen before, and that does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        // A channel of gRPC wants to know where its tasks will run.
        let entered = runtime.enter();
        let mut exporter = exporter(destination)?;
        drop(entered);
        let mut resource = Resource::builder()
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        if !destination.names_service {
            resource = resource.with_service_name("sconce");
        }
        exporter.set_resource(&resource.build());
        let scope =
            InstrumentationScope::builder("sconce").with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Self { runtime, exporter, scope })
    }

    fn data(&self, span: Span) -> SpanData {
        let Span { ids, parent, name, is_server, start, end, attributes, links, is_error } = span;
        let attribute = |(key, value): (&'static str, Value)| match value {
            Value::Text(text) => KeyValue::new(key, StringValue::from(text)),
            Value::Number(number) => KeyValue::new(key, number),
        };
        let mut linked = SpanLinks::default();
        linked.links = links
            .into_iter()
            .map(|ids| opentelemetry::trace::Link::with_context(context(ids)))
            .collect();
        SpanData {
            span_context: context(ids),
            parent_span_id: parent.map_or(0, |it| it.span).into(),
            parent_span_is_remote: parent.is_some_and(|it| it.is_remote),
            span_kind: if is_server { SpanKind::Server } else { SpanKind::Internal },
            name,
            start_time: start,
            end_time: end,
            attributes: attributes.into_iter().map(attribute).collect(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: linked,
            status: if is_error { Status::error("") } else { Status::Unset },
            instrumentation_scope: self.scope.clone(),
        }
    }
}

impl Wire for Otlp {
    fn send(&mut self, spans: Vec<Span>) -> Result<(), String> {
        let spans: Vec<_> = spans.into_iter().map(|span| self.data(span)).collect();
        let sending = async { tokio::time::timeout(PATIENCE, self.exporter.export(spans)).await };
        match self.runtime.block_on(sending) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }
}

fn exporter(destination: &Destination) -> Result<SpanExporter, String> {
    let Destination { protocol, endpoint, is_from_environment, .. } = destination;
    let built = match protocol {
        Protocol::Grpc => {
            let mut builder = SpanExporter::builder().with_tonic();
            if !is_from_environment {
                builder = builder.with_endpoint(endpoint);
            }
            if !endpoint.starts_with("http://") {
                builder = builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
            }
            builder.build()
        }
        Protocol::Http => {
            let client = reqwest::Client::builder().build().map_err(|error| error.to_string())?;
            let mut builder = SpanExporter::builder().with_http().with_http_client(client);
            if !is_from_environment {
                builder = builder.with_endpoint(with_path(endpoint));
            }
            builder.build()
        }
    };
    built.map_err(|error| error.to_string())
}

/// An address of a server alone is that of what it has for all signals.
fn with_path(endpoint: &str) -> String {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    match rest.split_once('/') {
        None => format!("{endpoint}{PATH}"),
        Some((_, "")) => format!("{}{PATH}", endpoint.trim_end_matches('/')),
        Some(_) => endpoint.to_owned(),
    }
}

fn context(ids: SpanIds) -> SpanContext {
    let SpanIds { trace, span } = ids;
    SpanContext::new(trace.into(), span.into(), TraceFlags::SAMPLED, false, TraceState::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_its_spans_at_the_usual_place() {
        assert_eq!(with_path("http://a:4318"), "http://a:4318/v1/traces");
        assert_eq!(with_path("http://a:4318/"), "http://a:4318/v1/traces");
        assert_eq!(with_path("https://a/otlp/v1/traces"), "https://a/otlp/v1/traces");
    }
}
