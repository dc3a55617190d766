//! The real psql, where it is installed: its meta-commands and its errors.

use std::process::Command;

use crate::server::{Folder, Options, Server};

/// psql's output for a script on stdin, errors included; `None` where there is no psql.
fn psql(port: u16, script: &[&str]) -> Option<String> {
    let mut command = Command::new("psql");
    command.args(["-X", "-h", "127.0.0.1", "-p", &port.to_string(), "-U", "root", "-d", "dev", "-A"]);
    for line in script {
        command.args(["-c", line]);
    }
    match command.output() {
        Ok(output) => {
            Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
        }
        Err(_) => {
            println!("skipped: psql is not installed");
            None
        }
    }
}

#[test]
fn meta_commands() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let setup = [
        "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR NOT NULL)",
        "CREATE MATERIALIZED VIEW m AS SELECT name, count(*) AS n FROM t GROUP BY name",
        "CREATE VIEW v AS SELECT id FROM t",
        "CREATE SOURCE s (a BIGINT) WITH (connector = 'datagen')",
        "CREATE INDEX by_n ON m (n DESC) INCLUDE (name)",
        "CREATE TABLE numbered (a SERIAL, b INT GENERATED ALWAYS AS IDENTITY)",
        "CREATE SEQUENCE q AS SMALLINT CYCLE",
    ];
    let Some(made) = psql(server.port(), &setup) else { return };
    assert_eq!(
        made,
        "CREATE TABLE\nCREATE MATERIALIZED VIEW\nCREATE VIEW\nCREATE SOURCE\nCREATE INDEX\nCREATE TABLE\nCREATE SEQUENCE\n"
    );
    for (command, parts) in [
        ("\\d", &["public|m|materialized view|", "public|t|table|", "public|v|view|"][..]),
        ("\\dt", &["public|t|table|"]),
        (
            "\\ds",
            &["public|numbered_a_seq|sequence|root", "public|numbered_b_seq|sequence|root", "public|q|sequence|root"],
        ),
        ("\\d numbered", &["a|integer||not null|nextval('numbered_a_seq'::regclass)"]),
        ("\\d numbered", &["b|integer||not null|generated always as identity"]),
        ("\\d q", &["Sequence \"public.q\"", "smallint|1|1|32767|1|yes|1"]),
        ("\\d numbered_a_seq", &["integer|1|1|2147483647|1|no|1", "Owned by: public.numbered.a"]),
        ("\\d numbered_b_seq", &["Sequence for identity column: public.numbered.b"]),
        ("\\dp q", &["public|q|sequence|"]),
        ("\\dm", &["public|m|materialized view|"]),
        ("\\dv", &["public|v|view|"]),
        ("\\d t", &["id|integer|", "name|text|", "\"t_pkey\" PRIMARY KEY, btree (id)"]),
        ("\\d m", &["name|text|", "n|bigint|"]),
        ("\\d m", &["Indexes:", "\"by_n\" btree (n DESC) INCLUDE (name)"]),
        ("\\d by_n", &["n|bigint|yes|n", "name|text|no|name", "for table \"public.m\""]),
        ("\\di", &["public|by_n|index|root|m"]),
        ("\\d s", &["a|bigint|", "Server: datagen"]),
        ("\\d t_pkey", &["id|integer|", "for table \"public.t\""]),
        ("\\d+", &["public|s|foreign table|root|", "public|t|table|root|permanent|heap|"]),
        ("\\d+ t", &["id|integer|", "PRIMARY KEY"]),
        ("\\d+ m", &["name|text|", "SELECT name, count(*) AS n FROM t GROUP BY name;"]),
        ("\\d+ v", &["SELECT id FROM t;"]),
        ("\\d+ s", &["a|bigint|"]),
        ("\\dt+", &["public|t|table|root|"]),
        ("\\dm+", &["public|m|materialized view|root|"]),
        ("\\dv+", &["public|v|view|root|"]),
        ("\\dv weir.*", &["weir|jobs|view|root"]),
        ("\\di", &["public|t_pkey|index|root|t"]),
        ("\\dS pg_class", &["relname|text|"]),
        ("\\dp", &["public|t|table|"]),
        ("\\dT", &[]),
        ("\\dx", &[]),
        ("\\ddp", &[]),
        ("\\dE", &["public|s|foreign table|root"]),
        ("\\sv v", &["SELECT id FROM t"]),
        ("\\l", &["dev|root|UTF8|"]),
        ("\\l+", &["dev|root|UTF8|"]),
        ("\\dn", &["public|root"]),
        ("\\dn+", &["public|root", "weir|root"]),
        ("\\df", &["public|tumble_start|", "ts, size[, offset]"]),
        ("\\df lower", &["pg_catalog|lower|text|str|"]),
        ("\\df+ tumble*", &["public|tumble_start|"]),
        ("\\du", &["root|Superuser"]),
        ("\\du+", &["root|Superuser"]),
        ("\\db", &["pg_default|root"]),
        ("\\db+", &["pg_default|root"]),
        ("\\drds", &[]),
        ("\\dp t", &["public|t|table|"]),
        ("\\dTS int*", &["pg_catalog|integer|"]),
        ("\\sv+ v", &["SELECT id FROM t"]),
        ("\\da sum", &["pg_catalog|sum|"]),
        ("\\det", &["public|s|datagen"]),
        ("\\des+", &["datagen|root|"]),
        ("\\dX", &[]),
        ("\\dAc", &[]),
        ("\\dAf", &[]),
        ("\\dAo", &[]),
        ("\\dAp", &[]),
        ("\\dconfig", &[]),
        ("\\dconfig+ timez*", &["TimeZone|UTC"]),
        ("\\d information_schema.columns", &["udt_name|text|"]),
        ("\\dv information_schema.*", &["information_schema|tables|view|root"]),
        ("\\dconfig timez*", &["TimeZone|UTC"]),
        ("\\conninfo", &["\"dev\"", "\"root\""]),
    ] {
        let given = psql(server.port(), &[command]).unwrap();
        assert!(!given.contains("ERROR") && !given.contains("_row_id"), "{command}: {given}");
        assert!(!given.contains("postgres"), "{command} shows what does not exist: {given}");
        for part in parts {
            assert!(given.contains(part), "{command} does not show {part:?}:\n{given}");
        }
    }
}

