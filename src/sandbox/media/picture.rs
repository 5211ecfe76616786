//! Pictures in the manner of pixel art: a thing or a creature on a gradient, a landscape, or a
//! surface that can tile.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, ExtendedColorType, ImageEncoder};

use super::canvas::{Canvas, Colour, hsl, mix};
use super::sprites::{self, EMPTY, SIDE, Sprite};
use super::{Artifact, Chance, RenderError, edit};

/// How many cells the shorter side has, unless the picture has fewer pixels.
const CELLS: u32 = 96;

/// The bytes of a picture, in the media type that its model answers.
pub(super) fn encoded(
    artifact: &Artifact,
    reference: Option<&DynamicImage>,
) -> Result<Vec<u8>, RenderError> {
    let (width, height) = (artifact.width.max(1), artifact.height.max(1));
    let canvas = Scene::new(artifact, reference).drawn(width, height, 0.0);
    let mut bytes = Vec::new();
    match artifact.content_type.as_str() {
        "image/jpeg" => {
            let pixels = canvas.pixels::<3>(width, height);
            JpegEncoder::new_with_quality(&mut bytes, 92).write_image(
                &pixels,
                width,
                height,
                ExtendedColorType::Rgb8,
            )?;
        }
        "image/webp" => {
            let pixels = canvas.pixels::<3>(width, height);
            let encoder = WebPEncoder::new_lossless(&mut bytes);
            encoder.write_image(&pixels, width, height, ExtendedColorType::Rgb8)?;
        }
        _ if artifact.transparent => {
            let pixels = canvas.pixels::<4>(width, height);
            png(&mut bytes, &pixels, (width, height), ExtendedColorType::Rgba8)?;
        }
        _ => {
            let pixels = canvas.pixels::<3>(width, height);
            png(&mut bytes, &pixels, (width, height), ExtendedColorType::Rgb8)?;
        }
    }
    Ok(bytes)
}

/// Rows that repeat the one above cost nearly nothing with this filter.
pub(super) fn png(
    bytes: &mut Vec<u8>,
    pixels: &[u8],
    size: (u32, u32),
    colour: ExtendedColorType,
) -> Result<(), RenderError> {
    let encoder = PngEncoder::new_with_quality(bytes, CompressionType::Fast, FilterType::Up);
    encoder.write_image(pixels, size.0, size.1, colour)?;
    Ok(())
}

/// What a prompt makes one see.
pub(super) struct Scene {
    subject: Subject,
    chance: Chance,
    hue: f64,
    second_hue: f64,
    ground: Ground,
}

enum Subject {
    Sprite(Sprite),
    Landscape,
    /// Whether it wraps around.
    Surface {
        tiles: bool,
    },
}

/// What is behind a sprite.
#[derive(PartialEq)]
enum Ground {
    Nothing,
    Plain(Colour),
    Gradient,
}

