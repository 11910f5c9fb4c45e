//! The pure parts of `cargo load`: what it reads, how it reckons, what it prints and judges.
//!
//! Here, since a bench without the test harness runs no tests. Not here: processes.

#[path = "../benches/load/figures.rs"]
mod figures;
#[expect(dead_code, reason = "how a shape is measured is not of interest here")]
#[path = "../benches/load/shapes.rs"]
mod shapes;
#[path = "../benches/load/stats.rs"]
mod stats;
#[path = "../benches/load/table.rs"]
mod table;

use figures::{Asked, Run};
use serde_json::{Value, json};
use shapes::{Kind, Measure, Shape};
use std::collections::BTreeSet;
use table::{Backlog, FLOOR_AND_BROKER, ONE_AND_TWO, Outcome, Round};

/// For which the usual limit of descriptors suffices.
const CONNECTIONS_MAX: usize = 15_000;

/// A report with everything that must be in it.
fn report() -> Value {
    json!({
        "deliveries": 1_000,
        "latency_us": {"p50": 2_000, "p99": 5_000, "p99_9": 9_000},
        "lost": 0, "duplicated": 0, "reordered": 0, "unknown": 0, "connections_ended": 0,
        "server": {"cpu_us_each": 4.0, "user_us_each": 0.5},
        "client": {"cores": 0.5},
    })
}

fn cycles() -> Value {
    json!({
        "cycles": 10, "failed": 0,
        "server": {"cpu_us_each": 4.0, "user_us_each": 0.5},
        "client": {"cores": 0.5},
    })
}

/// The pointers of all that is no object.
fn leaves(value: &Value, at: &str) -> Vec<String> {
    match value.as_object() {
        Some(fields) => {
            fields.iter().flat_map(|(key, value)| leaves(value, &format!("{at}/{key}"))).collect()
        }
        None => vec![at.to_owned()],
    }
}

fn with(mut report: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    report.pointer_mut(parent).expect("an object")[key] = value;
    report
}

fn run(cpu_us: f64) -> Run {
    let latency_us = [cpu_us * 1e3, cpu_us * 2e3, cpu_us * 3e3];
    Run { cpu_us, user_us: 0.5, client_cores: 0.5, latency_us, ..Run::default() }
}

fn round(floor: f64, broker: f64, control: f64) -> Round {
    Round([run(floor), run(broker), run(control)])
}

fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split('|').map(str::trim).collect()
}

#[test]
fn every_required_figure_is_missed_by_name() {
    for (whole, asked) in [(report(), Asked::Deliveries), (cycles(), Asked::Cycles)] {
        assert!(Run::of(&whole, asked).is_ok(), "{whole}");
        let required = leaves(&whole, "");
        assert!(required.len() >= 5, "{required:?}");
        for pointer in required {
            let null = with(whole.clone(), &pointer, Value::Null);
            let mut lacking = whole.clone();
            let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
            let fields = lacking.pointer_mut(parent).and_then(Value::as_object_mut);
            fields.expect("an object").remove(key);
            let wrong = Run::of(&lacking, asked).expect_err(&pointer);
            assert_eq!(wrong, format!("`{pointer}` is missing"));
            let wrong = Run::of(&null, asked).expect_err(&pointer);
            assert_eq!(wrong, format!("`{pointer}` is null"));
        }
    }
    let nothing = with(report(), "/deliveries", json!(0));
    assert!(Run::of(&nothing, Asked::Deliveries).expect_err("nothing").contains("`/deliveries`"));
}

