//! Rows that an observed session's UPDATE and DELETE touch: whose are they? Nothing of them passes by, so the server is asked
//! before such a statement is sent, on a connection that is not the client's; the statement waits for the answer, and is sent
//! as it is whatever that says.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use super::observation::ObservedTenant;
use super::observed_copy::is_named;
use super::offload::LONG_TEXT;
use super::{Session, Wait};
use crate::base::{Oid, Refusal, RefusalKind, SqlState};
use crate::catalog::Volatility;
use crate::guard::value::TenantValue;
use crate::guard::{Policy, TableRule, TenantTable, Through};
use crate::session::foreign_rows::{ForeignRows, RowQuestion, RowValue};
use crate::sql::{Pinned, Touched, quote_identifier, quote_literal, quote_qualified, touched};

/// So many statements of one text are asked for. Those behind them are counted as not looked at.
const MAX_QUESTIONS: usize = 8;
/// So many texts that gave no answer are known by a session, and not asked for again.
const MAX_DUMB: usize = 1_000;

/// What is to be asked before the message at hand is sent.
pub struct Asking {
    questions: Vec<RowQuestion>,
    asked: Arc<ForeignRows>,
}

impl Asking {
    /// The answers, in the order of the questions. Behind one that did not come nothing more is asked: the client waits.
    pub async fn answers(&self) -> Vec<Option<bool>> {
        let mut answers = Vec::new();
        for question in &self.questions {
            let answer = match answers.last() {
                Some(None) => None,
                Some(Some(_)) | None => self.asked.are_touched(question).await,
            };
            answers.push(answer);
        }
        answers
    }
}

/// What an observed session asks.
pub(super) struct ObservedWrites {
    asked: Arc<ForeignRows>,
    due: Vec<RowQuestion>,
    /// What went out to be asked: the table and the statement of each.
    pending: Vec<(Arc<str>, String)>,
    /// Texts that gave no answer in time.
    dumb: HashSet<u64>,
    hasher: RandomState,
}

impl ObservedWrites {
    pub fn new(asked: Arc<ForeignRows>) -> Self {
        Self { asked, due: Vec::new(), pending: Vec::new(), dumb: HashSet::new(), hasher: RandomState::new() }
    }

    /// A text that the guard would pass is sent for this tenant. Whether all of it can be judged.
    pub fn note(&mut self, policy: &Policy, tenant: &ObservedTenant, sql: &str, values: &[RowValue]) -> bool {
        // Elsewhere other tenants' rows are in other schemas or databases.
        if !tenant.mode.is_shared() || sql.len() >= LONG_TEXT {
            return true;
        }
        let statements = touched(sql, &policy.limits, policy.catalog.server_version_num);
        statements.into_iter().all(|it| self.note_one(policy, tenant, sql, &it, values))
    }

    fn note_one(
        &mut self,
        policy: &Policy,
        tenant: &ObservedTenant,
        sql: &str,
        touched: &Touched,
        values: &[RowValue],
    ) -> bool {
        let rule = policy.tables.iter().find(|(name, _)| is_named(name, &touched.table, policy));
        let Some((name, TableRule::Tenant(table))) = rule else { return true };
        let Some(key) = tenant.keys.get(&table.key) else { return true };
        // Those are seen as they pass.
        if table.through.is_none() && (touched.returns(&table.column) || names_own(touched, table, key, values)) {
            return true;
        }
        // What a function does would be done twice.
        if touched.calls().iter().any(|name| is_volatile(policy, name)) {
            return false;
        }
        if self.due.len() >= MAX_QUESTIONS || self.dumb.contains(&self.hasher.hash_one(sql)) {
            return false;
        }
        let Some(query) = touched.question(&name.schema, &foreign(table, &touched.alias, key)) else { return false };
        let values = values.iter().zip(1..).map(|(value, number)| match query.params.contains(&number) {
            true => value.clone(),
            false => RowValue::UNUSED,
        });
        self.due.push(RowQuestion {
            text: query.text,
            search_path: policy.search_path.clone(),
            values: values.collect(),
        });
        self.pending.push((name.to_string().into(), sql.to_owned()));
        true
    }
}

