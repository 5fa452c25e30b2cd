//! Two questions before a run: is anybody there, and what does a right answer look like?
//!
//! Two answers with the same body make it a known body, which every answer of the run must have; two of the
//! same length make it a known length. So every answer is checked as far as it can be, without being told
//! how.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::engine::faults::Fault;
use crate::wire::answer::{Answer, Expected, Memory, Read, Reader};
use crate::wire::target::Target;

/// Bodies longer than this are checked by their length only: comparing them would be the load's own work.
const KNOWN_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What is kept of an answer to look at: such a body, and what frames it.
const KEPT_BYTES_MAX: usize = 2 * KNOWN_BODY_BYTES_MAX;

/// How closely answers are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Check {
    /// As closely as two answers before the run allow.
    Auto,
    /// Status and framing only.
    Status,
    /// Also that all are of one length.
    Length,
    /// Also that all have the same body.
    Body,
}

/// One answer, read to its end.
struct Sample {
    head: Vec<u8>,
    status: u16,
    length: u64,
    /// None when it is longer than what is kept.
    body: Option<Vec<u8>>,
}

/// Completes what is expected by what the server answers now.
///
/// # Errors
/// Why a run would be useless, for people.
pub fn learn(target: &Target, told: Expected, check: Check, timeout: Duration) -> Result<Expected, String> {
    let first = ask(target, timeout)?;
    let second = ask(target, timeout)?;
    if let Some(status) = told.status.filter(|status| *status != first.status) {
        return Err(format!("the server answers {}, not {status}:\n{}", first.status, first.opening()));
    }
    if told.status.is_none() && !(200..300).contains(&first.status) {
        let status = first.status;
        let opening = first.opening();
        return Err(format!(
            "the server answers {status}; say --status {status} if that is right:\n{opening}"
        ));
    }
    let same_length = first.length == second.length;
    let same_body = first.body == second.body && first.body.is_some();
    match check {
        Check::Body if first.body.is_none() => {
            return Err("--check body: the body is too long for that".into());
        }
        Check::Body if !same_body => return Err("--check body: two answers have different bodies".into()),
        Check::Length if !same_length => return Err("--check length: two answers differ in length".into()),
        _ => {}
    }
    if let Some(length) = told.length.filter(|length| *length != first.length) {
        return Err(format!("the server answers {} bytes, not {length}:\n{}", first.length, first.opening()));
    }
    let wants_length = same_length && check != Check::Status && !target.is_head_request;
    let wants_body = same_body && matches!(check, Check::Auto | Check::Body) && !target.is_head_request;
    Ok(Expected {
        status: Some(first.status),
        length: told.length.or(wants_length.then_some(first.length)),
        body: told.body.or(first.body.filter(|body| wants_body && body.len() <= KNOWN_BODY_BYTES_MAX)),
    })
}

/// What of every answer is checked, for reports.
pub fn describe(expected: &Expected) -> String {
    let status = expected.status.map_or("status 2xx".to_string(), |status| format!("status {status}"));
    match (expected.length, &expected.body) {
        (Some(length), Some(_)) => format!("{status}, {length} bytes, the same body"),
        (Some(length), None) => format!("{status}, {length} bytes"),
        (None, Some(_)) => format!("{status}, the same body"),
        (None, None) => format!("{status}, any body that is complete"),
    }
}

fn ask(target: &Target, timeout: Duration) -> Result<Sample, String> {
    let address = target.address;
    let stream = TcpStream::connect_timeout(&address, timeout).map_err(|error| match Fault::of(&error) {
        Fault::Refused => format!("nobody listens on {address}; start the server first"),
        _ => format!("cannot connect to {address}: {error}"),
    })?;
    let cannot_send = |error| format!("cannot send a request to {address}: {error}");
    stream.set_write_timeout(Some(timeout)).map_err(cannot_send)?;
    std::thread::scope(|scope| {
        // Beside the reading: some answer before a long request has ended, or answer as they go.
        let sending = scope.spawn(|| (&stream).write_all(target.owed(target.request_bytes())));
        let sample = read(&stream, target, timeout);
        // Otherwise it is the shutdown that makes it fail.
        let has_ended = sending.is_finished();
        let _ = stream.shutdown(Shutdown::Both);
        match (sample, sending.join()) {
            (Err(_), Ok(Err(error))) if has_ended => Err(cannot_send(error)),
            (sample, _) => sample,
        }
    })
}

