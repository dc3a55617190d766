//! `weir sql`: a small client for machines without psql. Prints what psql would; knows no psql commands.

mod split;
mod table;

use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;

use futures::TryStreamExt;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_postgres::error::{DbError, ErrorPosition};
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, NoTls, SimpleQueryMessage};

use weir::common::{Error, ErrorKind, Result};

use self::split::{Split, split};
use self::table::Table;
use crate::settings::SqlArguments;

/// Runs what the arguments ask for.
///
/// # Errors
/// When the server cannot be reached, or the file not be read; failed statements are told by the exit code.
pub async fn run(arguments: SqlArguments) -> Result<ExitCode> {
    let client = connect(&arguments).await?;
    let runner = Runner { cancel: client.cancel_token(), client, keep_going: arguments.keep_going };
    let mut fine = true;
    if !arguments.command.is_empty() || arguments.file.is_some() {
        for sql in &arguments.command {
            fine &= runner.script(sql).await;
            if !fine && !arguments.keep_going {
                return Ok(ExitCode::FAILURE);
            }
        }
        if let Some(path) = &arguments.file {
            let text = match path.to_str() {
                Some("-") => std::io::read_to_string(std::io::stdin()),
                _ => std::fs::read_to_string(path),
            };
            fine &= runner.script(&text.map_err(|e| Error::from(e).context(path.display()))?).await;
        }
    } else if std::io::stdin().is_terminal() {
        runner.interactive().await?;
    } else {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        fine = runner.script(&text).await;
    }
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn connect(arguments: &SqlArguments) -> Result<Client> {
    let mut config = Config::new();
    config
        .host(&arguments.host)
        .port(arguments.port)
        .user(&arguments.user)
        .dbname(&arguments.database)
        .application_name("weir sql");
    if let Ok(password) = std::env::var("PGPASSWORD") {
        config.password(password);
    }
    let (client, mut connection) = config.connect(NoTls).await.map_err(|e| cannot_connect(arguments, &e))?;
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notice(notice) = message {
                print_message(&notice, None);
            }
        }
    });
    Ok(client)
}

