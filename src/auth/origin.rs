//! Whose pages may connect: an allow-list of origins (RFC 6454, RFC 6455 §10.2).
//!
//! Not here: how the list is written in a configuration (`config` splits it). Browsers set
//! `Origin` and scripts can't change it, so it tells whose page is talking; who sends none is no
//! browser, and is kept out only where that is asked for. Invariant: an origin that is not
//! understood to the last byte is foreign.

use super::same_host::same_host;
use crate::limits::{ORIGIN_SHOWN_BYTES_MAX, ORIGINS_MAX};
use std::fmt;

/// Schemes of pages that come over a network, and their ports.
const WEB: [(&str, u16); 2] = [("http", 80), ("https", 443)];

/// Which origins are let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OriginPolicy {
    allowed: Vec<Allowed>,
    missing: bool,
}

/// One item of the list.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Allowed {
    /// Pages of the host that is connected to.
    SameHost,
    /// Whoever it is.
    Everyone,
    /// `Origin: null`: a sandboxed frame, a local file; anyone can make a page of that origin.
    Null,
    Site(Site),
}

/// One origin, or all below one.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Site {
    /// In lower case; `None` is both of [`WEB`].
    scheme: Option<Box<str>>,
    /// Whether the sites are those with labels in front of `host`.
    is_below: bool,
    /// In lower case.
    host: Box<str>,
    /// `None` is the scheme's own.
    port: Option<u16>,
}

/// What a page's origin is made of.
#[derive(Clone, Copy, Debug)]
struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    /// The port, or the scheme's own.
    port: Option<u16>,
}

/// Pages of that origin are not let in; [`fmt::Display`] is for the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OriginRefused {
    /// None of the list's. Escaped and cut.
    Foreign(Box<str>),
    /// There is more than one `Origin`.
    Several,
    /// There is none.
    Missing,
}

/// The text is no item of the list; [`fmt::Display`] says what would be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadOrigin;

impl Default for OriginPolicy {
    fn default() -> Self {
        Self { allowed: vec![Allowed::SameHost], missing: true }
    }
}

impl OriginPolicy {
    /// How the pages of the host itself are written.
    pub const SAME_HOST: &'static str = "same-host";

    /// Lets in the origins of this list instead of those before; at most [`ORIGINS_MAX`] (the
    /// configuration refuses more).
    pub fn allow<'a>(&mut self, raws: impl IntoIterator<Item = &'a str>) -> Result<(), BadOrigin> {
        self.allowed = raws.into_iter().map(Allowed::parse).collect::<Result<_, _>>()?;
        debug_assert!(self.allowed.len() <= ORIGINS_MAX);
        Ok(())
    }

    /// Says whether who sends no `Origin` may connect.
    pub const fn allow_missing(&mut self, missing: bool) {
        self.missing = missing;
    }

    /// Whether everyone is let in, whatever page it is.
    pub fn is_open(&self) -> bool {
        self.allowed.contains(&Allowed::Everyone)
    }

    /// Whether a WebSocket may be opened. `origins` are all `Origin` fields of the request, `host`
    /// is what the client said it connects to. O(list).
    pub fn check<'a>(
        &self,
        origins: impl IntoIterator<Item = &'a [u8]>,
        host: Option<&str>,
    ) -> Result<(), OriginRefused> {
        let mut origins = origins.into_iter();
        match origins.next() {
            None if self.missing => Ok(()),
            None => Err(OriginRefused::Missing),
            Some(_) if origins.next().is_some() => Err(OriginRefused::Several),
            Some(origin) if self.allows(origin, host) => Ok(()),
            Some(origin) => Err(OriginRefused::foreign(origin)),
        }
    }

    /// As [`Self::check`], for a request that opens no WebSocket: servers send no `Origin`, and
    /// browsers always do where it matters.
    pub fn check_request<'a>(
        &self,
        origins: impl IntoIterator<Item = &'a [u8]>,
        host: Option<&str>,
    ) -> Result<(), OriginRefused> {
        match self.check(origins, host) {
            Ok(()) | Err(OriginRefused::Missing) => Ok(()),
            Err(refused @ (OriginRefused::Foreign(_) | OriginRefused::Several)) => Err(refused),
        }
    }

    fn allows(&self, raw: &[u8], host: Option<&str>) -> bool {
        let origin = str::from_utf8(raw).ok().and_then(Origin::parse);
        self.allowed.iter().any(|allowed| match allowed {
            Allowed::Everyone => true,
            Allowed::SameHost => same_host(raw, host),
            Allowed::Null => raw == b"null",
            Allowed::Site(site) => origin.is_some_and(|origin| site.fits(origin)),
        })
    }
}

impl Allowed {
    fn parse(raw: &str) -> Result<Self, BadOrigin> {
        match raw {
            OriginPolicy::SAME_HOST => Ok(Self::SameHost),
            "*" => Ok(Self::Everyone),
            "null" => Ok(Self::Null),
            site => Site::parse(site).map(Self::Site).ok_or(BadOrigin),
        }
    }
}

