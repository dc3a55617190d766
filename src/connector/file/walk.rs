//! The way through the files of a source, one after another: which are known, how far each is read, which is next.
//! Its text form is the source's position. Knows nothing of what is in the files.
//!
//! Row ids are numbered over all files in the order of reading, so they never overlap, though followed files grow.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::listing::Listing;
use crate::common::{Error, ErrorKind, Result};
use crate::connector::{Fetch, SplitStatus};

/// Bytes at a file's begin by which it is known again.
const HEAD: usize = 1024;

/// What is stored of the way.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Position {
    files: Vec<Known>,
    /// Index of the file that is read now.
    current: usize,
    next_row: u64,
}

/// A file and how far it is read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Known {
    pub path: String,
    /// Where reading goes on: bytes of text (uncompressed), or rows of Parquet.
    pub offset: u64,
    /// Go on at the next newline: the record before it was too long.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipping: bool,
    /// The file has been read to its end, as it was then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finished: bool,
    /// Length and CRC of the first bytes, once it was opened.
    head: Option<(u32, u32)>,
    /// Size and time of change when it was read to its end.
    #[serde(skip)]
    seen: Option<(u64, Option<SystemTime>)>,
    /// The end as far as known, in units of `offset`.
    #[serde(skip)]
    pub end: Option<u64>,
}

pub(super) struct Walk {
    listing: Listing,
    follow: bool,
    position: Position,
}

impl Walk {
    /// From `position` as [`Walk::position`] gave it, or from the start.
    ///
    /// # Errors
    /// Without a position and without `follow`: if there are no files.
    pub fn new(listing: Listing, follow: bool, position: Option<&str>) -> Result<Self> {
        let position = match position {
            Some(text) => serde_json::from_str(text)
                .map_err(|e| Error::corrupted(format!("the stored position {text:?} of a file source: {e}")))?,
            None => {
                let files = if follow { listing.files()? } else { listing.some_files()? };
                let files = files.into_iter().map(|path| Known { path, ..Default::default() }).collect();
                Position { files, ..Default::default() }
            }
        };
        Ok(Self { listing, follow, position })
    }

    pub fn position(&self) -> String {
        serde_json::json!(self.position).to_string()
    }

    pub fn follows(&self) -> bool {
        self.follow
    }

    /// The file to read, if one is left.
    pub fn current(&mut self) -> Option<&mut Known> {
        self.position.files.get_mut(self.position.current)
    }

    /// Numbers `rows` rows and returns the first's number.
    pub fn take_rows(&mut self, rows: u64) -> i64 {
        let first = self.position.next_row;
        self.position.next_row += rows;
        first as i64
    }

    /// Opens the current file and makes sure that it is the one that was read before. `None` if a followed file has
    /// gone before it was begun.
    pub fn open(&mut self) -> Result<Option<File>> {
        let follow = self.follow;
        let Some(known) = self.position.files.get_mut(self.position.current) else { return Ok(None) };
        let path = self.listing.resolve(&known.path);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound && follow && known.offset == 0 => {
                // Its path may be a secret.
                tracing::warn!("a followed file is gone before it was read");
                known.seen = None;
                return Ok(None);
            }
            Err(e) => return Err(cannot("open", &known.path, e)),
        };
        let meta = file.metadata().map_err(|e| cannot("read", &known.path, e))?;
        known.seen = Some(identity(&meta));
        known.check_head(&mut file).map_err(|e| e.unwrap_or_else(|e| cannot("read", &known.path, e)))?;
        Ok(Some(file))
    }

    /// The current file is read to its end: on to the next that is not.
    pub fn finish(&mut self) {
        if let Some(known) = self.current() {
            known.finished = true;
        }
        while self.current().is_some_and(|known| known.finished) {
            self.position.current += 1;
        }
    }

    /// Looks for new files and for known ones that have grown, and goes to the first of them. False if there is
    /// nothing to read now; always so without `follow`. `grows` says of a file whether it is read on when it grows:
    /// then its offset counts its bytes.
    ///
    /// # Errors
    /// If a file has become shorter than what was read of it.
    pub fn rescan(&mut self, grows: impl Fn(&str) -> bool) -> Result<bool> {
        if !self.follow {
            return Ok(false);
        }
        let known: HashSet<&str> = self.position.files.iter().map(|known| known.path.as_str()).collect();
        let mut new = self.listing.files()?;
        new.retain(|path| !known.contains(path.as_str()));
        self.position.files.extend(new.into_iter().map(|path| Known { path, ..Default::default() }));
        for (index, known) in self.position.files.iter_mut().enumerate() {
            let unread = !known.finished;
            let grows = grows(&known.path);
            let Ok(meta) = std::fs::metadata(self.listing.resolve(&known.path)) else {
                if known.offset > 0 && unread {
                    return Err(gone(known));
                }
                continue;
            };
            if grows && meta.len() < known.offset {
                return Err(Error::new(
                    ErrorKind::DataException,
                    format!(
                        "the followed file \"{}\" has shrunk to {} bytes, {} were read",
                        known.path,
                        meta.len(),
                        known.offset
                    ),
                )
                .with_hint("followed files may only grow: write new data to a new file"));
            }
            if unread || grows && known.seen != Some(identity(&meta)) {
                known.finished = false;
                self.position.current = index;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What a reader answers when no file is left: the end, or a wait before the next `rescan`, as looking at many files
    /// costs.
    pub fn nothing(&self) -> Fetch {
        match self.follow {
            true => {
                let after = Duration::from_millis(200) * (1 + self.position.files.len() as u32 / 100);
                Fetch::Wait { after, notify: None }
            }
            false => Fetch::End,
        }
    }

    pub fn splits(&self) -> Vec<SplitStatus> {
        let status = |known: &Known| SplitStatus {
            split: known.path.clone(),
            offset: known.offset,
            end: if known.finished { Some(known.offset) } else { known.end },
            finished: known.finished && !self.follow,
        };
        self.position.files.iter().map(status).collect()
    }
}

impl Known {
    /// Compares the file's first bytes with those that were there when it was first opened.
    fn check_head(&mut self, file: &mut File) -> Result<(), Result<Error, io::Error>> {
        let mut head = Vec::with_capacity(HEAD);
        file.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(Err)?;
        file.seek(SeekFrom::Start(0)).map_err(Err)?;
        if let Some((length, crc)) = self.head.filter(|_| self.offset > 0)
            && head.get(..length as usize).is_none_or(|head| crc32fast::hash(head) != crc)
        {
            let message = format!("the file \"{}\" is not the one that was read up to {}", self.path, self.offset);
            return Err(Ok(Error::new(ErrorKind::DataException, message)
                .with_hint("it was replaced or rewritten: put the old one back, or drop and create what reads it")));
        }
        self.head = Some((head.len() as u32, crc32fast::hash(&head)));
        Ok(())
    }
}

fn identity(meta: &Metadata) -> (u64, Option<SystemTime>) {
    (meta.len(), meta.modified().ok())
}

fn gone(known: &Known) -> Error {
    let message = format!("the followed file \"{}\" is gone, it was read up to {}", known.path, known.offset);
    Error::new(ErrorKind::Io, message).with_hint("put it back, or drop and create what reads it")
}

pub(super) fn cannot(what: &str, path: &str, e: io::Error) -> Error {
    Error::from(e).context(format!("cannot {what} \"{path}\""))
}
