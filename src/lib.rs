//! myriapod
pub mod base;
pub mod cli;
pub mod config;
pub mod gateway;
pub mod http;
pub mod observe;
pub mod proto;
pub mod reactor;
pub mod server;
