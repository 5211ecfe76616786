//! Which model makes it: by name, or by what it is for. Pure.

use super::error::RunError;
use super::request::AssetRequest;
use crate::layer::{Modality, Model, Style, UseCase};

/// A model, and why it was taken.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// The model.
    pub(super) model: Model,
    /// What it makes.
    pub(super) modality: Modality,
    /// Why it was taken, as half a sentence.
    pub(super) reason: String,
}

/// Chooses among the workspace's models, which are in Layer's order of recommendation.
///
/// # Errors
/// [`RunError::ModelNotFound`] when nothing has the name or serves the use case,
/// [`RunError::Argument`] when no model, or not the named one, can do what is asked for.
pub(super) fn choose(request: &AssetRequest, models: &[Model]) -> Result<Choice, RunError> {
    if let Some(use_case) = request.use_case
        && use_case.needs_a_file()
        && request.references.is_empty()
    {
        return Err(RunError::Argument {
            field: "references",
            message: format!(
                "`{}` works on a file: name it in `references`, by its path below the output \
                 folder or by the job that made it",
                use_case.as_str()
            ),
        });
    }
    match &request.model {
        Some(name) => by_name(request, name, models),
        None => by_use_case(request, request.use_case.unwrap_or_default(), models),
    }
}

fn by_name(request: &AssetRequest, name: &str, models: &[Model]) -> Result<Choice, RunError> {
    let of_that_name: Vec<&Model> = match models.iter().find(|model| model.id.as_str() == name) {
        Some(exact) => vec![exact],
        None => models.iter().filter(|model| model.is_named(name)).collect(),
    };
    if let [_, _, ..] = of_that_name.as_slice() {
        let ids: Vec<String> = of_that_name.iter().map(|model| format!("`{}`", model.id)).collect();
        return Err(RunError::Argument {
            field: "model",
            message: format!(
                "several models have this name; name one by its id: {}",
                ids.join(", ")
            ),
        });
    }
    let named = of_that_name.first().copied().ok_or_else(|| RunError::ModelNotFound {
        asked: crate::redact::clean_line(name, 100),
        near: near(name, models),
    })?;
    let modality = match (named.modality, request.use_case) {
        (Some(modality), _) => modality,
        (None, use_case) => use_case.unwrap_or_default().modality(),
    };
    if let Some(use_case) = request.use_case
        && modality != use_case.modality()
    {
        return Err(RunError::Argument {
            field: "use_case",
            message: format!(
                "the model `{}` makes {}, which is not what `{}` is for. Leave out one of `model` \
                 and `use_case`",
                named.name,
                modality.as_str(),
                use_case.as_str()
            ),
        });
    }
    if let Some(wish) = request.wishes().into_iter().find(|wish| !wish.is_met_by(named)) {
        let able = models.iter().filter(|model| model.modality == Some(modality));
        let able: Vec<String> = able
            .filter(|model| wish.is_met_by(model))
            .take(4)
            .map(|model| format!("`{}`", model.id))
            .collect();
        return Err(RunError::Argument {
            field: wish.argument,
            message: if able.is_empty() {
                format!(
                    "no {} model of this workspace lists `{}`",
                    modality.as_str(),
                    wish.argument
                )
            } else {
                format!(
                    "the model `{}` does not list `{}`; models that do: {}",
                    named.name,
                    wish.argument,
                    able.join(", ")
                )
            },
        });
    }
    Ok(Choice { model: named.clone(), modality, reason: "named in the call".to_owned() })
}

fn by_use_case(
    request: &AssetRequest,
    use_case: UseCase,
    models: &[Model],
) -> Result<Choice, RunError> {
    let mut suited: Vec<(u8, &Model)> =
        models.iter().filter_map(|model| Some((model.suits(use_case)?, model))).collect();
    // Stable: within one rank Layer's order stands.
    suited.sort_by_key(|(rank, _)| *rank);
    let wishes = request.wishes();
    let able = suited.iter().find(|(_, model)| wishes.iter().all(|wish| wish.is_met_by(model)));
    match able {
        Some((_, model)) => {
            let with: Vec<&str> = wishes.iter().map(|wish| wish.argument).collect();
            let can = if with.is_empty() {
                String::new()
            } else {
                format!(" that takes {}", with.join(" and "))
            };
            Ok(Choice {
                model: (*model).clone(),
                modality: model.modality.unwrap_or(use_case.modality()),
                reason: format!("Layer's first for {}{can}", use_case.as_str()),
            })
        }
        None if suited.is_empty() => Err(RunError::NoModelFor { use_case: use_case.as_str() }),
        None => Err(RunError::Argument {
            field: wishes.first().map_or("use_case", |wish| wish.argument),
            message: format!(
                "no model of this workspace for {} lists {}",
                use_case.as_str(),
                wishes.iter().map(|wish| wish.argument).collect::<Vec<_>>().join(" and ")
            ),
        }),
    }
}

