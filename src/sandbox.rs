//! The sandbox: an offline Layer inside the program.
//!
//! It answers like Layer's REST and GraphQL APIs as far as that is publicly known, makes real files (pictures,
//! sound, meshes, video) without any model, and keeps workspaces, runs and uploads in a state
//! directory that several processes can share. It is what `layer-mcp --sandbox` talks to, what
//! the tests talk to, and with [`Fault`]s it misbehaves by name.
//!
//! In reading order:
//! - `server`: three TLS listeners on loopback, for the API, for media and for storage;
//! - `api`, `inferences`, `workflows`, `uploads`, `downloads`: what they answer;
//! - `graphql`, `styles`: the GraphQL endpoint beside them, and what only it makes;
//! - `request`, `plan`, `models`, `catalogue`, `guidance`: what is asked, and what a model makes
//!   of it;
//! - `runs`, `state`, `money`, `clock`: runs on a clock, and what they cost;
//! - `media`: the files;
//! - `faults`, `answers`: what goes wrong.
//!
//! The sandbox is written from the public references alone and shares no type with the client: a
//! mistake in one must not be cancelled by the same mistake in the other. Where the references
//! are silent, it takes the likelier of the possible behaviours and has a fault for the others.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use clock::Clock;
use downloads::Workshop;
use faults::ArmedFaults;
use server::{Host, RequestLog};
use state::{EMPTY_WORKSPACE_ID, Store, StoreError, WORKSPACE_ID};
use tls::Tls;

pub use faults::{Fault, FaultError, FaultSpec};
pub use server::{HostKind, RequestRecord};

mod answers;
mod api;
mod catalogue;
mod clock;
mod downloads;
mod faults;
mod fields;
mod graphql;
mod guidance;
mod inferences;
mod media;
mod models;
mod money;
mod plan;
mod request;
mod runs;
mod server;
mod state;
mod styles;
mod tls;
mod uploads;
mod workflows;

/// The one token that the sandbox knows. It opens nothing else.
const TOKEN: &str = "pat_sandbox_0000000000000000000000000000";

/// How the sandbox runs.
#[derive(Clone, Debug)]
pub struct SandboxOptions {
    /// Where workspaces, runs and uploads are kept; made with mode 0700 when it is missing.
    pub state_dir: PathBuf,
    /// How much faster than usual runs go; above zero, usually 1.
    pub speed: f64,
    /// What goes wrong.
    pub faults: Vec<FaultSpec>,
    /// The port of the API; `None` for any free one.
    pub port: Option<u16>,
    /// The token that it accepts; `None` for the one that is the same everywhere.
    pub token: Option<String>,
    /// Whether its certificate authority is put into a file, for other processes.
    pub ca_file: bool,
}

impl SandboxOptions {
    /// Usual speed, no faults, any free port, a file for other processes.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        let state_dir = state_dir.into();
        Self { state_dir, speed: 1.0, faults: Vec::new(), port: None, token: None, ca_file: true }
    }
}

