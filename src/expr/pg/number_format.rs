//! `to_char` and `to_number` of numbers: digits put where a pattern wants them.

use super::pattern::{Case, quoted, suffix};

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// `9`
    Digit,
    /// `0`
    Zero,
    Point,
    Group,
    Sign,
    Minus,
    Plus,
    SignHere,
    Angles,
    Shift,
    Exponent,
    Currency,
    Roman(Case),
    Ordinal(Case),
    Text(String),
}

/// A pattern's tokens, and whether it begins with FM.
fn tokens(pattern: &str) -> (Vec<Token>, bool) {
    const WORDS: &[(&str, Token)] = &[
        ("EEEE", Token::Exponent),
        ("MI", Token::Minus),
        ("PL", Token::Plus),
        ("SG", Token::SignHere),
        ("PR", Token::Angles),
        ("9", Token::Digit),
        ("0", Token::Zero),
        (".", Token::Point),
        ("D", Token::Point),
        (",", Token::Group),
        ("G", Token::Group),
        ("S", Token::Sign),
        ("V", Token::Shift),
        ("L", Token::Currency),
    ];
    let mut tokens = Vec::new();
    let mut fill = false;
    let mut rest = pattern;
    'next: while let Some(first) = rest.chars().next() {
        if first == '"' {
            let (text, after) = quoted(&rest[1..]);
            tokens.push(Token::Text(text));
            rest = after;
            continue;
        }
        for (word, token) in [
            ("RN", Token::Roman(Case::Upper)),
            ("rn", Token::Roman(Case::Lower)),
            ("TH", Token::Ordinal(Case::Upper)),
            ("th", Token::Ordinal(Case::Lower)),
        ] {
            if let Some(after) = rest.strip_prefix(word) {
                tokens.push(token);
                rest = after;
                continue 'next;
            }
        }
        if rest.get(..2).is_some_and(|t| t.eq_ignore_ascii_case("FM")) {
            fill = true;
            rest = &rest[2..];
            continue;
        }
        for (word, token) in WORDS {
            if rest.get(..word.len()).is_some_and(|t| t.eq_ignore_ascii_case(word)) {
                tokens.push(token.clone());
                rest = &rest[word.len()..];
                continue 'next;
            }
        }
        tokens.push(Token::Text(first.to_string()));
        rest = &rest[first.len_utf8()..];
    }
    (tokens, fill)
}

/// Digits before and behind the point.
struct Number {
    negative: bool,
    whole: String,
    fraction: String,
}

/// A number given by its digits, such as `-12.50`.
pub(super) fn exact(digits: &str, pattern: &str) -> String {
    let (tokens, fill) = tokens(pattern);
    let (shift, places) = places(&tokens);
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if tokens.contains(&Token::Exponent) {
        let value: f64 = digits.parse().unwrap_or_default();
        return exponent(if negative { -value } else { value }, places);
    }
    let shifted = format!("{fraction:0<shift$}");
    let (moved, fraction) = shifted.split_at(shift.min(shifted.len()));
    let whole = format!("{whole}{moved}");
    let (whole, fraction) = rounded(&whole, fraction, places);
    write(&tokens, fill, Number { negative, whole, fraction })
}

/// A number of floating point, of which as many digits are made as are wanted.
pub(super) fn float(value: f64, pattern: &str) -> String {
    let (tokens, fill) = tokens(pattern);
    let (shift, places) = places(&tokens);
    if tokens.contains(&Token::Exponent) {
        return exponent(value, places);
    }
    let text = format!("{:.places$}", (value * 10f64.powi(shift as i32)).abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    write(&tokens, fill, Number { negative: value < 0.0, whole: whole.into(), fraction: fraction.into() })
}

/// By how many digits the value is shifted, and how many stand behind the point.
fn places(tokens: &[Token]) -> (usize, usize) {
    let digits = |tokens: &[Token]| tokens.iter().filter(|t| matches!(t, Token::Digit | Token::Zero)).count();
    let behind = |token: Token| tokens.iter().position(|t| *t == token).map_or(0, |at| digits(&tokens[at..]));
    (behind(Token::Shift), behind(Token::Point))
}

/// Half away from zero.
fn rounded(whole: &str, fraction: &str, places: usize) -> (String, String) {
    let kept = format!("{:0<places$}", fraction.get(..places).unwrap_or(fraction));
    let up = fraction.as_bytes().get(places).is_some_and(|digit| *digit >= b'5');
    let mut digits: Vec<u8> = format!("0{whole}{kept}").into_bytes();
    if up {
        for digit in digits.iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                break;
            }
            *digit = b'0';
        }
    }
    let text: String = digits.into_iter().map(char::from).collect();
    let (whole, fraction) = text.split_at(text.len() - places);
    (whole.to_string(), fraction.to_string())
}

fn exponent(value: f64, places: usize) -> String {
    let text = format!("{:.places$e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    format!(
        "{}{mantissa}e{}{:02}",
        if value < 0.0 { '-' } else { ' ' },
        if exponent < 0 { '-' } else { '+' },
        exponent.abs()
    )
}

