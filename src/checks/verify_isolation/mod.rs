//! `pgwarden verify-isolation`: attacks a running proxy with the user's own schema, as one tenant on another, and judges
//! what comes back. Every attack runs in a transaction that is rolled back.

mod beyond;
mod client;
mod connection;
mod corpus;
mod judge;
mod report;
mod rest;
mod settings;
pub mod suite;
mod target;

use std::collections::HashSet;

pub use beyond::rights;
pub use connection::Connection;
pub use judge::Verdict;
pub use report::{Report, TableNote};

use self::beyond::{BEYOND, IN_ONE_DATABASE};
use self::client::{Answer, Session};
use self::corpus::{DATABASE_ATTACKS, GENERAL_ATTACKS, TABLE_ATTACKS, Template, Via};
use self::judge::{Expect, Marks, Owned, judge};
use self::suite::{Actor, Block};
use self::target::{Examined, Subject, Target};
use crate::catalog::FunctionKind;
use crate::config::{Layout, Tenant};
use crate::guard::{Policy, TableRule};
use crate::sql::{quote_identifier, quote_literal};

/// Why nothing could be proven.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A tenant cannot connect.
    #[error("connecting as tenant {who}: {error}")]
    Connect {
        /// `a` or `b`
        who: &'static str,
        /// The server's answer.
        error: String,
    },
    /// A tenant cannot read its own rows.
    #[error("a tenant cannot read its own rows of {table}: {error}")]
    Blind {
        /// The table.
        table: String,
        /// The server's answer.
        error: String,
    },
    /// There is nothing to attack.
    #[error("{0}")]
    Nothing(String),
}

/// A right of the attacker's role on the upstream.
#[derive(Clone, Debug)]
pub struct Right {
    /// The other tenant's table.
    pub table: String,
    /// The role.
    pub role: String,
    /// It is the attacker's alone, so that it should not have the right.
    pub own_role: bool,
}

/// What is attacked, and as whom.
#[derive(Debug)]
pub struct Input<'a> {
    /// Which tables are whose, where each of the tenants lives.
    pub policies: (&'a Policy, &'a Policy),
    /// The attacker and the other tenant.
    pub tenants: (&'a Tenant, &'a Tenant),
    /// How each connects to the proxy.
    pub connections: (Connection, Connection),
    /// What the attacker's role on the upstream may do with the other's tables, were the proxy not there.
    pub rights: Vec<Right>,
    /// The user's own tests, by file.
    pub suites: Vec<(String, Vec<Block>)>,
}

/// Attacks everything. `progress` is told what comes next, and how much of it there is.
///
/// # Errors
/// Nothing could be proven: no connection, no table, or no row of the other tenant.
pub async fn verify(input: &Input<'_>, progress: &mut dyn FnMut(&str)) -> Result<Report, VerifyError> {
    let (a, b) = &input.connections;
    let mut run = Run {
        a: connect("a", a).await?,
        b: connect("b", b).await?,
        marks: Marks::default(),
        report: Report::new(input.tenants.0.name.as_str(), input.tenants.1.name.as_str()),
    };
    let (attacker, other) = input.tenants;
    // Where both share tables, each table is attacked as the attacker's own.
    let shares =
        attacker.layout == Layout::Shared && other.layout == Layout::Shared && beyond::in_one_database(attacker, other);
    let targets =
        if shares { run.examine(input, progress).await? } else { run.examine_beyond(input, progress).await? };
    let before = run.fingerprints(&targets).await;
    for (at, target) in targets.iter().enumerate() {
        progress(&format!("table {} of {}: {}", at + 1, targets.len(), target.name));
        if shares {
            run.attack_table(target, TABLE_ATTACKS).await;
        } else {
            run.attack_table(target, BEYOND).await;
        }
        if !shares && beyond::in_one_database(attacker, other) {
            run.attack_table(target, IN_ONE_DATABASE).await;
        }
    }
    progress("functions, settings, the server");
    run.attack_server(input.policies.0, attacker).await;
    run.compare_settings().await;
    progress("what is left in the middle of a batch");
    run.leave_unfinished(a, &targets, &before).await;
    run.weigh(&input.rights);
    for (file, blocks) in &input.suites {
        progress(&format!("suite {file}: {} tests", blocks.len()));
        run.suite(file, blocks, input.tenants).await;
    }
    progress("the other tenant's rows, once more");
    run.compare(&targets, before).await;
    Ok(run.report)
}

async fn connect(who: &'static str, to: &Connection) -> Result<Session, VerifyError> {
    let session = Session::connect(to).await.map_err(|error| VerifyError::Connect { who, error })?;
    // So that an attack that gets through does not wait for others; refused is fine as well.
    session.simple("SET lock_timeout = '3s'").await;
    Ok(session)
}

/// tokio-postgres's own text says only "db error".
fn describe(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |db| format!("{} ({})", db.message(), db.code().code()))
}

