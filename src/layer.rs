//! Layer's HTTPS API: one method per operation, nouns instead of JSON.
//!
//! The only module that names `reqwest`. Reads are repeated on passing failures; a start is sent
//! exactly once, and its error says whether it may have happened.

mod download;
mod error;
mod graphql;
mod hosts;
mod http;
mod ids;
mod inference;
mod library;
mod model;
mod options;
mod order;
mod paths;
#[cfg(test)]
mod stalled_tests;
mod units;
mod upload;
mod wire;
mod workflow;
mod workspace;

pub use download::{Download, LARGEST_FILE};
pub use error::{ApiError, ApiErrorKind, Reached};
pub use hosts::{AllowedHost, NotAHost};
pub use http::{ApiBase, Connectivity, NotAnApiBase, ProxyChoice, TimeLimits, TrustRoots};
pub use ids::{FileId, InferenceId, ModelId, NotAnId, StyleId, WorkflowId, WorkspaceId};
pub use inference::{
    CancelOutcome, Completed, Failure, Inference, InferenceRequest, Normalized, Output, Price,
    Quality, Reference, RunStatus, Started, Task,
};
pub use library::{
    HistoryPage, NewStyle, PastFile, PastRun, Plan, Session, Style, StyleFilter, StylePage, Usage,
};
pub use model::{Capabilities, Modality, Model, ModelDetails, UseCase};
pub use options::ModelOptions;
pub use order::Order;
pub use paths::{Operation, PathReport};
pub use units::{CreativeUnits, NotAnAmount};
pub use upload::{LARGEST_UPLOAD, UPLOAD_TYPES, Upload};
pub use workflow::{Steps, Takes, Workflow, WorkflowInput, WorkflowRequest};
pub use workspace::Workspace;

use serde_json::Value;

use crate::audit::AuditTrail;
use crate::credentials::token::ApiToken;
use hosts::HostPolicy;
use paths::Call;

/// All that a client needs to know.
#[derive(Clone, Debug)]
pub struct LayerSettings {
    /// Where the API lies.
    pub base: ApiBase,
    /// Certificate authorities and proxy.
    pub connectivity: Connectivity,
    /// Hosts from which files may come, besides Layer's own.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Hosts whose files may be references of a run, when a call gives their address.
    pub reference_hosts: Vec<AllowedHost>,
    /// Where calls are written down, without their bodies.
    pub audit: AuditTrail,
}

/// Layer's API in the name of one user.
pub struct LayerClient {
    http: http::Http,
    downloads: download::Downloads,
    references: download::Downloads,
    uploads: upload::Uploads,
    origin: String,
    paths: paths::Paths,
    /// The names by which GraphQL knows workspaces.
    names: tokio::sync::Mutex<std::collections::HashMap<WorkspaceId, String>>,
}

/// No catalogue seen is anywhere near this long; a cursor that never ends must end here.
const MOST_PAGES: usize = 100;
const PAGE: &str = "100";

impl LayerClient {
    /// Builds the client. Nothing is sent.
    ///
    /// # Errors
    /// [`ApiErrorKind::Configuration`] when the certificates or the proxy can't be used.
    pub fn new(settings: LayerSettings, token: ApiToken) -> Result<Self, ApiError> {
        let LayerSettings { base, connectivity, allowed_hosts, reference_hosts, audit } = settings;
        let hosts = |built_in| HostPolicy::new(built_in, base.url(), allowed_hosts.clone());
        let media = hosts(hosts::MEDIA_HOST)?;
        let storage = hosts(hosts::STORAGE_HOST)?;
        Ok(Self {
            origin: base.origin(),
            paths: paths::Paths::default(),
            names: tokio::sync::Mutex::default(),
            downloads: download::Downloads::new(&connectivity, media, audit.clone(), LARGEST_FILE)?,
            references: download::Downloads::new(
                &connectivity,
                HostPolicy::of_user(&reference_hosts),
                audit.clone(),
                LARGEST_UPLOAD,
            )?,
            uploads: upload::Uploads::new(&connectivity, storage, audit.clone())?,
            http: http::Http::new(&connectivity, base, token, audit)?,
        })
    }

    /// Scheme, host and port of the API.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// All workspaces of the token's user, most recently active first.
    pub async fn workspaces(&self) -> Result<Vec<Workspace>, ApiError> {
        self.all_pages(&["workspaces"], wire::workspaces).await
    }

    /// One workspace with its balance.
    pub async fn workspace(&self, id: &WorkspaceId) -> Result<Workspace, ApiError> {
        self.http.get(&["workspaces", id.as_str()], &[]).await?.read(wire::workspace)
    }

