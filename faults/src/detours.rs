//! Proxies on all links of a network: every connection to a member, from another one or from a client, goes
//! through the proxy of its directed link, which runs in the namespace that the connection comes from.

use crate::error::{Error, Result};
use crate::net::{Net, Place, detour_address, proxy_port};
use crate::proxy::{Handle, Proxy};
use crate::rng::Rng;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::mpsc;
use std::thread::JoinHandle;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A link: who connects, and the member that it connects to.
pub type Link = (Place, usize);

/// The proxies of a network; they end when this is dropped.
#[derive(Debug)]
pub struct Detours {
    handles: BTreeMap<Link, Handle>,
    stops: Vec<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Detours {
    /// Starts them, one thread per place. The network must have been built with detours.
    ///
    /// # Errors
    /// If a namespace or a port cannot be had.
    pub fn start(net: &Net, members: usize, mut rng: Rng) -> Result<Self> {
        let mut all = Detours { handles: BTreeMap::new(), stops: Vec::new(), threads: Vec::new() };
        for place in Place::all(members) {
            let Some(namespace) = net.namespace(place) else { continue };
            let (stop, stopped) = oneshot::channel();
            let (tell, told) = mpsc::channel();
            let rng = rng.fork();
            let work = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                match runtime {
                    Ok(runtime) => runtime.block_on(serve(place, members, rng, &tell, stopped)),
                    Err(error) => drop(tell.send(Err(error))),
                }
            };
            // A thread that is started in a namespace stays there.
            let thread = namespace.within(|| {
                std::thread::Builder::new().name(format!("proxies-{place}")).spawn(work)
            })?;
            let failed = |error| Error::failed(format!("the proxies of {place}"), error);
            all.threads.push(thread.map_err(failed)?);
            all.stops.push(stop);
            let ended = |_| Error::failed(format!("the proxies of {place}"), "their thread ended");
            all.handles.extend(told.recv().map_err(ended)?.map_err(failed)?);
        }
        Ok(all)
    }

    /// What controls the proxies, by link.
    #[must_use]
    pub fn handles(&self) -> &BTreeMap<Link, Handle> {
        &self.handles
    }
}

impl Drop for Detours {
    fn drop(&mut self) {
        self.stops.clear();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                eprintln!("grid-faults: a thread of proxies has panicked");
            }
        }
    }
}

type Told = mpsc::Sender<std::io::Result<Vec<(Link, Handle)>>>;

async fn serve(
    place: Place,
    members: usize,
    mut rng: Rng,
    tell: &Told,
    stopped: oneshot::Receiver<()>,
) {
    let mut proxies = Vec::new();
    for member in (0..members).filter(|member| Place::Member(*member) != place) {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, proxy_port(member))).await {
            Ok(listener) => {
                let proxy = Proxy::start(listener, detour_address(member), rng.fork());
                proxies.push(((place, member), proxy));
            }
            Err(error) => return drop(tell.send(Err(error))),
        }
    }
    let handles = proxies.iter().map(|(link, proxy)| (*link, proxy.handle())).collect();
    if tell.send(Ok(handles)).is_ok() {
        let _ = stopped.await; // an error: nobody wants them any more
    }
}
