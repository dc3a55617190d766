//! Texts and bytes: `format`, quoting, encodings, parts of bytes, and small things on arrays.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::logical_expr::{ScalarUDF, Signature, TypeSignature, Volatility};

use super::{each, each_text, texts, values, wrong, wrong_arguments};
use crate::common::{Error, ErrorKind, Result};
use crate::expr::function::{Function, Returns, any_null, arg};

const TEXT: DataType = DataType::Utf8;
const BYTES: DataType = DataType::Binary;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use DataType::{Int32, Int64};
    let any = |n: usize| Signature::new(TypeSignature::Any(n), Volatility::Immutable);
    let variadic = || Signature::new(TypeSignature::VariadicAny, Volatility::Immutable);
    let text = |name, eval| Function::exact(name, &[TEXT], TEXT, eval).udf();
    vec![
        Function::new("format", variadic(), Returns::Type(TEXT), format).udf(),
        Function::new("quote_literal", any(1), Returns::Type(TEXT), |args| quoted(args, false)).udf(),
        Function::new("quote_nullable", any(1), Returns::Type(TEXT), |args| quoted(args, true)).udf(),
        text("unistr", |args| {
            let texts = texts(args, 0)?;
            each_text(args, |row| unistr(texts.value(row)).map(Some))
        }),
        Function::one_of("convert_from", &[&[BYTES, TEXT]], Returns::Type(TEXT), |args| {
            let bytes = bytes(args, 0)?;
            let names = texts(args, 1)?;
            each_text(args, |row| {
                utf8(names.value(row))?;
                let text = std::str::from_utf8(bytes.value(row))
                    .map_err(|_| Error::new(ErrorKind::DataException, "invalid byte sequence for encoding \"UTF8\""))?;
                Ok(Some(text.to_string()))
            })
        })
        .udf(),
        Function::one_of("convert_to", &[&[TEXT, TEXT]], Returns::Type(BYTES), |args| {
            let names = texts(args, 1)?;
            names.iter().flatten().try_for_each(utf8)?;
            Ok(cast(arg(args, 0)?, &BYTES)?)
        })
        .udf(),
        Function::one_of("encode_escape", &[&[BYTES]], Returns::Type(TEXT), |args| {
            let bytes = bytes(args, 0)?;
            each_text(args, |row| Ok(Some(escaped(bytes.value(row)))))
        })
        .udf(),
        Function::exact("like_escape", &[TEXT, TEXT], TEXT, |args| {
            let (patterns, escapes) = (texts(args, 0)?, texts(args, 1)?);
            each_text(args, |row| like_escape(patterns.value(row), escapes.value(row)).map(Some))
        })
        .udf(),
        Function::exact("get_byte", &[BYTES, Int64], Int32, |args| {
            let (bytes, at) = (bytes(args, 0)?, values::<Int64Type>(args, 1)?);
            Ok(Arc::new(each::<Int32Type>(args, |row| {
                let bytes = bytes.value(row);
                Ok(bytes[index(at.value(row), bytes.len())?].into())
            })?))
        })
        .udf(),
        Function::exact("get_bit", &[BYTES, Int64], Int32, |args| {
            let (bytes, at) = (bytes(args, 0)?, values::<Int64Type>(args, 1)?);
            Ok(Arc::new(each::<Int32Type>(args, |row| {
                let bytes = bytes.value(row);
                let at = index(at.value(row), bytes.len() * 8)?;
                Ok((bytes[at / 8] >> (at % 8) & 1).into())
            })?))
        })
        .udf(),
        Function::exact("set_byte", &[BYTES, Int64, Int64], BYTES, |args| {
            let (bytes, at, new) = (bytes(args, 0)?, values::<Int64Type>(args, 1)?, values::<Int64Type>(args, 2)?);
            each_bytes(args, |row| {
                let mut changed = bytes.value(row).to_vec();
                let at = index(at.value(row), changed.len())?;
                changed[at] = new.value(row) as u8;
                Ok(changed)
            })
        })
        .udf(),
        Function::exact("set_bit", &[BYTES, Int64, Int64], BYTES, |args| {
            let (bytes, at, new) = (bytes(args, 0)?, values::<Int64Type>(args, 1)?, values::<Int64Type>(args, 2)?);
            each_bytes(args, |row| {
                let mut changed = bytes.value(row).to_vec();
                let at = index(at.value(row), changed.len() * 8)?;
                let mask = 1u8 << (at % 8);
                match new.value(row) {
                    0 => changed[at / 8] &= !mask,
                    1 => changed[at / 8] |= mask,
                    _ => return Err(wrong("new bit must be 0 or 1")),
                }
                Ok(changed)
            })
        })
        .udf(),
        Function::exact("bit_count", &[BYTES], Int64, |args| {
            let bytes = bytes(args, 0)?;
            let ones = |b: &[u8]| b.iter().map(|byte| i64::from(byte.count_ones())).sum::<i64>();
            Ok(Arc::new(bytes.iter().map(|b| b.map(ones)).collect::<Int64Array>()))
        })
        .udf(),
        Function::coercing("trim_array", list_and_number, Returns::Of(first), trim_array).udf(),
    ]
}

