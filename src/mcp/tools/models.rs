//! Finding a model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Answer, Call, Entry, Handled, Hints, Toolset, argument_error, data, offset, parse, spec,
};
use crate::layer::{CreativeUnits, Modality, Model, UseCase};
use crate::runs::{ErrorReport, Limit};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListModelsArgs {
    /// Only models for this.
    use_case: Option<UseCase>,
    /// Only models that make this.
    modality: Option<Modality>,
    /// Only models that list this, e.g. transparency.
    capability: Option<String>,
    /// Words in the name or id.
    search: Option<String>,
    /// Price per output at most; slower.
    max_cu: Option<f64>,
    /// Default 20.
    limit: Option<Limit>,
    /// next_cursor of the last answer.
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct ListModelsAnswer {
    models: Vec<ModelLine>,
    total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    message: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct ModelLine {
    model_id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    modality: Option<Modality>,
    capabilities: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_cu: Option<CreativeUnits>,
}

/// A price must be asked for model by model; more than this would be rude.
const MOST_PRICED: usize = 30;

pub(super) fn list_models() -> Entry {
    Entry {
        spec: spec::<ListModelsArgs, ListModelsAnswer>(
            "list_models",
            "List models",
            "Lists the models of the workspace, best first, with what they make and can do. Use \
             it when the user names a model, or needs what create_asset has no argument for; it \
             picks one by itself otherwise. Never guess ids.",
            Hints::READS_LAYER,
        ),
        toolset: Toolset::Default,
        handle: |call, arguments| Box::pin(list(call, arguments)) as Handled<'_>,
    }
}

async fn list(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let args = parse::<ListModelsArgs>(arguments)?;
    let limit = args.limit.map_or(20, Limit::get) as usize;
    let skip: usize = offset(args.cursor.as_deref())?;
    let most = match args.max_cu {
        None => None,
        Some(most) => Some(
            CreativeUnits::from_number(most).filter(|cu| *cu >= CreativeUnits::ZERO).ok_or_else(
                || argument_error("`max_cu` is an amount of Creative Units such as 2 or 0.5"),
            )?,
        ),
    };
    let all = call.runs.models().await.map_err(|error| error.report())?;
    let mut found: Vec<(Model, Option<CreativeUnits>)> =
        matching(&args, &all).into_iter().map(|model| (model, None)).collect();
    let mut unpriced = 0;
    if let Some(most) = most {
        unpriced = found.len().saturating_sub(MOST_PRICED);
        found.truncate(MOST_PRICED);
        let models: Vec<Model> = found.into_iter().map(|(model, _)| model).collect();
        let prices = call.runs.prices(&models).await.map_err(|error| error.report())?;
        found = models
            .into_iter()
            .zip(prices)
            .filter(|(_, price)| price.is_some_and(|price| price <= most))
            .collect();
    }
    let total = found.len();
    let page: Vec<ModelLine> =
        found.iter().skip(skip).take(limit).map(|(model, price)| line(model, *price)).collect();
    let more = total > skip + page.len();
    let mut message = match (total, all.len()) {
        (0, 0) => "This workspace has no models.".to_owned(),
        (0, all) => format!("None of the {all} models fits; leave out a filter."),
        (found, all) => format!("{found} of {all} models, best first."),
    };
    if unpriced > 0 {
        message.push_str(&format!(" {unpriced} more were not priced; narrow the search."));
    }
    data(&ListModelsAnswer {
        next_cursor: more.then(|| (skip + page.len()).to_string()),
        models: page,
        total,
        message,
    })
}

fn matching(args: &ListModelsArgs, all: &[Model]) -> Vec<Model> {
    let search = args.search.as_deref().unwrap_or_default().to_lowercase();
    let words: Vec<&str> = search.split_whitespace().collect();
    let capability = args.capability.as_deref().map(|name| name.trim().to_lowercase());
    let mut found: Vec<(u8, &Model)> = all
        .iter()
        .filter(|model| args.modality.is_none_or(|wanted| model.modality == Some(wanted)))
        .filter(|model| capability.as_deref().is_none_or(|name| model.capabilities.has(name)))
        .filter(|model| {
            let text = format!("{} {}", model.name, model.id).to_lowercase();
            words.iter().all(|word| text.contains(word))
        })
        .filter_map(|model| match args.use_case {
            None => Some((0, model)),
            Some(use_case) => Some((model.suits(use_case)?, model)),
        })
        .collect();
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, model)| model.clone()).collect()
}

/// What is told of a model, without its price.
pub(in crate::mcp) fn model_line(model: &Model) -> impl Serialize + use<> {
    line(model, None)
}

fn line(model: &Model, price: Option<CreativeUnits>) -> ModelLine {
    ModelLine {
        model_id: model.id.to_string(),
        name: model.name.clone(),
        modality: model.modality,
        capabilities: model.capabilities.names().take(20).map(str::to_owned).collect(),
        estimated_cu: price,
    }
}
