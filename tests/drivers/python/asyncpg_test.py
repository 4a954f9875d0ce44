"""asyncpg: everything prepared and binary, type introspection, its own reset query, cursors, COPY, a pool."""
import asyncio
import os
import asyncpg

url = os.environ["DATABASE_URL"]


async def main():
    conn = await asyncpg.connect(url)
    rows = await conn.fetch("SELECT id, name, tags FROM customers WHERE id = ANY($1::bigint[]) ORDER BY id", [1, 2, 1001])
    assert [r["name"] for r in rows] == ["ALPHA_name_1", "ALPHA_name_2"], rows
    # An enum, a composite and a domain: introspected through the catalog.
    assert await conn.fetchval("SELECT status FROM orders WHERE id = 1") == "paid"
    record = await conn.fetchval("SELECT s FROM settings s WHERE k = 'k1'")
    assert record["v"] == "ALPHA_val_1", record
    assert await conn.fetchval("SELECT qty FROM order_items WHERE order_id = 1 AND line_no = 2") == 2

    async with conn.transaction():
        seen = [r["id"] async for r in conn.cursor("SELECT id FROM orders ORDER BY id", prefetch=4)]
        assert seen == list(range(1, 16)), seen
    try:
        async with conn.transaction():
            await conn.execute("INSERT INTO settings (k, v) VALUES ($1, $2)", "apg", "x")
            raise RuntimeError
    except RuntimeError:
        pass
    assert await conn.fetchval("SELECT count(*) FROM settings WHERE k = 'apg'") == 0

    await conn.copy_records_to_table("settings", records=[("apg1", "x"), ("apg2", None)], columns=["k", "v"])
    assert await conn.fetchval("SELECT count(*) FROM settings WHERE k LIKE 'apg_' AND tenant_id = 1") == 2
    await conn.executemany("DELETE FROM settings WHERE k = $1", [("apg1",), ("apg2",)])

    try:
        await conn.fetch("SELECT pg_read_file($1)", "/etc/passwd")
        raise AssertionError("accepted")
    except asyncpg.InsufficientPrivilegeError:
        pass
    try:
        await asyncio.wait_for(conn.fetchval("SELECT count(*) FROM (SELECT generate_series(1, 100000000000)) n"), 0.5)
        raise AssertionError("not cancelled")
    except asyncio.TimeoutError:
        pass
    assert await conn.fetchval("SELECT 1") == 1

    heard = asyncio.Queue()
    listen = lambda conn, pid, channel, payload: heard.put_nowait((channel, payload))
    await conn.add_listener("Jobs.apg", listen)
    sender = await asyncpg.connect(url)
    async with sender.transaction():
        await sender.execute("SELECT pg_notify($1, $2)", "Jobs.apg", "one")
        await sender.execute("""NOTIFY "Jobs.apg", 'two'""")
    assert [await asyncio.wait_for(heard.get(), 10) for _ in "12"] == [("Jobs.apg", "one"), ("Jobs.apg", "two")]
    await conn.remove_listener("Jobs.apg", listen)
    await sender.close()
    await conn.close()

    # Its pool runs a reset query (UNLISTEN, CLOSE ALL, RESET ALL ...) whenever a connection is given back.
    async with asyncpg.create_pool(url, min_size=2, max_size=4) as pool:
        async def one(n):
            async with pool.acquire() as c:
                return await c.fetchval("SELECT name FROM customers WHERE id = $1", n % 8 + 1)
        names = await asyncio.gather(*(one(n) for n in range(40)))
        assert names == [f"ALPHA_name_{n % 8 + 1}" for n in range(40)]


asyncio.run(main())
print("all good")
