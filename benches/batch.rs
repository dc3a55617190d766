//! The other side of the comparison: the view's query as one DataFusion batch over the same file.

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::prelude::{CsvReadOptions, JsonReadOptions, ParquetReadOptions, SessionConfig, SessionContext};
use weir::common::clock::instant;

use crate::events::Events;
use crate::{Bench, Outcome};

/// A view's query, answered once.
pub struct Answer {
    pub seconds: f64,
    /// Rows of the answer: one a group and window.
    pub rows: u64,
    /// Sum of their counts: the input's rows.
    pub bids: u64,
}

const HOT: &str =
    "SELECT auction, date_bin(INTERVAL '10' SECOND, date_time, TIMESTAMP '1970-01-01 00:00:00') AS window_start,
           count(*) AS bids, max(price) AS top, sum(price) AS total
    FROM bid GROUP BY 1, 2";

pub async fn hot(bench: &Bench, events: &Events, format: &str) -> Outcome<Answer> {
    let path = events.path(format);
    let path = path.to_str().ok_or("the path is not UTF-8")?;
    let begun = instant();
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(bench.parallelism));
    let schema = Events::schema();
    match format {
        "csv" => context.register_csv("bid", path, CsvReadOptions::new().has_header(false).schema(&schema)).await?,
        "json" => context.register_json("bid", path, JsonReadOptions::default().schema(&schema)).await?,
        _ => context.register_parquet("bid", path, ParquetReadOptions::new().schema(&schema)).await?,
    }
    let batches = context.sql(HOT).await?.collect().await?;
    let seconds = begun.elapsed().as_secs_f64();
    let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
    let counts = batches.iter().flat_map(|batch| batch.column(2).as_primitive::<Int64Type>().values());
    Ok(Answer { seconds, rows, bids: counts.map(|count| *count as u64).sum() })
}
