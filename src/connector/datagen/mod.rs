//! Made-up rows, for trying things out: each column a sequence or random, at a rate or as fast as possible.
//!
//! ```sql
//! WITH (connector = 'datagen', rows.per.second = '100', rows = '1000',
//!       fields.id.kind = 'sequence', fields.id.start = '1',
//!       fields.temp.kind = 'random', fields.temp.min = '-5', fields.temp.max = '30')
//! ```
//!
//! A value is a pure function of the options and the row's number, so the position is a number and a replay is exact.

mod field;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use self::field::Generator;
use super::numbered::Numbered;
use super::options::Given;
use super::output::{CHUNK_ROWS, Output, row_ids};
use super::{Context, Decoded, Decoder, Options, Payload, Source, SplitReader, Unit};
use crate::common::clock::Clock;
use crate::common::{Error, ErrorKind, Result};

const SPLIT: &str = "datagen";
const FIELDS: &str = "fields.";

struct Datagen {
    object: String,
    /// Of `fields.<column>.<what>`, by column.
    fields: BTreeMap<String, Options>,
    /// `None` is endless.
    rows: Option<u64>,
    rate: Option<u64>,
    clock: Clock,
}

/// Opens a datagen source. That the columns named in options are there is checked when a decoder is made: before, they
/// are not known.
pub(super) fn source(given: Given<'_>, context: &Context) -> Result<Arc<dyn Source>> {
    let of_fields: Vec<&str> = given.options.keys().map(String::as_str).filter(|key| key.starts_with(FIELDS)).collect();
    given.only(&[&["rows", "rows.per.second"], &of_fields])?;
    let mut fields: BTreeMap<String, Options> = BTreeMap::new();
    for key in of_fields {
        let Some((column, what)) =
            key[FIELDS.len()..].rsplit_once('.').filter(|(_, what)| field::OPTIONS.contains(what))
        else {
            return Err(given.wrong(format!("unknown option \"{key}\"")).with_hint(format!(
                "write fields.<column>.<what>, where what is one of: {}",
                field::OPTIONS.join(", ")
            )));
        };
        let value = given.options.get(key).cloned().unwrap_or_default();
        fields.entry(column.to_string()).or_default().insert(what.to_string(), value);
    }
    let mut rows = given.number("rows", 0, i64::MAX as u64)?;
    for (column, options) in &fields {
        let object = format!("{}, field \"{column}\"", given.object);
        // The shortest sequence ends the source.
        if let Some(length) = field::sequence_length(Given { object: &object, options })? {
            rows = Some(rows.map_or(length, |rows| rows.min(length)));
        }
    }
    Ok(Arc::new(Datagen {
        object: given.object.to_string(),
        fields,
        rows,
        rate: given.number("rows.per.second", 1, u64::MAX)?,
        clock: context.clock.clone(),
    }))
}

impl Source for Datagen {
    fn default_schema(&self) -> Result<Option<SchemaRef>> {
        Ok(None)
    }

    fn reader(&self, position: Option<&str>) -> Result<Box<dyn SplitReader>> {
        let numbered = Numbered { split: SPLIT, end: self.rows, unit: CHUNK_ROWS as u64, rate: self.rate };
        numbered.reader(&self.object, position, &self.clock)
    }

    fn decoder(&self, schema: SchemaRef, projection: Vec<usize>) -> Result<Box<dyn Decoder>> {
        for column in self.fields.keys() {
            if !schema.fields().iter().any(|field| field.name().eq_ignore_ascii_case(column)) {
                let known = schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
                let message = format!("{}: option \"{FIELDS}{column}\" names no column", self.object);
                return Err(Error::new(ErrorKind::UndefinedColumn, message).with_hint(format!("columns: {known}")));
            }
        }
        let output = Output::new(&schema, &projection)?;
        let none = Options::new();
        let generators = output.fields.iter().map(|field| {
            let object = format!("{}, field \"{}\"", self.object, field.name());
            let given = self.fields.iter().find(|(column, _)| column.eq_ignore_ascii_case(field.name()));
            let options = given.map_or(&none, |(_, options)| options);
            Generator::new(Given { object: &object, options }, field)
        });
        let generators = generators.collect::<Result<_>>()?;
        Ok(Box::new(DatagenDecoder { output, generators }))
    }
}

struct DatagenDecoder {
    output: Output,
    generators: Vec<Generator>,
}

