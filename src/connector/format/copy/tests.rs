//! Lines to rows, whole and cut anywhere, and the words of what is refused.

use arrow::datatypes::Field;
use arrow::util::display::array_value_to_string;

use super::*;
use crate::sql::Statement;
use crate::sql::statement::Copy;

fn reader(options: &str, columns: &[(&str, DataType, bool)]) -> CopyReader {
    let parsed = crate::sql::parse(&format!("COPY t FROM STDIN {options}")).unwrap().remove(0);
    let Statement::Copy(Copy::From { options, .. }) = parsed.statement else { panic!("a COPY") };
    let fields = columns.iter().map(|(name, ty, null)| Arc::new(Field::new(*name, ty.clone(), *null))).collect();
    CopyReader::new("t", fields, &options, "UTC", Styles::default()).unwrap()
}

fn two(options: &str) -> CopyReader {
    reader(options, &[("a", DataType::Int32, false), ("b", DataType::Utf8, true)])
}

/// Rows as `a|b`, nulls as `~`, then the bad lines.
fn read(mut reader: CopyReader, data: &[u8], cut: usize) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut pieces = Vec::new();
    for part in data.chunks(cut) {
        reader.wanted = 1;
        pieces.extend(reader.push(part)?);
    }
    pieces.push(reader.finish()?);
    for piece in pieces {
        for row in 0..piece.rows.num_rows() {
            let value = |c: &ArrayRef| match c.is_null(row) {
                true => "~".to_string(),
                false => array_value_to_string(c, row).unwrap(),
            };
            lines.push(piece.rows.columns().iter().map(value).collect::<Vec<_>>().join("|"));
        }
        lines.extend(piece.bad.into_iter().map(|b| format!("{} [{}]", b.error, String::from_utf8_lossy(&b.raw))));
    }
    Ok(lines)
}

#[test]
fn rows_are_the_same_however_the_bytes_are_cut() {
    let cases: &[(&str, &[u8], &[&str])] = &[
        ("", b"1\tone\n2\t\\N\n3\t\n", &["1|one", "2|~", "3|"]),
        ("", b"1\ta\\tb\\\\c\\n\\x41\\101\\q\n2\ttwo\\\nlines", &["1|a\tb\\c\nAAq", "2|two\nlines"]),
        ("", b"1\tone\r\n\\.\nnot read", &["1|one"]),
        ("(NULL 'nil', DELIMITER '|')", b"1|nil\n2|\\nil\n", &["1|~", "2|\nil"]),
        ("CSV", b"1,one\n2,\n3,\"\"\n4,\"a \"\"b\"\", c\nd\"\n", &["1|one", "2|~", "3|", "4|a \"b\", c\nd"]),
        ("CSV", b"1,a\"b,c\"d\r\n\\.\n2,x", &["1|ab,cd"]),
        ("CSV HEADER", b"x,y\n1,one", &["1|one"]),
        ("(FORMAT csv, HEADER MATCH)", b"a,b\n1,one", &["1|one"]),
        ("CSV QUOTE '''' ESCAPE '\\'", b"1,'it\\'s'\n2,'a\\b'\n", &["1|it's", "2|a\\b"]),
        ("CSV NULL 'x' FORCE NOT NULL b", b"1,x\n2,\"x\"\n", &["1|x", "2|x"]),
        ("CSV NULL 'x' FORCE NULL b", b"1,x\n2,\"x\"\n3,\"y\"\n", &["1|~", "2|~", "3|y"]),
        ("", b"", &[]),
    ];
    for (options, data, expected) in cases {
        for cut in [1, 2, 3, 7, 1000] {
            assert_eq!(read(two(options), data, cut).unwrap(), *expected, "{options} in pieces of {cut}");
        }
    }
}

