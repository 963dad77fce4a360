//! What lies in a model's folder beside its versions: model.toml, labels and the sample, read and
//! bounded.

use super::fingerprint::hex;
use super::layout::{MANIFEST_FILE, ModelFolder, SAMPLE_FILE};
use super::manifest::{FolderFile, LabelSource, Manifest, are_labels};
use super::text_file::{read_bounded, read_bytes, read_text};
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Largest tokenizer.json: those of large vocabularies have about 20 MB.
const MAX_TOKENIZER_BYTES: u64 = 64 << 20;

/// The texts of a model's folder.
#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    pub(super) manifest: Manifest,
    pub(super) labels: Option<Vec<Arc<str>>>,
    /// The bytes of its tokenizer.json.
    pub(super) tokenizer: Option<Arc<[u8]>>,
    /// The text of sample.json.
    pub(super) sample: Option<Arc<str>>,
    /// SHA-256 of all the texts together.
    pub(super) digest: String,
}

impl Source {
    /// Reads a folder.
    pub(super) fn read(folder: &ModelFolder) -> Result<Self, String> {
        let name = &folder.name;
        let file = format!("{name}/{MANIFEST_FILE}");
        for text in [MANIFEST_FILE, SAMPLE_FILE] {
            folder
                .stays_within(&folder.path.join(text))
                .map_err(|error| format!("{name}/{text}: {error}"))?;
        }
        let manifest_text = read_text(&folder.path.join(MANIFEST_FILE), &file)?;
        let manifest = Manifest::parse(&file, manifest_text.as_deref().unwrap_or_default())
            .map_err(|error| error.to_string())?;
        let (labels, labels_text) = match &manifest.labels {
            None => (None, None),
            Some(LabelSource::Listed(labels)) => (Some(labels.clone()), None),
            Some(LabelSource::File(path)) => {
                let text = read_inside(&folder.path, path, read_bounded)
                    .map_err(|error| format!("{name}/{path}: {error}"))?;
                let labels: Vec<Arc<str>> = text.lines().map(Arc::from).collect();
                if !are_labels(&labels) {
                    return Err(format!(
                        "{name}/{path}: expected two or more different labels, one a line"
                    ));
                }
                (Some(labels), Some(text))
            }
        };
        let tokenizer = match &manifest.text.tokenizer {
            None => None,
            Some(FolderFile(path)) => Some(
                read_inside(&folder.path, path, |file| read_bytes(file, MAX_TOKENIZER_BYTES))
                    .map_err(|error| format!("{name}/{path}: {error}"))?,
            ),
        };
        let sample = read_text(&folder.path.join(SAMPLE_FILE), &format!("{name}/{SAMPLE_FILE}"))?;
        let mut hash = Sha256::new();
        let texts = [&manifest_text, &labels_text, &sample];
        let texts = texts.map(|text| text.as_deref().map(str::as_bytes));
        for bytes in texts.into_iter().chain([tokenizer.as_deref()]) {
            // The length goes first, so that text cannot move from one file to the next unnoticed. No file is another thing
            // than one without text.
            let len = bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
            hash.update(len.to_le_bytes());
            hash.update(bytes.unwrap_or_default());
        }
        let digest = hex(&hash.finalize());
        let (tokenizer, sample) = (tokenizer.map(Arc::from), sample.map(Arc::from));
        Ok(Self { manifest, labels, tokenizer, sample, digest })
    }

    /// Whether the server is to be ready only with this model.
    pub(super) fn is_required(&self) -> bool {
        self.manifest.required != Some(false)
    }
}

/// A file that model.toml names. Links may not lead out of the folder: whoever writes the folder would get to read what the
/// server may read.
fn read_inside<T>(
    folder: &Path,
    path: &str,
    read: impl FnOnce(&Path) -> io::Result<T>,
) -> io::Result<T> {
    let file = folder.join(path).canonicalize()?;
    if !file.starts_with(folder.canonicalize()?) {
        return Err(io::Error::other("the file lies outside of the model's folder"));
    }
    read(&file)
}

