//! The arithmetic of comparing: orders of turns, medians, ranges.
//!
//! Not here: what the numbers are. Pure; `tests/load_tables.rs` tests it.

/// Every order of three turns. No server is always first, and none always follows the same one;
/// each three in a row have every server in every place or nearly so.
pub(crate) const ORDERS: [[usize; 3]; 6] =
    [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1], [2, 0, 1], [1, 0, 2]];

/// The order of a round: all of them in turn.
pub(crate) fn order(nth: usize) -> [usize; 3] {
    ORDERS.into_iter().cycle().nth(nth % ORDERS.len()).unwrap_or([0, 1, 2])
}

/// Median, and the range of the middle half.
pub(crate) fn spread(values: &[f64]) -> String {
    let [low, middle, high] = [25, 50, 75].map(|percent| quantile(values, percent));
    format!("**{middle:.3}** ({low:.3} to {high:.3})")
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 50)
}

/// The value below which so many percent of them lie; between two, the mean of both. Of none, no
/// number.
pub(crate) fn quantile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = percent * sorted.len().saturating_sub(1);
    let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
    f64::midpoint(at(place / 100), at(place.div_ceil(100)))
}
