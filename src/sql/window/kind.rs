//! The four kinds of windows, what each is given, and the SQL of the columns that it makes.

use std::fmt;

use super::super::ast::Expr;
use super::super::interval;
use crate::common::{Error, ErrorKind, Result};

/// So many windows may hold one row at the most: each of them is a row.
const MOST_WINDOWS: i64 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tumble,
    Hop,
    Cumulate,
    Session,
}

impl Kind {
    /// The window that a function of this name (in lower case) makes.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "tumble" => Some(Self::Tumble),
            "hop" => Some(Self::Hop),
            "cumulate" => Some(Self::Cumulate),
            "session" => Some(Self::Session),
            _ => None,
        }
    }

    /// The lengths that it must be given, under Flink's names.
    pub fn lengths(self) -> &'static [&'static str] {
        match self {
            Self::Tumble => &["size"],
            Self::Hop => &["slide", "size"],
            Self::Cumulate => &["step", "size"],
            Self::Session => &["gap"],
        }
    }

    pub fn takes_offset(self) -> bool {
        self != Self::Session
    }

    /// What to write.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Tumble => {
                "write FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND) and GROUP BY window_start, window_end"
            }
            Self::Hop => {
                "write FROM HOP(bid, date_time, INTERVAL '2' SECOND, INTERVAL '10' SECOND), the slide before the size, \
                 and GROUP BY window_start, window_end"
            }
            Self::Cumulate => {
                "write FROM CUMULATE(bid, date_time, INTERVAL '1' MINUTE, INTERVAL '1' HOUR), the step before the size, \
                 and GROUP BY window_start, window_end"
            }
            Self::Session => {
                "write FROM SESSION(bid PARTITION BY bidder, date_time, INTERVAL '10' SECOND) and GROUP BY bidder, \
                 window_start, window_end"
            }
        }
    }

    /// The lengths in words, for errors.
    pub fn takes(self) -> &'static str {
        match self {
            Self::Tumble => "a window length",
            Self::Hop => "a slide and a window length",
            Self::Cumulate => "a step and a window length",
            Self::Session => "a gap",
        }
    }

    pub fn wrong(self, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Syntax, message).with_hint(self.hint())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tumble => "TUMBLE",
            Self::Hop => "HOP",
            Self::Cumulate => "CUMULATE",
            Self::Session => "SESSION",
        })
    }
}

/// Windows over a time expression; lengths in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Window {
    pub kind: Kind,
    ts: String,
    /// Slide or step; as `size` where there is none.
    step: i64,
    /// Or gap.
    size: i64,
    offset: i64,
}

/// The SQL of what a window makes of a row.
pub(super) struct WindowColumns {
    pub start: String,
    pub end: String,
    /// The window's last millisecond, as Flink has it.
    pub time: String,
}

impl Window {
    /// `lengths` as [`Kind::lengths`] names them.
    pub fn new(kind: Kind, ts: &Expr, lengths: &[&Expr], offset: Option<&Expr>) -> Result<Self> {
        if matches!(ts, Expr::Value(_) | Expr::Interval(_) | Expr::Subquery(_)) {
            return Err(kind.wrong(format!("{kind} needs a time column, not {ts}")));
        }
        let lengths = lengths
            .iter()
            .zip(kind.lengths())
            .map(|(length, name)| length_of(length, name))
            .collect::<Result<Vec<_>>>()?;
        let (step, size) = match lengths.as_slice() {
            [size] => (*size, *size),
            [step, size] => (*step, *size),
            _ => return Err(kind.wrong(format!("{kind} takes {}", kind.takes()))),
        };
        let bad = |what: String, hint: &str| {
            Err(Error::new(ErrorKind::InvalidParameterValue, what).with_hint(hint.to_string()))
        };
        if kind == Kind::Cumulate && size % step != 0 {
            return bad(
                "the window length of CUMULATE must be a multiple of its step".into(),
                "write INTERVAL '10' MINUTE, INTERVAL '1' HOUR, say",
            );
        }
        if size / step > MOST_WINDOWS {
            return bad(
                format!("every row would be in {} windows: more than {MOST_WINDOWS}", size / step),
                "write a longer slide or step, or a shorter window",
            );
        }
        let offset = match offset {
            Some(offset) => interval::fixed_micros(offset).map_err(|e| e.context("the window's offset"))?,
            None => 0,
        };
        // Offsets a whole period apart are the same windows.
        let period = if kind == Kind::Cumulate { size } else { step };
        Ok(Self { kind, ts: ts.to_string(), step, size, offset: offset.rem_euclid(period) })
    }

    /// The arguments of the legacy call of `function`: the time, the lengths, an offset.
    pub fn of_call(kind: Kind, function: &str, args: &[&Expr]) -> Result<Self> {
        let count = kind.lengths().len();
        match args {
            [ts, lengths @ ..] if lengths.len() == count => Self::new(kind, ts, lengths, None),
            [ts, lengths @ .., offset] if lengths.len() == count && kind.takes_offset() => {
                Self::new(kind, ts, lengths, Some(offset))
            }
            _ => Err(kind.wrong(format!("{} takes a time column and {}", function.to_uppercase(), kind.takes()))),
        }
    }

    /// `partition`: what the sessions of a row are apart by.
    pub fn columns(&self, partition: &[String]) -> WindowColumns {
        let Self { kind, ts, step, size, offset } = self;
        let lengths = |lengths: &[i64]| -> String {
            let offset = Some(*offset).filter(|o| *o != 0);
            lengths.iter().copied().chain(offset).map(|l| format!(", {}", interval::sql(l))).collect()
        };
        let less = |end: &str, micros: i64| format!("({end} - {})", interval::sql(micros));
        match kind {
            Kind::Tumble => {
                let start = format!("tumble_start({ts}{})", lengths(&[*size]));
                WindowColumns {
                    end: format!("({start} + {})", interval::sql(*size)),
                    time: format!("({start} + {})", interval::sql(*size - 1000)),
                    start,
                }
            }
            Kind::Hop => {
                let end = format!("unnest(hop_ends({ts}{}))", lengths(&[*step, *size]));
                WindowColumns { start: less(&end, *size), time: less(&end, 1000), end }
            }
            Kind::Cumulate => {
                let end = format!("unnest(cumulate_ends({ts}{}))", lengths(&[*step, *size]));
                let start = format!("cumulate_window_start({}{})", less(&end, 1), lengths(&[*size]));
                WindowColumns { start, time: less(&end, 1000), end }
            }
            Kind::Session => {
                let by = match partition {
                    [] => String::new(),
                    by => format!("PARTITION BY {}", by.join(", ")),
                };
                let bound = |name: &str| format!("session_window_{name}({ts}, {}) OVER ({by})", interval::sql(*size));
                WindowColumns { start: bound("start"), time: less(&bound("end"), 1000), end: bound("end") }
            }
        }
    }
}

fn length_of(length: &Expr, name: &str) -> Result<i64> {
    let what = match name {
        "size" => "length",
        name => name,
    };
    let micros = interval::fixed_micros(length).map_err(|e| e.context(format!("the window's {what}")))?;
    if micros <= 0 {
        return Err(Error::new(ErrorKind::InvalidParameterValue, format!("a window's {what} must be above zero"))
            .with_hint("write a fixed length such as INTERVAL '10' SECOND"));
    }
    Ok(micros)
}
