//! Object ids: those of catalog objects follow from their job's id, so they last and are never used again.

use crate::catalog::{Object, Role, Sequence};

/// The one database.
pub const DATABASE: i32 = 5;
/// The role that is always there.
pub const ROOT: i32 = 10;
pub const PG_CATALOG: i32 = 11;
pub const PUBLIC: i32 = 2200;
pub const WEIR: i32 = 12_000;
pub const INFORMATION_SCHEMA: i32 = 12_001;
/// Of the session's own tables.
pub const TEMPORARY: i32 = 12_003;
/// Access methods as PostgreSQL numbers them.
pub const HEAP: i32 = 2;
pub const BTREE: i32 = 403;
/// Languages of functions.
pub const INTERNAL: i32 = 12;
pub const SQL: i32 = 14;
pub const DEFAULT_TABLESPACE: i32 = 1663;
/// What connectors are as a foreign data wrapper.
pub const CONNECTORS: i32 = 12_002;

/// Below are PostgreSQL's own objects and what the server itself has, in ranges of a thousand.
const FIRST_USER: i32 = 16_384;
const SYSTEM_TABLES: i32 = 12_100;
const INFORMATION_TABLES: i32 = 12_200;
const CATALOG_TABLES: i32 = 13_000;
const FUNCTIONS: i32 = 14_000;
const USER_FUNCTIONS: i32 = 15_500;
const ROLES: i32 = 13_500;
const CONNECTOR: i32 = 13_400;

/// Tables of `pg_catalog` that clients know by number.
const KNOWN: &[(&str, i32)] = &[
    ("pg_attrdef", 2604),
    ("pg_attribute", 1249),
    ("pg_authid", 1260),
    ("pg_class", 1259),
    ("pg_constraint", 2606),
    ("pg_database", 1262),
    ("pg_description", 2609),
    ("pg_extension", 3079),
    ("pg_index", 2610),
    ("pg_namespace", 2615),
    ("pg_proc", 1255),
    ("pg_rewrite", 2618),
    ("pg_type", 1247),
];

/// The relation itself. Four numbers belong to an object: the relation, its key's index, and the key as a constraint.
pub fn relation(object: &Object) -> i32 {
    FIRST_USER.wrapping_add(object.id.0.wrapping_mul(4) as i32)
}

/// Sequences have their ids from the same counter as objects.
pub fn sequence(sequence: &Sequence) -> i32 {
    FIRST_USER.wrapping_add(sequence.id.wrapping_mul(4) as i32)
}

pub fn key_index(relation: i32) -> i32 {
    relation.wrapping_add(1)
}

pub fn key_constraint(relation: i32) -> i32 {
    relation.wrapping_add(2)
}

/// A column's default; unique among defaults only, as PostgreSQL asks.
pub fn default(relation: i32, number: i16) -> i32 {
    relation.wrapping_mul(31).wrapping_add(i32::from(number))
}

/// The `index`th table of schema `weir`.
pub fn system_table(index: usize) -> i32 {
    SYSTEM_TABLES + index as i32
}

/// The `index`th table of `information_schema`.
pub fn information_table(index: usize) -> i32 {
    INFORMATION_TABLES + index as i32
}

/// The table `name` of `pg_catalog`, the `index`th by name.
pub fn catalog_table(name: &str, index: usize) -> i32 {
    KNOWN.iter().find(|(known, _)| *known == name).map_or(CATALOG_TABLES + index as i32, |(_, oid)| *oid)
}

pub fn function(index: usize) -> i32 {
    FUNCTIONS + index as i32
}

/// The `index`th by name of those that users wrote.
pub fn user_function(index: usize) -> i32 {
    USER_FUNCTIONS + index as i32
}

/// What a view does when it is read, as the rule that it is in PostgreSQL. A view has no key, so the number is free.
pub fn rule(relation: i32) -> i32 {
    relation.wrapping_add(2)
}

/// The number of a table of `pg_catalog` that clients know.
pub fn known(name: &str) -> i32 {
    KNOWN.iter().find(|(known, _)| *known == name).map_or(0, |(_, oid)| *oid)
}

/// The built-in roles have numbers of their own; the others' follow from their ids.
pub fn role(role: &Role) -> i32 {
    match role.name.as_str() {
        "root" => ROOT,
        _ if role.is_built_in() => ROLES,
        // Between the numbers of relations, which are multiples of four from the first.
        _ => FIRST_USER.wrapping_add(role.id.wrapping_mul(4) as i32).wrapping_add(3),
    }
}

/// The `index`th connector in use.
pub fn connector(index: usize) -> i32 {
    CONNECTOR + index as i32
}

/// Whether a name finds the relation without its schema.
pub fn is_visible(relation: i32) -> bool {
    relation >= FIRST_USER || !(SYSTEM_TABLES..CATALOG_TABLES).contains(&relation)
}