#[test]
fn newer_figures_may_be_absent_and_count_when_they_are_there() {
    let run = Run::of(&report(), Asked::Deliveries).expect("it is whole");
    assert!(run.faults.is_empty() && run.messages_per_send.is_none() && !run.is_client_bottleneck);
    let newer = with(with(report(), "/damaged", json!(2)), "/warm_up_lost", json!(1));
    let newer = with(with(newer, "/messages_per_send", json!(31.5)), "/unknown", json!(3));
    let run = Run::of(&newer, Asked::Deliveries).expect("it is whole");
    assert_eq!(run.faults, [("unknown", 3.0), ("damaged", 2.0), ("warm_up_lost", 1.0)]);
    assert_eq!(run.messages_per_send, Some(31.5));
    let odd = with(report(), "/damaged", json!("none"));
    assert_eq!(Run::of(&odd, Asked::Deliveries).expect_err("odd"), "`/damaged` is \"none\"");
}

#[test]
fn what_was_asked_for_compressed_and_did_not_come_so_is_no_figure() {
    let of = |compressed: Value| {
        let report = with(report(), "/compressed", compressed);
        Run::of(&report, Asked::Compressed)
    };
    assert!(of(json!(1_000)).is_ok() && of(json!(1_001)).is_ok());
    for some in [json!(0), json!(999)] {
        let wrong = of(some).expect_err("some came as they were");
        assert!(wrong.contains("of 1000 messages came compressed"), "{wrong}");
    }
    assert_eq!(
        Run::of(&report(), Asked::Compressed).expect_err("untold"),
        "`/compressed` is missing"
    );
    let idle =
        json!({"bytes_per_connection": 1.0, "kept_bytes": 0, "connections": 15, "compressing": 14});
    let idle = [idle];
    assert!(table::memory("x", &idle, false).is_ok());
    let wrong = table::memory("x", &idle, true).expect_err("one did not agree");
    assert_eq!(wrong, "14 of 15 connections agreed on compression");
}

#[test]
fn the_client_says_whether_it_was_the_bottleneck_and_is_judged_where_it_does_not() {
    let flag = |report: Value| {
        Run::of(&report, Asked::Deliveries).expect("it is whole").is_client_bottleneck
    };
    let busy = with(report(), "/client/cores", json!(0.95));
    assert!(flag(busy.clone()));
    assert!(!flag(with(busy, "/client_is_bottleneck", json!(false))));
    assert!(flag(with(report(), "/client_is_bottleneck", json!(true))));
}

#[test]
fn quantiles_are_those_of_sorted_values() {
    assert_eq!(stats::median(&[3.0, 1.0, 2.0]), 2.0);
    assert_eq!(stats::median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    assert_eq!(stats::median(&[7.0]), 7.0);
    assert!(stats::median(&[]).is_nan(), "of nothing there is no median");
    let values: Vec<f64> = (0..=100_u32).rev().map(f64::from).collect();
    for percent in [0_u8, 1, 25, 50, 75, 99, 100] {
        assert_eq!(stats::quantile(&values, percent.into()), f64::from(percent));
    }
    assert_eq!(stats::spread(&[1.0, 2.0, 3.0, 4.0, 5.0]), "**3.000** (2.000 to 4.000)");
}

#[test]
fn all_orders_come_in_turn_and_no_server_always_follows_the_same_one() {
    let six: Vec<[usize; 3]> = (0..6).map(stats::order).collect();
    assert_eq!(six.iter().collect::<BTreeSet<_>>().len(), 6, "all are different");
    for order in &six {
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 3, "{order:?} has everybody");
    }
    for (first, second) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
        let follows = |order: &&[usize; 3]| order.windows(2).any(|two| two == [first, second]);
        assert_eq!(six.iter().filter(follows).count(), 2, "{second} after {first}");
    }
    assert_eq!(stats::order(13), stats::order(1));
}

