//! What filters say of single columns: `=`, IN, ranges and IS NULL with constants of the column's own type. Anything
//! else says nothing. Knows no keys.

use arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, Operator};
use datafusion::scalar::ScalarValue;

/// What is known of the columns, all of it to hold at once.
#[derive(Debug, Clone, Default)]
pub struct Constraints(Vec<(usize, Constraint)>);

#[derive(Debug, Clone, PartialEq)]
enum Constraint {
    /// One of these values; a null stands for IS NULL.
    OneOf(Vec<ScalarValue>),
    /// Above or at the value.
    From(Edge),
    /// Below or at the value.
    To(Edge),
}

/// An end of a range.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    pub value: ScalarValue,
    pub inclusive: bool,
}

impl Constraints {
    /// Of filters over columns of `schema`, by name.
    pub fn of<'f>(filters: impl IntoIterator<Item = &'f Expr>, schema: &Schema) -> Self {
        let mut found = Self::default();
        for filter in filters {
            found.add(filter, schema);
        }
        found
    }

    /// `column` is `value`, which has the column's type.
    pub fn equal(&mut self, column: usize, value: ScalarValue) {
        self.0.push((column, Constraint::OneOf(vec![value])));
    }

    /// The same of columns with other numbers.
    pub fn renumbered(mut self, number: impl Fn(usize) -> usize) -> Self {
        self.0.iter_mut().for_each(|(column, _)| *column = number(*column));
        self
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Columns that something is known of.
    pub fn columns(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().map(|(column, _)| *column)
    }

    /// The values that the column can have, where they are listed: the shortest list.
    pub fn values(&self, column: usize) -> Option<&[ScalarValue]> {
        let lists = self.of_column(column).filter_map(|c| match c {
            Constraint::OneOf(values) => Some(values.as_slice()),
            _ => None,
        });
        lists.min_by_key(|values| values.len())
    }

    /// Lower ends of the column's range.
    pub fn from(&self, column: usize) -> impl Iterator<Item = &Edge> {
        self.of_column(column).filter_map(|c| if let Constraint::From(edge) = c { Some(edge) } else { None })
    }

    /// Upper ends of the column's range.
    pub fn to(&self, column: usize) -> impl Iterator<Item = &Edge> {
        self.of_column(column).filter_map(|c| if let Constraint::To(edge) = c { Some(edge) } else { None })
    }

    fn of_column(&self, column: usize) -> impl Iterator<Item = &Constraint> {
        self.0.iter().filter(move |(c, _)| *c == column).map(|(_, constraint)| constraint)
    }

    fn add(&mut self, filter: &Expr, schema: &Schema) {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.add(left, schema);
                self.add(right, schema);
            }
            Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }) => self.0.extend(any(filter, schema)),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let found = match (left.as_ref(), right.as_ref()) {
                    (side, Expr::Literal(value, _)) => compared(side, *op, value, schema),
                    (Expr::Literal(value, _), side) => op.swap().and_then(|op| compared(side, op, value, schema)),
                    _ => None,
                };
                self.0.extend(found);
            }
            Expr::InList(InList { expr, list, negated: false }) => self.0.extend(listed(expr, list, schema)),
            Expr::Between(Between { expr, negated: false, low, high }) => {
                for (end, op) in [(low, Operator::GtEq), (high, Operator::LtEq)] {
                    if let Expr::Literal(value, _) = end.as_ref() {
                        self.0.extend(compared(expr, op, value, schema));
                    }
                }
            }
            Expr::IsNull(inner) => {
                if let Some((column, data_type)) = column(inner, schema)
                    && let Ok(null) = ScalarValue::try_from(data_type)
                {
                    self.equal(column, null);
                }
            }
            _ => {}
        }
    }
}

/// `a = 1 OR a = 2`, as DataFusion writes short lists.
fn any(filter: &Expr, schema: &Schema) -> Option<(usize, Constraint)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) = filter else {
        let mut one = Constraints::default();
        one.add(filter, schema);
        return match one.0.pop() {
            Some(found @ (_, Constraint::OneOf(_))) if one.0.is_empty() => Some(found),
            _ => None,
        };
    };
    match (any(left, schema)?, any(right, schema)?) {
        ((a, Constraint::OneOf(mut values)), (b, Constraint::OneOf(more))) if a == b => {
            values.extend(more);
            Some((a, Constraint::OneOf(values)))
        }
        _ => None,
    }
}

fn compared(side: &Expr, op: Operator, value: &ScalarValue, schema: &Schema) -> Option<(usize, Constraint)> {
    if value.is_null() {
        return None;
    }
    if let (Expr::Cast(Cast { expr, .. }), Operator::Eq) = (side, op) {
        let (column, data_type) = column(expr, schema)?;
        return Some((column, Constraint::OneOf(vec![whole(value, data_type)?])));
    }
    let (column, data_type) = column(side, schema)?;
    let value = exact(value, data_type)?;
    // Stored keys hold both zeros as one.
    let inclusive = data_type.is_floating() || matches!(op, Operator::GtEq | Operator::LtEq);
    let constraint = match op {
        Operator::Eq => Constraint::OneOf(vec![value]),
        Operator::Gt | Operator::GtEq => Constraint::From(Edge { value, inclusive }),
        Operator::Lt | Operator::LtEq => Constraint::To(Edge { value, inclusive }),
        _ => return None,
    };
    Some((column, constraint))
}

fn listed(expr: &Expr, list: &[Expr], schema: &Schema) -> Option<(usize, Constraint)> {
    let (column, data_type) = column(expr, schema)?;
    let mut values = Vec::with_capacity(list.len());
    for item in list {
        let Expr::Literal(value, _) = item else { return None };
        // A null in the list equals nothing.
        if !value.is_null() {
            values.push(exact(value, data_type)?);
        }
    }
    Some((column, Constraint::OneOf(values)))
}

fn column<'s>(expr: &Expr, schema: &'s Schema) -> Option<(usize, &'s DataType)> {
    let Expr::Column(column) = expr else { return None };
    let (index, field) = schema.column_with_name(&column.name)?;
    Some((index, field.data_type()))
}

/// The same value in the column's type, if that has it: between types that compare alike.
pub fn exact(value: &ScalarValue, to: &DataType) -> Option<ScalarValue> {
    let from = value.data_type();
    if from == *to {
        return Some(value.clone());
    }
    let alike = match (&from, to) {
        (DataType::Timestamp(a, Some(_)), DataType::Timestamp(b, Some(_))) => a == b,
        (a, b) => (a.is_integer() && b.is_integer()) || (a.is_string() && b.is_string()),
    };
    if !alike {
        return None;
    }
    let cast = value.cast_to(to).ok().filter(|cast| !cast.is_null())?;
    (cast.cast_to(&from).ok()? == *value).then_some(cast)
}

/// The integer that a column must hold to equal `value` when it is cast to that one's type: `id = 5.0`.
fn whole(value: &ScalarValue, to: &DataType) -> Option<ScalarValue> {
    /// Integers beyond it share their float with others.
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    let number = match value {
        ScalarValue::Float64(Some(number)) if number.abs() < LIMIT && number.fract() == 0.0 => *number as i64,
        _ => return None,
    };
    if !to.is_integer() {
        return None;
    }
    exact(&ScalarValue::Int64(Some(number)), to)
}
