//! Any pieces of a connection (their sizes first) give the same requests and error as one piece.
#![no_main]
use fanfare::http::{BodyFraming, BodyReader, Fields, HeadReader, RequestError, parse_head};

fn feed(pieces: &[&[u8]], seen: &mut Vec<String>) -> Result<(), RequestError> {
    let (mut heads, mut body) = (HeadReader::default(), BodyReader::new(BodyFraming::None, 0)?);
    for mut input in pieces.iter().copied() {
        loop {
            let step = body.read(input)?;
            input = &input[step.consumed..];
            let next = if step.done { heads.read(input)? } else { break };
            input = &input[next.consumed..];
            let Some(bytes) = next.head else { break };
            let mut fields = Fields::new();
            let head = parse_head(&bytes, &mut fields)?;
            let last = std::mem::replace(&mut body, BodyReader::new(head.body, 1 << 16)?).take();
            seen.push(format!("{last:?} {head:?}"));
        }
    }
    seen.push(format!("{:?}", body.take()));
    Ok(())
}
libfuzzer_sys::fuzz_target!(|data: (Vec<u8>, &[u8])| {
    let (mut whole, mut split, mut pieces, mut rest) = (vec![], vec![], vec![], data.1);
    for &size in &data.0 {
        pieces.push(rest.split_off(..rest.len().min(size.into())).unwrap_or_default());
    }
    pieces.push(rest);
    assert_eq!((feed(&[data.1], &mut whole), whole), (feed(&pieces, &mut split), split));
});
