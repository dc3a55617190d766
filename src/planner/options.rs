//! `WITH (late_rows = …, allowed_lateness = …, on_error = …)` of a materialized view.

use std::collections::BTreeMap;

use crate::common::{Error, ErrorKind, Result};
use crate::plan::Policy;
use crate::sql::interval;
use crate::sql::statement::Emit;

/// What a view says of rows that do not fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ViewOptions {
    pub policy: Policy,
    /// How long after its close a window still takes rows, in microseconds, above zero; `None` when not at all.
    pub lateness: Option<i64>,
}

impl ViewOptions {
    /// # Errors
    /// `InvalidParameterValue` for an unknown option or value, and for options that do not go together.
    pub fn of(options: &BTreeMap<String, String>, emit: Emit) -> Result<Self> {
        let mut found = Self::default();
        let mut updates = false;
        let mut lateness = None;
        for (name, value) in options {
            match (name.as_str(), value.as_str()) {
                ("late_rows", "drop") => {}
                ("late_rows", "dead_letter") => found.policy.late_are_dead = true,
                ("late_rows", "update") => updates = true,
                ("late_rows", other) => return Err(wrong(name, other, "'drop', 'dead_letter' or 'update'")),
                ("allowed_lateness", text) => {
                    lateness = Some(interval::of_text(text).map_err(|e| e.context("allowed_lateness"))?);
                }
                ("on_error", "exclude") => {}
                ("on_error", "fail") => found.policy.fail_on_error = true,
                ("on_error", other) => return Err(wrong(name, other, "'exclude' or 'fail'")),
                (unknown, _) => {
                    return Err(invalid(format!("unknown option \"{unknown}\" of a materialized view"))
                        .with_hint("views take late_rows, allowed_lateness and on_error"));
                }
            }
        }
        if options.contains_key("late_rows") && emit == Emit::OnUpdate {
            return Err(invalid(
                "late_rows says what happens to rows of windows that have closed, and this view closes none".into(),
            )
            .with_hint("add EMIT ON WINDOW CLOSE, or leave late_rows out: without it every row counts, however late"));
        }
        found.lateness = match (updates, lateness) {
            (true, Some(lateness)) if lateness > 0 => Some(lateness),
            (true, _) => {
                return Err(invalid(
                    "late_rows = 'update' needs allowed_lateness above zero: how long to keep closed windows".into(),
                )
                .with_hint("add allowed_lateness = '1 hour'"));
            }
            (false, Some(_)) => {
                return Err(invalid("allowed_lateness goes with late_rows = 'update'".into())
                    .with_hint("add late_rows = 'update', or give the WATERMARK a longer delay"));
            }
            (false, None) => None,
        };
        Ok(found)
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, message)
}

fn wrong(name: &str, value: &str, expected: &str) -> Error {
    invalid(format!("{name} = '{value}': {expected} is expected"))
}
