//! The rows that tell of what exists now: relations with their columns and keys, roles, schemas, settings.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::scalar::ScalarValue;

use super::indexes::user_indexes;
use super::row::{Row, TABLEOID, XMIN, numbers};
use super::types::PgType;
use super::{backends, dependence, oid, sequence_tables};
use crate::batch::client::Client;
use crate::batch::context::DATABASE;
use crate::catalog::def::PUBLIC;
use crate::catalog::role::EVERYONE;
use crate::catalog::{Acl, Definition, Object, Privilege, Role, Sequence, Snapshot};
use crate::sql::name::TEMPORARY;
use crate::sql::name::quote;
use crate::state::Sequences;
use crate::types::{OptionValue, pg_type};

/// What the rows are made from.
pub struct Live<'a> {
    pub snapshot: &'a Snapshot,
    /// Tables of the schemas `weir` and `pg_catalog`: schema, name, id, columns.
    pub system: &'a [SystemRelation],
    pub client: &'a dyn Client,
    /// How far sequences are.
    pub counters: &'a Sequences,
}

pub struct SystemRelation {
    pub schema: i32,
    pub name: String,
    pub oid: i32,
    pub columns: SchemaRef,
}

pub struct Relation<'a> {
    pub oid: i32,
    pub schema: i32,
    pub name: String,
    /// As in `pg_class.relkind`.
    pub kind: &'static str,
    pub owner: i32,
    pub columns: Vec<Column<'a>>,
    /// Numbers of the key's columns, from 1.
    pub key: Vec<i16>,
    /// `None` for what is the server's own.
    pub(super) object: Option<&'a Object>,
    pub(super) sequence: Option<&'a Sequence>,
}

pub struct Column<'a> {
    pub number: i16,
    pub name: &'a str,
    pub data_type: &'a DataType,
    pub mark: Option<pg_type::PgType>,
    pub nullable: bool,
    pub default: Option<String>,
    /// As in `pg_attribute.attidentity`.
    pub identity: &'static str,
}

fn letter(p: &Privilege) -> &'static str {
    match p {
        Privilege::Select => "r",
        Privilege::Insert => "a",
        Privilege::Update => "w",
        Privilege::Delete => "d",
        Privilege::Create => "C",
        Privilege::Usage => "U",
    }
}

/// What is granted, as PostgreSQL's `aclitem`s: `grantee=privileges/grantor`, `*` behind what may be granted
/// on. The owner, whose privileges need no grant, is first.
fn access(owner: &str, all: &str, acl: &Acl) -> ScalarValue {
    let mut items = vec![format!("{owner}={all}/{owner}")];
    for (grantee, privileges) in acl.iter().filter(|(grantee, _)| *grantee != owner) {
        let held: String =
            privileges.iter().flat_map(|(p, grantable)| [letter(p), if *grantable { "*" } else { "" }]).collect();
        let grantee = if grantee == EVERYONE { "" } else { grantee };
        items.push(format!("{grantee}={held}/{owner}"));
    }
    let items: Vec<_> = items.into_iter().map(ScalarValue::from).collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Utf8))
}

impl Relation<'_> {
    pub fn key_name(&self) -> String {
        key_name(&self.name)
    }
}

/// Whether a table's rows are made here rather than taken from the crate.
pub fn is_live(table: &str) -> bool {
    ROWS.iter().any(|(name, _)| *name == table)
}

type Maker = fn(&Live) -> Vec<Row>;

