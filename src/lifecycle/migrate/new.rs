//! New tenants begin at the newest.

use std::path::Path;

use super::apply::{Patience, Session};
use super::files::{self, Migration};
use super::login::{ActAs, Login};
use super::places::Place;
use super::stop::Stop;
use super::{SESSION_BEGINS, applied};
use crate::base::QualifiedName;
use crate::config::{Layout, Tenant};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;
use crate::sql::quote_qualified;

/// The migrations that a new tenant begins with.
pub(crate) struct FirstFiles(Vec<Migration>);

impl FirstFiles {
    /// Reads them, before anything is made.
    ///
    /// # Errors
    /// They are no migrations.
    pub fn read(directory: &Path) -> Result<Self, LifecycleError> {
        // Gaps were looked at when the others were migrated.
        files::read(directory, true).map(Self)
    }
}

impl Lifecycle {
    /// Applies in a new tenant's place what its template did not bring along. Returns the files. The tenant is locked already.
    pub(crate) async fn bring_up(&self, tenant: &Tenant, files: &FirstFiles) -> Result<Vec<String>, LifecycleError> {
        let place = Place::of(tenant);
        let admin = Admin::connect(&tenant.upstream).await?;
        let common = match tenant.layout {
            Layout::Schema { .. } => self.load_rules(&self.with(tenant), tenant).await?.0.common_schemas,
            Layout::Shared | Layout::Database => Vec::new(),
        };
        let login = Login::make(&admin, &place, &ActAs::default(), &common, SESSION_BEGINS).await?;
        let done = self.bring_up_in(&admin, &place, &login, files).await;
        let dropped = login.end(&admin).await;
        let done = done?;
        dropped.map(|()| done)
    }

    async fn bring_up_in(
        &self,
        admin: &Admin,
        place: &Place,
        login: &Login,
        files: &FirstFiles,
    ) -> Result<Vec<String>, LifecycleError> {
        let tell = |what: &str| self.tell(what);
        let session = Session::open(login, place.table(), Patience::default(), Stop::never(), &self.by, &tell).await?;
        let (mut applied, mut version) = (Vec::new(), None);
        self.apply_in(&session, admin, place, &files.0, false, (&mut applied, &mut version)).await?;
        Ok(applied)
    }
}

/// Copies the rows of a template's table into that of its copy, which has no trigger yet. Without them all that the template has
/// would be applied again.
pub(crate) async fn copy_applied(admin: &Admin, template: &str, schema: &str) -> Result<(), LifecycleError> {
    let of = |schema: &str| QualifiedName::new(schema, super::places::TABLE);
    let (from, to) = (of(template), of(schema));
    if !applied::is_there(admin, &from).await? {
        return Ok(());
    }
    let columns = applied::names().join(", ");
    admin
        .run(&format!(
            "INSERT INTO {} ({columns}) SELECT {columns} FROM ONLY {}",
            quote_qualified(&to),
            quote_qualified(&from)
        ))
        .await
}
