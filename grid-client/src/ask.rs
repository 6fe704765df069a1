//! One question to one member, without a session.

use crate::builder::Builder;
use crate::connect::greet;
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::Index;
use grid_core::limits::FRAME_BYTES_MAX;
use grid_core::wire::control::{self, Control, ControlReply};
use grid_core::wire::hello::{Hello, PeerKind};
use grid_core::wire::{FrameKind, split_frame};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// See [`Builder::ask`].
pub(crate) async fn ask(builder: &Builder, message: &Control) -> Result<ControlReply> {
    let address = builder.addresses.first().map(String::as_str).unwrap_or_default();
    let late = |within: Duration| {
        Error::with(Kind::Timeout, format!("{address} does not answer within {within:?}"))
    };
    let hello = Hello {
        cluster: builder.cluster.clone(),
        kind: PeerKind::Operator,
        name: builder.name.clone(),
        session: None,
        table: Index(u64::MAX),
    };
    let within = builder.connect_timeout;
    let greeted = tokio::time::timeout(within, greet(address, &hello)).await;
    let (_, stream) = greeted.map_err(|_| late(within))??;
    let within = builder.operation_timeout;
    let answered = tokio::time::timeout(within, exchange(stream, message)).await;
    // The message is on its way: without an answer, nobody knows.
    answered.map_err(|_| late(within)).flatten().map_err(Error::maybe_applied)?.accepted()
}

async fn exchange(mut stream: TcpStream, message: &Control) -> Result<ControlReply> {
    let lost = |error: std::io::Error| Error::with(Kind::Disconnected, error.to_string());
    let mut bytes = Vec::new();
    control::encode(FrameKind::Control, 1, message, &mut bytes)?;
    stream.write_all(&bytes).await.map_err(lost)?;
    bytes.clear();
    loop {
        if let Some((frame, _)) = split_frame(&bytes, FRAME_BYTES_MAX)? {
            return control::decode(frame).map(|(_, reply)| reply);
        }
        if stream.read_buf(&mut bytes).await.map_err(lost)? == 0 {
            let text = "the member closed the connection";
            return Err(Error::with(Kind::Disconnected, text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_core::error::Applied;
    use grid_core::ids::{MemberId, SessionId};
    use grid_core::wire::hello::{self, Answer, Welcome};
    use tokio::net::TcpListener;

    async fn read<T>(stream: &mut TcpStream, decode: impl Fn(&[u8]) -> Option<T>) -> T {
        let mut bytes = Vec::new();
        loop {
            if let Some(message) = decode(&bytes) {
                return message;
            }
            assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the asking side has left");
        }
    }

    /// What a client of a member gets that answers to the hello and to the question so; none: it leaves.
    async fn asked(hello_answer: Answer, reply: Option<ControlReply>) -> Result<ControlReply> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let builder = Builder::default().address(listener.local_addr().unwrap().to_string());
        let member = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let hello = read(&mut stream, |bytes| hello::decode::<Hello>(bytes).unwrap()).await;
            assert_eq!((hello.0.kind, hello.0.session), (PeerKind::Operator, None));
            let mut out = Vec::new();
            hello::encode(&hello_answer, &mut out).unwrap();
            stream.write_all(&out).await.unwrap();
            if matches!(hello_answer, Answer::Refused { .. }) {
                return;
            }
            let (call, message) = read(&mut stream, |bytes| {
                let (frame, _) = split_frame(bytes, FRAME_BYTES_MAX).unwrap()?;
                Some(control::decode::<Control>(frame).unwrap())
            })
            .await;
            assert_eq!(message, Control::Status);
            if let Some(reply) = reply {
                out.clear();
                control::encode(FrameKind::ControlReply, call, &reply, &mut out).unwrap();
                stream.write_all(&out).await.unwrap();
            }
        };
        tokio::join!(builder.ask(Control::Status), member).0
    }

    fn welcome() -> Answer {
        Answer::Welcome(Welcome {
            cluster_life: 1,
            member: MemberId(2),
            session: SessionId(0),
            session_timeout_ms: 1,
            partitions: 1,
            frame_bytes_max: 1,
            applied: Index(1),
            lease_ms: 400,
            table: None,
        })
    }

    #[tokio::test]
    async fn an_answer_is_an_answer_and_a_refusal_an_error() {
        let refusal = |text: &str| (Kind::Invalid, text.to_owned());
        assert_eq!(asked(welcome(), Some(ControlReply::Done)).await, Ok(ControlReply::Done));
        let (kind, detail) = refusal("a quorum is there");
        let error =
            asked(welcome(), Some(ControlReply::Refused { kind, detail })).await.unwrap_err();
        assert_eq!((error.kind(), error.applied()), (Kind::Invalid, Applied::No));
        let (kind, detail) = refusal("not you");
        let error = asked(Answer::Refused { kind, detail }, None).await.unwrap_err();
        assert_eq!((error.kind(), error.applied()), (Kind::Invalid, Applied::No));
    }

    #[tokio::test]
    async fn without_an_answer_it_may_have_happened() {
        let error = asked(welcome(), None).await.unwrap_err();
        assert_eq!((error.kind(), error.applied()), (Kind::Disconnected, Applied::Maybe));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = Builder::default()
            .address(listener.local_addr().unwrap().to_string())
            .connect_timeout(Duration::from_millis(10));
        let error = silent.ask(Control::Status).await.unwrap_err();
        assert_eq!((error.kind(), error.applied()), (Kind::Timeout, Applied::No));
    }
}
