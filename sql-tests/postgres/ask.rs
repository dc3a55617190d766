//! What a server answers to a query of one value: its type, its text, its bytes, or the SQLSTATE of its refusal.

use std::error::Error;
use std::fmt::{self, Write};

use bytes::BytesMut;
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, SimpleQueryMessage};

/// The values of the first column, or a SQLSTATE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Rows { oid: u32, texts: Vec<Option<String>>, binary: Vec<Option<Vec<u8>>> },
    Refused(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(state) => write!(f, "!{state}"),
            Self::Rows { oid, texts, binary } => {
                write!(f, "{oid}")?;
                for (text, bytes) in texts.iter().zip(binary) {
                    match (text, bytes) {
                        (Some(text), Some(bytes)) => write!(f, " {text:?} {}", hex(bytes))?,
                        _ => f.write_str(" null")?,
                    }
                }
                Ok(())
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("x"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub async fn ask(client: &Client, sql: &str) -> Answer {
    match tried(client, sql).await {
        Ok(answer) => answer,
        Err(e) => Answer::Refused(state(&e)),
    }
}

async fn tried(client: &Client, sql: &str) -> Result<Answer, tokio_postgres::Error> {
    let mut texts = Vec::new();
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            texts.push(row.try_get(0)?.map(str::to_string));
        }
    }
    let statement = client.prepare(sql).await?;
    let rows = client.query(&statement, &[]).await?;
    let oid = statement.columns().first().map_or(0, |c| c.type_().oid());
    let binary = rows.iter().map(|row| row.get::<_, Option<Raw>>(0).map(|raw| raw.0)).collect();
    Ok(Answer::Rows { oid, texts, binary })
}

pub fn state(error: &tokio_postgres::Error) -> String {
    error.code().map_or_else(|| format!("broken: {error:?}"), |code| code.code().to_string())
}

/// A value as it is on the wire in binary, whatever its type.
#[derive(Debug)]
pub struct Raw(pub Vec<u8>);

impl FromSql<'_> for Raw {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A parameter as it stands.
#[derive(Debug)]
pub enum Parameter {
    Text(String),
    Binary(Vec<u8>),
}

impl ToSql for Parameter {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        });
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        match self {
            Self::Text(_) => Format::Text,
            Self::Binary(_) => Format::Binary,
        }
    }

    to_sql_checked!();
}
