//! The definitions of what is in a schema, as statements that make the same in another one.
//!
//! What is there is looked up with no schema in the search path. It is printed by the server's own `pg_get_...` functions with the
//! schema alone in it, so that names of the schema come out bare and all others with theirs; there nothing is called but those
//! functions, by names and operators with their schema, since whoever may create in the schema could have made some of the same
//! names. Run with another schema in the search path, the statements make the same there.

mod facts;
mod read;
mod tables;
mod write;

pub use facts::{Facts, facts};

use super::admin::Admin;
use super::error::LifecycleError;
use crate::sql::quote_identifier;

/// What is in a schema.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    /// Types, functions, sequences, tables: what rows are put into.
    pub before: Vec<String>,
    /// Constraints of one table, indexes, views: quicker when the rows are there, but right before too.
    pub after: Vec<String>,
    /// Foreign keys, triggers, comments: only right when the rows are there.
    pub last: Vec<String>,
    /// Row-level security.
    pub policies: Vec<String>,
    /// Things with an owner, as ALTER has them: `TABLE "orders"`.
    pub owned: Vec<String>,
    /// What names the schema itself, in a function's body for instance: it means that one wherever it is.
    pub fixed: Vec<String>,
    /// What is not among them, and would be missing.
    pub left_out: Vec<String>,
}

impl Definitions {
    /// Reads a schema but for some relations, in the transaction that the connection is in. `None`: there is no such schema.
    ///
    /// # Errors
    /// The server's, or a definition that cannot be moved.
    pub async fn read(admin: &Admin, schema: &str, without: &[String]) -> Result<Option<Self>, LifecycleError> {
        let found = admin.value::<u32>("SELECT oid FROM pg_namespace WHERE nspname = $1", &[&schema]).await?;
        let Some(oid) = found else { return Ok(None) };
        let mut found = read::read(admin, oid).await?;
        found.leave_out(without);
        admin.run(&format!("SET LOCAL search_path = {}", quote_identifier(schema))).await?;
        let printed = found.print(admin).await?;
        admin.run("SET LOCAL search_path = ''").await?;
        Ok(Some(write::definitions(&found, &printed, schema)))
    }

    /// All statements that are for when the rows are there.
    pub fn after_rows(&self) -> String {
        [&self.after, &self.last, &self.policies].map(|it| script(it)).concat()
    }

    /// The statements that give all of it to a role.
    pub fn give_to(&self, role: &str) -> String {
        let role = quote_identifier(role);
        self.owned.iter().map(|thing| format!("ALTER {thing} OWNER TO {role};\n")).collect()
    }
}

/// Statements, each with its semicolon.
pub fn script(statements: &[String]) -> String {
    statements.iter().map(|it| format!("{};\n", it.trim_end().trim_end_matches(';'))).collect()
}
