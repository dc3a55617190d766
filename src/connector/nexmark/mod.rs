//! The Nexmark benchmark's stream of an auction house, made by the `nexmark` crate: `type = 'bid'`, `'auction'` or
//! `'person'`.
//!
//! Event *n* of the whole stream is a pure function of *n* and the options, so the position is a number and a replay is
//! exact. Offsets and row ids count events of all three types.

mod generate;

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::SchemaRef;
use nexmark::config::NexmarkConfig;

use self::generate::{Events, Settings};
pub use self::generate::{Kind, generate};
use super::numbered::Numbered;
use super::options::Given;
use super::output::{Output, is_convertible};
use super::{Context, Decoded, Decoder, Payload, Source, SplitReader, Unit};
use crate::common::clock::Clock;
use crate::common::{Error, ErrorKind, Result};
use crate::types::sql_name;

const SPLIT: &str = "nexmark";

/// The first event's time, in milliseconds since 1970, unless `base_time` says otherwise.
const BASE_TIME: u64 = 1_436_918_400_000;

const OPTIONS: &[&str] = &["type", "events", "rate", "event_rate", "seed", "base_time"];

/// What RisingWave calls the same; splits are no matter here: units spread over the actors.
const ALIASES: &[&str] =
    &["nexmark.table.type", "nexmark.event.num", "nexmark.min.event.gap.in.ns", "nexmark.split.num"];

