//! A second kind of client that others wrote: `ws` on Node, driven by `tests/clients/rooms.mjs`.
//!
//! Invariant: it carries out its part of the same plan and reports what it saw in the same words.

use super::broker::Broker;
use super::plan::{Kind, Letter, Plan, Seen};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// The process. It ends with the test.
#[derive(Debug)]
pub(crate) struct Node {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Node {
    /// Connects those members of the plan for which `theirs` holds.
    pub(crate) fn join(broker: &Broker, plan: &Plan, theirs: impl Fn(usize) -> bool) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        assert!(
            folder.join("node_modules/ws").exists(),
            "the Node client is not installed: tests/clients/install"
        );
        let mut child = Command::new("node")
            .arg(folder.join("rooms.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node 18 or newer is installed");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut node = Self { child, stdout };
        let members = plan.members.iter().enumerate().filter(|(place, _)| theirs(*place));
        let members: Vec<Value> = members
            .map(|(place, member)| {
                let letters = member.letters.iter().map(
                    |Letter { kind, bytes }| json!({ "text": *kind == Kind::Text, "bytes": bytes }),
                );
                let query = if member.echo { "" } else { "?echo=0" };
                let room = Plan::name(member.room);
                json!({
                    "sender": place,
                    "url": broker.room_url(&format!("{room}{query}")),
                    "letters": letters.collect::<Vec<_>>(),
                })
            })
            .collect();
        node.say(&Value::from(members).to_string());
        assert_eq!(node.line(), "joined");
        node
    }

    /// Lets it send.
    pub(crate) fn go(&mut self) {
        self.say("go");
    }

    /// Waits until each of its members saw its room's end; what each saw before, in their order.
    pub(crate) fn seen(mut self) -> Vec<Vec<Seen>> {
        let line = self.line();
        let verdict: Value = serde_json::from_str(&line).expect(&line);
        assert_eq!(verdict["faults"], json!([]), "Node found faults");
        let members = verdict["seen"].as_array().expect("a list").iter();
        members
            .map(|member| member.as_array().expect("a list").iter().map(seen).collect())
            .collect()
    }

    fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("stdin is piped");
        writeln!(stdin, "{line}").expect("it reads its stdin");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("its stdout is text");
        line.trim_end().to_owned()
    }
}

fn seen(message: &Value) -> Seen {
    let kind = if message["text"] == true { Kind::Text } else { Kind::Binary };
    let bytes = message["bytes"].as_u64().and_then(|bytes| usize::try_from(bytes).ok());
    let head = message["head"].as_str().expect("a head").to_owned();
    Seen { kind, bytes: bytes.expect("a length"), head }
}
