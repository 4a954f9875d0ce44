//! The guided tour: statements sent through pgwarden as each tenant, and what is to be seen.

use std::collections::HashMap;
use std::pin::pin;

use bytes::Bytes;
use futures_util::{SinkExt, TryStreamExt};
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage};

use super::screen::Screen;
use super::shop::{PASSWORD, RESIDENTS, Resident};

/// What a scene's statement should lead to; anything else is reported, and fails `pgwarden demo --once`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// This number of rows returned or changed.
    Rows(u64),
    /// An error with this SQLSTATE.
    Refused(&'static str),
}

/// One thing to show.
enum Act {
    Heading(&'static str),
    /// A statement of a tenant.
    Sql(&'static str, &'static str, Outcome),
    /// `COPY ... TO STDOUT`; its number of lines.
    CopyOut(&'static str, &'static str, u64),
    /// `COPY ... FROM STDIN` with data.
    CopyIn(&'static str, &'static str, &'static str, Outcome),
}

use Act::{CopyIn, CopyOut, Heading, Sql};
use Outcome::{Refused, Rows};

/// In the order of the screen.
const TOUR: &[Act] = &[
    Heading("1. The forgotten WHERE: the same statement, without any tenant_id in it, sent by two tenants"),
    Sql("acme", "SELECT * FROM orders WHERE status = 'open'", Rows(2)),
    Sql("globex", "SELECT * FROM orders WHERE status = 'open'", Rows(2)),
    Heading("2. Attacks: acme asks for what is not its own"),
    Sql("acme", "SELECT count(*) FROM orders WHERE tenant_id = 2 OR true -- injected", Rows(1)),
    Sql("acme", "UPDATE orders SET status = 'cancelled' WHERE item LIKE '%volcano%'", Rows(0)),
    Sql("acme", "INSERT INTO orders (tenant_id, customer, item, total) VALUES (2, 'x', 'x', 1)", Refused("42501")),
    Sql("acme", "SELECT pg_read_file('/etc/passwd')", Refused("42501")),
    Sql("acme", "SET app.tenant_id = '2'", Refused("42501")),
    Heading("3. A transaction, over a server connection that other tenants use before and after"),
    Sql("acme", "BEGIN", Rows(0)),
    Sql("acme", "INSERT INTO orders (customer, item, total) VALUES ('Ada', 'tunnel paint', 8.50)", Rows(1)),
    Sql("acme", "SELECT tenant_id, item, status FROM orders WHERE item = 'tunnel paint'", Rows(1)),
    Sql("acme", "ROLLBACK", Rows(0)),
    Sql("acme", "SELECT item FROM orders WHERE item = 'tunnel paint'", Rows(0)),
    Heading("4. COPY, both ways: rows of others are neither written out nor taken in"),
    CopyOut("acme", "COPY customers TO STDOUT (FORMAT csv)", 3),
    CopyIn("globex", "COPY customers (name, country) FROM STDIN (FORMAT csv)", "Margaret,FR\nAlan,JP\n", Rows(2)),
    Sql("globex", "SELECT tenant_id, name, country FROM customers", Rows(4)),
    Heading("5. A tenant with a schema of its own: same listener, same statement; other schemas are out of reach"),
    Sql("umbrella", "SELECT * FROM orders WHERE status = 'open'", Rows(2)),
    Sql("umbrella", "SELECT * FROM public.orders", Refused("42501")),
    Heading("6. A tenant with a database of its own: DDL is its own business there, and nobody's in shared tables"),
    Sql("initech", "SELECT * FROM orders WHERE status = 'open'", Rows(2)),
    Sql("initech", "CREATE TABLE memos (id int PRIMARY KEY, body text)", Rows(0)),
    Sql("acme", "CREATE TABLE memos (id int PRIMARY KEY, body text)", Refused("42501")),
];

/// Runs the tour; the number of acts that did not go as they should.
///
/// # Errors
/// pgwarden does not accept a connection.
pub(super) async fn run(screen: &Screen, port: u16) -> Result<usize, Error> {
    let mut clients = HashMap::new();
    for Resident { name, .. } in &RESIDENTS {
        clients.insert(*name, connect(name, port).await?);
    }
    let mut surprises = 0;
    for act in TOUR {
        if !perform(screen, &clients, act).await {
            surprises += 1;
        }
    }
    Ok(surprises)
}

async fn connect(tenant: &str, port: u16) -> Result<Client, Error> {
    let url = format!("postgres://{tenant}:{PASSWORD}@127.0.0.1:{port}/{tenant}");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    // An error of the connection shows in the client's next call.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// Shows one act; whether it went as it should.
async fn perform(screen: &Screen, clients: &HashMap<&'static str, Client>, act: &Act) -> bool {
    let (tenant, sql, wanted) = match act {
        Heading(text) => {
            screen.heading(text);
            return true;
        }
        Sql(tenant, sql, wanted) | CopyIn(tenant, sql, _, wanted) => (tenant, sql, *wanted),
        CopyOut(tenant, sql, lines) => (tenant, sql, Rows(*lines)),
    };
    screen.statement(tenant, sql);
    // Each tenant of the tour has a connection: RESIDENTS lists them, and a test compares.
    let Some(client) = clients.get(tenant) else { return false };
    let result = match act {
        CopyOut(..) => copy_out(screen, client, sql).await,
        CopyIn(_, _, data, _) => copy_in(screen, client, sql, data).await,
        Heading(_) | Sql(..) => query(screen, client, sql).await,
    };
    let outcome = match &result {
        Ok(rows) => wanted == Rows(*rows),
        Err(error) => {
            screen.error(error);
            matches!((wanted, error.code()), (Refused(state), Some(code)) if code.code() == state)
        }
    };
    if !outcome {
        screen.alarm(&format!("This is not what was to be shown: expected {wanted:?}."));
    }
    outcome
}

/// Rows that were returned or changed.
async fn query(screen: &Screen, client: &Client, sql: &str) -> Result<u64, Error> {
    let messages = client.simple_query(sql).await?;
    screen.results(&messages);
    let counts = messages.iter().map(|it| match it {
        SimpleQueryMessage::CommandComplete(count) => *count,
        _ => 0,
    });
    Ok(counts.sum())
}

/// Lines that came.
async fn copy_out(screen: &Screen, client: &Client, sql: &str) -> Result<u64, Error> {
    let stream = client.copy_out(sql).await?;
    let chunks: Vec<Bytes> = stream.try_collect().await?;
    let text = chunks.iter().map(|it| String::from_utf8_lossy(it)).collect::<String>();
    screen.line(text.trim_end());
    Ok(text.lines().count() as u64)
}

/// Rows that were taken in.
async fn copy_in(screen: &Screen, client: &Client, sql: &str, data: &'static str) -> Result<u64, Error> {
    screen.line(data.trim_end());
    let mut sink = pin!(client.copy_in::<_, Bytes>(sql).await?);
    sink.send(Bytes::from_static(data.as_bytes())).await?;
    let rows = sink.finish().await?;
    screen.remark(&format!("({rows} rows)"));
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::{Act, RESIDENTS, TOUR};

    #[test]
    fn everyone_on_the_tour_lives_here() {
        for act in TOUR {
            let tenant = match act {
                Act::Heading(_) => continue,
                Act::Sql(tenant, ..) | Act::CopyOut(tenant, ..) | Act::CopyIn(tenant, ..) => tenant,
            };
            assert!(RESIDENTS.iter().any(|it| it.name == *tenant), "{tenant}");
        }
    }
}
