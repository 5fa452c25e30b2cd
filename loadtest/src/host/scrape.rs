//! Reads single metrics of a server in Prometheus' text format.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::report::Scraped;
use crate::wire::target::Url;

/// Reads `http://host:port/metrics#name`: all series of that name.
///
/// # Errors
/// What is wrong with it, or why there is no answer, for people.
pub fn read(wanted: &str, timeout: Duration) -> Result<Scraped, String> {
    let (url, name) = wanted.rsplit_once('#').ok_or_else(|| format!("{wanted:?} has no #name"))?;
    let text = fetch(url, timeout).map_err(|error| format!("cannot read {url}: {error}"))?;
    Ok(summary(&text, name))
}

fn fetch(url: &str, timeout: Duration) -> Result<String, String> {
    let url = Url::parse(url)?;
    let address = url.resolve(false)?;
    let outcome = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        // HTTP/1.0: so that nothing comes in chunks.
        write!(stream, "GET {} HTTP/1.0\r\nHost: {}\r\n\r\n", url.path, url.authority())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    outcome().map_err(|error| error.to_string())
}

fn summary(text: &str, name: &str) -> Scraped {
    let value = |line: &str| -> Option<f64> {
        let rest = line.strip_prefix(name)?;
        let rest = match rest.strip_prefix('{') {
            Some(labels) => labels.rsplit_once('}')?.1,
            None => rest,
        };
        rest.strip_prefix(' ')?.split_whitespace().next()?.parse().ok()
    };
    let values: Vec<f64> = text.lines().filter_map(value).collect();
    Scraped {
        name: name.to_string(),
        series: values.len(),
        least: values.iter().copied().fold(f64::INFINITY, f64::min),
        most: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        sum: values.iter().sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_series_of_a_name_are_taken_and_none_of_a_longer_name() {
        let text = "# HELP a b\na{r=\"0\"} 5\na{r=\"1}\"} 7\na_total 100\na 1\n";
        let found = summary(text, "a");
        assert_eq!((found.series, found.least, found.most, found.sum), (3, 1.0, 7.0, 13.0));
        assert_eq!(summary(text, "b").series, 0);
    }
}
