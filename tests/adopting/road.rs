//! The whole road, on databases of other people's shape: init, check, what the doctor proposes, the app's statements before and
//! after, verify-isolation, and holes that are made on purpose and found.
//!
//! `PGWARDEN_ROAD_RUNS` says how often verify-isolation runs in each state, once unless told otherwise: `make test-road`.

use std::fs;
use std::path::Path;

use super::Ran;
use super::adopted::Adopted;
use crate::support::lab::{Lab, read};
use crate::support::session::Session;

/// An app that has been there before pgwarden.
struct App {
    database: &'static str,
    schema: &'static str,
    /// Names of two tenants: the attacker, and the other. The statements are of the first.
    tenants: [&'static str; 2],
    /// As the app wrote them before there was a proxy, in one transaction.
    statements: &'static [&'static str],
    /// What becomes everybody's where rules are dropped: the tenants' own table, and one that belongs through a foreign key.
    dropped: [&'static str; 2],
    /// What a view shows of the latter.
    shown: &'static str,
}

const RAILS: App = App {
    database: "road_rails",
    schema: "adopting/schemas/rails.sql",
    tenants: ["acme", "globex"],
    statements: &[
        "SELECT \"accounts\".* FROM \"accounts\" WHERE \"accounts\".\"subdomain\" = 'acme' LIMIT 1",
        "SELECT \"users\".\"id\", \"users\".\"account_id\" FROM \"users\" WHERE \"users\".\"account_id\" = 1 AND \"users\".\"email\" = 'ann@acme.test' ORDER BY \"users\".\"id\" ASC LIMIT 1",
        "SELECT 1 AS one FROM \"users\" WHERE \"users\".\"email\" = 'ann@acme.test' AND \"users\".\"account_id\" = 1 LIMIT 1",
        "INSERT INTO \"projects\" (\"account_id\", \"owner_id\", \"name\", \"slug\", \"country_code\") VALUES (1, 1, 'Rockets', 'rockets', 'FR') RETURNING \"account_id\", \"slug\"",
        "INSERT INTO \"tasks\" (\"account_id\", \"project_id\", \"title\") SELECT 1, \"projects\".\"id\", 'fly' FROM \"projects\" WHERE \"projects\".\"slug\" = 'rockets' AND \"projects\".\"account_id\" = 1",
        "SELECT \"projects\".\"name\", COUNT(\"tasks\".\"id\") FROM \"projects\" LEFT OUTER JOIN \"tasks\" ON \"tasks\".\"project_id\" = \"projects\".\"id\" WHERE \"projects\".\"account_id\" = 1 GROUP BY \"projects\".\"name\" ORDER BY 1",
        "SELECT \"comments\".\"body\", \"users\".\"email\" FROM \"comments\" INNER JOIN \"users\" ON \"users\".\"id\" = \"comments\".\"user_id\" WHERE \"comments\".\"task_id\" = 1",
        "INSERT INTO \"comments\" (\"user_id\", \"task_id\", \"body\") VALUES (1, 1, 'cold'), (1, 1, NULL)",
        "INSERT INTO \"reactions\" (\"comment_id\", \"emoji\") VALUES (1, 'eyes')",
        "SELECT \"reactions\".\"emoji\" FROM \"reactions\" WHERE \"reactions\".\"comment_id\" = 1 ORDER BY 1",
        "SELECT \"tags\".\"name\" FROM \"tags\" INNER JOIN \"projects_tags\" ON \"tags\".\"id\" = \"projects_tags\".\"tag_id\" WHERE \"projects_tags\".\"project_id\" = 1",
        "INSERT INTO \"users\" (\"account_id\", \"email\") VALUES (1, 'ann@acme.test')",
        "INSERT INTO \"users\" (\"account_id\", \"email\") VALUES (1, 'ann@acme.test'), (1, 'abe@acme.test') ON CONFLICT (\"account_id\", \"email\") DO UPDATE SET \"encrypted_password\" = 'reset' RETURNING \"email\", \"encrypted_password\"",
        "UPDATE \"tasks\" SET \"done\" = TRUE WHERE \"tasks\".\"account_id\" = 1 AND \"tasks\".\"title\" = 'forge'",
        "SELECT \"open_tasks\".\"title\" FROM \"open_tasks\" WHERE \"open_tasks\".\"account_id\" = 1",
        "SELECT \"plans\".\"name\", \"countries\".\"name\" FROM \"plans\", \"countries\" ORDER BY 1, 2",
        "DELETE FROM \"comments\" WHERE \"comments\".\"id\" = 1",
        "SELECT COUNT(*) FROM \"reactions\" WHERE \"reactions\".\"comment_id\" = 1",
    ],
    dropped: ["accounts", "comments"],
    shown: "id::text, body",
};

const DJANGO: App = App {
    database: "road_django",
    schema: "adopting/schemas/django.sql",
    tenants: ["acme", "globex"],
    statements: &[
        "SELECT \"tenants_organization\".\"id\", \"tenants_organization\".\"name\" FROM \"tenants_organization\" WHERE (\"tenants_organization\".\"is_active\" AND \"tenants_organization\".\"slug\" = 'acme') LIMIT 21",
        "SELECT \"accounts_user\".\"id\", \"accounts_user\".\"password\" FROM \"accounts_user\" WHERE (\"accounts_user\".\"organization_id\" = '00000000-0000-4000-8000-00000000000a'::uuid AND UPPER(\"accounts_user\".\"email\"::text) = UPPER('Ann@acme.test')) LIMIT 21",
        "SELECT \"auth_permission\".\"codename\" FROM \"auth_permission\" INNER JOIN \"django_content_type\" ON (\"auth_permission\".\"content_type_id\" = \"django_content_type\".\"id\") ORDER BY 1",
        "SELECT \"auth_group\".\"name\" FROM \"auth_group\" INNER JOIN \"accounts_user_groups\" ON (\"auth_group\".\"id\" = \"accounts_user_groups\".\"group_id\") WHERE \"accounts_user_groups\".\"user_id\" = '10000000-0000-4000-8000-00000000000a'::uuid",
        "INSERT INTO \"accounts_user_groups\" (\"user_id\", \"group_id\") VALUES ('10000000-0000-4000-8000-00000000000a'::uuid, 1), ('10000000-0000-4000-8000-00000000000a'::uuid, 2) ON CONFLICT DO NOTHING",
        "INSERT INTO \"billing_invoice\" (\"id\", \"organization_id\", \"currency_id\", \"total\") VALUES ('20000000-0000-4000-8000-0000000000aa'::uuid, '00000000-0000-4000-8000-00000000000a'::uuid, 'JPY', '70')",
        "INSERT INTO \"billing_invoiceline\" (\"id\", \"invoice_id\", \"label\", \"amount\") VALUES ('21000000-0000-4000-8000-0000000000aa'::uuid, '20000000-0000-4000-8000-0000000000aa'::uuid, 'rocket', '70') RETURNING \"billing_invoiceline\".\"label\"",
        "SELECT \"billing_invoice\".\"currency_id\", SUM(\"billing_invoiceline\".\"amount\") AS \"lines\", \"billing_currency\".\"decimals\" FROM \"billing_invoice\" INNER JOIN \"billing_currency\" ON (\"billing_invoice\".\"currency_id\" = \"billing_currency\".\"code\") LEFT OUTER JOIN \"billing_invoiceline\" ON (\"billing_invoice\".\"id\" = \"billing_invoiceline\".\"invoice_id\") WHERE \"billing_invoice\".\"organization_id\" = '00000000-0000-4000-8000-00000000000a'::uuid GROUP BY 1, 3 ORDER BY 1",
        "INSERT INTO \"crm_contact\" (\"id\", \"organization_id\", \"name\") VALUES ('40000000-0000-4000-8000-00000000000a'::uuid, '00000000-0000-4000-8000-00000000000a'::uuid, 'Cy')",
        "INSERT INTO \"crm_deal\" (\"id\", \"organization_id\", \"contact_id\", \"name\") VALUES ('41000000-0000-4000-8000-00000000000a'::uuid, '00000000-0000-4000-8000-00000000000a'::uuid, '40000000-0000-4000-8000-00000000000a'::uuid, 'big')",
        "INSERT INTO \"crm_deal_products\" (\"deal_id\", \"product_id\") VALUES ('41000000-0000-4000-8000-00000000000a'::uuid, '30000000-0000-4000-8000-00000000000a'::uuid)",
        "SELECT \"crm_deal\".\"name\", \"crm_product\".\"name\" FROM \"crm_deal\" INNER JOIN \"crm_deal_products\" ON (\"crm_deal\".\"id\" = \"crm_deal_products\".\"deal_id\") INNER JOIN \"crm_product\" ON (\"crm_deal_products\".\"product_id\" = \"crm_product\".\"id\") WHERE \"crm_deal\".\"organization_id\" = '00000000-0000-4000-8000-00000000000a'::uuid",
        "INSERT INTO \"accounts_user\" (\"id\", \"organization_id\", \"email\", \"password\", \"is_active\") VALUES ('10000000-0000-4000-8000-0000000000aa'::uuid, '00000000-0000-4000-8000-00000000000a'::uuid, 'ann@acme.test', 'x', true)",
        "INSERT INTO \"django_admin_log\" (\"action_flag\", \"change_message\", \"content_type_id\", \"user_id\") VALUES (1, '[]', 1, '10000000-0000-4000-8000-00000000000a'::uuid)",
        "UPDATE \"accounts_user\" SET \"is_active\" = false WHERE \"accounts_user\".\"id\" = '10000000-0000-4000-8000-00000000000a'::uuid",
        "SELECT \"partners_agreement\".\"terms\" FROM \"partners_agreement\" WHERE \"partners_agreement\".\"signer_id\" = '00000000-0000-4000-8000-00000000000a'::uuid",
        "DELETE FROM \"billing_invoiceline\" WHERE \"billing_invoiceline\".\"invoice_id\" IN ('20000000-0000-4000-8000-00000000000a'::uuid)",
        "DELETE FROM \"billing_invoice\" WHERE \"billing_invoice\".\"id\" IN ('20000000-0000-4000-8000-00000000000a'::uuid)",
    ],
    dropped: ["tenants_organization", "billing_invoiceline"],
    shown: "id::text, label",
};

const PRISMA: App = App {
    database: "road_prisma",
    schema: "adopting/schemas/prisma.sql",
    tenants: ["clorga", "clorgb"],
    statements: &[
        "SELECT \"public\".\"Organization\".\"id\", \"public\".\"Organization\".\"name\" FROM \"public\".\"Organization\" WHERE (\"public\".\"Organization\".\"slug\" = 'acme' AND 1=1) LIMIT 1 OFFSET 0",
        "SELECT \"public\".\"Membership\".\"id\", \"public\".\"Membership\".\"role\"::text FROM \"public\".\"Membership\" WHERE (\"public\".\"Membership\".\"organizationId\" = 'clorga' AND \"public\".\"Membership\".\"userId\" = 'clusra') LIMIT 1 OFFSET 0",
        "INSERT INTO \"public\".\"Project\" (\"id\",\"name\",\"organizationId\") VALUES ('clpro1','Rockets','clorga') RETURNING \"public\".\"Project\".\"id\", \"public\".\"Project\".\"name\"",
        "INSERT INTO \"public\".\"Task\" (\"id\",\"title\",\"projectId\",\"assigneeId\") VALUES ('cltsk1','fly','clpro1','clmema'), ('cltsk2','land','clpro1',NULL) ON CONFLICT DO NOTHING",
        "INSERT INTO \"public\".\"Task\" (\"id\",\"title\",\"projectId\") VALUES ('cltsk2','land softly','clpro1') ON CONFLICT (\"id\") DO UPDATE SET \"title\" = 'land softly' WHERE (\"public\".\"Task\".\"id\" = 'cltsk2' AND 1=1) RETURNING \"public\".\"Task\".\"title\"",
        "SELECT \"t1\".\"id\", \"t1\".\"title\", \"j1\".\"name\" FROM \"public\".\"Task\" AS \"t1\" LEFT JOIN \"public\".\"Project\" AS \"j1\" ON (\"j1\".\"id\") = (\"t1\".\"projectId\") WHERE (\"j1\".\"organizationId\" = 'clorga' AND (\"j1\".\"id\" IS NOT NULL)) ORDER BY \"t1\".\"id\" ASC",
        "SELECT \"public\".\"TaskComment\".\"body\" FROM \"public\".\"TaskComment\" WHERE \"public\".\"TaskComment\".\"taskId\" IN ('cltska','cltsk1') ORDER BY 1 OFFSET 0",
        "INSERT INTO \"public\".\"Label\" (\"id\",\"name\",\"organizationId\") VALUES ('cllab1','steel','clorga')",
        "INSERT INTO \"public\".\"_LabelToTask\" (\"A\",\"B\") VALUES ('cllab1','cltsk1'), ('cllaba','cltska') ON CONFLICT DO NOTHING",
        "SELECT \"t0\".\"name\" FROM \"public\".\"Label\" AS \"t0\" WHERE (\"t0\".\"organizationId\" = 'clorga' AND (\"t0\".\"id\") IN (SELECT \"t1\".\"A\" FROM \"public\".\"_LabelToTask\" AS \"t1\" INNER JOIN \"public\".\"Task\" AS \"j1\" ON (\"j1\".\"id\") = (\"t1\".\"B\") WHERE (\"j1\".\"title\" = 'fly' AND \"t1\".\"A\" IS NOT NULL))) ORDER BY \"t0\".\"id\"",
        "INSERT INTO \"public\".\"ApiKey\" (\"id\",\"hashedKey\",\"organizationId\") VALUES ('clkey1','5f','clorga'), ('clkey2','5f','clorga')",
        "SELECT COUNT(*), COALESCE(MAX(\"title\"), '-') FROM (SELECT \"public\".\"Task\".\"id\", \"public\".\"Task\".\"title\" FROM \"public\".\"Task\" WHERE \"public\".\"Task\".\"projectId\" IN ('clproa','clpro1') OFFSET 0) AS \"sub\"",
        "UPDATE \"public\".\"Membership\" SET \"role\" = CAST('MEMBER'::text AS \"public\".\"Role\") WHERE (\"public\".\"Membership\".\"id\" = 'clmema' AND 1=1)",
        "DELETE FROM \"public\".\"Label\" WHERE (\"public\".\"Label\".\"id\" = 'cllaba' AND 1=1)",
        "SELECT COUNT(*) FROM \"public\".\"_LabelToTask\" WHERE \"public\".\"_LabelToTask\".\"A\" = 'cllaba'",
        "DELETE FROM \"public\".\"Project\" WHERE (\"public\".\"Project\".\"id\" = 'clproa' AND 1=1)",
    ],
    dropped: ["Organization", "TaskComment"],
    shown: "id, \"authorId\"",
};

#[test]
fn the_road_of_an_app_in_rails() {
    RAILS.goes();
}

#[test]
fn the_road_of_an_app_in_django() {
    DJANGO.goes();
}

#[test]
fn the_road_of_an_app_with_prisma() {
    PRISMA.goes();
}

fn runs() -> usize {
    std::env::var("PGWARDEN_ROAD_RUNS").map_or(1, |it| it.parse().expect("PGWARDEN_ROAD_RUNS is a number"))
}

impl App {
    fn goes(&self) {
        let app = Adopted::new(self.database, &read(self.schema));
        app.adopt();
        let alone = self.answers(&mut self.owner());
        let proxy = app.serve();
        assert_eq!(self.answers(&mut app.tenant(self.tenants[0])), alone, "the same, through pgwarden");
        self.mend(&app);
        assert_eq!(self.answers(&mut self.owner()), alone, "the same, without pgwarden, on what was mended");
        assert_eq!(
            self.answers(&mut app.tenant(self.tenants[0])),
            alone,
            "the same, through pgwarden, on what was mended"
        );
        let urls = self.tenants.map(|tenant| app.endpoint("DATABASE_URL", Some(tenant)).url());
        let found = |at: &str, a: &str, further: &[&str]| {
            for run in 0..runs() {
                self.verify(&app, at, [a, &urls[1]], run, further);
            }
        };
        found("", &urls[0], &[]);
        found("operator", &app.endpoint("MIGRATIONS_DATABASE_URL", None).url(), &["--tenant-a", self.tenants[0]]);
        drop(proxy);
        let wrong = self.without_rules(&app.text("pgwarden.toml"));
        let proxy = app.serve_as(&wrong);
        found("dropped", &urls[0], &[]);
        drop(proxy);
        self.owner().simple(self.everything()).ok();
        let wrong = allowed(&shared(&app.text("pgwarden.toml"), &["everything"]), "all_of_it");
        fs::write(app.path("view.toml"), &wrong).unwrap();
        let _proxy = app.serve_as(&wrong);
        found("view", &urls[0], &[]);
    }

