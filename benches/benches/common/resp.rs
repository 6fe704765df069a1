//! The protocol of redis, as far as GET and SET need it.

use grid_core::error::{Error, Kind, Result};
use grid_node::bench::generator::{Answer, Connect, Protocol, Request};
use tokio::net::TcpStream;

/// Connects to redis.
pub(crate) struct Redis;

/// Replies come in the order of their requests.
#[derive(Default)]
pub(crate) struct Resp {
    answered: u64,
}

impl Connect for Redis {
    type Protocol = Resp;

    async fn handshake(&self, _: &mut TcpStream) -> Result<Resp> {
        Ok(Resp::default())
    }
}

fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let (mut at, mut n) = (digits.len(), bytes.len());
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.push(b'$');
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn malformed(what: &[u8]) -> Error {
    Error::with(Kind::Malformed, format!("not a reply of redis: {}", String::from_utf8_lossy(what)))
}

impl Protocol for Resp {
    fn request(&mut self, request: &Request<'_>, out: &mut Vec<u8>) {
        match request.value {
            None => {
                out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
                bulk(request.key, out);
            }
            Some(value) => {
                out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
                bulk(request.key, out);
                bulk(value, out);
            }
        }
    }

    fn reply<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(u64, Answer<'a>, usize)>> {
        let Some(end) = bytes.iter().take(512).position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let line = bytes[1..end].trim_ascii_end();
        let (answer, used) = match bytes[0] {
            b'+' => (Answer::Written, end + 1),
            b'-' => (Answer::Failed(String::from_utf8_lossy(line).into_owned()), end + 1),
            b'$' if line == b"-1" => (Answer::Missing, end + 1),
            b'$' => {
                let len = std::str::from_utf8(line).ok().and_then(|len| len.parse().ok());
                let len: usize = len.ok_or_else(|| malformed(line))?;
                if bytes.len() < end + 1 + len + 2 {
                    return Ok(None);
                }
                (Answer::Value(&bytes[end + 1..end + 1 + len]), end + 1 + len + 2)
            }
            _ => return Err(malformed(line)),
        };
        self.answered += 1;
        Ok(Some((self.answered, answer, used)))
    }
}
