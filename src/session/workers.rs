//! The threads that serve clients: a single-threaded runtime each. A client stays on the worker that it was given to, and
//! its server connection comes there with it, so that nothing is handed from thread to thread on a statement's way.
//!
//! Everything else (catalogs, connecting to upstreams, housekeeping) runs on the runtime that starts the workers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// All workers. When the last handle is dropped they end, with whatever still runs on them.
#[derive(Debug)]
pub struct Workers {
    list: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    clients: Arc<AtomicUsize>,
    /// Dropped: the thread ends.
    _running: Option<oneshot::Sender<()>>,
}

/// A client's place on a worker; free again when dropped.
#[derive(Debug)]
pub struct Placement {
    runtime: Handle,
    clients: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts so many threads (at least one).
    ///
    /// # Errors
    /// What the system says if it has no threads or file descriptors for them.
    pub fn start(count: usize) -> io::Result<Self> {
        (0..count.max(1)).map(Worker::start).collect::<io::Result<Vec<_>>>().map(|list| Self { list })
    }

    /// A place on the worker that has the fewest clients.
    pub fn place(&self) -> Placement {
        let least = self.list.iter().min_by_key(|worker| worker.clients.load(Ordering::Relaxed));
        match least {
            Some(worker) => {
                worker.clients.fetch_add(1, Ordering::Relaxed);
                Placement { runtime: worker.runtime.clone(), clients: Arc::clone(&worker.clients) }
            }
            // Cannot be: there is at least one.
            None => Placement { runtime: Handle::current(), clients: Arc::default() },
        }
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            // An error is the end, too.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { runtime: handle, clients: Arc::default(), _running: Some(running) })
    }
}

impl Placement {
    /// Where to spawn the client's task, and to register its socket.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl Drop for Placement {
    fn drop(&mut self) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_spread_evenly() {
        let workers = Workers::start(3).unwrap();
        let mut places: Vec<_> = (0..9).map(|_| workers.place()).collect();
        let on = |worker: &Worker| places.iter().filter(|place| place.runtime.id() == worker.runtime.id()).count();
        assert_eq!(workers.list.iter().map(on).collect::<Vec<_>>(), [3, 3, 3]);
        let left = places.remove(4).runtime.id();
        assert_eq!(workers.place().runtime.id(), left);
    }

    #[test]
    fn tasks_run_on_the_workers_thread_and_end_with_it() {
        let workers = Workers::start(1).unwrap();
        let place = workers.place();
        let (tell, told) = std::sync::mpsc::channel();
        let (ended, end) = oneshot::channel::<()>();
        place.runtime().spawn(async move {
            tell.send(std::thread::current().name().map(str::to_owned)).unwrap();
            std::future::pending::<()>().await;
            drop(ended);
        });
        assert_eq!(told.recv().unwrap().as_deref(), Some("worker-0"));
        drop(workers);
        assert!(end.blocking_recv().is_err());
    }
}
