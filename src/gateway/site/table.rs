//! Stub.
use crate::config::site::{PathPattern, Route};
use crate::gateway::route::Params;
use crate::http::{Method, MethodSet};
pub struct Table(Vec<String>);
pub enum Found {
    Route { number: usize, params: Params },
    WrongMethod(MethodSet),
    Nothing,
}
impl Table {
    pub fn new(routes: &[Route]) -> Result<Table, Vec<String>> {
        Ok(Table(
            routes
                .iter()
                .map(|route| match &route.path {
                    PathPattern::Prefix(p) | PathPattern::Pattern(p) => p.clone(),
                })
                .collect(),
        ))
    }
    pub fn find<'r>(
        &self,
        _host: &[u8],
        path: &str,
        _method: Method,
        _field: impl Fn(&str) -> Option<&'r [u8]>,
    ) -> Found {
        match self.0.iter().position(|p| path.starts_with(p.as_str())) {
            Some(number) => Found::Route { number, params: Params::NONE },
            None => Found::Nothing,
        }
    }
}
