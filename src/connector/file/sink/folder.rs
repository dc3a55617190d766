//! The folder of a file sink: one owner, files aside until their epoch is committed.
//!
//! ```text
//! .weir-tmp/open-<actor>.json          being written
//!      | seal: fsync, rename
//! .weir-tmp/<epoch>-<actor>.json       durable, not yet visible
//!      | commit: rename
//! part-<epoch>-<actor>.json            visible, never touched again
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::common::{Error, ErrorKind, Result, failpoint};
use crate::types::{Epoch, JobId};

const ASIDE: &str = ".weir-tmp";
const OWNER: &str = "owner";
const OPEN: &str = "open-";

pub(super) struct Folder {
    path: PathBuf,
    aside: PathBuf,
    /// Who may write here: the data folder and the sink.
    owner: String,
    /// The locked owner file; not held while an older handle of the same sink holds it.
    lock: Mutex<Option<File>>,
}

impl Folder {
    /// Makes the folder and takes it for the sink.
    ///
    /// # Errors
    /// `ObjectInUse` if another sink writes there.
    pub fn open(path: PathBuf, data_dir: &Path, sink: JobId) -> Result<Self> {
        let aside = path.join(ASIDE);
        fs::create_dir_all(&aside).map_err(|e| failed("create", &aside, e))?;
        let data_dir = fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_path_buf());
        let owner = format!("{}\n{sink}\n", data_dir.display());
        let folder = Self { path, aside, owner, lock: Mutex::new(None) };
        folder.ensure_owned()?;
        Ok(folder)
    }

    /// Takes the folder, unless another handle of the same sink has it.
    fn ensure_owned(&self) -> Result<()> {
        let mut lock = self.lock.lock();
        if lock.is_some() {
            return Ok(());
        }
        let path = self.aside.join(OWNER);
        let cannot = |e| failed("open", &path, e);
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(cannot)?;
        let locked = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(e)) => return Err(failed("lock", &path, e)),
        };
        let mut owner = String::new();
        file.read_to_string(&mut owner).map_err(cannot)?;
        if owner == self.owner {
            *lock = locked.then_some(file);
            return Ok(());
        }
        let data_dir = |owner: &str| owner.lines().next().unwrap_or_default().to_string();
        if !locked {
            let message = format!("another sink writes to \"{}\"", self.path.display());
            return Err(Error::new(ErrorKind::ObjectInUse, message).with_hint("give each sink a folder of its own"));
        }
        if !owner.is_empty() && data_dir(&owner) != data_dir(&self.owner) {
            let folder = self.path.display();
            let message = format!("\"{folder}\" belongs to a sink of the data folder \"{}\"", data_dir(&owner));
            return Err(Error::new(ErrorKind::ObjectInUse, message).with_hint(format!(
                "choose another folder; if the data folder was moved, delete \"{}\"",
                path.display()
            )));
        }
        // New, or of a sink that was dropped.
        let written = file.rewind().and_then(|()| file.set_len(0)).and_then(|()| file.write_all(self.owner.as_bytes()));
        written.and_then(|()| file.sync_all()).map_err(|e| failed("write", &path, e))?;
        *lock = Some(file);
        Ok(())
    }

    /// A file for rows of the open epoch.
    pub fn create(&self, actor: usize, extension: &str) -> Result<File> {
        self.ensure_owned()?;
        let path = self.open_path(actor, extension);
        File::create(&path).map_err(|e| failed("create", &path, e))
    }

    /// Makes an actor's file durable as `epoch`'s.
    pub fn seal(&self, file: &File, epoch: Epoch, actor: usize, extension: &str) -> Result<()> {
        let path = self.open_path(actor, extension);
        failpoint::hit("sink.seal").and_then(|()| file.sync_all()).map_err(|e| failed("sync", &path, e))?;
        let sealed = self.aside.join(format!("{epoch}-{actor}.{extension}"));
        fs::rename(&path, &sealed).map_err(|e| failed("rename", &path, e))?;
        sync(&self.aside)
    }

    /// Makes visible what was sealed up to `epoch`; the rest stays aside.
    pub fn commit(&self, epoch: Epoch) -> Result<()> {
        self.ensure_owned()?;
        let mut any = false;
        for (sealed, name) in self.sealed()? {
            if sealed > epoch {
                continue;
            }
            let from = self.aside.join(&name);
            let (number, rest) = name.split_once('-').unwrap_or((&name, ""));
            // Names in the order of the epochs.
            let to = self.path.join(format!("part-{number:0>12}-{rest}"));
            if to.try_exists().map_err(|e| failed("look at", &to, e))? {
                let message = format!("\"{}\" exists already, it is not this sink's", to.display());
                return Err(Error::new(ErrorKind::ObjectInUse, message).with_hint("move it away"));
            }
            failpoint::hit("sink.commit")
                .and_then(|()| fs::rename(&from, &to))
                .map_err(|e| failed("rename", &from, e))?;
            any = true;
        }
        if any { sync(&self.path) } else { Ok(()) }
    }

    /// After a restart: makes visible what was sealed up to `committed`, deletes the rest.
    pub fn recover(&self, committed: Epoch) -> Result<()> {
        self.commit(committed)?;
        for entry in self.list()? {
            if entry != OWNER {
                let path = self.aside.join(entry);
                fs::remove_file(&path).map_err(|e| failed("delete", &path, e))?;
            }
        }
        sync(&self.aside)
    }

    /// Sealed files with their epochs, in order.
    fn sealed(&self) -> Result<Vec<(Epoch, String)>> {
        let mut sealed = Vec::new();
        for name in self.list()? {
            if let Some(epoch) = name.split_once('-').and_then(|(number, _)| number.parse().ok()) {
                sealed.push((Epoch(epoch), name));
            }
        }
        sealed.sort();
        Ok(sealed)
    }

    fn list(&self) -> Result<Vec<String>> {
        let read = || -> io::Result<Vec<String>> {
            fs::read_dir(&self.aside)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        read().map_err(|e| failed("list", &self.aside, e))
    }

    fn open_path(&self, actor: usize, extension: &str) -> PathBuf {
        self.aside.join(format!("{OPEN}{actor}.{extension}"))
    }
}

/// Makes the names in a folder durable.
fn sync(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| failed("sync", folder, e))
}

fn failed(what: &str, path: &Path, e: io::Error) -> Error {
    Error::from(e).context(format!("cannot {what} \"{}\"", path.display()))
}
