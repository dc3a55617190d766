//! Settings of a session under which values are shown otherwise, each with types that it concerns.

pub const SETTINGS: &[(&[&str], &[&str])] = &[
    (&["TimeZone = 'America/New_York'"], &["timestamptz", "timestamptz[]", "timetz", "timestamp", "date"]),
    (&["TimeZone = 'Asia/Kolkata'"], &["timestamptz", "timetz"]),
    (&["DateStyle = 'German'"], DATES),
    (&["DateStyle = 'German, MDY'"], DATES),
    (&["DateStyle = 'SQL, MDY'"], DATES),
    (&["DateStyle = 'SQL, DMY'"], DATES),
    (&["DateStyle = 'Postgres, MDY'"], DATES),
    (&["DateStyle = 'Postgres, DMY'"], DATES),
    (&["DateStyle = 'ISO, DMY'"], DATES),
    (&["DateStyle = 'ISO, YMD'"], DATES),
    (&["DateStyle = 'SQL, DMY'", "TimeZone = 'America/New_York'"], &["timestamptz", "timestamptz[]"]),
    (&["DateStyle = 'German'", "TimeZone = 'Asia/Kolkata'"], &["timestamptz"]),
    (&["DateStyle = 'Postgres'", "TimeZone = 'Europe/Berlin'"], &["timestamptz"]),
    (&["IntervalStyle = 'postgres_verbose'"], INTERVALS),
    (&["IntervalStyle = 'sql_standard'"], INTERVALS),
    (&["IntervalStyle = 'iso_8601'"], INTERVALS),
    (&["bytea_output = 'escape'"], &["bytea", "bytea[]"]),
    (&["extra_float_digits = 0"], FLOATS),
    (&["extra_float_digits = -3"], FLOATS),
    (&["extra_float_digits = 3"], FLOATS),
    (&["extra_float_digits = -15"], FLOATS),
];

const DATES: &[&str] = &["date", "timestamp", "timestamptz", "date[]", "timestamp[]"];
const INTERVALS: &[&str] = &["interval", "interval[]"];
const FLOATS: &[&str] = &["float4", "float8", "float8[]"];
