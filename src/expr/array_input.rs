//! Texts of arrays in PostgreSQL's form: `{1,NULL,"a b"}`, `{{1,2},{3,4}}`.

use crate::common::{Error, ErrorKind};

/// What a client is told of a text that is no array.
pub fn malformed(text: &str) -> Error {
    Error::new(ErrorKind::InvalidTextRepresentation, format!("malformed array literal: \"{text}\""))
        .with_hint("an array is written '{a,\"b c\",NULL}'; one of arrays has a type of two dimensions: INT[][]")
}

/// The texts of an array's elements; those of an array of arrays are `nested` arrays as they stand.
pub fn parse(text: &str, nested: bool) -> Option<Vec<Option<String>>> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim_start();
    let mut elements = Vec::new();
    if rest.is_empty() {
        return Some(elements);
    }
    loop {
        let (element, behind) = match (nested, rest.as_bytes().first()?) {
            (true, b'{') => {
                let (inner, behind) = rest.split_at(closing(rest)? + 1);
                (Some(inner.to_string()), behind)
            }
            (_, b'"') => {
                let (element, behind) = quoted(rest)?;
                (Some(element), behind)
            }
            _ => bare(rest)?,
        };
        elements.push(element);
        rest = behind.trim_start();
        match rest.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None if rest.is_empty() => return Some(elements),
            None => return None,
        }
    }
}

/// Where the brace that the text begins with is closed.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quoted) = (0, false);
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// What stands between quotes, and what is behind them.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut element = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((element, &text[at + 1..])),
            '\\' => element.push(chars.next()?.1),
            c => element.push(c),
        }
    }
    None
}

/// An element without quotes, `None` for NULL, and what is behind it. White space at its end does not count.
fn bare(text: &str) -> Option<(Option<String>, &str)> {
    let mut element = String::new();
    let mut kept = 0;
    let mut escaped = false;
    let mut end = text.len();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ',' => {
                end = at;
                break;
            }
            '{' | '}' | '"' => return None,
            '\\' => {
                element.push(chars.next()?.1);
                kept = element.len();
                escaped = true;
            }
            c => {
                element.push(c);
                if !c.is_whitespace() {
                    kept = element.len();
                }
            }
        }
    }
    element.truncate(kept);
    let null = !escaped && element.eq_ignore_ascii_case("null");
    (!element.is_empty()).then(|| ((!null).then_some(element), &text[end..]))
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
            ("{\\\"}", some(&["\""])),
            ("{a\\,b}", some(&["a,b"])),
            ("{1,NULL}", Some(vec![Some("1".into()), None])),
            ("{\"NULL\"}", some(&["NULL"])),
            ("{a,}", None),
            ("{a}b", None),
            ("a", None),
            ("{\"a}", None),
            ("{\"a\"b}", None),
            ("{{1}}", None),
        ] {
            assert_eq!(parse(text, false), expected, "{text}");
        }
        assert_eq!(
            parse("{{1,2}, {\"}\"},NULL}", true),
            Some(vec![Some("{1,2}".into()), Some("{\"}\"}".into()), None])
        );
        assert_eq!(parse("{{1,2}", true), None);
    }
}
