//! Who a client is, which tenant it acts for, and what each layout gives it.

mod common_schemas;
mod conflict_targets;
mod context;
mod ddl;
mod defaults;
mod elsewhere;
mod introspection;
mod layouts;
mod loads;
mod modes;
mod own_database;
mod path;
mod readers;
mod rls;
mod views;
mod without_tenant;

use crate::support::proxy::Shared;
use crate::support::session::Endpoint;

static PROXY: Shared = Shared::over("tenants");

fn app(user: &str, database: &str) -> Endpoint {
    Endpoint::new(PROXY.get().port, user, "app_pw", database)
}

/// Whose rows the client sees.
#[track_caller]
fn whose(end: &Endpoint) -> String {
    end.connect().simple("SELECT min(name) FROM customers").ok().value()
}

#[track_caller]
fn refused(end: &Endpoint, sqlstate: &str) -> String {
    let (_, reply) = end.try_connect();
    assert!(reply.closed, "{}", reply.text());
    reply.refused(sqlstate).errors[0][&'M'].clone()
}

#[test]
fn the_tenant_is_named_by_user_database_or_option() {
    let ends = [
        app("app@a", "tenants"),
        app("app.a", "tenants"),
        app("app", "a"),
        app("app", "a/tenants"),
        app("app", "tenants").with("options", "-c pgwarden.tenant=a"),
        app("app", "tenants").with("options", "--pgwarden.tenant=a"),
        app("app@a", "a").with("options", "-c pgwarden.tenant=a"),
    ];
    for end in ends {
        assert_eq!(whose(&end), "ALPHA_name_1", "{end:?}");
    }
    assert_eq!(whose(&app("app@b", "tenants")), "CANARY_B_name_1");
}

#[test]
fn sources_that_disagree_are_refused() {
    let ends = [
        app("app@a", "b"),
        app("app@a", "tenants").with("options", "-c pgwarden.tenant=b"),
        app("app", "a").with("options", "-c pgwarden.tenant=b"),
        app("app.b", "a/tenants"),
    ];
    for end in ends {
        refused(&end, "28000");
    }
}

#[test]
fn without_a_tenant_nothing_runs() {
    let reply = app("app", "tenants").connect().simple("SELECT name FROM customers").refused("28000");
    assert_eq!(reply.errors[0][&'M'], "tenant context required");
    // A login of one tenant that names another layout's is refused as before.
    refused(&app("app@nonesuch", "tenants"), "28000");
}

/// Another login's tenant and one that does not exist give the same text.
#[test]
fn a_login_acts_for_its_own_tenants_only() {
    let texts: Vec<String> = ["sa", "nonesuch"]
        .iter()
        .map(|it| refused(&app(&format!("app@{it}"), "tenants"), "28000").replace(it, "..."))
        .collect();
    assert_eq!(texts[0], texts[1]);
    let texts: Vec<String> =
        ["sa", "nonesuch", "postgres"].iter().map(|it| refused(&app("app", it), "3D000").replace(it, "...")).collect();
    assert!(texts.iter().all(|it| *it == texts[0]), "{texts:?}");
    let b = PROXY.get().b();
    refused(&Endpoint { user: "tenant_b@a".to_owned(), ..b }, "28000");
}

#[test]
fn the_operator_is_unguarded_and_audited() {
    let proxy = PROXY.get();
    let mut operator = proxy.login("operator").connect();
    let everyone = operator.simple("SELECT count(DISTINCT tenant_id) FROM customers WHERE name <> 'secret-literal-1'");
    assert_eq!(everyone.ok().value(), "3");
    operator.simple("CREATE TABLE made_by_operator (id int, tenant_id int)").ok();
    operator.simple("DROP TABLE made_by_operator").ok();
    let log = proxy.log();
    let audited = log.lines().any(|it| it.contains("operator") && it.contains("audit"));
    assert!(audited, "no audit line about the operator:\n{log}");
    assert!(!log.contains("secret-literal-1"), "a literal in the log");
}

#[test]
fn refusals_are_audited_without_literals_and_secrets() {
    let proxy = PROXY.get();
    let mut a = proxy.a().connect();
    a.simple("SELECT pg_read_file('secret-literal-2')").refused("42501");
    let _ = Endpoint { password: "wrong-secret-3".to_owned(), ..proxy.a() }.try_connect();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let log = proxy.log();
    let line = log.lines().find(|it| it.contains("audit") && it.contains("tenant_a")).unwrap_or_default();
    assert!(!line.is_empty(), "no audit line about the refusal:\n{log}");
    for secret in ["secret-literal-2", "wrong-secret-3", "tenant_a_pw", "app_owner_pw"] {
        assert!(!log.contains(secret), "{secret} in the log");
    }
}

/// After DDL that pgwarden sees, the new table is known, without a wait for the next refresh.
#[test]
fn ddl_of_the_operator_is_known_at_once() {
    let proxy = PROXY.get();
    let mut operator = proxy.login("operator").connect();
    operator
        .simple("CREATE TABLE fresh (tenant_id int, body text); INSERT INTO fresh VALUES (1, 'own'), (2, 'CANARY_B_x')")
        .ok();
    let mut a = proxy.a().connect();
    assert_eq!(a.simple("SELECT * FROM fresh").ok().texts(), [["1", "own"]]);
    operator.simple("ALTER TABLE fresh ADD COLUMN more int DEFAULT 5").ok();
    assert_eq!(a.simple("SELECT * FROM fresh").ok().texts(), [["1", "own", "5"]]);
    operator.simple("DROP TABLE fresh").ok();
    assert!(!a.simple("SELECT * FROM fresh").errors.is_empty());
}

/// DDL past pgwarden: an unknown relation is looked for once before it is refused.
#[test]
fn a_table_made_past_pgwarden_is_found() {
    let proxy = PROXY.get();
    let mut a = proxy.a().connect();
    a.simple("SELECT * FROM made_behind").refused("42P01");
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    crate::support::lab::Lab::general()
        .owner("tenants")
        .connect()
        .simple("CREATE TABLE made_behind (tenant_id int)")
        .ok();
    let found = (0..40).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        a.simple("SELECT * FROM made_behind").errors.is_empty()
    });
    assert!(found);
}