#[test]
fn a_row_of_cpu_times_has_ratios_within_rounds_and_marks_a_busy_client() {
    let mut rounds = vec![round(4.0, 5.0, 4.0), round(8.0, 8.0, 6.0), round(2.0, 3.0, 2.0)];
    rounds[0].0[1].messages_per_send = Some(64.0);
    let outcome = table::cpu("a shape", FLOOR_AND_BROKER, &rounds);
    let row = cells(&outcome.rows[0]);
    assert_eq!(row[..3], ["a shape", "4.000 (0.500)", "5.000 (0.500)"]);
    assert_eq!(row[3], "**1.250** (1.125 to 1.375)", "not the ratio of the medians");
    assert_eq!(row[4], "**1.000** (0.875 to 1.000)");
    assert_eq!(row[5..], ["- / 64.0", "50 %", "0"]);
    assert_eq!((outcome.figures[0].value, outcome.spoiled), (1.25, None));
    rounds[2].0[2].is_client_bottleneck = true;
    let outcome = table::cpu("a shape", FLOOR_AND_BROKER, &rounds);
    assert_eq!(cells(&outcome.rows[0])[6], "50 % !");
    assert_eq!(outcome.spoiled, None, "the server's time is still the server's");
}

#[test]
fn faults_of_every_server_are_told_the_controls_too() {
    let mut rounds = vec![round(1.0, 1.0, 1.0), round(1.0, 1.0, 1.0)];
    rounds[0].0[1].faults = vec![("lost", 2.0), ("unknown", 1.0)];
    rounds[1].0[1].faults = vec![("lost", 3.0)];
    rounds[1].0[2].faults = vec![("warm_up_lost", 7.0)];
    let told = "broker: 5 lost, 1 unknown; floor again: 7 warm up lost";
    let outcomes = [table::cpu("x", FLOOR_AND_BROKER, &rounds), table::latency("x", &rounds)];
    for outcome in outcomes {
        assert!(outcome.rows.iter().all(|row| cells(row)[7] == told), "{:?}", outcome.rows);
        assert!(outcome.spoiled.is_some());
    }
}

#[test]
fn latencies_have_a_row_for_each_percentile_and_a_busy_client_spoils_them() {
    let mut rounds = vec![round(2.0, 3.0, 1.0)];
    let outcome = table::latency("x", &rounds);
    for (row, percentile) in outcome.rows.iter().zip(["p50", "p99", "p99.9"]) {
        let row = cells(row);
        assert_eq!(row[1], percentile);
        assert_eq!(row[4], "**1.500** (1.500 to 1.500)");
        assert_eq!(row[5], "**0.500** (0.500 to 0.500)");
    }
    assert_eq!(cells(&outcome.rows[1])[2..4], ["4.00", "6.00"], "in milliseconds");
    assert_eq!(outcome.spoiled, None);
    rounds[0].0[0].is_client_bottleneck = true;
    assert!(table::latency("x", &rounds).spoiled.is_some());
}

#[test]
fn small_rooms_have_latencies_of_their_own_and_faults_or_a_busy_client_spoil_them() {
    let mut runs = vec![run(1.0), run(2.0), run(3.0)];
    let outcome = table::beside("x", &runs);
    let [_, p50, p99, p99_9, busy, faults] = cells(&outcome.rows[0])[..] else { panic!() };
    assert_eq!((p50, p99_9), ("**2.000** (1.500 to 2.500)", "**6.000** (4.500 to 7.500)"));
    assert_eq!((p99, busy, faults), ("**4.000** (3.000 to 5.000)", "50 %", "0"));
    assert_eq!((outcome.figures[0].value, outcome.spoiled), (4.0, None));
    runs[1].is_client_bottleneck = true;
    assert_eq!(table::beside("x", &runs).spoiled, Some("the client was the bottleneck"));
    runs[0].faults = vec![("lost", 1.0)];
    assert_eq!(table::beside("x", &runs).spoiled, Some("there were faults"));
}

#[test]
fn memory_that_is_not_told_is_missed_by_name() {
    let whole = json!({"bytes_per_connection": 150.0, "kept_bytes": -1_048_576});
    let outcome = table::memory("x", std::slice::from_ref(&whole), false).expect("it is whole");
    assert_eq!(outcome.rows, ["| x | 150.0 | -1024 KiB |"]);
    for lacking in [json!({"bytes_per_connection": 1.0}), json!({"kept_bytes": 1})] {
        let wrong =
            table::memory("x", &[whole.clone(), lacking], false).expect_err("something lacks");
        assert!(wrong.ends_with("is missing"), "{wrong}");
    }
}

