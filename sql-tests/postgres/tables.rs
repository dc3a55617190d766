//! Values through a table: in as parameters, in text and in binary; out in text and in binary.

use tokio_postgres::Client;

use super::Differences;
use super::ask::{Answer, Parameter, ask, state};
use super::values::{EDGES, literal};

pub async fn compare(theirs: &Client, ours: &Client, differences: &mut Differences) {
    for client in [theirs, ours] {
        client.batch_execute("SET TimeZone = 'UTC'").await.unwrap();
    }
    ours.batch_execute("SET implicit_flush = off").await.unwrap();
    for (number, (sql_type, texts)) in EDGES.iter().enumerate() {
        let about = format!("table of {sql_type}");
        let table = format!("CREATE TABLE round_{number} (id INT PRIMARY KEY, v {sql_type})");
        let mut made = Vec::new();
        for client in [theirs, ours] {
            made.push(outcome(client.batch_execute(&table).await.map(|()| 0)));
        }
        differences.compare(&about, &table, &made[0], &made[1]);
        if made[0] != made[1] {
            continue;
        }
        let insert = format!("INSERT INTO round_{number} VALUES ($1, $2)");
        let mut stored = Vec::new();
        for (i, text) in texts.iter().enumerate() {
            let value = ask(theirs, &format!("SELECT {}::{sql_type}", literal(text))).await;
            let mut parameters = vec![Parameter::Text(text.to_string())];
            if let Answer::Rows { binary, .. } = &value {
                parameters.extend(binary.iter().flatten().map(|bytes| Parameter::Binary(bytes.clone())));
            }
            for (j, parameter) in parameters.iter().enumerate() {
                let row = 2 * i + j;
                let id = row as i32;
                let id = Parameter::Binary(id.to_be_bytes().to_vec());
                let mut done = Vec::new();
                for client in [theirs, ours] {
                    done.push(outcome(client.execute(&insert, &[&id, parameter]).await));
                }
                let sql = format!("{insert} -- '{text}'::{sql_type} {parameter:?}");
                differences.compare(&about, &sql, &done[0], &done[1]);
                if done[0] == done[1] {
                    stored.push(row);
                }
            }
        }
        ours.batch_execute("FLUSH").await.unwrap();
        for row in stored {
            let sql = format!("SELECT v FROM round_{number} WHERE id = {row}");
            let (expected, given) = (ask(theirs, &sql).await, ask(ours, &sql).await);
            let shown = format!("{sql} -- '{}'::{sql_type}", texts[row / 2]);
            differences.compare(&about, &shown, &expected, &given);
        }
    }
}

fn outcome(result: Result<u64, tokio_postgres::Error>) -> Answer {
    match result {
        Ok(count) => Answer::Rows { oid: 0, texts: vec![Some(count.to_string())], binary: vec![Some(Vec::new())] },
        Err(e) => Answer::Refused(state(&e)),
    }
}
