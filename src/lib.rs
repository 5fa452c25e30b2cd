//! myriapod
pub mod base;
pub mod config;
pub mod gateway;
pub mod http;
pub mod observe;
pub mod proto;
