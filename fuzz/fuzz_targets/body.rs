//! A chunked body is the same however it is cut, and what is written in chunks is read back.
#![no_main]

mod cuts;

use libfuzzer_sys::fuzz_target;
use myriapod::base::buffer::ReadBuffer;
use myriapod::config::Limits;
use myriapod::http::Framing;
use myriapod::proto::Violation;
use myriapod::proto::h1::body::{BodyDecoder, Piece};
use myriapod::proto::h1::encode;

/// How far it came: the body, and the bytes behind it when it is over.
type Read = (Vec<u8>, Option<Vec<u8>>, Option<Violation>);

fn decode<'a>(parts: impl IntoIterator<Item = &'a [u8]>, room: usize) -> Read {
    let limits = Limits { body_bytes_max: 100_000, ..Limits::default() };
    let mut decoder = BodyDecoder::new(Framing::Chunked, &limits);
    let mut input = ReadBuffer::with_size(room as u32 + 1);
    let (mut body, mut parts) = (Vec::new(), parts.into_iter());
    loop {
        match decoder.next(&mut input, &limits) {
            Ok(Piece::Bytes(count)) => {
                assert!(count > 0);
                body.extend_from_slice(&input.unread()[..count]);
                input.consume(count);
            }
            Ok(Piece::Trailer(_)) => unreachable!("nobody asked for trailers"),
            Ok(Piece::End) => {
                let rest = [input.unread(), &parts.collect::<Vec<_>>().concat()].concat();
                return (body, Some(rest), None);
            }
            Ok(Piece::Starved) => {
                let Some(part) = parts.next() else { return (body, None, None) };
                input.room()[..part.len()].copy_from_slice(part);
                input.received(part.len());
            }
            Err(violation) => return (body, None, Some(violation)),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((seed, bytes)) = cuts::split(data) else { return };
    let whole = decode([bytes], bytes.len());
    let cut = decode(cuts::parts(seed, bytes), bytes.len());
    assert_eq!((&whole.0, &whole.1, whole.2.is_some()), (&cut.0, &cut.1, cut.2.is_some()));

    let mut wire = Vec::new();
    cuts::parts(!seed, bytes).into_iter().for_each(|part| encode::chunk(&mut wire, part));
    wire.extend_from_slice(encode::LAST_CHUNK);
    wire.extend_from_slice(b"NEXT");
    let back = decode(cuts::parts(seed, &wire), wire.len());
    assert_eq!(back, (bytes.to_vec(), Some(b"NEXT".to_vec()), None));
});
