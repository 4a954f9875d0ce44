//! The statements of Postgres's own regression tests, on a database in which each of their tables has a tenant column. Run by
//! `scripts/regress-witness`, which says where Postgres's source is.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use pgwarden::base::{Mode, QualifiedName, RefusalKind, Witness};
use pgwarden::catalog::{self, Catalog};
use pgwarden::config::{self, Config};
use pgwarden::guard::{Abstention, Piece, Plan, Policy, Protocol, Testimony, plan_statements, testify};
use pgwarden::policy::{PolicyInput, build_policy, tenants_of};
use pgwarden::sql::StatementLimits;
use pgwarden::test_cluster::Cluster;
use regex::Regex;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::support::lab::{Lab, block_on};
use crate::support::regress::{PREPARATIONS, scripts, statements};
use crate::support::session::Session;

/// The database that they have filled.
const TEMPLATE: &str = "regress";

/// Whether a statement makes something that the others of its file use. What is for the whole server is not made, and what is
/// dropped stays.
fn prepares(sql: &str) -> bool {
    let words: Vec<String> = sql.split_whitespace().map(str::to_uppercase).collect();
    let server = ["ROLE", "USER", "GROUP", "DATABASE", "TABLESPACE", "SUBSCRIPTION", "EVENT", "SYSTEM"];
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["CREATE", what, ..] => !server.contains(what),
        ["ALTER", what, rest @ ..] => !server.contains(what) && !rest.contains(&"DROP") && !rest.contains(&"RENAME"),
        ["SET", "SEARCH_PATH", ..] => true,
        ["SELECT", rest @ ..] => rest.contains(&"INTO"),
        _ => false,
    }
}

fn prepare(session: &mut Session, statements: &[String]) {
    // Others are to see them.
    let temporary = Regex::new(r"(?i)\b(CREATE\s+|INTO\s+)(?:(?:LOCAL|GLOBAL)\s+)?TEMP(?:ORARY)?\b").unwrap();
    for sql in statements.iter().filter(|sql| prepares(sql)) {
        // Many are meant to fail.
        session.simple(temporary.replace(sql, "$1").as_ref());
    }
}

/// Gives each table the tenant column, with those that inherit from it.
const COLUMNS: &str = "DO $$ DECLARE t regclass; BEGIN
    FOR t IN SELECT c.oid FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.relnamespace::regnamespace::text !~ '^pg_|^information_schema'
        AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid)
    LOOP
        BEGIN
            EXECUTE format('ALTER TABLE %s ADD COLUMN tenant_id int', t);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
END $$";

fn policy(lab: &Lab, database: &str) -> Policy {
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:1\"\n[upstream.main]\nurl = \"postgres://{}@127.0.0.1:{}/{database}\"\npassword = \"{}\"\n\
         [tenancy]\nupstream = \"main\"\ncolumn = \"tenant_id\"\n[[tenant]]\nname = \"acme\"\nkey = \"1\"\n\
         [[login]]\nname = \"app\"\npassword = \"secret\"\ntenants = [\"acme\"]\n",
        Cluster::SUPERUSER,
        lab.cluster.port(),
        lab.cluster.password(),
    );
    let mut config: Config = config::parse(&text, Path::new("regress.toml"), &|_| None).unwrap().config;
    let upstream = Arc::clone(&config.upstreams["main"]);
    let catalog = block_on(catalog::load(&upstream)).unwrap();
    config.tenancy.allow_functions = own(&catalog);
    let tenants = tenants_of(&config, &upstream.name);
    let limits = StatementLimits::default();
    let input = PolicyInput {
        tenancy: &config.tenancy,
        tenants: &tenants,
        derives_shared: false,
        enforcement: upstream.enforcement,
        usage_table: None,
        limits,
    };
    let (policy, _) = build_policy(&input, catalog, 1);
    // It is asked here, and must not keep what it is asked about from being made.
    Policy { witness: Witness::Off, ..policy }
}

/// Functions and operators that the tests make: what is in them does not matter here.
fn own(catalog: &Catalog) -> Vec<QualifiedName> {
    let functions = catalog.functions.values().flatten().map(|it| &it.name);
    let operators = catalog.operators.values().flatten().map(|it| &it.name);
    functions
        .chain(operators)
        .filter(|it| it.schema != "pg_catalog" && it.schema != "information_schema")
        .cloned()
        .collect()
}

#[derive(Default)]
struct Figures {
    statements: usize,
    /// What the grammar does not accept.
    unread: usize,
    /// By the kind of refusal.
    refused: BTreeMap<&'static str, usize>,
    /// Statements that are let through and touch no tenant relation.
    aside: usize,
    /// Statements that are rewritten.
    rewritten: usize,
    /// Plans of these, in both protocols.
    judged: usize,
    covered: usize,
    abstained: BTreeMap<String, usize>,
    /// With one statement each.
    reasons: BTreeMap<String, (usize, String)>,
    uncovered: Vec<String>,
    /// What the verifier did not let out, and why.
    unproved: Vec<String>,
    panics: Vec<String>,
}

