//! A second reader of answers, slow and simple, that has all of the input before it: what the quick one makes
//! of pieces is held against it, over answers of all shapes, broken ones as well.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::engine::faults::Fault;
use crate::wire::answer::{Answer, Expected, Memory, Read, Reader};

/// What came of a connection: its answers, and whether it ended between two of them.
type Outcome = (Vec<Answer>, bool);

/// The quick reader, fed in pieces; each of `cuts` is the length of one, in turn.
fn read(input: &[u8], cuts: &[usize], is_head: bool, expected: &Expected, memory: &mut Memory) -> Outcome {
    let mut reader = Reader::default();
    let mut found = Vec::new();
    let mut left = input;
    for cut in cuts.iter().cycle() {
        let (mut piece, rest) = left.split_at(left.len().min(*cut));
        left = rest;
        while !piece.is_empty() {
            match reader.read(piece, is_head, expected, memory) {
                Ok(Read::More) => break,
                Ok(Read::Done(used, answer)) => {
                    assert!(used > 0, "an answer from nothing");
                    found.push(answer);
                    piece = &piece[used..];
                }
                Err(fault) => {
                    assert_eq!(fault, Fault::Malformed);
                    return (found, false);
                }
            }
        }
        if left.is_empty() {
            break;
        }
    }
    let is_amid = reader.is_amid();
    match reader.end(expected) {
        Some(answer) => {
            found.push(answer);
            (found, true)
        }
        None => (found, !is_amid),
    }
}

/// The simple one.
fn judge(mut input: &[u8], is_head: bool, expected: &Expected) -> Outcome {
    let mut found = Vec::new();
    while !input.is_empty() {
        let Some((answer, used)) = first(input, is_head, expected) else { return (found, false) };
        found.extend(answer);
        input = &input[used..];
    }
    (found, true)
}

/// The first answer and its bytes, or an interim one; none when it is broken or not complete.
fn first(input: &[u8], is_head: bool, expected: &Expected) -> Option<(Option<Answer>, usize)> {
    let end = input.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut head = httparse::Response::new(&mut fields);
    let is_whole = matches!(head.parse(&input[..end]), Ok(httparse::Status::Complete(all)) if all == end);
    let status = head.code.filter(|status| is_whole && *status >= 100 && *status != 101)?;
    let values = |name: &str| -> Vec<String> {
        let named = head.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        let text = |value| String::from_utf8_lossy(value).trim_matches([' ', '\t']).to_ascii_lowercase();
        named.map(|field| text(field.value)).collect()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    let is_number = |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers: Vec<u64> =
        lengths.iter().filter(|text| is_number(text)).flat_map(|text| text.parse()).collect();
    let is_sound = numbers.len() == lengths.len()
        && numbers.windows(2).all(|two| two[0] == two[1])
        && (codings.is_empty() || (codings == ["chunked"] && lengths.is_empty()));
    if !is_sound {
        return None;
    }
    if status < 200 {
        return Some((None, end));
    }
    let mut closes = head.version == Some(0);
    for value in values("connection") {
        let tokens: Vec<&str> = value.split(',').map(str::trim_ascii).collect();
        closes = (closes && !tokens.contains(&"keep-alive")) || tokens.contains(&"close");
    }
    let rest = &input[end..];
    let (body, used) = if is_head || status == 204 || status == 304 {
        (Vec::new(), 0)
    } else if !codings.is_empty() {
        unchunk(rest)?
    } else if let Some(length) = numbers.first() {
        let length = usize::try_from(*length).ok()?;
        (rest.get(..length)?.to_vec(), length)
    } else {
        closes = true;
        (rest.to_vec(), rest.len())
    };
    let is_right = expected.status.map_or((200..300).contains(&status), |right| right == status);
    let fault = if !is_right {
        Some(Fault::Status)
    } else if expected.length.is_some_and(|length| length != body.len() as u64) {
        Some(Fault::Length)
    } else {
        match &expected.body {
            Some(right) if right.len() != body.len() && expected.length.is_none() => Some(Fault::Length),
            Some(right) if *right != body => Some(Fault::Body),
            _ => None,
        }
    };
    Some((Some(Answer { fault, closes, status, length: body.len() as u64 }), end + used))
}

/// A chunked body and the bytes it took, line by line.
fn unchunk(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let line = line(&input[at..])?;
        at += line.len() + 2;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let is_line =
            (1..=15).contains(&digits) && matches!(line.get(digits), None | Some(b';' | b' ' | b'\t'));
        let size = usize::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok();
        let size = size.filter(|_| is_line)?;
        if size == 0 {
            break;
        }
        body.extend_from_slice(input.get(at..at.checked_add(size)?)?);
        at += size;
        if input.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    loop {
        let line = line(&input[at..])?;
        at += line.len() + 2;
        if line.is_empty() {
            return Some((body, at));
        }
    }
}

/// Up to the first line end, in which no part of another may stand.
fn line(input: &[u8]) -> Option<&[u8]> {
    let end = input.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
    (input.get(end..end + 2)? == b"\r\n").then(|| &input[..end])
}

/// What an answer is made of, but for its date.
#[derive(Clone, Debug)]
struct Recipe {
    version: &'static str,
    status: u16,
    field: &'static str,
    framing: &'static str,
    body: Vec<u8>,
    piece: usize,
}

impl Recipe {
    fn write(&self, date: &str) -> Vec<u8> {
        let Recipe { version, status, field, framing, body, piece } = self;
        let mut text = format!("{version} {status} Some reason\r\n{date}{field}").into_bytes();
        let is_bare = *status < 200 || *status == 204 || *status == 304;
        match *framing {
            _ if is_bare => text.extend(b"\r\n"),
            "length" | "both" => {
                let twice = if *framing == "both" { "Content-Length: 5\r\n" } else { "" };
                text.extend(format!("{twice}Content-Length: {}\r\n\r\n", body.len()).bytes());
                text.extend(body);
            }
            "chunked" => {
                text.extend(b"Transfer-Encoding: Chunked\r\n\r\n");
                for data in body.chunks(*piece) {
                    text.extend(format!("{:0piece$X}{}\r\n", data.len(), ";a=b".repeat(piece % 2)).bytes());
                    text.extend(data);
                    text.extend(b"\r\n");
                }
                text.extend(b"0\r\n");
                text.extend(b"Trailer: t\r\n".repeat(piece % 3));
                text.extend(b"\r\n");
            }
            _ => {
                text.extend(b"\r\n");
                text.extend(body);
            }
        }
        text
    }
}

/// Answers as a server might write them, alike but for their dates.
fn written() -> impl Strategy<Value = Vec<u8>> {
    let status = prop::sample::select(vec![200, 200, 200, 200, 100, 103, 204, 304, 404, 500, 999]);
    let field = prop::sample::select(vec![
        "",
        "",
        "Connection: close\r\n",
        "CONNECTION: Keep-Alive, x\r\n",
        "Connection: keep-alive\r\nConnection: close\r\n",
        "Server: a\r\nX-Y: z\r\n",
    ]);
    let version = prop::sample::select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]);
    let framing = prop::sample::select(vec!["length", "length", "chunked", "chunked", "close", "both"]);
    let body = prop_oneof![Just(b"hello".to_vec()), vec(any::<u8>(), 0..40)];
    let recipe = (version, status, field, framing, body, 1..9_usize);
    let recipe = recipe.prop_map(|(version, status, field, framing, body, piece)| Recipe {
        version,
        status,
        field,
        framing,
        body,
        piece,
    });
    let date = prop::sample::select(vec![
        "",
        "Date: Sat, 21 Nov 2026 10:26:13 GMT\r\n",
        "Date: Sat, 21 Nov 2026 10:26:14 GMT\r\n",
        "date:Sat, 21 Nov 2026 10:26:15 GMT  \r\n",
        // As long as a date, and more than one.
        "Date: x\nTransfer-Encoding:chunked  \r\n",
        "Date: a\0 date that is not a date..\r\n",
    ]);
    (recipe, vec(date, 1..4)).prop_map(|(recipe, dates)| {
        let each: Vec<Vec<u8>> = dates.iter().map(|date| recipe.write(date)).collect();
        each.concat()
    })
}