#[test]
fn a_target_is_met_missed_or_not_judged() {
    let shape = shapes::all().into_iter().find(|shape| shape.targets == [(Measure::Cpu, 1.05)]);
    let shape = shape.expect("one has this target");
    let verdict = |outcome: Option<&Outcome>| table::verdicts(&shape, outcome).concat();
    let controlled =
        |broker, control| table::cpu("x", FLOOR_AND_BROKER, &[round(1.0, broker, control)]);
    let of = |broker| controlled(broker, 1.0);
    assert!(verdict(Some(&of(1.05))).ends_with("| met |"));
    assert!(verdict(Some(&of(1.06))).ends_with("| **missed** |"));
    assert!(verdict(Some(&of(f64::NAN))).ends_with("| **missed** |"));
    let spoiled = Outcome { spoiled: Some("there were faults"), ..of(1.0) };
    assert!(verdict(Some(&spoiled)).contains("**not judged**: there were faults"));
    for control in [0.94, 1.06, f64::NAN] {
        let doubted = verdict(Some(&controlled(1.0, control)));
        assert!(doubted.ends_with("| met, but the control is off |"), "{doubted}");
    }
    assert!(verdict(None).ends_with("| **not measured** |"));
}

#[test]
fn handshakes_with_tokens_are_to_be_at_least_so_many_of_those_without() {
    let shapes = shapes::wanted(&["handshake with a token".to_owned()], false, false);
    let named: Vec<&str> =
        shapes.iter().filter_map(|shape| shape.name.split(", ").nth(1)).collect();
    assert_eq!(named, ["HS256", "ES256", "EdDSA", "RS256"]);
    let verdict = |with: f64| {
        let outcome = table::tokens(&shapes[0].name, &[round(8.5, with, 8.5)]);
        (outcome.figures[0].value, table::verdicts(&shapes[0], Some(&outcome)).concat())
    };
    let (value, met) = verdict(10.0);
    assert!((value - 0.85).abs() < 1e-9, "{value}: the rate is the other way round than the time");
    assert!(met.contains("| at least 0.85 | 0.850 | 1.000 | met |"), "{met}");
    assert!(verdict(10.1).1.ends_with("| **missed** |"));
    assert!(verdict(4.0).1.ends_with("| met |"), "more is no worse");
    assert!(verdict(f64::NAN).1.ends_with("| **missed** |"));
    let targets: usize = shapes.iter().map(|shape| shape.targets.len()).sum();
    assert_eq!(targets, 1, "the others are recorded");
}

#[test]
fn a_backlog_is_told_as_ratios_to_its_bound() {
    let look = Backlog { queued: 0.99, resident: 1.25, faults: Vec::new() };
    let outcome = table::backlog("x", &[look.clone(), look]);
    assert_eq!(outcome.rows, ["| x | 0.990 | **1.250** (1.250 to 1.250) | 0 |"]);
    assert_eq!(outcome.spoiled, None);
}

#[test]
fn shapes_have_names_of_their_own_and_fit_a_usual_machine() {
    let shapes = shapes::all();
    let names: BTreeSet<&str> = shapes.iter().map(|shape| shape.name.as_str()).collect();
    assert_eq!(names.len(), shapes.len(), "a name is taken twice");
    for shape in &shapes {
        assert!(shape.connections() <= CONNECTIONS_MAX, "{}", shape.name);
        let measured = |measure: &Measure| match shape.kind {
            Kind::Cpu | Kind::Compressed | Kind::Enveloped => *measure == Measure::Cpu,
            Kind::Tokens(_) => *measure == Measure::Handshakes,
            Kind::Loops => false,
            Kind::Latency | Kind::HalfOfPeak => {
                [Measure::P50, Measure::P99, Measure::P99_9].contains(measure)
            }
            Kind::Beside => *measure == Measure::P99Ms,
            Kind::Memory => [Measure::BytesEach, Measure::KeptMib].contains(measure),
            Kind::Backlog => *measure == Measure::OfBound,
        };
        assert!(shape.targets.iter().all(|(measure, _)| measured(measure)), "{}", shape.name);
    }
    let most = shapes.iter().map(Shape::connections).max();
    assert_eq!(most, Some(CONNECTIONS_MAX), "connections are counted");
}