impl Session {
    /// Before a message is sent that touches rows which do not pass by.
    pub(super) fn ask_whose(&mut self) -> Result<(), Wait> {
        let Some(writes) = self.observation.as_deref_mut().map(|it| &mut it.writes) else { return Ok(()) };
        if writes.due.is_empty() {
            return Ok(());
        }
        let questions = std::mem::take(&mut writes.due);
        self.current.asked = true;
        Err(Wait::Rows(Box::new(Asking { questions, asked: Arc::clone(&writes.asked) })))
    }

    /// What [`Wait::Rows`] waits for has come: the message at hand is gone on with.
    pub fn answered(&mut self, answers: &[Option<bool>]) {
        let Some(writes) = self.observation.as_deref_mut().map(|it| &mut it.writes) else { return };
        let pending = std::mem::take(&mut writes.pending);
        for ((table, sql), answer) in pending.into_iter().zip(answers) {
            match answer {
                Some(true) => self.env.observer.would_refuse(&foreign_writes(&table), &sql),
                Some(false) => {}
                None => {
                    if writes.dumb.len() < MAX_DUMB {
                        writes.dumb.insert(writes.hasher.hash_one(sql.as_str()));
                    }
                    self.env.observer.not_judged();
                }
            }
        }
    }
}

/// Whether a function of that name may do more than compute.
fn is_volatile(policy: &Policy, name: &str) -> bool {
    let known = policy.catalog.functions.get(name);
    known.is_none_or(|found| found.iter().any(|function| function.volatility == Volatility::Volatile))
}

/// Whether the conditions name the tenant's own value for the tenant column.
fn names_own(touched: &Touched, table: &TenantTable, key: &str, values: &[RowValue]) -> bool {
    let named = match touched.pinned(&table.column) {
        None => return false,
        Some(Pinned::Literal(text)) => TenantValue::from_text(table.type_oid, &text),
        Some(Pinned::Param(number)) => {
            values.get(usize::from(number).wrapping_sub(1)).and_then(|it| it.read(table.type_oid))
        }
    };
    named.is_some() && named == TenantValue::from_text(table.type_oid, key)
}

/// A row of the relation that is called `alias` is not the tenant's own.
fn foreign(table: &TenantTable, alias: &str, key: &str) -> String {
    let column = format!("{}.{}", quote_identifier(alias), quote_identifier(&table.column));
    match table.through.as_deref() {
        None => format!("{column} IS DISTINCT FROM {}::{}", quote_literal(key), table.type_name),
        Some(way) => format!("NOT EXISTS ({})", parent(way, &column, key, 1)),
    }
}

/// The tenant's own row that a foreign key leads to.
fn parent(way: &Through, child: &str, key: &str, depth: usize) -> String {
    let Through { parent: table, key: column, rule, child: _, constraint: _, type_name: _ } = way;
    let alias = format!("pgwarden_parent_{depth}");
    let own = format!("{alias}.{}", quote_identifier(&rule.column));
    let is_own = match rule.through.as_deref() {
        None => format!("{own} = {}::{}", quote_literal(key), rule.type_name),
        Some(next) => format!("EXISTS ({})", parent(next, &own, key, depth + 1)),
    };
    let table = quote_qualified(table);
    format!("SELECT 1 FROM {table} {alias} WHERE {alias}.{} = {child} AND {is_own}", quote_identifier(column))
}

/// What the guard would not refuse, but leave alone.
fn foreign_writes(table: &str) -> Refusal {
    let message = "rows of another tenant were updated or deleted";
    Refusal::new(RefusalKind::ForeignTenant, SqlState::INSUFFICIENT_PRIVILEGE, message)
        .hint("With the guard, the statement touches the tenant's own rows only.")
        .about(table)
}

/// A bound parameter.
pub(super) fn row_value(bytes: Option<&[u8]>, binary: bool, declared: Oid) -> RowValue {
    RowValue { bytes: bytes.map(<[u8]>::to_vec), binary, declared }
}