/// Reads one answer to its end, for as long as a load would wait for it.
fn read(mut stream: &TcpStream, target: &Target, timeout: Duration) -> Result<Sample, String> {
    let address = target.address;
    let until = Instant::now() + timeout;
    let mut kept = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    let (mut reader, mut memory, any) = (Reader::default(), Memory::default(), Expected::default());
    let mut is_cut = false;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let in_time = if left.is_zero() { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) };
        let count = in_time
            .and_then(|()| stream.set_read_timeout(Some(left)))
            .and_then(|()| stream.read(&mut piece))
            .map_err(|error| match error.kind() {
                ErrorKind::WouldBlock => {
                    format!("no answer from {address} within {timeout:?}:\n{}", opening(&kept))
                }
                _ => format!("no answer from {address}: {error}"),
            })?;
        let (used, answer) = match reader.read(&piece[..count], target.is_head_request, &any, &mut memory) {
            Err(_) => {
                kept.extend_from_slice(&piece[..count]);
                return Err(format!("what {address} answers is not HTTP/1.1:\n{}", opening(&kept)));
            }
            Ok(Read::Done(used, answer)) => (used, Some(answer)),
            Ok(Read::More) if count > 0 => (count, None),
            Ok(Read::More) => match reader.end(&any) {
                Some(answer) => (0, Some(answer)),
                None => return Err(format!("{address} closes before its answer ends:\n{}", opening(&kept))),
            },
        };
        is_cut |= kept.len() + used > KEPT_BYTES_MAX;
        if !is_cut {
            kept.extend_from_slice(&piece[..used]);
        }
        if let Some(answer) = answer {
            return Ok(Sample::new(answer, &kept, is_cut));
        }
    }
}

