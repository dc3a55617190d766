//! The input: the bids among the Nexmark events, in three formats, made once.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::csv::{Writer as CsvWriter, WriterBuilder as CsvWriterBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::json::LineDelimitedWriter;
use datafusion::parquet::arrow::ArrowWriter;
use weir::connector::nexmark::{self, Kind};

use crate::{Bench, Outcome};

pub const FORMATS: [&str; 3] = ["csv", "json", "parquet"];

pub struct Events {
    dir: PathBuf,
}

impl Events {
    /// Makes the files unless they are there.
    pub fn prepare(bench: &Bench) -> Outcome<Self> {
        let dir = bench.dir.join(bench.events.to_string());
        let made = Self { dir };
        if !made.dir.exists() {
            let aside = made.dir.with_extension("part");
            if aside.exists() {
                fs::remove_dir_all(&aside)?;
            }
            fs::create_dir_all(&aside)?;
            write(&aside, bench.events)?;
            fs::rename(&aside, &made.dir)?;
        }
        Ok(made)
    }

    pub fn path(&self, format: &str) -> PathBuf {
        self.dir.join(format!("bid.{format}"))
    }

    /// A glob that names the CSV file as many times: a longer stream of the same groups.
    pub fn times(&self, copies: usize) -> Outcome<PathBuf> {
        let dir = self.dir.join(format!("csv-{copies}"));
        fs::create_dir_all(&dir)?;
        for copy in 0..copies {
            let link = dir.join(format!("{copy}.csv"));
            if !link.exists() {
                fs::hard_link(self.path("csv"), link)?;
            }
        }
        Ok(dir.join("*.csv"))
    }

    /// The bids' columns, as Weir declares them too.
    pub fn schema() -> SchemaRef {
        let text = |name| Field::new(name, DataType::Utf8, true);
        let number = |name| Field::new(name, DataType::Int64, true);
        let time = Field::new("date_time", DataType::Timestamp(TimeUnit::Microsecond, None), true);
        let (auction, bidder, price) = (number("auction"), number("bidder"), number("price"));
        Arc::new(Schema::new(vec![auction, bidder, price, text("channel"), text("url"), time, text("extra")]))
    }
}

fn write(dir: &Path, events: u64) -> Outcome<()> {
    const STEP: u64 = 100_000;
    let file =
        |format: &str| File::create(dir.join(format!("bid.{format}"))).map(|f| BufWriter::with_capacity(1 << 20, f));
    let schema = Events::schema();
    let csv = CsvWriterBuilder::new().with_header(false).with_timestamp_format("%Y-%m-%d %H:%M:%S%.3f".into());
    let mut csv: CsvWriter<_> = csv.build(file("csv")?);
    let mut json = LineDelimitedWriter::new(file("json")?);
    let mut parquet = ArrowWriter::try_new(file("parquet")?, schema.clone(), None)?;
    for start in (0..events).step_by(STEP as usize) {
        let bids: RecordBatch = nexmark::generate(Kind::Bid, start..(start + STEP).min(events), &schema)?;
        csv.write(&bids)?;
        json.write(&bids)?;
        parquet.write(&bids)?;
        eprint!("\r            {} of {events} events written", (start + STEP).min(events));
    }
    eprintln!();
    json.finish()?;
    csv.into_inner().flush()?;
    json.into_inner().flush()?;
    parquet.close()?;
    Ok(())
}
