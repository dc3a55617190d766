//! Texts of intervals as PostgreSQL reads them, for Arrow, which knows units alone.

use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use arrow::datatypes::IntervalMonthDayNano;

/// The value of a text; `None` for one that is no interval. A bare number counts seconds.
pub fn parse(text: &str) -> Option<IntervalMonthDayNano> {
    let text = text.trim();
    let text = text.strip_prefix('@').unwrap_or(text).trim_start();
    let (text, ago) = match text.strip_suffix("ago") {
        Some(rest) => (rest.trim_end(), true),
        None => (text, false),
    };
    if text.is_empty() {
        return None;
    }
    let seconds = text.parse::<f64>().ok().filter(|s| s.is_finite()).map(|s| format!("{s} seconds"));
    let plain = seconds.or_else(|| plain(text));
    let value = parse_interval_month_day_nano(plain.as_deref().unwrap_or(text)).ok()?;
    if !ago {
        return Some(value);
    }
    let (months, days) = (value.months.checked_neg()?, value.days.checked_neg()?);
    Some(IntervalMonthDayNano::new(months, days, value.nanoseconds.checked_neg()?))
}

/// An interval that has clock times, `years-months` or ISO 8601 in it, by units alone; `None` for any other.
pub fn plain(text: &str) -> Option<String> {
    if let Some(iso) = text.trim().strip_prefix('P') {
        return iso_interval(iso);
    }
    let mut changed = false;
    let mut parts = Vec::new();
    for word in text.split_whitespace() {
        let (sign, unsigned) = match word.strip_prefix('-') {
            Some(rest) => ("-", rest),
            None => ("", word.strip_prefix('+').unwrap_or(word)),
        };
        if let Some((hours, rest)) = unsigned.split_once(':') {
            let (minutes, seconds) = rest.split_once(':').unwrap_or((rest, "0"));
            let whole = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
            let micros = whole as f64 * 1e6 + seconds.parse::<f64>().ok()? * 1e6;
            parts.push(format!("{sign}{} microseconds", micros.round() as i64));
            changed = true;
        } else if let Some((years, months)) = unsigned.split_once('-') {
            let (years, months): (i64, i64) = (years.parse().ok()?, months.parse().ok()?);
            parts.push(format!("{sign}{} months", years * 12 + months));
            changed = true;
        } else {
            parts.push(word.to_string());
        }
    }
    changed.then(|| parts.join(" "))
}

/// What follows the P of `P1Y2M3DT4H5M6S`.
fn iso_interval(text: &str) -> Option<String> {
    let (date, time) = text.split_once('T').unwrap_or((text, ""));
    let mut parts = Vec::new();
    for (text, units) in [
        (date, [('Y', "years"), ('M', "months"), ('W', "weeks"), ('D', "days")].as_slice()),
        (time, [('H', "hours"), ('M', "minutes"), ('S', "seconds")].as_slice()),
    ] {
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
            let unit = units.iter().find(|(letter, _)| rest[end..].starts_with(*letter))?.1;
            rest[..end].parse::<f64>().ok()?;
            parts.push(format!("{} {unit}", &rest[..end]));
            rest = &rest[end + 1..];
        }
    }
    Some(parts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (text, expected) in [
            ("3 days 0:00:04.000005", Some((0, 3, 4_000_005_000))),
            ("1 year 2 mons -3 days -00:00:01", Some((14, -3, -1_000_000_000))),
            ("1-2", Some((14, 0, 0))),
            ("@ 1 day ago", Some((0, -1, 0))),
            ("P1Y2M3DT4H5M6.5S", Some((14, 3, 14_706_500_000_000))),
            ("90", Some((0, 0, 90_000_000_000))),
            ("2 weeks", Some((0, 14, 0))),
            ("", None),
            ("ago", None),
            ("soon", None),
            ("1:2:x", None),
        ] {
            let got = parse(text).map(|v| (v.months, v.days, v.nanoseconds));
            assert_eq!(got, expected, "{text}");
        }
    }
}
