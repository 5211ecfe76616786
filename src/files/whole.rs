//! Whether a file is there to its end, by what its own structure says of its length.
//!
//! Forgiving: a writer's oddity must not keep a paid file from being saved, so only what can't be
//! whole is called cut short. Formats that say nothing of their length pass.

use std::io::{Read, Seek, SeekFrom};

use super::media::MediaType;

/// How far from the end a trailer may lie: some writers append data of their own.
const TAIL: u64 = 64 * 1024;

/// False when the file of `len` bytes ends before its structure does.
pub(super) fn is_whole(file: &mut (impl Read + Seek), media: MediaType, len: u64) -> bool {
    match media {
        MediaType::Png => tail_holds(file, len, b"IEND"),
        MediaType::Jpeg => tail_holds(file, len, &[0xff, 0xd9]),
        MediaType::Gif => tail_holds(file, len, &[0x3b]),
        MediaType::Webp | MediaType::Wav => riff(file, len),
        MediaType::Glb => word_at(file, 8, u32::from_le_bytes).is_some_and(|said| said <= len),
        MediaType::Mp4 | MediaType::Mov | MediaType::M4a => boxes(file, len),
        _ => true,
    }
}

fn tail_holds(file: &mut (impl Read + Seek), len: u64, trailer: &[u8]) -> bool {
    let mut tail = Vec::new();
    let from = len.saturating_sub(TAIL);
    let read =
        file.seek(SeekFrom::Start(from)).and_then(|_| file.take(TAIL).read_to_end(&mut tail));
    read.is_ok() && tail.windows(trailer.len()).any(|part| part == trailer)
}

/// RIFF says how much follows its first eight bytes; writers of streams leave 0 or all ones.
fn riff(file: &mut (impl Read + Seek), len: u64) -> bool {
    match word_at(file, 4, u32::from_le_bytes) {
        Some(0 | 0xffff_ffff) => true,
        Some(said) => said.saturating_add(8) <= len.saturating_add(1),
        None => false,
    }
}

/// The boxes of the outermost level must end within the file (ISO/IEC 14496-12, section 4.2).
fn boxes(file: &mut (impl Read + Seek), len: u64) -> bool {
    let mut at = 0_u64;
    while at.saturating_add(8) <= len {
        let Some(short) = word_at(file, at, u32::from_be_bytes) else { return false };
        let size = match short {
            // To the end of the file.
            0 => return true,
            1 => match (
                word_at(file, at + 8, u32::from_be_bytes),
                word_at(file, at + 12, u32::from_be_bytes),
            ) {
                (Some(high), Some(low)) => (high << 32) | low,
                _ => return false,
            },
            size => size,
        };
        if size < 8 {
            return false;
        }
        at = at.saturating_add(size);
    }
    at <= len
}

fn word_at(file: &mut (impl Read + Seek), at: u64, read: fn([u8; 4]) -> u32) -> Option<u64> {
    let mut word = [0; 4];
    file.seek(SeekFrom::Start(at)).ok()?;
    file.read_exact(&mut word).ok()?;
    Some(u64::from(read(word)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "a panic is a failed test")]

    use std::io::Cursor;

    use super::*;
    use crate::files::samples;

    #[test]
    fn a_file_without_its_end_is_told_from_a_whole_one() {
        let glb: Vec<u8> =
            [b"glTF".as_slice(), &2_u32.to_le_bytes(), &64_u32.to_le_bytes(), &[0; 52]].concat();
        let mp4: Vec<u8> = [
            16_u32.to_be_bytes().as_slice(),
            b"ftypisom\0\0\0\0",
            &40_u32.to_be_bytes(),
            b"moov",
            &[0; 32],
        ]
        .concat();
        for (media, bytes) in [
            (MediaType::Png, samples::noise_png(9, 9)),
            (MediaType::Jpeg, samples::jpeg(16, 16)),
            (MediaType::Webp, samples::webp(9, 9, 255)),
            (MediaType::Wav, samples::wav(8_000, 4_000)),
            (MediaType::Glb, glb),
            (MediaType::Mp4, mp4),
        ] {
            let whole = |bytes: &[u8]| is_whole(&mut Cursor::new(bytes), media, bytes.len() as u64);
            assert!(whole(&bytes), "{media}");
            assert!(!whole(&bytes[..bytes.len() - 12]), "{media}");
            assert!(!whole(&bytes[..8]), "{media}");
        }
    }
}
