//! Who may act for whom: the matrix of logins, sources and tenants.

use std::path::Path;

use super::*;
use crate::base::SqlState;

fn registry(identify: &str) -> Registry {
    let text = format!(
        r#"
        [listen]
        address = "127.0.0.1:1"
        [upstream.main]
        url = "postgres://pool@h/app"
        [upstream.other]
        url = "postgres://pool@h/warehouse"
        [tenancy]
        upstream = "main"
        identify = {identify}
        [[login]]
        name = "app"
        auth = "trust"
        tenants = ["acme", "globex", "initech", "dormant"]
        [[login]]
        name = "single"
        auth = "trust"
        tenants = ["acme"]
        [[login]]
        name = "asleep"
        auth = "trust"
        tenants = ["dormant"]
        [[login]]
        name = "worker"
        auth = "trust"
        tenants = "*"
        [[login]]
        name = "dotted.name"
        auth = "trust"
        tenants = ["acme"]
        [[login]]
        name = "ops"
        auth = "trust"
        role = "operator"
        tenants = ["acme", "initech"]
        [[login]]
        name = "dba"
        auth = "trust"
        role = "operator"
        upstream = "other"
        database = "postgres"
        [[tenant]]
        name = "acme"
        key = 1
        [[tenant]]
        name = "globex"
        layout = "schema"
        schema = "globex"
        [[tenant]]
        name = "initech"
        layout = "database"
        upstream = {{ url = "postgres://pool@h/initech_db" }}
        [[tenant]]
        name = "dormant"
        key = 4
        suspended = true
        [[tenant]]
        name = "stranger"
        key = 5
        [[tenant]]
        name = "napping"
        key = 6
        suspended = true
        "#
    );
    let loaded = crate::config::parse(&text, Path::new("x"), &|_| None).unwrap_or_else(|e| panic!("{e}"));
    Registry::new(&loaded.config)
}

fn all() -> Registry {
    registry(r#"["user", "database", "option"]"#)
}

fn params<'a>(user: &'a str, database: &'a str, options: &'a str) -> StartupParams<'a> {
    let some = |text: &'a str| Some(text).filter(|t| !t.is_empty());
    StartupParams { user, database: some(database), options: some(options), ..StartupParams::default() }
}

fn outcome(registry: &Registry, params: &StartupParams<'_>) -> Result<String, IdentifyError> {
    registry.identify(params).outcome().map(|identity| match &identity.target {
        Target::Tenant(tenant) => format!("{}>{}@{}", identity.login.name, tenant.name, tenant.upstream.database),
        Target::Reader { upstream } => format!("{} reads {}", identity.login.name, upstream.database),
        Target::Unbound { upstream } => format!("{}>?@{}", identity.login.name, upstream.database),
        Target::Console => format!("{}:console", identity.login.name),
        Target::Observed { upstream, database, tenant } => {
            let tenant = tenant.as_ref().map_or("-", |it| it.name.as_str());
            format!("{}?{tenant}@{}/{database}", identity.login.name, upstream.name)
        }
        Target::Operator { upstream, database, tenant } => {
            let tenant = tenant.as_ref().map_or("-", |t| t.name.as_str());
            format!("{}!{}/{database}:{tenant}", identity.login.name, upstream.name)
        }
    })
}

#[track_caller]
fn accepted(user: &str, database: &str, options: &str, expected: &str) {
    assert_eq!(outcome(&all(), &params(user, database, options)).as_deref(), Ok(expected));
}

#[track_caller]
fn refused(user: &str, database: &str, options: &str, code: SqlState, part: &str) {
    let error = outcome(&all(), &params(user, database, options)).unwrap_err().to_pg_error();
    assert_eq!(error.code, code, "{error}");
    assert!(error.message.contains(part), "{error}");
    assert_eq!(error.severity, crate::base::Severity::Fatal);
}

const DENIED: SqlState = SqlState::INVALID_AUTHORIZATION;
const NO_DATABASE: SqlState = SqlState::INVALID_CATALOG_NAME;

#[test]
fn each_source_alone() {
    accepted("app@acme", "", "", "app>acme@app");
    accepted("app.acme", "", "", "app>acme@app");
    accepted("app", "acme", "", "app>acme@app");
    accepted("app", "acme/app", "", "app>acme@app");
    accepted("app", "", "-c pgwarden.tenant=acme", "app>acme@app");
    accepted("app", "", "--pgwarden.tenant=acme -c timezone=UTC", "app>acme@app");
    let own = StartupParams { tenant_parameter: Some("acme"), ..params("app", "", "") };
    assert_eq!(outcome(&all(), &own).as_deref(), Ok("app>acme@app"));
}

#[test]
fn all_layouts() {
    accepted("app@globex", "", "", "app>globex@app");
    accepted("app@initech", "", "", "app>initech@initech_db");
    accepted("worker", "initech/initech_db", "", "worker>initech@initech_db");
}

