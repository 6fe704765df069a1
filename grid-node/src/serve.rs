//! The one port of a member: who comes is asked who it is, and served by a task on a core.

pub(crate) mod accept;
mod batch;
mod connection;
mod control;
mod handshake;
mod operator;
mod table;

pub(crate) use accept::Acceptor;
