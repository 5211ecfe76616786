//! The library used directly: a prompt becomes a saved file, against the sandbox inside this
//! process. No account, no network, no Creative Units.
//!
//! ```text
//! cargo run --example generate -- "a mossy stone wall"
//! ```
#![allow(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

use std::error::Error;
use std::path::PathBuf;

use futures::FutureExt;
use futures::future::BoxFuture;
use layer_mcp::credentials::ApiToken;
use layer_mcp::layer::{
    Connectivity, CreativeUnits, LayerClient, LayerSettings, ProxyChoice, TrustRoots,
};
use layer_mcp::runs::{
    AssetRequest, Connect, Connection, Limits, Pace, Patience, Pixels, Prompt, Runs, RunsSettings,
    SANDBOX_ORIGIN, SetupProblem, Wanted,
};
use layer_mcp::sandbox::{Sandbox, SandboxOptions};

/// The way to Layer: here a sandbox of our own, which lives as long as the connection.
struct ToSandbox {
    state: PathBuf,
}

impl ToSandbox {
    async fn open(&self) -> Result<Connection, Box<dyn Error>> {
        let sandbox = Sandbox::start(SandboxOptions::new(&self.state)).await?;
        let settings = LayerSettings {
            base: sandbox.base_url().parse()?,
            connectivity: Connectivity {
                roots: TrustRoots::Only(sandbox.ca_pem().as_bytes().to_vec()),
                proxy: ProxyChoice::Direct,
                ..Connectivity::default()
            },
            allowed_hosts: sandbox
                .allowed_hosts()
                .iter()
                .map(|host| host.parse())
                .collect::<Result<_, _>>()?,
            reference_hosts: Vec::new(),
            audit: layer_mcp::audit::AuditTrail::nowhere(),
        };
        Ok(Connection {
            client: LayerClient::new(settings, ApiToken::parse(sandbox.token())?)?,
            workspace: Some(sandbox.workspace_id().parse()?),
            origin: SANDBOX_ORIGIN.to_owned(),
            keep: Some(Box::new(sandbox)),
        })
    }
}

impl Connect for ToSandbox {
    fn connect(&self) -> BoxFuture<'_, Result<Connection, SetupProblem>> {
        async {
            self.open().await.map_err(|error| SetupProblem {
                code: "configuration",
                message: format!("The sandbox can't start: {error}."),
                next_step: "Look at the folder of its state.".to_owned(),
            })
        }
        .boxed()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let prompt = std::env::args().nth(1).unwrap_or_else(|| "a mossy stone wall".to_owned());
    let output = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join("output");
    // The journal remembers what was bought; here it is as short-lived as the sandbox.
    let state = std::env::temp_dir().join(format!("layer-mcp-example-{}", std::process::id()));
    let runs = Runs::new(RunsSettings {
        connect: Box::new(ToSandbox { state: state.join("layer") }),
        journal: state.join("journal.db"),
        output_dir: Ok(output),
        limits: Limits {
            confirm_above: CreativeUnits::from_micros(20_000_000),
            run: None,
            session: None,
            day: None,
            project: None,
        },
        project: None,
        roots: None,
        pace: Pace::default(),
        same_request: std::time::Duration::from_secs(24 * 60 * 60),
        now: jiff::Zoned::now,
        redactor: layer_mcp::redact::Redactor::new(),
        audit: layer_mcp::audit::AuditTrail::nowhere(),
    });
    let request = Wanted::from(AssetRequest {
        width: Some(Pixels::try_from(512.0)?),
        height: Some(Pixels::try_from(512.0)?),
        ..AssetRequest::plain(Prompt::try_from(prompt)?)
    });
    let quote = runs.quote(std::slice::from_ref(&request)).await?;
    for call in &quote.calls {
        println!("{} would make it for {}", call.subject, call.price);
    }
    let progress = |progress: layer_mcp::runs::Progress| {
        println!("{:>3.0} %  {}", progress.percent, progress.message);
    };
    let job = runs.create(&request, Patience::ToTheEnd, &progress).await?;
    for file in &job.files {
        println!("{} ({}, {} bytes)", file.path, file.media_type, file.bytes);
    }
    runs.shut_down(std::time::Duration::from_secs(1)).await;
    std::fs::remove_dir_all(state)?;
    Ok(())
}
