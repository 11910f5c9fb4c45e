//! `fanfare bench echo`: each connection sends a message and waits until it comes back.

use super::bounds::connections;
use super::client::{Content, Masking, Protocol};
use super::pace::Pace;
use super::run::{Limits, Timing, execute};
use super::shape::Shape;
use super::target::Target;
use crate::ws::DataKind;
use std::num::NonZeroU32;
use std::process::ExitCode;

/// How many, and how much.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    timing: Timing,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = connections)]
    conns: usize,
    /// Payload bytes of each message, from 40 to 16777216
    #[arg(long, value_name = "B", default_value_t = 512)]
    size: usize,
    /// What messages are made of
    #[arg(long, value_enum, default_value_t = Content::Dots)]
    content: Content,
    /// Offer permessage-deflate
    #[arg(long)]
    deflate: bool,
    /// Messages each connection has under way
    #[arg(long, value_name = "N", default_value = "1")]
    window: NonZeroU32,
    /// The path of the echo; on this broker it needs --echo-route
    #[arg(long, value_name = "PATH", default_value = "/echo")]
    path: String,
}

/// Measures and reports: a connection is a room of its own.
pub(super) fn run(args: &Args) -> ExitCode {
    let shape = Shape {
        room: String::new(),
        rooms: args.conns,
        members: 1,
        publishers: 1,
        size: args.size,
        kind: DataKind::Binary,
        masking: Masking::Random,
        content: args.content,
        deflate: args.deflate,
        protocol: Protocol::Raw,
        batch: false,
        pace: Pace::Window(args.window.get()),
        path: args.path.clone(),
        message: None,
        join: None,
    };
    execute(&args.target, shape, args.timing, args.limits)
}
