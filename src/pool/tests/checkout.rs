//! Taking, giving back, waiting.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use super::*;
use crate::base::SqlState;

#[tokio::test]
async fn a_returned_connection_is_used_again() {
    let (fake, pool) = one_pool(settings(5));
    let first = pool.checkout(&None, 1).await.unwrap();
    let second = pool.checkout(&None, 1).await.unwrap();
    let (first_id, second_id) = (first.id(), second.id());
    assert_ne!(first_id, second_id);
    second.release();
    first.release();
    // Last in, first out.
    let again = pool.checkout(&None, 1).await.unwrap();
    assert_eq!(again.id(), first_id);
    assert_eq!(again.counters.checkouts, 2);
    assert_eq!(fake.attempts(), 2);
    let stats = pool.stats();
    assert_eq!((stats.active, stats.idle, stats.checkouts), (1, 1, 3));
}

#[tokio::test]
async fn a_released_connection_goes_straight_to_the_waiter() {
    let (fake, pool) = one_pool(settings(1));
    let held = pool.checkout(&None, 1).await.unwrap();
    let id = held.id();
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { pool.checkout(&None, 1).await }
    });
    eventually("one waits", || pool.stats().waiting == 1).await;
    held.release();
    assert_eq!(pool.stats().idle, 0);
    let server = waiter.await.unwrap().unwrap();
    assert_eq!(server.id(), id);
    assert_eq!(fake.attempts(), 1);
}

#[tokio::test]
async fn a_noisy_tenant_waits_behind_itself() {
    let (_fake, pool) = one_pool(settings(1));
    let held = pool.checkout(&None, 1).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (before, name) in ["noisy", "noisy", "noisy", "noisy", "quiet"].into_iter().enumerate() {
        let (clone, order) = (pool.clone(), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let server = clone.checkout(&party(name), 1).await.unwrap();
            order.lock().push(name);
            server.release();
        }));
        eventually("it stands in the queue", || pool.stats().waiting == before + 1).await;
    }
    held.release();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock(), ["noisy", "quiet", "noisy", "noisy", "noisy"]);
}

#[tokio::test]
async fn nothing_free_in_time_is_an_error_and_leaves_no_trace() {
    let wait = Duration::from_millis(30);
    let (_fake, pool) = one_pool(PoolSettings { wait_timeout: wait, ..settings(1) });
    let held = pool.checkout(&None, 1).await.unwrap();
    let error = pool.checkout(&None, 1).await.unwrap_err();
    assert_eq!(error.code, SqlState::TOO_MANY_CONNECTIONS);
    let stats = pool.stats();
    assert_eq!((stats.waiting, stats.wait_timeouts), (0, 1));
    assert!(stats.max_wait >= wait);
    held.release();
    assert!(pool.checkout(&None, 1).await.is_ok());
}

#[tokio::test]
async fn a_waiter_that_leaves_loses_nothing() {
    let (fake, pool) = one_pool(settings(1));
    let held = pool.checkout(&None, 1).await.unwrap();
    {
        let waiting = pin!(pool.checkout(&None, 1));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.poll(&mut context).is_pending());
        assert_eq!(pool.stats().waiting, 1);
    }
    assert_eq!(pool.stats().waiting, 0);
    held.release();
    assert_eq!(pool.stats().idle, 1);
    assert_eq!(fake.attempts(), 1);
}

#[tokio::test]
async fn a_waiter_that_leaves_after_it_was_served_passes_the_connection_on() {
    let (fake, pool) = one_pool(settings(1));
    let held = pool.checkout(&None, 1).await.unwrap();
    let id = held.id();
    let first = party("a");
    let other = {
        let waiting = pin!(pool.checkout(&first, 1));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.poll(&mut context).is_pending());
        let other = tokio::spawn({
            let pool = pool.clone();
            async move { pool.checkout(&party("b"), 1).await }
        });
        eventually("both wait", || pool.stats().waiting == 2).await;
        // Served, but never polled again.
        held.release();
        assert_eq!(pool.stats().waiting, 1);
        other
    };
    assert_eq!(other.await.unwrap().unwrap().id(), id);
    assert_eq!(fake.attempts(), 1);
}

