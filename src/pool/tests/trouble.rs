//! Upstreams that are down, die, restart, hang; pausing and closing.

use super::*;
use crate::base::{PgError, SqlState};

#[tokio::test]
async fn an_upstream_that_is_down_is_told_at_once_and_not_hammered() {
    let (fake, pool) = one_pool(settings(5));
    fake.set(Mood::Down);
    let begun = std::time::Instant::now();
    for _ in 0..200 {
        let error = pool.checkout(&None, 1).await.unwrap_err();
        assert_eq!(error.code, SqlState::CONNECTION_FAILURE);
        assert_eq!(error.message, "could not connect to upstream \"main\": connection refused");
    }
    // 100 ms, 200 ms, ... between attempts.
    assert!(fake.attempts() <= 2 + usize::try_from(begun.elapsed().as_millis() / 100).unwrap());
    assert!(pool.stats().last_error.is_some());
    fake.set(Mood::Up);
    tokio::time::sleep(Duration::from_millis(450)).await;
    assert!(pool.checkout(&None, 1).await.is_ok());
    assert!(pool.stats().last_error.is_none());
}

#[tokio::test]
async fn all_that_wait_are_told_when_the_last_hope_is_gone() {
    let (fake, pool) = one_pool(settings(1));
    let held = pool.checkout(&None, 1).await.unwrap();
    let waiters: Vec<_> = (0..5)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.checkout(&None, 1).await })
        })
        .collect();
    eventually("five wait", || pool.stats().waiting == 5).await;
    fake.set(Mood::Down);
    drop(held);
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().unwrap_err().code, SqlState::CONNECTION_FAILURE);
    }
}

#[tokio::test]
async fn while_others_work_a_failed_connect_leaves_the_waiters_waiting() {
    let (fake, pool) = one_pool(settings(5));
    let held = pool.checkout(&None, 1).await.unwrap();
    fake.set(Mood::Down);
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { pool.checkout(&None, 1).await }
    });
    eventually("a connect failed", || pool.stats().connect_failures > 0).await;
    assert!(!waiter.is_finished());
    held.release();
    assert!(waiter.await.unwrap().is_ok());
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_a_timeout() {
    let (fake, pool) = one_pool(settings(5));
    fake.set(Mood::Silent);
    let error = pool.checkout(&None, 1).await.unwrap_err();
    assert_eq!(error.code, SqlState::CONNECTION_FAILURE);
    assert!(error.message.ends_with("it did not answer in time"));
    assert_eq!(pool.stats().connecting, 0);
}

#[tokio::test]
async fn a_connector_that_panics_costs_no_place() {
    let (fake, pool) = one_pool(settings(1));
    fake.set(Mood::Panicking);
    assert!(pool.checkout(&None, 1).await.is_err());
    fake.set(Mood::Up);
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(pool.checkout(&None, 1).await.is_ok());
}

#[tokio::test]
async fn a_connection_that_died_while_idle_is_never_handed_out() {
    let (fake, pool) = one_pool(settings(3));
    let servers = [
        pool.checkout(&None, 1).await.unwrap(),
        pool.checkout(&None, 1).await.unwrap(),
        pool.checkout(&None, 1).await.unwrap(),
    ];
    let dead: Vec<_> = servers.iter().map(Server::process_id).collect();
    // The first housekeeping must not be what finds them.
    tokio::time::sleep(Duration::from_millis(20)).await;
    for server in servers {
        server.release();
    }
    dead.iter().for_each(|pid| fake.kill(*pid));
    tokio::time::sleep(Duration::from_millis(5)).await;
    let server = pool.checkout(&None, 1).await.unwrap();
    assert!(!dead.contains(&server.process_id()));
    assert_eq!(pool.stats().idle, 0);
}

