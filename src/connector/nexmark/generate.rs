//! Ranges of Nexmark events as columns. Knows nothing of sources.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::{Auction, Bid, Event, Person};

use crate::common::{Error, ErrorKind, Result};
use crate::types::time;

/// A type of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Person,
    Auction,
    Bid,
}

/// Name and type of a column, and how it is read off the events.
type Column<E> = (&'static str, Type<E>);

enum Type<E> {
    Number(fn(&E) -> usize),
    /// An id that counts auctions or persons, of which so many are in a cycle: a seed shifts them.
    Id(fn(&E) -> usize, u64),
    /// Milliseconds since 1970.
    Time(fn(&E) -> u64),
    Text(fn(&E) -> &str),
}

use Type::{Id, Number, Text, Time};

const BID: &[Column<Bid>] = &[
    ("auction", Id(|e| e.auction, AUCTIONS)),
    ("bidder", Id(|e| e.bidder, PERSONS)),
    ("price", Number(|e| e.price)),
    ("channel", Text(|e| &e.channel)),
    ("url", Text(|e| &e.url)),
    ("date_time", Time(|e| e.date_time)),
    ("extra", Text(|e| &e.extra)),
];

const AUCTION: &[Column<Auction>] = &[
    ("id", Id(|e| e.id, AUCTIONS)),
    ("item_name", Text(|e| &e.item_name)),
    ("description", Text(|e| &e.description)),
    ("initial_bid", Number(|e| e.initial_bid)),
    ("reserve", Number(|e| e.reserve)),
    ("date_time", Time(|e| e.date_time)),
    ("expires", Time(|e| e.expires)),
    ("seller", Id(|e| e.seller, PERSONS)),
    ("category", Number(|e| e.category)),
    ("extra", Text(|e| &e.extra)),
];

const PERSON: &[Column<Person>] = &[
    ("id", Id(|e| e.id, PERSONS)),
    ("name", Text(|e| &e.name)),
    ("email_address", Text(|e| &e.email_address)),
    ("credit_card", Text(|e| &e.credit_card)),
    ("city", Text(|e| &e.city)),
    ("state", Text(|e| &e.state)),
    ("date_time", Time(|e| e.date_time)),
    ("extra", Text(|e| &e.extra)),
];

/// The stream goes in cycles of 50 events: one person, three auctions, 46 bids.
const PERSONS: u64 = 1;
const AUCTIONS: u64 = 3;
const CYCLE: u64 = 50;
/// The crate draws an event's values from its number alone. A seed moves the numbers on by so many cycles, a multiple
/// of the 100 that hot ids are rounded to.
const CYCLES_OF_A_SEED: u64 = 100_000_000;

/// What decides the events' values.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub config: NexmarkConfig,
    /// Up to a million.
    pub seed: u64,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Auction => "auction",
            Self::Bid => "bid",
        }
    }

    /// All columns of the type.
    pub fn schema(self) -> SchemaRef {
        fn fields<E>(columns: &[Column<E>]) -> Vec<Field> {
            let data_type = |column: &Type<E>| match column {
                Number(_) | Id(..) => DataType::Int64,
                Time(_) => time::timestamp(),
                Text(_) => DataType::Utf8,
            };
            columns.iter().map(|(name, column)| Field::new(*name, data_type(column), true)).collect()
        }
        Arc::new(Schema::new(match self {
            Self::Person => fields(PERSON),
            Self::Auction => fields(AUCTION),
            Self::Bid => fields(BID),
        }))
    }

    /// Events of the whole stream that hold at most a chunk's rows of this type.
    pub(super) fn events_of_a_chunk(self) -> u64 {
        match self {
            Self::Person => 1 << 18,
            Self::Auction => 1 << 17,
            Self::Bid => 1 << 13,
        }
    }
}