#[test]
fn sources_that_agree_and_disagree() {
    accepted("app@acme", "acme", "-c pgwarden.tenant=acme", "app>acme@app");
    accepted("app.acme", "acme/app", "", "app>acme@app");
    for (user, database, options) in [
        ("app@acme", "globex", ""),
        ("app@acme", "globex/app", ""),
        ("app@acme", "", "-c pgwarden.tenant=globex"),
        ("app", "acme", "-c pgwarden.tenant=globex"),
        ("app@acme", "acme", "-c pgwarden.tenant=ACME"),
    ] {
        refused(user, database, options, DENIED, "name different tenants");
    }
    refused("app", "", "-c pgwarden.tenant=acme -c pgwarden.tenant=globex", SqlState::INVALID_PARAMETER_VALUE, "twice");
    let both = StartupParams { tenant_parameter: Some("globex"), ..params("app", "", "-c pgwarden.tenant=acme") };
    assert!(matches!(outcome(&all(), &both), Err(IdentifyError::BadOptions { .. })));
    refused("app", "", "-d 5", SqlState::INVALID_PARAMETER_VALUE, "invalid command-line argument");
}

#[test]
fn logins_with_one_tenant_need_not_name_it() {
    accepted("single", "", "", "single>acme@app");
    accepted("single", "app", "", "single>acme@app");
    // libpq sends the user's name when no database is given.
    accepted("single", "single", "", "single>acme@app");
    accepted("app@acme", "app@acme", "", "app>acme@app");
    accepted("app", "", "", "app>?@app");
    accepted("worker", "app", "", "worker>?@app");
    refused("asleep", "", "", DENIED, "tenant \"dormant\" is suspended");
}

#[test]
fn plain_database_names() {
    // The default upstream's database serves tenants of all layouts: an app need not know them.
    accepted("app@initech", "app", "", "app>initech@initech_db");
    accepted("app@initech", "initech_db", "", "app>initech@initech_db");
    accepted("app@globex", "app", "", "app>globex@app");
    refused("app@acme", "nowhere", "", NO_DATABASE, "database \"nowhere\" does not exist");
    refused("app@acme", "initech_db", "", NO_DATABASE, "does not exist");
    refused("app@acme", "acme/warehouse", "", NO_DATABASE, "database \"warehouse\" does not exist");
    refused("single", "warehouse", "", NO_DATABASE, "does not exist");
}

#[test]
fn unknown_suspended_and_foreign_tenants_look_alike() {
    let text = |user: &str, database: &str, options: &str| {
        let error = outcome(&all(), &params(user, database, options)).unwrap_err().to_pg_error();
        format!("{error:?}")
    };
    for name in ["stranger", "napping", "a b"] {
        let as_unknown = |text: String| text.replace(name, "unknown");
        assert_eq!(as_unknown(text(&format!("app@{name}"), "", "")), text("app@unknown", "", ""));
        assert_eq!(as_unknown(text("app", name, "")), text("app", "unknown", ""));
        assert_eq!(as_unknown(text("app@acme", name, "")), text("app@acme", "unknown", ""));
        let option = format!("-c pgwarden.tenant={}", name.replace(' ', "\\ "));
        assert_eq!(as_unknown(text("app", "", &option)), text("app", "", "-c pgwarden.tenant=unknown"));
        assert_eq!(as_unknown(text("single", &format!("{name}/app"), "")), text("single", "unknown/app", ""));
    }
    // A login's own tenant: the truth.
    refused("app@dormant", "", "", DENIED, "tenant \"dormant\" is suspended");
}

