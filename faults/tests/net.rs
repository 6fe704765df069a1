//! The network of a run and its faults, with plain TCP echo servers in place of members. These tests need root,
//! `ip`, `tc` and `nft`; where they are missing they say so and test nothing.

#![allow(clippy::unwrap_used)]

use grid_faults::Error;
use grid_faults::clean::{self, Left};
use grid_faults::detours::Detours;
use grid_faults::disk::Disk;
use grid_faults::net::{CLIENT_PORT, Net, Place, Weather};
use grid_faults::proxy::{Direction, Trouble};
use grid_faults::rng::Rng;
use grid_faults::run_id::RunId;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const A: Place = Place::Member(0);
const B: Place = Place::Member(1);

/// Long enough that a machine under load does not fail an exchange that works.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long something that must not come is waited for.
const SILENCE: Duration = Duration::from_millis(300);

/// All networks of this process have the same name.
static ONE: Mutex<()> = Mutex::new(());

struct Lab {
    net: Net,
    _one: MutexGuard<'static, ()>,
}

/// Two members that echo, and clients; none where the machine has no networks.
fn lab(detour: bool) -> Option<Lab> {
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    match Net::build(RunId::own(), 2, detour) {
        Ok(net) => {
            for place in [A, B] {
                net.namespace(place).unwrap().within(|| echo(place)).unwrap();
            }
            Some(Lab { net, _one: one })
        }
        Err(Error::Missing(what)) => {
            eprintln!("SKIPPED, nothing was tested: {what}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Serves one place until the test process ends.
fn echo(place: Place) {
    let listener = TcpListener::bind((place.ip(), CLIENT_PORT)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                std::io::copy(&mut stream.try_clone().unwrap(), &mut stream)
            });
        }
    });
}

impl Lab {
    fn connect(&self, from: Place, to: Place, patience: Duration) -> std::io::Result<TcpStream> {
        let address = SocketAddr::from((to.ip(), CLIENT_PORT));
        let namespace = self.net.namespace(from).unwrap();
        namespace.within(|| TcpStream::connect_timeout(&address, patience)).unwrap()
    }

    fn reach(&self, from: Place, to: Place) -> bool {
        self.connect(from, to, SILENCE).is_ok()
    }
}

