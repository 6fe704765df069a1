//! The same seed does the same, bit for bit: otherwise a failure could not be told twice.

use grid_sim::World;

#[test]
fn the_same_seed_does_the_same() {
    for seed in [1, 2, 77, 4_711] {
        let told = || {
            let mut world = World::new(seed);
            let report = world.run();
            format!("{:?} {:?} {:?} {:?}", report, world.log, world.histories, world.now)
        };
        assert!(told() == told(), "seed {seed} does two things");
    }
}

#[test]
fn another_seed_does_something_else() {
    let events = |seed| World::new(seed).run().counts.events;
    assert_ne!(events(1), events(2));
}
