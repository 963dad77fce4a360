//! Labels that come back, and what they say of the versions of a model.

use super::drift;
use super::error::Failed;
use super::json_body;
use super::path::{NamePath, named};
use super::state::App;
use crate::inference::{ErrorCode, InferError, ModelName, Version};
use crate::pipeline::off_runtime;
use crate::quality::feedback::{
    AnswerRef, ClassFigure, ClassificationFigures, Label, LabelOutcome, MAX_LABELS_A_CALL,
    MAX_ROWS, NumberFigures, QualityFigures, QualityReport, Receipt, ScoreBin, Truth,
};
use crate::quality::{OTHER, Window};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

/// Asks for a token when it has a request, and has it in its answer.
pub(super) const FEEDBACK: HeaderName = HeaderName::from_static("sconce-feedback");

/// Longest body: ten thousand labels with tokens of some rows each.
const MAX_BODY: usize = 8 << 20;

/// Labels, or one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    feedback: Option<AtMost<Item, MAX_LABELS_A_CALL>>,
    token: Option<String>,
    version: Option<TruthBody>,
    predicted: Option<TruthBody>,
    score: Option<f64>,
    actual: Option<Actual>,
}

/// One of several.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    token: Option<String>,
    version: Option<TruthBody>,
    predicted: Option<TruthBody>,
    score: Option<f64>,
    actual: Actual,
}

/// A list that ends where it is too long.
#[derive(Debug)]
struct AtMost<T, const N: usize>(Vec<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for AtMost<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T, const N: usize>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for List<T, N> {
            type Value = Vec<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {N}")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
                let mut read = Vec::new();
                while let Some(Object(item)) = items.next_element()? {
                    if read.len() == N {
                        return Err(de::Error::invalid_length(N + 1, &self));
                    }
                    read.push(item);
                }
                Ok(read)
            }
        }
        deserializer.deserialize_seq(List::<T, N>(std::marker::PhantomData)).map(Self)
    }
}

/// What is written with names: serde would take a list of its members, too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Named<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Named<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members))
            }
        }
        deserializer.deserialize_map(Named(std::marker::PhantomData)).map(Self)
    }
}

/// A label or a number.
#[derive(Debug)]
struct TruthBody(Truth);

/// What is true of the rows of an answer.
#[derive(Debug)]
struct Actual(Vec<Option<Truth>>);

struct OneTruth;

