//! A connection to a test server: simple queries, rows as text. Knows the wire only through tokio-postgres.

use std::time::Duration;

use tokio_postgres::{NoTls, SimpleQueryMessage};

/// Rows of text; `None` is null.
pub type Rows = Vec<Vec<Option<String>>>;

pub struct Client {
    inner: tokio_postgres::Client,
}

/// What a server answered instead of rows, or that it is gone.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Empty when the connection broke.
    pub sqlstate: String,
    pub message: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.sqlstate, self.message)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    pub fn is_broken(&self) -> bool {
        self.sqlstate.is_empty()
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(e: tokio_postgres::Error) -> Self {
        match e.as_db_error() {
            Some(db) => Self { sqlstate: db.code().code().to_string(), message: db.message().to_string() },
            None => Self { sqlstate: String::new(), message: format!("{e:?}") },
        }
    }
}

/// What statements gave back: the rows of the last one that has any, the count of the last one.
#[derive(Debug, Default)]
pub struct Answer {
    /// How many columns the rows have; `None` when no statement has rows.
    pub columns: Option<usize>,
    pub rows: Rows,
    pub count: u64,
}

impl Client {
    pub async fn connect(port: u16) -> Result<Self, Failure> {
        let config = format!("host=127.0.0.1 port={port} user=root dbname=dev connect_timeout=10");
        let (inner, connection) = tokio_postgres::connect(&config, NoTls).await?;
        tokio::spawn(connection);
        Ok(Self { inner })
    }

    /// Runs statements.
    pub async fn run(&self, sql: &str) -> Result<Answer, Failure> {
        let mut answer = Answer::default();
        for message in self.inner.simple_query(sql).await? {
            match message {
                SimpleQueryMessage::RowDescription(columns) => {
                    answer.rows.clear();
                    answer.columns = Some(columns.len());
                }
                SimpleQueryMessage::Row(row) => {
                    answer.rows.push((0..row.len()).map(|i| row.get(i).map(str::to_string)).collect());
                }
                SimpleQueryMessage::CommandComplete(n) => answer.count = n,
                _ => {}
            }
        }
        Ok(answer)
    }

    /// Rows of a query that must succeed.
    pub async fn query(&self, sql: &str) -> Rows {
        match self.run(sql).await {
            Ok(answer) => answer.rows,
            Err(e) => panic!("{sql}\n{e}"),
        }
    }

    /// Statements that must succeed.
    pub async fn execute(&self, sql: &str) {
        if let Err(e) = self.run(sql).await {
            panic!("{sql}\n{e}");
        }
    }

    /// The one value of a query that must succeed; null is the empty text.
    pub async fn value(&self, sql: &str) -> String {
        self.query(sql).await.into_iter().next().and_then(|r| r.into_iter().next().flatten()).unwrap_or_default()
    }

    /// Asks again until the first value is `wanted`.
    pub async fn wait_for(&self, sql: &str, wanted: &str) {
        const TRIES: usize = 1200;
        let mut given = String::new();
        for _ in 0..TRIES {
            given = self.value(sql).await;
            if given == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{sql}\nanswered {given:?} for a minute, never {wanted:?}");
    }
}

/// Rows as lines, for comparing and showing.
pub fn lines(rows: &Rows) -> Vec<String> {
    rows.iter().map(|row| row.iter().map(|c| c.as_deref().unwrap_or("NULL")).collect::<Vec<_>>().join(" ")).collect()
}