fn ask(stream: &mut TcpStream, text: &str, patience: Duration) -> std::io::Result<String> {
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(text.as_bytes())?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn is_silence(result: std::io::Result<String>) -> bool {
    result.is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

#[test]
fn cuts_are_directed_and_heal() {
    let Some(mut lab) = lab(false) else { return };
    let mut stream = lab.connect(A, B, PATIENCE).unwrap();
    assert_eq!(ask(&mut stream, "before", PATIENCE).unwrap(), "before");

    // What A sends gets lost; what B sends would arrive.
    let mut weather = Weather::default();
    weather.cut(A, B);
    lab.net.apply(&weather).unwrap();
    assert!(is_silence(ask(&mut stream, "one way", SILENCE)));
    assert!(!lab.reach(A, B) && !lab.reach(B, A), "no handshake without both directions");
    assert!(lab.connect(Place::Clients, B, PATIENCE).is_ok(), "others are not concerned");

    // TCP sends again what was lost, once it can.
    lab.net.apply(&Weather::default()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut late = [0; 7];
    stream.read_exact(&mut late).unwrap();
    assert_eq!(&late, b"one way");
    assert!(lab.connect(B, A, PATIENCE).is_ok());
}

#[test]
fn the_bridge_sees_everybody_whatever_is_cut() {
    let Some(mut lab) = lab(false) else { return };
    let mut weather = Weather::default();
    for (from, to) in [(A, B), (B, A), (Place::Clients, A), (A, Place::Clients)] {
        weather.cut(from, to);
    }
    lab.net.apply(&weather).unwrap();
    assert!(!lab.reach(Place::Clients, A) && !lab.reach(A, B));
    let at_a = SocketAddr::from((A.ip(), CLIENT_PORT));
    lab.net.bridge().within(|| TcpStream::connect_timeout(&at_a, PATIENCE)).unwrap().unwrap();
}

#[test]
fn losses_and_rates_are_put_in_force_and_taken_back() {
    let Some(mut lab) = lab(false) else { return };
    let mut weather = Weather::default();
    weather.lose(A, B, 1000);
    lab.net.apply(&weather).unwrap();
    assert!(!lab.reach(A, B));
    let mut weather = Weather::default();
    weather.lose(A, B, 200);
    weather.slow(A, 2_000);
    lab.net.apply(&weather).unwrap();
    let mut stream = lab.connect(A, B, PATIENCE).unwrap();
    let text = "x".repeat(100_000);
    assert_eq!(ask(&mut stream, &text, PATIENCE).unwrap(), text);
    let shown = |net: &Net| {
        let name = net.namespace(A).unwrap().name().to_owned();
        grid_faults::shell::run("tc", &["-n", &name, "qdisc", "show", "dev", "eth0"]).unwrap()
    };
    assert!(shown(&lab.net).contains("tbf") && shown(&lab.net).contains("rate 2Mbit"));
    lab.net.apply(&Weather::default()).unwrap();
    assert!(!shown(&lab.net).contains("tbf"));
}

#[test]
fn detours_put_a_proxy_in_the_path_of_each_directed_link() {
    let Some(mut lab) = lab(true) else { return };
    let detours = Detours::start(&lab.net, 2, Rng::new(1)).unwrap();
    assert_eq!(detours.handles().len(), 4, "two between members, two from clients");
    let (to_b, to_a) = (&detours.handles()[&(A, 1)], &detours.handles()[&(B, 0)]);
    let mut stream = lab.connect(A, B, PATIENCE).unwrap();
    assert_eq!(ask(&mut stream, "hello", PATIENCE).unwrap(), "hello");
    assert_eq!(to_b.counters().passed.load(Relaxed), 10);
    assert_eq!(to_a.counters().connections.load(Relaxed), 0);

    to_b.set(Direction::ToServer, Trouble { stall: true, ..Trouble::default() });
    assert!(is_silence(ask(&mut stream, "held", SILENCE)));
    let mut back = lab.connect(B, A, PATIENCE).unwrap();
    assert_eq!(ask(&mut back, "free", PATIENCE).unwrap(), "free");
    to_b.set(Direction::ToServer, Trouble::default());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut late = [0; 4];
    stream.read_exact(&mut late).unwrap();
    assert_eq!(&late, b"held");

    // Rules are in force behind the proxy too: its packets are those of A.
    let mut weather = Weather::default();
    weather.cut(A, B);
    lab.net.apply(&weather).unwrap();
    assert!(is_silence(ask(&mut stream, "cut", SILENCE)));
}

#[test]
fn everything_goes_with_the_run_and_is_found_if_it_did_not() {
    let Some(lab) = lab(false) else { return };
    let names = |run| -> Vec<String> {
        let found = clean::left(Some(run)).into_iter();
        found
            .filter_map(|l| if let Left::Namespace(name) = l { Some(name) } else { None })
            .collect()
    };
    assert_eq!(names(RunId::own()).len(), 4, "two members, clients, bridge");
    let Lab { net, _one } = lab;
    drop(net);
    assert_eq!(names(RunId::own()), Vec::<String>::new());

    // A run that died: no process has this id.
    let dead: RunId = "gf-4194998-1".parse().unwrap();
    let net = Net::build(dead, 1, false).unwrap();
    std::mem::forget(net);
    let path = std::env::temp_dir().join(format!("{dead} disk"));
    let disk = Disk::small(path.clone(), dead, 1).unwrap();
    std::fs::write(path.join("vote"), b"x").unwrap();
    assert_eq!(disk.fill().unwrap(), (1 << 20) - 4096, "all but the page of the other file");
    let full = std::fs::write(path.join("log"), b"entry").unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    disk.free().unwrap();
    std::fs::write(path.join("log"), b"entry").unwrap();
    std::mem::forget(disk);

    let found = clean::left(Some(dead));
    assert!(found.contains(&Left::Mount(path.clone())), "{found:?}");
    assert_eq!(found.len(), 4);
    found.iter().for_each(|left| clean::remove(left).unwrap());
    assert_eq!(clean::left(Some(dead)), []);
    std::fs::remove_dir(path).unwrap();
}
