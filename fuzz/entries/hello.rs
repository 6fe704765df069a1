//! Any bytes as a handshake.

use grid_core::wire::hello::{Answer, Hello, decode, encode};

/// The entry.
pub(crate) fn run(bytes: &[u8]) {
    if let Ok(Some((hello, used))) = decode::<Hello>(bytes) {
        assert!(used <= bytes.len());
        let mut again = Vec::new();
        encode(&hello, &mut again).unwrap();
        assert_eq!(decode(&again), Ok(Some((hello, again.len()))));
    }
    if let Ok(Some((answer, used))) = decode::<Answer>(bytes) {
        assert!(used <= bytes.len());
        let mut again = Vec::new();
        encode(&answer, &mut again).unwrap();
        assert_eq!(decode(&again), Ok(Some((answer, again.len()))));
    }
}
