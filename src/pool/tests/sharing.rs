//! The cap over all pools.

use super::*;

#[tokio::test]
async fn an_idle_connection_of_another_pool_gives_way() {
    let world = World::new(2);
    let (a, b) = (world.pool("a", settings(5)), world.pool("b", settings(5)));
    let (one, two) = (a.checkout(&None, 1).await.unwrap(), a.checkout(&None, 1).await.unwrap());
    let kept = two.id();
    one.release();
    tokio::time::sleep(Duration::from_millis(2)).await;
    two.release();
    let held = b.checkout(&None, 1).await.unwrap();
    assert_eq!(world.pools.connections(), (2, 2));
    // The one that was idle longest went.
    let left = a.checkout(&None, 1).await.unwrap();
    assert_eq!(left.id(), kept);
    drop(held);
}

#[tokio::test]
async fn a_pool_that_was_used_again_is_not_the_oldest_any_more() {
    let world = World::new(2);
    let (a, b, c) = (world.pool("a", settings(5)), world.pool("b", settings(5)), world.pool("c", settings(5)));
    for pool in [&a, &b, &a] {
        pool.checkout(&None, 1).await.unwrap().release();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    c.checkout(&None, 1).await.unwrap().release();
    assert_eq!([&a, &b, &c].map(|pool| pool.stats().idle), [1, 0, 1]);
    // Now a is the oldest, and c is not asked to give way to itself.
    tokio::time::sleep(Duration::from_millis(2)).await;
    b.checkout(&None, 1).await.unwrap().release();
    let held = c.checkout(&None, 1).await.unwrap();
    let more = c.checkout(&None, 1).await.unwrap();
    assert_eq!([&a, &b, &c].map(|pool| pool.stats().idle), [0, 0, 0]);
    drop((held, more));
}

#[tokio::test]
async fn a_pool_that_found_the_cap_reached_is_served_at_the_next_release() {
    let world = World::new(2);
    let (a, b) = (world.pool("a", settings(5)), world.pool("b", settings(5)));
    let (one, two) = (a.checkout(&None, 1).await.unwrap(), a.checkout(&None, 1).await.unwrap());
    let waiter = tokio::spawn({
        let b = b.clone();
        async move { b.checkout(&None, 1).await }
    });
    eventually("b waits", || b.stats().waiting == 1).await;
    assert_eq!(world.pools.connections(), (2, 2));
    one.release();
    let server = waiter.await.unwrap().unwrap();
    assert_eq!(world.pools.connections(), (2, 2));
    drop((two, server));
    eventually("all closed", || world.pools.connections().0 == 0).await;
}

#[tokio::test]
async fn a_busy_pool_does_not_starve_another() {
    let world = World::new(2);
    let (a, b) = (world.pool("a", settings(5)), world.pool("b", settings(5)));
    let busy: Vec<_> = (0..6)
        .map(|_| {
            let a = a.clone();
            tokio::spawn(async move {
                loop {
                    let server = a.checkout(&None, 1).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    server.release();
                }
            })
        })
        .collect();
    eventually("a is saturated", || a.stats().active == 2 && a.stats().waiting > 0).await;
    let server = tokio::time::timeout(Duration::from_secs(2), b.checkout(&None, 1)).await;
    assert!(server.unwrap().is_ok());
    // And a lives on with its share.
    let before = a.stats().checkouts;
    eventually("a goes on", || a.stats().checkouts > before + 10).await;
    for task in busy {
        task.abort();
    }
}

#[tokio::test]
async fn more_pools_than_the_cap_take_turns() {
    let world = World::new(1);
    let pools = [world.pool("a", settings(5)), world.pool("b", settings(5)), world.pool("c", settings(5))];
    let busy: Vec<_> = pools
        .iter()
        .flat_map(|pool| [pool.clone(), pool.clone()])
        .map(|pool| {
            tokio::spawn(async move {
                loop {
                    let server = pool.checkout(&None, 1).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    server.release();
                }
            })
        })
        .collect();
    eventually("each was served", || pools.iter().all(|pool| pool.stats().checkouts > 0)).await;
    assert_eq!(world.pools.connections(), (1, 1));
    for task in busy {
        task.abort();
    }
}

#[tokio::test]
async fn a_waiter_that_leaves_does_not_keep_others_from_idling() {
    let world = World::new(1);
    let (a, b) = (world.pool("a", settings(5)), world.pool("b", settings(5)));
    let held = a.checkout(&None, 1).await.unwrap();
    let gave_up = tokio::time::timeout(Duration::from_millis(20), b.checkout(&None, 1)).await;
    assert!(gave_up.is_err());
    held.release();
    assert_eq!(a.stats().idle, 1);
}

#[tokio::test]
async fn min_idle_connections_are_not_taken_away() {
    let world = World::new(1);
    let a = world.pool("a", PoolSettings { min_idle: 1, ..settings(5) });
    let b = world.pool("b", PoolSettings { wait_timeout: Duration::from_millis(50), ..settings(5) });
    a.checkout(&None, 1).await.unwrap().release();
    assert!(b.checkout(&None, 1).await.is_err());
    assert_eq!(a.stats().idle, 1);
}

#[tokio::test]
async fn unused_pools_are_forgotten() {
    let world = World::new(1);
    let a = world.pool("a", settings(5));
    drop(a.checkout(&None, 1).await.unwrap());
    assert_eq!(world.pools.all().len(), 1);
    drop(a);
    eventually("forgotten", || world.pools.stats().is_empty()).await;
}

fn share(min: usize, max: Option<usize>) -> Share {
    Share { min, max, ..Share::default() }
}

/// However busy its neighbour, a tenant finds what it is guaranteed, at once.
#[tokio::test]
async fn a_guaranteed_connection_is_kept() {
    let (_, pool) = one_pool(settings(3));
    let (quiet, noisy) = (party("quiet"), party("noisy"));
    pool.checkout(&quiet, share(1, None)).await.unwrap().release();
    let held = [pool.checkout(&noisy, 1).await.unwrap(), pool.checkout(&noisy, 1).await.unwrap()];
    let mut more = Box::pin(pool.checkout(&noisy, 1));
    let in_vain = tokio::time::timeout(Duration::from_millis(50), &mut more).await;
    assert!(in_vain.is_err(), "the guaranteed connection was given away");
    let own = pool.checkout(&quiet, share(1, None)).await.unwrap();
    // A second one is not guaranteed: it takes its turn behind who waits already.
    let mut second = Box::pin(pool.checkout(&quiet, share(1, None)));
    assert!(tokio::time::timeout(Duration::from_millis(20), &mut second).await.is_err());
    let [one, two] = held;
    one.release();
    let third = more.await.unwrap();
    own.release();
    let own = second.await.unwrap();
    drop((two, third, own));
}

/// Where nobody has a connection yet, those who come all at once and wait for them to be opened are counted too.
#[tokio::test]
async fn some_are_kept_for_those_who_have_none_from_the_first_on() {
    let (_, pool) = one_pool(PoolSettings { kept_for_others: 1, ..settings(4) });
    let (quiet, noisy) = (party("quiet"), party("noisy"));
    let common = Share { in_common: true, ..Share::default() };
    let flood: Vec<_> = (0..6)
        .map(|_| {
            let (pool, noisy) = (pool.clone(), noisy.clone());
            tokio::spawn(async move { pool.checkout(&noisy, common).await.unwrap() })
        })
        .collect();
    eventually("the noisy one has what it may", || pool.stats().active == 3).await;
    let own = tokio::time::timeout(Duration::from_secs(5), pool.checkout(&quiet, common)).await;
    let own = own.expect("the one that is kept was given away").unwrap();
    assert_eq!((pool.stats().active, pool.stats().waiting), (4, 3));
    flood.iter().for_each(tokio::task::JoinHandle::abort);
    drop(own);
}

#[tokio::test]
async fn a_maximum_holds_though_connections_are_idle() {
    let (_, pool) = one_pool(settings(4));
    let noisy = party("noisy");
    let most = share(0, Some(2));
    let one = pool.checkout(&noisy, most).await.unwrap();
    let two = pool.checkout(&noisy, most).await.unwrap();
    let waiter = tokio::spawn({
        let (pool, noisy) = (pool.clone(), noisy.clone());
        async move { pool.checkout(&noisy, most).await.unwrap() }
    });
    eventually("it waits", || pool.stats().waiting == 1).await;
    let others: Vec<_> = futures_util::future::join_all((0..2).map(|_| pool.checkout(&None, 1)))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    others.into_iter().for_each(Server::release);
    assert_eq!((pool.stats().waiting, pool.stats().idle), (1, 2));
    // A connection that breaks makes room as well.
    drop(two);
    let three = waiter.await.unwrap();
    drop((one, three));
    eventually("nothing is counted any more", || pool.stats().active == 0).await;
    pool.checkout(&noisy, most).await.unwrap();
}

/// A thousand tenants with a database each, all at once, under a cap of fifty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_databases_live_under_a_cap_of_fifty() {
    let world = World::new(50);
    let most = Arc::new(AtomicUsize::new(0));
    let tenants: Vec<_> = (0..1_000)
        .map(|n| {
            let name = format!("t{n}");
            let (pool, pools, most) = (world.pool(&name, settings(5)), world.pools.clone(), Arc::clone(&most));
            tokio::spawn(async move {
                for _ in 0..3 {
                    let server = pool.checkout(&party(&name), 1).await.unwrap();
                    most.fetch_max(pools.connections().0, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    server.release();
                }
            })
        })
        .collect();
    for tenant in tenants {
        tenant.await.unwrap();
    }
    assert!(most.load(Ordering::SeqCst) <= 50);
    assert!(world.fake.attempts() >= 1_000);
    assert!(world.pools.connections().0 <= 50);
}
