//! Buffers that nobody uses at the moment, kept by each thread: idle sessions hold none, and busy ones need not ask the
//! allocator for each statement.

use std::cell::RefCell;

use bytes::BytesMut;

/// So many are kept, by each thread.
const KEPT: usize = 64;
/// Bytes of room that one has at least when it is taken.
const ROOM: usize = 512;
/// One with more room is not kept.
const ROOM_MAX: usize = 16 << 10;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Gives a buffer some room, if it has none.
pub fn fill(buffer: &mut BytesMut) {
    if buffer.capacity() == 0 {
        *buffer = take();
    }
}

fn take() -> BytesMut {
    let mut buffer = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
    buffer.reserve(ROOM);
    buffer
}

/// Takes what a buffer holds its bytes in, for others.
pub fn give(buffer: &mut BytesMut) {
    let mut buffer = std::mem::take(buffer);
    if (1..=ROOM_MAX).contains(&buffer.capacity()) {
        buffer.clear();
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < KEPT {
                spare.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_unless_they_are_large() {
        let mut buffer = take();
        buffer.extend_from_slice(b"hello");
        let place = buffer.as_ptr();
        give(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        let again = take();
        assert!(again.is_empty() && again.as_ptr() == place);
        let mut large = BytesMut::with_capacity(ROOM_MAX + 1);
        let place = large.as_ptr();
        give(&mut large);
        assert!(take().as_ptr() != place);
    }
}
