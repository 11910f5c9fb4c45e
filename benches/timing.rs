//! `cargo bench --bench timing`: whether the clock tells where a wrong secret differs from the real
//! one.
//!
//! Not among the tests: a busy machine adds noise, though it is the same for both classes. The
//! instructions are counted there (`instructions`). Invariants: both classes are tried in an order
//! that is drawn anew for each call, from the same memory; a comparison that does tell is tried
//! too, since a test that never finds anything says nothing.

#[path = "timing/welch.rs"]
mod welch;

use clap::Parser;
use fanfare::auth::{Authority, Secret};
use std::hint::black_box;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;
use welch::{Sample, TELLS, t};

/// As long as what `head -c 32 /dev/urandom | base64` prints.
const KEY: &[u8; 44] = b"Zk3TqW8rN1xYb6VmC0sHjP4uLdE7gKaRfOyIwQ2tUcM=";
/// Other keys beside it.
const OTHERS: [&[u8; 44]; 2] = [
    b"9yYp1zQ8a0m4Vd7KcR2tXw5nLhJ3uGfEoSiBqDxTvPA=",
    b"u5LhXo2vJp9SaQy7BnKfRd3wTzGi0MeEcV1xHqYtN8k=",
];
/// Calls before the first that counts.
const WARM_UP: usize = 10_000;

/// Measures how long wrong secrets take.
#[derive(Parser, Debug)]
struct Args {
    /// Calls of each comparison
    #[arg(long, default_value_t = 1_000_000)]
    calls: usize,
    /// What the order of the calls is drawn from
    #[arg(long)]
    seed: Option<u64>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let mut out = io::stdout().lock();
    writeln!(out, "{} calls of each, seed {seed}", args.calls)?;
    let secret = Secret::new(*KEY);
    let api_keys = [OTHERS[0], KEY, OTHERS[1]].map(|key| Secret::new(*key)).into();
    let authority = Authority { api_keys, ..Authority::default() };
    let mut good = true;
    for (name, at) in [("middle", KEY.len() / 2), ("last", KEY.len() - 1)] {
        let mut dice = fastrand::Rng::with_seed(seed);
        let classes = [wrong_at(0), wrong_at(at)];
        let secret = t(&times(args.calls, &classes, &mut dice, |key| secret.is(key)));
        let key = t(&times(args.calls, &classes, &mut dice, |key| authority.is_api_key(key)));
        let naive = t(&times(args.calls, &classes, &mut dice, stops_early));
        for (what, t, must_tell) in [
            ("a secret", secret, false),
            ("a server's key", key, false),
            ("the control, which stops at the first difference", naive, true),
        ] {
            let tells = t.abs() >= TELLS;
            good &= tells == must_tell;
            let says = if tells { "tells" } else { "does not tell" };
            let verdict = if tells == must_tell { "as it must" } else { "BUT IT MUST NOT BE SO" };
            writeln!(out, "{what}, first byte or {name}: t {t:+.2}, {says}, {verdict}")?;
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The key but for one byte.
fn wrong_at(place: usize) -> [u8; 44] {
    let mut key = *KEY;
    if let Some(byte) = key.get_mut(place) {
        *byte ^= 1;
    }
    key
}

/// What no secret is to be compared by.
#[inline(never)]
fn stops_early(given: &[u8]) -> bool {
    let mut pairs = KEY.iter().zip(given);
    pairs.all(|(known, given)| black_box(known) == black_box(given))
}

/// How long each call takes, of the one class or the other.
#[expect(clippy::disallowed_methods, reason = "the clock is what may tell")]
fn times(
    calls: usize,
    classes: &[[u8; 44]; 2],
    dice: &mut fastrand::Rng,
    is: impl Fn(&[u8]) -> bool,
) -> Vec<Sample> {
    let mut samples = Vec::with_capacity(calls);
    let mut given = [0; 44];
    for nth in 0..WARM_UP + calls {
        let class = dice.usize(..classes.len());
        // Without a branch, and from the same memory: else it is the caches that would tell.
        given.copy_from_slice(&classes[class]);
        let given = black_box(&given);
        let begun = Instant::now();
        black_box(is(given));
        let took = begun.elapsed().as_nanos();
        if nth >= WARM_UP {
            samples.push((u32::try_from(took).unwrap_or(u32::MAX), class == 1));
        }
    }
    samples
}
