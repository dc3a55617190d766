//! The bytes of a file, decompressed. Knows no records.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::MultiGzDecoder;

/// How files are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
    /// By the name: `.gz`, `.zst`, else not at all.
    Auto,
}

impl Compression {
    pub const NAMES: &[&str] = &["none", "gzip", "zstd", "auto"];

    pub fn from_name(name: &str) -> Self {
        match name {
            "none" => Self::None,
            "gzip" => Self::Gzip,
            "zstd" => Self::Zstd,
            _ => Self::Auto,
        }
    }

    /// Never `Auto`.
    pub fn of(self, path: &str) -> Self {
        let extension = Path::new(path).extension().and_then(|e| e.to_str()).unwrap_or_default();
        match self {
            Self::Auto if extension.eq_ignore_ascii_case("gz") => Self::Gzip,
            Self::Auto if extension.eq_ignore_ascii_case("zst") => Self::Zstd,
            Self::Auto => Self::None,
            given => given,
        }
    }
}

pub(super) enum Input {
    Plain(File),
    Gzip(Box<MultiGzDecoder<BufReader<File>>>),
    Zstd(zstd::Decoder<'static, BufReader<File>>),
}

impl Input {
    /// Opens `file` at byte `offset` of its content. Packed content is unpacked up to there.
    pub fn open(mut file: File, compression: Compression, offset: u64) -> io::Result<Self> {
        let mut input = match compression {
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 17, file)))),
            Compression::Zstd => Self::Zstd(zstd::Decoder::with_buffer(BufReader::with_capacity(1 << 17, file))?),
            Compression::None | Compression::Auto => {
                file.seek(SeekFrom::Start(offset))?;
                return Ok(Self::Plain(file));
            }
        };
        let skipped = io::copy(&mut (&mut input).take(offset), &mut io::sink())?;
        match skipped == offset {
            true => Ok(input),
            false => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has become shorter than what was read of it"))
            }
        }
    }

    /// Appends up to `want` bytes to `buffer`; fewer only at the end.
    pub fn append(&mut self, buffer: &mut Vec<u8>, want: usize) -> io::Result<usize> {
        buffer.reserve(want);
        self.take(want as u64).read_to_end(buffer)
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}
