//! Takes out of a picture what is not the picture: EXIF with its places and times, XMP, IPTC,
//! comments, thumbnails, and whatever else a camera or an editor put beside the pixels.
//!
//! What is known to matter for how a picture looks is kept, and everything else goes: a list of
//! what is bad would never be complete. Pixels are copied as they are compressed. Nothing of what
//! follows a picture's own end is kept; phones put second pictures there, with metadata of their
//! own. How a camera was held (EXIF orientation) is kept, alone in a new EXIF block, because
//! without it the picture would lie on its side.
//!
//! Written here and not taken from `img-parts`: that crate leaves alone what lies between the
//! scans and behind the end of a JPEG.

use super::media::MediaType;

/// What is wrong with the file, as a clause.
type Damage = &'static str;

const CUT_SHORT: Damage = "its end is missing";

/// The same picture without metadata; `None` when there is none in it, or when it is of a kind
/// that is left as it is.
pub(super) fn without(bytes: &[u8], media: MediaType) -> Result<Option<Vec<u8>>, Damage> {
    let rest = match media {
        MediaType::Jpeg => jpeg(bytes)?,
        MediaType::Png => png(bytes)?,
        MediaType::Webp => webp(bytes)?,
        _ => return Ok(None),
    };
    Ok((rest != bytes).then_some(rest))
}

/// Bytes that are read from front to back.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        self.take(N)?.try_into().map_err(|_| CUT_SHORT)
    }

    fn byte(&mut self) -> Result<u8, Damage> {
        let [byte] = self.array()?;
        Ok(byte)
    }
}

// ---- JPEG (ITU-T T.81, annex B; JFIF 1.02; EXIF 2.32) ----

const EXIF: &[u8] = b"Exif\0\0";

fn jpeg(bytes: &[u8]) -> Result<Vec<u8>, Damage> {
    let mut rest = Rest(bytes);
    if rest.take(2)? != b"\xff\xd8" {
        return Err("it does not begin as a JPEG");
    }
    let mut out = Vec::with_capacity(bytes.len());
    out.extend(b"\xff\xd8");
    let mut oriented = false;
    let mut scanned = false;
    loop {
        let Some(marker) = next_marker(&mut rest) else {
            // Decoders show a picture whose last two bytes are missing.
            return if scanned { Ok(out) } else { Err(CUT_SHORT) };
        };
        match marker {
            0xd9 => {
                out.extend(b"\xff\xd9");
                return Ok(out);
            }
            0xd8 => return Err("a second picture begins within it"),
            // Without content, and without meaning outside of a scan.
            0x01 | 0xd0..=0xd7 => continue,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes(rest.array()?));
        let content = rest.take(length.checked_sub(2).ok_or("a length in it is too small")?)?;
        match marker {
            // Frames, tables, restarts and lines.
            0xc0..=0xcf | 0xdb..=0xdf => segment(&mut out, marker, content),
            0xda => {
                segment(&mut out, marker, content);
                out.extend(scan(&mut rest));
                scanned = true;
            }
            // JFIF, whose thumbnail lies behind its fixed fields.
            0xe0 if content.starts_with(b"JFIF\0") => {
                if let Some(fixed) = content.get(..12) {
                    segment(&mut out, marker, &[fixed, &[0, 0]].concat());
                }
            }
            0xe1 if content.starts_with(EXIF) && !oriented => {
                let tiff = content.get(EXIF.len()..).unwrap_or_default();
                if let Some(turned) = orientation(tiff) {
                    segment(&mut out, marker, &[EXIF, &turned].concat());
                    oriented = true;
                }
            }
            0xe2 if content.starts_with(b"ICC_PROFILE\0") => segment(&mut out, marker, content),
            // Adobe's says which colours the numbers stand for.
            0xee if content.starts_with(b"Adobe") => {
                if let Some(fixed) = content.get(..12) {
                    segment(&mut out, marker, fixed);
                }
            }
            _ => {}
        }
    }
}

fn segment(out: &mut Vec<u8>, marker: u8, content: &[u8]) {
    out.extend([0xff, marker]);
    // It came out of a segment that was at least as long.
    out.extend(u16::try_from(content.len() + 2).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(content);
}

/// The next marker, past whatever no decoder looks at.
fn next_marker(rest: &mut Rest<'_>) -> Option<u8> {
    loop {
        while rest.byte().ok()? != 0xff {}
        let marker = loop {
            match rest.byte().ok()? {
                0xff => {}
                marker => break marker,
            }
        };
        if marker != 0 {
            return Some(marker);
        }
    }
}

/// The compressed data of a scan, up to the marker that ends it.
fn scan<'a>(rest: &mut Rest<'a>) -> &'a [u8] {
    let all = rest.0;
    let mut pairs = all.windows(2);
    // `FF 00` is a byte of data, `FF D0` to `FF D7` are restarts within it, `FF FF` is filling.
    let end = pairs.position(|pair| matches!(pair, [0xff, 1..=0xcf | 0xd8..=0xfe]));
    let (data, after) = all.split_at_checked(end.unwrap_or(all.len())).unwrap_or((all, &[]));
    rest.0 = after;
    data
}