struct Run {
    a: Session,
    b: Session,
    marks: Marks,
    report: Report,
}

impl Run {
    /// Looks at every tenant table as both tenants.
    async fn examine(&mut self, input: &Input<'_>, progress: &mut dyn FnMut(&str)) -> Result<Vec<Target>, VerifyError> {
        let (attacker, other) = input.tenants;
        let policy = input.policies.0;
        let mut own = HashSet::new();
        let mut targets = Vec::new();
        let mut subjects: Vec<Subject<'_>> = Vec::new();
        for (name, rule) in &policy.tables {
            let TableRule::Tenant(rule) = rule else { continue };
            // It has no tenant column to tell rows by, or some rows of it are everybody's.
            if !rule.tells_own_rows() {
                continue;
            }
            let keys = (attacker.keys.get(&rule.key), other.keys.get(&rule.key));
            let (Some(relation), (Some(own_key), Some(other_key))) = (policy.catalog.relations.get(name), keys) else {
                continue;
            };
            let setting = &policy.setting;
            let other_name = other.name.as_str();
            subjects.push(Subject { relation, column: &rule.column, own_key, other_key, other_name, setting });
        }
        subjects.sort_by(|x, y| x.relation.name.cmp(&y.relation.name));
        for subject in subjects {
            progress(&format!("reading {}", subject.relation.name));
            let Examined { target, own: held, other } = Target::examine(subject, &self.a, &self.b).await?;
            own.extend(held);
            self.marks.learn(other);
            self.report.tables.push(TableNote {
                table: target.name.to_string(),
                own_rows: target.own_rows,
                other_rows: target.other_rows,
            });
            targets.push(target);
        }
        self.marks.forget(&own);
        self.worth_it(targets)
    }

    fn worth_it(&self, targets: Vec<Target>) -> Result<Vec<Target>, VerifyError> {
        if targets.iter().all(|it| it.other_rows == 0) || self.marks.is_empty() {
            let what = "tenant b has no row of its own in any tenant table: attacks on it would prove nothing";
            return Err(VerifyError::Nothing(what.to_owned()));
        }
        Ok(targets)
    }

    /// Looks at the tables of a tenant who lives elsewhere, and at what the attacker holds itself.
    async fn examine_beyond(
        &mut self,
        input: &Input<'_>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Vec<Target>, VerifyError> {
        let (attacker, other) = input.tenants;
        let mut own = HashSet::new();
        for (relation, rows) in beyond::readable(input.policies.0, attacker) {
            progress(&format!("reading {} of tenant a", relation.name));
            let filter = rows.map(|(column, key)| format!("{} = {}", quote_identifier(column), quote_literal(key)));
            own.extend(target::held(relation, filter.as_deref(), &self.a).await?);
        }
        let mut targets = Vec::new();
        for table in beyond::tables(input.policies.1, other) {
            progress(&format!("reading {}", table.0.name));
            let setting = &input.policies.1.setting;
            let Examined { target, own: _, other } = beyond::examine(table, other, setting, &own, &self.b).await?;
            self.marks.learn(other);
            self.report.tables.push(TableNote {
                table: target.name.to_string(),
                own_rows: 0,
                other_rows: target.other_rows,
            });
            targets.push(target);
        }
        self.marks.forget(&own);
        self.worth_it(targets)
    }

    /// What the upstream itself would let the attacker's role do.
    fn weigh(&mut self, rights: &[Right]) {
        for right in rights {
            let what = format!("the upstream's role {} may use it", right.role);
            if right.own_role {
                let verdict = Verdict::Leak(format!("{what}: only the proxy stands between"));
                self.report.add(&right.table, "rights", &format!("as {}", right.role), verdict);
            } else {
                self.report
                    .notes
                    .push(format!("{}: {what}; a role of the tenant's own would be a second line", right.table));
            }
        }
    }

    async fn attack_table(&mut self, target: &Target, templates: &[Template]) {
        for template in templates {
            let Some(steps) = target.fill(template) else { continue };
            let owned = Owned { key: &target.own_key, rows: target.own_rows };
            let data = target.copy_row().map(|row| format!("{row}\n")).unwrap_or_default();
            let verdict = self.attack(template, &steps, &data, &target.other_key, owned).await;
            self.report.add(&target.name.to_string(), template.family, &steps.join("; "), verdict);
        }
    }