#[test]
fn sources_that_are_not_enabled() {
    let only_user = registry(r#"["user"]"#);
    let error = |p: &StartupParams<'_>| outcome(&only_user, p).unwrap_err();
    assert!(matches!(error(&params("app", "acme/app", "")), IdentifyError::SourceNotEnabled { .. }));
    assert!(matches!(error(&params("app", "", "-c pgwarden.tenant=acme")), IdentifyError::SourceNotEnabled { .. }));
    // A database that happens to be called like a tenant is a database that does not exist.
    assert!(matches!(error(&params("app@acme", "acme", "")), IdentifyError::WrongDatabase { .. }));
    let only_database = registry(r#"["database"]"#);
    let by_user = outcome(&only_database, &params("app@acme", "", "")).unwrap_err();
    assert!(matches!(by_user, IdentifyError::SourceNotEnabled { .. }));
    assert_eq!(outcome(&only_database, &params("app", "acme", "")).as_deref(), Ok("app>acme@app"));
    let none = registry("[]");
    assert_eq!(outcome(&none, &params("single", "", "")).as_deref(), Ok("single>acme@app"));
}

#[test]
fn unknown_logins_are_told_nothing() {
    for user in ["mallory", "mallory@acme", "", "@acme", "app@acme@globex", "mallory.acme"] {
        let registry = all();
        let claim = registry.identify(&params(user, "acme", ""));
        assert!(claim.login.is_none(), "{user}");
        let error = claim.outcome().unwrap_err().to_pg_error();
        assert_eq!(error.code, SqlState::INVALID_PASSWORD);
        assert!(error.message.starts_with("password authentication failed for user"), "{error}");
    }
}

#[test]
fn dots_in_names() {
    accepted("dotted.name", "", "", "dotted.name>acme@app");
    accepted("dotted.name.acme", "", "", "dotted.name>acme@app");
    accepted("dotted.name@acme", "", "", "dotted.name>acme@app");
    refused("dotted.name@globex", "", "", DENIED, "may not act for tenant \"globex\"");
}

#[test]
fn operators() {
    accepted("ops", "", "", "ops!main/app:-");
    accepted("ops", "app", "", "ops!main/app:-");
    accepted("ops", "ops", "", "ops!main/app:-");
    accepted("ops", "initech", "", "ops!tenant/initech/initech_db:initech");
    accepted("ops@acme", "app", "", "ops!main/app:acme");
    accepted("dba", "postgres", "", "dba!other/postgres:-");
    // An operator must not land in another database than the one it asked for.
    refused("dba", "app", "", NO_DATABASE, "database \"app\" does not exist");
    refused("dba", "warehouse", "", NO_DATABASE, "does not exist");
    refused("ops@initech", "app", "", NO_DATABASE, "does not exist");
    refused("ops@globex", "", "", DENIED, "may not act for tenant \"globex\"");
    refused("dba@acme", "", "", DENIED, "may not act for tenant \"acme\"");
}

#[test]
fn a_tenant_called_like_the_user_counts_as_named() {
    let text = r#"
        listen = { address = "127.0.0.1:1" }
        upstream.main.url = "postgres://pool@h/db"
        tenancy.upstream = "main"
        login = [{ name = "shop", auth = "trust", tenants = ["acme"] }]
        tenant = [{ name = "shop", key = 1 }, { name = "acme", key = 2 }]
    "#;
    let config = crate::config::parse(text, Path::new("x"), &|_| None).unwrap().config;
    let registry = Registry::new(&config);
    // libpq's default may be meant or not: better refused than another tenant's data shown.
    assert!(matches!(outcome(&registry, &params("shop", "shop", "")), Err(IdentifyError::WrongDatabase { .. })));
    assert_eq!(outcome(&registry, &params("shop", "", "")).as_deref(), Ok("shop>acme@db"));
}

#[test]
fn host_names() {
    let text = r#"
        listen = { address = "127.0.0.1:1" }
        upstream.main.url = "postgres://pool@h/db"
        tenancy = { upstream = "main", identify = ["sni", "user"], domain = "DB.example.com" }
        login = [
            { name = "app", auth = "trust", tenants = ["acme", "globex"] },
            { name = "ops", auth = "trust", role = "operator" },
        ]
        tenant = [{ name = "acme", key = 1 }, { name = "globex", key = 2 }, { name = "other", key = 3 }]
    "#;
    let errors = crate::config::parse(text, Path::new("x"), &|_| None).unwrap_err();
    assert!(errors.to_string().contains("identification by \"sni\" needs TLS"), "{errors}");
    let text = text.replace("127.0.0.1:1\" }", "127.0.0.1:1\", tls = { cert = \"c\", key = \"k\" } }");
    let directory = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(vec!["db.example.com".to_owned()]).unwrap();
    std::fs::write(directory.path().join("c"), pair.cert.pem()).unwrap();
    std::fs::write(directory.path().join("k"), pair.signing_key.serialize_pem()).unwrap();
    let loaded = crate::config::parse(&text, &directory.path().join("x"), &|_| None).unwrap_or_else(|e| panic!("{e}"));
    let registry = Registry::new(&loaded.config);
    let by_host = |user: &str, host: &str| {
        let found = outcome(&registry, &StartupParams { host: Some(host), ..params(user, "", "") });
        found.map_err(|error| error.to_pg_error().message.into_owned())
    };
    assert_eq!(by_host("app", "acme.db.example.com").as_deref(), Ok("app>acme@db"));
    assert_eq!(by_host("app@acme", "acme.db.example.com").as_deref(), Ok("app>acme@db"));
    // Names of no tenant: the other places count.
    for host in ["db.example.com", "localhost", "acme.example.com"] {
        assert_eq!(by_host("app", host).as_deref(), Ok("app>?@db"), "{host}");
    }
    assert!(by_host("app@globex", "acme.db.example.com").unwrap_err().contains("name different tenants"));
    for (user, host) in [("app", "other"), ("app", "nobody"), ("app", "a.acme"), ("ops", "acme")] {
        let refusal = by_host(user, &format!("{host}.db.example.com")).unwrap_err();
        assert_eq!(refusal, format!("login \"{user}\" may not act for tenant \"{host}\""));
    }
}