const ROWS: &[(&str, Maker)] = &[
    ("pg_attrdef", |live| live.defaults()),
    ("pg_attribute", |live| live.attributes()),
    ("pg_auth_members", |live| live.members()),
    ("pg_authid", |_| Vec::new()),
    ("pg_class", |live| live.classes()),
    ("pg_constraint", |live| live.constraints()),
    ("pg_database", |live| live.databases()),
    ("pg_depend", |live| dependence::depends(live)),
    ("pg_description", |live| dependence::descriptions(live)),
    ("pg_foreign_data_wrapper", |live| live.wrappers()),
    ("pg_foreign_server", |live| live.connectors()),
    ("pg_foreign_table", |live| live.sources()),
    ("pg_index", |live| live.indexes()),
    ("pg_indexes", |live| live.index_definitions()),
    ("pg_language", |live| live.languages()),
    ("pg_matviews", |live| live.materialized_views()),
    ("pg_namespace", |live| live.schemas()),
    ("pg_rewrite", |live| dependence::rules(live)),
    ("pg_roles", |live| live.roles()),
    ("pg_sequence", |live| sequence_tables::parameters(live)),
    ("pg_sequences", |live| sequence_tables::overview(live)),
    ("pg_settings", |live| live.settings()),
    ("pg_stat_activity", |live| backends::rows(live)),
    ("pg_tables", |live| live.tables()),
    ("pg_user", |live| live.users()),
    ("pg_views", |live| live.views()),
];

