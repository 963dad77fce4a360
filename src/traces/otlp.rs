//! Spans on their way: OTLP over gRPC or HTTP, by the library of OpenTelemetry, which reads headers, timeouts, compression and
//! what the resource is called from the standard's variables.

use super::destination::Destination;
use super::ids::SpanIds;
use super::sending::Wire;
use super::span::{Span, Value};

use super::variables::Protocol;
use opentelemetry::trace::{Link, SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, StringValue};
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _, SpanLinks};
use reqwest::redirect::Policy;
use std::time::Duration;
use tokio::runtime::Runtime;

/// For all tries of one sending; the library bounds each.
const PATIENCE: Duration = Duration::from_secs(30);

/// A receiver of spans.
pub(super) struct Otlp {
    runtime: Runtime,
    exporter: SpanExporter,
    endpoint: String,
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
        let built = exporter(destination);
        drop(entered);
        let mut exporter = match built {
            Ok(exporter) => exporter,
            Err(problem) => {
                // Whoever starts the program is a task itself, in which no runtime may be waited for.
                runtime.shutdown_background();
                return Err(problem);
            }
        };
        let mut resource = Resource::builder()
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        for (name, value) in &destination.attributes {
            resource = resource.with_attribute(KeyValue::new(name.clone(), value.clone()));
        }
        if !destination.names_service {
            resource = resource.with_service_name("sconce");
        }
        exporter.set_resource(&resource.build());
        let scope =
            InstrumentationScope::builder("sconce").with_version(env!("CARGO_PKG_VERSION")).build();
        let endpoint = destination.shown();
        Ok(Self { runtime, exporter, endpoint, scope })
    }

    fn data(&self, span: Span) -> SpanData {
        let Span { ids, parent, name, is_server, start, end, attributes, links, state, is_error } =
            span;
        // What is none is left out, as the standard wants it.
        let state = state.and_then(|text| text.parse().ok()).unwrap_or_default();
        let attribute = |(key, value): (&'static str, Value)| match value {
            Value::Text(text) => KeyValue::new(key, StringValue::from(text)),
            Value::Number(number) => KeyValue::new(key, number),
        };
        let mut linked = SpanLinks::default();
        linked.links = links
            .into_iter()
            .map(|ids| Link::with_context(context(ids, TraceState::NONE)))
            .collect();
        SpanData {
            span_context: context(ids, state),
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
            Ok(Err(error)) => Err(format!("{}: {error}", self.endpoint)),
            Err(_) => Err(format!("{}: no answer within {} s", self.endpoint, PATIENCE.as_secs())),
        }
    }
}

fn exporter(destination: &Destination) -> Result<SpanExporter, String> {
    let Destination { protocol, endpoint, timeout, .. } = destination;
    let built = match protocol {
        Protocol::Grpc => {
            let mut builder = SpanExporter::builder()
                .with_tonic()
                .with_endpoint(endpoint)
                .with_protocol(opentelemetry_otlp::Protocol::Grpc)
                .with_timeout(*timeout);
            if endpoint.starts_with("https://") {
                builder = builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
            }
            builder.build()
        }
        Protocol::Http => {
            let client = reqwest::Client::builder().redirect(Policy::none()).timeout(*timeout);
            let client = client.build();
            // What lies behind says what is wrong, such as that there are no certificates.
            let client = client.map_err(|error| {
                let cause = std::error::Error::source(&error);
                cause.map_or_else(|| error.to_string(), ToString::to_string)
            })?;
            let builder = SpanExporter::builder().with_http().with_http_client(client);
            builder
                .with_endpoint(endpoint)
                .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
                .with_timeout(*timeout)
                .build()
        }
    };
    built.map_err(|error| error.to_string())
}

fn context(ids: SpanIds, state: TraceState) -> SpanContext {
    let SpanIds { trace, span } = ids;
    SpanContext::new(trace.into(), span.into(), TraceFlags::SAMPLED, false, state)
}
