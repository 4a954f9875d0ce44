//! Carries attacks out, and judges what they are answered.

use super::Run;
use super::beyond::views;
use super::client::Answer;
use super::corpus::{DATABASE_ATTACKS, GENERAL_ATTACKS, Template, Via};
use super::judge::{Expect, Judged, Owned, Verdict, judge};
use super::marks::Found;
use super::suite::{Actor, Block};
use super::target::Target;
use crate::catalog::FunctionKind;
use crate::config::{Layout, Tenant};
use crate::guard::Policy;
use crate::sql::quote_literal;

impl Run {
    pub(super) async fn attack_table(&mut self, target: &Target, templates: &[Template]) {
        for template in templates {
            let Some(steps) = target.fill(template) else { continue };
            let owned = Owned { key: &target.own_key, rows: target.own_rows, null_is_shared: target.null_is_shared };
            let data = target.copy_row().map(|row| format!("{row}\n")).unwrap_or_default();
            let verdict = self.attack(template, &steps, &data, &target.other_key, owned).await;
            self.report.add(&target.name.to_string(), template.family, &steps.join("; "), verdict);
        }
    }

    pub(super) async fn attack_server(&mut self, policy: &Policy, attacker: &Tenant) {
        let nobody = Owned { key: "", rows: 0, null_is_shared: false };
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
        calls.extend(views(policy, attacker));
        for sql in calls {
            let verdict = self.attack(&call, std::slice::from_ref(&sql), "", "", nobody).await;
            self.report.add("functions", "function", &sql, verdict);
        }
    }

    /// Runs the steps in a transaction, rolls it back, and judges the last answer; marks are looked for in all.
    pub(super) async fn attack(
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
        // What was not sent was not asked for: a canary that comes back is the other tenant's.
        let sent = match template.via {
            Via::CopyIn => data,
            Via::Prepared => key,
            Via::Simple | Via::CopyOut => "",
        };
        let asked = format!("{} {sent}", steps.join(" "));
        let answers = self.answers(template, steps, data, key).await;
        let mut verdict = Verdict::Failed("nothing was sent".to_owned());
        for (at, answer) in answers.iter().enumerate() {
            let expect = if at + 1 == steps.len() { template.expect } else { Expect::Unmarked };
            verdict = self.judged(answer, expect, owned, &asked).await;
            if matches!(verdict, Verdict::Leak(_)) {
                break;
            }
        }
        verdict
    }

    /// What each step is answered, up to the first error.
    async fn answers(&self, template: &Template, steps: &[String], data: &str, key: &str) -> Vec<Answer> {
        if let (Via::Simple, [step]) = (template.via, steps) {
            // All that is there to say: it need not wait for answers in between.
            let (begun, mut answer, ended) =
                tokio::join!(self.a.simple("BEGIN"), self.a.simple(step), self.a.simple("ROLLBACK"));
            answer.heard.extend(begun.heard.into_iter().chain(ended.heard));
            return vec![answer];
        }
        let mut answers = Vec::with_capacity(steps.len());
        self.a.simple("BEGIN").await;
        for (at, step) in steps.iter().enumerate() {
            let last = at + 1 == steps.len();
            let answer = match template.via {
                Via::Prepared if last => self.a.prepared(step, &[key.to_owned()]).await,
                Via::CopyOut if last => self.a.copy_out(step).await,
                Via::CopyIn if last => self.a.copy_in(step, data).await,
                Via::Simple | Via::Prepared | Via::CopyOut | Via::CopyIn => self.a.simple(step).await,
            };
            let failed = answer.error.is_some();
            answers.push(answer);
            if failed {
                break;
            }
        }
        self.a.simple("ROLLBACK").await;
        answers
    }

    /// Judges an answer. What shows in it is none of the attacker's own, in rows that were not read either.
    async fn judged(&mut self, answer: &Answer, expect: Expect, owned: Owned<'_>, asked: &str) -> Verdict {
        loop {
            match judge(answer, expect, owned, &self.marks, asked) {
                Judged::Of(verdict) => return verdict,
                Judged::Shown(found) if !self.holds(&found).await => return Verdict::Leak(found.to_string()),
                Judged::Shown(found) => self.marks.forget(&found.values.into_iter().collect()),
            }
        }
    }

    /// Whether the attacker holds one of the values itself, in a table of which not all was read.
    async fn holds(&self, found: &Found) -> bool {
        if found.planted {
            return false;
        }
        for value in &found.values {
            for query in &self.held.further {
                let answer = self.a.simple(&query.replace('\0', &quote_literal(value))).await;
                if answer.rows.len() == 1 {
                    return true;
                }
            }
        }
        false
    }

    pub(super) async fn suite(&mut self, file: &str, blocks: &[Block], (one, other): (&Tenant, &Tenant)) {
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
                    match block.actor {
                        Actor::A => {
                            let owned = Owned { key: "", rows: 0, null_is_shared: false };
                            match self.judged(&answer, Expect::Unmarked, owned, &sql).await {
                                Verdict::Leak(shown) => Verdict::Leak(shown),
                                _ => suite_verdict(block, &answer),
                            }
                        }
                        Actor::B => suite_verdict(block, &answer),
                    }
                }
            };
            self.report.add(file, &block.title, sql.trim(), verdict);
        }
    }
}

fn suite_verdict(block: &Block, answer: &Answer) -> Verdict {
    match (block.expect.missed(answer), &answer.error) {
        (Some(missed), _) => Verdict::Missed(missed),
        (None, Some(error)) => Verdict::Refused(format!("{} {}", error.code, error.message)),
        (None, None) => Verdict::Held,
    }
}