#[cfg(test)]
mod tests {
    use super::super::layout;
    use super::*;
    use std::fs;

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, ModelFolder) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("m/1")).unwrap();
        fs::write(root.path().join("m/1/model.pt"), "").unwrap();
        for (file, text) in files {
            fs::write(root.path().join("m").join(file), text).unwrap();
        }
        let folder = layout::find(root.path(), &[], &"m".parse().unwrap()).unwrap();
        (root, folder)
    }

    #[test]
    fn labels_come_from_a_file_and_every_text_changes_the_digest() {
        let toml = "labels_file = \"labels.txt\"";
        let (_root, plain) = folder(&[("model.toml", toml), ("labels.txt", "a\nb\n")]);
        let source = Source::read(&plain).unwrap();
        assert_eq!(source.labels.unwrap().len(), 2);
        let (_root, other) = folder(&[("model.toml", toml), ("labels.txt", "a\nc\n")]);
        assert_ne!(Source::read(&other).unwrap().digest, source.digest);
        let (_root, sampled) =
            folder(&[("model.toml", toml), ("labels.txt", "a\nb\n"), ("sample.json", "{}")]);
        let sampled = Source::read(&sampled).unwrap();
        assert_ne!(sampled.digest, source.digest);
        assert_eq!(sampled.sample.as_deref(), Some("{}"));
    }

    #[test]
    fn a_file_without_text_is_not_the_same_as_none() {
        let digest = |files: &[(&str, &str)]| Source::read(&folder(files).1).unwrap().digest;
        assert_ne!(digest(&[("sample.json", "")]), digest(&[]));
        assert_ne!(digest(&[("model.toml", "")]), digest(&[]));
    }

    #[test]
    fn a_link_out_of_the_folder_is_not_read() {
        let (root, folder) = folder(&[("model.toml", "labels_file = \"labels.txt\"")]);
        fs::write(root.path().join("secret"), "x\ny\n").unwrap();
        std::os::unix::fs::symlink("../secret", folder.path.join("labels.txt")).unwrap();
        let error = Source::read(&folder).unwrap_err();
        assert_eq!(error, "m/labels.txt: the file lies outside of the model's folder");
    }

    #[test]
    fn what_is_no_plain_short_text_is_refused() {
        let long = " ".repeat(1 << 21);
        let (_root, long) = folder(&[("sample.json", &long)]);
        assert_eq!(
            Source::read(&long).unwrap_err(),
            "m/sample.json: the file is longer than 1 MiB"
        );
        let (_root, odd) = folder(&[]);
        fs::create_dir(odd.path.join("model.toml")).unwrap();
        assert_eq!(Source::read(&odd).unwrap_err(), "m/model.toml: not a plain file");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_text() {
        let texts = [
            ("model.toml", "labels_file = \"labels.txt\"\nrequired = false"),
            ("labels.txt", "a\r\nb\r\n"),
            ("sample.json", "{}"),
        ];
        let marked = texts.map(|(file, text)| (file, format!("\u{feff}{text}")));
        let (_root, plain) = folder(&texts);
        let (_root, marked) = folder(&marked.each_ref().map(|(file, text)| (*file, &**text)));
        let (plain, marked) = (Source::read(&plain).unwrap(), Source::read(&marked).unwrap());
        assert_eq!(marked.labels.as_deref().unwrap(), ["a".into(), "b".into()]);
        assert_eq!(marked.sample.as_deref(), Some("{}"));
        assert!(!marked.is_required());
        assert_eq!(marked.digest, plain.digest);
        let (_root, wide) = folder(&[]);
        fs::write(wide.path.join("sample.json"), b"\xff\xfe{\0}\0").unwrap();
        let error = Source::read(&wide).unwrap_err();
        assert_eq!(error, "m/sample.json: the file is UTF-16, expected UTF-8");
    }
}
