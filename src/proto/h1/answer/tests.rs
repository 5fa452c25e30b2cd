//! Answers, sound and hostile, and what is read of them.

use super::*;
use crate::http::Status;

/// What was told of a connection's bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    heads: Vec<(u16, AnswerFraming)>,
    body: Vec<u8>,
    trailers: String,
    is_whole: bool,
    stays: bool,
    rest: Vec<u8>,
}

struct Peer {
    method: Method,
    asks_upgrade: bool,
    limits: AnswerLimits,
    room: u32,
}

const GET: Peer = Peer {
    method: Method::Get,
    asks_upgrade: false,
    limits: AnswerLimits { head_bytes_max: 512, fields_max: 8, interims_max: 2 },
    room: 512,
};

impl Peer {
    /// Reads these parts, and then the end of the connection where the answer is not whole by then.
    fn read<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Told, Fault> {
        let mut reader = AnswerReader::new(self.method, self.asks_upgrade);
        let (mut input, mut index) = (ReadBuffer::with_size(self.room), AnswerIndex::default());
        let (mut told, mut parts) = (Told::default(), parts.into_iter());
        let (mut part, mut ended): (&[u8], _) = (b"", false);
        loop {
            match reader.receive(&mut input, &mut index, &self.limits)? {
                AnswerStep::Starved if told.is_whole => break,
                AnswerStep::Starved => {
                    while part.is_empty() && !ended {
                        match parts.next() {
                            Some(next) => part = next,
                            None => {
                                reader.end()?;
                                ended = true;
                            }
                        }
                    }
                    let room = input.room();
                    let count = room.len().min(part.len());
                    assert!(count > 0 || ended, "starves over a full buffer");
                    room[..count].copy_from_slice(&part[..count]);
                    input.received(count);
                    part = &part[count..];
                }
                AnswerStep::Interim | AnswerStep::Head => {
                    told.heads.push((index.status.code(), index.framing));
                    input.consume(usize::from(index.head_len));
                }
                AnswerStep::Switched => {
                    told.heads.push((101, index.framing));
                    input.consume(usize::from(index.head_len));
                    told.is_whole = true;
                }
                AnswerStep::Body(count) => {
                    assert!(count > 0);
                    told.body.extend_from_slice(&input.unread()[..count]);
                    input.consume(count);
                }
                AnswerStep::Trailer(count) => {
                    told.trailers.push_str(std::str::from_utf8(&input.unread()[..count]).unwrap());
                    input.consume(count);
                }
                AnswerStep::Whole => {
                    assert!(!std::mem::replace(&mut told.is_whole, true), "told once");
                }
            }
        }
        told.stays = reader.may_stay();
        told.rest = [input.unread(), part, &parts.collect::<Vec<_>>().concat()].concat();
        Ok(told)
    }

    /// Whole, in parts of every size, and in two parts at every place: all the same.
    fn read_every_way(&self, wire: &[u8]) -> Result<Told, Fault> {
        let whole = self.read([wire]);
        for size in 1..wire.len() {
            self.agree(&whole, &self.read(wire.chunks(size)), wire, size);
            let (front, back) = wire.split_at(size);
            self.agree(&whole, &self.read([front, back]), wire, size);
        }
        whole
    }

    fn agree(&self, whole: &Result<Told, Fault>, cut: &Result<Told, Fault>, wire: &[u8], at: usize) {
        // A head that never ends is cut, or it is whatever its last lines are: which of the two depends on
        // when it was last looked at.
        if let (Err(_), Err(Fault::Cut)) = (whole, cut) {
            return;
        }
        assert_eq!(whole, cut, "{:?} at {at}", String::from_utf8_lossy(wire));
    }
}

fn told(wire: &str) -> Told {
    GET.read_every_way(wire.as_bytes()).unwrap_or_else(|fault| panic!("{fault:?}: {wire:?}"))
}

