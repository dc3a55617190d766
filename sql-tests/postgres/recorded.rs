//! The quick part: what a PostgreSQL answered to the edges of every type, kept in `recorded.txt` and compared without one.
//! `make postgres BLESS=1` asks an installed one again.
//!
//! ```text
//! -- DateStyle = 'SQL, DMY'
//! SELECT '2024-02-29'::date <tab> 29/02/2024
//! SELECT 'x'::date          <tab> !22007
//! ```

use std::fmt::Write;
use std::path::PathBuf;

use tokio_postgres::{Client, SimpleQueryMessage};

use super::ask::state;
use super::queries::{Group, recorded};
use super::reference::Reference;
use super::{known, weir};
use crate::server::{Folder, Options, Server};

/// Values of one SELECT.
const TOGETHER: usize = 50;

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("sql-tests/postgres/recorded.txt")
}

/// The text of the one value, or the SQLSTATE behind `!`.
async fn answer(client: &Client, sql: &str) -> String {
    match texts(client, sql).await {
        Ok(texts) => texts.into_iter().next().unwrap_or_default(),
        Err(state) => format!("!{state}"),
    }
}

/// The values of the one row, or the SQLSTATE.
async fn texts(client: &Client, sql: &str) -> Result<Vec<String>, String> {
    let messages = client.simple_query(sql).await.map_err(|e| state(&e))?;
    let row = messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.ok_or("no row")?;
    Ok((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_string()).collect())
}

async fn set(client: &Client, settings: &str) {
    client.batch_execute("RESET ALL; SET TimeZone = 'UTC'").await.unwrap();
    for setting in settings.split("; ").filter(|s| !s.is_empty()) {
        client.batch_execute(&format!("SET {setting}")).await.unwrap();
    }
}

#[tokio::test]
async fn record() {
    if std::env::var_os("WEIR_BLESS").is_none_or(|bless| bless.is_empty()) {
        return;
    }
    let Some(reference) = Reference::find().await else { return };
    let client = reference.connect().await;
    let mut text = String::new();
    for Group { settings, queries } in recorded() {
        let settings = settings.join("; ");
        set(&client, &settings).await;
        writeln!(text, "-- {settings}").unwrap();
        for (_, sql) in queries {
            let answer = answer(&client, &sql).await;
            writeln!(text, "{}\t{}", escaped(&sql), escaped(&answer)).unwrap();
        }
    }
    std::fs::write(file(), text).unwrap();
}

#[tokio::test]
async fn recorded_values_are_those_of_postgresql() {
    let recorded = std::fs::read_to_string(file()).unwrap();
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = weir(&server).await;
    let mut wrong = String::new();
    let mut known = 0;
    let mut compare = |sql: &str, expected: &str, given: &str| {
        if expected == given {
            return;
        }
        match known::reason(sql, expected, given) {
            Some(_) => known += 1,
            None => writeln!(wrong, "{sql}\n  PostgreSQL {expected}\n  Weir       {given}").unwrap(),
        }
    };
    for group in format!("\n{recorded}").split("\n-- ").skip(1) {
        let (settings, lines) = group.split_once('\n').unwrap();
        set(&client, settings).await;
        let lines: Vec<_> = lines.lines().map(|line| line.split_once('\t').unwrap()).collect();
        let (refused, given): (Vec<_>, Vec<_>) = lines.into_iter().partition(|(_, answer)| answer.starts_with('!'));
        for lines in given.chunks(TOGETHER) {
            let values: Vec<_> = lines.iter().map(|(sql, _)| plain(sql).replacen("SELECT ", "", 1)).collect();
            match texts(&client, &format!("SELECT {}", values.join(", "))).await {
                Ok(texts) => lines.iter().zip(texts).for_each(|((sql, expected), given)| {
                    compare(&format!("{sql} -- {settings}"), &plain(expected), &given);
                }),
                // Which one it is.
                Err(_) => {
                    for (sql, expected) in lines {
                        let given = answer(&client, &plain(sql)).await;
                        compare(&format!("{sql} -- {settings}"), &plain(expected), &given);
                    }
                }
            }
        }
        for (sql, expected) in refused {
            compare(&format!("{sql} -- {settings}"), expected, &answer(&client, &plain(sql)).await);
        }
    }
    println!("{known} known differences");
    assert!(wrong.is_empty(), "{wrong}");
}

const ESCAPES: [(char, char); 4] = [('\\', '\\'), ('\n', 'n'), ('\r', 'r'), ('\t', 't')];

fn escaped(text: &str) -> String {
    let escape =
        |c| ESCAPES.iter().find(|(raw, _)| *raw == c).map_or(String::from(c), |(_, letter)| format!("\\{letter}"));
    text.chars().map(escape).collect()
}

/// Without the escapes of the file.
fn plain(escaped: &str) -> String {
    let mut text = String::new();
    let mut chars = escaped.chars();
    while let Some(c) = chars.next() {
        let letter = if c == '\\' { chars.next() } else { None };
        text.push(ESCAPES.iter().find(|(_, known)| letter == Some(*known)).map_or(c, |(raw, _)| *raw));
    }
    text
}
