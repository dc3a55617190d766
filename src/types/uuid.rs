//! UUIDs are kept as text in PostgreSQL's one form: lower-case digits in groups of 8, 4, 4, 4 and 12.

/// The form of a text that PostgreSQL takes for a UUID: digits of either case, hyphens behind groups of four, braces around.
pub fn canonical(text: &str) -> Option<String> {
    let inside = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let mut out = String::with_capacity(36);
    let mut digits = 0;
    let mut hyphen_allowed = false;
    for c in inside.chars() {
        if c == '-' && hyphen_allowed {
            hyphen_allowed = false;
            continue;
        }
        if !c.is_ascii_hexdigit() || digits == 32 {
            return None;
        }
        if matches!(digits, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
        digits += 1;
        hyphen_allowed = digits % 4 == 0 && digits < 32;
    }
    (digits == 32).then_some(out)
}

/// The 16 bytes of a text in the one form.
pub fn bytes(canonical: &str) -> Option<[u8; 16]> {
    let digits: String = canonical.chars().filter(|c| *c != '-').collect();
    (digits.len() == 32).then_some(())?;
    u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
}

/// The text of 16 bytes.
pub fn text(id: u128) -> String {
    let hex = format!("{id:032x}");
    canonical(&hex).unwrap_or(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let one = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        for (text, expected) in [
            (one, Some(one)),
            ("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", Some(one)),
            ("{a0eebc999c0b4ef8bb6d6bb9bd380a11}", Some(one)),
            ("a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11", Some(one)),
            ("a0eebc99-9c0b4ef8bb6d6bb9bd380a11", Some(one)),
            ("a0eebc99--9c0b-4ef8-bb6d-6bb9bd380a11", None),
            ("a0e-ebc999c0b4ef8bb6d6bb9bd380a11", None),
            ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", None),
            ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a112", None),
            ("{a0eebc999c0b4ef8bb6d6bb9bd380a11", None),
            ("", None),
        ] {
            assert_eq!(canonical(text).as_deref(), expected, "{text}");
        }
        let id = u128::from_be_bytes(bytes(one).unwrap());
        assert_eq!(super::text(id), one);
    }
}
