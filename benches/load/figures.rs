//! What a client reported about one run of one server, read strictly.
//!
//! Not here: running anything. Invariant: a figure that is missing is an error that names it; none
//! is ever taken for 0. Pure; `tests/load_tables.rs` tests it.

use serde_json::Value;

/// Share of a core above which a client that does not say so itself counts as the bottleneck.
pub(crate) const BUSY_CORES: f64 = 0.9;

/// What must be in every report about messages; none of it may happen.
const FAULTS: [&str; 5] = ["lost", "duplicated", "reordered", "unknown", "connections_ended"];

/// The same, told by newer clients only.
const NEWER_FAULTS: [&str; 2] = ["damaged", "warm_up_lost"];

/// What a client was asked to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// Messages that reach their members, or come back as an echo.
    Deliveries,
    /// Messages that must all come compressed.
    Compressed,
    /// Connections that come and go.
    Cycles,
}

/// One run of one server.
#[derive(Clone, Default, Debug)]
pub(crate) struct Run {
    /// Server CPU time of each delivery or cycle.
    pub(crate) cpu_us: f64,
    pub(crate) user_us: f64,
    /// How busy the client was: a share of its core.
    pub(crate) client_cores: f64,
    /// Whether rate and latency were the client's own.
    pub(crate) is_client_bottleneck: bool,
    /// Messages that the server put into one send, where that is known.
    pub(crate) messages_per_send: Option<f64>,
    /// 50th, 99th and 99.9th percentile; of cycles there is none.
    pub(crate) latency_us: [f64; 3],
    /// Faults by name, those that happened.
    pub(crate) faults: Vec<(&'static str, f64)>,
}

impl Run {
    /// Reads the client's report; in words what it lacks.
    pub(crate) fn of(report: &Value, asked: Asked) -> Result<Self, String> {
        let (counted, latency_us) = match asked {
            Asked::Deliveries | Asked::Compressed => {
                let at = |p: &str| number(report, &format!("/latency_us/{p}"));
                ("/deliveries", [at("p50")?, at("p99")?, at("p99_9")?])
            }
            Asked::Cycles => ("/cycles", [f64::NAN; 3]),
        };
        if number(report, counted)? == 0.0 {
            return Err(format!("`{counted}` is 0: nothing was measured"));
        }
        if asked == Asked::Compressed {
            all_compressed(report)?;
        }
        let client_cores = number(report, "/client/cores")?;
        let told = optional_flag(report, "/client_is_bottleneck")?;
        Ok(Self {
            cpu_us: number(report, "/server/cpu_us_each")?,
            user_us: number(report, "/server/user_us_each")?,
            client_cores,
            is_client_bottleneck: told.unwrap_or(client_cores > BUSY_CORES),
            messages_per_send: optional_number(report, "/messages_per_send")?,
            latency_us,
            faults: faults(report, asked)?,
        })
    }
}

/// What did not come compressed would be measured under the name of what did.
fn all_compressed(report: &Value) -> Result<(), String> {
    let [compressed, all] = [number(report, "/compressed")?, number(report, "/deliveries")?];
    let wrong = || format!("{compressed} of {all} messages came compressed");
    if compressed >= all { Ok(()) } else { Err(wrong()) }
}

fn faults(report: &Value, asked: Asked) -> Result<Vec<(&'static str, f64)>, String> {
    let mut found = Vec::new();
    let (required, newer): (&[&str], &[&str]) = match asked {
        Asked::Deliveries | Asked::Compressed => (&FAULTS, &NEWER_FAULTS),
        Asked::Cycles => (&["failed"], &["warm_up_failed"]),
    };
    for name in required {
        found.push((*name, number(report, &format!("/{name}"))?));
    }
    for name in newer {
        let count = optional_number(report, &format!("/{name}"))?;
        found.push((*name, count.unwrap_or_default()));
    }
    found.retain(|(_, count)| *count != 0.0);
    Ok(found)
}

/// A number that must be there.
pub(crate) fn number(report: &Value, pointer: &str) -> Result<f64, String> {
    match report.pointer(pointer) {
        None => Err(format!("`{pointer}` is missing")),
        Some(value) => value.as_f64().ok_or_else(|| format!("`{pointer}` is {value}")),
    }
}

/// A number that may be absent or null, but nothing else.
fn optional_number(report: &Value, pointer: &str) -> Result<Option<f64>, String> {
    match report.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => number(report, pointer).map(Some),
    }
}

fn optional_flag(report: &Value, pointer: &str) -> Result<Option<bool>, String> {
    let Some(value) = report.pointer(pointer) else { return Ok(None) };
    value.as_bool().map(Some).ok_or_else(|| format!("`{pointer}` is {value}"))
}
