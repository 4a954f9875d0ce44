//! No logins for a tenant, for now; and logins again.

use serde_json::{Value as Json, json};

use super::Lifecycle;
use super::book::{Change, Written};
use super::error::LifecycleError;
use super::operations::{Operation, Verb};

impl Lifecycle {
    /// Suspends a tenant, or no more. Proxies refuse its logins as soon as they have heard of it, and end its sessions when their
    /// transactions do.
    ///
    /// # Errors
    /// There is no such tenant, or it stands where pgwarden does not write: the error says what to change there.
    pub async fn set_suspended(&self, name: &str, suspended: bool, dry_run: bool) -> Result<Json, LifecycleError> {
        let tenant = self.find(name)?;
        let word = if suspended { "suspended" } else { "active" };
        if tenant.suspended == suspended {
            return Ok(
                json!({ "tenant": name, "suspended": suspended, "changed": false, "said": format!("it is {word} already") }),
            );
        }
        if dry_run {
            return Ok(json!({ "tenant": name, "suspended": suspended, "dry_run": true }));
        }
        let verb = if suspended { Verb::Suspend } else { Verb::Resume };
        let operation = Operation::begin(&self.home, name, verb, &self.by, &json!({})).await?;
        let outcome = match self.write(operation.admin(), Change::Suspend(name, suspended)).await {
            Ok(Written::Table) => Ok(json!({ "tenant": name, "suspended": suspended, "changed": true })),
            Ok(Written::ByHand(edit)) => Err(LifecycleError::refused(
                format!("pgwarden does not write where tenant \"{name}\" is written down"),
                edit,
            )),
            Err(error) => Err(error),
        };
        operation.end(outcome).await
    }
}
