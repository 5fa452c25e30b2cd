//! Bugs that were found once, each by its cause.

mod common;

use common::Server;

const REQUEST: &str = "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";

/// A connection may have 32 requests answered in one turn. When these were all there was, it was parked between two
/// requests while its machine still stood behind the last one: with the deadline of a blocked write, and with a request
/// not counted.
#[test]
fn share_of_a_turn_used_up_together_with_the_input() {
    let server = Server::start(&["--reactors", "1", "--keep-alive-requests", "129"]);
    let mut client = server.connect();
    for _ in 0..4 {
        client.send(REQUEST.repeat(32));
        for _ in 0..32 {
            assert!(!client.response().ends_connection());
        }
    }
    client.send(REQUEST);
    assert!(client.response().ends_connection(), "the 129th");
    client.is_closed();
}

/// The limit on heads may be below the size of a buffer. Then a request line over the limit that came whole was blamed
/// on the head, with 431, and on the target when it came in parts, with 414.
#[test]
fn target_over_a_limit_below_the_buffer() {
    let server = Server::start(&["--max-head", "1k"]);
    let request = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(1024));
    for cut in [request.len(), 1024, 10] {
        let mut client = server.connect();
        client.send(&request[..cut]);
        if cut < 1024 {
            common::eventually("the first part has arrived", || {
                server.metric("myriapod_bytes_received_total") >= cut as f64
            });
        }
        // A refused client may find its connection closed while it is still sending.
        let _ = client.try_send(&request[cut..]);
        assert_eq!(client.response().status, 414);
    }
}
