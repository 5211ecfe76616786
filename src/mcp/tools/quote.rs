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
use crate::runs::{ErrorReport, QuoteReport, RunError, WaitSeconds, Wanted};

/// So many calls are priced in one go.
const MOST_CALLS: usize = 50;

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
    /// Its arguments, a JSON object.
    #[serde(default)]
    arguments: FreeObject,
    /// Or several calls, each a JSON object with tool and arguments.
    #[schemars(length(max = 50))]
    calls: Option<Vec<FreeObject>>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    calls: Vec<QuotedLine>,
    message: String,
}

/// One of several calls.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct QuotedLine {
    model: String,
    estimated_cu: CreativeUnits,
    #[serde(skip_serializing_if = "Option::is_none")]
    same_job_id: Option<String>,
    remarks: String,
}

pub(super) fn quote() -> Entry {
    Entry {
        spec: ToolSpec {
            name: "quote",
            title: "Quote a price",
            description: "Prices a call that spends Creative Units, or a list of calls with one \
                          total. Free. Pass the quote_id on to each call to buy at this price, \
                          once. Use it before a series or a dear purchase.",
            input: Arc::new(schema::input::<QuoteArgs>()),
            output: Some(Arc::new(schema::output::<QuoteAnswer>())),
            hints: Hints::READS_LAYER,
        },
        toolset: Toolset::Default,
        handle: |call, arguments| Box::pin(price(call, arguments)) as Handled<'_>,
    }
}

impl QuoteArgs {
    /// What each call buys.
    fn all_wanted(self) -> Result<Vec<Wanted>, ErrorReport> {
        let Some(calls) = self.calls else { return Ok(vec![self.wanted()?]) };
        if !self.arguments.0.is_empty() || !self.of_create_asset.is_empty() {
            return Err(argument_error("with `calls`, leave `arguments` out: each has its own"));
        }
        if calls.is_empty() || calls.len() > MOST_CALLS {
            return Err(argument_error(&format!("`calls` lists 1 to {MOST_CALLS} calls")));
        }
        let one = |(number, FreeObject(call)): (usize, FreeObject)| {
            let quoted = parse::<Self>(call).and_then(|call| match call.calls {
                Some(_) => Err(argument_error("a call is no list of calls")),
                None => call.wanted(),
            });
            quoted.map_err(|error| ErrorReport {
                message: format!("Call {}: {}", number + 1, error.message),
                ..error
            })
        };
        calls.into_iter().enumerate().map(one).collect()
    }

    fn wanted(self) -> Result<Wanted, ErrorReport> {
        let Self { tool, arguments: FreeObject(arguments), of_create_asset, calls: _ } = self;
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
    let wanted = parse::<QuoteArgs>(arguments)?.all_wanted()?;
    let quote = call.runs.quote(&wanted).await.map_err(|error| error.report())?;
    let QuoteReport { total, available, .. } = quote;
    let mut message = if !quote.sufficient {
        // Nobody is asked about what can't be paid.
        format!("It would cost {total}; only {available} are available.")
    } else if quote.needs_confirmation {
        format!(
            "It would cost {total}. That is above what may be spent without the user's consent: \
             tell them the price; the purchase asks them, or `confirm_spend` does."
        )
    } else {
        format!("It would cost {total} of the {available} available.")
    };
    let (mut model, mut lines) = (None, Vec::new());
    match quote.calls.as_slice() {
        [one] => {
            model = Some(one.subject.clone());
            message = format!("{message} {}", one.remarks);
            if let Some(job) = &one.same_as {
                message.push_str(&format!(
                    " The same request was made before: without `variation` it is answered with \
                     `{job}` and costs nothing."
                ));
            }
        }
        several => {
            lines = several
                .iter()
                .map(|call| QuotedLine {
                    model: call.subject.clone(),
                    estimated_cu: call.price,
                    same_job_id: call.same_as.as_ref().map(ToString::to_string),
                    remarks: call.remarks.clone(),
                })
                .collect();
            message = format!("{} calls. {message}", several.len());
            if !quote.needs_confirmation && total > call.runs.limits().confirm_above {
                message.push_str(
                    " Each of them is below what needs the user's consent; tell them the total \
                     before you begin.",
                );
            }
        }
    }
    data(&QuoteAnswer {
        quote_id: quote.id,
        estimated_cu: total,
        available_cu: available,
        expires_at: quote.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        needs_confirmation: quote.needs_confirmation,
        model,
        calls: lines,
        message,
    })
}
