"""One psycopg pool for all tenants, wherever they live: SET LOCAL first in each transaction, or a comment on each statement."""
import os
import threading

import psycopg
from psycopg import errors

url = os.environ["DATABASE_URL_JOBS"]
TENANTS = {"a": "ALPHA_name_1", "b": "CANARY_B_name_1", "sa": "ALPHA_name_1", "sb": "CANARY_B_name_1", "da": "ALPHA_name_1"}
NAME = "SELECT min(name) FROM customers"


def work(conn, tenant, name):
    with conn.transaction():
        conn.execute(f"SET LOCAL app.tenant_id = '{tenant}'")
        assert conn.execute(NAME).fetchone() == (name,), tenant
        # A savepoint
        with conn.transaction():
            assert conn.execute("SELECT name FROM customers WHERE name = %s", (name,)).fetchone() == (name,)
    with conn.transaction():
        conn.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant,))
        assert conn.execute(NAME, prepare=True).fetchone() == (name,), tenant
    with conn.transaction(), conn.cursor("named") as cur:
        conn.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant,), prepare=True)
        cur.execute("SELECT name FROM customers ORDER BY name")
        assert cur.fetchone() == (name,), tenant
    # BEGIN that the driver sends by itself
    conn.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant,))
    assert conn.execute(NAME).fetchone() == (name,), tenant
    conn.rollback()
    with conn.pipeline():
        conn.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant,))
        cur = conn.execute(NAME)
    assert cur.fetchone() == (name,), tenant
    conn.commit()
    conn.autocommit = True
    assert conn.execute(f"/* tenant='{tenant}' */ {NAME}").fetchone() == (name,), tenant
    conn.autocommit = False


def no_tenant(conn):
    for sql in (NAME, "INSERT INTO customers (id) VALUES (1)"):
        try:
            conn.execute(sql)
            raise AssertionError("a job without a tenant ran")
        except errors.InvalidAuthorizationSpecification:
            conn.rollback()


def worker(start):
    with psycopg.connect(url) as conn:
        tenants = list(TENANTS.items())
        for n in range(10):
            tenant, name = tenants[(start + n) % len(tenants)]
            work(conn, tenant, name)
            no_tenant(conn)
        conn.execute("SET LOCAL app.tenant_id = 'sa'")
        try:
            conn.execute("SET LOCAL app.tenant_id = 'a'")
            raise AssertionError("went elsewhere within a transaction")
        except errors.ActiveSqlTransaction:
            conn.rollback()
        work(conn, "a", TENANTS["a"])


failures = []


def guarded(start):
    try:
        worker(start)
    except BaseException as error:  # noqa: BLE001
        failures.append(error)


threads = [threading.Thread(target=guarded, args=(n,)) for n in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if failures:
    raise failures[0]
print("all good")
