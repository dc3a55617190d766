//! Stored keys: bytes whose order is the order of the values, and the virtual node of a key.
//!
//! The encoding is memcomparable (as in MyRocks, TiKV and RisingWave) and stable: keys on disk are compared with
//! keys of later releases. Nulls sort last, as in PostgreSQL's ascending order.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, ListArray, StructArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal128Type, Decimal256Type, DurationMicrosecondType, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use crate::common::{Error, Result};

/// Encoded keys, one a row, never null.
pub type Keys = BinaryArray;

/// Virtual nodes over which rows of a stateful operator are placed.
pub const VNODES: usize = 256;

/// The virtual node of an encoded distribution key.
pub fn vnode(distribution_key: &[u8]) -> u8 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(distribution_key);
    (hasher.finalize() % VNODES as u32) as u8
}

/// Encodes the rows of `columns` (all of one length) into keys. With no columns every key is empty.
///
/// # Errors
/// `NotSupported` for a type that has no order to store (maps, unions).
pub fn encode(columns: &[ArrayRef], rows: usize) -> Result<Keys> {
    let encoders = columns.iter().map(Encoder::new).collect::<Result<Vec<_>>>()?;
    let mut builder = BinaryBuilder::with_capacity(rows, rows * 10 * columns.len().max(1));
    let mut key = Vec::with_capacity(64);
    for row in 0..rows {
        key.clear();
        for encoder in &encoders {
            encoder.append(row, &mut key);
        }
        builder.append_value(&key);
    }
    Ok(builder.finish())
}

/// As [`encode`], each column in its own direction: what comes first in that order has the smaller bytes.
///
/// # Errors
/// As [`encode`].
pub fn encode_ordered(columns: &[(ArrayRef, SortOptions)], rows: usize) -> Result<Keys> {
    let encoders = columns.iter().map(|(c, o)| Ok((Encoder::new(c)?, *o))).collect::<Result<Vec<_>>>()?;
    let mut builder = BinaryBuilder::with_capacity(rows, rows * 10 * columns.len().max(1));
    let mut key = Vec::with_capacity(64);
    for row in 0..rows {
        key.clear();
        for (encoder, options) in &encoders {
            let start = key.len();
            encoder.append(row, &mut key);
            if let Some([marker, value @ ..]) = key.get_mut(start..) {
                *marker ^= u8::from(options.nulls_first);
                if options.descending {
                    value.iter_mut().for_each(|b| *b = !*b);
                }
            }
        }
        builder.append_value(&key);
    }
    Ok(builder.finish())
}

/// Keys `first | virtual node | rest`, as state tables have them; `placed` are the keys that the node is taken from. All
/// of one length.
pub fn placed(first: &Keys, placed: &Keys, rest: &Keys) -> Keys {
    let bytes = first.value_data().len() + rest.value_data().len() + rest.len();
    let mut keys = BinaryBuilder::with_capacity(rest.len(), bytes);
    let mut key = Vec::with_capacity(64);
    for row in 0..rest.len() {
        key.clear();
        key.extend_from_slice(first.value(row));
        key.push(vnode(placed.value(row)));
        key.extend_from_slice(rest.value(row));
        keys.append_value(&key);
    }
    keys.finish()
}

/// Whether a column of this type can be part of a stored key.
pub fn is_encodable(data_type: &DataType) -> bool {
    Encoder::new(&arrow::array::new_empty_array(data_type)).is_ok()
}

/// The smallest key that is above every key with this prefix; `None` if there is none (the prefix is all 0xFF).
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|b| *b != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

const NOT_NULL: u8 = 0;
const NULL: u8 = 1;