impl Live<'_> {
    /// The rows of a table for which [`is_live`] holds.
    pub fn rows(&self, table: &str) -> Vec<Row> {
        ROWS.iter().find(|(name, _)| *name == table).map(|(_, make)| make(self)).unwrap_or_default()
    }

    pub fn relations(&self) -> Vec<Relation<'_>> {
        let objects = self.snapshot.objects().filter_map(|o| self.object(o));
        let system = self.system.iter().map(|table| Relation {
            oid: table.oid,
            schema: table.schema,
            name: table.name.clone(),
            kind: if table.schema == oid::PG_CATALOG { "r" } else { "v" },
            owner: oid::ROOT,
            columns: (1..)
                .zip(table.columns.fields())
                .filter(|(_, f)| ![TABLEOID, XMIN].contains(&f.name().as_str()))
                .map(|(number, f)| Column {
                    number,
                    name: f.name(),
                    data_type: f.data_type(),
                    mark: None,
                    nullable: f.is_nullable(),
                    default: None,
                    identity: "",
                })
                .collect(),
            key: Vec::new(),
            object: None,
            sequence: None,
        });
        objects.chain(sequence_tables::relations(self)).chain(system).collect()
    }

    fn object<'a>(&self, object: &'a Object) -> Option<Relation<'a>> {
        let definition = &object.definition;
        let columns = (1..).zip(definition.columns()).filter(|(_, c)| !c.hidden).map(|(number, c)| Column {
            number,
            name: &c.name,
            data_type: &c.data_type,
            mark: c.mark,
            nullable: c.nullable,
            default: sequence_tables::default(self.snapshot, object, c),
            identity: sequence_tables::identity(self.snapshot, object, c),
        });
        Some(Relation {
            oid: oid::relation(object),
            schema: schema_of(object),
            name: object.name.clone(),
            kind: relkind(definition)?,
            owner: self.role(&object.owner),
            columns: columns.collect(),
            key: key(definition),
            object: Some(object),
            sequence: None,
        })
    }

    fn classes(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for relation in self.relations() {
            let has_key = !relation.key.is_empty();
            let indexed = user_indexes(self.snapshot).any(|i| oid::relation(i.base) == relation.oid);
            let common = |oid: i32, name: String, kind: &str, method: i32, width: usize| -> Row {
                vec![
                    ("oid", oid.into()),
                    ("relname", name.into()),
                    ("relkind", kind.into()),
                    ("relnatts", (width as i16).into()),
                    ("relam", method.into()),
                    ("relnamespace", relation.schema.into()),
                    ("relowner", relation.owner.into()),
                    ("relpersistence", if relation.schema == oid::TEMPORARY { "t" } else { "p" }.into()),
                    ("relispopulated", true.into()),
                    ("reltuples", (-1.0).into()),
                    ("reloftype", 0.into()),
                ]
            };
            let method = if matches!(relation.kind, "r" | "m") { oid::HEAP } else { 0 };
            let mut row = common(relation.oid, relation.name.clone(), relation.kind, method, relation.columns.len());
            if relation.sequence.is_none() {
                row.push(("relreplident", "d".into()));
            }
            row.push(("relhasindex", (has_key || indexed).into()));
            if let Some(object) = relation.object.filter(|o| !o.acl.is_empty()) {
                row.push(("relacl", access(&object.owner, "arwd", &object.acl)));
            }
            if let Some(sequence) = relation.sequence {
                row.push(("relreplident", "n".into()));
                if !sequence.acl.is_empty() {
                    row.push(("relacl", access(self.snapshot.sequence_owner(sequence), "rwU", &sequence.acl)));
                }
            }
            rows.push(row);
            if has_key {
                let index = key_name(&relation.name);
                let mut row = common(oid::key_index(relation.oid), index, "i", oid::BTREE, relation.key.len());
                row.push(("relreplident", "n".into()));
                rows.push(row);
            }
        }
        rows.extend(user_indexes(self.snapshot).map(|i| i.class(self.role(&i.object.owner))));
        rows
    }

    fn attributes(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for relation in self.relations() {
            rows.extend(relation.columns.iter().map(|c| attribute(relation.oid, c.number, c)));
            let key = (1..).zip(&relation.key);
            rows.extend(key.filter_map(|(number, column)| {
                let column = relation.columns.iter().find(|c| c.number == *column)?;
                Some(attribute(oid::key_index(relation.oid), number, column))
            }));
        }
        for index in user_indexes(self.snapshot) {
            for (number, column) in (1..).zip(index.columns()) {
                let Some(c) = index.column(column) else { continue };
                let (name, data_type) = (c.name.as_str(), &c.data_type);
                let (mark, default, identity) = (c.mark, None, "");
                let column = Column { number, name, data_type, mark, nullable: true, default, identity };
                rows.push(attribute(index.oid(), number, &column));
            }
        }
        rows
    }

    fn defaults(&self) -> Vec<Row> {
        let relations = self.relations();
        let columns = relations.iter().flat_map(|r| r.columns.iter().map(|c| (r.oid, c)));
        columns
            .filter_map(|(relation, c)| {
                Some(vec![
                    ("oid", oid::default(relation, c.number).into()),
                    ("adrelid", relation.into()),
                    ("adnum", c.number.into()),
                    ("adbin", c.default.as_deref()?.into()),
                ])
            })
            .collect()
    }

    fn keyed(&self) -> Vec<Relation<'_>> {
        self.relations().into_iter().filter(|r| !r.key.is_empty()).collect()
    }

    fn indexes(&self) -> Vec<Row> {
        let row = |r: Relation| -> Row {
            let list = |value: &dyn Fn(i16) -> i16| {
                r.key.iter().map(|column| value(*column).to_string()).collect::<Vec<_>>().join(" ")
            };
            let width = r.key.len() as i16;
            vec![
                ("indexrelid", oid::key_index(r.oid).into()),
                ("indrelid", r.oid.into()),
                ("indnatts", width.into()),
                ("indnkeyatts", width.into()),
                ("indisunique", true.into()),
                ("indisprimary", true.into()),
                ("indimmediate", true.into()),
                ("indisvalid", true.into()),
                ("indisready", true.into()),
                ("indislive", true.into()),
                ("indkey", list(&|column| column).into()),
                ("indcollation", list(&|_| 0).into()),
                ("indclass", list(&|_| 0).into()),
                ("indoption", list(&|_| 0).into()),
            ]
        };
        let keys = self.keyed().into_iter().map(row);
        keys.chain(user_indexes(self.snapshot).map(|i| i.row())).collect()
    }

    fn constraints(&self) -> Vec<Row> {
        let row = |r: Relation| -> Row {
            vec![
                ("oid", oid::key_constraint(r.oid).into()),
                ("conname", key_name(&r.name).into()),
                ("connamespace", r.schema.into()),
                ("contype", "p".into()),
                ("convalidated", true.into()),
                ("conrelid", r.oid.into()),
                ("conindid", oid::key_index(r.oid).into()),
                ("conislocal", true.into()),
                ("connoinherit", true.into()),
                ("conkey", numbers(r.key.iter().copied())),
            ]
        };
        self.keyed().into_iter().map(row).collect()
    }

    fn index_definitions(&self) -> Vec<Row> {
        let keyed = self.snapshot.objects().filter(|o| !key(&o.definition).is_empty());
        let keys = keyed.map(|o| -> Row {
            vec![
                ("schemaname", PUBLIC.into()),
                ("tablename", o.name.as_str().into()),
                ("indexname", key_name(&o.name).into()),
                ("indexdef", index_definition(o).into()),
            ]
        });
        keys.chain(user_indexes(self.snapshot).map(|i| i.definition_row())).collect()
    }

    fn tables(&self) -> Vec<Row> {
        let tables = self.snapshot.objects().filter(|o| matches!(o.definition, Definition::Table(_)));
        tables
            .map(|o| -> Row {
                vec![
                    ("schemaname", schema_name_of(o).into()),
                    ("tablename", o.name.as_str().into()),
                    ("tableowner", o.owner.as_str().into()),
                    (
                        "hasindex",
                        (!key(&o.definition).is_empty() || self.snapshot.indexes_of(o.id).next().is_some()).into(),
                    ),
                ]
            })
            .collect()
    }

    fn views(&self) -> Vec<Row> {
        let views = self.snapshot.objects().filter(|o| matches!(o.definition, Definition::View(_)));
        views
            .filter_map(|o| {
                Some(vec![
                    ("schemaname", PUBLIC.into()),
                    ("viewname", o.name.as_str().into()),
                    ("viewowner", o.owner.as_str().into()),
                    ("definition", view_definition(o)?.into()),
                ])
            })
            .collect()
    }

    fn materialized_views(&self) -> Vec<Row> {
        let views = self.snapshot.objects().filter(|o| matches!(o.definition, Definition::MaterializedView(_)));
        views
            .filter_map(|o| {
                Some(vec![
                    ("schemaname", PUBLIC.into()),
                    ("matviewname", o.name.as_str().into()),
                    ("matviewowner", o.owner.as_str().into()),
                    ("hasindexes", self.snapshot.indexes_of(o.id).next().is_some().into()),
                    ("ispopulated", true.into()),
                    ("definition", view_definition(o)?.into()),
                ])
            })
            .collect()
    }

    /// The sources' connectors, as foreign servers.
    fn connector_names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.snapshot.objects().filter_map(|o| connector(&o.definition)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn connectors(&self) -> Vec<Row> {
        let row = |(index, name): (usize, &str)| -> Row {
            vec![
                ("oid", oid::connector(index).into()),
                ("srvname", name.into()),
                ("srvowner", oid::ROOT.into()),
                ("srvfdw", oid::CONNECTORS.into()),
            ]
        };
        self.connector_names().into_iter().enumerate().map(row).collect()
    }

    fn wrappers(&self) -> Vec<Row> {
        vec![vec![("oid", oid::CONNECTORS.into()), ("fdwname", "connector".into()), ("fdwowner", oid::ROOT.into())]]
    }

    fn sources(&self) -> Vec<Row> {
        let names = self.connector_names();
        let server = |o: &Object| names.iter().position(|n| Some(*n) == connector(&o.definition));
        self.snapshot
            .objects()
            .filter_map(|o| {
                Some(vec![("ftrelid", oid::relation(o).into()), ("ftserver", oid::connector(server(o)?).into())])
            })
            .collect()
    }

    fn schemas(&self) -> Vec<Row> {
        let row = |(oid, name): (i32, &str)| -> Row {
            vec![("oid", oid.into()), ("nspname", name.into()), ("nspowner", oid::ROOT.into())]
        };
        self.known_schemas().map(row).collect()
    }

    /// Their numbers and names; that of temporary tables while there are any.
    fn known_schemas(&self) -> impl Iterator<Item = (i32, &'static str)> {
        let temporary = self.snapshot.has_temporary();
        SCHEMAS.into_iter().filter(move |(oid, _)| temporary || *oid != oid::TEMPORARY)
    }

    pub fn schema_names(&self) -> impl Iterator<Item = &'static str> {
        self.known_schemas().map(|(_, name)| name)
    }

    pub fn schema_name(&self, schema: i32) -> Option<&'static str> {
        SCHEMAS.iter().find(|(oid, _)| *oid == schema).map(|(_, name)| *name)
    }

    /// A relation's name, with its schema where that is needed to find it.
    pub fn relation_name(&self, relation: i32) -> Option<String> {
        let found = self.relations().into_iter().find_map(|r| match relation {
            oid if oid == r.oid => Some((r.schema, r.name)),
            oid if oid == oid::key_index(r.oid) && !r.key.is_empty() => Some((r.schema, key_name(&r.name))),
            _ => None,
        });
        let index = || user_indexes(self.snapshot).find(|i| i.oid() == relation);
        let (schema, name) = found.or_else(|| Some((oid::PUBLIC, index()?.object.name.clone())))?;
        match self.schema_name(schema).filter(|_| !oid::is_visible(relation)) {
            Some(schema) => Some(format!("{schema}.{}", quote(&name))),
            None => Some(quote(&name)),
        }
    }

    /// The id of a relation or index by its name; `is_in` tells the schemas to look into.
    pub fn find(&self, name: &str, is_in: &dyn Fn(i32) -> bool) -> Option<i32> {
        let relations = self.relations();
        let relation = relations.iter().filter(|r| is_in(r.schema)).find_map(|r| match name {
            name if name == r.name => Some(r.oid),
            name if !r.key.is_empty() && name == key_name(&r.name) => Some(oid::key_index(r.oid)),
            _ => None,
        });
        let index = || user_indexes(self.snapshot).find(|i| i.object.name == name && is_in(oid::PUBLIC));
        relation.or_else(|| Some(index()?.oid()))
    }

    fn databases(&self) -> Vec<Row> {
        vec![vec![
            ("oid", oid::DATABASE.into()),
            ("datname", DATABASE.into()),
            ("datdba", oid::ROOT.into()),
            // UTF8; strings compare by their bytes.
            ("encoding", 6.into()),
            ("datlocprovider", "c".into()),
            ("datcollate", "C.UTF-8".into()),
            ("datctype", "C.UTF-8".into()),
            ("datallowconn", true.into()),
            ("datconnlimit", (-1).into()),
            ("dattablespace", oid::DEFAULT_TABLESPACE.into()),
        ]]
    }

    fn languages(&self) -> Vec<Row> {
        [(oid::INTERNAL, "internal"), (oid::SQL, "sql")]
            .map(|(oid, name)| vec![("oid", oid.into()), ("lanname", name.into()), ("lanowner", oid::ROOT.into())])
            .into()
    }

    /// The id of a role by its name; that of root for one that is no more.
    pub fn role(&self, name: &str) -> i32 {
        self.snapshot.role(name).map_or(oid::ROOT, |role| oid::role(role))
    }

    /// The role with this id.
    pub fn find_role(&self, role: i32) -> Option<&Role> {
        self.snapshot.roles().find(|r| oid::role(r) == role).map(|r| r.as_ref())
    }

    /// The name of a role, as `pg_get_userbyid` tells it.
    pub fn role_name(&self, role: i32) -> Option<&str> {
        self.find_role(role).map(|r| r.name.as_str())
    }

    fn members(&self) -> Vec<Row> {
        let pairs = self.snapshot.roles().flat_map(|r| r.member_of.iter().map(|of| (of.as_str(), r.name.as_str())));
        pairs
            .map(|(of, member)| -> Row {
                vec![
                    ("roleid", self.role(of).into()),
                    ("member", self.role(member).into()),
                    ("grantor", oid::ROOT.into()),
                    ("admin_option", false.into()),
                ]
            })
            .collect()
    }

    fn roles(&self) -> Vec<Row> {
        let row = |r: &Arc<Role>| -> Row {
            let limit = r.connection_limit.and_then(|limit| i32::try_from(limit).ok()).unwrap_or(-1);
            vec![
                ("oid", oid::role(r).into()),
                ("rolname", r.name.as_str().into()),
                ("rolconnlimit", limit.into()),
                // Shown to nobody, as in PostgreSQL's view.
                ("rolpassword", "********".into()),
                ("rolsuper", r.superuser.into()),
                ("rolinherit", true.into()),
                ("rolcreaterole", (r.superuser || r.create_role).into()),
                ("rolcreatedb", false.into()),
                ("rolcanlogin", r.login.into()),
                ("rolreplication", false.into()),
                ("rolbypassrls", r.superuser.into()),
            ]
        };
        self.snapshot.roles().map(row).collect()
    }

    fn users(&self) -> Vec<Row> {
        let row = |r: &Arc<Role>| -> Row {
            vec![
                ("usesysid", oid::role(r).into()),
                ("usename", r.name.as_str().into()),
                ("passwd", "********".into()),
                ("usecreatedb", false.into()),
                ("usesuper", r.superuser.into()),
                ("userepl", false.into()),
                ("usebypassrls", r.superuser.into()),
            ]
        };
        self.snapshot.roles().filter(|r| r.login).map(row).collect()
    }

    fn settings(&self) -> Vec<Row> {
        let row = |(name, setting): (String, String)| -> Row {
            vec![
                ("name", name.into()),
                ("setting", setting.into()),
                ("context", "user".into()),
                ("vartype", "string".into()),
                ("pending_restart", false.into()),
            ]
        };
        self.client.settings().into_iter().map(row).collect()
    }
}

