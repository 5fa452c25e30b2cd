//! The query of a request as names and values, as forms write them: `page=2&sort=by+name`.

use std::borrow::Cow;

use serde::Deserialize;

use crate::gateway::exchange::Exchange;
use crate::gateway::json::about_member;
use crate::gateway::problem::Problem;
use crate::http::Status;

impl<'a> Exchange<'a> {
    /// The names and values of the query, decoded, in the order sent. What is not UTF-8 is replaced by `�`.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        form_urlencoded::parse(self.query())
    }

    /// The first value of that name in the query, decoded; borrowed where there was nothing to decode.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<Cow<'a, str>> {
        self.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The query as a value of your own, whose members are single values; `Option` and `#[serde(default)]`
    /// for those that need not be there.
    ///
    /// ```
    /// use myriapod::{Exchange, Problem};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Page {
    ///     #[serde(default)]
    ///     after: u64,
    ///     limit: Option<usize>,
    /// }
    ///
    /// fn list(exchange: &mut Exchange) -> Result<String, Problem> {
    ///     let Page { after, limit } = exchange.query_as()?;
    ///     Ok(format!("{} behind {after}", limit.unwrap_or(20).min(100)))
    /// }
    /// ```
    ///
    /// # Errors
    /// 400 when the query is something else.
    pub fn query_as<T: Deserialize<'a>>(&self) -> Result<T, Problem> {
        serde_urlencoded::from_bytes(self.query()).map_err(|error| {
            let member = about_member(&error.to_string());
            let what = member.unwrap_or("the query is not what is expected here".into());
            Problem::new(Status::BAD_REQUEST).detail(what)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::notes::Notes;
    use crate::http::{HeadIndex, Request, Span};

    #[derive(Debug, PartialEq, Deserialize)]
    struct Page {
        page: u32,
        sort: Option<String>,
    }

    fn with<T>(query: &str, look: impl FnOnce(&Exchange<'_>) -> T) -> T {
        let index = HeadIndex { query: Span::new(0, query.len()), ..HeadIndex::default() };
        look(&Exchange::new(Request::new(&index, query.as_bytes()), &mut Notes::default()))
    }

    #[test]
    fn values_are_found_by_name_and_decoded() {
        let value = |query, name: &str| with(query, |it| it.query_value(name).map(Cow::into_owned));
        assert_eq!(value("page=2&page=3", "page").as_deref(), Some("2"));
        assert_eq!(value("a=1&sort=by+n%C3%A4me%26", "sort").as_deref(), Some("by näme&"));
        assert_eq!(value("flag&x=", "flag").as_deref(), Some(""));
        assert_eq!(value("x=%ff%", "x").as_deref(), Some("\u{fffd}%"));
        assert_eq!(value("", "page"), None);
        assert!(with("page=2", |it| matches!(it.query_value("page"), Some(Cow::Borrowed("2")))));
        let pairs =
            with("b=1&a=2", |it| it.query_pairs().map(|(name, _)| name.into_owned()).collect::<String>());
        assert_eq!(pairs, "ba");
    }

    #[test]
    fn a_query_is_a_value() {
        let read = |query| with(query, |it| it.query_as::<Page>().map_err(|problem| problem.to_string()));
        assert_eq!(read("sort=a+b&page=2&more=1"), Ok(Page { page: 2, sort: Some("a b".into()) }));
        assert_eq!(read("sort=a"), Err("400 Bad Request: missing field `page`".into()));
        let else_ = Err("400 Bad Request: the query is not what is expected here".into());
        assert_eq!(read("page=two"), else_);
        assert_eq!(read("page=-1"), else_);
    }
}
