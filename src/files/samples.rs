//! Small files of every kind, for the tests of this module.
#![allow(clippy::unwrap_used, reason = "a test that can't make its sample should stop")]

use std::io::Cursor;

use image::{ImageFormat, Rgba, RgbaImage};

/// A PNG with an alpha channel.
pub(crate) fn png(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 4]) -> Vec<u8> {
    encode(width, height, pixel, ImageFormat::Png)
}

/// An opaque PNG that can't be compressed.
pub(crate) fn noise_png(width: u32, height: u32) -> Vec<u8> {
    png(width, height, |x, y| {
        let [r, g, b, _] = hash(x, y);
        [r, g, b, 255]
    })
}

/// Four bytes that look like chance but are the same every time.
pub(crate) fn hash(x: u32, y: u32) -> [u8; 4] {
    let mut n = x.wrapping_mul(0x9e37_79b1) ^ y.wrapping_mul(0x85eb_ca77);
    for _ in 0..2 {
        n ^= n >> 15;
        n = n.wrapping_mul(0x2c1b_3c6d);
    }
    (n ^ (n >> 13)).to_le_bytes()
}

pub(crate) fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image::RgbImage::new(width, height).write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

pub(crate) fn gif(width: u32, height: u32, alpha: u8) -> Vec<u8> {
    encode(width, height, |x, _| [9, 9, 9, if x == 0 { alpha } else { 255 }], ImageFormat::Gif)
}

pub(crate) fn webp(width: u32, height: u32, alpha: u8) -> Vec<u8> {
    encode(width, height, |_, _| [50, 60, 70, alpha], ImageFormat::WebP)
}

fn encode(
    width: u32,
    height: u32,
    pixel: impl Fn(u32, u32) -> [u8; 4],
    format: ImageFormat,
) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let picture = RgbaImage::from_fn(width, height, |x, y| Rgba(pixel(x, y)));
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// The first 33 bytes of a PNG that claims to be enormous.
pub(crate) fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut body = b"IHDR".to_vec();
    body.extend(width.to_be_bytes());
    body.extend(height.to_be_bytes());
    body.extend([8, 6, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    bytes.extend(&body);
    bytes.extend(crc32(&body).to_be_bytes());
    // An empty chunk of data, so that a decoder goes on to it.
    bytes.extend(b"\0\0\0\0IDAT");
    bytes.extend(crc32(b"IDAT").to_be_bytes());
    bytes
}

/// The check sum of a PNG chunk's name and body.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

/// A WAV of 16-bit mono silence.
pub(crate) fn wav(rate: u32, data: u32) -> Vec<u8> {
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(rate.to_le_bytes());
    bytes.extend((rate * 2).to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(data.to_le_bytes());
    bytes.resize(bytes.len() + data as usize, 0);
    bytes
}

/// An MP4 with one sound and one picture track and no samples.
pub(crate) fn mp4(
    width: u16,
    height: u16,
    scale: u32,
    ticks: u32,
    version: u8,
    front: bool,
) -> Vec<u8> {
    let atom = |name: &[u8; 4], body: &[u8]| {
        let mut bytes = (8 + body.len() as u32).to_be_bytes().to_vec();
        bytes.extend(name);
        bytes.extend(body);
        bytes
    };
    let wide = usize::from(version) * 4;
    let mut header = vec![version, 0, 0, 0];
    header.resize(12 + 2 * wide, 0);
    header.extend(scale.to_be_bytes());
    header.resize(header.len() + wide, 0);
    header.extend(ticks.to_be_bytes());
    header.resize(header.len() + 80, 0);
    let track = |width: u16, height: u16| {
        let mut body = vec![version, 0, 0, 0];
        body.resize(76 + 3 * wide, 0);
        for side in [width, height] {
            body.extend(side.to_be_bytes());
            body.extend([0, 0]);
        }
        atom(b"trak", &atom(b"tkhd", &body))
    };
    let index = [atom(b"mvhd", &header), track(0, 0), track(width, height)].concat();
    let (index, data) = (atom(b"moov", &index), atom(b"mdat", &[0; 100]));
    let kind = atom(b"ftyp", b"isom\0\0\0\0");
    if front { [kind, index, data].concat() } else { [kind, data, index].concat() }
}
