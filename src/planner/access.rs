//! Which relations a query names, and whether a role may read them.
//!
//! A view is checked as itself: what it reads was checked when it was made.

use std::ops::ControlFlow;

use crate::catalog::def::PUBLIC;
use crate::catalog::{Privilege, Snapshot};
use crate::common::Result;
use crate::sql::{ast, name};

/// `query` is rewritten: the inputs of window functions stand in FROM. A name that a WITH defines is asked for too when
/// a relation has it.
///
/// # Errors
/// `InsufficientPrivilege` for the first that `role` may not read.
pub fn check_reads(query: &ast::Query, snapshot: &Snapshot, role: &str) -> Result<()> {
    if snapshot.is_superuser(role) {
        return Ok(());
    }
    let checked = ast::visit_relations(query, |relation| {
        let parts: Vec<_> = relation.0.iter().filter_map(|part| part.as_ident()).map(name::fold).collect();
        let object = match parts.as_slice() {
            [relation] => snapshot.get(relation),
            [.., schema, relation] if schema == PUBLIC => snapshot.get(relation),
            _ => None,
        };
        let sequence = match parts.as_slice() {
            [name] => snapshot.sequence(name),
            [.., schema, name] if schema == PUBLIC => snapshot.sequence(name),
            _ => None,
        };
        if let (None, Some(sequence)) = (object, sequence)
            && let Err(e) = snapshot.check_sequence(role, &[Privilege::Select], sequence)
        {
            return ControlFlow::Break(e);
        }
        match object.map_or(Ok(()), |object| snapshot.check(role, Privilege::Select, object)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => ControlFlow::Break(e),
        }
    });
    match checked {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(e) => Err(e),
    }
}
