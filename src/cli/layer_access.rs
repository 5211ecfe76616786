//! The way to Layer as the settings say: the sandbox inside the process, or the API with the
//! token of the store or of the environment. Walked at the first call that needs it.

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::Process;
use super::credentials::nudge;
use crate::audit::Event;
use crate::config::{Config, names};
use crate::credentials::{ApiToken, StoreError};
use crate::layer::{
    AllowedHost, ApiError, Connectivity, LayerClient, LayerSettings, ProxyChoice, TrustRoots,
    WorkspaceId,
};
use crate::runs::{Connect, Connection, SANDBOX_ORIGIN, SetupProblem};
use crate::sandbox::{Sandbox, SandboxOptions};

/// Connects as the settings say.
pub(super) struct LayerAccess {
    process: Process,
}

impl LayerAccess {
    pub(super) fn new(process: Process) -> Self {
        Self { process }
    }

    async fn sandbox(&self) -> Result<Connection, SetupProblem> {
        let mut options = SandboxOptions::new(self.process.config.sandbox_dir().join("layer"));
        options.speed = self.process.config.sandbox_speed;
        // This process is its only client, and may be killed at any time.
        options.ca_file = false;
        let sandbox = Sandbox::start(options).await.map_err(|error| SetupProblem {
            code: "configuration",
            message: format!("The sandbox can't start: {error}."),
            next_step: "Check that the home folder of layer-mcp is writable and the disk not full."
                .to_owned(),
        })?;
        let own = |what: &str| broken(&format!("the sandbox's own {what}"));
        let settings = LayerSettings {
            base: sandbox.base_url().parse().map_err(|_| own("address"))?,
            connectivity: Connectivity {
                roots: TrustRoots::Only(sandbox.ca_pem().as_bytes().to_vec()),
                proxy: ProxyChoice::Direct,
                ..Connectivity::default()
            },
            allowed_hosts: sandbox
                .allowed_hosts()
                .iter()
                .map(|host| host.parse::<AllowedHost>())
                .collect::<Result<_, _>>()
                .map_err(|_| own("hosts"))?,
            reference_hosts: self.process.config.reference_hosts.clone(),
            audit: self.process.audit.clone(),
        };
        let token = ApiToken::parse(sandbox.token()).map_err(|_| own("token"))?;
        let workspace = sandbox.workspace_id().parse().map_err(|_| own("workspace"))?;
        Ok(Connection {
            client: LayerClient::new(settings, token).map_err(unusable)?,
            workspace: Some(workspace),
            origin: SANDBOX_ORIGIN.to_owned(),
            keep: Some(Box::new(sandbox)),
        })
    }

    async fn layer(&self) -> Result<Connection, SetupProblem> {
        let (token, workspace) = self.credentials().await?;
        let settings = settings(&self.process).await?;
        let origin = settings.base.origin();
        let client = LayerClient::new(settings, token).map_err(unusable)?;
        Ok(Connection { client, workspace, origin, keep: None })
    }

    /// The store first; the environment only when there is no store, or when the user says so.
    async fn credentials(&self) -> Result<(ApiToken, Option<WorkspaceId>), SetupProblem> {
        if !self.process.config.credentials_from_env {
            let process = self.process.clone();
            let opened = move || process.open_store(&process.config.unlock);
            let loaded = tokio::task::spawn_blocking(opened).await;
            match loaded.map_err(|_| broken("the credential store"))? {
                Ok(credentials) => return self.of_store(credentials),
                Err(error) if error.is_absent() => {}
                Err(error) => return Err(of_store(&error)),
            }
        }
        // Another account must not pay because a name was misspelled.
        if let (Some(profile), false) =
            (&self.process.config.profile, self.process.config.credentials_from_env)
        {
            return Err(SetupProblem {
                code: "credentials_missing",
                message: format!("The profile `{}` has no stored token.", profile.as_str()),
                next_step: format!(
                    "Ask the user to run `layer-mcp --profile {} setup` in a terminal, or to \
                     correct the profile's name.",
                    profile.as_str()
                ),
            });
        }
        let Some(token) = &self.process.config.token else {
            return Err(SetupProblem {
                code: "credentials_missing",
                message: match self.process.config.unfilled.iter().any(|name| name == names::TOKEN)
                {
                    true => format!(
                        "There is no Layer.ai token: `{}` holds a placeholder (`${{...}}`) that \
                         the client did not fill in.",
                        names::TOKEN
                    ),
                    false => "There is no Layer.ai token yet.".to_owned(),
                },
                next_step: format!(
                    "Ask the user to run `layer-mcp setup` in a terminal (or to set `{}` and \
                     `{}`); without an account, `layer-mcp --sandbox` works offline.",
                    names::TOKEN,
                    names::WORKSPACE
                ),
            });
        };
        self.process.audit.note(Event::new("auth.use").with("source", "environment"));
        self.process.redactor.register(token.expose_secret().trim());
        Ok((token_of_environment(token)?, self.process.config.workspace.clone()))
    }

