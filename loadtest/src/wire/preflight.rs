//! Two questions before a run: is anybody there, and what does a right answer look like?
//!
//! Two answers with the same body make it a known body, which every answer of the run must have; two of the
//! same length make it a known length. So every answer is checked as far as it can be, without being told
//! how.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::engine::faults::Fault;
use crate::wire::answer::{Expected, Memory, Read, Reader};
use crate::wire::target::Target;

/// Bodies longer than this are checked by their length only: comparing them would be the load's own work.
const KNOWN_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

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
    body: Vec<u8>,
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
    let same_length = first.body.len() == second.body.len();
    let same_body = first.body == second.body;
    match check {
        Check::Body if !same_body => return Err("--check body: two answers have different bodies".into()),
        Check::Length if !same_length => return Err("--check length: two answers differ in length".into()),
        _ => {}
    }
    let wants_length = same_length && check != Check::Status && !target.is_head_request;
    let wants_body = same_body && matches!(check, Check::Auto | Check::Body) && !target.is_head_request;
    let length = wants_length.then_some(first.body.len() as u64);
    Ok(Expected {
        status: Some(first.status),
        length: told.length.or(length),
        body: told.body.or((wants_body && first.body.len() <= KNOWN_BODY_BYTES_MAX).then_some(first.body)),
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
    let mut stream =
        TcpStream::connect_timeout(&address, timeout).map_err(|error| match Fault::of(&error) {
            Fault::Refused => format!("nobody listens on {address}; start the server first"),
            _ => format!("cannot connect to {address}: {error}"),
        })?;
    let limits = stream.set_read_timeout(Some(timeout)).and(stream.set_write_timeout(Some(timeout)));
    let sent = limits.and_then(|()| stream.write_all(target.owed(target.request_bytes())));
    sent.map_err(|error| format!("cannot send a request to {address}: {error}"))?;
    let mut bytes = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    let (mut reader, mut memory, any) = (Reader::default(), Memory::default(), Expected::default());
    loop {
        let count = stream.read(&mut piece).map_err(|error| format!("no answer from {address}: {error}"))?;
        bytes.extend_from_slice(&piece[..count]);
        let read = reader.read(&piece[..count], target.is_head_request, &any, &mut memory);
        let is_complete = match read {
            Err(_) => return Err(format!("what {address} answers is not HTTP/1.1:\n{}", opening(&bytes))),
            Ok(Read::Done(..)) => true,
            Ok(Read::More) if count == 0 => match reader.end(&any) {
                Some(_) => true,
                None => return Err(format!("{address} closes before its answer ends:\n{}", opening(&bytes))),
            },
            Ok(Read::More) => false,
        };
        if is_complete {
            return Ok(Sample::new(bytes));
        }
    }
}

impl Sample {
    /// Takes an answer apart again: its head, and its body as it looks without chunks.
    fn new(mut bytes: Vec<u8>) -> Sample {
        let mut from = 0;
        loop {
            let end =
                memchr::memmem::find(&bytes[from..], b"\r\n\r\n").map_or(bytes.len(), |at| from + at + 4);
            let status = bytes.get(from + 9..from + 12).and_then(|text| std::str::from_utf8(text).ok());
            let status = status.and_then(|text| text.parse().ok()).unwrap_or(0);
            // Interim answers have no body, and another head follows.
            if (100..200).contains(&status) {
                from = end;
                continue;
            }
            let body = bytes.split_off(end);
            let head = bytes.split_off(from);
            let body = if is_chunked(&head) { without_chunks(&body) } else { body };
            return Sample { head, status, body };
        }
    }

    fn opening(&self) -> String {
        opening(&[&self.head[..], &self.body].concat())
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
    fn half_an_answer_is_refused() {
        let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello";
        let error = learned(vec![half, half], Expected::default(), Check::Auto).unwrap_err();
        assert!(error.contains("closes before"), "{error}");
    }
}
