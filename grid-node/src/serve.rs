//! Serving clients: one port, a task per connection, on the core that the connection was given to.

pub(crate) mod accept;
mod batch;
mod connection;
mod control;
mod handshake;

pub(crate) use accept::Acceptor;
pub(crate) use connection::serve;