/// Where a user's object is.
pub(super) fn schema_of(object: &Object) -> i32 {
    if object.temporary.is_some() { oid::TEMPORARY } else { oid::PUBLIC }
}

/// The name of that schema.
fn schema_name_of(object: &Object) -> &'static str {
    if object.temporary.is_some() { TEMPORARY } else { PUBLIC }
}

const SCHEMAS: [(i32, &str); 5] = [
    (oid::INFORMATION_SCHEMA, "information_schema"),
    (oid::PG_CATALOG, "pg_catalog"),
    (oid::TEMPORARY, TEMPORARY),
    (oid::PUBLIC, PUBLIC),
    (oid::WEIR, "weir"),
];

fn attribute(relation: i32, number: i16, c: &Column) -> Row {
    let pg = PgType::marked(c.data_type, c.mark);
    vec![
        ("attrelid", relation.into()),
        ("attname", c.name.into()),
        ("atttypid", pg.oid.into()),
        ("attlen", pg.size.into()),
        ("attnum", number.into()),
        ("attndims", i32::from(matches!(c.data_type, DataType::List(_))).into()),
        ("attcacheoff", (-1).into()),
        ("atttypmod", pg.modifier.into()),
        ("attstattarget", (-1).into()),
        ("attbyval", (pg.size > 0 && pg.size <= 8).into()),
        ("attalign", "i".into()),
        ("attstorage", if pg.size < 0 { "x" } else { "p" }.into()),
        ("attcompression", "".into()),
        ("attnotnull", (!c.nullable).into()),
        ("atthasdef", c.default.is_some().into()),
        ("attidentity", c.identity.into()),
        ("attislocal", true.into()),
    ]
}

