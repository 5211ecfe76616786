//! What a file says about itself: pixels, seconds, transparency.
//!
//! Reads only what it needs, never trusts a length, and gives up with "not known" where a
//! header makes no sense.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use image::{DynamicImage, GenericImageView, ImageDecoder, ImageReader, Limits};

use crate::files::{FileError, media::MediaType};

/// The most pixels that are decoded: 64 million.
pub const MAX_PIXELS: u64 = 64 * 1024 * 1024;

/// The most memory one decoded picture may take: 256 MiB.
pub const MAX_DECODED_BYTES: u64 = 256 * 1024 * 1024;

/// What could be learned. `None` is "not known" or "does not apply".
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Facts {
    pub(crate) width: Option<u32>,
    pub(crate) height: Option<u32>,
    pub(crate) duration_seconds: Option<f64>,
    pub(crate) has_alpha: Option<bool>,
    pub(crate) readable: Option<bool>,
}

/// Measures a file of `len` bytes.
pub(crate) fn measure(file: &mut (impl Read + Seek), media: MediaType, len: u64) -> Facts {
    if file.seek(SeekFrom::Start(0)).is_err() {
        return Facts::default();
    }
    let seconds = |duration_seconds| Facts { duration_seconds, ..Facts::default() };
    match media {
        MediaType::Png | MediaType::Jpeg | MediaType::Webp | MediaType::Gif => {
            picture(BufReader::new(file), media)
        }
        MediaType::Wav => seconds(wav_seconds(file, len)),
        MediaType::Flac => seconds(flac_seconds(file)),
        MediaType::Mp4 | MediaType::Mov | MediaType::M4a => movie(file, len),
        _ => Facts::default(),
    }
}

