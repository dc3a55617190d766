//! The one error type that crosses module borders: a kind with its SQLSTATE, a message, and what to do next.
//!
//! Modules may keep typed errors inside; what leaves a module is an [`Error`]. The wire sends
//! [`ErrorKind::sqlstate`], the message, the detail, the hint and the position as they stand here.

mod datafusion;

use std::fmt;
use std::io;

use ::datafusion::arrow::error::ArrowError;
use ::datafusion::error::DataFusionError;

pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! kinds {
    ($($name:ident = $state:literal,)*) => {
        /// What went wrong, as far as a caller can act on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorKind { $($name,)* }

        impl ErrorKind {
            /// The five characters of the SQLSTATE, as in PostgreSQL's appendix A.
            pub fn sqlstate(self) -> &'static str {
                match self { $(Self::$name => $state,)* }
            }
        }
    };
}

kinds! {
    Syntax = "42601",
    UndefinedTable = "42P01",
    UndefinedColumn = "42703",
    UndefinedFunction = "42883",
    UndefinedObject = "42704",
    UndefinedSchema = "3F000",
    UndefinedDatabase = "3D000",
    AmbiguousColumn = "42702",
    DuplicateTable = "42P07",
    DuplicateColumn = "42701",
    WrongObjectType = "42809",
    DatatypeMismatch = "42804",
    Grouping = "42803",
    Windowing = "42P20",
    InvalidDefinition = "42P17",
    InvalidRecursion = "42P19",
    UndefinedParameter = "42P02",
    InvalidTextRepresentation = "22P02",
    BadCopyFormat = "22P04",
    CharacterNotInRepertoire = "22021",
    InvalidDatetimeFormat = "22007",
    InvalidParameterValue = "22023",
    DivisionByZero = "22012",
    StringDataRightTruncation = "22001",
    NumericValueOutOfRange = "22003",
    DatetimeOverflow = "22008",
    InvalidTimeZoneOffset = "22009",
    IntervalFieldOverflow = "22015",
    DataException = "22000",
    InvalidRegularExpression = "2201B",
    SequenceLimitExceeded = "2200H",
    GeneratedAlways = "428C9",
    CardinalityViolation = "21000",
    NotNullViolation = "23502",
    UniqueViolation = "23505",
    DependentObjects = "2BP01",
    NotSupported = "0A000",
    InvalidPassword = "28P01",
    InvalidAuthorization = "28000",
    InsufficientPrivilege = "42501",
    DuplicateObject = "42710",
    DuplicateFunction = "42723",
    ReservedName = "42939",
    InvalidGrant = "0LP01",
    UndefinedPreparedStatement = "26000",
    DuplicatePreparedStatement = "42P05",
    InvalidCursorState = "24000",
    UndefinedCursor = "34000",
    DuplicateCursor = "42P03",
    FailedTransaction = "25P02",
    NoActiveTransaction = "25P01",
    InvalidEscapeSequence = "22025",
    QueryCanceled = "57014",
    AdminShutdown = "57P01",
    IdleSessionTimeout = "57P05",
    IdleInTransactionTimeout = "25P03",
    CannotConnectNow = "57P03",
    ObjectInUse = "55006",
    ObjectNotReady = "55000",
    DiskFull = "53100",
    OutOfMemory = "53200",
    ProgramLimitExceeded = "54000",
    TooManyConnections = "53300",
    ProtocolViolation = "08P01",
    Io = "58030",
    ConfigFile = "F0000",
    DataCorrupted = "XX001",
    Internal = "XX000",
}

/// An error that tells its reader what is wrong, where, and what to write instead.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    position: Option<usize>,
    origin: Option<String>,
    lasting: bool,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            origin: None,
            lasting: false,
        }))
    }

    /// A broken invariant of Weir's own: a bug, never the user's doing.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    pub fn not_supported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotSupported, message)
    }

    /// Bytes on disk that are not what was written.
    pub fn corrupted(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::DataCorrupted, message)
    }

    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// What the reader should do or write instead.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// `position` counts characters of the statement's text from 1, as the wire's `P` field does.
    pub fn with_position(mut self, position: usize) -> Self {
        self.0.position = Some(position);
        self
    }

    /// Where in the input it happened, such as `COPY t, line 3`: what psql shows as CONTEXT.
    pub fn with_origin(mut self, origin: impl Into<String>) -> Self {
        self.0.origin = Some(origin.into());
        self
    }

    /// Puts what was being done before the message: `context: message`.
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// The error with each of its texts replaced.
    pub fn map_texts(mut self, change: impl Fn(&str) -> String) -> Self {
        self.0.message = change(&self.0.message);
        for text in [&mut self.0.detail, &mut self.0.hint, &mut self.0.origin] {
            *text = text.as_deref().map(&change);
        }
        self
    }

    /// Trying again cannot help.
    pub fn lasting(mut self) -> Self {
        self.0.lasting = true;
        self
    }

    pub fn is_lasting(&self) -> bool {
        self.0.lasting
    }

    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    pub fn origin(&self) -> Option<&str> {
        self.0.origin.as_deref()
    }

    pub fn position(&self) -> Option<usize> {
        self.0.position
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(detail) = &self.0.detail {
            write!(f, " ({detail})")?;
        }
        if let Some(hint) = &self.0.hint {
            write!(f, ". Hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::new(ErrorKind::DiskFull, format!("the disk is full: {e}"))
                    .with_hint("free space on the data folder's disk; Weir resumes by itself")
            }
            _ => Self::new(ErrorKind::Io, e.to_string()),
        }
    }
}

impl From<ArrowError> for Error {
    fn from(e: ArrowError) -> Self {
        datafusion::arrow(&e)
    }
}

impl From<DataFusionError> for Error {
    fn from(e: DataFusionError) -> Self {
        datafusion::datafusion(&e)
    }
}

impl From<Error> for DataFusionError {
    fn from(e: Error) -> Self {
        DataFusionError::External(Box::new(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way_through_datafusion() {
        let e = Error::new(ErrorKind::UndefinedTable, "no table t").with_hint("CREATE TABLE t");
        let back = Error::from(DataFusionError::from(e));
        assert_eq!(back.kind().sqlstate(), "42P01");
        assert_eq!(back.hint(), Some("CREATE TABLE t"));
    }

    #[test]
    fn a_full_disk_has_its_own_kind() {
        let e = Error::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(e.kind(), ErrorKind::DiskFull);
    }
}
