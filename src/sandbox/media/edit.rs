//! What is made of an image that was given: changed, cut out, enlarged, vectorised.

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

/// The source with transparency in the place of everything that its border runs into, and of
/// the specks that are left in between.
pub(super) fn cut_out(image: &DynamicImage) -> Result<Vec<u8>, RenderError> {
    let mut pixels = image.to_rgba8();
    let (width, height) = pixels.dimensions();
    let mut seen = Seen::new(width, height);
    let edge = (0..width)
        .flat_map(|x| [(x, 0), (x, height - 1)])
        .chain((0..height).flat_map(|y| [(0, y), (width - 1, y)]));
    for start in edge {
        let ground = |pixel: Rgba<u8>, from: Rgba<u8>| {
            let near = pixel.0.iter().zip(from.0).all(|(a, b)| a.abs_diff(b) <= 40);
            near && !is_outline(pixel)
        };
        for place in seen.region(&pixels, start, ground) {
            pixels.put_pixel(place.0, place.1, Rgba([0; 4]));
        }
    }
    let speck = width as usize * height as usize / 400;
    for start in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
        let part = seen.region(&pixels, start, |pixel, _| pixel.0 != [0; 4]);
        if part.len() < speck {
            for place in part {
                pixels.put_pixel(place.0, place.1, Rgba([0; 4]));
            }
        }
    }
    written(&pixels)
}

/// Which pixels have been given to a region.
struct Seen {
    width: u32,
    pixels: Vec<bool>,
}

impl Seen {
    fn new(width: u32, height: u32) -> Self {
        Self { width, pixels: vec![false; width as usize * height as usize] }
    }

    /// Everything that can be reached from a pixel, by steps that `joins` allows from one colour
    /// to the next, and that belongs to no region yet.
    fn region(
        &mut self,
        image: &RgbaImage,
        start: (u32, u32),
        joins: impl Fn(Rgba<u8>, Rgba<u8>) -> bool,
    ) -> Vec<(u32, u32)> {
        let mut region = Vec::new();
        let mut enter = |region: &mut Vec<_>, (x, y): (u32, u32), from: Option<Rgba<u8>>| {
            let place = || y as usize * self.width as usize + x as usize;
            if let Some(pixel) = image.get_pixel_checked(x, y)
                && let Some(seen) = self.pixels.get_mut(place()).filter(|seen| !**seen)
                && joins(*pixel, from.unwrap_or(*pixel))
            {
                *seen = true;
                region.push((x, y));
            }
        };
        enter(&mut region, start, None);
        let mut next = 0;
        while let Some((x, y)) = region.get(next).copied() {
            let here = image.get_pixel_checked(x, y).copied();
            for beside in [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)] {
                enter(&mut region, beside, here);
            }
            next += 1;
        }
        region
    }
}

/// Nearly black: the edge of what is drawn.
fn is_outline(pixel: Rgba<u8>) -> bool {
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
