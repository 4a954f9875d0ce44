//! What each tenant may have of a pool's connections: a guaranteed minimum, a maximum, and where tenants share the pool never all
//! of it: some are kept for tenants that have none.
//!
//! Only those are counted that something of this holds for.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::queue::Party;
use crate::config::Share;

/// The connections of those who have a minimum or a maximum.
#[derive(Debug, Default)]
pub(super) struct Shares {
    parties: HashMap<Party, Use, RandomState>,
    /// Connections that are guaranteed to somebody who does not use them now.
    reserved: usize,
    /// Connections that are kept for those who have none.
    kept: usize,
    /// Parties that have no connection and no bounds: only remembered, as they will soon have one again.
    idle: usize,
}

/// So many idle parties are remembered at least.
const REMEMBERED: usize = 64;

#[derive(Debug)]
struct Use {
    used: usize,
    share: Share,
}

impl Use {
    fn reserved(&self) -> usize {
        self.share.min.saturating_sub(self.used)
    }

    /// It is as if it was not known.
    fn is_idle(&self) -> bool {
        self.used == 0 && !self.share.is_bounded()
    }
}

impl Shares {
    /// With so many connections kept for those who have none.
    pub fn keeping(kept: usize) -> Self {
        Self { kept, ..Self::default() }
    }

    /// So many from now on.
    pub fn keep(&mut self, kept: usize) {
        self.kept = kept;
    }

    /// Whether anybody may have whatever is free.
    pub fn is_empty(&self) -> bool {
        self.parties.len() == self.idle
    }

    /// Whether it need not be told of who takes a connection.
    pub fn counts_nobody(&self) -> bool {
        self.is_empty() && self.kept == 0
    }

    /// A party asks for a connection and says what it may have, which a reload may have changed. A guarantee begins here.
    pub fn introduce(&mut self, party: &Party, share: Share) {
        match self.parties.get_mut(party) {
            Some(known) if known.share == share => {}
            Some(known) => {
                self.reserved -= known.reserved();
                self.idle -= usize::from(known.is_idle());
                known.share = share;
                self.idle += usize::from(known.is_idle());
                self.reserved += known.reserved();
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
            Some(own) if own.used > 0 && own.share.in_common => free > self.reserved + self.kept,
            Some(_) | None => free > self.reserved,
        }
    }

    /// A party has taken a connection. Returns whether that is counted: [`Shares::give_back`] is to be called then.
    pub fn take(&mut self, party: &Party, share: Share) -> bool {
        let counts = share.in_common && self.kept > 0;
        let Some(own) = self.parties.get_mut(party) else {
            if counts {
                self.parties.insert(party.clone(), Use { used: 1, share });
            }
            return counts;
        };
        self.reserved -= own.reserved();
        if own.is_idle() {
            if !counts {
                return false;
            }
            self.idle -= 1;
            own.share = share;
        }
        own.used += 1;
        self.reserved += own.reserved();
        true
    }

    /// A party has given a connection back. All but a minimum matters only while connections are held.
    pub fn give_back(&mut self, party: &Party) {
        let Some(own) = self.parties.get_mut(party).filter(|own| own.used > 0) else { return };
        self.reserved -= own.reserved();
        own.used -= 1;
        self.reserved += own.reserved();
        if own.is_idle() {
            self.idle += 1;
            self.forget_some();
        } else if own.used == 0 && own.share.min == 0 {
            self.parties.remove(party);
        }
    }

    /// Most who give a connection back have another one soon; of the others not many more are remembered than of those who have one.
    fn forget_some(&mut self) {
        if self.idle > REMEMBERED && self.idle > self.parties.len() / 2 {
            self.parties.retain(|_, own| !own.is_idle());
            self.idle = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::TenantName;

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
        assert!(!shares.take(&noisy, share(0, None)));
        assert!(shares.may_take(&quiet, 1));
        assert!(shares.take(&quiet, share(2, None)));
        assert!(shares.may_take(&noisy, 2) && !shares.may_take(&noisy, 1));
        assert!(shares.take(&quiet, share(2, None)) && shares.may_take(&noisy, 1));
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
        assert!(shares.take(&noisy, share(0, Some(2))) && shares.may_take(&noisy, 9));
        assert!(shares.take(&noisy, share(0, Some(2))) && !shares.may_take(&noisy, 9));
        shares.give_back(&noisy);
        assert!(shares.may_take(&noisy, 9));
        shares.give_back(&noisy);
        assert!(shares.is_empty());
    }

    #[test]
    fn those_who_have_none_are_forgotten() {
        let mut shares = Shares::keeping(1);
        let in_common = Share { in_common: true, ..Share::default() };
        let noisy = party("noisy");
        assert!(shares.take(&noisy, in_common));
        for number in 0..10 * REMEMBERED {
            let once = party(&number.to_string());
            assert!(shares.take(&once, in_common));
            assert!(!shares.may_take(&once, 1) && shares.may_take(&once, 2));
            shares.give_back(&once);
            assert!(shares.may_take(&once, 1));
        }
        assert!(shares.parties.len() <= REMEMBERED + 1 && !shares.is_empty());
        shares.give_back(&noisy);
        assert!(shares.is_empty());
        // A maximum holds from the moment on that it is given.
        shares.introduce(&noisy, share(0, Some(1)));
        assert!(shares.take(&noisy, share(0, Some(1))) && !shares.may_take(&noisy, 9));
        // Nothing is kept any more: what is remembered counts for nobody.
        let once = party("1");
        shares.keep(0);
        shares.give_back(&noisy);
        assert!(!shares.take(&once, in_common) && shares.counts_nobody());
    }

    #[test]
    fn some_are_kept_for_those_who_have_none() {
        let mut shares = Shares::keeping(1);
        let in_common = Share { in_common: true, ..Share::default() };
        let names = ["a", "b", "c"].map(party);
        let [a, b, c] = &names;
        assert!(shares.may_take(a, 2) && shares.take(a, in_common));
        assert!(shares.may_take(a, 2) && !shares.may_take(a, 1));
        // The last one is for another; then there is none.
        assert!(shares.may_take(b, 1) && shares.take(b, in_common));
        assert!(!shares.may_take(c, 0));
        // What comes back is kept again.
        shares.give_back(a);
        assert!(!shares.may_take(b, 1) && shares.may_take(c, 1) && shares.may_take(a, 1));
        shares.give_back(b);
        assert!(shares.is_empty());
        // A tenant with a pool of its own has all of it.
        assert!(!shares.take(a, Share::default()) && shares.may_take(a, 1));
    }
}
