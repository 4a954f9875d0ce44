//! A tenant among others in shared tables: its keys must be values of their columns, and nobody's rows be waiting there.

use crate::config::Tenant;
use crate::lifecycle::Lifecycle;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::rows::own_tables;
use crate::policy::PolicyNote;

impl Lifecycle {
    pub(in crate::lifecycle) async fn check_shared(&self, tenant: &Tenant, adopt: bool) -> Result<(), LifecycleError> {
        let (policy, notes) = self.load_rules(&self.with(tenant), tenant).await?;
        let bad = notes.iter().find(|note| match note {
            PolicyNote::BadKey { tenant: whose, .. } => *whose == tenant.name,
            PolicyNote::SameKey { first, second, .. } => *first == tenant.name || *second == tenant.name,
            _ => false,
        });
        if let Some(note) = bad {
            return Err(LifecycleError::refused(note.to_string(), "give it another --key, or --keys name=value"));
        }
        if adopt {
            return Ok(());
        }
        let admin = Admin::connect(&tenant.upstream).await?;
        for table in own_tables(&policy).iter().flatten() {
            let sql = format!("SELECT EXISTS (SELECT FROM {} t WHERE {})", table.from(), table.is_own(&tenant.keys)?);
            if admin.value::<bool>(&sql, &[]).await? == Some(true) {
                return Err(LifecycleError::refused(
                    format!("{} has rows with this key already: they would be this tenant's", table.relation.name),
                    "choose another --key, or say --adopt if they are",
                ));
            }
        }
        Ok(())
    }
}
