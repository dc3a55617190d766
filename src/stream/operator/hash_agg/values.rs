//! The counted, ordered set of a call's values, as rows of a state table: `group key | ordering | arguments -> count`.
//!
//! DISTINCT feeds first and last appearances into the running aggregate; what cannot be kept running is computed from
//! the group's values in their order, of which min and max read only the first.
//!
//! Calls with DISTINCT of the same arguments, which differ in their filters, are *members* of one set: a value has a count
//! for each of them, and is kept as long as any counts it.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Int64Array, RecordBatch, UInt64Array,
};
use arrow::compute::{SortOptions, concat, concat_batches, filter, filter_record_batch, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::physical_plan::aggregates::group_values::new_group_values;
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use hashbrown::DefaultHashBuilder;

use crate::common::{Error, Result};
use crate::expr::aggregate::{Aggregate, Call};
use crate::state::{HotBytes, HotShare, KeyRange, StateWriter};
use crate::stream::operator::BuildContext;
use crate::stream::operator::absent::AbsentKeys;
use crate::types::{Keys, TableId, key};

/// Slices of pages that are held before they are copied.
const HELD_SLICES: usize = 128;

/// What a value takes in the open epoch beside its arguments: its key, its count, and what finds it.
const SETTLED_BYTES: usize = 96;

pub(super) struct Values {
    pub state: StateWriter,
    schema: SchemaRef,
    /// By which arguments the values are ordered, before all arguments as they are.
    order: Vec<(usize, SortOptions)>,
    /// The calls that share it.
    members: usize,
    /// Each value counts once.
    distinct: bool,
    /// Rows with a null argument do not count.
    skip_nulls: bool,
    /// The first value decides.
    first_only: bool,
    /// A value that is there stays, and only that it is there matters.
    lasting: bool,
    known: Known,
    pending: Pending,
}

/// The keys that may be in the table; `None` where that is not known.
struct Known {
    keys: Option<AbsentKeys>,
    hasher: DefaultHashBuilder,
    share: HotShare,
    limit: usize,
}

impl Known {
    /// All keys of a table that is empty now are written from here on.
    fn new(table_is_empty: bool, hot: &Arc<HotBytes>) -> Self {
        let keys = table_is_empty.then(AbsentKeys::default);
        Self { keys, hasher: DefaultHashBuilder::default(), share: hot.share(), limit: hot.limit() / 4 }
    }

    /// Which of the keys may be there; `None`: all. From now on they all may.
    fn meet(&mut self, keys: &Keys) -> Option<BooleanArray> {
        let known = self.keys.as_mut()?;
        let hashes = keys.iter().flatten().map(|key| self.hasher.hash_one(key));
        let may = hashes.map(|hash| {
            let may = known.may_have(hash);
            known.insert(hash);
            Some(may)
        });
        let may = may.collect();
        let bytes = known.bytes();
        if self.share.hold(bytes).is_some() || bytes > self.limit {
            self.share.hold(0);
            self.keys = None;
        }
        Some(may)
    }
}

/// Rows of the open epoch.
#[derive(Default)]
struct Pending {
    columns: Vec<Vec<ArrayRef>>,
    groups: Vec<usize>,
    /// A member's weights each; 0 where its filter leaves the row out.
    weights: Vec<Vec<i64>>,
}

/// Values that came to be there (+1) or ceased to be (-1).
pub(super) struct Appearances {
    pub columns: Vec<ArrayRef>,
    pub groups: Vec<usize>,
    pub weights: Int64Array,
}

impl Values {
    pub(super) fn new(
        aggregate: &Aggregate,
        call: &Call,
        append_only: bool,
        members: usize,
        table: TableId,
        context: &BuildContext<'_>,
    ) -> Result<Self> {
        let mut fields = Vec::new();
        for (i, arg) in aggregate.arguments().iter().enumerate() {
            fields.push(Field::new(format!("value{i}"), arg.data_type(&call.rows)?, true));
        }
        let args = fields.len();
        match members {
            1 => fields.push(Field::new("_count", DataType::Int64, false)),
            _ => fields.extend((0..members).map(|m| Field::new(format!("_count{m}"), DataType::Int64, false))),
        }
        let schema = Arc::new(Schema::new(fields));
        let ordering = aggregate.ordering();
        let first = aggregate.keeps_values().then(|| aggregate.decided_by_first()).flatten();
        let order = match first {
            Some(descending) => vec![(0, SortOptions { descending, nulls_first: false })],
            None => ordering.iter().enumerate().map(|(i, o)| (args - ordering.len() + i, o.options)).collect(),
        };
        let state = context.store.table(table, Arc::clone(&schema))?.writer();
        let is_empty = state.scan(&KeyRange::all(), Some(1))?.iter().all(|(keys, _)| keys.is_empty());
        Ok(Self {
            state,
            lasting: append_only && !aggregate.keeps_values(),
            known: Known::new(is_empty, context.store.hot_bytes()),
            schema,
            order,
            members,
            distinct: aggregate.is_distinct(),
            skip_nulls: first.is_some() || !aggregate.keeps_values(),
            first_only: first.is_some(),
            pending: Pending::default(),
        })
    }

    /// With what they will take once they are settled.
    pub(super) fn pending_bytes(&self) -> usize {
        let columns = self.pending.columns.iter().flatten().map(|c| c.get_array_memory_size()).sum::<usize>();
        // As rows they have their arguments in the key too, and what they are ordered by once more.
        let copies = 3 + usize::from(!self.order.is_empty());
        copies * columns + self.pending.groups.len() * (SETTLED_BYTES + self.members * size_of::<i64>())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.pending_bytes() + self.state.open_bytes()
    }

    /// Takes rows of the open epoch: row *i* belongs to group `groups[i]`, and counts for the members that it `passes`.
    pub(super) fn add(
        &mut self,
        args: &[ArrayRef],
        passes: &[Option<&BooleanArray>],
        weights: Option<&Int64Array>,
        groups: &[usize],
    ) -> Result<()> {
        let passed =
            |filter: &Option<&BooleanArray>, row: usize| filter.is_none_or(|f| f.is_valid(row) && f.value(row));
        let counts = |row: usize| {
            passes.iter().any(|filter| passed(filter, row)) && !(self.skip_nulls && args.iter().any(|a| a.is_null(row)))
        };
        let mask: BooleanArray = (0..groups.len()).map(|row| Some(counts(row))).collect();
        self.pending.columns.resize_with(args.len(), Vec::new);
        for (pending, arg) in self.pending.columns.iter_mut().zip(args) {
            pending.push(filter(arg, &mask)?);
        }
        let counting = || (0..groups.len()).filter(|row| mask.value(*row));
        self.pending.groups.extend(counting().map(|row| groups[row]));
        self.pending.weights.resize_with(self.members, Vec::new);
        for (pending, filter) in self.pending.weights.iter_mut().zip(passes) {
            let weight = |row| weights.map_or(1, |w| w.value(row)) * i64::from(passed(filter, row));
            pending.extend(counting().map(weight));
        }
        Ok(())
    }

    /// Brings the set up to date with the open epoch; `group_keys` are those of the touched groups. What appeared is by
    /// member.
    pub(super) fn settle(&mut self, group_keys: &Keys) -> Result<Vec<Appearances>> {
        let Pending { columns, groups, weights } = std::mem::take(&mut self.pending);
        let columns: Vec<ArrayRef> = columns
            .iter()
            .map(|parts| Ok(concat(&parts.iter().map(|p| p.as_ref()).collect::<Vec<_>>())?))
            .collect::<Result<_>>()?;
        if groups.is_empty() {
            let none =
                || Appearances { columns: columns.clone(), groups: Vec::new(), weights: Vec::<i64>::new().into() };
            return Ok((0..self.members).map(|_| none()).collect());
        }
        let keys = self.keys(group_keys, &groups, &columns)?;
        let Netted { first, changes } = net(&keys, &weights)?;
        let first_rows = UInt64Array::from(first.clone());
        let keys = take(&keys, &first_rows, None)?.as_binary::<i32>().clone();
        let mut rows: Vec<ArrayRef> = columns.iter().map(|c| Ok(take(c, &first_rows, None)?)).collect::<Result<_>>()?;
        let mut appearances = Vec::with_capacity(self.members);
        let (mut new, mut there) = (vec![false; first.len()], vec![false; first.len()]);
        for (before, change) in self.counts(&keys)?.iter().zip(&changes) {
            let mut counts = Vec::with_capacity(first.len());
            let mut appeared: Vec<u64> = Vec::new();
            let mut signs = Vec::new();
            for (entry, (before, change)) in before.iter().zip(change).enumerate() {
                let after = before.checked_add(*change).filter(|c| *c >= 0);
                let after = after.ok_or_else(|| Error::internal("a value was retracted that had not been inserted"))?;
                counts.push(after);
                there[entry] |= after != 0;
                if (*before == 0) != (after == 0) {
                    new[entry] = true;
                    appeared.push(first[entry]);
                    signs.push(if after == 0 { -1 } else { 1 });
                }
            }
            rows.push(Arc::new(Int64Array::from(counts)));
            let groups = appeared.iter().filter_map(|row| groups.get(*row as usize).copied()).collect();
            let appeared = UInt64Array::from(appeared);
            let columns = columns.iter().map(|c| Ok(take(c, &appeared, None)?)).collect::<Result<_>>()?;
            appearances.push(Appearances { columns, groups, weights: Int64Array::from(signs) });
        }
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), rows)?;
        match self.lasting {
            true => {
                let new = BooleanArray::from(new);
                let keys = filter(&keys, &new)?.as_binary::<i32>().clone();
                self.state.write(keys, filter_record_batch(&rows, &new)?, None)?;
            }
            false => self.state.write(keys, rows, Some(BooleanArray::from(there)))?,
        }
        Ok(appearances)
    }

    /// How often each value is there, by member.
    fn counts(&mut self, keys: &Keys) -> Result<Vec<Vec<i64>>> {
        let may = self.known.meet(keys);
        let asked = match &may {
            Some(may) => &filter(keys, may)?.as_binary::<i32>().clone(),
            None => keys,
        };
        let stored = self.state.get(asked)?;
        let columns = stored.rows.columns();
        let first = columns.len().saturating_sub(self.members);
        let of_member = |counts: &ArrayRef| {
            let counts = counts.as_primitive_opt::<Int64Type>().ok_or_else(no_counts)?;
            let mut found = stored.index.iter().map(|at| at.map_or(0, |at| counts.value(at as usize)));
            Ok(match &may {
                Some(may) => may.values().iter().map(|may| if may { found.next().unwrap_or(0) } else { 0 }).collect(),
                None => found.collect(),
            })
        };
        columns[first..].iter().map(of_member).collect()
    }

    /// The results of the groups of these keys, from all their values.
    pub(super) fn results(&self, aggregate: &Aggregate, group_keys: &Keys) -> Result<ArrayRef> {
        let (mut parts, mut slices): (Vec<RecordBatch>, Vec<RecordBatch>) = (Vec::new(), Vec::new());
        let mut groups = Vec::new();
        // Neighbours share pages, which need not be in memory.
        let mut order: Vec<usize> = (0..group_keys.len()).collect();
        order.sort_unstable_by_key(|group| group_keys.value(*group));
        for group in order {
            let limit = self.first_only.then_some(1);
            for (_, rows) in self.state.scan(&KeyRange::prefix(group_keys.value(group)), limit)? {
                let rows = self.expand(rows, limit)?;
                groups.resize(groups.len() + rows.num_rows(), group);
                slices.push(rows);
            }
            // A slice holds its whole page.
            if slices.len() > HELD_SLICES {
                parts.push(concat_batches(&self.schema, &slices)?);
                slices.clear();
            }
        }
        parts.append(&mut slices);
        let args = (0..self.schema.fields().len() - self.members).map(|column| match parts.is_empty() {
            true => Ok(arrow::array::new_empty_array(self.schema.field(column).data_type())),
            false => Ok(concat(&parts.iter().map(|p| p.column(column).as_ref()).collect::<Vec<_>>())?),
        });
        aggregate.of_values(&args.collect::<Result<Vec<_>>>()?, &groups, group_keys.len())
    }

    /// Forgets all values of the groups of these keys.
    pub(super) fn remove(&mut self, group_keys: &Keys) -> Result<()> {
        for group in group_keys.iter().flatten() {
            for (keys, rows) in self.state.scan(&KeyRange::prefix(group), None)? {
                let puts = BooleanArray::from(vec![false; keys.len()]);
                self.state.write(keys, rows, Some(puts))?;
            }
        }
        Ok(())
    }

    /// Each row as often as it counts.
    fn expand(&self, rows: RecordBatch, limit: Option<usize>) -> Result<RecordBatch> {
        if let Some(limit) = limit {
            return Ok(rows.slice(0, limit.min(rows.num_rows())));
        }
        let counts = rows.columns().last().and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or_else(no_counts)?;
        if self.distinct || counts.values().iter().all(|c| *c == 1) {
            return Ok(rows);
        }
        let mut indices = Vec::with_capacity(rows.num_rows());
        for (row, count) in counts.values().iter().enumerate() {
            indices.extend(std::iter::repeat_n(row as u64, usize::try_from(*count).unwrap_or(0)));
        }
        Ok(take_record_batch(&rows, &UInt64Array::from(indices))?)
    }

    fn keys(&self, group_keys: &Keys, groups: &[usize], columns: &[ArrayRef]) -> Result<BinaryArray> {
        let encode = |column: &ArrayRef| key::encode(std::slice::from_ref(column), groups.len());
        let mut ordered = Vec::with_capacity(self.order.len());
        for (column, options) in &self.order {
            let column = columns.get(*column).ok_or_else(|| Error::internal("no such ordering column"))?;
            ordered.push((encode(column)?, *options));
        }
        let plain = key::encode(columns, groups.len())?;
        let mut builder = BinaryBuilder::with_capacity(groups.len(), groups.len() * 48);
        let mut key = Vec::with_capacity(64);
        for (row, group) in groups.iter().enumerate() {
            key.clear();
            key.extend_from_slice(group_keys.value(*group));
            for (values, options) in &ordered {
                append_ordered(values.value(row), *options, &mut key);
            }
            key.extend_from_slice(plain.value(row));
            builder.append_value(&key);
        }
        Ok(builder.finish())
    }
}

