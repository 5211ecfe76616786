//! From what a caller asks for to what can be bought: the model, the request in Layer's words, the
//! files it goes by.

use std::sync::Arc;

use serde_json::Value;

use super::choose::{Choice, choose, style_as_model};
use super::error::RunError;
use super::purchase::{Offer, Wanted};
use super::references::{self, Found};
use super::request::AssetRequest;
use super::{Connection, Runs, api};
use crate::journal::Fingerprint;
use crate::layer::{
    CreativeUnits, FileId, Modality, Order, Price, Reference, StyleId, WorkspaceId,
};

/// A request with all that must be known before it may be bought.
pub(super) struct Prepared {
    pub(super) connection: Arc<Connection>,
    pub(super) workspace: WorkspaceId,
    /// Without its files until they are at Layer.
    pub(super) order: Order,
    pub(super) fingerprint: Fingerprint,
    pub(super) files: Files,
    /// The model's or the workflow's.
    pub(super) name: String,
    pub(super) modality: Modality,
    /// What was chosen and why, as a sentence.
    pub(super) chosen: String,
}

/// What an order goes by, and where it belongs in it.
pub(super) enum Files {
    /// Of a model's request.
    Guidance {
        found: Vec<Found>,
        /// What each is for, in the model's words.
        roles: Vec<String>,
        mask: Option<Found>,
    },
    /// Of a workflow: by the input's name, and whether it takes a list.
    Inputs(Vec<(String, bool, Vec<Found>)>),
}

impl Prepared {
    /// Layer's estimate takes no files (Layer REST reference, estimate).
    fn is_priced_in_part(&self) -> bool {
        match &self.files {
            Files::Guidance { found, .. } => !found.is_empty(),
            Files::Inputs(_) => false,
        }
    }

    /// What was chosen, and, until the charge is known, what its price leaves out.
    pub(super) fn remarks(&self, offer: &Offer, charged: bool) -> String {
        let mut remarks = self.chosen.clone();
        if self.is_priced_in_part() && !charged {
            remarks.push_str(&match offer.margin {
                Some(margin) if margin > CreativeUnits::ZERO => format!(
                    " Layer's estimate of {} can't include references; {margin} more are added, as \
                     earlier charges of this model show.",
                    offer.price.estimated
                ),
                Some(_) => " Layer's estimate can't include references; they cost nothing more in \
                            earlier charges of this model."
                    .to_owned(),
                None => " Layer's estimate can't include references; the charge may be higher."
                    .to_owned(),
            });
        }
        if offer.price.degraded {
            remarks.push_str(" Layer would not apply all of the style that was asked for.");
        }
        remarks
    }
}

impl Runs {
    pub(super) async fn prepare(&self, wanted: &Wanted) -> Result<Prepared, RunError> {
        let connection = self.connection().await?;
        let workspace = self.workspace(&connection).await?;
        match wanted {
            Wanted::Asset(request) => self.prepare_asset(request, connection, workspace).await,
            Wanted::Workflow(wish) => self.prepare_workflow(wish, connection, workspace).await,
        }
    }

    async fn prepare_asset(
        &self,
        request: &AssetRequest,
        connection: Arc<Connection>,
        workspace: WorkspaceId,
    ) -> Result<Prepared, RunError> {
        let models = self.catalogue(&connection, &workspace).await?;
        let choice = match choose(request, &models) {
            Err(RunError::ModelNotFound { asked, near }) => {
                let style = self.style_of(request, &connection).await?;
                style.ok_or(RunError::ModelNotFound { asked, near })?
            }
            choice => choice?,
        };
        let inference = request.inference(&choice)?;
        let found = match (request.of_one_picture, request.references.as_slice()) {
            (true, [image]) => vec![self.find_picture("image", image).await?],
            (_, references) => self.find(references).await?,
        };
        let mask = match &request.mask {
            Some(mask) => Some(self.find_picture("mask", mask).await?),
            None => None,
        };
        let masked = mask.as_ref().map(|mask| format!("mask {}", mask.key));
        let keys = found.iter().map(|one| one.key.as_str());
        let keys: Vec<&str> = keys.chain(masked.as_deref()).collect();
        let order = Order::from(inference);
        let fingerprint = Fingerprint::of(&connection.origin, &workspace, &order, &keys);
        let model = &choice.model;
        let roles = match found.as_slice() {
            [] => Vec::new(),
            some => {
                let details = connection.client.model_details(&workspace, &model.id).await;
                references::roles(some, model, choice.modality, &details.map_err(api)?)?
            }
        };
        Ok(Prepared {
            connection,
            workspace,
            order,
            fingerprint,
            files: Files::Guidance { found, roles, mask },
            chosen: format!("Model `{}` ({}).", model.id, choice.reason),
            name: model.name.clone(),
            modality: choice.modality,
        })
    }

