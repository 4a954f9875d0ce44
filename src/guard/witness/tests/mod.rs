//! Planted holes are seen, and what the rewriter makes is not one.

mod bounds;
mod conditions;
mod faults;
mod relations;
mod writes;

use super::*;
use crate::guard::plan::{Piece, TenantCheck, TenantSlot};
use crate::guard::rewrite::tests::fixture;

/// All that the rules could demand.
const ALL: Rules = Rules { derived: true, policed: true };

/// A plan of a text in which the client has one parameter and the tenant's value is `$2`. `P(x)` stands for the predicate.
fn planned(sql: &str) -> Plan {
    let slot = TenantSlot { key: None, arity: Arity::One, type_oid: 23, type_name: "pg_catalog.int4".into() };
    Plan {
        slots: vec![slot],
        client_params: 1,
        checks: vec![TenantCheck::Param { slot: 0, number: 1 }],
        ..Plan::verbatim(StatementKind::Select, &expand(sql))
    }
}

fn expand(sql: &str) -> String {
    let mut out = String::new();
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once("P(") {
        let (name, after) = after.split_once(')').unwrap();
        out.push_str(&format!("{before}{name}.tenant_id OPERATOR(pg_catalog.=) $2"));
        rest = after;
    }
    out + rest
}

fn says_by(rules: Rules, sql: &str) -> Testimony {
    testify_by(&fixture::policy(), Arity::One, &planned(sql), rules)
}

fn says(sql: &str) -> Testimony {
    says_by(Rules::IN_FORCE, sql)
}

/// None of them is covered, for a reason with these words in it.
fn uncovered(rules: Rules, why: &str, texts: &[&str]) {
    for sql in texts {
        let said = says_by(rules, sql);
        assert!(matches!(&said, Testimony::Uncovered(what) if what.contains(why)), "{sql}: {said:?}");
    }
}

fn covered(rules: Rules, texts: &[&str]) {
    for sql in texts {
        assert_eq!(says_by(rules, sql), Testimony::Covered, "{sql}");
    }
}

#[test]
fn the_mode_decides_what_becomes_of_it() {
    let hole = || planned("SELECT id FROM public.orders");
    let heard = |witness| {
        let mut plan = hole();
        let outcome = hear(&Policy { witness, ..fixture::policy() }, Arity::One, &mut plan);
        (outcome.map_err(|refusal| (refusal.kind, refusal.error.code)), plan.objection)
    };
    assert_eq!(heard(Witness::Enforce), (Err((RefusalKind::Witness, SqlState::INSUFFICIENT_PRIVILEGE)), None));
    assert_eq!(heard(Witness::Report), (Ok(()), Some("orders stands without its tenant predicate".into())));
    assert_eq!(heard(Witness::Off), (Ok(()), None));
    let before = witness_counts();
    let _ = heard(Witness::Report);
    // Other tests count at the same time.
    assert!(witness_counts().uncovered > before.uncovered);
}

/// The values are parameters in both protocols when the witness reads: pieces are put together as they will be sent.
#[test]
fn the_text_is_put_together_as_it_will_be_sent() {
    let mut plan = planned("");
    plan.pieces = vec![
        Piece::Text("SELECT id FROM public.orders WHERE public.orders.tenant_id OPERATOR(pg_catalog.=) ".into()),
        Piece::Slot(0),
        Piece::Text(" AND id = 1".into()),
    ];
    assert_eq!(testify(&fixture::policy(), &plan), Testimony::Covered);
    plan.pieces[1] = Piece::Literal(0);
    assert!(matches!(testify(&fixture::policy(), &plan), Testimony::Uncovered(_)));
}
