//! The tables of `information_schema` that tell of functions, grants and what reads what; and those that are empty,
//! because there is nothing of their kind: foreign keys, triggers, domains.

use super::super::functions::Scope;
use super::super::live::Live;
use super::super::oid;
use super::super::procs::Function;
use super::super::row::Row;
use super::super::sequence_tables;
use super::{Table, constraint, named, takes_dml, yes_no};
use crate::batch::context::DATABASE;
use crate::catalog::def::PUBLIC;
use crate::catalog::role::EVERYONE;
use crate::catalog::{Definition, Object, Sequence};

const GRANTS: &[&str] = &[
    "grantor",
    "grantee",
    "table_catalog",
    "table_schema",
    "table_name",
    "privilege_type",
    "is_grantable",
    "with_hierarchy",
];

pub const TABLES: &[Table] = &[
    ("applicable_roles", &["grantee", "role_name", "is_grantable"], &[], applicable_roles),
    ("check_constraints", &["constraint_catalog", "constraint_schema", "constraint_name", "check_clause"], &[], none),
    (
        "constraint_column_usage",
        &[
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
        ],
        &[],
        key_columns,
    ),
    (
        "constraint_table_usage",
        &["table_catalog", "table_schema", "table_name", "constraint_catalog", "constraint_schema", "constraint_name"],
        &[],
        keys,
    ),
    ("domains", &["domain_catalog", "domain_schema", "domain_name", "data_type"], &[], none),
    (
        "element_types",
        &["object_catalog", "object_schema", "object_name", "object_type", "collection_type_identifier", "data_type"],
        &[],
        none,
    ),
    ("enabled_roles", &["role_name"], &[], enabled_roles),
    ("information_schema_catalog_name", &["catalog_name"], &[], catalog_name),
    (
        "parameters",
        &[
            "specific_catalog",
            "specific_schema",
            "specific_name",
            "parameter_mode",
            "is_result",
            "as_locator",
            "parameter_name",
            "data_type",
            "udt_catalog",
            "udt_schema",
            "udt_name",
            "dtd_identifier",
            "parameter_default",
        ],
        &["ordinal_position"],
        parameters,
    ),
    (
        "referential_constraints",
        &[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "unique_constraint_catalog",
            "unique_constraint_schema",
            "unique_constraint_name",
            "match_option",
            "update_rule",
            "delete_rule",
        ],
        &[],
        none,
    ),
    ("role_table_grants", GRANTS, &[], grants_of_roles),
    (
        "routines",
        &[
            "specific_catalog",
            "specific_schema",
            "specific_name",
            "routine_catalog",
            "routine_schema",
            "routine_name",
            "routine_type",
            "data_type",
            "type_udt_catalog",
            "type_udt_schema",
            "type_udt_name",
            "routine_body",
            "routine_definition",
            "external_name",
            "external_language",
            "parameter_style",
            "is_deterministic",
            "sql_data_access",
            "is_null_call",
            "security_type",
        ],
        &[],
        routines,
    ),
    (
        "sequences",
        &[
            "sequence_catalog",
            "sequence_schema",
            "sequence_name",
            "data_type",
            "start_value",
            "minimum_value",
            "maximum_value",
            "increment",
            "cycle_option",
        ],
        &["numeric_precision", "numeric_precision_radix", "numeric_scale"],
        sequences,
    ),
    ("table_privileges", GRANTS, &[], grants),
    (
        "triggers",
        &[
            "trigger_catalog",
            "trigger_schema",
            "trigger_name",
            "event_manipulation",
            "event_object_catalog",
            "event_object_schema",
            "event_object_table",
            "action_statement",
            "action_orientation",
            "action_timing",
        ],
        &["action_order"],
        none,
    ),
    (
        "view_table_usage",
        &["view_catalog", "view_schema", "view_name", "table_catalog", "table_schema", "table_name"],
        &[],
        read_by_views,
    ),
];

fn sequences(scope: &Scope) -> Vec<Row> {
    let live = scope.live();
    let named = |(sequence, mut row): (&Sequence, Row)| {
        row.push(("sequence_catalog", DATABASE.into()));
        row.push(("sequence_schema", PUBLIC.into()));
        row.push(("sequence_name", sequence.name.as_str().into()));
        row
    };
    sequence_tables::standard(&live).map(named).collect()
}

fn none(_: &Scope) -> Vec<Row> {
    Vec::new()
}

fn catalog_name(_: &Scope) -> Vec<Row> {
    vec![vec![("catalog_name", DATABASE.into())]]
}

/// The roles that the session's user is, or is a member of.
fn enabled_roles(scope: &Scope) -> Vec<Row> {
    let user = scope.client.user();
    let roles = scope.snapshot.roles().filter(|r| scope.snapshot.has_role(&user, &r.name));
    roles.map(|r| vec![("role_name", r.name.as_str().into())]).collect()
}

fn applicable_roles(scope: &Scope) -> Vec<Row> {
    let pairs = scope.snapshot.roles().flat_map(|r| r.member_of.iter().map(|of| (r.name.as_str(), of.as_str())));
    pairs
        .map(|(member, of)| vec![("grantee", member.into()), ("role_name", of.into()), ("is_grantable", yes_no(false))])
        .collect()
}

fn keys(scope: &Scope) -> Vec<Row> {
    let live = scope.live();
    live.relations().iter().filter(|r| !r.key.is_empty()).map(|r| constraint(&live, r)).collect()
}

