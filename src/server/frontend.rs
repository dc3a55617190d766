//! The client's messages, from bytes. Every read is checked: a malformed message is a `ProtocolViolation`.
//!
//! pgwire can decode these too, but trusts the lengths inside a message and panics on a wrong one.

use bytes::{Buf, Bytes};

use super::error::violation;
use crate::common::Result;

/// What a Describe or Close names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Statement,
    Portal,
}

/// A message after start-up. Empty names mean the unnamed statement or portal.
#[derive(Debug, PartialEq)]
pub enum Message {
    Query(String),
    Parse {
        name: String,
        sql: String,
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe {
        target: Target,
        name: String,
    },
    Execute {
        portal: String,
        max_rows: i32,
    },
    Close {
        target: Target,
        name: String,
    },
    Flush,
    Sync,
    Terminate,
    FunctionCall,
    /// These three outside of a COPY are ignored, as the protocol says.
    CopyData(Bytes),
    CopyDone,
    CopyFail(String),
}

#[derive(Debug, PartialEq)]
pub struct Bind {
    pub portal: String,
    pub statement: String,
    /// None, one for all, or one a parameter; 0 is text, 1 binary.
    pub formats: Vec<i16>,
    pub values: Vec<Option<Bytes>>,
    /// None, one for all, or one a column.
    pub result_formats: Vec<i16>,
}

/// Whether the tag is one that a client may send after start-up.
pub fn is_known(tag: u8) -> bool {
    b"QPBDECHSXFdcf".contains(&tag)
}

/// Whether an error in this message makes the server skip to the next Sync.
pub fn is_extended(tag: u8) -> bool {
    b"PBDECH".contains(&tag)
}

/// Decodes the body of a message.
///
/// # Errors
/// `ProtocolViolation` when the body is not what the tag promises.
pub fn decode(tag: u8, body: Bytes) -> Result<Message> {
    let mut body = Body(body);
    let message = match tag {
        b'Q' => Message::Query(body.string()?),
        b'P' => {
            let (name, sql) = (body.string()?, body.string()?);
            let count = body.u16()?;
            let types = (0..count).map(|_| body.i32().map(|oid| oid as u32)).collect::<Result<_>>()?;
            Message::Parse { name, sql, types }
        }
        b'B' => Message::Bind(bind(&mut body)?),
        b'D' => Message::Describe { target: body.target()?, name: body.string()? },
        b'E' => Message::Execute { portal: body.string()?, max_rows: body.i32()? },
        b'C' => Message::Close { target: body.target()?, name: body.string()? },
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        b'X' => return Ok(Message::Terminate),
        b'F' => return Ok(Message::FunctionCall),
        b'd' => return Ok(Message::CopyData(body.0)),
        b'c' => Message::CopyDone,
        b'f' => Message::CopyFail(body.string()?),
        other => return Err(violation(format!("unknown message type {:?}", other as char))),
    };
    if body.0.has_remaining() {
        return Err(violation(format!("{} bytes too many in message {:?}", body.0.len(), tag as char)));
    }
    Ok(message)
}

fn bind(body: &mut Body) -> Result<Bind> {
    let (portal, statement) = (body.string()?, body.string()?);
    let formats = body.formats()?;
    let count = body.u16()?;
    let mut values = Vec::new();
    for _ in 0..count {
        values.push(match body.i32()? {
            -1 => None,
            length => Some(body.bytes(usize::try_from(length).map_err(|_| short())?)?),
        });
    }
    Ok(Bind { portal, statement, formats, values, result_formats: body.formats()? })
}

/// A reader over bytes that came from a client.
pub struct Body(pub Bytes);

impl Body {
    pub fn bytes(&mut self, length: usize) -> Result<Bytes> {
        if length > self.0.len() {
            return Err(short());
        }
        Ok(self.0.split_to(length))
    }

    pub fn i32(&mut self) -> Result<i32> {
        self.0.try_get_i32().map_err(|_| short())
    }

    fn u16(&mut self) -> Result<u16> {
        self.0.try_get_u16().map_err(|_| short())
    }

    /// Up to the next zero byte.
    pub fn string(&mut self) -> Result<String> {
        let end = self.0.iter().position(|b| *b == 0).ok_or_else(short)?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        match std::str::from_utf8(&text) {
            Ok(text) => Ok(text.to_string()),
            Err(_) => Err(violation("text is not UTF-8").with_hint("set client_encoding to UTF8")),
        }
    }

    fn formats(&mut self) -> Result<Vec<i16>> {
        let count = self.u16()?;
        (0..count).map(|_| self.u16().map(|f| f as i16)).collect()
    }

    fn target(&mut self) -> Result<Target> {
        match self.0.try_get_u8() {
            Ok(b'S') => Ok(Target::Statement),
            Ok(b'P') => Ok(Target::Portal),
            Ok(other) => Err(violation(format!("{:?} is neither a statement nor a portal", other as char))),
            Err(_) => Err(short()),
        }
    }
}

fn short() -> crate::common::Error {
    violation("the message ends too early")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(tag: u8, body: &'static [u8]) -> Result<Message> {
        decode(tag, Bytes::from_static(body))
    }

    #[test]
    fn whole_messages() {
        let name = || "s".to_string();
        let cases: Vec<(u8, &[u8], Message)> = vec![
            (b'Q', b"select 1\0", Message::Query("select 1".into())),
            (b'P', b"s\0x\0\0\x01\0\0\0\x17", Message::Parse { name: name(), sql: "x".into(), types: vec![23] }),
            (
                b'B',
                b"\0s\0\0\x01\0\x01\0\x02\xff\xff\xff\xff\0\0\0\x01a\0\0",
                Message::Bind(Bind {
                    portal: String::new(),
                    statement: name(),
                    formats: vec![1],
                    values: vec![None, Some(Bytes::from_static(b"a"))],
                    result_formats: vec![],
                }),
            ),
            (b'D', b"Ss\0", Message::Describe { target: Target::Statement, name: name() }),
            (b'E', b"s\0\0\0\0\x05", Message::Execute { portal: name(), max_rows: 5 }),
            (b'C', b"Ps\0", Message::Close { target: Target::Portal, name: name() }),
            (b'S', b"", Message::Sync),
        ];
        for (tag, body, want) in cases {
            assert_eq!(decode(tag, Bytes::from_static(body)).unwrap(), want);
        }
    }

    #[test]
    fn malformed_messages_are_errors() {
        let cases: Vec<(u8, &[u8])> = vec![
            (b'Q', b""),
            (b'Q', b"no end"),
            (b'Q', b"\xff\xfe\0"),
            (b'Q', b"a\0b"),
            (b'P', b"s\0x\0\xff\xff"),
            (b'P', b"s\0x\0"),
            (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xffabc"),
            (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xf0abc"),
            (b'B', b"\0\0\xff\xff"),
            (b'D', b"Qx\0"),
            (b'D', b""),
            (b'E', b"\0\0"),
            (b'S', b"x"),
            (b'z', b""),
        ];
        for (tag, body) in cases {
            let got = get(tag, body);
            assert_eq!(got.unwrap_err().kind().sqlstate(), "08P01", "{:?} {body:?}", tag as char);
        }
    }
}
