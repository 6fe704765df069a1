//! The connections of the fake members.

use super::{Cluster, LEASE_MS, Manner, PARTITIONS, Seen, World};
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::{Index, SessionId};
use grid_core::wire::control::{self, Control, ControlReply};
use grid_core::wire::hello::{self, Answer, Hello, Welcome};
use grid_core::wire::{FrameKind, end_frame, reply, request, split_frame};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

pub(super) async fn accept(cluster: Cluster, at: usize, listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let cluster = cluster.clone();
        tokio::spawn(async move {
            let _ = Connection::serve(cluster, at, stream).await;
        });
    }
}

struct Connection {
    cluster: Cluster,
    at: usize,
    number: u64,
    session: SessionId,
}

impl Connection {
    async fn serve(cluster: Cluster, at: usize, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut bytes = Vec::new();
        let hello = loop {
            match hello::decode::<Hello>(&bytes) {
                Ok(Some((hello, used))) => {
                    bytes.drain(..used);
                    break hello;
                }
                Ok(None) => {}
                Err(_) => return Ok(()),
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        };
        if !cluster.lives(at) {
            return Ok(());
        }
        if cluster.with(|world| world.members[at].manner) == Manner::Frozen {
            return std::future::pending().await;
        }
        let end = Arc::new(Notify::new());
        let admitted = cluster.with(|world| world.admit(at, &hello, &end));
        let (answer, connection) = match admitted {
            Ok((welcome, number)) => {
                let session = welcome.session;
                let connection = Connection { cluster: cluster.clone(), at, number, session };
                (Answer::Welcome(welcome), Some(connection))
            }
            Err(error) => {
                let detail = error.detail().unwrap_or_default().to_owned();
                (Answer::Refused { kind: error.kind(), detail }, None)
            }
        };
        cluster.changed.notify_waiters();
        let mut out = Vec::new();
        hello::encode(&answer, &mut out).unwrap();
        stream.write_all(&out).await?;
        let Some(connection) = connection else { return Ok(()) };
        let number = connection.number;
        let result = connection.exchange(stream, bytes, end).await;
        cluster.with(|world| {
            world.members[at].connections.remove(&number);
            world.subscribers.retain(|subscriber| subscriber.0 != number);
        });
        cluster.changed.notify_waiters();
        result
    }

    async fn exchange(
        &self,
        mut stream: TcpStream,
        mut bytes: Vec<u8>,
        end: Arc<Notify>,
    ) -> std::io::Result<()> {
        let (mut out, mut late) = (Vec::new(), Vec::new());
        loop {
            let mut used = 0;
            while let Ok(Some((frame, len))) = split_frame(&bytes[used..], 1 << 24) {
                used += len;
                self.cluster.with(|world| {
                    let is_late = world.members[self.at].manner == Manner::Late
                        && frame[0] == FrameKind::Request as u8;
                    self.frame(world, frame, if is_late { &mut late } else { &mut out });
                });
            }
            bytes.drain(..used);
            let manner = self.cluster.with(|world| {
                out.extend(world.outboxes.remove(&self.number).unwrap_or_default());
                world.members[self.at].manner
            });
            self.cluster.changed.notify_waiters();
            if manner == Manner::Normal {
                stream.write_all(&std::mem::take(&mut late)).await?;
            }
            if matches!(manner, Manner::Normal | Manner::Late) {
                stream.write_all(&out).await?;
            }
            out.clear();
            let soon = std::time::Duration::from_millis(2);
            tokio::select! {
                biased;
                () = end.notified() => return Ok(()),
                read = stream.read_buf(&mut bytes) => if read? == 0 { return Ok(()) },
                // Events of other connections' requests.
                () = tokio::time::sleep(soon) => {}
            }
        }
    }

    fn frame(&self, world: &mut World, frame: &[u8], out: &mut Vec<u8>) {
        if world.members[self.at].manner == Manner::Frozen {
            return;
        }
        if frame[0] == FrameKind::Request as u8 {
            let (header, body) = request::decode(frame).unwrap();
            world.seen.push(Seen { member: self.at, header });
            let at = reply::begin(header.request, header.attempt, Index(world.index), out);
            match world.execute(self.at, self.session, self.number, &header, body) {
                Ok(answer) => {
                    out.extend_from_slice(&answer);
                    end_frame(out, at);
                }
                Err(error) => reply::fail(&error, at, out),
            }
        } else {
            let (call, message) = control::decode::<Control>(frame).unwrap();
            let answer = self.answer(world, message);
            let answer = answer.unwrap_or_else(|error| ControlReply::refused(&error));
            control::encode(FrameKind::ControlReply, call, &answer, out).unwrap();
        }
    }

    fn answer(&self, world: &mut World, message: Control) -> Result<ControlReply> {
        match message {
            Control::Declare { name, kind } => {
                let (structure, config) = world.declare(&name, kind)?;
                Ok(ControlReply::Declared { structure, config, since: Index(world.index) })
            }
            Control::Subscribe { structure, partition, subscription } => {
                let primary = world.owners[usize::from(partition.0)].first().copied();
                if primary != Some(self.at as u16) || world.unserved.contains(&partition.0) {
                    return Err(Error::new(Kind::NotServing));
                }
                world.partitions[usize::from(partition.0)].set_subscribers(structure, 1)?;
                world.subscribers.push((self.number, subscription, structure, partition));
                Ok(ControlReply::Done)
            }
            Control::Unsubscribe { subscription } => {
                let mine = (self.number, subscription);
                world.subscribers.retain(|s| (s.0, s.1) != mine);
                Ok(ControlReply::Done)
            }
            Control::Table { known } => {
                world.table_questions.push(self.at);
                let table = world.table_of(self.at);
                let newer = table.index() > known;
                Ok(if newer { ControlReply::Table(table) } else { ControlReply::Unchanged })
            }
            Control::CloseSession => {
                world.sessions.remove(&self.session);
                world.closed_sessions += 1;
                Ok(ControlReply::Done)
            }
            Control::Status => Ok(ControlReply::Status(format!("{{\"member\":{}}}", self.at))),
            Control::Heartbeat => Ok(ControlReply::Done),
            Control::Admin(_) => Err(Error::new(Kind::Invalid)),
        }
    }
}

impl World {
    fn admit(&mut self, at: usize, hello: &Hello, end: &Arc<Notify>) -> Result<(Welcome, u64)> {
        let session = match hello.session {
            Some((session, life)) if life == self.life => {
                if self.members[at].applied_max.is_some_and(|max| session.0 > max.0) {
                    self.members[at].refused += 1;
                    return Err(Error::with(Kind::NotServing, "no such session yet"));
                }
                if !self.sessions.contains(&session) {
                    return Err(Error::with(Kind::SessionExpired, "it has ended"));
                }
                session
            }
            _ => {
                self.index += 1;
                self.sessions_opened += 1;
                let session = SessionId(self.index);
                self.sessions.insert(session);
                session
            }
        };
        self.connections += 1;
        let number = self.connections;
        self.users.insert((at, session), number);
        let table = self.table_of(at);
        let known = if hello.session.is_some() { hello.table } else { Index(0) };
        let member = &mut self.members[at];
        member.welcomed += 1;
        member.connections.insert(number, Arc::clone(end));
        let welcome = Welcome {
            cluster_life: self.life,
            member: member.id,
            session,
            session_timeout_ms: 600_000,
            partitions: PARTITIONS,
            frame_bytes_max: 1 << 24,
            applied: Index(self.index),
            lease_ms: LEASE_MS,
            table: (table.index() > known).then_some(table),
        };
        Ok((welcome, number))
    }
}
