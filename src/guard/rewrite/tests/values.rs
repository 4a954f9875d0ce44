//! Where the tenant's values stand, and the client's are checked.

use super::fixture::{plan, text};
use crate::base::Mode;
use crate::guard::{Piece, Protocol, TenantCheck, plan_statements};

#[test]
fn values_of_the_client_are_checked_when_they_are_bound() {
    let checks = |sql| plan(sql).unwrap().checks;
    assert_eq!(
        checks("INSERT INTO orders (id, tenant_id) VALUES (1, 7), (2, $1), (3, DEFAULT), (4, '8'::int)"),
        [
            TenantCheck::Literal { slot: 0, value: "7".into() },
            TenantCheck::Param { slot: 0, number: 1 },
            TenantCheck::Literal { slot: 0, value: "8".into() },
        ]
    );
    assert_eq!(
        checks("UPDATE orders SET (status, tenant_id) = ('a', 7)"),
        [TenantCheck::Literal { slot: 0, value: "7".into() }]
    );
    assert_eq!(checks("UPDATE orders SET tenant_id = $2"), [TenantCheck::Param { slot: 0, number: 2 }]);
}

#[test]
fn the_simple_protocol_cuts_the_text_at_each_value() {
    let policy = super::fixture::policy();
    let sql = "SELECT 'ä$1', id FROM orders WHERE id = 1; PREPARE p AS UPDATE invoices SET memo = $1 WHERE id = $2";
    let plans = plan_statements(&policy, &Mode::Shared, Protocol::Simple, sql).unwrap();
    let [select, prepare] = plans.as_slice() else { panic!("two statements") };
    assert_eq!(
        select.pieces,
        [
            Piece::Text(
                "SELECT 'ä$1', id FROM public.orders WHERE public.orders.tenant_id OPERATOR(pg_catalog.=) ".into()
            ),
            Piece::Slot(0),
            Piece::Text(" AND id = 1".into()),
        ]
    );
    assert_eq!((select.client_params, prepare.client_params), (0, 2));
    assert!(text(prepare).contains("memo = $1 WHERE public.invoices.org_id OPERATOR(pg_catalog.=) {0} AND"));
    assert_eq!(prepare.slots[0].key.as_deref(), Some("uuid"));
}

#[test]
fn the_tenants_parameter_comes_after_all_of_the_clients() {
    let policy = super::fixture::policy();
    let protocol = Protocol::Extended { param_types: &[20, 25, 23] };
    let plans = plan_statements(&policy, &Mode::Shared, protocol, "SELECT id FROM orders WHERE id = $1").unwrap();
    assert_eq!(plans[0].client_params, 3);
    assert!(text(&plans[0]).contains("tenant_id OPERATOR(pg_catalog.=) $4 AND id = $1"));
}

#[test]
fn one_value_for_each_key_and_type() {
    let plan = plan("SELECT * FROM orders, customers, invoices").unwrap();
    let names: Vec<_> = plan.slots.iter().map(|s| (s.key.as_deref(), &*s.type_name)).collect();
    assert_eq!(names, [(None, "pg_catalog.int4"), (Some("uuid"), "pg_catalog.uuid")]);
}
