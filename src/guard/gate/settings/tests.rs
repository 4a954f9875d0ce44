use super::*;
use crate::config::TenantSetting;
use crate::guard::gate::fixture::{outcome, policy, schema_mode};
use crate::sql::parse;

fn run(mode: &Mode, sql: &str) -> Result<Vec<Effect>, Refusal> {
    let statement = parse::reparse(sql).unwrap().pop().unwrap().stmt.unwrap();
    let policy = policy();
    match statement.node {
        Some(NodeEnum::VariableSetStmt(stmt)) => set(&policy, mode, &stmt),
        Some(NodeEnum::VariableShowStmt(stmt)) => show(&policy, mode, &stmt.name).map(|()| vec![]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_drivers_send_at_connect_is_accepted() {
    for sql in [
        "SET extra_float_digits = 3",
        "SET application_name = 'PostgreSQL JDBC Driver'",
        "SET client_encoding TO 'UTF8'",
        "SET client_encoding TO 'utf-8'",
        "SET NAMES 'UTF8'",
        "SET standard_conforming_strings = on",
        "SET client_min_messages TO 'warning'",
        "SET intervalstyle = iso_8601",
        "SET TIME ZONE 'UTC'",
        "SET TimeZone TO 'Europe/Berlin'",
        "SET LOCAL TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE",
        "SET DateStyle TO ISO, MDY",
        "SET search_path TO public",
        "SET search_path = \"$user\", public",
        "SET search_path TO public, extensions",
        "SET search_path TO pg_catalog, public",
        "SET SCHEMA 'public'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET default_transaction_isolation TO 'serializable'",
        "SET statement_timeout = '5s'",
        "SET LOCAL lock_timeout = 1000",
        "SET row_security = on",
        "SET bytea_output = 'hex'",
        "SET statement_timeout TO DEFAULT",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "RESET timezone",
        "RESET ALL",
        "SHOW server_version_num",
        "SHOW TRANSACTION ISOLATION LEVEL",
        "SHOW standard_conforming_strings",
        "SHOW app.tenant_id",
        "SHOW search_path",
        "SET app.other = 'x'",
        "SET LOCAL audit.actor TO 'ann', 'bob'",
        "RESET audit.actor",
        "SHOW app.other",
        "SET synchronous_commit = off",
        "SET hnsw.iterative_scan = relaxed_order",
        "SET geqo = off",
    ] {
        assert_eq!(outcome(run(&Mode::Shared, sql)), "ok", "{sql}");
    }
}

#[test]
fn what_the_guard_relies_on_stays() {
    for sql in [
        "SET app.tenant_id = '2'",
        "SET APP.Tenant_ID TO 2",
        "SET LOCAL \"app.tenant_id\" = '2'",
        "RESET app.tenant_id",
        "SET pg_stat_statements.track = 'none'",
        "SET plpgsql.variable_conflict = 'use_column'",
        "SET acme_audit.level = 'off'",
        "SET app.secret = 'x'",
        "RESET app.secret",
        "SET app.org = '2'",
        "SET LOCAL App.Org = '2'",
        "RESET app.org",
        "SET ROLE other",
        "SET ROLE NONE",
        "RESET ROLE",
        "SET SESSION AUTHORIZATION other",
        "RESET SESSION AUTHORIZATION",
        "SET row_security = off",
        "SET client_encoding = 'SJIS'",
        "SET NAMES 'BIG5'",
        "SET NAMES DEFAULT",
        "RESET client_encoding",
        "SET standard_conforming_strings = off",
        "SET backslash_quote = on",
        "SET search_path TO t_b",
        "SET search_path TO extensions, public",
        "SET search_path TO \"Public\"",
        "SET search_path TO ''",
        "SET search_path TO 'public, extensions', t_b",
        "RESET search_path",
        "SET session_replication_role = replica",
        "SET enable_seqscan = off",
        "SET work_mem = '1GB'",
        "SET transform_null_equals = on",
        "SET idle_session_timeout = 1",
        "SET TRANSACTION SNAPSHOT '00000003-0000001B-1'",
        "SHOW ALL",
        "SHOW data_directory",
        "SHOW app.secret",
        "SHOW plpgsql.variable_conflict",
        "SHOW primary_conninfo",
    ] {
        assert_eq!(outcome(run(&Mode::Shared, sql)), "42501", "{sql}");
    }
}

#[test]
fn each_mode_has_its_path() {
    let mode = schema_mode();
    assert_eq!(outcome(run(&mode, "SET search_path TO t_a")), "ok");
    for sql in [
        "SET search_path TO \"$user\", t_a",
        "SET search_path TO t_a, t_b",
        "SET search_path TO public",
        "SET SCHEMA 't_b'",
        "RESET search_path",
    ] {
        assert_eq!(outcome(run(&mode, sql)), "42501", "{sql}");
    }
    for (sql, wanted) in [
        ("SET search_path TO anything", "ok"),
        ("SET work_mem = '1GB'", "ok"),
        ("SET app.other = 'x'", "ok"),
        ("SET session_replication_role = replica", "ok"),
        ("SHOW ALL", "ok"),
        ("SET ROLE other", "42501"),
        ("SET client_encoding = 'LATIN1'", "42501"),
        ("SET standard_conforming_strings = off", "42501"),
        ("SET app.tenant_id = '2'", "42501"),
    ] {
        assert_eq!(outcome(run(&Mode::Database, sql)), wanted, "{sql}");
        assert_eq!(outcome(run(&Mode::Operator, sql)), "ok", "{sql}");
    }
}

#[test]
fn changes_are_told_to_the_session() {
    let effects = |sql| run(&Mode::Shared, sql).unwrap();
    assert_eq!(effects("SET TIME ZONE 'UTC'"), [Effect::Setting("timezone".into())]);
    assert_eq!(effects("RESET DateStyle"), [Effect::Setting("datestyle".into())]);
    assert_eq!(effects("RESET ALL"), [Effect::ResetOwn]);
    assert_eq!(run(&Mode::Database, "RESET ALL"), Ok(vec![Effect::ResetAll]));
    assert_eq!(effects("SET TRANSACTION READ ONLY"), []);
    assert_eq!(
        effects("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE"),
        [
            Effect::Setting("default_transaction_read_only".into()),
            Effect::Setting("default_transaction_isolation".into())
        ]
    );
}

#[test]
fn the_startup_packet_is_held_to_the_same_list() {
    let policy = policy();
    let startup = |name, value| outcome(startup_setting(&policy, &Mode::Shared, name, value));
    for (name, value) in [
        ("application_name", "x"),
        ("client_encoding", "UTF8"),
        ("client_encoding", "'utf-8'"),
        ("DateStyle", "ISO"),
        ("search_path", "public"),
        ("statement_timeout", "0"),
        ("Audit.Actor", "ann"),
    ] {
        assert_eq!(startup(name, value), "ok", "{name}");
    }
    for (name, value) in [
        ("app.tenant_id", "2"),
        ("session_authorization", "postgres"),
        ("role", "x"),
        ("client_encoding", "SJIS"),
        ("search_path", "t_b"),
        ("search_path", "\"Public\""),
        ("standard_conforming_strings", "off"),
        ("session_replication_role", "replica"),
        ("app.org", "2"),
        ("enable_nestloop", "off"),
    ] {
        assert_eq!(startup(name, value), "42501", "{name}");
    }
}

#[test]
fn the_operator_says_what_tenants_may_make_of_settings() {
    let mut policy = policy();
    let mut configured = |name: &str, prefix, values| {
        policy.settings.configured.push(TenantSetting { name: name.to_owned(), prefix, values });
    };
    configured("work_mem", false, TenantValues::UpTo(Amount::parse("64MB").unwrap()));
    configured("enable_seqscan", false, TenantValues::Any);
    configured("app.org", false, TenantValues::Any);
    configured("geqo", false, TenantValues::None);
    configured("app.", true, TenantValues::Any);
    for (name, value, wanted) in [
        ("work_mem", "64MB", "ok"),
        ("work_mem", "65MB", "42501"),
        ("enable_seqscan", "off", "ok"),
        ("app.org", "2", "ok"),
        ("app.secret", "2", "ok"),
        ("geqo", "off", "42501"),
        // What the guard relies on is not the operator's to open here.
        ("app.tenant_id", "2", "42501"),
        ("app.tenant_id_uuid", "2", "42501"),
        ("row_security", "off", "42501"),
    ] {
        assert_eq!(outcome(startup_setting(&policy, &Mode::Shared, name, value)), wanted, "{name} {value}");
        assert_eq!(outcome(startup_setting(&policy, &schema_mode(), name, value)), wanted, "{name} {value}");
    }
}

#[test]
fn who_decides_by_a_setting_is_named() {
    let hint = run(&Mode::Shared, "SET app.org = '2'").unwrap_err().error.hint.unwrap();
    assert!(hint.contains("the function public.org_rows") && hint.contains("[tenancy.settings]"), "{hint}");
    let mut policy = policy();
    policy.settings.any = Some("the function public.any".into());
    assert_eq!(outcome(startup_setting(&policy, &Mode::Shared, "audit.actor", "x")), "42501");
}
