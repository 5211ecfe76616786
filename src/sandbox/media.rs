//! The files that runs hand out: real ones, drawn and sounded from a hash of the request, so that
//! the same run gives the same bytes whenever and wherever it is fetched.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

mod canvas;
mod edit;
mod glb;
mod mp4;
mod picture;
mod sprites;
mod wav;

/// How an output comes about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Make {
    #[default]
    Picture,
    /// The source, changed.
    Edit,
    /// The source without its background.
    CutOut,
    /// The source, larger.
    Upscale,
    /// The source as SVG.
    Vector,
    Video,
    Mesh,
    Speech,
    SoundEffect,
    Music,
    /// Plain text.
    Words,
}

/// Everything that decides the bytes of one output. It is stored in their place.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Artifact {
    pub(super) makes: Make,
    pub(super) model: String,
    pub(super) prompt: String,
    pub(super) seed: i64,
    /// Which output of its run.
    pub(super) index: u32,
    pub(super) content_type: String,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) seconds: f64,
    pub(super) fps: u32,
    /// The most triangles of a mesh.
    pub(super) faces: u32,
    pub(super) transparent: bool,
    pub(super) tileable: bool,
    /// File ids.
    pub(super) sources: Vec<String>,
    pub(super) mask: Option<String>,
    /// The workflow output it belongs to.
    pub(super) label: Option<String>,
}

impl Artifact {
    /// The start of its file name: the first words of the prompt.
    pub(super) fn slug(&self) -> String {
        let lower = self.prompt.to_lowercase();
        let words = lower
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .take(6);
        let slug: String = words.collect::<Vec<_>>().join("-").chars().take(60).collect();
        if slug.is_empty() { "output".to_owned() } else { slug }
    }

    pub(super) fn extension(&self) -> &'static str {
        match self.content_type.as_str() {
            "image/png" => "png",
            "image/jpeg" => "jpg",
            "image/webp" => "webp",
            "image/svg+xml" => "svg",
            "video/mp4" => "mp4",
            "model/gltf-binary" => "glb",
            "audio/wav" => "wav",
            "text/plain" => "txt",
            _ => "bin",
        }
    }

    /// Width and height, of what has them.
    pub(super) fn size(&self) -> Option<(u32, u32)> {
        (self.width > 0 && self.height > 0).then_some((self.width, self.height))
    }

    /// Where all chance in this output comes from. The size is no part of it: the same request
    /// at another size shows the same thing.
    fn chance(&self) -> Chance {
        let sources = self.sources.join(" ");
        Chance::of(&format!(
            "{}\n{}\n{}\n{}\n{sources}",
            self.model, self.prompt, self.seed, self.index
        ))
    }
}

/// Why an output cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum RenderError {
    #[error("the image cannot be encoded or decoded")]
    Image(#[from] image::ImageError),
    #[error("the video cannot be encoded: {0}")]
    Video(String),
}

/// Makes the bytes of an output from what its sources hold.
pub(super) fn render<S: AsRef<[u8]>>(
    artifact: &Artifact,
    sources: &[S],
    mask: Option<&[u8]>,
) -> Result<Vec<u8>, RenderError> {
    let source = sources.first().map(AsRef::as_ref);
    let decoded = source.and_then(|bytes| image::load_from_memory(bytes).ok());
    match artifact.makes {
        Make::Picture => picture::encoded(artifact, decoded.as_ref()),
        Make::Edit => match decoded {
            Some(image) => edit::edited(artifact, &image, mask),
            None => picture::encoded(artifact, None),
        },
        Make::CutOut => match decoded {
            Some(image) => edit::cut_out(&image),
            None => picture::encoded(artifact, None),
        },
        Make::Upscale => match decoded {
            Some(image) => edit::upscaled(artifact, &image),
            None => picture::encoded(artifact, None),
        },
        Make::Vector => Ok(edit::vectorized(artifact, decoded.as_ref()).into_bytes()),
        Make::Video => mp4::movie(artifact, decoded.as_ref()),
        Make::Mesh => Ok(glb::mesh(artifact, decoded.as_ref())),
        Make::Speech | Make::SoundEffect | Make::Music => Ok(wav::sound(artifact)),
        Make::Words => Ok(words(artifact, decoded.as_ref()).into_bytes()),
    }
}

/// The words of an artifact that is words, without a look at its images.
pub(super) fn text(artifact: &Artifact) -> String {
    words(artifact, None)
}

fn words(artifact: &Artifact, image: Option<&image::DynamicImage>) -> String {
    let about = artifact.prompt.trim();
    match image {
        Some(image) => format!(
            "The sandbox looked at an image of {} by {} pixels; its main hue is {:.0} degrees. \
             It was asked: {about}\n",
            image.width(),
            image.height(),
            edit::main_hue(image),
        ),
        None => format!("The sandbox wrote this in answer to: {about}\n"),
    }
}

/// Numbers that look random and are always the same for the same text (SplitMix64).
#[derive(Clone, Debug)]
struct Chance(u64);

impl Chance {
    fn of(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        Self(digest.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 up to, but not including, 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.share()
    }

    /// From 0 up to, but not including, `count`.
    fn below(&mut self, count: u32) -> u32 {
        (self.share() * f64::from(count)) as u32
    }
}

#[cfg(test)]
mod tests;