    /// The role that the app has had.
    fn owner(&self) -> Session {
        let mut session = Lab::general().superuser(self.database);
        session.simple(format!("SET ROLE {}_owner", self.database)).ok();
        session
    }

    /// What the app is answered, statement by statement: rows, or the error. Nothing of it stays.
    fn answers(&self, session: &mut Session) -> Vec<String> {
        session.simple("BEGIN").ok();
        let mut answer = |sql: &&str| {
            session.simple("SAVEPOINT s").ok();
            let reply = session.simple(*sql);
            let failed = !reply.errors.is_empty();
            session.simple(if failed { "ROLLBACK TO s" } else { "RELEASE s" }).ok();
            let answer =
                if failed { reply.sqlstate().to_owned() } else { format!("{:?} {:?}", reply.texts(), reply.tags) };
            format!("{sql}: {answer}")
        };
        let answers = self.statements.iter().map(&mut answer).collect();
        session.simple("ROLLBACK").ok();
        answers
    }

    /// What the doctor proposes, one after the other, by the login for migrations.
    fn mend(&self, app: &Adopted) {
        let found = findings(app);
        assert!(found.iter().any(|it| !sql(it).is_empty()), "{found:#?}");
        let mut operator = app.operator();
        for statement in found.iter().flat_map(sql) {
            let reply = operator.simple(statement.as_str());
            assert!(reply.errors.is_empty() && !reply.closed, "{statement}\n{}", reply.text());
        }
        // As long as a catalog may be known.
        std::thread::sleep(std::time::Duration::from_millis(1200));
        let left = findings(app);
        let again: Vec<String> = left.iter().flat_map(sql).collect();
        assert!(again.is_empty(), "proposed once more: {again:#?}");
        assert!(left.iter().all(|it| it["severity"] != "high"), "{left:#?}");
        app.pgwarden(&["check", "--connect"]).says(0, &["pgwarden.toml: ok"]);
    }

