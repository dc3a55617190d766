//! Differences that stay, each with its reason; README lists them for users. What Weir does not have it refuses.

/// Why the answers may differ; `None` when they may not. An answer is what [`super::ask::Answer`] shows, or a text alone.
pub fn reason(sql: &str, expected: &str, given: &str) -> Option<&'static str> {
    let refused = given.starts_with('!');
    let numeric = sql.contains("::numeric");
    let special = ["nan", "inf"].iter().any(|word| sql.to_lowercase().contains(word));
    let inside = sql.contains("ARRAY[") || sql.contains("ROW(");
    if numeric && special && refused {
        return Some("NUMERIC has neither NaN nor infinities");
    }
    if numeric && given == "!22003" && !expected.starts_with('!') {
        return Some("NUMERIC has 38 digits");
    }
    if numeric && !sql.contains("::numeric(") && is_rounded(text(expected), text(given)) {
        return Some("NUMERIC without a scale has 10 digits behind the point, and no zeros at its end");
    }
    if sql.contains("29427") && given == "!22008" {
        return Some("timestamps end in the year 294247");
    }
    if sql.contains("::interval") && matches!(given, "!22015" | "!22008") && !expected.starts_with('!') {
        return Some("the hours of an interval end at 292 years");
    }
    if sql.contains("u0000") && sql.contains("::json") && refused {
        return Some("JSON has no \\u0000");
    }
    if (sql.contains("'{{") || sql.contains("'[0:1]=")) && sql.contains("[]") && matches!(given, "!22P02" | "!0A000") {
        return Some("an array has as many dimensions as its type says");
    }
    if inside && sql.contains("::char(") {
        return Some("CHAR has no blanks inside of arrays and rows");
    }
    let told_as_text = sql.contains("varchar") || (inside && (sql.contains("::uuid") || sql.contains("::json")));
    if told_as_text && text(expected).is_some() && text(expected) == text(given) {
        return Some("VARCHAR is told as text, and so are UUID and JSON inside of rows");
    }
    None
}

/// The text of an answer of one value: `1700 "1.50" x…`.
fn text(answer: &str) -> Option<&str> {
    let (_, rest) = answer.split_once(' ')?;
    let (quoted, _) = rest.rsplit_once(" x")?;
    Some(quoted.trim_matches('"'))
}

fn is_rounded(expected: Option<&str>, given: Option<&str>) -> bool {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok());
    match (number(expected), number(given)) {
        (Some(expected), Some(given)) => (expected - given).abs() <= 1e-10_f64.max(expected.abs() * 1e-12),
        _ => false,
    }
}
