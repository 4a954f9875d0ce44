use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::base::TenantKeys;
use crate::guard::test_plan;

static CALLS: AtomicUsize = AtomicUsize::new(0);

fn planner(_: &Policy, _: &Mode, _: Protocol<'_>, sql: &str) -> Result<Vec<Plan>, Refusal> {
    CALLS.fetch_add(1, Ordering::SeqCst);
    Ok(vec![test_plan(sql)])
}

#[test]
fn one_text_is_planned_once_per_mode_protocol_and_policy() {
    let guard = Guard::new(Arc::new(Policy::empty()), planner);
    let ask = |mode: &Mode, protocol: Protocol<'_>| guard.plan(mode, protocol, "SELECT a").map(|_| ()).unwrap();
    let calls = || CALLS.load(Ordering::SeqCst);
    ask(&Mode::Shared, Protocol::Simple);
    ask(&Mode::Shared, Protocol::Simple);
    assert_eq!(calls(), 1);
    ask(&Mode::Schema("a".into()), Protocol::Simple);
    ask(&Mode::Schema("b".into()), Protocol::Simple);
    ask(&Mode::Shared, Protocol::Extended { param_types: &[] });
    ask(&Mode::Shared, Protocol::Extended { param_types: &[23] });
    assert_eq!(calls(), 5);
    ask(&Mode::Shared, Protocol::Extended { param_types: &[23] });
    assert_eq!(calls(), 5);
    guard.set_policy(Arc::new(Policy::empty()));
    ask(&Mode::Shared, Protocol::Simple);
    assert_eq!(calls(), 6);
}

#[test]
fn texts_of_one_shape_share_a_verdict() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    fn planner(_: &Policy, _: &Mode, _: Protocol<'_>, sql: &str) -> Result<Vec<Plan>, Refusal> {
        CALLS.fetch_add(1, Ordering::SeqCst);
        Ok(vec![Plan { rewritten: true, ..test_plan(&format!("/* guarded */ {sql}")) }])
    }
    let guard = Guard::new(Arc::new(Policy::empty()), planner);
    let ask = |sql: &str| {
        let script = guard.plan(&Mode::Shared, Protocol::Simple, sql).unwrap();
        script.bind(&TenantKeys::default()).unwrap().text().into_owned()
    };
    for (i, name) in ["a", "it''s", "'' OR 1=1 --", "", "1733000"].iter().enumerate() {
        let sql = format!("SELECT f('fixed'), a FROM t WHERE b = '{name}' AND c IN ({i}, -7, 2.5) LIMIT 10");
        assert_eq!(ask(&sql), format!("/* guarded */ {sql}"));
    }
    // Once for the first text, twice for the second (its own plan and the template's), once for the one that holds a marker
    let calls = CALLS.load(Ordering::SeqCst);
    assert!(calls <= 4, "{calls}");
    // A literal that is no data must be the template's own
    let sql = "SELECT f('other'), a FROM t WHERE b = '' AND c IN (1, -7, 2.5) LIMIT 10";
    assert_eq!(ask(sql), format!("/* guarded */ {sql}"));
    assert_eq!(CALLS.load(Ordering::SeqCst), calls + 1);
}

#[test]
fn texts_that_differ_in_comments_share_a_verdict() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    fn planner(_: &Policy, _: &Mode, _: Protocol<'_>, sql: &str) -> Result<Vec<Plan>, Refusal> {
        CALLS.fetch_add(1, Ordering::SeqCst);
        Ok(vec![Plan { rewritten: sql.contains("orders"), ..test_plan(sql) }])
    }
    let guard = Guard::new(Arc::new(Policy::empty()), planner);
    let ask = |protocol, sql: &str| {
        let planned = guard.plan(&Mode::Shared, protocol, sql).unwrap().bind(&TenantKeys::default()).unwrap();
        (planned.text().into_owned(), planned.plain_text().into_owned(), planned.is_as_written())
    };
    let extended = Protocol::Extended { param_types: &[] };
    for i in 0..100 {
        // What is rewritten goes without them, what is not as the client wrote it.
        let comment = format!("/*traceparent='00-{i:032x}-01'*/");
        let (text, _, as_written) = ask(extended, &format!("SELECT a FROM orders {comment}"));
        assert_eq!((text.as_str(), as_written), ("SELECT a FROM orders  ", false));
        let sql = format!("{comment} SELECT a FROM t -- {i}");
        assert_eq!(ask(extended, &sql), (sql.clone(), "  SELECT a FROM t ".to_owned(), true));
        let sql = format!("SELECT a FROM t WHERE b = {i} {comment}");
        assert_eq!(ask(Protocol::Simple, &sql).0, sql);
        assert!(
            guard
                .remembered(Names::Catalog, &Mode::Shared, extended, &format!("SELECT a FROM orders /*{i}*/"))
                .is_some()
        );
    }
    // One each, and one for the template of the shape
    assert_eq!(CALLS.load(Ordering::SeqCst), 5);
    // A hint to the planner makes another statement.
    assert_eq!(ask(extended, "/*+ SeqScan(t) */ SELECT a FROM t").1, "/*+ SeqScan(t) */ SELECT a FROM t");
}

#[test]
fn several_statements_are_sent_as_they_were_written() {
    let guard = Guard::new(Arc::new(Policy::empty()), crate::guard::plan_statements);
    for sql in ["SELECT 1; SELECT 2", ";; SELECT 1", "  SELECT 1", "SELECT 1 /* a */; -- b\n SELECT 2;"] {
        for _ in 0..3 {
            let planned = guard.plan(&Mode::Operator, Protocol::Simple, sql).unwrap();
            let guarded = planned.bind(&TenantKeys::default()).unwrap();
            assert!(
                guarded.is_as_written() && guarded.text().trim_end_matches(';') == sql.trim_end_matches(';'),
                "{sql}"
            );
        }
    }
}
