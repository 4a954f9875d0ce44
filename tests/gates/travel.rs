//! Clients that go on while their tenant moves, through two proxies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio_postgres::types::Type;

use super::*;

/// What the clients of one tenant share.
#[derive(Default)]
struct Work {
    over: AtomicBool,
    ids: AtomicI64,
    done: AtomicI64,
    longest_ms: AtomicI64,
}

impl Work {
    fn id(&self) -> i64 {
        self.ids.fetch_add(1, Ordering::SeqCst)
    }

    fn done(&self, begun: Instant) {
        self.done.fetch_add(1, Ordering::SeqCst);
        let took = i64::try_from(begun.elapsed().as_millis()).unwrap();
        self.longest_ms.fetch_max(took, Ordering::SeqCst);
    }
}

const INSERT: &str = "INSERT INTO items (id, note) VALUES ($1, $2)";

/// Inserts rows by turns in all the ways that clients have; returns the first error.
async fn works(mut client: Client, work: Arc<Work>) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("SET timezone = 'Asia/Tokyo'; SET audit.actor = 'ann'").await?;
    let prepared = client.prepare(INSERT).await?;
    let settings =
        client.prepare("SELECT current_setting('timezone') || ' ' || current_setting('audit.actor')").await?;
    while !work.over.load(Ordering::SeqCst) {
        let begun = Instant::now();
        client.execute(&prepared, &[&work.id(), &"named"]).await?;
        work.done(begun);
        let begun = Instant::now();
        client.batch_execute(&format!("INSERT INTO items (id, note) VALUES ({}, 'simple')", work.id())).await?;
        work.done(begun);
        let begun = Instant::now();
        client.query_typed(INSERT, &[(&work.id(), Type::INT8), (&"unnamed", Type::TEXT)]).await?;
        work.done(begun);
        let begun = Instant::now();
        let transaction = client.transaction().await?;
        let id = work.id();
        transaction.execute(&prepared, &[&id, &"transaction"]).await?;
        let found = transaction.query_one("SELECT count(*) FROM items WHERE id = $1", &[&id]).await?;
        assert_eq!(found.get::<_, i64>(0), 1);
        transaction.commit().await?;
        work.done(begun);
        // Statements that are sent ahead.
        let (one, two) = (work.id(), work.id());
        let begun = Instant::now();
        let ahead: [(&(dyn tokio_postgres::types::ToSql + Sync), i64); 2] = [(&"ahead", one), (&"ahead", two)];
        let sent = ahead.iter().map(|(note, id)| {
            let (client, prepared) = (&client, &prepared);
            async move { client.execute(prepared, &[id, *note]).await }
        });
        futures_util::future::try_join_all(sent).await?;
        work.done(begun);
        work.done(begun);
        assert_eq!(client.query_one(&settings, &[]).await?.get::<_, &str>(0), "Asia/Tokyo ann");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

#[test]
fn clients_go_on_in_every_layout_while_their_tenant_moves() {
    let stage = Stage::new("gate_travel", "main", "10s");
    let proxies = [stage.proxy(), stage.proxy()];
    stage.wait_until("SELECT count(*) FROM pgwarden_proxies WHERE lease_until > now()", "2");
    let (moving, other) = (Arc::new(Work::default()), Arc::new(Work::default()));
    let clients = block_on(async {
        let mut clients = Vec::new();
        for proxy in &proxies {
            for _ in 0..3 {
                let client = driver(proxy.port, "mover").await;
                clients.push(tokio::spawn(works(client, Arc::clone(&moving))));
            }
            let client = driver(proxy.port, "bystander").await;
            clients.push(tokio::spawn(works(client, Arc::clone(&other))));
        }
        clients
    });
    let way = [
        Place::Shared,
        Place::SharedElsewhere,
        Place::Schema("left"),
        Place::Schema("right"),
        Place::Shared,
        Place::Database("one"),
        Place::Database("two"),
        Place::Schema("left"),
        Place::Database("one"),
        Place::Shared,
    ];
    let mut pauses = Vec::new();
    for (epoch, step) in (1..).zip(way.windows(2)) {
        let before = moving.done.load(Ordering::SeqCst);
        let end = Instant::now() + Duration::from_secs(30);
        while moving.done.load(Ordering::SeqCst) < before + 20 {
            assert!(Instant::now() < end, "nothing moves before {step:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        let begun = Instant::now();
        stage.shut(epoch, "30s", true);
        stage.drained(epoch, 2);
        // Nothing is written behind the gate, and nobody else waits.
        let (still, others) = (stage.count(step[0]), other.done.load(Ordering::SeqCst));
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(stage.count(step[0]), still);
        assert!(other.done.load(Ordering::SeqCst) > others, "another tenant waits too");
        stage.go(step[0], step[1]);
        pauses.push(begun.elapsed());
    }
    std::thread::sleep(Duration::from_millis(500));
    for work in [&moving, &other] {
        work.over.store(true, Ordering::SeqCst);
    }
    for client in clients {
        block_on(client).unwrap().unwrap();
    }
    assert_eq!(stage.count(Place::Shared), moving.done.load(Ordering::SeqCst).to_string());
    for place in [Place::SharedElsewhere, Place::Schema("left"), Place::Schema("right"), Place::Database("two")] {
        assert_eq!(stage.count(place), "0", "{place:?}");
    }
    eprintln!(
        "pauses {pauses:?}; longest statement {} ms, of the other tenant {} ms; {} and {} done",
        moving.longest_ms.load(Ordering::SeqCst),
        other.longest_ms.load(Ordering::SeqCst),
        moving.done.load(Ordering::SeqCst),
        other.done.load(Ordering::SeqCst)
    );
}

#[test]
fn what_does_not_travel_ends_its_session() {
    let stage = Stage::new("gate_ends", "main", "10s");
    let proxy = stage.proxy();
    let ended = |session: &mut crate::support::session::Session| {
        let reply = session.simple("SELECT 1");
        assert_eq!(reply.sqlstate(), "57P01", "{}", reply.text());
    };
    let [mut plain, mut locks, mut listens] = [(); 3].map(|()| login(&proxy, "mover").connect());
    locks.simple("SELECT pg_advisory_lock(1)").ok();
    listens.simple("LISTEN jobs").ok();
    // Held on a server connection: it cannot wait without one.
    stage.shut(1, "30s", true);
    stage.drained(1, 1);
    stage.open();
    ended(&mut locks);
    // The place is the same: all go on.
    plain.simple("SELECT 1").ok();
    listens.simple("SELECT 1").ok();
    stage.shut(2, "30s", true);
    stage.drained(2, 1);
    stage.go(Place::Shared, Place::Schema("left"));
    ended(&mut listens);
    plain.simple("INSERT INTO items VALUES (1, 'x')").ok();
    // Types differ there, say.
    stage.shut(3, "30s", false);
    stage.drained(3, 1);
    stage.go(Place::Schema("left"), Place::Shared);
    ended(&mut plain);
    // Without a gate.
    let mut plain = login(&proxy, "mover").connect();
    assert_eq!(plain.simple("SELECT count(*) FROM items").ok().value(), "1");
    stage.sql(&format!("UPDATE pgwarden_tenants SET {} WHERE name = 'mover'", stage.row(Place::Schema("left"))));
    let end = Instant::now() + Duration::from_secs(10);
    while plain.simple("SELECT 1").sqlstate() != "57P01" {
        assert!(Instant::now() < end, "it goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_session_of_several_tenants_follows_each() {
    let stage = Stage::new("gate_several", "main", "10s");
    let proxy = stage.proxy();
    let mut session = Endpoint::new(proxy.port, "all", "all_pw", "gate_several_main").connect();
    let insert = |id: u32| format!("INSERT INTO items (id, note) VALUES ({id}, 'x')");
    session.simple("SET app.tenant_id = 'mover'").ok();
    session.simple(insert(1)).ok();
    session.extended("/* tenant='mover' */ SELECT count(*) FROM items", &[]).ok();
    stage.shut(1, "30s", true);
    stage.drained(1, 1);
    // Others are acted for meanwhile.
    let by_comment = |tenant: &str, id: u32| format!("/* tenant='{tenant}' */ {}", insert(id));
    session.simple(by_comment("bystander", 1)).ok();
    // A transaction that began behind the gate does not get past it.
    session.simple("SET app.tenant_id = 'bystander'").ok();
    session.simple("BEGIN").ok();
    session.simple(insert(2)).ok();
    let mut waits = Endpoint::new(proxy.port, "all", "all_pw", "gate_several_main").connect();
    waits.send(&crate::support::message::query(by_comment("mover", 2)));
    session.send(&crate::support::message::query(by_comment("mover", 3)));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(stage.count(Place::Shared), "1");
    stage.go(Place::Shared, Place::Schema("left"));
    waits.collect(1).ok();
    // The transaction is in the other place.
    session.collect(1).refused("25001");
    session.simple("ROLLBACK").ok();
    session.simple(by_comment("mover", 3)).ok();
    session.simple("SET app.tenant_id = 'mover'").ok();
    session.simple(insert(4)).ok();
    assert_eq!((stage.count(Place::Schema("left")), stage.count(Place::Shared)), ("4".to_owned(), "0".to_owned()));
}
