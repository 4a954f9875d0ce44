//! Upstreams that do not keep to the protocol.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::message;

/// Listens on a port of 127.0.0.1 for as long as the process lives, and hands each connection to a thread.
fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

fn untagged(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; (u32::from_be_bytes(length) as usize).checked_sub(4)?];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

fn tagged(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut tag = [0; 1];
    stream.read_exact(&mut tag).ok()?;
    untagged(stream).map(|body| (tag[0], body))
}

/// The startup packet; requests for encryption are denied.
fn startup(stream: &mut TcpStream) -> Option<Vec<u8>> {
    loop {
        let body = untagged(stream)?;
        match u32::from_be_bytes(*body.first_chunk()?) {
            80_877_103 | 80_877_104 => stream.write_all(b"N").ok()?,
            _ => return Some(body),
        }
    }
}

/// A server that offers SCRAM and answers the client's first message, given its nonce, with these frames.
pub fn challenger(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> u16 {
    listen(move |mut stream| {
        let mut talk = || {
            startup(&mut stream)?;
            stream.write_all(&message::frame(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")).ok()?;
            let (_, first) = tagged(&mut stream)?;
            let first = String::from_utf8_lossy(&first).into_owned();
            stream.write_all(&answer(first.rsplit_once("r=")?.1)).ok()?;
            // Until the other side has had enough.
            while tagged(&mut stream).is_some() {}
            Some(())
        };
        talk();
    })
}

/// A server that answers the startup packet with these bytes.
pub fn greeter(answer: Vec<u8>) -> u16 {
    listen(move |mut stream| {
        if startup(&mut stream).is_some() && stream.write_all(&answer).is_ok() {
            while tagged(&mut stream).is_some() {}
        }
    })
}

/// The server on this port, whose ErrorResponses (their bodies) go through a function first.
pub fn meddler(server: u16, change: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> u16 {
    listen(move |mut client| {
        let Some(first) = startup(&mut client) else { return };
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)) else { return };
        let _ = server.write_all(&message::untagged(&first));
        let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let forward = std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_client, &mut to_server);
            let _ = to_server.shutdown(Shutdown::Both);
        });
        while let Some((tag, body)) = tagged(&mut server) {
            let body = if tag == b'E' { change(body) } else { body };
            if client.write_all(&message::frame(tag, &body)).is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = forward.join();
    })
}

/// The server on this port, behind a pooler that hands connections on as they are: a client that leaves a batch without its
/// Sync leaves one that skips messages, and the next client's Query is never answered.
pub fn careless(server: u16) -> u16 {
    let skipping = AtomicUsize::new(0);
    listen(move |mut client| {
        let Some(first) = startup(&mut client) else { return };
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)) else { return };
        let _ = server.write_all(&message::untagged(&first));
        let (mut to_client, mut from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let answers = std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_server, &mut to_client);
            let _ = to_client.shutdown(Shutdown::Both);
        });
        let (mut in_batch, mut is_stuck) = (false, false);
        while let Some((tag, body)) = tagged(&mut client) {
            match tag {
                b'P' | b'B' | b'E' => in_batch = true,
                b'S' => (in_batch, is_stuck) = (false, false),
                b'Q' if !in_batch => {
                    is_stuck |=
                        skipping.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1)).is_ok()
                }
                _ => {}
            }
            if !is_stuck && server.write_all(&message::frame(tag, &body)).is_err() {
                break;
            }
        }
        if in_batch {
            skipping.fetch_add(1, Ordering::SeqCst);
        }
        let _ = server.shutdown(Shutdown::Both);
        let _ = answers.join();
    })
}
