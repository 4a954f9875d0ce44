"""SQLAlchemy: reflection, ORM with relationships and eager loading, bulk inserts, savepoints; over psycopg and asyncpg."""
import asyncio
import os
from sqlalchemy import (BigInteger, Column, ForeignKey, MetaData, String, Table, Text, create_engine, func, inspect, literal,
                        select, text)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship, selectinload

url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
engine = create_engine(url, pool_pre_ping=True)

# Reflection asks the catalog for nearly everything.
inspector = inspect(engine)
assert {"customers", "orders", "invoices"} <= set(inspector.get_table_names())
assert [c["name"] for c in inspector.get_columns("settings")] == ["tenant_id", "k", "v"]
assert inspector.get_pk_constraint("settings")["constrained_columns"] == ["tenant_id", "k"]
assert inspector.get_foreign_keys("orders")[0]["referred_table"] == "customers"
assert any(i["name"] == "orders_tenant_idx" for i in inspector.get_indexes("orders"))
settings = Table("settings", MetaData(), autoload_with=engine)


# A temporary table, as data frames and bulk loaders write one: looked for, made, filled, and merged from.
staged = Table("staged_rows", MetaData(), Column("key_in", String(40), primary_key=True), Column("value_in", Text),
               prefixes=["TEMPORARY"], postgresql_on_commit="DROP")
with engine.begin() as connection:
    assert not inspect(connection).has_table("staged_rows")
    staged.create(connection)
    assert inspect(connection).has_table("staged_rows")
    assert [c["name"] for c in inspect(connection).get_columns("staged_rows")] == ["key_in", "value_in"]
    connection.execute(staged.insert(), [{"key_in": f"k{n}", "value_in": "staged"} for n in range(3, 7)])
    rows = insert(settings).from_select(["tenant_id", "k", "v"], select(literal(1), staged.c.key_in, staged.c.value_in))
    rows = rows.on_conflict_do_update(index_elements=["tenant_id", "k"], set_={"v": rows.excluded.v})
    connection.execute(rows)
    merged = select(settings.c.k).join(staged, staged.c.key_in == settings.c.k).where(settings.c.v == "staged")
    assert len(connection.execute(merged).all()) == 4
    connection.rollback()
assert not inspect(engine).has_table("staged_rows")


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    email: Mapped[str]
    name: Mapped[str]
    orders: Mapped[list["Order"]] = relationship(back_populates="customer")


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    total_cents: Mapped[int]
    note: Mapped[str | None]
    customer: Mapped[Customer] = relationship(back_populates="orders")


with Session(engine) as session:
    customers = session.scalars(select(Customer).options(selectinload(Customer.orders)).order_by(Customer.id)).all()
    assert len(customers) == 8 and sum(len(c.orders) for c in customers) == 15
    orders = session.scalars(select(Order).options(joinedload(Order.customer)).where(Order.total_cents > 1000)).unique().all()
    assert orders and all(o.customer.name.startswith("ALPHA_") for o in orders)
    top = session.execute(select(Customer.name, func.sum(Order.total_cents).label("t")).join(Order).group_by(Customer.id)
                          .having(func.count() > 1).order_by(text("t DESC")).limit(3)).all()
    assert len(top) == 3

    new = Customer(email="orm@x.test", name="ORM")
    new.orders = [Order(total_cents=n, note=f"orm {n}") for n in range(5)]
    session.add(new)
    session.flush()
    assert new.id and all(o.id for o in new.orders)
    assert session.scalar(text("SELECT tenant_id FROM customers WHERE name = 'ORM'")) == 1
    with session.begin_nested() as savepoint:
        new.name = "changed"
        session.flush()
        savepoint.rollback()
    session.refresh(new)
    assert new.name == "ORM"
    session.execute(Order.__table__.update().where(Order.customer_id == new.id).values(note="updated"))
    session.rollback()
    assert session.scalar(select(func.count()).select_from(Customer)) == 8

with engine.begin() as conn:
    conn.execute(settings.insert(), [{"tenant_id": 1, "k": f"sa{n}", "v": str(n)} for n in range(50)])
    assert conn.execute(settings.delete().where(settings.c.k.like("sa%"))).rowcount == 50
try:
    with engine.begin() as conn:
        conn.execute(settings.insert(), [{"tenant_id": n, "k": "sa", "v": ""} for n in (1, 2)])
    raise AssertionError("a row of another tenant was accepted")
except ProgrammingError as error:
    assert error.orig.sqlstate == "42501", error


async def over_asyncpg():
    engine = create_async_engine(url.replace("+psycopg", "+asyncpg"))
    async with engine.connect() as conn:
        assert (await conn.execute(text("SELECT count(*) FROM customers WHERE id > :n"), {"n": 4})).scalar() == 4
    await engine.dispose()


asyncio.run(over_asyncpg())
print("all good")