#[test]
fn copy_both_ways() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let file = folder.path().join("lines.csv");
    std::fs::write(&file, "id,name\n1,one\n2,\"two, too\"\n").unwrap();
    let (from, to) = (file.display(), folder.path().join("back.csv"));
    let script = [
        "CREATE TABLE t (id INT, name VARCHAR)",
        &format!("\\copy t from '{from}' csv header"),
        &format!("\\copy (SELECT * FROM t ORDER BY id) to '{}' with (format csv, header)", to.display()),
    ];
    let Some(given) = psql(server.port(), &script) else { return };
    assert_eq!(given, "CREATE TABLE\nCOPY 2\nCOPY 2\n");
    assert_eq!(std::fs::read_to_string(&to).unwrap(), std::fs::read_to_string(&file).unwrap());
    std::fs::write(&file, "3,three\nx,four\n").unwrap();
    let given = psql(server.port(), &[&format!("\\copy t from '{from}' csv"), "SELECT count(*) FROM t"]).unwrap();
    assert!(given.contains("invalid input syntax for type integer: \"x\""), "{given}");
    assert!(given.contains("CONTEXT:  COPY t, line 2, column id: \"x\""), "{given}");
    let given = psql(server.port(), &["SELECT count(*) FROM t"]).unwrap();
    assert!(given.contains("\n2\n"), "{given}");
}

#[test]
fn errors_and_positions() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let Some(given) = psql(server.port(), &["SELECT 1 FRM x y"]) else { return };
    assert!(given.contains("ERROR:  syntax error") && given.contains("LINE 1: SELECT 1 FRM x y"), "{given}");
    let given = psql(server.port(), &["SELECT * FROM nope"]).unwrap();
    assert!(given.contains("relation \"nope\" does not exist"), "{given}");
}

/// DataFusion's own would tell the time of the server's start.
#[test]
fn now_is_when_the_statement_began() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let Some(given) = psql(server.port(), &["SELECT now() AS a", "SELECT now() AS a"]) else { return };
    let times: Vec<&str> = given.lines().filter(|line| line.starts_with("20")).collect();
    assert!(times.len() == 2 && times[0] < times[1] && times.iter().all(|t| t.ends_with("+00")), "{given}");
}
