//! What is read of a text, and what the server is sent.

use super::*;
use crate::guard::Policy;

/// Tenant `one` has the schema `t_one`.
fn of_path(schemas: &[String]) -> Option<String> {
    match schemas.first().map(String::as_str) {
        Some("t_one") => Some("one".to_owned()),
        Some("public") | None => Some(String::new()),
        Some(_) => None,
    }
}

fn steps(sql: &str) -> Vec<Step> {
    outline(&Policy::empty(), sql, &of_path).unwrap_or_default().into_iter().map(|(_, step)| step).collect()
}

fn switches(value: Value, scope: Scope, form: Form) -> Vec<Step> {
    vec![Step::Switch { value, scope, form }]
}

#[test]
fn forms_of_a_switch() {
    let text = |text: &str| Value::Text(text.to_owned());
    let function = |name: &str| Form::Function(name.to_owned());
    for (sql, expected) in [
        ("SET app.tenant_id = 'a'", switches(text("a"), Scope::Session, Form::Command)),
        ("set local APP.Tenant_Id to a", switches(text("a"), Scope::Local, Form::Command)),
        ("SET app.tenant_id = 42", switches(text("42"), Scope::Session, Form::Command)),
        ("SET app.tenant_id TO DEFAULT", switches(Value::Default, Scope::Session, Form::Command)),
        ("RESET app.tenant_id", switches(Value::Default, Scope::Session, Form::Reset)),
        ("SELECT set_config('app.tenant_id', 'a', true)", switches(text("a"), Scope::Local, function("set_config"))),
        (
            "SELECT pg_catalog.set_config('app.tenant_id'::text, $1::text, false) AS x",
            switches(Value::Param, Scope::Session, function("x")),
        ),
        ("SHOW app.tenant_id", vec![Step::Show(Form::Command)]),
        ("SELECT current_setting('app.tenant_id', true)", vec![Step::Show(function("current_setting"))]),
        ("SET search_path = \"t_one\", 'public'", switches(text("one"), Scope::Session, Form::Command)),
        ("SET LOCAL SEARCH_PATH TO t_one", switches(text("one"), Scope::Local, Form::Command)),
        ("SET SCHEMA 't_one'", switches(text("one"), Scope::Session, Form::Command)),
        ("SET search_path = public", switches(text(""), Scope::Session, Form::Command)),
        ("RESET search_path", switches(Value::Default, Scope::Session, Form::Reset)),
        ("SET search_path TO DEFAULT", switches(Value::Default, Scope::Session, Form::Command)),
        (
            "SET search_path = 't_one, public'; COMMIT",
            vec![Step::None, Step::Transaction(TransactionStep::Commit { chain: false })],
        ),
        ("DISCARD ALL", vec![Step::Clear]),
        ("COMMIT AND CHAIN", vec![Step::Transaction(TransactionStep::Commit { chain: true })]),
        ("START TRANSACTION READ ONLY", vec![Step::Begin("START TRANSACTION")]),
        (
            "BEGIN; ROLLBACK TO x",
            vec![Step::Begin("BEGIN"), Step::Transaction(TransactionStep::RollbackTo("x".into()))],
        ),
    ] {
        assert_eq!(steps(sql), expected, "{sql}");
    }
}

/// What is read as nothing goes to the guard, which lets none of it change the setting. (What a parameter names is judged when it is
/// bound: `guard::gate::settings::at_bind`.)
#[test]
fn the_guard_refuses_what_is_not_read() {
    for sql in [
        "SET app.tenant_id = a, b",
        "SET app.tenant_id FROM CURRENT",
        "SELECT set_config('app.tenant_id', 'a', true), 1",
        "SELECT set_config('app.tenant_id', 'a' || 'b', true)",
        "SELECT pg_catalog.set_config('App.Tenant_ID', 'a', NULL)",
        "WITH a AS (SELECT set_config('app.tenant_id', 'a', true)) SELECT 1",
        "EXPLAIN SELECT set_config('app.tenant_id', 'a', true)",
        "PREPARE p AS SELECT set_config('app.tenant_id', 'a', true)",
        "DO 'begin end'",
        "ALTER ROLE a SET app.tenant_id = 'a'",
    ] {
        assert!(steps(sql).iter().all(|step| *step == Step::None), "{sql}");
        let refusal = crate::guard::rewrite::tests::fixture::plan(sql).expect_err(sql);
        assert_eq!(refusal.error.code, crate::base::SqlState::INSUFFICIENT_PRIVILEGE, "{sql}: {:?}", refusal.error);
    }
}

