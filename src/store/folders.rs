//! The folder of a store on this machine, and the steps by which something becomes visible in it.
//!
//! `models` is what the server reads. `staging` beside it, on the same file system, holds `parts` of files, `fresh` folders
//! of versions that are put together, and `old` ones that are being deleted. What changes in `models` changes by one rename.

use super::error::StoreError;
use super::keys;
use super::plan::Id;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The folders of one store.
#[derive(Debug)]
pub(super) struct Folders {
    root: PathBuf,
    pub(super) models: PathBuf,
    parts: PathBuf,
    fresh: PathBuf,
    old: PathBuf,
    n_old: u64,
}

/// An error of the disk at this place.
pub(super) fn disk(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Disk { path, source }
}

/// Writes a whole file or none.
pub(super) fn write_whole(path: &Path, text: &[u8]) -> Result<(), StoreError> {
    let draft = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&draft)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(disk(path))
}

impl Folders {
    /// Makes what is not there.
    pub(super) fn open(root: PathBuf) -> Result<Self, StoreError> {
        let staging = root.join("staging");
        let folders = Self {
            models: root.join("models"),
            parts: staging.join("parts"),
            fresh: staging.join("fresh"),
            old: staging.join("old"),
            n_old: 0,
            root,
        };
        for folder in [&folders.models, &folders.parts, &folders.fresh, &folders.old] {
            fs::create_dir_all(folder).map_err(disk(folder))?;
        }
        Ok(folders)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Keeps other processes from changing the folder, for as long as the file is open.
    pub(super) fn lock(&self) -> Result<File, StoreError> {
        let path = self.root.join("lock");
        let mut options = File::options();
        // A pipe in its place is not waited for.
        options.write(true).create(true).truncate(false).custom_flags(libc::O_NONBLOCK);
        let file = options.open(&path);
        let file = file.map_err(disk(&path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(Errno::WOULDBLOCK) => Err(StoreError::Shared(self.root.clone())),
            Err(error) => Err(disk(&path)(error.into())),
        }
    }

    /// Removes what a process left that ended in the middle; parts of files stay, and are gone on with. Only whoever has the
    /// lock may do this.
    pub(super) fn clear_leftovers(&self) -> Result<(), StoreError> {
        for folder in [&self.fresh, &self.old] {
            for path in entries(folder)? {
                delete(&path)?;
            }
        }
        Ok(())
    }

    pub(super) fn model(&self, name: &str) -> PathBuf {
        self.models.join(name)
    }

    pub(super) fn version(&self, id: &Id) -> PathBuf {
        self.models.join(&id.0).join(id.1.to_string())
    }

    /// Where the part of a file lies that is so called.
    pub(super) fn part(&self, name: &str) -> PathBuf {
        self.parts.join(name)
    }

    pub(super) fn is_part(&self, path: &Path) -> bool {
        path.starts_with(&self.parts)
    }

    pub(super) fn parts(&self) -> Result<Vec<PathBuf>, StoreError> {
        entries(&self.parts)
    }

    /// The names of what lies in the models folder.
    pub(super) fn models(&self) -> Result<Vec<String>, StoreError> {
        Ok(entries(&self.models)?.iter().filter_map(|path| name(path)).collect())
    }

    /// The versions that lie here.
    pub(super) fn versions(&self) -> Result<BTreeSet<Id>, StoreError> {
        let mut versions = BTreeSet::new();
        for model in self.models()? {
            for path in entries(&self.model(&model)).unwrap_or_default() {
                let number = name(&path).and_then(|name| keys::number(&name));
                versions.extend(number.map(|number| (model.clone(), number)));
            }
        }
        Ok(versions)
    }

    /// Makes a folder whose files are links to these, and puts it in the place of what is there.
    pub(super) fn place_version(
        &mut self,
        id: &Id,
        files: &[(String, PathBuf)],
    ) -> Result<(), StoreError> {
        let fresh = self.fresh.join(format!("{}@{}", id.0, id.1));
        delete(&fresh)?;
        fs::create_dir(&fresh).map_err(disk(&fresh))?;
        for (name, source) in files {
            let target = fresh.join(name);
            // Not every file system has links.
            fs::hard_link(source, &target)
                .or_else(|_| copy_with_time(source, &target))
                .map_err(disk(&target))?;
        }
        sync_folder(&fresh);
        let target = self.version(id);
        self.make_model(&id.0)?;
        self.swap(&fresh, &target)?;
        sync_folder(&self.model(&id.0));
        Ok(())
    }

    /// Moves a file beside the versions of a model.
    pub(super) fn place_file(
        &mut self,
        model: &str,
        name: &str,
        part: &Path,
    ) -> Result<(), StoreError> {
        self.make_model(model)?;
        let target = self.model(model).join(name);
        if fs::symlink_metadata(&target).is_ok_and(|it| it.is_dir()) {
            self.remove(&target)?;
        }
        fs::rename(part, &target).map_err(disk(&target))?;
        sync_folder(&self.model(model));
        Ok(())
    }

    /// A folder, and no link that somebody put there.
    fn make_model(&mut self, name: &str) -> Result<(), StoreError> {
        let folder = self.model(name);
        if fs::symlink_metadata(&folder).is_ok_and(|it| !it.is_dir()) {
            self.remove(&folder)?;
        }
        fs::create_dir_all(&folder).map_err(disk(&folder))
    }

    /// Puts `fresh` where `target` is, in one step where the file system knows it.
    fn swap(&mut self, fresh: &Path, target: &Path) -> Result<(), StoreError> {
        match renameat_with(CWD, fresh, CWD, target, RenameFlags::EXCHANGE) {
            // What was there lies under the other name now.
            Ok(()) => return self.remove(fresh),
            Err(Errno::NOENT) => {}
            Err(_) => self.remove(target)?,
        }
        fs::rename(fresh, target).map_err(disk(target))
    }

    /// Takes something out of sight in one step, and deletes it then.
    pub(super) fn remove(&mut self, path: &Path) -> Result<(), StoreError> {
        self.n_old += 1;
        let old = self.old.join(self.n_old.to_string());
        delete(&old)?;
        fs::rename(path, &old).map_err(disk(path))?;
        delete(&old)
    }
}

fn name(path: &Path) -> Option<String> {
    path.file_name()?.to_str().map(str::to_owned)
}

/// What lies in a folder.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let read = fs::read_dir(folder).and_then(|it| it.map(|entry| Ok(entry?.path())).collect());
    read.map_err(disk(folder))
}

/// Deletes a file, a link or a whole folder, if there is one.
pub(super) fn delete(path: &Path) -> Result<(), StoreError> {
    let deleted = match fs::symlink_metadata(path) {
        Ok(it) if it.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    deleted.map_err(disk(path))
}

/// The time tells the index that it is the same file.
fn copy_with_time(source: &Path, target: &Path) -> io::Result<()> {
    fs::copy(source, target)?;
    let file = File::options().write(true).open(target)?;
    file.set_modified(fs::metadata(source)?.modified()?)?;
    file.sync_all()
}

/// That a rename outlives a power failure is worth a try and no failure.
fn sync_folder(folder: &Path) {
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}
