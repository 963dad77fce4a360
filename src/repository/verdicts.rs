//! Verdicts on model files, kept over restarts: one small JSON file each, named by all that the
//! verdict depends on.
//!
//! What is remembered: that a file passed, with what was found; that it is no model or is refused. What
//! is not: that the trial ended by a crash or ran out of time or memory, which may have been
//! the machine's fault, and that a file could not be read. A verdict that cannot be read counts as
//! absent; a folder that cannot be written costs a trial at each start, and one warning.
//!
//! A verdict decides whether code runs, and the folder may be open to others: each ends with a code over its name and its
//! words, made with a key (see [`seal`](super::seal)) that the server alone has. One without the right code counts as absent.

use super::fingerprint::hex;
use super::record::Record;
use super::seal::Seal;
use super::state_file::{read, write};
use super::verdict::Verdict;
use crate::engine::Device;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Changes when verdicts of an earlier program must not be believed.
const FORMAT: &str = "8";
/// Maximum verdicts that are kept; the oldest go first.
const MAX_VERDICTS: usize = 1000;
/// Longest verdict that is read, in bytes.
const MAX_VERDICT_BYTES: u64 = 1 << 20;

/// All that a verdict depends on.
#[derive(Debug)]
pub(super) struct VerdictKey<'a> {
    pub(super) model_digest: &'a str,
    pub(super) source_digest: &'a str,
    pub(super) libtorch: &'a str,
    /// What operators of other libraries compute is theirs to change.
    pub(super) libraries: &'a str,
    pub(super) device: Device,
    /// The probe compares batches of this size.
    pub(super) max_batch_size: usize,
    /// Trust turns a refusal into a pass.
    pub(super) trusted: bool,
    /// So does a process of its own.
    pub(super) may_be_isolated: bool,
    /// Whether the fastest form was looked for. The rest of what is wanted stands in model.toml.
    pub(super) optimize: bool,
}

impl VerdictKey<'_> {
    fn file_name(&self) -> String {
        let parts = [
            FORMAT,
            env!("CARGO_PKG_VERSION"),
            self.model_digest,
            self.source_digest,
            self.libtorch,
            self.libraries,
            &self.device.to_string(),
            &self.max_batch_size.to_string(),
            if self.trusted { "trusted" } else { "" },
            if self.may_be_isolated { "isolated" } else { "" },
            if self.optimize { "optimize" } else { "" },
        ];
        // None of the parts holds a line break.
        format!("{}.json", hex(&Sha256::digest(parts.join("\n"))))
    }
}

/// The folder of verdicts.
#[derive(Debug)]
pub(super) struct Verdicts {
    folder: Option<PathBuf>,
    seal: Arc<Seal>,
    has_warned: Arc<AtomicBool>,
}

/// The place of one verdict.
#[derive(Debug, Clone)]
pub(super) struct VerdictFile {
    folder: Option<PathBuf>,
    name: String,
    seal: Arc<Seal>,
    has_warned: Arc<AtomicBool>,
}

impl Verdicts {
    /// Verdicts below `state_dir`; without one, nothing is remembered.
    pub(super) fn new(state_dir: Option<&Path>) -> Self {
        let folder = state_dir.map(|path| path.join("verdicts"));
        let seal = Arc::new(Seal::new(state_dir));
        Self { folder, seal, has_warned: Arc::default() }
    }

    /// An earlier verdict.
    pub(super) fn get(&self, key: &VerdictKey<'_>) -> Option<Verdict> {
        let name = key.file_name();
        let path = self.folder.as_ref()?.join(&name);
        let text = read(&path, MAX_VERDICT_BYTES).ok()?;
        let Some(words) = self.seal.open(&name, &text) else {
            tracing::warn!(
                file = %path.display(),
                "a verdict is not by this server, or was changed: the model is tried again"
            );
            return None;
        };
        let record: Record = serde_json::from_str(words).ok()?;
        record.try_into().ok()
    }

    /// Where the verdict of this key lies.
    pub(super) fn file(&self, key: &VerdictKey<'_>) -> VerdictFile {
        let (folder, has_warned) = (self.folder.clone(), Arc::clone(&self.has_warned));
        VerdictFile { folder, name: key.file_name(), seal: Arc::clone(&self.seal), has_warned }
    }
}