/// They stay with the guard, which seals the setting.
#[test]
fn other_forms_are_not_read() {
    for sql in [
        "SELECT set_config('app.tenant_id', 'a', true) FROM t",
        "SELECT set_config('app.tenant_id', 'a', true), 1",
        "SELECT set_config('app.tenant_id', 'a', true) WHERE true",
        "SELECT x.set_config('app.tenant_id', 'a', true)",
        "SELECT set_config('app.tenant_id', 'a' || 'b', true)",
        "SELECT set_config($1, 'a', true)",
        "WITH a AS (SELECT set_config('app.tenant_id', 'a', true)) SELECT 1",
        "SET app.tenant_id = a, b",
        "SET other.setting = 'a'",
        "SELECT 1",
        "SELECT 'app.tenant_id'",
        "SET app.tenant_id =",
    ] {
        assert!(outline(&Policy::empty(), sql, &of_path).is_none(), "{sql}");
    }
}

#[test]
fn queries_with_comments_need_no_reading() {
    for sql in [
        "/* tenant='a' */ SELECT 1",
        "-- a; b\nSELECT 1 /* SET app.tenant_id */;",
        "/*x*/ /*y*/insert into t values (1) -- ;",
    ] {
        assert!(read::is_plain(sql, "app.tenant_id"), "{sql}");
    }
    for sql in ["/* a */ SET app.tenant_id = 'a'", "SELECT 1; /* a */ SET app.tenant_id = 'a'", "/* SELECT */ BEGIN"] {
        assert!(!read::is_plain(sql, "app.tenant_id"), "{sql}");
    }
}

#[test]
fn comments() {
    assert_eq!(comment("/* tenant='a' */ SELECT 1"), Some("a"));
    assert_eq!(comment(" /*route='x',tenant='a'*/SELECT 1"), Some("a"));
    for sql in [
        "SELECT /* tenant='a' */ 1",
        "/* tenant=a */ SELECT 1",
        "/* nottenant='a' */ SELECT 1",
        "/* /* tenant='a' */ */ SELECT 1",
        "/* tenant='a'",
        "-- tenant='a'\nSELECT 1",
        "/* x='1' */ /* tenant='a' */ SELECT 1",
    ] {
        assert_eq!(comment(sql), None, "{sql}");
    }
}

#[test]
fn what_the_server_is_sent() {
    let policy = Policy::empty();
    let text = |scope, form: &Form, name| switch(&policy, scope, form, name, "4'2").unwrap().text().into_owned();
    assert_eq!(text(Scope::Local, &Form::Command, Some("a")), "SET LOCAL \"app\".\"tenant_id\" TO '4''2'");
    assert_eq!(text(Scope::Session, &Form::Reset, Some("")), "RESET \"app\".\"tenant_id\"");
    let function = Form::Function("x\"y".into());
    assert_eq!(
        text(Scope::Local, &function, Some("a'b")),
        "SELECT 'a''b'::pg_catalog.text AS \"x\"\"y\" FROM pg_catalog.set_config('app.tenant_id', '4''2', true)"
    );
    let by_param = switch(&policy, Scope::Session, &function, None, "42").unwrap();
    assert!(by_param.text().contains("SELECT $1::pg_catalog.text") && by_param.text().contains("$2, false)"));
    assert_eq!((by_param.param_types(&[]), by_param.extra_values()), (vec![0, 25], &["42".into()][..]));
}