    /// A trained style stands for a model wherever one is named (Layer REST reference, execute),
    /// and no catalogue lists it.
    async fn style_of(
        &self,
        request: &AssetRequest,
        connection: &Connection,
    ) -> Result<Option<Choice>, RunError> {
        let id = request.model.as_deref().filter(|id| uuid::Uuid::try_parse(id).is_ok());
        let Some(Ok(id)) = id.map(str::parse::<StyleId>) else { return Ok(None) };
        // Whoever can't read styles still learns that there is no such model.
        match connection.client.style(&id).await {
            Ok(Some(style)) => style_as_model(request, &style).map(Some),
            Ok(None) | Err(_) => Ok(None),
        }
    }

    /// Brings the files that an order goes by to Layer, and names them in it.
    pub(super) async fn bring_all(&self, prepared: &mut Prepared) -> Result<(), RunError> {
        let Prepared { connection, workspace, files, .. } = &*prepared;
        match files {
            Files::Guidance { found, roles, mask } => {
                let mask = self.bring(connection, workspace, mask.as_slice()).await?;
                let files = self.bring(connection, workspace, found).await?;
                let parts = files.into_iter().zip(roles.iter().cloned());
                let references = parts.map(|(file, role)| Reference { file, role }).collect();
                if let Order::Inference(request) = &mut prepared.order {
                    request.mask = mask.into_iter().next();
                    request.references = references;
                }
            }
            Files::Inputs(inputs) => {
                let mut brought = Vec::with_capacity(inputs.len());
                for (name, is_list, found) in inputs {
                    let files = self.bring(connection, workspace, found).await?;
                    brought.push((name.clone(), value_of(files, *is_list)));
                }
                if let Order::Workflow(request) = &mut prepared.order {
                    request.inputs.extend(brought);
                }
            }
        }
        Ok(())
    }

    /// What it would cost: Layer's estimate, and what it leaves out as far as that was learned.
    pub(super) async fn price(&self, prepared: &Prepared) -> Result<Offer, RunError> {
        let price = self.estimate(prepared).await?;
        let mut margin = None;
        if prepared.is_priced_in_part() {
            let (origin, subject) = (&prepared.connection.origin, prepared.order.subject());
            let journal = self.inner.journal().await?;
            let learned = journal.margin(origin, subject, price.estimated).await;
            margin = learned.map_err(RunError::journal)?;
        }
        Ok(Offer { price, margin })
    }

    async fn estimate(&self, prepared: &Prepared) -> Result<Price, RunError> {
        let Prepared { connection, workspace, order, files, .. } = prepared;
        // A workflow's estimate looks at its inputs, and files that are not at Layer yet have no
        // id: they are sent first, which is free.
        let brought;
        let order = match files {
            Files::Inputs(inputs) if inputs.iter().any(|(_, _, found)| !found.is_empty()) => {
                let Order::Workflow(request) = order else {
                    return Err(RunError::NoModelFor { use_case: "this" });
                };
                let mut request = request.clone();
                for (name, is_list, found) in inputs {
                    let files = self.bring(connection, workspace, found).await?;
                    request.inputs.insert(name.clone(), value_of(files, *is_list));
                }
                brought = Order::Workflow(request);
                &brought
            }
            _ => order,
        };
        connection.client.estimate(workspace, order).await.map_err(api)
    }
}

fn value_of(files: Vec<FileId>, is_list: bool) -> Value {
    let mut ids = files.iter().map(|file| Value::from(file.as_str()));
    if is_list { ids.collect() } else { ids.next().unwrap_or_default() }
}