#[test]
fn an_answer_ends_where_its_framing_says() {
    let got = told("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloNEXT");
    assert_eq!(
        (got.heads, got.body, got.stays),
        (vec![(200, AnswerFraming::Length(5))], b"hello".to_vec(), true)
    );
    assert_eq!(got.rest, b"NEXT");

    let got =
        told("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\nNEXT");
    assert_eq!((got.body, got.trailers, got.stays), (b"hello".to_vec(), "X-Sum: 1\r\n".to_owned(), true));
    assert_eq!(got.rest, b"NEXT");

    let got = told("HTTP/1.1 200 OK\r\n\r\nhello and so on");
    assert_eq!((got.heads, got.stays), (vec![(200, AnswerFraming::ToEnd)], false));
    assert_eq!((got.body, got.is_whole), (b"hello and so on".to_vec(), true));

    let got = told("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((got.heads, got.is_whole, got.stays), (vec![(200, AnswerFraming::Length(0))], true, true));
}

#[test]
fn some_answers_have_no_body_whatever_they_say() {
    for status in ["204", "304"] {
        let got = told(&format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!((got.heads[0].1, got.is_whole, got.stays), (AnswerFraming::Nothing, true, true));
        let got = told(&format!("HTTP/1.1 {status} X\r\n\r\n"));
        assert_eq!((got.heads[0].1, got.stays), (AnswerFraming::Nothing, true));
    }
    let head = Peer { method: Method::Head, ..GET };
    for fields in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", ""] {
        let got = head.read_every_way(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes()).unwrap();
        assert_eq!((got.heads[0].1, got.is_whole, got.stays), (AnswerFraming::Nothing, true, true));
    }
}

/// Its five bytes may come when the connection carries the next request, and would be its answer.
#[test]
fn a_body_that_may_not_be_is_not_waited_for_on_that_connection() {
    for head in [
        "HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 103 X\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        let got = told(head);
        assert_eq!((got.is_whole, got.stays), (true, false), "{head:?}");
    }
}

#[test]
fn persistence_is_what_version_and_connection_say() {
    let stays = |version: &str, connection: &str| {
        told(&format!("{version} 200 OK\r\nContent-Length: 0\r\n{connection}\r\n")).stays
    };
    assert!(stays("HTTP/1.1", ""));
    assert!(!stays("HTTP/1.1", "Connection: x, Close\r\n"));
    assert!(!stays("HTTP/1.0", ""));
    assert!(stays("HTTP/1.0", "Connection: Keep-Alive\r\n"));
}

#[test]
fn interim_answers_are_told_one_by_one() {
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    let got =
        told(&format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{last}"));
    let codes: Vec<u16> = got.heads.iter().map(|head| head.0).collect();
    assert_eq!((codes, got.body), (vec![100, 103, 200], b"x".to_vec()));
    let endless = "HTTP/1.1 102 Processing\r\n\r\n".repeat(3);
    assert_eq!(GET.read_every_way(endless.as_bytes()), Err(Fault::TooManyInterims));
}

#[test]
fn protocols_are_switched_when_asked_for() {
    let wire =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x05";
    assert_eq!(GET.read_every_way(wire), Err(Fault::BadSwitch));
    let asks = Peer { asks_upgrade: true, ..GET };
    let got = asks.read_every_way(wire).unwrap();
    assert_eq!((got.rest, got.stays), (b"\x81\x05".to_vec(), false));
    assert_eq!(asks.read_every_way(b"HTTP/1.1 101 X\r\n\r\n"), Err(Fault::BadSwitch));
}

#[test]
fn hostile_answers_have_their_fault() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let fields = |fields: &str| format!("{ok}{fields}\r\n\r\n");
    let chunks = |body: &str| format!("{ok}Transfer-Encoding: chunked\r\n\r\n{body}");
    let cases: Vec<(String, Fault)> = vec![
        ("".into(), Fault::NoAnswer),
        ("H".into(), Fault::Cut),
        (ok.into(), Fault::Cut),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell".into(), Fault::Cut),
        (chunks("5\r\nhello\r\n"), Fault::Cut),
        (chunks("5\r\nhello\r\n0\r\n"), Fault::Cut),
        ("HTTP/1.1 100 Continue\r\n\r\n".into(), Fault::Cut),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n".into(), Fault::BadStatusLine),
        ("\x16\x03\x01\x02".into(), Fault::BadStatusLine),
        ("http/1.1 200 OK\r\n\r\n".into(), Fault::BadStatusLine),
        ("SSH-2.0-x\r\n".into(), Fault::BadStatusLine),
        ("HTTP/1.1  200 OK\r\n\r\n".into(), Fault::BadStatusLine),
        ("HTTP/1.1\t200 OK\r\n\r\n".into(), Fault::BadStatusLine),
        ("HTTP/1.1 20 OK\r\n\r\n".into(), Fault::BadStatusLine),
        ("HTTP/1.1 2000 OK\r\n\r\n".into(), Fault::BadStatusLine),
        ("HTTP/1.1 +20 OK\r\n\r\n".into(), Fault::BadStatusLine),
        ("HTTP/1.1 200\tOK\r\n\r\n".into(), Fault::BadStatusLine),
        ("HTTP/1.1 200 O\0K\r\n\r\n".into(), Fault::BadStatusLine),
        ("HTTP/1.1 200 O\rK\r\n\r\n".into(), Fault::BadStatusLine),
        ("HTTP/1.1 200 OK\n\n".into(), Fault::BareLineFeed),
        ("HTTP/1.1 200\n\n".into(), Fault::BareLineFeed),
        ("HTTP/2 200\r\n\r\n".into(), Fault::BadVersion),
        ("HTTP/1.2 200 OK\r\n\r\n".into(), Fault::BadVersion),
        ("HTTP/0.9 200 OK\r\n\r\n".into(), Fault::BadVersion),
        ("HTTP/11 200 OK\r\n\r\n".into(), Fault::BadStatusLine),
        ("HTTP/1.1 099 X\r\n\r\n".into(), Fault::BadStatus),
        ("HTTP/1.1 600 X\r\n\r\n".into(), Fault::BadStatus),
        ("HTTP/1.1 000 X\r\n\r\n".into(), Fault::BadStatus),
        (fields("A: b\nC: d"), Fault::BareLineFeed),
        (fields("A: b\r\n folded"), Fault::BadField),
        (fields(" A: b"), Fault::BadField),
        (fields("A : b"), Fault::BadField),
        (fields(": b"), Fault::BadField),
        (fields("A"), Fault::BadField),
        (fields("A: b\0c"), Fault::BadField),
        (fields("A: b\rc"), Fault::BadField),
        (fields("A: b\x7f"), Fault::BadField),
        (fields("A\u{e9}: b"), Fault::BadField),
        (fields(&"A: b\r\n".repeat(9)), Fault::TooManyFields),
        (fields(&format!("A: {}", "x".repeat(600))), Fault::HeadTooLong),
        (format!("HTTP/1.1 200 {}", "x".repeat(600)), Fault::HeadTooLong),
        (fields("Content-Length: 5\r\nContent-Length: 5"), Fault::LengthTwice),
        (fields("Content-Length: 5\r\ncontent-length: 6"), Fault::LengthTwice),
        (fields("Content-Length: 5, 5"), Fault::BadLength),
        (fields("Content-Length: -1"), Fault::BadLength),
        (fields("Content-Length: +1"), Fault::BadLength),
        (fields("Content-Length: 0x5"), Fault::BadLength),
        (fields("Content-Length:"), Fault::BadLength),
        (fields("Content-Length: 18446744073709551616"), Fault::BadLength),
        (fields("Content-Length: 5\r\nTransfer-Encoding: chunked"), Fault::LengthAndCoding),
        (fields("Transfer-Encoding: chunked\r\nContent-Length: 5"), Fault::LengthAndCoding),
        (fields("Transfer-Encoding: gzip, chunked"), Fault::BadCoding),
        (fields("Transfer-Encoding: identity"), Fault::BadCoding),
        (fields("Transfer-Encoding: chunked, chunked"), Fault::BadCoding),
        (fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), Fault::BadCoding),
        (fields("Transfer-Encoding: xchunked"), Fault::BadCoding),
        (fields("Transfer-Encoding:"), Fault::BadCoding),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".into(), Fault::CodingInHttp10),
        ("HTTP/1.0 100 Continue\r\n\r\n".into(), Fault::InterimInHttp10),
        (chunks("x\r\n"), Fault::BadChunk),
        (chunks("5\nhello\r\n"), Fault::BadChunk),
        (chunks("5\r\nhelloX"), Fault::BadChunk),
        (chunks(&format!("1;{}", "x".repeat(400))), Fault::ExtensionTooLong),
        (chunks("0\r\nbad trailer\r\n\r\n"), Fault::BadTrailer),
        (chunks(&format!("0\r\nA: {}", "x".repeat(600))), Fault::TrailerTooLong),
        (chunks(&format!("0\r\n{}\r\n", "A: b\r\n".repeat(9))), Fault::TrailerTooLong),
    ];
    for (wire, fault) in cases {
        assert_eq!(GET.read_every_way(wire.as_bytes()), Err(fault), "{wire:?}");
    }
}