/// A trained style in the place of a model.
///
/// # Errors
/// [`RunError::Argument`] for one that is not trained.
pub(super) fn style_as_model(request: &AssetRequest, style: &Style) -> Result<Choice, RunError> {
    if style.status != "complete" {
        return Err(RunError::Argument {
            field: "model",
            message: format!(
                "the style `{}` can't be used yet: it is `{}` at Layer, and only a `complete` one \
                 makes pictures",
                style.name, style.status
            ),
        });
    }
    let id = style
        .id
        .as_str()
        .parse()
        .map_err(|_| RunError::ModelNotFound { asked: style.name.clone(), near: Vec::new() })?;
    let modality = style.modality.unwrap_or(Modality::Image);
    let wanted = request.use_case.map_or(modality, UseCase::modality);
    if wanted != modality {
        return Err(RunError::Argument {
            field: "use_case",
            message: format!("the style `{}` makes {}", style.name, modality.as_str()),
        });
    }
    Ok(Choice {
        model: Model {
            id,
            name: style.name.clone(),
            modality: Some(modality),
            capabilities: crate::layer::Capabilities::default(),
            reference_types: Vec::new(),
        },
        modality,
        reason: "a style, named in the call".to_owned(),
    })
}

/// Up to five models whose name or id shares a word with what was asked for.
fn near(asked: &str, models: &[Model]) -> Vec<String> {
    let lower = asked.to_lowercase();
    let words: Vec<&str> = lower
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| word.len() > 2)
        .collect();
    models
        .iter()
        .filter(|model| {
            let text = format!("{} {}", model.id, model.name).to_lowercase();
            words.iter().any(|word| text.contains(word))
        })
        .take(5)
        .map(|model| format!("`{}` ({})", model.id, model.name))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::layer::Capabilities;
    use crate::runs::Prompt;

    fn model(id: &str, name: &str, capabilities: &[&str]) -> Model {
        Model {
            id: id.parse().unwrap(),
            name: name.to_owned(),
            modality: Some(Modality::Image),
            capabilities: Capabilities::from_names(capabilities.iter().copied()),
            reference_types: Vec::new(),
        }
    }

    fn request(model: Option<&str>) -> AssetRequest {
        AssetRequest {
            model: model.map(str::to_owned),
            ..AssetRequest::plain(Prompt::try_from("a knight".to_owned()).unwrap())
        }
    }

    #[test]
    fn a_model_is_taken_by_id_by_name_or_by_purpose() {
        let models = [
            model("cut", "BiRefNet", &["background_removal"]),
            model("a", "Alpha", &["text_to_image"]),
            model("b", "Beta", &["text_to_image", "transparency"]),
        ];
        let taken = |request: &AssetRequest| choose(request, &models).unwrap().model.id.to_string();
        assert_eq!(taken(&request(None)), "a");
        assert_eq!(taken(&request(Some("b"))), "b");
        assert_eq!(taken(&request(Some("alpha"))), "a");
        assert_eq!(taken(&AssetRequest { transparent: true, ..request(None) }), "b");
        let opaque = AssetRequest { transparent: true, ..request(Some("a")) };
        assert!(choose(&opaque, &models).unwrap_err().to_string().contains("`b`"));
    }

    #[test]
    fn a_name_of_several_models_or_of_none_buys_nothing() {
        let models = [model("a", "Same", &[]), model("b", "same", &[])];
        let error = choose(&request(Some("Same")), &models).unwrap_err().to_string();
        assert!(error.contains("`a`") && error.contains("`b`"), "{error}");
        assert!(choose(&request(Some("other")), &models).is_err());
        assert!(choose(&request(None), &[]).is_err());
    }
}