impl Scene {
    pub(super) fn new(artifact: &Artifact, reference: Option<&DynamicImage>) -> Self {
        let mut chance = artifact.chance();
        let prompt = artifact.prompt.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| prompt.contains(word));
        let drift = chance.between(-14.0, 14.0);
        let any_hue = chance.between(0.0, 360.0);
        let hue = named_hue(&prompt).or(reference.map(edit::main_hue)).unwrap_or(any_hue) + drift;
        let subject = if artifact.tileable || says(&["texture", "seamless", "tiling", "pattern"]) {
            Subject::Surface { tiles: artifact.tileable }
        } else if says(&["landscape", "scenery", "skybox", "parallax", "valley"]) {
            Subject::Landscape
        } else {
            // The shape belongs to the prompt; variations of one prompt are one kind of thing.
            Subject::Sprite(sprites::for_prompt(&prompt, &mut chance))
        };
        let ground = if artifact.transparent {
            Ground::Nothing
        } else if says(&["white background", "white backdrop"]) {
            Ground::Plain([255, 255, 255, 255])
        } else if says(&["green background", "green screen", "chroma key"]) {
            Ground::Plain([0, 255, 0, 255])
        } else {
            Ground::Gradient
        };
        let second_hue = hue + chance.between(120.0, 200.0);
        Self { subject, chance, hue, second_hue, ground }
    }

    /// The scene with as many cells as fit the size. `lift` moves the sprite up, in its own cells.
    pub(super) fn drawn(&self, width: u32, height: u32, lift: f64) -> Canvas {
        let scale = f64::from(width.min(height)) / f64::from(CELLS);
        let cells = |side: u32| (f64::from(side) / scale.max(1.0)).round() as u32;
        let mut canvas = Canvas::new(cells(width), cells(height));
        match &self.subject {
            Subject::Sprite(sprite) => self.sprite(&mut canvas, sprite, lift),
            Subject::Landscape => self.landscape(&mut canvas),
            Subject::Surface { tiles } => self.surface(&mut canvas, *tiles),
        }
        canvas
    }

    fn sprite(&self, canvas: &mut Canvas, sprite: &Sprite, lift: f64) {
        let shorter = canvas.width.min(canvas.height);
        let side = (f64::from(shorter) * 0.7 / SIDE as f64).floor().max(1.0);
        let whole = side as i64 * SIDE as i64;
        let left = (i64::from(canvas.width) - whole) / 2;
        let top = (i64::from(canvas.height) - whole) / 2;
        match self.ground {
            Ground::Nothing => {}
            Ground::Plain(colour) => canvas.paint(|_, _| colour),
            Ground::Gradient => {
                self.gradient(canvas);
                self.shadow(canvas, left + whole / 2, top + whole, whole as f64 * 0.36);
            }
        }
        let top = top - (lift * side) as i64;
        for (row, y) in sprite.iter().zip(0_i64..) {
            for (cell, x) in row.iter().zip(0_i64..) {
                if *cell != EMPTY {
                    let (x, y) = (left + x * side as i64, top + y * side as i64);
                    canvas.rectangle(x, y, side as i64, self.colour(*cell));
                }
            }
        }
    }

    fn colour(&self, cell: u8) -> Colour {
        match cell {
            b'X' => hsl(self.hue + 250.0, 0.35, 0.13),
            b'b' => hsl(self.hue - 8.0, 0.78, 0.70),
            b'c' => hsl(self.second_hue, 0.65, 0.66),
            b'd' => hsl(self.second_hue, 0.60, 0.42),
            b'w' => [246, 246, 252, 255],
            _ => hsl(self.hue, 0.72, 0.52),
        }
    }

    /// Dithered bands from the top to the bottom, a glow in the middle, a few sparks.
    fn gradient(&self, canvas: &mut Canvas) {
        let mut chance = self.chance.clone();
        let top = hsl(self.second_hue + 25.0, 0.48, 0.26);
        let bottom = hsl(self.second_hue - 20.0, 0.46, 0.52);
        let glow = hsl(self.second_hue - 10.0, 0.60, 0.82);
        let (wide, high) = (f64::from(canvas.width), f64::from(canvas.height));
        let shorter = wide.min(high);
        canvas.paint(|x, y| {
            let (across, down) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
            let distance = (across - wide / 2.0).hypot(down - high / 2.0) / (shorter * 0.62);
            let ground = mix(top, bottom, banded(down / high, 10.0, x, y));
            mix(ground, glow, 0.5 * banded((1.0 - distance).max(0.0), 6.0, x, y))
        });
        for _ in 0..14 {
            let x = chance.below(canvas.width);
            let y = chance.below(canvas.height);
            canvas.put(x.into(), y.into(), mix(glow, [255; 4], 0.6));
        }
    }

    fn shadow(&self, canvas: &mut Canvas, middle: i64, floor: i64, reach: f64) {
        let colour = hsl(self.second_hue, 0.45, 0.16);
        let flat = reach * 0.16;
        for y in -(flat as i64)..=(flat as i64) {
            let half = reach * (1.0 - (y as f64 / flat.max(1.0)).powi(2)).max(0.0).sqrt();
            for x in -(half as i64)..=(half as i64) {
                canvas.blend(middle + x, floor + y, colour, 0.4);
            }
        }
    }

    fn landscape(&self, canvas: &mut Canvas) {
        let mut chance = self.chance.clone();
        let (wide, high) = (f64::from(canvas.width), f64::from(canvas.height));
        let sky = (hsl(self.second_hue, 0.60, 0.50), hsl(self.hue, 0.75, 0.82));
        let sun = (chance.between(0.2, 0.8) * wide, chance.between(0.2, 0.4) * high);
        let radius = wide.min(high) * 0.09;
        canvas.paint(|x, y| {
            let (across, down) = (f64::from(x), f64::from(y));
            if (across - sun.0).hypot(down - sun.1) < radius {
                return hsl(48.0, 1.0, 0.86);
            }
            mix(sky.0, sky.1, banded(down / high * 1.4, 12.0, x, y))
        });
        for layer in 0..4_u32 {
            let depth = f64::from(layer);
            let waves: Vec<_> = (1..5)
                .map(|wave| {
                    let steep = chance.between(0.3, 1.0) / f64::from(wave);
                    (f64::from(wave) * chance.between(2.0, 5.0), chance.between(0.0, 6.3), steep)
                })
                .collect();
            let colour = hsl(self.hue + 20.0 * depth, 0.45, 0.58 - 0.13 * depth);
            for x in 0..canvas.width {
                let across = f64::from(x) / wide;
                let wave: f64 = waves
                    .iter()
                    .map(|(rate, shift, high)| high * (rate * across + shift).sin())
                    .sum();
                let crest = high * (0.45 + 0.13 * depth + 0.07 * wave);
                for y in crest.max(0.0) as i64..i64::from(canvas.height) {
                    let light = if y == crest as i64 { 0.35 } else { 0.0 };
                    canvas.put(x.into(), y, mix(colour, [255; 4], light));
                }
            }
        }
    }

    /// Cobbles: the nearest of many points, around the edges when it tiles.
    fn surface(&self, canvas: &mut Canvas, tiles: bool) {
        let mut chance = self.chance.clone();
        let (wide, high) = (f64::from(canvas.width), f64::from(canvas.height));
        let points: Vec<_> = (0..40)
            .map(|_| {
                let place = (chance.between(0.0, wide), chance.between(0.0, high));
                (place, chance.between(-0.08, 0.08))
            })
            .collect();
        let unit = (wide * high / 40.0).sqrt();
        canvas.paint(|x, y| {
            let (across, down) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
            let (mut nearest, mut second, mut shade) = (f64::MAX, f64::MAX, 0.0);
            for ((px, py), own) in &points {
                let (mut dx, mut dy) = ((across - px).abs(), (down - py).abs());
                if tiles {
                    dx = dx.min(wide - dx);
                    dy = dy.min(high - dy);
                }
                let distance = dx.hypot(dy);
                if distance < nearest {
                    (second, nearest, shade) = (nearest, distance, *own);
                } else if distance < second {
                    second = distance;
                }
            }
            if second - nearest < unit * 0.16 {
                return hsl(self.second_hue, 0.25, 0.20);
            }
            let round = 0.14 * banded(1.0 - nearest / unit, 4.0, x, y);
            hsl(self.hue, 0.38, 0.42 + shade + round)
        });
    }
}

