//! Random queries over the oracle's tables: joins, aggregates, windows, Top-N, functions over windows, set operations and
//! subqueries, nested in each other. Every answer is determined: orders are total but for rows that are the same.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Tables in one query: each join multiplies the rows.
const MOST_TABLES: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Type {
    Int,
    Text,
    Bool,
    Time,
}

const TYPES: [Type; 4] = [Type::Int, Type::Text, Type::Bool, Type::Time];

/// What an expression may name.
#[derive(Clone)]
struct Column {
    sql: String,
    data_type: Type,
}

/// What may stand after FROM.
struct Relation {
    sql: String,
    columns: Vec<Column>,
    joined: bool,
}

/// A query, and its columns as one that reads it names them.
struct Query {
    sql: String,
    columns: Vec<Column>,
}

/// A query from a seed's random numbers.
pub fn query(random: &mut StdRng) -> String {
    let mut generator = Generator { random, aliases: 0, names: 0, tables: 0 };
    generator.query(2).sql
}

struct Generator<'a> {
    random: &'a mut StdRng,
    aliases: usize,
    names: usize,
    tables: usize,
}

impl Generator<'_> {
    fn chance(&mut self, of: u32, out_of: u32) -> bool {
        self.random.random_ratio(of, out_of)
    }

    fn any<'v>(&mut self, values: &[&'v str]) -> &'v str {
        values.choose(self.random).copied().unwrap_or_default()
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("r{}", self.aliases)
    }

    fn query(&mut self, depth: usize) -> Query {
        match self.random.random_range(0..12) {
            0..=2 => self.select(depth),
            3..=6 => self.aggregate(depth),
            7 => self.top(depth),
            8 => self.ranked(depth),
            9 => self.over(depth),
            10 if depth > 0 => self.set_operation(depth - 1),
            _ => self.distinct(depth),
        }
    }

    /// `SELECT … FROM … WHERE …`
    fn select(&mut self, depth: usize) -> Query {
        let from = self.relation(depth);
        let filter = self.filter(&from.columns, depth);
        let types = self.types(1, 4);
        let (list, columns) = self.list(&from.columns, &types);
        Query { sql: format!("SELECT {list} FROM {}{filter}", from.sql), columns }
    }

    fn distinct(&mut self, depth: usize) -> Query {
        let from = self.relation(depth);
        let filter = self.filter(&from.columns, depth);
        let types = self.types(1, 2);
        let (list, columns) = self.list(&from.columns, &types);
        Query { sql: format!("SELECT DISTINCT {list} FROM {}{filter}", from.sql), columns }
    }

    fn aggregate(&mut self, depth: usize) -> Query {
        let from = self.relation(depth);
        let filter = self.filter(&from.columns, depth);
        let keys: Vec<Type> = self.types(0, 2);
        let groups: Vec<String> = keys.iter().map(|t| self.of_type(&from.columns, *t)).collect();
        let mut types = keys.clone();
        let mut list = groups.clone();
        for _ in 0..self.random.random_range(1..=3) {
            let (call, data_type) = self.call(&from.columns);
            list.push(call);
            types.push(data_type);
        }
        let (list, columns) = self.named(&list, &types);
        let mut sql = format!("SELECT {list} FROM {}{filter}", from.sql);
        if !groups.is_empty() {
            // By place: an expression may be a constant, which is a place itself.
            let places: Vec<String> = (1..=groups.len()).map(|place| place.to_string()).collect();
            let places = places.join(", ");
            sql += &match self.random.random_range(0..8) {
                0 => format!(" GROUP BY ROLLUP({places})"),
                _ => format!(" GROUP BY {places}"),
            };
            if self.chance(1, 4) {
                let (call, data_type) = self.call(&from.columns);
                let bound = self.constant(data_type);
                let operator = self.any(&["<", ">=", "<>", "="]);
                sql += &format!(" HAVING {call} {operator} {bound}");
            }
        }
        Query { sql, columns }
    }

    /// A call of an aggregate, and what it returns.
    fn call(&mut self, columns: &[Column]) -> (String, Type) {
        let kind = self.random.random_range(0..9);
        let data_type = match kind {
            0..=4 => Type::Int,
            5 | 6 => *TYPES[..2].choose(self.random).unwrap_or(&Type::Int),
            7 => Type::Bool,
            _ => Type::Time,
        };
        let argument = self.of_type(columns, data_type);
        let (call, data_type) = match kind {
            0 => ("count(*)".to_string(), Type::Int),
            1 => (format!("count({argument})"), Type::Int),
            2 => (format!("sum({argument})::BIGINT"), Type::Int),
            3 => (format!("count(DISTINCT {argument})"), Type::Int),
            4 => (format!("sum(DISTINCT {argument})::BIGINT"), Type::Int),
            5 | 8 => (format!("max({argument})"), data_type),
            6 => (format!("min({argument})"), data_type),
            _ => (format!("bool_or({argument})"), Type::Bool),
        };
        if !call.contains("::") && self.chance(1, 5) {
            let condition = self.condition(columns);
            return (format!("{call} FILTER (WHERE {condition})"), data_type);
        }
        (call, data_type)
    }

    /// First rows in a total order.
    fn top(&mut self, depth: usize) -> Query {
        let from = self.relation(depth);
        let filter = self.filter(&from.columns, depth);
        let types = self.types(1, 3);
        let (list, columns) = self.list(&from.columns, &types);
        let order = self.total_order(&from.columns);
        let limit = self.random.random_range(1..20);
        let offset = if self.chance(1, 3) { " OFFSET 3" } else { "" };
        Query {
            sql: format!("SELECT {list} FROM {}{filter} ORDER BY {order} LIMIT {limit}{offset}", from.sql),
            columns,
        }
    }

    /// Rows by their rank among their partition.
    fn ranked(&mut self, depth: usize) -> Query {
        let from = self.relation(depth);
        let filter = self.filter(&from.columns, depth);
        let types = self.types(1, 3);
        let (list, columns) = self.list(&from.columns, &types);
        let partition = self.partition(&from.columns);
        let (function, order) = match self.random.random_range(0..3) {
            0 => ("rank", self.column(&from.columns)),
            1 => ("dense_rank", self.column(&from.columns)),
            _ => ("row_number", self.total_order(&from.columns)),
        };
        let n = self.random.random_range(1..5);
        let ranked = self.alias();
        let names: Vec<&str> = columns.iter().map(|c| c.sql.as_str()).collect();
        let names = names.join(", ");
        let sql = format!(
            "SELECT {names} FROM (SELECT {list}, {function}() OVER ({partition}ORDER BY {order}) AS place FROM {}{filter})
             AS {ranked} WHERE place <= {n}",
            from.sql
        );
        Query { sql, columns }
    }

    /// Functions over windows.
    fn over(&mut self, depth: usize) -> Query {
        let from = self.relation(depth);
        let filter = self.filter(&from.columns, depth);
        let mut types = self.types(1, 2);
        let mut list: Vec<String> = types.iter().map(|t| self.of_type(&from.columns, *t)).collect();
        let partition = self.partition(&from.columns);
        let order = self.total_order(&from.columns);
        let argument = self.of_type(&from.columns, Type::Int);
        let frame = self.any(&[
            "",
            " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
            " ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
            " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING",
            " ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
        ]);
        let (function, frame) = match self.random.random_range(0..6) {
            0 => (format!("lag({argument})"), ""),
            1 => (format!("lead({argument}, 2)"), ""),
            2 => ("row_number()".to_string(), ""),
            3 => (format!("max({argument})"), frame),
            4 => ("count(*)".to_string(), frame),
            _ => (format!("min({argument})"), frame),
        };
        list.push(format!("{function} OVER ({partition}ORDER BY {order}{frame})"));
        types.push(Type::Int);
        let (list, columns) = self.named(&list, &types);
        Query { sql: format!("SELECT {list} FROM {}{filter}", from.sql), columns }
    }

    fn set_operation(&mut self, depth: usize) -> Query {
        let types = self.types(1, 3);
        let left = self.shaped(&types, depth);
        let right = self.shaped(&types, depth).sql;
        let operation = self.any(&["UNION ALL", "UNION", "INTERSECT", "EXCEPT", "UNION ALL"]);
        Query { sql: format!("{} {operation} {right}", left.sql), columns: left.columns }
    }

    /// A query with columns of these types.
    fn shaped(&mut self, types: &[Type], depth: usize) -> Query {
        let from = self.relation(depth);
        let filter = self.filter(&from.columns, depth);
        let (list, columns) = self.list(&from.columns, types);
        Query { sql: format!("SELECT {list} FROM {}{filter}", from.sql), columns }
    }

    fn relation(&mut self, depth: usize) -> Relation {
        match self.random.random_range(0..10) {
            0..=3 if depth > 0 && self.tables + 1 < MOST_TABLES => self.join(depth - 1),
            4..=5 if depth > 0 => self.derived(depth - 1),
            6..=7 => self.windowed(),
            _ => self.table(),
        }
    }

    fn table(&mut self) -> Relation {
        self.tables += 1;
        let table = self.any(&["t", "t", "a", "bag"]);
        let alias = self.alias();
        Relation { sql: format!("{table} AS {alias}"), columns: columns(table, &alias), joined: false }
    }

    fn windowed(&mut self) -> Relation {
        self.tables += 1;
        let table = self.any(&["t", "a"]);
        let alias = self.alias();
        let window = self.any(&[
            "TUMBLE(@, ts, INTERVAL '20' SECOND)",
            "TUMBLE(@, ts, INTERVAL '1' MINUTE, INTERVAL '-7' SECOND)",
            "HOP(@, ts, INTERVAL '10' SECOND, INTERVAL '20' SECOND)",
            "CUMULATE(@, ts, INTERVAL '20' SECOND, INTERVAL '1' MINUTE)",
            "SESSION(@ PARTITION BY k, ts, INTERVAL '8' SECOND)",
        ]);
        let mut columns = columns(table, &alias);
        for name in ["window_start", "window_end"] {
            columns.push(Column { sql: format!("{alias}.{name}"), data_type: Type::Time });
        }
        Relation { sql: format!("{} AS {alias}", window.replace('@', table)), columns, joined: false }
    }

    fn derived(&mut self, depth: usize) -> Relation {
        let query = self.query(depth);
        let alias = self.alias();
        let columns = query.columns.into_iter();
        let columns = columns.map(|c| Column { sql: format!("{alias}.{}", c.sql), ..c }).collect();
        Relation { sql: format!("({}) AS {alias}", query.sql), columns, joined: false }
    }

    /// Always on one equality at least, so that three tables stay small.
    fn join(&mut self, depth: usize) -> Relation {
        let left = self.relation(depth);
        let mut right = self.relation(depth);
        if right.joined {
            right.sql = format!("({})", right.sql);
        }
        let kind = self.any(&["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let mut on = Vec::new();
        for data_type in [Type::Int, Type::Text, Type::Time] {
            if let (Some(l), Some(r)) = (self.plain(&left.columns, data_type), self.plain(&right.columns, data_type))
                && (on.is_empty() || self.chance(1, 3))
            {
                let equals = self.any(&["=", "=", "=", "IS NOT DISTINCT FROM"]);
                on.push(format!("{l} {equals} {r}"));
            }
        }
        let mut columns = left.columns;
        columns.extend(right.columns);
        let kind = match on.is_empty() {
            true => {
                on.push("true".to_string());
                "JOIN"
            }
            false => kind,
        };
        if kind != "FULL JOIN" && self.chance(1, 3) {
            on.push(self.condition(&columns));
        }
        Relation { sql: format!("{} {kind} {} ON {}", left.sql, right.sql, on.join(" AND ")), columns, joined: true }
    }

    /// ` WHERE …`, or nothing.
    fn filter(&mut self, columns: &[Column], depth: usize) -> String {
        match self.random.random_range(0..6) {
            0 | 1 => format!(" WHERE {}", self.condition(columns)),
            2 if depth > 0 && self.tables < MOST_TABLES => format!(" WHERE {}", self.subquery(columns)),
            _ => String::new(),
        }
    }

    /// A condition on another table's rows.
    fn subquery(&mut self, columns: &[Column]) -> String {
        let other = self.table();
        let data_type = if self.chance(1, 2) { Type::Int } else { Type::Text };
        let (Some(own), Some(others)) = (self.plain(columns, data_type), self.plain(&other.columns, data_type)) else {
            return self.condition(columns);
        };
        let filter =
            if self.chance(1, 2) { format!(" WHERE {}", self.condition(&other.columns)) } else { String::new() };
        let from = other.sql;
        let not = if self.chance(1, 3) { "NOT " } else { "" };
        match self.random.random_range(0..4) {
            0 => format!("{own} {not}IN (SELECT {others} FROM {from}{filter})"),
            1 => format!("{not}EXISTS (SELECT 1 FROM {from} WHERE {others} = {own})"),
            2 => format!("{own} >= (SELECT max({others}) FROM {from}{filter})"),
            _ => format!("{own} <= (SELECT min({others}) FROM {from} WHERE {others} = {own})"),
        }
    }

    /// A condition on one row.
    fn condition(&mut self, columns: &[Column]) -> String {
        let data_type = *TYPES.choose(self.random).unwrap_or(&Type::Int);
        let left = self.of_type(columns, data_type);
        match self.random.random_range(0..7) {
            0 => format!("{left} IS NULL"),
            1 => format!("{left} IS NOT NULL"),
            2 => format!("({} OR {})", self.condition(columns), self.condition(columns)),
            3 if data_type == Type::Text => format!("{left} LIKE '%a%'"),
            4 if data_type == Type::Int => format!("{left} BETWEEN 0 AND {}", self.random.random_range(1..9)),
            5 => {
                let right = self.of_type(columns, data_type);
                format!("{left} <> {right}")
            }
            _ => {
                let operator = self.any(&["=", "<", "<=", ">", ">=", "<>", "IS DISTINCT FROM"]);
                format!("{left} {operator} {}", self.constant(data_type))
            }
        }
    }

    fn constant(&mut self, data_type: Type) -> String {
        match data_type {
            Type::Int => self.random.random_range(-2..10).to_string(),
            Type::Text => self.any(&["'a'", "'b'", "'dd'", "''"]).to_string(),
            Type::Bool => self.any(&["true", "false"]).to_string(),
            Type::Time => format!("TIMESTAMP '1970-01-01 00:0{}:30'", self.random.random_range(0..4)),
        }
    }

    /// A column of the type, if there is one.
    fn plain(&mut self, columns: &[Column], data_type: Type) -> Option<String> {
        let fitting: Vec<&Column> = columns.iter().filter(|c| c.data_type == data_type).collect();
        fitting.choose(self.random).map(|c| c.sql.clone())
    }

    fn column(&mut self, columns: &[Column]) -> String {
        columns.choose(self.random).map(|c| c.sql.clone()).unwrap_or_default()
    }

    /// An expression of the type.
    fn of_type(&mut self, columns: &[Column], data_type: Type) -> String {
        let Some(column) = self.plain(columns, data_type) else { return self.made(columns, data_type) };
        match (self.random.random_range(0..8), data_type) {
            (0, Type::Int) => format!("{column} * 2 - 1"),
            (1, Type::Int) => format!("coalesce({column}, 0)"),
            (2, Type::Int) => format!("abs({column})"),
            (3, Type::Int) => {
                let other = self.column(columns);
                format!("CASE WHEN {other} IS NULL THEN {column} ELSE -{column} END")
            }
            (0, Type::Text) => format!("upper({column})"),
            (1, Type::Text) => format!("{column} || 'x'"),
            (2, Type::Text) => format!("nullif({column}, 'a')"),
            (0, Type::Bool) => format!("NOT {column}"),
            (0, Type::Time) => format!("{column} + INTERVAL '3' SECOND"),
            (1, Type::Time) => format!("date_trunc('minute', {column})"),
            _ => column,
        }
    }

    /// An expression of the type out of columns of others.
    fn made(&mut self, columns: &[Column], data_type: Type) -> String {
        let column = self.column(columns);
        match data_type {
            Type::Int => format!("CASE WHEN {column} IS NULL THEN 1 ELSE 3 END"),
            Type::Text => format!("CASE WHEN {column} IS NULL THEN 'a' ELSE 'b' END"),
            Type::Bool => format!("({column} IS NULL)"),
            Type::Time => format!("CASE WHEN {column} IS NOT NULL THEN TIMESTAMP '1970-01-01 00:01:00' END"),
        }
    }

    fn types(&mut self, least: usize, most: usize) -> Vec<Type> {
        let length = self.random.random_range(least..=most);
        // Numbers twice as often.
        let pool = [Type::Int, Type::Int, Type::Text, Type::Text, Type::Bool, Type::Time];
        (0..length).map(|_| pool.choose(self.random).copied().unwrap_or(Type::Int)).collect()
    }

    /// A select list with columns of these types.
    fn list(&mut self, columns: &[Column], types: &[Type]) -> (String, Vec<Column>) {
        let list: Vec<String> = types.iter().map(|t| self.of_type(columns, *t)).collect();
        self.named(&list, types)
    }

    /// Expressions and their types as a select list, with names that no other has: DataFusion mixes up those of different
    /// tables.
    fn named(&mut self, list: &[String], types: &[Type]) -> (String, Vec<Column>) {
        let mut columns = Vec::with_capacity(list.len());
        for data_type in types {
            self.names += 1;
            columns.push(Column { sql: format!("c{}", self.names), data_type: *data_type });
        }
        let list: Vec<String> = list.iter().zip(&columns).map(|(e, c)| format!("{e} AS {}", c.sql)).collect();
        (list.join(", "), columns)
    }

    fn partition(&mut self, columns: &[Column]) -> String {
        match self.chance(2, 3) {
            true => format!("PARTITION BY {} ", self.column(columns)),
            false => String::new(),
        }
    }

    /// By all columns, in any order.
    fn total_order(&mut self, columns: &[Column]) -> String {
        let first = self.random.random_range(0..columns.len());
        let order = (0..columns.len()).map(|i| {
            let direction = self.any(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
            format!("{}{direction}", columns[(first + i) % columns.len()].sql)
        });
        order.collect::<Vec<_>>().join(", ")
    }
}

/// The table's columns that queries use; no fractions, whose sums depend on the order.
fn columns(table: &str, alias: &str) -> Vec<Column> {
    let columns: &[(&str, Type)] = match table {
        "t" => &[("id", Type::Int), ("k", Type::Text), ("v", Type::Int), ("b", Type::Bool), ("ts", Type::Time)],
        "a" => &[("k", Type::Text), ("v", Type::Int), ("ts", Type::Time)],
        _ => &[("k", Type::Text), ("v", Type::Int)],
    };
    columns.iter().map(|(name, data_type)| Column { sql: format!("{alias}.{name}"), data_type: *data_type }).collect()
}