impl Sample {
    /// Takes an answer apart again: its head, and its body as it looks without chunks.
    fn new(answer: Answer, mut bytes: &[u8], is_cut: bool) -> Sample {
        loop {
            let end = memchr::memmem::find(bytes, b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
            let (head, body) = bytes.split_at(end);
            // Interim answers have no body, and another head follows.
            if head.get(9) == Some(&b'1') {
                bytes = body;
                continue;
            }
            let whole = if is_chunked(head) { without_chunks(body) } else { body.to_vec() };
            let body = Some(whole).filter(|_| !is_cut);
            return Sample { head: head.to_vec(), status: answer.status, length: answer.length, body };
        }
    }

    fn opening(&self) -> String {
        opening(&[&self.head[..], self.body.as_deref().unwrap_or_default()].concat())
    }
}

fn is_chunked(head: &[u8]) -> bool {
    let lower = head.to_ascii_lowercase();
    memchr::memmem::find(&lower, b"\r\ntransfer-encoding:").is_some()
}

fn without_chunks(body: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    let _ = crate::wire::chunks::Chunks::default().take(body, |piece| data.extend_from_slice(piece));
    data
}

/// The first lines, safe to print.
fn opening(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(600)]).into_owned();
    let lines = text.lines().take(12).map(|line| {
        let visible: String =
            line.chars().map(|letter| if letter.is_control() { '.' } else { letter }).collect();
        format!("  | {visible}\n")
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::wire::target::Question;

    /// A server that answers one question a connection, with the given texts in turn.
    fn learned(answers: Vec<&'static str>, told: Expected, check: Check) -> Result<Expected, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let question =
            Question { method: "GET".into(), path: "/".into(), host: "h".into(), ..Question::default() };
        let target = Target::new(address, &question, Expected::default());
        let outcome = learn(&target, told, check, Duration::from_secs(10));
        // One that gave up early leaves the server waiting for its second question.
        while !server.is_finished() {
            drop(TcpStream::connect(address));
        }
        outcome
    }

    const FIVE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

    #[test]
    fn the_same_body_twice_is_a_known_body() {
        let expected = learned(vec![FIVE, FIVE], Expected::default(), Check::Auto).unwrap();
        assert_eq!(expected.body.as_deref(), Some(&b"hello"[..]));
        assert_eq!(describe(&expected), "status 200, 5 bytes, the same body");
    }

    #[test]
    fn different_bodies_of_one_length_make_a_known_length() {
        let other = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhallo\r\n0\r\n\r\n";
        let expected = learned(vec![FIVE, other], Expected::default(), Check::Auto).unwrap();
        assert_eq!(describe(&expected), "status 200, 5 bytes");
        assert!(
            learned(vec![FIVE, other], Expected::default(), Check::Body).unwrap_err().contains("different")
        );
    }

    #[test]
    fn an_unexpected_status_is_shown_with_the_answer() {
        let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope";
        let error = learned(vec![missing, missing], Expected::default(), Check::Auto).unwrap_err();
        assert!(error.contains("--status 404") && error.contains("nope"), "{error}");
        let told = Expected { status: Some(404), ..Expected::default() };
        assert_eq!(learned(vec![missing, missing], told, Check::Auto).unwrap().status, Some(404));
    }

    #[test]
    fn a_length_that_was_told_is_the_length_there_is() {
        let told = Expected { length: Some(6), ..Expected::default() };
        let error = learned(vec![FIVE, FIVE], told, Check::Auto).unwrap_err();
        assert!(error.contains("5 bytes, not 6"), "{error}");
    }

    #[test]
    fn what_comes_behind_an_answer_is_no_part_of_it() {
        let more = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, world";
        let expected = learned(vec![more, FIVE], Expected::default(), Check::Auto).unwrap();
        assert_eq!(expected.body.as_deref(), Some(&b"hello"[..]));
    }

    /// What comes of a server that does this to each of two connections.
    fn against(timeout: Duration, treat: fn(TcpStream), question: Question) -> Result<Expected, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || listener.incoming().flatten().take(2).for_each(treat));
        let target = Target::new(address, &question, Expected::default());
        learn(&target, Expected::default(), Check::Auto, timeout)
    }

    #[test]
    fn an_answer_without_end_is_given_up_in_time() {
        let endless = |mut stream: TcpStream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'x'; 65536]).is_ok() {}
        };
        let error = against(Duration::from_millis(200), endless, Question::default()).unwrap_err();
        assert!(error.contains("within 200ms") && error.contains("200 OK"), "{error}");
    }

    #[test]
    fn a_long_request_may_be_answered_while_it_is_sent() {
        let echo = |mut stream: TcpStream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n").unwrap();
            let (mut left, mut piece) = (20_000_000, vec![0; 65536]);
            while left > 0 {
                // What is sent in the head's place is as good as any.
                let count = stream.read(&mut piece).unwrap().min(left);
                stream.write_all(&piece[..count]).unwrap();
                left -= count;
            }
        };
        let question =
            Question { method: "POST".into(), body: vec![b'x'; 20_000_000], ..Question::default() };
        let expected = against(Duration::from_secs(20), echo, question).unwrap();
        assert_eq!((expected.length, expected.body), (Some(20_000_000), None));
    }

    #[test]
    fn half_an_answer_is_refused() {
        let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello";
        let error = learned(vec![half, half], Expected::default(), Check::Auto).unwrap_err();
        assert!(error.contains("closes before"), "{error}");
    }
}