/// A place and what becomes of the byte there.
fn damage() -> impl Strategy<Value = (prop::sample::Index, Option<u8>, bool)> {
    let byte = prop::sample::select(b"\r\n\r\n0159aF;:+ ,\t\0\xffxHT".to_vec());
    (any::<prop::sample::Index>(), prop::option::of(byte), any::<bool>())
}

fn damaged(mut text: Vec<u8>, damages: Vec<(prop::sample::Index, Option<u8>, bool)>) -> Vec<u8> {
    for (place, byte, is_added) in damages {
        if text.is_empty() {
            return text;
        }
        let at = place.index(text.len());
        match byte {
            None => drop(text.remove(at)),
            Some(byte) if is_added => text.insert(at, byte),
            Some(byte) => text[at] = byte,
        }
    }
    text
}

fn expectation() -> impl Strategy<Value = Expected> {
    let status = prop::option::of(prop::sample::select(vec![200, 404]));
    let body = prop::option::of(prop::sample::select(vec![b"hello".to_vec(), b"hallo".to_vec()]));
    (status, prop::option::of(0..8_u64), body, any::<bool>()).prop_map(|(status, length, body, is_alike)| {
        // Whoever knows the body knows its length, or does not say it.
        let length = body.as_ref().map_or(length, |body| is_alike.then_some(body.len() as u64));
        Expected { status, length, body }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_of_any_size_say_what_the_whole_says(
        answers in vec(written(), 1..4),
        damages in vec(damage(), 0..4),
        cuts in vec(1..60_usize, 1..8),
        expected in expectation(),
        is_head in prop::bool::weighted(0.1),
    ) {
        let input = damaged(answers.concat(), damages);
        let right = judge(&input, is_head, &expected);
        let mut memory = Memory::default();
        for cuts in [&[usize::MAX][..], &[1], &cuts] {
            // The memory of the rounds before makes no difference either.
            let found = read(&input, cuts, is_head, &expected, &mut memory);
            prop_assert_eq!(&found, &right, "cut {:?}: {}", cuts, input.escape_ascii());
        }
    }

    #[test]
    fn garbage_is_never_more_than_malformed(input in vec(any::<u8>(), 0..300), cuts in vec(1..60_usize, 1..8)) {
        let expected = Expected::default();
        let right = judge(&input, false, &expected);
        prop_assert_eq!(read(&input, &cuts, false, &expected, &mut Memory::default()), right);
    }
}

#[test]
fn what_a_sound_server_writes_is_read_to_the_end() {
    let text = b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        2\r\nhe\r\n3;x\r\nllo\r\n0\r\n\r\nHTTP/1.0 404 No\r\n\r\nhello";
    let expected = Expected { status: Some(200), length: Some(5), body: Some(b"hello".to_vec()) };
    let right = [(None, false, 200), (Some(Fault::Status), true, 404)];
    let answer = |(fault, closes, status)| Answer { fault, closes, status, length: 5 };
    assert_eq!(judge(text, false, &expected), (right.map(answer).to_vec(), true));
}