fn write(tokens: &[Token], fill: bool, number: Number) -> String {
    if let Some(Token::Roman(case)) = tokens.iter().find(|t| matches!(t, Token::Roman(_))) {
        return roman(&number, *case, fill);
    }
    let point = tokens.iter().position(|t| *t == Token::Point).unwrap_or(tokens.len());
    let is_digit = |t: &Token| matches!(t, Token::Digit | Token::Zero);
    let columns = tokens[..point].iter().filter(|t| is_digit(t)).count();
    let places = tokens[point..].iter().filter(|t| is_digit(t)).count();
    let zero_whole = number.whole.bytes().all(|b| b == b'0');
    let is_zero = zero_whole && number.fraction.bytes().all(|b| b == b'0');
    let negative = number.negative && !is_zero;
    let mut whole = number.whole.trim_start_matches('0').to_string();
    // A zero is written where no digit would be.
    if whole.is_empty() && (places == 0 || (fill && is_zero)) {
        whole.push('0');
    }
    let overflows = whole.len() > columns;
    let first_zero = tokens[..point].iter().filter(|t| is_digit(t)).position(|t| *t == Token::Zero);
    let start = columns.saturating_sub(whole.len()).min(first_zero.unwrap_or(columns));
    let digits = format!("{whole:0>columns$}");
    // Behind this many places FM leaves zeros out.
    let kept = {
        let behind: Vec<&Token> = tokens[point..].iter().filter(|t| is_digit(t)).collect();
        let zeros = behind.iter().rposition(|t| **t == Token::Zero).map_or(0, |z| z + 1);
        number.fraction.trim_end_matches('0').len().max(zeros)
    };
    let signed = tokens.iter().any(|t| matches!(t, Token::Minus | Token::Plus | Token::SignHere));
    let first_digit = tokens.iter().position(is_digit).unwrap_or(0);
    let sign_at = tokens.iter().position(|t| *t == Token::Sign);
    let angles = tokens.contains(&Token::Angles);
    // What stands right before the first digit.
    let sign = match sign_at {
        Some(at) if at < first_digit => if negative { "-" } else { "+" }.to_string(),
        Some(_) => String::new(),
        None if signed => String::new(),
        None if angles => if negative {
            "<"
        } else if fill {
            ""
        } else {
            " "
        }
        .to_string(),
        None => if negative {
            "-"
        } else if fill {
            ""
        } else {
            " "
        }
        .to_string(),
    };
    let mut out = String::new();
    let (mut column, mut place, mut sign_written) = (0, 0, false);
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Digit | Token::Zero if at < point => {
                let shows = overflows || column >= start;
                if shows && !sign_written {
                    out.push_str(&sign);
                    sign_written = true;
                }
                match (shows, overflows) {
                    (true, true) => out.push('#'),
                    (true, false) => out.push_str(digits.get(column..=column).unwrap_or_default()),
                    (false, _) if !fill => out.push(' '),
                    (false, _) => {}
                }
                column += 1;
            }
            Token::Digit | Token::Zero => {
                match (overflows, fill && place >= kept) {
                    (true, _) => out.push('#'),
                    (false, false) => out.push_str(number.fraction.get(place..=place).unwrap_or("0")),
                    (false, true) => {}
                }
                place += 1;
            }
            Token::Point => {
                if !sign_written {
                    out.push_str(&sign);
                    sign_written = true;
                }
                out.push('.');
            }
            Token::Group if sign_written => out.push(','),
            Token::Group if !fill => out.push(' '),
            Token::Group => {}
            Token::Sign if at > first_digit => out.push(if negative { '-' } else { '+' }),
            Token::Sign => {}
            Token::Minus if negative => out.push('-'),
            Token::Minus if !fill => out.push(' '),
            Token::Minus => {}
            Token::Plus if !negative => out.push('+'),
            Token::Plus if !fill => out.push(' '),
            Token::Plus => {}
            Token::SignHere => out.push(if negative { '-' } else { '+' }),
            Token::Angles if negative => out.push('>'),
            Token::Angles if !fill => out.push(' '),
            Token::Angles => {}
            Token::Currency => out.push_str(if fill { "" } else { " " }),
            Token::Ordinal(case) if !negative && places == 0 => out.push_str(suffix(&whole, *case)),
            Token::Text(text) => out.push_str(text),
            Token::Ordinal(_) | Token::Shift | Token::Exponent | Token::Roman(_) => {}
        }
    }
    out
}

fn roman(number: &Number, case: Case, fill: bool) -> String {
    const DIGITS: [(u32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let value = number.whole.parse::<u32>().ok().filter(|v| (1..4000).contains(v) && !number.negative);
    let Some(mut value) = value else { return "#".repeat(15) };
    let mut text = String::new();
    for (worth, digit) in DIGITS {
        while value >= worth {
            text.push_str(digit);
            value -= worth;
        }
    }
    let text = super::pattern::cased(&text, case);
    if fill { text } else { format!("{text:>15}") }
}

/// The digits of a text, as the pattern says where they stand; `None` when there are none.
pub(super) fn to_number(text: &str, pattern: &str) -> Option<String> {
    let (tokens, _) = tokens(pattern);
    let shift = places(&tokens).0;
    let negative = text.contains('-') || (text.contains('<') && tokens.contains(&Token::Angles));
    let fraction_wanted = tokens.contains(&Token::Point);
    let columns = tokens.iter().filter(|t| matches!(t, Token::Digit | Token::Zero)).count();
    let (mut whole, mut fraction, mut behind) = (String::new(), String::new(), false);
    for c in text.chars() {
        match c {
            '.' if fraction_wanted && !behind => behind = true,
            '.' => break,
            '0'..='9' if whole.len() + fraction.len() >= columns => break,
            '0'..='9' if behind => fraction.push(c),
            '0'..='9' => whole.push(c),
            _ => {}
        }
    }
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    if shift > 0 {
        let at = whole.len().saturating_sub(shift);
        fraction = format!("{}{fraction}", whole.split_off(at));
    }
    let whole = if whole.is_empty() { "0" } else { &whole };
    let fraction = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
    Some(format!("{}{whole}{fraction}", if negative { "-" } else { "" }))
}
