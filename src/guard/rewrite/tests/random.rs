//! Texts made of pieces of SQL: whatever comes out is a plan that the verifier accepts, or a refusal; never a panic, and never
//! a plan that the verifier would have refused.

use proptest::prelude::*;

use super::fixture::{plan, text};
use crate::base::RefusalKind;
use crate::sql::parse;

const PIECES: &[&str] = &[
    "SELECT",
    "*",
    "id",
    "o.id",
    "c.name",
    "count(*)",
    "FROM",
    "orders",
    "orders o",
    "customers c",
    "countries k",
    "invoices",
    "public.orders",
    "JOIN",
    "LEFT JOIN",
    "RIGHT JOIN",
    "FULL JOIN",
    "CROSS JOIN",
    "NATURAL JOIN",
    "ON",
    "USING (id)",
    "true",
    "o.id = c.id",
    "WHERE",
    "AND",
    "OR",
    "NOT",
    "lower(status) = 'x'",
    "id = 1",
    "id = $1",
    "EXISTS",
    "IN",
    "(",
    ")",
    "(SELECT id FROM orders)",
    "(SELECT 1)",
    ",",
    "GROUP BY id",
    "HAVING lower(name) = 'y'",
    "ORDER BY 1",
    "LIMIT 1",
    "OFFSET 2",
    "UNION ALL",
    "WITH w AS (SELECT * FROM orders)",
    "w",
    "AS x",
    "AS x(a, b)",
    "LATERAL",
    "INSERT INTO orders",
    "(id, tenant_id)",
    "VALUES (1, 2)",
    "DEFAULT VALUES",
    "ON CONFLICT (id)",
    "DO UPDATE SET status = 'z'",
    "DO NOTHING",
    "RETURNING *",
    "UPDATE orders SET status = 'q'",
    "tenant_id = 1",
    "DELETE FROM customers",
    "FOR UPDATE",
    "TABLESAMPLE SYSTEM (1)",
    ";",
    "CASE WHEN id = 1 THEN 2 END",
    "::int",
    "MERGE INTO orders o USING customers c ON o.id = c.id",
    "WHEN MATCHED THEN DELETE",
    "WHEN NOT MATCHED THEN INSERT VALUES (1)",
    "TABLE orders",
    "VALUES (1), (2)",
    "(o.id, o.tenant_id)",
    "= (1, 2)",
];

/// Whole queries to nest into each other.
const QUERIES: &[&str] = &[
    "SELECT id, status FROM orders",
    "SELECT o.id, lower(c.name) AS n FROM orders o LEFT JOIN customers c ON c.id = o.customer_id",
    "SELECT id, count(*) FROM customers GROUP BY id HAVING lower(max(name)) = 'x'",
    "SELECT * FROM orders o FULL JOIN customers c ON o.id = c.id",
    "SELECT code FROM countries WHERE EXISTS (SELECT 1 FROM customers WHERE country = code)",
    "VALUES ((SELECT max(id) FROM orders))",
    "TABLE items",
];

const AROUND: &[(&str, &str)] = &[
    ("SELECT * FROM (", ") q WHERE lower(q::text) = 'x'"),
    ("SELECT * FROM customers LEFT JOIN (", ") q ON customers.id = 5"),
    ("SELECT * FROM customers FULL JOIN LATERAL (", ") q ON true"),
    ("SELECT * FROM ((", ") q CROSS JOIN orders) j"),
    ("WITH w AS (", ") SELECT * FROM w, orders WHERE lower(status) = 'x'"),
    ("SELECT 1 FROM orders WHERE id IN (", ")"),
    ("SELECT ARRAY(", ") FROM orders o WHERE NOT EXISTS (SELECT 1 FROM items WHERE order_id = o.id)"),
    ("(", ") UNION (SELECT 1 FROM orders) ORDER BY 1"),
    ("INSERT INTO orders ", ""),
    ("INSERT INTO orders (id, tenant_id) ", " ON CONFLICT DO NOTHING"),
    ("UPDATE orders SET status = 'x' FROM (", ") q WHERE lower(orders.status) = 'x'"),
    ("DELETE FROM orders USING (", ") q WHERE orders.id = 1"),
    ("MERGE INTO orders o USING (", ") s ON o.id = 1 WHEN MATCHED THEN UPDATE SET status = 'm'"),
    ("EXPLAIN ", ""),
    ("DECLARE c CURSOR FOR ", ""),
    ("COPY (", ") TO STDOUT"),
];

/// The text is refused for a reason of the client's, or its plan's text reads as one statement.
fn holds(sql: &str) -> Result<(), TestCaseError> {
    let outcome = crate::guard::plan_statements(
        &super::fixture::policy(),
        &crate::base::Mode::Shared,
        crate::guard::Protocol::Extended { param_types: &[] },
        sql,
    );
    match outcome {
        Err(refusal) => prop_assert_ne!(refusal.kind, RefusalKind::Verifier, "{}: {:?}", sql, refusal.error),
        Ok(plans) => {
            for plan in plans.iter().filter(|p| p.rewritten) {
                let bound =
                    (0..plan.slots.len()).fold(text(plan), |text, slot| text.replace(&format!("{{{slot}}}"), "NULL"));
                prop_assert_eq!(parse::reparse(&bound).map(|s| s.len()), Ok(1), "{}", sql);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_row_of_pieces(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 1..14)) {
        holds(&pieces.join(" "))?;
    }

    #[test]
    fn any_nesting_of_queries(
        query in proptest::sample::select(QUERIES),
        around in proptest::collection::vec(proptest::sample::select(AROUND), 0..4),
    ) {
        let sql = around.iter().fold(query.to_owned(), |sql, (before, after)| format!("{before}{sql}{after}"));
        holds(&sql)?;
    }

    #[test]
    fn any_text(sql in "\\PC{0,60}") {
        holds(&sql)?;
    }
}

/// The nestings above are no mere refusals.
#[test]
fn most_nestings_are_accepted() {
    let nested = |query: &str, (before, after): &(&str, &str)| plan(&format!("{before}{query}{after}")).is_ok();
    let accepted = QUERIES.iter().flat_map(|q| AROUND.iter().map(move |a| nested(q, a))).filter(|ok| *ok).count();
    assert!(accepted * 10 >= QUERIES.len() * AROUND.len() * 7, "{accepted}");
}