/// A share in so many bands, with the ordered dither of four by four cells between them.
fn banded(share: f64, bands: f64, x: u32, y: u32) -> f64 {
    const BAYER: [u32; 16] = [0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5];
    let place = (y % 4 * 4 + x % 4) as usize;
    let threshold = (f64::from(BAYER.get(place).copied().unwrap_or(0)) + 0.5) / 16.0;
    ((share * bands + threshold).floor() / bands).clamp(0.0, 1.0)
}

/// The hue of the first colour that a prompt names.
fn named_hue(prompt: &str) -> Option<f64> {
    const HUES: &[(&str, f64)] = &[
        ("red", 2.0),
        ("ruby", 345.0),
        ("orange", 26.0),
        ("gold", 44.0),
        ("golden", 44.0),
        ("coin", 46.0),
        ("yellow", 52.0),
        ("green", 125.0),
        ("emerald", 150.0),
        ("teal", 175.0),
        ("cyan", 188.0),
        ("blue", 215.0),
        ("sapphire", 222.0),
        ("ice", 200.0),
        ("fire", 14.0),
        ("lava", 10.0),
        ("forest", 120.0),
        ("tree", 115.0),
        ("purple", 275.0),
        ("violet", 280.0),
        ("magenta", 310.0),
        ("pink", 335.0),
        ("heart", 352.0),
        ("brown", 24.0),
        ("wooden", 28.0),
    ];
    prompt
        .split(|c: char| !c.is_alphanumeric())
        .find_map(|word| HUES.iter().find(|(name, _)| *name == word).map(|(_, hue)| *hue))
}
