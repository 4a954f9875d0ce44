//! A mark of a database's system catalogs: equal ones stand for unchanged catalogs. Cheap enough to be asked for each second.
//!
//! Every row version carries the transaction that wrote it (`xmin`). A row that is added or changed adds a younger one and a
//! row that goes takes one away, so the number of rows and the sum of their transactions never come back to what they were. A
//! database in which no transaction has ended since the last look is not read at all: its snapshot is still the same.

use std::sync::LazyLock;

use tokio_postgres::{Client, GenericClient, Row, Statement};

use super::LoadError;

/// What [`super::queries`] and [`super::code`] read, each with what is left out: temporary objects, which come and go, and
/// stand for nothing.
pub(super) const MARKED: [(&str, &str); 21] = [
    ("pg_namespace", "nspname !~ '^pg_(toast_)?temp_'"),
    ("pg_class", "relpersistence <> 't' AND relkind <> 't' AND relkind <> 'i'"),
    ("pg_attribute", "attrelid NOT IN (SELECT oid FROM pg_class WHERE relpersistence = 't')"),
    ("pg_type", "typnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_')"),
    ("pg_proc", ""),
    ("pg_operator", ""),
    ("pg_cast", ""),
    ("pg_inherits", ""),
    ("pg_constraint", "contype = 'f'"),
    (
        "pg_index",
        "indisunique AND indrelid NOT IN (SELECT oid FROM pg_class WHERE relpersistence = 't' OR relkind = 't')",
    ),
    ("pg_policy", ""),
    ("pg_attrdef", "adrelid NOT IN (SELECT oid FROM pg_class WHERE relpersistence = 't')"),
    ("pg_rewrite", ""),
    ("pg_enum", ""),
    ("pg_collation", ""),
    ("pg_language", ""),
    ("pg_extension", ""),
    // What belongs to extensions: an index leads there.
    ("pg_depend", "refclassid = 'pg_extension'::regclass"),
    ("pg_auth_members", ""),
    ("pg_db_role_setting", ""),
    ("pg_database", "datname = current_database()"),
];

/// Of roles only a view may be read.
const ROLES: &str = "(SELECT concat(count(*), ':', sum(hashtextextended(concat_ws(' ', oid, rolname, rolsuper, rolbypassrls), 0))) FROM pg_roles)";

/// `$1` is the snapshot of the last look. One in recovery does not list what is under way, so that it proves nothing there.
static MARK: LazyLock<String> = LazyLock::new(|| {
    let mut parts: Vec<_> = MARKED.iter().map(part).collect();
    parts.push(ROLES.to_owned());
    format!(
        "SELECT s.it, CASE WHEN s.it = $1 THEN NULL ELSE concat_ws(' ', {}) END \
         FROM (SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_snapshot()::text END) s(it)",
        parts.join(", ")
    )
});

/// The sum of `xmin`s, modulo 2^32 as they are, from their ages. Rows of the bootstrap have none.
fn part((catalog, condition): &(&str, &str)) -> String {
    let condition = if condition.is_empty() { String::new() } else { format!(" AND {condition}") };
    format!(
        "(SELECT concat(count(*), ':', (count(*) * age('3'::xid) - sum(age(xmin))) & 4294967295) \
         FROM {catalog} WHERE age(xmin) < 2147483647{condition})"
    )
}

/// See above.
#[derive(Clone, Debug)]
pub struct Mark {
    snapshot: Option<String>,
    sums: String,
}

impl Mark {
    /// A mark that no catalog is still at.
    pub(super) fn passed() -> Self {
        Self { snapshot: None, sums: String::new() }
    }
}

/// The mark of this moment, or of a transaction's. The search path must be `pg_catalog`.
pub(super) async fn mark(client: &impl GenericClient) -> Result<Mark, LoadError> {
    let row = client.query_one(MARK.as_str(), &[&""]).await?;
    read(&row)?.ok_or_else(|| LoadError::Unexpected { catalog: "pg_class", what: "no mark".to_owned() })
}

