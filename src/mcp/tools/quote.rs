//! What a purchase would cost.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::assets::CreateAssetArgs;
use super::edits::{RefineImageArgs, RemoveBackgroundArgs};
use super::object::FreeObject;
use super::workflows::RunWorkflowArgs;
use super::{Answer, Call, Entry, Handled, Hints, ToolSpec, Toolset, argument_error, data, parse};
use crate::layer::CreativeUnits;
use crate::mcp::schema;
use crate::runs::{ErrorReport, RunError, WaitSeconds, Wanted};

/// The tools that buy.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Buyer {
    #[default]
    CreateAsset,
    RefineImage,
    RemoveBackground,
    RunWorkflow,
}

/// The arguments of `create_asset` may stand here as well, in the place of `arguments`: they were
/// all that could be priced once, and are still what is mostly meant.
#[derive(Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct QuoteArgs {
    /// Whose call is priced.
    #[serde(default)]
    #[schemars(extend("default" = "create_asset"))]
    tool: Buyer,
    /// The arguments that the call will have, as a JSON object.
    #[serde(default)]
    arguments: FreeObject,
    #[serde(flatten)]
    #[schemars(skip)]
    of_create_asset: Map<String, Value>,
}

#[derive(Serialize, JsonSchema)]
struct QuoteAnswer {
    quote_id: String,
    estimated_cu: CreativeUnits,
    available_cu: CreativeUnits,
    expires_at: String,
    needs_confirmation: bool,
    model: String,
    message: String,
}

pub(super) fn quote() -> Entry {
    Entry {
        spec: ToolSpec {
            name: "quote",
            title: "Quote a price",
            description: "Prices a call that spends Creative Units, without making anything. \
                          Free. Name the tool and give the arguments you would call it with; pass \
                          the quote_id on to buy at this price. Use it before dear or repeated \
                          purchases.",
            input: Arc::new(schema::input::<QuoteArgs>()),
            output: Some(Arc::new(schema::output::<QuoteAnswer>())),
            hints: Hints::READS_LAYER,
        },
        toolset: Toolset::Default,
        handle: |call, arguments| Box::pin(price(call, arguments)) as Handled<'_>,
    }
}

impl QuoteArgs {
    fn wanted(self) -> Result<Wanted, ErrorReport> {
        let Self { tool, arguments: FreeObject(arguments), of_create_asset } = self;
        let arguments = match (tool, arguments.is_empty(), of_create_asset.is_empty()) {
            (_, _, true) => arguments,
            (Buyer::CreateAsset, true, false) => of_create_asset,
            _ => {
                let stray = of_create_asset.keys().next().map_or("", String::as_str);
                return Err(argument_error(&format!(
                    "`{stray}` belongs into `arguments`, with what the tool is called with"
                )));
            }
        };
        let told = |priced: Result<(Wanted, Option<WaitSeconds>), RunError>| {
            priced.map(|(wanted, _)| wanted).map_err(|error| error.report())
        };
        match tool {
            Buyer::CreateAsset => told(parse::<CreateAssetArgs>(arguments)?.wanted()),
            Buyer::RefineImage => told(parse::<RefineImageArgs>(arguments)?.wanted()),
            Buyer::RemoveBackground => told(parse::<RemoveBackgroundArgs>(arguments)?.wanted()),
            Buyer::RunWorkflow => told(parse::<RunWorkflowArgs>(arguments)?.wanted()),
        }
    }
}

async fn price(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let wanted = parse::<QuoteArgs>(arguments)?.wanted()?;
    let quote = call.runs.quote(&wanted).await.map_err(|error| error.report())?;
    let price = quote.price;
    let message = if quote.needs_confirmation {
        format!(
            "It would cost {}. That is above what may be spent without the user's consent; tell \
             them the price.",
            price.estimated
        )
    } else if price.sufficient {
        format!("It would cost {} of the {} available.", price.estimated, price.available)
    } else {
        format!("It would cost {}; only {} are available.", price.estimated, price.available)
    };
    data(&QuoteAnswer {
        quote_id: quote.id,
        estimated_cu: price.estimated,
        available_cu: price.available,
        expires_at: quote.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        needs_confirmation: quote.needs_confirmation,
        model: quote.subject,
        message: format!("{message} {}", quote.remarks),
    })
}
