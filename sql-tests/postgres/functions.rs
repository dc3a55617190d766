//! Asks PostgreSQL for the answers that `functions/*.slt` expects of Weir, so that they cannot be Weir's own.

use std::path::Path;

use tokio_postgres::SimpleQueryMessage;

use super::reference::Reference;

#[tokio::test]
async fn answers_are_those_of_postgresql() {
    let Some(reference) = Reference::find().await else { return };
    let client = reference.connect().await;
    client.batch_execute("SET TimeZone = 'UTC'").await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql-tests/functions");
    let mut wrong = Vec::new();
    for name in ["arrays", "date", "math", "text"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.slt"))).unwrap();
        for block in text.split("\n\n") {
            let (sql, expected) = match block.trim_start().split_once('\n') {
                Some(("query ?", rest)) => match rest.split_once("\n----\n") {
                    Some((sql, answer)) => (sql, Some(answer.trim_end())),
                    None => continue,
                },
                Some(("statement error", sql)) => (sql, None),
                _ => continue,
            };
            let answer = client.simple_query(sql).await.ok().and_then(|messages| {
                messages.into_iter().find_map(|m| match m {
                    SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_string()),
                    _ => None,
                })
            });
            if answer.as_deref() != expected {
                wrong.push(format!("{sql}\n  expected {expected:?}\n  PostgreSQL {answer:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
