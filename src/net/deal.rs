//! One acceptor dealing its connections out to all loops.
//!
//! Not here: how a connection travels (`peer`), what is done when its loop can't take it
//! (`arrivals`). Invariant: what is picked is a loop of this process.

use crate::broker::LoopId;
use crate::config::Accept;

/// Whose turn it is.
#[derive(Debug)]
pub(super) struct Dealer {
    strategy: Accept,
    loops: u8,
    turn: u8,
    dice: fastrand::Rng,
}

impl Dealer {
    /// Deals to `loops` loops, at least one.
    pub(super) fn new(strategy: Accept, loops: u8, dice: fastrand::Rng) -> Self {
        Self { strategy, loops: loops.max(1), turn: 0, dice }
    }

    /// The loop for the next connection. `load` is how many connections a loop has.
    pub(super) fn pick(&mut self, load: impl Fn(LoopId) -> usize) -> LoopId {
        match self.strategy {
            // With a listener per loop only Unix sockets are dealt.
            Accept::ReusePort | Accept::RoundRobin => self.next(),
            Accept::LeastConnections => {
                // From the one whose turn it is, so that equals take turns.
                let first = self.next();
                let others = (1..self.loops).map(|step| self.after(first, step));
                others.fold(first, |best, id| if load(id) < load(best) { id } else { best })
            }
            Accept::Random => LoopId(self.dice.u8(..self.loops)),
        }
    }

    const fn next(&mut self) -> LoopId {
        let id = LoopId(self.turn);
        self.turn = self.after(id, 1).0;
        id
    }

    const fn after(&self, id: LoopId, step: u8) -> LoopId {
        LoopId((id.0 + step) % self.loops)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LOOPS_MAX;

    const SEED: u64 = 7;

    fn dealer(strategy: Accept, loops: u8) -> Dealer {
        Dealer::new(strategy, loops, fastrand::Rng::with_seed(SEED))
    }

    /// Deals `count` connections that stay, on top of `loads`.
    fn deal(strategy: Accept, mut loads: Vec<usize>, count: usize) -> Vec<usize> {
        let mut dealer = dealer(strategy, u8::try_from(loads.len()).expect("few loops"));
        for _ in 0..count {
            let id = dealer.pick(|id| loads[id.index()]);
            loads[id.index()] += 1;
        }
        loads
    }

    #[test]
    fn round_robin_takes_turns_whatever_the_loads() {
        assert_eq!(deal(Accept::RoundRobin, vec![9, 0, 0], 7), [12, 2, 2]);
        assert_eq!(deal(Accept::ReusePort, vec![0; 3], 7), [3, 2, 2]);
    }

    #[test]
    fn least_connections_levels_the_loads() {
        assert_eq!(deal(Accept::LeastConnections, vec![9, 0, 4], 14), [9, 9, 9]);
        assert_eq!(deal(Accept::LeastConnections, vec![0; 4], 400), [100; 4]);
    }

    #[test]
    fn random_reaches_all_loops_about_equally() {
        let loads = deal(Accept::Random, vec![0; 4], 4_000);
        assert!(loads.iter().all(|load| (900..1_100).contains(load)), "seed {SEED}: {loads:?}");
    }

    #[test]
    fn every_number_of_loops_can_be_dealt_to() {
        let all = [Accept::RoundRobin, Accept::LeastConnections, Accept::Random];
        for loops in 1..=u8::try_from(LOOPS_MAX).expect("a byte") {
            for strategy in all {
                let mut dealer = dealer(strategy, loops);
                for _ in 0..200 {
                    let id = dealer.pick(|id| id.index() % 3);
                    assert!(id.0 < loops, "{strategy:?}: {id} of {loops}");
                }
            }
        }
    }
}
