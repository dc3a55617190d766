//! How the lines of a COPY look: what the statement says, and what its reader and its writer follow.

/// How the lines of a COPY are written, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOptions {
    pub csv: bool,
    /// PostgreSQL's binary format: nothing else counts then.
    pub binary: bool,
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: String,
    pub header: CopyHeader,
    /// CSV only, as all that follow.
    pub quote: u8,
    pub escape: u8,
    /// Columns that are always quoted on the way out.
    pub force_quote: Columns,
    /// Columns in which the text of NULL is itself.
    pub force_not_null: Columns,
    /// Columns in which the quoted text of NULL is NULL too.
    pub force_null: Columns,
    /// Bad lines become dead letters.
    pub ignore_errors: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyHeader {
    No,
    Yes,
    /// The first line must name the columns.
    Match,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Columns {
    All,
    /// Perhaps none.
    Named(Vec<String>),
}

impl Columns {
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|n| n == name),
        }
    }

    pub fn is_none(&self) -> bool {
        matches!(self, Self::Named(names) if names.is_empty())
    }
}
