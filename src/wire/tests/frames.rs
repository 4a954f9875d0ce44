use std::time::Duration;

use bytes::BytesMut;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::wire::stream::Keepalive;
use crate::wire::{Conn, ConnError};

use crate::wire::error::WireError;
use crate::wire::frame::{
    AnyTag, ClientLimits, Head, LoginLimits, PASSWORD_LIMIT, UpstreamLimits, peek_head, take_body_part, take_frame,
};

#[test]
fn a_head_needs_five_bytes_and_a_frame_all_of_it() {
    let bytes = b"Q\x00\x00\x00\x0dSELECT 1\0S\x00\x00\x00\x04";
    let limits = ClientLimits::default();
    for end in 0..5 {
        assert_eq!(peek_head(&bytes[..end], &limits), Ok(None));
    }
    assert_eq!(peek_head(&bytes[..5], &limits), Ok(Some(Head { tag: b'Q', body: 9 })));
    let mut buffer = BytesMut::from(&bytes[..13]);
    assert_eq!(take_frame(&mut buffer, &limits), Ok(None));
    buffer.extend_from_slice(&bytes[13..]);
    let query = take_frame(&mut buffer, &limits).unwrap().unwrap();
    assert_eq!((query.tag(), query.body()), (b'Q', &b"SELECT 1\0"[..]));
    let sync = take_frame(&mut buffer, &limits).unwrap().unwrap();
    assert_eq!((sync.tag(), sync.body(), sync.bytes()), (b'S', &b""[..], &b"S\x00\x00\x00\x04"[..]));
    assert!(buffer.is_empty());
}

#[test]
fn wrong_lengths_are_refused_before_the_body_comes() {
    let limits = ClientLimits { statement: 100, ..ClientLimits::default() };
    let head = |tag: u8, length: u32| {
        let mut bytes = vec![tag];
        bytes.extend(length.to_be_bytes());
        bytes
    };
    assert_eq!(peek_head(&head(b'Q', 3), &limits), Err(WireError::BadLength { tag: b'Q', length: 3 }));
    assert_eq!(peek_head(&head(b'Q', 100), &limits), Ok(Some(Head { tag: b'Q', body: 96 })));
    let too_long =
        |tag, length: u32, limit: u32| WireError::TooLong { tag, length: length.into(), limit: limit.into() };
    assert_eq!(peek_head(&head(b'Q', 101), &limits), Err(too_long(b'Q', 101, 100)));
    assert_eq!(peek_head(&head(b'S', u32::MAX), &limits), Err(too_long(b'S', u32::MAX, 10_000)));
    assert_eq!(
        peek_head(&head(b'p', PASSWORD_LIMIT + 1), &LoginLimits(PASSWORD_LIMIT)),
        Err(too_long(b'p', PASSWORD_LIMIT + 1, PASSWORD_LIMIT))
    );
    // Password messages have no place after the login, and queries none before its end.
    assert_eq!(peek_head(&head(b'p', 8), &limits), Err(WireError::UnknownTag(b'p')));
    assert_eq!(peek_head(b"Q", &LoginLimits(PASSWORD_LIMIT)), Err(WireError::UnknownTag(b'Q')));
    assert_eq!(peek_head(&head(b'D', 1 << 29), &UpstreamLimits).unwrap().unwrap().frame_len(), (1 << 29) + 1);
    assert!(peek_head(&head(b'E', 1 << 29), &UpstreamLimits).is_err());
}

#[test]
fn a_large_frame_passes_in_parts() {
    let mut buffer = BytesMut::from(&b"d\x00\x00\x00\x0aabc"[..]);
    let mut left = peek_head(&buffer, &ClientLimits::default()).unwrap().unwrap().frame_len();
    assert_eq!(take_body_part(&mut buffer, &mut left), &b"d\x00\x00\x00\x0aabc"[..]);
    assert_eq!(left, 3);
    buffer.extend_from_slice(b"defS");
    assert_eq!(take_body_part(&mut buffer, &mut left), &b"def"[..]);
    assert_eq!((left, &buffer[..]), (0, &b"S"[..]));
}

proptest! {
    #[test]
    fn taking_frames_from_any_bytes_ends_and_loses_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut buffer = BytesMut::from(&bytes[..]);
        let mut taken = Vec::new();
        while let Ok(Some(frame)) = take_frame(&mut buffer, &AnyTag(64)) {
            prop_assert!(frame.bytes().len() <= 65);
            taken.extend_from_slice(frame.bytes());
        }
        taken.extend_from_slice(&buffer);
        prop_assert_eq!(taken, bytes);
    }
}

#[tokio::test]
async fn a_declared_length_costs_no_memory() {
    let (mut peer, ours) = UnixStream::pair().unwrap();
    let mut conn = Conn::new(ours);
    // A row of 512 MiB, of which ten bytes come.
    peer.write_all(b"D\x20\x00\x00\x00").await.unwrap();
    peer.write_all(&[0; 10]).await.unwrap();
    peer.shutdown().await.unwrap();
    assert!(matches!(conn.next_frame(&UpstreamLimits).await, Err(ConnError::Closed)));
    assert_eq!(conn.inbox.len(), 15);
    assert!(conn.inbox.capacity() < 64 << 10, "{}", conn.inbox.capacity());
}

#[tokio::test]
async fn an_interrupted_read_loses_nothing() {
    let (mut peer, ours) = UnixStream::pair().unwrap();
    let mut conn = Conn::new(ours);
    peer.write_all(b"Z\0\0\0").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(20), conn.next_frame(&UpstreamLimits)).await;
    assert!(early.is_err());
    peer.write_all(b"\x05I").await.unwrap();
    assert_eq!(conn.next_frame(&UpstreamLimits).await.unwrap().bytes(), b"Z\0\0\0\x05I");
}

#[tokio::test]
async fn keepalive_reaches_the_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let keepalive = Keepalive { idle: Some(Duration::from_secs(77)), ..Keepalive::default() };
    keepalive.apply(&socket).unwrap();
    assert!(socket.nodelay().unwrap());
    let socket = socket2::SockRef::from(&socket);
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(77));
}