/// A typed view of one column, chosen once per batch.
enum Encoder<'a> {
    Null,
    Bool(&'a arrow::array::BooleanArray),
    /// Values of every integer-like type, already mapped to unsigned big-endian order.
    Fixed(Vec<u64>, usize, &'a dyn Array),
    Wide(Vec<[u8; 32]>, usize, &'a dyn Array),
    Bytes(Vec<&'a [u8]>, &'a dyn Array),
    /// The items, each behind a mark that there is one.
    List(Box<Encoder<'a>>, &'a ListArray),
    Struct(Vec<Encoder<'a>>, &'a StructArray),
}

impl<'a> Encoder<'a> {
    fn new(column: &'a ArrayRef) -> Result<Self> {
        macro_rules! signed {
            ($t:ty, $bytes:literal) => {
                Self::Fixed(
                    column
                        .as_primitive::<$t>()
                        .values()
                        .iter()
                        .map(|v| ((*v as i64) as u64) ^ (1u64 << 63))
                        .map(
                            |v| if $bytes == 8 { v } else { v.wrapping_sub((1u64 << 63) - (1u64 << ($bytes * 8 - 1))) },
                        )
                        .collect(),
                    $bytes,
                    column,
                )
            };
        }
        macro_rules! unsigned {
            ($t:ty, $bytes:literal) => {
                Self::Fixed(column.as_primitive::<$t>().values().iter().map(|v| *v as u64).collect(), $bytes, column)
            };
        }
        Ok(match column.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool(column.as_boolean()),
            DataType::Int8 => signed!(Int8Type, 1),
            DataType::Int16 => signed!(Int16Type, 2),
            DataType::Int32 => signed!(Int32Type, 4),
            DataType::Int64 => signed!(Int64Type, 8),
            DataType::UInt8 => unsigned!(UInt8Type, 1),
            DataType::UInt16 => unsigned!(UInt16Type, 2),
            DataType::UInt32 => unsigned!(UInt32Type, 4),
            DataType::UInt64 => unsigned!(UInt64Type, 8),
            DataType::Date32 => signed!(Date32Type, 4),
            DataType::Date64 => signed!(Date64Type, 8),
            DataType::Time64(TimeUnit::Microsecond) => signed!(Time64MicrosecondType, 8),
            DataType::Time64(TimeUnit::Nanosecond) => signed!(Time64NanosecondType, 8),
            DataType::Timestamp(TimeUnit::Second, _) => signed!(TimestampSecondType, 8),
            DataType::Timestamp(TimeUnit::Millisecond, _) => signed!(TimestampMillisecondType, 8),
            DataType::Timestamp(TimeUnit::Microsecond, _) => signed!(TimestampMicrosecondType, 8),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => signed!(TimestampNanosecondType, 8),
            DataType::Duration(TimeUnit::Microsecond) => signed!(DurationMicrosecondType, 8),
            DataType::Float32 => Self::Fixed(
                column.as_primitive::<Float32Type>().values().iter().map(|v| order_f32(*v)).collect(),
                4,
                column,
            ),
            DataType::Float64 => Self::Fixed(
                column.as_primitive::<Float64Type>().values().iter().map(|v| order_f64(*v)).collect(),
                8,
                column,
            ),
            DataType::Decimal128(_, _) => Self::Wide(
                column
                    .as_primitive::<Decimal128Type>()
                    .values()
                    .iter()
                    .map(|v| widen(&((*v as u128) ^ (1u128 << 127)).to_be_bytes()))
                    .collect(),
                16,
                column,
            ),
            DataType::Decimal256(_, _) => Self::Wide(
                column
                    .as_primitive::<Decimal256Type>()
                    .values()
                    .iter()
                    .map(|v| {
                        let mut bytes = v.to_be_bytes();
                        bytes[0] ^= 0x80;
                        bytes
                    })
                    .collect(),
                32,
                column,
            ),
            DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano) => Self::Wide(
                column
                    .as_primitive::<IntervalMonthDayNanoType>()
                    .values()
                    .iter()
                    .map(|v| {
                        let mut bytes = [0u8; 16];
                        bytes[..4].copy_from_slice(&((v.months as u32) ^ (1 << 31)).to_be_bytes());
                        bytes[4..8].copy_from_slice(&((v.days as u32) ^ (1 << 31)).to_be_bytes());
                        bytes[8..].copy_from_slice(&((v.nanoseconds as u64) ^ (1 << 63)).to_be_bytes());
                        widen(&bytes)
                    })
                    .collect(),
                16,
                column,
            ),
            DataType::Utf8 => {
                let a = column.as_string::<i32>();
                Self::Bytes((0..a.len()).map(|i| a.value(i).as_bytes()).collect(), column)
            }
            DataType::LargeUtf8 => {
                let a = column.as_string::<i64>();
                Self::Bytes((0..a.len()).map(|i| a.value(i).as_bytes()).collect(), column)
            }
            DataType::Utf8View => {
                let a = column.as_string_view();
                Self::Bytes((0..a.len()).map(|i| a.value(i).as_bytes()).collect(), column)
            }
            DataType::Binary => {
                let a = column.as_binary::<i32>();
                Self::Bytes((0..a.len()).map(|i| a.value(i)).collect(), column)
            }
            DataType::FixedSizeBinary(_) => {
                let a = column.as_fixed_size_binary();
                Self::Bytes((0..a.len()).map(|i| a.value(i)).collect(), column)
            }
            DataType::LargeBinary => {
                let a = column.as_binary::<i64>();
                Self::Bytes((0..a.len()).map(|i| a.value(i)).collect(), column)
            }
            DataType::BinaryView => {
                let a = column.as_binary_view();
                Self::Bytes((0..a.len()).map(|i| a.value(i)).collect(), column)
            }
            DataType::List(_) => {
                let list = column.as_list::<i32>();
                Self::List(Box::new(Self::new(list.values())?), list)
            }
            DataType::Struct(_) => {
                let fields = column.as_struct();
                Self::Struct(fields.columns().iter().map(Self::new).collect::<Result<_>>()?, fields)
            }
            other => {
                return Err(Error::not_supported(format!("a column of type {other} cannot be part of a key"))
                    .with_hint("leave it out of PRIMARY KEY, GROUP BY and DISTINCT, or cast it to VARCHAR"));
            }
        })
    }

    #[inline]
    fn append(&self, row: usize, key: &mut Vec<u8>) {
        match self {
            Self::Null => key.push(NULL),
            Self::Bool(a) if a.is_null(row) => key.push(NULL),
            Self::Bool(a) => key.extend_from_slice(&[NOT_NULL, a.value(row) as u8]),
            Self::Fixed(_, _, a) | Self::Wide(_, _, a) | Self::Bytes(_, a) if a.is_null(row) => key.push(NULL),
            Self::List(_, a) if a.is_null(row) => key.push(NULL),
            Self::Struct(_, a) if a.is_null(row) => key.push(NULL),
            Self::List(items, a) => {
                key.push(NOT_NULL);
                for item in a.value_offsets()[row]..a.value_offsets()[row + 1] {
                    key.push(1);
                    items.append(item as usize, key);
                }
                key.push(0);
            }
            Self::Struct(fields, _) => {
                key.push(NOT_NULL);
                fields.iter().for_each(|field| field.append(row, key));
            }
            Self::Fixed(values, width, _) => {
                key.push(NOT_NULL);
                key.extend_from_slice(&values[row].to_be_bytes()[8 - width..]);
            }
            Self::Wide(values, width, _) => {
                key.push(NOT_NULL);
                key.extend_from_slice(&values[row][..*width]);
            }
            Self::Bytes(values, _) => {
                key.push(NOT_NULL);
                append_bytes(values[row], key);
            }
        }
    }
}

