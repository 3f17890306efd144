//! Finds the positions of a page's rows: through a condition's own index where it finds few, else by walking the order.
//!
//! A walk checks the conditions on the next rows of the order only; the SQL leaves a planner no other way. Most pages
//! are full after a few rows, so the first step is short and later ones are longer.

use super::{Index, Listing, Order};
use api::{
    ListQuery, Position,
    list::{SortKey, SortKind},
};
use db::{DbError, Dialect, Params, Row, Tx, Value, params};
use std::{collections::VecDeque, sync::Arc};

/// The first step of a walk looks at so many times the rows that are wanted, a later one at so many times the one before.
const STEP_FACTOR: usize = 4;
/// A lookup is used when it finds no more rows than a page may examine. Rows that are inserted between that count and
/// the next query must not make the result incomplete: the query may find so many times more.
const LOOKUP_SLACK: usize = 2;

/// The search for one page.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    listing: Arc<Listing>,
    order: Order,
    kind: SortKind,
    descending: bool,
    after: Option<Position>,
    limit: usize,
    rows_looked_at_max: usize,
}

/// Where the rows of a page stand.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// In their order, no more than were asked for.
    pub positions: VecDeque<Position>,
    /// Where the next page begins, if there may be one.
    pub next_page_after: Option<Position>,
}

/// The kind of a row that a step returns: a row that fits; the last row that the step examined; the number of examined
/// rows.
const FITS: i64 = 0;
const LAST: i64 = 1;
const COUNTED: i64 = 2;

/// Where a step ended.
#[derive(Default)]
struct StepEnd {
    looked_at: usize,
    /// None when its range has no more rows.
    last: Option<Position>,
}

/// A range of the order that one index on the column and the id can read: MariaDB uses no index for a comparison of row
/// values.
struct Stretch {
    condition: String,
    params: Params,
}

impl Walk {
    pub fn new(listing: Arc<Listing>, query: &ListQuery, rows_looked_at_max: usize) -> Self {
        Self {
            order: listing.table.order(query),
            listing,
            kind: query.sort.field.kind,
            descending: query.sort.descending,
            after: query.after.clone(),
            limit: usize::try_from(query.limit).expect("a limit of 200 fits"),
            rows_looked_at_max,
        }
    }

    pub async fn find(&self, tx: &mut Tx) -> Result<Found, DbError> {
        for lookup in &self.listing.lookups {
            let (select, params) = lookup.select(tx.dialect(), self.rows_looked_at_max + 1);
            let sql = format!("SELECT COUNT(*) AS found FROM ({select}) AS looked_up");
            let row = tx.query_one(&sql, params).await?;
            let found: usize = row.map_or(Ok(0), |row| row.get("found"))?;
            if found <= self.rows_looked_at_max {
                let (select, params) = lookup.select(tx.dialect(), LOOKUP_SLACK * self.rows_looked_at_max);
                return self.look_up(tx, &select, params).await;
            }
        }
        self.walk(tx).await
    }

