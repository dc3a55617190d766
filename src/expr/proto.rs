//! Physical expressions to bytes and back, functions by name.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion_proto::physical_plan::DefaultPhysicalExtensionCodec;
use datafusion_proto::physical_plan::from_proto::parse_physical_expr;
use datafusion_proto::physical_plan::to_proto::serialize_physical_expr;
use datafusion_proto::protobuf::PhysicalExprNode;
use prost::Message;

use super::functions::registry;
use crate::common::{Error, Result};

/// # Errors
/// `NotSupported` for an expression that has no stored form, such as a subquery.
pub fn encode(expr: &Arc<dyn PhysicalExpr>) -> Result<Vec<u8>> {
    let node = serialize_physical_expr(expr, &DefaultPhysicalExtensionCodec {})
        .map_err(|e| Error::not_supported(format!("the expression {expr} cannot be stored: {e}")))?;
    Ok(node.encode_to_vec())
}

/// Reads what [`encode`] wrote for an expression over `input`.
///
/// # Errors
/// `DataCorrupted` when the bytes are not an expression, or name a function that this release does not have.
pub fn decode(bytes: &[u8], input: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    let corrupted = |e: &dyn std::fmt::Display| Error::corrupted(format!("a stored expression: {e}"));
    let node = PhysicalExprNode::decode(bytes).map_err(|e| corrupted(&e))?;
    let expr = parse_physical_expr(&node, registry().context(), input, &DefaultPhysicalExtensionCodec {});
    expr.and_then(|expr| marked(expr, input)).map_err(|e| corrupted(&e))
}

/// What functions return, worked out anew: the stored form has its type but not its mark (`types::pg_type`).
fn marked(expr: Arc<dyn PhysicalExpr>, input: &Schema) -> datafusion::error::Result<Arc<dyn PhysicalExpr>> {
    let expr = expr.transform_up(|expr| {
        let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() else { return Ok(Transformed::no(expr)) };
        let (fun, options) = (Arc::new(call.fun().clone()), Arc::new(call.config_options().clone()));
        let call = ScalarFunctionExpr::try_new(fun, call.args().to_vec(), input, options)?;
        Ok(Transformed::yes(Arc::new(call)))
    });
    expr.data()
}

#[cfg(test)]
mod tests {
    use arrow::array::RecordBatch;

    use super::*;
    use crate::expr::eval::tests::physical;
    use crate::types::pg_type::PgType;
    use crate::types::pretty;

    fn batch() -> RecordBatch {
        let text = "a:bigint b:int s:varchar x:double t:timestamp z:timestamptz d:date n:decimal f:boolean
            + 1 2 hello 1.5 2024-01-01T00:00:07 2024-01-01T00:00:07Z 2024-01-01 1.25 true
            + . . . . . . . . .
            + -5 7 Wo 0 1969-12-31T23:59:59 1969-12-31T23:59:59Z 1969-12-31 -3 false";
        pretty::chunk(text).unwrap().into_parts().0
    }

    #[test]
    fn every_kind_of_expression_comes_back_the_same() {
        let batch = batch();
        let cases = [
            "a",
            "a + 1",
            "-a",
            "a * b - 3",
            "a % 2",
            "x / 2",
            "a = 1 AND NOT f",
            "a > 1 OR f",
            "a IS NULL",
            "s IS NOT NULL",
            "f IS NOT TRUE",
            "a IS DISTINCT FROM b",
            "s LIKE 'h%'",
            "s NOT ILIKE '%O'",
            "a IN (1, 2, 3)",
            "s NOT IN ('x', 'Wo')",
            "a BETWEEN 0 AND 5",
            "CASE WHEN a > 0 THEN 'p' ELSE 'n' END",
            "CASE a WHEN 1 THEN b END",
            "CAST(a AS VARCHAR)",
            "TRY_CAST(s AS BIGINT)",
            "CAST(n AS DOUBLE)",
            "CAST(t AS DATE)",
            "upper(s) || '!'",
            "length(s)",
            "coalesce(a, b, 0)",
            "nullif(a, 1)",
            "round(x)",
            "substr(s, 2)",
            "regexp_like(s, 'l+')",
            "md5(s)",
            "date_trunc('minute', t)",
            "t + INTERVAL '1 day'",
            "date_part('year', t)",
            "n + 1",
            "d + INTERVAL '1 month'",
            "make_array(a, b)",
            "make_array(a, b)[1]",
            "named_struct('k', a)",
            "named_struct('k', a)['k']",
            "s ~ 'h.*'",
            "concat(s, a)",
            "greatest(a, b)",
            "tumble_start(t, INTERVAL '10' SECOND)",
            "tumble_start(z, INTERVAL '1' DAY, INTERVAL '1' HOUR)",
            "NULL",
            "1",
            "1.5",
            "'x'",
            "TRUE",
            "DATE '2024-02-03'",
            "TIMESTAMP '2024-02-03 04:05:06'",
            "INTERVAL '1 month 2 days'",
            "CAST(1.5 AS DECIMAL(10, 2))",
            "X'00ff'",
            "CAST(1 AS TINYINT UNSIGNED)",
            "CAST(1 AS REAL)",
            "a & 3",
            "b << 2",
        ];
        for sql in cases {
            let expr = physical(sql, &batch.schema());
            let bytes = encode(&expr).unwrap_or_else(|e| panic!("{sql}: {e}"));
            let back = decode(&bytes, &batch.schema()).unwrap_or_else(|e| panic!("{sql}: {e}"));
            let value = |e: &Arc<dyn PhysicalExpr>| e.evaluate(&batch).unwrap().into_array(batch.num_rows()).unwrap();
            assert_eq!(&value(&expr), &value(&back), "{sql}");
            assert_eq!(expr.to_string(), back.to_string(), "{sql}");
        }
    }

    #[test]
    fn a_mark_that_a_function_gives_comes_back() {
        let batch = batch();
        for sql in ["to_jsonb(a)", "jsonb_build_array(to_jsonb(s), a)"] {
            let expr = physical(sql, &batch.schema());
            let back = decode(&encode(&expr).unwrap(), &batch.schema()).unwrap();
            let mark = |e: &Arc<dyn PhysicalExpr>| PgType::of(&e.return_field(&batch.schema()).unwrap());
            assert_eq!((mark(&expr), mark(&back)), (Some(PgType::Jsonb), Some(PgType::Jsonb)), "{sql}");
            let value = |e: &Arc<dyn PhysicalExpr>| e.evaluate(&batch).unwrap().into_array(batch.num_rows()).unwrap();
            assert_eq!(&value(&expr), &value(&back), "{sql}");
        }
    }

    #[test]
    fn bytes_that_are_no_expression_are_an_error() {
        for bytes in [&b""[..], &b"\xff\xff\xff"[..], &b"hello"[..]] {
            let error = decode(bytes, &Schema::empty()).unwrap_err();
            assert_eq!(error.kind(), crate::common::ErrorKind::DataCorrupted);
        }
    }
}
