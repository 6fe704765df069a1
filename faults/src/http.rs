//! One HTTP request at a time, as much as asking a member for its health takes.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const ANSWER_BYTES_MAX: usize = 256 << 10;

/// What a member answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// What is behind the headers.
    pub body: String,
}

/// Asks for a page.
///
/// # Errors
/// If there is no whole answer within `patience`, or what answers speaks something else.
pub fn get(address: SocketAddr, path: &str, patience: Duration) -> Result<Answer> {
    let deadline = Instant::now() + patience;
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_write_timeout(Some(patience))?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let read = match stream.read(&mut chunk) {
            // What a socket says whose time is over.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(ErrorKind::TimedOut.into());
            }
            read => read?,
        };
        answer.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if read == 0 {
            return parse(&String::from_utf8_lossy(&answer));
        }
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(Error::new(ErrorKind::InvalidData, "the answer does not end"));
        }
    }
}

fn parse(text: &str) -> Result<Answer> {
    let parsed = text.split_once("\r\n\r\n").and_then(|(head, body)| {
        let mut words = head.split_whitespace();
        let http = words.next()?.starts_with("HTTP/1.");
        let status = words.next()?.parse().ok()?;
        http.then(|| Answer { status, body: body.to_owned() })
    });
    parsed.ok_or_else(|| Error::new(ErrorKind::InvalidData, "what answers does not speak HTTP"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers one connection with these bytes.
    fn serve(bytes: &'static [u8], linger: Option<std::sync::mpsc::Receiver<()>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let read = stream.read(&mut head).unwrap();
            assert!(head[..read].starts_with(b"GET /health/ready HTTP/1.1\r\n"));
            stream.write_all(bytes).unwrap();
            linger.map(|linger| linger.recv());
        });
        address
    }

    fn ask(address: SocketAddr) -> Result<Answer> {
        get(address, "/health/ready", Duration::from_secs(20))
    }

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = ask(serve(b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\n{}", None)).unwrap();
        assert_eq!(answer, Answer { status: 503, body: "{}".into() });
    }

    #[test]
    fn garbage_and_silence_are_errors() {
        assert_eq!(ask(serve(b"SSH-2.0", None)).unwrap_err().kind(), ErrorKind::InvalidData);
        let (_hold, linger) = std::sync::mpsc::channel();
        let silent = serve(b"HTTP/1.1 200 OK\r\n", Some(linger));
        let error = get(silent, "/health/ready", Duration::from_millis(30)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
