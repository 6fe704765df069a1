//! What a connection carries, as its first bytes say.

use grid_core::wire::hello::{self, Hello, MemberHello, PeerKind, Plane};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// See the module documentation. Until it is known, it is none that is told apart.
#[derive(Debug)]
pub(super) struct Nature {
    control: AtomicBool,
    /// What came so far, until it is known.
    head: Mutex<Option<Vec<u8>>>,
}

impl Default for Nature {
    fn default() -> Self {
        Nature { control: AtomicBool::new(false), head: Mutex::new(Some(Vec::new())) }
    }
}

impl Nature {
    /// Whether it is a connection of the control plane between members.
    pub(super) fn is_control(&self) -> bool {
        self.control.load(Relaxed)
    }

    /// Takes note of what the side that connected sent.
    pub(super) fn follow(&self, bytes: &[u8]) {
        // Nothing panics while it is locked.
        let Ok(mut head) = self.head.lock() else { return };
        let Some(known) = head.as_mut() else { return };
        known.extend_from_slice(bytes);
        match hello::decode::<Hello>(known) {
            Ok(None) => return,
            Ok(Some((Hello { kind: PeerKind::Member(MemberHello { plane, .. }), .. }, _))) => {
                self.control.store(plane == Plane::Control, Relaxed);
            }
            _ => {}
        }
        *head = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_core::control::ClusterConfig;
    use grid_core::ids::{Index, NodeId};

    fn hello(kind: PeerKind) -> Vec<u8> {
        let (cluster, name) = ("c".to_owned(), "n".to_owned());
        let mut bytes = Vec::new();
        let hello = Hello { cluster, kind, name, session: None, table: Index(0) };
        hello::encode(&hello, &mut bytes).unwrap();
        bytes
    }

    fn member(plane: Plane) -> Vec<u8> {
        let config = ClusterConfig {
            partitions: 7,
            sync_backups: 1,
            async_backups: 0,
            min_in_sync: 1,
            lease_ms: 400,
            hash_seed: 5,
        };
        let address = "h:1".to_owned();
        hello(PeerKind::Member(MemberHello {
            node: NodeId(1),
            member: None,
            address,
            plane,
            config,
        }))
    }

    #[test]
    fn control_connections_are_told_apart_however_their_hello_is_cut() {
        for (bytes, control) in [
            (member(Plane::Control), true),
            (member(Plane::Data), false),
            (hello(PeerKind::Client), false),
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), false),
        ] {
            for cut in 1..bytes.len() {
                let nature = Nature::default();
                nature.follow(&bytes[..cut]);
                nature.follow(&bytes[cut..]);
                nature.follow(&member(Plane::Control));
                assert_eq!(nature.is_control(), control, "{} bytes, then the rest", cut);
            }
        }
    }
}