/// An EXIF block with nothing but how the camera was held, where that differs from upright.
fn orientation(tiff: &[u8]) -> Option<[u8; 26]> {
    let big = match tiff.get(..4)? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let pair: [u8; 2] = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
    };
    let four: [u8; 4] = tiff.get(4..8)?.try_into().ok()?;
    let first = if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) };
    let first = usize::try_from(first).ok()?;
    let value = (0..usize::from(short(first)?)).find_map(|index| {
        let entry = first.checked_add(2)?.checked_add(index * 12)?;
        let is_it = short(entry)? == 0x0112 && short(entry.checked_add(2)?)? == 3;
        if is_it { short(entry.checked_add(8)?) } else { None }
    })?;
    let value = u8::try_from(value).ok().filter(|value| (2..=8).contains(value))?;
    // Header, one entry (tag, type SHORT, count 1, value), no further directory.
    let mut block = *b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0";
    if let Some(place) = block.get_mut(19) {
        *place = value;
    }
    Some(block)
}

// ---- PNG (W3C, third edition) ----

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

fn png(bytes: &[u8]) -> Result<Vec<u8>, Damage> {
    const KEPT: [&[u8; 4]; 21] = [
        b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB",
        b"cICP", b"mDCV", b"cLLI", b"bKGD", b"hIST", b"pHYs", b"sPLT", b"acTL", b"fcTL", b"fdAT",
        b"CgBI",
    ];
    let mut rest = Rest(bytes);
    if rest.take(PNG.len())? != PNG {
        return Err("it does not begin as a PNG");
    }
    let mut out = Vec::with_capacity(bytes.len());
    out.extend(PNG);
    loop {
        let whole = rest.0;
        let length = u32::from_be_bytes(rest.array()?);
        let name: [u8; 4] = rest.array()?;
        let content = rest.take(usize::try_from(length).map_err(|_| CUT_SHORT)?)?;
        rest.take(4)?;
        let chunk = whole.get(..whole.len() - rest.0.len()).unwrap_or_default();
        if KEPT.contains(&&name) {
            out.extend(chunk);
        } else if &name == b"eXIf"
            && let Some(turned) = orientation(content)
        {
            out.extend((turned.len() as u32).to_be_bytes());
            let named = [b"eXIf".as_slice(), &turned].concat();
            out.extend(&named);
            out.extend(crc32(&named).to_be_bytes());
        } else if name.first().is_some_and(u8::is_ascii_uppercase) {
            return Err("it holds a necessary part of an unknown kind");
        }
        if &name == b"IEND" {
            return Ok(out);
        }
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    })
}

// ---- WebP (RFC 9649) ----

/// Flags of `VP8X`.
const HAS_EXIF: u8 = 0x08;
const HAS_XMP: u8 = 0x04;

fn webp(bytes: &[u8]) -> Result<Vec<u8>, Damage> {
    let mut rest = Rest(bytes);
    let riff = rest.take(4)?;
    let length = usize::try_from(u32::from_le_bytes(rest.array()?)).map_err(|_| CUT_SHORT)?;
    // Some writers do not count the last byte of filling, or do not write it.
    let body = rest.0.get(..length).or_else(|| rest.0.get(..length.checked_sub(1)?));
    let mut body = Rest(body.ok_or(CUT_SHORT)?);
    if riff != b"RIFF" || body.take(4)? != b"WEBP" {
        return Err("it does not begin as a WebP");
    }
    let mut turned = None;
    let mut out = b"RIFF\0\0\0\0WEBP".to_vec();
    chunks(&mut out, body, true, &mut turned)?;
    if let Some(flags) = out.get_mut(20).filter(|_| bytes.get(12..16) == Some(b"VP8X")) {
        *flags &= !(HAS_EXIF | HAS_XMP);
        if turned.is_some() {
            *flags |= HAS_EXIF;
        }
    } else {
        turned = None;
    }
    if let Some(turned) = turned {
        chunk(&mut out, b"EXIF", &turned);
    }
    let size = u32::try_from(out.len() - 8).map_err(|_| "it is too large")?;
    if let Some(place) = out.get_mut(4..8) {
        place.copy_from_slice(&size.to_le_bytes());
    }
    Ok(out)
}

/// Copies the chunks that are kept; those of a frame of an animation are looked through too.
fn chunks(
    out: &mut Vec<u8>,
    mut rest: Rest<'_>,
    outermost: bool,
    turned: &mut Option<[u8; 26]>,
) -> Result<(), Damage> {
    while !rest.0.is_empty() {
        let name: [u8; 4] = rest.array()?;
        let length = usize::try_from(u32::from_le_bytes(rest.array()?)).map_err(|_| CUT_SHORT)?;
        let content = rest.take(length)?;
        if length % 2 == 1 && !rest.0.is_empty() {
            rest.take(1)?;
        }
        match &name {
            b"VP8 " | b"VP8L" | b"ALPH" => chunk(out, &name, content),
            b"VP8X" | b"ICCP" | b"ANIM" if outermost => chunk(out, &name, content),
            b"ANMF" if outermost => {
                let mut frame = Rest(content);
                let mut kept = frame.take(16)?.to_vec();
                chunks(&mut kept, frame, false, &mut None)?;
                chunk(out, &name, &kept);
            }
            b"EXIF" if outermost && turned.is_none() => {
                // Some writers put the prefix of a JPEG in front.
                *turned = orientation(content.strip_prefix(EXIF).unwrap_or(content));
            }
            _ => {}
        }
    }
    Ok(())
}

fn chunk(out: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    out.extend(name);
    out.extend(u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(content);
    if content.len() % 2 == 1 {
        out.push(0);
    }
}

#[cfg(test)]
#[path = "metadata_tests.rs"]
mod tests;
