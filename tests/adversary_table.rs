//! The pure parts of `cargo bench --bench adversary`: its list of attacks, rows and verdicts.
//!
//! Here, since a bench without the test harness runs no tests. Not here: processes.

#[expect(dead_code, reason = "how an attack is carried out is not of interest here")]
#[path = "../benches/adversary/attacks.rs"]
mod attacks;
#[expect(dead_code, reason = "orders and spreads are another bench's")]
#[path = "../benches/load/stats.rs"]
mod stats;
#[path = "../benches/adversary/table.rs"]
mod table;

use attacks::{Attack, Numbers};
use table::{HEAD, Outcome, complaints, failed, row};

const NUMBERS: Numbers = Numbers { growth_kib: 100, p99_ms: 50.0, worst_ms: 250.0 };

fn held() -> Outcome {
    Outcome {
        done: 7,
        pings_ms: vec![0.5; 100],
        lost: 0,
        newcomers_ms: vec![1.5; 10],
        growth_kib: 99,
        kept_kib: 3,
        held_kib: 20,
        descriptors: 0,
        cores: 0.25,
        waited: 0.05,
    }
}

#[test]
fn an_attack_has_a_name_of_its_own_and_a_text() {
    for attack in Attack::ALL {
        assert_eq!(Attack::ALL.iter().filter(|one| one.name() == attack.name()).count(), 1);
        assert!(!attack.what().is_empty() && attack.numbers().growth_kib > 0);
    }
}

#[test]
fn what_is_within_the_numbers_is_held_and_what_is_not_is_named() {
    assert_eq!(complaints(&held(), &NUMBERS), [""; 0]);
    let slow = [vec![0.5; 98], vec![60.0, 70.0]].concat();
    let stalled = [vec![0.5; 999], vec![250.0]].concat();
    for (outcome, complaint) in [
        (Outcome { lost: 1, ..held() }, "1 lost"),
        (Outcome { done: 0, ..held() }, "nothing happened"),
        (Outcome { newcomers_ms: vec![], ..held() }, "nothing happened"),
        (Outcome { pings_ms: slow, ..held() }, "p99 is to be below 50 ms"),
        (Outcome { pings_ms: stalled, ..held() }, "worst is to be below 250 ms"),
        (Outcome { growth_kib: 100, ..held() }, "memory is to grow by less than 100 KiB"),
        (Outcome { descriptors: 2, ..held() }, "2 descriptors left behind"),
    ] {
        assert_eq!(complaints(&outcome, &NUMBERS), [complaint], "{outcome:?}");
        assert!(row("x", &outcome, &NUMBERS).contains(&format!("**{complaint}**")));
    }
}

#[test]
fn rows_fit_the_head() {
    let cells = |line: &str| line.matches('|').count();
    let head = HEAD.lines().map(cells).collect::<Vec<_>>();
    assert_eq!(head, [14, 14]);
    let expected =
        "| x | 7 | 100, 0 | 0.50 | 0.50 | 0.50 | 10, 1.50 | 99 | 20 | 3 | 0.25 | 0.05 | held |";
    assert_eq!(row("x", &held(), &NUMBERS), expected);
    assert_eq!(cells(&failed("x", "a | b\nc")), 14);
}
