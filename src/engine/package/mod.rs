//! Packages of AOTInductor (`.pt2`): native code in an archive, taken apart here and never by libtorch's own loader, which
//! runs commands that a package names and writes where its names lead.
//!
//! Nothing of a package runs here. What comes out is its library and its weights, each in memory that nobody can change any
//! more, for a child process to load; and what its inputs are, by the exported program that travels in it.

mod document;
mod members;
mod program;
mod strides;
mod target;
#[cfg(test)]
mod tests;

use super::kind::integrity::{check_entry, find_bytes};
use super::kind::zip::{self, Entry, Reading};
use super::{Artifact, EngineError, Fault, Signature};
use members::Members;
use program::Exported;
use sealed_memory::Sealed;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Cursor, Read, Seek};

/// Longest document in a package that is read: the program of a large model without its weights.
const MAX_DOCUMENT_BYTES: u64 = 64 << 20;

/// What is in a package, ready to be loaded.
#[derive(Debug)]
pub struct Package {
    /// The library.
    pub library: File,
    /// Its weights, where they do not lie in it.
    pub weights: Option<File>,
    /// What the program says of it.
    pub signature: Signature,
    /// How its arguments and results are nested, in torch's own words, by the program: the library has them too.
    pub call_spec: [String; 2],
    /// Whether a run may write to what it is given.
    pub writes_inputs: bool,
    /// Bytes of library and weights.
    pub bytes: u64,
}

/// Why a package cannot be loaded.
type Refusal = (Fault, String);

impl Package {
    /// Takes a package apart that somebody vouches for. It is read once, and what is read has to have the digest that is
    /// vouched for, whatever becomes of the file meanwhile.
    ///
    /// # Errors
    ///
    /// Nobody vouches for it, it cannot be read, it is none that can be served here, or memory is wanting.
    pub fn open(artifact: &Artifact, max_bytes: u64) -> Result<Self, EngineError> {
        let error = |(fault, text): Refusal| EngineError::new(fault, text);
        let vouched = artifact.digest.as_deref().filter(|_| artifact.is_trusted);
        let Some(digest) = vouched else {
            let text = "the file is native code, and nobody vouches for it: a package is loaded only where trusted_models lists it";
            return Err(EngineError::new(Fault::Unsupported, text));
        };
        let bytes = read_whole(&*artifact.open()?, max_bytes).map_err(error)?;
        if hex(&Sha256::digest(&bytes)) != digest {
            let text = "the model file is not the one whose digest was taken";
            return Err(EngineError::new(Fault::InvalidFile, text));
        }
        Self::of(&bytes, max_bytes).map_err(error)
    }

    fn of(bytes: &[u8], max_bytes: u64) -> Result<Self, Refusal> {
        let mut source = Cursor::new(bytes);
        let (members, Exported { signature, call_spec, writes_inputs }) =
            examine(&mut source, max_bytes)?;
        let library = sealed(&mut source, members.library())?;
        let weights = members.weights().map(|it| sealed(&mut source, it)).transpose()?;
        let bytes = members.bytes();
        Ok(Self { library, weights, signature, call_spec, writes_inputs, bytes })
    }
}

/// What a package declares, and the bytes of its library and weights. It is read and nothing else, whoever it is by.
///
/// # Errors
///
/// It cannot be read, or is none that can be served here.
pub fn declared(mut file: &File, max_bytes: u64) -> Result<(Signature, u64), EngineError> {
    let examined = examine(&mut file, max_bytes);
    let (members, exported) = examined.map_err(|(fault, text)| EngineError::new(fault, text))?;
    Ok((exported.signature, members.bytes()))
}

/// What is wrong with a package as an archive, if anything: it is cut off or damaged, its records are packed or have odd
/// names, or it is larger than `max_bytes`.
///
/// # Errors
///
/// The file cannot be read.
pub fn damage(file: &mut File, max_bytes: u64) -> io::Result<Option<String>> {
    match entries(file, max_bytes) {
        Ok(_) => Ok(None),
        Err(Broken::Unreadable(error)) => Err(error),
        Err(Broken::Damaged(text)) => Ok(Some(text)),
    }
}

