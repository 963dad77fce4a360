//! `/metrics`: what Prometheus reads.

use super::accept::weight;
use super::error::Failed;
use super::state::App;
use crate::telemetry;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderName, VARY};

pub(super) async fn page(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<([(HeaderName, &'static str); 2], Bytes), Failed> {
    let (metrics, overviews) = (app.metrics.clone(), &app.overviews);
    let (content_type, text) = match wants_open_metrics(&headers) {
        true => {
            let make = move || metrics.render_open().into_bytes();
            (telemetry::OPEN_CONTENT_TYPE, overviews.open_metrics.get(make).await?)
        }
        false => {
            let make = move || metrics.render().into_bytes();
            (telemetry::CONTENT_TYPE, overviews.metrics.get(make).await?)
        }
    };
    Ok(([(CONTENT_TYPE, content_type), (VARY, "accept")], text))
}

/// Whether OpenMetrics is named, and liked as much as the older text.
fn wants_open_metrics(headers: &HeaderMap) -> bool {
    let (mut open, mut plain) = (0.0_f32, 0.0_f32);
    let lists = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    for offer in lists.flat_map(|list| list.split(',')) {
        let (name, parameters) = offer.split_once(';').unwrap_or((offer, ""));
        let place = match name.trim() {
            name if name.eq_ignore_ascii_case("application/openmetrics-text") => &mut open,
            name if name.eq_ignore_ascii_case("text/plain") => &mut plain,
            _ => continue,
        };
        *place = weight(parameters).max(*place);
    }
    open > 0.0 && open >= plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn open_metrics_are_for_those_who_ask_for_them() {
        let wants = |accept: &'static str| {
            wants_open_metrics(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]))
        };
        // Prometheus 2.42 and 3.5.
        assert!(wants(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        ));
        assert!(wants(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        ));
        assert!(!wants("*/*"));
        assert!(!wants("text/plain;version=0.0.4;q=0.9, application/openmetrics-text;q=0.5"));
        assert!(!wants("application/openmetrics-text;q=0"));
        assert!(!wants_open_metrics(&HeaderMap::new()));
    }
}