#[test]
fn a_status_line_may_lack_its_phrase() {
    for line in ["HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.1 200 All \u{fc}ber\tgood"] {
        assert_eq!(told(&format!("{line}\r\nContent-Length: 0\r\n\r\n")).heads[0].0, 200, "{line:?}");
    }
}

/// A buffer smaller than the longest head would wait for room for ever.
#[test]
fn a_full_buffer_is_the_limit() {
    let small = Peer { room: 64, ..GET };
    let wire = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(200));
    assert_eq!(small.read([wire.as_bytes()]), Err(Fault::HeadTooLong));
    let wire = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: {}", "x".repeat(200));
    assert_eq!(small.read([wire.as_bytes()]), Err(Fault::TrailerTooLong));
}

#[test]
fn a_fault_stays_a_fault() {
    let mut reader = AnswerReader::new(Method::Get, false);
    let (mut input, mut index) = (ReadBuffer::with_size(64), AnswerIndex::default());
    let limits = AnswerLimits::default();
    assert_eq!(reader.receive(&mut input, &mut index, &limits), Ok(AnswerStep::Starved));
    assert!(!reader.has_begun());
    input.room()[..4].copy_from_slice(b"nope");
    input.received(4);
    for _ in 0..2 {
        assert_eq!(reader.receive(&mut input, &mut index, &limits), Err(Fault::BadStatusLine));
    }
    assert!(reader.has_begun() && !reader.may_stay());
    assert_eq!(reader.end(), Err(Fault::BadStatusLine));
}

#[test]
fn clients_get_what_is_for_them() {
    let wire = b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: d\r\nDate: e\r\nContent-Type:text/plain\r\nETag: \"a\"\r\n\
        Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nContent-Length: 0\r\nX-Secret: 1\r\nUpgrade: h2c\r\n\
        Set-Cookie: a\r\nSet-Cookie: b\r\n\r\n";
    let (mut input, mut index) = (ReadBuffer::with_size(1024), AnswerIndex::default());
    input.room()[..wire.len()].copy_from_slice(wire);
    input.received(wire.len());
    let step = AnswerReader::new(Method::Get, false).receive(
        &mut input,
        &mut index,
        &AnswerLimits { fields_max: 100, ..AnswerLimits::default() },
    );
    assert_eq!((step, index.status), (Ok(AnswerStep::Head), Status::OK));
    let mut out = Vec::new();
    let has_date = relay_fields(&index, wire, &mut out, |name| name == b"X-Secret");
    let want = "Date: d\r\nContent-Type: text/plain\r\nETag: \"a\"\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n";
    assert_eq!((has_date, String::from_utf8(out).unwrap().as_str()), (true, want));
}
