//! The columns of what stands in FROM, as far as the text of a query and the catalog tell.
//!
//! For rewrites that must name every column. What joins, calls of functions and expressions without a name give is not
//! known here.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::ast::{Expr, ObjectName, ObjectNamePart, Query, SelectItem, SetExpr, TableFactor, Visit, Visitor};
use super::name;

/// The columns of a relation of the catalog.
pub type ColumnsOf<'a> = &'a dyn Fn(&ObjectName) -> Option<Vec<String>>;

/// Finds them.
pub(super) struct Scope<'a> {
    columns_of: ColumnsOf<'a>,
    ctes: BTreeMap<String, (Query, Vec<String>)>,
    /// Those whose query is being read: in it, their name is another's.
    open: RefCell<Vec<String>>,
}

impl<'a> Scope<'a> {
    pub fn new(query: &Query, columns_of: ColumnsOf<'a>) -> Self {
        let mut names = Names::default();
        let _ = Visit::visit(query, &mut names);
        Self { columns_of, ctes: names.ctes, open: RefCell::default() }
    }

    pub fn of_table(&self, table: &ObjectName) -> Option<Vec<String>> {
        let [ObjectNamePart::Identifier(ident)] = table.0.as_slice() else { return (self.columns_of)(table) };
        let name = name::fold(ident);
        match self.ctes.get(&name) {
            Some((_, columns)) if !columns.is_empty() => Some(columns.clone()),
            Some((query, _)) if !self.open.borrow().contains(&name) => {
                self.open.borrow_mut().push(name);
                let columns = self.of_set(&query.body);
                self.open.borrow_mut().pop();
                columns
            }
            _ => (self.columns_of)(table),
        }
    }

    /// `None` where they cannot be told.
    pub fn of_set(&self, set: &SetExpr) -> Option<Vec<String>> {
        let select = match set {
            SetExpr::Select(select) => select,
            SetExpr::Query(query) => return self.of_set(&query.body),
            SetExpr::SetOperation { left, .. } => return self.of_set(left),
            _ => return None,
        };
        let mut columns = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => columns.push(name::fold(alias)),
                SelectItem::UnnamedExpr(Expr::Identifier(column)) => columns.push(name::fold(column)),
                SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => columns.push(name::fold(parts.last()?)),
                SelectItem::Wildcard(_) => match select.from.as_slice() {
                    [from] if from.joins.is_empty() => columns.extend(self.of_factor(&from.relation)?),
                    _ => return None,
                },
                _ => return None,
            }
        }
        Some(columns)
    }

    pub fn of_factor(&self, factor: &TableFactor) -> Option<Vec<String>> {
        match factor {
            TableFactor::Table { name, args: None, .. } => self.of_table(name),
            TableFactor::Derived { subquery, .. } => self.of_set(&subquery.body),
            _ => None,
        }
    }
}

/// What the names of WITH stand for.
#[derive(Default)]
struct Names {
    ctes: BTreeMap<String, (Query, Vec<String>)>,
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let columns = cte.alias.columns.iter().map(|c| name::fold(&c.name)).collect();
            self.ctes.insert(name::fold(&cte.alias.name), (cte.query.as_ref().clone(), columns));
        }
        ControlFlow::Continue(())
    }
}
