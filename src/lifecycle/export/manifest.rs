//! What is in an export.

use serde::{Deserialize, Serialize};

/// `manifest.json`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::lifecycle) struct Manifest {
    /// Of this form.
    pub format: u32,
    pub tenant: String,
    pub layout: String,
    pub from: String,
    /// When its rows were as they are here.
    pub taken_at: String,
    /// `server_version_num`
    pub server_version: i32,
    pub pgwarden: String,
    /// `csv` or `binary`
    pub copy_format: String,
    pub extensions: Vec<Extension>,
    pub schemas: Vec<SchemaFiles>,
    pub tables: Vec<TableFile>,
    pub sequences: Vec<SequenceValue>,
    /// What belongs to it and is not here.
    pub left_out: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::lifecycle) struct Extension {
    pub name: String,
    pub schema: String,
}

/// Definitions of a schema, to be run with that in the search path.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::lifecycle) struct SchemaFiles {
    pub name: String,
    /// Before the rows.
    pub before: String,
    /// After the rows.
    pub after: String,
    /// Its things, as ALTER has them.
    pub owned: Vec<String>,
    /// Definitions that name the schema itself: it cannot be called otherwise.
    pub fixed: Vec<String>,
    /// SHA-256 of both files, one after the other.
    pub sha256: String,
}

/// Rows of a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::lifecycle) struct TableFile {
    pub schema: String,
    pub table: String,
    pub columns: Vec<String>,
    /// The column that says whose a row is, if it is among them.
    pub tenant_column: Option<String>,
    /// Everybody's rows: for a database of one's own, not for shared tables.
    pub everybodys: bool,
    /// Tables may inherit from it, whose rows have a file of their own. A partitioned one has its partitions' rows.
    pub only: bool,
    pub file: String,
    pub rows: i64,
    pub bytes: u64,
    pub sha256: String,
    /// Sum of Postgres's hashes of the rows as text, in whatever order, without the tenant column.
    pub hash: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::lifecycle) struct SequenceValue {
    pub schema: String,
    pub sequence: String,
    pub last_value: i64,
}
