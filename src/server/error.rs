//! Errors and notices as the wire carries them: severity, SQLSTATE, message, detail, hint, position.
//!
//! Also tells apart what a client can be told (an [`Error`]) from a connection that is no more ([`Fault::Gone`]).

use std::io;

use pgwire::messages::response::{ErrorResponse, NoticeResponse};

use crate::common::{Error, ErrorKind};
use crate::session::Notice;

/// Why the work on a message ended early.
#[derive(Debug)]
pub enum Fault {
    /// To be answered with an ErrorResponse; the connection lives on.
    Sql(Error),
    /// The socket broke: nobody is there to be told.
    Gone(io::Error),
}

impl From<Error> for Fault {
    fn from(e: Error) -> Self {
        Self::Sql(e)
    }
}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Self {
        Self::Gone(e)
    }
}

/// The statement fails, the connection stays.
pub fn error(e: &Error) -> ErrorResponse {
    ErrorResponse::new(fields("ERROR", e))
}

/// The connection is closed after this.
pub fn fatal(e: &Error) -> ErrorResponse {
    ErrorResponse::new(fields("FATAL", e))
}

pub fn notice(n: &Notice) -> NoticeResponse {
    // 00000 is a plain notice, 01000 a warning.
    let state = if n.severity == "WARNING" { "01000" } else { "00000" };
    NoticeResponse::new(vec![
        (b'S', text(n.severity)),
        (b'V', text(n.severity)),
        (b'C', text(state)),
        (b'M', text(&n.message)),
    ])
}

/// A message that does not follow the protocol.
pub fn violation(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::ProtocolViolation, message)
}

fn fields(severity: &str, e: &Error) -> Vec<(u8, String)> {
    let mut fields = vec![
        (b'S', text(severity)),
        (b'V', text(severity)),
        (b'C', text(e.kind().sqlstate())),
        (b'M', text(e.message())),
    ];
    fields.extend(e.detail().map(|d| (b'D', text(d))));
    fields.extend(e.hint().map(|h| (b'H', text(h))));
    fields.extend(e.origin().map(|o| (b'W', text(o))));
    fields.extend(e.position().map(|p| (b'P', p.to_string())));
    fields
}

/// A field ends at its first zero byte, so none may be inside.
fn text(s: &str) -> String {
    s.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_its_field() {
        let e = Error::new(ErrorKind::UndefinedTable, "no\0table").with_detail("d").with_hint("h").with_position(7);
        let got: Vec<_> = error(&e).fields.into_iter().map(|(k, v)| format!("{}{v}", k as char)).collect();
        assert_eq!(got, ["SERROR", "VERROR", "C42P01", "Mno\u{fffd}table", "Dd", "Hh", "P7"]);
        let bare: Vec<_> = fatal(&Error::internal("x")).fields.into_iter().map(|(k, _)| k as char).collect();
        assert_eq!(bare, ['S', 'V', 'C', 'M']);
    }
}
