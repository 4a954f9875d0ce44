//! Rows that an observed session reads: whose are they? Looked at where the result has a tenant column, as they pass by.

use std::collections::HashMap;
use std::sync::Arc;

use super::Session;
use super::observation::ObservedTenant;
use super::replies::{Disposition, Expected, Kind, Subject};
use crate::base::{KeyName, Oid, Refusal, RefusalKind, SqlState};
use crate::guard::value::TenantValue;
use crate::guard::{Policy, TableRule};
use crate::wire::backend::{Field, data_row, row_description};
use crate::wire::frame::{Head, UpstreamLimits, peek_head};
use crate::wire::reader::Codes;

/// So many prepared statements of one session are known by their columns. Beyond, all are forgotten.
const MAX_KNOWN: usize = 1_000;

/// A tenant column of a table.
#[derive(Clone, Debug)]
struct Owner {
    table: Arc<str>,
    type_oid: Oid,
    key: KeyName,
    /// NULL is everybody's.
    null_is_shared: bool,
}

/// A tenant column of a result.
#[derive(Clone, Debug)]
struct OwnerColumn {
    at: usize,
    owner: Owner,
    /// As the server said: of a statement that is not bound yet nobody knows.
    binary: Option<bool>,
}

/// Result formats of the Binds of one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Formats {
    Same(Vec<u16>),
    /// Which of them a row has is not known.
    Mixed,
}

/// What is known of results.
#[derive(Default)]
pub(super) struct ObservedRows {
    /// Tenant columns by table and number, of the policy of this epoch.
    owners: HashMap<(Oid, i16), Owner>,
    epoch: u64,
    /// Of the Query that runs.
    query: Vec<OwnerColumn>,
    /// Of prepared statements, by their Parse.
    prepared: HashMap<u64, Vec<OwnerColumn>>,
    formats: HashMap<u64, Formats>,
    /// The result that runs was told of.
    told: bool,
    /// Where the tenant is not known: whose the first row was.
    first: Option<TenantValue>,
}

impl ObservedRows {
    /// A statement is bound with these result formats.
    pub fn bound(&mut self, parse: u64, codes: &Codes<'_>) {
        // Postgres has no more columns in a result.
        let codes: Vec<u16> = codes.iter().take(1_665).collect();
        if self.formats.len() >= MAX_KNOWN {
            self.formats.clear();
        }
        let known = self.formats.entry(parse).or_insert_with(|| Formats::Same(codes.clone()));
        if *known != Formats::Same(codes) {
            *known = Formats::Mixed;
        }
    }

    fn of_policy(&mut self, policy: &Policy) {
        if self.epoch == policy.epoch {
            return;
        }
        self.epoch = policy.epoch;
        let owners = policy.tables.iter().filter_map(|(name, rule)| {
            let TableRule::Tenant(table) = rule else { return None };
            let relation = policy.catalog.relations.get(name).filter(|_| table.through.is_none())?;
            let owner = Owner {
                table: name.to_string().into(),
                type_oid: table.type_oid,
                key: table.key.clone(),
                null_is_shared: table.null_is_shared,
            };
            Some(((relation.oid, relation.column(&table.column)?.attnum), owner))
        });
        self.owners = owners.collect();
    }

    fn columns(&self, fields: &[Field], with_formats: bool) -> Vec<OwnerColumn> {
        let fields = fields.iter().enumerate().filter_map(|(at, field)| {
            let owner = self.owners.get(&(field.table, field.attribute))?.clone();
            Some(OwnerColumn { at, owner, binary: with_formats.then_some(field.format == 1) })
        });
        fields.collect()
    }

    fn is_binary(&self, column: &OwnerColumn, parse: Option<u64>) -> Option<bool> {
        column.binary.or_else(|| match self.formats.get(&parse?)? {
            Formats::Mixed => None,
            Formats::Same(codes) => Some(match codes.as_slice() {
                [] => false,
                [all] => *all == 1,
                each => *each.get(column.at)? == 1,
            }),
        })
    }

