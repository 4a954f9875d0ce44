//! What the fuzzers do with their bytes. Shared by the cargo-fuzz binaries (fuzz/fuzz_targets) and by `cargo test --test fuzz`,
//! which drives the same functions over the corpus and seeded mutations of it.

mod copy;
mod guard;
mod policy;
mod wire;

pub use copy::{copy_binary, copy_text};
pub use guard::guard;
pub use wire::{bind, frames, startup};

/// A target: it panics on what is wrong.
pub type Target = fn(&[u8]);

/// All targets by name, which is that of their folder in fuzz/corpus.
#[allow(dead_code, reason = "each binary of cargo-fuzz runs one of them")]
pub const ALL: [(&str, Target); 6] = [
    ("bind", bind),
    ("copy_binary", copy_binary),
    ("copy_text", copy_text),
    ("frames", frames),
    ("guard", guard),
    ("startup", startup),
];
