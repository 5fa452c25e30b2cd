//! Assembly: from a configuration to running threads and back to nothing. The only layer that knows all
//! others.
//!
//! Either everything starts or nothing does: every reactor reports before the first client is told that the
//! server is ready, and one that fails ends the others.

mod app;
pub mod banner;
pub mod budget;
mod builder;
pub mod doctor;
pub mod explain;
pub mod holder;
pub mod host;
pub mod keeper;
mod launch;
mod memory;
mod plan;
pub mod reload;
mod run;
pub mod signals;
pub mod spread;
pub mod start_error;
mod topology;
pub mod trial;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

pub use builder::Builder;
pub use run::{refuse, run, tell};

use crate::base::clock::Deadline;
use crate::config::{Config, DescriptorTable, Listen};
use crate::gateway::handler::Lifecycle;
use crate::observe::log::{Level, Log};
use crate::reactor::{self, Farewell, Inbox, Notice, descriptors};
use crate::server::app::App;
use crate::server::budget::{Budget, Tables};
use crate::server::host::Host;
use crate::server::keeper::{Hand, Keeper, News};
use crate::server::launch::Running;
use crate::server::plan::Plan;
use crate::server::reload::{Desk, Reloader, Reloading, Source};
use crate::server::spread::Spread;
use crate::server::start_error::{StartError, explain_bind};
use crate::worker::{Staff, Workers};

/// A server whose reactors run. Dropping it stops them.
///
/// ```
/// use myriapod::config::raw::{Raw, Written};
/// use myriapod::server::Server;
///
/// let raw = Raw { listen: vec![Written::flag("127.0.0.1:0")], ..Raw::default() };
/// let config = raw.resolve().expect("sound settings");
/// let server = Server::start(&config)?;
/// println!("{}", server.listen()[0]);
/// server.drain();
/// let farewell = server.join()?;
/// assert_eq!(farewell.cut, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    reactors: Vec<Running>,
    workers: Option<Workers>,
    drainer: Drainer,
    reloading: Option<Reloading>,
    log: Log,
    banner: String,
    listen: Vec<Listen>,
    /// Rings when a reactor breaks.
    alarm: Option<mpsc::Receiver<()>>,
}

impl Server {
    /// A server of your own: routes, state, middleware, settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts everything the configuration asks for.
    ///
    /// # Errors
    /// The first thing that stands in the way, with its fix; nothing is left running then.
    pub fn start(config: &Config) -> Result<Server, StartError> {
        Server::start_with(config, App::default())
    }

    /// [`start`](Server::start), with reloads.
    ///
    /// # Errors
    /// As there.
    pub fn start_from(config: &Config, source: Source) -> Result<Server, StartError> {
        Server::start_with(config, App { source: Some(source), ..App::default() })
    }

    fn start_with(config: &Config, app: App) -> Result<Server, StartError> {
        let began = Instant::now();
        // A failure to raise the limit shows in the budget, which is made of what the limit then is.
        let _ = host::raise_descriptor_limit();
        let host = Host::measure();
        let reactors = config.fixed.reactors.unwrap_or(host.cpus);
        let budget = Budget::new(&host, config, tables(config)?, reactors)?;

        let (claims, listen, admin) = claim_all(config)?;
        let spread = Spread::arrange(config, reactors)?;
        let staff = Staff::of(config.fixed.workers.unwrap_or(host.cpus));
        let routes = app.patterns.clone();
        let plan = Plan::new(config, budget, spread, staff, listen, admin, app)?;
        plan.spread.tell(&plan.log);
        let (bell, alarm) = mpsc::channel();
        let gates = plan.gates()?;
        let shop = plan.workshop(&gates);
        let workers = plan.start_workers(shop.as_ref())?;
        let desk = Desk::new();
        let keeper = start_keeper(&plan, &desk)?;
        let reactors = plan.launch(gates, shop.as_ref(), &bell)?;
        drop(claims);

        let drainer = Drainer {
            lifecycle: Arc::clone(&plan.lifecycle),
            inboxes: reactors.iter().map(|running| Arc::clone(&running.inbox)).collect(),
            ms_max: config.fixed.drain_ms_max,
            until: Arc::default(),
        };
        let mut server = Server {
            reloading: None,
            reactors,
            workers,
            drainer,
            banner: plan.banner(&routes, began),
            log: plan.log.clone(),
            listen: plan.listen.clone(),
            alarm: Some(alarm),
        };
        let office = plan.into_office(keeper, Arc::clone(&server.drainer.inboxes));
        let no_thread = |error| StartError::System { attempt: "start a thread", error };
        let reloading = office.is_needed().then(|| Reloading::start(desk, office)).transpose();
        server.reloading = reloading.map_err(no_thread)?;
        Ok(server)
    }

    /// What is told at the start.
    #[must_use]
    pub fn banner(&self) -> &str {
        &self.banner
    }

