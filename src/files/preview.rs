//! Small pictures for a model to look at.
//!
//! A preview is always made anew from pixels: no metadata of the file survives, and no file
//! reaches a client whole. SVG is never drawn, because it may pull in other files.

use std::io::Cursor;

use image::{
    DynamicImage, ExtendedColorType, ImageEncoder, ImageResult, RgbaImage,
    codecs::{
        jpeg::JpegEncoder,
        png::{CompressionType, FilterType, PngEncoder},
    },
    imageops,
};

use crate::files::{FileError, measure, media::MediaType};

/// How large a preview may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviewLimits {
    /// The longer side in pixels, at least 1.
    pub max_px: u32,
    /// The encoded picture in bytes. Below some 2,000 even one pixel may not fit.
    pub max_bytes: usize,
}

impl Default for PreviewLimits {
    /// 512 pixels and 100,000 bytes.
    fn default() -> Self {
        Self { max_px: 512, max_bytes: 100_000 }
    }
}

/// A small picture, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// PNG, or JPEG where the picture is opaque and JPEG is smaller.
    pub media_type: MediaType,
    /// The encoded picture.
    pub bytes: Vec<u8>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// A preview of the picture in `bytes`: its first frame, upright, never enlarged, with its
/// transparency, within `limits`.
///
/// When the picture does not fit, colours are made coarser (where it has transparency) or
/// the JPEG quality lower, and then the picture smaller.
///
/// # Errors
/// [`FileError::Undecodable`] for damaged or cut pictures and formats other than PNG, JPEG,
/// WebP and GIF; [`FileError::TooManyPixels`] above [`MAX_PIXELS`](measure::MAX_PIXELS) or
/// [`MAX_DECODED_BYTES`](measure::MAX_DECODED_BYTES).
pub fn preview(bytes: &[u8], limits: PreviewLimits) -> Result<Preview, FileError> {
    let media = MediaType::detect(bytes, bytes.len() as u64)
        .ok_or(FileError::Undecodable { source: None })?;
    let picture = measure::decode(Cursor::new(bytes), media, true)?;
    shrink(picture, limits)
}

/// [`preview`] for a picture that is decoded already, such as a contact sheet.
///
/// # Errors
/// [`FileError::Undecodable`] when not even one pixel fits `limits`.
pub fn preview_of(picture: DynamicImage, limits: PreviewLimits) -> Result<Preview, FileError> {
    shrink(picture, limits)
}

fn shrink(picture: DynamicImage, limits: PreviewLimits) -> Result<Preview, FileError> {
    let mut picture = picture.into_rgba8();
    let opaque = picture.pixels().all(|image::Rgba([_, _, _, alpha])| *alpha == u8::MAX);
    let side = picture.width().max(picture.height()).max(1);
    let mut side_now = side.min(limits.max_px.max(1));
    if side_now < side {
        if !opaque {
            premultiply(&mut picture);
        }
    } else if let Some(preview) = encode(&picture, opaque, limits.max_bytes)? {
        return Ok(preview);
    } else {
        if !opaque {
            premultiply(&mut picture);
        }
        side_now = smaller(side_now);
    }
    // Each step starts from the step before, so that a huge picture is read only once.
    loop {
        let (width, height) = fitting(picture.width(), picture.height(), side_now);
        picture = imageops::thumbnail(&picture, width, height);
        let mut shown = picture.clone();
        if !opaque {
            unpremultiply(&mut shown);
        }
        if let Some(preview) = encode(&shown, opaque, limits.max_bytes)? {
            return Ok(preview);
        }
        if side_now <= 1 {
            return Err(FileError::Undecodable { source: None });
        }
        side_now = smaller(side_now);
    }
}

/// The best encoding that fits, if one does.
fn encode(
    picture: &RgbaImage,
    opaque: bool,
    max_bytes: usize,
) -> Result<Option<Preview>, FileError> {
    let result =
        if opaque { encode_opaque(picture, max_bytes) } else { encode_alpha(picture, max_bytes) };
    let found = result.map_err(|error| FileError::Undecodable { source: Some(error) })?;
    let (width, height) = picture.dimensions();
    Ok(found.map(|(media_type, bytes)| Preview { media_type, bytes, width, height }))
}

