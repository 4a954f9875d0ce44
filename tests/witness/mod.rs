//! What the second grammar makes of the statements that the other tests send: it finds nothing uncovered in what pgwarden makes
//! of them, and can read nearly all of it. The figures are printed; those in `docs/witness.md` are from here.

mod regress;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use pgwarden::base::{Enforcement, Mode, Witness};
use pgwarden::catalog;
use pgwarden::config::{self, Config};
use pgwarden::guard::{Abstention, Plan, Policy, Protocol, Testimony, plan_statements, testify};
use pgwarden::policy::{PolicyInput, build_policy, tenants_of};
use pgwarden::sql::StatementLimits;

use crate::property::choices::Choices;
use crate::property::generate::statement;
use crate::support::lab::{self, Lab, block_on};
use crate::support::proxy::{Setup, police};

/// Statements of the property tests' generator.
const GENERATED: u64 = 500;
/// Of 1,000 plans of statements that somebody wrote, and that touch a tenant relation, so many may be beyond it; of generated
/// ones, which take every construct that there is, more.
const ABSTENTIONS: [usize; 2] = [50, 150];

fn policy(enforcement: Enforcement) -> Policy {
    let lab = Lab::general();
    let mut setup = Setup::default();
    if enforcement.uses_rls() {
        setup.database = format!("witness_{}", enforcement.as_str().replace('+', "_"));
        lab.copy_of_shop(&setup.database);
        police(lab, &setup.database);
    }
    let text = setup.text(lab, 1);
    let config: Config = config::parse(&text, Path::new("witness.toml"), &|_| None).unwrap().config;
    let upstream = config.upstreams.get(&config.tenancy.upstream).unwrap();
    let catalog = block_on(catalog::load(upstream)).unwrap();
    let tenants = tenants_of(&config, &upstream.name);
    let input = PolicyInput {
        tenancy: &config.tenancy,
        tenants: &tenants,
        derives_shared: false,
        enforcement,
        usage_table: None,
        limits: StatementLimits::default(),
    };
    let (policy, _) = build_policy(&input, Arc::clone(&catalog), 1);
    // It is asked here, and must not keep what it is asked about from being made.
    Policy { witness: Witness::Off, ..policy }
}

/// Every text in a file of cases, whether it is SQL or not.
fn texts(value: &toml::Value, found: &mut Vec<String>) {
    match value {
        toml::Value::String(text) => found.push(text.clone()),
        toml::Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        toml::Value::Table(fields) => fields.values().for_each(|field| texts(field, found)),
        toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) | toml::Value::Datetime(_) => {}
    }
}

fn corpus(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(lab::file(folder)).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        texts(&toml::from_str(&text).unwrap(), &mut found);
    }
    found
}

fn generated(server_version: u32) -> Vec<String> {
    (0..GENERATED).map(|number| statement(Choices::seeded(7_000_000 + number), server_version).0.text).collect()
}

/// What was said of the plans of some texts.
#[derive(Default)]
struct Said {
    /// Plans of statements that touch a tenant relation, or may.
    asked: usize,
    abstained: BTreeMap<String, usize>,
    uncovered: Vec<String>,
}

impl Said {
    fn ask(&mut self, policy: &Policy, plan: &Plan, sql: &str) {
        if plan.slots.is_empty() {
            // What it sees of others counts all the same.
            if let Testimony::Uncovered(what) = testify(policy, plan) {
                self.uncovered.push(format!("{what}: {sql}"));
            }
            return;
        }
        self.asked += 1;
        match testify(policy, plan) {
            Testimony::Covered => {}
            // The key of an advisory lock, or a channel, is the tenant's, and no relation's.
            Testimony::Abstains(Abstention::Unseen) if sql.contains("advisory") || sql.contains("pg_notify") => {}
            Testimony::Uncovered(what) => self.uncovered.push(format!("{what}: {sql}\n  {:?}", plan.pieces)),
            Testimony::Abstains(Abstention::Construct(what)) => {
                *self.abstained.entry(what.to_owned()).or_default() += 1
            }
            Testimony::Abstains(reason) => {
                *self.abstained.entry(format!("{reason:?}").to_lowercase()).or_default() += 1;
            }
        }
    }

    fn of(policy: &Policy, sqls: &[String]) -> Self {
        let mut said = Self::default();
        for sql in sqls {
            for protocol in [Protocol::Simple, Protocol::Extended { param_types: &[] }] {
                for plan in plan_statements(policy, &Mode::Shared, protocol, sql).iter().flatten() {
                    said.ask(policy, plan, sql);
                }
            }
        }
        said
    }
}

#[test]
fn nothing_that_pgwarden_makes_is_uncovered_and_nearly_all_is_read() {
    for enforcement in Enforcement::ALL {
        let policy = policy(enforcement);
        let corpora = [
            ("attacks", corpus("isolation/corpus"), ABSTENTIONS[0]),
            ("oracle", corpus("oracle/corpus"), ABSTENTIONS[0]),
            ("generated", generated(policy.catalog.server_version_num), ABSTENTIONS[1]),
        ];
        for (name, sqls, bound) in corpora {
            let Said { asked, abstained, uncovered } = Said::of(&policy, &sqls);
            let abstentions: usize = abstained.values().sum();
            println!(
                "{} {name}: {asked} plans, {abstentions} abstentions {abstained:?}, {} uncovered",
                enforcement.as_str(),
                uncovered.len()
            );
            assert!(uncovered.is_empty(), "{}", uncovered.join("\n"));
            // With policies alone few statements name a tenant's value.
            let read = asked > 0 && (enforcement == Enforcement::Rls || asked > 200);
            assert!(read && abstentions * 1_000 <= asked * bound, "{abstentions} of {asked}: {abstained:?}");
        }
    }
}
