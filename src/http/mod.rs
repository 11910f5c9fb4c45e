//! http (stub).
#![allow(missing_docs, clippy::all, clippy::allow_attributes, reason = "stub")]
mod spill;
pub use spill::Spill;
use std::borrow::Cow;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Other,
}
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    Http10,
    Http11,
}
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyFraming {
    None,
    Length(u64),
    Chunked,
}
#[derive(Debug)]
pub struct Head<'a> {
    pub method: Method,
    pub target: &'a str,
    pub version: Version,
    pub body: BodyFraming,
    fields: Vec<(&'a str, &'a [u8])>,
}
impl<'a> Head<'a> {
    pub fn stub(text: &'a str) -> Self {
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let method = match words.next() {
            Some("GET") => Method::Get,
            Some("POST") => Method::Post,
            Some("HEAD") => Method::Head,
            _ => Method::Other,
        };
        let target = words.next().unwrap_or_default();
        let version =
            if words.next() == Some("HTTP/1.0") { Version::Http10 } else { Version::Http11 };
        let fields: Vec<_> = lines
            .filter_map(|l| l.split_once(':'))
            .map(|(n, v)| (n, v.trim().as_bytes()))
            .collect();
        let mut head = Self { method, target, version, body: BodyFraming::None, fields };
        if let Some(len) = head.field("content-length") {
            head.body = BodyFraming::Length(
                std::str::from_utf8(len).ok().and_then(|l| l.parse().ok()).unwrap_or(0),
            );
        }
        if head.field("transfer-encoding").is_some() {
            head.body = BodyFraming::Chunked;
        }
        head
    }
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields(name).next()
    }
    pub fn fields<'x>(&'x self, name: &'x str) -> impl Iterator<Item = &'a [u8]> + 'x {
        self.fields.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|&(_, v)| v)
    }
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.fields(name)
            .flat_map(|v| v.split(|&b| b == b','))
            .any(|t| t.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }
}
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub detail: String,
    pub fields: Vec<(&'static str, Cow<'static, str>)>,
}
impl Response {
    pub fn problem(status: u16, detail: &str) -> Self {
        Self { status, detail: detail.into(), fields: Vec::new() }
    }
    pub fn with_field(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.fields.push((name, value.into()));
        self
    }
}