fn key_columns(scope: &Scope) -> Vec<Row> {
    let live = scope.live();
    let mut rows = Vec::new();
    for relation in live.relations() {
        for column in relation.columns.iter().filter(|c| relation.key.contains(&c.number)) {
            let mut row = constraint(&live, &relation);
            row.push(("column_name", column.name.into()));
            rows.push(row);
        }
    }
    rows
}

/// What each role but the owner has been granted, and what the owner has.
fn grants(scope: &Scope) -> Vec<Row> {
    scope
        .snapshot
        .objects()
        .filter(|o| !matches!(o.definition, Definition::Index(_)))
        .flat_map(|o| granted(o))
        .collect()
}

/// As [`grants`], without what everyone may do.
fn grants_of_roles(scope: &Scope) -> Vec<Row> {
    grants(scope).into_iter().filter(|row| !row.contains(&("grantee", "PUBLIC".into()))).collect()
}

fn granted(object: &Object) -> Vec<Row> {
    let owner = object.owner.as_str();
    let row = |grantee: &str, privilege: &str, grantable: bool| -> Row {
        vec![
            ("grantor", owner.into()),
            ("grantee", if grantee == EVERYONE { "PUBLIC" } else { grantee }.into()),
            ("table_catalog", DATABASE.into()),
            ("table_schema", PUBLIC.into()),
            ("table_name", object.name.as_str().into()),
            ("privilege_type", privilege.into()),
            ("is_grantable", yes_no(grantable)),
            ("with_hierarchy", yes_no(privilege == "SELECT")),
        ]
    };
    let own = ["INSERT", "SELECT", "UPDATE", "DELETE"].map(|privilege| row(owner, privilege, true));
    let others = object.acl.iter().filter(|(grantee, _)| *grantee != owner).flat_map(|(grantee, privileges)| {
        privileges.iter().map(|(privilege, grantable)| row(grantee, privilege.name(), *grantable)).collect::<Vec<_>>()
    });
    own.into_iter().chain(others).collect()
}

fn read_by_views(scope: &Scope) -> Vec<Row> {
    let live: Live = scope.live();
    let mut rows = Vec::new();
    for view in live.relations().iter().filter(|r| matches!(r.kind, "v" | "m") && !takes_dml(&live, r)) {
        let Some(object) = super::object(&live, view) else { continue };
        for read in object.depends_on.iter().filter_map(|id| scope.snapshot.by_id(*id)) {
            let Some(relation) = live.relations().into_iter().find(|r| r.schema == oid::PUBLIC && r.name == read.name)
            else {
                continue;
            };
            let mut row = named(&live, &relation);
            row.extend([
                ("view_catalog", DATABASE.into()),
                ("view_schema", PUBLIC.into()),
                ("view_name", view.name.as_str().into()),
            ]);
            rows.push(row);
        }
    }
    rows
}

fn routines(scope: &Scope) -> Vec<Row> {
    let live = scope.live();
    let row = |f: &Function| -> Row {
        let (language, body) = match &f.written {
            Some(written) => ("SQL", written.body.as_str()),
            None => ("INTERNAL", f.name.as_str()),
        };
        let kind = if f.kind == "f" { Some("FUNCTION") } else { None };
        let mut row = vec![
            ("specific_catalog", DATABASE.into()),
            ("specific_schema", live.schema_name(f.schema).unwrap_or_default().into()),
            ("specific_name", specific(f).into()),
            ("routine_catalog", DATABASE.into()),
            ("routine_schema", live.schema_name(f.schema).unwrap_or_default().into()),
            ("routine_name", f.name.as_str().into()),
            ("routine_type", kind.into()),
            ("data_type", f.result.as_str().into()),
            ("type_udt_catalog", DATABASE.into()),
            ("type_udt_schema", "pg_catalog".into()),
            ("type_udt_name", scope.types.raw(f.result_type).into()),
            ("routine_body", "EXTERNAL".into()),
            ("external_language", language.into()),
            ("parameter_style", "GENERAL".into()),
            ("is_deterministic", yes_no(f.volatility == "i")),
            ("sql_data_access", "MODIFIES".into()),
            ("security_type", "INVOKER".into()),
        ];
        row.push(("routine_definition", body.into()));
        row
    };
    scope.functions.iter().chain(&scope.written()).map(row).collect()
}

/// Unique among functions, as PostgreSQL makes it.
fn specific(f: &Function) -> String {
    format!("{}_{}", f.name, f.oid)
}

/// Those of functions that users wrote: of the others only the text is known.
fn parameters(scope: &Scope) -> Vec<Row> {
    let mut rows = Vec::new();
    for f in scope.written() {
        let Some(written) = &f.written else { continue };
        for (position, (name, data_type)) in (1_i32..).zip(written.names.iter().zip(&written.types)) {
            rows.push(vec![
                ("specific_catalog", DATABASE.into()),
                ("specific_schema", PUBLIC.into()),
                ("specific_name", specific(&f).into()),
                ("ordinal_position", position.into()),
                ("parameter_mode", "IN".into()),
                ("is_result", yes_no(false)),
                ("as_locator", yes_no(false)),
                ("parameter_name", Some(name.as_str()).filter(|n| !n.is_empty()).into()),
                ("data_type", scope.types.format(*data_type, -1).into()),
                ("udt_catalog", DATABASE.into()),
                ("udt_schema", "pg_catalog".into()),
                ("udt_name", scope.types.raw(*data_type).into()),
                ("dtd_identifier", position.to_string().into()),
            ]);
        }
    }
    rows
}