#[tokio::test]
async fn a_dropped_connection_frees_its_place() {
    let (fake, pool) = one_pool(settings(1));
    let held = pool.checkout(&None, 1).await.unwrap();
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { pool.checkout(&None, 1).await }
    });
    eventually("one waits", || pool.stats().waiting == 1).await;
    drop(held);
    assert!(waiter.await.unwrap().is_ok());
    assert_eq!(fake.attempts(), 2);
}

#[tokio::test]
async fn only_clean_connections_come_back() {
    let (_fake, pool) = one_pool(settings(5));
    let spoil: [fn(&mut Server); 4] = [
        |server| server.tx = TransactionStatus::Active,
        |server| server.tx = TransactionStatus::Failed,
        |server| server.poison(),
        |server| server.conn.inbox.extend_from_slice(b"Z"),
    ];
    for spoil in spoil {
        let mut server = pool.checkout(&None, 1).await.unwrap();
        spoil(&mut server);
        server.release();
        let stats = pool.stats();
        assert_eq!((stats.active, stats.idle), (0, 0));
    }
}

#[tokio::test]
async fn what_runs_is_cancelled_before_its_connection_is_closed() {
    let (fake, pool) = one_pool(settings(5));
    let mut server = pool.checkout(&None, 1).await.unwrap();
    let pid = server.process_id();
    server.pending = 1;
    server.release();
    eventually("closed", || pool.stats().active == 0).await;
    assert_eq!(*fake.cancelled.lock(), [pid]);
    assert_eq!(pool.stats().idle, 0);
}

#[tokio::test]
async fn a_pinned_connection_is_reset_before_the_next_client() {
    let (fake, pool) = one_pool(settings(1));
    let mut server = pool.checkout(&None, 1).await.unwrap();
    let id = server.id();
    server.known.as_mut().unwrap().applied.set("work_mem".to_owned(), Some("1GB".to_owned()));
    assert_eq!(server.known.as_mut().unwrap().prepared.insert(StatementId(1)), None);
    server.known.as_mut().unwrap().needs_reset = true;
    server.release();
    let server = pool.checkout(&None, 1).await.unwrap();
    assert_eq!(server.id(), id);
    assert!(
        server.known.as_ref().unwrap().applied.is_empty()
            && server.known.as_ref().unwrap().prepared.is_empty()
            && !server.known.as_ref().unwrap().needs_reset
    );
    assert_eq!(*fake.queries.lock(), ["DISCARD ALL\0"]);
    assert_eq!(server.counters.resets, 1);
}

#[tokio::test]
async fn a_reset_that_fails_closes_the_connection() {
    let (fake, pool) = one_pool(settings(1));
    let mut server = pool.checkout(&None, 1).await.unwrap();
    let id = server.id();
    server.known.as_mut().unwrap().needs_reset = true;
    fake.kill(server.process_id());
    server.release();
    let server = pool.checkout(&None, 1).await.unwrap();
    assert_ne!(server.id(), id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_clients_come_and_go_at_random() {
    let (_fake, pool) = one_pool(settings(3));
    let mut tasks = Vec::new();
    for client in 0..24_u64 {
        let pool = pool.clone();
        tasks.push(tokio::spawn(async move {
            let name = party(&format!("t{}", client % 5));
            for round in 0..200_u64 {
                let patience = Duration::from_micros((client * 37 + round * 91) % 400);
                let Ok(Ok(mut server)) = tokio::time::timeout(patience, pool.checkout(&name, 1)).await else {
                    continue;
                };
                if round % 7 == 0 {
                    tokio::task::yield_now().await;
                }
                match round % 31 {
                    0 => drop(server),
                    1 => {
                        server.known.as_mut().unwrap().needs_reset = true;
                        server.release();
                    }
                    _ => server.release(),
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    eventually("all is quiet", || {
        let stats = pool.stats();
        stats.active == 0 && stats.connecting == 0 && stats.waiting == 0 && stats.idle <= 3
    })
    .await;
    // All three places can still be had.
    let servers = [
        pool.checkout(&None, 1).await.unwrap(),
        pool.checkout(&None, 1).await.unwrap(),
        pool.checkout(&None, 1).await.unwrap(),
    ];
    assert_eq!(pool.stats().active, servers.len());
}