    /// The whole catalogue of a workspace, in Layer's order, which is a recommendation.
    pub async fn models(&self, workspace: &WorkspaceId) -> Result<Vec<Model>, ApiError> {
        let path = ["workspaces", workspace.as_str(), "models"];
        let mut models = self.all_pages(&path, wire::models).await?;
        // A service that repeats a page does not make two models of one.
        let mut seen = std::collections::HashSet::new();
        models.retain(|model| seen.insert(model.id.clone()));
        Ok(models)
    }

    /// What one model's own page tells; nothing where there is no such page, which Layer does not
    /// document.
    pub async fn model_details(
        &self,
        workspace: &WorkspaceId,
        model: &ModelId,
    ) -> Result<ModelDetails, ApiError> {
        let ids = [("workspace", workspace.as_str()), ("id", model.as_str())];
        match self.paths.send(&self.http, Operation::Model, &ids, Call::Get).await {
            Ok(answer) => Ok(wire::model_details(&answer.body)),
            Err(error) if matches!(error.status, Some(404 | 405)) => Ok(ModelDetails::default()),
            Err(error) => Err(error),
        }
    }

    /// The workspace's workflows, those that fit the words where there are any.
    pub async fn workflows(
        &self,
        workspace: &WorkspaceId,
        search: Option<&str>,
    ) -> Result<Vec<Workflow>, ApiError> {
        let path = ["workspaces", workspace.as_str(), "workflows"];
        self.all_pages_of(&path, search.map(|words| ("search", words)), wire::workflows).await
    }

    /// One workflow; `None` where the workspace has none of this id.
    pub async fn workflow(
        &self,
        workspace: &WorkspaceId,
        id: &WorkflowId,
    ) -> Result<Option<Workflow>, ApiError> {
        let ids = [("workspace", workspace.as_str()), ("id", id.as_str())];
        match self.paths.send(&self.http, Operation::Workflow, &ids, Call::Get).await {
            Ok(answer) => answer.read(wire::workflow).map(Some),
            // No such workflow, or no such path: the list knows.
            Err(error) if matches!(error.status, Some(404 | 405)) => {
                let all = self.workflows(workspace, None).await?;
                Ok(all.into_iter().find(|workflow| workflow.id == *id))
            }
            Err(error) => Err(error),
        }
    }

    /// What a run would cost. Free.
    pub async fn estimate(
        &self,
        workspace: &WorkspaceId,
        order: &Order,
    ) -> Result<Price, ApiError> {
        let answer = match order {
            Order::Inference(request) => {
                let path = ["workspaces", workspace.as_str(), "inferences", "estimate"];
                self.http.ask(&path, &wire::InferenceBody::estimate(request)).await?
            }
            Order::Workflow(request) => {
                let ids = [("workspace", workspace.as_str()), ("id", request.workflow.as_str())];
                let body = wire::workflow_body(request);
                let call = Call::Ask(&body);
                self.paths.send(&self.http, Operation::EstimateWorkflow, &ids, call).await?
            }
        };
        answer.read(wire::price)
    }

    /// Starts a paid run. Sent once, whatever happens; when [`ApiError::may_have_happened`], it
    /// must not be sent again. A path that does not exist starts nothing, so the next candidate
    /// for a workflow's path is no second start.
    pub async fn start(&self, workspace: &WorkspaceId, order: &Order) -> Result<Started, ApiError> {
        let answer = match order {
            Order::Inference(request) => {
                let path = ["workspaces", workspace.as_str(), "inferences"];
                let body = wire::InferenceBody::execute(request);
                self.http.send_once(&path, Some(&body)).await?
            }
            Order::Workflow(request) => {
                let ids = [("workspace", workspace.as_str()), ("id", request.workflow.as_str())];
                let body = wire::workflow_body(request);
                let call = Call::Once(Some(&body));
                self.paths.send(&self.http, Operation::StartWorkflow, &ids, call).await?
            }
        };
        answer.read(wire::started)
    }

    /// Looks at a run.
    pub async fn run(
        &self,
        workspace: &WorkspaceId,
        order: &Order,
        id: &InferenceId,
    ) -> Result<Inference, ApiError> {
        let (answer, of_workflow) = match order {
            Order::Inference(_) => {
                let path = ["workspaces", workspace.as_str(), "inferences", id.as_str()];
                (self.http.get(&path, &[]).await?, false)
            }
            Order::Workflow(request) => {
                let ids = [
                    ("workspace", workspace.as_str()),
                    ("id", request.workflow.as_str()),
                    ("run", id.as_str()),
                ];
                let look = self.paths.send(&self.http, Operation::WorkflowRun, &ids, Call::Get);
                (look.await?, true)
            }
        };
        let mut run = answer.read(|body| wire::run(body, of_workflow))?;
        if let RunStatus::Complete(done) = &mut run.status {
            self.find_addresses(&mut done.outputs).await;
        }
        Ok(run)
    }

