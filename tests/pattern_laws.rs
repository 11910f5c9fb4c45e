//! Patterns over room names against their naive twin, over dice and the fuzz target's seeds.

#[path = "naive/pattern.rs"]
mod naive;

use std::fs;
use std::path::Path;

#[test]
fn patterns_fit_what_the_naive_twin_says() {
    let words = ["a", "b", "*", "**", "", ":", "::", "a*", "lobby", "\n", " ", "é"];
    for seed in 0..20_000 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut text = String::new();
        for _ in 0..dice.usize(1..8) {
            text.push_str(words[dice.usize(..words.len())]);
            text.push_str(["", ":", ":"][dice.usize(..3)]);
        }
        text.push('\n');
        for _ in 0..dice.usize(..6) {
            text.push_str(["a", "b", "lobby", "*", ""][dice.usize(..5)]);
            text.push_str([":", ":", ""][dice.usize(..3)]);
        }
        eprintln!("seed {seed}: {text:?}");
        naive::check(text.as_bytes());
    }
}

#[test]
fn the_seeds_of_the_fuzz_target_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/room_pattern");
    let seeds = fs::read_dir(folder).expect("seeds");
    let checked = seeds
        .map(|seed| naive::check(&fs::read(seed.expect("a file").path()).expect("a seed")))
        .count();
    assert!(checked > 5, "there are seeds");
}
