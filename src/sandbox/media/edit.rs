//! What is made of an image that was given: changed, cut out, enlarged, vectorised.

use std::collections::VecDeque;
use std::fmt::Write as _;

use image::imageops::{self, FilterType};
use image::{DynamicImage, ExtendedColorType, GenericImageView, Rgba, RgbaImage};

use super::picture::png;
use super::{Artifact, RenderError};

/// The source at the asked size, its colours turned as the prompt has it. With a mask only where
/// the mask is light. Like the real ones it renders the whole frame again.
pub(super) fn edited(
    artifact: &Artifact,
    image: &DynamicImage,
    mask: Option<&[u8]>,
) -> Result<Vec<u8>, RenderError> {
    let (width, height) = artifact.size().unwrap_or_else(|| image.dimensions());
    let source = fitted(image, width, height);
    let turn = artifact.chance().below(270) as i32 + 45;
    let mut changed = imageops::huerotate(&source, turn);
    if let Some(mask) = mask.and_then(|mask| image::load_from_memory(mask).ok()) {
        let mask = imageops::resize(&mask.to_luma8(), width, height, FilterType::Nearest);
        for ((new, old), mask) in changed.pixels_mut().zip(source.pixels()).zip(mask.pixels()) {
            if mask.0 < [128] {
                *new = *old;
            }
        }
    }
    written(&changed)
}

/// The source with transparency in the place of everything that its border runs into.
pub(super) fn cut_out(image: &DynamicImage) -> Result<Vec<u8>, RenderError> {
    let mut pixels = image.to_rgba8();
    let (width, height) = pixels.dimensions();
    let mut seen = vec![false; width as usize * height as usize];
    let mut queue = VecDeque::new();
    let border = (0..width)
        .flat_map(|x| [(x, 0), (x, height - 1)])
        .chain((0..height).flat_map(|y| [(0, y), (width - 1, y)]));
    for (x, y) in border {
        if let Some(pixel) = pixels.get_pixel_checked(x, y) {
            queue.push_back((x, y, *pixel));
        }
    }
    while let Some((x, y, from)) = queue.pop_front() {
        let place = y as usize * width as usize + x as usize;
        let Some(seen) = seen.get_mut(place).filter(|seen| !**seen) else {
            continue;
        };
        let Some(pixel) = pixels.get_pixel_mut_checked(x, y) else {
            continue;
        };
        if pixel.0.iter().zip(from.0).any(|(a, b)| a.abs_diff(b) > 40) || is_outline(pixel) {
            continue;
        }
        *seen = true;
        let here = *pixel;
        *pixel = Rgba([0; 4]);
        queue.push_back((x.wrapping_sub(1), y, here));
        queue.push_back((x + 1, y, here));
        queue.push_back((x, y.wrapping_sub(1), here));
        queue.push_back((x, y + 1, here));
    }
    written(&pixels)
}

/// Nearly black: the edge of what is drawn.
fn is_outline(pixel: &Rgba<u8>) -> bool {
    let [red, green, blue, alpha] = pixel.0;
    alpha > 0 && u32::from(red) + u32::from(green) + u32::from(blue) < 130
}

pub(super) fn upscaled(artifact: &Artifact, image: &DynamicImage) -> Result<Vec<u8>, RenderError> {
    let (width, height) = artifact.size().unwrap_or_else(|| image.dimensions());
    written(&fitted(image, width, height))
}

/// The source as an SVG of coloured squares, 48 to the longer side at most.
pub(super) fn vectorized(artifact: &Artifact, image: Option<&DynamicImage>) -> String {
    let (width, height) = artifact.size().unwrap_or((512, 512));
    let small = match image {
        Some(image) => image.thumbnail(48, 48).to_rgba8(),
        None => RgbaImage::from_pixel(1, 1, Rgba([128, 128, 128, 255])),
    };
    let (columns, rows) = small.dimensions();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {columns} {rows}\" shape-rendering=\"crispEdges\" \
         preserveAspectRatio=\"none\">\n"
    );
    for (x, y, Rgba([red, green, blue, alpha])) in small.enumerate_pixels() {
        if *alpha > 0 {
            // Writing to a string never fails.
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{y}\" width=\"1\" height=\"1\" \
                 fill=\"#{red:02x}{green:02x}{blue:02x}\"/>"
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// The hue that most of the image's colour has, in degrees.
pub(super) fn main_hue(image: &DynamicImage) -> f64 {
    let small = image.thumbnail(32, 32).to_rgba8();
    let (mut across, mut up) = (0.0, 0.0);
    for Rgba([red, green, blue, alpha]) in small.pixels() {
        let [red, green, blue] = [red, green, blue].map(|channel| f64::from(*channel));
        let strength = f64::from(*alpha) / 255.0;
        across += strength * (red - (green + blue) / 2.0);
        up += strength * (green - blue) * 3.0_f64.sqrt() / 2.0;
    }
    up.atan2(across).to_degrees().rem_euclid(360.0)
}

/// The image at exactly that size.
pub(super) fn fitted(image: &DynamicImage, width: u32, height: u32) -> RgbaImage {
    if image.dimensions() == (width, height) {
        return image.to_rgba8();
    }
    image.resize_exact(width.max(1), height.max(1), FilterType::Triangle).to_rgba8()
}

fn written(pixels: &RgbaImage) -> Result<Vec<u8>, RenderError> {
    let mut bytes = Vec::new();
    png(&mut bytes, pixels.as_raw(), pixels.dimensions(), ExtendedColorType::Rgba8)?;
    Ok(bytes)
}
