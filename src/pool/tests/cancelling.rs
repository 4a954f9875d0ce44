//! Cancel requests: to the right connection, and to no later client of it.

use super::*;
use crate::base::SqlState;

struct Client {
    registry: Arc<CancelRegistry>,
    key: ClientKey,
}

fn client(fake: &Arc<Fake>, long_key: bool) -> Client {
    let registry = CancelRegistry::new(Arc::new(FakeConnector(Arc::clone(fake))));
    let key = registry.register(long_key);
    Client { registry, key }
}

impl Client {
    fn cancel(&self) -> impl Future<Output = ()> + Send + 'static {
        self.registry.cancel(self.key.process_id(), self.key.secret())
    }
}

#[tokio::test]
async fn keys_are_random_and_as_long_as_the_protocol_wants() {
    let (fake, _pool) = one_pool(settings(1));
    let registry = CancelRegistry::new(Arc::new(FakeConnector(fake)));
    let (short, long) = (registry.register(false), registry.register(true));
    assert_eq!((short.secret().len(), long.secret().len()), (4, 32));
    assert_ne!(short.process_id(), long.process_id());
    assert_ne!(long.secret(), registry.register(true).secret());
    assert_eq!(registry.len(), 2);
    drop((short, long));
    assert!(registry.is_empty());
}

#[tokio::test]
async fn a_cancel_reaches_only_what_its_client_holds_now() {
    let (fake, pool) = one_pool(settings(2));
    let alice = client(&fake, true);
    alice.cancel().await;
    assert!(fake.cancelled.lock().is_empty());

    let server = alice.key.checkout(&pool, &None, 1).await.unwrap();
    let pid = server.process_id();
    alice.registry.cancel(alice.key.process_id(), &[0; 32]).await;
    alice.registry.cancel(alice.key.process_id(), &alice.key.secret()[..31]).await;
    alice.registry.cancel(alice.key.process_id() ^ 1, alice.key.secret()).await;
    assert!(fake.cancelled.lock().is_empty());
    alice.cancel().await;
    assert_eq!(*fake.cancelled.lock(), [pid]);

    alice.key.release(server);
    let bob = pool.checkout(&None, 1).await.unwrap();
    assert_eq!(bob.process_id(), pid);
    alice.cancel().await;
    assert_eq!(*fake.cancelled.lock(), [pid]);
}

#[tokio::test]
async fn a_connection_is_reserved_while_a_cancel_is_on_its_way() {
    let (fake, pool) = one_pool(settings(1));
    let gate = Arc::new(Notify::new());
    *fake.cancel_gate.lock() = Some(Arc::clone(&gate));
    let alice = client(&fake, false);
    let server = alice.key.checkout(&pool, &None, 1).await.unwrap();
    let id = server.id();
    let cancel = tokio::spawn(alice.cancel());
    tokio::task::yield_now().await;
    alice.key.release(server);
    let bob = tokio::spawn({
        let pool = pool.clone();
        async move { pool.checkout(&None, 1).await }
    });
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(!bob.is_finished());
    assert_eq!(pool.stats().waiting, 1);
    gate.notify_one();
    cancel.await.unwrap();
    assert_eq!(bob.await.unwrap().unwrap().id(), id);
}

#[tokio::test]
async fn a_cancel_ends_the_wait_for_a_connection() {
    let (fake, pool) = one_pool(settings(1));
    let held = pool.checkout(&None, 1).await.unwrap();
    let alice = Arc::new(client(&fake, false));
    for _ in 0..2 {
        let waiter = tokio::spawn({
            let (pool, alice) = (pool.clone(), Arc::clone(&alice));
            async move { alice.key.checkout(&pool, &None, 1).await }
        });
        eventually("alice waits", || pool.stats().waiting == 1).await;
        alice.cancel().await;
        let error = waiter.await.unwrap().unwrap_err();
        assert_eq!(error.code, SqlState::QUERY_CANCELED);
        assert_eq!(pool.stats().waiting, 0);
    }
    // Nothing is left over of it for the next statement.
    held.release();
    assert!(alice.key.checkout(&pool, &None, 1).await.is_ok());
    assert!(fake.cancelled.lock().is_empty());
}

#[tokio::test]
async fn a_cancel_counts_even_if_a_connection_comes_at_the_same_moment() {
    let (fake, pool) = one_pool(settings(1));
    let held = pool.checkout(&None, 1).await.unwrap();
    let alice = Arc::new(client(&fake, false));
    let waiter = tokio::spawn({
        let (pool, alice) = (pool.clone(), Arc::clone(&alice));
        async move { alice.key.checkout(&pool, &None, 1).await }
    });
    eventually("alice waits", || pool.stats().waiting == 1).await;
    // Both before alice's task runs again.
    let cancel = alice.cancel();
    held.release();
    assert_eq!(waiter.await.unwrap().unwrap_err().code, SqlState::QUERY_CANCELED);
    cancel.await;
    assert_eq!(pool.stats().idle, 1);
    assert!(fake.cancelled.lock().is_empty());
}

#[tokio::test]
async fn a_flood_of_cancels_opens_few_connections() {
    let (fake, pool) = one_pool(settings(1));
    let gate = Arc::new(Notify::new());
    *fake.cancel_gate.lock() = Some(Arc::clone(&gate));
    let alice = client(&fake, false);
    let server = alice.key.checkout(&pool, &None, 1).await.unwrap();
    let flood: Vec<_> = (0..50).map(|_| tokio::spawn(alice.cancel())).collect();
    tokio::task::yield_now().await;
    gate.notify_waiters();
    for cancel in flood {
        cancel.await.unwrap();
    }
    assert_eq!(fake.cancelled.lock().len(), 2);
    drop(server);
}
