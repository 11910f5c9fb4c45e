//! Any operations on shards, links and clients keep the laws; the first number seeds all else.
#![no_main]

#[expect(dead_code, unused_imports, reason = "faults and drawn operations are the test's")]
#[path = "../../tests/sim/mod.rs"]
mod sim;

/// A run of the simulator is short, so that there are many.
const OPS_MAX: usize = 150;

libfuzzer_sys::fuzz_target!(|input: (u64, Vec<(u8, u8, u16)>)| {
    let (seed, ops) = input;
    let lawful = sim::World::new(seed, sim::Mutation::None).and_then(|mut world| {
        for op in ops.into_iter().take(OPS_MAX) {
            world.apply(op)?;
        }
        world.finish()
    });
    assert_eq!(lawful, Ok(()));
});
