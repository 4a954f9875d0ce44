//! What is refused, and with which words.

use super::fixture::refused;

#[test]
fn refusals_name_what_is_wrong() {
    for (sql, expected) in [
        ("WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a", "42P01 relation \"b\" does not exist"),
        ("SELECT loose FROM loose", "42501 permission denied for table loose"),
        ("SELECT * FROM nope", "42P01 relation \"nope\" does not exist"),
        ("SELECT query_to_xml('x')", "42501 permission denied for function query_to_xml"),
        ("INSERT INTO orders (id, cid) VALUES (1)", "42601 INSERT has more target columns than expressions"),
        ("INSERT INTO orders (id, tenant_id) VALUES (1)", "42601 INSERT has more target columns than expressions"),
        ("INSERT INTO orders (id) SELECT id, cid FROM orders", "42601 INSERT has more expressions than target columns"),
        ("INSERT INTO countries VALUES ('a', 'b')", "42501 permission denied for table countries"),
        ("UPDATE sessions SET data = lower(loose.id::text) FROM loose", "42501 permission denied for table loose"),
        ("DELETE FROM countries", "42501 permission denied for table countries"),
        ("UPDATE feedback SET note = 'x'", "42501 permission denied for table feedback"),
        ("DELETE FROM feedback", "42501 permission denied for table feedback"),
        (
            "INSERT INTO feedback VALUES ('x') ON CONFLICT (note) DO UPDATE SET note = 'y'",
            "42501 permission denied for table feedback",
        ),
        (
            "MERGE INTO feedback f USING orders o ON false WHEN NOT MATCHED THEN INSERT VALUES ('x')",
            "42501 permission denied for table feedback",
        ),
        ("SELECT * FROM feedback FOR UPDATE", "42501 permission denied to lock rows of a shared table"),
        ("COPY countries FROM STDIN", "42501 permission denied for table countries"),
        ("COPY accounts FROM STDIN", "42501 permission denied for table accounts"),
        ("UPDATE accounts SET plan = 'gold'", "42501 permission denied for table accounts"),
        ("INSERT INTO accounts (plan) VALUES ('gold')", "42501 permission denied for table accounts"),
        ("DELETE FROM accounts", "42501 permission denied for table accounts"),
        (
            "WITH w AS (UPDATE accounts SET plan = 'gold' RETURNING 1) SELECT * FROM w",
            "42501 permission denied for table accounts",
        ),
        (
            "SELECT * FROM (orders o JOIN countries c ON true) AS j FOR UPDATE",
            "42501 permission denied to lock rows of a shared table",
        ),
        (
            "SELECT * FROM orders o, (SELECT 1 FROM orders, countries) j FOR UPDATE",
            "42501 permission denied to lock rows of a shared table",
        ),
        (
            "UPDATE templates SET name = 'x' WHERE CURRENT OF c",
            "0A000 WHERE CURRENT OF on a table with rows of everybody is not supported for tenants",
        ),
        (
            "INSERT INTO templates VALUES (1, NULL, 'x')",
            "42501 column \"tenant_id\" may hold only the tenant's own value",
        ),
        ("UPDATE templates SET tenant_id = NULL", "42501 column \"tenant_id\" may hold only the tenant's own value"),
        (
            "INSERT INTO order_tags (tag) VALUES ('x')",
            "23503 insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"",
        ),
        (
            "INSERT INTO order_tags DEFAULT VALUES",
            "23503 insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"",
        ),
        (
            "INSERT INTO order_tags VALUES (DEFAULT, 'x')",
            "23503 insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"",
        ),
        (
            "INSERT INTO order_tags VALUES (NULL, 'x')",
            "23503 insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"",
        ),
        (
            "UPDATE order_tags SET order_id = NULL",
            "23503 insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"",
        ),
        (
            "UPDATE order_tags SET order_id = DEFAULT",
            "23503 insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"",
        ),
        (
            "MERGE INTO order_tags t USING orders o ON false WHEN NOT MATCHED THEN INSERT (tag) VALUES ('x')",
            "23503 insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"",
        ),
        ("COPY order_tags FROM STDIN", "0A000 COPY FROM is not supported for tables that belong through a foreign key"),
        ("SELECT * FROM order_tags pgwarden_parent1", "0A000 an alias of pgwarden's own is not supported for tenants"),
        (
            "INSERT INTO orgs (name) OVERRIDING USER VALUE VALUES ('x')",
            "42501 column \"id\" may hold only the tenant's own value, and OVERRIDING USER VALUE would draw another",
        ),
        (
            "INSERT INTO orgs (name) VALUES ('x')",
            "42501 column \"id\" may hold only the tenant's own value, and is generated",
        ),
        ("UPDATE orders SET tenant_id = NULL", "42501 column \"tenant_id\" may hold only the tenant's own value"),
        (
            "UPDATE orders SET (tenant_id, status) = (NULL, 'a')",
            "42501 column \"tenant_id\" may hold only the tenant's own value",
        ),
        (
            "INSERT INTO orders (id, tenant_id) VALUES (1, NULL)",
            "42501 column \"tenant_id\" may hold only the tenant's own value",
        ),
        (
            "SELECT ctid FROM orders o FULL JOIN customers c USING (id)",
            "0A000 a system column (ctid, tableoid, xmin ...) beside a FULL JOIN or an alias with columns is not supported for tenants",
        ),
        (
            "SELECT 1 FROM orders x WHERE EXISTS (SELECT 1 FROM orders o FULL JOIN customers c USING (id) WHERE c.ctid = x.ctid)",
            "0A000 a system column (ctid, tableoid, xmin ...) beside a FULL JOIN or an alias with columns is not supported for tenants",
        ),
        (
            "SELECT 1 FROM orders x WHERE EXISTS (SELECT ctid FROM customers AS c(a, b))",
            "0A000 a system column (ctid, tableoid, xmin ...) beside a FULL JOIN or an alias with columns is not supported for tenants",
        ),
        ("SELECT * FROM countries FOR UPDATE", "42501 permission denied to lock rows of a shared table"),
        (
            "SELECT * FROM orders TABLESAMPLE system_rows(5)",
            "0A000 a sampling method other than SYSTEM and BERNOULLI is not supported for tenants",
        ),
        ("SELECT * INTO t FROM orders", "42501 permission denied: SELECT INTO is not allowed here"),
        (
            "INSERT INTO orders SELECT * FROM generate_series(1, 3)",
            "0A000 INSERT without a column list from a query whose columns cannot be counted is not supported for tenants",
        ),
        (
            "SELECT * FROM other.public.orders",
            "0A000 cross-database references are not implemented: \"other.public.orders\"",
        ),
        (
            "SELECT 1 FROM customers c WHERE EXISTS (SELECT 1 FROM orders c WHERE lower(name) = 'x')",
            "0A000 a subquery with the same alias as a table around it that it looks at is not supported for tenants",
        ),
        (
            "SELECT 1 FROM orders AS customers WHERE EXISTS (SELECT 1 FROM customers WHERE lower(status) = 'x')",
            "0A000 a subquery with the same alias as a table around it that it looks at is not supported for tenants",
        ),
        // An item that becomes several would move the tenant's value to another column.
        (
            "INSERT INTO orders (id, tenant_id, status) VALUES ((ROW(1, 2)).*, 1)",
            "0A000 a row with * in it beside a value for the tenant column is not supported for tenants",
        ),
        (
            "UPDATE orders SET (id, tenant_id, status) = ROW((ROW(1, 2)).*, 1)",
            "0A000 a row with * in it beside a value for the tenant column is not supported for tenants",
        ),
        (
            "MERGE INTO orders o USING countries c ON false WHEN NOT MATCHED THEN INSERT (id, tenant_id, status) VALUES ((ROW(1, 2)).*, 1)",
            "0A000 a row with * in it beside a value for the tenant column is not supported for tenants",
        ),
        (
            "MERGE INTO orders o USING countries c ON false WHEN MATCHED AND o.id = 1 THEN UPDATE SET (status) = (SELECT 'a') WHEN MATCHED THEN UPDATE SET (id, status) = (SELECT 1, 'b')",
            "0A000 MERGE with column lists set from subqueries in more than one branch is not supported for tenants",
        ),
        (
            "INSERT INTO orders VALUES ((ROW(1, 2)).*, 1)",
            "0A000 INSERT without a column list from a query whose columns cannot be counted is not supported for tenants",
        ),
        (
            "SELECT 1 FROM customers c JOIN LATERAL (SELECT lower(c.name) AS id) z USING (id)",
            "0A000 USING or NATURAL with a lateral subquery or function is not supported for tenants",
        ),
        ("SELECT JSON_SCALAR(1)", "0A000 JSON_SCALAR on this server version is not supported for tenants"),
    ] {
        assert_eq!(refused(sql), expected, "{sql}");
    }
}
