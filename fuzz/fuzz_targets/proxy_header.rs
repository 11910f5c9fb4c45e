//! Any pieces of a beginning (their sizes first) say the same as one piece, and lose no byte.
#![no_main]
use fanfare::auth::{BadProxyHeader, ProxyHeader, ProxyProtocol, ProxyReader};
use fanfare::limits::PROXY_HEADER_BYTES_MAX;

/// What was said, and all bytes that are left for what comes behind it.
type Said = Result<Option<(ProxyHeader, Vec<u8>)>, BadProxyHeader>;
fn feed(how: ProxyProtocol, pieces: &[&[u8]]) -> Said {
    let mut reader = ProxyReader::new(how).expect("a reader");
    for (nth, piece) in pieces.iter().enumerate() {
        let step = reader.read(piece)?;
        assert!(reader.held_bytes() <= 2 * PROXY_HEADER_BYTES_MAX);
        let Some(header) = step.header else { continue };
        let mut left = if header == ProxyHeader::Absent { reader.take() } else { Vec::new() };
        left.extend_from_slice(&piece[step.consumed..]);
        left.extend(pieces[nth + 1..].concat());
        return Ok(Some((header, left)));
    }
    Ok(None)
}
libfuzzer_sys::fuzz_target!(|data: (Vec<u8>, &[u8])| {
    let (mut pieces, mut rest) = (vec![], data.1);
    for &size in &data.0 {
        pieces.push(rest.split_off(..rest.len().min(size.into())).unwrap_or_default());
    }
    pieces.push(rest);
    for how in [ProxyProtocol::Required, ProxyProtocol::Optional] {
        assert_eq!(feed(how, &pieces), feed(how, &[data.1]));
    }
});
