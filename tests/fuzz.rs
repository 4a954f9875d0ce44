//! The fuzz targets over their corpus, and over seeded mutations of it: a bounded run that needs neither nightly nor cargo-fuzz.
//! `PGWARDEN_FUZZ_SECONDS` lets each target run for longer than its 1,500 mutations, `PGWARDEN_FUZZ_SEED` chooses others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::path::Path;
use std::time::{Duration, Instant};

/// Pieces that mutations put in: what separates things in SQL, COPY data and frames.
const PIECES: &[&[u8]] = &[
    b"'",
    b"\"",
    b"$$",
    b"$1",
    b"--",
    b"/*",
    b"*/",
    b";",
    b"(",
    b")",
    b"(SELECT",
    b" FROM orders ",
    b" orders ",
    b".*",
    b"ROW(1, 2)",
    b" UNION ALL SELECT ",
    b" LATERAL ",
    b" tenant_id ",
    b"=5",
    b"\\.",
    b"\\",
    b"\n",
    b"\r\n",
    b"\r",
    b",",
    b"\t",
    b"\0",
    b"\xff\xff\xff\xff",
    b"\0\0\0\x04",
    b"7",
];

/// splitmix64
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }
}

fn mutated(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut data = corpus[dice.below(corpus.len())].clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(data.len() + 1);
        let end = (at + dice.below(12)).min(data.len());
        match dice.below(5) {
            0 => drop(data.drain(at..end)),
            1 if at < data.len() => data[at] = dice.below(256) as u8,
            2 => drop(data.splice(at..at, PIECES[dice.below(PIECES.len())].iter().copied())),
            3 => {
                let part = data[at..end].to_vec();
                let to = dice.below(data.len() + 1);
                drop(data.splice(to..to, part));
            }
            _ => {
                let other = &corpus[dice.below(corpus.len())];
                data.truncate(at);
                data.extend_from_slice(&other[dice.below(other.len() + 1)..]);
            }
        }
    }
    data
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number"))
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(&folder).expect("a corpus").map(|f| f.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn drive(name: &str) {
    let target = targets::ALL.iter().find(|(n, _)| *n == name).expect("a target").1;
    let corpus = corpus(name);
    assert!(corpus.len() > 2, "{name}");
    corpus.iter().for_each(|data| target(data));
    let mut dice = Dice(number("PGWARDEN_FUZZ_SEED", 1));
    let until = Instant::now() + Duration::from_secs(number("PGWARDEN_FUZZ_SECONDS", 0));
    let mut count = 0u64;
    // At least so many, so that each run without variables is the same; more as long as there is time.
    while count < 1_500 || Instant::now() < until {
        let data = mutated(&corpus, &mut dice);
        if let Err(cause) = std::panic::catch_unwind(|| target(&data)) {
            eprintln!("{name} fails on {:?}", String::from_utf8_lossy(&data));
            std::panic::resume_unwind(cause);
        }
        count += 1;
    }
    println!("{name}: {count} mutations of {} inputs", corpus.len());
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test] fn $name() { drive(stringify!($name)); })*

        #[test]
        fn every_target_is_driven() {
            assert_eq!(targets::ALL.map(|(name, _)| name), [$(stringify!($name)),*]);
        }
    };
}

targets! { bind copy_binary copy_text frames guard startup }