/// Groups of 8 bytes, each followed by how many of them count (9 when the group is full and more may follow), as
/// in MyRocks: order is kept and no value is a prefix of another.
fn append_bytes(value: &[u8], key: &mut Vec<u8>) {
    let mut chunks = value.chunks_exact(8);
    for chunk in &mut chunks {
        key.extend_from_slice(chunk);
        key.push(9);
    }
    let rest = chunks.remainder();
    key.extend_from_slice(rest);
    key.resize(key.len() + 8 - rest.len(), 0);
    key.push(rest.len() as u8);
}

fn widen(bytes: &[u8; 16]) -> [u8; 32] {
    let mut wide = [0u8; 32];
    wide[..16].copy_from_slice(bytes);
    wide
}

/// IEEE total order with -0 folded into 0 and every NaN into one, which sorts last (as PostgreSQL has it).
fn order_f64(v: f64) -> u64 {
    let v = if v.is_nan() { f64::NAN.abs() } else { v + 0.0 };
    let bits = v.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | (1 << 63) }
}

fn order_f32(v: f32) -> u64 {
    let v = if v.is_nan() { f32::NAN.abs() } else { v + 0.0 };
    let bits = v.to_bits();
    u64::from(if bits >> 31 == 1 { !bits } else { bits | (1 << 31) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Decimal128Array, Float64Array, Int16Array, Int64Array, StringArray};

    use super::*;

    fn check_sorted(column: ArrayRef) {
        let keys = encode(std::slice::from_ref(&column), column.len()).unwrap();
        for i in 1..keys.len() {
            assert!(keys.value(i - 1) < keys.value(i), "{column:?} at {i}");
        }
    }

    #[test]
    fn order_of_bytes_is_order_of_values() {
        check_sorted(Arc::new(Int64Array::from(vec![
            Some(i64::MIN),
            Some(-1),
            Some(0),
            Some(7),
            Some(i64::MAX),
            None,
        ])));
        check_sorted(Arc::new(Int16Array::from(vec![i16::MIN, -1, 0, 1, i16::MAX])));
        check_sorted(Arc::new(Float64Array::from(vec![f64::NEG_INFINITY, -1.5, 0.0, 1e-9, f64::INFINITY, f64::NAN])));
        check_sorted(Arc::new(StringArray::from(vec!["", "\0", "a", "aaaaaaaa", "aaaaaaaa\0", "aaaaaaaab", "b"])));
        check_sorted(Arc::new(Decimal128Array::from(vec![i128::MIN, -5, 0, 5, i128::MAX])));
        let lists = [Some(vec![]), Some(vec![Some(1)]), Some(vec![Some(1), Some(-5)]), Some(vec![Some(1), None])];
        let lists = lists.into_iter().chain([Some(vec![Some(2)]), Some(vec![None]), None]);
        check_sorted(Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)));
        let fields = |n: i64, text: Option<&'static str>| (n, text);
        let rows = [fields(1, Some("a")), fields(1, Some("ab")), fields(1, None), fields(2, Some(""))];
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0)));
        let texts: ArrayRef = Arc::new(rows.iter().map(|r| r.1).collect::<StringArray>());
        let field = |name, data_type| Arc::new(arrow::datatypes::Field::new(name, data_type, true));
        let fields = [(field("n", DataType::Int64), numbers), (field("t", DataType::Utf8), texts)];
        check_sorted(Arc::new(StructArray::from(fields.to_vec())));
    }

    #[test]
    fn each_direction_has_its_order() {
        let column: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), None, Some("a"), Some("ab"), Some("")]));
        let sorted = |descending, nulls_first| {
            let options = SortOptions { descending, nulls_first };
            let keys = encode_ordered(&[(Arc::clone(&column), options)], 5).unwrap();
            let mut rows = [0, 1, 2, 3, 4];
            rows.sort_by_key(|r| keys.value(*r));
            rows
        };
        assert_eq!(sorted(false, false), [4, 2, 3, 0, 1]);
        assert_eq!(sorted(false, true), [1, 4, 2, 3, 0]);
        assert_eq!(sorted(true, false), [0, 3, 2, 4, 1]);
        assert_eq!(sorted(true, true), [1, 0, 3, 2, 4]);
    }

    #[test]
    fn no_key_is_a_prefix_of_another() {
        let a: ArrayRef = Arc::new(StringArray::from(vec!["a", "ab", "abcdefgh", "abcdefghi"]));
        let keys = encode(&[a], 4).unwrap();
        for i in 0..4 {
            for j in 0..4 {
                assert!(i == j || !keys.value(j).starts_with(keys.value(i)));
            }
        }
    }

    #[test]
    fn minus_zero_is_zero() {
        let a: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0]));
        let keys = encode(&[a], 2).unwrap();
        assert_eq!(keys.value(0), keys.value(1));
    }

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(prefix_end(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(prefix_end(&[1, 0xff]), Some(vec![2]));
        assert_eq!(prefix_end(&[0xff]), None);
    }
}
