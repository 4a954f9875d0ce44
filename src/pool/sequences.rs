//! Whose numbers a server connection remembers.
//!
//! `lastval` and `currval` tell what the server's session drew from sequences last, whoever the client was. A client may ask
//! only where all that is remembered is its own.

use std::sync::atomic::{AtomicU64, Ordering};

/// One client's memory on one server connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawer(u64);

impl Drawer {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a server connection remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SequenceMemory {
    /// Nothing: it is new, or was emptied.
    #[default]
    Empty,
    /// What one client drew.
    Of(Drawer),
    /// What nobody in particular drew.
    Mixed,
}

/// Where what a client drew is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drawn {
    /// It drew nothing.
    #[default]
    Nothing,
    /// On the server connection that remembers this.
    At(Drawer),
    /// Nowhere any more.
    Lost,
}

impl SequenceMemory {
    /// The client draws, or may.
    pub fn draw(&mut self, drawn: &mut Drawn) {
        *self = match (*self, *drawn) {
            (Self::Empty, _) => Self::Of(Drawer::new()),
            (Self::Of(here), Drawn::At(there)) if here == there => return,
            (Self::Of(_) | Self::Mixed, _) => Self::Mixed,
        };
        *drawn = match *self {
            Self::Of(here) => Drawn::At(here),
            Self::Empty | Self::Mixed => Drawn::Lost,
        };
    }

    /// Whether all that is remembered is what this client drew, and the last of it.
    pub fn is_of(self, drawn: Drawn) -> bool {
        match (self, drawn) {
            (Self::Of(here), Drawn::At(there)) => here == there,
            (Self::Of(_) | Self::Empty | Self::Mixed, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_asks_only_for_its_own() {
        let (mut one, mut two) = (SequenceMemory::Empty, SequenceMemory::Empty);
        let (mut a, mut b) = (Drawn::Nothing, Drawn::Nothing);
        one.draw(&mut a);
        assert!(one.is_of(a) && !one.is_of(b) && !two.is_of(a));
        one.draw(&mut a);
        assert!(one.is_of(a));
        // Another one draws there: nobody's any more.
        one.draw(&mut b);
        assert!(!one.is_of(a) && !one.is_of(b));
        assert_eq!(b, Drawn::Lost);
        // What is drawn elsewhere is the last; what is left behind is not.
        one = SequenceMemory::Empty;
        one.draw(&mut a);
        two.draw(&mut a);
        assert!(two.is_of(a) && !one.is_of(a));
        one.draw(&mut a);
        assert!(!one.is_of(a) && !two.is_of(a));
        assert!(!SequenceMemory::Empty.is_of(Drawn::Nothing) && !SequenceMemory::Mixed.is_of(Drawn::Lost));
    }
}
