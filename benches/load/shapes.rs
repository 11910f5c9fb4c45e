//! The loads that are compared, one line each.

/// What is asked of floor, broker and client.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Arguments of `fanfare bench floor`.
    pub(crate) floor: Vec<String>,
    /// Arguments of `fanfare bench`, less address, time and core.
    pub(crate) client: Vec<String>,
}

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// CPU time of the server for each delivery or cycle.
    Cpu,
    /// Latency at a rate that both can bear.
    Latency,
    /// Memory, of the broker alone.
    Memory,
}

impl Shape {
    fn new(name: &str, kind: Kind, floor: &str, client: &str) -> Self {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        Self { name: name.to_owned(), kind, floor: words(floor), client: words(client) }
    }

    fn fan_out(members: usize, bytes: usize, window: usize) -> Self {
        let joined = if window > 1 { ", joined" } else { "" };
        Self::new(
            &format!("1 room x {members}, {bytes} B, {window} outstanding{joined}"),
            Kind::Cpu,
            &format!("--kind fanout --join {window}"),
            &format!("--subs {members} --size {bytes} --window {window}"),
        )
    }
}

/// Every shape, in the order of the table.
pub(crate) fn all() -> Vec<Shape> {
    let members = [1, 10, 100, 1_000, 10_000];
    let mut shapes: Vec<Shape> = members.map(|members| Shape::fan_out(members, 128, 1)).into();
    shapes.extend(members.map(|members| Shape::fan_out(members, 128, 64)));
    shapes.push(Shape::fan_out(1_000, 16 * 1024, 1));
    shapes.push(Shape::fan_out(1_000, 16 * 1024, 8));
    for (name, kind, floor, client) in [
        (
            "1000 rooms x 10, 128 B, 1 outstanding",
            Kind::Cpu,
            "--kind fanout",
            "--rooms 1000 --subs 10",
        ),
        ("echo, 500 connections, 512 B", Kind::Cpu, "--kind echo", "echo --conns 500 --size 512"),
        (
            "connect, join, close frame",
            Kind::Cpu,
            "--kind connect",
            "connect --leave frame --window 32",
        ),
        ("connect, join, hang up", Kind::Cpu, "--kind connect", "connect --leave drop --window 32"),
        ("100 msg/s to 1000, open loop", Kind::Latency, "--kind fanout", "--subs 1000 --rate 100"),
        ("idle, 15000 in 1 room", Kind::Memory, "", "idle --conns 15000"),
        ("idle, 15000 in 1500 rooms", Kind::Memory, "", "idle --conns 15000 --rooms 1500"),
    ] {
        shapes.push(Shape::new(name, kind, floor, client));
    }
    shapes
}