fn cannot_connect(arguments: &SqlArguments, e: &tokio_postgres::Error) -> Error {
    let (host, port) = (&arguments.host, arguments.port);
    match e.as_db_error() {
        Some(db) => {
            let error = Error::new(ErrorKind::InvalidAuthorization, format!("{host}:{port}: {}", db.message()));
            match db.hint() {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        }
        None => {
            let cause = std::error::Error::source(e).map_or_else(|| e.to_string(), ToString::to_string);
            Error::new(ErrorKind::Io, format!("cannot connect to {host}:{port}: {cause}")).with_hint(
                "start a server with `weir serve`, or name another with -h and -p; PGPASSWORD holds the password",
            )
        }
    }
}

struct Runner {
    client: Client,
    cancel: CancelToken,
    keep_going: bool,
}

impl Runner {
    /// Runs the statements of a text; false when one failed.
    async fn script(&self, text: &str) -> bool {
        let Split { statements, rest } = split(text);
        let mut fine = true;
        for statement in statements.iter().map(String::as_str).chain(rest.as_deref()) {
            fine &= self.statement(statement).await;
            if !fine && !self.keep_going {
                break;
            }
        }
        fine
    }

    /// Reads statements line by line until the end of the input or `\q`.
    async fn interactive(&self) -> Result<()> {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        let mut pending = String::new();
        loop {
            print!("{}", if pending.is_empty() { "weir=> " } else { "weir-> " });
            std::io::stdout().flush()?;
            let Some(line) = lines.next_line().await? else {
                println!();
                return Ok(());
            };
            if pending.is_empty() && matches!(line.trim(), "\\q" | "quit" | "exit") {
                return Ok(());
            }
            if pending.is_empty() && line.trim_start().starts_with('\\') {
                self.statement(line.trim()).await;
                continue;
            }
            pending.push_str(&line);
            pending.push('\n');
            let Split { statements, rest } = split(&pending);
            for statement in &statements {
                self.statement(statement).await;
            }
            pending = rest.map(|rest| rest + "\n").unwrap_or_default();
        }
    }

    /// Runs one statement and prints its result; Ctrl-C cancels it. False when it failed.
    async fn statement(&self, sql: &str) -> bool {
        if sql.starts_with('\\') {
            let word = sql.split_whitespace().next().unwrap_or(sql);
            eprintln!("ERROR:  psql's {word} is not supported here");
            eprintln!("HINT:  use SHOW TABLES, SHOW MATERIALIZED VIEWS, DESCRIBE name; or connect with psql");
            return false;
        }
        let running = self.query(sql);
        tokio::pin!(running);
        let result = loop {
            tokio::select! {
                result = &mut running => break result,
                _ = tokio::signal::ctrl_c() => {
                    if self.cancel.cancel_query(NoTls).await.is_err() {
                        eprintln!("the cancel request could not be sent");
                    }
                }
            }
        };
        match result {
            Ok(()) => true,
            Err(e) => {
                match e.as_db_error() {
                    Some(error) => print_message(error, Some(sql)),
                    None => eprintln!("ERROR:  {e}"),
                }
                false
            }
        }
    }

    async fn query(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        let messages = self.client.simple_query_raw(sql).await?;
        futures::pin_mut!(messages);
        let mut table: Option<Table> = None;
        while let Some(message) = messages.try_next().await? {
            match message {
                SimpleQueryMessage::RowDescription(columns) => {
                    table = Some(Table::new(columns.iter().map(|c| c.name().to_string()).collect()));
                }
                SimpleQueryMessage::Row(row) => {
                    if let Some(table) = &mut table {
                        table.push((0..row.len()).map(|i| row.get(i).map(str::to_string)).collect());
                    }
                }
                SimpleQueryMessage::CommandComplete(rows) => match table.take() {
                    Some(table) => print!("{table}"),
                    None => println!("{}", tag(sql, rows)),
                },
                _ => {}
            }
        }
        Ok(())
    }
}

/// The statement's first word, with the rows it touched: the driver keeps the server's own tag to itself.
fn tag(sql: &str, rows: u64) -> String {
    let word = sql.split(|c: char| !c.is_alphanumeric()).find(|w| !w.is_empty()).unwrap_or("OK").to_uppercase();
    match word.as_str() {
        "INSERT" | "UPDATE" | "DELETE" => format!("{word} {rows}"),
        _ => word,
    }
}

/// As psql prints errors and notices, to stderr.
fn print_message(error: &DbError, sql: Option<&str>) {
    eprintln!("{}:  {}", error.severity(), error.message());
    if let (Some(sql), Some(ErrorPosition::Original(position))) = (sql, error.position())
        && let Some(pointer) = pointer(sql, *position as usize)
    {
        eprintln!("{pointer}");
    }
    if let Some(detail) = error.detail() {
        eprintln!("DETAIL:  {detail}");
    }
    if let Some(hint) = error.hint() {
        eprintln!("HINT:  {hint}");
    }
}

/// The line of the position (counted in characters from 1) with a caret under it.
fn pointer(sql: &str, position: usize) -> Option<String> {
    let mut before = position.checked_sub(1)?;
    for (number, line) in sql.split('\n').enumerate() {
        let length = line.chars().count();
        if before <= length {
            let label = format!("LINE {}: ", number + 1);
            return Some(format!("{label}{line}\n{}^", " ".repeat(label.len() + before)));
        }
        before -= length + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_points() {
        assert_eq!(pointer("SELECT x", 8).unwrap(), "LINE 1: SELECT x\n               ^");
        assert_eq!(pointer("é\nab", 4).unwrap(), "LINE 2: ab\n         ^");
        assert_eq!(pointer("a", 9), None);
        assert_eq!(pointer("a", 0), None);
    }

    #[test]
    fn tags() {
        assert_eq!(tag("insert into t values (1)", 1), "INSERT 1");
        assert_eq!(tag("CREATE TABLE t()", 0), "CREATE");
        assert_eq!(tag("", 0), "OK");
    }
}