/// Numbers of the generator, by their RisingWave names.
type Knob = (&'static str, fn(&mut NexmarkConfig) -> &mut usize);
const KNOBS: &[Knob] = &[
    ("nexmark.active.people", |c| &mut c.active_people),
    ("nexmark.in.flight.auctions", |c| &mut c.in_flight_auctions),
    ("nexmark.out.of.order.group.size", |c| &mut c.out_of_order_group_size),
    ("nexmark.avg.person.byte.size", |c| &mut c.avg_person_byte_size),
    ("nexmark.avg.auction.byte.size", |c| &mut c.avg_auction_byte_size),
    ("nexmark.avg.bid.byte.size", |c| &mut c.avg_bid_byte_size),
    ("nexmark.hot.seller.ratio", |c| &mut c.hot_seller_ratio),
    ("nexmark.hot.auction.ratio", |c| &mut c.hot_auction_ratio),
    ("nexmark.hot.bidder.ratio", |c| &mut c.hot_bidder_ratio),
    ("nexmark.hot.channel.ratio", |c| &mut c.hot_channel_ratio),
];

struct Nexmark {
    object: String,
    kind: Kind,
    settings: Settings,
    /// Events of all types; `None` is endless.
    events: Option<u64>,
    rate: Option<u64>,
    clock: Clock,
}

/// Opens a Nexmark source.
pub(super) fn source(given: Given<'_>, context: &Context) -> Result<Arc<dyn Source>> {
    let knobs: Vec<&str> = KNOBS.iter().map(|(name, _)| *name).collect();
    given.only(&[OPTIONS, ALIASES, &knobs])?;
    let one_of = |name: &'static str, alias: &'static str| match given.text(name) {
        Some(_) => name,
        None => alias,
    };
    let kind = match given.choice(one_of("type", "nexmark.table.type"), &["bid", "auction", "person"])? {
        Some("bid") => Kind::Bid,
        Some("auction") => Kind::Auction,
        Some(_) => Kind::Person,
        None => {
            return Err(given
                .wrong("option \"type\" is missing")
                .with_hint("write type = 'bid', 'auction' or 'person'"));
        }
    };
    let events = given.number(one_of("events", "nexmark.event.num"), 0, i64::MAX as u64)?;
    let gap = given.number("nexmark.min.event.gap.in.ns", 0, u64::MAX)?;
    let rate = match (given.number("rate", 1, u64::MAX)?, gap) {
        (None, Some(gap)) => 1_000_000_000u64.checked_div(gap).map(|rate| rate.max(1)),
        (rate, _) => rate,
    };
    let mut settings = Settings {
        seed: given.number("seed", 0, 1_000_000)?.unwrap_or(0),
        config: config(given.number("base_time", 0, 1 << 50)?.unwrap_or(BASE_TIME)),
    };
    if let Some(rate) = given.number("event_rate", 1, 1_000_000_000)? {
        settings.config.first_rate = rate;
        settings.config.next_rate = rate;
    }
    for (name, knob) in KNOBS {
        if let Some(value) = given.number(name, 1, 1_000_000)? {
            *knob(&mut settings.config) = value;
        }
    }
    Ok(Arc::new(Nexmark {
        object: given.object.to_string(),
        kind,
        settings,
        events,
        rate,
        clock: context.clock.clone(),
    }))
}

fn config(base_time: u64) -> NexmarkConfig {
    NexmarkConfig { base_time, ..Default::default() }
}

impl Source for Nexmark {
    fn default_schema(&self) -> Result<Option<SchemaRef>> {
        Ok(Some(self.kind.schema()))
    }

    fn reader(&self, position: Option<&str>) -> Result<Box<dyn SplitReader>> {
        let unit = self.kind.events_of_a_chunk();
        let numbered = Numbered { split: SPLIT, end: self.events, unit, rate: self.rate };
        numbered.reader(&self.object, position, &self.clock)
    }

    fn decoder(&self, schema: SchemaRef, projection: Vec<usize>) -> Result<Box<dyn Decoder>> {
        let output = Output::new(&schema, &projection)?;
        let own = self.kind.schema();
        let mut columns = Vec::new();
        for field in &output.fields {
            let name = field.name();
            let Some((column, own)) =
                own.fields().iter().enumerate().find(|(_, f)| f.name().eq_ignore_ascii_case(name))
            else {
                let known = own.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
                let message = format!("{}: a Nexmark {} has no column \"{name}\"", self.object, self.kind.name());
                return Err(Error::new(ErrorKind::UndefinedColumn, message).with_hint(format!("it has {known}")));
            };
            let (from, to) = (own.data_type(), field.data_type());
            if !is_convertible(from, to) {
                let (from, to) = (sql_name(from), sql_name(to));
                let message = format!("{}: column \"{name}\" is {from}, which cannot be {to}", self.object);
                return Err(Error::new(ErrorKind::DatatypeMismatch, message).with_hint(format!("declare it as {from}")));
            }
            columns.push(column);
        }
        Ok(Box::new(NexmarkDecoder { output, columns, events: Events::new(self.kind, &self.settings) }))
    }
}

struct NexmarkDecoder {
    output: Output,
    /// Of the projected columns, among the type's own.
    columns: Vec<usize>,
    events: Events,
}

impl Decoder for NexmarkDecoder {
    fn decode(&mut self, unit: Unit) -> Result<Decoded> {
        let Payload::Range(first, end) = unit.payload else {
            return Err(Error::internal("a Nexmark decoder got a unit of bytes"));
        };
        let numbers = self.events.generate(first..end);
        if numbers.is_empty() {
            return Ok(Decoded::default());
        }
        let mut columns = Vec::with_capacity(self.columns.len() + 1);
        for (column, field) in self.columns.iter().zip(&self.output.fields) {
            let array = self.events.column(*column);
            let strict = CastOptions { safe: false, ..Default::default() };
            columns.push(cast_with_options(&array, field.data_type(), &strict)?);
        }
        let chunk = self.output.chunk(columns, Int64Array::from(numbers), None)?;
        Ok(Decoded { chunks: vec![chunk], dead_letters: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::{Fetch, Options};
    use crate::types::pretty;

    fn open(pairs: &[(&str, &str)], clock: Clock) -> Result<Arc<dyn Source>> {
        let options: Options = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let context = Context {
            base_dir: ".".into(),
            data_dir: ".".into(),
            clock,
            secrets: Arc::new(|_| unreachable!("no option is a secret")),
            logs: Arc::new(|_| unreachable!("nexmark needs no log")),
        };
        source(Given { object: "source \"n\"", options: &options }, &context)
    }

    fn rows(source: &dyn Source, position: Option<&str>, units: usize) -> (Vec<String>, String) {
        let schema = source.default_schema().unwrap().unwrap();
        let all = (0..schema.fields().len()).collect();
        let mut decoder = source.decoder(schema, all).unwrap();
        let mut reader = source.reader(position).unwrap();
        let mut rows = Vec::new();
        for _ in 0..units {
            let Fetch::Unit(unit) = reader.fetch().unwrap() else { break };
            rows.extend(decoder.decode(unit).unwrap().chunks.iter().flat_map(|chunk| pretty::rows(chunk).unwrap()));
        }
        (rows, reader.position())
    }

    #[test]
    fn a_replay_from_any_unit_is_exact() {
        for kind in ["bid", "auction", "person"] {
            for extra in [("seed", "3"), ("nexmark.out.of.order.group.size", "7")] {
                let options = [("type", kind), ("events", "300000"), extra];
                let source = open(&options, Clock::manual(0)).unwrap();
                let (all, _) = rows(source.as_ref(), None, 2);
                let (mut first, position) = rows(source.as_ref(), None, 1);
                first.extend(rows(source.as_ref(), Some(&position), 1).0);
                assert_eq!(first, all, "{options:?}");
            }
        }
    }

    #[test]
    fn the_stream_is_the_crates() {
        let wanted = ["bid", "auction", "person"];
        let counts = wanted.map(|kind| {
            let source = open(&[("nexmark.table.type", kind), ("nexmark.event.num", "100")], Clock::manual(0)).unwrap();
            rows(source.as_ref(), None, 10).0.len()
        });
        assert_eq!(counts, [92, 6, 2]);
        let first = nexmark::EventGenerator::new(config(BASE_TIME)).nth(4).unwrap();
        let nexmark::event::Event::Bid(bid) = first else { panic!("event 4 is a bid") };
        let source = open(&[("type", "bid")], Clock::manual(0)).unwrap();
        let (rows, _) = rows(source.as_ref(), None, 1);
        let expected = format!("+ {} {} {} {} {}", bid.auction, bid.bidder, bid.price, bid.channel, bid.url);
        assert!(rows[0].starts_with(&expected) && rows[0].ends_with(" 4"), "{} is not {expected}", rows[0]);
        assert!(rows[0].contains("2015-07-15T00:00:00"), "{}", rows[0]);
    }

    #[test]
    fn a_seed_changes_the_values_and_not_the_ids() {
        let ids = |seed| {
            let source = open(&[("type", "auction"), ("events", "1000"), ("seed", seed)], Clock::manual(0)).unwrap();
            let (rows, _) = rows(source.as_ref(), None, 1);
            let words = |row: &String| row.split(' ').map(str::to_string).collect::<Vec<_>>();
            let rows: Vec<_> = rows.iter().map(words).collect();
            (rows.iter().map(|row| row[1].clone()).collect::<Vec<_>>(), rows[0][2].clone())
        };
        let ((zero, name), (one, other)) = (ids("0"), ids("1"));
        assert_eq!(zero, one);
        assert_eq!(zero[0], "1000");
        assert_ne!(name, other);
    }

    #[test]
    fn declared_columns_are_picked_by_name() {
        let source = open(&[("type", "bid"), ("events", "50")], Clock::manual(0)).unwrap();
        let schema = pretty::schema("price:double Auction:bigint").unwrap();
        let mut decoder = source.decoder(schema, vec![1, 0]).unwrap();
        let Fetch::Unit(unit) = source.reader(None).unwrap().fetch().unwrap() else { panic!() };
        let decoded = decoder.decode(unit).unwrap();
        assert_eq!(decoded.chunks[0].schema().field(0).name(), "Auction");
        let e = source.decoder(pretty::schema("bids:bigint").unwrap(), vec![0]).err().unwrap();
        assert!(e.hint().unwrap().contains("auction, bidder, price"), "{e}");
        assert!(source.decoder(pretty::schema("auction:date").unwrap(), vec![0]).is_err());
    }

    #[test]
    fn the_rate_is_kept() {
        let clock = Clock::manual(0);
        let source = open(&[("type", "bid"), ("rate", "1000")], clock.clone()).unwrap();
        let mut reader = source.reader(Some("500")).unwrap();
        assert!(matches!(reader.fetch().unwrap(), Fetch::Wait { .. }));
        clock.set(100_000);
        let Fetch::Unit(unit) = reader.fetch().unwrap() else { panic!() };
        assert!(matches!(unit.payload, Payload::Range(500, 600)));
        assert!(matches!(reader.fetch().unwrap(), Fetch::Wait { .. }));
        assert_eq!(reader.position(), "600");
    }

    #[test]
    fn wrong_options() {
        let wrong: &[&[(&str, &str)]] = &[
            &[],
            &[("type", "seller")],
            &[("type", "bid"), ("rate", "0")],
            &[("type", "bid"), ("nexmark.hot.auction.ratio", "0")],
            &[("type", "bid"), ("speed", "1")],
        ];
        for options in wrong {
            assert!(open(options, Clock::manual(0)).is_err(), "{options:?}");
        }
        let source = open(&[("type", "bid")], Clock::manual(0)).unwrap();
        assert!(source.reader(Some("x")).is_err());
    }
}
