//! Which files a path names: one file, a glob, or a folder. Always in name order, so that event time rises from file to
//! file; knows nothing of what is in them.

use std::io;
use std::path::{Path, PathBuf};

use crate::common::{Error, ErrorKind, Result};

/// The `path` option, resolved against the base folder.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    base: PathBuf,
    pattern: String,
}

impl Listing {
    pub fn new(base: &Path, pattern: &str) -> Self {
        Self { base: base.to_path_buf(), pattern: pattern.to_string() }
    }

    /// The files there are now, by name, as the user would write them: relative to the base folder if the pattern is.
    /// None if nothing matches. Hidden files and those beginning with `_` are not among them unless named exactly.
    pub fn files(&self) -> Result<Vec<String>> {
        let path = self.resolve(&self.pattern);
        let mut found = match std::fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => folder(&path).map_err(|e| self.cannot_list(&e))?,
            Ok(_) => vec![path],
            Err(_) if self.pattern.contains(['*', '?', '[']) => self.glob(&path)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(self.cannot_list(&e)),
        };
        found.sort();
        found.iter().map(|path| self.shown(path)).collect()
    }

    /// As [`Listing::files`], but there must be one.
    pub fn some_files(&self) -> Result<Vec<String>> {
        let files = self.files()?;
        if files.is_empty() {
            let whole = self.resolve(&self.pattern);
            return Err(Error::new(ErrorKind::InvalidParameterValue, format!("no file at \"{}\"", whole.display()))
                .with_hint("check the path, which is the server's, or write follow = 'true' to wait for files"));
        }
        Ok(files)
    }

    pub fn resolve(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    fn glob(&self, pattern: &Path) -> Result<Vec<PathBuf>> {
        // Only the pattern's own part may have wildcards.
        let base = glob::Pattern::escape(&self.base.to_string_lossy());
        let pattern =
            if Path::new(&self.pattern).is_absolute() { pattern } else { &Path::new(&base).join(&self.pattern) };
        let paths = glob::glob(&pattern.to_string_lossy()).map_err(|e| {
            Error::new(ErrorKind::InvalidParameterValue, format!("\"{}\" is not a glob pattern: {e}", self.pattern))
        })?;
        let mut files = Vec::new();
        for path in paths {
            let path = path.map_err(|e| self.cannot_list(e.error()))?;
            if path.is_file() && !is_hidden(&path) {
                files.push(path);
            }
        }
        Ok(files)
    }

    fn shown(&self, path: &Path) -> Result<String> {
        let relative = match Path::new(&self.pattern).is_absolute() {
            true => path,
            false => path.strip_prefix(&self.base).unwrap_or(path),
        };
        relative.to_str().map(str::to_string).ok_or_else(|| {
            Error::new(ErrorKind::InvalidParameterValue, format!("the file name {path:?} is not UTF-8"))
                .with_hint("rename the file")
        })
    }

    fn cannot_list(&self, e: &io::Error) -> Error {
        Error::new(ErrorKind::Io, format!("cannot list \"{}\": {e}", self.pattern))
    }
}

fn folder(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_file() && !is_hidden(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b".") || name.as_encoded_bytes().starts_with(b"_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_in_name_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.csv", "a.csv", ".hidden", "_tmp", "c.json", "[x].csv", "sub/d.csv"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let cases: &[(&str, &[&str])] = &[
            ("a.csv", &["a.csv"]),
            ("_tmp", &["_tmp"]),
            ("[x].csv", &["[x].csv"]),
            ("*.csv", &["[x].csv", "a.csv", "b.csv"]),
            ("**/*.csv", &["[x].csv", "a.csv", "b.csv", "sub/d.csv"]),
            ("[ab].csv", &["a.csv", "b.csv"]),
            ("sub", &["sub/d.csv"]),
            ("missing", &[]),
            ("x*", &[]),
        ];
        for (pattern, expected) in cases {
            assert_eq!(Listing::new(dir.path(), pattern).files().unwrap(), *expected, "{pattern}");
        }
        let absolute = dir.path().join("a.csv").to_str().unwrap().to_string();
        assert_eq!(Listing::new(dir.path(), &absolute).files().unwrap(), [absolute]);
        let e = Listing::new(dir.path(), "missing").some_files().unwrap_err();
        assert!(e.message().contains("missing") && e.hint().is_some());
        assert!(Listing::new(dir.path(), "a**b*").files().is_err());
    }
}