/// None if nothing has ended since the last look.
fn read(row: &Row) -> Result<Option<Mark>, LoadError> {
    let (snapshot, sums): (Option<String>, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    Ok(sums.map(|sums| Mark { snapshot, sums }))
}

/// Looks again and again over one connection.
#[derive(Debug)]
pub(super) struct Looker {
    statement: Statement,
}

impl Looker {
    pub(super) async fn new(client: &Client) -> Result<Self, LoadError> {
        client
            .batch_execute(
                "SET search_path = pg_catalog; SET statement_timeout = '30s'; SET default_transaction_read_only = on",
            )
            .await?;
        // The same few sums each time: their plan is made once. Compiling them would take longer than they do.
        client.batch_execute("SET plan_cache_mode = force_generic_plan; SET jit = off").await?;
        Ok(Self { statement: client.prepare(MARK.as_str()).await? })
    }

    /// Whether all is as it was at this mark, which then becomes that of this moment.
    pub(super) async fn is_unchanged(&self, client: &Client, since: &mut Mark) -> Result<bool, LoadError> {
        let snapshot = since.snapshot.as_deref().unwrap_or_default();
        let row = client.query_one(&self.statement, &[&snapshot]).await?;
        let Some(now) = read(&row)? else { return Ok(true) };
        let same = now.sums == since.sums;
        if same {
            *since = now;
        }
        Ok(same)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio_postgres::SimpleQueryMessage;

    use super::*;
    use crate::catalog::load::queries::PARTS;
    use crate::test_cluster::{Cluster, Options};

    /// A connection to a database of its own, as superuser.
    async fn client(cluster: &Cluster, database: &str) -> Client {
        cluster.create_database(database, None).await.unwrap();
        let (client, connection) = tokio_postgres::Config::new()
            .host("127.0.0.1")
            .port(cluster.port())
            .user(Cluster::SUPERUSER)
            .password(cluster.password())
            .dbname(database)
            .connect(tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    }

    /// Relations that a plan scans.
    async fn scanned(client: &Client, sql: &str) -> Vec<String> {
        let plan = client.simple_query(&format!("EXPLAIN (FORMAT JSON) {sql}")).await.unwrap();
        let text = |it: &SimpleQueryMessage| match it {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        };
        let plan: String = plan.iter().filter_map(text).collect();
        let names = plan.split("\"Relation Name\": \"").skip(1);
        names.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
    }

    #[tokio::test]
    async fn what_makes_a_catalog_is_marked() {
        let client = client(Cluster::shared().unwrap(), "mark_covers").await;
        client.batch_execute("SET search_path = pg_catalog").await.unwrap();
        let mut read = BTreeSet::new();
        for part in PARTS {
            read.extend(scanned(&client, part).await);
        }
        assert!(read.len() > 8, "{read:?}");
        // By the view on it.
        let otherwise = ["pg_authid"];
        let marked = |name: &&String| MARKED.iter().any(|(it, _)| it == name) || otherwise.contains(&name.as_str());
        let missing: Vec<_> = read.iter().filter(|name| !marked(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[tokio::test]
    async fn every_change_is_seen_and_nothing_else() {
        // Roles are the whole server's: other tests make some.
        let cluster = Cluster::start(&Options::default()).unwrap();
        let client = client(&cluster, "mark_changes").await;
        let look = Looker::new(&client).await.unwrap();
        let mut last = mark(&client).await.unwrap();
        let run = async |sql: &str| cluster.run("mark_changes", sql).await.unwrap();
        for change in [
            "CREATE TABLE a (x int, y text); CREATE TABLE b (x int, y text)",
            "BEGIN; ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b; COMMIT",
            "BEGIN; ALTER TABLE a RENAME x TO z; ALTER TABLE a RENAME y TO x; ALTER TABLE a RENAME z TO y; COMMIT",
            "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE OR REPLACE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 2'",
            "ALTER FUNCTION f(int) SECURITY DEFINER",
            "CREATE OPERATOR ### (RIGHTARG = int, FUNCTION = f)",
            "CREATE TYPE t AS ENUM ('f'); CREATE FUNCTION g(int) RETURNS t LANGUAGE sql AS 'SELECT NULL::t'",
            "CREATE CAST (int AS t) WITH FUNCTION g(int)",
            "CREATE VIEW v AS SELECT 1 AS one FROM a",
            "CREATE OR REPLACE VIEW v AS SELECT 1 AS one FROM b",
            "ALTER TABLE a ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY p ON a USING (true)",
            "ALTER POLICY p ON a USING (false)",
            "DROP POLICY p ON a",
            "ALTER TABLE a DROP COLUMN x",
            "CREATE TABLE d () INHERITS (b)",
            "ALTER TABLE d NO INHERIT b",
            "CREATE SCHEMA s",
            "ALTER TABLE a SET SCHEMA s",
            "ALTER EXTENSION plpgsql ADD FUNCTION f(int)",
            "ALTER DATABASE mark_changes SET app.tenant_id = '1'",
            "CREATE ROLE mark_role",
            "GRANT CREATE ON SCHEMA s TO mark_role",
            "REVOKE CREATE ON SCHEMA s FROM mark_role",
            "GRANT pg_monitor TO mark_role",
            "REVOKE pg_monitor FROM mark_role",
            "ALTER DATABASE mark_changes OWNER TO mark_role",
            "ALTER DATABASE mark_changes OWNER TO CURRENT_USER",
            "ALTER ROLE mark_role BYPASSRLS",
            "DROP ROLE mark_role",
            "CREATE TABLE k (x int PRIMARY KEY); CREATE TABLE l (x int REFERENCES k, y text)",
            "ALTER TABLE l DROP CONSTRAINT l_x_fkey",
            "CREATE UNIQUE INDEX u ON l (y)",
            "DROP INDEX u",
            "CREATE TABLE e (x int, y text DEFAULT current_setting('a.b', true))",
            "ALTER TABLE e ALTER y SET DEFAULT current_setting('a.c', true)",
        ] {
            run(change).await;
            assert!(!look.is_unchanged(&client, &mut last.clone()).await.unwrap(), "{change}");
            last = mark(&client).await.unwrap();
            assert!(look.is_unchanged(&client, &mut last).await.unwrap());
        }
        for nothing in [
            "INSERT INTO e VALUES (1, 'x'), (2, 'y')",
            "VACUUM ANALYZE e",
            "CREATE TEMP TABLE here (x int, y text); DROP TABLE here",
            "SELECT 1",
        ] {
            run(nothing).await;
            assert!(look.is_unchanged(&client, &mut last).await.unwrap(), "{nothing}");
        }
    }
}
