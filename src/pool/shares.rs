//! What each tenant may have of a pool's connections: a guaranteed minimum, a maximum.
//!
//! Only tenants that have one of the two are counted; where nobody has, nothing is.

use std::collections::HashMap;

use super::queue::Party;
use crate::config::Share;

/// The connections of those who have a minimum or a maximum.
#[derive(Debug, Default)]
pub(super) struct Shares {
    parties: HashMap<Party, Use>,
    /// Connections that are guaranteed to somebody who does not use them now.
    reserved: usize,
}

#[derive(Debug)]
struct Use {
    used: usize,
    share: Share,
}

impl Use {
    fn reserved(&self) -> usize {
        self.share.min.saturating_sub(self.used)
    }
}

impl Shares {
    /// Whether nobody has a minimum or maximum.
    pub fn is_empty(&self) -> bool {
        self.parties.is_empty()
    }

    /// A party asks for a connection and says what it may have, which a reload may have changed. A guarantee begins here.
    pub fn introduce(&mut self, party: &Party, share: Share) {
        match self.parties.get_mut(party) {
            Some(known) if known.share == share => {}
            Some(known) => {
                self.reserved -= known.reserved();
                known.share = share;
                self.reserved += known.reserved();
                self.forget_if_idle(party);
            }
            None if share.is_bounded() => {
                self.reserved += share.min;
                self.parties.insert(party.clone(), Use { used: 0, share });
            }
            None => {}
        }
    }

    /// Whether a party may take one of `free` connections, those that nobody has.
    pub fn may_take(&self, party: &Party, free: usize) -> bool {
        match self.parties.get(party) {
            Some(own) if own.share.max.is_some_and(|max| own.used >= max) => false,
            Some(own) if own.used < own.share.min => free > 0,
            Some(_) | None => free > self.reserved,
        }
    }

    /// A party has taken a connection. Returns whether that is counted: [`Shares::give_back`] is to be called then.
    pub fn take(&mut self, party: &Party) -> bool {
        let Some(own) = self.parties.get_mut(party) else { return false };
        self.reserved -= own.reserved();
        own.used += 1;
        self.reserved += own.reserved();
        true
    }

    /// A party has given a connection back.
    pub fn give_back(&mut self, party: &Party) {
        if let Some(own) = self.parties.get_mut(party) {
            self.reserved -= own.reserved();
            own.used = own.used.saturating_sub(1);
            self.reserved += own.reserved();
            self.forget_if_idle(party);
        }
    }

    /// A maximum matters only while connections are held.
    fn forget_if_idle(&mut self, party: &Party) {
        if self.parties.get(party).is_some_and(|own| own.used == 0 && own.share.min == 0) {
            self.parties.remove(party);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TenantName;

    fn party(name: &str) -> Party {
        Some(TenantName::new(name))
    }

    fn share(min: usize, max: Option<usize>) -> Share {
        Share { min, max, ..Share::default() }
    }

    #[test]
    fn a_guarantee_is_kept_free() {
        let mut shares = Shares::default();
        let (quiet, noisy) = (party("quiet"), party("noisy"));
        shares.introduce(&quiet, share(2, None));
        shares.introduce(&noisy, share(0, None));
        assert!(shares.may_take(&noisy, 3) && !shares.may_take(&noisy, 2));
        assert!(!shares.take(&noisy));
        assert!(shares.may_take(&quiet, 1));
        assert!(shares.take(&quiet));
        assert!(shares.may_take(&noisy, 2) && !shares.may_take(&noisy, 1));
        assert!(shares.take(&quiet) && shares.may_take(&noisy, 1));
        // Above its minimum it is like everybody.
        assert!(shares.may_take(&quiet, 1) && !shares.may_take(&quiet, 0));
        shares.give_back(&quiet);
        assert!(!shares.may_take(&noisy, 1));
        // The guarantee is withdrawn.
        shares.introduce(&quiet, share(0, None));
        assert!(shares.may_take(&noisy, 1));
    }

    #[test]
    fn a_maximum_is_kept() {
        let mut shares = Shares::default();
        let noisy = party("noisy");
        shares.introduce(&noisy, share(0, Some(2)));
        assert!(shares.take(&noisy) && shares.may_take(&noisy, 9));
        assert!(shares.take(&noisy) && !shares.may_take(&noisy, 9));
        shares.give_back(&noisy);
        assert!(shares.may_take(&noisy, 9));
        shares.give_back(&noisy);
        assert!(shares.is_empty());
    }
}
