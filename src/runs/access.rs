//! Reaching Layer: the connection, the paying workspace and its catalogue, each found out once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{RunError, SetupProblem};
use super::{Connection, Runs, api};
use crate::journal::Job;
use crate::layer::{Model, Workspace, WorkspaceId};

/// The models of a workspace, as they were a while ago.
pub(super) struct Catalogue {
    read: Instant,
    workspace: WorkspaceId,
    models: Arc<[Model]>,
}

/// Catalogues change over days; a call a minute must not read 100 models each time.
const CATALOGUE: Duration = Duration::from_secs(600);

impl Runs {
    /// Makes the way to Layer, unless it is there already: for what would otherwise fail without
    /// a word. Asks Layer nothing.
    ///
    /// # Errors
    /// [`RunError::Setup`] when credentials or settings are missing or wrong.
    pub async fn connect(&self) -> Result<(), RunError> {
        self.connection().await.map(drop)
    }

    pub(super) async fn connection(&self) -> Result<Arc<Connection>, RunError> {
        let connect = || async { self.inner.settings.connect.connect().await.map(Arc::new) };
        self.inner.connection.get_or_try_init(connect).await.cloned().map_err(RunError::Setup)
    }

    /// The connection, when it leads to where the job was bought.
    pub(super) async fn connection_of(&self, job: &Job) -> Result<Arc<Connection>, RunError> {
        let connection = self.connection().await?;
        if connection.origin == job.new.origin {
            return Ok(connection);
        }
        Err(RunError::Setup(SetupProblem {
            code: "configuration",
            message: format!(
                "The job `{}` was bought at `{}`, and this server talks to `{}`.",
                job.id(),
                job.new.origin,
                connection.origin
            ),
            next_step: "Start the server with the `LAYER_API_BASE_URL` that the job was bought \
                        with."
                .to_owned(),
        }))
    }

    pub(super) async fn workspace(&self, connection: &Connection) -> Result<WorkspaceId, RunError> {
        if let Some(id) = &connection.workspace
            && uuid::Uuid::try_parse(id.as_str()).is_ok()
        {
            return Ok(id.clone());
        }
        let only_one = || async {
            let all = connection.client.workspaces().await.map_err(api)?;
            if let Some(named) = &connection.workspace {
                // People know a workspace by its name; what fits none goes to Layer as it is.
                let is_it = |one: &&Workspace| {
                    one.id == *named
                        || one.slug.eq_ignore_ascii_case(named.as_str())
                        || one.name.eq_ignore_ascii_case(named.as_str())
                };
                let found = all.iter().find(is_it).map(|one| one.id.clone());
                return Ok(found.unwrap_or_else(|| named.clone()));
            }
            match all.as_slice() {
                [one] => Ok(one.id.clone()),
                [] => Err(RunError::Setup(SetupProblem {
                    code: "workspace_missing",
                    message: "The token's user has no workspace.".to_owned(),
                    next_step: "Create one at app.layer.ai, then call again.".to_owned(),
                })),
                many => Err(RunError::Setup(SetupProblem {
                    code: "workspace_missing",
                    message: "The token reaches several workspaces, and none was chosen."
                        .to_owned(),
                    next_step: format!(
                        "Ask the user which one pays, and to set `LAYER_WORKSPACE_ID` or to run \
                         `layer-mcp setup`: {}.",
                        many.iter()
                            .take(10)
                            .map(|workspace| format!("`{}` ({})", workspace.id, workspace.name))
                            .collect::<Vec<_>>()
                            .join(", ")
                    ),
                })),
            }
        };
        self.inner.workspace.get_or_try_init(only_one).await.cloned()
    }

    /// The next call reads the models anew.
    pub(super) async fn forget_catalogue(&self) {
        *self.inner.catalogue.lock().await = None;
    }

    pub(super) async fn catalogue(
        &self,
        connection: &Connection,
        workspace: &WorkspaceId,
    ) -> Result<Arc<[Model]>, RunError> {
        let mut kept = self.inner.catalogue.lock().await;
        if let Some(kept) = kept.as_ref()
            && kept.workspace == *workspace
            && kept.read.elapsed() < CATALOGUE
        {
            return Ok(kept.models.clone());
        }
        let models: Arc<[Model]> = connection.client.models(workspace).await.map_err(api)?.into();
        let (read, workspace) = (Instant::now(), workspace.clone());
        *kept = Some(Catalogue { read, workspace, models: models.clone() });
        Ok(models)
    }
}
