//! What tools ask the catalogs, as recorded in `catalogue/<tool>.sql`: each question is answered, and truly. Questions
//! are parted by empty lines; `--> text` is a part of the answer, in rows of `a | b`, and `{name}` a relation's id.

use std::collections::BTreeMap;
use std::path::Path;

use crate::client::{Client, Rows};
use crate::server::{Folder, Options, Server};

struct Question {
    title: String,
    sql: String,
    expected: Vec<String>,
}

fn questions(file: &Path) -> Vec<Question> {
    let text = std::fs::read_to_string(file).unwrap();
    let question = |block: &str| {
        let (mut title, mut sql, mut expected) = (String::new(), Vec::new(), Vec::new());
        for line in block.trim().lines() {
            match (line.strip_prefix("--> "), line.strip_prefix("-- ")) {
                (Some(part), _) => expected.push(part.to_string()),
                (None, Some(name)) => title = name.to_string(),
                (None, None) => sql.push(line),
            }
        }
        Question { title, sql: sql.join("\n"), expected }
    };
    text.split("\n\n").map(question).collect()
}

fn shown(rows: &Rows) -> String {
    let row =
        |row: &Vec<Option<String>>| row.iter().map(|c| c.as_deref().unwrap_or("")).collect::<Vec<_>>().join(" | ");
    rows.iter().map(row).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn tools_are_answered() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql-tests/catalogue");
    client.execute(&std::fs::read_to_string(recorded.join("setup.sql")).unwrap()).await;
    let ids = client.query("SELECT relname, oid FROM pg_class WHERE relnamespace = 2200").await;
    let ids: BTreeMap<String, String> =
        ids.into_iter().map(|row| (format!("{{{}}}", row[0].as_deref().unwrap()), row[1].clone().unwrap())).collect();
    let with_ids = |text: &str| ids.iter().fold(text.to_string(), |text, (name, id)| text.replace(name, id));

    let mut failures = Vec::new();
    for tool in ["datagrip", "dbeaver", "dbt", "grafana", "metabase", "standard", "superset"] {
        for Question { title, sql, expected } in questions(&recorded.join(format!("{tool}.sql"))) {
            match client.run(&with_ids(&sql)).await {
                Err(e) => failures.push(format!("{tool}, {title}: {e}")),
                Ok(answer) => {
                    let given = shown(&answer.rows);
                    let missing = expected.iter().map(|part| with_ids(part)).filter(|part| !given.contains(part));
                    failures.extend(missing.map(|part| format!("{tool}, {title}: {part:?} is not in\n{given}")));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
