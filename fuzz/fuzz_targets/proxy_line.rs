//! A PROXY header is the same however much of what follows is here, and a line is what a simple reader makes of it.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use myriapod::proto::proxy_line::{self, HEADER_BYTES_MAX, Header};

fuzz_target!(|data: &[u8]| {
    let whole = proxy_line::read(data);
    let first =
        (0..=data.len()).map(|len| proxy_line::read(&data[..len])).find(|verdict| *verdict != Ok(None));
    assert_eq!(first.unwrap_or(Ok(None)), whole);
    match whole {
        Ok(Some((header, len))) => {
            assert!(len <= data.len() && len <= HEADER_BYTES_MAX);
            if data.starts_with(b"PROXY ") {
                assert_eq!(simple(&data[..len]), Some(header));
            }
        }
        Ok(None) => assert!(data.len() < HEADER_BYTES_MAX, "waits for more than anybody sends"),
        Err(_) => {
            let line = data.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
            assert_eq!(simple(line).filter(|_| line.len() <= 107), None);
        }
    }
});

/// Words, each as it would be written again.
fn simple(line: &[u8]) -> Option<Header> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let words: Vec<&str> = text.split(' ').collect();
    if text.contains('\r') {
        return None;
    }
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Some(Header { source: None }),
        ["PROXY", family, source, destination, port, to_port] => {
            let is_v4 = |text: &str| text.parse::<IpAddr>().ok().map(|address| address.is_ipv4());
            let wants_v4 = match family {
                "TCP4" => true,
                "TCP6" => false,
                _ => return None,
            };
            if is_v4(source)? != wants_v4 || is_v4(destination)? != wants_v4 {
                return None;
            }
            let number = |text: &str| text.parse::<u16>().ok().filter(|number| number.to_string() == text);
            number(to_port)?;
            Some(Header { source: Some(SocketAddr::new(source.parse().ok()?, number(port)?)) })
        }
        _ => None,
    }
}
