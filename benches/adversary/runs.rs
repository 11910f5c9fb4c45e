//! One attack from its broker's start to its end.

use crate::attacks::Attack;
use crate::crowd::Crowd;
use crate::e2e::broker::Broker;
use crate::e2e::scrape::Scraper;
use crate::floods;
use crate::table::Outcome;
use crate::watch::{self, Span};
use std::any::Any;
use std::fs;
use std::thread;
use std::time::Duration;

/// How long memory may take to come back.
const SETTLE: Duration = Duration::from_secs(5);

/// By how much an attacker comes behind, so that its own work is not what the bystander waits for.
const ATTACKER_NICE: i32 = 10;

/// What is done before memory is weighed, so that what is made once is not counted.
const WARM_UP: Duration = Duration::from_millis(500);

/// Carries out the attack for so long.
pub(crate) fn run(attack: Attack, time: Duration, loops: usize) -> Result<Outcome, String> {
    let loops = loops.to_string();
    let mut args = vec!["--loops", &loops, "--log-level", "warn"];
    args.extend(attack.args());
    let broker = Broker::start(&args);
    let mut scraper = Scraper::new(&broker);
    let crowd = match attack {
        Attack::Stalled => Some(Crowd::start(&broker, &mut scraper, time)?),
        Attack::Heads
        | Attack::Slowloris
        | Attack::Pings
        | Attack::EmptyFragments
        | Attack::TinyFragments
        | Attack::HeldFragments
        | Attack::ManyFragments
        | Attack::Announced
        | Attack::Resets
        | Attack::Names
        | Attack::Frames
        | Attack::Bombs => None,
    };
    // Everyone has been there once before memory is weighed.
    thread::scope(|scope| {
        let warm = Span::new(WARM_UP);
        let address = broker.address();
        let watch = thread::Builder::new().spawn_scoped(scope, move || watch::ping(address, warm));
        watch::come(address, warm);
        watch.map_err(|error| error.to_string())?.join().map_err(said).map(drop)
    })?;
    let descriptors = broker.descriptors();
    let before = watch::memory(&broker, &mut scraper);
    let (ticks, waited) = (broker.cpu_ticks(), waited_s(&broker));
    let span = Span::new(time);
    let mut outcome = watched(attack, &broker, &mut scraper, span)?;
    let took = span.begun.elapsed().as_secs_f64();
    // In hundredths of a second.
    outcome.cores = (broker.cpu_ticks() - ticks) as f64 / 100.0 / took;
    outcome.waited = (waited_s(&broker) - waited) / took;
    outcome.growth_kib = outcome.growth_kib.saturating_sub(before.resident_kib);
    outcome.held_kib = outcome.held_kib.saturating_sub(before.held_bytes / 1_024);
    if let Some(crowd) = crowd {
        outcome.lost += crowd.lost()?;
    }
    let settling = Span::new(SETTLE);
    loop {
        let kept = broker.resident_kib().saturating_sub(before.resident_kib);
        let left = broker.descriptors().saturating_sub(descriptors) as u64;
        (outcome.kept_kib, outcome.descriptors) = (kept, left);
        if settling.is_over() || (kept == 0 && left == 0) {
            break;
        }
        thread::park_timeout(Duration::from_millis(100));
    }
    drop(scraper);
    broker.stop();
    Ok(outcome)
}

/// The attack, and all that look on, at once. Memory is told as it is.
fn watched(
    attack: Attack,
    broker: &Broker,
    scraper: &mut Scraper,
    span: Span,
) -> Result<Outcome, String> {
    let address = broker.address();
    thread::scope(|scope| {
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let attacker = named(attack.name()).spawn_scoped(scope, move || {
            // Where it is not permitted it goes on all the same.
            let nice = rustix::process::getpriority_process(None).unwrap_or(0);
            rustix::process::setpriority_process(None, nice + ATTACKER_NICE).ok();
            floods::carry_out(attack, address, span)
        });
        let bystander = named("bystander").spawn_scoped(scope, move || watch::ping(address, span));
        let newcomers = named("newcomers").spawn_scoped(scope, move || watch::come(address, span));
        let most = watch::most(broker, scraper, span);
        let error = |error: std::io::Error| error.to_string();
        let done = attacker.map_err(error)?.join().map_err(said)?;
        let (pings_ms, pings_lost) = bystander.map_err(error)?.join().map_err(said)?;
        let (newcomers_ms, refused) = newcomers.map_err(error)?.join().map_err(said)?;
        Ok(Outcome {
            done,
            pings_ms,
            lost: pings_lost + refused,
            newcomers_ms,
            growth_kib: most.resident_kib,
            kept_kib: 0,
            held_kib: most.held_bytes / 1_024,
            descriptors: 0,
            cores: 0.0,
            waited: 0.0,
        })
    })
}

/// How long the broker's threads could have run and had no core: the second figure of `schedstat`,
/// in ns. Where the kernel does not tell, 0.
fn waited_s(broker: &Broker) -> f64 {
    let folder = format!("/proc/{}/task", broker.pid());
    let threads = fs::read_dir(folder).into_iter().flatten().flatten();
    let waited = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().nth(1)?.parse::<f64>().ok()
    });
    waited.sum::<f64>() / 1e9
}

/// What a thread said when it gave up.
fn said(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast::<String>().map(|text| *text);
    text.unwrap_or_else(|_| "a thread gave up".to_owned())
}
