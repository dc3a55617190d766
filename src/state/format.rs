//! The `FORMAT` file: says what a data folder is before anything in it is touched.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::common::config::StateBackend;
use crate::common::{Error, ErrorKind, Result};

const FILE: &str = "FORMAT";
const UNFINISHED: &str = "FORMAT.tmp";
const MAGIC: &str = "weir-state";
/// Raised when a change of layout makes older releases misread the folder.
const VERSION: u32 = 1;

/// Creates the folder and its `FORMAT` file where there is nothing yet.
///
/// # Errors
/// `ConfigFile`, with nothing touched, for a folder that is not ours, of a newer version, or of another backend.
pub(super) fn check_or_create(dir: &Path, backend: StateBackend) -> Result<()> {
    fs::create_dir_all(dir).map_err(|e| at(dir, e))?;
    match fs::read(dir.join(FILE)) {
        Ok(bytes) => check(dir, &bytes, backend),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            if !is_empty(dir)? {
                return Err(refusal(format!("{} is not empty and is not a state folder of Weir", dir.display()))
                    .with_hint("choose an empty or new folder with --data-dir"));
            }
            create(dir, backend)
        }
        Err(e) => Err(at(dir, e)),
    }
}

fn check(dir: &Path, bytes: &[u8], backend: StateBackend) -> Result<()> {
    let text = String::from_utf8_lossy(bytes);
    let mut words = text.split_whitespace();
    let (magic, version, stored) = (words.next(), words.next(), words.next());
    let version = version.and_then(|v| v.parse::<u32>().ok());
    let (Some(MAGIC), Some(version)) = (magic, version) else {
        return Err(refusal(format!("{} was not written by Weir", dir.join(FILE).display()))
            .with_hint("choose an empty or new folder with --data-dir"));
    };
    if version > VERSION {
        return Err(refusal(format!(
            "{} has state format {version}; this Weir knows formats up to {VERSION}",
            dir.display()
        ))
        .with_hint("start it with the newer Weir that wrote it"));
    }
    if stored != Some(backend.name()) {
        let stored = stored.unwrap_or("no");
        return Err(refusal(format!("{} was written by the {stored} backend, not {}", dir.display(), backend.name()))
            .with_hint(format!("start with --state-backend {stored}, or choose another --data-dir")));
    }
    Ok(())
}

/// A crash while creating leaves at most the unfinished file: still empty.
fn is_empty(dir: &Path) -> Result<bool> {
    for entry in fs::read_dir(dir).map_err(|e| at(dir, e))? {
        if entry.map_err(|e| at(dir, e))?.file_name() != UNFINISHED {
            return Ok(false);
        }
    }
    Ok(true)
}

fn create(dir: &Path, backend: StateBackend) -> Result<()> {
    let write = || {
        let unfinished = dir.join(UNFINISHED);
        let mut file = File::create(&unfinished)?;
        writeln!(file, "{MAGIC} {VERSION} {}", backend.name())?;
        file.sync_all()?;
        fs::rename(&unfinished, dir.join(FILE))?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|e| at(dir, e))
}

fn refusal(message: String) -> Error {
    Error::new(ErrorKind::ConfigFile, message)
}

fn at(dir: &Path, e: std::io::Error) -> Error {
    Error::from(e).context(dir.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_folder_is_opened() {
        use StateBackend::{Memory, Sled};
        type Files = &'static [(&'static str, &'static str)];
        // (files in the folder, what opening it says)
        let cases: &[(Files, Option<&str>)] = &[
            (&[], None),
            (&[("FORMAT.tmp", "weir-st")], None),
            (&[("FORMAT", "weir-state 1 sled\n")], None),
            (&[("photo.jpg", "x")], Some("not empty")),
            (&[("FORMAT", "PNG")], Some("not written by Weir")),
            (&[("FORMAT", "")], Some("not written by Weir")),
            (&[("FORMAT", "weir-state x sled")], Some("not written by Weir")),
            (&[("FORMAT", "weir-state 2 sled")], Some("state format 2")),
            (&[("FORMAT", "weir-state 1 memory")], Some("written by the memory backend")),
            (&[("FORMAT", "weir-state 1")], Some("written by the no backend")),
        ];
        for (files, expected) in cases {
            let dir = tempfile::tempdir().unwrap();
            for (name, text) in *files {
                fs::write(dir.path().join(name), text).unwrap();
            }
            let result = check_or_create(dir.path(), Sled);
            match expected {
                None => {
                    result.unwrap();
                    check_or_create(dir.path(), Sled).unwrap();
                    assert!(check_or_create(dir.path(), Memory).is_err());
                }
                Some(text) => {
                    let e = result.unwrap_err();
                    assert!(e.message().contains(text), "{e}");
                    assert!(e.hint().is_some());
                    let left = fs::read_dir(dir.path()).unwrap().count();
                    assert_eq!(left, files.len(), "a refused folder is not touched");
                }
            }
        }
    }

    #[test]
    fn an_absent_folder_is_created() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        check_or_create(&deep, StateBackend::Sled).unwrap();
        assert!(deep.join(FILE).exists());
    }
}
