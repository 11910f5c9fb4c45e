//! RFC 1951 read in the plainest way, bit after bit, with the tail of RFC 7692 §7.2.2 behind it.
//! The twin of `ws::Inflater` for `tests/ws_deflate.rs` and the fuzz target.

use fanfare::limits::{DEFLATE_STREAMS_MAX, INFLATED_KEPT_BYTES};
use fanfare::ws::{Context, DataKind, Inflater, ProtocolError};

/// A message, and how far back its bytes referred at most.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Inflated {
    pub(crate) bytes: Vec<u8>,
    pub(crate) distance_max: usize,
}

/// One fuzz input: a byte for the bound, and a compressed message.
pub(crate) fn check(input: &[u8]) {
    let Some((&settings, compressed)) = input.split_first() else { return };
    let (bytes_max, mut inflater) = (1 << (settings % 24), Inflater::new(Context::Reset));
    let kind = if settings < 0x80 { DataKind::Text } else { DataKind::Binary };
    let at_rest = inflater.heap_bytes();
    let expected = inflate(compressed, bytes_max).and_then(|inflated| {
        let text = kind == DataKind::Binary || std::str::from_utf8(&inflated.bytes).is_ok();
        if text { Ok(inflated.bytes) } else { Err(ProtocolError::BadUtf8) }
    });
    for _ in 0..2 {
        let seen = inflater.message(kind, compressed, bytes_max).map(<[u8]>::to_vec);
        assert_eq!(seen, expected, "{compressed:02x?}");
        let grown = inflater.heap_bytes() - at_rest;
        let came = seen.map_or(bytes_max, |bytes| bytes.len());
        let received = (4 * compressed.len()).min(INFLATED_KEPT_BYTES);
        let bound = (2 * came + 1).max(received).max(1024).min(bytes_max + 1);
        assert!(grown <= bound, "{grown} for {came}, {bound} would do");
    }
}

type Read<T> = Result<T, ProtocolError>;

const BAD: ProtocolError = ProtocolError::BadDeflate;

struct Naive<'a> {
    /// The compressed message, then the tail.
    bytes: &'a [u8],
    /// Where the tail begins, in bits.
    tail: usize,
    /// The next bit.
    at: usize,
    out: Inflated,
    bytes_max: usize,
    /// Where the stream began in `out`.
    stream: usize,
}

/// The message that was compressed to `compressed`, if it has at most `bytes_max` bytes.
pub(crate) fn inflate(compressed: &[u8], bytes_max: usize) -> Read<Inflated> {
    let out = Inflated { bytes: Vec::new(), distance_max: 0 };
    if compressed.is_empty() {
        return Ok(out);
    }
    let bytes = [compressed, &[0, 0, 0xFF, 0xFF]].concat();
    let tail = compressed.len() * 8;
    let mut naive = Naive { bytes: &bytes, tail, at: 0, out, bytes_max, stream: 0 };
    let mut streams = 0;
    loop {
        let last = naive.block()?;
        if naive.at > tail {
            // The tail ends a block with its last byte, or it was none.
            return if naive.at.div_ceil(8) == bytes.len() { Ok(naive.out) } else { Err(BAD) };
        }
        if last {
            naive.at = naive.at.next_multiple_of(8);
            naive.stream = naive.out.bytes.len();
            streams += 1;
            if naive.at == tail {
                return Ok(naive.out);
            }
            if streams > DEFLATE_STREAMS_MAX {
                return Err(BAD);
            }
        }
    }
}

