//! Rows go from one server to the other, and are counted on both sides.

use std::collections::BTreeMap;

use futures_util::{SinkExt as _, TryStreamExt as _};

use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::export::Source;
use crate::sql::quote_identifier;

/// Rows of a table of the old place.
pub(super) struct Way {
    pub source: Source,
    /// What is selected, in the order of `columns`; the table is called `t`.
    pub select: Vec<String>,
    /// Columns of the new table.
    pub columns: Vec<String>,
    /// The columns have the same types on both sides.
    pub binary: bool,
}

impl Way {
    /// Rows that stay as they are.
    pub fn of(source: &Source) -> Self {
        let select = source.columns.iter().map(|column| format!("t.{}", quote_identifier(column))).collect();
        Self { source: source.clone(), select, columns: source.columns.clone(), binary: false }
    }

    /// Finds out whether the columns have the same types on both sides.
    pub async fn compare(
        &mut self,
        (from, to): (&Admin, &Admin),
        into: &str,
        same_version: bool,
    ) -> Result<bool, LifecycleError> {
        let (here, there) = (types(from, self.name()).await?, types(to, into.to_owned()).await?);
        let same = self.columns.iter().all(|column| match (here.get(column), there.get(column)) {
            // The tenant column that is added has the type of where it goes.
            (None, Some(_)) => true,
            (here, there) => here == there,
        });
        let named = self.columns.iter().any(|column| here.get(column).is_some_and(|oid| NAMES.contains(oid)));
        self.binary = same && same_version && !named;
        Ok(same)
    }

    fn name(&self) -> String {
        format!("{}.{}", quote_identifier(&self.source.schema), quote_identifier(&self.source.table))
    }

    /// How many rows there are.
    pub async fn count(&self, admin: &Admin) -> Result<i64, LifecycleError> {
        let sql = format!("SELECT count(*) FROM {} t WHERE {}", self.source.from, self.source.condition);
        Ok(admin.value::<i64>(&sql, &[]).await?.unwrap_or_default())
    }
}

/// Types whose values are numbers in the catalog, and names as text: `regclass` and its like, and arrays of them.
const NAMES: [u32; 22] = [
    24, 1008, 2202, 2207, 2203, 2208, 2204, 2209, 2205, 2210, 2206, 2211, 3734, 3735, 3769, 3770, 4089, 4090, 4096,
    4097, 4191, 4192,
];

async fn types(admin: &Admin, table: String) -> Result<BTreeMap<String, u32>, LifecycleError> {
    let sql = "SELECT a.attname::text, a.atttypid FROM pg_attribute a WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 \
               AND NOT a.attisdropped";
    let rows = admin.rows(sql, &[&table]).await?;
    let pair = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
    rows.iter().map(pair).collect::<Result<_, _>>().map_err(|error| admin.failed(error))
}

/// A table of the new place, and what goes into it.
pub(super) struct Arrival {
    pub into: String,
    /// As FROM has it.
    pub from: String,
    /// Which of its rows have come, called `t`.
    pub condition: String,
    pub tenant_column: Option<String>,
    pub ways: Vec<Way>,
}

/// Rows and hash of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    rows: i64,
    hash: i128,
}

impl Arrival {
    /// Copies its rows. Returns how many.
    pub async fn copy(&self, from: &Admin, to: &Admin) -> Result<u64, LifecycleError> {
        let mut rows = 0;
        for way in &self.ways {
            rows += copy(from, to, way, &self.into).await?;
        }
        Ok(rows)
    }

    /// As many rows have come as there are now, and with hashes the same as there were in the snapshot.
    pub async fn verify(
        &self,
        (snapshot, now): (&Admin, &Admin),
        to: &Admin,
        with_hash: bool,
    ) -> Result<i64, LifecycleError> {
        let (mut before, mut current) = (Sum::default(), 0);
        for way in &self.ways {
            let source = &way.source;
            let sum = self.sum(snapshot, way, &source.from, &source.condition, with_hash).await?;
            before.rows += sum.rows;
            before.hash += sum.hash;
            current += way.count(now).await?;
        }
        let Some(way) = self.ways.first() else { return Ok(0) };
        let after = self.sum(to, way, &self.from, &self.condition, with_hash).await?;
        if current != before.rows {
            return Err(LifecycleError::refused(
                format!("somebody wrote rows of {} past the proxies while they were copied", self.into),
                "jobs and operators that write the tenant's tables wait until it has moved",
            ));
        }
        match before == after {
            true => Ok(after.rows),
            false => Err(LifecycleError::refused(
                format!("{} is not as it was: {} rows of {}, or others", self.into, after.rows, before.rows),
                "a trigger or a rule at the new place has changed what came",
            )),
        }
    }

    /// Without the tenant column, and whatever the order.
    async fn sum(
        &self,
        admin: &Admin,
        way: &Way,
        from: &str,
        condition: &str,
        with_hash: bool,
    ) -> Result<Sum, LifecycleError> {
        let sql = match with_hash {
            true => Source::digest(&way.columns, self.tenant_column.as_deref(), from, condition),
            false => format!("SELECT count(*), '0' FROM {from} t WHERE {condition}"),
        };
        let rows = admin.rows(&sql, &[]).await?;
        let Some(row) = rows.first() else { return Ok(Sum::default()) };
        let failed = |error| admin.failed(error);
        let (rows, hash): (i64, &str) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        Ok(Sum { rows, hash: hash.parse().unwrap_or_default() })
    }
}

/// What COPY gives on one side is what it takes on the other.
pub(super) async fn copy(from: &Admin, to: &Admin, way: &Way, into: &str) -> Result<u64, LifecycleError> {
    let format = if way.binary { "binary" } else { "text" };
    let columns: Vec<_> = way.columns.iter().map(|column| quote_identifier(column)).collect();
    let out = format!(
        "COPY (SELECT {} FROM {} t WHERE {}) TO STDOUT (FORMAT {format})",
        way.select.join(", "),
        way.source.from,
        way.source.condition
    );
    let into = format!("COPY {into} ({}) FROM STDIN (FORMAT {format})", columns.join(", "));
    let mut out = std::pin::pin!(from.copy_out(&out).await.map_err(|error| from.failed(error))?);
    let sink = to.copy_in::<_, bytes::Bytes>(&into).await.map_err(|error| to.failed(error))?;
    let mut sink = std::pin::pin!(sink);
    while let Some(part) = out.try_next().await.map_err(|error| from.failed(error))? {
        sink.send(part).await.map_err(|error| to.failed(error))?;
    }
    sink.finish().await.map_err(|error| to.failed(error))
}
