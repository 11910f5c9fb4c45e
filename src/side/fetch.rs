//! One GET of a small document, bounded in time, in bytes and in where it may lead.
//!
//! Not here: when to fetch again and what the document means (`jwks`). Invariant: no error tells
//! the query or the user part of a URL, which may hold secrets.

use crate::limits::JWKS_REDIRECTS_MAX;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, ResponseExt};

/// Why a document could not be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FetchError {
    /// The server answered, but not with the document.
    Status(u16),
    /// It is longer than the bound.
    TooLong(usize),
    /// The server took too long.
    TimedOut,
    /// It was redirected too often, or nowhere.
    Redirects,
    /// It was redirected from `https` to `http`, or the other way.
    OtherScheme,
    /// The URL is none.
    BadUrl,
    /// The server's certificate, or the way it speaks TLS, is not good.
    Tls(String),
    /// There is no connection to the server.
    Connection(String),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "the server answered with status {status}"),
            Self::TooLong(bytes_max) => write!(f, "the answer is longer than {bytes_max} bytes"),
            Self::TimedOut => f.write_str("the server did not answer in time"),
            Self::Redirects => f.write_str("the redirects lead nowhere"),
            Self::OtherScheme => f.write_str("a redirect leads from https to http, or to https"),
            Self::BadUrl => f.write_str("the URL is malformed"),
            Self::Tls(why) => write!(f, "TLS: {why}"),
            Self::Connection(why) => write!(f, "no connection: {why}"),
        }
    }
}

/// Fetches one document, over and over.
#[derive(Debug)]
pub(super) struct Fetcher {
    agent: Agent,
    url: Box<str>,
    bytes_max: usize,
}

impl Fetcher {
    /// A fetcher of `url`, `http` or `https`, which gives up after `timeout`.
    pub(super) fn new(url: &str, timeout: Duration, bytes_max: usize) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(provider)
            .root_certs(RootCerts::WebPki)
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .https_only(is_https(url))
            .max_redirects(JWKS_REDIRECTS_MAX)
            .timeout_global(Some(timeout))
            .max_idle_connections(0)
            .user_agent(concat!("fanfare/", env!("CARGO_PKG_VERSION")))
            .accept("application/jwk-set+json, application/json")
            .build()
            .new_agent();
        Self { agent, url: url.into(), bytes_max }
    }

    /// Fetches it once. Blocks until it is there or the time is up.
    pub(super) fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        let error = |error| self.error_of(error);
        let mut response = self.agent.get(&*self.url).call().map_err(error)?;
        if response.get_uri().scheme_str() != Some(scheme(is_https(&self.url))) {
            return Err(FetchError::OtherScheme);
        }
        let status = response.status().as_u16();
        if status != 200 {
            return Err(FetchError::Status(status));
        }
        // One more than may be, so that one that is as long as it may be is told from one cut off.
        let body = response.body_mut().with_config().limit(self.bytes_max as u64 + 1);
        let body = body.read_to_vec().map_err(error)?;
        if body.len() > self.bytes_max { Err(self.too_long()) } else { Ok(body) }
    }

    const fn too_long(&self) -> FetchError {
        FetchError::TooLong(self.bytes_max)
    }

    /// What the client's error means. Its own words are told only where they hold no URL.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the client may add errors")]
    fn error_of(&self, error: ureq::Error) -> FetchError {
        match error {
            ureq::Error::StatusCode(status) => FetchError::Status(status),
            ureq::Error::BodyExceedsLimit(_) => self.too_long(),
            ureq::Error::Timeout(_) => FetchError::TimedOut,
            ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed => FetchError::Redirects,
            ureq::Error::RequireHttpsOnly(_) => FetchError::OtherScheme,
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => FetchError::BadUrl,
            ureq::Error::Rustls(error) => FetchError::Tls(error.to_string()),
            ureq::Error::Tls(why) => FetchError::Tls(why.to_owned()),
            ureq::Error::HostNotFound => FetchError::Connection("there is no such host".to_owned()),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                FetchError::TimedOut
            }
            // rustls tells of certificates through here.
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                FetchError::Tls(error.to_string())
            }
            ureq::Error::Io(error) => FetchError::Connection(error.to_string()),
            _ => FetchError::Connection("the exchange failed".to_owned()),
        }
    }
}

fn is_https(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("https"))
}

const fn scheme(is_https: bool) -> &'static str {
    if is_https { "https" } else { "http" }
}

/// A URL for the log: without its query, its fragment and the user in it.
pub fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return "(no URL)".to_owned() };
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(a, b)| (a, Some(b)));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match path {
        Some(path) => format!("{scheme}://{host}/{path}"),
        None => format!("{scheme}://{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        for (url, shown) in [
            ("https://a.example/jwks", "https://a.example/jwks"),
            ("https://a.example", "https://a.example"),
            ("https://me:hush@a.example:8443/k?key=hush#hush", "https://a.example:8443/k"),
            ("http://h@sh@a.example/", "http://a.example/"),
            ("https://a.example/x@y", "https://a.example/x@y"),
            ("https://a.example?hush", "https://a.example"),
            ("hush", "(no URL)"),
        ] {
            assert_eq!(without_secrets(url), shown, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_and_who_does_not_listen_are_told_apart_without_the_url() {
        let fetch = |url: &str| {
            let error = Fetcher::new(url, Duration::from_secs(5), 10).fetch().expect_err(url);
            assert!(!error.to_string().contains("hush"), "{error}");
            error
        };
        assert_eq!(fetch("http://[hush"), FetchError::BadUrl);
        let unused = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
        let unused = unused.expect("a port");
        let refused = fetch(&format!("http://{unused}/?hush"));
        assert!(matches!(refused, FetchError::Connection(_)), "{refused}");
    }
}
