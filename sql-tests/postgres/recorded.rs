//! What PostgreSQL answered to the edges, for runs without it.
//!
//! A line of `recorded.txt` is what is asked, a tab, and the answer.

use std::collections::HashMap;
use std::path::PathBuf;

use super::ask::ask;
use super::queries::{Group, edges};
use super::reference::Reference;
use super::{Differences, weir};
use crate::server::{Folder, Options, Server};

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("sql-tests/postgres/recorded.txt")
}

#[tokio::test]
async fn recorded_values_are_those_of_postgresql() {
    let Group { queries, .. } = edges();
    if std::env::var_os("WEIR_BLESS").is_some() {
        let Some(reference) = Reference::find().await else { return };
        let client = reference.connect().await;
        client.batch_execute("SET TimeZone = 'UTC'").await.unwrap();
        let mut text = String::new();
        for (_, sql) in &queries {
            text += &format!("{sql:?}\t{}\n", ask(&client, sql).await);
        }
        std::fs::write(file(), text).unwrap();
    }
    let text = std::fs::read_to_string(file()).unwrap();
    let recorded: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once('\t')).collect();
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = weir(&server).await;
    let mut differences = Differences::default();
    for (about, sql) in queries {
        let expected = recorded.get(format!("{sql:?}").as_str()).copied();
        let expected = expected.unwrap_or_else(|| panic!("{sql} is not recorded: make postgres BLESS=1"));
        let given = ask(&client, &sql).await;
        differences.compare_text(&about, &sql, expected, &given.to_string());
    }
    differences.check();
}
