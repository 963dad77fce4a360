//! Folders of models, put together from the fixtures and the examples.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn fixtures() -> PathBuf {
    repository().join("tests/fixtures")
}

/// The held-out rows of an example model, or those of a reference.
pub(crate) fn held_out(file: &str) -> Value {
    let text = fs::read_to_string(fixtures().join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A folder of models; gone when dropped.
pub(crate) struct Models(TempDir);

impl Models {
    /// Good models, each of another kind.
    pub(crate) const KINDS: &[&str] = &[
        "attention",
        "bare",
        "baked",
        "bfloat16",
        "bool_output",
        "coupled",
        "dict_output",
        "double",
        "half",
        "images",
        "integers",
        "methods",
        "multi_output",
        "nan",
        "one_row",
        "pad_safe",
        "prints",
        "raises",
        "scalar_arg",
        "scalar_out",
        "slow",
        "stateful",
        "stateful_in_place",
        "tabular",
        "texts",
        "time_axis",
        "two_inputs",
        "variable",
    ];

    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// The examples and all of `KINDS`. `slow` has one instance, so that its queue can be seen.
    pub(crate) fn all() -> Self {
        let models = Self::new().example("breast_cancer").example("digits");
        Self::KINDS
            .iter()
            .fold(models, |models, name| models.fixture(name))
            .head("slow", "instances = 1")
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Adds an example model.
    pub(crate) fn example(self, name: &str) -> Self {
        copy(&repository().join("models").join(name), &self.path().join(name));
        self
    }

    /// Adds a fixture model.
    pub(crate) fn fixture(self, name: &str) -> Self {
        copy(&fixtures().join("models").join(name), &self.path().join(name));
        self
    }

    /// Adds a file of `broken/` as a model without a model.toml.
    pub(crate) fn broken(self, name: &str) -> Self {
        let source = fixtures().join("broken").join(format!("{name}.pt"));
        let folder = self.path().join(name).join("1");
        fs::create_dir_all(&folder).unwrap();
        fs::copy(source, folder.join("model.pt")).unwrap();
        self
    }

    /// Writes a line in front of a model's model.toml, where it belongs to no table.
    pub(crate) fn head(self, name: &str, line: &str) -> Self {
        let file = self.path().join(name).join("model.toml");
        let rest = fs::read_to_string(&file).unwrap_or_default();
        fs::write(file, format!("{line}\n{rest}")).unwrap();
        self
    }

    /// Writes more to the end of a model's model.toml.
    pub(crate) fn tail(self, name: &str, more: &str) -> Self {
        let file = self.path().join(name).join("model.toml");
        let text = fs::read_to_string(&file).unwrap_or_default();
        fs::write(file, text + more).unwrap();
        self
    }

    /// Writes a file into a model's folder.
    pub(crate) fn file(self, name: &str, file: &str, content: &str) -> Self {
        fs::write(self.path().join(name).join(file), content).unwrap();
        self
    }

    /// Adds a fixture model under another name, with its model.toml changed.
    pub(crate) fn changed(self, name: &str, fixture: &str, change: [&str; 2]) -> Self {
        let folder = self.path().join(name);
        copy(&fixtures().join("models").join(fixture), &folder);
        let text = fs::read_to_string(folder.join("model.toml")).unwrap();
        assert!(text.contains(change[0]), "{fixture}/model.toml must have {:?}", change[0]);
        fs::write(folder.join("model.toml"), text.replace(change[0], change[1])).unwrap();
        self
    }

    /// Adds a model compiled from the body of its `forward(self, x)`, with x FP32 [N, 4], and what more its model.toml says.
    pub(crate) fn written(self, name: &str, body: &str, more: &str) -> Self {
        let folder = self.path().join(name);
        fs::create_dir_all(folder.join("1")).unwrap();
        let module = torch_shim::Module::define(&format!("def forward(self, x):\n    {body}\n"));
        let module = module.unwrap_or_else(|error| panic!("{name}: {error}"));
        module.save(folder.join("1/model.pt")).unwrap();
        let input = "[[inputs]]\nname = \"x\"\ndatatype = \"FP32\"\nshape = [-1, 4]\n";
        fs::write(folder.join("model.toml"), format!("{input}{more}")).unwrap();
        self
    }

    /// Puts a fixture's file there as another version of `name`.
    pub(crate) fn add_version(&self, name: &str, version: u64, fixture: &str) {
        let file = fixtures().join("models").join(fixture).join("1/model.pt");
        let folder = self.path().join(name).join(version.to_string());
        fs::create_dir_all(&folder).unwrap();
        // As operators are told to: the file appears whole or not at all.
        fs::copy(file, folder.join("model.pt.part")).unwrap();
        fs::rename(folder.join("model.pt.part"), folder.join("model.pt")).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