    /// One run of verify-isolation. `at`: what was made on purpose, if anything, and must be found.
    fn verify(&self, app: &Adopted, at: &str, [a, b]: [&str; 2], run: usize, further: &[&str]) {
        let json = app.path("isolation.json");
        let config = if at == "view" { "view.toml" } else { "pgwarden.toml" };
        let mut arguments =
            vec!["verify-isolation", "--config", config, "--as-a", a, "--as-b", b, "--json", path(&json)];
        arguments.extend(further);
        // Every other run writes nothing.
        if run % 2 == 1 {
            arguments.push("--no-plant");
        }
        let ran = app.pgwarden(&arguments);
        let leaks = leaks(&json, &ran);
        let state = if at.is_empty() { "as it should be" } else { at };
        let place = format!("{}, {state}, run {run}", self.database);
        let wanted: Vec<(&str, String)> = match at {
            "" => {
                assert!(ran.code == Some(0) && leaks.is_empty(), "{place}: {leaks:?}\n{ran:#?}");
                eprintln!("{place}: no leak");
                return;
            }
            "view" => vec![("function", "functions".to_owned())],
            _ => {
                let on = |table: &&str| ["list", "by id", "copy"].map(|family| (family, format!("public.{table}")));
                self.dropped.iter().flat_map(on).collect()
            }
        };
        assert_eq!(ran.code, Some(1), "{place}: {ran:#?}");
        eprintln!("{place}: {} leaks", leaks.len());
        for (family, target) in wanted {
            assert!(
                leaks.contains(&(family.to_owned(), target.clone())),
                "{place}: no {family} of {target} in {leaks:?}\n{ran:#?}"
            );
        }
    }