    /// A table of which a row is another tenant's.
    fn foreign(
        &mut self,
        row: &[Option<&[u8]>],
        parse: Option<u64>,
        tenant: Option<&ObservedTenant>,
    ) -> Option<Arc<str>> {
        let columns = match parse {
            None => self.query.clone(),
            Some(parse) => self.prepared.get(&parse)?.clone(),
        };
        columns.into_iter().find_map(|column| {
            let Owner { table, type_oid, key, null_is_shared } = &column.owner;
            let Some(bytes) = row.get(column.at)? else {
                return (!null_is_shared && tenant.is_some()).then(|| Arc::clone(table));
            };
            let value = match self.is_binary(&column, parse)? {
                true => TenantValue::from_binary(*type_oid, bytes),
                false => TenantValue::from_text(*type_oid, std::str::from_utf8(bytes).ok()?),
            }?;
            let own = match tenant {
                Some(tenant) => TenantValue::from_text(*type_oid, tenant.keys.get(key)?)?,
                None => self.first.get_or_insert_with(|| value.clone()).clone(),
            };
            (own != value).then(|| Arc::clone(table))
        })
    }
}

impl Session {
    /// A RowDescription of the server's comes next.
    pub(super) fn observe_columns(&mut self, input: &[u8], head: Head) {
        let Some(rows) = self.observation.as_deref_mut().map(|it| &mut it.rows) else { return };
        rows.of_policy(&self.context.backend.guard.policy());
        // One that has not come whole is not known.
        let body = input.get(Head::LEN..head.frame_len()).unwrap_or_default();
        let fields = row_description(body).unwrap_or_default();
        let Some(Expected { kind, disposition: Disposition::Forward, .. }) = self.server.replies.head() else { return };
        match kind {
            Kind::Query(_) => (rows.query, rows.told, rows.first) = (rows.columns(&fields, true), false, None),
            Kind::DescribeStatement(statement) => {
                let columns = rows.columns(&fields, false);
                rows.know(statement.parse, columns);
            }
            Kind::DescribePortal(Some(statement)) => {
                let columns = rows.columns(&fields, true);
                rows.know(statement.parse, columns);
            }
            Kind::DescribePortal(None)
            | Kind::Parse { .. }
            | Kind::Bind { .. }
            | Kind::OwnBind
            | Kind::Execute(_)
            | Kind::Close(_)
            | Kind::Sync
            | Kind::Loaded
            | Kind::Local { .. } => {}
        }
    }

    /// Whole DataRow messages that go to the client.
    pub(super) fn observe_rows(&mut self, mut frames: &[u8]) {
        let Some(observation) = self.observation.as_deref_mut() else { return };
        let tenant = observation.tenant().cloned();
        let rows = &mut observation.rows;
        let (parse, sql) = match self.server.replies.head().map(|expected| &expected.kind) {
            Some(Kind::Query(run)) => (None, run.subject.guarded().map(|guarded| guarded.text().into_owned())),
            Some(Kind::Execute(run)) => match &run.subject {
                Subject::Statement(statement) => (Some(statement.parse), Some(statement.guarded.text().into_owned())),
                Subject::Script(_) | Subject::None => return,
            },
            _ => return,
        };
        while !rows.told
            && let Ok(Some(head)) = peek_head(frames, &UpstreamLimits)
            && let Some((frame, rest)) = frames.split_at_checked(head.frame_len())
        {
            frames = rest;
            let row = frame.get(Head::LEN..).filter(|_| head.tag == b'D').and_then(|body| data_row(body).ok());
            let Some(row) = row else { continue };
            if let Some(table) = rows.foreign(&row, parse, tenant.as_ref()) {
                rows.told = true;
                self.env
                    .observer
                    .would_refuse(&foreign_rows(&table, tenant.is_some()), sql.as_deref().unwrap_or_default());
            }
        }
    }

    /// A portal's result begins.
    pub(super) fn observe_execute(&mut self) {
        if let Some(observation) = self.observation.as_deref_mut() {
            (observation.rows.told, observation.rows.first) = (false, None);
        }
    }
}

impl ObservedRows {
    fn know(&mut self, parse: u64, columns: Vec<OwnerColumn>) {
        if self.prepared.len() >= MAX_KNOWN {
            self.prepared.clear();
        }
        self.prepared.insert(parse, columns);
    }
}

/// What the guard would not refuse, but keep from the client.
pub(super) fn foreign_rows(table: &str, known: bool) -> Refusal {
    let message = if known { "rows of another tenant were read" } else { "rows of several tenants were read" };
    Refusal::new(RefusalKind::ForeignTenant, SqlState::INSUFFICIENT_PRIVILEGE, message)
        .hint("With the guard, the statement gives the tenant's own rows only.")
        .about(table)
}
