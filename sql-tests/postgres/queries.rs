//! The queries that are sent to both servers: casts of every value, alone and inside of others, under every setting.

use rand::rngs::StdRng;

use super::settings::SETTINGS;
use super::values::{EDGES, literal, random};

/// Queries of one session, each with what it is about.
pub struct Group {
    pub settings: &'static [&'static str],
    pub queries: Vec<(String, String)>,
}

/// With `count` random values a type.
pub fn all(rng: &mut StdRng, count: usize) -> Vec<Group> {
    let mut plain = edges();
    for (sql_type, _) in EDGES {
        let texts: Vec<String> = (0..count).filter_map(|_| random(rng, sql_type)).collect();
        plain.queries.extend(texts.iter().flat_map(|text| casts(sql_type, text)));
    }
    let mut groups = vec![plain];
    for (settings, types) in SETTINGS {
        let mut queries = Vec::new();
        for (sql_type, texts) in EDGES.iter().filter(|(t, _)| types.contains(t)) {
            let random: Vec<String> = (0..count).filter_map(|_| random(rng, sql_type)).collect();
            for text in texts.iter().copied().chain(random.iter().map(String::as_str)) {
                queries.push((sql_type.to_string(), format!("SELECT {}::{sql_type}", literal(text))));
                queries.push((format!("{sql_type}::text"), format!("SELECT {}::{sql_type}::text", literal(text))));
            }
        }
        groups.push(Group { settings, queries });
    }
    groups
}

/// What is recorded: the edges of every type as they are sent, and under each setting those that it concerns.
pub fn recorded() -> Vec<Group> {
    let values = |settings, types: Option<&[&str]>| {
        let edges = EDGES.iter().filter(|(t, _)| types.is_none_or(|types| types.contains(t)));
        let texts = edges.flat_map(|(sql_type, texts)| texts.iter().map(move |text| (*sql_type, *text)));
        let query = |(sql_type, text): (&str, &str)| (sql_type.into(), format!("SELECT {}::{sql_type}", literal(text)));
        Group { settings, queries: texts.map(query).collect() }
    };
    let of_settings = SETTINGS.iter().map(|(settings, types)| values(settings, Some(types)));
    std::iter::once(values(&[], None)).chain(of_settings).collect()
}

/// The edges of every type, without settings.
pub fn edges() -> Group {
    let texts = EDGES.iter().flat_map(|(sql_type, texts)| texts.iter().map(move |text| (sql_type, text)));
    Group { settings: &[], queries: texts.flat_map(|(sql_type, text)| casts(sql_type, text)).collect() }
}

fn casts(sql_type: &str, text: &str) -> Vec<(String, String)> {
    let value = format!("{}::{sql_type}", literal(text));
    let mut casts = vec![
        (sql_type.to_string(), format!("SELECT {value}")),
        (format!("{sql_type}::text"), format!("SELECT ({value})::text")),
        (format!("text::{sql_type}"), format!("SELECT ({}::text)::{sql_type}", literal(text))),
        (format!("ROW({sql_type})"), format!("SELECT ROW({value}, NULL::{sql_type})")),
    ];
    if !sql_type.ends_with(']') {
        casts.push((format!("ARRAY[{sql_type}]"), format!("SELECT ARRAY[{value}, NULL]")));
    }
    casts
}