/// Decodes the first frame within [`MAX_PIXELS`] and [`MAX_DECODED_BYTES`], turned the way
/// its camera says when `upright`.
pub(crate) fn decode(
    reader: impl BufRead + Seek,
    media: MediaType,
    upright: bool,
) -> Result<DynamicImage, FileError> {
    let undecodable = |error| FileError::Undecodable { source: Some(error) };
    let format = media.decodable().ok_or(FileError::Undecodable { source: None })?;
    let mut reader = ImageReader::with_format(reader, format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS
        || decoder.total_bytes() > MAX_DECODED_BYTES
    {
        return Err(FileError::TooManyPixels { width, height });
    }
    limits.max_alloc = Some(MAX_DECODED_BYTES - decoder.total_bytes());
    // A decoder that can't keep this limit says so; the size of its output is checked above.
    decoder.set_limits(limits).map_err(undecodable)?;
    let orientation = if upright { decoder.orientation().ok() } else { None };
    let mut picture = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    if let Some(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    Ok(picture)
}

fn picture(mut reader: impl BufRead + Seek, media: MediaType) -> Facts {
    let size = media
        .decodable()
        .and_then(|format| ImageReader::with_format(&mut reader, format).into_dimensions().ok());
    let mut facts = Facts {
        width: size.map(|(width, _)| width),
        height: size.map(|(_, height)| height),
        ..Facts::default()
    };
    if reader.seek(SeekFrom::Start(0)).is_err() {
        return facts;
    }
    match decode(reader, media, false) {
        Ok(picture) => {
            facts.readable = Some(true);
            facts.has_alpha = Some(is_transparent(&picture));
        }
        // Too large to decode here says nothing about the file.
        Err(FileError::TooManyPixels { .. }) => {}
        Err(_) => facts.readable = Some(false),
    }
    facts
}

/// True when some pixel really is see-through, not only when the format has a channel for it.
fn is_transparent(picture: &DynamicImage) -> bool {
    if let DynamicImage::ImageRgba8(pixels) = picture {
        return pixels.pixels().any(|image::Rgba([_, _, _, alpha])| *alpha < u8::MAX);
    }
    picture.color().has_alpha()
        && picture.pixels().any(|(_, _, image::Rgba([_, _, _, alpha]))| alpha < u8::MAX)
}

/// Seconds of a WAV: bytes of its `data` over bytes a second of its `fmt `.
fn wav_seconds(file: &mut (impl Read + Seek), len: u64) -> Option<f64> {
    const MOST_CHUNKS: usize = 256;
    let mut at = 12;
    let mut rate = None;
    for _ in 0..MOST_CHUNKS {
        file.seek(SeekFrom::Start(at)).ok()?;
        let header: [u8; 8] = read_array(file)?;
        let (name, size) = header.split_first_chunk::<4>()?;
        let size = u64::from(u32::from_le_bytes(*size.first_chunk()?));
        at += 8;
        match name {
            b"fmt " => {
                let format: [u8; 12] = read_array(file)?;
                rate = Some(u32::from_le_bytes(*format.last_chunk()?)).filter(|rate| *rate > 0);
            }
            b"data" => {
                // A stream's length is 0 or all ones: what is there counts.
                let there = len.saturating_sub(at);
                let bytes = if size == 0 { there } else { size.min(there) };
                return Some(bytes as f64 / f64::from(rate?));
            }
            _ => {}
        }
        at = at.checked_add(size + size % 2)?;
    }
    None
}

/// Seconds of a FLAC, from its first block.
fn flac_seconds(file: &mut impl Read) -> Option<f64> {
    let head: [u8; 26] = read_array(file)?;
    // 8 bytes of marks, 10 of block sizes; then 20 bits rate, 3 channels, 5 depth, 36 samples.
    let packed = u64::from_be_bytes(*head.get(18..)?.first_chunk()?);
    let (rate, samples) = (packed >> 44, packed & 0xf_ffff_ffff);
    (rate > 0 && samples > 0).then(|| samples as f64 / rate as f64)
}

/// Duration and picture size of an MP4 or QuickTime file, wherever its `moov` box lies.
fn movie(file: &mut (impl Read + Seek), len: u64) -> Facts {
    let mut facts = Facts::default();
    let Some((start, end)) = find_box(file, 0, len, b"moov") else { return facts };
    if let Some((at, _)) = find_box(file, start, end, b"mvhd") {
        facts.duration_seconds = movie_seconds(file, at);
    }
    let mut from = start;
    const MOST_TRACKS: usize = 64;
    for _ in 0..MOST_TRACKS {
        let Some((track, track_end)) = find_box(file, from, end, b"trak") else { break };
        let size = find_box(file, track, track_end, b"tkhd").and_then(|(at, _)| {
            file.seek(SeekFrom::Start(at)).ok()?;
            let [version]: [u8; 1] = read_array(file)?;
            // Fixed point 16.16, after fields that are wider in version 1.
            file.seek(SeekFrom::Start(at + if version == 1 { 88 } else { 76 })).ok()?;
            let [a, b, _, _, c, d, _, _]: [u8; 8] = read_array(file)?;
            Some((u32::from(u16::from_be_bytes([a, b])), u32::from(u16::from_be_bytes([c, d]))))
        });
        if let Some((width, height)) = size.filter(|(width, height)| *width > 0 && *height > 0) {
            facts.width = Some(width);
            facts.height = Some(height);
            break;
        }
        from = track_end;
    }
    facts
}

fn movie_seconds(file: &mut (impl Read + Seek), at: u64) -> Option<f64> {
    file.seek(SeekFrom::Start(at)).ok()?;
    let [version]: [u8; 1] = read_array(file)?;
    let (scale, ticks) = if version == 1 {
        file.seek(SeekFrom::Start(at + 20)).ok()?;
        let scale = u32::from_be_bytes(read_array(file)?);
        (scale, u64::from_be_bytes(read_array(file)?))
    } else {
        file.seek(SeekFrom::Start(at + 12)).ok()?;
        let scale = u32::from_be_bytes(read_array(file)?);
        let ticks = u32::from_be_bytes(read_array(file)?);
        (scale, if ticks == u32::MAX { 0 } else { u64::from(ticks) })
    };
    // 0 or all ones: a film in fragments, whose length is not written here.
    (scale > 0 && ticks > 0 && ticks != u64::MAX).then(|| ticks as f64 / f64::from(scale))
}

/// Start and end of the content of the first box `name` between `at` and `end`.
fn find_box(
    file: &mut (impl Read + Seek),
    mut at: u64,
    end: u64,
    name: &[u8; 4],
) -> Option<(u64, u64)> {
    const MOST_BOXES: usize = 1024;
    for _ in 0..MOST_BOXES {
        if at.checked_add(8)? > end {
            return None;
        }
        file.seek(SeekFrom::Start(at)).ok()?;
        let size = u64::from(u32::from_be_bytes(read_array(file)?));
        let found: [u8; 4] = read_array(file)?;
        let (header, size) = match size {
            0 => (8, end - at),
            1 => (16, u64::from_be_bytes(read_array(file)?)),
            size => (8, size),
        };
        let next = at.checked_add(size)?;
        if size < header || next > end {
            return None;
        }
        if found == *name {
            return Some((at + header, next));
        }
        at = next;
    }
    None
}

fn read_array<const N: usize>(file: &mut impl Read) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
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

    fn measure_bytes(bytes: &[u8], media: MediaType) -> Facts {
        measure(&mut std::io::Cursor::new(bytes), media, bytes.len() as u64)
    }

    #[test]
    fn pictures_tell_their_size_and_real_transparency() {
        let table = [
            (samples::png(7, 5, |_, _| [1, 2, 3, 255]), MediaType::Png, false),
            (
                samples::png(7, 5, |x, _| [1, 2, 3, if x == 6 { 254 } else { 255 }]),
                MediaType::Png,
                true,
            ),
            (samples::jpeg(7, 5), MediaType::Jpeg, false),
            (samples::gif(7, 5, 0), MediaType::Gif, true),
            (samples::webp(7, 5, 128), MediaType::Webp, true),
            (samples::webp(7, 5, 255), MediaType::Webp, false),
        ];
        for (bytes, media, alpha) in table {
            let facts = measure_bytes(&bytes, media);
            assert_eq!((facts.width, facts.height), (Some(7), Some(5)), "{media}");
            assert_eq!((facts.has_alpha, facts.readable), (Some(alpha), Some(true)), "{media}");
        }
    }

    #[test]
    fn a_picture_cut_short_is_said_to_be_unreadable() {
        let bytes = samples::noise_png(64, 64);
        let facts = measure_bytes(&bytes[..bytes.len() / 2], MediaType::Png);
        assert_eq!((facts.width, facts.readable, facts.has_alpha), (Some(64), Some(false), None));
    }

    #[test]
    fn a_bomb_is_measured_by_its_header_and_never_unpacked() {
        let facts = measure_bytes(&samples::png_header(50_000, 50_000), MediaType::Png);
        assert_eq!((facts.width, facts.readable), (Some(50_000), None));
    }

    #[test]
    fn sounds_tell_their_length() {
        let wav = samples::wav(44_100, 44_100 * 2);
        assert_eq!(measure_bytes(&wav, MediaType::Wav).duration_seconds, Some(1.0));
        // A stream that did not know its length when it began.
        let mut stream = wav.clone();
        stream[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(measure_bytes(&stream, MediaType::Wav).duration_seconds, Some(1.0));
        let mut flac = b"fLaC\x80\0\0\x22".to_vec();
        flac.extend([0; 10]);
        flac.extend(((48_000_u64 << 44) | 96_000).to_be_bytes());
        assert_eq!(measure_bytes(&flac, MediaType::Flac).duration_seconds, Some(2.0));
    }

    #[test]
    fn films_tell_length_and_size_with_the_index_at_either_end() {
        for front in [true, false] {
            for version in [0, 1] {
                let bytes = samples::mp4(1280, 720, 600, 1500, version, front);
                let facts = measure_bytes(&bytes, MediaType::Mp4);
                assert_eq!(facts.duration_seconds, Some(2.5), "{front} {version}");
                assert_eq!((facts.width, facts.height), (Some(1280), Some(720)));
            }
        }
    }

    #[test]
    fn headers_without_sense_say_nothing() {
        assert_eq!(measure_bytes(b"RIFF", MediaType::Wav), Facts::default());
        assert_eq!(measure_bytes(&samples::wav(0, 10), MediaType::Wav), Facts::default());
        assert_eq!(measure_bytes(b"\0\0\0\x02moov", MediaType::Mp4), Facts::default());
        assert_eq!(measure_bytes(b"\xff\xff\xff\xffmoov", MediaType::Mp4), Facts::default());
        let endless = b"\0\0\0\x08free".repeat(5000);
        assert_eq!(measure_bytes(&endless, MediaType::Mp4), Facts::default());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_stumble(
            bytes in proptest::collection::vec(0_u8.., 0..400),
            which in 0_usize..MediaType::ALL.len(),
            at in 0_usize..400,
        ) {
            let media = MediaType::ALL[which];
            let _ = measure_bytes(&bytes, media);
            for mut good in [samples::mp4(9, 9, 1, 1, 0, true), samples::wav(8, 16)] {
                let at = at % good.len();
                let noise = bytes.len().min(good.len() - at);
                good[at..at + noise].copy_from_slice(&bytes[..noise]);
                let _ = measure_bytes(&good, MediaType::Mp4);
                let _ = measure_bytes(&good, MediaType::Wav);
            }
        }
    }
}
