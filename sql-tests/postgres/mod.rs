//! Weir beside a real PostgreSQL: what the two answer to the same SQL must be the same, in text, in bytes, in the type
//! that is described, and in the SQLSTATE of a refusal.
//!
//! ```text
//! values (edges, random) --texts of queries--> Weir, PostgreSQL --answers--> differences, less those that are known
//! ```
//! `make postgres` starts a PostgreSQL for it; other test runs compare with what one said before ([`recorded`]).

mod ask;
mod functions;
mod known;
mod queries;
mod recorded;
mod reference;
mod settings;
mod tables;
mod values;

use std::collections::BTreeMap;
use std::fmt::Write;

use tokio_postgres::{Client, NoTls};

use self::ask::{Answer, ask};
use self::queries::Group;
use self::reference::Reference;
use crate::seed;
use crate::server::{Folder, Options, Server};

/// Random values a type.
const RANDOM: usize = 12;

async fn weir(server: &Server) -> Client {
    let address = format!("host=127.0.0.1 port={} user=root dbname=dev", server.port());
    let (client, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// What differs: the SQL, what PostgreSQL answered, what Weir.
#[derive(Default)]
struct Differences {
    asked: usize,
    /// By what was asked about.
    found: BTreeMap<String, Vec<(String, String, String)>>,
    /// Known ones that were met, with how they are known.
    known: Vec<(String, &'static str)>,
}

impl Differences {
    fn compare(&mut self, about: &str, sql: &str, expected: &Answer, given: &Answer) {
        let (expected, given) = (expected.to_string(), given.to_string());
        self.asked += 1;
        if expected == given {
            return;
        }
        match known::reason(sql, &expected, &given) {
            Some(reason) => self.known.push((sql.to_string(), reason)),
            None => {
                let found = self.found.entry(about.to_string()).or_default();
                found.push((sql.to_string(), expected, given));
            }
        }
    }

    /// # Panics
    /// When there are any.
    fn check(&self) {
        println!("{} answers compared, {} known differences", self.asked, self.known.len());
        let mut text = String::new();
        for (about, found) in &self.found {
            let _ = writeln!(text, "== {about}: {}", found.len());
            for (sql, expected, given) in found {
                let _ = writeln!(text, "{sql}\n  PostgreSQL {expected}\n  Weir       {given}");
            }
        }
        let count: usize = self.found.values().map(Vec::len).sum();
        assert!(count == 0, "{text}{count} answers differ");
    }
}

#[tokio::test]
async fn values_are_those_of_postgresql() {
    let Some(reference) = Reference::find().await else { return };
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let mut rng = seed::rng(seed::seed("postgres"));
    let mut differences = Differences::default();
    let random = seed::number("WEIR_RUNS", RANDOM);
    for Group { settings, queries } in queries::all(&mut rng, random) {
        let (theirs, ours) = (reference.connect().await, weir(&server).await);
        let mut refused = false;
        for setting in ["TimeZone = 'UTC'"].iter().chain(settings) {
            theirs.batch_execute(&format!("SET {setting}")).await.unwrap();
            refused |= ours.batch_execute(&format!("SET {setting}")).await.is_err();
        }
        let about = |about: &str| [about, &settings.join("; ")].join(" ").trim().to_string();
        if refused {
            let refusal = Answer::Refused("the setting".into());
            differences.compare(&about(""), "SET", &Answer::Refused(String::new()), &refusal);
            continue;
        }
        for (concern, sql) in queries {
            let (expected, given) = (ask(&theirs, &sql).await, ask(&ours, &sql).await);
            differences.compare(&about(&concern), &sql, &expected, &given);
        }
    }
    let (theirs, ours) = (reference.connect().await, weir(&server).await);
    tables::compare(&theirs, &ours, &mut differences).await;
    differences.check();
}
