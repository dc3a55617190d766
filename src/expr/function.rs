//! A scalar function as plain data: names, types, and one `fn` over whole columns.
//!
//! ```text
//! Function { name, signature, returns, eval } --udf--> ScalarUDF --> the registry
//! ```
//!
//! What a function is about is not known here.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::common::{Error, Result};
use crate::types::pg_type::PgType;

/// The arguments' columns, all as long as the result.
pub type Eval = fn(&[ArrayRef]) -> Result<ArrayRef>;

/// A function whose result depends on its arguments alone.
#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    pub aliases: Vec<String>,
    pub signature: Signature,
    /// The types that arguments are cast to, for a signature that is the function's own.
    pub coerce: fn(&[DataType]) -> Result<Vec<DataType>>,
    pub returns: Returns,
    pub eval: Eval,
}

#[derive(Debug, Clone)]
pub enum Returns {
    Type(DataType),
    /// A list of them.
    List(DataType),
    /// Text that is a value of a type of PostgreSQL's.
    Marked(PgType),
    /// The type of the first argument, with the mark that the arguments tell.
    MarkedBy(fn(&ReturnFieldArgs) -> Option<PgType>),
    /// By the arguments' types.
    Of(fn(&[DataType]) -> Result<DataType>),
}

pub fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element, true)))
}

impl Function {
    /// A function of exactly these types.
    pub fn exact(name: &'static str, args: &[DataType], returns: DataType, eval: Eval) -> Self {
        Self::new(name, Signature::exact(args.to_vec(), Volatility::Immutable), Returns::Type(returns), eval)
    }

    /// A function that can be called with any of these lists of types.
    pub fn one_of(name: &'static str, forms: &[&[DataType]], returns: Returns, eval: Eval) -> Self {
        let forms = forms.iter().map(|f| TypeSignature::Exact(f.to_vec())).collect();
        Self::new(name, Signature::one_of(forms, Volatility::Immutable), returns, eval)
    }

    /// A function that says itself what its arguments are cast to.
    pub fn coercing(
        name: &'static str,
        coerce: fn(&[DataType]) -> Result<Vec<DataType>>,
        returns: Returns,
        eval: Eval,
    ) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { coerce, ..Self::new(name, signature, returns, eval) }
    }

    pub fn new(name: &'static str, signature: Signature, returns: Returns, eval: Eval) -> Self {
        Self { name, aliases: Vec::new(), signature, coerce: |types| Ok(types.to_vec()), returns, eval }
    }

    pub fn alias(mut self, alias: &str) -> Self {
        self.aliases.push(alias.into());
        self
    }

    pub fn udf(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(self))
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok((self.coerce)(types)?)
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(match &self.returns {
            Returns::Type(t) => t.clone(),
            Returns::List(t) => list_of(t.clone()),
            Returns::Marked(_) => DataType::Utf8,
            Returns::MarkedBy(_) => types.first().cloned().unwrap_or(DataType::Utf8),
            Returns::Of(of) => of(types)?,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let data_type = self.return_type(&types)?;
        let mark = match &self.returns {
            Returns::Marked(pg) => Some(*pg),
            Returns::MarkedBy(tell) => tell(&args),
            _ => None,
        };
        let field = Field::new(self.name, data_type, true);
        Ok(Arc::new(mark.map_or(field.clone(), |mark| mark.mark(field))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let columns = args.args.into_iter().map(|a| a.into_array(rows)).collect::<DfResult<Vec<_>>>()?;
        let result = (self.eval)(&columns)?;
        let result = match args.return_field.data_type() {
            wanted if wanted == result.data_type() => result,
            wanted => arrow::compute::cast(&result, wanted)?,
        };
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
            false => ColumnarValue::Array(result),
        })
    }
}

/// Argument `index`.
///
/// # Errors
/// `Internal`: signatures let no call through without it.
pub fn arg(args: &[ArrayRef], index: usize) -> Result<&ArrayRef> {
    args.get(index).ok_or_else(|| Error::internal(format!("a function without argument {index}")))
}

/// Whether row `row` is null in any argument.
pub fn any_null(args: &[ArrayRef], row: usize) -> bool {
    args.iter().any(|a| a.is_null(row) || a.data_type().is_null())
}