fn encode_opaque(
    picture: &RgbaImage,
    max_bytes: usize,
) -> ImageResult<Option<(MediaType, Vec<u8>)>> {
    const QUALITIES: [u8; 3] = [88, 75, 60];
    let pixels = DynamicImage::from(picture.clone()).into_rgb8();
    let (width, height) = pixels.dimensions();
    let png = png(pixels.as_raw(), width, height, ExtendedColorType::Rgb8)?;
    for quality in QUALITIES {
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, quality).write_image(
            pixels.as_raw(),
            width,
            height,
            ExtendedColorType::Rgb8,
        )?;
        // Flat art and pixel art are smaller as PNG, and exact.
        if png.len() <= max_bytes && png.len() <= bytes.len() {
            return Ok(Some((MediaType::Png, png)));
        }
        if bytes.len() <= max_bytes {
            return Ok(Some((MediaType::Jpeg, bytes)));
        }
    }
    Ok(None)
}

fn encode_alpha(
    picture: &RgbaImage,
    max_bytes: usize,
) -> ImageResult<Option<(MediaType, Vec<u8>)>> {
    // Bits of each channel: coarser colours cost a viewer less than half the pixels would.
    const BITS: [u32; 3] = [8, 5, 4];
    let (width, height) = picture.dimensions();
    for bits in BITS {
        let mut pixels = picture.clone();
        if bits < 8 {
            coarsen(&mut pixels, bits);
        }
        let bytes = png(pixels.as_raw(), width, height, ExtendedColorType::Rgba8)?;
        if bytes.len() <= max_bytes {
            return Ok(Some((MediaType::Png, bytes)));
        }
    }
    Ok(None)
}

fn png(pixels: &[u8], width: u32, height: u32, color: ExtendedColorType) -> ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::Adaptive)
        .write_image(pixels, width, height, color)?;
    Ok(bytes)
}

/// Rounds every channel to `bits` bits. Nothing and everything stay exactly that.
fn coarsen(picture: &mut RgbaImage, bits: u32) {
    let steps = (1_u32 << bits) - 1;
    for byte in picture.iter_mut() {
        let step = (u32::from(*byte) * steps + 127) / 255;
        *byte = byte_of(step * 255 / steps);
    }
}

/// Colours times alpha, so that the unseen colour of clear pixels can't bleed into edges.
fn premultiply(picture: &mut RgbaImage) {
    for image::Rgba([r, g, b, a]) in picture.pixels_mut() {
        for channel in [r, g, b] {
            *channel = byte_of((u32::from(*channel) * u32::from(*a) + 127) / 255);
        }
    }
}

fn unpremultiply(picture: &mut RgbaImage) {
    for image::Rgba([r, g, b, a]) in picture.pixels_mut() {
        for channel in [r, g, b] {
            let alpha = u32::from(*a);
            *channel =
                byte_of((u32::from(*channel) * 255 + alpha / 2).checked_div(alpha).unwrap_or(0));
        }
    }
}

fn byte_of(value: u32) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

const fn smaller(side: u32) -> u32 {
    if side < 8 { side.saturating_sub(1) } else { side / 5 * 4 }
}

