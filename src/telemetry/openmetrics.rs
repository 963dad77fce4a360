//! The other text that scrapers ask for: OpenMetrics 1.0, which has room for exemplars.
//!
//! The registry's own encoder writes Prometheus' older format alone, in which an exemplar would fail the whole scrape.

use super::exposition::{Kind, Sampled};
use super::histogram::Exemplar;
use prometheus::proto;
use std::fmt::{self, Display, Write};
use std::time::UNIX_EPOCH;

/// Writes everything, families and series in the order of their names and labels.
pub(super) fn write(families: Vec<Sampled>) -> String {
    let mut out = String::with_capacity(64 << 10);
    for family in families {
        // A text has no errors of its own.
        let _ = write_family(&mut out, &family);
    }
    out.push_str("# EOF\n");
    out
}

fn write_family(out: &mut String, Sampled { family, series }: &Sampled) -> fmt::Result {
    // The specification has counters' names without their ending where a family is meant.
    let name = match family.kind {
        Kind::Counter => family.name.strip_suffix("_total").unwrap_or(family.name),
        Kind::Gauge | Kind::Histogram => family.name,
    };
    writeln!(out, "# HELP {name} {}", Escaped(family.help()))?;
    writeln!(out, "# TYPE {name} {}", family.type_name())?;
    for (metric, exemplars) in series {
        let labels = metric.get_label();
        match family.kind {
            Kind::Counter => {
                write_sample(out, name, "_total", labels, None)?;
                writeln!(out, "{}", Number(metric.get_counter().get_value()))?;
            }
            Kind::Gauge => {
                write_sample(out, name, "", labels, None)?;
                writeln!(out, "{}", Number(metric.get_gauge().get_value()))?;
            }
            Kind::Histogram => {
                write_histogram(out, name, labels, metric.get_histogram(), exemplars)?
            }
        }
    }
    Ok(())
}

fn write_histogram(
    out: &mut String,
    name: &str,
    labels: &[proto::LabelPair],
    histogram: &proto::Histogram,
    exemplars: &[(usize, Exemplar)],
) -> fmt::Result {
    let count = histogram.get_sample_count();
    let bounded = histogram.get_bucket().iter();
    let bounded = bounded.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    for (place, (bound, count)) in bounded.chain([(f64::INFINITY, count)]).enumerate() {
        write_sample(out, name, "_bucket", labels, Some(bound))?;
        write!(out, "{count}")?;
        if let Some((_, exemplar)) = exemplars.iter().find(|(bucket, _)| *bucket == place) {
            let Exemplar { trace, span, value, at } = exemplar;
            let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            write!(out, " # {{trace_id=\"{trace:032x}\",span_id=\"{span:016x}\"}} ")?;
            write!(out, "{} {at:.3}", Number(*value))?;
        }
        out.push('\n');
    }
    write_sample(out, name, "_count", labels, None)?;
    writeln!(out, "{count}")?;
    write_sample(out, name, "_sum", labels, None)?;
    writeln!(out, "{}", Number(histogram.get_sample_sum()))
}

/// A series, up to the space before its value.
fn write_sample(
    out: &mut String,
    name: &str,
    ending: &str,
    labels: &[proto::LabelPair],
    bound: Option<f64>,
) -> fmt::Result {
    write!(out, "{name}{ending}")?;
    let mut separator = '{';
    for label in labels {
        write!(out, "{separator}{}=\"{}\"", label.name(), Escaped(label.value()))?;
        separator = ',';
    }
    if let Some(bound) = bound {
        write!(out, "{separator}le=\"{}\"", Bound(bound))?;
        separator = ',';
    }
    if separator == ',' {
        out.push('}');
    }
    out.push(' ');
    Ok(())
}

struct Number(f64);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value == f64::INFINITY => f.write_str("+Inf"),
            value if value == f64::NEG_INFINITY => f.write_str("-Inf"),
            value => write!(f, "{value}"),
        }
    }
}

/// A bound is a number with a point (OpenMetrics 1.0, "Considerations: Canonical Numbers").
struct Bound(f64);

impl Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let point = if self.0.is_finite() && self.0.fract() == 0.0 { ".0" } else { "" };
        write!(f, "{}{point}", Number(self.0))
    }
}

struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(['\\', '"', '\n']) {
            match part.char_indices().next_back() {
                Some((at, special @ ('\\' | '"' | '\n'))) => {
                    f.write_str(&part[..at])?;
                    f.write_str(match special {
                        '\\' => "\\\\",
                        '"' => "\\\"",
                        _ => "\\n",
                    })?;
                }
                _ => f.write_str(part)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::exposition::{Family, Samples};
    use super::super::histogram::Histogram;
    use super::*;
    use std::time::Duration;

    const COUNTED: Family = Family {
        name: "x_requests_total",
        help: "Says \"how many\".",
        kind: Kind::Counter,
        labels: &["model"],
    };
    const TIMED: Family = Family {
        name: "x_duration_seconds",
        help: "How long.",
        kind: Kind::Histogram,
        labels: &["model"],
    };
    const LEVEL: Family =
        Family { name: "x_level", help: "A level.", kind: Kind::Gauge, labels: &[] };

    #[test]
    fn the_text_is_as_the_specification_has_it() {
        let mut samples = Samples::default();
        samples.number(&LEVEL, &[], f64::NAN);
        samples.number(&COUNTED, &["b"], 3.0);
        samples.number(&COUNTED, &["a\"\\\n"], 2.5);
        let histogram = Histogram::of_durations();
        histogram.observe_duration(Duration::from_millis(700));
        histogram.observe_duration(Duration::from_secs(100));
        histogram.set_exemplar(Duration::from_secs(100), 0xabc, 0xde);
        samples.histogram(&TIMED, &["m"], &histogram);
        let text = write(samples.into_sampled());
        assert!(
            text.starts_with(
                "# HELP x_duration_seconds How long.\n# TYPE x_duration_seconds histogram\n"
            ),
            "{text}"
        );
        for line in [
            "x_duration_seconds_bucket{model=\"m\",le=\"0.00001\"} 0\n",
            "x_duration_seconds_bucket{model=\"m\",le=\"1.0\"} 1\n",
            "x_duration_seconds_bucket{model=\"m\",le=\"60.0\"} 1\n",
            "x_duration_seconds_count{model=\"m\"} 2\nx_duration_seconds_sum{model=\"m\"} 100.7\n",
            "# HELP x_requests Says \\\"how many\\\".\n# TYPE x_requests counter\n\
             x_requests_total{model=\"a\\\"\\\\\\n\"} 2.5\nx_requests_total{model=\"b\"} 3\n",
            "# TYPE x_level gauge\nx_level NaN\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        let exemplar = format!(
            "le=\"+Inf\"}} 2 # {{trace_id=\"{:0>32}\",span_id=\"{:0>16}\"}} 100 1",
            "abc", "de"
        );
        assert!(text.contains(&exemplar), "{text}");
        assert!(text.ends_with("\n# EOF\n"));
    }
}