#[test]
fn every_load_is_made_for_one_to_ten_thousand_members_and_many_rooms() {
    let names: BTreeSet<String> = shapes::all().into_iter().map(|shape| shape.name).collect();
    for members in [1, 10, 100, 1_000, 10_000] {
        let many = if members < 1_000 { 64 } else { 8 };
        for load in [
            "128 B, 1 outstanding".to_owned(),
            "128 B, 64 outstanding, joined".to_owned(),
            "16384 B, 1 outstanding".to_owned(),
            format!("16384 B, {many} outstanding, joined"),
        ] {
            let name = format!("1 room x {members}, {load}");
            assert!(names.contains(&name), "{name}");
        }
    }
    for rooms in ["100 rooms x 100", "1000 rooms x 10", "10000 rooms x 1"] {
        for load in ["1 outstanding", "64 outstanding, joined"] {
            let name = format!("{rooms}, 128 B, {load}");
            assert!(names.contains(&name), "{name}");
        }
    }
}

#[test]
fn shapes_are_chosen_by_a_part_of_their_name_by_all_of_it_or_by_having_targets() {
    let wanted = |text: &str, exact| shapes::wanted(&[text.to_owned()], exact, false).len();
    let name = "1 room x 1000, 128 B, 1 outstanding";
    assert_eq!((wanted(name, true), wanted(name, false)), (1, 2), "two loops have it too");
    assert_eq!(wanted("1 room x 1000", true), 0);
    let of_target = shapes::wanted(&[], false, true);
    assert_eq!(of_target.len(), 25, "{of_target:#?}");
    assert_eq!(shapes::wanted(&[], false, false).len(), shapes::all().len());
}

#[test]
fn rows_have_as_many_cells_as_the_head_of_their_table() {
    let cells = |row: &str| row.matches('|').count() - 1;
    let head = |text: &str| cells(text.lines().rev().nth(1).expect("a head above the line"));
    let rounds = [round(1.0, 1.0, 1.0)];
    let weighed = json!({"bytes_per_connection": 150.0, "kept_bytes": 0});
    for shape in shapes::all() {
        let outcome = match shape.kind {
            Kind::Cpu | Kind::Compressed | Kind::Enveloped => {
                table::cpu(&shape.name, FLOOR_AND_BROKER, &rounds)
            }
            Kind::Tokens(_) => table::tokens(&shape.name, &rounds),
            Kind::Loops => table::cpu(&shape.name, ONE_AND_TWO, &rounds),
            Kind::Latency | Kind::HalfOfPeak => table::latency(&shape.name, &rounds),
            Kind::Beside => table::beside(&shape.name, &[run(1.0)]),
            Kind::Memory => {
                table::memory(&shape.name, std::slice::from_ref(&weighed), false).expect("whole")
            }
            Kind::Backlog => table::backlog(&shape.name, &[Backlog::default()]),
        };
        for row in &outcome.rows {
            assert_eq!(cells(row), head(table::head(shape.kind)), "{row}");
        }
        for row in table::verdicts(&shape, Some(&outcome)) {
            assert_eq!(cells(&row), head(table::TARGETS_HEAD), "{row}");
            assert!(!row.contains("not measured"), "what has a target is measured: {row}");
        }
    }
    let failed = table::failed("x", "a | b\nc");
    assert_eq!((cells(&failed), failed.lines().count()), (2, 1), "it breaks no table: {failed}");
}