    /// Where it listens, with the ports that the kernel chose.
    #[must_use]
    pub fn listen(&self) -> &[Listen] {
        &self.listen
    }

    /// A hand on its log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What has the configuration read anew, where it can be.
    #[must_use]
    pub fn reloader(&self) -> Option<&Reloader> {
        self.reloading.as_ref().filter(|reloading| reloading.has_source).map(|reloading| &reloading.reloader)
    }

    /// What tells, once, that a reactor broke instead of ending: time to drain the others. For the first
    /// who asks.
    pub fn alarm(&mut self) -> Option<mpsc::Receiver<()>> {
        self.alarm.take()
    }

    /// Begins to drain: no new connections, requests under way are answered, idle connections close.
    pub fn drain(&self) {
        self.drainer.drain();
    }

    /// What begins the drain from elsewhere, while this thread [waits](Server::join) for its end.
    #[must_use]
    pub fn drainer(&self) -> Drainer {
        self.drainer.clone()
    }

    /// Waits until every reactor has ended, and sums up.
    ///
    /// # Errors
    /// When a reactor broke instead of ending; the others, and the workers, have ended all the same.
    pub fn join(mut self) -> io::Result<Farewell> {
        let mut sum = Ok(Farewell::default());
        // The first one has the admin listener, so it is waited for last, and told so.
        for (number, running) in self.reactors.iter_mut().enumerate().rev() {
            let Some(thread) = running.thread.take() else { continue };
            if number == 0 {
                let _ = running.inbox.notify(Notice::Last);
            }
            let farewell = thread.join().unwrap_or_else(|_| Err(io::Error::other("a reactor panicked")));
            // Who broke must not cost the others their drain.
            sum = sum.and_then(|sum| farewell.map(|farewell| sum.with(farewell)));
        }
        let patience = self.drainer.until.get().map_or(Duration::MAX, |until| until.remaining());
        if let Some(left) = self.workers.take().map(|workers| workers.stop(patience))
            && left > 0
        {
            let text = format_args!("{left} handlers have not returned and are left to themselves");
            self.log.event(Level::Warn, "stop", text);
        }
        sum
    }
}

/// Begins the drain of a server from any thread, a handler's too. See [`Server::drainer`].
#[derive(Clone)]
pub struct Drainer {
    lifecycle: Arc<Lifecycle>,
    inboxes: Arc<[Arc<Inbox>]>,
    ms_max: u32,
    /// When the time is up of the drain that has begun.
    until: Arc<OnceLock<Deadline>>,
}

impl Drainer {
    /// See [`Server::drain`].
    pub fn drain(&self) {
        let _ = self.until.set(Deadline::within(Duration::from_millis(u64::from(self.ms_max))));
        self.lifecycle.drain();
        for inbox in &*self.inboxes {
            // An inbox that is full of notices has one like this in it.
            let _ = inbox.notify(Notice::Drain { ms_max: self.ms_max });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // While there are reactors that take what it has for them.
        drop(self.reloading.take());
        for running in &mut self.reactors {
            let Some(thread) = running.thread.take() else { continue };
            let _ = running.inbox.notify(Notice::Stop);
            let _ = thread.join();
        }
        drop(self.workers.take());
        self.log.stop();
    }
}

/// Before reactors leave the table of descriptors, so that they can wake it.
fn start_keeper(plan: &Plan<'_>, desk: &Desk) -> Result<Option<Keeper>, StartError> {
    if plan.source.is_none() && plan.config.site.upstreams.is_empty() {
        return Ok(None);
    }
    let reloader = desk.reloader().clone();
    let tell = move |_: &Hand, news: News<'_>| match news {
        News::Addresses(book) => reloader.renew(book.clone()),
        News::Files => reloader.reload(),
        // The keeper has told the server's vitals, and the log.
        News::Probe { .. } => {}
    };
    let keeper =
        Keeper::start_with(Arc::clone(&plan.keeper), Arc::clone(&plan.resolver), plan.log.clone(), tell);
    keeper.map(Some).map_err(|error| StartError::System { attempt: "start a thread", error })
}

fn tables(config: &Config) -> Result<Tables, StartError> {
    match config.fixed.descriptor_table {
        DescriptorTable::Shared => Ok(Tables::Shared),
        DescriptorTable::Auto if descriptors::can_be_private() => Ok(Tables::Private),
        DescriptorTable::Auto => Ok(Tables::Shared),
        DescriptorTable::Private => match descriptors::can_be_private() {
            true => Ok(Tables::Private),
            false => Err(StartError::PrivateTable { error: io::ErrorKind::PermissionDenied.into() }),
        },
    }
}

type Claims = (Vec<OwnedFd>, Vec<Listen>, Option<Listen>);