/// The rows of `kind` among `events` of the default stream, with the columns of `schema`, which are some of
/// [`Kind::schema`]'s by name.
///
/// # Errors
/// `UndefinedColumn` for one that the type does not have.
pub fn generate(kind: Kind, events: Range<u64>, schema: &SchemaRef) -> Result<RecordBatch> {
    let own = kind.schema();
    let settings = Settings { config: super::config(super::BASE_TIME), seed: 0 };
    let mut made = Events::new(kind, &settings);
    made.generate(events);
    let columns = schema.fields().iter().map(|field| match own.index_of(field.name()) {
        Ok(column) => Ok(made.column(column)),
        Err(_) => {
            let message = format!("a Nexmark {} has no column \"{}\"", kind.name(), field.name());
            Err(Error::new(ErrorKind::UndefinedColumn, message))
        }
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<Vec<_>>>()?)?)
}

/// A generator of one type's events, and the events that it made last.
pub(super) struct Events {
    /// Taken only while it is moved to another event.
    generator: Option<EventGenerator>,
    out_of_order_group: u64,
    seed: u64,
    made: Made,
}

enum Made {
    Persons(Vec<Person>),
    Auctions(Vec<Auction>),
    Bids(Vec<Bid>),
}

impl Events {
    pub fn new(kind: Kind, settings: &Settings) -> Self {
        let mut config = settings.config.clone();
        config.first_event_id = (settings.seed * CYCLES_OF_A_SEED * CYCLE) as usize;
        Self {
            out_of_order_group: config.out_of_order_group_size.max(1) as u64,
            generator: Some(EventGenerator::new(config)),
            seed: settings.seed,
            made: match kind {
                Kind::Person => Made::Persons(Vec::new()),
                Kind::Auction => Made::Auctions(Vec::new()),
                Kind::Bid => Made::Bids(Vec::new()),
            },
        }
    }

    /// Makes the type's events among `events` and returns their numbers.
    pub fn generate(&mut self, events: Range<u64>) -> Vec<i64> {
        match &mut self.made {
            Made::Persons(made) => made.clear(),
            Made::Auctions(made) => made.clear(),
            Made::Bids(made) => made.clear(),
        }
        let mut numbers = Vec::new();
        for number in events {
            if !self.is_wanted(number) {
                continue;
            }
            if self.generator.as_ref().is_some_and(|generator| generator.offset() != number) {
                self.generator = self.generator.take().map(|generator| generator.with_offset(number));
            }
            match (self.generator.as_mut().and_then(Iterator::next), &mut self.made) {
                (Some(Event::Person(event)), Made::Persons(made)) => made.push(event),
                (Some(Event::Auction(event)), Made::Auctions(made)) => made.push(event),
                (Some(Event::Bid(event)), Made::Bids(made)) => made.push(event),
                _ => continue,
            }
            numbers.push(number as i64);
        }
        numbers
    }

    /// Whether the event at `number` is of the type: without making it.
    fn is_wanted(&self, number: u64) -> bool {
        let group = self.out_of_order_group;
        let place = (number / group * group).wrapping_add(number.wrapping_mul(953) % group) % CYCLE;
        match self.made {
            Made::Persons(_) => place < PERSONS,
            Made::Auctions(_) => (PERSONS..PERSONS + AUCTIONS).contains(&place),
            Made::Bids(_) => place >= PERSONS + AUCTIONS,
        }
    }

    /// A column of the events made last, by its place in [`Kind::schema`].
    pub fn column(&self, column: usize) -> ArrayRef {
        match &self.made {
            Made::Persons(made) => self.build(made, PERSON, column),
            Made::Auctions(made) => self.build(made, AUCTION, column),
            Made::Bids(made) => self.build(made, BID, column),
        }
    }

    fn build<E>(&self, made: &[E], columns: &[Column<E>], column: usize) -> ArrayRef {
        match &columns[column].1 {
            Number(get) => Arc::new(Int64Array::from_iter_values(made.iter().map(|e| get(e) as i64))),
            Id(get, of_a_cycle) => {
                let shift = (self.seed * CYCLES_OF_A_SEED * of_a_cycle) as i64;
                Arc::new(Int64Array::from_iter_values(made.iter().map(|e| get(e) as i64 - shift)))
            }
            Time(get) => {
                Arc::new(TimestampMicrosecondArray::from_iter_values(made.iter().map(|e| get(e) as i64 * 1000)))
            }
            Text(get) => Arc::new(StringArray::from_iter_values(made.iter().map(get))),
        }
    }
}