#[test]
fn the_first_bad_line_is_told_as_postgresql_tells_it() {
    for (options, data, state, message, origin) in [
        (
            "CSV",
            "1,a\nx,b\n",
            "22P02",
            "invalid input syntax for type integer: \"x\"",
            "COPY t, line 2, column a: \"x\"",
        ),
        ("CSV", "1,a\n2,b,c\n", "22P04", "extra data after last expected column", "COPY t, line 2: \"2,b,c\""),
        ("CSV", "1,a\n\n", "22P04", "missing data for column \"b\"", "COPY t, line 2: \"\""),
        ("CSV", "1,\"a\nb", "22P04", "unterminated CSV quoted field", "COPY t, line 2: \"1,\"a\nb\""),
        (
            "CSV",
            "1,\"a\nb\"\ny,c\n",
            "22P02",
            "invalid input syntax for type integer: \"y\"",
            "COPY t, line 3, column a: \"y\"",
        ),
        (
            "",
            "3000000000\ta\n",
            "22003",
            "value \"3000000000\" is out of range for type integer",
            "COPY t, line 1, column a: \"3000000000\"",
        ),
        (
            "",
            "\\N\ta\n",
            "23502",
            "null value in column \"a\" of relation \"t\" violates not-null constraint",
            "COPY t, line 1: \"\\N\ta\"",
        ),
        (
            "(FORMAT csv, HEADER MATCH)",
            "a,c\n",
            "22P04",
            "column name mismatch in header line field 2: got \"c\", expected \"b\"",
            "COPY t, line 1: \"a,c\"",
        ),
    ] {
        for cut in [1, 1000] {
            let e = read(two(options), data.as_bytes(), cut).unwrap_err();
            assert_eq!((e.kind().sqlstate(), e.message(), e.origin()), (state, message, Some(origin)), "{data:?}");
        }
    }
}

#[test]
fn bad_lines_are_put_aside_when_asked() {
    let data = b"1,a\nx,y\n2,\"b\"\n3,c,d\n";
    let expected = [
        "1|a",
        "2|b",
        "COPY t, line 2, column a: \"x\": invalid input syntax for type integer: \"x\" [x,y]",
        "COPY t, line 4: \"3,c,d\": extra data after last expected column [3,c,d]",
    ];
    assert_eq!(read(two("(FORMAT csv, ON_ERROR ignore)"), data, 1000).unwrap(), expected);
    let mut cut = read(two("(FORMAT csv, ON_ERROR ignore)"), data, 5).unwrap();
    cut.sort();
    assert_eq!(cut, expected);
}

#[test]
fn dates_are_read_as_the_session_reads_them() {
    let fields = ["d", "at", "z", "i"].map(|name| match name {
        "d" => (name, DataType::Date32),
        "at" => (name, crate::types::time::timestamp()),
        "z" => (name, crate::types::time::timestamptz()),
        _ => (name, DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano)),
    });
    let fields: Vec<FieldRef> = fields.map(|(name, ty)| Arc::new(Field::new(name, ty, true))).into();
    let styles = |text: &str| text.parse::<Styles>().unwrap();
    let row = "05/04/2024\t2024-01-02 03:04:05\t2024-07-01 12:00\t-1 2:03:04\n";
    for (zone, styles, expected) in [
        (
            "UTC",
            Styles::default(),
            "2024-05-04|2024-01-02T03:04:05|2024-07-01T12:00:00Z|-1 days 2 hours 3 mins 4.000000000 secs",
        ),
        (
            "Europe/Berlin",
            styles("SQL DMY sql_standard hex 1"),
            "2024-04-05|2024-01-02T03:04:05|2024-07-01T10:00:00Z|-1 days -2 hours -3 mins -4.000000000 secs",
        ),
    ] {
        let parsed = crate::sql::parse("COPY t FROM STDIN").unwrap().remove(0);
        let Statement::Copy(Copy::From { options, .. }) = parsed.statement else { panic!("a COPY") };
        let reader = CopyReader::new("t", fields.clone(), &options, zone, styles).unwrap();
        assert_eq!(read(reader, row.as_bytes(), 1000).unwrap(), [expected]);
    }
    let parsed = crate::sql::parse("COPY t FROM STDIN").unwrap().remove(0);
    let Statement::Copy(Copy::From { options, .. }) = parsed.statement else { panic!("a COPY") };
    let reader = CopyReader::new("t", fields, &options, "UTC", Styles::default()).unwrap();
    let error = read(reader, b"13/13/2024\t\\N\t\\N\t\\N\n", 1000).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::InvalidDatetimeFormat, "invalid input syntax for type date: \"13/13/2024\"")
    );
}
