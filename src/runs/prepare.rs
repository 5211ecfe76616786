//! From what a caller asks for to what can be bought: the model, the request in Layer's words, the
//! files it goes by.

use std::sync::Arc;

use super::choose::{Choice, choose};
use super::error::RunError;
use super::references::{self, Found};
use super::request::AssetRequest;
use super::{Connection, Runs, api};
use crate::journal::Fingerprint;
use crate::layer::{InferenceRequest, Price, Reference, WorkspaceId};

/// A request with all that must be known before it may be bought.
pub(super) struct Prepared {
    pub(super) connection: Arc<Connection>,
    pub(super) workspace: WorkspaceId,
    pub(super) choice: Choice,
    /// Without its references until they are at Layer.
    pub(super) inference: InferenceRequest,
    pub(super) fingerprint: Fingerprint,
    pub(super) references: Vec<Found>,
    /// What each reference is for, in the model's words.
    pub(super) roles: Vec<String>,
    pub(super) mask: Option<Found>,
}

impl Runs {
    pub(super) async fn prepare(&self, request: &AssetRequest) -> Result<Prepared, RunError> {
        let connection = self.connection().await?;
        let workspace = self.workspace(&connection).await?;
        let models = self.catalogue(&connection, &workspace).await?;
        let choice = choose(request, &models)?;
        let inference = request.inference(&choice)?;
        let references = self.find(&request.references).await?;
        let mask = match &request.mask {
            Some(mask) => Some(self.find_mask(mask).await?),
            None => None,
        };
        let masked = mask.as_ref().map(|mask| format!("mask {}", mask.key));
        let keys = references.iter().map(|one| one.key.as_str());
        let keys: Vec<&str> = keys.chain(masked.as_deref()).collect();
        let fingerprint = Fingerprint::of(&connection.origin, &workspace, &inference, &keys);
        let roles = match references.as_slice() {
            [] => Vec::new(),
            some => {
                let model = &choice.model;
                let details = connection.client.model_details(&workspace, &model.id).await;
                references::roles(some, model, choice.modality, &details.map_err(api)?)?
            }
        };
        Ok(Prepared {
            connection,
            workspace,
            choice,
            inference,
            fingerprint,
            references,
            roles,
            mask,
        })
    }

    /// Brings the files that a request goes by to Layer, and names them in it.
    pub(super) async fn bring_all(&self, prepared: &mut Prepared) -> Result<(), RunError> {
        let Prepared { connection, workspace, references, roles, mask, .. } = &*prepared;
        let mask = self.bring(connection, workspace, mask.as_slice()).await?;
        let files = self.bring(connection, workspace, references).await?;
        let parts = files.into_iter().zip(roles.iter().cloned());
        let references = parts.map(|(file, role)| Reference { file, role }).collect();
        prepared.inference.mask = mask.into_iter().next();
        prepared.inference.references = references;
        Ok(())
    }

    pub(super) async fn price(&self, prepared: &Prepared) -> Result<Price, RunError> {
        prepared
            .connection
            .client
            .estimate(&prepared.workspace, &prepared.inference)
            .await
            .map_err(api)
    }
}