fn bytes(args: &[ArrayRef], index: usize) -> Result<&BinaryArray> {
    arg(args, index)?.as_binary_opt::<i32>().ok_or_else(|| Error::internal("a function on other than bytes"))
}

fn each_bytes(args: &[ArrayRef], answer: impl Fn(usize) -> Result<Vec<u8>>) -> Result<ArrayRef> {
    let rows = 0..arg(args, 0)?.len();
    let changed = rows.map(|row| if any_null(args, row) { Ok(None) } else { answer(row).map(Some) });
    let changed = changed.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(BinaryArray::from_iter(changed)))
}

fn index(at: i64, length: usize) -> Result<usize> {
    usize::try_from(at).ok().filter(|at| *at < length).ok_or_else(|| {
        let last = length as i64 - 1;
        Error::new(ErrorKind::NumericValueOutOfRange, format!("index {at} out of valid range, 0..{last}"))
    })
}

fn utf8(name: &str) -> Result<()> {
    match name.replace('-', "").to_ascii_lowercase().as_str() {
        "utf8" | "unicode" => Ok(()),
        _ => Err(Error::not_supported(format!("the encoding \"{name}\" is not supported")).with_hint("use 'UTF8'")),
    }
}

fn escaped(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            0 | 0x80.. => out.push_str(&format!("\\{byte:03o}")),
            byte => out.push(char::from(*byte)),
        }
    }
    out
}

fn quoted(args: &[ArrayRef], of_null: bool) -> Result<ArrayRef> {
    let text = cast(arg(args, 0)?, &TEXT)?;
    let text = text.as_string::<i32>();
    let quoted: StringArray = text
        .iter()
        .map(|t| match t {
            Some(text) => Some(literal(text)),
            None => of_null.then(|| "NULL".to_string()),
        })
        .collect();
    Ok(Arc::new(quoted))
}

fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    match doubled.contains('\\') {
        true => format!("E'{}'", doubled.replace('\\', "\\\\")),
        false => format!("'{doubled}'"),
    }
}