/// Why the sandbox cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The clock factor is zero, negative or not a number.
    #[error("the sandbox's speed must be above zero")]
    Speed,
    /// The state directory or a file in it cannot be made or used.
    #[error("the sandbox cannot use its state directory")]
    State(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The port is taken, or loopback cannot be used.
    #[error("the sandbox cannot listen on 127.0.0.1")]
    Listen(#[source] std::io::Error),
    /// No certificate could be made.
    #[error("the sandbox cannot make its certificate")]
    Certificate(#[from] rcgen::Error),
    /// The certificate could not be put to use.
    #[error("the sandbox cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

impl From<StoreError> for SandboxError {
    fn from(error: StoreError) -> Self {
        Self::State(error.into())
    }
}

/// What all requests share.
#[derive(Debug)]
struct App {
    store: Store,
    clock: Clock,
    speed: f64,
    faults: ArmedFaults,
    log: RequestLog,
    workshop: Workshop,
    token: String,
    media_url: String,
    storage_url: String,
}

impl App {
    /// A time at usual speed, at this sandbox's.
    fn scaled_ms(&self, ms: i64) -> i64 {
        ((ms as f64 / self.speed).round() as i64).max(1)
    }
}

/// A running offline Layer. Dropping it stops it; its state stays.
#[derive(Debug)]
pub struct Sandbox {
    app: Arc<App>,
    base_url: String,
    allowed_hosts: [String; 2],
    ca_pem: String,
    ca_file: PathBuf,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Sandbox {
    /// Opens the state, makes a certificate and starts listening.
    pub async fn start(options: SandboxOptions) -> Result<Self, SandboxError> {
        Self::start_at(options, Clock::System).await
    }

    async fn start_at(options: SandboxOptions, clock: Clock) -> Result<Self, SandboxError> {
        if !(options.speed > 0.0 && options.speed.is_finite()) {
            return Err(SandboxError::Speed);
        }
        let store = Store::open(&options.state_dir).await?;
        let tls = Tls::generate()?;
        let (api, api_port) = bind(options.port.unwrap_or(0)).await?;
        let (media, media_port) = bind(0).await?;
        let (storage, storage_port) = bind(0).await?;
        // A port has one listener, so no two running sandboxes write the same file.
        let ca_file = options.state_dir.join(format!("ca-{api_port}.pem"));
        remove_stale_ca_files(&options.state_dir);
        if options.ca_file {
            tokio::fs::write(&ca_file, &tls.ca_pem)
                .await
                .map_err(|error| SandboxError::State(error.into()))?;
        }

        let app = Arc::new(App {
            store,
            clock,
            speed: options.speed,
            faults: ArmedFaults::new(options.faults),
            log: RequestLog::default(),
            workshop: Workshop::default(),
            token: options.token.unwrap_or_else(|| TOKEN.to_owned()),
            media_url: format!("https://127.0.0.1:{media_port}"),
            storage_url: format!("https://127.0.0.1:{storage_port}"),
        });
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let acceptor = TlsAcceptor::from(tls.server);
        for (listener, port, kind, router) in [
            (api, api_port, HostKind::Api, api::router(Arc::clone(&app))),
            (media, media_port, HostKind::Media, Router::new()),
            (storage, storage_port, HostKind::Storage, Router::new()),
        ] {
            let names = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
            let host = Host { kind, names: names.into(), app: Arc::clone(&app), router };
            let acceptor = acceptor.clone();
            tasks.spawn(server::listen(listener, acceptor, host, stop.clone(), tasks.clone()));
        }
        tasks.close();
        Ok(Self {
            app,
            base_url: format!("https://127.0.0.1:{api_port}"),
            allowed_hosts: [media_port, storage_port].map(|port| format!("127.0.0.1:{port}")),
            ca_pem: tls.ca_pem,
            ca_file,
            stop,
            tasks,
        })
    }

    /// `https://127.0.0.1:PORT`, in the place of `https://api.app.layer.ai`; the paths begin with
    /// `/api/v1`.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The certificate authority to trust, made for this start.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The same in the state directory, until the sandbox stops; only there when it was asked for
    /// ([`SandboxOptions::ca_file`]).
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The token that it accepts.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.app.token
    }

    /// The workspace that has Creative Units.
    #[must_use]
    pub fn workspace_id(&self) -> &str {
        WORKSPACE_ID
    }

    /// The workspace that has none, and no 3D either.
    #[must_use]
    pub fn empty_workspace_id(&self) -> &str {
        EMPTY_WORKSPACE_ID
    }

    /// `host:port` of the media host and of the storage host, which never get the token.
    #[must_use]
    pub fn allowed_hosts(&self) -> Vec<String> {
        self.allowed_hosts.to_vec()
    }

    /// The latest requests to all three hosts, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.app.log.all()
    }

    /// Puts other faults in force, in place of those before.
    pub fn set_faults(&self, faults: Vec<FaultSpec>) {
        self.app.faults.set(faults);
    }

    /// Stops listening, ends all connections and closes the state.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.wait().await;
        self.app.store.close().await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
        // It is of no use any more, and harmless if it stays.
        let _ = std::fs::remove_file(&self.ca_file);
    }
}

/// Removes the files of sandboxes that were killed: nobody listens on their ports any more.
fn remove_stale_ca_files(state_dir: &Path) {
    for entry in std::fs::read_dir(state_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let port = name.to_str().and_then(|name| name.strip_prefix("ca-")?.strip_suffix(".pem"));
        let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) else { continue };
        // Held while the file goes, so that no new sandbox can have taken it meanwhile.
        if let Ok(_held) = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

async fn bind(port: u16) -> Result<(TcpListener, u16), SandboxError> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(SandboxError::Listen)?;
    let port = listener.local_addr().map_err(SandboxError::Listen)?.port();
    Ok((listener, port))
}

#[cfg(test)]
mod tests;
