//! Patterns of `to_char`, `to_date` and `to_timestamp` as their parts: fields, and text between them.

/// A part of a date's pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Field(Marked),
    /// In quotes.
    Text(String),
    /// Any other character.
    Other(char),
}

/// A field with its modifiers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Marked {
    pub field: Field,
    /// `FM`: neither zeros nor blanks before the value.
    pub fill: bool,
    /// `TH` or `th` behind it.
    pub ordinal: Option<Case>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Case {
    Upper,
    Lower,
    Capital,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Field {
    Hour12,
    Hour24,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    /// Digits of the second's fraction.
    Fraction(u8),
    SecondOfDay,
    /// With points, or without.
    Meridiem(Case, bool),
    Era(Case, bool),
    /// So many digits; with a comma.
    Year(u8),
    YearComma,
    IsoYear(u8),
    MonthName(Case),
    MonthShort(Case),
    Month,
    DayName(Case),
    DayShort(Case),
    DayOfYear,
    IsoDayOfYear,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    Century,
    Julian,
    Quarter,
    Roman(Case),
    Zone(Case),
    ZoneHour,
    ZoneMinute,
    Offset,
}

/// Longer names first, so that the longest is found. Names that are matched by their letters' case come before those
/// that are matched in any.
const EXACT: &[(&str, Field)] = {
    use Case::{Capital, Lower, Upper};
    &[
        ("MONTH", Field::MonthName(Upper)),
        ("Month", Field::MonthName(Capital)),
        ("month", Field::MonthName(Lower)),
        ("MON", Field::MonthShort(Upper)),
        ("Mon", Field::MonthShort(Capital)),
        ("mon", Field::MonthShort(Lower)),
        ("DAY", Field::DayName(Upper)),
        ("Day", Field::DayName(Capital)),
        ("day", Field::DayName(Lower)),
        ("DY", Field::DayShort(Upper)),
        ("Dy", Field::DayShort(Capital)),
        ("dy", Field::DayShort(Lower)),
        ("A.M.", Field::Meridiem(Upper, true)),
        ("a.m.", Field::Meridiem(Lower, true)),
        ("P.M.", Field::Meridiem(Upper, true)),
        ("p.m.", Field::Meridiem(Lower, true)),
        ("AM", Field::Meridiem(Upper, false)),
        ("am", Field::Meridiem(Lower, false)),
        ("PM", Field::Meridiem(Upper, false)),
        ("pm", Field::Meridiem(Lower, false)),
        ("A.D.", Field::Era(Upper, true)),
        ("a.d.", Field::Era(Lower, true)),
        ("B.C.", Field::Era(Upper, true)),
        ("b.c.", Field::Era(Lower, true)),
        ("AD", Field::Era(Upper, false)),
        ("ad", Field::Era(Lower, false)),
        ("BC", Field::Era(Upper, false)),
        ("bc", Field::Era(Lower, false)),
        ("RM", Field::Roman(Upper)),
        ("rm", Field::Roman(Lower)),
        ("TZH", Field::ZoneHour),
        ("TZM", Field::ZoneMinute),
        ("TZ", Field::Zone(Upper)),
        ("tz", Field::Zone(Lower)),
        ("OF", Field::Offset),
    ]
};

const ANY_CASE: &[(&str, Field)] = &[
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("HH", Field::Hour12),
    ("MI", Field::Minute),
    ("SSSSS", Field::SecondOfDay),
    ("SSSS", Field::SecondOfDay),
    ("SS", Field::Second),
    ("MS", Field::Millisecond),
    ("US", Field::Microsecond),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("Y,YYY", Field::YearComma),
    ("YYYY", Field::Year(4)),
    ("YYY", Field::Year(3)),
    ("YY", Field::Year(2)),
    ("Y", Field::Year(1)),
    ("IYYY", Field::IsoYear(4)),
    ("IYY", Field::IsoYear(3)),
    ("IY", Field::IsoYear(2)),
    ("IDDD", Field::IsoDayOfYear),
    ("IW", Field::IsoWeek),
    ("ID", Field::IsoDayOfWeek),
    ("I", Field::IsoYear(1)),
    ("MM", Field::Month),
    ("DDD", Field::DayOfYear),
    ("DD", Field::Day),
    ("D", Field::DayOfWeek),
    ("WW", Field::WeekOfYear),
    ("W", Field::WeekOfMonth),
    ("CC", Field::Century),
    ("J", Field::Julian),
    ("Q", Field::Quarter),
];

/// The parts of a date's pattern.
pub(super) fn parts(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let (text, after) = quoted(&rest[1..]);
            parts.push(Part::Text(text));
            rest = after;
            continue;
        }
        if first == '\\' && rest[1..].starts_with('"') {
            parts.push(Part::Other('"'));
            rest = &rest[2..];
            continue;
        }
        let (fill, behind) = modifier(rest);
        match field(behind) {
            Some((field, after)) => {
                let (ordinal, after) = ordinal(after);
                parts.push(Part::Field(Marked { field, fill, ordinal }));
                rest = after;
            }
            None if fill => rest = behind,
            None => {
                parts.push(Part::Other(first));
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    parts
}

/// Text up to the closing quote, and what follows.
pub(super) fn quoted(text: &str) -> (String, &str) {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (out, &text[at + 1..]),
            '\\' => out.extend(chars.next().map(|(_, c)| c)),
            c => out.push(c),
        }
    }
    (out, "")
}

fn modifier(text: &str) -> (bool, &str) {
    for word in ["FM", "fm", "TM", "tm"] {
        if let Some(rest) = text.strip_prefix(word) {
            return (true, rest);
        }
    }
    // The pattern is taken exactly anyway.
    match text.strip_prefix("FX") {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

fn field(text: &str) -> Option<(Field, &str)> {
    for (name, field) in EXACT {
        if let Some(rest) = text.strip_prefix(name) {
            return Some((*field, rest));
        }
    }
    for (name, field) in ANY_CASE {
        if text.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name)) {
            return Some((*field, &text[name.len()..]));
        }
    }
    None
}

fn ordinal(text: &str) -> (Option<Case>, &str) {
    match text {
        _ if text.starts_with("TH") => (Some(Case::Upper), &text[2..]),
        _ if text.starts_with("th") => (Some(Case::Lower), &text[2..]),
        _ => (None, text),
    }
}

/// `st`, `nd`, `rd` or `th`, for a number's digits.
pub(super) fn suffix(digits: &str, case: Case) -> &'static str {
    let digits = digits.as_bytes();
    let last = digits.last().copied().unwrap_or(b'0');
    let teen = digits.len() > 1 && digits[digits.len() - 2] == b'1';
    match (case, if teen { b'0' } else { last }) {
        (Case::Upper, b'1') => "ST",
        (Case::Upper, b'2') => "ND",
        (Case::Upper, b'3') => "RD",
        (Case::Upper, _) => "TH",
        (_, b'1') => "st",
        (_, b'2') => "nd",
        (_, b'3') => "rd",
        (_, _) => "th",
    }
}

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// From Sunday.
pub(super) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

pub(super) const ROMAN_MONTHS: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

pub(super) fn cased(text: &str, case: Case) -> String {
    match case {
        Case::Upper => text.to_uppercase(),
        Case::Lower => text.to_lowercase(),
        Case::Capital => text.to_string(),
    }
}
