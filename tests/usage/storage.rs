//! The table is written completely and once, whatever happens to pgwarden, to the table, or to the wire between them.

use std::sync::atomic::Ordering;

use super::relay::Relay;
use super::*;

#[test]
fn two_proxies_add_up_and_a_graceful_stop_loses_nothing() {
    database("usage_stop");
    // Nothing is written before the end.
    let quota = "flush_interval = \"1h\"";
    let mut proxies = [proxy("usage_stop", quota), proxy("usage_stop", quota)];
    init(&proxies[0]);
    std::thread::scope(|scope| {
        for proxy in &proxies {
            for end in [proxy.a(), proxy.a(), proxy.b()] {
                scope.spawn(move || {
                    let mut session = end.connect();
                    for _ in 0..100 {
                        session.simple("SELECT name FROM customers LIMIT 1").ok();
                    }
                });
            }
        }
    });
    // One client is in mid-transaction when the stop comes, and ends it.
    let mut last = proxies[0].a().connect();
    last.simple("BEGIN").ok();
    let stopper = {
        let pid = proxies[0].pid();
        std::thread::spawn(move || signal(pid, "TERM"))
    };
    std::thread::sleep(Duration::from_millis(200));
    last.simple("SELECT name FROM customers LIMIT 1").ok();
    last.simple("COMMIT").ok();
    stopper.join().unwrap();
    assert!(proxies[0].ended().success());
    signal(proxies[1].pid(), "TERM");
    assert!(proxies[1].ended().success());
    assert_eq!(kept("usage_stop", "a", "rows_read"), 401);
    assert_eq!(kept("usage_stop", "a", "statements"), 403);
    assert_eq!(kept("usage_stop", "b", "statements"), 200);
}

#[test]
fn kill_9_loses_at_most_one_interval() {
    database("usage_kill");
    let proxy = proxy("usage_kill", "flush_interval = \"500ms\"");
    init(&proxy);
    // The table was made after the start: one interval later it is in use.
    std::thread::sleep(Duration::from_millis(1_000));
    let end = proxy.a();
    let client = std::thread::spawn(move || {
        let mut session = end.connect();
        let mut done = Vec::new();
        while session.simple("SELECT name FROM customers LIMIT 1").states == "I" {
            done.push(Instant::now());
            std::thread::sleep(Duration::from_millis(2));
        }
        done
    });
    std::thread::sleep(Duration::from_millis(2_500));
    let killed = Instant::now();
    signal(proxy.pid(), "KILL");
    let done = client.join().unwrap();
    let kept = kept("usage_kill", "a", "rows_read");
    assert!(kept <= done.len() as u64 + 1, "{kept} of {}", done.len());
    // One interval, and the time that writing takes on a busy machine.
    let sure = done.iter().filter(|at| killed.duration_since(**at) > Duration::from_millis(1_000)).count() as u64;
    assert!(kept >= sure && sure > 10, "{kept} of {}, {sure} of them in time", done.len());
}

/// The commit of a batch went through, but pgwarden was not told: it is written again, and counted once.
#[test]
fn a_batch_whose_outcome_is_unknown_is_counted_once() {
    let lab = database("usage_twice");
    let relay = Relay::to(lab.cluster.port());
    let upstream = format!(
        "[upstream.usage]\nurl = \"postgres://app_owner@127.0.0.1:{}/usage_twice\"\npassword = \"app_owner_pw\"\n",
        relay.port
    );
    let quota = "upstream = \"usage\"\nflush_interval = \"100ms\"";
    let setup = Setup { more: format!("{upstream}[quota]\n{quota}"), ..setup("usage_twice", "") };
    let proxy = Proxy::start(lab, &setup);
    init(&proxy);
    let mut a = proxy.a().connect();
    for round in 1..=5 {
        relay.cuts.store(1, Ordering::SeqCst);
        for _ in 0..10 {
            a.simple("SELECT 1").ok();
            std::thread::sleep(Duration::from_millis(20));
        }
        eventually("a commit was cut", || relay.cuts.load(Ordering::SeqCst) == 0);
        eventually_kept("usage_twice", "a", "statements", round * 10);
    }
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(kept("usage_twice", "a", "statements"), 50);
    assert!(proxy.log().contains("the usage table is back"), "{}", proxy.log());
}

/// The table is away: clients do not notice, counting goes on, who was refused stays refused.
#[test]
fn the_table_may_go_away_and_come_back() {
    let lab = database("usage_away");
    lab.run(
        "usage_away",
        "CREATE TABLE notes (tenant_id int NOT NULL, body text); ALTER TABLE notes OWNER TO app_owner",
    );
    let proxy = proxy("usage_away", "flush_interval = \"100ms\"\nrows_written = { hard = 3 }");
    init(&proxy);
    let (mut a, mut b) = (proxy.a().connect(), proxy.b().connect());
    let insert = "INSERT INTO notes (body) VALUES ('x'), ('x'), ('x')";
    eventually("the usage is known", || a.simple(insert).errors.is_empty());
    eventually("b is known", || b.simple("UPDATE notes SET body = 'y'").errors.is_empty());
    a.simple(insert).refused("53400");
    eventually_kept("usage_away", "a", "rows_written", 3);
    lab.run("usage_away", "ALTER TABLE pgwarden_usage RENAME TO elsewhere");
    eventually("it is said", || proxy.log().contains("the usage table cannot be used"));
    std::thread::sleep(Duration::from_millis(500));
    a.simple(insert).refused("53400");
    for _ in 0..20 {
        b.simple("SELECT 1").ok();
    }
    // Bounds hold for what is used meanwhile.
    b.simple(insert).ok();
    b.simple(insert).refused("53400");
    lab.run("usage_away", "ALTER TABLE elsewhere RENAME TO pgwarden_usage");
    eventually_kept("usage_away", "b", "rows_written", 3);
    assert!(kept("usage_away", "b", "statements") >= 22);
    a.simple(insert).refused("53400");
    eventually("it is said", || proxy.log().contains("the usage table is back"));
    let said = proxy.log().matches("the usage table cannot be used").count();
    assert!(said <= 2, "said {said} times");
}

/// A restart while the table is away opens nothing that was shut.
#[test]
fn what_nobody_knows_is_refused_unless_the_configuration_says_otherwise() {
    let lab = database("usage_unknown");
    lab.run(
        "usage_unknown",
        "CREATE TABLE notes (tenant_id int NOT NULL, body text); ALTER TABLE notes OWNER TO app_owner",
    );
    let hard = "flush_interval = \"100ms\"\nrows_written = { hard = 1000 }";
    let strict = proxy("usage_unknown", hard);
    let insert = "INSERT INTO notes (body) VALUES ('x')";
    let mut a = strict.a().connect();
    let refused = a.simple(insert).refused("57P03");
    assert!(refused.errors[0][&'M'].contains("the usage of tenant \"a\" is not known"));
    a.simple("SELECT count(*) FROM notes").ok();
    let lenient = proxy("usage_unknown", &format!("{hard}\nwhen_unknown = \"allow\""));
    lenient.a().connect().simple(insert).ok();
    assert!(lenient.log().contains("let through"), "{}", lenient.log());
    init(&strict);
    eventually("the table is there", || a.simple(insert).errors.is_empty());
}

/// A signal by its name.
pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("/bin/kill").args([format!("-{name}"), pid.to_string()]).status().unwrap().success());
}