impl Naive<'_> {
    fn bit(&mut self) -> Read<usize> {
        let byte = *self.bytes.get(self.at / 8).ok_or(BAD)?;
        let bit = byte >> (self.at % 8) & 1;
        self.at += 1;
        Ok(bit.into())
    }

    fn bits(&mut self, count: usize) -> Read<usize> {
        (0..count).try_fold(0, |sum, index| Ok(sum | self.bit()? << index))
    }

    fn push(&mut self, byte: usize) -> Read<()> {
        if self.at > self.tail {
            return Err(BAD); // The tail carries nothing.
        }
        if self.out.bytes.len() == self.bytes_max {
            return Err(ProtocolError::MessageTooBig);
        }
        self.out.bytes.push(u8::try_from(byte).map_err(|_| BAD)?);
        Ok(())
    }

    /// One block (§3.2.3); whether it was its stream's last.
    fn block(&mut self) -> Read<bool> {
        let last = self.bit()? == 1;
        match self.bits(2)? {
            0 => self.stored()?,
            1 => {
                let lengths = [[8; 144].as_slice(), &[9; 112], &[7; 24], &[8; 8]].concat();
                self.coded(&Code::new(&lengths, false)?, &Code::new(&[5; 32], false)?)?;
            }
            2 => {
                let (literals, distances) = self.codes()?;
                self.coded(&literals, &distances)?;
            }
            _ => return Err(BAD),
        }
        Ok(last)
    }

    fn stored(&mut self) -> Read<()> {
        self.at = self.at.next_multiple_of(8);
        let (len, check) = (self.bits(16)?, self.bits(16)?);
        if len ^ check != 0xFFFF {
            return Err(BAD);
        }
        for _ in 0..len {
            let byte = self.bits(8)?;
            self.push(byte)?;
        }
        Ok(())
    }

    /// The codes of a block that brings its own (§3.2.7).
    fn codes(&mut self) -> Read<(Code, Code)> {
        const ORDER: [usize; 19] =
            [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        let (literals, distances) = (self.bits(5)? + 257, self.bits(5)? + 1);
        let meta_count = self.bits(4)? + 4;
        if literals > 286 || distances > 30 {
            return Err(BAD);
        }
        let mut meta = [0; 19];
        for index in ORDER.into_iter().take(meta_count) {
            meta[index] = self.bits(3)?;
        }
        let meta = Code::new(&meta, false)?;
        let mut lengths = Vec::new();
        while lengths.len() < literals + distances {
            let (value, times) = match meta.decode(self)? {
                16 => (*lengths.last().ok_or(BAD)?, 3 + self.bits(2)?),
                17 => (0, 3 + self.bits(3)?),
                18 => (0, 11 + self.bits(7)?),
                length => (length, 1),
            };
            lengths.extend(std::iter::repeat_n(value, times));
        }
        if lengths.len() > literals + distances || lengths[256] == 0 {
            return Err(BAD);
        }
        let (literals, distances) = lengths.split_at(literals);
        Ok((Code::new(literals, true)?, Code::new(distances, true)?))
    }

    /// The symbols of a block (§3.2.5).
    fn coded(&mut self, literals: &Code, distances: &Code) -> Read<()> {
        loop {
            let symbol = literals.decode(self)?;
            match symbol {
                0..=255 => self.push(symbol)?,
                256 => return Ok(()),
                _ => {
                    let len = self.length(symbol - 257)?;
                    let distance = self.distance(distances)?;
                    if distance > self.out.bytes.len() - self.stream {
                        return Err(BAD);
                    }
                    self.out.distance_max = self.out.distance_max.max(distance);
                    for _ in 0..len {
                        self.push(self.out.bytes[self.out.bytes.len() - distance].into())?;
                    }
                }
            }
        }
    }

    fn length(&mut self, symbol: usize) -> Read<usize> {
        match symbol {
            0..=7 => Ok(symbol + 3),
            8..=27 => {
                let extra = symbol / 4 - 1;
                Ok(((4 + symbol % 4) << extra) + self.bits(extra)? + 3)
            }
            28 => Ok(258),
            _ => Err(BAD),
        }
    }

    fn distance(&mut self, code: &Code) -> Read<usize> {
        match code.decode(self)? {
            symbol @ 0..=3 => Ok(symbol + 1),
            symbol @ 4..=29 => {
                let extra = symbol / 2 - 1;
                Ok(((2 + symbol % 2) << extra) + self.bits(extra)? + 1)
            }
            _ => Err(BAD),
        }
    }
}

/// A Huffman code (§3.2.2): how many codes of each length, and the symbols in order.
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    /// The code of these lengths. One that leaves codes unused is refused, unless `may_be_bare` and
    /// it has no symbol, or one of a single bit.
    fn new(lengths: &[usize], may_be_bare: bool) -> Read<Self> {
        let (mut counts, mut symbols) = ([0; 16], Vec::new());
        let mut codes = 1_usize; // Of this length, that no shorter code begins.
        for (length, count) in counts.iter_mut().enumerate().skip(1) {
            let with = |&(_, other): &(usize, &usize)| *other == length;
            symbols.extend(lengths.iter().enumerate().filter(with).map(|(symbol, _)| symbol));
            *count = lengths.iter().filter(|&&other| other == length).count();
            codes = (codes * 2).checked_sub(*count).ok_or(BAD)?;
        }
        let bare = may_be_bare && symbols.len() <= 1 && symbols.len() == counts[1];
        if codes == 0 || bare { Ok(Self { counts, symbols }) } else { Err(BAD) }
    }

    fn decode(&self, naive: &mut Naive<'_>) -> Read<usize> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code |= naive.bit()?;
            if code < first + count {
                return Ok(self.symbols[index + code - first]);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err(BAD)
    }
}
