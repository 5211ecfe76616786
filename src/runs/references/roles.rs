//! What each file is for, in a word that the model knows.

use super::{Found, wrong};
use crate::files::MediaKind;
use crate::layer::{Modality, Model, ModelDetails};
use crate::runs::error::RunError;

/// Words by which models have been seen to take files, the likeliest first.
fn words(kind: MediaKind, modality: Modality, index: usize) -> &'static [&'static str] {
    match (kind, modality, index) {
        (MediaKind::Video, ..) => &["init_video", "reference_video"],
        (MediaKind::Audio, ..) => &["init_audio", "reference_audio", "audio"],
        (MediaKind::Mesh, ..) => &["init_mesh"],
        (_, Modality::Video, 0) => &["first_frame", "init_image", "init", "reference_image"],
        (_, Modality::Video, _) => &["last_frame", "reference_image", "init_image"],
        (_, Modality::ThreeD, _) => &["init_image", "init", "reference_image", "texture_image"],
        _ => &[
            "reference_image",
            "editing_reference",
            "ip_adapter",
            "init_image",
            "init",
            "prompt",
            "face",
            "pose",
        ],
    }
}

/// What nobody has seen a model go by: a model that says nothing is not tried with it.
fn fits(kind: MediaKind, modality: Modality) -> bool {
    match kind {
        MediaKind::Audio => matches!(modality, Modality::Audio | Modality::Video),
        MediaKind::Mesh => modality == Modality::ThreeD,
        _ => true,
    }
}

/// The part of each file in the run, in a word that the model knows.
///
/// # Errors
/// [`RunError::Argument`] when the model says that it takes no such file, or not so many.
pub(in crate::runs) fn roles(
    found: &[Found],
    model: &Model,
    modality: Modality,
    details: &ModelDetails,
) -> Result<Vec<String>, RunError> {
    if let Some(most) = details.most_references
        && found.len() as u64 > most
    {
        let (name, count) = (&model.name, found.len());
        return Err(wrong(format!("the model `{name}` takes at most {most}; these are {count}")));
    }
    // What the model's own page doesn't say, its entry in the list may.
    let known = match details.reference_types.as_slice() {
        [] => &model.reference_types,
        _ => &details.reference_types,
    };
    let role = |(index, one): (usize, &Found)| {
        let words = words(one.kind, modality, index);
        let word = match known.is_empty() {
            true => words.first().copied().filter(|_| fits(one.kind, modality)),
            false => words.iter().copied().find(|word| known.iter().any(|known| known == word)),
        };
        word.map(str::to_owned).ok_or_else(|| {
            wrong(format!(
                "the model `{}` takes no such file{}{}",
                model.name,
                if known.is_empty() { "" } else { "; it takes: " },
                known.join(", ")
            ))
        })
    };
    found.iter().enumerate().map(role).collect()
}