impl Figures {
    fn take(&mut self, policy: &Policy, sql: &str) {
        self.statements += 1;
        for protocol in [Protocol::Simple, Protocol::Extended { param_types: &[] }] {
            let counts = protocol == Protocol::Simple;
            match catch_unwind(AssertUnwindSafe(|| plan_statements(policy, &Mode::Shared, protocol, sql))) {
                Err(_) => self.panics.push(sql.to_owned()),
                Ok(Err(refusal)) if counts => match refusal.kind.as_str() {
                    "syntax" => self.unread += 1,
                    kind => {
                        if refusal.kind == RefusalKind::Verifier {
                            self.unproved.push(format!("{:?}: {sql}", refusal.error.detail));
                        }
                        *self.refused.entry(kind).or_default() += 1;
                    }
                },
                Ok(Err(_)) => {}
                Ok(Ok(plans)) => {
                    let touches = plans.iter().any(|plan| !plan.slots.is_empty());
                    self.rewritten += usize::from(counts && touches);
                    self.aside += usize::from(counts && !touches);
                    plans.iter().for_each(|plan| self.judge(policy, plan, sql));
                }
            }
        }
    }

    fn judge(&mut self, policy: &Policy, plan: &Plan, sql: &str) {
        let touches = !plan.slots.is_empty();
        self.judged += usize::from(touches);
        match testify(policy, plan) {
            Testimony::Uncovered(what) => self.uncovered.push(format!("{what}: {sql}\n  {:?}", plan.pieces)),
            // What is said of others counts only where something is seen uncovered.
            Testimony::Covered | Testimony::Abstains(_) if !touches => {}
            Testimony::Covered => self.covered += 1,
            Testimony::Abstains(reason) => {
                let (kind, detail) = match reason {
                    Abstention::Construct(what) => ("construct".to_owned(), what.to_owned()),
                    Abstention::Grammar => ("grammar".to_owned(), beyond(plan)),
                    other => (format!("{other:?}").to_lowercase(), String::new()),
                };
                let example = self.reasons.entry(format!("{kind} {detail}")).or_insert((0, sql.to_owned()));
                example.0 += 1;
                *self.abstained.entry(kind).or_default() += 1;
            }
        }
    }

    fn print(self) {
        let refused: usize = self.refused.values().sum();
        println!("statements:                {}", self.statements);
        println!("  no SQL to the grammar:   {}", self.unread);
        println!("  refused by the gate:     {refused} {:?}", self.refused);
        println!("  touch no tenant relation: {}", self.aside);
        println!("  rewritten:               {}", self.rewritten);
        println!("plans judged:              {}", self.judged);
        println!("  covered:                 {}", self.covered);
        println!(
            "  abstentions:             {} {:?}",
            self.judged - self.covered - self.uncovered.len(),
            self.abstained
        );
        let mut reasons: Vec<_> = self.reasons.into_iter().collect();
        reasons.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        for (reason, (count, example)) in reasons.iter().take(25) {
            let example: String = example.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(110).collect();
            println!("    {count:>5} {reason}   {example}");
        }
        println!("  refused by the verifier: {}", self.unproved.len());
        self.unproved.iter().for_each(|it| println!("    {it}"));
        println!("  false alarms:            {}", self.uncovered.len());
        self.uncovered.iter().for_each(|it| println!("    {it}"));
        assert!(self.panics.is_empty(), "planning panicked: {:#?}", self.panics);
        assert!(self.judged > 1_000, "too few to say anything");
        assert!(self.uncovered.is_empty());
    }
}

/// What sqlparser says of a text that it does not accept, without the place.
fn beyond(plan: &Plan) -> String {
    let text: String =
        plan.pieces.iter().map(|piece| if let Piece::Text(text) = piece { text.as_ref() } else { "0" }).collect();
    match Parser::parse_sql(&PostgreSqlDialect {}, &text) {
        Ok(_) => "not one statement".to_owned(),
        Err(error) => {
            let error = error.to_string();
            error.split(" at Line").next().unwrap_or_default().replace("sql parser error: ", "")
        }
    }
}

#[test]
#[ignore = "needs Postgres's source: scripts/regress-witness"]
fn nothing_of_postgres_own_regression_statements_is_uncovered() {
    let tree = std::env::var_os("PGWARDEN_REGRESS").expect("PGWARDEN_REGRESS names a source tree of Postgres");
    let lab = Lab::general();
    let read = |path: &Path| statements(path).into_iter().map(|it| it.sql).collect::<Vec<_>>();
    let open = |database: &str| {
        let mut session = lab.superuser(database);
        session.simple("SET statement_timeout = '5s'; SET client_min_messages = error").ok();
        session
    };
    lab.create(TEMPLATE, None);
    let folder = Path::new(&tree).join("src/test/regress/sql");
    let mut session = open(TEMPLATE);
    PREPARATIONS.iter().for_each(|file| prepare(&mut session, &read(&folder.join(file))));
    drop(session);
    let mut figures = Figures::default();
    for (number, path) in scripts(Path::new(&tree)).iter().enumerate() {
        let database = format!("regress_{number}");
        lab.comes_to_rest(TEMPLATE);
        lab.create(&database, Some(TEMPLATE));
        let statements = read(path);
        let mut session = open(&database);
        prepare(&mut session, &statements);
        session.simple(COLUMNS).ok();
        drop(session);
        let policy = policy(lab, &database);
        statements.iter().filter(|sql| !sql.is_empty()).for_each(|sql| figures.take(&policy, sql));
        lab.run("postgres", &format!("DROP DATABASE {database} WITH (FORCE)"));
    }
    figures.print();
}
