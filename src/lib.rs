//! myriapod
pub mod base;
pub mod config;
pub mod http;
