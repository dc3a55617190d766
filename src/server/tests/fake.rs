//! A backend for tests: SELECTs run by DataFusion, and a few statements that misbehave on demand.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use datafusion::common::ParamValues;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use futures::stream;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::common::{Error, ErrorKind, Result};
use crate::server::backend::{Backend, BackendSession};
use crate::session::{Notice, Prepared, Response, Statement, TransactionStatus};
use crate::types::styles::Styles;
use crate::types::{SessionId, Verifier};

/// Counts what outlives a statement, so that tests can wait for it to end.
#[derive(Default)]
pub struct Fake {
    /// Of root.
    pub password: Mutex<Option<String>>,
    ids: AtomicI32,
    /// Endless streams that are alive.
    pub streams: Arc<AtomicUsize>,
    /// Batches that endless streams have made.
    pub batches: Arc<AtomicUsize>,
    /// Statements that wait for their token.
    pub waiting: Arc<AtomicUsize>,
}

pub struct FakeSession {
    id: SessionId,
    context: SessionContext,
    status: TransactionStatus,
    notices: Vec<Notice>,
    changes: Vec<(String, String)>,
    token: Mutex<CancellationToken>,
    streams: Arc<AtomicUsize>,
    batches: Arc<AtomicUsize>,
    waiting: Arc<AtomicUsize>,
    /// Bytes of the COPY.
    copied: usize,
}

impl Backend for Fake {
    type Session = FakeSession;

    fn asks_passwords(&self) -> bool {
        self.password.lock().is_some()
    }

    fn verifier(&self, user: &str) -> Option<Verifier> {
        self.password.lock().as_deref().filter(|_| user == "root").map(|p| Verifier::of(p).unwrap())
    }

    fn session(&self, _user: &str, database: &str) -> Result<FakeSession> {
        if database != "dev" {
            return Err(Error::new(ErrorKind::UndefinedDatabase, format!("database {database:?} does not exist"))
                .with_hint("connect to dev"));
        }
        let config = SessionConfig::new().with_target_partitions(1);
        Ok(FakeSession {
            id: SessionId(self.ids.fetch_add(1, Ordering::SeqCst) + 1),
            context: SessionContext::new_with_config(config),
            status: TransactionStatus::Idle,
            notices: Vec::new(),
            changes: Vec::new(),
            token: Mutex::default(),
            streams: self.streams.clone(),
            batches: self.batches.clone(),
            waiting: self.waiting.clone(),
            copied: 0,
        })
    }
}

/// Counts itself while it lives.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn numbers() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

impl FakeSession {
    /// `COUNT n`: n rows in batches of 1000; `COUNT` alone never ends.
    fn count(&self, limit: Option<i64>) -> Response {
        let alive = Alive::new(&self.streams);
        let batches = self.batches.clone();
        let stream = stream::unfold((0i64, alive), move |(from, alive)| {
            let batches = batches.clone();
            async move {
                let to = limit.map_or(from + 1000, |limit| limit.min(from + 1000));
                if from == to {
                    return None;
                }
                batches.fetch_add(1, Ordering::SeqCst);
                let column = Arc::new(Int64Array::from_iter_values(from..to));
                let batch = RecordBatch::try_new(numbers(), vec![column]).map_err(DataFusionError::from);
                Some((batch, (to, alive)))
            }
        });
        Response::Rows { tag: "SELECT", stream: Box::pin(RecordBatchStreamAdapter::new(numbers(), stream)) }
    }
}

impl BackendSession for FakeSession {
    fn id(&self) -> SessionId {
        self.id
    }

    fn parse(&self, sql: &str) -> Result<Vec<Statement>> {
        if let Some(at) = sql.find("SYNTAX") {
            let position = sql[..at].chars().count() + 1;
            return Err(Error::new(ErrorKind::Syntax, "syntax error at \"SYNTAX\"").with_position(position));
        }
        Ok(sql
            .split(';')
            .map(str::trim)
            .filter(|s| !s.is_empty())
            .map(|s| Statement { text: s.to_string(), parsed: None, lookup: Default::default() })
            .collect())
    }

    async fn prepare(&mut self, statement: Statement, declared: &[Option<DataType>]) -> Result<Prepared> {
        if statement.text.starts_with("COUNT") {
            return Ok(Prepared { statement, parameters: Vec::new(), columns: Some(numbers()) });
        }
        let upper = statement.text.to_uppercase();
        if !upper.starts_with("SELECT") {
            return Ok(Prepared { statement, parameters: Vec::new(), columns: None });
        }
        let plan = self.context.state().create_logical_plan(&statement.text).await?;
        let mut inferred: Vec<_> = plan.get_parameter_types()?.into_iter().collect();
        inferred.sort_by_key(|(name, _)| name.trim_start_matches('$').parse::<usize>().unwrap_or(0));
        let parameters = inferred
            .into_iter()
            .enumerate()
            .map(|(i, (_, ty))| declared.get(i).cloned().flatten().or(ty).unwrap_or(DataType::Utf8))
            .collect::<Vec<_>>();
        let nulls = parameters.iter().map(ScalarValue::try_from).collect::<Result<Vec<_>, _>>()?;
        let plan = plan.with_param_values(values(nulls))?;
        let columns = Some(Arc::new(plan.schema().as_arrow().clone()));
        let field = |(i, ty): (usize, DataType)| Arc::new(Field::new(format!("${}", i + 1), ty, true));
        let parameters = parameters.into_iter().enumerate().map(field).collect();
        Ok(Prepared { statement, parameters, columns })
    }

