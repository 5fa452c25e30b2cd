//! An upstream's bytes, cut as told: what the reader tells of them, and what a slow and simple one finds.
//!
//! Shared by the property tests here and by the fuzz target of the same name. The simple reader has the whole
//! connection before it and knows nothing but lines; what both must agree on is the outcome, not how it is found.

use myriapod::base::buffer::ReadBuffer;
use myriapod::http::Method;
use myriapod::proto::h1::answer::{AnswerIndex, AnswerLimits, AnswerReader, AnswerStep, Fault};

/// Name and value.
type Field = (Vec<u8>, Vec<u8>);

/// What came of a connection's bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Status, and names and values of the fields, of each head.
    pub heads: Vec<(u16, Vec<Field>)>,
    pub body: Vec<u8>,
    pub trailers: Vec<u8>,
    /// Whether the connection may carry another request, as far as the answer says.
    pub stays: bool,
    /// What stands behind the answer.
    pub rest: Vec<u8>,
}

/// Limits small enough for short inputs to meet.
pub const LIMITS: AnswerLimits = AnswerLimits { head_bytes_max: 512, fields_max: 8, interims_max: 2 };

/// Feeds the parts one after the other, then the end of the connection if the answer is not whole by then.
pub fn read<'a>(
    parts: impl IntoIterator<Item = &'a [u8]>,
    method: Method,
    upgrades: bool,
) -> Result<Told, Fault> {
    let mut reader = AnswerReader::new(method, upgrades);
    let (mut input, mut index) = (ReadBuffer::with_size(LIMITS.head_bytes_max), AnswerIndex::default());
    let (mut told, mut parts, mut part, mut ended) = (Told::default(), parts.into_iter(), &b""[..], false);
    loop {
        match reader.receive(&mut input, &mut index, &LIMITS)? {
            AnswerStep::Starved if !ended => {
                match part.is_empty().then(|| parts.next()) {
                    Some(Some(next)) => part = next,
                    Some(None) => {
                        reader.end()?;
                        ended = true;
                    }
                    None => {}
                }
                let room = input.room();
                let count = room.len().min(part.len());
                assert!(count > 0 || part.is_empty(), "starves over a full buffer");
                room[..count].copy_from_slice(&part[..count]);
                input.received(count);
                part = &part[count..];
            }
            AnswerStep::Starved => panic!("starves behind the end"),
            step @ (AnswerStep::Interim | AnswerStep::Head | AnswerStep::Switched) => {
                told.heads.push((index.status.code(), fields_of(&index, input.unread())));
                input.consume(usize::from(index.head_len));
                if step == AnswerStep::Switched {
                    break;
                }
            }
            AnswerStep::Body(count) => {
                assert!(count > 0);
                told.body.extend_from_slice(&input.unread()[..count]);
                input.consume(count);
            }
            AnswerStep::Trailer(count) => {
                told.trailers.extend_from_slice(&input.unread()[..count]);
                input.consume(count);
            }
            AnswerStep::Whole => break,
        }
    }
    told.stays = reader.may_stay();
    told.rest = [input.unread(), part, &parts.collect::<Vec<_>>().concat()].concat();
    Ok(told)
}

fn fields_of(index: &AnswerIndex, bytes: &[u8]) -> Vec<Field> {
    index
        .fields()
        .iter()
        .map(|field| (field.name.of(bytes).to_vec(), field.value.of(bytes).to_vec()))
        .collect()
}

/// Both outcomes are the same. Of a head that is broken and never ends, a cut may hide the first fault until the
/// end comes, so that only the end is told.
pub fn agree(whole: &Result<Told, Fault>, cut: &Result<Told, Fault>) -> Result<(), String> {
    match (whole, cut) {
        (Err(_), Err(Fault::Cut)) => Ok(()),
        _ if whole == cut => Ok(()),
        _ => Err(format!("whole: {whole:?}\n  cut: {cut:?}")),
    }
}

