//! A short silent video: H.264 frames without compression in an MP4 file that begins with its
//! index, so that it plays while it loads.

use image::{DynamicImage, RgbaImage};
use less_avc::LessEncoder;
use less_avc::ycbcr_image::{DataPlane, Planes, YCbCrImage};
use less_avc::{BitDepth, nal_unit::NalUnit};

use super::picture::Scene;
use super::{Artifact, RenderError, edit};

/// Ticks of the media clock in a second.
const TIMESCALE: u32 = 12_800;

/// Uncompressed frames need the bit rate of level 4; the encoder claims level 1.
const LEVEL: u8 = 40;

/// An MP4 file of the artifact's length, size and frame rate.
pub(super) fn movie(
    artifact: &Artifact,
    first_frame: Option<&DynamicImage>,
) -> Result<Vec<u8>, RenderError> {
    let width = artifact.width.clamp(16, 640) / 2 * 2;
    let height = artifact.height.clamp(16, 640) / 2 * 2;
    let fps = artifact.fps.clamp(1, 30);
    let count = ((artifact.seconds * f64::from(fps)).round() as u32).clamp(1, 600);
    let scene = Scene::new(artifact, None);
    let still = first_frame.map(|image| edit::fitted(image, width, height));

    let mut encoder: Option<LessEncoder> = None;
    let mut sets = (Vec::new(), Vec::new());
    let mut frames = Vec::new();
    for frame in 0..count {
        let gone = f64::from(frame) / f64::from(count);
        let seconds = f64::from(frame) / f64::from(fps);
        let pixels = match &still {
            Some(image) => zoomed(image, 1.0 + 0.25 * gone),
            None => {
                let lift = (seconds * std::f64::consts::TAU * 0.8).sin();
                scene.drawn(width, height, lift).pixels::<4>(width, height)
            }
        };
        let planes = YCbCr::from_rgba(&pixels, width, height);
        let image = planes.image(width, height);
        let unit: NalUnit = match &mut encoder {
            Some(encoder) => encoder.encode(&image).map_err(video_error)?,
            None => {
                let (first, started) = LessEncoder::new(&image).map_err(video_error)?;
                encoder = Some(started);
                sets = (first.sps.to_nal_unit(), first.pps.to_nal_unit());
                if let Some(level) = sets.0.get_mut(3) {
                    *level = LEVEL;
                }
                first.frame
            }
        };
        let unit = unit.to_nal_unit();
        let mut sample = length(unit.len()).to_vec();
        sample.extend(unit);
        frames.push(sample);
    }
    Ok(Film { width, height, ticks: TIMESCALE / fps, sps: sets.0, pps: sets.1, frames }.file())
}

fn video_error(error: less_avc::Error) -> RenderError {
    RenderError::Video(error.to_string())
}

/// The pixels of an image, its middle enlarged.
fn zoomed(image: &RgbaImage, zoom: f64) -> Vec<u8> {
    let (width, height) = image.dimensions();
    let from = |place: u32, side: u32| {
        let middle = f64::from(side) / 2.0;
        ((f64::from(place) - middle) / zoom + middle).clamp(0.0, f64::from(side - 1)) as u32
    };
    let columns: Vec<_> = (0..width).map(|x| from(x, width)).collect();
    let mut pixels = Vec::with_capacity(width as usize * height as usize * 4);
    for y in 0..height {
        let row = from(y, height);
        for column in &columns {
            let pixel = image.get_pixel_checked(*column, row).map_or([0; 4], |pixel| pixel.0);
            pixels.extend(pixel);
        }
    }
    pixels
}

/// The three planes of a frame, padded to whole macroblocks.
struct YCbCr {
    luma: Vec<u8>,
    blue: Vec<u8>,
    red: Vec<u8>,
    stride: usize,
}

impl YCbCr {
    /// By BT.601 in full range; each second pixel of each second row gives the colour.
    fn from_rgba(pixels: &[u8], width: u32, height: u32) -> Self {
        let (width, height) = (width as usize, height as usize);
        let (stride, rows) = (width.next_multiple_of(16), height.next_multiple_of(16));
        let mut planes = Self {
            luma: vec![0; stride * rows],
            blue: vec![128; stride / 2 * rows / 2],
            red: vec![128; stride / 2 * rows / 2],
            stride,
        };
        for (y, row) in pixels.chunks_exact(width * 4).enumerate().take(height) {
            for (x, pixel) in row.chunks_exact(4).enumerate() {
                let [red, green, blue, _] = pixel else { continue };
                let [red, green, blue] = [red, green, blue].map(|channel| f32::from(*channel));
                let light = 0.299 * red + 0.587 * green + 0.114 * blue;
                if let Some(cell) = planes.luma.get_mut(y * stride + x) {
                    *cell = light as u8;
                }
                if y % 2 == 0 && x % 2 == 0 {
                    let place = y / 2 * (stride / 2) + x / 2;
                    if let Some(cell) = planes.blue.get_mut(place) {
                        *cell = (128.0 + (blue - light) * 0.564).clamp(0.0, 255.0) as u8;
                    }
                    if let Some(cell) = planes.red.get_mut(place) {
                        *cell = (128.0 + (red - light) * 0.713).clamp(0.0, 255.0) as u8;
                    }
                }
            }
        }
        planes
    }

