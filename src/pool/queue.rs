//! The line of those who wait for a server connection: a queue per tenant, served in turns by weight.
//!
//! A tenant that sends a thousand requests at once stands behind itself: another tenant's first request is served after
//! at most one turn of each tenant that waits, however long their queues are.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::base::TenantName;

/// Who waits: the unit of fairness. `None` stands for operators, who act for no tenant; they form a queue like any other.
pub type Party = Option<TenantName>;

/// So many hand-offs at most pass over the waiter that stands first in its party's queue.
const PASSED_OVER: u32 = 8;

/// One that waits, with what is needed to reach it.
#[derive(Debug)]
pub struct Waiter<T> {
    /// Ticket by which it can be withdrawn.
    pub ticket: Ticket,
    /// Since when it waits.
    pub since: Instant,
    /// How to reach it.
    pub reach: T,
}

/// Names one waiter of one queue. Later tickets are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

#[derive(Debug)]
struct Line<T> {
    waiters: VecDeque<Waiter<T>>,
    weight: u32,
    /// What is left of this turn; 0 before the turn began.
    credit: u32,
    /// How often others were preferred to the first one.
    passed: u32,
}

impl<T> Line<T> {
    /// The first waiter, or one close behind it that is preferred, as long as the first one does not wait long for it.
    fn next(&mut self, mut prefer: impl FnMut(&T) -> bool) -> Option<Waiter<T>> {
        let near = self.waiters.iter().take(PASSED_OVER as usize);
        let at = near.map(|waiter| &waiter.reach).position(&mut prefer).unwrap_or(0);
        if at == 0 || self.passed >= PASSED_OVER {
            self.passed = 0;
            return self.waiters.pop_front();
        }
        self.passed += 1;
        self.waiters.remove(at)
    }
}

/// Queues of waiters, one per tenant, served round-robin: `weight` hand-offs a turn.
///
/// Every operation but [`FairQueue::remove`] takes constant time; `remove` is linear in one tenant's queue at worst.
#[derive(Debug)]
pub struct FairQueue<T> {
    lines: HashMap<Party, Line<T>>,
    /// Parties with at least one waiter; the front one has the turn.
    turns: VecDeque<Party>,
    len: usize,
    next: u64,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { lines: HashMap::new(), turns: VecDeque::new(), len: 0, next: 0 }
    }
}