/// The letter in `pg_class.relkind`; sinks are no relations.
fn relkind(definition: &Definition) -> Option<&'static str> {
    match definition {
        Definition::Table(_) => Some("r"),
        Definition::MaterializedView(_) => Some("m"),
        Definition::View(_) => Some("v"),
        // A foreign table: columns without rows of its own.
        Definition::Source(_) => Some("f"),
        Definition::Sink(_) | Definition::Index(_) => None,
    }
}

/// The columns of the key that a user gave, from 1; empty when the key is hidden.
pub fn key(definition: &Definition) -> Vec<i16> {
    let Definition::Table(table) = definition else { return Vec::new() };
    let hidden = |column: &usize| table.columns.get(*column).is_none_or(|c| c.hidden);
    match table.primary_key.iter().any(hidden) {
        true => Vec::new(),
        false => table.primary_key.iter().map(|column| *column as i16 + 1).collect(),
    }
}

fn connector(definition: &Definition) -> Option<&str> {
    match definition {
        Definition::Source(source) => {
            Some(source.options.get("connector").and_then(OptionValue::text).unwrap_or("none"))
        }
        _ => None,
    }
}

fn key_name(relation: &str) -> String {
    format!("{relation}_pkey")
}

/// `(a, b)` of a table's key.
fn key_columns(object: &Object) -> String {
    let columns = object.definition.columns();
    let names: Vec<_> =
        key(&object.definition).iter().filter_map(|n| columns.get(*n as usize - 1)).map(|c| quote(&c.name)).collect();
    format!("({})", names.join(", "))
}

