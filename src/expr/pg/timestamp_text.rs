//! Times of day without seconds in the text of a timestamp: `2024-01-01 10:00`, where Arrow wants the seconds; and
//! `infinity`, which Arrow does not know.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Cast, Expr, LogicalPlan, lit};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;

use crate::expr::rules;

/// Runs when types are resolved, on literals alone.
#[derive(Debug)]
pub struct TimestampText;

impl AnalyzerRule for TimestampText {
    fn name(&self) -> &str {
        "timestamp_text"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let concerns = |e: &Expr| matches!(e, Expr::Cast(c) if complete(c).is_some() || infinity(c).is_some());
        rules::rewrite(plan, concerns, |e: Expr, _: &DFSchema| match e {
            Expr::Cast(cast) => match (infinity(&cast), complete(&cast)) {
                (Some(infinity), _) => Transformed::yes(Expr::Literal(infinity, None)),
                (None, Some(text)) => {
                    Transformed::yes(Expr::Cast(Cast { expr: Box::new(lit(text)), field: cast.field }))
                }
                (None, None) => Transformed::no(Expr::Cast(cast)),
            },
            other => Transformed::no(other),
        })
    }
}

/// The ends of time are the ends of the numbers.
fn infinity(cast: &Cast) -> Option<ScalarValue> {
    let text = cast.expr.as_literal()?.try_as_str().flatten()?.trim().to_ascii_lowercase();
    let later = match text.as_str() {
        "infinity" | "+infinity" => true,
        "-infinity" => false,
        _ => return None,
    };
    match cast.field.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let end = if later { i64::MAX } else { i64::MIN };
            Some(ScalarValue::TimestampMicrosecond(Some(end), zone.clone()))
        }
        DataType::Date32 => Some(ScalarValue::Date32(Some(if later { i32::MAX } else { i32::MIN }))),
        _ => None,
    }
}

/// The text of a literal that becomes a timestamp, with the seconds that it lacks.
fn complete(cast: &Cast) -> Option<String> {
    if !matches!(cast.field.data_type(), DataType::Timestamp(..)) {
        return None;
    }
    let text = cast.expr.as_literal()?.try_as_str().flatten()?;
    let (date, time) = text.trim().split_once([' ', 'T'])?;
    let (hour, rest) = time.split_once(':')?;
    let minute = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (minute, zone) = rest.split_at(minute);
    let digits = |t: &str| (1..=2).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
    let plain = digits(hour) && digits(minute) && !zone.starts_with([':', '.']);
    (plain && date.bytes().filter(|b| *b == b'-').count() == 2).then(|| format!("{date} {hour}:{minute}:00{zone}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time;

    #[test]
    fn seconds_are_added() {
        for (text, expected) in [
            ("2024-01-01 10:00", Some("2024-01-01 10:00:00")),
            ("2024-01-01T10:00+02", Some("2024-01-01 10:00:00+02")),
            ("2024-01-01 10:00:01", None),
            ("2024-01-01", None),
            ("x 1:2", None),
        ] {
            let cast = Cast::new(Box::new(lit(text)), time::timestamp());
            assert_eq!(complete(&cast).as_deref(), expected, "{text}");
        }
    }
}
