//! Cuts a text into statements at the semicolons that are not inside quotes, dollar quotes or comments.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Location, Token, Tokenizer};

/// What a text holds.
#[derive(Debug, PartialEq)]
pub struct Split {
    /// Whole statements, without their semicolons and the comments before them.
    pub statements: Vec<String>,
    /// What follows the last semicolon, if it is more than space and comments.
    pub rest: Option<String>,
}

/// Splits a text. One whose quotes do not close is all `rest`: the server tells what is wrong with it.
pub fn split(text: &str) -> Split {
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, text).with_unescape(false).tokenize_with_location() else {
        return Split { statements: Vec::new(), rest: Some(text.trim().to_string()) };
    };
    let mut offsets = Offsets::new(text);
    let mut statements = Vec::new();
    let (mut start, mut has_content) = (0, false);
    for token in tokens {
        match token.token {
            Token::SemiColon => {
                let at = offsets.of(token.span.start);
                if has_content {
                    statements.push(text.get(start..at).unwrap_or_default().trim().to_string());
                }
                (start, has_content) = (at + 1, false);
            }
            Token::Whitespace(_) | Token::EOF => {}
            _ if has_content => {}
            _ => (start, has_content) = (offsets.of(token.span.start), true),
        }
    }
    let rest = has_content.then(|| text.get(start..).unwrap_or_default().trim().to_string());
    Split { statements, rest }
}

/// Turns rising line and column numbers (both from 1, in characters) into bytes, in one pass.
struct Offsets<'a> {
    chars: std::str::CharIndices<'a>,
    line: u64,
    column: u64,
    end: usize,
}

impl<'a> Offsets<'a> {
    fn new(text: &'a str) -> Self {
        Self { chars: text.char_indices(), line: 1, column: 1, end: text.len() }
    }

    fn of(&mut self, location: Location) -> usize {
        loop {
            let here = self.chars.offset();
            if (self.line, self.column) >= (location.line, location.column) {
                return here;
            }
            match self.chars.next() {
                Some((_, '\n')) => (self.line, self.column) = (self.line + 1, 1),
                Some(_) => self.column += 1,
                None => return self.end,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_that_end_and_those_that_do_not() {
        let cases: &[(&str, &[&str], Option<&str>)] = &[
            ("", &[], None),
            (" ; ;\n", &[], None),
            ("-- only; a comment\n", &[], None),
            ("SELECT 1", &[], Some("SELECT 1")),
            ("SELECT 1;", &["SELECT 1"], None),
            ("SELECT 1;\nSELECT 2; SELECT", &["SELECT 1", "SELECT 2"], Some("SELECT")),
            ("SELECT 'a;b', \"c;d\";", &["SELECT 'a;b', \"c;d\""], None),
            ("SELECT 'it''s;';x", &["SELECT 'it''s;'"], Some("x")),
            ("SELECT E'\\';';x", &["SELECT E'\\';'"], Some("x")),
            ("SELECT $$a;b$$; SELECT $t$;$$;$t$;", &["SELECT $$a;b$$", "SELECT $t$;$$;$t$"], None),
            ("SELECT 1 -- a; b\n+ 1; /* ; /* ; */ ; */ SELECT 2;", &["SELECT 1 -- a; b\n+ 1", "SELECT 2"], None),
            ("SELECT 'é;\n\u{1F980}'; SELECT 2;", &["SELECT 'é;\n\u{1F980}'", "SELECT 2"], None),
            ("SELECT 'open; SELECT 2;", &[], Some("SELECT 'open; SELECT 2;")),
        ];
        for (text, statements, rest) in cases {
            let got = split(text);
            assert_eq!(got.statements, *statements, "{text:?}");
            assert_eq!(got.rest.as_deref(), *rest, "{text:?}");
        }
    }
}