    /// The rows that a lookup came upon, which are few.
    async fn look_up(&self, tx: &mut Tx, select: &str, mut params: Params) -> Result<Found, DbError> {
        let (dialect, table) = (tx.dialect(), self.listing.table);
        let (name, id, column) = (table.name, table.id, self.order.column);
        let mut texts = Vec::new();
        if let Some((text, values)) = self.listing.conditions(dialect) {
            texts.push(text);
            params.extend(values);
        }
        if let Some(after) = &self.after {
            let beyond = self.beyond();
            texts.push(format!(
                "({column} {beyond} ? OR ({column} = ? AND {id} {beyond} ?))"
            ));
            params.extend([key(after), key(after), (&after.id).into()]);
        }
        let conditions = if texts.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", texts.join(" AND "))
        };
        params.push((self.limit + 1).into());
        let sql = format!(
            "SELECT {column} AS sort_key, {id} AS row_id FROM (SELECT DISTINCT found_id FROM ({select}) AS looked_up) \
             AS found {} {name}{} ON {name}.{id} = found.found_id{conditions} {} LIMIT ?",
            dialect.join_in_order(),
            Index::Primary.hint(dialect),
            self.ordered(column, id),
        );
        let rows = tx.query(&sql, params).await?;
        let mut positions = rows
            .iter()
            .map(|row| self.position(row))
            .collect::<Result<VecDeque<_>, _>>()?;
        let next_page_after = self.cut(&mut positions);
        Ok(Found {
            positions,
            next_page_after,
        })
    }

    /// The next rows of the order, up to a page of those that fit, or to the bound.
    async fn walk(&self, tx: &mut Tx) -> Result<Found, DbError> {
        let mut found = Found::default();
        let conditions = self.listing.conditions(tx.dialect());
        let mut left = self.rows_looked_at_max;
        let mut step = self.limit + 1;
        if conditions.is_some() {
            step *= STEP_FACTOR;
        }
        let mut stretches: VecDeque<_> = self.stretches().into();
        let mut looked_at = None;
        while let Some(stretch) = stretches.front_mut() {
            let rows_asked_for = step.min(left);
            if rows_asked_for == 0 {
                found.next_page_after = looked_at;
                return Ok(found);
            }
            let step_end = self
                .step(tx, conditions.as_ref(), stretch, rows_asked_for, &mut found)
                .await?;
            if found.positions.len() > self.limit {
                found.next_page_after = self.cut(&mut found.positions);
                return Ok(found);
            }
            left -= step_end.looked_at;
            match step_end.last {
                Some(last) => {
                    stretches = self.stretches_after(&last).into();
                    looked_at = Some(last);
                }
                None => drop(stretches.pop_front()),
            }
            step = step.saturating_mul(STEP_FACTOR);
        }
        Ok(found)
    }

    /// Examines the next rows of a stretch, and keeps those that fit, up to one more than the page.
    async fn step(
        &self,
        tx: &mut Tx,
        conditions: Option<&(String, Params)>,
        stretch: &Stretch,
        rows: usize,
        found: &mut Found,
    ) -> Result<StepEnd, DbError> {
        let (sql, params) = self.step_sql(tx.dialect(), conditions, stretch, rows);
        let mut end = StepEnd::default();
        for row in &tx.query(&sql, params).await? {
            match row.get("kind")? {
                FITS => found.positions.push_back(self.position(row)?),
                LAST => end.last = Some(self.position(row)?),
                _ => end.looked_at = row.get("looked_at")?,
            }
        }
        Ok(end)
    }

    fn step_sql(
        &self,
        dialect: Dialect,
        conditions: Option<&(String, Params)>,
        stretch: &Stretch,
        rows: usize,
    ) -> (String, Params) {
        let (table, column, id) = (self.listing.table.name, self.order.column, self.listing.table.id);
        let (mut params, fits) = match conditions {
            Some((text, values)) => (values.clone(), format!("CASE WHEN {text} THEN 1 ELSE 0 END")),
            None => (Params::new(), "1".to_owned()),
        };
        let index = Index::Named(self.order.index).hint(dialect);
        let condition = if stretch.condition.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", stretch.condition)
        };
        let from = format!("FROM {table}{index}{condition}");
        let place = format!("{column} AS sort_key, {id} AS row_id");
        let (by_column, by_alias) = (self.ordered(column, id), self.ordered("sort_key", "row_id"));
        params.extend(stretch.params.iter().cloned());
        params.extend(params![rows, self.limit + 1]);
        params.extend(stretch.params.iter().cloned());
        params.push((rows - 1).into());
        params.extend(stretch.params.iter().cloned());
        params.push(rows.into());
        // A subquery with a LIMIT is run unchanged: no engine moves an outer condition into it.
        let sql = format!(
            "SELECT {FITS} AS kind, sort_key, row_id, NULL AS looked_at FROM \
                 (SELECT sort_key, row_id FROM (SELECT {place}, {fits} AS fits {from} {by_column} LIMIT ?) AS seen \
                  WHERE fits = 1 {by_alias} LIMIT ?) AS fitting \
             UNION ALL SELECT {LAST}, sort_key, row_id, NULL FROM \
                 (SELECT {place} {from} {by_column} LIMIT 1 OFFSET ?) AS last_one \
             UNION ALL SELECT {COUNTED}, NULL, NULL, COUNT(*) FROM (SELECT {id} {from} LIMIT ?) AS counted \
             ORDER BY kind, {}",
            self.ordered_by("sort_key", "row_id"),
        );
        (sql, params)
    }

    /// What is left of the order when this page begins.
    fn stretches(&self) -> Vec<Stretch> {
        match &self.after {
            Some(after) => self.stretches_after(after),
            None => {
                let (condition, params) = self.listing.range(self.order.column, true, true);
                vec![Stretch { condition, params }]
            }
        }
    }

    /// The rest of the rows with the same key, then those with keys beyond it.
    fn stretches_after(&self, after: &Position) -> Vec<Stretch> {
        let (column, id, beyond) = (self.order.column, self.listing.table.id, self.beyond());
        let same = Stretch {
            condition: format!("{column} = ? AND {id} {beyond} ?"),
            params: vec![key(after), (&after.id).into()],
        };
        let (end, bounds) = self.listing.range(column, self.descending, !self.descending);
        let mut further = Stretch {
            condition: format!("{column} {beyond} ?"),
            params: vec![key(after)],
        };
        if !bounds.is_empty() {
            further.condition = format!("{} AND {end}", further.condition);
            further.params.extend(bounds);
        }
        vec![same, further]
    }

    /// Cuts off what is more than a page, and answers where the next one begins if something was.
    fn cut(&self, positions: &mut VecDeque<Position>) -> Option<Position> {
        if positions.len() <= self.limit {
            return None;
        }
        positions.truncate(self.limit);
        positions.back().cloned()
    }

    fn beyond(&self) -> &'static str {
        if self.descending { "<" } else { ">" }
    }

    fn ordered(&self, column: &str, id: &str) -> String {
        format!("ORDER BY {}", self.ordered_by(column, id))
    }

    fn ordered_by(&self, column: &str, id: &str) -> String {
        let direction = if self.descending { "DESC" } else { "ASC" };
        format!("{column} {direction}, {id} {direction}")
    }

    fn position(&self, row: &Row) -> Result<Position, DbError> {
        let id: String = row.get("row_id")?;
        Ok(match self.kind {
            SortKind::Int => Position::int(row.get::<i64>("sort_key")?, id),
            SortKind::Text => Position::text(row.get::<String>("sort_key")?, id),
        })
    }
}

fn key(position: &Position) -> Value {
    match &position.key {
        SortKey::Int(number) => number.into(),
        SortKey::Text(text) => text.into(),
    }
}