    async fn attack_server(&mut self, policy: &Policy, attacker: &Tenant) {
        let nobody = Owned { key: "", rows: 0 };
        let further = if attacker.layout == Layout::Database { &[] } else { DATABASE_ATTACKS };
        for template in GENERAL_ATTACKS.iter().chain(further) {
            let steps: Vec<String> = template.steps.iter().map(|it| (*it).to_owned()).collect();
            let verdict = self.attack(template, &steps, "", "", nobody).await;
            self.report.add("server", template.family, &steps.join("; "), verdict);
        }
        let call = Template { family: "function", via: Via::Simple, steps: &[], expect: Expect::Unmarked };
        let own = policy.catalog.functions.values().flatten().filter(|it| {
            let system = matches!(it.name.schema.as_str(), "pg_catalog" | "information_schema");
            !system && it.extension.is_none() && it.arg_types.is_empty() && it.kind == FunctionKind::Function
        });
        let mut calls: Vec<String> = own
            .map(|it| it.name.clone())
            .map(|it| format!("SELECT * FROM \"{}\".\"{}\"()", it.schema, it.name))
            .collect();
        calls.sort();
        calls.extend(beyond::views(policy, attacker));
        for sql in calls {
            let verdict = self.attack(&call, std::slice::from_ref(&sql), "", "", nobody).await;
            self.report.add("functions", "function", &sql, verdict);
        }
    }

    /// Runs the steps in a transaction, rolls it back, and judges the last answer; marks are looked for in all.
    async fn attack(
        &mut self,
        template: &Template,
        steps: &[String],
        data: &str,
        key: &str,
        owned: Owned<'_>,
    ) -> Verdict {
        if let Err(error) = self.a.revive().await {
            return Verdict::Failed(error);
        }
        let asked = format!("{} {data} {key}", steps.join(" "));
        self.a.simple("BEGIN").await;
        let mut verdict = Verdict::Failed("nothing was sent".to_owned());
        for (at, step) in steps.iter().enumerate() {
            let last = at + 1 == steps.len();
            let answer = match template.via {
                Via::Prepared if last => self.a.prepared(step, &[key.to_owned()]).await,
                Via::CopyOut if last => self.a.copy_out(step).await,
                Via::CopyIn if last => self.a.copy_in(step, data).await,
                Via::Simple | Via::Prepared | Via::CopyOut | Via::CopyIn => self.a.simple(step).await,
            };
            let expect = if last { template.expect } else { Expect::Unmarked };
            verdict = judge(&answer, expect, owned, &self.marks, &asked);
            if matches!(verdict, Verdict::Leak(_)) || answer.error.is_some() {
                break;
            }
        }
        self.a.simple("ROLLBACK").await;
        verdict
    }

    async fn suite(&mut self, file: &str, blocks: &[Block], (one, other): (&Tenant, &Tenant)) {
        let key = |tenant: &Tenant| tenant.keys.default.as_deref().map_or_else(|| "NULL".to_owned(), quote_literal);
        for block in blocks {
            let sql = block.sql.replace(":tenant_a", &key(one)).replace(":tenant_b", &key(other));
            let session = match block.actor {
                Actor::A => &mut self.a,
                Actor::B => &mut self.b,
            };
            let verdict = match session.revive().await {
                Err(error) => Verdict::Failed(error),
                Ok(()) => {
                    session.simple("BEGIN").await;
                    let answer = session.simple(&sql).await;
                    session.simple("ROLLBACK").await;
                    let shown = match block.actor {
                        Actor::A => self.marks.found(&answer, &sql),
                        Actor::B => None,
                    };
                    suite_verdict(block, &answer, shown)
                }
            };
            self.report.add(file, &block.title, sql.trim(), verdict);
        }
    }

    async fn fingerprints(&mut self, targets: &[Target]) -> Vec<Answer> {
        let mut all = Vec::with_capacity(targets.len());
        for target in targets {
            all.push(target.fingerprint(&self.b).await);
        }
        all
    }

    /// Nothing of the other tenant's has changed, whatever was rolled back.
    async fn compare(&mut self, targets: &[Target], before: Vec<Answer>) {
        if let Err(error) = self.b.revive().await {
            self.report.add("server", "unchanged", "connecting as tenant b", Verdict::Failed(error));
            return;
        }
        let after = self.fingerprints(targets).await;
        for ((target, before), after) in targets.iter().zip(before).zip(after) {
            let verdict = match (&before.error, before == after) {
                (Some(error), _) => Verdict::Failed(error.message.clone()),
                (None, true) => Verdict::Held,
                (None, false) => Verdict::Leak("rows of tenant b have changed meanwhile".to_owned()),
            };
            self.report.add(&target.name.to_string(), "unchanged", "rows of tenant b before and after", verdict);
        }
    }
}

fn suite_verdict(block: &Block, answer: &Answer, shown: Option<String>) -> Verdict {
    match (shown, block.expect.missed(answer), &answer.error) {
        (Some(mark), _, _) => Verdict::Leak(format!("the other tenant's value {mark:?} was shown")),
        (None, Some(missed), _) => Verdict::Leak(format!("expected otherwise: {missed}")),
        (None, None, Some(error)) => Verdict::Refused(format!("{} {}", error.code, error.message)),
        (None, None, None) => Verdict::Held,
    }
}
