//! `pgwarden verify-isolation`: attacks a running proxy with the user's own schema, as one tenant on another, and judges
//! what comes back. Every attack runs in a transaction that is rolled back; what is planted before is deleted after.

mod attack;
mod between;
mod beyond;
mod client;
mod connection;
mod copy;
mod corpus;
mod html;
mod judge;
mod marks;
mod nobody;
mod owner;
mod plant;
mod report;
mod rest;
mod settings;
pub mod suite;
mod target;

pub use beyond::rights;
pub use connection::Connection;
pub use judge::Verdict;
pub use plant::Facts;
pub use report::{Report, TableNote};

use self::beyond::{BEYOND, IN_ONE_DATABASE};
use self::client::{Answer, LOCK_TIMEOUT, Session};
use self::corpus::{EVERYBODYS_ROWS, NOBODYS_ROWS, TABLE_ATTACKS, THROUGH_ATTACKS};
use self::marks::Marks;
use self::plant::Planted;
use self::suite::Block;
use self::target::{Examined, Held, Subject, Target};
use crate::base::Oid;
use crate::config::{Layout, Tenant};
use crate::guard::Policy;

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
        /// It is that it may not.
        denied: bool,
    },
    /// There is nothing to attack.
    #[error("{0}")]
    Nothing(String),
    /// It was told to stop; what it planted and could not take away, if anything.
    #[error("interrupted{}", .0.iter().map(|it| format!("\n{it}")).collect::<String>())]
    Stopped(Vec<String>),
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
    /// How the attacker's login connects without naming a tenant, if it may.
    pub nobody: Option<Connection>,
    /// What the attacker's role on the upstream may do with the other's tables, were the proxy not there.
    pub rights: Vec<Right>,
    /// What decides where rows with canaries can be planted; `None` where nothing is to be written.
    pub plant: Option<Facts>,
    /// The user's own tests, by file.
    pub suites: Vec<(String, Vec<Block>)>,
}

/// What comes next, and where it is counted, how much of it is done.
pub type Progress<'a> = dyn FnMut(&str, Option<(usize, usize)>) + Send + 'a;

/// Attacks everything, until it is told to `stop`; `progress` is told what comes next. What it plants it takes away again,
/// however it ends.
///
/// # Errors
/// Nothing could be proven: no connection, no table, or no row of the other tenant.
pub async fn verify(
    input: &Input<'_>,
    progress: &mut Progress<'_>,
    stop: impl Future<Output = ()>,
) -> Result<Report, VerifyError> {
    let (a, b) = &input.connections;
    let mut run = Run {
        a: connect("a", a).await?,
        b: connect("b", b).await?,
        nobody: match &input.nobody {
            Some(nobody) => Some(connect("a, naming none", nobody).await?),
            None => None,
        },
        marks: Marks::default(),
        held: Held::default(),
        report: Report::new(input.tenants.0.name.as_str(), input.tenants.1.name.as_str()),
    };
    let mut gardener = connect("b", b).await?;
    let planted = plant_all(input, progress, &gardener).await;
    run.marks = Marks::planted(planted.nonce.clone(), planted.numbers.clone()).unless(planted.is_empty());
    let ended = tokio::select! {
        ended = run.everything(input, &planted, progress) => Some(ended),
        () = stop => None,
    };
    progress("taking away what was planted", None);
    let left = planted.remove(&mut gardener).await;
    match ended {
        None => Err(VerifyError::Stopped(left)),
        Some(Err(error)) => Err(error),
        Some(Ok(())) => {
            for what in left {
                run.report.add("server", "planted", "DELETE", Verdict::Failed(what));
            }
            Ok(run.report)
        }
    }
}

/// Rows of the other tenant with canaries, wherever they can be.
async fn plant_all(input: &Input<'_>, progress: &mut Progress<'_>, session: &Session) -> Planted {
    let mut planted = Planted::new();
    let Some(facts) = &input.plant else { return planted };
    let mut plots = beyond::tables(input.policies.1, input.tenants.1);
    plant::parents_first(&mut plots);
    for (at, plot) in plots.iter().enumerate() {
        progress(&format!("planting in {}", plot.relation.name), Some((at, plots.len())));
        planted.add(plot, facts, session).await;
    }
    planted
}

async fn connect(who: &'static str, to: &Connection) -> Result<Session, VerifyError> {
    let session = Session::connect(to).await.map_err(|error| VerifyError::Connect { who, error })?;
    session.simple(LOCK_TIMEOUT).await;
    Ok(session)
}

/// tokio-postgres's own text says only "db error".
fn describe(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |db| format!("{} ({})", db.message(), db.code().code()))
}

struct Run {
    a: Session,
    b: Session,
    nobody: Option<Session>,
    marks: Marks,
    held: Held,
    report: Report,
}

