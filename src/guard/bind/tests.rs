use super::*;
use crate::guard::plan::TenantCheck as C;
use crate::guard::test_plan;

fn slot() -> TenantSlot {
    TenantSlot { key: None, arity: Arity::One, type_oid: 23, type_name: "pg_catalog.int4".into() }
}

fn script(checks: Vec<C>, extended: bool) -> Arc<Script> {
    let mut plan = test_plan("");
    plan.pieces = vec![Piece::Text("SELECT a FROM t WHERE t OPERATOR(pg_catalog.=) ".into()), Piece::Slot(0)];
    plan.slots = vec![slot()];
    plan.client_params = 2;
    plan.checks = checks;
    Arc::new(Script::new(vec![plan], extended))
}

fn keys(value: &str) -> TenantKeys {
    TenantKeys { default: Some(value.into()), ..TenantKeys::default() }
}

#[test]
fn the_value_is_a_literal_or_a_parameter() {
    let text = |extended| script(vec![], extended).bind(&keys("42")).unwrap().text().into_owned();
    assert_eq!(text(false), "SELECT a FROM t WHERE t OPERATOR(pg_catalog.=) CAST('42' AS pg_catalog.int4)");
    assert_eq!(text(true), "SELECT a FROM t WHERE t OPERATOR(pg_catalog.=) $3");
    let guarded = script(vec![], true).bind(&keys("42")).unwrap();
    assert_eq!(guarded.param_types(&[25]), [25, 0, 23]);
    assert_eq!(guarded.extra_values(), [std::sync::Arc::from("42")]);
}

#[test]
fn statements_without_parameters_get_literals_in_both_protocols() {
    let mut plan = test_plan("");
    plan.pieces = vec![Piece::Text("COPY (SELECT ".into()), Piece::Slot(0), Piece::Text(") TO STDOUT".into())];
    plan.slots = vec![slot()];
    plan.inline_slots = true;
    let guarded = Arc::new(Script::new(vec![plan], true)).bind(&keys("42")).unwrap();
    assert_eq!(guarded.text(), "COPY (SELECT CAST('42' AS pg_catalog.int4)) TO STDOUT");
    assert!(guarded.param_types(&[]).is_empty() && guarded.extra_values().is_empty());
}

#[test]
fn literals_of_another_tenant_are_refused() {
    let check = |value: &str| script(vec![C::Literal { slot: 0, value: value.into() }], false).bind(&keys("42"));
    assert!(check("042").is_ok());
    for other in ["43", "", "4 2", "x"] {
        assert_eq!(check(other).unwrap_err().kind, RefusalKind::ForeignTenant, "{other}");
    }
}

#[test]
fn parameters_of_another_tenant_are_refused() {
    let guarded = script(vec![C::Param { slot: 0, number: 2 }], true).bind(&keys("42")).unwrap();
    let ask_as = |bytes: Option<&[u8]>, binary, declared| {
        guarded
            .check_bind(&[BindValue { bytes: None, binary: false, declared: 0 }, BindValue { bytes, binary, declared }])
            .is_ok()
    };
    let ask = |bytes: Option<&[u8]>, binary| ask_as(bytes, binary, 0);
    assert!(ask(Some(b"42"), false));
    assert!(ask_as(Some(&42i64.to_be_bytes()), true, 20));
    assert!(!ask_as(Some(&42i64.to_be_bytes()), true, 23));
    assert!(ask(Some(&42i32.to_be_bytes()), true));
    assert!(!ask(Some(b"43"), false));
    assert!(!ask(Some(&42i64.to_be_bytes()), true));
    assert!(!ask(None, false));
    assert!(guarded.check_bind(&[]).is_err());
}

#[test]
fn a_missing_key_is_refused() {
    assert!(script(vec![], false).bind(&TenantKeys::default()).is_err());
}
