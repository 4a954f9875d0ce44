//! The usage table: its definition, and the statements on it.

use crate::base::QualifiedName;
use crate::config::{Measure, writers_of};
use crate::sql::{quote_identifier, quote_qualified};

/// Statements on one usage table.
#[derive(Clone, Debug)]
pub(super) struct Sql {
    table: String,
    writers: String,
}

impl Sql {
    pub fn new(table: &QualifiedName) -> Self {
        Self { table: quote_qualified(table), writers: quote_qualified(&writers_of(table)) }
    }

    /// Makes the tables, if they are not there.
    pub fn definition(&self) -> String {
        let measures = Measure::ALL.map(|it| format!("    {} bigint NOT NULL DEFAULT 0,\n", it.name())).concat();
        let (table, writers) = (&self.table, &self.writers);
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (\n    tenant text NOT NULL,\n    day date NOT NULL, -- of UTC\n{measures}    \
             updated_at timestamptz NOT NULL DEFAULT now(),\n    PRIMARY KEY (tenant, day)\n) WITH (fillfactor = 70);\n\
             CREATE TABLE IF NOT EXISTS {writers} (\n    writer text PRIMARY KEY, -- one process of pgwarden\n    \
             batch bigint NOT NULL, -- its last batch: none is added twice\n    written_at timestamptz NOT NULL\n);\n"
        )
    }

    /// Lets a role do what pgwarden does.
    pub fn grants(&self, role: &str) -> String {
        let role = quote_identifier(role);
        let (table, writers) = (&self.table, &self.writers);
        format!(
            "GRANT SELECT, INSERT, UPDATE ON {table} TO {role};\nGRANT SELECT, INSERT, UPDATE, DELETE ON {writers} TO {role};\n"
        )
    }

    /// `$1`: the writer, `$2`: the batch. Concerns no row if the batch was added before.
    pub fn claim(&self) -> String {
        format!(
            "INSERT INTO {0} AS w (writer, batch, written_at) VALUES ($1, $2, pg_catalog.now()) ON CONFLICT (writer) DO UPDATE \
             SET batch = excluded.batch, written_at = excluded.written_at WHERE w.batch < excluded.batch",
            self.writers
        )
    }

    /// `$1`: tenants, `$2`: days, from `$3` on: the measures; all of them arrays of one length, in the order of the key, so
    /// that two proxies cannot lock each other out.
    pub fn add(&self) -> String {
        let names = Measure::ALL.map(Measure::name);
        let columns = (3..).take(names.len()).map(|n| (n, "int8"));
        let columns = [(1, "text"), (2, "date")].into_iter().chain(columns);
        let arrays: Vec<_> = columns.map(|(n, kind)| format!("pg_catalog.unnest(${n}::pg_catalog.{kind}[])")).collect();
        let sums: Vec<_> = names.iter().map(|name| format!("{name} = u.{name} + excluded.{name}")).collect();
        format!(
            "INSERT INTO {} AS u (tenant, day, {}) SELECT * FROM ROWS FROM ({}) \
             ON CONFLICT (tenant, day) DO UPDATE SET {}, updated_at = pg_catalog.now()",
            self.table,
            names.join(", "),
            arrays.join(", "),
            sums.join(", ")
        )
    }

    /// Sums by tenant, and by day if `daily`. `$1`: the first day, `$2`: the first day after, `$3`: tenants, or NULL.
    pub fn sums(&self, daily: bool) -> String {
        let sums = Measure::ALL.map(|it| format!("pg_catalog.sum({})::pg_catalog.int8", it.name())).join(", ");
        let day = if daily { "day" } else { "NULL::pg_catalog.date" };
        let group = if daily { "tenant, day" } else { "tenant" };
        format!(
            "SELECT tenant, {day}, {sums} FROM {} WHERE day >= $1 AND day < $2 AND ($3::pg_catalog.text[] IS NULL OR tenant = ANY ($3)) \
             GROUP BY {group} ORDER BY {group}",
            self.table
        )
    }

    /// Forgets processes that ended long ago. One that is away for longer than this and comes back counts a batch twice
    /// whose outcome it did not learn.
    pub fn tidy(&self) -> String {
        format!(
            "DELETE FROM {} WHERE written_at < pg_catalog.now() - pg_catalog.make_interval(days => 90)",
            self.writers
        )
    }
}