    fn image(&self, width: u32, height: u32) -> YCbCrImage<'_> {
        let plane = |data, stride| DataPlane { data, stride, bit_depth: BitDepth::Depth8 };
        let planes = Planes::YCbCr((
            plane(&self.luma, self.stride),
            plane(&self.blue, self.stride / 2),
            plane(&self.red, self.stride / 2),
        ));
        YCbCrImage { planes, width, height }
    }
}

/// One video track, every frame a key frame.
struct Film {
    width: u32,
    height: u32,
    /// How long a frame is shown.
    ticks: u32,
    sps: Vec<u8>,
    pps: Vec<u8>,
    frames: Vec<Vec<u8>>,
}

impl Film {
    /// ISO base media: `ftyp`, then the index, then the frames.
    fn file(&self) -> Vec<u8> {
        let brands = [b"isom".as_slice(), &512_u32.to_be_bytes(), b"isomiso2avc1mp41"].concat();
        let kind = atom(b"ftyp", &[&brands]);
        // The index says where the frames lie, and its length does not depend on that.
        let start = kind.len() + self.index(0).len() + 8;
        let index = self.index(u32::try_from(start).unwrap_or(u32::MAX));
        let frames: Vec<&[u8]> = self.frames.iter().map(Vec::as_slice).collect();
        [kind, index, atom(b"mdat", &frames)].concat()
    }

    fn index(&self, start: u32) -> Vec<u8> {
        let count = u32::try_from(self.frames.len()).unwrap_or(u32::MAX);
        let duration = count.saturating_mul(self.ticks);
        let matrix = words(&[0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000]);
        let movie = atom(
            b"mvhd",
            &[
                &words(&[0, 0, 0, TIMESCALE, duration, 0x1_0000, 0x0100_0000, 0, 0]),
                &matrix,
                &words(&[0, 0, 0, 0, 0, 0, 2]),
            ],
        );
        let track = atom(
            b"tkhd",
            &[
                // Enabled, in the movie, in the preview.
                &words(&[7, 0, 0, 1, 0, duration, 0, 0, 0, 0]),
                &matrix,
                &words(&[self.width << 16, self.height << 16]),
            ],
        );
        // 0x55C4 is the language code of "undetermined".
        let media = atom(b"mdhd", &[&words(&[0, 0, 0, TIMESCALE, duration, 0x55C4_0000])]);
        let handler =
            atom(b"hdlr", &[&words(&[0, 0]), b"vide", &words(&[0, 0, 0]), b"VideoHandler\0"]);
        let video = atom(b"vmhd", &[&words(&[1, 0, 0])]);
        let here = atom(b"url ", &[&words(&[1])]);
        let data = atom(b"dinf", &[&atom(b"dref", &[&words(&[0, 1]), &here])]);
        let sizes: Vec<u32> =
            self.frames.iter().map(|frame| u32::try_from(frame.len()).unwrap_or(0)).collect();
        let samples = atom(
            b"stbl",
            &[
                &atom(b"stsd", &[&words(&[0, 1]), &self.sample_entry()]),
                &atom(b"stts", &[&words(&[0, 1, count, self.ticks])]),
                &atom(b"stsc", &[&words(&[0, 1, 1, count, 1])]),
                &atom(b"stsz", &[&words(&[0, 0, count]), &words(&sizes)]),
                &atom(b"stco", &[&words(&[0, 1, start])]),
            ],
        );
        let information = atom(b"minf", &[&video, &data, &samples]);
        let media = atom(b"mdia", &[&media, &handler, &information]);
        atom(b"moov", &[&movie, &atom(b"trak", &[&track, &media])])
    }

    fn sample_entry(&self) -> Vec<u8> {
        let profile = self.sps.get(1..4).unwrap_or(&[66, 0, 40]);
        let configuration = atom(
            b"avcC",
            &[
                &[1],
                profile,
                // Lengths of four bytes; one set of each kind.
                &[0xFF, 0xE1],
                &short(self.sps.len()),
                &self.sps,
                &[1],
                &short(self.pps.len()),
                &self.pps,
            ],
        );
        atom(
            b"avc1",
            &[
                &words(&[0, 1, 0, 0, 0, 0]),
                &short(self.width as usize),
                &short(self.height as usize),
                // 72 dots an inch both ways, one frame a sample, no name.
                &words(&[0x48_0000, 0x48_0000, 0]),
                &short(1),
                &[0; 32],
                &short(24),
                &[0xFF, 0xFF],
                &configuration,
            ],
        )
    }
}

fn atom(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let size = 8 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut atom = length(size).to_vec();
    atom.extend(kind);
    for part in parts {
        atom.extend_from_slice(part);
    }
    atom
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

fn short(value: usize) -> [u8; 2] {
    u16::try_from(value).unwrap_or(u16::MAX).to_be_bytes()
}
