//! Regular expressions: matches, splits and replacements as PostgreSQL gives them.
//!
//! The expressions are those of the `regex` crate: PostgreSQL's without back references and look-around.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::logical_expr::ScalarUDF;
use regex::{Regex, RegexBuilder};

use super::{each_text, texts, values, wrong};
use crate::common::{Error, ErrorKind, Result};
use crate::expr::function::{Function, Returns, any_null, arg};

const TEXT: DataType = DataType::Utf8;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let two: &[DataType] = &[TEXT, TEXT];
    let three: &[DataType] = &[TEXT, TEXT, TEXT];
    let four: &[DataType] = &[TEXT, TEXT, TEXT, TEXT];
    let text_list = || Returns::List(TEXT);
    vec![
        Function::one_of("regexp_replace", &[three, four], Returns::Type(TEXT), replace).udf(),
        Function::one_of("regexp_match", &[two, three], text_list(), regexp_match).udf(),
        Function::one_of("regexp_split_to_array", &[two, three], text_list(), split).udf(),
        Function::one_of("regexp_split_to_table", &[two, three], text_list(), split).udf(),
        Function::one_of("string_to_table", &[two, three], text_list(), string_to_table).udf(),
        Function::one_of(
            "regexp_substr",
            &[two, &[TEXT, TEXT, DataType::Int32], &[TEXT, TEXT, DataType::Int32, DataType::Int32]],
            Returns::Type(TEXT),
            substr,
        )
        .udf(),
        Function::one_of("substring_regexp", &[two], Returns::Type(TEXT), substring).udf(),
        Function::one_of("similar_to", &[two], Returns::Type(DataType::Boolean), similar_to).udf(),
    ]
}

/// Expressions that were compiled for one call.
#[derive(Default)]
struct Compiled(RefCell<HashMap<(String, String), Arc<Regex>>>);

impl Compiled {
    /// `flags` of PostgreSQL's: `i`, `g` (for the caller), `n`, `s`, `x`, `c`.
    fn get(&self, pattern: &str, flags: &str) -> Result<Arc<Regex>> {
        let key = (pattern.to_string(), flags.to_string());
        if let Some(found) = self.0.borrow().get(&key) {
            return Ok(Arc::clone(found));
        }
        let mut builder = RegexBuilder::new(pattern);
        // A point matches line ends, too, unless a flag says otherwise.
        builder.dot_matches_new_line(true);
        for flag in flags.chars() {
            match flag {
                'i' => builder.case_insensitive(true),
                'c' => builder.case_insensitive(false),
                'x' => builder.ignore_whitespace(true),
                'n' | 'm' => builder.multi_line(true).dot_matches_new_line(false),
                'w' => builder.multi_line(true),
                'p' => builder.dot_matches_new_line(false),
                's' | 'g' | 't' => &mut builder,
                other => {
                    return Err(wrong(format!("invalid regular expression option: \"{other}\""))
                        .with_hint("options are g, i, c, n, s, x"));
                }
            };
        }
        let regex = builder.build().map_err(|e| {
            let reason = e.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_string();
            Error::new(ErrorKind::InvalidRegularExpression, format!("invalid regular expression: {reason}"))
        })?;
        let regex = Arc::new(regex);
        self.0.borrow_mut().insert(key, Arc::clone(&regex));
        Ok(regex)
    }
}

/// The text of argument `index`, empty where there is none.
fn option(args: &[ArrayRef], index: usize, row: usize) -> Result<&str> {
    if args.len() > index { Ok(texts(args, index)?.value(row)) } else { Ok("") }
}

fn replace(args: &[ArrayRef]) -> Result<ArrayRef> {
    let compiled = Compiled::default();
    let (text, pattern, new) = (texts(args, 0)?, texts(args, 1)?, texts(args, 2)?);
    each_text(args, |row| {
        let flags = option(args, 3, row)?;
        let regex = compiled.get(pattern.value(row), flags)?;
        let new = replacement(new.value(row));
        let limit = if flags.contains('g') { 0 } else { 1 };
        Ok(Some(regex.replacen(text.value(row), limit, new.as_str()).into_owned()))
    })
}

/// `\1` and `\&` as the crate writes them.
fn replacement(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(digit @ '0'..='9') => out.push_str(&format!("${{{digit}}}")),
                Some('&') => out.push_str("${0}"),
                Some('\\') | None => out.push('\\'),
                Some(other) => out.extend(['\\', other]),
            },
            '$' => out.push_str("$$"),
            c => out.push(c),
        }
    }
    out
}

