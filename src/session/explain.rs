//! EXPLAIN: the batch plan of a query, the stream plan of a materialized view.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::client::SessionClient;
use super::ddl::spec;
use super::inflow;
use super::query;
use super::services::Services;
use super::temporary;
use crate::batch::Client;
use crate::common::{Error, Result};
use crate::planner;
use crate::sql::Statement;
use crate::sql::statement::CreateSink;
use crate::types::TableId;

pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("QUERY PLAN", DataType::Utf8, false)]))
}

pub fn batch(lines: Vec<String>) -> Result<RecordBatch> {
    let column: ArrayRef = Arc::new(StringArray::from(lines));
    Ok(RecordBatch::try_new(schema(), vec![column])?)
}

pub async fn lines(
    services: &Arc<Services>,
    client: &Arc<SessionClient>,
    statement: &Statement,
    analyze: bool,
) -> Result<Vec<String>> {
    match statement {
        Statement::Query(query) => query::explain(services, client, query, analyze).await,
        Statement::CreateMaterializedView(_) if analyze => {
            Err(Error::not_supported("EXPLAIN ANALYZE runs queries: a view's job runs for ever")
                .with_hint("SELECT * FROM weir.operators shows what each operator of a job has done"))
        }
        Statement::CreateMaterializedView(create) => {
            let snapshot = services.catalog.snapshot();
            let mut query = create.query.clone();
            planner::rewrite(&mut query, &snapshot, planner::Purpose::Stream)?;
            planner::check_reads(&query, &snapshot, &client.user())?;
            temporary::refuse(&snapshot, client, &query)?;
            // A plan that is only shown takes no ids.
            let mut next = 0;
            let planned = planner::plan_materialized_view(&snapshot, spec(create), &mut || {
                next += 1;
                TableId(next)
            })?;
            Ok(planner::explain(&planned.graph).lines().map(str::to_string).collect())
        }
        Statement::CreateSink(CreateSink { into: Some(target), query, .. }) if !analyze => {
            let Statement::CreateSink(create) = statement else { return Err(Error::internal("not a sink")) };
            let snapshot = services.catalog.snapshot();
            let mut query = query.clone();
            planner::rewrite(&mut query, &snapshot, planner::Purpose::Stream)?;
            planner::check_reads(&query, &snapshot, &client.user())?;
            temporary::refuse(&snapshot, client, &query)?;
            let mut next = 0;
            let (planned, table) = inflow::plan(&snapshot, &client.user(), create, target, &mut || {
                next += 1;
                TableId(next)
            })?;
            let spec = inflow::job_spec(&snapshot, table)?;
            let mut graph = spec.ok_or_else(|| Error::internal("a table runs"))?.graph;
            graph.take_in(&planned.graph)?;
            Ok(planner::explain(&graph).lines().map(str::to_string).collect())
        }
        _ => Err(Error::not_supported("EXPLAIN shows SELECT and CREATE MATERIALIZED VIEW")
            .with_hint("write EXPLAIN SELECT … or EXPLAIN CREATE MATERIALIZED VIEW v AS …")),
    }
}
