//! What of a table decides whether and how a row can be planted in it, as its upstream knows it.

use std::collections::{HashMap, HashSet};

use tokio_postgres::{Client, Error};

use crate::base::Oid;

/// Of all tables of an upstream.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// A trigger or a rule answers to INSERT or DELETE: what else it does would stay.
    pub fires: HashSet<Oid>,
    /// Columns that a CHECK constraint looks at.
    pub checked: HashMap<Oid, HashSet<String>>,
    /// Columns of unique indexes and exclusion constraints.
    pub unique: HashMap<Oid, HashSet<String>>,
}

/// Of a table itself, and of the partitions and children that its rows may go to.
const FIRES: &str = "WITH RECURSIVE below AS (\
        SELECT c.oid AS top, c.oid FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p') \
        UNION SELECT b.top, i.inhrelid FROM below b JOIN pg_catalog.pg_inherits i ON i.inhparent = b.oid) \
    SELECT DISTINCT b.top FROM below b \
    WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_trigger g WHERE g.tgrelid = b.oid AND NOT g.tgisinternal AND g.tgenabled <> 'D' AND g.tgtype & 12 <> 0) \
       OR EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite r WHERE r.ev_class = b.oid AND r.ev_type IN ('3', '4'))";

const CHECKED: &str = "SELECT c.conrelid, a.attname::text FROM pg_catalog.pg_constraint c \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) WHERE c.contype = 'c'";

const UNIQUE: &str = "SELECT i.indrelid, a.attname::text FROM pg_catalog.pg_index i \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[]) \
    WHERE i.indisunique OR i.indisexclusion";

impl Facts {
    /// Reads them.
    ///
    /// # Errors
    /// Whatever the upstream answers.
    pub async fn read(client: &Client) -> Result<Self, Error> {
        let fires = client.query(FIRES, &[]).await?.iter().map(|row| row.get(0)).collect();
        let columns = async |sql: &str| -> Result<HashMap<Oid, HashSet<String>>, Error> {
            let mut columns: HashMap<Oid, HashSet<String>> = HashMap::new();
            for row in client.query(sql, &[]).await? {
                columns.entry(row.get(0)).or_default().insert(row.get(1));
            }
            Ok(columns)
        };
        Ok(Self { fires, checked: columns(CHECKED).await?, unique: columns(UNIQUE).await? })
    }
}
