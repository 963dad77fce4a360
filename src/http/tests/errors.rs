//! Every error in the words of every protocol.
//!
//! The matches below are closed: a new [`ErrorCode`] does not compile until it is said how a client
//! comes by it, or why it cannot.

use super::ask::{Ask, ask, get, post};
use super::site::{BREAKS, CRASHES, NO_MEMORY, RAISES, Site, Sites, State, UNSUPPORTED, WAITS};
use super::snapshot::{Snapshot, mask_header, render};
use crate::http::{refusal, status};
use crate::inference::ErrorCode;
use crate::listener::Refusal;

/// A protocol, or the part of one that a listener has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Native,
    OpenInference,
    TensorFlowServing,
    TorchServe,
}

use Protocol::{Native, OpenInference, TensorFlowServing, TorchServe};

/// How an error comes about.
enum Row {
    /// This request is answered with it.
    Asked(Ask),
    /// The listener answers a head with it, before there is a request.
    Refused(Refusal),
    /// The client of this request hangs up: only the counters show it.
    HungUp(Ask),
    /// It does not, and why.
    Never(&'static str),
}

use Row::{Asked, HungUp, Never, Refused};

impl Protocol {
    /// A prediction for one row of this value.
    fn predict(self, model: &str, value: f32) -> Ask {
        let (path, body) = match self {
            Native => (format!("/predict/{model}"), format!(r#"{{"instances":[[{value}]]}}"#)),
            OpenInference => {
                let tensor =
                    format!(r#"{{"name":"x","datatype":"FP32","shape":[1,1],"data":[{value}]}}"#);
                (format!("/v2/models/{model}/infer"), format!(r#"{{"inputs":[{tensor}]}}"#))
            }
            TensorFlowServing => {
                let body = format!(r#"{{"instances":[[{value}]]}}"#);
                (format!("/v1/models/{model}:predict"), body)
            }
            TorchServe => (format!("/predictions/{model}"), format!("[[{value}]]")),
        };
        post(path, body)
    }

    /// A prediction with a body that is well-formed and not what the protocol takes.
    fn with_body_of_another_form(self) -> Ask {
        self.predict("m", 1.0).body(r#"{"rows":[[1]]}"#)
    }

    /// A prediction with a row of two numbers, where the model takes one.
    fn with_wide_row(self) -> Ask {
        self.predict("m", 1.0).body(match self {
            Native | TensorFlowServing => r#"{"instances":[[1,2]]}"#,
            OpenInference => {
                r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}"#
            }
            TorchServe => "[[1,2]]",
        })
    }

    fn of_version(self, version: &str) -> Ask {
        let path = match self {
            Native => format!("/predict/m/versions/{version}"),
            OpenInference => format!("/v2/models/m/versions/{version}/infer"),
            TensorFlowServing => format!("/v1/models/m/versions/{version}:predict"),
            TorchServe => format!("/predictions/m/{version}"),
        };
        self.predict("m", 1.0).at(path)
    }

    fn without_model(self) -> Row {
        match self {
            Native => Asked(self.predict("m", 1.0).at("/predict")),
            OpenInference | TensorFlowServing | TorchServe => Never("every path names the model"),
        }
    }

    /// A change of state, asked of the public listener.
    fn changing(self) -> Row {
        match self {
            Native => Asked(ask("POST", "/manage/models/m/reload")),
            OpenInference => Asked(ask("POST", "/v2/repository/models/m/unload")),
            TensorFlowServing => Never("the protocol changes nothing"),
            TorchServe => Never("changes are the management protocol's"),
        }
    }

    fn without_route(self) -> Ask {
        match self {
            Native => ask("POST", "/predict/m/versions/7/more"),
            OpenInference => get("/v2/more"),
            TensorFlowServing => post("/v1/models/m:more", "{}"),
            TorchServe => ask("POST", "/predictions/m/7/more"),
        }
    }

    fn by_other_method(self) -> Ask {
        match self {
            Native => get("/predict/m"),
            OpenInference => get("/v2/models/m/infer"),
            TensorFlowServing => post("/v1/models/m", "{}"),
            TorchServe => get("/predictions/m"),
        }
    }

    /// A change that the model's state does not allow.
    fn in_conflict(self) -> Row {
        match self {
            Native => Asked(ask("POST", "/manage/models/m/versions/7/unload").management()),
            OpenInference => {
                let load = ask("POST", "/v2/repository/models/m/load");
                Asked(load.management().to(State::Loading))
            }
            TensorFlowServing => Never("the protocol changes nothing"),
            TorchServe => Never("changes are the management protocol's"),
        }
    }

    fn of_other_media_type(self) -> Ask {
        let ask = self.predict("m", 1.0);
        match self {
            Native => ask.with("content-type", "text/html"),
            // Its clients say all sorts of types, so none is looked at.
            OpenInference => ask.with("content-encoding", "zstd"),
            TensorFlowServing => ask.with("content-type", "application/octet-stream"),
            TorchServe => ask.with("content-type", "multipart/mixed; boundary=x"),
        }
    }

    fn unsupported(self) -> Ask {
        match self {
            Native => self.predict("m", UNSUPPORTED),
            OpenInference => get("/v2/logging"),
            TensorFlowServing => post("/v1/models/m:classify", "{}"),
            TorchServe => ask("POST", "/explanations/m"),
        }
    }

    fn at_the_end(self) -> Row {
        match self {
            Native => {
                Asked(ask("POST", "/manage/models/m/reload").management().to(State::Draining))
            }
            OpenInference => {
                let load = ask("POST", "/v2/repository/models/m/load");
                Asked(load.management().to(State::Draining))
            }
            TensorFlowServing | TorchServe => {
                Never("models are let go only when every request has been answered")
            }
        }
    }

    /// How clients of the protocol come by an error.
    fn row(self, code: ErrorCode) -> Row {
        let good = || self.predict("m", 1.0);
        match code {
            ErrorCode::InvalidRequest => Asked(good().with("x-request-timeout-ms", "soon")),
            ErrorCode::InvalidJson => Asked(good().body("{")),
            ErrorCode::InvalidBody => Asked(self.with_body_of_another_form()),
            ErrorCode::InvalidInput => Asked(self.with_wide_row()),
            ErrorCode::ModelRequired => self.without_model(),
            ErrorCode::ManagementOnly => self.changing(),
            ErrorCode::Forbidden => Asked(good().management().with("host", "evil.example")),
            ErrorCode::RouteNotFound => Asked(self.without_route()),
            ErrorCode::ModelNotFound => Asked(self.predict("absent", 1.0)),
            ErrorCode::VersionNotFound => Asked(self.of_version("3")),
            ErrorCode::MethodNotAllowed => Asked(self.by_other_method()),
            ErrorCode::BodyTimeout => Asked(good().stalled()),
            ErrorCode::Conflict => self.in_conflict(),
            ErrorCode::BodyTooLarge => Asked(good().with("content-length", "99999999")),
            ErrorCode::UnsupportedMediaType => Asked(self.of_other_media_type()),
            ErrorCode::HeadTooLarge => Refused(Refusal::HeadTooLarge),
            ErrorCode::QueueFull => Asked(self.predict("one", 1.0).to(State::Busy)),
            ErrorCode::ClientClosed => HungUp(self.predict("one", WAITS)),
            ErrorCode::InferenceFailed => Asked(self.predict("m", RAISES)),
            ErrorCode::ModelCrashed => Asked(self.predict("m", CRASHES)),
            ErrorCode::Internal => Asked(self.predict("m", BREAKS)),
            ErrorCode::Unsupported => Asked(self.unsupported()),
            ErrorCode::ModelNotReady => Asked(self.predict("failed", 1.0)),
            ErrorCode::Draining => self.at_the_end(),
            ErrorCode::Overloaded => Asked(good().to(State::Crowded)),
            ErrorCode::OutOfMemory => Asked(self.predict("m", NO_MEMORY)),
            ErrorCode::DeadlineExceeded => {
                Asked(good().stalled().with("x-request-timeout-ms", "5"))
            }
        }
    }
}

/// How clients of TorchServe's management protocol come by an error.
fn management_row(code: ErrorCode) -> Row {
    const NO_BODY: Row = Never("no route of the protocol reads a body");
    const NO_RUN: Row = Never("no route of the protocol runs a model");
    match code {
        ErrorCode::InvalidRequest => Asked(get("/models?limit=ten").management()),
        ErrorCode::InvalidJson
        | ErrorCode::InvalidBody
        | ErrorCode::BodyTimeout
        | ErrorCode::BodyTooLarge
        | ErrorCode::UnsupportedMediaType => NO_BODY,
        ErrorCode::InvalidInput
        | ErrorCode::QueueFull
        | ErrorCode::InferenceFailed
        | ErrorCode::ModelCrashed
        | ErrorCode::OutOfMemory
        | ErrorCode::DeadlineExceeded => NO_RUN,
        ErrorCode::ModelRequired => Never("every path names the model"),
        ErrorCode::ManagementOnly => Asked(ask("DELETE", "/models/m")),
        ErrorCode::Forbidden => {
            Asked(ask("DELETE", "/models/m").management().with("host", "evil.example"))
        }
        ErrorCode::RouteNotFound => Asked(get("/models/m/7/more").management()),
        ErrorCode::ModelNotFound => Asked(get("/models/absent").management()),
        ErrorCode::VersionNotFound => Asked(get("/models/m/3").management()),
        ErrorCode::MethodNotAllowed => Asked(ask("PATCH", "/models/m").management()),
        ErrorCode::Conflict => Asked(ask("DELETE", "/models/m/7").management()),
        ErrorCode::HeadTooLarge => Refused(Refusal::HeadTooLarge),
        ErrorCode::ClientClosed => Never("nothing is waited for that a test could hold back"),
        ErrorCode::Internal => Never("nothing of the protocol can break but the system"),
        ErrorCode::Unsupported => Asked(ask("POST", "/models?url=m.mar").management()),
        ErrorCode::ModelNotReady => Never("what is not ready is described, and loads are refused"),
        ErrorCode::Draining => Asked(ask("DELETE", "/models/m").management().to(State::Draining)),
        ErrorCode::Overloaded => Never("the listener's answers are not booked"),
    }
}

/// A prediction by the native protocol.
pub(super) fn native(model: &str, value: f32) -> Ask {
    Native.predict(model, value)
}

/// Asks what the rows say, and holds the answers to a file.
#[track_caller]
fn check(name: &str, row: impl Fn(ErrorCode) -> Row) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let snapshot = runtime.block_on(async {
        let mut sites = Sites::default();
        let mut snapshot = Snapshot::default();
        for &code in ErrorCode::ALL {
            snapshot.add(code.as_str(), &section(&mut sites, code, row(code)).await);
        }
        snapshot
    });
    snapshot.check(name);
}

async fn section(sites: &mut Sites, code: ErrorCode, row: Row) -> String {
    match row {
        Never(reason) => format!("never: {reason}"),
        Refused(fault) => {
            let answer = refusal(fault);
            let body = String::from_utf8(answer.body().to_vec()).unwrap();
            assert_eq!(answer.status(), status(code));
            format!("a head that the listener refuses\n---\n{}\n\n{body}", answer.status())
        }
        HungUp(ask) => {
            let site = Site::new(State::Serving).await;
            let answer = site.spawn(&ask);
            site.reached("the run").await;
            answer.abort();
            assert!(answer.await.unwrap_err().is_cancelled());
            let metrics = render(site.answer(&get("/metrics")).await).await;
            let labels = [format!("=\"{code}\""), format!("=\"{}\"", status(code).as_u16())];
            let shows = |line: &&str| labels.iter().any(|label| line.contains(label));
            let counted: Vec<_> =
                metrics.lines().filter(shows).filter(|line| !line.ends_with(" 0")).collect();
            format!("{ask}(the client hangs up)\n---\n{}", counted.join("\n"))
        }
        Asked(ask) => {
            let response = sites.answer(&ask).await;
            assert_eq!(response.status(), status(code), "{code} is not what came of {ask}");
            let response = match code {
                // How long the runs of a machine take.
                ErrorCode::QueueFull => mask_header(response, "retry-after"),
                _ => response,
            };
            let answer = render(response).await;
            let is_native = answer.contains(r#""request_id""#);
            let says = answer.contains(&format!(r#""code":"{code}""#));
            assert!(says || !is_native, "{code} is not what came of {ask}: {answer}");
            format!("{ask}---\n{answer}")
        }
    }
}

#[test]
fn of_the_native_protocol() {
    check("errors/native", |code| Native.row(code));
}

#[test]
fn of_the_open_inference_protocol() {
    check("errors/open_inference", |code| OpenInference.row(code));
}

#[test]
fn of_tensorflow_serving() {
    check("errors/tensorflow_serving", |code| TensorFlowServing.row(code));
}

#[test]
fn of_torchserve() {
    check("errors/torchserve", |code| TorchServe.row(code));
}

#[test]
fn of_torchserve_management() {
    check("errors/torchserve_management", management_row);
}
