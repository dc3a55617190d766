//! The data folder: taken by one process, and closed to other users, for it holds secrets.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use crate::common::{Error, ErrorKind, Result};

/// Creates the folder if need be and takes it for this process.
pub fn lock(dir: &Path) -> Result<File> {
    let shown = dir.display();
    if let Ok(mut entries) = fs::read_dir(dir)
        && !dir.join("LOCK").exists()
        && entries.next().is_some()
    {
        let message = format!("{shown} is not empty and is not a data folder of Weir");
        return Err(
            Error::new(ErrorKind::InvalidDefinition, message).with_hint("name an empty or new folder with --data-dir")
        );
    }
    fs::create_dir_all(dir).map_err(|e| Error::from(e).context(format!("cannot create {shown}")))?;
    close(dir, 0o700).map_err(|e| Error::from(e).context(format!("cannot close {shown} to others")))?;
    let file = File::options().create(true).truncate(false).write(true).open(dir.join("LOCK"));
    let file = file.map_err(|e| Error::from(e).context(format!("cannot write to {shown}")))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::new(ErrorKind::ObjectInUse, format!("another Weir server uses the data folder {shown}"))
                .with_hint("stop it, or name another folder with --data-dir"))
        }
        Err(TryLockError::Error(e)) => Err(Error::from(e).context(format!("cannot lock {shown}"))),
    }
}

/// Takes the rights of others from the folder `dir` and the files in it, also of those that a copy has brought. What is
/// made later is out of reach because its folder is.
pub fn keep_private(dir: &Path) -> Result<()> {
    let failed = |path: &Path, e: io::Error| {
        Error::from(e).context(format!("{} cannot be closed to other users", path.display()))
    };
    close(dir, 0o700).map_err(|e| failed(dir, e))?;
    for entry in fs::read_dir(dir).map_err(|e| failed(dir, e))? {
        let entry = entry.map_err(|e| failed(dir, e))?;
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => keep_private(&path)?,
            Ok(kind) if kind.is_file() => close(&path, 0o600).map_err(|e| failed(&path, e))?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(unix)]
fn close(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn close(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_folder_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        fs::create_dir_all(state.join("slabs")).unwrap();
        fs::write(state.join("slabs").join("a"), "x").unwrap();
        drop(lock(&dir.path().join("new")).unwrap());
        keep_private(&state).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir.path().join("new")), 0o700);
        assert_eq!([mode(&state), mode(&state.join("slabs"))], [0o700; 2]);
        assert_eq!(mode(&state.join("slabs").join("a")), 0o600);
    }
}