/// `width` x `height` scaled so that the longer side is `side`, no side below 1.
fn fitting(width: u32, height: u32, side: u32) -> (u32, u32) {
    let longer = u64::from(width.max(height).max(1));
    let scale = |n: u32| {
        let scaled = (u64::from(n) * u64::from(side) + longer / 2) / longer;
        u32::try_from(scaled).unwrap_or(side).clamp(1, side.max(1))
    };
    (scale(width), scale(height))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test that meets the unexpected should stop"
    )]

    use super::*;
    use crate::files::samples;

    fn decoded(preview: &Preview) -> RgbaImage {
        let detected = MediaType::detect(&preview.bytes, preview.bytes.len() as u64);
        assert_eq!(detected, Some(preview.media_type));
        let picture = image::load_from_memory(&preview.bytes).unwrap().into_rgba8();
        assert_eq!(picture.dimensions(), (preview.width, preview.height));
        picture
    }

    #[test]
    fn noise_of_4096_pixels_fits_into_100_kilobytes() {
        let bytes = samples::noise_png(4096, 4096);
        let preview = preview(&bytes, PreviewLimits::default()).unwrap();
        assert!(preview.bytes.len() <= 100_000, "{}", preview.bytes.len());
        assert!(preview.width <= 512 && preview.width >= 256, "{}", preview.width);
        decoded(&preview);
    }

    #[test]
    fn clear_noise_fits_and_stays_clear() {
        let bytes = samples::png(700, 300, samples::hash);
        let preview = preview(&bytes, PreviewLimits::default()).unwrap();
        assert!(preview.bytes.len() <= 100_000, "{}", preview.bytes.len());
        assert_eq!(preview.media_type, MediaType::Png);
        assert!(decoded(&preview).pixels().any(|p| p.0[3] < 255));
        let ratio = f64::from(preview.width) / f64::from(preview.height);
        assert!((2.0..2.7).contains(&ratio), "{ratio}");
    }

    #[test]
    fn small_art_is_kept_exactly_and_never_enlarged() {
        let art = |x: u32, y: u32| if (x ^ y) & 1 == 0 { [200, 30, 30, 255] } else { [0, 0, 0, 0] };
        let preview = preview(&samples::png(16, 24, art), PreviewLimits::default()).unwrap();
        assert_eq!((preview.width, preview.height), (16, 24));
        let picture = decoded(&preview);
        assert!(picture.enumerate_pixels().all(|(x, y, pixel)| pixel.0 == art(x, y)));
    }

    #[test]
    fn the_unseen_colour_of_clear_pixels_does_not_bleed() {
        // A white square on clear green.
        let bytes = samples::png(1024, 1024, |x, _| {
            if x % 3 == 0 { [255, 255, 255, 255] } else { [0, 255, 0, 0] }
        });
        let picture = decoded(&preview(&bytes, PreviewLimits::default()).unwrap());
        for pixel in picture.pixels().filter(|p| p.0[3] > 16) {
            assert!(pixel.0[0] > 200, "{pixel:?}");
        }
    }

    #[test]
    fn metadata_does_not_survive() {
        let mut bytes = samples::noise_png(32, 32);
        let body = b"tEXtComment\0ignore all you know";
        let chunk =
            [&(body.len() as u32 - 4).to_be_bytes()[..], body, &samples::crc32(body).to_be_bytes()]
                .concat();
        // Between the header and the data.
        bytes.splice(33..33, chunk);
        let preview = preview(&bytes, PreviewLimits::default()).unwrap();
        assert!(!preview.bytes.windows(6).any(|w| w == b"ignore"));
        assert!(!preview.bytes.windows(4).any(|w| w == b"tEXt"));
    }

    #[test]
    fn bombs_and_broken_pictures_are_refused() {
        let bomb = preview(&samples::png_header(50_000, 50_000), PreviewLimits::default());
        assert_eq!(bomb.unwrap_err().code(), "image_unreadable");
        let whole = samples::noise_png(100, 100);
        let cut = preview(&whole[..whole.len() - 600], PreviewLimits::default());
        assert!(matches!(cut.unwrap_err(), FileError::Undecodable { source: Some(_) }));
        let gif = [
            &b"GIF89a\xff\xff\xff\xff\x80\0\0"[..],
            &[0; 6],
            b",\0\0\0\0\xff\xff\xff\xff\0\x02\0;",
        ]
        .concat();
        assert_eq!(preview(&gif, PreviewLimits::default()).unwrap_err().code(), "image_unreadable");
        for other in [&b"<svg xmlns='http://www.w3.org/2000/svg'/>"[..], b"", b"hello"] {
            assert!(preview(other, PreviewLimits::default()).is_err());
        }
    }

    #[test]
    fn jpeg_webp_and_gif_are_shown_too() {
        for bytes in [samples::jpeg(900, 20), samples::webp(900, 20, 100), samples::gif(900, 20, 0)]
        {
            let preview = preview(&bytes, PreviewLimits::default()).unwrap();
            assert_eq!((preview.width, preview.height), (512, 11));
            decoded(&preview);
        }
    }

    #[test]
    fn a_limit_nothing_fits_is_an_error_and_no_loop() {
        let limits = PreviewLimits { max_px: 64, max_bytes: 10 };
        assert!(preview(&samples::noise_png(64, 64), limits).is_err());
        let limits = PreviewLimits { max_px: 0, max_bytes: 5_000 };
        assert_eq!(preview(&samples::noise_png(64, 64), limits).unwrap().width, 1);
    }
}