/// Claims every address before any is listened on, so that a second process is refused and a port chosen by
/// the kernel is the same on every reactor. The claims are dropped when all reactors listen.
fn claim_all(config: &Config) -> Result<Claims, StartError> {
    let mut claims = Vec::new();
    let mut claim = |listen: &Listen| match listen {
        Listen::Tcp(address) => {
            let (fd, bound) = reactor::claim(*address).map_err(|error| explain_bind(listen, error))?;
            claims.push(fd);
            Ok::<_, StartError>(Listen::Tcp(bound))
        }
        Listen::Unix(path) => {
            // A socket file that nobody listens on was left behind by a process that was killed.
            let is_socket = std::fs::symlink_metadata(path)
                .is_ok_and(|file| std::os::unix::fs::FileTypeExt::is_socket(&file.file_type()));
            if is_socket && !holder::is_listening(listen) {
                let _ = std::fs::remove_file(path);
            }
            Ok(listen.clone())
        }
    };
    let listen = config.fixed.listen.iter().map(&mut claim).collect::<Result<Vec<_>, _>>()?;
    let admin = config.fixed.admin.as_ref().map(&mut claim).transpose()?;
    Ok((claims, listen, admin))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::sync::Mutex;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::gateway::Exchange;
    use crate::gateway::handler::Tune;
    use crate::server::keeper::Resolver;

    /// A server of two reactors, a client of the first, and what ends the wait of the client's handler.
    fn with_a_request_under_way(path: &Path) -> (Server, UnixStream, mpsc::Sender<()>) {
        let (release, released) = mpsc::channel();
        let released = Mutex::new(released);
        let slow = move |_: &mut Exchange| {
            let _ = released.lock().expect("one request").recv();
            "done"
        };
        let builder = Server::builder().listen(format!("unix:{}", path.display())).reactors(2).workers(1);
        let server = builder.get("/slow", slow.on_workers()).start().expect("room");
        let mut client = UnixStream::connect(path).expect("it listens");
        client.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").expect("it takes a request");
        (server, client, release)
    }

    #[test]
    fn a_reactor_that_broke_leaves_the_others_their_drain() {
        let path = std::env::temp_dir().join(format!("myriapod-broken-{}.sock", std::process::id()));
        let (mut server, mut client, release) = with_a_request_under_way(&path);
        server.reactors[1].thread = Some(thread::spawn(|| Err(io::Error::other("as told"))));
        server.drain();
        let joiner = thread::spawn(|| server.join());
        client.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket");
        let early = client.read(&mut [0]).expect_err("the handler has not answered");
        assert_eq!(early.kind(), io::ErrorKind::WouldBlock);
        release.send(()).expect("the handler waits");
        client.set_read_timeout(None).expect("a socket");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("a whole answer");
        assert!(answer.ends_with("done"), "{answer}");
        drop(client);
        assert_eq!(joiner.join().expect("no panic").expect_err("one broke").to_string(), "as told");
    }

    /// Serves that text to whoever asks, at that address.
    fn server_at(address: &str, text: &'static str) -> std::net::SocketAddr {
        let listener = std::net::TcpListener::bind(address).expect("a port");
        let bound = listener.local_addr().expect("bound");
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 1024]);
                let length = text.len();
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all((head + text).as_bytes());
            }
        });
        bound
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_followed_without_a_restart() {
        let port = server_at("127.0.0.1:0", "first").port();
        server_at(&format!("127.0.0.2:{port}"), "second");
        let last = Arc::new(std::sync::atomic::AtomicU8::new(1));
        let known = Arc::clone(&last);
        let resolver: Resolver = Arc::new(move |_| {
            let last = known.load(std::sync::atomic::Ordering::SeqCst);
            Ok(vec![std::net::SocketAddr::from(([127, 0, 0, last], 0))])
        });
        let text = format!("[[route]]\npath = \"/*\"\nproxy = \"http://app.test:{port}\"\n");
        let file = crate::config::file::read(&crate::config::file::Source::new("site", text), Path::new("/"));
        let mut config = Config { site: file.site, ..Config::default() };
        config.site.upstreams[0].resolve_ms = 20;
        config.fixed.listen = vec![Listen::Tcp("127.0.0.1:0".parse().expect("an address"))];
        config.fixed.reactors = Some(2);
        let app = App { resolver: Some(resolver), ..App::default() };
        let server = Server::start_with(&config, app).expect("room");
        let Listen::Tcp(address) = server.listen()[0] else { panic!("a port") };
        let ask = || {
            let mut client = std::net::TcpStream::connect(address).expect("it listens");
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("it takes it");
            let mut answer = String::new();
            client.read_to_string(&mut answer).expect("a whole answer");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            answer
        };
        assert!(ask().ends_with("first"));
        last.store(2, std::sync::atomic::Ordering::SeqCst);
        let until = Instant::now() + Duration::from_secs(10);
        while !ask().ends_with("second") {
            assert!(Instant::now() < until, "it goes on asking the first");
        }
    }
}
