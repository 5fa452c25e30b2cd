//! Servers and readers that only tests need: scripted ([`stub`]), misbehaving ([`hostile`]), slow and simple
//! ([`oracle`]).

mod hostile;
mod oracle;
pub mod stub;
