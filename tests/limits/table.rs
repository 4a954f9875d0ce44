//! Limits, shares, quotas and addresses that stand in the tenants' table.

use std::time::{Duration, Instant};

use crate::operation::{CONSOLE, console, psql};
use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, Setup};
use crate::support::reply::Reply;
use crate::support::session::{Endpoint, Session};

const TABLE: &str = "CREATE TABLE public.terms (
        name text, key text, keys jsonb, limits jsonb, weight int, pool jsonb, quota jsonb, allow_from jsonb);
    GRANT ALL ON public.terms TO app_owner;
    INSERT INTO public.terms (name, key, keys)
        SELECT name, 70 + n, jsonb_build_object('account', 'acc_' || name, 'uuid', 'cccccccc-0000-4000-8000-00000000000' || n)
        FROM unnest(ARRAY['carol', 'dave', 'erin', 'frank']) WITH ORDINALITY AS t (name, n);
    UPDATE public.terms SET limits = '{\"result_rows\": 5}' WHERE name = 'carol';
    UPDATE public.terms SET limits = '{\"result_rows\": \"many\"}' WHERE name = 'dave';
    UPDATE public.terms SET allow_from = '[\"10.0.0.0/8\"]' WHERE name = 'erin';
    UPDATE public.terms SET quota = '{\"rows_written\": {\"hard\": 2}}', pool = '{\"max\": 1}', weight = 3 WHERE name = 'frank';";

const SOURCE: &str = "
[tenants_from]
query = \"SELECT * FROM public.terms\"
channel = \"terms\"
interval = \"1h\"
[quota]
when_unknown = \"allow\"
flush_interval = \"100ms\"
[[login]]
name = \"all\"
password = \"all_pw\"
tenants = \"*\"
";

fn tenant(proxy: &Proxy, name: &str) -> Endpoint {
    Endpoint { user: format!("all@{name}"), password: "all_pw".to_owned(), ..proxy.login("all") }
}

/// Asks until the answer is as it should be.
#[track_caller]
fn until(session: &mut Session, sql: &str, is_so: impl Fn(&Reply) -> bool) -> Reply {
    let started = Instant::now();
    loop {
        let reply = session.simple(sql);
        if is_so(&reply) {
            return reply;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{}", reply.text());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_row_says_what_its_tenant_may_take() {
    let (lab, database) = (Lab::general(), "limits_table");
    lab.copy_of_shop(database);
    lab.run(database, TABLE);
    let more = [CONSOLE, SOURCE].concat();
    let proxy = Proxy::start(lab, &Setup { database: database.to_owned(), more, ..Setup::default() });
    proxy.wait_for("load", |proxy| proxy.log().contains("tenants read from their table"));
    crate::usage::init(&proxy);
    let six = "SELECT * FROM generate_series(1, 6)";
    let mut carol = tenant(&proxy, "carol").connect();
    let refused = carol.simple(six).refused("54000");
    assert_eq!(refused.errors[0][&'D'], "The limit result_rows of tenant \"carol\" is 5.");
    // What makes no sense leaves its tenant out, and says why.
    tenant(&proxy, "dave").try_connect().1.refused("28000");
    let (_, rejected) = psql(&console(&proxy).url(), "SHOW REJECTED");
    assert!(rejected.starts_with("dave|") && rejected.contains("\"result_rows\""), "{rejected}");
    assert_eq!(rejected.lines().count(), 1, "{rejected}");
    assert!(proxy.log().lines().any(|line| line.contains("dave") && line.contains("result_rows")), "{}", proxy.log());
    // From elsewhere than here it would be served.
    tenant(&proxy, "erin").try_connect().1.refused("28000");
    // Quota and share: one server connection, so a second client waits for the first one's transaction.
    let mut frank = tenant(&proxy, "frank").connect();
    let mut second = tenant(&proxy, "frank").connect();
    frank.simple("BEGIN; SELECT 1").ok();
    second.send(&crate::support::message::query("SELECT 'second'"));
    proxy.wait_for("a client that waits", |proxy| {
        psql(&console(proxy).url(), "SHOW POOLS").1.contains("main|limits_table|app_owner|1|1|")
    });
    carol.simple("SELECT 1").ok();
    frank.simple("COMMIT").ok();
    assert_eq!(second.collect(1).ok().value(), "second");
    let insert = "INSERT INTO customers (id, name, email)
                  SELECT 1000000 + (random() * 1000000)::int, 'x', md5(random()::text)";
    let stopped = until(&mut frank, insert, |reply| reply.sqlstate() == "53400");
    assert!(stopped.errors[0][&'D'].contains("limit 2"), "{}", stopped.text());
    // A refresh reaches sessions that run.
    lab.run(
        database,
        "UPDATE public.terms SET limits = '{\"result_rows\": 6}' WHERE name IN ('carol', 'dave');
         UPDATE public.terms SET allow_from = NULL, limits = '{\"statement_bytes\": \"1kB\"}' WHERE name = 'erin';
         NOTIFY terms",
    );
    until(&mut carol, six, |reply| reply.errors.is_empty());
    let mut dave = tenant(&proxy, "dave").connect();
    dave.simple(six).ok();
    dave.simple("SELECT * FROM generate_series(1, 7)").refused("54000");
    let mut erin = tenant(&proxy, "erin").connect();
    erin.simple(format!("SELECT '{}'", "x".repeat(2_000))).refused("54000");
    lab.run(database, "UPDATE public.terms SET limits = NULL WHERE name = 'erin'; NOTIFY terms");
    until(&mut erin, &format!("SELECT '{}'", "x".repeat(2_000)), |reply| reply.errors.is_empty());
    let (_, rejected) = psql(&console(&proxy).url(), "SHOW REJECTED");
    assert_eq!(rejected, "");
}