impl Site {
    /// An origin as browsers write it, a host that stands for two of them, and either with `*.` in
    /// front of its host.
    fn parse(raw: &str) -> Option<Self> {
        let (scheme, authority) = match raw.split_once("://") {
            Some((scheme, authority)) => (Some(scheme), authority),
            None => (None, raw),
        };
        let (is_below, authority) = match authority.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, authority),
        };
        let whole = [scheme.unwrap_or("https"), authority].join("://");
        let origin = Origin::parse(&whole)?;
        let has_port = authority.len() > origin.host.len();
        // Above addresses there are no names.
        let is_name = origin.host.starts_with(|first: char| first != '[')
            && origin.host.rsplit('.').next().is_some_and(|last| !is_number(last));
        let has_gap = origin.host.split('.').any(str::is_empty);
        if (is_below && !is_name) || has_gap || (scheme.is_none() && has_port) {
            return None;
        }
        let lower = |text: &str| text.to_ascii_lowercase().into_boxed_str();
        let port = scheme.and(origin.port);
        Some(Self { scheme: scheme.map(lower), is_below, host: lower(origin.host), port })
    }

    fn fits(&self, origin: Origin<'_>) -> bool {
        let scheme_fits = match &self.scheme {
            Some(scheme) => scheme.eq_ignore_ascii_case(origin.scheme) && self.port == origin.port,
            None => own_port(origin.scheme).is_some() && own_port(origin.scheme) == origin.port,
        };
        let host_fits = || match (self.is_below, origin.host.len().checked_sub(self.host.len())) {
            (false, Some(0)) => self.host.eq_ignore_ascii_case(origin.host),
            (true, Some(more @ 2..)) => {
                // Both parts are there: hosts are ASCII.
                let (labels, apex) = origin.host.split_at_checked(more).unwrap_or_default();
                let labels = labels.strip_suffix('.').unwrap_or_default();
                labels.split('.').all(|label| !label.is_empty())
                    && self.host.eq_ignore_ascii_case(apex)
            }
            (_, _) => false,
        };
        scheme_fits && host_fits()
    }
}

impl<'a> Origin<'a> {
    /// `scheme://host[:port]` and nothing else.
    fn parse(raw: &'a str) -> Option<Self> {
        let (scheme, authority) = raw.split_once("://")?;
        let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            || !scheme.bytes().all(in_scheme)
        {
            return None;
        }
        let (host, port) = split_port(authority)?;
        Some(Self { scheme, host, port: port.or(own_port(scheme)) })
    }
}

/// The port of a scheme whose pages come over a network; apps and extensions have none.
pub(super) fn own_port(scheme: &str) -> Option<u16> {
    let known = WEB.into_iter().find(|(name, _)| scheme.eq_ignore_ascii_case(name));
    known.map(|(_, port)| port)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Takes `host[:port]` apart; `None` where it is anything more (user, path, list) or less.
pub(super) fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let bracketed = authority.starts_with('[');
    let host_end = match bracketed {
        true => authority.find(']')? + 1,
        false => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at_checked(host_end)?;
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match (bracketed, inside) {
        (true, Some(address)) => {
            !address.is_empty()
                && address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte))
        }
        (true, None) => false,
        (false, _) => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        }
    };
    if !is_host {
        return None;
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Some((host, None)),
        None => None,
        Some("") => Some((host, None)), // RFC 3986 §3.2.3.
        Some(digits) if is_number(digits) => Some((host, Some(digits.parse().ok()?))),
        Some(_) => None,
    }
}

impl OriginRefused {
    fn foreign(raw: &[u8]) -> Self {
        let shown = raw.escape_ascii().take(ORIGIN_SHOWN_BYTES_MAX);
        Self::Foreign(shown.map(char::from).collect())
    }

    /// What an operator could do about it, for the log.
    pub fn remedy(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(move |f| match self {
            Self::Foreign(origin) => write!(f, "origin.allowed would have to list \"{origin}\""),
            Self::Several => f.write_str("a client or proxy that sends several is broken"),
            Self::Missing => f.write_str("origin.missing would have to be true"),
        })
    }
}

impl fmt::Display for OriginRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(origin) => write!(f, "pages of {origin} may not connect"),
            Self::Several => f.write_str("Origin is there more than once"),
            Self::Missing => f.write_str("Origin is missing: who is no browser may not connect"),
        }
    }
}

impl fmt::Display for BadOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an origin is as browsers send it, such as https://app.example.com or \
             http://localhost:5173, without a path and in ASCII; https://*.example.com is all below \
             that name, a bare host both http and https, and then there are same-host, null, and * \
             for everyone",
        )
    }
}

#[cfg(test)]
#[path = "origin_tests.rs"]
mod tests;