/// The groups of the first match, or the match when there are none.
fn regexp_match(args: &[ArrayRef]) -> Result<ArrayRef> {
    let compiled = Compiled::default();
    let (text, pattern) = (texts(args, 0)?, texts(args, 1)?);
    let mut out = ListBuilder::new(StringBuilder::new());
    for row in 0..text.len() {
        if any_null(args, row) {
            out.append(false);
            continue;
        }
        let regex = compiled.get(pattern.value(row), option(args, 2, row)?)?;
        let found = regex.captures(text.value(row));
        if let Some(found) = &found {
            let first = usize::from(found.len() > 1);
            for group in found.iter().skip(first) {
                out.values().append_option(group.map(|g| g.as_str()));
            }
        }
        out.append(found.is_some());
    }
    Ok(Arc::new(out.finish()))
}

fn split(args: &[ArrayRef]) -> Result<ArrayRef> {
    let compiled = Compiled::default();
    let (text, pattern) = (texts(args, 0)?, texts(args, 1)?);
    let mut out = ListBuilder::new(StringBuilder::new());
    for row in 0..text.len() {
        if any_null(args, row) {
            out.append(false);
            continue;
        }
        let regex = compiled.get(pattern.value(row), option(args, 2, row)?)?;
        let text = text.value(row);
        let mut from = 0;
        for found in regex.find_iter(text) {
            // An empty match splits between characters, and neither before the first nor behind the last.
            if found.is_empty() && (found.start() == 0 || found.start() == text.len()) {
                continue;
            }
            out.values().append_value(&text[from..found.start()]);
            from = found.end();
        }
        out.values().append_value(&text[from..]);
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

/// The parts between delimiters; an empty one leaves the text whole, none splits into characters.
fn string_to_table(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (text, delimiter) = (texts(args, 0)?, texts(args, 1)?);
    let nulls = if args.len() > 2 { Some(texts(args, 2)?) } else { None };
    let mut out = ListBuilder::new(StringBuilder::new());
    for row in 0..text.len() {
        if text.is_null(row) {
            out.append(false);
            continue;
        }
        let value = text.value(row);
        let parts: Vec<String> = match (delimiter.is_null(row), delimiter.value(row)) {
            _ if value.is_empty() => Vec::new(),
            (true, _) => value.chars().map(String::from).collect(),
            (false, "") => vec![value.to_string()],
            (false, delimiter) => value.split(delimiter).map(str::to_string).collect(),
        };
        for part in parts {
            let null = nulls.is_some_and(|n| n.is_valid(row) && n.value(row) == part);
            out.values().append_option((!null).then_some(part));
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

fn substr(args: &[ArrayRef]) -> Result<ArrayRef> {
    let compiled = Compiled::default();
    let (text, pattern) = (texts(args, 0)?, texts(args, 1)?);
    each_text(args, |row| {
        let number = |i: usize| -> Result<usize> {
            let value = if args.len() > i { values::<Int32Type>(args, i)?.value(row) } else { 1 };
            usize::try_from(value).ok().filter(|v| *v > 0).ok_or_else(|| wrong("start and number must be positive"))
        };
        let (start, which) = (number(2)?, number(3)?);
        let text = text.value(row);
        let from = text.char_indices().nth(start - 1).map_or(text.len(), |(at, _)| at);
        let regex = compiled.get(pattern.value(row), "")?;
        Ok(regex.find_iter(&text[from..]).nth(which - 1).map(|m| m.as_str().to_string()))
    })
}

/// `substring(text FROM pattern)`: the first group of the first match, or all of it.
fn substring(args: &[ArrayRef]) -> Result<ArrayRef> {
    let compiled = Compiled::default();
    let (text, pattern) = (texts(args, 0)?, texts(args, 1)?);
    each_text(args, |row| {
        let regex = compiled.get(pattern.value(row), "")?;
        let Some(found) = regex.captures(text.value(row)) else { return Ok(None) };
        let part = if found.len() > 1 { found.get(1) } else { found.get(0) };
        Ok(part.map(|m| m.as_str().to_string()))
    })
}

fn similar_to(args: &[ArrayRef]) -> Result<ArrayRef> {
    let compiled = Compiled::default();
    let (text, pattern) = (texts(args, 0)?, texts(args, 1)?);
    let rows = 0..arg(args, 0)?.len();
    let matched = rows.map(|row| match any_null(args, row) {
        true => Ok(None),
        false => Ok(Some(compiled.get(&similar(pattern.value(row)), "")?.is_match(text.value(row)))),
    });
    Ok(Arc::new(matched.collect::<Result<BooleanArray>>()?))
}

/// A pattern of SIMILAR TO as a regular expression of the whole text.
fn similar(pattern: &str) -> String {
    let mut out = String::from("^(?:");
    let mut in_class = false;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push_str(&regex::escape(&chars.next().map(String::from).unwrap_or_default())),
            '[' => {
                in_class = true;
                out.push(c);
            }
            ']' => {
                in_class = false;
                out.push(c);
            }
            _ if in_class => out.push(c),
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '.' | '^' | '$' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out + ")$"
}