impl Decoder for DatagenDecoder {
    fn decode(&mut self, unit: Unit) -> Result<Decoded> {
        let Payload::Range(first, end) = unit.payload else {
            return Err(Error::internal("a datagen decoder got a unit of bytes"));
        };
        let columns = self.generators.iter().map(|generator| generator.column(first..end)).collect::<Result<_>>()?;
        let chunk = self.output.chunk(columns, row_ids(unit.first_row_id, (end - first) as usize), None)?;
        Ok(Decoded { chunks: vec![chunk], dead_letters: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::Fetch;
    use crate::types::pretty;

    fn open(pairs: &[(&str, &str)]) -> Result<Arc<dyn Source>> {
        let options: Options = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let context = Context {
            base_dir: ".".into(),
            data_dir: ".".into(),
            clock: Clock::manual(0),
            secrets: Arc::new(|_| unreachable!("no option is a secret")),
            logs: Arc::new(|_| unreachable!("datagen needs no log")),
        };
        source(Given { object: "source \"d\"", options: &options }, &context)
    }

    fn rows(pairs: &[(&str, &str)], columns: &str, position: Option<&str>, units: usize) -> (Vec<String>, String) {
        let source = open(pairs).unwrap();
        let schema = pretty::schema(columns).unwrap();
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
    fn sequences() {
        let options = [
            ("fields.n.kind", "sequence"),
            ("fields.n.start", "-1"),
            ("fields.n.end", "1"),
            ("fields.t.kind", "sequence"),
            ("fields.t.start", "2024-01-01 00:00:00"),
            ("fields.t.interval", "1.5 seconds"),
            ("fields.s.kind", "sequence"),
            ("rows", "10"),
        ];
        let (rows, position) = rows(&options, "n:int t:timestamp s:varchar", None, 9);
        assert_eq!(
            rows,
            ["+ -1 2024-01-01T00:00:00 0 0", "+ 0 2024-01-01T00:00:01.500 1 1", "+ 1 2024-01-01T00:00:03 2 2",]
        );
        assert_eq!(position, "3");
    }

    #[test]
    fn a_replay_from_any_row_is_exact() {
        let columns = "a:bigint b:double c:varchar d:boolean e:timestamp f:date g:decimal";
        let options = [("rows", "20000"), ("fields.c.length", "25"), ("fields.a.seed", "9")];
        let (all, _) = rows(&options, columns, None, 9);
        assert_eq!(all.len(), 20_000);
        for position in ["1", "8191", "8192", "19999"] {
            let (rest, _) = rows(&options, columns, Some(position), 9);
            assert_eq!(rest, all[position.parse::<usize>().unwrap()..], "from {position}");
        }
        let distinct: std::collections::BTreeSet<_> = all.iter().map(|row| row.split(' ').nth(3)).collect();
        assert_eq!(distinct.len(), 20_000);
    }

    #[test]
    fn random_values_keep_their_limits() {
        let options = [
            ("rows", "5000"),
            ("fields.a.min", "-2"),
            ("fields.a.max", "3"),
            ("fields.b.min", "0.5"),
            ("fields.b.max", "0.75"),
            ("fields.e.min", "2024-01-01"),
            ("fields.e.max", "2024-01-01 00:00:01"),
        ];
        let (rows, _) = rows(&options, "a:bigint b:double e:timestamp", None, 9);
        let mut seen = std::collections::BTreeSet::new();
        for row in rows {
            let words: Vec<_> = row.split(' ').collect();
            seen.insert(words[1].parse::<i64>().unwrap());
            assert!((0.5..0.75).contains(&words[2].parse::<f64>().unwrap()), "{row}");
            assert!(words[3].starts_with("2024-01-01T00:00:0"), "{row}");
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [-2, -1, 0, 1, 2, 3]);
    }

    #[test]
    fn wrong_options() {
        type Pairs<'a> = &'a [(&'a str, &'a str)];
        let wrong: &[(Pairs, &str, &str)] = &[
            (&[("fields.x.kind", "random")], "a:bigint", "names no column"),
            (&[("fields.a.kind", "walk")], "a:bigint", "kind"),
            (&[("fields.a.what", "1")], "a:bigint", "unknown option"),
            (&[("fields.a", "1")], "a:bigint", "unknown option"),
            (&[("fields.a.min", "5"), ("fields.a.max", "4")], "a:bigint", "min"),
            (&[("fields.a.min", "x")], "a:bigint", "min"),
            (&[("fields.a.kind", "sequence"), ("fields.a.min", "1")], "a:bigint", "min"),
            (&[("fields.a.kind", "sequence"), ("fields.a.start", "x")], "a:bigint", "start"),
            (&[("fields.a.kind", "sequence"), ("fields.a.start", "2"), ("fields.a.end", "1")], "a:bigint", "end"),
            (&[("fields.a.kind", "sequence")], "a:boolean", "sequence"),
            (&[("fields.a.length", "3")], "a:bigint", "length"),
            (&[("fields.a.kind", "sequence"), ("fields.a.interval", "soon")], "a:timestamp", "interval"),
            (&[("rows.per.second", "0")], "a:bigint", "rows.per.second"),
            (&[("rate", "1")], "a:bigint", "unknown option"),
        ];
        for (options, columns, message) in wrong {
            let schema = pretty::schema(columns).unwrap();
            let e = open(options).and_then(|source| source.decoder(schema, vec![0])).err();
            let e = e.unwrap_or_else(|| panic!("{options:?} is taken"));
            assert!(e.message().contains(message), "{options:?}: {e}");
        }
        let small = [("rows", "3"), ("fields.a.kind", "sequence"), ("fields.a.start", "2147483646")];
        let source = open(&small).unwrap();
        let mut decoder = source.decoder(pretty::schema("a:int").unwrap(), vec![0]).unwrap();
        let Fetch::Unit(unit) = source.reader(None).unwrap().fetch().unwrap() else { panic!() };
        assert!(decoder.decode(unit).is_err(), "a sequence that leaves its type is an error");
    }
}
