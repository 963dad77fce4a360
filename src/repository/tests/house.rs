//! A folder of models whose files are scripts, and loaders that do what these say.

use super::*;
use crate::engine::fake::{FakeModel, Seen};
use crate::engine::{
    Artifact, Death, Device, EngineError, Fault, Interface, LoadOptions, Model, ModelForm, Reach,
    Rewrite, Signature, TensorType,
};
use crate::inference::{ErrorCode, ModelSpec, NamedTensor, SizeRule};
use crate::telemetry::MetricsOptions;
use crate::tensor::{Shape, ShapePattern, Tensor};
use crate::testing::receive;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, Sender};

/// What a model file says is what loading it does.
#[derive(Default)]
pub(super) struct Scripted {
    pub(super) loads: Mutex<Vec<String>>,
    pub(super) forms: Mutex<Vec<LoadOptions>>,
    pub(super) seen: Mutex<Vec<Arc<Seen>>>,
    /// Met by every load of a file that says `wait`.
    pub(super) gate: Mutex<Option<(Sender<()>, Receiver<()>)>>,
}

impl Scripted {
    pub(super) fn loads(&self) -> usize {
        self.loads.lock().unwrap().len()
    }

    /// Engines over all models that it has loaded.
    pub(super) fn live(&self) -> usize {
        self.seen.lock().unwrap().iter().map(|seen| seen.live()).sum()
    }
}

impl Loader for Scripted {
    fn load(
        &self,
        artifact: &Artifact,
        options: &LoadOptions,
    ) -> Result<Box<dyn Model>, EngineError> {
        let script = fs::read_to_string(&artifact.path).unwrap();
        if options.form == ModelForm::PLAIN {
            self.loads.lock().unwrap().push(script.clone());
        } else {
            self.forms.lock().unwrap().push(options.clone());
        }
        let fault = match &*script {
            "invalid" => Fault::InvalidFile,
            "crash" => Fault::Died(Death::Crashed),
            "hang" => Fault::TimedOut,
            "panic" => panic!("asked to"),
            _ => {
                let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some((reached, proceed)) = gate.filter(|_| script == "wait") {
                    reached.send(()).unwrap();
                    receive("the word to go on", &proceed);
                }
                let model = match &*script {
                    "saves" => {
                        with_signature(|it| it.reach = Reach::Operators(vec!["aten::save".into()]))
                    }
                    "stateful" => with_signature(|it| it.mutates_state = true),
                    "native" => with_signature(native),
                    "slow" => slow(),
                    "slow native" => {
                        let mut signature = slow().signature().clone();
                        native(&mut signature);
                        slow().with_signature(signature)
                    }
                    "bounded" => with_signature(|it| it.interface = Some(Arc::new(bounded()))),
                    _ => FakeModel::echo(),
                };
                let is_fast = script == "fast" && options.form.rewrite == Rewrite::Frozen;
                let model = model.with_cost(Duration::from_micros(if is_fast { 5 } else { 10 }));
                self.seen.lock().unwrap().push(model.seen());
                return Ok(Box::new(model));
            }
        };
        let message = format!("{}: {script}", artifact.path.display());
        Err(EngineError::new(fault, message))
    }

    fn devices(&self) -> Vec<Device> {
        vec![Device::Cpu]
    }
}

fn with_signature(change: impl FnOnce(&mut Signature)) -> FakeModel {
    let model = FakeModel::echo();
    let mut signature = model.signature().clone();
    change(&mut signature);
    model.with_signature(signature)
}

/// One that takes far longer than the others.
fn slow() -> FakeModel {
    FakeModel::new(|batch| {
        std::thread::sleep(Duration::from_millis(10));
        Ok(batch.inputs.into_iter().flatten().collect())
    })
}

/// As a package has it.
fn native(signature: &mut Signature) {
    signature.reach = Reach::Native;
    signature.interface = Some(Arc::new(bounded()));
}

/// Of a model that takes `[-1, 1]`, one to five rows.
fn bounded() -> Interface {
    let shape = ShapePattern::from_wire(&[-1, 1]).unwrap();
    let rows = SizeRule { places: vec![(0, 0)], min: 1, max: Some(5) };
    let inputs = vec![TensorType { datatype: DataType::Fp32, shape }];
    Interface { inputs, sizes: vec![rows], outputs: vec![None] }
}

pub(super) const MANIFEST: &str = "[[inputs]]\nname = \"x\"\ndatatype = \"FP32\"\nshape = [-1, 1]\n\
    [[outputs]]\nname = \"y\"\ndatatype = \"FP32\"\nshape = [-1, 1]\n";

pub(super) struct House {
    pub(super) root: tempfile::TempDir,
    pub(super) trial: Arc<Scripted>,
    pub(super) serving: Arc<Scripted>,
    pub(super) events: Events,
}

impl House {
    /// Models by the text of their first version.
    pub(super) fn new(models: &[(&str, &str)]) -> Self {
        let house = Self {
            root: tempfile::tempdir().unwrap(),
            trial: Arc::default(),
            serving: Arc::default(),
            events: Events::new(),
        };
        fs::create_dir(house.root.path().join("models")).unwrap();
        for (name, script) in models {
            house.write(&format!("{name}/1/model.pt"), script);
            house.write(&format!("{name}/model.toml"), MANIFEST);
        }
        house
    }

    pub(super) fn write(&self, file: &str, text: &str) {
        let path = self.models().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn models(&self) -> PathBuf {
        self.root.path().join("models")
    }

    pub(super) fn parts(&self) -> RepositoryParts {
        RepositoryParts {
            options: RepositoryOptions {
                state_dir: Some(self.root.path().join("state")),
                ..RepositoryOptions::new(self.models())
            },
            trial_loader: self.trial.clone(),
            isolated_loader: self.serving.clone(),
            loader: self.serving.clone(),
            decode_sample: Arc::new(decode),
            permits: Permits::new(1),
            metrics: Metrics::new(MetricsOptions::default()),
            verifier: None,
            events: self.events.clone(),
        }
    }

    pub(super) fn open(&self) -> Repository {
        Repository::open(self.parts()).unwrap()
    }

    pub(super) fn loaded(&self) -> Repository {
        let repository = self.open();
        let _ = repository.check();
        repository
    }
}

/// A sample is one number.
fn decode(text: &[u8], _: &ModelSpec) -> Result<Vec<NamedTensor>, InferError> {
    let number = std::str::from_utf8(text).unwrap().trim().parse::<f32>();
    let number = number.map_err(|_| InferError::new(ErrorCode::InvalidJson, "no number"))?;
    let tensor = Tensor::from_vec(Shape::from([1, 1]), vec![number]).unwrap();
    Ok(vec![NamedTensor { name: "x".into(), tensor }])
}

pub(super) fn name(text: &str) -> ModelName {
    text.parse().unwrap()
}

pub(super) fn latest(text: &str) -> ModelRef {
    ModelRef { name: name(text), version: VersionSelector::Default }
}

pub(super) fn resolve(repository: &Repository, text: &str) -> Result<u64, ErrorCode> {
    repository.resolve(&latest(text)).map(|handle| handle.version().0).map_err(|error| error.code)
}

pub(super) fn reason(repository: &Repository, text: &str) -> String {
    repository
        .describe(&name(text))
        .unwrap()
        .problem
        .map_or_else(String::new, |it| it.details().to_owned())
}