fn examine(
    source: &mut (impl Read + Seek),
    max_bytes: u64,
) -> Result<(Members, Exported), Refusal> {
    let members = Members::find(entries(source, max_bytes)?)?;
    for facts in members.facts() {
        target::check(&document::target(&document(source, facts)?)?)?;
    }
    let exported = program::read(&document(source, members.program())?)?;
    Ok((members, exported))
}

/// Why an archive is not read.
enum Broken {
    Unreadable(io::Error),
    Damaged(String),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Unreadable(error) => unreadable(&error),
            Broken::Damaged(text) => {
                (Fault::InvalidFile, format!("the package is damaged: {text}"))
            }
        }
    }
}

/// The records of an archive, each whole and as it is: nothing in a package is packed.
fn entries(source: &mut (impl Read + Seek), max_bytes: u64) -> Result<Vec<Entry>, Broken> {
    let damaged = |text: String| Err(Broken::Damaged(text));
    let mut entries: Vec<Entry> = Vec::new();
    match zip::entries(source, &mut |entry| entries.push(entry))? {
        Reading::Whole => {}
        Reading::CutOff => return damaged("it has no directory, as every zip archive has".into()),
        Reading::Unclear => return damaged("its directory cannot be read".into()),
    }
    let total = entries.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.size));
    if total > max_bytes {
        return damaged(format!("it holds {total} bytes, at most {max_bytes} are allowed"));
    }
    members::check_names(&entries).map_err(Broken::Damaged)?;
    for entry in &entries {
        if entry.method != 0 {
            let name = &entry.name;
            return damaged(format!("its record {name:?} is packed, expected all as they are"));
        }
        if let Some(fault) = check_entry(source, entry)? {
            return damaged(format!("its record {:?} {fault}", entry.name));
        }
    }
    Ok(entries)
}

/// The bytes of a record, which has been checked.
fn document(source: &mut (impl Read + Seek), entry: &Entry) -> Result<Vec<u8>, Refusal> {
    if entry.size > MAX_DOCUMENT_BYTES {
        let (name, size) = (&entry.name, entry.size);
        let text =
            format!("its record {name:?} has {size} bytes, at most {MAX_DOCUMENT_BYTES} are read");
        return Err((Fault::Unsupported, text));
    }
    let mut bytes = Vec::new();
    find_bytes(source, entry)
        .and_then(|_| source.take(entry.size).read_to_end(&mut bytes))
        .map_err(|error| unreadable(&error))?;
    Ok(bytes)
}

/// The bytes of a record in memory that nobody changes any more.
fn sealed(source: &mut (impl Read + Seek), entry: &Entry) -> Result<File, Refusal> {
    let failed = |error: io::Error| {
        let text = format!("there is no memory for the record {:?}: {error}", entry.name);
        (Fault::OutOfMemory, text)
    };
    let length = usize::try_from(entry.size).map_err(|it| failed(io::Error::other(it)))?;
    let mut sealed = Sealed::new(length).map_err(failed)?;
    find_bytes(source, entry)
        .and_then(|_| source.read_exact(&mut sealed.as_mut()[..length]))
        .map_err(|error| unreadable(&error))?;
    // The file holds the memory: the mapping is of no more use.
    sealed.file().try_clone_to_owned().map(File::from).map_err(failed)
}

fn read_whole(mut file: &File, max_bytes: u64) -> Result<Vec<u8>, Refusal> {
    let size = file.metadata().map_err(|error| unreadable(&error))?.len();
    if size > max_bytes {
        let text = format!("the package has {size} bytes, at most {max_bytes} are allowed");
        return Err((Fault::OutOfMemory, text));
    }
    // The descriptor may have been read before.
    file.rewind().map_err(|error| unreadable(&error))?;
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    let read = file.take(size.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(&error))?;
    Ok(bytes)
}

fn unreadable(error: &io::Error) -> Refusal {
    (Fault::InvalidFile, format!("the model file cannot be read: {error}"))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
