//! What a web server costs without a model: stock `axum::serve` that parses a prediction request and
//! prints an answer of the same form and size.
//!
//! Numbers are parsed by serde into typed vectors; the answer's numbers are prepared, except the
//! first, which comes from the request. Nothing here is tuned, nothing is left out.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Json, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use clap::Parser;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// Parses predictions and answers without a model.
#[derive(Debug, Parser)]
#[command(name = "echo")]
struct Arguments {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Threads that serve.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Models as NAME=NUMBERS or NAME=NUMBERS,labels: how many numbers an answer has, and whether
    /// labels come with it.
    #[arg(long)]
    model: Vec<String>,
}

/// How a model's answer looks.
struct Model {
    name: String,
    values: Vec<f32>,
    labels: Vec<String>,
}

impl Model {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("--model {text}: expected NAME=NUMBERS or NAME=NUMBERS,labels");
        let (name, form) = text.split_once('=').ok_or_else(wrong)?;
        let (count, labels) = match form.split_once(',') {
            Some((count, "labels")) => (count, true),
            Some(_) => return Err(wrong()),
            None => (form, false),
        };
        let count: u16 = count.parse().map_err(|_| wrong())?;
        Ok(Self {
            name: name.to_owned(),
            // As many digits as an output has.
            values: (0..count).map(|k| (f32::from(k) + 0.1).sin() * 12.0).collect(),
            labels: (0..if labels { count } else { 0 }).map(|k| k.to_string()).collect(),
        })
    }

    fn row(&self, first: Option<f32>) -> Vec<f32> {
        let mut values = self.values.clone();
        if let (Some(value), Some(first)) = (values.first_mut(), first) {
            *value = first;
        }
        values
    }
}

struct Shared {
    models: HashMap<String, Model>,
    answered: AtomicU64,
}

/// A request's numbers, however they are nested, in one vector.
#[derive(Debug, Default)]
struct Numbers(Vec<f32>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut numbers = Vec::new();
        serde::de::DeserializeSeed::deserialize(Collect(&mut numbers), deserializer)?;
        Ok(Self(numbers))
    }
}

struct Collect<'a>(&'a mut Vec<f32>);

impl<'de> serde::de::DeserializeSeed<'de> for Collect<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Collect<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers or lists of numbers")
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.0.push(number as f32);
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.0.push(number as f32);
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.0.push(number as f32);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Collect(self.0))?.is_some() {}
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Request {
    Features(Numbers),
    Instances(Vec<Numbers>),
    Inputs(BTreeMap<String, Numbers>),
}

#[derive(Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    prediction: Option<Vec<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    predictions: Option<Vec<Vec<f32>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<BTreeMap<&'static str, [Vec<f32>; 1]>>,
    #[serde(flatten)]
    labels: Option<Labels>,
    model: String,
    version: &'static str,
    request_id: String,
}

#[derive(Serialize)]
struct Labels {
    label: String,
    score: f32,
    top: Vec<Scored>,
}

#[derive(Serialize)]
struct Scored {
    label: String,
    score: f32,
}

async fn predict(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Json(request): Json<Request>,
) -> Response {
    let Some(model) = shared.models.get(&name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut answer = frame(&shared, model);
    match request {
        Request::Features(row) => {
            answer.labels = labels(model);
            answer.prediction = Some(model.row(row.0.first().copied()));
        }
        Request::Instances(rows) => {
            let rows = rows.iter().map(|row| model.row(row.0.first().copied()));
            answer.predictions = Some(rows.collect());
        }
        Request::Inputs(inputs) => {
            let first = inputs.values().next().and_then(|numbers| numbers.0.first().copied());
            answer.outputs = Some(BTreeMap::from([("output_0", [model.row(first)])]));
        }
    }
    Json(answer).into_response()
}

async fn predict_raw(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
    let Some(model) = shared.models.get(&name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if kind != Some(b"application/octet-stream") || !body.len().is_multiple_of(4) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let (elements, _) = body.as_chunks::<4>();
    let numbers: Vec<f32> = elements.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let mut answer = frame(&shared, model);
    answer.predictions = Some(vec![model.row(numbers.first().copied())]);
    Json(answer).into_response()
}

fn frame(shared: &Shared, model: &Model) -> Answer {
    let id = shared.answered.fetch_add(1, Ordering::Relaxed);
    Answer {
        prediction: None,
        predictions: None,
        outputs: None,
        labels: None,
        model: model.name.clone(),
        version: "1",
        request_id: format!("{id:032x}"),
    }
}

fn labels(model: &Model) -> Option<Labels> {
    let top = model.labels.iter().zip(&model.values).take(5);
    Some(Labels {
        label: model.labels.first()?.clone(),
        score: *model.values.first()?,
        top: top.map(|(label, score)| Scored { label: label.clone(), score: *score }).collect(),
    })
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let models = arguments.model.iter().map(|text| Model::parse(text));
    let models: Vec<Model> = models.collect::<Result<_, _>>()?;
    let shared = Arc::new(Shared {
        models: models.into_iter().map(|model| (model.name.clone(), model)).collect(),
        answered: AtomicU64::new(0),
    });
    let router = Router::new()
        .route("/predict/{model}", post(predict))
        .route("/raw/{model}", post(predict_raw))
        .layer(DefaultBodyLimit::max(64 << 20))
        .with_state(shared);
    // One thread serves best without a second one to hand work to.
    let mut builder = match arguments.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if arguments.threads > 1 {
        builder.worker_threads(arguments.threads);
    }
    builder.enable_all().build()?.block_on(serve(arguments.listen, router))
}

#[expect(clippy::print_stdout, reason = "who started it reads the address here")]
async fn serve(listen: SocketAddr, router: Router) -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("{{\"listening\":\"{}\"}}", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the one line that says why it ended")]
fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}
