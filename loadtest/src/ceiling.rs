//! The raw epoll ceiling.
fn main() {}