impl Run {
    async fn everything(
        &mut self,
        input: &Input<'_>,
        planted: &Planted,
        progress: &mut Progress<'_>,
    ) -> Result<(), VerifyError> {
        let (attacker, other) = input.tenants;
        // Where both share tables, each table is attacked as the attacker's own.
        let shares = attacker.layout == Layout::Shared
            && other.layout == Layout::Shared
            && beyond::in_one_database(attacker, other);
        let targets = if shares {
            self.examine(input, planted, progress).await?
        } else {
            self.examine_beyond(input, planted, progress).await?
        };
        self.worth_it(&targets)?;
        let before = self.fingerprints(&targets).await;
        for (at, target) in targets.iter().enumerate() {
            let (number, all) = (at + 1, targets.len());
            progress(&format!("table {number} of {all}: {}", target.name), Some((at, all)));
            if shares {
                self.attack_table(target, TABLE_ATTACKS).await;
            } else {
                self.attack_table(target, BEYOND).await;
            }
            if target.is_through {
                self.attack_table(target, THROUGH_ATTACKS).await;
            } else if shares {
                let of_nobody = if target.null_is_shared { EVERYBODYS_ROWS } else { NOBODYS_ROWS };
                self.attack_table(target, of_nobody).await;
            }
            if !shares && beyond::in_one_database(attacker, other) {
                self.attack_table(target, IN_ONE_DATABASE).await;
            }
        }
        if shares {
            progress("as nobody", None);
            self.as_nobody(&targets).await;
        }
        progress("functions, settings, the server", None);
        self.attack_server(input.policies.0, attacker).await;
        self.look_up(input.policies.0).await;
        self.meet(input).await;
        self.compare_settings().await;
        progress("what is left in the middle of a batch", None);
        self.leave_unfinished(&input.connections.0, &targets, &before).await;
        self.weigh(&input.rights);
        for (file, blocks) in &input.suites {
            progress(&format!("suite {file}: {} tests", blocks.len()), None);
            self.suite(file, blocks, input.tenants).await;
        }
        progress("the other tenant's rows, once more", None);
        self.compare(&targets, before).await;
        Ok(())
    }

    /// Looks at every tenant table as both tenants.
    async fn examine(
        &mut self,
        input: &Input<'_>,
        planted: &Planted,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<Target>, VerifyError> {
        let (attacker, other) = input.tenants;
        let policy = input.policies.0;
        let known = policy.tables.keys().filter_map(|name| {
            let (relation, rule) = (policy.catalog.relations.get(name)?, owner::rule(policy, name)?);
            let is_known = attacker.keys.get(&rule.key).is_some() && other.keys.get(&rule.key).is_some();
            is_known.then_some((relation, rule))
        });
        let mut known: Vec<_> = known.collect();
        known.sort_by(|(x, _), (y, _)| x.name.cmp(&y.name));
        let mut targets = Vec::new();
        let all = known.len();
        for (at, (relation, rule)) in known.into_iter().enumerate() {
            progress(&format!("reading {}", relation.name), Some((at, all)));
            let (setting, planted_row) = (&policy.setting, planted.row(relation.oid));
            let subject = Subject { relation, rule, attacker, other, setting, planted: planted_row };
            match Target::examine(subject, &self.a, &self.b).await {
                Ok(examined) => targets.push(self.noted(examined, relation.oid, planted)),
                // A partition, say, on which the upstream's role has no rights: by its name, nobody reads it.
                Err(error @ VerifyError::Blind { denied: true, .. }) => {
                    self.report.notes.push(format!("{} was not attacked: {error}", relation.name));
                }
                Err(error) => return Err(error),
            }
        }
        for relation in beyond::shared(policy, attacker) {
            self.held.extend(target::held(relation, None, &self.a).await?);
        }
        self.marks.forget(&self.held.values);
        Ok(targets)
    }

    /// Takes in what a look at a table gave.
    fn noted(&mut self, Examined { target, own, telling }: Examined, table: Oid, planted: &Planted) -> Target {
        self.held.extend(own);
        for row in &telling {
            self.marks.learn(row.iter().map(String::as_str));
        }
        let why = planted.without.iter().find(|(name, _)| *name == target.name);
        self.report.tables.push(TableNote {
            table: target.name.to_string(),
            own_rows: target.own_rows,
            other_rows: target.other_rows,
            planted: planted.row(table).is_some(),
            without: why.map(|(_, why)| why.clone()),
        });
        target
    }

    fn worth_it(&self, targets: &[Target]) -> Result<(), VerifyError> {
        if targets.iter().all(|it| it.other_rows == 0) || self.marks.is_empty() {
            let what = "tenant b has no row of its own in any tenant table: attacks on it would prove nothing";
            return Err(VerifyError::Nothing(what.to_owned()));
        }
        Ok(())
    }

    /// Looks at the tables of a tenant who lives elsewhere, and at what the attacker holds itself.
    async fn examine_beyond(
        &mut self,
        input: &Input<'_>,
        planted: &Planted,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<Target>, VerifyError> {
        let (attacker, other) = input.tenants;
        for (relation, filter) in beyond::readable(input.policies.0, attacker) {
            progress(&format!("reading {} of tenant a", relation.name), None);
            self.held.extend(target::held(relation, filter.as_deref(), &self.a).await?);
        }
        let own = self.held.clone();
        let mut targets = Vec::new();
        for table in beyond::tables(input.policies.1, other) {
            let oid = table.relation.oid;
            progress(&format!("reading {}", table.relation.name), None);
            let setting = &input.policies.1.setting;
            let examined = beyond::examine(table, planted.row(oid), other, setting, &own, &self.b).await?;
            targets.push(self.noted(examined, oid, planted));
        }
        self.marks.forget(&self.held.values);
        Ok(targets)
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
