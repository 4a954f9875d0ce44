//! A wire between pgwarden and the usage table that can be cut at the worst moment.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Passes on all bytes, but for answers to the next `cuts` COMMITs: the connection is closed instead.
pub struct Relay {
    pub port: u16,
    pub cuts: Arc<AtomicUsize>,
}

impl Relay {
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let cuts = Arc::new(AtomicUsize::new(0));
        let shared = Arc::clone(&cuts);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let cuts = Arc::clone(&shared);
                let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from_server, &mut to_client);
                    let _ = to_client.shutdown(Shutdown::Both);
                });
                std::thread::spawn(move || pass(client, server, &cuts));
            }
        });
        Self { port, cuts }
    }
}

fn pass(mut client: TcpStream, mut server: TcpStream, cuts: &AtomicUsize) {
    let mut buffer = [0; 64 << 10];
    while let Ok(count) = client.read(&mut buffer) {
        if count == 0 {
            break;
        }
        let commits = buffer[..count].windows(7).any(|it| it == b"COMMIT\0");
        let cut = commits && cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if cut {
            // The client never reads what the server answers.
            let _ = client.shutdown(Shutdown::Both);
        }
        if server.write_all(&buffer[..count]).is_err() {
            break;
        }
        if cut {
            // The server has committed by then.
            std::thread::sleep(Duration::from_millis(300));
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}