fn index_definition(object: &Object) -> String {
    let (index, table) = (quote(&key_name(&object.name)), quote(&object.name));
    format!("CREATE UNIQUE INDEX {index} ON {PUBLIC}.{table} USING btree {}", key_columns(object))
}

/// As `pg_get_indexdef` tells an index; its column `column` alone when above 0.
pub fn describe_index(snapshot: &Snapshot, index: i32, column: i64) -> Option<String> {
    if let Some(index) = user_indexes(snapshot).find(|i| i.oid() == index) {
        return match usize::try_from(column - 1) {
            Err(_) => Some(index.definition()),
            Ok(at) => index.column(*index.columns().get(at)?).map(|c| quote(&c.name)),
        };
    }
    let object = snapshot.objects().find(|o| oid::key_index(oid::relation(o)) == index)?;
    let number = key(&object.definition).get(usize::try_from(column - 1).unwrap_or(usize::MAX)).copied();
    match (column, number) {
        (0, _) => Some(index_definition(object)),
        (_, Some(number)) => object.definition.columns().get(number as usize - 1).map(|c| quote(&c.name)),
        _ => None,
    }
}

/// As `pg_get_constraintdef` tells a constraint.
pub fn describe_constraint(snapshot: &Snapshot, constraint: i32) -> Option<String> {
    let object = snapshot.objects().find(|o| oid::key_constraint(oid::relation(o)) == constraint)?;
    Some(format!("PRIMARY KEY {}", key_columns(object)))
}

/// The query of a view or materialized view.
pub fn view_definition(object: &Object) -> Option<String> {
    match &object.definition {
        Definition::View(view) => Some(format!(" {};", view.query)),
        Definition::MaterializedView(view) => Some(format!(" {};", view.query)),
        _ => None,
    }
}

/// The relation with this id among the users' objects.
pub fn find(snapshot: &Snapshot, relation: i32) -> Option<&Object> {
    snapshot.objects().find(|o| oid::relation(o) == relation).map(|o| o.as_ref())
}

/// A number as functions get it, whatever its width.
pub fn number(value: Option<&ScalarValue>) -> Option<i64> {
    match value?.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(number)) => number,
        _ => None,
    }
}
