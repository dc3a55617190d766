//! Sessions as other sessions see them: `pg_stat_activity`, and the functions that stop one. Who may do what is
//! PostgreSQL's: a role the sessions of the roles that it is a member of, a superuser all.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;
use rustix::process::{getpid, kill_process};

use super::functions::{Scope, id, make};
use super::live::Live;
use super::oid;
use super::row::Row;
use crate::batch::client::{Backend, Signal};
use crate::batch::context::DATABASE;
use crate::catalog::role::denied;
use crate::common::Error;
use crate::types::{SessionId, time};

/// The columns of `pg_stat_activity`, in PostgreSQL's order.
pub fn activity() -> Schema {
    let (number, text, instant) = (DataType::Int32, DataType::Utf8, time::timestamptz());
    let columns = [
        ("datid", &number),
        ("datname", &text),
        ("pid", &number),
        ("leader_pid", &number),
        ("usesysid", &number),
        ("usename", &text),
        ("application_name", &text),
        ("client_addr", &text),
        ("client_hostname", &text),
        ("client_port", &number),
        ("backend_start", &instant),
        ("xact_start", &instant),
        ("query_start", &instant),
        ("state_change", &instant),
        ("wait_event_type", &text),
        ("wait_event", &text),
        ("state", &text),
        ("backend_xid", &number),
        ("backend_xmin", &number),
        ("query_id", &DataType::Int64),
        ("query", &text),
        ("backend_type", &text),
    ];
    Schema::new(columns.map(|(name, data_type)| Field::new(name, data_type.clone(), true)).to_vec())
}

/// A row a session. What the sessions of others do is not told.
pub fn rows(live: &Live) -> Vec<Row> {
    let user = live.client.user();
    let row = |b: Backend| -> Row {
        let mut row: Row = vec![
            ("datid", oid::DATABASE.into()),
            ("datname", DATABASE.into()),
            ("pid", b.id.0.into()),
            ("usesysid", live.role(&b.user).into()),
            ("usename", b.user.as_str().into()),
            ("application_name", b.application_name.as_str().into()),
        ];
        if !live.snapshot.has_role(&user, &b.user) {
            row.push(("query", "<insufficient privilege>".into()));
            return row;
        }
        let instant = |micros| ScalarValue::TimestampMicrosecond(micros, Some("UTC".into()));
        row.extend([
            ("client_addr", ScalarValue::Utf8(b.address.map(|a| a.to_string()))),
            ("backend_start", instant(Some(b.started))),
            ("xact_start", instant(b.transaction_started)),
            ("query_start", instant(b.query_started)),
            ("state_change", instant(Some(b.changed))),
            ("state", b.state.into()),
            ("query", b.query.as_str().into()),
            ("backend_type", "client backend".into()),
        ]);
        row
    };
    live.client.backends().into_iter().map(row).collect()
}

/// `pg_cancel_backend`, `pg_terminate_backend`, `pg_reload_conf` and `pg_sleep`.
pub fn functions(scope: &Scope) -> Vec<ScalarUDF> {
    let signals = [
        ("pg_cancel_backend", Signal::Cancel, "cancel query", "query is being canceled"),
        ("pg_terminate_backend", Signal::Terminate, "terminate process", "process is being terminated"),
    ];
    let mut all: Vec<_> = signals
        .into_iter()
        .map(|(name, signal, to, whose)| {
            let scope = scope.clone();
            make(name, DataType::Boolean, Volatility::Volatile, move |args| {
                let Some(pid) = id(args, 0) else { return Ok(ScalarValue::Boolean(None)) };
                let Some(backend) = scope.client.backends().into_iter().find(|b| b.id.0 == pid) else {
                    return Ok(false.into());
                };
                let user = scope.client.user();
                let superuser = |role: &str| scope.snapshot.is_superuser(role);
                if superuser(&backend.user) && !superuser(&user) {
                    let hint = format!("Only roles with the SUPERUSER attribute may {to} of such roles.");
                    return Err(denied(format!("permission denied to {to}")).with_detail(hint).into());
                }
                if !scope.snapshot.has_role(&user, &backend.user) {
                    let hint = format!("Only members of the role whose {whose} may {to}.");
                    return Err(denied(format!("permission denied to {to}")).with_detail(hint).into());
                }
                Ok(scope.client.signal(SessionId(pid), signal).into())
            })
        })
        .collect();
    all.push(reload_conf(scope.clone()));
    all.push(
        AsyncScalarUDF::new(Arc::new(Sleep(Signature::exact(vec![DataType::Float64], Volatility::Volatile)))).into(),
    );
    all
}

/// `pg_reload_conf()`: tells the server to read the rules of who may connect again.
fn reload_conf(scope: Scope) -> ScalarUDF {
    make("pg_reload_conf", DataType::Boolean, Volatility::Volatile, move |_| {
        if !scope.snapshot.is_superuser(&scope.client.user()) {
            return Err(denied("permission denied for function pg_reload_conf").into());
        }
        Ok(kill_process(getpid(), rustix::process::Signal::HUP).is_ok().into())
    })
}

/// `pg_sleep(seconds)`. Its answer is an empty text, where PostgreSQL has no value at all.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Sleep(Signature);

impl ScalarUDFImpl for Sleep {
    fn name(&self) -> &str {
        "pg_sleep"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Err(Error::not_supported("pg_sleep cannot stand here").with_hint("write SELECT pg_sleep(1)").into())
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Sleep {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let column = args.args.into_iter().next().ok_or_else(|| Error::internal("pg_sleep without seconds"))?;
        let column = column.into_array(args.number_rows)?;
        for row in 0..args.number_rows {
            if let ScalarValue::Float64(Some(seconds)) = ScalarValue::try_from_array(&column, row)? {
                // What is no length of time, or none that can be waited for, is as PostgreSQL has it: none, or for ever.
                let length = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
                tokio::time::sleep(length).await;
            }
        }
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(String::new()))))
    }
}
