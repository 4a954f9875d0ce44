//! What is asked of the database beside its catalog: how many rows small tables have, what views and functions are made of.

use std::collections::{BTreeSet, HashMap, HashSet};

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use super::{Choice, Schema, names};
use crate::base::oid::{BPCHAR, TEXT, VARCHAR};
use crate::base::{Oid, QualifiedName};
use crate::catalog::{Catalog, RelKind, Relation, Volatility};
use crate::sql::{quote_identifier, quote_qualified};

/// Tables with more rows are no small ones; nobody counts further.
pub(super) const SMALL: i64 = 1000;

/// Of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Its rows, counted up to one more than a small table has. Unknown where they may not be read.
    pub rows: Option<i64>,
    /// Rows that were changed or deleted since statistics were reset.
    pub changes: i64,
    /// Some rows have no value in the tenant column, as ANALYZE saw it.
    pub has_null_keys: bool,
}

/// A function outside the system and extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Its name.
    pub name: QualifiedName,
    /// Its language.
    pub language: String,
    /// What it is declared as.
    pub volatility: Volatility,
    /// SECURITY DEFINER
    pub definer: bool,
    /// Some table has a trigger that calls it, or it could have.
    pub trigger: bool,
    /// It is kept as a parse tree (BEGIN ATOMIC, RETURN), not as text.
    pub parsed: bool,
    /// Its text.
    pub text: String,
}

/// Who owns a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The role.
    pub role: String,
    /// A superuser.
    pub superuser: bool,
}

/// Columns of the tenants' table that could name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Every value of it can be a tenant's name; the best first.
    pub usable: Vec<String>,
    /// It is unique, and so many values of it cannot be.
    pub unusable: Vec<(String, i64)>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Tables, by oid.
    pub tables: HashMap<Oid, Table>,
    /// Definitions of views, by oid.
    pub views: HashMap<Oid, String>,
    /// Functions.
    pub bodies: Vec<Body>,
    /// Owners of relations, by oid.
    pub owners: HashMap<Oid, Owner>,
    /// All roles.
    pub roles: HashSet<String>,
    /// What could name the tenants.
    pub names: Names,
    /// Roles that policies are for, where they are not for all.
    pub policy_roles: BTreeSet<String>,
}

/// Asks, reading only.
///
/// # Errors
/// Whatever the server answers. Tables that the role may not read are left out, but for that of the tenants.
pub async fn read(client: &Client, catalog: &Catalog, choice: &Choice) -> Result<Facts, Error> {
    client
        .batch_execute(
            "SET default_transaction_read_only = on; SET statement_timeout = '30s'; SET search_path = pg_catalog",
        )
        .await?;
    let schema = Schema::new(catalog);
    let mut facts = Facts {
        views: views(client).await?,
        bodies: bodies(client).await?,
        owners: owners(client).await?,
        roles: strings(client, "SELECT rolname FROM pg_roles").await?,
        tables: changes(client, &choice.column).await?,
        policy_roles: strings(
            client,
            "SELECT DISTINCT r.rolname FROM pg_policy p JOIN pg_roles r ON r.oid = ANY (p.polroles)",
        )
        .await?,
        ..Facts::default()
    };
    for table in schema.tables() {
        if table.column(&choice.column).is_none() && names::framework(&table.name.name).is_none() {
            facts.tables.entry(table.oid).or_default().rows = rows(client, table).await?;
        }
    }
    if let Some((root, _)) = &choice.root
        && let Some(root) = catalog.relations.get(root)
    {
        facts.names = usable_names(client, root).await?;
    }
    Ok(facts)
}

