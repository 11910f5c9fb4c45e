//! Connections that trusted proxies make for their clients, and where those are.
//!
//! Not here: the header of the PROXY protocol and the fields of requests (`auth`), who is trusted
//! (`net` asks, with the peer's address). Invariants: whom a header of the PROXY protocol names is
//! the peer from then on, and trusted or not by its own address; what a client wrote is never
//! believed.

use super::session::Phase;
use super::shard::{Notice, Shard};
use crate::auth::{self, BadProxyHeader, ProxyHeader, ProxyProtocol, ProxyReader, Trust};
use crate::broker::{ConnKey, Disconnect, Now, PeerAddr};
use crate::http::{Head, HeadReader};

impl Shard {
    /// Notes where a new connection comes from, and what it has to begin with.
    pub(super) fn begin_at_door(&mut self, key: ConnKey, peer: Option<PeerAddr>, now: Now) {
        let protocol = self.settings.proxy_protocol;
        let Some(session) = self.session(key) else { return };
        if peer.is_some() {
            session.papers_mut().address = peer;
        }
        // A proxy's connections are its clients'.
        if let (Some(peer), Trust::Stranger) = (peer, session.trust) {
            self.ask_for_seat(key, peer);
        }
        let Some(session) = self.session(key) else { return };
        match (protocol, session.trust) {
            (ProxyProtocol::Off, _) | (ProxyProtocol::Optional, Trust::Stranger) => {}
            (ProxyProtocol::Required, Trust::Stranger) => {
                self.refuse_proxied(key, BadProxyHeader::Stranger, now);
            }
            (ProxyProtocol::Optional | ProxyProtocol::Required, Trust::Proxy) => {
                if let Some(reader) = ProxyReader::new(protocol) {
                    session.phase = Phase::Proxied(Box::new(reader));
                }
            }
        }
    }

    /// Handles input while a proxy's header is awaited; returns how much was consumed.
    pub(super) fn read_proxied(
        &mut self,
        key: ConnKey,
        mut reader: Box<ProxyReader>,
        input: &[u8],
        now: Now,
    ) -> usize {
        let step = match reader.read(input) {
            Ok(step) => step,
            Err(error) => {
                self.put_phase(key, Phase::Proxied(reader));
                self.refuse_proxied(key, error, now);
                return input.len();
            }
        };
        let Some(header) = step.header else {
            self.put_phase(key, Phase::Proxied(reader));
            return step.consumed;
        };
        // The request has what is left of the handshake's time.
        self.put_phase(key, Phase::Head(HeadReader::default()));
        match header {
            ProxyHeader::Client(client) => self.note_proxied(key, Some(client)),
            ProxyHeader::Unknown => self.note_proxied(key, None),
            ProxyHeader::Own => {}
            ProxyHeader::Absent => {
                // What looked like the beginning of a header begins a request.
                let mut held = reader.take();
                let (consumed, _) = self.ingest(key, &mut held, now);
                debug_assert_eq!(consumed, held.len(), "too short for a request to be complete");
            }
        }
        step.consumed
    }

    /// Whom the proxy speaks for is the peer from now on. One whose address nobody knows counts as
    /// being where the proxy is, and is no proxy.
    fn note_proxied(&mut self, key: ConnKey, client: Option<PeerAddr>) {
        let trust = match client {
            Some(client @ PeerAddr::Ip(_)) => self.settings.trusted_proxies.trust(&client),
            // It came through a Unix socket of the proxy's, and those are not ours.
            Some(PeerAddr::Unix) | None => Trust::Stranger,
        };
        let Some(session) = self.session(key) else { return };
        session.trust = trust;
        if let Some(client) = client {
            session.papers_mut().address = Some(client);
            if trust == Trust::Stranger {
                self.ask_for_seat(key, client);
            }
        }
    }

    fn refuse_proxied(&mut self, key: ConnKey, error: BadProxyHeader, now: Now) {
        self.counters.proxy_headers_refused += 1;
        self.notice(Notice::ProxyHeader { key, error });
        let reason = match error {
            BadProxyHeader::Absent | BadProxyHeader::Stranger => Disconnect::Policy,
            BadProxyHeader::TooLong | BadProxyHeader::Malformed | BadProxyHeader::Datagram => {
                Disconnect::Protocol
            }
        };
        self.close_now(key, reason, now);
    }

    /// Where the client of a connection is, as far as that was asked for: its peer, until a
    /// WebSocket was asked for.
    pub(super) fn address(&self, key: ConnKey) -> Option<PeerAddr> {
        let session = self.sessions.get(key.index, key.generation)?;
        session.papers.as_ref().and_then(|papers| papers.address)
    }

    /// Where the client of a request is: of a trusted proxy's requests each may be of another.
    pub(super) fn client_address(&self, key: ConnKey, head: &Head<'_>) -> Option<PeerAddr> {
        let peer = self.address(key)?;
        let session = self.sessions.get(key.index, key.generation)?;
        let header = self.settings.client_address_header;
        match (session.trust, header.name()) {
            (Trust::Proxy, Some(name)) => {
                let proxies = &self.settings.trusted_proxies;
                Some(auth::client_address(peer, proxies, header, head.fields(name)))
            }
            (Trust::Stranger, _) | (Trust::Proxy, None) => Some(peer),
        }
    }

    /// Notes where the client is that asks for a WebSocket: the connection is its own from now on.
    pub(super) fn note_client(&mut self, key: ConnKey, head: &Head<'_>) {
        let client = self.client_address(key, head);
        if let (Some(client), Some(session)) = (client, self.session(key)) {
            session.papers_mut().address = Some(client);
        }
    }
}

#[cfg(test)]
#[path = "proxied_tests.rs"]
mod tests;
