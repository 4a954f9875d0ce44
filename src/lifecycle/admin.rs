//! Connections as an upstream's admin role.
//!
//! What runs on them may run with a superuser's rights, in databases where tenants have made things. So no name is looked up in
//! a schema of theirs, and nothing of theirs is run: rows are read of plain tables only, never of a view that stands in one's place.

use std::ops::{Deref, DerefMut};

use deadpool_postgres::ClientWrapper;

use super::error::LifecycleError;
use crate::config::Upstream;
use crate::control;

/// What its sessions begin with. A policy that would hide rows makes a query fail: what is copied or deleted is all that there is.
const SETTINGS: &str = "SET search_path = ''; SET row_security = off; SET lock_timeout = '10s'; SET statement_timeout = 0; \
    SET idle_in_transaction_session_timeout = 0; SET idle_session_timeout = 0; SET default_transaction_read_only = off; SET client_min_messages = warning; \
    SET standard_conforming_strings = on; SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; \
    SET extra_float_digits = 1; SET bytea_output = 'hex'; \
    SELECT pg_catalog.set_config(name, 'view, foreign-table', false) FROM pg_catalog.pg_settings \
    WHERE name OPERATOR(pg_catalog.=) 'restrict_nonsystem_relation_kind'";

/// A connection as an admin role. It ends when this is dropped.
#[derive(Debug)]
pub struct Admin {
    client: ClientWrapper,
    /// Where it leads.
    pub at: Upstream,
}

impl Admin {
    /// Connects to an upstream's database.
    ///
    /// # Errors
    /// There is no such role, or no connection.
    pub async fn connect(upstream: &Upstream) -> Result<Self, LifecycleError> {
        let at = upstream.as_admin().ok_or_else(|| LifecycleError::NoAdmin(upstream.name.clone()))?;
        Self::open(at).await
    }

    /// Connects to the database from which others are made and dropped.
    ///
    /// # Errors
    /// As [`Admin::connect`].
    pub async fn beside(upstream: &Upstream) -> Result<Self, LifecycleError> {
        let at = upstream.as_admin().ok_or_else(|| LifecycleError::NoAdmin(upstream.name.clone()))?;
        let database = at.admin.as_ref().map_or_else(|| at.database.clone(), |admin| admin.database.clone());
        Self::open(Upstream { database, ..at }).await
    }

    /// For questions: as the admin, or as the pool's role where there is none.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn to_ask(upstream: &Upstream) -> Result<Self, LifecycleError> {
        Self::open(upstream.as_admin().unwrap_or_else(|| upstream.clone())).await
    }

    async fn open(at: Upstream) -> Result<Self, LifecycleError> {
        let client = control::connect(&at, "pgwarden tenant").await.map_err(LifecycleError::at(&at))?;
        client.batch_execute(SETTINGS).await.map_err(LifecycleError::at(&at))?;
        Ok(Self { client, at })
    }

    /// An error of this connection.
    pub fn failed(&self, error: tokio_postgres::Error) -> LifecycleError {
        LifecycleError::at(&self.at)(error)
    }

    /// Runs statements.
    ///
    /// # Errors
    /// The server's.
    pub async fn run(&self, sql: &str) -> Result<(), LifecycleError> {
        self.client.batch_execute(sql).await.map_err(|error| self.failed(error))
    }

    /// Rows of a query.
    ///
    /// # Errors
    /// The server's.
    pub async fn rows(
        &self,
        sql: &str,
        values: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, LifecycleError> {
        self.client.query(sql, values).await.map_err(|error| self.failed(error))
    }

    /// The value of a query's first row, if there is any.
    ///
    /// # Errors
    /// The server's.
    pub async fn value<T>(
        &self,
        sql: &str,
        values: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Option<T>, LifecycleError>
    where
        T: for<'r> tokio_postgres::types::FromSql<'r>,
    {
        let rows = self.rows(sql, values).await?;
        rows.first().map(|row| row.try_get(0)).transpose().map_err(|error| self.failed(error))
    }
}

impl Deref for Admin {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        &self.client
    }
}

impl DerefMut for Admin {
    fn deref_mut(&mut self) -> &mut ClientWrapper {
        &mut self.client
    }
}
