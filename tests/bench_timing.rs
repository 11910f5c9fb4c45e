//! The pure part of `cargo bench --bench timing`: what it makes of times.
//!
//! Here, since a bench without the test harness runs no tests. Not here: a clock.

#[path = "../benches/timing/welch.rs"]
mod welch;

use welch::{Sample, TELLS, t};

/// Times around 100, of which the second class takes `more` on average, and some that are far off.
fn samples(dice: &mut fastrand::Rng, count: usize, more: f64) -> Vec<Sample> {
    let sample = |_| {
        let is_second = dice.bool();
        let outlier = if dice.u32(..100) == 0 { dice.u32(..1_000_000) } else { 0 };
        let extra = u32::from(is_second && dice.f64() < more);
        (90 + dice.u32(..20) + extra + outlier, is_second)
    };
    (0..count).map(sample).collect()
}

#[test]
fn welchs_t_is_that_of_the_textbook() {
    // Means 3 and 6, variances of the means 0.5 and 0.5.
    let classes = [[1, 2, 3, 4, 5].map(|time| (time, false)), [4, 5, 6, 7, 8].map(|t| (t, true))];
    assert!((t(&classes.concat()) - 3.0).abs() < 1e-9, "{}", t(&classes.concat()));
}

#[test]
fn equal_classes_do_not_tell_and_a_hundredth_more_does() {
    for seed in 0..20 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let same = t(&samples(&mut dice, 100_000, 0.0));
        assert!(same.abs() < TELLS, "seed {seed}: {same}");
        let slower = t(&samples(&mut dice, 100_000, 1.0));
        assert!(slower > TELLS, "seed {seed}: {slower}");
    }
}

#[test]
fn what_is_slower_has_the_sign_of_its_class() {
    let mut samples = samples(&mut fastrand::Rng::with_seed(7), 100_000, 1.0);
    assert!(t(&samples) > TELLS);
    for (_, is_second) in &mut samples {
        *is_second = !*is_second;
    }
    assert!(t(&samples) < -TELLS);
}

#[test]
fn of_nothing_or_of_one_class_there_is_nothing_to_tell() {
    for samples in [&[][..], &[(5, false)], &[(5, false), (6, false)], &[(5, false), (5, true)]] {
        assert_eq!(t(samples), 0.0, "{samples:?}");
    }
}
