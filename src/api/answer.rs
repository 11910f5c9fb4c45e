//! What a request is told: one function per outcome.
//!
//! Not here: refusals that the head alone decides (`intent`), statuses of the HTTP layer itself
//! (`http`). Invariants: every 503 says when to come back, and its problem says what ran out; what
//! changes from one moment to the next is not cached.

use crate::broker::LoopId;
use crate::http::Response;
use crate::limits::RETRY_AFTER_S;

/// The media type of `GET /metrics`.
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The message was numbered by its room and is on its way to its members.
pub fn published(seq: u64, epoch: u64, receivers: u32) -> Response {
    let body = format!(r#"{{"seq":{seq},"epoch":"{epoch:016x}","receivers":{receivers}}}"#);
    Response::json(200, body.into_bytes())
}

/// It is on its way to that many connections.
pub fn told(receivers: u32) -> Response {
    Response::json(200, format!(r#"{{"receivers":{receivers}}}"#).into_bytes())
}

/// The loops in `missing` did not answer in time: what was to be told to everyone may not have
/// reached their connections.
pub fn unanswered(missing: &[LoopId]) -> Response {
    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let missing = missing.join(", ");
    come_back(&format!("unavailable: some loops did not answer in time: {missing}"))
}

/// The message would have created a room, and there are as many as there may be.
pub fn room_limit() -> Response {
    come_back("room-limit: the broker holds as many rooms as it may")
}

/// The request comes from an address that has as many connections as it may.
pub fn beyond_address() -> Response {
    let text = "address-limit: this address has as many connections as it may";
    Response::problem(429, text).with_field("Retry-After", RETRY_AFTER_S.to_string())
}

/// Too many requests came from whoever sends this one; the next may come in so many milliseconds.
pub fn rate_limited(retry_after_ms: u64) -> Response {
    let seconds = retry_after_ms.div_ceil(1_000).max(1);
    let text = "rate-limited: too much was sent in a short time";
    Response::problem(429, text).with_field("Retry-After", seconds.to_string())
}

/// There are as many connections as there may be.
pub fn no_such_room() -> Response {
    let text = "forbidden: the room does not exist, and create is not granted there";
    Response::problem(403, text)
}

/// The broker holds as many connections as it may.
pub fn over_capacity() -> Response {
    come_back("over-capacity: the broker holds as many connections as it may")
}

/// More connections came than may in a second; in that many this one's turn would come.
pub fn too_fast(retry_after_s: u8) -> Response {
    let detail = "accept-rate: more connections came at once than the broker takes in";
    come_back_in(retry_after_s.into(), detail)
}

/// The process uses as much memory as it may.
pub fn short_of_memory() -> Response {
    come_back("memory: the broker uses as much as it may")
}

/// The process is shutting down.
pub fn draining() -> Response {
    come_back("draining: the broker is shutting down")
}

fn come_back(detail: &str) -> Response {
    come_back_in(RETRY_AFTER_S, detail)
}

fn come_back_in(seconds: u32, detail: &str) -> Response {
    Response::problem(503, detail).with_field("Retry-After", seconds.to_string())
}

/// All `loops` answered.
pub fn healthy(loops: usize) -> Response {
    uncached(Response::json(200, format!(r#"{{"status":"ok","loops":{loops}}}"#).into_bytes()))
}

/// The loops in `missing` did not answer in time; for `/healthz`, and for `/metrics`, whose sums
/// would be wrong without them.
pub fn unhealthy(missing: &[LoopId]) -> Response {
    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let body = format!(r#"{{"status":"failing","loops_missing":[{}]}}"#, missing.join(","));
    uncached(Response::json(503, body.into_bytes()))
}

/// Whether new connections are welcome.
pub fn ready(is_ready: bool) -> Response {
    uncached(if is_ready {
        Response::json(200, br#"{"status":"ready"}"#.to_vec())
    } else {
        Response::json(503, br#"{"status":"not-ready"}"#.to_vec())
    })
}

/// The text of `observe::render`.
pub fn metrics(text: String) -> Response {
    uncached(Response::text(200, METRICS_CONTENT_TYPE, text.into_bytes()))
}

fn uncached(response: Response) -> Response {
    response.with_field("Cache-Control", "no-store")
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::api::replay::{status, text};
    use serde_json::json;

    fn body(response: &Response) -> serde_json::Value {
        let text = text(response);
        let (_, body) = text.split_once("\r\n\r\n").expect("a head");
        serde_json::from_str(body).expect("JSON")
    }

    #[test]
    fn a_publication_is_told_its_place() {
        let response = published(1, 0xf00d, 3);
        assert_eq!(status(&response), 200);
        let told = r#"{"seq":1,"epoch":"000000000000f00d","receivers":3}"#;
        assert!(text(&response).ends_with(told));
        let most = body(&published(u64::MAX, u64::MAX, u32::MAX));
        let told = json!({ "seq": u64::MAX, "epoch": "ffffffffffffffff", "receivers": u32::MAX });
        assert_eq!(most, told);
    }

    #[test]
    fn what_reaches_everyone_says_how_many_that_is_and_who_may_be_missing() {
        assert_eq!((status(&told(3)), body(&told(3))), (200, json!({ "receivers": 3 })));
        let detail = body(&unanswered(&[LoopId(1), LoopId(3)]))["detail"].to_string();
        assert!(detail.ends_with("in time: 1, 3\""), "{detail}");
    }

    #[test]
    fn what_ran_out_is_named_and_when_to_come_back() {
        for (response, problem) in [
            (room_limit(), "room-limit"),
            (over_capacity(), "over-capacity"),
            (short_of_memory(), "memory"),
            (draining(), "draining"),
            (unanswered(&[LoopId(1)]), "unavailable"),
        ] {
            assert_eq!(status(&response), 503);
            let detail = body(&response)["detail"].to_string();
            assert!(detail.starts_with(&format!("\"{problem}: ")), "{detail}");
            assert!(text(&response).contains(&format!("\r\nRetry-After: {RETRY_AFTER_S}\r\n")));
        }
        let turn = too_fast(17);
        assert!(body(&turn)["detail"].to_string().starts_with("\"accept-rate: "));
        assert!(status(&turn) == 503 && text(&turn).contains("\r\nRetry-After: 17\r\n"));
    }

    #[test]
    fn health_names_the_loops_that_did_not_answer() {
        let fine = healthy(2);
        assert_eq!((status(&fine), body(&fine)), (200, json!({ "status": "ok", "loops": 2 })));
        let ill = unhealthy(&[LoopId(1), LoopId(3)]);
        let told = json!({ "status": "failing", "loops_missing": [1, 3] });
        assert_eq!((status(&ill), body(&ill)), (503, told));
        assert_eq!((status(&ready(true)), status(&ready(false))), (200, 503));
    }

    #[test]
    fn what_changes_is_not_cached() {
        let changing =
            [healthy(1), unhealthy(&[]), ready(true), ready(false), metrics("# EOF\n".to_owned())];
        for response in changing {
            assert!(text(&response).contains("\r\nCache-Control: no-store\r\n"));
        }
    }
}