async fn strings<C: FromIterator<String>>(client: &Client, sql: &str) -> Result<C, Error> {
    Ok(client.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}

async fn changes(client: &Client, column: &str) -> Result<HashMap<Oid, Table>, Error> {
    let sql = "SELECT c.oid, coalesce(s.n_tup_upd + s.n_tup_del, 0) AS changes, \
                      EXISTS (SELECT FROM pg_stats p WHERE p.schemaname = n.nspname AND p.tablename = c.relname \
                              AND p.attname = $1 AND p.null_frac > 0) AS nulls \
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid WHERE c.relkind IN ('r', 'p')";
    let rows = client.query(sql, &[&column]).await?;
    let table = |row: &tokio_postgres::Row| Table { rows: None, changes: row.get(1), has_null_keys: row.get(2) };
    Ok(rows.iter().map(|row| (row.get(0), table(row))).collect())
}

async fn rows(client: &Client, table: &Relation) -> Result<Option<i64>, Error> {
    let sql = format!("SELECT count(*) FROM (SELECT FROM {} LIMIT {}) AS few", quote_qualified(&table.name), SMALL + 1);
    match client.query_one(&sql, &[]).await {
        Ok(row) => Ok(Some(row.get(0))),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn views(client: &Client) -> Result<HashMap<Oid, String>, Error> {
    let sql = "SELECT c.oid, pg_get_viewdef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.relkind IN ('v', 'm') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'";
    Ok(client.query(sql, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn owners(client: &Client) -> Result<HashMap<Oid, Owner>, Error> {
    let sql = "SELECT c.oid, r.rolname, r.rolsuper FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner \
               WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')";
    let rows = client.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), Owner { role: row.get(1), superuser: row.get(2) })).collect())
}

async fn bodies(client: &Client) -> Result<Vec<Body>, Error> {
    let sql = "SELECT n.nspname, p.proname, l.lanname, p.provolatile::text, p.prosecdef, \
                      p.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype) AS trigger, \
                      coalesce(p.prosrc, '') = '' AS parsed, coalesce(pg_get_function_sqlbody(p.oid), p.prosrc, '') AS text \
               FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang \
               WHERE p.prokind IN ('f', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' \
                 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e') \
               ORDER BY 1, 2, p.oid";
    let body = |row: &tokio_postgres::Row| Body {
        name: QualifiedName::new(row.get::<_, &str>(0), row.get::<_, &str>(1)),
        language: row.get(2),
        volatility: match row.get::<_, &str>(3) {
            "i" => Volatility::Immutable,
            "s" => Volatility::Stable,
            _ => Volatility::Volatile,
        },
        definer: row.get(4),
        trigger: row.get(5),
        parsed: row.get(6),
        text: row.get(7),
    };
    Ok(client.query(sql, &[]).await?.iter().map(body).collect())
}

/// How columns are called that name tenants, the best first.
const CALLED: [&str; 8] = ["slug", "subdomain", "handle", "shortname", "code", "identifier", "domainname", "name"];

/// Columns whose values are unique, so that no tenant can take the name of another.
async fn usable_names(client: &Client, root: &Relation) -> Result<Names, Error> {
    let is_text = |name: &str| {
        root.column(name)
            .is_some_and(|it| [TEXT, VARCHAR, BPCHAR].contains(&it.base_type_oid) || it.type_name.ends_with("citext"))
    };
    let rank = |name: &str| CALLED.iter().position(|it| *it == names::words(name).concat());
    let unique = root.unique_keys.iter().filter_map(|it| if let [one] = it.as_slice() { Some(one) } else { None });
    let mut candidates: Vec<_> = unique.filter(|it| is_text(it)).filter_map(|it| Some((rank(it)?, it))).collect();
    candidates.sort();
    candidates.dedup();
    let mut found = Names::default();
    for (_, column) in candidates {
        let column_sql = quote_identifier(column);
        let sql = format!(
            "SELECT count(*) FROM {} WHERE {column_sql} IS NULL OR {column_sql}::text !~ '^[A-Za-z0-9][A-Za-z0-9_-]{{0,62}}$' \
             OR {column_sql}::text = 'pgwarden'",
            quote_qualified(&root.name)
        );
        match client.query_one(&sql, &[]).await?.get(0) {
            0 => found.usable.push(column.clone()),
            count => found.unusable.push((column.clone(), count)),
        }
    }
    Ok(found)
}

/// Kinds that are made of a query.
pub(super) fn is_view(kind: RelKind) -> bool {
    matches!(kind, RelKind::View | RelKind::MaterializedView | RelKind::ForeignTable)
}
