//! Welch's t-test of two classes of times: could one tell the classes apart by the clock?
//!
//! Not here: a clock. Slow outliers, which are the machine's, hide what there is to see. So the
//! test is made of all times, and of those below some of their percentiles; the clearest counts.
//! Pure; `tests/bench_timing.rs` tests it.

/// An absolute t from here on says that the classes differ.
pub(crate) const TELLS: f64 = 4.5;

/// Percentiles of all times, beyond which they are left out.
const CROPS: [usize; 5] = [100, 99, 95, 75, 50];

/// A time, and whether it is of the second class.
pub(crate) type Sample = (u32, bool);

/// Mean and spread of the times of a class, as they come.
#[derive(Clone, Copy, Default, Debug)]
struct Times {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Times {
    fn push(&mut self, time: f64) {
        self.count += 1.0;
        let off = time - self.mean;
        self.mean += off / self.count;
        self.squares += off * (time - self.mean);
    }

    /// The variance of the mean.
    fn variance(&self) -> f64 {
        self.squares / (self.count - 1.0) / self.count
    }
}

/// The clearest difference between the classes, in standard errors; positive where the second is
/// slower. 0 where there is nothing to compare.
pub(crate) fn t(samples: &[Sample]) -> f64 {
    let mut sorted: Vec<u32> = samples.iter().map(|(time, _)| *time).collect();
    sorted.sort_unstable();
    let crops = CROPS.map(|percent| {
        let place = percent * sorted.len().saturating_sub(1) / 100;
        let most = sorted.get(place).copied().unwrap_or_default();
        below(samples, most)
    });
    let clearest = |one: f64, other: f64| if other.abs() > one.abs() { other } else { one };
    crops.into_iter().filter(|t| t.is_finite()).fold(0.0, clearest)
}

/// The same of the times up to `most` alone.
fn below(samples: &[Sample], most: u32) -> f64 {
    let (mut first, mut second) = (Times::default(), Times::default());
    for (time, is_second) in samples.iter().filter(|(time, _)| *time <= most) {
        if *is_second { &mut second } else { &mut first }.push(f64::from(*time));
    }
    (second.mean - first.mean) / (first.variance() + second.variance()).sqrt()
}
