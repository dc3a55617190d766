//! The expressions of one level of a query, without those of the subqueries in it.

use std::ops::ControlFlow;

use super::ast::{Expr, Query, VisitMut, VisitorMut};

/// Calls `f` for each expression in `node`, inner ones first, but for what is in a subquery.
pub fn each_expr(node: &mut impl VisitMut, f: impl FnMut(&mut Expr)) {
    struct Level<F> {
        depth: usize,
        f: F,
    }

    impl<F: FnMut(&mut Expr)> VisitorMut for Level<F> {
        type Break = ();

        fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
            self.depth += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if self.depth == 0 {
                (self.f)(expr);
            }
            ControlFlow::Continue(())
        }
    }

    let _ = node.visit(&mut Level { depth: 0, f });
}