fn identifier(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { text.to_string() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

/// `%[position$][flags][width]type`, with `s`, `I` and `L`.
fn format(args: &[ArrayRef]) -> Result<ArrayRef> {
    let columns = args.iter().map(|a| Ok(cast(a, &TEXT)?)).collect::<Result<Vec<_>>>()?;
    let columns: Vec<&StringArray> = columns.iter().map(|c| c.as_string::<i32>()).collect();
    let Some((templates, values)) = columns.split_first() else {
        return Err(Error::internal("format without arguments"));
    };
    let mut out = StringBuilder::new();
    for row in 0..templates.len() {
        if templates.is_null(row) {
            out.append_null();
            continue;
        }
        let value = |at: usize| -> Result<Option<&str>> {
            let column = values.get(at).ok_or_else(|| wrong("too few arguments for format()"))?;
            Ok(column.is_valid(row).then(|| column.value(row)))
        };
        out.append_value(formatted(templates.value(row), value)?);
    }
    Ok(Arc::new(out.finish()))
}

fn formatted<'v>(template: &str, value: impl Fn(usize) -> Result<Option<&'v str>>) -> Result<String> {
    let mut out = String::new();
    let mut next = 0;
    let mut rest = template;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let number = |text: &str| {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            text[..digits].parse::<usize>().ok().map(|n| (n, digits))
        };
        let mut position = None;
        if let Some((n, digits)) = number(rest)
            && rest[digits..].starts_with('$')
        {
            if n == 0 {
                return Err(wrong("format specifies argument 0, but arguments are numbered from 1"));
            }
            position = Some(n - 1);
            rest = &rest[digits + 1..];
        }
        let mut left = false;
        while let Some(after) = rest.strip_prefix('-') {
            left = true;
            rest = after;
        }
        let mut width = 0;
        if let Some(after) = rest.strip_prefix('*') {
            let given = value(next)?.unwrap_or("0");
            next += 1;
            let given: i64 = given.parse().map_err(|_| wrong(format!("\"{given}\" is not a width")))?;
            left |= given < 0;
            width = given.unsigned_abs() as usize;
            rest = after;
        } else if let Some((n, digits)) = number(rest) {
            width = n;
            rest = &rest[digits..];
        }
        let kind = rest
            .chars()
            .next()
            .ok_or_else(|| wrong("unterminated format() type specifier").with_hint("for a single \"%\" use \"%%\""))?;
        rest = &rest[kind.len_utf8()..];
        let at = position.unwrap_or(next);
        next = at + 1;
        let text = match (kind, value(at)?) {
            ('s', text) => text.unwrap_or_default().to_string(),
            ('I', Some(text)) => identifier(text),
            ('I', None) => {
                return Err(Error::new(
                    ErrorKind::DataException,
                    "null values cannot be formatted as an SQL identifier",
                ));
            }
            ('L', Some(text)) => literal(text),
            ('L', None) => "NULL".into(),
            (other, _) => {
                return Err(wrong(format!("unrecognized format() type specifier \"{other}\""))
                    .with_hint("for a single \"%\" use \"%%\""));
            }
        };
        let padding = " ".repeat(width.min(1 << 20).saturating_sub(text.chars().count()));
        match left {
            true => out.extend([text, padding]),
            false => out.extend([padding, text]),
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// `\0061`, `\+000061`, `\u0061`, `\U00000061`, and `\\`.
fn unistr(text: &str) -> Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (skipped, digits) = match rest.as_bytes().first() {
            Some(b'\\') => {
                out.push('\\');
                rest = &rest[1..];
                continue;
            }
            Some(b'+') => (1, 6),
            Some(b'u') => (1, 4),
            Some(b'U') => (1, 8),
            _ => (0, 4),
        };
        let code = rest.get(skipped..skipped + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let c = code.and_then(char::from_u32).ok_or_else(|| {
            Error::new(ErrorKind::Syntax, "invalid Unicode escape")
                .with_hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX")
        })?;
        out.push(c);
        rest = &rest[skipped + digits..];
    }
    out.push_str(rest);
    Ok(out)
}

fn first(types: &[DataType]) -> Result<DataType> {
    types.first().cloned().ok_or_else(|| wrong_arguments("trim_array", types))
}

fn list_and_number(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [list @ DataType::List(_), n] if n.is_integer() || n.is_null() => Ok(vec![list.clone(), DataType::Int64]),
        _ => Err(wrong_arguments("trim_array", types)),
    }
}

/// Without the last elements.
fn trim_array(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (lists, counts) = (arg(args, 0)?.as_list::<i32>(), values::<Int64Type>(args, 1)?);
    let parts = (0..lists.len())
        .map(|row| {
            if any_null(args, row) {
                return Ok(None);
            }
            let list = lists.value(row);
            let count = usize::try_from(counts.value(row))
                .ok()
                .filter(|c| *c <= list.len())
                .ok_or_else(|| wrong(format!("number of elements to trim must be between 0 and {}", list.len())))?;
            Ok(Some(list.slice(0, list.len() - count)))
        })
        .collect::<Result<Vec<_>>>()?;
    list_of_parts(lists.data_type(), parts)
}

fn list_of_parts(data_type: &DataType, parts: Vec<Option<ArrayRef>>) -> Result<ArrayRef> {
    let DataType::List(field) = data_type else { return Err(Error::internal("a list of another type")) };
    let lengths = parts.iter().map(|p| p.as_ref().map_or(0, |p| p.len()));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
    let nulls = arrow::buffer::NullBuffer::from_iter(parts.iter().map(Option::is_some));
    let present: Vec<&dyn Array> = parts.iter().flatten().map(|p| p.as_ref()).collect();
    let values = match present.is_empty() {
        true => arrow::array::new_empty_array(field.data_type()),
        false => arrow::compute::concat(&present)?,
    };
    Ok(Arc::new(arrow::array::ListArray::try_new(Arc::clone(field), offsets, values, Some(nulls))?))
}

/// A LIKE pattern with another escape character as one with the backslash; the empty escape is none at all.
fn like_escape(pattern: &str, escape: &str) -> Result<String> {
    let mut characters = escape.chars();
    let (escape, None) = (characters.next(), characters.next()) else {
        return Err(Error::new(ErrorKind::InvalidEscapeSequence, "invalid escape string")
            .with_hint("Escape string must be empty or one character."));
    };
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            _ if Some(c) == escape => {
                out.push('\\');
                out.extend(rest.next());
            }
            '\\' => out.push_str("\\\\"),
            _ => out.push(c),
        }
    }
    Ok(out)
}
