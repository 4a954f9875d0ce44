//! A tenant that moves while it is used, and its neighbour, through two proxies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::support::message;

/// What clients have seen.
#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    /// The longest that one statement took, in milliseconds.
    slowest: AtomicU64,
    statements: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Lone,
    Transaction,
    Prepared,
    Reader,
    Neighbour,
}

impl Tally {
    /// One exchange, which must go well.
    fn timed(
        &self,
        what: &str,
        exchange: impl FnOnce() -> crate::support::reply::Reply,
    ) -> crate::support::reply::Reply {
        let started = Instant::now();
        let reply = exchange();
        let took = u64::try_from(started.elapsed().as_millis()).unwrap();
        assert!(reply.errors.is_empty() && !reply.closed, "{what} after {took} ms: {}", reply.text());
        self.slowest.fetch_max(took, Ordering::Relaxed);
        self.statements.fetch_add(1, Ordering::Relaxed);
        reply
    }

    fn work(&self, end: &Endpoint, kind: Kind, mark: &str, customer: &str) {
        let mut session = end.connect();
        let insert = |n: u64| match kind {
            // Numbers of rows that stay would be those of rows that come back.
            Kind::Neighbour => format!("INSERT INTO parts (id, at) VALUES ({n}, '2026-02-02')"),
            _ => format!("INSERT INTO orders (customer, note) VALUES ({customer}, 'load {mark} {n}')"),
        };
        if let Kind::Prepared = kind {
            let parse = message::parse("s", "INSERT INTO orders (customer, note) VALUES ($1, $2)", &[20, 25]);
            self.timed("Parse", || session.exchange(&[parse, message::sync()], 1));
        }
        let (mut n, mut seen) = (0, 0);
        while !self.stop.load(Ordering::Relaxed) {
            let what = format!("{kind:?} {mark} {n}");
            n += 1;
            let written = match kind {
                Kind::Lone | Kind::Neighbour => {
                    self.timed(&what, || session.simple(insert(n)));
                    1
                }
                Kind::Transaction => {
                    self.timed(&what, || session.simple("BEGIN"));
                    self.timed(&what, || session.simple(insert(2 * n)));
                    self.timed(&what, || session.simple(insert(2 * n + 1)));
                    self.timed(&what, || session.simple("COMMIT"));
                    2
                }
                Kind::Prepared => {
                    let note = format!("load {mark} {n}");
                    let bind = message::bind("", "s", &[Some(customer), Some(&note)], &[]);
                    self.timed(&what, || session.exchange(&[bind, message::execute("", 0), message::sync()], 1));
                    1
                }
                Kind::Reader => {
                    let count =
                        self.timed(&what, || session.simple("SELECT count(*) FROM orders")).value().parse().unwrap();
                    assert!(count >= seen, "{what}: {count} after {seen}");
                    seen = count;
                    0
                }
            };
            self.acknowledged.fetch_add(written, Ordering::Relaxed);
            // An app has other things to do too.
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Types of one's own end sessions: here there are none.
fn stage_of_plain_types() -> Stage {
    let source = format!("{SOURCE}[moves]\nlease = \"5s\"\n");
    let tables = TABLES.replace("CREATE TYPE mood AS ENUM ('glad', 'sad');", "").replace("feels mood", "feels text");
    stage_of("move_load", &source, "", &tables)
}

#[test]
fn nobody_notices_a_move_between_any_two_layouts() {
    let stage = stage_of_plain_types();
    let first = stage.proxy();
    let port = crate::support::proxy::free_port();
    let second =
        Proxy::launch(&stage.text.replace(&format!("127.0.0.1:{}", stage.port), &format!("127.0.0.1:{port}")), port);
    stage.soon("roam");
    let end = |tenant: &str, port: u16| Endpoint {
        database: tenant.to_owned(),
        ..Endpoint::new(port, &format!("all@{tenant}"), "all_pw", "x")
    };
    let customer = |key: &str| stage.value(&format!("SELECT min(id) FROM customers WHERE tenant_id = {key}"));
    let (own, others) = (customer("1"), customer("2"));
    let (roam, neighbour) = (Arc::new(Tally::default()), Arc::new(Tally::default()));
    let mut clients = Vec::new();
    for port in [stage.port, port] {
        for (kind, tenant, tally, customer) in [
            (Kind::Lone, "roam", &roam, &own),
            (Kind::Transaction, "roam", &roam, &own),
            (Kind::Prepared, "roam", &roam, &own),
            (Kind::Reader, "roam", &roam, &own),
            (Kind::Neighbour, "neighbour", &neighbour, &others),
            (Kind::Reader, "neighbour", &neighbour, &others),
        ] {
            let (end, tally, customer) = (end(tenant, port), Arc::clone(tally), customer.clone());
            let mark = format!("{kind:?}{port}");
            clients.push(std::thread::spawn(move || tally.work(&end, kind, &mark, &customer)));
        }
    }
    let mut last = (String::new(), String::new());
    for (to, place, schema) in HOPS {
        std::thread::sleep(Duration::from_millis(300));
        let to = at("move_load", to);
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        neighbour.slowest.store(0, Ordering::Relaxed);
        let done =
            stage.json(&[&["move", "roam", "--to"], &to[..], &["--trust", "--verify", "--max-pause", "20s"]].concat());
        println!(
            "{}: {} rows, pause {} ms, of it {} ms until all had ended; a neighbour's slowest statement took {} ms",
            to.join(" "),
            done["rows"],
            done["pause_ms"],
            done["drained_ms"],
            neighbour.slowest.load(Ordering::Relaxed)
        );
        assert_eq!((done["proxies"].as_i64(), done["sessions_go_on"].as_bool()), (Some(2), Some(true)), "{done}");
        stage.ok(&["move", "roam", "--finish"]);
        last = (format!("move_load{place}"), at("move_load", &[schema]).concat());
    }
    std::thread::sleep(Duration::from_millis(300));
    for tally in [&roam, &neighbour] {
        tally.stop.store(true, Ordering::Relaxed);
    }
    clients.into_iter().for_each(|client| client.join().unwrap());
    let written = format!(
        "SELECT count(*) || ' ' || count(DISTINCT note) FROM {}.orders WHERE tenant_id = 1 AND note LIKE 'load %'",
        last.1
    );
    let acknowledged = roam.acknowledged.load(Ordering::Relaxed);
    assert_eq!(rows(&last.0, &written), [format!("{acknowledged} {acknowledged}")]);
    let beside = neighbour.acknowledged.load(Ordering::Relaxed);
    assert_eq!(stage.value("SELECT count(*) - 300 FROM parts WHERE tenant_id = 2"), beside.to_string());
    println!(
        "{acknowledged} rows in {} statements, beside {beside}: none failed",
        roam.statements.load(Ordering::Relaxed)
    );
    assert!(acknowledged > 100 && beside > 20);
    drop((first, second));
}