    fn of_store(
        &self,
        credentials: crate::credentials::Credentials,
    ) -> Result<(ApiToken, Option<WorkspaceId>), SetupProblem> {
        let base = self.process.config.api_base.origin();
        let address = Url::parse(&base).map_err(|_| broken("the API's address"))?;
        if !credentials.is_for(&address) {
            return Err(SetupProblem {
                code: "configuration",
                message: format!(
                    "The stored token was set up for `{}` and is not sent to `{base}`.",
                    credentials.api_origin()
                ),
                next_step: format!(
                    "Unset `{}`, or run `layer-mcp setup` again with it.",
                    names::BASE_URL
                ),
            });
        }
        if let Some(nudge) = nudge(&credentials, Timestamp::now()) {
            tracing::warn!("{nudge}");
        }
        let workspace = credentials
            .workspace_id()
            .parse::<WorkspaceId>()
            .map_err(|_| broken("the stored workspace id"))?;
        if let Some(other) = &self.process.config.workspace
            && *other != workspace
        {
            tracing::warn!(
                "`{}` is ignored: the workspace is the store's; run `layer-mcp setup` to change it",
                names::WORKSPACE
            );
        }
        Ok((credentials.into_token(), Some(workspace)))
    }
}

/// The token of the environment, if it can be one.
pub(super) fn token_of_environment(token: &SecretString) -> Result<ApiToken, SetupProblem> {
    ApiToken::parse(token.expose_secret().trim()).map_err(|error| SetupProblem {
        code: "configuration",
        message: format!("`{}` is no Layer.ai token: {error}.", names::TOKEN),
        next_step:
            "Create one at app.layer.ai, Settings, Personal Access Tokens, and set it again."
                .to_owned(),
    })
}

impl Connect for LayerAccess {
    fn connect(&self) -> BoxFuture<'_, Result<Connection, SetupProblem>> {
        async {
            if let Some(problem) = configuration_problem(&self.process.config) {
                self.process.audit.note(Event::new("config.load").with("outcome", problem.code));
                return Err(problem);
            }
            if self.process.config.sandbox { self.sandbox().await } else { self.layer().await }
        }
        .boxed()
    }
}

/// All settings that can't be used, as one problem.
pub(super) fn configuration_problem(config: &Config) -> Option<SetupProblem> {
    if config.problems.is_empty() {
        return None;
    }
    let listed: Vec<String> = config
        .problems
        .iter()
        .map(|problem| format!("`{}`: {}", problem.setting, problem.message))
        .collect();
    Some(SetupProblem {
        code: "configuration",
        message: format!("A setting can't be used: {}.", listed.join("; ")),
        next_step: "Ask the user to correct it and to restart the server.".to_owned(),
    })
}

/// What the client needs to reach the API.
pub(super) async fn settings(process: &Process) -> Result<LayerSettings, SetupProblem> {
    let config = &process.config;
    let roots = match &config.ca_bundle {
        None => TrustRoots::Platform,
        Some(path) => {
            let pem = tokio::fs::read(path).await.map_err(|error| SetupProblem {
                code: "configuration",
                message: format!(
                    "The certificate bundle `{}` can't be read: {error}.",
                    path.display()
                ),
                next_step: format!("Correct or unset `{}`.", names::CA_BUNDLE),
            })?;
            TrustRoots::PlatformAnd(pem)
        }
    };
    Ok(LayerSettings {
        base: config.api_base.clone(),
        connectivity: Connectivity {
            roots,
            proxy: config.proxy.clone(),
            ..Connectivity::default()
        },
        allowed_hosts: config.allowed_hosts.clone(),
        reference_hosts: config.reference_hosts.clone(),
        audit: process.audit.clone(),
    })
}

/// A client that can't be built from the settings.
pub(super) fn unusable(error: ApiError) -> SetupProblem {
    SetupProblem {
        code: "configuration",
        message: format!("The connection can't be set up: {error}."),
        next_step: format!(
            "Correct or unset `{}` and `{}`; without any certificate authority on the machine, \
             install them (`ca-certificates`) or name a bundle.",
            names::CA_BUNDLE,
            names::PROXY
        ),
    }
}

fn of_store(error: &StoreError) -> SetupProblem {
    SetupProblem {
        code: error.code(),
        message: format!("The credential store can't be opened: {error}."),
        next_step: error.next_step(),
    }
}

fn broken(what: &str) -> SetupProblem {
    SetupProblem {
        code: "internal",
        message: format!("There is a mistake in layer-mcp about {what}."),
        next_step: "Report it, please.".to_owned(),
    }
}