#[tokio::test]
async fn what_an_upstream_says_while_idle_is_heard() {
    let (fake, pool) = one_pool(settings(1));
    let server = pool.checkout(&None, 1).await.unwrap();
    let (id, pid) = (server.id(), server.process_id());
    server.release();
    let mut words = BytesMut::new();
    backend::parameter_status(&mut words, "TimeZone", "Asia/Tokyo").unwrap();
    fake.say(pid, words);
    tokio::time::sleep(Duration::from_millis(5)).await;
    let server = pool.checkout(&None, 1).await.unwrap();
    assert_eq!(server.id(), id);
    assert_eq!(server.known.as_ref().unwrap().parameters["TimeZone"], "Asia/Tokyo");
    server.release();

    // The same, found by the housekeeping; and a farewell is the end.
    let mut words = BytesMut::new();
    backend::parameter_status(&mut words, "TimeZone", "UTC").unwrap();
    fake.say(pid, words);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let server = pool.checkout(&None, 1).await.unwrap();
    assert_eq!((server.id(), server.known.as_ref().unwrap().parameters["TimeZone"].as_str()), (id, "UTC"));
    server.release();
    let mut words = BytesMut::new();
    let farewell = PgError::fatal(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command");
    backend::error_response(&mut words, &farewell);
    fake.say(pid, words);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_ne!(pool.checkout(&None, 1).await.unwrap().id(), id);
}

#[tokio::test]
async fn dead_old_and_idle_connections_are_swept_away() {
    let (fake, pool) = one_pool(PoolSettings { idle_timeout: Duration::from_millis(100), min_idle: 1, ..settings(3) });
    let servers = [pool.checkout(&None, 1).await.unwrap(), pool.checkout(&None, 1).await.unwrap()];
    let pid = servers[0].process_id();
    for server in servers {
        server.release();
    }
    eventually("one is left", || pool.stats().idle == 1).await;
    let left = pool.checkout(&None, 1).await.unwrap();
    let left_pid = left.process_id();
    assert_ne!(left_pid, pid);
    left.release();
    fake.kill(left_pid);
    eventually("another one was opened", || pool.stats().connects == 3 && pool.stats().idle == 1).await;
}

#[tokio::test]
async fn a_connection_at_its_end_is_replaced_when_it_comes_back() {
    let (fake, pool) = one_pool(PoolSettings { lifetime: Duration::from_millis(20), ..settings(1) });
    let server = pool.checkout(&None, 1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(25)).await;
    server.release();
    assert_eq!(pool.stats().idle, 0);
    assert!(pool.checkout(&None, 1).await.is_ok());
    assert_eq!(fake.attempts(), 2);
}

#[tokio::test]
async fn a_pause_lets_clients_wait_until_resume() {
    let (_fake, pool) = one_pool(settings(2));
    let held = pool.checkout(&None, 1).await.unwrap();
    pool.checkout(&None, 1).await.unwrap().release();
    let pausing = tokio::spawn({
        let pool = pool.clone();
        async move { pool.pause().await }
    });
    eventually("paused", || pool.stats().paused).await;
    assert_eq!(pool.stats().idle, 0);
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { pool.checkout(&None, 1).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!waiter.is_finished() && !pausing.is_finished());
    held.release();
    pausing.await.unwrap();
    assert!(!waiter.is_finished());
    pool.resume();
    assert!(waiter.await.unwrap().is_ok());
}

#[tokio::test]
async fn closing_waits_for_the_last_connection_and_refuses_everybody() {
    let world = World::new(10);
    let pool = world.pool("main", settings(1));
    let held = pool.checkout(&None, 1).await.unwrap();
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { pool.checkout(&None, 1).await }
    });
    eventually("one waits", || pool.stats().waiting == 1).await;
    let closing = tokio::spawn({
        let pools = world.pools.clone();
        async move { pools.close().await }
    });
    assert_eq!(waiter.await.unwrap().unwrap_err().code, SqlState::ADMIN_SHUTDOWN);
    assert_eq!(pool.checkout(&None, 1).await.unwrap_err().code, SqlState::ADMIN_SHUTDOWN);
    assert!(!closing.is_finished());
    held.release();
    closing.await.unwrap();
    assert_eq!(world.pools.connections().0, 0);
}
