//! Text as an array, in PostgreSQL's form: `{1,NULL,"a b"}`.
//!
//! Arrow would take the text for the only element. A rule puts the function in the place of such casts, those that
//! DataFusion makes itself too, for views and for SELECT alike.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, ListBuilder, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;

use super::function::{Function, arg, list_of};
use super::{functions, rules};
use crate::common::{Error, ErrorKind, Result};

const NAME: &str = "array_in";

/// Runs when types are resolved.
#[derive(Debug)]
pub struct ArrayInput;

impl AnalyzerRule for ArrayInput {
    fn name(&self) -> &str {
        "array_input"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        rules::rewrite(plan, |e| matches!(e, Expr::Cast(c) if is_list(c.field.data_type())), read_cast)
    }
}

fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_))
}

fn read_cast(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::Cast(Cast { expr, field }) = expr else { return Transformed::no(expr) };
    let text = |t: DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let reads = is_list(field.data_type()) && expr.get_type(schema).is_ok_and(text);
    match functions::scalar(NAME).filter(|_| reads) {
        Some(read) => {
            let read = Box::new(read.call(vec![*expr]));
            Transformed::yes(Expr::Cast(Cast { expr: read, field }))
        }
        None => Transformed::no(Expr::Cast(Cast { expr, field })),
    }
}

/// The function, for the registry.
pub(super) fn function() -> Arc<ScalarUDF> {
    Function::exact(NAME, &[DataType::Utf8], list_of(DataType::Utf8), read).udf()
}

fn read(args: &[ArrayRef]) -> Result<ArrayRef> {
    let texts = arg(args, 0)?.as_string::<i32>();
    let mut lists = ListBuilder::new(StringBuilder::new());
    for text in texts {
        let Some(text) = text else {
            lists.append(false);
            continue;
        };
        for element in parse(text).ok_or_else(|| malformed(text))? {
            lists.values().append_option(element);
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

fn malformed(text: &str) -> Error {
    Error::new(ErrorKind::InvalidTextRepresentation, format!("malformed array literal: \"{text}\""))
        .with_hint("an array of one dimension is written '{a,\"b c\",NULL}'")
}

/// The elements of an array of one dimension.
pub fn parse(text: &str) -> Option<Vec<Option<String>>> {
    let inside = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut elements = Vec::new();
    let mut chars = inside.chars().peekable();
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
    if chars.peek().is_none() {
        return Some(elements);
    }
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let mut element = String::new();
        let quoted = chars.next_if_eq(&'"').is_some();
        // What white space behind may be cut off to.
        let mut kept = 0;
        loop {
            match chars.next() {
                Some('"') if quoted => break,
                None if quoted => return None,
                Some('\\') => {
                    element.push(chars.next()?);
                    kept = element.len();
                }
                Some('{' | '}' | '"') if !quoted => return None,
                Some(c) if quoted || c != ',' => {
                    element.push(c);
                    if quoted || !c.is_whitespace() {
                        kept = element.len();
                    }
                    if !quoted && matches!(chars.peek(), None | Some(',')) {
                        break;
                    }
                }
                // Nothing between two commas.
                _ => return None,
            }
        }
        element.truncate(kept);
        if !quoted && element.is_empty() {
            return None;
        }
        elements.push((quoted || !element.eq_ignore_ascii_case("null")).then_some(element));
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        match chars.next() {
            None => return Some(elements),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements() {
        let some = |words: &[&str]| Some(words.iter().map(|w| Some(w.to_string())).collect::<Vec<_>>());
        for (text, expected) in [
            ("{}", some(&[])),
            (" { } ", some(&[])),
            ("{a, b c ,d}", some(&["a", "b c", "d"])),
            ("{\"a,b\",\"\",\"x\\\"y\"}", some(&["a,b", "", "x\"y"])),
            ("{1,NULL}", Some(vec![Some("1".into()), None])),
            ("{\"NULL\"}", some(&["NULL"])),
            ("{a,}", None),
            ("{a}b", None),
            ("a", None),
            ("{\"a}", None),
            ("{{1}}", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
