"""psycopg 3: server-side binding, prepared statements, pipeline, COPY, named cursors, transactions."""
import os
import psycopg
from psycopg import errors

url = os.environ["DATABASE_URL"]

with psycopg.connect(url) as conn:
    rows = conn.execute("SELECT id, name, tags, prefs, created_on FROM customers WHERE id <= %s ORDER BY id", (3,)).fetchall()
    assert [r[1] for r in rows] == ["ALPHA_name_1", "ALPHA_name_2", "ALPHA_name_3"], rows
    assert rows[0][2] == ["ALPHA_tag_1", "vip"] and rows[0][3]["theme"] == "ALPHA_pref_1"
    assert conn.execute("SELECT count(*) FROM orders").fetchone() == (15,)

    # Prepared after five uses, and then on whatever server connection the next transaction gets.
    for n in range(20):
        name = conn.execute("SELECT name FROM customers WHERE id = %s", (n % 8 + 1,), prepare=True).fetchone()[0]
        assert name == f"ALPHA_name_{n % 8 + 1}"
        conn.commit()

    with conn.pipeline():
        cursors = [conn.execute("SELECT %s::int", (n,)) for n in range(50)]
    assert [c.fetchone()[0] for c in cursors] == list(range(50))
    conn.commit()

    with conn.transaction() as outer:
        conn.execute("INSERT INTO settings (k, v) VALUES ('py', 'x')")
        try:
            with conn.transaction():
                conn.execute("SELECT 1/0")
        except errors.DivisionByZero:
            pass
        assert conn.execute("SELECT tenant_id FROM settings WHERE k = 'py'").fetchone() == (1,)
        raise psycopg.Rollback(outer)
    assert conn.execute("SELECT count(*) FROM settings WHERE k = 'py'").fetchone() == (0,)

    # A staging table: binary COPY into it, an upsert out of it, all in one transaction.
    with conn.transaction() as outer:
        with conn.cursor() as cur:
            cur.execute("CREATE TEMP TABLE staged_settings (key_in text, value_in text) ON COMMIT DROP")
            with cur.copy("COPY staged_settings (key_in, value_in) FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["text", "text"])
                copy.write_row(("k1", "staged"))
                copy.write_row(("k9", None))
            cur.execute("INSERT INTO settings (tenant_id, k, v) SELECT %s, key_in, value_in FROM staged_settings "
                        "ON CONFLICT (tenant_id, k) DO UPDATE SET v = excluded.v RETURNING k", (1,))
            assert sorted(cur.fetchall()) == [("k1",), ("k9",)]
            cur.executemany("INSERT INTO staged_settings VALUES (%s, %s)", [(f"m{n}", "x") for n in range(20)])
            assert cur.execute("SELECT count(*) FROM staged_settings WHERE key_in LIKE 'm%%'").fetchone() == (20,)
        raise psycopg.Rollback(outer)
    try:
        conn.execute("SELECT * FROM staged_settings")
    except errors.UndefinedTable as error:
        assert 'relation "staged_settings" does not exist' in str(error), error
    conn.rollback()

    with conn.cursor() as cur:
        with cur.copy("COPY settings (k, v) FROM STDIN") as copy:
            copy.write_row(("py1", "tab\there"))
            copy.write_row(("py2", None))
        with cur.copy("COPY settings TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "text", "text"])
            copied = [row for row in copy.rows()]
    assert (1, "py1", "tab\there") in copied and all(row[0] == 1 for row in copied), copied
    conn.execute("DELETE FROM settings WHERE k LIKE 'py%'")

    with conn.cursor("named") as cur:
        cur.execute("SELECT id FROM orders ORDER BY id")
        assert [r[0] for r in cur.fetchmany(5)] == [1, 2, 3, 4, 5]
        assert len(cur.fetchall()) == 10
    conn.commit()

    for sql, error in [
        ("SELECT pg_read_file('/etc/passwd')", errors.InsufficientPrivilege),
        ("INSERT INTO settings (tenant_id, k, v) VALUES (2, 'py', 'x')", errors.InsufficientPrivilege),
        ("SELECT * FROM nonesuch", errors.UndefinedTable),
    ]:
        try:
            conn.execute(sql)
            raise AssertionError(f"accepted: {sql}")
        except error:
            conn.rollback()
    try:
        conn.execute("UPDATE settings SET tenant_id = %s", (2,))
        raise AssertionError("a row was given away")
    except errors.InsufficientPrivilege:
        conn.rollback()

with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as conn:
    conn.execute("LISTEN psycopg")
    with psycopg.connect(os.environ["DATABASE_URL_B"], autocommit=True) as other:
        other.execute("NOTIFY psycopg, 'of another tenant'")
    conn.execute("SELECT pg_notify(%s, %s)", ("psycopg", "mine"))
    notes = [(it.channel, it.payload) for it in conn.notifies(timeout=10, stop_after=1)]
    assert notes == [("psycopg", "mine")], notes

with psycopg.connect(os.environ["DATABASE_URL_B"], autocommit=True) as conn:
    assert conn.execute("SELECT min(name) FROM customers").fetchone() == ("CANARY_B_name_1",)
print("all good")