/// What a simple reader finds, which has all there will ever be; `None`: something is wrong with it.
pub fn simple(wire: &[u8], method: Method, upgrades: bool) -> Option<Told> {
    let (mut told, mut rest, mut is_doubtful) = (Told::default(), wire, false);
    let (head, framed) = loop {
        let (head, behind) = simple_head(rest)?;
        rest = behind;
        let (code, is_old) = (head.code, head.is_old);
        let framing = simple_framing(&head)?;
        told.heads.push((code, head.fields.clone()));
        if (100..200).contains(&code) {
            if is_old || told.heads.len() > LIMITS.interims_max as usize + usize::from(code == 101) {
                return None;
            }
            if code == 101 {
                told.rest = rest.to_vec();
                return (upgrades && head.has("upgrade")).then_some(told);
            }
            is_doubtful |= !matches!(framing, Simple::ToEnd | Simple::Length(0));
            continue;
        }
        break (head, framing);
    };
    is_doubtful |= head.code == 204 && !matches!(framed, Simple::ToEnd | Simple::Length(0));
    let options: Vec<String> =
        head.all("connection").collect::<Vec<_>>().join(",").split(',').map(trimmed).collect();
    let says = |option: &str| options.iter().any(|said| said == option);
    told.stays = !is_doubtful && !says("close") && (!head.is_old || says("keep-alive"));
    let is_bodiless = method == Method::Head || matches!(head.code, 204 | 304);
    match framed {
        _ if is_bodiless => {}
        Simple::ToEnd => {
            (told.body, told.stays) = (rest.to_vec(), false);
            rest = b"";
        }
        Simple::Length(length) => {
            told.body = rest.get(..usize::try_from(length).ok()?)?.to_vec();
            rest = &rest[told.body.len()..];
        }
        Simple::Chunked => rest = simple_chunks(rest, &mut told)?,
    }
    told.rest = rest.to_vec();
    Some(told)
}

struct SimpleHead {
    code: u16,
    is_old: bool,
    fields: Vec<Field>,
}

impl SimpleHead {
    fn all(&self, name: &'static str) -> impl Iterator<Item = String> {
        let is_it = move |field: &&Field| field.0.eq_ignore_ascii_case(name.as_bytes());
        self.fields.iter().filter(is_it).map(|field| String::from_utf8_lossy(&field.1).to_lowercase())
    }

    fn has(&self, name: &'static str) -> bool {
        self.all(name).next().is_some()
    }
}

enum Simple {
    ToEnd,
    Length(u64),
    Chunked,
}

fn trimmed(text: &str) -> String {
    text.trim_matches(|c: char| c.is_ascii_whitespace()).to_owned()
}

/// The first line and what stands behind its CRLF; no CR or LF stands in it.
fn simple_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let line = &bytes[..end];
    (!line.contains(&b'\n') && !line.contains(&b'\r')).then_some((line, &bytes[end + 2..]))
}

fn simple_head(bytes: &[u8]) -> Option<(SimpleHead, &[u8])> {
    let (line, mut rest) = simple_line(bytes)?;
    let is_old = line.starts_with(b"HTTP/1.0 ");
    if !is_old && !line.starts_with(b"HTTP/1.1 ") {
        return None;
    }
    let digits = line.get(9..12).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let code: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let phrase = &line[12..];
    if !(100..600).contains(&code) || !(phrase.is_empty() || phrase[0] == b' ') || !is_text(phrase) {
        return None;
    }
    let mut fields = Vec::new();
    loop {
        let (line, behind) = simple_line(rest)?;
        rest = behind;
        if line.is_empty() {
            break;
        }
        fields.push(simple_field(line)?);
    }
    let is_small = bytes.len() - rest.len() <= LIMITS.head_bytes_max as usize
        && fields.len() <= LIMITS.fields_max as usize;
    is_small.then_some((SimpleHead { code, is_old, fields }, rest))
}

fn is_text(text: &[u8]) -> bool {
    text.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
}

fn simple_field(line: &[u8]) -> Option<Field> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_token = name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte));
    if name.is_empty() || !is_token || !is_text(value) {
        return None;
    }
    Some((name.to_vec(), value.trim_ascii().to_vec()))
}

/// What the fields promise, whether or not method and status allow it.
fn simple_framing(head: &SimpleHead) -> Option<Simple> {
    let (lengths, codings): (Vec<_>, Vec<_>) =
        (head.all("content-length").collect(), head.all("transfer-encoding").collect());
    match (&lengths[..], &codings[..]) {
        ([], []) => Some(Simple::ToEnd),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(Simple::Length(length.parse().ok()?))
        }
        ([], [coding]) if coding == "chunked" && !head.is_old => Some(Simple::Chunked),
        _ => None,
    }
}

fn simple_chunks<'a>(mut rest: &'a [u8], told: &mut Told) -> Option<&'a [u8]> {
    loop {
        let (line, behind) = simple_line(rest)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let extension = &line[digits..];
        let size = u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
        let is_extension = extension.trim_ascii_start().starts_with(b";")
            && extension.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
        if digits > 15 || extension.len() > 256 || !(extension.is_empty() || is_extension) {
            return None;
        }
        rest = behind;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).ok()?;
        told.body.extend_from_slice(rest.get(..size)?);
        rest = rest[size..].strip_prefix(b"\r\n")?;
    }
    let (begin, mut lines) = (rest, 0);
    loop {
        let (line, behind) = simple_line(rest)?;
        let section = begin.len() - behind.len();
        if section >= LIMITS.head_bytes_max as usize || lines > LIMITS.fields_max {
            return None;
        }
        if line.is_empty() {
            return Some(behind);
        }
        simple_field(line)?;
        told.trailers.extend_from_slice(&rest[..line.len() + 2]);
        rest = behind;
        lines += 1;
    }
}
