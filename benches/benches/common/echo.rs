//! The least that a server of the grid's protocol can do: one thread that answers each frame with a
//! reply of the right size and stores nothing. What a member adds to it is the cost of the grid.

use grid_core::control::{MapConfig, StructureConfig};
use grid_core::op::OpCode;
use grid_core::wire::control::{self, Control, ControlReply};
use grid_core::wire::hello::{self, Answer, Hello, Welcome};
use grid_core::wire::table::{MemberAddress, TableView};
use grid_core::wire::{FrameKind, end_frame, reply, request, split_frame};
use grid_core::{Index, MemberId, SessionId, StructureId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const FRAME_MAX: usize = 64 << 20;

/// Serves until it is killed.
pub(crate) fn serve(address: &str, value_bytes: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(connection(stream, value_bytes));
        }
    });
}

async fn connection(mut stream: TcpStream, value_bytes: usize) {
    let mut value = vec![b'x'; 1 + 4 + value_bytes];
    value[0] = 1;
    let (mut input, mut filled, mut greeted) = (vec![0; 256 << 10], 0, false);
    let mut out = Vec::new();
    loop {
        match stream.read(&mut input[filled..]).await {
            Ok(0) | Err(_) => return,
            Ok(n) => filled += n,
        }
        let mut used = 0;
        if !greeted {
            let Some((_, len)) = hello::decode::<Hello>(&input[..filled]).unwrap() else {
                continue;
            };
            hello::encode(
                &Answer::Welcome(welcome(stream.local_addr().unwrap().to_string())),
                &mut out,
            )
            .unwrap();
            (used, greeted) = (len, true);
        }
        while let Some((frame, len)) = split_frame(&input[used..filled], FRAME_MAX).unwrap() {
            used += len;
            if frame[0] == FrameKind::Request as u8 {
                let (header, _) = request::decode(frame).unwrap();
                let at = reply::begin(header.request, header.attempt, Index(1), &mut out);
                if header.code == OpCode::MapGet as u8 {
                    out.extend_from_slice(&value);
                }
                end_frame(&mut out, at);
            } else {
                let (call, _) = control::decode::<Control>(frame).unwrap();
                let config = StructureConfig::Map(MapConfig::default());
                let declared =
                    ControlReply::Declared { structure: StructureId(0), config, since: Index(1) };
                control::encode(FrameKind::ControlReply, call, &declared, &mut out).unwrap();
            }
        }
        input.copy_within(used..filled, 0);
        filled -= used;
        if stream.write_all(&out).await.is_err() {
            return;
        }
        out.clear();
    }
}

fn welcome(address: String) -> Welcome {
    let members = vec![MemberAddress { member: MemberId(1), address }];
    let table = TableView::new(Index(1), 1, members, [&[0u16][..]; 271]).unwrap();
    Welcome {
        cluster_life: 1,
        member: MemberId(1),
        session: SessionId(1),
        session_timeout_ms: 60_000,
        partitions: 271,
        frame_bytes_max: 64 << 20,
        applied: Index(1),
        lease_ms: 400,
        table: Some(table),
    }
}
