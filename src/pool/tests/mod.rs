//! The pool against upstreams that exist only in memory.

mod cancelling;
mod checkout;
mod real;
mod sharing;
mod trouble;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use super::*;
use crate::base::{TenantName, UpstreamName};
use crate::config::{Address, PoolSettings, Share};
use crate::wire::backend::TransactionStatus;
use crate::wire::conn::Conn;
use crate::wire::encode::backend;
use crate::wire::frame::AnyTag;
use crate::wire::tls::{ClientTls, TlsMode};

/// How the imagined upstream behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Up,
    Down,
    Silent,
    Panicking,
}

/// One connection, seen from the upstream.
#[derive(Debug)]
struct Backend {
    task: AbortHandle,
    words: UnboundedSender<BytesMut>,
}

/// An upstream in memory: each connection is a task that answers every Query with success.
#[derive(Debug, Default)]
struct Fake {
    mood: Mutex<Mood>,
    attempts: AtomicUsize,
    backends: Mutex<HashMap<u32, Backend>>,
    queries: Mutex<Vec<String>>,
    cancelled: Mutex<Vec<u32>>,
    /// A cancel request takes until this rings, if it is there.
    cancel_gate: Mutex<Option<Arc<Notify>>>,
}

impl Fake {
    fn attempts(&self) -> usize {
        self.attempts.load(Ordering::SeqCst)
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }

    fn kill(&self, pid: u32) {
        self.backends.lock().remove(&pid).unwrap().task.abort();
    }

    /// Sends what nobody asked for.
    fn say(&self, pid: u32, words: BytesMut) {
        self.backends.lock()[&pid].words.send(words).unwrap();
    }
}

/// The connector's handle on it.
#[derive(Clone, Debug, Default)]
struct FakeConnector(Arc<Fake>);

async fn serve(fake: Arc<Fake>, socket: UnixStream, mut words: UnboundedReceiver<BytesMut>) {
    let mut conn = Conn::new(socket);
    loop {
        tokio::select! {
            Some(said) = words.recv() => conn.outbox.unsplit(said),
            frame = conn.next_frame(&AnyTag(10_000)) => match frame {
                Ok(frame) if frame.tag() == b'Q' => {
                    fake.queries.lock().push(String::from_utf8_lossy(frame.body()).into_owned());
                    backend::command_complete(&mut conn.outbox, "DISCARD ALL").unwrap();
                    backend::ready_for_query(&mut conn.outbox, TransactionStatus::Idle);
                }
                _ => return,
            },
        }
        if conn.flush().await.is_err() {
            return;
        }
    }
}

impl Connector for FakeConnector {
    fn connect(&self, target: Arc<ServerTarget>) -> Boxed<Result<Connection, ConnectError>> {
        let fake = Arc::clone(&self.0);
        Box::pin(async move {
            let pid = u32::try_from(fake.attempts.fetch_add(1, Ordering::SeqCst)).unwrap() + 1;
            tokio::task::yield_now().await;
            let mood = *fake.mood.lock();
            match mood {
                Mood::Up => {}
                Mood::Down => return Err(ConnectError::Socket(io::ErrorKind::ConnectionRefused.into())),
                Mood::Silent => std::future::pending().await,
                Mood::Panicking => panic!("a connector that panics"),
            }
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (words, said) = unbounded_channel();
            let task = tokio::spawn(serve(Arc::clone(&fake), theirs, said)).abort_handle();
            fake.backends.lock().insert(pid, Backend { task, words });
            Ok(Connection {
                conn: Conn::new(ours),
                parameters: BTreeMap::new(),
                cancel: CancelTarget::new(target, None, pid, &[1, 2, 3, 4]),
            })
        })
    }

    fn cancel(&self, server: Arc<CancelTarget>) -> Boxed<Result<(), ConnectError>> {
        let fake = Arc::clone(&self.0);
        Box::pin(async move {
            let gate = fake.cancel_gate.lock().clone();
            if let Some(gate) = gate {
                gate.notified().await;
            }
            fake.cancelled.lock().push(server.process_id());
            Ok(())
        })
    }
}

fn settings(size: usize) -> PoolSettings {
    PoolSettings { size, wait_timeout: Duration::from_secs(20), ..PoolSettings::default() }
}

pub(super) fn target(name: &str) -> ServerTarget {
    ServerTarget {
        upstream: UpstreamName::new(name),
        address: Address::Unix("/nowhere".into()),
        database: "app".to_owned(),
        user: "app".to_owned(),
        password: None,
        tls: ClientTls::new(TlsMode::Disable, None).unwrap(),
        trust: (TlsMode::Disable, None),
        settings: Vec::new(),
        protocol_3_2: false,
        connect_timeout: Duration::from_millis(300),
    }
}

struct World {
    fake: Arc<Fake>,
    pools: Pools,
}

impl World {
    fn new(cap: usize) -> Self {
        let connector = FakeConnector::default();
        let fake = Arc::clone(&connector.0);
        let pools = Pools::new(Arc::new(connector), cap);
        Self { fake, pools }
    }

    fn pool(&self, name: &str, settings: PoolSettings) -> Pool {
        let target = target(name);
        self.pools.get(&PoolKey::of(&target), || (target.clone(), settings))
    }
}

/// One pool with an upstream of its own.
fn one_pool(settings: PoolSettings) -> (Arc<Fake>, Pool) {
    let world = World::new(100);
    let pool = world.pool("main", settings);
    (world.fake, pool)
}

fn party(name: &str) -> Party {
    Some(TenantName::new(name))
}

/// Waits until something holds, at most five seconds.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..5000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never came true: {what}");
}
