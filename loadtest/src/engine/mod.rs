//! What makes a load: threads ([`conduct`]), each with a descriptor table ([`table`]) and connections
//! ([`lot`]) of its own, schedules, and counts ([`tally`]) that are added up once a second. What a load is
//! *for*, the modes know.

pub mod addresses;
mod alarm;
pub mod conduct;
pub mod faults;
pub mod idle;
pub mod latency;
pub mod lot;
pub mod progress;
pub mod schedule;
mod session;
pub mod socket;
pub mod table;
pub mod tally;