/// An encoded value (its first byte marks null, which sorts last) in the wanted order.
fn append_ordered(value: &[u8], options: SortOptions, key: &mut Vec<u8>) {
    if let [marker, rest @ ..] = value {
        key.push(if options.nulls_first { marker ^ 1 } else { *marker });
        key.extend(rest.iter().map(|b| if options.descending { !b } else { *b }));
    }
}

fn no_counts() -> Error {
    Error::corrupted("a set of values without counts")
}

struct Netted {
    /// The first row of each different key.
    first: Vec<u64>,
    /// The sums of its weights, by member.
    changes: Vec<Vec<i64>>,
}

fn net(keys: &BinaryArray, weights: &[Vec<i64>]) -> Result<Netted> {
    let schema = Arc::new(Schema::new(vec![Field::new("key", DataType::Binary, false)]));
    let mut interned = new_group_values(schema, &GroupOrdering::None)?;
    let mut entries = Vec::with_capacity(keys.len());
    let keys: ArrayRef = Arc::new(keys.clone());
    interned.intern(&[keys], &mut entries)?;
    let mut first = Vec::with_capacity(interned.len());
    for (row, entry) in entries.iter().enumerate() {
        // Numbers are given in the order of first appearance.
        if *entry == first.len() {
            first.push(row as u64);
        }
    }
    let sums = |weights: &Vec<i64>| {
        let mut sums = vec![0; first.len()];
        for (entry, weight) in entries.iter().zip(weights) {
            sums[*entry] += weight;
        }
        sums
    };
    let changes = weights.iter().map(sums).collect();
    Ok(Netted { first, changes })
}