impl<T> FairQueue<T> {
    /// Number of waiters.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a waiter at the end of its party's queue. A weight of 0 counts as 1.
    pub fn push(&mut self, party: &Party, weight: u32, reach: T) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.len += 1;
        let waiter = Waiter { ticket, since: Instant::now(), reach };
        let weight = weight.max(1);
        match self.lines.get_mut(party) {
            Some(line) => {
                line.weight = weight;
                line.waiters.push_back(waiter);
            }
            None => {
                let line = Line { waiters: VecDeque::from([waiter]), weight, credit: 0, passed: 0 };
                self.lines.insert(party.clone(), line);
                self.turns.push_back(party.clone());
            }
        }
        ticket
    }

    /// Takes the waiter whose turn it is; within its party, one for which `prefer` holds may go before.
    pub fn pop(&mut self, prefer: impl FnMut(&T) -> bool) -> Option<Waiter<T>> {
        self.pop_of(|_| true, prefer).map(|(_, waiter)| waiter)
    }

    /// Whether one of these parties waits.
    pub fn any(&self, may: impl FnMut(&Party) -> bool) -> bool {
        self.turns.iter().any(may)
    }

    /// [`FairQueue::pop`] among these parties.
    pub fn pop_of(
        &mut self,
        mut may: impl FnMut(&Party) -> bool,
        prefer: impl FnMut(&T) -> bool,
    ) -> Option<(Party, Waiter<T>)> {
        let at = self.turns.iter().position(&mut may)?;
        let party = self.turns.get(at)?;
        let line = self.lines.get_mut(party)?;
        let whose = party.clone();
        let waiter = line.next(prefer)?;
        self.len -= 1;
        if line.waiters.is_empty() {
            self.lines.remove(party);
            self.turns.remove(at);
            return Some((whose, waiter));
        }
        if line.credit == 0 {
            line.credit = line.weight;
        }
        line.credit -= 1;
        if line.credit == 0
            && let Some(party) = self.turns.remove(at)
        {
            self.turns.push_back(party);
        }
        Some((whose, waiter))
    }

    /// Withdraws a waiter that no longer waits. Returns whether it still stood in the queue.
    pub fn remove(&mut self, party: &Party, ticket: Ticket) -> bool {
        let Some(line) = self.lines.get_mut(party) else {
            return false;
        };
        let Ok(at) = line.waiters.binary_search_by_key(&ticket, |w| w.ticket) else {
            return false;
        };
        line.waiters.remove(at);
        self.len -= 1;
        if line.waiters.is_empty() {
            self.lines.remove(party);
            self.turns.retain(|p| p != party);
        }
        true
    }

    /// Takes all waiters out, in no particular order.
    pub fn drain(&mut self) -> Vec<Waiter<T>> {
        self.turns.clear();
        self.len = 0;
        self.lines.drain().flat_map(|(_, line)| line.waiters).collect()
    }

    /// Since when the longest waiting one waits.
    pub fn oldest(&self) -> Option<Instant> {
        self.lines.values().filter_map(|line| line.waiters.front().map(|w| w.since)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(name: &str) -> Party {
        Some(TenantName::new(name))
    }

    fn order(queue: &mut FairQueue<&'static str>) -> String {
        let mut out = String::new();
        while let Some(waiter) = queue.pop(|_| false) {
            out.push_str(waiter.reach);
        }
        out
    }

    #[test]
    fn a_noisy_tenant_waits_behind_itself() {
        let mut queue = FairQueue::default();
        for _ in 0..5 {
            queue.push(&party("noisy"), 1, "n");
        }
        queue.push(&party("quiet"), 1, "q");
        queue.push(&None, 1, "o");
        assert_eq!(queue.len(), 7);
        assert_eq!(order(&mut queue), "nqonnnn");
        assert!(queue.is_empty());
    }

    #[test]
    fn turns_follow_the_weights() {
        let mut queue = FairQueue::default();
        for _ in 0..6 {
            queue.push(&party("heavy"), 3, "h");
            queue.push(&party("light"), 1, "l");
        }
        assert_eq!(order(&mut queue), "hhhlhhhlllll");
    }

    #[test]
    fn those_who_may_not_are_passed_over_and_keep_their_place() {
        let mut queue = FairQueue::default();
        for name in ["a", "b", "c", "a", "b"] {
            queue.push(&party(name), 1, name);
        }
        let not_a = |it: &Party| *it != party("a");
        assert!(queue.any(not_a));
        assert_eq!(queue.pop_of(not_a, |_| false).unwrap().1.reach, "b");
        assert_eq!(queue.pop_of(not_a, |_| false).unwrap().1.reach, "c");
        assert_eq!(order(&mut queue), "aba");
        assert!(queue.pop_of(|_| true, |_| false).is_none() && !queue.any(|_| true));
    }

    #[test]
    fn coming_back_again_and_again_gains_nothing() {
        let mut queue = FairQueue::default();
        queue.push(&party("a"), 1, "a");
        queue.push(&party("b"), 1, "b");
        queue.push(&party("c"), 1, "c");
        let mut served = String::new();
        for _ in 0..6 {
            let waiter = queue.pop(|_| false).unwrap();
            served.push_str(waiter.reach);
            queue.push(&party(waiter.reach), 1, waiter.reach);
        }
        assert_eq!(served, "abcabc");
    }

    #[test]
    fn those_that_are_near_go_first_but_not_for_ever() {
        let mut queue = FairQueue::default();
        for name in ["f1", "n1", "f2", "n2"] {
            queue.push(&party("a"), 1, name);
        }
        queue.push(&party("b"), 1, "f3");
        let near = |it: &&str| it.starts_with('n');
        let mut next = || queue.pop(near).unwrap().reach;
        assert_eq!([next(), next(), next(), next(), next()], ["n1", "f3", "n2", "f1", "f2"]);

        queue.push(&party("a"), 1, "f1");
        for _ in 0..20 {
            queue.push(&party("a"), 1, "n");
        }
        let served: Vec<_> = (0..21).map(|_| queue.pop(near).unwrap().reach).collect();
        assert_eq!(served.iter().position(|it| *it == "f1"), Some(PASSED_OVER as usize));
    }

    #[test]
    fn withdrawn_waiters_are_not_served() {
        let mut queue = FairQueue::default();
        let a1 = queue.push(&party("a"), 1, "1");
        let a2 = queue.push(&party("a"), 1, "2");
        let b3 = queue.push(&party("b"), 1, "3");
        assert!(queue.remove(&party("a"), a1));
        assert!(!queue.remove(&party("a"), a1));
        assert!(!queue.remove(&party("b"), a2));
        assert!(queue.remove(&party("b"), b3));
        assert_eq!(queue.len(), 1);
        assert_eq!(order(&mut queue), "2");
        assert!(!queue.remove(&party("a"), a2));
    }

    #[test]
    fn the_oldest_waiter_is_known() {
        let mut queue = FairQueue::default();
        assert!(queue.oldest().is_none());
        queue.push(&party("a"), 1, "1");
        let since = queue.oldest().unwrap();
        queue.push(&party("b"), 1, "2");
        assert_eq!(queue.oldest().unwrap(), since);
        assert_eq!(queue.drain().len(), 2);
        assert!(queue.oldest().is_none() && queue.is_empty());
    }
}