    async fn execute(&mut self, statement: &Statement, parameters: &[ScalarValue]) -> Result<Response> {
        let mut words = statement.text.split_whitespace();
        let (verb, rest) = (words.next().unwrap_or_default(), words.next());
        let failed = self.status == TransactionStatus::Failed;
        match verb {
            "COMMIT" | "ROLLBACK" => {
                self.status = TransactionStatus::Idle;
                return Ok(Response::Done(if failed { "ROLLBACK".into() } else { verb.into() }));
            }
            _ if failed => return Err(Error::new(ErrorKind::FailedTransaction, "the transaction is aborted")),
            "BEGIN" | "START" => {
                self.status = TransactionStatus::InBlock;
                return Ok(Response::Done("BEGIN".into()));
            }
            "SET" => {
                self.changes.push((rest.unwrap_or("x").to_string(), "changed".into()));
                return Ok(Response::Done("SET".into()));
            }
            "NOTICE" => {
                self.notices.push(Notice { severity: "NOTICE", message: "heads up".into() });
                return Ok(Response::Done("NOTICE".into()));
            }
            "FAIL" => {
                return Err(Error::new(ErrorKind::UndefinedTable, "relation \"x\" does not exist")
                    .with_detail("no detail")
                    .with_hint("CREATE TABLE x")
                    .with_position(6));
            }
            "PANIC" => panic!("on purpose"),
            "WAIT" => {
                let _alive = Alive::new(&self.waiting);
                let token = self.cancel_token();
                token.cancelled().await;
                return Err(Error::new(ErrorKind::QueryCanceled, "canceling statement due to user request"));
            }
            "STUCK" => {
                let _alive = Alive::new(&self.waiting);
                let stream = stream::once(async {
                    std::future::pending::<()>().await;
                    unreachable!()
                });
                return Ok(Response::Rows {
                    tag: "SELECT",
                    stream: Box::pin(RecordBatchStreamAdapter::new(numbers(), stream)),
                });
            }
            "COPY" => return Ok(Response::CopyIn { columns: vec![numbers().fields()[0].clone(); 2], binary: false }),
            "COUNT" => return Ok(self.count(rest.and_then(|n| n.parse().ok()))),
            _ => {}
        }
        let mut frame = self.context.sql(&statement.text).await?;
        if !parameters.is_empty() {
            frame = frame.with_param_values(values(parameters.to_vec()))?;
        }
        Ok(Response::Rows { tag: "SELECT", stream: frame.execute_stream().await? })
    }

    async fn copy_data(&mut self, bytes: Bytes) -> Result<()> {
        self.copied += bytes.len();
        if bytes.starts_with(b"bad") {
            return Err(Error::new(ErrorKind::BadCopyFormat, "a bad line"));
        }
        Ok(())
    }

    async fn copy_done(&mut self) -> Result<String> {
        Ok(format!("COPY {}", std::mem::take(&mut self.copied)))
    }

    fn copy_abort(&mut self) {
        self.copied = 0;
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.changes)
    }

    fn set_startup_parameter(&mut self, name: &str, value: &str) {
        if name == "TimeZone" {
            self.changes.push((name.to_string(), value.to_string()));
        }
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.status
    }

    fn fail_transaction(&mut self) {
        if self.status == TransactionStatus::InBlock {
            self.status = TransactionStatus::Failed;
        }
    }

    fn cursor_columns(&self, name: &str) -> Result<SchemaRef> {
        Err(Error::new(ErrorKind::UndefinedCursor, format!("cursor {name:?} does not exist")))
    }

    fn set_address(&self, _: IpAddr) {}

    fn rest(&self) {}

    fn idle_limit(&self) -> Option<(Duration, Error)> {
        None
    }

    fn terminated(&self) -> CancellationToken {
        CancellationToken::new()
    }

    fn styles(&self) -> Styles {
        Styles::default()
    }

    fn cancel_token(&self) -> CancellationToken {
        let mut token = self.token.lock();
        if token.is_cancelled() {
            *token = CancellationToken::new();
        }
        token.clone()
    }
}

fn values(values: Vec<ScalarValue>) -> ParamValues {
    ParamValues::from(values)
}

/// Waits until the condition holds; fails the test after ten seconds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("did not happen within ten seconds: {what}");
}
