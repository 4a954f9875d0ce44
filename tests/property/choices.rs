//! The draws behind a generated statement. A statement is a function of them, so a smaller list of smaller draws is a
//! smaller statement: that is all that shrinking needs to know.

/// A source of draws: fresh ones from a seed, or given ones again.
pub struct Choices {
    state: u64,
    replay: Option<Vec<u32>>,
    drawn: Vec<u32>,
}

impl Choices {
    /// Fresh draws.
    pub fn seeded(seed: u64) -> Self {
        Self { state: seed, replay: None, drawn: Vec::new() }
    }

    /// These draws again, and 0 (the simplest) once they are used up.
    pub fn replay(draws: &[u32]) -> Self {
        Self { state: 0, replay: Some(draws.to_vec()), drawn: Vec::new() }
    }

    /// A number below `n`; 0 stands for the simplest alternative.
    pub fn below(&mut self, n: usize) -> usize {
        let draw = match &self.replay {
            Some(given) => given.get(self.drawn.len()).copied().unwrap_or(0),
            None => self.next(),
        };
        let chosen = draw as usize % n.max(1);
        self.drawn.push(chosen as u32);
        chosen
    }

    /// True in `percent` of the cases; false is simpler.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) >= 100 - percent
    }

    /// One of these; the first is the simplest.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// What was drawn so far.
    pub fn drawn(self) -> Vec<u32> {
        self.drawn
    }

    /// SplitMix64: the same statements for the same seed with every version of every library.
    fn next(&mut self) -> u32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 32) as u32
    }
}

/// Smaller draws that still fail: pieces are left out, then numbers lowered, until nothing helps or `patience` trials are over.
pub fn shrink(mut failing: Vec<u32>, mut patience: usize, fails: &mut dyn FnMut(&[u32]) -> bool) -> Vec<u32> {
    let mut attempt = |candidate: Vec<u32>, failing: &mut Vec<u32>| {
        if patience == 0 || candidate == *failing {
            return false;
        }
        patience -= 1;
        let better = fails(&candidate);
        if better {
            *failing = candidate;
        }
        better
    };
    loop {
        let before = failing.clone();
        for size in [64, 32, 16, 8, 4, 2, 1] {
            let mut at = 0;
            while at < failing.len() {
                let end = (at + size).min(failing.len());
                let without = [&failing[..at], &failing[end..]].concat();
                if !attempt(without, &mut failing) {
                    let mut zeroed = failing.clone();
                    zeroed[at..end].fill(0);
                    attempt(zeroed, &mut failing);
                    at += size;
                }
            }
        }
        if failing == before {
            return failing;
        }
    }
}

#[test]
fn the_same_seed_draws_the_same() {
    let draw = || {
        let mut choices = Choices::seeded(7);
        (0..20).map(|_| choices.below(100)).collect::<Vec<_>>()
    };
    assert_eq!(draw(), draw());
    assert!(draw().iter().any(|it| *it > 50) && draw().iter().any(|it| *it < 50));
}

#[test]
fn shrinking_keeps_what_fails() {
    let draws: Vec<u32> = (0..100).collect();
    let small = shrink(draws, 10_000, &mut |it| it.contains(&42) && it.contains(&77));
    assert_eq!(small, [42, 77]);
}