    /// Asks for the addresses of outputs that came as ids alone. One that has none is told when it
    /// is to be fetched, and keeps nobody from the others.
    async fn find_addresses(&self, outputs: &mut [Output]) {
        let lacks = |output: &Output| output.url.is_empty() && output.text.is_none();
        let ids: Vec<FileId> = outputs
            .iter()
            .filter(|output| lacks(output))
            .filter_map(|output| output.file_id.clone())
            .collect();
        if ids.is_empty() {
            return;
        }
        let found = match self.file_addresses(&ids).await {
            Ok(found) => found,
            Err(error) => return tracing::warn!(%error, "addresses of outputs can't be asked for"),
        };
        let mut found = found.into_iter();
        for output in outputs.iter_mut().filter(|output| lacks(output)) {
            if output.file_id.is_some() {
                output.url = found.next().flatten().unwrap_or_default();
            }
        }
    }

    /// Asks for a run to be stopped. Layer documents no such call over REST; a path that does not
    /// exist is reported as [`CancelOutcome::Unsupported`].
    pub async fn cancel(
        &self,
        workspace: &WorkspaceId,
        order: &Order,
        id: &InferenceId,
    ) -> Result<CancelOutcome, ApiError> {
        let workspace = ("workspace", workspace.as_str());
        let (operation, ids) = match order {
            Order::Inference(_) => {
                (Operation::CancelInference, vec![workspace, ("id", id.as_str())])
            }
            Order::Workflow(request) => {
                let of = ("id", request.workflow.as_str());
                (Operation::CancelWorkflowRun, vec![workspace, of, ("run", id.as_str())])
            }
        };
        match self.paths.send(&self.http, operation, &ids, Call::Once(None)).await {
            Ok(_) => Ok(CancelOutcome::Accepted),
            Err(error) if matches!(error.status, Some(200..300)) => Ok(CancelOutcome::Accepted),
            Err(error) if matches!(error.status, Some(404 | 405)) => Ok(CancelOutcome::Unsupported),
            Err(error) => Err(error),
        }
    }

    /// Which of the paths that Layer's reference leaves open have answered so far.
    pub fn paths(&self) -> Vec<PathReport> {
        self.paths.report()
    }

    /// Opens a finished file. The token stays here.
    pub async fn download(&self, output: &Output) -> Result<Download, ApiError> {
        if output.url.is_empty() {
            let id = output.file_id.as_ref().map_or("", FileId::as_str);
            return Err(ApiError::new(
                ApiErrorKind::BadDownload,
                Reached::Refused,
                format!("Layer told no address of the file `{id}`"),
            ));
        }
        self.downloads.open(&output.url).await
    }

    /// Opens a file at an address that a call gave, of at most [`LARGEST_UPLOAD`] bytes, when the
    /// user named its host for that. The token stays here.
    pub async fn fetch(&self, address: &str) -> Result<Download, ApiError> {
        self.references.open(address).await
    }

    /// Sends a local file to the workspace. Free, and ready to be referred to when this returns.
    pub async fn upload(&self, workspace: &WorkspaceId, file: &Upload) -> Result<FileId, ApiError> {
        let path = ["workspaces", workspace.as_str(), "files", "upload-url"];
        let body = wire::UploadBody::of(file);
        let mut again = true;
        loop {
            let answer = self.http.ask(&path, &body).await?;
            let ticket = answer.read(wire::ticket)?;
            match self.uploads.send(&ticket, file).await {
                Ok(()) => return Ok(ticket.file),
                // An address lives for 15 minutes and a session for a week; a new one costs nothing.
                Err(upload::NotSent { gone: true, .. }) if again => again = false,
                Err(not_sent) => return Err(not_sent.error),
            }
        }
    }

    async fn all_pages<T>(
        &self,
        path: &[&str],
        parse: fn(&Value) -> Result<wire::Page<T>, wire::Malformed>,
    ) -> Result<Vec<T>, ApiError> {
        self.all_pages_of(path, None, parse).await
    }

    async fn all_pages_of<T>(
        &self,
        path: &[&str],
        filter: Option<(&str, &str)>,
        parse: fn(&Value) -> Result<wire::Page<T>, wire::Malformed>,
    ) -> Result<Vec<T>, ApiError> {
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut query = vec![("limit", PAGE)];
            query.extend(filter);
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = self.http.get(path, &query).await?.read(parse)?;
            all.extend(page.items);
            if page.next_cursor.is_none() || page.next_cursor == cursor {
                return Ok(all);
            }
            cursor = page.next_cursor;
        }
        Ok(all)
    }
}
