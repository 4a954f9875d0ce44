//! A session that acts for nobody yet, of a login that acts for several tenants: it reads and writes nothing. And look-ups that are
//! for such sessions alone, called by one that acts for a tenant.

use super::Run;
use super::corpus::{Template, Via, simple};
use super::judge::Expect::Refused;
use super::judge::{Owned, Verdict};
use super::target::Target;
use crate::guard::Policy;
use crate::sql::quote_qualified;

const FAMILY: &str = "nobody";

/// Attacks on each table.
const FOR_NOBODY: &[Template] = &[
    simple(FAMILY, &["SELECT * FROM {t}"], Refused),
    simple(FAMILY, &["SELECT count(*) FROM {t}"], Refused),
    simple(FAMILY, &["WITH q AS (SELECT * FROM {t}) SELECT EXISTS (SELECT 1 FROM q)"], Refused),
    simple(FAMILY, &["INSERT INTO {t} ({cols}, {col}) VALUES ({vals}, {b})"], Refused),
    simple(FAMILY, &["UPDATE {t} SET {set} = {set}"], Refused),
    simple(FAMILY, &["DELETE FROM {t}"], Refused),
    simple(FAMILY, &["DECLARE c CURSOR FOR SELECT * FROM {t}", "FETCH ALL FROM c"], Refused),
    Template { family: FAMILY, via: Via::CopyOut, steps: &["COPY {t} TO STDOUT"], expect: Refused },
    Template {
        family: FAMILY,
        via: Via::Prepared,
        steps: &["SELECT {id}::text FROM {t} WHERE {col}::text = $1"],
        expect: Refused,
    },
];

impl Run {
    /// As a session of the attacker's login that has named no tenant.
    pub(super) async fn as_nobody(&mut self, targets: &[Target]) {
        let Some(nobody) = self.nobody.take() else { return };
        let attacker = std::mem::replace(&mut self.a, nobody);
        for target in targets {
            self.attack_table(target, FOR_NOBODY).await;
        }
        self.nobody = Some(std::mem::replace(&mut self.a, attacker));
    }

    /// Look-ups are refused to a session that acts for a tenant.
    pub(super) async fn look_up(&mut self, policy: &Policy) {
        let looks_up =
            policy.catalog.functions.values().flatten().filter(|it| policy.without_tenant.contains(&it.name));
        let mut calls: Vec<String> = looks_up
            .map(|it| {
                format!("SELECT * FROM {}({})", quote_qualified(&it.name), vec!["NULL"; it.arg_types.len()].join(", "))
            })
            .collect();
        calls.sort();
        let call = Template { family: FAMILY, via: Via::Simple, steps: &[], expect: Refused };
        let owner = Owned { key: "", rows: 0, null_is_shared: false };
        for sql in calls {
            let verdict: Verdict = self.attack(&call, std::slice::from_ref(&sql), "", "", owner).await;
            self.report.add("functions", FAMILY, &sql, verdict);
        }
    }
}