    /// The configuration in which two tables are everybody's.
    fn without_rules(&self, text: &str) -> String {
        let rule = |line: &str| self.dropped.iter().any(|it| line.starts_with(&format!("\"public.{it}\" = ")));
        let kept: Vec<&str> = text.lines().filter(|line| !rule(line)).collect();
        shared(&kept.join("\n"), &self.dropped)
    }

    /// A view of a function that pgwarden does not see into, and that somebody has listed.
    fn everything(&self) -> String {
        let (table, shown) = (self.dropped[1], self.shown);
        format!(
            "CREATE FUNCTION all_of_it() RETURNS TABLE (one text, other text) LANGUAGE sql AS 'SELECT {shown} FROM \"{table}\"';
             CREATE VIEW everything AS SELECT * FROM all_of_it()"
        )
    }
}

/// The configuration with more tables that all may read.
fn shared(text: &str, tables: &[&str]) -> String {
    let tables: Vec<String> = tables.iter().map(|it| format!("\"public.{it}\", ")).collect();
    text.replace("\nshared_tables = [", &format!("\nshared_tables = [{}", tables.concat()))
}

/// The configuration with a function that tenants may call.
fn allowed(text: &str, function: &str) -> String {
    match text.contains("\nallow_functions = [") {
        true => text.replace("\nallow_functions = [", &format!("\nallow_functions = [\"public.{function}\", ")),
        false => text.replace("\n[tenancy]\n", &format!("\n[tenancy]\nallow_functions = [\"public.{function}\"]\n")),
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn findings(app: &Adopted) -> Vec<serde_json::Value> {
    let ran = app.pgwarden(&["doctor", "--format", "json", "--fail-on", "never"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    serde_json::from_str(&ran.out).unwrap()
}

fn sql(finding: &serde_json::Value) -> Vec<String> {
    finding["sql"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

/// Leaks of a report: family and target.
fn leaks(json: &Path, ran: &Ran) -> Vec<(String, String)> {
    let text = fs::read_to_string(json).unwrap_or_else(|error| panic!("{error}: {ran:#?}"));
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let of = |case: &serde_json::Value, key: &str| case[key].as_str().unwrap().to_owned();
    let cases = report["cases"].as_array().unwrap();
    cases.iter().filter(|it| it["outcome"] == "leak").map(|it| (of(it, "family"), of(it, "target"))).collect()
}