impl Visitor<'_> for OneTruth {
    type Value = Truth;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a label or a number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Truth, E> {
        Ok(Truth::Label(text.to_owned()))
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Truth, E> {
        Ok(Truth::Label(flag.to_string()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Truth, E> {
        Ok(Truth::Number(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Truth, E> {
        Ok(Truth::Number(number as f64))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Truth, E> {
        Ok(Truth::Number(number as f64))
    }
}

impl<'de> Deserialize<'de> for TruthBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneTruth).map(Self)
    }
}

impl<'de> Deserialize<'de> for Actual {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Vec<Option<Truth>>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a label or a number, or a list of at most {MAX_ROWS}, one a row")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                OneTruth.visit_str(text).map(|it| vec![Some(it)])
            }
            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Self::Value, E> {
                OneTruth.visit_bool(flag).map(|it| vec![Some(it)])
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
                OneTruth.visit_f64(number).map(|it| vec![Some(it)])
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                OneTruth.visit_i64(number).map(|it| vec![Some(it)])
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                OneTruth.visit_u64(number).map(|it| vec![Some(it)])
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut rows = Vec::new();
                while let Some(row) = items.next_element::<Option<TruthBody>>()? {
                    if rows.len() == MAX_ROWS {
                        return Err(de::Error::invalid_length(MAX_ROWS + 1, &self));
                    }
                    rows.push(row.map(|it| it.0));
                }
                Ok(rows)
            }
        }
        deserializer.deserialize_any(OneOrMany).map(Self)
    }
}

/// Labels by token, from anybody who got one.
pub(super) async fn by_token(
    State(app): State<App>,
    path: NamePath,
    request: Request,
) -> Result<(StatusCode, Json<Value>), Failed> {
    take(&app, path, request, false).await
}

/// Labels by token, or with the answer repeated: who may change models is believed.
pub(super) async fn by_token_or_told(
    State(app): State<App>,
    path: NamePath,
    request: Request,
) -> Result<(StatusCode, Json<Value>), Failed> {
    take(&app, path, request, true).await
}

async fn take(
    app: &App,
    path: NamePath,
    request: Request,
    is_believed: bool,
) -> Result<(StatusCode, Json<Value>), Failed> {
    let name = named(path)?.name;
    app.model(&name)?;
    let body: Body = json_body::read(app, request, MAX_BODY).await?;
    let items = body.items()?;
    let default = app.repository.stable(&name).ok().map(|it| it.version());
    let labels = items.into_iter().enumerate().map(|(place, item)| item.label(place, default));
    let labels: Vec<_> = labels.collect::<Result<_, _>>()?;
    let is_told = |label: &Label| matches!(label.answer, AnswerRef::Told { .. });
    if !is_believed && let Some(place) = labels.iter().position(is_told) {
        let message = format!(
            "item {place} repeats its answer, which only the management listener believes: POST /manage/models/{name}/feedback there, or send the token of the answer"
        );
        return Err(InferError::new(ErrorCode::Forbidden, message).into());
    }
    let feedback = app.feedback.clone();
    // A token takes a microsecond to check.
    let effort = labels.len() * 1000;
    let deadline = Instant::now() + app.options.body_timeouts.total;
    let count = move || feedback.count(&name, &labels);
    let receipt = off_runtime(effort, deadline, count).await??;
    Ok((StatusCode::ACCEPTED, Json(document(&receipt))))
}

impl Body {
    fn items(self) -> Result<Vec<Item>, InferError> {
        let Self { feedback, token, version, predicted, score, actual } = self;
        let is_single = token.is_some()
            || version.is_some()
            || predicted.is_some()
            || score.is_some()
            || actual.is_some();
        match (feedback, actual) {
            (Some(items), None) if !is_single => Ok(items.0),
            (None, Some(actual)) => Ok(vec![Item { token, version, predicted, score, actual }]),
            _ => {
                let message = "expected {\"token\": …, \"actual\": …}, or a list of such as {\"feedback\": […]}";
                Err(InferError::new(ErrorCode::InvalidBody, message))
            }
        }
    }
}

impl Item {
    fn label(self, place: usize, default: Option<Version>) -> Result<Label, InferError> {
        let Self { token, version, predicted, score, actual } = self;
        let wrong = |what: &str| {
            Err(InferError::new(ErrorCode::InvalidBody, format!("item {place}: {what}")))
        };
        let answer = match (token, predicted) {
            (Some(token), None) if version.is_none() && score.is_none() => AnswerRef::Token(token),
            (None, Some(TruthBody(predicted))) => {
                let version = match version {
                    Some(TruthBody(Truth::Label(text))) => text.parse().ok(),
                    Some(TruthBody(Truth::Number(number))) => number.to_string().parse().ok(),
                    None => default,
                };
                let Some(version) = version else {
                    return wrong("expected the number of the \"version\" that answered");
                };
                let score = score.map(|score| score as f32);
                if score.is_some_and(|score| !(0.0..=1.0).contains(&score)) {
                    return wrong("expected a \"score\" from 0 to 1");
                }
                AnswerRef::Told { version, predicted, score }
            }
            (Some(_), _) => {
                return wrong(
                    "\"token\" stands for the whole answer, expected no other member beside it but \"actual\"",
                );
            }
            (None, None) => {
                return wrong(
                    "expected \"token\", the value of the answer's header sconce-feedback",
                );
            }
        };
        Ok(Label { answer, actual: actual.0 })
    }
}

fn document(receipt: &Receipt) -> Value {
    let count = |outcome: &LabelOutcome| receipt.outcomes.get(outcome).copied().unwrap_or_default();
    let outcomes = LabelOutcome::ALL.iter().map(|it| (it.as_str().to_owned(), json!(count(it))));
    let problem = |(item, outcome, why): &(usize, LabelOutcome, String)| json!({"item": item, "outcome": outcome.as_str(), "error": why});
    json!({
        "outcomes": outcomes.collect::<serde_json::Map<_, _>>(),
        "problems": receipt.problems.iter().map(problem).collect::<Vec<_>>(),
    })
}

/// What labels say of the versions of a model.
pub(super) async fn quality(State(app): State<App>, path: NamePath) -> Result<Json<Value>, Failed> {
    let name: ModelName = named(path)?.name;
    app.model(&name)?;
    let version = |report: &QualityReport| version(report, &answered(&app, &name, report.version));
    let versions: Vec<_> = app.feedback.report(&name).iter().map(version).collect();
    Ok(Json(json!({"model": name.as_str(), "versions": versions})))
}

/// How many rows each label was the answer to since the version was loaded.
fn answered(app: &App, name: &ModelName, version: Version) -> BTreeMap<String, u64> {
    let report = drift::report(app, name, version);
    let window = report
        .and_then(|it| it.windows.into_iter().find(|window| window.window == Window::SinceLoad));
    let labels = window.into_iter().flat_map(|window| window.labels);
    labels.map(|it| (it.label.unwrap_or_else(|| OTHER.to_owned()), it.rows)).collect()
}

fn version(report: &QualityReport, answered: &BTreeMap<String, u64>) -> Value {
    let mut document = json!({
        "version": report.version.to_string(),
        "loaded": report.is_loaded,
        "tokens": report.tokens,
        "labels": report.labels,
        "mean_delay_seconds": report.mean_delay,
    });
    let figures = match &report.figures {
        QualityFigures::Classes(figures) => classes(figures, answered),
        QualityFigures::Numbers(figures) => json!({"regression": figures.map(|it| numbers(&it))}),
    };
    if let (Some(document), Value::Object(figures)) = (document.as_object_mut(), figures) {
        document.extend(figures);
    }
    document
}

fn classes(figures: &ClassificationFigures, answered: &BTreeMap<String, u64>) -> Value {
    let class = |class: &ClassFigure| {
        json!({
            "label": &*class.label,
            "answered": answered.get(&*class.label),
            "actual": class.actual,
            "predicted": class.predicted,
            "correct": class.correct,
            "precision": class.precision(),
            "recall": class.recall(),
            "f1": class.f1(),
        })
    };
    let bin = |bin: &ScoreBin| json!({"rows": bin.rows, "correct": bin.correct, "score_sum": bin.score_sum});
    json!({"classification": {
        "accuracy": figures.accuracy,
        "macro_f1": figures.macro_f1(),
        "weighted_f1": figures.weighted_f1(),
        "roc_auc": figures.roc_auc,
        "brier": figures.brier,
        "calibration_error": figures.calibration_error,
        "classes": figures.classes.iter().map(class).collect::<Vec<_>>(),
        "confusion": figures.confusion,
        "score_bins": figures.bins.iter().map(bin).collect::<Vec<_>>(),
    }})
}

fn numbers(figures: &NumberFigures) -> Value {
    json!({
        "mae": figures.mae,
        "rmse": figures.rmse,
        "mean_error": figures.mean_error,
        "r_squared": figures.r_squared,
    })
}
