//! Layer's HTTPS API: one method per operation, nouns instead of JSON.
//!
//! The only module that names `reqwest`. Reads are repeated on passing failures; a start is sent
//! exactly once, and its error says whether it may have happened.

mod download;
mod error;
mod hosts;
mod http;
mod ids;
mod inference;
mod model;
#[cfg(test)]
mod stalled_tests;
mod units;
mod upload;
mod wire;
mod workspace;

pub use download::{Download, LARGEST_FILE};
pub use error::{ApiError, ApiErrorKind, Reached};
pub use hosts::{AllowedHost, NotAHost};
pub use http::{ApiBase, Connectivity, NotAnApiBase, ProxyChoice, TimeLimits, TrustRoots};
pub use ids::{FileId, InferenceId, ModelId, NotAnId, WorkspaceId};
pub use inference::{
    CancelOutcome, Completed, Failure, Inference, InferenceRequest, Normalized, Output, Price,
    Quality, Reference, RunStatus, Started, Task,
};
pub use model::{Capabilities, Modality, Model, ModelDetails, UseCase};
pub use units::{CreativeUnits, NotAnAmount};
pub use upload::{LARGEST_UPLOAD, UPLOAD_TYPES, Upload};
pub use workspace::Workspace;

use serde_json::Value;

use crate::audit::AuditTrail;
use crate::credentials::token::ApiToken;
use hosts::HostPolicy;

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
        let body = self.http.get(&["workspaces", id.as_str()], &[]).await?;
        wire::workspace(&body).map_err(unexpected)
    }

    /// The whole catalogue of a workspace, in Layer's order, which is a recommendation.
    pub async fn models(&self, workspace: &WorkspaceId) -> Result<Vec<Model>, ApiError> {
        self.all_pages(&["workspaces", workspace.as_str(), "models"], wire::models).await
    }

    /// What one model's own page tells; nothing where there is no such page, which Layer does not
    /// document.
    pub async fn model_details(
        &self,
        workspace: &WorkspaceId,
        model: &ModelId,
    ) -> Result<ModelDetails, ApiError> {
        let path = ["workspaces", workspace.as_str(), "models", model.as_str()];
        match self.http.get(&path, &[]).await {
            Ok(body) => Ok(wire::model_details(&body)),
            Err(error) if matches!(error.status, Some(404 | 405)) => Ok(ModelDetails::default()),
            Err(error) => Err(error),
        }
    }

    /// What a request would cost. Free.
    pub async fn estimate(
        &self,
        workspace: &WorkspaceId,
        request: &InferenceRequest,
    ) -> Result<Price, ApiError> {
        let path = ["workspaces", workspace.as_str(), "inferences", "estimate"];
        let body = self.http.ask(&path, &wire::InferenceBody::estimate(request)).await?;
        wire::price(&body).map_err(unexpected)
    }

    /// Starts a paid run. Sent once, whatever happens; when [`ApiError::may_have_happened`], it
    /// must not be sent again.
    pub async fn start(
        &self,
        workspace: &WorkspaceId,
        request: &InferenceRequest,
    ) -> Result<Started, ApiError> {
        let path = ["workspaces", workspace.as_str(), "inferences"];
        let body = self.http.send_once(&path, Some(&wire::InferenceBody::execute(request))).await?;
        wire::started(&body).map_err(unexpected)
    }

    /// Looks at a run.
    pub async fn inference(
        &self,
        workspace: &WorkspaceId,
        id: &InferenceId,
    ) -> Result<Inference, ApiError> {
        let path = ["workspaces", workspace.as_str(), "inferences", id.as_str()];
        let body = self.http.get(&path, &[]).await?;
        wire::inference(&body).map_err(unexpected)
    }

    /// Asks for a run to be stopped. Layer documents no such call over REST; a path that does not
    /// exist is reported as [`CancelOutcome::Unsupported`]. The other candidate, deleting the
    /// inference, is never tried: it could delete what was paid for.
    pub async fn cancel(
        &self,
        workspace: &WorkspaceId,
        id: &InferenceId,
    ) -> Result<CancelOutcome, ApiError> {
        let path = ["workspaces", workspace.as_str(), "inferences", id.as_str(), "cancel"];
        match self.http.send_once(&path, None::<&Value>).await {
            Ok(_) => Ok(CancelOutcome::Accepted),
            Err(error) if matches!(error.status, Some(200..300)) => Ok(CancelOutcome::Accepted),
            Err(error) if matches!(error.status, Some(404 | 405)) => Ok(CancelOutcome::Unsupported),
            Err(error) => Err(error),
        }
    }

    /// Opens a finished file. The token stays here.
    pub async fn download(&self, output: &Output) -> Result<Download, ApiError> {
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
            let ticket = wire::ticket(&answer).map_err(unexpected)?;
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
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut query = vec![("limit", PAGE)];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = parse(&self.http.get(path, &query).await?).map_err(unexpected)?;
            all.extend(page.items);
            if page.next_cursor.is_none() || page.next_cursor == cursor {
                return Ok(all);
            }
            cursor = page.next_cursor;
        }
        Ok(all)
    }
}

fn unexpected(malformed: wire::Malformed) -> ApiError {
    ApiError::new(
        ApiErrorKind::Service,
        Reached::Unknown,
        format!("the service's answer could not be understood: {malformed}"),
    )
}
