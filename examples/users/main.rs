//! Users over HTTP: a worked REST API, to be read from `app` down and tried with curl.
//!
//! ```sh
//! cargo run --example users
//! curl -i localhost:8080/users --json '{"name":"Ada","email":"ada@example.com"}'
//! curl -i localhost:8080/users/1
//! curl -i localhost:8080/users --json '{"name":"","email":"nowhere"}'
//! curl -i 'localhost:8080/report?ms=2000' & curl -i localhost:8080/users
//! ```

mod app;
mod store;

use std::process::ExitCode;

fn main() -> ExitCode {
    let address = std::env::args().nth(1).unwrap_or_else(|| String::from("127.0.0.1:8080"));
    app::app().listen(address).run()
}
