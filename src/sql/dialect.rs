//! sqlparser's PostgreSQL dialect, mended where it parses otherwise than PostgreSQL.

use std::any::TypeId;

use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

use super::ast::Expr;

pub(super) static DIALECT: WeirDialect = WeirDialect { postgres: PostgreSqlDialect {}, nests_joins: false };

/// The same, for `a JOIN b JOIN c ON … ON …`: a join's right side is all that is joined before its ON. It reads a join
/// without ON, as NATURAL JOIN, otherwise than PostgreSQL when more joins follow: for what the first cannot read alone.
pub(super) static NESTING: WeirDialect = WeirDialect { postgres: PostgreSqlDialect {}, nests_joins: true };

/// What it does not define itself is as in the PostgreSQL dialect.
#[derive(Debug)]
pub(super) struct WeirDialect {
    postgres: PostgreSqlDialect,
    nests_joins: bool,
}

/// Answers of the PostgreSQL dialect: every method that it overrides.
macro_rules! as_postgres {
    ($($name:ident),* $(,)?) => {
        $(fn $name(&self) -> bool {
            self.postgres.$name()
        })*
    };
}

impl Dialect for WeirDialect {
    /// The parser asks now and then which dialect it has.
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn supports_left_associative_joins_without_parens(&self) -> bool {
        !self.nests_joins
    }

    /// `IS [NOT] DISTINCT FROM` binds its right side as tightly as IS does; sqlparser gives it all of `b AND c`.
    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, _precedence: u8) -> Option<Result<Expr, ParserError>> {
        let same = match () {
            () if parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]) => false,
            () if parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]) => true,
            () => return None,
        };
        let left = Box::new(expr.clone());
        let right = parser.parse_subexpr(self.prec_value(Precedence::Is)).map(Box::new);
        Some(right.map(|right| match same {
            true => Expr::IsNotDistinctFrom(left, right),
            false => Expr::IsDistinctFrom(left, right),
        }))
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        self.postgres.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        self.postgres.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        self.postgres.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.postgres.is_identifier_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        self.postgres.is_reserved_for_identifier(keyword)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        self.postgres.is_custom_operator_part(ch)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        self.postgres.get_next_precedence(parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        self.postgres.prec_value(precedence)
    }

    as_postgres!(
        supports_unicode_string_literal,
        supports_filter_during_aggregation,
        supports_group_by_expr,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_create_index_with_clause,
        supports_explain_with_utility_options,
        supports_listen_notify,
        supports_factorial_operator,
        supports_bitwise_shift_operators,
        supports_comment_on,
        supports_load_extension,
        supports_named_fn_args_with_colon_operator,
        supports_named_fn_args_with_expr_name,
        supports_empty_projections,
        supports_nested_comments,
        supports_string_escape_constant,
        supports_numeric_literal_underscores,
        supports_array_typedef_with_brackets,
        supports_geometric_types,
        supports_set_names,
        supports_alter_column_type_using,
        supports_notnull_operator,
        supports_interval_options,
        supports_insert_table_alias,
        supports_create_table_like_parenthesized,
        supports_select_wildcard_with_alias,
        supports_comma_separated_trim,
        supports_xml_expressions,
        supports_comment_optimizer_hint,
    );
}

#[cfg(test)]
mod tests {
    use crate::sql::ast::Expr;
    use crate::sql::parse_expr;

    /// With parentheses around every operator's operands.
    fn shown(expr: &Expr) -> String {
        match expr {
            Expr::IsDistinctFrom(l, r) => format!("({} <> {})", shown(l), shown(r)),
            Expr::IsNotDistinctFrom(l, r) => format!("({} = {})", shown(l), shown(r)),
            Expr::BinaryOp { left, op, right } => format!("({} {op} {})", shown(left), shown(right)),
            Expr::UnaryOp { op, expr } => format!("({op} {})", shown(expr)),
            Expr::Nested(expr) => shown(expr),
            other => other.to_string(),
        }
    }

    #[test]
    fn what_is_distinct_ends_where_postgres_ends_it() {
        for (sql, expected) in [
            ("a IS NOT DISTINCT FROM b AND c IS NULL", "((a = b) AND c IS NULL)"),
            ("x AND a IS DISTINCT FROM b + 1 OR c", "((x AND (a <> (b + 1))) OR c)"),
            ("NOT a IS DISTINCT FROM b AND c", "((NOT (a <> b)) AND c)"),
            ("a IS DISTINCT FROM (b is distinct from c AND d) AND e", "((a <> ((b <> c) AND d)) AND e)"),
            ("a IS NOT DISTINCT FROM b IS DISTINCT FROM c", "((a = b) <> c)"),
        ] {
            assert_eq!(shown(&parse_expr(sql).unwrap()), expected, "{sql}");
        }
        let error = parse_expr("a IS DISTINCT FROM AND b").unwrap_err();
        assert_eq!(error.position(), Some(24), "{error:?}");
    }
}
