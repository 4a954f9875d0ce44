//! What all clients together can make pgwarden hold is bounded, before they have logged in and afterwards.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::lab::Lab;
use crate::support::message::{bind, execute, lying_frame, parse, query, sync};
use crate::support::proxy::{Proxy, Setup};
use crate::support::session::{Session, open};

fn proxy(listen: &str) -> Proxy {
    Proxy::start(Lab::general(), &Setup { listen: listen.to_owned(), ..Setup::default() })
}

/// `SELECT length(...)` of so many bytes.
fn long(bytes: usize) -> Vec<u8> {
    query(format!("SELECT length('{}')", "x".repeat(bytes)))
}

/// Begins a Query of so many bytes and sends so much of it.
fn begin(session: &mut Session, declared: u32, sent: usize) {
    session.send(&lying_frame(b'Q', b"", declared));
    session.send(&vec![b' '; sent]);
}

#[test]
fn messages_that_are_not_whole_wait_in_memory_of_a_fixed_size() {
    let proxy = proxy("buffer_memory = \"64MB\"");
    let mut quick = proxy.a().connect();
    quick.simple("SELECT 1").ok();
    let before = proxy.resident_kib();
    let (declared, clients) = (15 << 20, 30_usize);
    let senders: Vec<_> = (0..clients)
        .map(|_| {
            let end = proxy.a();
            std::thread::spawn(move || {
                let mut session = end.connect();
                // All but the last bytes, as far as they are taken.
                std::thread::spawn(move || begin(&mut session, declared, (declared - 100) as usize));
            })
        })
        .collect();
    for sender in senders {
        sender.join().unwrap();
    }
    let mut most = 0;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        most = most.max(proxy.resident_kib().saturating_sub(before));
        // Whoever sends short messages does not notice.
        let sent = Instant::now();
        quick.simple("SELECT 1").ok();
        assert!(sent.elapsed() < Duration::from_secs(2), "{:?}", sent.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{clients} messages of 15 MB: {} MB more", most >> 10);
    assert!(most < 96 << 10, "{} MB", most >> 10);
}

#[test]
fn a_message_longer_than_all_the_memory_comes_through_alone() {
    let proxy = proxy("buffer_memory = \"1MB\"");
    let mut sessions: Vec<_> = (0..4).map(|_| proxy.a().connect()).collect();
    let senders: Vec<_> = sessions
        .drain(..)
        .map(|mut session| {
            std::thread::spawn(move || {
                session.send(&long(3 << 20));
                let reply = session.collect_within(1, Duration::from_secs(60));
                assert_eq!(reply.ok().value(), (3 << 20).to_string());
            })
        })
        .collect();
    for sender in senders {
        sender.join().unwrap();
    }
}

/// Room is for one message: a longer one that is sent along with it asks for its own.
#[test]
fn longer_messages_behind_long_ones_come_through() {
    let proxy = proxy("buffer_memory = \"1MB\"");
    let value = "x".repeat(700_000);
    let sql = format!("SELECT length($1::text) {}", " ".repeat(100_000));
    let batch = [parse("", &sql, &[]), bind("", "", &[Some(value.as_str())], &[]), execute("", 0), sync()];
    let queries = [long(70_000), long(200_000), long(150_000), long(3 << 20)];
    let senders: Vec<_> = (0..3)
        .map(|_| {
            let mut session = proxy.a().connect();
            let (batch, queries) = (batch.concat(), queries.concat());
            std::thread::spawn(move || {
                session.send(&batch);
                assert_eq!(session.collect(1).ok().value(), "700000");
                session.send(&queries);
                assert_eq!(session.collect(4).ok().first_column().len(), 4);
            })
        })
        .collect();
    for sender in senders {
        sender.join().unwrap();
    }
}

#[test]
fn a_message_that_does_not_come_in_gives_way_to_those_that_do() {
    let proxy = proxy("buffer_memory = \"1MB\"");
    let mut stuck = proxy.a().connect();
    begin(&mut stuck, 400 << 10, 200 << 10);
    std::thread::sleep(Duration::from_millis(300));
    let mut b = proxy.b().connect();
    let begun = Instant::now();
    b.send(&long(400 << 10));
    assert_eq!(b.collect_within(1, Duration::from_secs(30)).ok().value(), (400 << 10).to_string());
    let waited = begun.elapsed();
    assert!(waited > Duration::from_secs(5), "{waited:?}");
    let reply = stuck.collect_within(1, Duration::from_secs(5));
    assert!(reply.closed, "{}", reply.text());
    reply.refused("53200");
}

#[test]
fn sockets_before_login_take_no_place_of_clients() {
    let proxy = proxy("max_connections = 3\nmax_logins = 5");
    let silent: Vec<TcpStream> = (0..40)
        .map(|n| {
            let mut socket = open(proxy.port);
            if n % 2 == 0 {
                // Half of a startup packet; it may have been closed already.
                let _ = socket.write_all(&[0, 0, 0, 80, 0, 3]);
            }
            socket
        })
        .collect();
    let begun = Instant::now();
    let mut clients: Vec<_> = (0..3).map(|_| proxy.a().connect()).collect();
    println!("three logins behind {} silent sockets: {:?}", silent.len(), begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(13), "{:?}", begun.elapsed());
    for client in &mut clients {
        client.simple("SELECT 1").ok();
    }
    let (_, reply) = proxy.a().try_connect();
    reply.refused("53300");
    drop(clients.pop());
    let deadline = Instant::now() + Duration::from_secs(5);
    while proxy.a().try_connect().1.closed {
        assert!(Instant::now() < deadline, "a place that is free is not given");
        std::thread::sleep(Duration::from_millis(50));
    }
}
