//! The input: the bids among the Nexmark events, in three formats, and all three streams as CSV, made once.

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

pub const STREAMS: [Kind; 3] = [Kind::Bid, Kind::Auction, Kind::Person];

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

    /// The three streams of the first `events` events, each a CSV file.
    pub fn streams(bench: &Bench, events: u64) -> Outcome<Self> {
        let made = Self { dir: bench.dir.join(format!("streams-{events}")) };
        if !made.dir.exists() {
            let aside = made.dir.with_extension("part");
            if aside.exists() {
                fs::remove_dir_all(&aside)?;
            }
            fs::create_dir_all(&aside)?;
            for kind in STREAMS {
                let schema = kind.schema();
                let mut csv = csv(File::create(aside.join(format!("{}.csv", kind.name())))?);
                for start in (0..events).step_by(STEP as usize) {
                    csv.write(&nexmark::generate(kind, start..(start + STEP).min(events), &schema)?)?;
                }
                csv.into_inner().flush()?;
            }
            fs::rename(&aside, &made.dir)?;
        }
        Ok(made)
    }

    pub fn stream(&self, kind: Kind) -> PathBuf {
        self.dir.join(format!("{}.csv", kind.name()))
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

/// Events that are made at once.
const STEP: u64 = 100_000;

fn csv(file: File) -> CsvWriter<BufWriter<File>> {
    let format = CsvWriterBuilder::new().with_header(false).with_timestamp_format("%Y-%m-%d %H:%M:%S%.3f".into());
    format.build(BufWriter::with_capacity(1 << 20, file))
}

fn write(dir: &Path, events: u64) -> Outcome<()> {
    let file =
        |format: &str| File::create(dir.join(format!("bid.{format}"))).map(|f| BufWriter::with_capacity(1 << 20, f));
    let schema = Events::schema();
    let mut csv = csv(File::create(dir.join("bid.csv"))?);
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