impl VerdictFile {
    /// Remembers a verdict.
    pub(super) fn put(&self, verdict: &Verdict) {
        let Some(folder) = &self.folder else { return };
        let text = serde_json::to_string(&Record::from(verdict)).map_err(io::Error::from);
        let sealed = text.and_then(|text| self.seal.close(&self.name, text));
        let written = sealed.and_then(|text| write(folder, &self.name, text.as_bytes()));
        if let Err(error) = written.and_then(|()| prune(folder, MAX_VERDICTS))
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                folder = %folder.display(), %error,
                "verdicts cannot be kept, so every start tries every model again"
            );
        }
    }
}

/// Removes the oldest files over `max_files`. What a crash left half-written ages out the same way.
fn prune(folder: &Path, max_files: usize) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort();
    let excess = files.len().saturating_sub(max_files);
    for (_, path) in &files[..excess] {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::failure::{FailureCode, ModelFailure};
    use super::*;
    use crate::engine::probe::{
        Findings, FormFacts, FormFindings, RunTimes, ShapeSource, TimedRun, TriedForm,
    };
    use crate::engine::{ModelForm, Rewrite};
    use crate::inference::BatchingScope;
    use crate::inference::{AnswerForm, Batching, Contract, TensorSpec};
    use crate::inference::{InputPadding, Padding};
    use crate::tensor::{DataType, ShapePattern};
    use std::time::Duration;

    fn key(model_digest: &str) -> VerdictKey<'_> {
        VerdictKey {
            model_digest,
            source_digest: "s",
            libtorch: "2.13.0",
            libraries: "",
            device: Device::Cpu,
            max_batch_size: 64,
            trusted: false,
            may_be_isolated: true,
            optimize: true,
        }
    }

    fn no_model() -> ModelFailure {
        ModelFailure::new(FailureCode::NotAModel, "no model")
    }

    fn passed() -> Verdict {
        let tensor = |name: &str, shape: ShapePattern| TensorSpec {
            name: name.into(),
            datatype: DataType::Fp32,
            shape,
            optional: false,
            declared: true,
        };
        let run = |n_rows, duration| TimedRun { n_rows, duration };
        let times = RunTimes {
            min_rows: run(1, Duration::from_nanos(123)),
            max_rows: run(64, Duration::from_millis(4)),
        };
        let frozen = ModelForm { rewrite: Rewrite::Frozen, ..ModelForm::PLAIN };
        let facts = FormFacts { gain: 1.25, difference: 3e-7, changed: Some((0, 70)), times };
        let optimized = ModelForm { rewrite: Rewrite::Optimized, ..ModelForm::PLAIN };
        let out = TriedForm { form: optimized, outcome: Err("it raised".into()) };
        Verdict::Passed(Box::new(Findings {
            inputs: vec![tensor("x", ShapePattern::from_wire(&[-1, 3]).unwrap())],
            outputs: vec![tensor("y", ShapePattern::Unknown)],
            contract: Contract {
                form: AnswerForm::List,
                inputs_have_rows: false,
                squeezed: vec![true],
                own_names: vec!["own".into()],
                may_have_more: true,
                batching_scope: BatchingScope { given: vec![true, false], any_sizes: true },
                one_size: Vec::new(),
                sizes: Vec::new(),
                content: None,
            },
            batching: Batching::Coupled,
            grounds: Some("mean is taken over the rows".into()),
            padding: Some(Padding {
                pads: vec![Some(InputPadding { axis: 1, element: [1, 2].into() }), None],
                given: vec![true, false],
                follows: vec![vec![1, 2], vec![]],
                buckets: vec![8, 16],
            }),
            shape_source: ShapeSource::Guessed,
            notes: vec!["a note".into()],
            times: Some(times),
            curve: vec![run(1, Duration::from_nanos(7)), run(2, Duration::from_nanos(9))],
            form: FormFindings {
                chosen: frozen,
                tried: vec![TriedForm { form: frozen, outcome: Ok(facts) }, out],
            },
            risk: Some("aten::lu_unpack trusts what it is given".into()),
        }))
    }

    #[test]
    fn a_verdict_is_read_back_under_its_own_key_alone() {
        let folder = tempfile::tempdir().unwrap();
        let verdicts = Verdicts::new(Some(folder.path()));
        verdicts.file(&key("a")).put(&passed());
        verdicts.file(&key("b")).put(&Verdict::Failed(no_model()));
        assert_eq!(verdicts.get(&key("a")), Some(passed()));
        assert_eq!(verdicts.get(&key("b")), Some(Verdict::Failed(no_model())));
        assert_eq!(verdicts.get(&key("c")), None);
        assert_eq!(verdicts.get(&VerdictKey { trusted: true, ..key("a") }), None);
        assert_eq!(verdicts.get(&VerdictKey { device: Device::Cuda(0), ..key("a") }), None);
        assert_eq!(verdicts.get(&VerdictKey { optimize: false, ..key("a") }), None);
        assert_eq!(verdicts.get(&VerdictKey { libtorch: "2.14.0", ..key("a") }), None);
        assert_eq!(verdicts.get(&VerdictKey { libraries: "0f", ..key("a") }), None);
    }

    #[test]
    fn what_was_written_without_the_key_is_no_verdict() {
        let folder = tempfile::tempdir().unwrap();
        let verdicts = Verdicts::new(Some(folder.path()));
        verdicts.file(&key("a")).put(&Verdict::Failed(no_model()));
        let file = |model| folder.path().join("verdicts").join(key(model).file_name());
        let sealed = fs::read_to_string(file("a")).unwrap();
        // Another's verdict under this name, other words under this code, words alone.
        fs::write(file("b"), &sealed).unwrap();
        assert_eq!(verdicts.get(&key("b")), None);
        let (words, code) = sealed.split_once('\n').unwrap();
        for forged in [words.to_owned(), format!("{words}\n"), format!("{words} \n{code}")] {
            fs::write(file("a"), &forged).unwrap();
            assert_eq!(verdicts.get(&key("a")), None, "{forged:?}");
        }
        fs::write(file("a"), &sealed).unwrap();
        let again = Verdicts::new(Some(folder.path()));
        assert!(again.get(&key("a")).is_some(), "a restart has the same key");
        let elsewhere = tempfile::tempdir().unwrap();
        let other = Verdicts::new(Some(elsewhere.path()));
        other.file(&key("a")).put(&passed());
        fs::copy(elsewhere.path().join("verdicts").join(key("a").file_name()), file("a")).unwrap();
        assert_eq!(verdicts.get(&key("a")), None, "another server has another key");
    }

    #[test]
    fn what_cannot_be_read_or_written_is_no_verdict_and_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let verdicts = Verdicts::new(Some(folder.path()));
        verdicts.file(&key("a")).put(&passed());
        let file = folder.path().join("verdicts").join(key("a").file_name());
        for garbage in ["", "{", "{\"passed\":{}}", "[]"] {
            fs::write(&file, garbage).unwrap();
            assert_eq!(verdicts.get(&key("a")), None, "{garbage:?} must count as absent");
        }
        fs::write(folder.path().join("file"), "").unwrap();
        let nowhere = Verdicts::new(Some(&folder.path().join("file")));
        nowhere.file(&key("a")).put(&passed());
        assert_eq!(nowhere.get(&key("a")), None);
        let nothing = Verdicts::new(None);
        nothing.file(&key("a")).put(&passed());
        assert_eq!(nothing.get(&key("a")), None);
    }

    #[test]
    fn what_lies_in_the_place_of_a_verdict_and_is_no_file_counts_as_absent() {
        let folder = tempfile::tempdir().unwrap();
        let verdicts = Verdicts::new(Some(folder.path()));
        let place = folder.path().join("verdicts").join(key("m").file_name());
        verdicts.file(&key("m")).put(&passed());
        assert!(verdicts.get(&key("m")).is_some());
        let elsewhere = folder.path().join("elsewhere");
        fs::rename(&place, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &place).unwrap();
        assert_eq!(verdicts.get(&key("m")), None, "a link is not followed");
        fs::remove_file(&place).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &place,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        assert_eq!(verdicts.get(&key("m")), None, "a pipe must not be waited for");
    }

    #[test]
    fn the_oldest_verdicts_go_first() {
        let folder = tempfile::tempdir().unwrap();
        for (name, age) in [("old", 300), ("new", 100), ("older", 500)] {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            let now = std::time::SystemTime::now();
            file.set_modified(now - std::time::Duration::from_secs(age)).unwrap();
        }
        prune(folder.path(), 1).unwrap();
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["new"]);
    }
}
